//! Attributes of topics and groups: `+key=value` adds or changes one, `-key` takes it away.
//!
//! The rules and texts are those of Java's `AttributeParser` and `AttributeUtil`.

use std::collections::{BTreeMap, BTreeSet};

/// Attributes by name.
pub(crate) type Attributes = BTreeMap<String, String>;

/// Why a change of attributes is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum AttributeError {
    #[error("add/alter attribute format is wrong: {0}")]
    AddFormat(String),
    #[error("delete attribute format is wrong: {0}")]
    DeleteFormat(String),
    #[error("key duplication: {0}")]
    TextDuplication(String),
    #[error("kv string format wrong.")]
    KeyFormat,
    #[error("alter duplication key. key: {0}")]
    Duplication(String),
    #[error("only add attribute is supported while creating topic. key: {0}")]
    OnlyAdd(String),
    #[error("attempt to delete a nonexistent key: {0}")]
    DeleteAbsent(String),
    #[error("wrong format key: {0}")]
    NoSign(String),
    #[error("unsupported key: {0}")]
    Unsupported(String),
    #[error("attempt to update an unchangeable attribute. key: {0}")]
    Unchangeable(String),
    #[error("value is not in set: [{0}]")]
    NotInSet(String),
    #[error("value is not in range({0}, {1})")]
    NotInRange(i64, i64),
    #[error("Update topic reserveTime not supported")]
    ReserveTime,
}

/// An attribute that may be set: its name, whether it may change later, and its values.
pub(crate) struct Attribute {
    name: &'static str,
    is_changeable: bool,
    values: Values,
}

/// What an attribute may be.
enum Values {
    OneOf(&'static [&'static str]),
    /// A whole number, both ends included.
    Between(i64, i64),
    /// Java knows it, and refuses it wherever messages don't go to tiered storage.
    NotHere,
}

impl Values {
    fn check(&self, value: &str) -> Result<(), AttributeError> {
        match *self {
            Self::OneOf(words) if !words.contains(&value) => {
                Err(AttributeError::NotInSet(words.join(", ")))
            }
            Self::Between(min, max)
                if !value.parse().is_ok_and(|n: i64| (min..=max).contains(&n)) =>
            {
                Err(AttributeError::NotInRange(min, max))
            }
            Self::NotHere => Err(AttributeError::ReserveTime),
            Self::OneOf(_) | Self::Between(..) => Ok(()),
        }
    }
}

/// Name of the attribute that says what kind of messages a topic takes.
pub(crate) const MESSAGE_TYPE: &str = "message.type";
/// The kind of a topic whose messages have priorities.
pub(crate) const PRIORITY: &str = "PRIORITY";
/// Name of the attribute that says how many pops of a hundred heed priorities.
pub(crate) const PRIORITY_FACTOR: &str = "priority.factor";
/// What it is where it is not set.
pub(crate) const PRIORITY_FACTOR_DEFAULT: usize = 100;

/// Attributes of topics.
pub(crate) const OF_TOPICS: &[Attribute] = &[
    Attribute {
        name: "queue.type",
        is_changeable: false,
        values: Values::OneOf(&["BatchCQ", "SimpleCQ"]),
    },
    Attribute {
        name: "cleanup.policy",
        is_changeable: false,
        values: Values::OneOf(&["DELETE", "COMPACTION"]),
    },
    Attribute {
        name: MESSAGE_TYPE,
        is_changeable: true,
        values: Values::OneOf(&[
            "UNSPECIFIED",
            "NORMAL",
            "FIFO",
            "DELAY",
            "TRANSACTION",
            "MIXED",
            PRIORITY,
        ]),
    },
    Attribute {
        name: "reserve.time",
        is_changeable: true,
        values: Values::NotHere,
    },
];

/// Attributes of groups. Java's others steer lite topics.
pub(crate) const OF_GROUPS: &[Attribute] = &[Attribute {
    name: PRIORITY_FACTOR,
    is_changeable: true,
    values: Values::Between(0, 100),
}];

/// Reads `+key1=value1,-key2` into signed keys and values.
pub(crate) fn parse(text: &str) -> Result<Attributes, AttributeError> {
    let mut changes = Attributes::new();
    for part in text.split(',').filter(|part| !part.is_empty()) {
        let (key, value) = match part.split_once('=') {
            Some((key, value)) if key.contains('+') => (key, value),
            Some((key, _)) => return Err(AttributeError::AddFormat(key.to_owned())),
            None if part.contains('-') => (part, ""),
            None => return Err(AttributeError::DeleteFormat(part.to_owned())),
        };
        if changes.insert(key.to_owned(), value.to_owned()).is_some() {
            return Err(AttributeError::TextDuplication(key.to_owned()));
        }
    }
    Ok(changes)
}

