//! JSON bodies and config files, as two versions of Java wrote them.

use serde::Serialize;
use serde::de::{Deserialize, DeserializeOwned, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Value, json};
use thrustmq_proto_compat::body::*;
use thrustmq_proto_compat::fastjson;

use crate::fixture::{bytes, read, text};

/// Any body, in the form that the fixtures' `meaning` has: a map whose keys are objects is a list of
/// `{key, value}`. Lists are sorted, as most are sets.
#[derive(Debug, PartialEq)]
struct Meaning(Value);

impl Meaning {
    fn of_bytes(json: &[u8]) -> Self {
        fastjson::from_slice(json).unwrap()
    }

    fn of_fixture(meaning: &Value) -> Self {
        let json = serde_json::to_vec(meaning).unwrap();
        fastjson::from_slice(&json).unwrap()
    }
}

struct MeaningVisitor;

impl<'de> Deserialize<'de> for Meaning {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(MeaningVisitor).map(Self)
    }
}

impl<'de> Visitor<'de> for MeaningVisitor {
    type Value = Value;

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("any value")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_f64<E>(self, value: f64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Value, A::Error> {
        let mut list = Vec::new();
        while let Some(Meaning(value)) = seq.next_element()? {
            list.push(value);
        }
        Ok(sorted(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Value, A::Error> {
        let mut object = Map::new();
        let mut list = Vec::new();
        while let Some((Meaning(key), Meaning(value))) = map.next_entry()? {
            if let Value::String(key) = key {
                object.insert(key, value);
            } else {
                list.push(json!({"key": key, "value": value}));
            }
        }
        assert!(object.is_empty() || list.is_empty());
        Ok(if list.is_empty() {
            object.into()
        } else {
            sorted(list)
        })
    }
}

fn sorted(mut list: Vec<Value>) -> Value {
    list.sort_by_key(Value::to_string);
    list.into()
}

struct Rewritten {
    plain: Vec<u8>,
    standard: Vec<u8>,
    pretty: Vec<u8>,
}

fn rewrite<T: DeserializeOwned + Serialize>(json: &[u8]) -> Result<Rewritten, fastjson::BodyError> {
    let body: T = fastjson::from_slice(json)?;
    Ok(Rewritten {
        plain: fastjson::to_vec(&body)?,
        standard: fastjson::to_standard_vec(&body)?,
        pretty: fastjson::to_pretty_vec(&body)?,
    })
}

macro_rules! rewrite_class {
    ($($class:ident),* $(,)?) => {
        fn rewrite_class(class: &str, json: &[u8]) -> Option<Result<Rewritten, fastjson::BodyError>> {
            match class {
                $( stringify!($class) => Some(rewrite::<$class>(json)), )*
                _ => None,
            }
        }
    };
}
rewrite_class! {
    BrokerStatsData, CheckClientRequestBody, ClusterInfo, ConsumeMessageDirectlyResult, ConsumeStats,
    ConsumerConnection, ConsumerRunningInfo, CreateTopicListRequestBody, DataVersion,
    GetBrokerMemberGroupResponseBody, GetConsumerListByGroupResponseBody, GetConsumerStatusBody,
    GroupList, HeartbeatData, KVTable, LockBatchRequestBody, LockBatchResponseBody,
    ProducerConnection, ProducerTableInfo, QueryConsumeTimeSpanBody, RegisterBrokerBody,
    ResetOffsetBody, SubscriptionData, SubscriptionGroupConfig, SubscriptionGroupList,
    SubscriptionGroupWrapper, TopicConfigSerializeWrapper, TopicList, TopicRouteData,
    TopicStatsTable, UnlockBatchRequestBody,
    ConsumerOffsetSerializeWrapper, DelayOffsetSerializeWrapper,
}

/// Java's class, or ours where Java's needs a running broker.
fn class(fixture: &Value) -> &str {
    match text(&fixture["name"]) {
        "consumerOffset.json" => "ConsumerOffsetSerializeWrapper",
        "delayOffset.json" => "DelayOffsetSerializeWrapper",
        _ => text(&fixture["class"]),
    }
}

fn rewritten(fixture: &Value) -> Result<Rewritten, fastjson::BodyError> {
    let json = text(&fixture["text"]).as_bytes();
    rewrite_class(class(fixture), json).unwrap_or_else(|| panic!("no class {}", fixture["class"]))
}

fn fixtures(file: &str) -> Vec<Value> {
    let mut fixtures = read(file);
    fixtures.retain(|f| f["bytes"].is_null());
    fixtures
}

/// Values that Java derives for people: no reader takes them.
fn without_derived(value: &mut Value) {
    if let Value::Object(object) = value {
        object.retain(|key, _| !key.ends_with("TimeStampStr"));
        object.values_mut().for_each(without_derived);
    } else if let Value::Array(list) = value {
        list.iter_mut().for_each(without_derived);
    }
}

/// What we write although Java's version left it out: it is empty.
fn without_empty_beyond(value: &mut Value, java: &Value) {
    let (Value::Object(object), Value::Object(java)) = (value, java) else {
        return;
    };
    object.retain(|key, value| {
        let is_empty = *value == json!({}) || *value == json!([]) || *value == json!(0.0);
        java.contains_key(key) || !is_empty
    });
}

#[test]
fn java_s_text_is_read() {
    for file in ["bodies-5.3.1.json", "bodies-5.5.0.json"] {
        for fixture in fixtures(file) {
            let Meaning(mut read) = Meaning::of_bytes(text(&fixture["text"]).as_bytes());
            without_derived(&mut read);
            let Meaning(meaning) = Meaning::of_fixture(&fixture["meaning"]);
            assert_eq!(read, meaning, "{file} {}", fixture["name"]);
        }
    }
}

#[test]
fn bodies_keep_their_meaning() {
    for file in ["bodies-5.3.1.json", "bodies-5.5.0.json"] {
        for fixture in fixtures(file) {
            let Meaning(expected) = Meaning::of_fixture(&fixture["meaning"]);
            let written = rewritten(&fixture).unwrap();
            for form in [&written.plain, &written.pretty] {
                let Meaning(mut ours) = Meaning::of_bytes(form);
                without_empty_beyond(&mut ours, &expected);
                assert_eq!(ours, expected, "{file} {}", fixture["name"]);
            }
        }
    }
}

/// Sets and tables come in another order, derived texts and empty tables differ.
const OTHER_BYTES: &[&str] = &[
    "TopicList",
    "TopicList with address",
    "ClusterInfo empty",
    "RegisterBrokerBody",
    "QueryConsumeTimeSpanBody",
    "LockBatchRequestBody",
    "GetConsumerStatusBody",
    "ConsumerRunningInfo",
];

#[test]
fn bodies_have_java_s_bytes() {
    let mut seen = 0;
    for fixture in fixtures("bodies-5.5.0.json") {
        let name = text(&fixture["name"]);
        if OTHER_BYTES.contains(&name) || name.contains("standard") {
            continue;
        }
        let written = rewritten(&fixture).unwrap();
        let ours = if name.ends_with(".json") {
            written.pretty
        } else {
            written.plain
        };
        assert_eq!(
            String::from_utf8(ours).unwrap(),
            text(&fixture["text"]),
            "{name}"
        );
        seen += 1;
    }
    assert!(seen > 30, "{seen}");
}

#[test]
fn standard_routes_have_the_bytes_of_fastjson_1() {
    let mut seen = 0;
    for fixture in fixtures("bodies-5.3.1.json") {
        if text(&fixture["name"]).contains("standard") {
            let ours = String::from_utf8(rewritten(&fixture).unwrap().standard).unwrap();
            assert_eq!(ours, text(&fixture["text"]));
            seen += 1;
        }
    }
    assert_eq!(seen, 2);
}

#[test]
fn a_packed_registration_is_read() {
    for file in ["bodies-5.3.1.json", "bodies-5.5.0.json"] {
        let fixtures = read(file);
        let fixture = fixtures.iter().find(|f| f["bytes"].is_string()).unwrap();
        let packed = bytes(&fixture["bytes"]);
        let body = RegisterBrokerBody::from_packed(&packed, 513).unwrap();
        let mut expected: RegisterBrokerBody =
            fastjson::from_slice(&serde_json::to_vec(&fixture["meaning"]).unwrap()).unwrap();
        // What the packed layout does not carry.
        let wrapper = &mut expected.topic_config_serialize_wrapper;
        wrapper.mapping_data_version = DataVersion::default();
        for config in wrapper.topic_config_table.values_mut() {
            config.order = false;
            config.topic_sys_flag = 0;
        }
        assert_eq!(
            body.topic_config_serialize_wrapper.topic_config_table.len(),
            3
        );
        assert_eq!(body, expected, "{file}");
    }
}
