//! The form of an answer in which two brokers are compared: without times, addresses, and places in the log.

use regex::Regex;
use serde_json::{Map, Value, json};
use thrustmq_proto_compat::message::properties::Properties;
use thrustmq_proto_compat::message::record::{self, CheckBody, RecordView};

use crate::normal_form::NormalForm;
use crate::wire::Answer;

/// Fields and keys whose values are places in the log or sizes of records, which hold a checksum with ours; and
/// measured values.
const PLACES: &[&str] = &[
    "commitLogOffset",
    "physicOffset",
    "physicSize",
    "offsetPy",
    "sizePy",
    "phyOffset",
    "storeSize",
    "stateVersion",
    "subVersion",
    "version",
    "opaque",
    "clientId",
    "consumeTps",
    "pullTPS",
    "spentTimeMills",
    "storeTime",
    "msgStoreTime",
    "preparedTransactionOffset",
    "indexLastUpdatePhyoffset",
    "delayTime",
    "recallHandle",
];
/// Means of 315: messages a call, or what [`keep_keys`] takes out.
const PER_CALL: &str = "avgpt";
/// The time that every request of the scripts was born at: it says something.
const SCRIPTED_TIME: i64 = 1_700_000_000_000;
const TAGGED_EXCEPTION: &str = r"^(?:java|org|com|io)\.[\w.$]+?(\w+(?:Exception|Error))\b.*";

/// The rules by which texts become comparable.
#[derive(Debug)]
pub struct Normal {
    form: NormalForm,
    exception: Regex,
    bare_exception: Regex,
}

impl Normal {
    /// Compiles the rules.
    pub fn new() -> anyhow::Result<Self> {
        Ok(Self {
            form: NormalForm::new()?,
            exception: Regex::new(&format!("(?s){TAGGED_EXCEPTION}"))?,
            bare_exception: Regex::new(r"(?s)^(\w+(?:Exception|Error))\b.*")?,
        })
    }

    fn text(&self, text: &str) -> String {
        for pattern in [&self.exception, &self.bare_exception] {
            if let Some(found) = pattern.captures(text) {
                return format!("EXCEPTION {}", &found[1]);
            }
        }
        self.form.lines(text).join("\n")
    }
}

/// An answer in its comparable form.
pub fn to_value(answer: &Answer, normal: &Normal) -> anyhow::Result<Value> {
    let mut value = json!({ "code": answer.code });
    if !answer.remark.is_empty() {
        value["remark"] = Value::from(normal.text(&answer.remark));
    }
    if let Some(fields) = answer
        .fields
        .as_object()
        .filter(|fields| !fields.is_empty())
    {
        value["fields"] = without_places(&Value::Object(fields.clone()), normal);
    }
    if !answer.body.is_empty() {
        value["body"] = body(&answer.body, normal)?;
    }
    Ok(value)
}

fn body(bytes: &[u8], normal: &Normal) -> anyhow::Result<Value> {
    if let Some(found) = parsed(bytes) {
        return Ok(without_places(&found, normal));
    }
    if let Some(records) = records(bytes, normal) {
        return Ok(Value::Array(records));
    }
    Ok(match std::str::from_utf8(bytes) {
        Ok(text) => Value::from(normal.text(text)),
        Err(_) => Value::from(format!("{} bytes", bytes.len())),
    })
}

/// JSON as Java writes it, where keys may be numbers and whole objects: those become texts.
fn parsed(bytes: &[u8]) -> Option<Value> {
    let text = std::str::from_utf8(bytes).ok()?;
    let mut quoted = String::with_capacity(text.len());
    let mut rest = text;
    let mut in_text = false;
    while let Some(character) = rest.chars().next() {
        let length = character.len_utf8();
        if in_text && character == '\\' {
            quoted.push_str(rest.get(..2)?);
            rest = rest.get(2..)?;
            continue;
        }
        in_text ^= character == '"';
        quoted.push(character);
        rest = rest.get(length..)?;
        // A key begins after `{`, and after a `,` that is followed by a key.
        if !in_text && matches!(character, '{' | ',') {
            let length = bare_key_length(rest);
            let key = rest.get(..length)?;
            if !key.is_empty() {
                let inner =
                    parsed(key.as_bytes()).map_or_else(|| key.to_owned(), |key| key.to_string());
                quoted.push_str(&Value::from(inner).to_string());
                rest = rest.get(length..)?;
            }
        }
    }
    serde_json::from_str(&quoted).ok()
}

/// How long the key at the start of `text` is, if there is one that is a number or an object.
fn bare_key_length(text: &str) -> usize {
    let length = if text.starts_with('{') {
        object_length(text)
    } else {
        text.find(|c: char| !c.is_ascii_digit()).unwrap_or(0)
    };
    let is_key = text.get(length..).is_some_and(|rest| rest.starts_with(':'));
    if is_key { length } else { 0 }
}

fn object_length(text: &str) -> usize {
    let mut depth = 0;
    for (at, character) in text.char_indices() {
        match character {
            '{' => depth += 1,
            '}' => depth -= 1,
            _ => {}
        }
        if depth == 0 {
            return at + character.len_utf8();
        }
    }
    0
}

