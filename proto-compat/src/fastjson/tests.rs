use std::collections::BTreeMap;

use serde::Deserialize;

use super::*;

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, Default)]
#[serde(default)]
struct Key {
    id: i32,
    name: String,
}

#[derive(Debug, PartialEq, Serialize, Deserialize, Default)]
#[serde(default)]
struct Sample {
    by_id: BTreeMap<i64, String>,
    by_key: BTreeMap<Key, i64>,
    flag: bool,
    list: Vec<i32>,
    note: Option<String>,
    rate: f64,
}

fn key(id: i32) -> Key {
    Key {
        id,
        name: "n".into(),
    }
}

fn sample() -> Sample {
    Sample {
        by_id: [(0, "a".into()), (-1, "b".into())].into(),
        by_key: [(key(1), 5), (key(2), 6)].into(),
        flag: true,
        list: vec![1, 2],
        note: None,
        rate: 1.5,
    }
}

fn text(bytes: Result<Vec<u8>, BodyError>) -> String {
    String::from_utf8(bytes.unwrap()).unwrap()
}

#[test]
fn keys_stand_as_they_are_and_null_is_left_out() {
    let expected = r#"{"by_id":{-1:"b",0:"a"},"by_key":{{"id":1,"name":"n"}:5,{"id":2,"name":"n"}:6},"flag":true,"list":[1,2],"rate":1.5}"#;
    assert_eq!(text(to_vec(&sample())), expected);
    assert_eq!(from_slice::<Sample>(expected.as_bytes()).unwrap(), sample());
}

#[test]
fn the_standard_form_is_json_for_everyone() {
    let mut body = sample();
    body.note = Some("中/\u{1f600}".into());
    let standard = text(to_standard_vec(&body));
    assert!(standard.is_ascii());
    assert!(
        standard.contains(r#""note":"\u4E2D\/\uD83D\uDE00""#),
        "{standard}"
    );
    assert!(standard.contains(r#"{"-1":"b","0":"a"}"#), "{standard}");
    let strict: serde_json::Value = serde_json::from_str(&standard).unwrap();
    assert_eq!(strict["by_key"][r#"{"id":1,"name":"n"}"#], 5);
    assert_eq!(strict["note"], "中/\u{1f600}");
}

#[test]
fn files_have_lines_and_tabs() {
    let body: BTreeMap<&str, BTreeMap<i32, i64>> = [("a@b", [(0, 123), (1, 4)].into())].into();
    let outer: BTreeMap<&str, _> = [("empty", BTreeMap::new()), ("offsetTable", body)].into();
    assert_eq!(
        text(to_pretty_vec(&outer)),
        "{\n\t\"empty\":{},\n\t\"offsetTable\":{\n\t\t\"a@b\":{\n\t\t\t0:123,\n\t\t\t1:4\n\t\t}\n\t}\n}"
    );
}

#[test]
fn what_fastjson_accepts_is_accepted() {
    let relaxed = r#" {'by_id':{0:'x',"1":"y",},flag:"true",,"list":[1,"2",3.0,],
        unknown:{a:[{}]},"note":null,"rate":"2", by_key : { {id:7, "name":"n"} : "8" } } "#;
    let read: Sample = from_slice(relaxed.as_bytes()).unwrap();
    let expected = Sample {
        by_id: [(0, "x".into()), (1, "y".into())].into(),
        by_key: [(key(7), 8)].into(),
        flag: true,
        list: vec![1, 2, 3],
        note: None,
        rate: 2.0,
    };
    assert_eq!(read, expected);
}

#[test]
fn text_escapes_are_those_of_fastjson() {
    let read: String = from_slice(br#""\x41\v\'\/\0\u4E2D\uD83D\uDE00\ud800x""#).unwrap();
    assert_eq!(read, "A\u{b}'/\0中\u{1f600}\u{fffd}x");
    let odd = "\u{0}\u{1f}\"\\\t\u{7f}\u{9f}\u{2028}é";
    assert_eq!(
        text(to_vec(odd)),
        r#""\u0000\u001F\"\\\t\u007F\u009F\u2028é""#
    );
    assert_eq!(from_slice::<String>(&to_vec(odd).unwrap()).unwrap(), odd);
}

#[test]
fn doubles_are_spelt_as_java_spells_them() {
    for (value, spelt) in [
        (0.0, "0.0"),
        (10.0, "10.0"),
        (-1.5, "-1.5"),
        (0.001, "0.001"),
        (1e-5, "1.0E-5"),
        (1e7, "1.0E7"),
        (123_456_789.0, "1.23456789E8"),
        (f64::NAN, "null"),
    ] {
        assert_eq!(text(to_vec(&value)), spelt);
    }
}

#[test]
fn malformed_text_is_refused_where_it_goes_wrong() {
    for (json, at) in [
        ("", 0),
        ("{", 1),
        ("[1 2]", 3),
        ("{\"a\" 1}", 5),
        ("{:1}", 1),
        ("\"abc", 1),
        ("\"\\q\"", 2),
        ("\"\\u12\"", 5),
        ("1-2", 3),
        ("nul", 3),
        ("{} x", 3),
    ] {
        match from_slice::<serde::de::IgnoredAny>(json.as_bytes()) {
            Err(BodyError::Syntax { at: found, .. }) => assert_eq!(found, at, "{json}"),
            other => panic!("{json}: {other:?}"),
        }
    }
    assert!(from_slice::<serde::de::IgnoredAny>(b"\"\xff\"").is_err());
}

/// fastjson 1 writes an object's second occurrence as a reference to its first. To read that as an
/// object without fields would lose it silently.
#[test]
fn a_reference_is_refused() {
    let error = from_slice::<BTreeMap<String, Key>>(br#"{"a":{"id":1},"b":{"$ref":"$.a"}}"#);
    assert!(error.unwrap_err().to_string().contains("reference"));
}

#[test]
fn depth_and_number_of_values_are_limited() {
    let deep = |levels: usize| "[".repeat(levels) + &"]".repeat(levels);
    let ok = from_slice::<serde::de::IgnoredAny>(deep(DEPTH_MAX).as_bytes());
    assert!(ok.is_ok());
    for json in [
        deep(DEPTH_MAX + 1),
        "{".repeat(100_000),
        "[".to_owned() + &"1,".repeat(VALUES_MAX) + "]",
    ] {
        let error = from_slice::<serde::de::IgnoredAny>(json.as_bytes()).unwrap_err();
        assert!(matches!(error, BodyError::Syntax { .. }), "{error}");
    }
}

#[test]
fn shape_errors_say_what_was_expected() {
    let error = from_slice::<Sample>(br#"{"list":"x"}"#).unwrap_err();
    assert_eq!(
        error.to_string(),
        "invalid type: string \"x\", expected a sequence"
    );
    assert!(from_slice::<Key>(br#"{"id":3000000000}"#).is_err());
}
