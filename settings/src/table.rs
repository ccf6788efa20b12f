//! The `config!` table: a row is a field, its key, type and default, whether it may change at run
//! time, and the numbers that are allowed. Used by each server for its own keys.

use std::ops::RangeInclusive;

use crate::nearest::nearest;
use crate::value::ConfigValue;

/// A row of the table, for people.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Key {
    /// The key in files and commands.
    pub name: &'static str,
    /// What it is for.
    pub doc: &'static str,
    /// Whether a change at run time counts at once; otherwise at the next start.
    pub is_live: bool,
}

/// Why a key was not set.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SetError {
    /// There is no such key.
    #[error("unknown configuration key {key}{}", nearest.map(|near| format!(", did you mean {near}?")).unwrap_or_default())]
    UnknownKey {
        /// The key that came.
        key: String,
        /// The known key that looks most like it.
        nearest: Option<&'static str>,
    },
    /// The value is not what the key takes.
    #[error("configuration key {key} can not be '{value}', allowed is {allowed}")]
    BadValue {
        /// The key.
        key: &'static str,
        /// The value that came, cut to 100 characters.
        value: String,
        /// What the key takes.
        allowed: String,
    },
}

/// The error for a key that is not in the table.
pub fn unknown_key(key: &str, known: &'static [Key]) -> SetError {
    SetError::UnknownKey {
        key: key.to_owned(),
        nearest: nearest(key, known.iter().map(|row| row.name)),
    }
}

/// Reads the value of one row.
///
/// # Errors
/// The text is not of the row's type, or not in its range.
pub fn read_value<T: ConfigValue>(
    key: &'static str,
    text: &str,
    range: Option<RangeInclusive<i64>>,
) -> Result<T, SetError> {
    let fits = |value: &T| range.as_ref().is_none_or(|range| value.is_within(range));
    T::read(text)
        .filter(fits)
        .ok_or_else(|| SetError::BadValue {
            key,
            value: text.chars().take(100).collect(),
            allowed: range.map_or_else(T::allowed, |range| {
                format!("a whole number from {} to {}", range.start(), range.end())
            }),
        })
}

/// Declares settings: `Name with RULES { rows }`, a row being
/// `field "javaKey": Type = default, live|fixed [in range];` under its documentation.
#[macro_export]
macro_rules! config {
    ($(#[$about:meta])* $name:ident with $rules:path { $(
        $(#[doc = $doc:literal])+
        $field:ident $key:literal : $ty:ty = $default:expr, $when:ident $(in $range:expr)?;
    )* }) => {
        $(#[$about])*
        #[derive(Debug, Clone, PartialEq)]
        pub struct $name { $(
            $(#[doc = $doc])+
            #[doc = concat!("\n\nKey `", $key, "`, ", stringify!($when), ".")]
            pub $field: $ty,
        )* }

        impl Default for $name {
            fn default() -> Self {
                Self { $($field: $default,)* }
            }
        }

        impl $name {
            /// All keys, in the table's order.
            pub const KEYS: &'static [$crate::Key] = &[$($crate::Key {
                name: $key,
                doc: concat!($($doc,)+).trim_ascii(),
                is_live: $crate::config!(@live $when),
            }),*];

            /// Sets one key from text.
            ///
            /// # Errors
            /// There is no such key, or the text is not what it takes.
            pub fn set(&mut self, key: &str, text: &str) -> Result<(), $crate::SetError> {
                match key {
                    $($key => {
                        let range = $crate::config!(@range $($range)?);
                        self.$field = $crate::expansion::read_value($key, text, range)?;
                    })*
                    _ => return Err($crate::expansion::unknown_key(key, Self::KEYS)),
                }
                Ok(())
            }

            /// A key's value as text; `None` for an unknown key, and for one that is not set.
            pub fn get(&self, key: &str) -> Option<String> {
                match key {
                    $($key => $crate::ConfigValue::show(&self.$field),)*
                    _ => None,
                }
            }
        }

        impl $crate::Settings for $name {
            const RULES: $crate::Rules = $rules;
            const KEYS: &'static [$crate::Key] = $name::KEYS;

            fn set(&mut self, key: &str, text: &str) -> Result<(), $crate::SetError> {
                $name::set(self, key, text)
            }

            fn get(&self, key: &str) -> Option<String> {
                $name::get(self, key)
            }
        }
    };
    (@range) => { None };
    (@range $range:expr) => { Some($range) };
    (@live live) => { true };
    (@live fixed) => { false };
}

#[cfg(test)]
mod tests {
    use crate::example::Strict;

    #[test]
    fn keys_are_documented_and_know_whether_they_are_live() {
        let rows: Vec<_> = Strict::KEYS
            .iter()
            .map(|row| (row.name, row.is_live))
            .collect();
        assert_eq!(
            rows[..3],
            [
                ("thingName", false),
                ("listenPort", false),
                ("permission", true)
            ]
        );
        assert_eq!(Strict::KEYS[0].doc, "Name of the thing.");
    }

    #[test]
    fn values_are_read_and_shown() {
        let mut settings = Strict::default();
        settings.set("permission", "2").unwrap();
        settings.set("storePath", "/x").unwrap();
        assert_eq!(
            (settings.permission, settings.get("permission")),
            (2, Some("2".to_owned()))
        );
        assert_eq!(settings.get("storePath").as_deref(), Some("/x"));
        assert_eq!(settings.get("nothing"), None);
    }

    #[test]
    fn a_bad_value_names_key_value_and_what_is_allowed() {
        let mut settings = Strict::default();
        for (key, value, allowed) in [
            ("permission", "8", "a whole number from 0 to 7"),
            ("listenPort", "http", "a whole number from 0 to 65535"),
            ("isOn", "perhaps", "true or false"),
        ] {
            assert_eq!(
                settings.set(key, value).unwrap_err().to_string(),
                format!("configuration key {key} can not be '{value}', allowed is {allowed}")
            );
        }
        let long = settings.set("isOn", &"x".repeat(1_000)).unwrap_err();
        assert!(long.to_string().len() < 200, "{long}");
        assert_eq!(settings, Strict::default());
    }

    #[test]
    fn an_unknown_key_names_the_nearest_if_one_is_near() {
        let mut settings = Strict::default();
        let near = settings.set("listenPrt", "1").unwrap_err();
        assert_eq!(
            near.to_string(),
            "unknown configuration key listenPrt, did you mean listenPort?"
        );
        let far = settings.set("zzz", "1").unwrap_err();
        assert_eq!(far.to_string(), "unknown configuration key zzz");
    }
}
