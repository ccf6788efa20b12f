//! What every table of settings can do: be loaded, changed by properties, and dumped as properties.

use std::path::Path;

use thrustmq_proto_compat::properties_text;

use crate::table::{Key, SetError};

/// What becomes of a change at run time to a key that is fixed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FixedKeys {
    /// It is refused, so that nobody believes it counts.
    Refused,
    /// It is kept, and counts at the next start.
    CountAtNextStart,
}

/// What a server decides about its keys beside their table.
#[derive(Debug, Clone, Copy)]
pub struct Rules {
    /// Keys of Java's server that mean nothing here; they are taken without a warning.
    pub without_effect: &'static [&'static str],
    /// Keys that no command may change, whatever the black list says.
    pub never_changed: &'static [&'static str],
    /// What a command can do about fixed keys.
    pub fixed_keys: FixedKeys,
}

/// Why settings can not be used.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file of `-c` can not be read.
    #[error("configuration file {file}: {cause}")]
    Unreadable {
        /// Its path.
        file: String,
        /// Why not.
        cause: std::io::Error,
    },
    /// A value in the file is not what its key takes.
    #[error("configuration file {file}: {cause}")]
    InFile {
        /// Its path.
        file: String,
        /// Which, and why.
        cause: SetError,
    },
    /// A value of a `--set` is not what its key takes.
    #[error("--set: {0}")]
    InAssignment(SetError),
    /// A `--set` without `=`.
    #[error("--set takes key=value, not '{0}'")]
    NotAnAssignment(String),
}

/// A table of settings, made by [`crate::config!`].
pub trait Settings: Default + Clone + PartialEq {
    /// What the server decides about its keys.
    const RULES: Rules;
    /// All keys, in the table's order.
    const KEYS: &'static [Key];

    /// Sets one key from text.
    ///
    /// # Errors
    /// There is no such key, or the text is not what it takes.
    fn set(&mut self, key: &str, text: &str) -> Result<(), SetError>;

    /// A key's value as text; `None` for an unknown key, and for one that is not set.
    fn get(&self, key: &str) -> Option<String>;

    /// The defaults, changed by the properties file and then by each `key=value` of `assignments`.
    ///
    /// # Errors
    /// The file can not be read, or a value is not what its key takes.
    fn load(file: Option<&Path>, assignments: &[String]) -> Result<Self, ConfigError> {
        let mut settings = Self::default();
        if let Some(file) = file {
            settings.read_file(file)?;
        }
        settings.assign(assignments)?;
        Ok(settings)
    }

    /// Applies a properties file.
    ///
    /// # Errors
    /// The file can not be read, or a value is not what its key takes.
    fn read_file(&mut self, file: &Path) -> Result<(), ConfigError> {
        let shown = || file.display().to_string();
        let text = std::fs::read_to_string(file).map_err(|cause| ConfigError::Unreadable {
            file: shown(),
            cause,
        })?;
        let applied = self.apply(&properties_text::parse(&text));
        applied.map_err(|cause| ConfigError::InFile {
            file: shown(),
            cause,
        })?;
        Ok(())
    }

    /// Applies each `key=value`, as of `--set`.
    ///
    /// # Errors
    /// One is no `key=value`, or its value is not what its key takes.
    fn assign(&mut self, assignments: &[String]) -> Result<(), ConfigError> {
        for assignment in assignments {
            let (key, value) = assignment
                .split_once('=')
                .ok_or_else(|| ConfigError::NotAnAssignment(assignment.clone()))?;
            let pair = (key.trim().to_owned(), value.to_owned());
            self.apply(&[pair]).map_err(ConfigError::InAssignment)?;
        }
        Ok(())
    }

    /// Applies keys and values in their order. Unknown keys are skipped, since files are shared
    /// between versions: each is logged as one warning that names the nearest, and returned.
    ///
    /// # Errors
    /// A value is not what its key takes; those before it are applied.
    fn apply(&mut self, properties: &[(String, String)]) -> Result<Vec<String>, SetError> {
        let mut unknown = Vec::new();
        for (key, value) in properties {
            if Self::RULES.without_effect.contains(&key.as_str()) {
                tracing::info!(key, "configuration key has no effect here");
                continue;
            }
            match self.set(key, value.trim()) {
                Err(SetError::UnknownKey { key, nearest }) => {
                    let nearest = nearest.unwrap_or("none");
                    tracing::warn!(key, nearest, "unknown configuration key is ignored");
                    unknown.push(key);
                }
                set => set?,
            }
        }
        Ok(unknown)
    }

    /// Every key that has a value, with the value, by name.
    fn entries(&self) -> Vec<(&'static str, String)> {
        let rows = Self::KEYS.iter();
        let mut entries: Vec<_> = rows
            .filter_map(|row| Some((row.name, self.get(row.name)?)))
            .collect();
        entries.sort_unstable();
        entries
    }

    /// Every key that has a value, as properties text, by name.
    fn to_properties(&self) -> String {
        let entries = self.entries();
        properties_text::write(entries.iter().map(|(key, value)| (*key, value.as_str())))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::example::Strict;

    fn pairs(text: &str) -> Vec<(String, String)> {
        properties_text::parse(text)
    }

    #[test]
    fn assignments_win_over_the_file() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("thing.conf");
        std::fs::write(&file, "# ours\nthingName = x\nlistenPort=1\nnoSuchKey=1").unwrap();
        let set = ["listenPort = 2".to_owned(), "isOn=FALSE".to_owned()];
        let settings = Strict::load(Some(&file), &set).unwrap();
        assert_eq!(
            (settings.name.as_str(), settings.port, settings.is_on),
            ("x", 2, false)
        );
    }

    #[test]
    fn mistakes_name_the_file_or_the_assignment() {
        let message = |file: Option<&Path>, set: &str| {
            let set = [set.to_owned()];
            Strict::load(file, &set).unwrap_err().to_string()
        };
        let missing = message(Some("/nowhere/thing.conf".as_ref()), "isOn=true");
        assert!(
            missing.starts_with("configuration file /nowhere/thing.conf: "),
            "{missing}"
        );
        assert_eq!(
            message(None, "listenPort"),
            "--set takes key=value, not 'listenPort'"
        );
        assert_eq!(
            message(None, "permission=9"),
            "--set: configuration key permission can not be '9', allowed is a whole number from 0 to 7"
        );
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), "isOn=perhaps").unwrap();
        let bad = message(Some(file.path()), "isOn=true");
        let shown = file.path().display().to_string();
        assert!(bad.contains(&shown) && bad.contains("isOn"), "{bad}");
    }

    #[test]
    fn unknown_keys_are_returned_and_those_without_effect_are_not() {
        let mut settings = Strict::default();
        let text = "rocketmqHome=/opt\npermission=4\nlistenPrt=1\n";
        assert_eq!(settings.apply(&pairs(text)).unwrap(), ["listenPrt"]);
        assert_eq!(settings.permission, 4);
    }

    #[test]
    fn what_is_dumped_is_read_back() {
        let settings = Strict {
            name: "C:\\thing".to_owned(),
            permission: 1,
            ..Strict::default()
        };
        let text = settings.to_properties();
        assert_eq!(
            text,
            "configBlackList=isSecret\nisOn=true\nlistenPort=9876\npermission=1\nthingName=C:\\\\thing\n"
        );
        let mut again = Strict::default();
        assert!(again.apply(&pairs(&text)).unwrap().is_empty());
        assert_eq!(again, settings);
    }
}
