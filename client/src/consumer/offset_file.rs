//! The offsets of a broadcasting consumer, in a file of its own: every member of such a group consumes
//! everything, so that brokers have no offset to keep.
//!
//! Java's place and form, so that a consumer in Java goes on where one in Rust stopped:
//! `<directory>/<client id>/<group>/offsets.json`, the file before it beside it as `offsets.json.bak`.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use thrustmq_proto_compat::body::{MessageQueue, OffsetSerializeWrapper};
use thrustmq_proto_compat::fastjson;
use tracing::warn;

/// See the module.
#[derive(Debug)]
pub(super) struct OffsetFile {
    path: PathBuf,
    state: Mutex<State>,
    /// Held while the file is written, so that a late writer does not undo a newer one's work.
    writing: Mutex<()>,
}

#[derive(Debug, Default)]
struct State {
    /// Queues of topics that are not consumed any more too, as in Java.
    offsets: BTreeMap<MessageQueue, i64>,
    is_changed: bool,
}

impl OffsetFile {
    /// The file of a group, read if it is there. A damaged one counts as the one before it.
    pub(super) fn open(directory: &Path, client_id: &str, group: &str) -> io::Result<Self> {
        let path = directory.join(client_id).join(group).join("offsets.json");
        let offsets = match read(&path) {
            Ok(Some(offsets)) => offsets,
            Ok(None) => read(&backup(&path))?.unwrap_or_default(),
            Err(cause) if cause.kind() == io::ErrorKind::InvalidData => {
                warn!(path = %path.display(), %cause, "offsets cannot be read, those before them are taken");
                read(&backup(&path))?.unwrap_or_default()
            }
            Err(cause) => return Err(cause),
        };
        Ok(Self {
            path,
            state: Mutex::new(State {
                offsets,
                is_changed: false,
            }),
            writing: Mutex::new(()),
        })
    }

    /// How far the queue was consumed.
    pub(super) fn get(&self, queue: &MessageQueue) -> Option<i64> {
        self.lock().offsets.get(queue).copied()
    }

    /// Notes how far a queue is consumed; [`OffsetFile::write`] makes it last.
    pub(super) fn put(&self, queue: &MessageQueue, offset: i64) {
        let mut state = self.lock();
        if state.offsets.insert(queue.clone(), offset) != Some(offset) {
            state.is_changed = true;
        }
    }

    /// Writes what has changed. A crash leaves the old file or the new one. Blocks.
    pub(super) fn write(&self) -> io::Result<()> {
        let _turn = self.writing.lock().unwrap_or_else(PoisonError::into_inner);
        let offsets = {
            let mut state = self.lock();
            if !state.is_changed {
                return Ok(());
            }
            state.is_changed = false;
            state.offsets.clone()
        };
        let written = write(&self.path, offsets);
        if written.is_err() {
            self.lock().is_changed = true;
        }
        written
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Where files are that nobody named a directory for: where Java's client has them.
pub(super) fn default_directory() -> PathBuf {
    let home = std::env::home_dir().unwrap_or_else(|| PathBuf::from("."));
    home.join(".rocketmq_offsets")
}

fn backup(path: &Path) -> PathBuf {
    path.with_extension("json.bak")
}

fn read(path: &Path) -> io::Result<Option<BTreeMap<MessageQueue, i64>>> {
    let text = match fs::read(path) {
        Ok(text) => text,
        Err(cause) if cause.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(cause) => return Err(cause),
    };
    if text.is_empty() {
        return Ok(None);
    }
    let wrapper: OffsetSerializeWrapper = fastjson::from_slice(&text)
        .map_err(|cause| io::Error::new(io::ErrorKind::InvalidData, cause))?;
    Ok(Some(wrapper.offset_table))
}

fn write(path: &Path, offset_table: BTreeMap<MessageQueue, i64>) -> io::Result<()> {
    let json = fastjson::to_vec(&OffsetSerializeWrapper { offset_table })
        .map_err(|cause| io::Error::new(io::ErrorKind::InvalidData, cause))?;
    if let Some(directory) = path.parent() {
        fs::create_dir_all(directory)?;
    }
    let new = path.with_extension("json.tmp");
    let mut file = File::create(&new)?;
    file.write_all(&json)?;
    file.sync_all()?;
    match fs::rename(path, backup(path)) {
        Ok(()) => {}
        Err(cause) if cause.kind() == io::ErrorKind::NotFound => {}
        Err(cause) => return Err(cause),
    }
    fs::rename(&new, path)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn queue(queue_id: i32) -> MessageQueue {
        MessageQueue {
            topic: "t".into(),
            broker_name: "a".into(),
            queue_id,
        }
    }

    #[test]
    fn offsets_last_and_the_file_before_is_kept() {
        let directory = tempfile::tempdir().unwrap();
        let open = || OffsetFile::open(directory.path(), "me@DEFAULT", "g").unwrap();
        let file = open();
        assert_eq!(file.get(&queue(0)), None);
        file.write().unwrap();
        let path = directory.path().join("me@DEFAULT/g/offsets.json");
        assert!(!path.exists(), "nothing to write");
        file.put(&queue(0), 5);
        file.write().unwrap();
        file.put(&queue(1), 7);
        file.write().unwrap();
        let again = open();
        assert_eq!(
            (again.get(&queue(0)), again.get(&queue(1))),
            (Some(5), Some(7))
        );
        fs::write(&path, "{\"offsetTable\":{{\"bro").unwrap();
        let damaged = open();
        assert_eq!(
            (damaged.get(&queue(0)), damaged.get(&queue(1))),
            (Some(5), None)
        );
        fs::remove_file(&path).unwrap();
        assert_eq!(
            open().get(&queue(0)),
            Some(5),
            "a crash between the two renames"
        );
    }

    #[test]
    fn a_file_of_javas_client_is_read() {
        let directory = tempfile::tempdir().unwrap();
        let folder = directory.path().join("me@DEFAULT/g");
        fs::create_dir_all(&folder).unwrap();
        // As Java's client 5.5.0 writes it.
        let json = "{\n\t\"offsetTable\":{{\n\t\t\t\"brokerName\":\"a\",\n\t\t\t\"queueId\":3,\n\t\t\t\
                    \"topic\":\"t\"\n\t\t}:42\n\t}\n}";
        fs::write(folder.join("offsets.json"), json).unwrap();
        let file = OffsetFile::open(directory.path(), "me@DEFAULT", "g").unwrap();
        assert_eq!(file.get(&queue(3)), Some(42));
    }
}
