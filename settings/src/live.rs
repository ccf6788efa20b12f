//! The settings in force: read on every request, changed by mqadmin.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError, RwLock};

use thrustmq_proto_compat::properties_text;

use crate::atomic_file::AtomicFile;
use crate::properties_file;
use crate::settings::{FixedKeys, Settings};
use crate::table::{Key, SetError};

/// The key that both of Java's servers keep the black list in.
const BLACK_LIST: &str = "configBlackList";

/// Where changes at run time are kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum KeptIn {
    /// Only in memory.
    Memory,
    /// The properties file that the settings came from: the lines of changed keys change.
    Source(PathBuf),
    /// A file of its own, which holds every key.
    Dump(PathBuf),
}

/// What a change did.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Updated {
    /// Keys that have a new value.
    pub changed: Vec<&'static str>,
    /// Keys that the server doesn't know, ignored as Java ignores them.
    pub unknown: Vec<String>,
}

/// Why a change was refused; nothing has changed then.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum UpdateError {
    /// A key is one that no command may change.
    #[error("Can not update config in black list.")]
    BlackListed,
    /// A key counts only at a start.
    #[error(
        "configuration key {key} changes only with a restart: set it in the file of -c or with --set"
    )]
    Fixed {
        /// The key.
        key: &'static str,
    },
    /// A value is not what its key takes.
    #[error(transparent)]
    Set(#[from] SetError),
}

/// The settings of a running server.
#[derive(Debug)]
pub struct LiveSettings<S> {
    current: RwLock<Arc<S>>,
    /// Held while settings change and are written: one change after another.
    changing: Mutex<()>,
    kept_in: KeptIn,
}

struct Change {
    key: &'static Key,
    before: Option<String>,
    after: Option<String>,
}

impl<S: Settings> LiveSettings<S> {
    /// Puts settings in force.
    pub fn new(settings: S, kept_in: KeptIn) -> Self {
        Self {
            current: RwLock::new(Arc::new(settings)),
            changing: Mutex::new(()),
            kept_in,
        }
    }

    /// The settings now.
    pub fn current(&self) -> Arc<S> {
        let current = self.current.read();
        Arc::clone(&current.unwrap_or_else(PoisonError::into_inner))
    }

    /// Applies properties text, all of it or nothing, and keeps the changes on disk. A disk that
    /// refuses does not undo them: as in Java, they count until the server stops, and the error is logged.
    ///
    /// # Errors
    /// A key may not be changed so, or a value is not what its key takes.
    pub fn update(&self, text: &str) -> Result<Updated, UpdateError> {
        let _turn = self.changing.lock().unwrap_or_else(PoisonError::into_inner);
        let properties = properties_text::parse(text);
        let before = self.current();
        refuse_black_listed(&*before, &properties)?;
        let mut next = S::clone(&before);
        let unknown = next.apply(&properties)?;
        let changes = changes_between(&*before, &next);
        refuse_fixed::<S>(&changes)?;
        changes.iter().for_each(log);
        let changed = changes.iter().map(|change| change.key.name).collect();
        if !changes.is_empty() {
            let next = Arc::new(next);
            *self.current.write().unwrap_or_else(PoisonError::into_inner) = Arc::clone(&next);
            self.keep(&next, changes);
        }
        Ok(Updated { changed, unknown })
    }

    fn keep(&self, settings: &S, changes: Vec<Change>) {
        let (path, kept) = match &self.kept_in {
            KeptIn::Memory => return,
            KeptIn::Source(path) => (path, keep_changes(path, changes)),
            KeptIn::Dump(path) => {
                let dump = || Ok(settings.to_properties().into_bytes());
                (path, AtomicFile::new(path.clone()).replace(dump))
            }
        };
        if let Err(error) = kept {
            let file = path.display();
            tracing::error!(%file, %error, "configuration file does not follow the change");
        }
    }
}

fn keep_changes(path: &Path, changes: Vec<Change>) -> io::Result<()> {
    let text = std::fs::read_to_string(path)?;
    let values = changes
        .into_iter()
        .map(|change| (change.key.name, change.after.unwrap_or_default()));
    let text = properties_file::with_changes(&text, &values.collect::<Vec<_>>());
    AtomicFile::new(path.to_owned()).replace(|| Ok(text.into_bytes()))
}

/// A peer that can redirect a file we write can write anywhere (CVE-2023-37582).
fn refuse_black_listed<S: Settings>(
    settings: &S,
    properties: &[(String, String)],
) -> Result<(), UpdateError> {
    let black_list = settings.get(BLACK_LIST).unwrap_or_default();
    let is_listed = |key: &str| {
        key == BLACK_LIST
            || S::RULES.never_changed.contains(&key)
            || black_list.split(';').any(|listed| listed.trim() == key)
    };
    if properties.iter().any(|(key, _)| is_listed(key)) {
        return Err(UpdateError::BlackListed);
    }
    Ok(())
}

