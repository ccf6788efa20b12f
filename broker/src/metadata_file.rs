//! One JSON file of `config/`, replaced as a whole: after a crash there is the old one or the new
//! one, never half of one.
//!
//! The names and places are Java's (04-store-files §4.8): `<name>.json` and, before it,
//! `<name>.json.bak`.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::Mutex;

use serde::Serialize;
use thrustmq_proto_compat::fastjson;

/// Why what a file should hold is not known.
#[derive(Debug, thiserror::Error)]
#[error("{path} and its .bak can not be read: {cause}")]
pub struct LoadError {
    path: String,
    cause: String,
}

/// One file and its predecessor.
#[derive(Debug)]
pub(crate) struct MetadataFile {
    path: PathBuf,
    backup: PathBuf,
    writing: Mutex<()>,
}

impl MetadataFile {
    /// The file `name` of the directory `config` in the store's root directory.
    pub(crate) fn new(root_dir: &Path, name: &str) -> Self {
        Self::at(root_dir.join("config").join(name))
    }

    /// A file at a path of its own.
    pub(crate) fn at(path: PathBuf) -> Self {
        let mut backup = path.clone().into_os_string();
        backup.push(".bak");
        Self {
            path,
            backup: backup.into(),
            writing: Mutex::new(()),
        }
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
        let newest = read(&self.path, &decode);
        if let Ok(Some(content)) = newest {
            return Ok(Some(content));
        }
        let older = read(&self.backup, &decode);
        let cause = match (newest, older) {
            (Ok(_), Ok(None)) => return Ok(None),
            (Ok(_), Ok(Some(content))) => {
                let backup = self.backup.display();
                tracing::warn!(%backup, "metadata file is absent, its predecessor is used");
                return Ok(Some(content));
            }
            (Err(cause), Ok(Some(content))) => {
                let (file, backup) = (self.path.display(), self.backup.display());
                tracing::warn!(%file, %backup, cause, "metadata file is unusable, its predecessor is used");
                return Ok(Some(content));
            }
            (Err(cause), _) | (Ok(_), Err(cause)) => cause,
        };
        Err(LoadError {
            path: self.path.display().to_string(),
            cause,
        })
    }

    /// Replaces the file by what `content` gives; concurrent writers take turns, and each asks for
    /// its content when it is its turn, so that the last one writes the newest.
    ///
    /// # Errors
    /// The disk refuses; the file is then what it was.
    pub(crate) fn store(&self, content: impl FnOnce() -> Vec<u8>) -> io::Result<()> {
        self.replace(|| Ok(content()))
    }

    fn replace(&self, content: impl FnOnce() -> io::Result<Vec<u8>>) -> io::Result<()> {
        let _turn = self.writing.lock().expect("no holder of this lock panics");
        let directory = self.path.parent().unwrap_or(Path::new("."));
        fs::create_dir_all(directory)?;
        let temporary = self.path.with_extension("tmp");
        let mut file = File::create(&temporary)?;
        file.write_all(&content()?)?;
        file.sync_all()?;
        if self.path.exists() {
            keep_as_backup(&self.path, &self.backup)?;
        }
        fs::rename(&temporary, &self.path)?;
        File::open(directory)?.sync_all()
    }

    /// As [`MetadataFile::store`], for callers that go on without the file: a failure is logged.
    pub(crate) fn store_json_or_log<T: Serialize>(&self, content: impl FnOnce() -> T) -> bool {
        let encode = || fastjson::to_vec(&content()).map_err(io::Error::other);
        let stored = self.replace(encode);
        if let Err(error) = &stored {
            let file = self.path.display();
            tracing::error!(%file, %error, "metadata file is not written");
        }
        stored.is_ok()
    }
}

/// A second name for the old content, so that the first never points to nothing.
fn keep_as_backup(path: &Path, backup: &Path) -> io::Result<()> {
    match fs::remove_file(backup) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    fs::hard_link(path, backup).or_else(|_| fs::copy(path, backup).map(|_| ()))
}

fn read<T, E: std::fmt::Display>(
    path: &Path,
    decode: &impl Fn(&[u8]) -> Result<T, E>,
) -> Result<Option<T>, String> {
    let bytes = match fs::read(path) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error.to_string()),
    };
    if bytes.is_empty() {
        return Err("the file is empty".to_owned());
    }
    decode(&bytes).map(Some).map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decode(bytes: &[u8]) -> Result<String, String> {
        let text = String::from_utf8_lossy(bytes).into_owned();
        if text.starts_with('{') {
            Ok(text)
        } else {
            Err("no object".to_owned())
        }
    }

    fn file() -> (tempfile::TempDir, MetadataFile) {
        let dir = tempfile::tempdir().unwrap();
        let file = MetadataFile::new(dir.path(), "topics.json");
        (dir, file)
    }

    #[test]
    fn what_was_stored_is_loaded_and_its_predecessor_kept() {
        let (dir, file) = file();
        assert_eq!(file.load(decode).unwrap(), None);
        file.store(|| b"{1}".to_vec()).unwrap();
        file.store(|| b"{2}".to_vec()).unwrap();
        assert_eq!(file.load(decode).unwrap().as_deref(), Some("{2}"));
        let backup = fs::read(dir.path().join("config/topics.json.bak")).unwrap();
        assert_eq!(backup, b"{1}");
        assert!(!dir.path().join("config/topics.tmp").exists());
    }

    #[test]
    fn an_empty_corrupt_or_absent_file_falls_back_to_its_predecessor() {
        let (dir, file) = file();
        file.store(|| b"{1}".to_vec()).unwrap();
        file.store(|| b"{2}".to_vec()).unwrap();
        let path = dir.path().join("config/topics.json");
        for broken in [&b""[..], b"rubbish"] {
            fs::write(&path, broken).unwrap();
            assert_eq!(file.load(decode).unwrap().as_deref(), Some("{1}"));
        }
        fs::remove_file(&path).unwrap();
        assert_eq!(file.load(decode).unwrap().as_deref(), Some("{1}"));
    }

    #[test]
    fn a_file_that_can_not_be_read_at_all_is_an_error() {
        let (dir, file) = file();
        file.store(|| b"{1}".to_vec()).unwrap();
        fs::write(dir.path().join("config/topics.json"), b"rubbish").unwrap();
        let error = file.load(decode).unwrap_err().to_string();
        assert!(
            error.contains("topics.json") && error.ends_with("no object"),
            "{error}"
        );
    }

    #[test]
    fn a_failed_write_leaves_the_old_file() {
        let (dir, file) = file();
        file.store(|| b"{1}".to_vec()).unwrap();
        fs::create_dir(dir.path().join("config/topics.tmp")).unwrap();
        assert!(file.store(|| b"{2}".to_vec()).is_err());
        assert_eq!(file.load(decode).unwrap().as_deref(), Some("{1}"));
    }
}
