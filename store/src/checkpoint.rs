//! The checkpoint file: up to where log, queues and index are on the disk. Recovery after a crash
//! starts from it; it never promises more than was flushed.
//!
//! Java keeps store times in the first 40 bytes and leaves the rest alone. Our offsets stand in a
//! block of their own, with a copy of those 40 bytes: when they differ, a Java broker came between,
//! and the block counts for nothing.

use std::io;
use std::path::Path;

use crate::disk::{Disk, DiskFile};
use crate::error::OpenError;

const FILE_BYTES: usize = 4096;
const TIMES_BYTES: usize = 40;
/// Begin of our block, which fits a sector.
const BLOCK_AT: usize = 2048;
const BLOCK_BYTES: usize = 96;
const BLOCK_MAGIC: [u8; 8] = *b"THRUSTMQ";
const BLOCK_VERSION: u32 = 1;
/// Stands for an end that is not known.
const NOT_CLOSED: i64 = -1;
/// Messages of the last moments may lie behind a flush that names their time.
const SAFETY_MARGIN_MS: i64 = 3_000;

/// Content of the file; all 0 if there is none.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Checkpoint {
    /// The log is on the disk up to this store time.
    pub(crate) log_timestamp: i64,
    /// The consume queues are.
    pub(crate) queues_timestamp: i64,
    /// The index is; 0 if there is none.
    pub(crate) index_timestamp: i64,
    /// Replication's; kept as found.
    pub(crate) master_flushed_offset: i64,
    /// End of what consumers may see and of what is on the disk, whichever comes first. Java
    /// dispatches nothing behind it when it recovers a replica.
    pub(crate) confirm_offset: i64,
    /// Our block, if it is there and counts.
    pub(crate) offsets: Option<SafeOffsets>,
}

/// What is on the disk for sure, as physical offsets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct SafeOffsets {
    /// The log is, before this.
    pub(crate) flushed: i64,
    /// Queues are, and the entries of the index, for all records before this.
    pub(crate) derived: i64,
    /// The slots of the index are, for all records before this.
    pub(crate) index_slots: i64,
    /// The log was closed cleanly and ends here.
    pub(crate) closed: Option<i64>,
    /// Number of consume queues that have files.
    pub(crate) queues: i64,
}

impl Checkpoint {
    /// Log and queues, and the index if there is one, are on the disk up to this store time, for
    /// sure.
    pub(crate) fn safe_timestamp(&self, indexed: bool) -> i64 {
        let index = if indexed {
            self.index_timestamp
        } else {
            i64::MAX
        };
        let flushed = self.log_timestamp.min(self.queues_timestamp).min(index);
        flushed.saturating_sub(SAFETY_MARGIN_MS).max(0)
    }

    fn encode(&self, page: &mut [u8; FILE_BYTES]) {
        let times = [
            self.log_timestamp,
            self.queues_timestamp,
            self.index_timestamp,
            self.master_flushed_offset,
            self.confirm_offset,
        ];
        let mut bytes = [0; TIMES_BYTES];
        put_numbers(&mut bytes, &times);
        page[..TIMES_BYTES].copy_from_slice(&bytes);
        let block = self
            .offsets
            .map_or([0; BLOCK_BYTES], |offsets| encode_block(&offsets, &bytes));
        page[BLOCK_AT..BLOCK_AT + BLOCK_BYTES].copy_from_slice(&block);
    }

    fn decode(page: &[u8; FILE_BYTES]) -> Self {
        let times = &page[..TIMES_BYTES];
        let mut numbers = numbers(times).map(|number| number.max(0));
        let mut next = || numbers.next().unwrap_or(0);
        Self {
            log_timestamp: next(),
            queues_timestamp: next(),
            index_timestamp: next(),
            master_flushed_offset: next(),
            confirm_offset: next(),
            offsets: decode_block(&page[BLOCK_AT..BLOCK_AT + BLOCK_BYTES], times),
        }
    }
}

fn put_numbers(bytes: &mut [u8], values: &[i64]) {
    for (place, value) in bytes.chunks_exact_mut(8).zip(values) {
        place.copy_from_slice(&value.to_be_bytes());
    }
}

fn numbers(bytes: &[u8]) -> impl Iterator<Item = i64> {
    let chunks = bytes.chunks_exact(8);
    chunks.filter_map(|chunk| chunk.first_chunk().map(|bytes| i64::from_be_bytes(*bytes)))
}

/// Magic, version, Java's fields, the offsets, and a checksum of all that.
fn encode_block(offsets: &SafeOffsets, times: &[u8; TIMES_BYTES]) -> [u8; BLOCK_BYTES] {
    let mut block = [0; BLOCK_BYTES];
    let values = [
        offsets.flushed,
        offsets.derived,
        offsets.index_slots,
        offsets.closed.unwrap_or(NOT_CLOSED),
        offsets.queues,
    ];
    block[..8].copy_from_slice(&BLOCK_MAGIC);
    block[8..12].copy_from_slice(&BLOCK_VERSION.to_be_bytes());
    block[12..52].copy_from_slice(times);
    put_numbers(&mut block[52..92], &values);
    let checksum = crc32fast::hash(&block[..92]);
    block[92..].copy_from_slice(&checksum.to_be_bytes());
    block
}

