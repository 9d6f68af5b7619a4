//! Shapes found of types of every kind, and the errors of types that have no shape.

use super::shape_of;
use serde::de::{DeserializeOwned, Deserializer};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, HashSet};
use std::net::{IpAddr, SocketAddr};
use std::num::{NonZeroI8, NonZeroU64};
use std::time::Duration;

fn bincode<T: DeserializeOwned>() -> String {
    shape_of::<T>(false).unwrap_or_else(|why| panic!("{why}")).to_string()
}

fn json<T: DeserializeOwned>() -> String {
    shape_of::<T>(true).unwrap_or_else(|why| panic!("{why}")).to_string()
}

#[derive(Serialize, Deserialize)]
struct Unit;

#[derive(Serialize, Deserialize)]
struct Number(NonZeroU64);

#[derive(Serialize, Deserialize)]
struct Pair(u8, Number);

#[derive(Serialize, Deserialize)]
enum Color {
    Red,
    Rgb(u8, u8, u16),
    Named { name: String, shade: Option<Shade> },
    Other(BTreeMap<char, Vec<Shade>>),
}

#[derive(Serialize, Deserialize)]
enum Shade {
    Light,
    Dark,
}

#[derive(Serialize, Deserialize)]
struct Everything {
    id: Number,
    #[serde(rename = "a name")]
    name: String,
    color: Color,
    other: Box<Color>,
    raw: serde_bytes::ByteBuf,
    token: [u8; 16],
    unit: (),
    empty: Unit,
    pair: Pair,
    huge: (i128, u128),
    #[serde(skip)]
    _left_out: u64,
}

#[test]
fn every_kind_of_type_is_described() {
    assert_eq!(bincode::<()>(), "nothing");
    assert_eq!(bincode::<Option<Vec<(bool, f32)>>>(), "[(bool, f32)]?");
    assert_eq!(bincode::<HashSet<[i64; 2]>>(), "[(i64, i64)]");
    let shade = "Shade <Light | Dark>";
    let color = format!(
        "Color <Red | Rgb: (u8, u8, u16) | Named: {{ name: text, shade: {shade}? }} | Other: [char: [{shade}]]>"
    );
    let expected = format!(
        "Everything {{ id: u64, \"a name\": text, color: {color}, other: {color}, raw: bytes, token: [u8; 16], \
         unit: nothing, empty: nothing, pair: (u8, u64), huge: (i128, u128) }}"
    );
    assert_eq!(bincode::<Everything>(), expected);
    assert_eq!(json::<Everything>(), expected);
    assert_eq!(bincode::<Result<u8, String>>(), "Result <Ok: u8 | Err: text>");
    assert_eq!(bincode::<Duration>(), "Duration { secs: u64, nanos: u32 }");
}

#[test]
fn a_type_may_be_another_in_json() {
    assert_eq!(json::<IpAddr>(), "text");
    assert_eq!(bincode::<IpAddr>(), "IpAddr <V4: [u8; 4] | V6: [u8; 16]>");
    assert_eq!(json::<(SocketAddr, u8)>(), "(text, u8)", "a tuple goes on behind what takes few texts");
    assert_eq!(json::<serde_json::Value>(), "any");
    assert!(shape_of::<serde_json::Value>(false).unwrap_err().contains("its shape"));
}

/// Takes nothing that is made up for it.
struct Picky;

impl<'de> Deserialize<'de> for Picky {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Picky, D::Error> {
        match String::deserialize(deserializer)?.as_str() {
            "the word" => Ok(Picky),
            _ => Err(serde::de::Error::custom("not the word")),
        }
    }
}

#[derive(Deserialize)]
#[allow(dead_code, reason = "only its shape matters")]
struct Form {
    first: Picky,
    second: Picky,
    third: NonZeroI8,
    #[serde(alias = "old", alias = "zero")]
    renamed: u8,
}

#[derive(Deserialize)]
#[allow(dead_code, reason = "only its shape matters")]
enum Choice {
    A(Picky),
    B(Picky),
    C,
}

#[test]
fn what_refuses_values_hides_nothing_but_itself() {
    assert_eq!(bincode::<Form>(), "Form { first: text, second: text, third: i8, renamed: u8 }");
    assert_eq!(bincode::<Choice>(), "Choice <A: text | B: text | C>");
    assert_eq!(bincode::<Vec<Form>>(), format!("[{}]", bincode::<Form>()));
    let why = shape_of::<(Picky, u8)>(false).unwrap_err();
    assert_eq!(why, "it takes no value that is made up for it: not the word");
}

#[derive(Deserialize)]
#[allow(dead_code, reason = "only its shape matters")]
struct Tree {
    left: Option<Box<Tree>>,
    right: Vec<Tree>,
}

#[derive(Deserialize)]
#[allow(dead_code, reason = "only its shape matters")]
#[serde(untagged)]
enum Untagged {
    Number(u8),
    Text(String),
}

#[derive(Deserialize)]
#[allow(dead_code, reason = "only its shape matters")]
struct Flat {
    id: u8,
    #[serde(flatten)]
    rest: BTreeMap<String, u8>,
}

#[derive(Deserialize)]
#[allow(dead_code, reason = "only its shape matters")]
enum Aliased {
    #[serde(alias = "Old")]
    New(u8),
    Other,
}

struct Panics;

impl<'de> Deserialize<'de> for Panics {
    fn deserialize<D: Deserializer<'de>>(_: D) -> Result<Panics, D::Error> {
        std::panic::resume_unwind(Box::new("on purpose"))
    }
}

type Wide = [Vec<[Vec<[u8; 32]>; 32]>; 32];

#[test]
fn what_has_no_shape_says_why() {
    let why = |traced: Result<crate::schema::Shape, String>| traced.unwrap_err();
    assert!(why(shape_of::<Tree>(false)).ends_with("Tree contains itself"));
    assert!(why(shape_of::<Untagged>(false)).contains("needs to see its data"));
    assert!(why(shape_of::<Flat>(false)).contains("needs to see its data"));
    assert!(why(shape_of::<Aliased>(false)).contains("more than one name"));
    assert_eq!(why(shape_of::<Panics>(false)), "its Deserialize panics");
    assert!(why(shape_of::<Wide>(false)).contains("more than 4096 parts"));
    assert_eq!(json::<Flat>(), "[any: any]");
}
