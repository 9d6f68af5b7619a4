//! What reading a call's arguments may cost: the memory that a value takes is bounded by the call's bytes and counted
//! among the server's buffers, an error costs no more for what it quotes, and elements of no size end.
#![cfg(feature = "server")]

mod common;

use boneyard::internal::wire::{Codec, DecodeMemory, FACTOR, FLOOR_BYTES, Flags, Shortage, WireError};
use boneyard::service::{Bytes, HandlerError, Status};
use boneyard::{Method, RunningServer};
use common::*;
use serde::de::{DeserializeOwned, EnumAccess, Error as _, MapAccess, SeqAccess, VariantAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize};
use std::cell::Cell;
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::fmt::Debug;
use std::io::Write;
use std::sync::{Mutex, MutexGuard};

const MIB: usize = 1 << 20;

/// Clients that call at once.
const CROWD: usize = 16;

/// These tests look at the memory of the whole process, so they run one after another.
fn alone() -> MutexGuard<'static, ()> {
    static ONE: Mutex<()> = Mutex::new(());
    ONE.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
}

/// A figure of this process's memory, in bytes.
fn memory(name: &str) -> usize {
    let status = std::fs::read_to_string("/proc/self/status").expect("Linux");
    let line = status.lines().find(|line| line.starts_with(name)).expect("it is there");
    let kib: usize = line.split_whitespace().nth(1).and_then(|kib| kib.parse().ok()).expect("a number");
    kib << 10
}

/// How much the process grows at most while `run` runs.
fn growth(run: impl FnOnce()) -> usize {
    std::fs::write("/proc/self/clear_refs", "5").expect("the peak can be reset");
    let before = memory("VmRSS");
    run();
    memory("VmHWM").saturating_sub(before)
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
enum Color {
    Red,
    Gray(u8),
    Rgb(u8, u8, u8),
    Named { name: String },
}

/// A type that quotes what it was given, by its own words.
#[derive(Debug, Serialize)]
struct Picky;

impl<'de> Deserialize<'de> for Picky {
    fn deserialize<D: Deserializer<'de>>(decoder: D) -> Result<Picky, D::Error> {
        let text = String::deserialize(decoder)?;
        Err(D::Error::invalid_value(serde::de::Unexpected::Str(&text), &"nothing"))
    }
}

const GROWS: Method<serde_json::Value, ()> = Method::new("test.grows");
const MAP: Method<BTreeMap<String, u32>, ()> = Method::new("test.map");
const COLOR: Method<Color, ()> = Method::new("test.color");
const PICKY: Method<Picky, ()> = Method::new("test.picky");
const WIDE: Method<Vec<Option<Box<[u64; 32]>>>, ()> = Method::new("test.wide");

fn start() -> RunningServer {
    let server = server("Server_Buffer_Memory_MB=64\nServer_Pool_Tasks=16\nServer_Max_Frame_KB=8192")
        .handle(GROWS, |_, _| Ok(()))
        .handle(MAP, |_, _| Ok(()))
        .handle(COLOR, |_, _| Ok(()))
        .handle(PICKY, |_, _| Ok(()))
        .handle(WIDE, |_, _| Ok(()));
    server.start().unwrap()
}

/// All call at once; each is answered by one of these.
fn crowd(server: &RunningServer, method: &str, flags: Flags, arguments: &[u8], statuses: &[Status]) {
    std::thread::scope(|scope| {
        for _ in 0..CROWD {
            scope.spawn(|| {
                let mut client = Raw::connect(server.address());
                let call = call_frame(1, client.number(method), flags, 0, arguments);
                client.stream.write_all(&call).unwrap();
                drop(call);
                let reply = client.read().expect("a reply");
                assert!(statuses.contains(&reply.status()), "{method}: {:?}", reply.status());
                assert!(reply.body.len() < 8192, "{method}: {}", reply.body.len());
            });
        }
    });
}

