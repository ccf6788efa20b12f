//! Consume queues as files: which there are, where each ends, and its entries.

use std::collections::{BTreeMap, HashMap};
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use crate::api::{QueueEntry, QueueRange};
use crate::consume_queue::entry::{self, ENTRY_BYTES};
use crate::disk::Disk;
use crate::error::OpenError;
use crate::layout::names_in;

use super::directory::{OffsetFile, offset_files, usual_length};

const ENTRY: u64 = ENTRY_BYTES as u64;
/// Entries of one read where all are read.
const BLOCK_ENTRIES: i64 = 1024;

/// One queue on the disk.
#[derive(Debug)]
pub(super) struct QueueOnDisk {
    pub(super) topic: Box<str>,
    pub(super) queue_id: i32,
    pub(super) files: Vec<OffsetFile>,
    /// Bytes of one file.
    pub(super) file_bytes: u64,
    /// Number of the first entry of the first file.
    pub(super) first: i64,
    /// One behind the last entry.
    pub(super) end: i64,
    /// Why the files do not fit together.
    pub(super) misfit: Option<Misfit>,
}

/// A file that does not belong where it lies.
#[derive(Debug, Clone)]
pub(super) struct Misfit {
    pub(super) path: PathBuf,
    pub(super) problem: String,
}

/// All queues by topic and queue id.
pub(super) type Queues = HashMap<Box<str>, BTreeMap<i32, QueueOnDisk>>;

/// The queues of a directory.
pub(super) fn find_queues(dir: &Path) -> Result<Queues, OpenError> {
    let mut queues = Queues::new();
    for topic in names_in(&Disk::default(), dir)? {
        let topic_dir = dir.join(&topic);
        for id in names_in(&Disk::default(), &topic_dir)? {
            let Some(queue_id) = id.parse().ok().filter(|id: &i32| *id >= 0) else {
                continue;
            };
            let queue = QueueOnDisk::open(&topic, queue_id, topic_dir.join(id))?;
            let of_topic = queues.entry(topic.as_str().into()).or_default();
            of_topic.insert(queue_id, queue);
        }
    }
    Ok(queues)
}

impl QueueOnDisk {
    fn open(topic: &str, queue_id: i32, dir: PathBuf) -> Result<Self, OpenError> {
        let files = offset_files(&dir)?;
        let mut queue = Self {
            topic: topic.into(),
            queue_id,
            file_bytes: usual_length(&files),
            first: 0,
            end: 0,
            misfit: None,
            files,
        };
        // Left by a crash while the file was made.
        while queue.files.last().is_some_and(|last| last.length == 0) {
            queue.files.pop();
        }
        queue.misfit = queue.find_misfit();
        queue.first = queue
            .files
            .first()
            .map_or(0, |file| file.start / ENTRY as i64);
        queue.end = queue.first;
        if queue.misfit.is_none() {
            queue.end = queue.find_end()?;
        }
        Ok(queue)
    }

    fn find_misfit(&self) -> Option<Misfit> {
        let mut expected = None;
        for file in &self.files {
            let problem = if file.length != self.file_bytes || !file.length.is_multiple_of(ENTRY) {
                format!("has {} bytes, other files {}", file.length, self.file_bytes)
            } else if expected.is_some_and(|expected| expected != file.start) {
                "does not follow the file before it".to_owned()
            } else {
                expected = Some(file.start.saturating_add_unsigned(self.file_bytes));
                continue;
            };
            return Some(Misfit {
                path: file.path.clone(),
                problem,
            });
        }
        None
    }

    /// As the store does: a file whose last entry was written is full; in the first that is not,
    /// the entries in front count.
    fn find_end(&self) -> Result<i64, OpenError> {
        let mut end = self.first;
        for file in &self.files {
            let entries = self.file_bytes / ENTRY;
            let is_written = |number: u64| -> Result<bool, OpenError> {
                let mut bytes = [0; ENTRY_BYTES];
                let opened = File::open(&file.path);
                opened
                    .and_then(|opened| opened.read_exact_at(&mut bytes, number * ENTRY))
                    .map_err(OpenError::io("read", &file.path))?;
                Ok(entry::is_written(&entry::decode(&bytes)))
            };
            let mut kept = entries;
            if !is_written(entries.saturating_sub(1))? {
                kept = 0;
                let mut behind = entries;
                while kept < behind {
                    let middle = kept + (behind - kept) / 2;
                    if is_written(middle)? {
                        kept = middle + 1;
                    } else {
                        behind = middle;
                    }
                }
            }
            end = file.start / ENTRY as i64 + kept as i64;
            if kept < entries {
                break;
            }
        }
        Ok(end)
    }

