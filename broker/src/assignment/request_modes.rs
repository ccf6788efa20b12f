//! How each group takes the messages of each topic, where an operator has said so:
//! `messageRequestMode.json`. A change is written by the thread `metadata-writer`; the answer to whoever
//! made it waits for that.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::RwLock;

use thrustmq_proto_compat::body::{
    MessageRequestModeSerializeWrapper, SetMessageRequestModeRequestBody,
};
use thrustmq_proto_compat::fastjson;

use crate::metadata_file::LoadError;
use crate::metadata_writer::{ChangedFile, MetadataWriter};

/// Modes that are kept at most: operators set them by hand, and the file is written as a whole.
const MODES_MAX: usize = 100_000;

type ByTopicAndGroup = BTreeMap<String, BTreeMap<String, SetMessageRequestModeRequestBody>>;

/// The table is full.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{MODES_MAX} message request modes are set already")]
pub(crate) struct TooManyModes;

/// What operators have set, by topic and group.
#[derive(Debug)]
pub(crate) struct RequestModes {
    modes: RwLock<ByTopicAndGroup>,
    file: ChangedFile,
}

impl RequestModes {
    /// Reads the table of a store's root directory.
    ///
    /// # Errors
    /// The file and its predecessor are there and can not be read.
    pub(crate) fn open(root_dir: &Path, writer: &MetadataWriter) -> Result<Self, LoadError> {
        let file = ChangedFile::new(root_dir, "messageRequestMode.json", writer);
        let loaded = file.load(fastjson::from_slice::<MessageRequestModeSerializeWrapper>)?;
        Ok(Self {
            modes: RwLock::new(loaded.unwrap_or_default().message_request_mode_map),
            file,
        })
    }

    /// What was set for a group and a topic.
    pub(crate) fn find(
        &self,
        topic: &str,
        group: &str,
    ) -> Option<SetMessageRequestModeRequestBody> {
        let modes = self.modes.read().expect("no holder of this lock panics");
        modes.get(topic)?.get(group).cloned()
    }

    /// Sets one.
    pub(crate) fn set(&self, mode: SetMessageRequestModeRequestBody) -> Result<(), TooManyModes> {
        {
            let mut modes = self.modes.write().expect("no holder of this lock panics");
            let (topic, group) = (&mode.topic, &mode.consumer_group);
            let is_known = modes
                .get(topic)
                .is_some_and(|groups| groups.contains_key(group));
            if !is_known && modes.values().map(BTreeMap::len).sum::<usize>() >= MODES_MAX {
                return Err(TooManyModes);
            }
            let groups = modes.entry(topic.clone()).or_default();
            groups.insert(group.clone(), mode);
        }
        self.file.note_change();
        Ok(())
    }

    /// Writes `messageRequestMode.json` if one was set since it was written.
    pub(crate) fn write_changes(&self) {
        self.file.write_if_changed(|| self.snapshot());
    }

    /// All of them, as the file has them.
    pub(crate) fn snapshot(&self) -> MessageRequestModeSerializeWrapper {
        let modes = self.modes.read().expect("no holder of this lock panics");
        MessageRequestModeSerializeWrapper {
            message_request_mode_map: modes.clone(),
        }
    }
}

#[cfg(test)]
mod tests {
    use thrustmq_proto_compat::body::MessageRequestMode;

    use super::*;

    #[test]
    fn modes_are_on_disk_as_java_writes_them() {
        let dir = tempfile::tempdir().unwrap();
        let mode = SetMessageRequestModeRequestBody {
            consumer_group: "g".to_owned(),
            mode: MessageRequestMode::Pop,
            pop_share_queue_num: 3,
            topic: "t".to_owned(),
        };
        let open = || RequestModes::open(dir.path(), &MetadataWriter::new()).unwrap();
        let modes = open();
        modes.set(mode.clone()).unwrap();
        modes.write_changes();
        let path = dir.path().join("config/messageRequestMode.json");
        assert_eq!(
            std::fs::read_to_string(path).unwrap(),
            r#"{"messageRequestModeMap":{"t":{"g":{"consumerGroup":"g","mode":"POP","popShareQueueNum":3,"topic":"t"}}}}"#
        );
        let again = open();
        assert_eq!(again.find("t", "g"), Some(mode));
        assert_eq!(again.find("t", "h"), None);
    }
}
