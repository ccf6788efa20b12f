//! What lies in a directory, told without judging it. May look at the directory of a running store;
//! what it says of the ends is then a moment old.

use std::path::Path;

use crate::api::QueueRange;
use crate::checkpoint::read_checkpoint;
use crate::error::OpenError;
use crate::index::file::IndexSize;
use crate::index::scan::{IndexHeader, IndexOnDisk};
use crate::layout::{Layout, names_in};

use super::directory::{DirectoryOptions, FileSize, OffsetFile, SharedLock, offset_files};
use super::log_tail::{RecordSummary, Tail};
use super::queue_files::{QueueOnDisk, Queues, find_queues};

/// What to tell beside the files.
#[derive(Debug, Clone, Default)]
pub struct InspectRequest {
    /// How many of the last records to tell.
    pub last_records: usize,
    /// The topic whose queues to tell; all if absent.
    pub topic: Option<String>,
}

/// What lies in a directory.
#[derive(Debug, Clone)]
pub struct Inspection {
    /// A store runs on the directory: what is told may be a moment old.
    pub in_use: bool,
    /// The mark of a store that runs, or that was not closed cleanly.
    pub abort: bool,
    /// Files of the commit log.
    pub log: FileSummary,
    /// Files of consume queues.
    pub consume_queue: FileSummary,
    /// Files of the index.
    pub index: FileSummary,
    /// First byte of the log.
    pub log_start: i64,
    /// End of the log: behind the last sound record in a row.
    pub log_end: i64,
    /// Why the log ends there, unless nothing was written behind.
    pub log_stop: Option<String>,
    /// The checkpoint file, if it is there.
    pub checkpoint: Option<CheckpointTimes>,
    /// The last records, oldest first.
    pub last_records: Vec<RecordSummary>,
    /// Queues by topic and queue id.
    pub queues: Vec<QueueSummary>,
    /// Index files, oldest first.
    pub index_files: Vec<IndexSummary>,
}

/// Files of one kind.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct FileSummary {
    /// How many.
    pub count: u64,
    /// Name of the first, if it is one row of files.
    pub first: Option<String>,
    /// Name of the last, if it is one row of files.
    pub last: Option<String>,
    /// Sum of their lengths, bytes.
    pub bytes: u64,
    /// What they take on the disk, bytes.
    pub disk_bytes: u64,
}

/// Fields of the checkpoint file: store times, milliseconds, and offsets of replication.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CheckpointTimes {
    /// The log is on the disk up to this store time.
    pub log_ms: i64,
    /// The consume queues are.
    pub queues_ms: i64,
    /// The index is; 0 if there is none.
    pub index_ms: i64,
    /// Replication's.
    pub master_flushed_offset: i64,
    /// End of what consumers may see.
    pub confirm_offset: i64,
    /// Offsets that only our stores write; nothing if they do not count.
    pub offsets: Option<CheckpointOffsets>,
}

/// What is on the disk for sure, as physical offsets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CheckpointOffsets {
    /// The log is, before this.
    pub flushed: i64,
    /// Queues and the entries of the index are, for all records before this.
    pub derived: i64,
    /// The slots of the index are, for all records before this.
    pub index_slots: i64,
    /// The log was closed cleanly and ends here.
    pub closed: Option<i64>,
    /// Number of consume queues that have files.
    pub queues: i64,
}

/// One queue.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct QueueSummary {
    /// Topic.
    pub topic: String,
    /// Queue within the topic.
    pub queue_id: i32,
    /// Entries that point into the log.
    pub range: QueueRange,
    /// Physical offset of the first of them.
    pub first_physical_offset: Option<i64>,
    /// Physical offset of the last of them.
    pub last_physical_offset: Option<i64>,
    /// Why its files do not fit together.
    pub problem: Option<String>,
}

/// One index file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IndexSummary {
    /// Its name: the local time at which it was made.
    pub name: String,
    /// Entries in use.
    pub entries: u32,
    /// Store time of its first message, milliseconds.
    pub begin_ms: i64,
    /// Store time of its last message, milliseconds.
    pub end_ms: i64,
    /// Physical offset of its first message.
    pub begin_offset: i64,
    /// Physical offset of its last message.
    pub end_offset: i64,
}