    /// The entries from a number on, at most so many and not beyond their file; none behind the
    /// end.
    pub(super) fn entries(&self, from: i64, most: i64) -> Result<Vec<QueueEntry>, OpenError> {
        let mut entries = Vec::new();
        let Some(place) = self.place_of(from) else {
            return Ok(entries);
        };
        let in_file = ((self.file_bytes - place.at) / ENTRY) as i64;
        let count = most.min(self.end - from).min(in_file).max(0);
        let mut bytes = vec![0; count as usize * ENTRY_BYTES];
        File::open(place.path)
            .and_then(|file| file.read_exact_at(&mut bytes, place.at))
            .map_err(OpenError::io("read", place.path))?;
        let chunks = bytes.chunks_exact(ENTRY_BYTES);
        entries.extend(
            chunks
                .filter_map(|chunk| chunk.first_chunk())
                .map(entry::decode),
        );
        Ok(entries)
    }

    /// The file and the place in it of an entry.
    pub(super) fn place_of(&self, number: i64) -> Option<EntryPlaceOnDisk<'_>> {
        if number < self.first || number >= self.end {
            return None;
        }
        let position = number.checked_mul(ENTRY as i64)?;
        let behind = self.files.partition_point(|file| file.start <= position);
        let file = self.files.get(behind.checked_sub(1)?)?;
        Some(EntryPlaceOnDisk {
            path: &file.path,
            at: u64::try_from(position - file.start).ok()?,
        })
    }

    /// Calls `visit` with each entry and its number, in order.
    pub(super) fn for_each(
        &self,
        visit: &mut dyn FnMut(i64, &QueueEntry) -> Result<(), OpenError>,
    ) -> Result<(), OpenError> {
        let mut number = self.first;
        while number < self.end {
            let entries = self.entries(number, BLOCK_ENTRIES)?;
            if entries.is_empty() {
                break;
            }
            for entry in &entries {
                visit(number, entry)?;
                number += 1;
            }
        }
        Ok(())
    }

    /// The first entry that points into the log, and the end.
    pub(super) fn range(&self, log_min: i64) -> Result<QueueRange, OpenError> {
        let mut min = self.first;
        while min < self.end {
            let entries = self.entries(min, BLOCK_ENTRIES)?;
            let points = |entry: &QueueEntry| points_into(entry, log_min);
            if let Some(found) = entries.iter().position(points) {
                min += found as i64;
                break;
            }
            min += entries.len().max(1) as i64;
        }
        Ok(QueueRange {
            min: min.min(self.end),
            max: self.end,
        })
    }

    /// The last entry that points into the log.
    pub(super) fn last(&self, log_min: i64) -> Result<Option<QueueEntry>, OpenError> {
        let mut behind = self.end;
        while behind > self.first {
            let from = (behind - BLOCK_ENTRIES).max(self.first);
            let mut last = None;
            let mut number = from;
            while number < behind {
                let entries = self.entries(number, BLOCK_ENTRIES)?;
                number += entries.len().max(1) as i64;
                let found = entries.iter().rev();
                last = found
                    .copied()
                    .find(|entry| points_into(entry, log_min))
                    .or(last);
            }
            if last.is_some() {
                return Ok(last);
            }
            behind = from;
        }
        Ok(None)
    }
}

/// Whether an entry stands for a message that the log should hold.
pub(super) fn points_into(entry: &QueueEntry, log_min: i64) -> bool {
    entry::is_written(entry) && !entry::is_blank(entry) && entry.physical_offset >= log_min
}

/// Where an entry lies.
#[derive(Debug, Clone, Copy)]
pub(super) struct EntryPlaceOnDisk<'a> {
    pub(super) path: &'a Path,
    pub(super) at: u64,
}

/// Physical offset behind the record of an entry.
pub(super) fn end_of(entry: &QueueEntry) -> i64 {
    let record_bytes = i64::from(entry.record_bytes);
    entry.physical_offset.saturating_add(record_bytes)
}
