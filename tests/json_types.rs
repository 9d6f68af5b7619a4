//! A value is the same in both codecs: what JSON carries to a handler and back is what bincode carries. `docs/TYPES.md`
//! says how each kind of type is written; its table of examples is made again here.
#![cfg(all(feature = "client", feature = "server"))]

mod common;

use boneyard::internal::wire::json::DEPTH_MAX;
use boneyard::internal::wire::{Codec, Flags};
use boneyard::service::{Bytes, HandlerError, Status};
use boneyard::{Client, ClientError, Method, RunningServer, Server};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fmt::Debug;
use std::io::Write;

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Unit;

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Id(u64);

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Pair(u8, String);

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Note {
    id: Id,
    title: String,
    due: Option<u32>,
}

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
enum Color {
    Red,
    Gray(u8),
    Rgb(u8, u8, u8),
    Named { name: String },
}

fn written<T: Serialize>(codec: Codec, value: &T) -> Vec<u8> {
    let mut bytes = Vec::new();
    codec.encode(value, &mut bytes).unwrap();
    bytes
}

/// A value in JSON and in bincode, as the page shows them.
fn example<T: Serialize + DeserializeOwned + PartialEq + Debug>(value: T) -> (String, String) {
    let bytes = [Codec::Json, Codec::Bincode].map(|codec| {
        let bytes = written(codec, &value);
        assert_eq!(codec.decode::<T>(&bytes).as_ref(), Ok(&value));
        bytes
    });
    let hex: Vec<String> = bytes[1].iter().map(|byte| format!("{byte:02x}")).collect();
    (String::from_utf8(bytes[0].clone()).unwrap(), hex.join(" "))
}

#[test]
fn the_table_of_examples_is_made_again() {
    let made = [
        ("u16", example(258u16)),
        ("i8", example(-2i8)),
        ("u64", example(u64::MAX)),
        ("i128", example(i128::MIN)),
        ("f32", example(1.5f32)),
        ("bool", example(true)),
        ("char", example('é')),
        ("text", example("é".to_owned())),
        ("bytes", example(Bytes::from(vec![1, 255]))),
        ("nothing", example(())),
        ("u8?", example(Some(7u8))),
        ("u8?", example(None::<u8>)),
        ("[u8]", example(vec![1u8, 2])),
        ("[u8; 4]", example([1u8, 2, 3, 4])),
        ("(u8, text)", example(Pair(1, "a".to_owned()))),
        ("[u16: bool]", example(BTreeMap::from([(1u16, true)]))),
        (
            "Note { id: u8, due: u8? }",
            example({
                #[derive(Debug, PartialEq, Serialize, Deserialize)]
                struct Note {
                    id: u8,
                    due: Option<u8>,
                }
                Note { id: 1, due: None }
            }),
        ),
        ("Color <Red \\| Gray: u8 \\| Rgb: (u8, u8, u8) \\| Named: { name: text }>", example(Color::Red)),
        ("", example(Color::Gray(9))),
        ("", example(Color::Rgb(1, 2, 3))),
        ("", example(Color::Named { name: "a".to_owned() })),
    ];
    let page = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/docs/TYPES.md")).unwrap();
    let table =
        page.split("<!-- values -->").nth(1).and_then(|rest| rest.split("<!-- /values -->").next()).unwrap();
    let rows: Vec<Vec<String>> = table
        .lines()
        .filter(|line| line.starts_with("| "))
        .skip(1)
        .map(|row| {
            let row = row.replace("\\|", "\u{1}");
            row.split('|')
                .skip(1)
                .take(3)
                .map(|cell| cell.trim().trim_matches('`').replace('\u{1}', "\\|"))
                .collect()
        })
        .collect();
    let made: Vec<Vec<String>> =
        made.into_iter().map(|(kind, (json, hex))| vec![kind.to_owned(), json, hex]).collect();
    assert_eq!(rows, made);
}