/// Looks at a directory.
///
/// # Errors
/// There is no store in it, or a file cannot be read.
pub fn inspect(
    options: &DirectoryOptions,
    request: &InspectRequest,
) -> Result<Inspection, OpenError> {
    let layout = options.layout()?;
    let lock = SharedLock::take(&layout);
    let in_use = match &lock {
        Ok(_) => false,
        Err(OpenError::InUse { .. }) => true,
        Err(_) => return Err(lock.err().unwrap_or(OpenError::InUse { root: layout.root })),
    };
    let files = offset_files(&layout.commit_log)?;
    let log_start = files.first().map_or(0, |file| file.start);
    let queues = find_queues(&layout.consume_queue)?;
    let index_files = index_files(&layout, options.index_size())?;
    let tail = Tail::find(&files, &queues, request.last_records)?;
    Ok(Inspection {
        in_use,
        abort: layout.was_aborted()?,
        log: FileSummary::of_row(&files),
        consume_queue: FileSummary::of_queues(&queues),
        index: FileSummary::of_index(&layout, &index_files)?,
        log_start,
        log_end: tail.end,
        log_stop: tail.stop,
        checkpoint: checkpoint(&layout.checkpoint)?,
        last_records: tail.records.into(),
        queues: queue_summaries(&queues, request, log_start)?,
        index_files,
    })
}

impl FileSummary {
    fn of_row(files: &[OffsetFile]) -> Self {
        let name = |file: Option<&OffsetFile>| {
            let name = file?.path.file_name()?;
            Some(name.to_string_lossy().into_owned())
        };
        let mut summary = Self {
            first: name(files.first()),
            last: name(files.last()),
            ..Self::default()
        };
        for file in files {
            summary.add(file.length, file.disk_bytes);
        }
        summary
    }

    fn of_queues(queues: &Queues) -> Self {
        let mut summary = Self::default();
        for file in queues.values().flat_map(|of_topic| of_topic.values()) {
            for file in &file.files {
                summary.add(file.length, file.disk_bytes);
            }
        }
        summary
    }

    fn of_index(layout: &Layout, files: &[IndexSummary]) -> Result<Self, OpenError> {
        let mut summary = Self {
            first: files.first().map(|file| file.name.clone()),
            last: files.last().map(|file| file.name.clone()),
            ..Self::default()
        };
        for file in files {
            let size = FileSize::of(&layout.index.join(&file.name))?;
            summary.add(size.length, size.disk_bytes);
        }
        Ok(summary)
    }

    fn add(&mut self, length: u64, disk_bytes: u64) {
        self.count += 1;
        self.bytes = self.bytes.saturating_add(length);
        self.disk_bytes = self.disk_bytes.saturating_add(disk_bytes);
    }
}

fn checkpoint(path: &Path) -> Result<Option<CheckpointTimes>, OpenError> {
    let read = read_checkpoint(path)?;
    Ok(read.map(|checkpoint| CheckpointTimes {
        log_ms: checkpoint.log_timestamp,
        queues_ms: checkpoint.queues_timestamp,
        index_ms: checkpoint.index_timestamp,
        master_flushed_offset: checkpoint.master_flushed_offset,
        confirm_offset: checkpoint.confirm_offset,
        offsets: checkpoint.offsets.map(|offsets| CheckpointOffsets {
            flushed: offsets.flushed,
            derived: offsets.derived,
            index_slots: offsets.index_slots,
            closed: offsets.closed,
            queues: offsets.queues,
        }),
    }))
}

fn index_files(layout: &Layout, size: IndexSize) -> Result<Vec<IndexSummary>, OpenError> {
    let mut files = Vec::new();
    for name in names_in(&layout.disk, &layout.index)? {
        let path = layout.index.join(&name);
        let file = IndexOnDisk::open(&path, size).map_err(OpenError::io("read", path))?;
        let IndexHeader {
            begin_timestamp,
            end_timestamp,
            begin_offset,
            end_offset,
            next_entry,
        } = file.header;
        files.push(IndexSummary {
            name,
            entries: next_entry.saturating_sub(1),
            begin_ms: begin_timestamp,
            end_ms: end_timestamp,
            begin_offset,
            end_offset,
        });
    }
    Ok(files)
}

fn queue_summaries(
    queues: &Queues,
    request: &InspectRequest,
    log_start: i64,
) -> Result<Vec<QueueSummary>, OpenError> {
    let wanted = |topic: &str| {
        request
            .topic
            .as_deref()
            .is_none_or(|wanted| wanted == topic)
    };
    let mut topics: Vec<_> = queues.iter().filter(|(topic, _)| wanted(topic)).collect();
    topics.sort_unstable_by_key(|(topic, _)| *topic);
    let all = topics.into_iter().flat_map(|(_, queues)| queues.values());
    all.map(|queue| queue_summary(queue, log_start)).collect()
}

fn queue_summary(queue: &QueueOnDisk, log_start: i64) -> Result<QueueSummary, OpenError> {
    let range = queue.range(log_start)?;
    let first = queue.entries(range.min, 1)?;
    Ok(QueueSummary {
        topic: queue.topic.to_string(),
        queue_id: queue.queue_id,
        range,
        first_physical_offset: first.first().map(|entry| entry.physical_offset),
        last_physical_offset: queue.last(log_start)?.map(|entry| entry.physical_offset),
        problem: queue.misfit.as_ref().map(|misfit| {
            let path = misfit.path.display();
            format!("{path} {}", misfit.problem)
        }),
    })
}
