//! How many messages of each topic wait in the timer: `timermetrics`. No count is ever below 0: a start
//! counts what the log holds, and a message that cancels another is not counted.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError};

use thrustmq_proto_compat::body::{DataVersion, Metric, TimerMetricsSerializeWrapper};
use thrustmq_proto_compat::fastjson;

use crate::metadata_file::MetadataFile;

#[derive(Debug, Default)]
struct State {
    /// As many as there are topics: a deleted one goes.
    topics: BTreeMap<String, Metric>,
    version: DataVersion,
    is_changed: bool,
}

/// The counts.
#[derive(Debug)]
pub(super) struct Metrics {
    state: Mutex<State>,
    file: MetadataFile,
}

impl Metrics {
    /// Nothing waits. The file of before is read for its version only.
    pub(super) fn open(root: &Path) -> Self {
        let file = MetadataFile::new(root, "timermetrics");
        let loaded = file.load(fastjson::from_slice::<TimerMetricsSerializeWrapper>);
        let loaded = loaded.unwrap_or_else(|error| {
            tracing::warn!(%error, "the counts of timer messages are made anew");
            None
        });
        let version = loaded.and_then(|loaded| loaded.data_version);
        Self {
            state: Mutex::new(State {
                version: version.unwrap_or_default(),
                ..State::default()
            }),
            file,
        }
    }

    /// So many messages of a topic have begun to wait, or wait no more if it is below 0.
    pub(super) fn add(&self, topic: &str, messages: i64, now_ms: i64) {
        let mut state = self.lock();
        if !state.topics.contains_key(topic) {
            state.topics.insert(topic.to_owned(), Metric::default());
        }
        if let Some(metric) = state.topics.get_mut(topic) {
            metric.count = metric.count.saturating_add(messages).max(0);
            metric.time_stamp = now_ms;
        }
        state.version.next(0, now_ms);
        state.is_changed = true;
    }

    /// Messages of all topics.
    pub(super) fn total(&self) -> i64 {
        self.lock().topics.values().map(|metric| metric.count).sum()
    }

    /// Forgets a topic that is deleted.
    pub(super) fn remove(&self, topic: &str) {
        let mut state = self.lock();
        state.is_changed |= state.topics.remove(topic).is_some();
    }

    /// The file as it would be written now.
    pub(super) fn to_json(&self) -> Vec<u8> {
        let state = self.lock();
        let content = TimerMetricsSerializeWrapper {
            data_version: Some(state.version.clone()),
            timing_count: state.topics.clone(),
        };
        fastjson::to_vec(&content).expect("a map of numbers is always written")
    }

    /// Writes the file if anything changed.
    pub(super) fn persist(&self) {
        if !std::mem::take(&mut self.lock().is_changed) {
            return;
        }
        if let Err(error) = self.file.store(|| self.to_json()) {
            self.lock().is_changed = true;
            tracing::error!(%error, "the counts of timer messages are not written");
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
    fn counts_are_never_negative_and_have_javas_shape() {
        let root = tempfile::tempdir().unwrap();
        let metrics = Metrics::open(root.path());
        metrics.add("orders", 2, 7);
        metrics.add("orders", -1, 8);
        metrics.add("bills", -1, 9);
        assert_eq!(metrics.total(), 1);
        metrics.persist();
        let text = std::fs::read_to_string(root.path().join("config/timermetrics")).unwrap();
        let expected = r#""timingCount":{"bills":{"count":0,"timeStamp":9},"orders":{"count":1,"timeStamp":8}}"#;
        assert!(text.contains(expected), "{text}");
        metrics.remove("orders");
        assert_eq!(metrics.total(), 0);
    }
}
