//! Which records belong to topics that were deleted: all those of the topic before the log's end at
//! its deletion. Dispatch, recovery and queries pass over them.
//!
//! Kept in a small text file, a line a topic, replaced as a whole. A mark goes when the log begins
//! behind it. Written by whoever deletes a topic, one at a time, and at opening.

use std::collections::HashMap;
use std::fmt::Write as _;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use crate::disk::Disk;
use crate::error::OpenError;
use crate::layout::is_directory_name;

/// With more marks than that the oldest goes: its topic could come back if queues were built anew.
const MARKS_MAX: usize = 100_000;
/// A file of more bytes is not read to its end, and thus damaged.
const FILE_BYTES_MAX: u64 = 64 << 20;
/// Begin of the last line.
const CHECKSUM: &str = "crc32 ";

type Marks = HashMap<Box<str>, Mark>;

/// The last deletion of a topic.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Mark {
    /// End of the log then.
    pub(crate) end: i64,
    /// Consume queues that the topic had.
    pub(crate) queues: i64,
}

/// The deletions of topics.
#[derive(Debug)]
pub(crate) struct Deletions {
    disk: Disk,
    path: PathBuf,
    marks: RwLock<Marks>,
    /// No mark lies behind this; spares most records a look at the table.
    last: AtomicI64,
}

impl Deletions {
    /// Reads the file; a damaged one counts for nothing, which can bring deleted topics back.
    pub(crate) fn open(disk: Disk, path: PathBuf) -> Result<Self, OpenError> {
        let text = read(&disk, &path).map_err(OpenError::io("read", &path))?;
        let marks = parse(&text).unwrap_or_else(|| {
            tracing::warn!(
                ?path,
                "file is damaged: topics that were deleted may come back"
            );
            Marks::default()
        });
        let deletions = Self {
            disk,
            path,
            marks: RwLock::default(),
            last: AtomicI64::new(0),
        };
        deletions.set(marks);
        Ok(deletions)
    }

    /// Whether the record at an offset belongs to an earlier life of its topic.
    #[inline]
    pub(crate) fn covers(&self, topic: &str, physical_offset: i64) -> bool {
        physical_offset < self.last.load(Ordering::Acquire)
            && self
                .marks()
                .get(topic)
                .is_some_and(|mark| physical_offset < mark.end)
    }

    /// Topics and their marks.
    pub(crate) fn all(&self) -> Vec<(Box<str>, Mark)> {
        let marks = self.marks();
        marks
            .iter()
            .map(|(topic, mark)| (topic.clone(), *mark))
            .collect()
    }

    /// Notes durably that a topic's records before the mark count no longer. It holds in this process
    /// even if that fails.
    pub(crate) fn add(&self, topic: &str, mark: Mark, log_min: i64) -> io::Result<()> {
        let mut marks = self.marks().clone();
        marks.insert(topic.into(), mark);
        self.replace(marks, log_min)
    }

    /// Drops what lies before the log, and lets what lies behind it, which a crash cut off, end
    /// with it: from there on new records are written. Recovery only.
    pub(crate) fn fit(&self, log_min: i64, log_end: i64) -> io::Result<()> {
        let mut marks = self.marks().clone();
        for mark in marks.values_mut() {
            mark.end = mark.end.min(log_end);
        }
        self.replace(marks, log_min)
    }

    fn replace(&self, mut marks: Marks, log_min: i64) -> io::Result<()> {
        marks.retain(|_, mark| mark.end > log_min);
        if marks.len() > MARKS_MAX
            && let Some(oldest) = marks.iter().min_by_key(|(_, mark)| **mark)
        {
            let oldest = oldest.0.clone();
            marks.remove(&oldest);
        }
        if marks == *self.marks() {
            return Ok(());
        }
        let text = format(&marks);
        self.set(marks);
        self.disk.replace_file(&self.path, text.as_bytes())
    }

    fn set(&self, marks: Marks) {
        let last = marks.values().map(|mark| mark.end).max().unwrap_or(0);
        *self.marks_mut() = marks;
        self.last.store(last, Ordering::Release);
    }

