//! `consumerOrderInfo.json`.

use std::path::Path;
use std::sync::Mutex;

use thrustmq_proto_compat::body::ConsumerOrderInfoSerializeWrapper;
use thrustmq_proto_compat::clock::Clock;
use thrustmq_proto_compat::fastjson;

use super::batch::Batch;
use super::{AT_ONCE, OrderTable, Table};
use crate::alarm::Alarm;
use crate::metadata_file::{LoadError, MetadataFile};
use crate::offset::GroupQueue;

impl OrderTable {
    /// Reads the table of a store's root directory.
    ///
    /// # Errors
    /// The file and its predecessor are there and can not be read.
    pub(crate) fn open(root_dir: &Path, clock: Clock) -> Result<Self, LoadError> {
        let file = MetadataFile::new(root_dir, "consumerOrderInfo.json");
        let loaded = file.load(fastjson::from_slice::<ConsumerOrderInfoSerializeWrapper>)?;
        let loaded = loaded.unwrap_or_default();
        let alarm = Alarm::default();
        alarm.set_before(AT_ONCE);
        Ok(Self {
            table: Mutex::new(of_file(loaded)),
            alarm,
            file,
            clock,
        })
    }

    /// What the file should have; `None` if it has that.
    pub(crate) fn changes(&self) -> Option<ConsumerOrderInfoSerializeWrapper> {
        let mut table = self.lock();
        if !std::mem::take(&mut table.is_changed) {
            return None;
        }
        let mut file = ConsumerOrderInfoSerializeWrapper::default();
        for (queue, state) in &table.queues {
            let Some(batch) = &state.batch else { continue };
            let queues = file.table.entry(format!("{}@{}", queue.topic, queue.group));
            queues.or_default().insert(queue.queue_id, batch.to_info());
        }
        Some(file)
    }

    /// Writes that to disk.
    pub(crate) fn store(&self, changes: ConsumerOrderInfoSerializeWrapper) {
        if !self.file.store_json_or_log(|| changes) {
            self.lock().is_changed = true;
        }
    }
}

fn of_file(file: ConsumerOrderInfoSerializeWrapper) -> Table {
    let mut table = Table::default();
    for (key, queues) in file.table {
        let Some((topic, group)) = key.split_once('@') else {
            tracing::warn!(key, "order information without a group is skipped");
            continue;
        };
        for (queue_id, info) in queues {
            let Some(batch) = Batch::of_info(info) else {
                tracing::warn!(topic, group, queue_id, "order information is unreadable");
                continue;
            };
            let queue = GroupQueue {
                group,
                topic,
                queue_id,
            };
            table.change(&queue.into(), |state| {
                state.batch = Some(batch);
                state.wake_when_free();
            });
        }
    }
    table
}
