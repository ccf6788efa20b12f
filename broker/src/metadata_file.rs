//! One JSON file of `config/`: the names and places are Java's (04-store-files §4.8).

use std::io;
use std::path::Path;

use serde::Serialize;
use thrustmq_proto_compat::fastjson;
use thrustmq_settings::atomic_file::AtomicFile;
pub(crate) use thrustmq_settings::atomic_file::LoadError;

/// One file and its predecessor.
#[derive(Debug)]
pub(crate) struct MetadataFile(AtomicFile);

impl MetadataFile {
    /// The file `name` of the directory `config` in the store's root directory.
    pub(crate) fn new(root_dir: &Path, name: &str) -> Self {
        Self(AtomicFile::new(root_dir.join("config").join(name)))
    }

    /// Reads the file, or its predecessor if the file is absent, empty or not what `decode` takes.
    /// `None` if neither was ever written.
    ///
    /// # Errors
    /// Something was written, and nothing of it can be read: starting without it would lose it.
    pub(crate) fn load<T, E: std::fmt::Display>(
        &self,
        decode: impl Fn(&[u8]) -> Result<T, E>,
    ) -> Result<Option<T>, LoadError> {
        self.0.load(decode)
    }

    /// Replaces the file by what `content` gives when it is this writer's turn.
    ///
    /// # Errors
    /// The disk refuses; the file is then what it was.
    pub(crate) fn store(&self, content: impl FnOnce() -> Vec<u8>) -> io::Result<()> {
        self.0.replace(|| Ok(content()))
    }

    /// As [`MetadataFile::store`], for callers that go on without the file: a failure is logged.
    pub(crate) fn store_json_or_log<T: Serialize>(&self, content: impl FnOnce() -> T) -> bool {
        let encode = || fastjson::to_vec(&content()).map_err(io::Error::other);
        let stored = self.0.replace(encode);
        if let Err(error) = &stored {
            let file = self.0.path().display();
            tracing::error!(%file, %error, "metadata file is not written");
        }
        stored.is_ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_is_stored_in_config_and_a_failure_is_told() {
        let dir = tempfile::tempdir().unwrap();
        let file = MetadataFile::new(dir.path(), "topics.json");
        assert!(file.store_json_or_log(|| vec![1]));
        file.store(|| b"[2]".to_vec()).unwrap();
        let load = || file.load(|bytes| serde_json::from_slice::<Vec<i32>>(bytes));
        assert_eq!(load().unwrap(), Some(vec![2]));
        let backup = std::fs::read(dir.path().join("config/topics.json.bak")).unwrap();
        assert_eq!(backup, b"[1]");
        std::fs::create_dir(dir.path().join("config/topics.json.tmp")).unwrap();
        assert!(!file.store_json_or_log(|| vec![3]));
        assert_eq!(load().unwrap(), Some(vec![2]));
    }
}