/// A server that gives each of its arguments back, after the type has read and written it.
fn server<T: Serialize + DeserializeOwned + 'static>() -> (RunningServer, Client, Method<T, T>) {
    let method = Method::<T, T>::new("test.same");
    let server = Server::new(common::config("")).handle(method, |_, value| Ok(value)).start().unwrap();
    let client = Client::new(server.address()).unwrap();
    (server, client, method)
}

/// The values are the same by either codec, there and back.
#[track_caller]
fn same<T: Serialize + DeserializeOwned + PartialEq + Debug + Clone + 'static>(values: &[(T, &str)]) {
    let (_server, client, method) = server::<T>();
    for (value, json) in values {
        assert_eq!(client.call(method, value).as_ref(), Ok(value));
        assert_eq!(client.call_json(method.name(), json).as_deref(), Ok(*json));
        assert_eq!(String::from_utf8(written(Codec::Json, value)).unwrap(), *json);
        let (from_json, from_bincode) = (
            Codec::Json.decode::<T>(json.as_bytes()),
            Codec::Bincode.decode::<T>(&written(Codec::Bincode, value)),
        );
        assert_eq!(from_json, from_bincode);
    }
}

#[test]
fn numbers_have_all_their_digits() {
    same(&[(u64::MAX, "18446744073709551615"), ((1 << 53) + 1, "9007199254740993"), (0, "0")]);
    same(&[(i64::MIN, "-9223372036854775808"), (-(1 << 53) - 1, "-9007199254740993")]);
    same(&[(u128::MAX, "340282366920938463463374607431768211455")]);
    same(&[(i128::MIN, "-170141183460469231731687303715884105728")]);
    same(&[
        (0.1f64, "0.1"),
        (1e300, "1e+300"),
        (-0.0, "-0.0"),
        (f64::MIN_POSITIVE, "2.2250738585072014e-308"),
    ]);
    same(&[(0.1f32, "0.1"), (f32::MAX, "3.4028235e+38")]);
}