/// The offsets of a block that is whole and belongs to these times.
fn decode_block(block: &[u8], times: &[u8]) -> Option<SafeOffsets> {
    let (content, checksum) = block.split_last_chunk::<4>()?;
    let (magic, rest) = content.split_first_chunk::<8>()?;
    let (version, rest) = rest.split_first_chunk::<4>()?;
    let (copy, rest) = rest.split_at_checked(TIMES_BYTES)?;
    let counts = *magic == BLOCK_MAGIC
        && u32::from_be_bytes(*version) == BLOCK_VERSION
        && copy == times
        && u32::from_be_bytes(*checksum) == crc32fast::hash(content);
    let mut numbers = numbers(rest).filter(|_| counts);
    let offsets = SafeOffsets {
        flushed: numbers.next()?,
        derived: numbers.next()?,
        index_slots: numbers.next()?,
        closed: numbers
            .next()
            .map(|end| (end != NOT_CLOSED).then_some(end))?,
        queues: numbers.next()?,
    };
    Some(offsets)
}

/// The file, open for writing by the checkpoint thread.
#[derive(Debug)]
pub(crate) struct CheckpointFile {
    file: DiskFile,
    last: Checkpoint,
}

impl CheckpointFile {
    /// Opens or makes the file; a damaged one reads as 0, which costs time at recovery only. What is
    /// read is on the disk then: whoever wrote it may have been killed, or seen it fail, before that.
    pub(crate) fn open(disk: &Disk, path: &Path) -> Result<Self, OpenError> {
        let file = disk.create(path).map_err(OpenError::io("open", path))?;
        let length = file.length();
        let is_new = length.map_err(OpenError::io("read length of", path))? == 0;
        file.set_length(FILE_BYTES as u64)
            .map_err(OpenError::io("grow", path))?;
        if is_new {
            // A disk that is full later must not keep the checkpoint back.
            let reserved = file
                .reserve(0, FILE_BYTES as u64)
                .and_then(|()| file.sync());
            reserved.map_err(OpenError::io("grow", path))?;
            let dir = path.parent().unwrap_or(path);
            let synced = disk.sync_directory(dir);
            synced.map_err(OpenError::io("sync", dir))?;
        }
        let mut page = [0; FILE_BYTES];
        file.read_exact_at(&mut page, 0)
            .map_err(OpenError::io("read", path))?;
        // Written again, since the system takes what failed to be flushed for written.
        file.write_all_at(&page, 0)
            .and_then(|()| file.sync())
            .map_err(OpenError::io("write", path))?;
        let last = Checkpoint::decode(&page);
        Ok(Self { file, last })
    }

    /// What the file holds.
    pub(crate) fn last(&self) -> Checkpoint {
        self.last
    }

    /// Writes and flushes, if anything changed.
    pub(crate) fn write(&mut self, checkpoint: Checkpoint) -> io::Result<()> {
        if checkpoint == self.last {
            return Ok(());
        }
        let mut page = [0; FILE_BYTES];
        checkpoint.encode(&mut page);
        self.file.write_all_at(&page, 0)?;
        self.file.sync()?;
        self.last = checkpoint;
        Ok(())
    }
}

/// Reads the file of a store that is not open; nothing if there is none.
pub(crate) fn read_checkpoint(path: &Path) -> Result<Option<Checkpoint>, OpenError> {
    let bytes = match std::fs::read(path) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(OpenError::io("read", path)(error)),
    };
    let mut page = [0; FILE_BYTES];
    for (place, byte) in page.iter_mut().zip(bytes) {
        *place = byte;
    }
    Ok(Some(Checkpoint::decode(&page)))
}

#[cfg(test)]
mod tests {
    use super::*;

    const CHECKPOINT: Checkpoint = Checkpoint {
        log_timestamp: 10_000,
        queues_timestamp: 9_000,
        index_timestamp: 8_000,
        master_flushed_offset: 7,
        confirm_offset: 6,
        offsets: Some(SafeOffsets {
            flushed: 500,
            derived: 400,
            index_slots: 300,
            closed: None,
            queues: 20,
        }),
    };

    fn page_of(checkpoint: &Checkpoint) -> [u8; FILE_BYTES] {
        let mut page = [0; FILE_BYTES];
        checkpoint.encode(&mut page);
        page
    }

    #[test]
    fn a_checkpoint_is_read_back() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("checkpoint");
        let disk = Disk::default();
        let mut file = CheckpointFile::open(&disk, &path).unwrap();
        assert_eq!(file.last(), Checkpoint::default());
        file.write(CHECKPOINT).unwrap();
        drop(file);
        let again = CheckpointFile::open(&disk, &path).unwrap();
        assert_eq!(again.last(), CHECKPOINT);
        assert_eq!(std::fs::metadata(&path).unwrap().len(), 4096);
        assert_eq!(CHECKPOINT.safe_timestamp(false), 6_000);
        assert_eq!(CHECKPOINT.safe_timestamp(true), 5_000);
    }

    #[test]
    fn an_end_of_zero_is_an_end() {
        let mut closed = CHECKPOINT;
        closed.offsets.as_mut().unwrap().closed = Some(0);
        assert_eq!(Checkpoint::decode(&page_of(&closed)), closed);
    }

    #[test]
    fn any_changed_bit_makes_the_block_count_for_nothing() {
        let page = page_of(&CHECKPOINT);
        let block = BLOCK_AT..BLOCK_AT + BLOCK_BYTES;
        for at in (0..TIMES_BYTES).chain(block) {
            let mut changed = page;
            changed[at] ^= 1;
            assert_eq!(Checkpoint::decode(&changed).offsets, None, "byte {at}");
        }
        for at in [TIMES_BYTES, BLOCK_AT - 1, BLOCK_AT + BLOCK_BYTES] {
            let mut changed = page;
            changed[at] ^= 1;
            assert_eq!(Checkpoint::decode(&changed), CHECKPOINT, "byte {at}");
        }
    }
}
