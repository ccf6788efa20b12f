//! The configuration in force: read on every request, changed by mqadmin.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, RwLock};

use thrustmq_proto_compat::body::DataVersion;
use thrustmq_proto_compat::clock::Clock;
use thrustmq_proto_compat::fastjson;

use super::{BrokerConfig, SetError, file};
use crate::metadata_file::MetadataFile;

/// A handle of the configuration in force; clones show the same.
#[derive(Debug, Clone)]
pub struct LiveConfig {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    current: RwLock<Arc<BrokerConfig>>,
    /// Held while the configuration changes: one change after another.
    version: Mutex<DataVersion>,
    /// The file of `-c`, which follows every change.
    file: Option<PathBuf>,
    clock: Clock,
}

/// What a change did.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Updated {
    /// Keys that have a new value.
    pub(crate) changed: Vec<String>,
    /// Keys that the broker doesn't know, ignored as Java ignores them.
    pub(crate) unknown: Vec<String>,
}

/// Why a change was refused; nothing has changed then.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum UpdateError {
    #[error("Can not update config in black list.")]
    BlackListed,
    #[error(
        "configuration key {key} changes only with a restart: set it in the file of -c or with --set"
    )]
    Fixed { key: String },
    #[error(transparent)]
    Set(#[from] SetError),
}

impl LiveConfig {
    /// Puts a configuration in force. `file` is the properties file it came from, if one did.
    pub fn new(config: BrokerConfig, file: Option<PathBuf>, clock: Clock) -> Self {
        Self {
            shared: Arc::new(Shared {
                current: RwLock::new(Arc::new(config)),
                version: Mutex::default(),
                file,
                clock,
            }),
        }
    }

    /// The configuration now.
    pub fn current(&self) -> Arc<BrokerConfig> {
        let current = self.shared.current.read();
        current.expect("no holder of this lock panics").clone()
    }

    /// Changes keys, all or none, and writes them to the file they came from.
    ///
    /// # Errors
    /// A key is on the black list or fixed, or a value is not what its key takes.
    pub(crate) fn update(&self, properties: &[(String, String)]) -> Result<Updated, UpdateError> {
        let mut version = self
            .shared
            .version
            .lock()
            .expect("no holder of this lock panics");
        let before = self.current();
        let black_list: Vec<&str> = before.config_black_list.split(';').collect();
        if properties
            .iter()
            .any(|(key, _)| black_list.contains(&key.as_str()))
        {
            return Err(UpdateError::BlackListed);
        }
        let mut config = BrokerConfig::clone(&before);
        let mut updated = Updated::default();
        for (key, value) in properties {
            set_live(&mut config, key, value.trim(), &mut updated)?;
        }
        if updated.changed.is_empty() {
            return Ok(updated);
        }
        let changes = changes_of(&config, &updated.changed);
        *self
            .shared
            .current
            .write()
            .expect("no holder of this lock panics") = Arc::new(config);
        version.next(0, self.shared.clock.now_ms());
        self.persist(&changes);
        Ok(updated)
    }

    /// All keys that have a value, `key=value` a line, sorted.
    pub(crate) fn text(&self) -> String {
        let entries = self.current().entries().into_iter();
        entries
            .map(|(key, value)| format!("{key}={value}\n"))
            .collect()
    }

    /// The version of the configuration, as JSON.
    pub(crate) fn version_json(&self) -> String {
        let version = self
            .shared
            .version
            .lock()
            .expect("no holder of this lock panics");
        let json = fastjson::to_vec(&*version).unwrap_or_default();
        String::from_utf8_lossy(&json).into_owned()
    }

    fn persist(&self, changes: &[(String, String)]) {
        let Some(path) = &self.shared.file else {
            return;
        };
        let written = match std::fs::read_to_string(path) {
            Ok(text) => MetadataFile::at(path.clone())
                .store(|| file::with_changes(&text, changes).into_bytes()),
            Err(error) => Err(error),
        };
        if let Err(error) = written {
            let file = path.display();
            tracing::error!(%file, %error, "configuration file does not follow the change");
        }
    }
}

fn set_live(
    config: &mut BrokerConfig,
    key: &str,
    value: &str,
    updated: &mut Updated,
) -> Result<(), UpdateError> {
    let before = config.get(key);
    match config.set(key, value) {
        Err(SetError::UnknownKey { key, nearest }) => {
            let nearest = nearest.unwrap_or("none");
            tracing::warn!(key, nearest, "unknown configuration key is ignored");
            updated.unknown.push(key);
            return Ok(());
        }
        set => set?,
    }
    if config.get(key) == before {
        return Ok(());
    }
    if BrokerConfig::is_live(key) != Some(true) {
        return Err(UpdateError::Fixed {
            key: key.to_owned(),
        });
    }
    tracing::info!(
        key,
        before = before.unwrap_or_default(),
        value,
        "configuration changes"
    );
    updated.changed.push(key.to_owned());
    Ok(())
}

fn changes_of(config: &BrokerConfig, keys: &[String]) -> Vec<(String, String)> {
    let keys = keys.iter();
    keys.map(|key| (key.clone(), config.get(key).unwrap_or_default()))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pairs(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
        let pairs = pairs.iter();
        pairs
            .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()))
            .collect()
    }

    #[test]
    fn a_live_key_changes_at_once_and_in_the_file() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("broker.conf");
        std::fs::write(&path, "# mine\nautoCreateTopicEnable = true\n").unwrap();
        let config = BrokerConfig::load(Some(&path), &[]).unwrap();
        let live = LiveConfig::new(config, Some(path.clone()), Clock::by_hand(1));
        let change = pairs(&[("autoCreateTopicEnable", "false"), ("maxMessageSize", "9")]);
        assert_eq!(live.update(&change).unwrap().changed.len(), 2);
        assert!(!live.current().auto_create_topic);
        assert!(live.text().contains("\nmaxMessageSize=9\n"));
        let text = std::fs::read_to_string(&path).unwrap();
        assert_eq!(
            text,
            "# mine\nautoCreateTopicEnable=false\nmaxMessageSize=9\n"
        );
        assert!(live.version_json().contains("\"counter\":1"));
    }

    #[test]
    fn a_refused_change_changes_nothing() {
        let live = LiveConfig::new(BrokerConfig::default(), None, Clock::by_hand(1));
        let refused = |change: &[(&str, &str)]| live.update(&pairs(change)).unwrap_err();
        let list = [("configBlackList", "")];
        assert_eq!(refused(&list), UpdateError::BlackListed);
        let fixed = [("autoCreateTopicEnable", "false"), ("listenPort", "1")];
        assert!(matches!(refused(&fixed), UpdateError::Fixed { .. }));
        let bad = [
            ("autoCreateTopicEnable", "false"),
            ("brokerPermission", "x"),
        ];
        assert!(matches!(refused(&bad), UpdateError::Set(_)));
        assert_eq!(*live.current(), BrokerConfig::default());
    }

    #[test]
    fn what_stays_the_same_or_is_unknown_is_no_change() {
        let live = LiveConfig::new(BrokerConfig::default(), None, Clock::by_hand(1));
        let same = pairs(&[("listenPort", "10911"), ("noSuchKey", "1")]);
        let updated = live.update(&same).unwrap();
        assert!(updated.changed.is_empty());
        assert_eq!(updated.unknown, ["noSuchKey"]);
        assert!(live.version_json().contains("\"counter\":0"));
    }
}