/// The attributes that come of applying signed changes; `current` is `None` where the topic or
/// group is only being created.
pub(crate) fn apply(
    allowed: &[Attribute],
    current: Option<&Attributes>,
    changes: &Attributes,
) -> Result<Attributes, AttributeError> {
    let mut attributes = current.cloned().unwrap_or_default();
    let mut seen = BTreeSet::new();
    for (signed, value) in changes {
        let mut rest = signed.chars();
        let sign = rest.next();
        let key = rest.as_str();
        if key.is_empty() || key.contains(['+', '-']) {
            return Err(AttributeError::KeyFormat);
        }
        if !seen.insert(key) {
            return Err(AttributeError::Duplication(key.to_owned()));
        }
        match (sign, current) {
            (Some('+'), None) => {
                check(allowed, key, Some(value), true)?;
                attributes.insert(key.to_owned(), value.clone());
            }
            (_, None) => return Err(AttributeError::OnlyAdd(key.to_owned())),
            (Some('+'), Some(_)) => {
                check(allowed, key, Some(value), false)?;
                attributes.insert(key.to_owned(), value.clone());
            }
            (Some('-'), Some(current)) if current.contains_key(key) => {
                check(allowed, key, None, false)?;
                attributes.remove(key);
            }
            (Some('-'), Some(_)) => return Err(AttributeError::DeleteAbsent(key.to_owned())),
            _ => return Err(AttributeError::NoSign(key.to_owned())),
        }
    }
    Ok(attributes)
}

fn check(
    allowed: &[Attribute],
    key: &str,
    value: Option<&str>,
    is_new: bool,
) -> Result<(), AttributeError> {
    let attribute = allowed
        .iter()
        .find(|attribute| attribute.name == key)
        .ok_or_else(|| AttributeError::Unsupported(key.to_owned()))?;
    if !is_new && !attribute.is_changeable {
        return Err(AttributeError::Unchangeable(key.to_owned()));
    }
    value.map_or(Ok(()), |value| attribute.values.check(value))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn changed(current: Option<&str>, change: &str) -> Result<Attributes, AttributeError> {
        let current = current.map(|text| apply(OF_TOPICS, None, &parse(text).unwrap()).unwrap());
        apply(OF_TOPICS, current.as_ref(), &parse(change)?)
    }

    #[test]
    fn attributes_are_added_changed_and_taken_away() {
        let added = changed(None, "+message.type=FIFO,+queue.type=SimpleCQ").unwrap();
        assert_eq!(added[MESSAGE_TYPE], "FIFO");
        assert_eq!(added.len(), 2);
        let changed_to = changed(Some("+message.type=FIFO"), "+message.type=NORMAL").unwrap();
        assert_eq!(changed_to[MESSAGE_TYPE], "NORMAL");
        assert!(
            changed(Some("+message.type=FIFO"), "-message.type")
                .unwrap()
                .is_empty()
        );
        assert_eq!(changed(Some("+message.type=FIFO"), "").unwrap().len(), 1);
    }

    #[test]
    fn a_number_has_to_be_in_its_range() {
        let change = |value: &str| {
            let changes = Attributes::from([("+priority.factor".to_owned(), value.to_owned())]);
            apply(OF_GROUPS, None, &changes)
        };
        assert_eq!(change("100").unwrap()[PRIORITY_FACTOR], "100");
        for odd in ["101", "-1", "x", ""] {
            let error = change(odd).unwrap_err().to_string();
            assert_eq!(error, "value is not in range(0, 100)", "{odd}");
        }
    }

    #[test]
    fn what_java_refuses_is_refused_in_its_words() {
        let remark = |current, change| changed(current, change).unwrap_err().to_string();
        assert_eq!(
            remark(None, "a=b"),
            "add/alter attribute format is wrong: a"
        );
        assert_eq!(remark(None, "a"), "delete attribute format is wrong: a");
        assert_eq!(remark(None, "+a=b"), "unsupported key: a");
        assert_eq!(remark(None, "+a=b,+a=c"), "key duplication: +a");
        assert_eq!(
            remark(None, "-message.type"),
            "only add attribute is supported while creating topic. key: message.type"
        );
        assert_eq!(
            remark(Some(""), "-message.type"),
            "attempt to delete a nonexistent key: message.type"
        );
        assert_eq!(
            remark(Some("+queue.type=SimpleCQ"), "+queue.type=BatchCQ"),
            "attempt to update an unchangeable attribute. key: queue.type"
        );
        assert_eq!(
            remark(None, "+message.type=X").split(':').next(),
            Some("value is not in set")
        );
        assert_eq!(
            remark(None, "+reserve.time=3"),
            "Update topic reserveTime not supported"
        );
    }
}
