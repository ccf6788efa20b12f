//! Files of `config/` that many change: whoever changes a table notes it here and goes on; the
//! thread `metadata-writer` writes each table that was changed as a whole, for all changes that came
//! until then. So ten thousand topics are not written ten thousand times, and no thread that sends
//! or pulls waits for a disk. An answer that promises a change waits, parked, until it is written.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use serde::Serialize;
use tokio::sync::watch;

use crate::alarm::Alarm;
use crate::metadata_file::{LoadError, MetadataFile};

/// Longest sleep of the thread; changes end it.
const SLEEP_MS_MAX: i64 = 60_000;

/// Counts the changes of all tables. Clones are handles of one.
#[derive(Debug, Clone)]
pub(crate) struct MetadataWriter(Arc<State>);

#[derive(Debug)]
struct State {
    /// Number of the last change.
    noted: watch::Sender<u64>,
    /// Number of the last change that is in its file, or could not be written.
    written: watch::Sender<u64>,
    alarm: Alarm,
}

impl MetadataWriter {
    /// Nothing is changed yet.
    pub(crate) fn new() -> Self {
        Self(Arc::new(State {
            noted: watch::Sender::new(0),
            written: watch::Sender::new(0),
            alarm: Alarm::default(),
        }))
    }

    fn note(&self) {
        self.0.noted.send_modify(|number| *number += 1);
        self.0.alarm.set_before(i64::MIN);
    }

    /// Number of the last change: all that the caller has changed is among those up to it.
    pub(crate) fn noted(&self) -> u64 {
        *self.0.noted.borrow()
    }

    /// Whether all changes up to a number are in their files, or could not be written.
    pub(crate) fn is_written(&self, number: u64) -> bool {
        *self.0.written.borrow() >= number
    }

    /// Returns once that is so.
    pub(crate) async fn all_written(&self, number: u64) {
        let mut written = self.0.written.subscribe();
        // The sender lives as long as `self`, so that this ends by writing only.
        let _ = written.wait_for(|written| *written >= number).await;
    }

    /// What the thread does until it is stopped; `write` writes all tables that were changed.
    pub(crate) fn run(&self, write: impl Fn()) {
        let alarm = &self.0.alarm;
        while !alarm.is_stopped() {
            alarm.wait(|| 0, SLEEP_MS_MAX);
            // In this order, so that a change that comes meanwhile is written next time.
            alarm.clear();
            self.write_noted(&write);
        }
    }

    /// Writes what was noted until now. One caller at a time: the thread, and the shutdown after it.
    pub(crate) fn write_noted(&self, write: impl Fn()) {
        let noted = self.noted();
        write();
        self.0.written.send_replace(noted);
    }

    /// Ends [`MetadataWriter::run`].
    pub(crate) fn stop(&self) {
        self.0.alarm.stop();
    }
}

/// One file that the thread writes.
#[derive(Debug)]
pub(crate) struct ChangedFile {
    file: MetadataFile,
    is_changed: AtomicBool,
    writer: MetadataWriter,
}

impl ChangedFile {
    /// The file `name` of the directory `config` in the store's root directory.
    pub(crate) fn new(root_dir: &Path, name: &str, writer: &MetadataWriter) -> Self {
        Self {
            file: MetadataFile::new(root_dir, name),
            is_changed: AtomicBool::new(false),
            writer: writer.clone(),
        }
    }

    /// As [`MetadataFile::load`].
    ///
    /// # Errors
    /// Something was written, and nothing of it can be read.
    pub(crate) fn load<T, E: std::fmt::Display>(
        &self,
        decode: impl Fn(&[u8]) -> Result<T, E>,
    ) -> Result<Option<T>, LoadError> {
        self.file.load(decode)
    }

    /// Notes that what the file holds has just changed.
    pub(crate) fn note_change(&self) {
        // Before the number, so that who writes up to the number writes this file.
        self.is_changed.store(true, Ordering::Release);
        self.writer.note();
    }

    /// Writes the file if it was changed. A failure is logged, and tried again with the next change
    /// of any file.
    pub(crate) fn write_if_changed<T: Serialize>(&self, content: impl FnOnce() -> T) {
        if self.is_changed.swap(false, Ordering::AcqRel) && !self.file.store_json_or_log(content) {
            self.is_changed.store(true, Ordering::Release);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicU64;
    use std::thread::Builder;

    use super::*;

    #[tokio::test]
    async fn many_changes_are_in_the_file_when_told_and_cost_few_writes() {
        let dir = tempfile::tempdir().unwrap();
        let writer = MetadataWriter::new();
        let file = Arc::new(ChangedFile::new(dir.path(), "topics.json", &writer));
        let (table, writes) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicU64::new(0)));
        let thread = {
            let (writer, file) = (writer.clone(), Arc::clone(&file));
            let (table, writes) = (Arc::clone(&table), Arc::clone(&writes));
            let write = move || {
                file.write_if_changed(|| {
                    writes.fetch_add(1, Ordering::SeqCst);
                    // Time for others to come.
                    std::thread::sleep(std::time::Duration::from_millis(20));
                    vec![table.load(Ordering::SeqCst)]
                });
            };
            let run = move || writer.run(write);
            Builder::new().name("writes".into()).spawn(run).unwrap()
        };
        for _ in 0..100 {
            let value = table.fetch_add(1, Ordering::SeqCst) + 1;
            file.note_change();
            if value % 10 == 0 {
                writer.all_written(writer.noted()).await;
                let load = file.load(|bytes| serde_json::from_slice::<Vec<u64>>(bytes));
                assert!(load.unwrap().unwrap()[0] >= value);
            }
        }
        assert!(writer.is_written(writer.noted()));
        assert!(writes.load(Ordering::SeqCst) <= 20);
        writer.stop();
        thread.join().unwrap();
    }

    #[test]
    fn what_could_not_be_written_is_written_later() {
        let dir = tempfile::tempdir().unwrap();
        let writer = MetadataWriter::new();
        let file = ChangedFile::new(dir.path(), "topics.json", &writer);
        let obstacle = dir.path().join("config/topics.json.tmp");
        std::fs::create_dir_all(&obstacle).unwrap();
        file.note_change();
        writer.write_noted(|| file.write_if_changed(|| vec![1]));
        std::fs::remove_dir(&obstacle).unwrap();
        let load = || file.load(|bytes| serde_json::from_slice::<Vec<u64>>(bytes));
        assert_eq!(load().unwrap(), None);
        writer.write_noted(|| file.write_if_changed(|| vec![2]));
        assert_eq!(load().unwrap(), Some(vec![2]));
        writer.write_noted(|| file.write_if_changed(|| vec![3]));
        assert_eq!(load().unwrap(), Some(vec![2]));
    }
}
