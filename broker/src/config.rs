//! The broker's configuration: one table of keys, and the values that are in force.
//!
//! A key comes from the properties file of `-c`, from `--set key=value` or, while the broker runs,
//! from mqadmin. The table (`table.rs`) is the one place that names keys: a field, its Java key,
//! its type and range, its default, and whether it may change at run time. Keys that the broker
//! doesn't act on are not in it: naming one is answered with a warning and the nearest known key.

mod file;
mod host;
mod live;
mod nearest;
mod table;
mod value;

pub use live::LiveConfig;
pub(crate) use live::UpdateError;
pub use table::BrokerConfig;
pub use value::{BrokerRole, FlushDiskType};

/// Why a key was not set.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SetError {
    /// The broker has no such key.
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

/// Why a configuration can not be used.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// A value is not what its key takes.
    #[error(transparent)]
    Set(#[from] SetError),
    /// The file of `-c` can not be read.
    #[error("configuration file {file}: {cause}")]
    File {
        /// Its path.
        file: String,
        /// Why not.
        cause: std::io::Error,
    },
    /// A `--set` without `=`.
    #[error("--set takes key=value, not '{0}'")]
    NotAnAssignment(String),
}

impl BrokerConfig {
    /// The defaults, changed by the properties file and then by each `key=value` of `assignments`.
    /// Keys that the broker doesn't know are logged as warnings and skipped.
    ///
    /// # Errors
    /// The file can not be read, or a value is not what its key takes.
    pub fn load(
        file: Option<&std::path::Path>,
        assignments: &[String],
    ) -> Result<Self, ConfigError> {
        let mut config = Self::default();
        if let Some(file) = file {
            let text = std::fs::read_to_string(file).map_err(|cause| ConfigError::File {
                file: file.display().to_string(),
                cause,
            })?;
            config.set_all(&file::parse(&text))?;
        }
        for assignment in assignments {
            let (key, value) = assignment
                .split_once('=')
                .ok_or_else(|| ConfigError::NotAnAssignment(assignment.clone()))?;
            config.set_known(key.trim(), value.trim())?;
        }
        Ok(config)
    }

    /// Every key that has a value, with the value, by name.
    pub fn entries(&self) -> Vec<(&'static str, String)> {
        let mut entries: Vec<_> = Self::KEYS
            .iter()
            .filter_map(|key| Some((*key, self.get(key)?)))
            .collect();
        entries.sort_unstable();
        entries
    }

    fn set_all(&mut self, properties: &[(String, String)]) -> Result<(), SetError> {
        properties
            .iter()
            .try_for_each(|(key, value)| self.set_known(key, value.trim()))
    }

    fn set_known(&mut self, key: &str, value: &str) -> Result<(), SetError> {
        match self.set(key, value) {
            Err(SetError::UnknownKey { key, nearest }) => {
                let nearest = nearest.unwrap_or("none");
                tracing::warn!(key, nearest, "unknown configuration key is ignored");
                Ok(())
            }
            set => set,
        }
    }
}

fn unknown_key(key: &str) -> SetError {
    SetError::UnknownKey {
        key: key.to_owned(),
        nearest: nearest::nearest(key, BrokerConfig::KEYS),
    }
}

fn read_value<T: value::ConfigValue>(
    key: &'static str,
    text: &str,
    range: Option<std::ops::RangeInclusive<i64>>,
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

/// Declares a configuration: `field "javaKey": Type = default, live|fixed [in range];` a row.
macro_rules! config {
    ($(#[$about:meta])* $name:ident { $(
        $(#[$doc:meta])*
        $field:ident $key:literal : $ty:ty = $default:expr, $when:ident $(in $range:expr)?;
    )* }) => {
        $(#[$about])*
        #[derive(Debug, Clone, PartialEq)]
        pub struct $name { $(
            $(#[$doc])*
            #[doc = concat!("Key `", $key, "`, ", stringify!($when), ".")]
            pub $field: $ty,
        )* }

        impl Default for $name {
            fn default() -> Self {
                Self { $($field: $default,)* }
            }
        }

        impl $name {
            /// All keys, in the table's order.
            pub const KEYS: &'static [&'static str] = &[$($key),*];

            /// Sets one key from text.
            ///
            /// # Errors
            /// There is no such key, or the text is not what it takes.
            pub fn set(&mut self, key: &str, text: &str) -> Result<(), $crate::config::SetError> {
                match key {
                    $($key => {
                        let range = $crate::config::config!(@range $($range)?);
                        self.$field = $crate::config::read_value($key, text, range)?;
                    })*
                    _ => return Err($crate::config::unknown_key(key)),
                }
                Ok(())
            }

            /// A key's value as text; `None` for an unknown key, and for one that is not set.
            pub fn get(&self, key: &str) -> Option<String> {
                match key {
                    $($key => $crate::config::value::ConfigValue::show(&self.$field),)*
                    _ => None,
                }
            }

            /// Whether a key may change while the broker runs; `None` for an unknown key.
            pub fn is_live(key: &str) -> Option<bool> {
                match key {
                    $($key => Some($crate::config::config!(@live $when)),)*
                    _ => None,
                }
            }
        }
    };
    (@range) => { None };
    (@range $range:expr) => { Some($range) };
    (@live live) => { true };
    (@live fixed) => { false };
}
pub(crate) use config;

#[cfg(test)]
mod tests {
    use std::collections::HashSet;
    use std::io::Write;

    use super::*;

    #[test]
    fn every_default_is_allowed_by_its_own_row() {
        let defaults = BrokerConfig::default();
        for (key, text) in defaults.entries() {
            let mut config = BrokerConfig::default();
            config.set(key, &text).unwrap_or_else(|e| panic!("{e}"));
            assert_eq!(config.get(key), Some(text), "{key}");
        }
    }

    #[test]
    fn no_key_stands_in_the_table_twice() {
        let distinct: HashSet<_> = BrokerConfig::KEYS.iter().collect();
        assert_eq!(distinct.len(), BrokerConfig::KEYS.len());
    }

    #[test]
    fn a_bad_value_names_key_value_and_what_is_allowed() {
        let mut config = BrokerConfig::default();
        let error = config.set("brokerPermission", "8").unwrap_err();
        assert_eq!(
            error.to_string(),
            "configuration key brokerPermission can not be '8', allowed is a whole number from 0 to 7"
        );
        assert!(config.set("flushDiskType", "SYNC").is_err());
        assert_eq!(config, BrokerConfig::default());
    }

    #[test]
    fn an_unknown_key_names_the_nearest() {
        let mut config = BrokerConfig::default();
        let error = config.set("autoCreateTopicEnabled", "false").unwrap_err();
        assert_eq!(
            error.to_string(),
            "unknown configuration key autoCreateTopicEnabled, did you mean autoCreateTopicEnable?"
        );
    }

    #[test]
    fn assignments_win_over_the_file() {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        writeln!(
            file,
            "# ours\nbrokerName = broker-x\nlistenPort=10000\nnoSuchKey=1"
        )
        .unwrap();
        let set = ["listenPort=10100".to_owned()];
        let config = BrokerConfig::load(Some(file.path()), &set).unwrap();
        assert_eq!(config.broker_name, "broker-x");
        assert_eq!(config.listen_port, 10_100);
        let missing = BrokerConfig::load(Some("/nowhere/broker.conf".as_ref()), &[]);
        assert!(
            missing
                .unwrap_err()
                .to_string()
                .starts_with("configuration file /nowhere")
        );
        let no_equals = BrokerConfig::load(None, &["listenPort".to_owned()]);
        assert!(no_equals.is_err());
    }
}