fn refuse_fixed<S: Settings>(changes: &[Change]) -> Result<(), UpdateError> {
    let fixed = changes.iter().find(|change| !change.key.is_live);
    match (S::RULES.fixed_keys, fixed) {
        (FixedKeys::Refused, Some(change)) => Err(UpdateError::Fixed {
            key: change.key.name,
        }),
        _ => Ok(()),
    }
}

fn changes_between<S: Settings>(before: &S, after: &S) -> Vec<Change> {
    let changes = S::KEYS.iter().map(|key| Change {
        key,
        before: before.get(key.name),
        after: after.get(key.name),
    });
    changes
        .filter(|change| change.before != change.after)
        .collect()
}

fn log(change: &Change) {
    tracing::info!(
        key = change.key.name,
        before = change.before.as_deref().unwrap_or_default(),
        after = change.after.as_deref().unwrap_or_default(),
        at_once = change.key.is_live,
        "configuration changes"
    );
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::example::{Lenient, Strict};

    #[test]
    fn a_live_key_changes_at_once_and_in_the_file_it_came_from() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("thing.conf");
        std::fs::write(&path, "# mine\nisOn = true\n").unwrap();
        let settings = Strict::load(Some(&path), &[]).unwrap();
        let live = LiveSettings::new(settings, KeptIn::Source(path.clone()));
        let updated = live.update("isOn=false\npermission=3\n").unwrap();
        assert_eq!(updated.changed, ["permission", "isOn"]);
        assert!(!live.current().is_on);
        let kept = || std::fs::read_to_string(&path).unwrap();
        assert_eq!(kept(), "# mine\nisOn=false\npermission=3\n");
        assert_eq!(Strict::load(Some(&path), &[]).unwrap(), *live.current());
        live.update("permission=4").unwrap();
        assert_eq!(kept(), "# mine\nisOn=false\npermission=4\n");
    }

    #[test]
    fn a_dump_holds_every_key_and_nothing_of_what_stood_there() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("deep").join("thing.properties");
        let live = LiveSettings::new(Strict::default(), KeptIn::Dump(path.clone()));
        for permission in ["permission=3", "permission=4"] {
            live.update(permission).unwrap();
            let kept = std::fs::read_to_string(&path).unwrap();
            assert_eq!(kept, live.current().to_properties());
            std::fs::write(&path, "isOn=false\n").unwrap();
        }
    }

    #[test]
    fn a_refused_change_changes_nothing() {
        let live = LiveSettings::new(Strict::default(), KeptIn::Memory);
        let refused = |text: &str| live.update(&format!("isOn=false\n{text}")).unwrap_err();
        for listed in ["configBlackList=", "storePath=/etc/passwd", "isSecret=1"] {
            assert_eq!(refused(listed), UpdateError::BlackListed, "{listed}");
        }
        assert_eq!(
            refused("listenPort=1"),
            UpdateError::Fixed { key: "listenPort" }
        );
        assert!(matches!(refused("permission=x"), UpdateError::Set(_)));
        assert_eq!(*live.current(), Strict::default());
    }

    #[test]
    fn what_stays_the_same_or_is_unknown_is_no_change() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("thing.properties");
        let live = LiveSettings::new(Strict::default(), KeptIn::Dump(path.clone()));
        let updated = live.update("listenPort=9876\nnoSuchKey=1").unwrap();
        assert!(updated.changed.is_empty());
        assert_eq!(updated.unknown, ["noSuchKey"]);
        assert!(!path.exists());
    }

    #[test]
    fn a_fixed_key_is_kept_for_the_next_start_where_the_rules_say_so() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("thing.properties");
        let live = LiveSettings::new(Lenient::default(), KeptIn::Dump(path.clone()));
        assert_eq!(live.update("word=x").unwrap().changed, ["word"]);
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "word=x\n");
    }

    #[test]
    fn no_key_slips_into_the_file_by_a_value() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("thing.conf");
        std::fs::write(&path, "word=x\n").unwrap();
        for kept_in in [KeptIn::Source(path.clone()), KeptIn::Dump(path.clone())] {
            let live = LiveSettings::new(Lenient::default(), kept_in);
            live.update("word=x\\nstorePath=/etc/passwd").unwrap();
            let text = std::fs::read_to_string(&path).unwrap();
            let kept = properties_text::parse(&text);
            let injected = "x\nstorePath=/etc/passwd".to_owned();
            assert_eq!(kept, [("word".to_owned(), injected)], "{text}");
            std::fs::write(&path, "word=y\n").unwrap();
        }
    }

    #[test]
    fn a_file_that_can_not_be_written_does_not_undo_the_change() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("absent").join("thing.conf");
        let live = LiveSettings::new(Strict::default(), KeptIn::Source(path.clone()));
        live.update("isOn=false").unwrap();
        assert!(!live.current().is_on && !path.exists());
    }
}
