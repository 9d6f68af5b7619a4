//! Types of a client that differ from the server's are found before anything is sent; compatible differences are
//! accepted.
//!
//! The rows of the table of changes in `docs/TYPES.md` are the functions below; a test compares.
#![cfg(all(feature = "client", feature = "server"))]

mod common;

use boneyard::client::Blame;
use boneyard::internal::schema::Schema;
use boneyard::service::builtin::{MethodSchema, SCHEMA};
use boneyard::service::{ApplicationError, Bytes, ErrorList, Status};
use boneyard::{Client, ClientError, Method, RunningServer, Server};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

/// A server with one method, which returns its arguments, and a count of its calls.
struct Echo {
    server: RunningServer,
    calls: Arc<AtomicU32>,
}

const NAME: &str = "test.echo";

impl Echo {
    fn of<T: Serialize + for<'de> Deserialize<'de> + 'static>() -> Echo {
        let calls = Arc::new(AtomicU32::new(0));
        let counted = Arc::clone(&calls);
        let method = Method::<T, T>::new(NAME);
        let handler = move |_: &boneyard::Transaction<'_>, value| {
            counted.fetch_add(1, Ordering::Relaxed);
            Ok(value)
        };
        let server = Server::new(common::config("")).handle(method, handler).start().expect("starts");
        Echo { server, calls }
    }

    fn client(&self) -> Client {
        Client::new(self.server.address()).unwrap()
    }

    /// The first difference that a client with these types gets; nothing was called.
    #[track_caller]
    fn mismatch<T: Serialize + for<'de> Deserialize<'de>>(&self, value: &T) -> String {
        let called = self.calls.load(Ordering::Relaxed);
        let error =
            self.client().call(Method::<T, T>::new(NAME), value).map(drop).expect_err("the types differ");
        assert_eq!(self.calls.load(Ordering::Relaxed), called, "nothing was called");
        assert!(error.never_started() && error.blame() == Blame::Caller);
        match error {
            ClientError::SchemaMismatch { method, difference } if method == NAME => difference,
            other => panic!("{other:?}"),
        }
    }

    /// A client with these types gets this value back.
    #[track_caller]
    fn accepts<T>(&self, value: &T)
    where
        T: Serialize + for<'de> Deserialize<'de> + PartialEq + std::fmt::Debug,
    {
        assert_eq!(self.client().call(Method::<T, T>::new(NAME), value).as_ref(), Ok(value));
    }

    #[track_caller]
    fn json(&self, arguments: &str) -> Result<String, String> {
        self.client().call_json(NAME, arguments).map_err(|error| {
            assert!(matches!(error, ClientError::BadRequest(_)), "{error:?}");
            error.to_string()
        })
    }
}