    fn marks(&self) -> RwLockReadGuard<'_, Marks> {
        self.marks.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn marks_mut(&self) -> RwLockWriteGuard<'_, Marks> {
        self.marks.write().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A line a mark, oldest first: end of the log, queues, topic. Then the checksum of the lines.
fn format(marks: &Marks) -> String {
    let mut lines: Vec<_> = marks.iter().map(|(topic, mark)| (*mark, topic)).collect();
    lines.sort_unstable();
    let mut text = String::new();
    for (Mark { end, queues }, topic) in lines {
        let _infallible = writeln!(text, "{end} {queues} {topic}");
    }
    let checksum = crc32fast::hash(text.as_bytes());
    let _infallible = writeln!(text, "{CHECKSUM}{checksum:08x}");
    text
}

/// The marks of a file; nothing if it is damaged.
fn parse(bytes: &[u8]) -> Option<Marks> {
    if bytes.is_empty() {
        return Some(Marks::default());
    }
    let text = str::from_utf8(bytes).ok()?.strip_suffix('\n')?;
    let (lines, last) = text.split_at(text.rfind('\n').map_or(0, |at| at + 1));
    let checksum = u32::from_str_radix(last.strip_prefix(CHECKSUM)?, 16).ok()?;
    if checksum != crc32fast::hash(lines.as_bytes()) {
        return None;
    }
    let mark = |line: &str| {
        let (end, rest) = line.split_once(' ')?;
        let (queues, topic) = rest.split_once(' ')?;
        let mark = Mark {
            end: end.parse().ok()?,
            queues: queues.parse().ok()?,
        };
        is_directory_name(topic).then(|| (topic.into(), mark))
    };
    lines.lines().map(mark).collect()
}

/// What a file holds; nothing if it is not there.
fn read(disk: &Disk, path: &Path) -> io::Result<Vec<u8>> {
    if !disk.exists(path)? {
        return Ok(Vec::new());
    }
    let file = disk.open(path)?;
    let length = file.length()?;
    let mut bytes = vec![0; usize::try_from(length.min(FILE_BYTES_MAX)).unwrap_or(0)];
    file.read_exact_at(&mut bytes, 0)?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mark(end: i64) -> Mark {
        Mark { end, queues: 3 }
    }

    fn opened(dir: &Path) -> Deletions {
        Deletions::open(Disk::default(), dir.join("deletedTopics")).unwrap()
    }

    #[test]
    fn marks_are_read_back_and_end_with_the_log() {
        let dir = tempfile::tempdir().unwrap();
        let deletions = opened(dir.path());
        assert!(deletions.all().is_empty());
        deletions.add("a b", mark(100), 0).unwrap();
        deletions.add("c", mark(300), 0).unwrap();
        deletions.add("a b", mark(200), 0).unwrap();
        for deletions in [&deletions, &opened(dir.path())] {
            assert!(deletions.covers("a b", 199) && !deletions.covers("a b", 200));
            assert!(deletions.covers("c", 299) && !deletions.covers("d", 0));
        }
        deletions.fit(0, 250).unwrap();
        assert!(!opened(dir.path()).covers("c", 250));
        deletions.add("d", mark(260), 200).unwrap();
        assert_eq!(opened(dir.path()).all().len(), 2, "one lies before the log");
    }

    #[test]
    fn any_changed_byte_is_noticed() {
        let marks = Marks::from([("topic".into(), mark(7)), ("other".into(), mark(9))]);
        let text = format(&marks);
        assert_eq!(parse(text.as_bytes()), Some(marks));
        for at in 0..text.len() {
            let mut bytes = text.clone().into_bytes();
            bytes[at] ^= 1;
            assert_eq!(parse(&bytes), None, "byte {at}");
            assert_eq!(parse(&bytes[..at]).filter(|marks| !marks.is_empty()), None);
        }
    }

    #[test]
    fn there_is_a_limit() {
        let dir = tempfile::tempdir().unwrap();
        let deletions = opened(dir.path());
        let marks =
            (0..MARKS_MAX).map(|number| (number.to_string().into(), mark(number as i64 + 1)));
        deletions.set(marks.collect());
        deletions.add("one more", mark(1 << 40), 0).unwrap();
        assert_eq!(deletions.all().len(), MARKS_MAX);
        assert!(!deletions.covers("0", 0) && deletions.covers("1", 0));
    }
}
