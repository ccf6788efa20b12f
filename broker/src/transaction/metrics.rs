//! How many half messages of each topic are open: `transactionMetrics`.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError};

use thrustmq_proto_compat::body::{DataVersion, Metric, TransactionMetricsSerializeWrapper};
use thrustmq_proto_compat::clock::Clock;
use thrustmq_proto_compat::fastjson;

use crate::metadata_file::{LoadError, MetadataFile};

#[derive(Debug, Default)]
struct State {
    counts: BTreeMap<String, Metric>,
    data_version: DataVersion,
    is_changed: bool,
}

impl State {
    fn add(&mut self, topic: &str, change: i64, now_ms: i64) {
        let metric = self.counts.entry(topic.to_owned()).or_default();
        metric.count = metric.count.saturating_add(change);
        metric.time_stamp = now_ms;
        self.data_version.next(0, now_ms);
        self.is_changed = true;
    }
}

/// Open half messages by their real topics. As many topics as there are on disk, at most.
#[derive(Debug)]
pub(super) struct Metrics {
    state: Mutex<State>,
    file: MetadataFile,
    clock: Clock,
}

impl Metrics {
    pub(super) fn open(root: &Path, clock: Clock) -> Result<Self, LoadError> {
        let file = MetadataFile::new(root, "transactionMetrics");
        let loaded = file.load(fastjson::from_slice::<TransactionMetricsSerializeWrapper>)?;
        let loaded = loaded.unwrap_or_default();
        let state = State {
            counts: loaded.transaction_count,
            data_version: loaded.data_version.unwrap_or_default(),
            is_changed: false,
        };
        Ok(Self {
            state: Mutex::new(state),
            file,
            clock,
        })
    }

    /// One more, or one less.
    pub(super) fn add(&self, topic: &str, change: i64) {
        let now_ms = self.clock.now_ms();
        self.lock().add(topic, change, now_ms);
    }

    /// What a start found open: a kill left older counts in the file.
    pub(super) fn correct(&self, open: &BTreeMap<String, i64>) {
        let now_ms = self.clock.now_ms();
        let mut state = self.lock();
        let known: Vec<(String, i64)> = state
            .counts
            .iter()
            .map(|(topic, metric)| (topic.clone(), metric.count))
            .collect();
        for (topic, count) in known {
            let change = open.get(&topic).copied().unwrap_or(0) - count;
            if change != 0 {
                state.add(&topic, change, now_ms);
            }
        }
        for (topic, count) in open {
            if !state.counts.contains_key(topic) {
                state.add(topic, *count, now_ms);
            }
        }
    }

    /// Writes the file if the counts have changed since it was written.
    pub(super) fn persist(&self) {
        if !std::mem::take(&mut self.lock().is_changed) {
            return;
        }
        let written = self.file.store_json_or_log(|| {
            let state = self.lock();
            TransactionMetricsSerializeWrapper {
                data_version: Some(state.data_version.clone()),
                transaction_count: state.counts.clone(),
            }
        });
        if !written {
            self.lock().is_changed = true;
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
    fn counts_survive_and_are_corrected_by_what_is_open() {
        let root = tempfile::tempdir().unwrap();
        let open = || Metrics::open(root.path(), Clock::by_hand(7)).unwrap();
        let metrics = open();
        metrics.add("orders", 1);
        metrics.add("orders", 1);
        metrics.add("bills", 1);
        metrics.persist();
        let path = root.path().join("config/transactionMetrics");
        let text = std::fs::read_to_string(&path).unwrap();
        assert!(
            text.contains(r#""orders":{"count":2,"timeStamp":7}"#),
            "{text}"
        );
        let metrics = open();
        metrics.correct(&BTreeMap::from([
            ("orders".to_owned(), 1),
            ("new".to_owned(), 3),
        ]));
        metrics.persist();
        let text = std::fs::read_to_string(&path).unwrap();
        for expected in [
            r#""orders":{"count":1,"#,
            r#""bills":{"count":0,"#,
            r#""new":{"count":3,"#,
        ] {
            assert!(text.contains(expected), "{text}");
        }
    }
}