fn records(mut bytes: &[u8], normal: &Normal) -> Option<Vec<Value>> {
    let mut found = Vec::new();
    while !bytes.is_empty() {
        let view = record::check(bytes, CheckBody::Crc).ok()?;
        found.push(record_value(&view, normal));
        bytes = bytes.get(view.record_bytes..)?;
    }
    Some(found)
}

fn record_value(view: &RecordView<'_>, normal: &Normal) -> Value {
    let mut properties = Map::new();
    for (key, value) in Properties::parse(&view.properties_text()).iter() {
        // Our records vouch for all their bytes.
        if key != "__CRC32#" {
            properties.insert(key.to_owned(), Value::from(normal.text(value)));
        }
    }
    json!({
        "topic": view.topic,
        "queueId": view.queue_id,
        "queueOffset": view.queue_offset,
        "flag": view.flag,
        "sysFlag": view.sys_flag,
        "bornAsScripted": view.born_timestamp == SCRIPTED_TIME,
        "reconsumeTimes": view.reconsume_times,
        "ofTransaction": view.prepared_transaction_offset != 0,
        "body": String::from_utf8_lossy(view.body),
        "properties": properties,
    })
}

/// Texts in normal form; lists sorted, since Java's sets have no order.
fn without_places(value: &Value, normal: &Normal) -> Value {
    match value {
        Value::Object(members) => {
            let mut kept = Map::new();
            for (key, value) in members {
                let is_place =
                    PLACES.contains(&key.as_str()) && !value.is_object() && !value.is_array();
                let value = if is_place {
                    Value::from("MASKED")
                } else if key == PER_CALL {
                    Value::from(value.as_f64())
                } else {
                    without_places(value, normal)
                };
                kept.insert(key_text(key, normal), value);
            }
            Value::Object(kept)
        }
        Value::Array(items) => {
            let mut items: Vec<_> = items
                .iter()
                .map(|item| without_places(item, normal))
                .collect();
            items.sort_by_key(Value::to_string);
            Value::Array(items)
        }
        Value::String(text) => Value::from(normal.text(text)),
        Value::Number(number) if is_measured(number) => Value::from("NUMBER"),
        Value::Number(_) | Value::Bool(_) | Value::Null => value.clone(),
    }
}

/// Keys that are whole objects are texts here: their members in one order.
fn key_text(key: &str, normal: &Normal) -> String {
    match serde_json::from_str::<Value>(key) {
        Ok(object @ Value::Object(_)) => without_places(&object, normal).to_string(),
        _ => normal.text(key),
    }
}

/// Times, and rates.
fn is_measured(number: &serde_json::Number) -> bool {
    number.is_f64()
        || number
            .as_i64()
            .is_some_and(|value| value.abs() >= 100_000_000_000 && value < i64::MAX)
}

/// Of the body only which keys it has, down to the last object.
pub fn keep_keys(answer: &mut Value) {
    if let Some(body) = answer.get_mut("body") {
        blank_leaves(body);
    }
}

fn blank_leaves(value: &mut Value) {
    match value {
        Value::Object(members) => members.values_mut().for_each(blank_leaves),
        Value::Array(items) => items.iter_mut().for_each(blank_leaves),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {
            *value = Value::from("-");
        }
    }
}

/// Of the body only the members of these names, at any depth.
pub fn keep_members(answer: &mut Value, names: &[String]) {
    if let Some(body) = answer.get_mut("body") {
        drop_other_leaves(body, names);
    }
}

fn drop_other_leaves(value: &mut Value, names: &[String]) {
    match value {
        Value::Object(members) => {
            members.retain(|name, value| value.is_object() || names.contains(name));
            for member in members.values_mut() {
                drop_other_leaves(member, names);
            }
        }
        Value::Array(items) => {
            for item in items {
                drop_other_leaves(item, names);
            }
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

/// Only the code.
pub fn keep_code(answer: &mut Value) {
    *answer = json!({ "code": answer["code"] });
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::{Normal, body, to_value};
    use crate::wire::Answer;

    #[test]
    fn java_json_is_read_whatever_its_keys_are() {
        let normal = Normal::new().unwrap();
        let found = body(
            br#"{"t":{{"queueId":1,"brokerName":"b"}:{"max":7},0:"x"},"at":1795367646123}"#,
            &normal,
        );
        let key = r#"{"brokerName":"b","queueId":1}"#;
        assert_eq!(
            found.unwrap(),
            json!({"t": {key: {"max": 7}, "0": "x"}, "at": "NUMBER"})
        );
    }

    #[test]
    fn exceptions_keep_their_names() {
        let normal = Normal::new().unwrap();
        let answer = Answer {
            is_request: false,
            code: 1,
            opaque: 1,
            remark: "java.lang.NumberFormatException: For input string, &lt;frame&gt;".to_owned(),
            fields: json!({"msgId": "7F000001000074D70000000000130B55"}),
            body: Vec::new(),
        };
        let value = to_value(&answer, &normal).unwrap();
        assert_eq!(
            value,
            json!({"code": 1, "remark": "EXCEPTION NumberFormatException", "fields": {"msgId": "ID"}})
        );
    }
}
