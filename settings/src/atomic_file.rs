//! A file that is replaced as a whole: after a crash there is the old one or the new one, never half
//! of one. Used for settings, the broker's `config/*.json` and the name server's kvConfig.json.
//!
//! The names and places are Java's: `<name>` and, before it, `<name>.bak`.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

/// Why what a file should hold is not known.
#[derive(Debug, thiserror::Error)]
#[error("{path} and its .bak can not be read: {cause}")]
pub struct LoadError {
    path: String,
    cause: String,
}

/// One file and its predecessor.
#[derive(Debug)]
pub struct AtomicFile {
    path: PathBuf,
    backup: PathBuf,
    temporary: PathBuf,
    /// Number of the last caller who wants the file replaced.
    wanted: AtomicU64,
    /// Held while writing: number of the last caller whose change is in the file.
    written: Mutex<u64>,
}

impl AtomicFile {
    /// The file at a path; nothing is read or written yet.
    pub fn new(path: PathBuf) -> Self {
        let beside = |suffix: &str| {
            let mut name = path.clone().into_os_string();
            name.push(suffix);
            PathBuf::from(name)
        };
        Self {
            backup: beside(".bak"),
            temporary: beside(".tmp"),
            path,
            wanted: AtomicU64::new(0),
            written: Mutex::new(0),
        }
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Reads the file, or its predecessor if the file is absent, empty or not what `decode` takes.
    /// `None` if neither was ever written.
    ///
    /// # Errors
    /// Something was written, and nothing of it can be read: starting without it would lose it.
    pub fn load<T, E: std::fmt::Display>(
        &self,
        decode: impl Fn(&[u8]) -> Result<T, E>,
    ) -> Result<Option<T>, LoadError> {
        let newest = read(&self.path, &decode);
        if let Ok(Some(content)) = newest {
            return Ok(Some(content));
        }
        let older = read(&self.backup, &decode);
        let (file, backup) = (self.path.display(), self.backup.display());
        let cause = match (newest, older) {
            (Ok(_), Ok(None)) => return Ok(None),
            (Ok(_), Ok(Some(content))) => {
                tracing::warn!(%backup, "file is absent, its predecessor is used");
                return Ok(Some(content));
            }
            (Err(cause), Ok(Some(content))) => {
                tracing::warn!(%file, %backup, cause, "file is unusable, its predecessor is used");
                return Ok(Some(content));
            }
            (Err(cause), _) | (Ok(_), Err(cause)) => cause,
        };
        Err(LoadError {
            path: file.to_string(),
            cause,
        })
    }

    /// Replaces the file by what `content` gives: all that was changed before the call, or more.
    /// Concurrent writers take turns; those who come while one writes are served by the next write
    /// together, for a file of ten thousand topics is not written for each of them.
    ///
    /// # Errors
    /// There is no content, or the disk refuses; the file is then what it was.
    pub fn replace(&self, content: impl FnOnce() -> io::Result<Vec<u8>>) -> io::Result<()> {
        let number = self.wanted.fetch_add(1, Ordering::AcqRel) + 1;
        let mut written = self.written.lock().unwrap_or_else(PoisonError::into_inner);
        if *written >= number {
            return Ok(());
        }
        // Read before the content is taken, which then holds the changes of all these callers.
        let covers = self.wanted.load(Ordering::Acquire);
        self.write(&content()?)?;
        *written = covers;
        Ok(())
    }

    fn write(&self, content: &[u8]) -> io::Result<()> {
        let parent = self.path.parent().filter(|p| !p.as_os_str().is_empty());
        let directory = parent.unwrap_or(Path::new("."));
        make_durably(directory)?;
        let mut file = File::create(&self.temporary)?;
        if let Ok(replaced) = fs::metadata(&self.path) {
            // Before there is content: who could not read the old file can not read the new one.
            file.set_permissions(replaced.permissions())?;
        }
        file.write_all(content)?;
        file.sync_all()?;
        if self.path.exists() {
            keep_as_backup(&self.path, &self.backup)?;
        }
        fs::rename(&self.temporary, &self.path)?;
        File::open(directory)?.sync_all()
    }
}

/// Makes a directory and those above it that are missing, each with a name that lasts.
fn make_durably(directory: &Path) -> io::Result<()> {
    if directory.is_dir() {
        return Ok(());
    }
    let parent = directory.parent().filter(|p| !p.as_os_str().is_empty());
    let parent = parent.unwrap_or(Path::new("."));
    make_durably(parent)?;
    match fs::create_dir(directory) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
        _ => {}
    }
    File::open(parent)?.sync_all()
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
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    fn decode(bytes: &[u8]) -> Result<String, String> {
        let text = String::from_utf8_lossy(bytes).into_owned();
        if text.starts_with('{') {
            Ok(text)
        } else {
            Err("no object".to_owned())
        }
    }