#[test]
fn everything_else_is_itself_too() {
    same(&[('a', "\"a\""), ('é', "\"é\""), ('\u{1f600}', "\"😀\""), ('\u{0}', "\"\\u0000\"")]);
    same(&[("\"\\\n\u{7f}".to_owned(), "\"\\\"\\\\\\n\u{7f}\""), (String::new(), "\"\"")]);
    same(&[(Bytes::from(vec![0, 255]), "[0,255]"), (Bytes::new(), "[]")]);
    same(&[
        (Color::Red, r#""Red""#),
        (Color::Gray(1), r#"{"Gray":1}"#),
        (Color::Rgb(1, 2, 3), r#"{"Rgb":[1,2,3]}"#),
        (Color::Named { name: String::new() }, r#"{"Named":{"name":""}}"#),
    ]);
    same(&[(Some(Some(1u8)), "1"), (None, "null")]);
    same(&[(vec![Some(1u8), None], "[1,null]")]);
    same(&[(
        BTreeMap::from([(1u64, "a".to_owned()), (u64::MAX, String::new())]),
        r#"{"1":"a","18446744073709551615":""}"#,
    )]);
    same(&[(BTreeMap::from([(true, 1u8)]), r#"{"true":1}"#)]);
    same(&[(BTreeMap::from([('x', 1u8)]), r#"{"x":1}"#)]);
    same(&[(BTreeMap::from([(Color::Red, 1u8)]), r#"{"Red":1}"#)]);
    same(&[(BTreeMap::<u8, u8>::new(), "{}")]);
    same(&[((), "null")]);
    same(&[(Unit, "null")]);
    same(&[(Id(5), "5")]);
    same(&[(((1u8, "a".to_owned()), [true, false]), r#"[[1,"a"],[true,false]]"#)]);
    same(&[(Vec::<Note>::new(), "[]")]);
    let note = Note { id: Id(1), title: "a".to_owned(), due: Some(2) };
    same(&[(note, r#"{"id":1,"title":"a","due":2}"#)]);
}

/// What JSON cannot say is the same each time: refused, or said otherwise, as the page has it.
#[test]
fn what_json_cannot_carry() {
    let (_server, client, method) = server::<f64>();
    for not_finite in [f64::INFINITY, f64::NEG_INFINITY, f64::NAN] {
        assert_eq!(client.call(method, &not_finite).unwrap().to_bits(), not_finite.to_bits());
        assert_eq!(written(Codec::Json, &not_finite), b"null");
    }
    for text in ["null", "NaN", "Infinity", "1e400", "\"NaN\""] {
        assert!(matches!(client.call_json(method.name(), text), Err(ClientError::BadRequest(_))), "{text}");
    }
    // An option in an option has one null for two values.
    assert_eq!(written(Codec::Json, &Some(None::<u8>)), b"null");
    assert_eq!(Codec::Json.decode::<Option<Option<u8>>>(b"null"), Ok(None));
    // A key that is no text, number, bool or plain variant.
    let pairs = BTreeMap::from([((1u8, 2u8), 3u8)]);
    assert!(
        Codec::Json.encode(&pairs, &mut Vec::new()).unwrap_err().to_string().contains("key must be a string")
    );
    let (_server, client, method) = server::<BTreeMap<(u8, u8), u8>>();
    assert_eq!(client.call(method, &pairs), Ok(pairs));
    assert!(matches!(client.call_json(method.name(), "{\"[1,2]\":3}"), Err(ClientError::BadRequest(_))));
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Strict {
    a: u8,
}

/// What is wrong, where, and in which line and column.
#[test]
fn errors_point_at_the_field() {
    #[derive(Debug, Serialize, Deserialize)]
    struct Page {
        notes: Vec<Note>,
        color: Option<Color>,
        more: BTreeMap<String, (u8, Strict)>,
    }
    let (_server, client, method) = server::<Page>();
    let note = r#"{"id":1,"title":"a","due":2}"#;
    let told = |notes: &str, color: &str, more: &str| {
        let json = format!("{{\"notes\":[{notes}],\n\"color\":{color},\n\"more\":{more}}}");
        match client.call_json(method.name(), &json) {
            Err(ClientError::BadRequest(message)) => message,
            other => panic!("{json}: {other:?}"),
        }
    };
    for (notes, color, more, path, what, line) in [
        (
            r#"{"id":1,"title":7}"#,
            "null",
            "{}",
            "notes[0].title",
            "invalid type: integer `7`, expected a string",
            1,
        ),
        (
            &format!("{note},{note},{{\"id\":-1,\"title\":\"\"}}"),
            "null",
            "{}",
            "notes[2].id",
            "invalid value: integer `-1`",
            1,
        ),
        (r#"{"id":1}"#, "null", "{}", "notes[0]", "missing field `title`", 1),
        (r#"{"id":1,"id":2}"#, "null", "{}", "notes[0]", "duplicate field `id`", 1),
        (note, r#"{"Rgb":[1,2]}"#, "{}", "color.Rgb", "invalid length 2", 2),
        (note, r#"{"Rgb":[1,2,256]}"#, "{}", "color.Rgb[2]", "invalid value: integer `256`, expected u8", 2),
        (note, r#""Green""#, "{}", "color", "unknown variant `Green`, expected one of", 2),
        (note, "null", r#"{"x":[1,{"a":1,"b":2}]}"#, "more.x[1].b", "unknown field `b`, expected `a`", 3),
        (
            note,
            "null",
            r#"{"x":[1.5,{"a":1}]}"#,
            "more.x[0]",
            "invalid type: floating point `1.5`, expected u8",
            3,
        ),
        (note, "null", "[]", "more", "invalid type: sequence, expected a map", 3),
    ] {
        let message = told(notes, color, more);
        assert!(message.contains(&format!(": {path}: {what}")), "{path}: {message}");
        assert!(message.contains(&format!(" at line {line} column ")), "{message}");
    }
    // Text that is no JSON has a line and a column.
    for (notes, what) in [("}", "expected value"), (note, "trailing characters")] {
        let more = if notes == note { "{}} 1" } else { "{}" };
        assert!(told(notes, "null", more).contains(what));
    }
    // A name that is too long to show is cut, and the place still said.
    let long = "k".repeat(10_000);
    let message = told(note, "null", &format!("{{\"{long}\":[1,{{}}]}}"));
    assert!(message.len() < 600 && message.contains("...: missing field `a` at line 3 column "), "{message}");
    // The client says it of a result, too.
    let wrong = Codec::Json.decode::<Page>(br#"{"notes":[{"id":"x"}]}"#).unwrap_err().to_string();
    assert!(wrong.contains("notes[0].id: invalid type: string \"x\", expected u64"), "{wrong}");
    // What the reader of JSON itself finds wrong has a field too.
    for number in ["340282366920938463463374607431768211456", "-1"] {
        let text = format!("{{\"sizes\":[1,{number}]}}");
        let wrong =
            Codec::Json.decode::<BTreeMap<String, Vec<u128>>>(text.as_bytes()).unwrap_err().to_string();
        assert!(wrong.contains("sizes[1]: number out of range at line 1 column "), "{wrong}");
    }
    let wrong = Codec::Json.decode::<Strict>(br#"{"a":1"a":2}"#).unwrap_err().to_string();
    assert!(wrong.ends_with("decode: expected `,` or `}` at line 1 column 7"), "{wrong}");
}

#[test]
fn hostile_json_is_a_bad_request() {
    let (server, client, method) = server::<Vec<Note>>();
    let mut raw = common::Raw::connect(server.address());
    let texts: [&[u8]; 9] = [
        b"",
        b"[",
        b"[] []",
        b"\xff",
        b"[{\"id\":1,\"title\":\"\xff\"}]",
        b"[{\"id\":1e999999999,\"title\":\"\"}]",
        b"[{\"id\":99999999999999999999999999,\"title\":\"\"}]",
        b"[{\"id\":1,\"title\":\"\\ud800\"}]",
        &[b'['; 100_000],
    ];
    for text in texts {
        let frame = common::call_frame(1, raw.number(method.name()), Flags::JSON, 0, text);
        raw.stream.write_all(&frame).unwrap();
        assert_eq!(raw.read().expect("a reply").status(), Status::BadRequest);
    }
    let deep = |depth: usize| {
        let nest = format!("{}{}", "[".repeat(depth - 2), "]".repeat(depth - 2));
        client.call_json(method.name(), &format!("[{{\"id\":1,\"title\":\"\",\"extra\":{nest}}}]"))
    };
    assert_eq!(deep(DEPTH_MAX).unwrap(), r#"[{"id":1,"title":"","due":null}]"#);
    let Err(ClientError::BadRequest(message)) = deep(DEPTH_MAX + 1) else { panic!("too deep") };
    assert!(message.ends_with("nested more than 32 deep at line 1 column 59"), "{message}");
    assert!(matches!(deep(1 << 20), Err(ClientError::BadRequest(_))));
}

/// On the smallest stack an administrator may choose: any depth is answered, whatever the type does with it.
#[test]
fn depth_is_bounded_on_the_smallest_stack() {
    #[derive(Debug, Serialize, Deserialize)]
    struct Loose {
        any: serde_json::Value,
        id: u8,
    }
    let method = Method::<Loose, u8>::new("test.loose");
    let server = Server::new(common::config("Server_Pool_Tasks=1\nServer_Thread_Stack_KB=100"))
        .handle(method, |_, loose| Ok::<u8, HandlerError>(loose.id))
        .start()
        .unwrap();
    let client = Client::new(server.address()).unwrap();
    for depth in [1, DEPTH_MAX - 1, DEPTH_MAX, 127, 128, 1000, 1 << 20] {
        let nest = format!("{}{}", "[".repeat(depth), "]".repeat(depth));
        for id in ["7", "\"x\""] {
            let found = client.call_json(method.name(), &format!("{{\"any\":{nest},\"id\":{id}}}"));
            let good = depth < DEPTH_MAX && id == "7";
            assert_eq!(found.is_ok(), good, "{depth} {id}: {found:?}");
            assert!(good || matches!(found, Err(ClientError::BadRequest(_))), "{depth} {id}: {found:?}");
        }
    }
}