/// It cost 18 times the text for each call: its escapes, in a buffer that had doubled.
#[test]
fn an_error_costs_nothing_for_what_it_quotes() {
    let _alone = alone();
    let server = start();
    let text = format!("\"{}\"", "\u{7f}".repeat(MIB));
    let cases = [
        ("server.ping", text.clone()),
        ("server.schema", text.clone()),
        ("server.errors", text.clone()),
        ("test.map", format!("{{\"a\":{text}}}")),
        ("test.map", format!("{{{text}:{text}}}")),
        ("test.color", text.clone()),
        ("test.color", format!("{{{text}:1}}")),
        ("test.color", format!("{{\"Red\":{text}}}")),
        ("test.color", format!("{{\"Gray\":{text}}}")),
        ("test.color", format!("{{\"Rgb\":{text}}}")),
        ("test.color", format!("{{\"Named\":{text}}}")),
        ("test.picky", text),
    ];
    for (method, arguments) in cases {
        let refused = [Status::BadRequest, Status::BuffersFull, Status::UnknownMethod];
        let grown = growth(|| crowd(&server, method, Flags::JSON, arguments.as_bytes(), &refused));
        // Each text is there at the client, in a socket, at the listener and, for some types, as a value.
        println!("{method} of {} KiB: {} MiB more", arguments.len() >> 10, grown / MIB);
        let bound = 64 * MIB + 6 * CROWD * arguments.len();
        assert!(grown < bound, "{method}: {} MiB", grown / MIB);
    }
    let mut bincode = Vec::new();
    Codec::Bincode.encode(&"\u{7f}".repeat(MIB), &mut bincode).unwrap();
    let grown = growth(|| {
        crowd(&server, "test.picky", Flags::NONE, &bincode, &[Status::BadRequest, Status::BuffersFull])
    });
    assert!(grown < (64 + 96) * MIB, "bincode: {} MiB", grown / MIB);
    assert_eq!(Raw::connect(server.address()).call::<_, ()>("server.ping", &()), Ok(()));
}

