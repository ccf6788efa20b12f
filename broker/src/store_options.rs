//! The broker's configuration as the store takes it.

use thrustmq_store::{FlushMode, ReadLimit, RetentionOptions, Store, StoreOptions};

use crate::config::{BrokerConfig, FlushDiskType};
use crate::delay::{LevelError, Levels};

/// Largest body that the store takes; the configured limit, which may change, is below.
const BODY_BYTES_MAX: u32 = 16_000_000;

/// What Java counts the log's bytes in, whatever the system's pages are.
const PAGE_BYTES: i64 = 4_096;

/// What the store is opened with.
pub(crate) fn store_options(config: &BrokerConfig) -> Result<StoreOptions, LevelError> {
    let flush = match config.flush_disk_type {
        FlushDiskType::SyncFlush => FlushMode::Sync,
        FlushDiskType::AsyncFlush => FlushMode::Async {
            interval_ms: config.flush_interval_ms.unsigned_abs(),
        },
    };
    Ok(StoreOptions {
        root: config.store_root_dir.clone().into(),
        commit_log_dir: config.commit_log_dir.clone().map(Into::into),
        commit_log_file_bytes: config.commit_log_file_bytes,
        consume_queue_file_bytes: config.consume_queue_file_bytes,
        index_slots: config.index_slots,
        index_entries: config.index_entries,
        index_enabled: config.message_index,
        flush,
        flush_bytes_min: config.flush_pages_min.saturating_mul(PAGE_BYTES),
        flush_delay_ms_max: config.flush_delay_ms_max,
        flush_wait_ms_max: config.sync_flush_timeout_ms.unsigned_abs(),
        consume_queue_flush_interval_ms: config.queue_flush_interval_ms.unsigned_abs(),
        consume_queue_flush_thorough_ms: config.queue_flush_thorough_ms.unsigned_abs(),
        filter_bytes_max: config.filter_bytes_max,
        message_bytes_max: BODY_BYTES_MAX,
        retention: retention_options(config),
        clean_interval_ms: config.clean_interval_ms.unsigned_abs(),
        record_checksum: config.record_checksum,
        force_record_checksum: config.force_record_checksum,
        check_crc_on_recovery: config.check_crc_on_recover,
        page_cache_busy_ms: config.log_busy_ms_max,
        memory_share_percent: u32::try_from(config.memory_ratio_max).unwrap_or(100),
        read_limit_in_memory: ReadLimit {
            bytes_max: config.memory_transfer_bytes_max,
            messages_max: config.memory_transfer_messages_max,
        },
        read_limit_on_disk: ReadLimit {
            bytes_max: config.disk_transfer_bytes_max,
            messages_max: config.disk_transfer_messages_max,
        },
        light_queues_max: (config.light_queues && config.multi_dispatch)
            .then_some(config.light_queues_max),
        query_messages_max: config.query_messages_max,
        delay_levels_ms: Levels::parse(&config.message_delay_level)?
            .delays_ms()
            .to_vec(),
        ..StoreOptions::default()
    })
}

/// Tells the store what may change while the broker runs.
pub(crate) fn apply_live_options(config: &BrokerConfig, store: &Store) {
    store.set_retention(retention_options(config));
    store.set_page_cache_busy_ms(config.log_busy_ms_max);
}

fn retention_options(config: &BrokerConfig) -> RetentionOptions {
    let hours = config
        .delete_when
        .split(';')
        .filter_map(|hour| hour.trim().parse().ok());
    RetentionOptions {
        reserved_hours: u32::try_from(config.file_reserved_hours).unwrap_or(u32::MAX),
        delete_at_hours: hours.collect(),
        // What Java makes of values outside this range.
        disk_max_used_percent: config.disk_used_ratio_max.clamp(10, 95),
        disk_clean_forcibly_percent: config.disk_clean_forcibly_ratio,
        clean_forcibly: config.clean_forcibly,
        disk_warning_percent: config.disk_warning_ratio,
        delete_files_max: config.delete_files_max,
        delete_pause_ms: config.delete_pause_ms.unsigned_abs(),
        held_ms_max: config.held_file_ms_max,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_and_sizes_reach_the_store() {
        let mut config = BrokerConfig::default();
        let default = StoreOptions::default();
        let options = store_options(&config).unwrap();
        assert_eq!(options.flush_bytes_min, default.flush_bytes_min);
        assert_eq!(options.flush_delay_ms_max, default.flush_delay_ms_max);
        assert_eq!(options.filter_bytes_max, default.filter_bytes_max);
        for (key, value) in [
            ("flushCommitLogLeastPages", "2"),
            ("flushCommitLogThoroughInterval", "700"),
            ("flushIntervalConsumeQueue", "800"),
            ("flushConsumeQueueThoroughInterval", "900"),
            ("maxFilterMessageSize", "400"),
        ] {
            config.set(key, value).unwrap();
        }
        let options = store_options(&config).unwrap();
        assert_eq!(options.flush_bytes_min, 8_192);
        assert_eq!(options.flush_delay_ms_max, 700);
        assert_eq!(options.consume_queue_flush_interval_ms, 800);
        assert_eq!(options.consume_queue_flush_thorough_ms, 900);
        assert_eq!(options.filter_bytes_max, 400);
    }
}
