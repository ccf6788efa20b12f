//! How far each level is delivered: `delayOffset.json`.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError};

use thrustmq_proto_compat::body::{DataVersion, DelayOffsetSerializeWrapper};
use thrustmq_proto_compat::clock::Clock;
use thrustmq_proto_compat::fastjson;

use crate::metadata_file::{LoadError, MetadataFile};

#[derive(Debug, Default)]
struct State {
    offsets: BTreeMap<i32, i64>,
    data_version: DataVersion,
    is_changed: bool,
}

/// Next offset to deliver of each level.
#[derive(Debug)]
pub(super) struct Progress {
    state: Mutex<State>,
    file: MetadataFile,
    clock: Clock,
}

impl Progress {
    pub(super) fn open(root: &Path, clock: Clock) -> Result<Self, LoadError> {
        let file = MetadataFile::new(root, "delayOffset.json");
        let loaded = file.load(fastjson::from_slice::<DelayOffsetSerializeWrapper>)?;
        let loaded = loaded.unwrap_or_default();
        let state = State {
            offsets: loaded.offset_table,
            data_version: loaded.data_version.unwrap_or_default(),
            is_changed: false,
        };
        Ok(Self {
            state: Mutex::new(state),
            file,
            clock,
        })
    }

    /// Next offset to deliver; 0 if the level never delivered anything.
    pub(super) fn offset(&self, level: i32) -> i64 {
        self.lock().offsets.get(&level).copied().unwrap_or(0)
    }

    pub(super) fn set(&self, level: i32, next_offset: i64) {
        let mut state = self.lock();
        state.offsets.insert(level, next_offset);
        state.is_changed = true;
    }

    pub(super) fn offsets(&self) -> Vec<(i32, i64)> {
        let state = self.lock();
        state
            .offsets
            .iter()
            .map(|(level, offset)| (*level, *offset))
            .collect()
    }

    /// The file's content.
    pub(super) fn to_json(&self) -> Vec<u8> {
        let state = self.lock();
        let content = DelayOffsetSerializeWrapper {
            offset_table: state.offsets.clone(),
            data_version: Some(state.data_version.clone()),
        };
        fastjson::to_vec(&content).expect("a map of numbers is always written")
    }

    /// Writes the file if anything moved since it was written.
    pub(super) fn persist(&self) {
        {
            let mut state = self.lock();
            if !state.is_changed {
                return;
            }
            state.is_changed = false;
            let now_ms = self.clock.now_ms();
            state.data_version.next(0, now_ms);
        }
        if let Err(error) = self.file.store(|| self.to_json()) {
            self.lock().is_changed = true;
            tracing::error!(%error, "delay offsets are not written");
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn progress_survives_a_restart_in_javas_shape() {
        let root = tempfile::tempdir().unwrap();
        let open = || Progress::open(root.path(), Clock::by_hand(5)).unwrap();
        let progress = open();
        assert_eq!(progress.offset(3), 0);
        progress.set(3, 7);
        progress.set(18, 1);
        progress.persist();
        assert_eq!(open().offsets(), [(3, 7), (18, 1)]);
        let file = root.path().join("config/delayOffset.json");
        let text = std::fs::read_to_string(file).unwrap();
        assert!(text.contains(r#""offsetTable":{3:7,18:1}"#), "{text}");
    }
}
