//! What an operator can set about the store. The broker maps its configuration keys onto these.

use std::path::PathBuf;

use crate::disk::Disk;

/// When appended bytes are forced to the disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FlushMode {
    /// In the background; a power cut loses the last moments.
    Async {
        /// Pause between two looks at the log, milliseconds.
        interval_ms: u64,
    },
    /// At once, many messages by one flush; consumers see only flushed messages.
    Sync,
}

/// Settings of a store. The defaults are those of RocketMQ, but for `record_checksum`.
#[derive(Debug, Clone)]
pub struct StoreOptions {
    /// Directory of all files.
    pub root: PathBuf,
    /// Directory of the commit log, if it is not `root/commitlog`.
    pub commit_log_dir: Option<PathBuf>,
    /// The file system; for tests, one with a watcher.
    pub disk: Disk,
    /// Bytes of one commit-log file; fixed for the life of a directory.
    pub commit_log_file_bytes: u64,
    /// Bytes of one consume-queue file, a multiple of 20; fixed for the life of a directory.
    pub consume_queue_file_bytes: u64,
    /// Hash slots of one index file; fixed for the life of a directory.
    pub index_slots: u32,
    /// Entries of one index file; fixed for the life of a directory.
    pub index_entries: u32,
    /// Whether messages can be found by key.
    pub index_enabled: bool,
    /// When appended bytes are forced to the disk.
    pub flush: FlushMode,
    /// Fewer appended bytes than this wait for company when they are forced in the background.
    pub flush_bytes_min: i64,
    /// But no longer than this, milliseconds.
    pub flush_delay_ms_max: i64,
    /// Longest that [`crate::Store::when_flushed`] waits, milliseconds.
    pub flush_wait_ms_max: u64,
    /// Most callers that may wait for a flush at one time.
    pub flush_waiters_max: usize,
    /// Pause between two flushes of consume queues, milliseconds.
    pub consume_queue_flush_interval_ms: u64,
    /// Pause between two flushes of all consume queues, however little they changed, milliseconds.
    pub consume_queue_flush_thorough_ms: u64,
    /// Largest body of a message, bytes.
    pub message_bytes_max: u32,
    /// What is deleted when, and when the disk is too full.
    pub retention: RetentionOptions,
    /// Pause between two looks at the disk and for files to delete, milliseconds.
    pub clean_interval_ms: u64,
    /// Nothing is deleted for so long after opening, milliseconds.
    pub clean_delay_ms: u64,
    /// Whether records are stored with a checksum over all of them, not of the body alone. It is
    /// one more property, `__CRC32#`.
    pub record_checksum: bool,
    /// Whether recovery compares checksums.
    pub check_crc_on_recovery: bool,
    /// Whether recovery refuses records without a checksum over all of them.
    pub force_record_checksum: bool,
    /// An append lock held so long means that the page cache cannot follow, milliseconds.
    pub page_cache_busy_ms: i64,
    /// Share of the memory in which the newest messages are taken to be cached, percent.
    pub memory_share_percent: u32,
    /// Most bytes and messages of one read of recent messages.
    pub read_limit_in_memory: ReadLimit,
    /// Most bytes and messages of one read of older messages.
    pub read_limit_on_disk: ReadLimit,
    /// Most consume-queue bytes that one read with a filter looks at.
    pub filter_bytes_max: u32,
    /// Most messages that a query by key finds.
    pub query_messages_max: usize,
    /// Delay of each level, milliseconds, level 1 first.
    pub delay_levels_ms: Vec<i64>,
    /// Most light queues, whose entries point at records of other topics; none: messages that name
    /// some go to their own queue only.
    pub light_queues_max: Option<usize>,
    /// A mapped file unused for so long is unmapped, milliseconds.
    pub unmap_idle_ms: i64,
}

/// What is deleted when, and when the disk is too full. May change while the store is open. Of two
/// disks, the log's and the queues', the fuller one counts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RetentionOptions {
    /// Hours that a message is kept.
    pub reserved_hours: u32,
    /// Local hours of the day at which expired files are deleted.
    pub delete_at_hours: Vec<u32>,
    /// Share of the disk above which expired files are deleted at any hour, percent.
    pub disk_max_used_percent: u32,
    /// Share of the disk above which files are deleted though not expired, percent.
    pub disk_clean_forcibly_percent: u32,
    /// Whether files are ever deleted though not expired.
    pub clean_forcibly: bool,
    /// Share of the disk above which appends are refused, percent.
    pub disk_warning_percent: u32,
    /// Most log files deleted in one pass.
    pub delete_files_max: usize,
    /// Pause between two deletions of log files, milliseconds.
    pub delete_pause_ms: u64,
    /// On an almost full disk a file goes once it could not for so long, milliseconds, because a reader
    /// held it.
    pub held_ms_max: i64,
}

impl Default for RetentionOptions {
    fn default() -> Self {
        Self {
            reserved_hours: 72,
            delete_at_hours: vec![4],
            disk_max_used_percent: 75,
            disk_clean_forcibly_percent: 85,
            clean_forcibly: true,
            disk_warning_percent: 90,
            delete_files_max: 10,
            delete_pause_ms: 100,
            held_ms_max: 120_000,
        }
    }
}

/// Bounds of one read; the first message is given in any case.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ReadLimit {
    /// Most bytes.
    pub bytes_max: usize,
    /// Most messages.
    pub messages_max: usize,
}

impl Default for StoreOptions {
    fn default() -> Self {
        Self {
            root: PathBuf::from("store"),
            commit_log_dir: None,
            disk: Disk::default(),
            commit_log_file_bytes: 1 << 30,
            consume_queue_file_bytes: 300_000 * 20,
            index_slots: 5_000_000,
            index_entries: 20_000_000,
            index_enabled: true,
            flush: FlushMode::Async { interval_ms: 500 },
            flush_bytes_min: 4 * 4_096,
            flush_delay_ms_max: 10_000,
            flush_wait_ms_max: 5_000,
            flush_waiters_max: 100_000,
            consume_queue_flush_interval_ms: 1_000,
            consume_queue_flush_thorough_ms: 60_000,
            message_bytes_max: 4 << 20,
            retention: RetentionOptions::default(),
            clean_interval_ms: 10_000,
            clean_delay_ms: 60_000,
            record_checksum: true,
            check_crc_on_recovery: true,
            force_record_checksum: false,
            page_cache_busy_ms: 1_000,
            memory_share_percent: 40,
            read_limit_in_memory: ReadLimit {
                bytes_max: 256 << 10,
                messages_max: 32,
            },
            read_limit_on_disk: ReadLimit {
                bytes_max: 64 << 10,
                messages_max: 8,
            },
            filter_bytes_max: 16_000,
            query_messages_max: 64,
            delay_levels_ms: default_delay_levels_ms(),
            light_queues_max: None,
            unmap_idle_ms: 120_000,
        }
    }
}

/// 1s 5s 10s 30s 1m 2m 3m 4m 5m 6m 7m 8m 9m 10m 20m 30m 1h 2h
fn default_delay_levels_ms() -> Vec<i64> {
    let seconds = [
        1, 5, 10, 30, 60, 120, 180, 240, 300, 360, 420, 480, 540, 600, 1_200, 1_800, 3_600, 7_200,
    ];
    seconds.map(|seconds| seconds * 1_000).to_vec()
}
