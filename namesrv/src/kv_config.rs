//! The key-value configuration: namespace → key → value, the only state that a name server keeps on
//! disk, in the shape of Java's kvConfig.json. Mostly `ORDER_TOPIC_CONFIG`: topic → `broker-a:4;broker-b:4`.
//!
//! Invariant: what a command was told is set has been synced to disk.

use std::collections::BTreeMap;
use std::io;
use std::path::Path;
use std::sync::{Mutex, PoisonError, RwLock};

use serde::{Deserialize, Serialize};
use thrustmq_settings::atomic_file::{AtomicFile, LoadError};

/// The namespace of ordered topics' queues.
pub(crate) const ORDER_TOPIC_CONFIG: &str = "ORDER_TOPIC_CONFIG";

/// The values of one namespace.
pub(crate) type Namespace = BTreeMap<String, String>;

#[derive(Debug, Clone, Default, Serialize, Deserialize)]
struct Kept {
    #[serde(rename = "configTable", default)]
    namespaces: BTreeMap<String, Namespace>,
}

/// All namespaces, in memory and on disk.
#[derive(Debug)]
pub(crate) struct KvConfig {
    file: AtomicFile,
    current: RwLock<Kept>,
    /// Held while a change is written, so that readers do not wait for the disk.
    changing: Mutex<()>,
}

impl KvConfig {
    /// Reads the file, or its `.bak` if it is damaged; there need not be one.
    pub(crate) fn load(path: &Path) -> Result<Self, LoadError> {
        let file = AtomicFile::new(path.to_owned());
        let kept: Option<Kept> = file.load(|bytes| serde_json::from_slice(bytes))?;
        Ok(Self {
            file,
            current: RwLock::new(kept.unwrap_or_default()),
            changing: Mutex::new(()),
        })
    }

    /// One value.
    pub(crate) fn get(&self, namespace: &str, key: &str) -> Option<String> {
        let current = self.current.read().unwrap_or_else(PoisonError::into_inner);
        current.namespaces.get(namespace)?.get(key).cloned()
    }

    /// All values of a namespace; `None` if nothing was ever put into it.
    pub(crate) fn namespace(&self, namespace: &str) -> Option<Namespace> {
        let current = self.current.read().unwrap_or_else(PoisonError::into_inner);
        current.namespaces.get(namespace).cloned()
    }

    /// Sets a value.
    pub(crate) fn put(&self, namespace: &str, key: &str, value: &str) -> io::Result<()> {
        self.change(|kept| {
            let values = kept.namespaces.entry(namespace.to_owned()).or_default();
            values.insert(key.to_owned(), value.to_owned());
        })
    }

    /// Removes a value, if it is there.
    pub(crate) fn delete(&self, namespace: &str, key: &str) -> io::Result<()> {
        self.change(|kept| {
            if let Some(values) = kept.namespaces.get_mut(namespace) {
                values.remove(key);
            }
        })
    }

    /// Changes a copy, writes it, and only then shows it.
    fn change(&self, change: impl FnOnce(&mut Kept)) -> io::Result<()> {
        let _changing = self.changing.lock().unwrap_or_else(PoisonError::into_inner);
        let mut next = {
            let current = self.current.read().unwrap_or_else(PoisonError::into_inner);
            current.clone()
        };
        change(&mut next);
        self.file.replace(|| Ok(serde_json::to_vec(&next)?))?;
        *self.current.write().unwrap_or_else(PoisonError::into_inner) = next;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn directory() -> tempfile::TempDir {
        tempfile::tempdir().unwrap()
    }

    #[test]
    fn values_survive_and_java_could_read_the_file() {
        let directory = directory();
        let path = directory.path().join("deep").join("kvConfig.json");
        let config = KvConfig::load(&path).unwrap();
        assert_eq!(config.get(ORDER_TOPIC_CONFIG, "t"), None);
        config.put(ORDER_TOPIC_CONFIG, "t", "broker-a:4").unwrap();
        config.put(ORDER_TOPIC_CONFIG, "u", "broker-b:2").unwrap();
        config.delete(ORDER_TOPIC_CONFIG, "u").unwrap();

        let text = std::fs::read_to_string(&path).unwrap();
        assert_eq!(
            text,
            r#"{"configTable":{"ORDER_TOPIC_CONFIG":{"t":"broker-a:4"}}}"#
        );
        let again = KvConfig::load(&path).unwrap();
        assert_eq!(
            again.get(ORDER_TOPIC_CONFIG, "t").as_deref(),
            Some("broker-a:4")
        );
    }

    #[test]
    fn a_namespace_that_was_emptied_is_still_there() {
        let directory = directory();
        let config = KvConfig::load(&directory.path().join("kv.json")).unwrap();
        config.put("ns", "k", "v").unwrap();
        config.delete("ns", "k").unwrap();
        assert_eq!(config.namespace("ns").unwrap().len(), 0);
        assert_eq!(config.namespace("other"), None);
    }

    #[test]
    fn a_damaged_file_falls_back_to_its_backup_or_fails() {
        let directory = directory();
        let path = directory.path().join("kv.json");
        std::fs::write(&path, "{\"configTable\":{").unwrap();
        let damaged = KvConfig::load(&path).unwrap_err().to_string();
        assert!(damaged.contains("kv.json"), "{damaged}");

        std::fs::write(&path, "{}").unwrap();
        let config = KvConfig::load(&path).unwrap();
        config.put("ns", "k", "1").unwrap();
        config.put("ns", "k", "2").unwrap();
        std::fs::write(&path, "garbage").unwrap();
        assert_eq!(
            KvConfig::load(&path).unwrap().get("ns", "k").as_deref(),
            Some("1")
        );
    }

    #[test]
    fn what_can_not_be_written_is_not_shown() {
        let directory = directory();
        let path = directory.path().join("kv.json");
        let config = KvConfig::load(&path).unwrap();
        config.put("ns", "k", "1").unwrap();
        std::fs::create_dir(directory.path().join("kv.json.tmp")).unwrap();
        config.put("ns", "k", "2").unwrap_err();
        assert_eq!(config.get("ns", "k").as_deref(), Some("1"));
    }
}