    fn file() -> (tempfile::TempDir, AtomicFile) {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("config").join("topics.json");
        (directory, AtomicFile::new(path))
    }

    fn store(file: &AtomicFile, content: &str) -> io::Result<()> {
        file.replace(|| Ok(content.as_bytes().to_vec()))
    }

    #[test]
    fn what_was_stored_is_loaded_and_its_predecessor_kept() {
        let (directory, file) = file();
        assert_eq!(file.load(decode).unwrap(), None);
        store(&file, "{1}").unwrap();
        store(&file, "{2}").unwrap();
        assert_eq!(file.load(decode).unwrap().as_deref(), Some("{2}"));
        let backup = fs::read(directory.path().join("config/topics.json.bak")).unwrap();
        assert_eq!(backup, b"{1}");
        assert!(!directory.path().join("config/topics.json.tmp").exists());
    }

    #[test]
    fn an_empty_corrupt_or_absent_file_falls_back_to_its_predecessor() {
        let (_directory, file) = file();
        store(&file, "{1}").unwrap();
        store(&file, "{2}").unwrap();
        for broken in [&b""[..], b"rubbish"] {
            fs::write(file.path(), broken).unwrap();
            assert_eq!(file.load(decode).unwrap().as_deref(), Some("{1}"));
        }
        fs::remove_file(file.path()).unwrap();
        assert_eq!(file.load(decode).unwrap().as_deref(), Some("{1}"));
    }

    #[test]
    fn a_file_that_can_not_be_read_at_all_is_an_error() {
        let (_directory, file) = file();
        store(&file, "{1}").unwrap();
        fs::write(file.path(), b"rubbish").unwrap();
        let error = file.load(decode).unwrap_err().to_string();
        assert!(
            error.contains("topics.json") && error.ends_with("no object"),
            "{error}"
        );
    }

    #[test]
    fn a_failed_write_leaves_the_old_file() {
        let (directory, file) = file();
        store(&file, "{1}").unwrap();
        assert!(
            file.replace(|| Err(io::Error::other("no content")))
                .is_err()
        );
        fs::create_dir(directory.path().join("config/topics.json.tmp")).unwrap();
        assert!(store(&file, "{2}").is_err());
        assert_eq!(file.load(decode).unwrap().as_deref(), Some("{1}"));
    }

    #[test]
    fn writers_who_come_together_are_served_by_few_writes() {
        const WRITERS: usize = 16;
        let (_directory, file) = file();
        let (changes, writes) = (AtomicU64::new(0), AtomicU64::new(0));
        let together = std::sync::Barrier::new(WRITERS);
        std::thread::scope(|scope| {
            for _ in 0..WRITERS {
                scope.spawn(|| {
                    together.wait();
                    let change = changes.fetch_add(1, Ordering::SeqCst) + 1;
                    let content = || {
                        writes.fetch_add(1, Ordering::SeqCst);
                        let content = format!("{{{}}}", changes.load(Ordering::SeqCst));
                        // Time for the others to come.
                        std::thread::sleep(std::time::Duration::from_millis(50));
                        Ok(content.into_bytes())
                    };
                    file.replace(content).unwrap();
                    let stored = file.load(decode).unwrap().unwrap();
                    let stored: u64 = stored.trim_matches(['{', '}']).parse().unwrap();
                    assert!(stored >= change, "change {change} is not in {stored}");
                });
            }
        });
        let writes = writes.into_inner();
        assert!(writes < WRITERS as u64, "{writes} writes");
    }

    #[test]
    fn a_secret_file_stays_secret() {
        let (_directory, file) = file();
        store(&file, "{1}").unwrap();
        fs::set_permissions(file.path(), fs::Permissions::from_mode(0o600)).unwrap();
        store(&file, "{2}").unwrap();
        let mode = fs::metadata(file.path()).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
    }
}