/// 112 times its bytes, and nobody counted it.
#[test]
fn what_a_value_takes_is_bounded_and_counted() {
    let _alone = alone();
    let server = start();
    let refused = [Status::BadRequest, Status::BuffersFull];
    let list =
        |item: &str, bytes: usize| format!("[{}{item}]", format!("{item},").repeat(bytes / (item.len() + 1)));
    for (method, item) in [
        ("test.grows", r#"{"":0}"#),
        ("test.grows", "[[0]]"),
        ("test.grows", "[{\"\":[]}]"),
        ("test.wide", "null"),
    ] {
        let arguments = list(item, MIB);
        let served = [Status::Ok, Status::BadRequest, Status::BuffersFull];
        let grown = growth(|| crowd(&server, method, Flags::JSON, arguments.as_bytes(), &served));
        println!("{item}: {} MiB more", grown / MIB);
        assert!(grown < (64 + 2 * CROWD + 32) * MIB, "{item}: {} MiB", grown / MIB);
    }
    let arguments = list(r#"{"":0}"#, MIB);
    crowd(&server, "test.grows", Flags::JSON, arguments.as_bytes(), &refused);
    let small = list(r#"{"":0}"#, 32 << 10);
    crowd(&server, "test.grows", Flags::JSON, small.as_bytes(), &[Status::Ok]);
    wait_for_permits(&server);
    wait_until("all is given back", || {
        let mut client = Raw::connect(server.address());
        client.call::<_, ()>("server.ping", &()).is_ok()
    });
}

/// Lends so much.
struct Purse(Cell<usize>, Shortage);

impl DecodeMemory for Purse {
    fn take(&self, bytes: usize) -> Result<(), Shortage> {
        self.0.set(self.0.get().checked_sub(bytes).ok_or(self.1)?);
        Ok(())
    }
}

#[test]
fn who_lends_no_more_is_told_apart_from_what_is_too_much() {
    let _alone = alone();
    let text = format!("[{}0]", "[],".repeat(100_000));
    let decode = |purse: Purse| Codec::Json.decode_in::<serde_json::Value>(text.as_bytes(), &purse).map(drop);
    assert_eq!(decode(Purse(Cell::new(64 * MIB), Shortage::Now)), Ok(()));
    assert_eq!(decode(Purse(Cell::new(MIB), Shortage::Now)), Err(WireError::NoRoom));
    let limit = FACTOR * text.len();
    assert_eq!(decode(Purse(Cell::new(MIB), Shortage::Ever)), Err(WireError::Grows { limit }));
    #[derive(Debug, Default, Deserialize)]
    #[serde(default)]
    struct Large {
        _parts: [[u64; 32]; 8],
    }
    let boxed = format!("[{}{{}}]", "{},".repeat(100_000));
    let decoded = Codec::Json.decode::<Vec<Box<Large>>>(boxed.as_bytes()).map(|list| list.len());
    assert_eq!(decoded, Err(WireError::Grows { limit: FACTOR * boxed.len() }));
    // What does not grow by much is not refused, however large; nor is anything that is small.
    let numbers = format!("[{}0]", "1,".repeat(MIB));
    assert_eq!(Codec::Json.decode::<Vec<u64>>(numbers.as_bytes()).map(|list| list.len()), Ok(MIB + 1));
    assert!(Codec::Json.decode::<serde_json::Value>(numbers.as_bytes()).is_ok());
    let points = format!("[{}0]", r#"{"x":1.5,"y":2.5},"#.repeat(100_000));
    assert!(Codec::Json.decode::<serde_json::Value>(points.as_bytes()).is_ok());
    for small in [r#"{"id":7},"#, r#"{"":0},"#] {
        let maps = format!("[{}0]", small.repeat(MIB / small.len()));
        assert!(Codec::Json.decode::<serde_json::Value>(maps.as_bytes()).is_ok(), "1 MiB of {small}");
    }
    let maps = format!("[{}0]", r#"{"":0},"#.repeat(FLOOR_BYTES / 1000));
    assert!(Codec::Json.decode::<serde_json::Value>(maps.as_bytes()).is_ok());
}

#[derive(Debug, Serialize, Deserialize, PartialEq, Eq, Hash, PartialOrd, Ord)]
struct Nothing {}

#[derive(Debug, Serialize, Deserialize)]
struct Skipped {
    #[serde(skip)]
    _bytes: [u64; 16],
}

#[derive(Debug, Serialize, Deserialize)]
struct Holder<T> {
    before: u8,
    parts: (T, Option<T>),
}

/// A list that claims so many elements, behind these bytes.
#[track_caller]
fn endless<T: DeserializeOwned + Debug>(before: &[u8]) {
    for claim in [1u64 << 20, 1 << 46, 1 << 60, u64::MAX] {
        let bytes = [before, &claim.to_le_bytes()].concat();
        let decoded = Codec::Bincode.decode::<T>(&bytes);
        assert!(matches!(decoded, Err(WireError::Undecodable(_) | WireError::Grows { .. })), "{claim}");
    }
}

/// 2^60 of them take no bytes and no end.
#[test]
fn elements_of_no_size_come_to_an_end() {
    endless::<Vec<()>>(&[]);
    endless::<Vec<Vec<()>>>(&1u64.to_le_bytes());
    endless::<Vec<[(); 32]>>(&[]);
    endless::<Vec<((), ())>>(&[]);
    endless::<Vec<Nothing>>(&[]);
    endless::<Vec<Skipped>>(&[]);
    endless::<HashSet<()>>(&[]);
    endless::<BTreeSet<Nothing>>(&[]);
    endless::<HashMap<(), Nothing>>(&[]);
    endless::<BTreeMap<(), ()>>(&[]);
    endless::<Holder<Vec<()>>>(&[7]);
    endless::<Option<Vec<()>>>(&[1]);
    let few = [&5u64.to_le_bytes()[..]].concat();
    assert_eq!(Codec::Bincode.decode::<Vec<()>>(&few), Ok(vec![(); 5]), "some are no fault");

    const UNITS: Method<Vec<()>, u64> = Method::new("test.units");
    let server =
        server("Server_Pool_Tasks=1").handle(UNITS, |_, units| Ok(units.len() as u64)).start().unwrap();
    let mut client = Raw::connect(server.address());
    client.stream.write_all(&call_frame(1, client.number("test.units"), Flags::NONE, 0, &[0x0f; 8])).unwrap();
    assert_eq!(client.read().expect("a reply").status(), Status::BadRequest);
    assert_eq!(client.call::<_, u64>("test.units", &vec![(); 3]), Ok(3), "its one worker is free");
}

/// Bytes that are no text, in what a type ignores, keeps, or has for a key.
#[test]
fn json_is_utf8_wherever_it_stands() {
    #[derive(Debug, Serialize, Deserialize)]
    struct Note {
        id: u8,
    }
    const NOTE: Method<Note, u8> = Method::new("test.note");
    const BLOB: Method<Bytes, u64> = Method::new("test.blob");
    let server = server("")
        .handle(NOTE, |_, note| Ok::<_, HandlerError>(note.id))
        .handle(BLOB, |_, blob| Ok(blob.len() as u64))
        .start()
        .unwrap();
    let mut client = Raw::connect(server.address());
    let mut status = |method: &str, json: &[u8]| {
        client.stream.write_all(&call_frame(1, client.number(method), Flags::JSON, 0, json)).unwrap();
        client.read().expect("a reply").status()
    };
    assert_eq!(status("test.note", b"{\"id\":1,\"more\":[\"\xc3\xa9\"]}"), Status::Ok);
    for wrong in [
        &b"{\"id\":1,\"more\":\"\xff\"}"[..],
        b"{\"id\":1,\"more\":[{\"\xc3\":1}]}",
        b"{\"id\":1,\"\xed\xa0\x80\":2}",
        b"{\"id\":1}\xff",
    ] {
        assert_eq!(status("test.note", wrong), Status::BadRequest, "{wrong:?}");
    }
    assert_eq!(status("test.blob", b"\"\xff\""), Status::BadRequest);
    assert_eq!(status("server.echo", b"[\"\xff\"]"), Status::BadRequest);
}

/// What is told of a value that has the wrong type is as before, but for what would be quoted without end.
#[test]
fn an_error_says_what_was_found_and_what_was_expected() {
    #[derive(Debug, Serialize, Deserialize, PartialEq, Eq, Hash, PartialOrd, Ord)]
    struct Id(u16);
    #[derive(Debug, Serialize, Deserialize, PartialEq)]
    #[serde(tag = "kind")]
    enum Tagged {
        A { x: u8 },
        B,
    }
    fn wrong<T: DeserializeOwned + Debug>(json: &str) -> String {
        match Codec::Json.decode::<T>(json.as_bytes()) {
            Err(WireError::Undecodable(message)) => message,
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(wrong::<u8>("null"), "invalid type: null, expected u8 at line 1 column 4");
    assert_eq!(wrong::<u8>("300"), "invalid value: integer `300`, expected u8 at line 1 column 3");
    assert_eq!(wrong::<(u8, u8)>("[1]"), "invalid length 1, expected a tuple of size 2 at line 1 column 3");
    assert_eq!(
        wrong::<Vec<u8>>("[1,\"x\"]"),
        "[1]: invalid type: string \"x\", expected u8 at line 1 column 6"
    );
    let color = "unknown variant `Blue`, expected one of `Red`, `Gray`, `Rgb`, `Named` at line 1 column 6";
    assert_eq!(wrong::<Color>("\"Blue\""), color);
    assert!(wrong::<Color>("{\"Gray\":1,\"Red\":null}").contains("line 1 column 1"), "one variant at a time");
    assert!(wrong::<Color>("{}").starts_with("invalid type: map, expected"));
    assert!(wrong::<Color>("{\"Gray\":[1]}").starts_with("Gray: invalid type: sequence, expected u8"));
    let long = wrong::<u8>(&format!("\"{}\"", "x".repeat(1 << 20)));
    assert!(long.len() < 4096 && long.contains("\"..., expected u8"), "{long}");
    // Keys that stand for something else, and values that are looked at twice.
    fn right<T: DeserializeOwned + Debug + PartialEq>(json: &str, value: T) {
        assert_eq!(Codec::Json.decode::<T>(json.as_bytes()), Ok(value), "{json}");
    }
    right("{\"true\":1,\"false\":2}", BTreeMap::from([(true, 1), (false, 2)]));
    right("{\"1\":\"a\"}", BTreeMap::from([(Id(1), "a".to_owned())]));
    right("{\"-7\":1}", HashMap::from([(-7i64, 1)]));
    right("{\"170141183460469231731687303715884105727\":1}", HashMap::from([(i128::MAX, 1)]));
    right("{\"7\":1}", BTreeMap::from([(Some(7u8), 1)]));
    right("{\"Red\":1}", BTreeMap::from([("Red".to_owned(), 1)]));
    right("[\"Red\",{\"Red\":null},{\"Rgb\":[1,2,3]}]", vec![Color::Red, Color::Red, Color::Rgb(1, 2, 3)]);
    right("{\"Named\":{\"name\":\"\\u00e9\"}}", Color::Named { name: "\u{e9}".to_owned() });
    right("[{\"kind\":\"A\",\"x\":1},{\"kind\":\"B\"}]", vec![Tagged::A { x: 1 }, Tagged::B]);
    assert!(wrong::<BTreeMap<bool, u8>>("{\"yes\":1}").contains("invalid type: string \"yes\""));
    for number in ["0", "1", "-1", "0.0"] {
        let message = wrong::<Tagged>(&format!("{{\"kind\":{number},\"x\":1}}"));
        assert!(message.contains("expected variant identifier"), "{message}");
    }
}

/// Takes whatever it is shown; what it asks for says its number.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Open<const ASKS: u8>(String);

impl<'de, const ASKS: u8> Deserialize<'de> for Open<ASKS> {
    fn deserialize<D: Deserializer<'de>>(decoder: D) -> Result<Open<ASKS>, D::Error> {
        match ASKS {
            0 => decoder.deserialize_bool(Taker),
            1 => decoder.deserialize_i8(Taker),
            2 => decoder.deserialize_u64(Taker),
            3 => decoder.deserialize_f64(Taker),
            4 => decoder.deserialize_i128(Taker),
            5 => decoder.deserialize_char(Taker),
            6 => decoder.deserialize_str(Taker),
            7 => decoder.deserialize_string(Taker),
            8 => decoder.deserialize_bytes(Taker),
            9 => decoder.deserialize_option(Taker),
            10 => decoder.deserialize_unit(Taker),
            11 => decoder.deserialize_unit_struct("Open", Taker),
            12 => decoder.deserialize_seq(Taker),
            13 => decoder.deserialize_tuple(1, Taker),
            14 => decoder.deserialize_tuple_struct("Open", 1, Taker),
            15 => decoder.deserialize_map(Taker),
            16 => decoder.deserialize_struct("Open", &["a"], Taker),
            17 => decoder.deserialize_enum("Open", &["a"], Taker),
            18 => decoder.deserialize_identifier(Taker),
            _ => decoder.deserialize_any(Taker),
        }
        .map(Open)
    }
}

struct Taker;

macro_rules! takes {
    ($($method:ident $type:ty)*) => {$(
        fn $method<E>(self, value: $type) -> Result<String, E> {
            Ok(format!("{} {value:?}", stringify!($method)))
        }
    )*};
}

impl<'de> Visitor<'de> for Taker {
    type Value = String;

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("what was asked for")
    }

    takes! { visit_bool bool visit_i64 i64 visit_u64 u64 visit_f64 f64 visit_i128 i128 visit_str &str visit_bytes &[u8] }

    fn visit_unit<E>(self) -> Result<String, E> {
        Ok("unit".to_owned())
    }

    fn visit_none<E>(self) -> Result<String, E> {
        Ok("none".to_owned())
    }

    fn visit_some<D: Deserializer<'de>>(self, decoder: D) -> Result<String, D::Error> {
        Open::<19>::deserialize(decoder).map(|open| format!("some {open:?}"))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<String, A::Error> {
        let first = list.next_element::<Open<19>>()?;
        Ok(format!("list {first:?}"))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<String, A::Error> {
        let first = map.next_entry::<Open<19>, Open<19>>()?;
        Ok(format!("map {first:?}"))
    }

    fn visit_enum<A: EnumAccess<'de>>(self, choice: A) -> Result<String, A::Error> {
        let (name, held) = choice.variant::<Open<18>>()?;
        Ok(format!("variant {name:?} {:?}", held.newtype_variant::<Open<19>>().ok()))
    }
}

/// A visitor that took a number where its type asked for text was shown it: variants could be named by their place.
#[test]
fn a_type_is_shown_what_it_asks_for_and_nothing_else() {
    fn same<T: DeserializeOwned + Debug + PartialEq>(json: &str) -> usize {
        let ours = Codec::Json.decode::<T>(json.as_bytes()).ok();
        let plain = serde_json::from_str::<T>(json).ok();
        assert_eq!(ours, plain, "{} from {json}", std::any::type_name::<T>());
        usize::from(plain.is_some())
    }
    fn asked<const ASKS: u8>() {
        let values =
            ["null", "true", "0", "1", "-1", "1.5", "1e300", "\"\"", "\"a\"", "\"1\"", "[]", "[1]", "{}"];
        let more = ["{\"a\":1}", "{\"a\":null}", "{\"a\":1,\"b\":2}", "[[\"a\"]]", "18446744073709551616"];
        let keys = ["{\"\":1}", "{\"a\":1}", "{\"1\":1}", "{\"-1\":1}", "{\"true\":1}", "{\"1.5\":1}"];
        let taken: usize = values.iter().chain(&more).map(|json| same::<Open<ASKS>>(json)).sum();
        assert!(taken > 0, "{ASKS} takes something");
        for json in keys {
            same::<BTreeMap<Open<ASKS>, u8>>(json);
        }
    }
    macro_rules! each {
        ($($asks:literal)*) => { $(asked::<$asks>();)* };
    }
    each!(0 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19);
}