/// Derives the traits of all types here.
macro_rules! types {
    ($($(#[$attribute:meta])* $kind:ident $name:ident $body:tt)*) => {$(
        #[derive(Debug, PartialEq, Serialize, Deserialize)]
        $(#[$attribute])*
        $kind $name $body
    )*};
}

types! {
    struct Note { title: String, size: u32 }
}

types! { struct Memo { title: String, size: u32 } }

#[test]
fn change_name_of_a_type() {
    let server = Echo::of::<Note>();
    server.accepts(&Memo { title: "a".to_owned(), size: 1 });
    server.accepts(&Note { title: "a".to_owned(), size: 1 });
    #[derive(Debug, Serialize, Deserialize)]
    struct Id(u64);
    Echo::of::<Id>().accepts(&7u64);
}

types! {
    struct TaggedNote { title: String, size: u32, #[serde(default)] tags: Vec<String> }
    struct StrictNote { title: String, size: u32, tags: Vec<String> }
}

#[test]
fn change_field_added() {
    let server = Echo::of::<TaggedNote>();
    let said = server.mismatch(&Note { title: "a".to_owned(), size: 1 });
    assert_eq!(said, "request: no more fields here, field 3 is \"tags\" at the server");
    let old = Echo::of::<Note>();
    let said = old.mismatch(&TaggedNote { title: "a".to_owned(), size: 1, tags: Vec::new() });
    assert_eq!(said, "request: field 3 is \"tags\" here, no more fields at the server");

    assert_eq!(server.json(r#"{"title":"a","size":1}"#).unwrap(), r#"{"title":"a","size":1,"tags":[]}"#);
    let unknown = r#"{"title":"a","size":1,"tags":["x"]}"#;
    assert_eq!(old.json(unknown).unwrap(), r#"{"title":"a","size":1}"#, "what is not known is passed over");
    let strict = Echo::of::<StrictNote>();
    assert!(strict.json(r#"{"title":"a","size":1}"#).unwrap_err().contains("missing field `tags`"));
}

types! { struct DueNote { title: String, size: u32, due: Option<u64> } }

#[test]
fn change_optional_field_added() {
    let server = Echo::of::<DueNote>();
    let said = server.mismatch(&Note { title: "a".to_owned(), size: 1 });
    assert!(said.ends_with("field 3 is \"due\" at the server"), "{said}");
    assert_eq!(server.json(r#"{"title":"a","size":1}"#).unwrap(), r#"{"title":"a","size":1,"due":null}"#);
}

types! { struct ShortNote { title: String } }

#[test]
fn change_field_removed() {
    let server = Echo::of::<ShortNote>();
    let said = server.mismatch(&Note { title: "a".to_owned(), size: 1 });
    assert_eq!(said, "request: field 2 is \"size\" here, no more fields at the server");
    assert_eq!(server.json(r#"{"title":"a","size":1}"#).unwrap(), r#"{"title":"a"}"#);
}

types! { struct HeadedNote { #[serde(alias = "title")] heading: String, size: u32 } }

#[test]
fn change_field_renamed() {
    let server = Echo::of::<HeadedNote>();
    let said = server.mismatch(&Note { title: "a".to_owned(), size: 1 });
    assert_eq!(said, "request: field 1 is \"title\" here, field 1 is \"heading\" at the server");
    assert_eq!(server.json(r#"{"title":"a","size":1}"#).unwrap(), r#"{"heading":"a","size":1}"#);
    assert!(Echo::of::<Note>().json(r#"{"heading":"a","size":1}"#).is_err(), "without an alias");
}

types! {
    struct Area { width: u32, height: u32 }
    struct TurnedArea { height: u32, width: u32 }
}

#[test]
fn change_fields_reordered() {
    let server = Echo::of::<TurnedArea>();
    let said = server.mismatch(&Area { width: 1, height: 2 });
    assert_eq!(said, "request: field 1 is \"width\" here, field 1 is \"height\" at the server");
    assert_eq!(server.json(r#"{"width":1,"height":2}"#).unwrap(), r#"{"height":2,"width":1}"#);
}

#[test]
fn change_integer_widened() {
    let server = Echo::of::<u64>();
    assert_eq!(server.mismatch(&1u32), "request: u32 here, u64 at the server");
    assert_eq!(server.json("1").unwrap(), "1");
    assert!(Echo::of::<u32>().json("4294967296").unwrap_err().contains("expected u32"));
}

#[test]
fn change_value_made_optional() {
    let server = Echo::of::<(u32, Option<u32>)>();
    assert_eq!(
        server.mismatch(&(1u32, 2u32)),
        "request: (u32, u32) here, (u32, u32?) at the server"
            .replace(": (u32, u32) here, (u32, u32?)", ".1: u32 here, u32?")
    );
    assert_eq!(server.json("[1,2]").unwrap(), "[1,2]");
}

types! {
    enum TwoColors { Red, Rgb(u8, u8, u8) }
    enum ThreeColors { Red, Rgb(u8, u8, u8), Named { name: String } }
    enum TurnedColors { Rgb(u8, u8, u8), Red }
}

const ASK: &str = "test.ask";
const TELL: &str = "test.tell";

#[test]
fn change_variant_added_at_the_end() {
    let server = Server::new(common::config(""))
        .handle(Method::<ThreeColors, ()>::new(ASK), |_, _| Ok(()))
        .handle(Method::<(), ThreeColors>::new(TELL), |_, ()| Ok(ThreeColors::Red))
        .start()
        .unwrap();
    let client = Client::new(server.address()).unwrap();
    // A reader may know more variants: an old client asks, and gets nothing that it cannot read.
    assert_eq!(client.call(Method::<TwoColors, ()>::new(ASK), &TwoColors::Rgb(1, 2, 3)), Ok(()));
    let told = client.call(Method::<(), TwoColors>::new(TELL), &());
    let Err(ClientError::SchemaMismatch { difference, .. }) = told else { panic!("{told:?}") };
    assert_eq!(difference, "response: no more variants here, variant 3 is \"Named\" at the server");
    assert_eq!(client.call_json(ASK, r#"{"Rgb":[1,2,3]}"#).as_deref(), Ok("null"));

    let old = Server::new(common::config(""))
        .handle(Method::<TwoColors, ()>::new(ASK), |_, _| Ok(()))
        .handle(Method::<(), TwoColors>::new(TELL), |_, ()| Ok(TwoColors::Red))
        .start()
        .unwrap();
    let client = Client::new(old.address()).unwrap();
    let asked = client.call(Method::<ThreeColors, ()>::new(ASK), &ThreeColors::Red);
    assert!(matches!(asked, Err(ClientError::SchemaMismatch { .. })), "{asked:?}");
    assert_eq!(client.call(Method::<(), ThreeColors>::new(TELL), &()), Ok(ThreeColors::Red));
}

#[test]
fn change_variants_reordered() {
    let server = Echo::of::<TurnedColors>();
    let said = server.mismatch(&TwoColors::Red);
    assert_eq!(said, "request: variant 1 is \"Red\" here, variant 1 is \"Rgb\" at the server");
    assert_eq!(server.json(r#""Red""#).unwrap(), r#""Red""#);
}

#[test]
fn change_list_to_map() {
    let server = Echo::of::<BTreeMap<String, u8>>();
    let said = server.mismatch(&vec![("a".to_owned(), 1u8)]);
    assert_eq!(said, "request: [(text, u8)] here, [text: u8] at the server");
    assert!(server.json(r#"[["a",1]]"#).is_err());
}

mod listed {
    boneyard::application_errors! { pub enum First { NotFound = 1 => "no such ticket", Closed = 2 => "closed" } }
    boneyard::application_errors! {
        pub enum Longer { NotFound = 1 => "another text", Closed = 2 => "closed", Locked = 3 => "locked" }
    }
    boneyard::application_errors! { pub enum Renamed { NotFound = 1 => "no such ticket", Sold = 2 => "sold" } }
    boneyard::application_errors! { pub enum Renumbered { NotFound = 7 => "no such ticket" } }
}

/// A client with the one list calls a server with the other: the method fails with the error 1 or 3.
fn call_listed<Client: ErrorList, Server: ErrorList>(code: u32) -> (Option<Client>, ClientError) {
    let (client, server) = (Method::<u32, (), Client>::new(ASK), Method::<u32, (), Server>::new(ASK));
    let fail = |_: &boneyard::Transaction<'_>, code| Err(ApplicationError::new(code, "").into());
    let server = boneyard::Server::new(common::config("")).handle(server, fail).start().unwrap();
    let error = boneyard::Client::new(server.address()).unwrap().call(client, &code).unwrap_err();
    (client.error_of(&error), error)
}

#[test]
fn change_error_listed() {
    use listed::{First, Longer};
    assert_eq!(call_listed::<(), First>(1).0, None);
    assert_eq!(call_listed::<First, ()>(1).0, Some(First::NotFound));
    assert_eq!(call_listed::<Longer, First>(1).0, Some(Longer::NotFound));
    let (named, error) = call_listed::<First, Longer>(3);
    assert_eq!((named, error.status()), (None, Some(Status::Application)));
    assert_eq!(Longer::from_code(3), Some(Longer::Locked));
}

#[test]
fn change_listed_error_renamed_or_renumbered() {
    use listed::{First, Renamed, Renumbered};
    let difference = |error: ClientError| match error {
        ClientError::SchemaMismatch { method, difference } if method == ASK => difference,
        other => panic!("{other:?}"),
    };
    let renamed = difference(call_listed::<First, Renamed>(1).1);
    assert_eq!(renamed, "errors: Closed = 2 here, Sold = 2 at the server");
    let renumbered = difference(call_listed::<First, Renumbered>(1).1);
    assert_eq!(renumbered, "errors: NotFound = 1 here, NotFound = 7 at the server");
}

#[test]
fn the_list_of_errors_is_part_of_the_fingerprint_and_a_method_without_keeps_its_own() {
    let without = Method::<u32, u32>::new(ASK).schema().fingerprint();
    // As in every earlier build; so is what a client asks an earlier server, and an earlier client this one.
    assert_eq!(without, 0xb91e_6eb8_817c_4c56);
    assert_eq!(SCHEMA.schema().fingerprint(), 0x723c_bf31_94d4_f891);
    let listed = [
        Method::<u32, u32, listed::First>::new(ASK).schema().fingerprint(),
        Method::<u32, u32, listed::Longer>::new(ASK).schema().fingerprint(),
        Method::<u32, u32, listed::Renamed>::new(ASK).schema().fingerprint(),
        without,
    ];
    let different: std::collections::BTreeSet<u64> = listed.into();
    assert_eq!(different.len(), listed.len());
    assert!(listed.iter().all(|fingerprint| *fingerprint != 0));
}

#[test]
fn every_change_is_in_the_table_of_the_page() {
    let root = env!("CARGO_MANIFEST_DIR");
    let page = std::fs::read_to_string(format!("{root}/docs/TYPES.md")).unwrap();
    let source = std::fs::read_to_string(file!()).unwrap();
    let table = page
        .split("<!-- changes -->")
        .nth(1)
        .and_then(|rest| rest.split("<!-- /changes -->").next())
        .unwrap();
    let rows = table.lines().skip(1).filter(|line| line.starts_with("| ")).skip(1);
    let named: Vec<String> =
        rows.map(|row| row.split('|').nth(1).unwrap().trim().to_lowercase().replace(' ', "_")).collect();
    let tests: Vec<String> = source
        .lines()
        .filter_map(|line| line.strip_prefix("fn change_")?.strip_suffix("() {").map(str::to_owned))
        .collect();
    assert_eq!(named, tests);
    assert!(tests.len() >= 10);
}

#[test]
fn a_mismatch_of_one_method_does_not_affect_others() {
    let server = Echo::of::<Note>();
    let client = server.client();
    let note = Note { title: "a".to_owned(), size: 1 };
    let (right, wrong) = (Method::<Note, Note>::new(NAME), Method::<u32, u32>::new(NAME));
    for _ in 0..2 {
        assert_eq!(client.call(right, &note).as_ref(), Ok(&note));
        assert!(matches!(client.call(wrong, &1), Err(ClientError::SchemaMismatch { .. })));
        assert!(matches!(client.start(wrong, &1).map(drop), Err(ClientError::SchemaMismatch { .. })));
        assert_eq!(client.start(right, &note).unwrap().wait().as_ref(), Ok(&note));
        assert_eq!(client.call_json(NAME, r#"{"title":"a","size":1}"#).unwrap(), r#"{"title":"a","size":1}"#);
    }
    let session = client.session().unwrap();
    assert_eq!(session.call(right, &note).as_ref(), Ok(&note));
    assert!(matches!(session.call(wrong, &1), Err(ClientError::SchemaMismatch { .. })));
    assert_eq!(server.calls.load(Ordering::Relaxed), 7);
}

#[test]
fn a_server_is_asked_once_for_types_that_differ() {
    let server = Server::new(common::config("")).handle(Method::<ThreeColors, ()>::new(ASK), |_, _| Ok(()));
    let server = server.start().unwrap();
    let came = || server.ports()[0].stats().calls.get();
    let (older, wrong) = (Method::<TwoColors, ()>::new(ASK), Method::<TurnedColors, ()>::new(ASK));
    for connections in 1..=2 {
        let client = Client::new(server.address()).unwrap();
        for _ in 0..3 {
            assert_eq!(client.call(older, &TwoColors::Red), Ok(()));
            let said = client.call(wrong, &TurnedColors::Red);
            assert!(matches!(said, Err(ClientError::SchemaMismatch { .. })), "{said:?}");
        }
        assert_eq!(came(), connections * (3 + 2), "three calls, and a question for each of the types");
    }
}

#[test]
fn types_without_a_description_are_not_compared() {
    let told = Method::<(), &'static str>::undescribed("test.tell");
    let server =
        Server::new(common::config("")).handle(told, |_, ()| Ok("of the program")).start().expect("starts");
    let client = Client::new(server.address()).unwrap();
    assert_eq!(client.call(Method::<(), String>::new("test.tell"), &()).unwrap(), "of the program");
    let schema = client.call(SCHEMA, &"test.tell".to_owned()).unwrap();
    assert_eq!((schema.fingerprint, schema.bincode, schema.json), (0, None, None));
    assert_eq!(schema.unknown, "it was declared without a description");
    // The other way round: the server has a description, and the client writes what the server cannot read.
    let server = Echo::of::<String>();
    let borrowed = Method::<&str, String>::undescribed(NAME);
    assert_eq!(server.client().call(borrowed, &"x").unwrap(), "x");
}

#[test]
fn the_server_describes_its_types() {
    let server = Echo::of::<(Note, IpAddr)>();
    let client = server.client();
    let schema = client.call(SCHEMA, &NAME.to_owned()).unwrap();
    assert_eq!(schema, MethodSchema::from(&Schema::of::<(Note, IpAddr), (Note, IpAddr)>()));
    let (bincode, json) = (schema.bincode.unwrap(), schema.json.unwrap());
    assert_eq!(bincode.request, "(Note { title: text, size: u32 }, IpAddr <V4: [u8; 4] | V6: [u8; 16]>)");
    assert_eq!(json.response, "(Note { title: text, size: u32 }, text)");
    let welcome = common::Raw::connect(server.server.address()).welcome;
    for entry in welcome.methods {
        let schema = client.call(SCHEMA, &entry.name).unwrap();
        assert_eq!(schema.fingerprint, entry.fingerprint, "{}", entry.name);
        assert_eq!(schema.fingerprint == 0, entry.name == "server.echo", "{}", entry.name);
    }
    let unknown = client.call(SCHEMA, &"no.such".to_owned());
    assert!(matches!(unknown, Err(ClientError::UnknownMethod { .. })), "{unknown:?}");
    let raw = client.call_json(SCHEMA.name(), "\"server.ping\"").unwrap();
    assert!(raw.contains(r#""bincode":{"request":"nothing","response":"nothing"}"#), "{raw}");
    assert_eq!(Status::UnknownMethod.code(), 10);
}

#[test]
fn bytes_and_lists_of_numbers_encode_alike_and_are_told_apart() {
    let server = Echo::of::<Vec<u8>>();
    let said = server.mismatch(&Bytes::from(vec![1, 2]));
    assert_eq!(said, "request: bytes here, [u8] at the server");
}
