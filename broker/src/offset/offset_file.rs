//! The file of committed offsets: `consumerOffset.json`, or with light queues `lmqConsumerOffset.json`,
//! which keeps the groups of light queues apart (Java: `LmqConsumerOffsetManager`).

use std::collections::BTreeMap;
use std::path::Path;

use thrustmq_proto_compat::body::{
    ConsumerOffsetSerializeWrapper, LmqConsumerOffsetSerializeWrapper,
};
use thrustmq_proto_compat::fastjson;
use thrustmq_proto_compat::message::names;

use crate::metadata_file::{LoadError, MetadataFile};

/// A light queue has one queue.
const LIGHT_QUEUE_ID: i32 = 0;

#[derive(Debug)]
pub(super) struct OffsetFile {
    plain: MetadataFile,
    /// There only where light queues are.
    light: Option<MetadataFile>,
}

impl OffsetFile {
    pub(super) fn new(root_dir: &Path, has_light_queues: bool) -> Self {
        let light = || MetadataFile::new(root_dir, "lmqConsumerOffset.json");
        Self {
            plain: MetadataFile::new(root_dir, "consumerOffset.json"),
            light: has_light_queues.then(light),
        }
    }

    /// What was written last. A broker that gets light queues goes on with what it had.
    pub(super) fn load(&self) -> Result<ConsumerOffsetSerializeWrapper, LoadError> {
        if let Some(light) = &self.light
            && let Some(loaded) =
                light.load(fastjson::from_slice::<LmqConsumerOffsetSerializeWrapper>)?
        {
            return Ok(joined(loaded));
        }
        let loaded = self
            .plain
            .load(fastjson::from_slice::<ConsumerOffsetSerializeWrapper>)?;
        Ok(loaded.unwrap_or_default())
    }

    /// Whether it was written.
    pub(super) fn store(&self, offsets: impl FnOnce() -> ConsumerOffsetSerializeWrapper) -> bool {
        match &self.light {
            Some(light) => light.store_json_or_log(|| parted(offsets())),
            None => self.plain.store_json_or_log(offsets),
        }
    }
}

fn joined(loaded: LmqConsumerOffsetSerializeWrapper) -> ConsumerOffsetSerializeWrapper {
    let mut offset_table = loaded.offset_table;
    for (key, offset) in loaded.lmq_offset_table {
        offset_table.insert(key, BTreeMap::from([(LIGHT_QUEUE_ID, offset)]));
    }
    ConsumerOffsetSerializeWrapper {
        data_version: loaded.data_version,
        offset_table,
    }
}

fn parted(offsets: ConsumerOffsetSerializeWrapper) -> LmqConsumerOffsetSerializeWrapper {
    let is_light = |key: &str| {
        let group = key.split_once('@').map(|(_, group)| group);
        group.is_some_and(names::is_light_queue)
    };
    let (light, offset_table): (BTreeMap<_, _>, BTreeMap<_, _>) = offsets
        .offset_table
        .into_iter()
        .partition(|(key, _)| is_light(key));
    let of_queue = |(key, queues): (String, BTreeMap<i32, i64>)| {
        let offset = queues.get(&LIGHT_QUEUE_ID).copied();
        offset.map(|offset| (key, offset))
    };
    LmqConsumerOffsetSerializeWrapper {
        data_version: offsets.data_version,
        lmq_offset_table: light.into_iter().filter_map(of_queue).collect(),
        offset_table,
    }
}
