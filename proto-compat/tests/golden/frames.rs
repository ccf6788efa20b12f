//! Whole frames.

use bytes::{Bytes, BytesMut};
use serde_json::Value;
use thrustmq_proto_compat::command::{Command, Encoding};
use thrustmq_proto_compat::field::ExtFields;
use thrustmq_proto_compat::frame;

use crate::fixture::{bytes, number, read, text};

/// The frame of a fixture as a command.
pub(crate) fn decode(fixture: &Value) -> Command {
    let mut received = BytesMut::from(bytes(&fixture["bytes"]).as_slice());
    let whole = frame::split(&mut received).unwrap().unwrap();
    assert!(received.is_empty(), "{}", fixture["name"]);
    frame::decode(whole).unwrap()
}

/// The fields that Java reads; the binary encoding loses those that are empty.
pub(crate) fn fields(fixture: &Value) -> ExtFields {
    let fields = fixture["command"]["extFields"].as_object().unwrap();
    let with_value = fields.iter().filter(|(_, value)| !value.is_null());
    with_value
        .map(|(key, value)| (key.as_str(), text(value)))
        .collect()
}

#[test]
fn commands_are_what_java_means() {
    for fixture in read("frames.json") {
        let command = decode(&fixture);
        let expected = &fixture["command"];
        let about = &fixture["name"];
        assert_eq!(
            i64::from(command.code),
            number(&expected["code"]),
            "{about}"
        );
        assert_eq!(
            command.language.name(),
            text(&expected["language"]),
            "{about}"
        );
        assert_eq!(
            i64::from(command.version),
            number(&expected["version"]),
            "{about}"
        );
        assert_eq!(
            i64::from(command.opaque),
            number(&expected["opaque"]),
            "{about}"
        );
        assert_eq!(
            i64::from(command.flag),
            number(&expected["flag"]),
            "{about}"
        );
        assert_eq!(
            command.remark.as_deref(),
            expected["remark"].as_str(),
            "{about}"
        );
        assert_eq!(command.body.to_bytes(), bytes(&expected["body"]), "{about}");
        assert_eq!(command.fields, fields(&fixture), "{about}");
        let is_binary = command.encoding == Encoding::Binary;
        assert_eq!(is_binary, fixture["encoding"] == "ROCKETMQ", "{about}");
    }
}

#[test]
fn frames_are_written_as_java_writes_them() {
    for fixture in read("frames.json") {
        let command = decode(&fixture);
        let java = bytes(&fixture["bytes"]);
        // Java writes `"extFields":{}` for a header without fields, and the names of empty fields.
        let java_fields = fixture["command"]["extFields"].as_object().unwrap();
        if java_fields.len() != command.fields.len() || command.fields.is_empty() {
            continue;
        }
        let written = frame::encode(&command).unwrap();
        assert_eq!(written, java, "{} {written:?}", fixture["name"]);
    }
}

#[test]
fn a_frame_that_comes_byte_by_byte_is_the_same() {
    let fixture = &read("frames.json")[0];
    let whole = bytes(&fixture["bytes"]);
    let mut received = BytesMut::new();
    for (at, byte) in whole.iter().enumerate() {
        assert_eq!(frame::split(&mut received).unwrap(), None, "{at}");
        received.extend_from_slice(&[*byte]);
    }
    let frame = frame::split(&mut received).unwrap().unwrap();
    assert_eq!(frame, Bytes::copy_from_slice(&whole[4..]));
}
