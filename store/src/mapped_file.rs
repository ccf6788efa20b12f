//! One file of fixed size, mapped into memory. The only unsafe code of the workspace.
//!
//! Two ways to use a map, never both for one file:
//! - [`MappedFile`] is append-only. `written` divides it: bytes before it never change again and may
//!   be borrowed by anyone, bytes behind it are seen only by the one call that is appending.
//! - [`MappedCells`] is an array of 32-bit cells that are read and written as atomics.
//!
//! A map stays valid when its file is unlinked; it goes when the last borrower drops it.
//!
//! A [`MappedFile`] may be appended to by writing its file (`Place::Written`): map and file are the same
//! pages of the system's cache.
//!
//! What the unsafe blocks below rely on, and who sees to it:
//! - Memory from a map's begin to its length can be read and written for as long as the map lives.
//!   [`Map::of`] maps whole files of the length asked for. Nothing shortens a mapped file: the store
//!   has locked its directory (`layout.rs`), and [`MappedCells::clear_from`] and the like, which may
//!   shorten it for a moment, belong to recovery, when nobody else holds it.
//! - What is written has blocks on the disk; writing into a hole of a full disk would kill the
//!   process, and reading one does on tmpfs. [`MappedFile::append`] takes them itself, as
//!   [`MappedCells::open`] does for a header; the index asks [`MappedCells::reserve`].
//! - A file is mapped as one of the two kinds and by one map at a time: `file_queue.rs` keeps the
//!   only map of a [`MappedFile`], `index/` that of [`MappedCells`].
//!
//! `MIRIFLAGS=-Zmiri-disable-isolation cargo +nightly miri test -p thrustmq-store --lib -- mapped_file
//! file_queue wakeup flush_waiters --skip clearing_the_rest` runs them under Miri, with memory in
//! place of maps.

mod place;
#[cfg(miri)]
mod without_map;

use std::io;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicUsize, Ordering};

use bytes::Bytes;
#[cfg(not(miri))]
use memmap2::{Advice, MmapRaw};
#[cfg(miri)]
use without_map::{Advice, MmapRaw};

use crate::disk::{Disk, DiskFile};

pub use place::Place;
pub(crate) use place::Used;

/// Maps that exist now; a process may have some 65,000.
static MAPS: AtomicUsize = AtomicUsize::new(0);

/// A file that grows takes at least so many bytes of the disk at a time, and at most so many.
const STEP_BYTES_MIN: usize = 4 << 10;
const STEP_BYTES_MAX: usize = 256 << 10;

/// With more maps than that those that nobody holds go, long before the system's limit.
pub(crate) const MAPS_MAX: usize = 30_000;

/// How many files this process has mapped.
pub(crate) fn maps() -> usize {
    MAPS.load(Ordering::Relaxed)
}

/// A whole file in memory.
#[derive(Debug)]
struct Map {
    memory: MmapRaw,
    /// For files that are not written through the map.
    writer: Option<DiskFile>,
    disk: Disk,
    path: Box<Path>,
}

impl Map {
    /// Maps a file that must be empty or absent.
    fn create(disk: &Disk, path: &Path, bytes: usize, place: Place) -> io::Result<Self> {
        let file = disk.create(path)?;
        let wanted = bytes as u64;
        file.set_length(wanted)?;
        if place.is_whole() {
            // A file without its blocks must not be found and used at the next start.
            let taken = file.reserve(0, wanted);
            taken.or_else(|error| file.set_length(0).and(Err(error)))?;
        }
        Self::of(file, disk, path, place)
    }

    /// Maps a file that must have so many bytes.
    fn open(disk: &Disk, path: &Path, bytes: usize, place: Place) -> io::Result<Self> {
        let file = disk.open(path)?;
        let length = file.length()?;
        if length != bytes as u64 {
            let problem = format!("file has {length} bytes, not {bytes}");
            return Err(io::Error::new(io::ErrorKind::InvalidData, problem));
        }
        Self::of(file, disk, path, place)
    }

    fn of(file: DiskFile, disk: &Disk, path: &Path, place: Place) -> io::Result<Self> {
        let memory = file.map(|file| MmapRaw::map_raw(file))?;
        if place == Place::Sparse {
            // Such files are many and mostly holes: without this, the kernel fills its cache with
            // zeros far around every first touch.
            memory.advise(Advice::Random)?;
        }
        MAPS.fetch_add(1, Ordering::Relaxed);
        Ok(Self {
            memory,
            writer: (place == Place::Written).then_some(file),
            disk: disk.clone(),
            path: path.into(),
        })
    }

    fn len(&self) -> usize {
        self.memory.len()
    }

    /// Takes the blocks of a range.
    fn reserve(&self, from: usize, to: usize) -> io::Result<()> {
        let file = self.disk.open(&self.path)?;
        file.reserve(from as u64, to as u64)
    }

    /// Forces a range to the disk.
    fn flush(&self, from: usize, to: usize) -> io::Result<()> {
        let to = to.min(self.len());
        if from >= to {
            return Ok(());
        }
        let flush = || self.memory.flush_range(from, to - from);
        self.disk.flush_map(&self.path, from..to, flush)
    }
}

impl Drop for Map {
    fn drop(&mut self) {
        MAPS.fetch_sub(1, Ordering::Relaxed);
    }
}

/// An append-only mapped file. Outside the store only the bare server of `bench/` has one, which has to
/// write as the log does.
#[derive(Debug)]
pub struct MappedFile {
    map: Map,
    place: Place,
    /// End of the bytes that readers may see.
    written: AtomicUsize,
    /// End of the bytes that have their blocks.
    reserved: AtomicUsize,
    /// Held by the one call that is appending.
    appending: AtomicBool,
}

impl MappedFile {
    /// Makes a file, which must be empty if it is there, and maps it.
    ///
    /// # Errors
    /// The file holds something, or the disk has no room for it.
    pub fn create(disk: &Disk, path: &Path, bytes: usize, place: Place) -> io::Result<Self> {
        let used = Used {
            written: 0,
            reserved: if place.is_whole() { bytes } else { 0 },
        };
        let map = Map::create(disk, path, bytes, place)?;
        Ok(Self::of(map, used, place))
    }

    /// Maps a file that is there.
    pub(crate) fn open(
        disk: &Disk,
        path: &Path,
        bytes: usize,
        used: Used,
        place: Place,
    ) -> io::Result<Self> {
        let written = used.written;
        assert!(written <= bytes, "written {written} of {bytes} bytes");
        Ok(Self::of(Map::open(disk, path, bytes, place)?, used, place))
    }

    fn of(map: Map, used: Used, place: Place) -> Self {
        Self {
            map,
            place,
            written: AtomicUsize::new(used.written),
            reserved: AtomicUsize::new(used.reserved),
            appending: AtomicBool::new(false),
        }
    }

    /// What has to be known to open it again.
    pub(crate) fn used(&self) -> Used {
        Used {
            written: self.written(),
            reserved: self.reserved.load(Ordering::Relaxed),
        }
    }

    /// End of the bytes that readers may see.
    #[inline]
    pub(crate) fn written(&self) -> usize {
        self.written.load(Ordering::Acquire)
    }

    /// Bytes behind the written ones.
    pub fn bytes_left(&self) -> usize {
        self.map.len() - self.written()
    }

    /// Puts bytes behind the written ones and returns where.
    ///
    /// # Errors
    /// They do not fit, or the disk has no room for them; then nothing has changed.
    ///
    /// # Panics
    /// Two threads append at once: the callers' own lock is broken.
    #[inline]
    pub fn append(&self, bytes: &[u8]) -> io::Result<usize> {
        let busy = self.appending.swap(true, Ordering::Acquire);
        assert!(!busy, "a second thread appends to the same file");
        let at = self.written.load(Ordering::Relaxed);
        let end = self.room_for(at, bytes.len()).and_then(|end| {
            self.put(at, bytes)?;
            Ok(end)
        });
        if let Ok(end) = end {
            self.written.store(end, Ordering::Release);
        }
        self.appending.store(false, Ordering::Release);
        end.map(|_| at)
    }

    /// Puts bytes at a place that `room_for` gave to this append.
    #[inline]
    fn put(&self, at: usize, bytes: &[u8]) -> io::Result<()> {
        if let Some(file) = &self.map.writer {
            return file.write_all_at(bytes, at as u64);
        }
        // SAFETY: at..at + length lies within the map (`room_for`). Nobody reads behind `written` (see
        // `slice`), and nobody else writes there, for `appending` is held and `written` changes
        // under it only. `bytes` cannot overlap: a borrow of this map ends before `written`.
        unsafe {
            let to = self.map.memory.as_mut_ptr().add(at);
            std::ptr::copy_nonoverlapping(bytes.as_ptr(), to, bytes.len());
        }
        Ok(())
    }

    /// Where so many bytes end, once they have their blocks.
    #[inline]
    fn room_for(&self, at: usize, length: usize) -> io::Result<usize> {
        let end = at
            .checked_add(length)
            .filter(|end| *end <= self.map.len())
            .ok_or(io::ErrorKind::FileTooLarge)?;
        if end > self.reserved.load(Ordering::Relaxed) {
            self.reserve(end)?;
        }
        Ok(end)
    }

    #[cold]
    fn reserve(&self, end: usize) -> io::Result<()> {
        let reserved = self.reserved.load(Ordering::Relaxed);
        let step = reserved.clamp(STEP_BYTES_MIN, STEP_BYTES_MAX);
        let wanted = end.max(reserved.saturating_add(step));
        let to = match self.place {
            Place::Reserved | Place::Written => self.map.len(),
            Place::Sparse => wanted.next_multiple_of(STEP_BYTES_MIN).min(self.map.len()),
        };
        self.map.reserve(reserved, to)?;
        self.reserved.store(to, Ordering::Relaxed);
        Ok(())
    }

    /// Declares the rest of the file written, whatever it holds.
    ///
    /// # Panics
    /// As [`MappedFile::append`].
    pub(crate) fn fill(&self) {
        let busy = self.appending.swap(true, Ordering::Acquire);
        assert!(!busy, "a second thread appends to the same file");
        self.written.store(self.map.len(), Ordering::Release);
        self.appending.store(false, Ordering::Release);
    }

    /// Written bytes; nothing if some of them are not written.
    #[inline]
    pub(crate) fn slice(&self, at: usize, length: usize) -> Option<&[u8]> {
        let end = at.checked_add(length)?;
        if end > self.written() {
            return None;
        }
        // SAFETY: at..end lies before `written`, thus within the map, was stored before the
        // acquiring load (`append` releases it), and is never written again while the map lives:
        // `append` writes behind `written` only, which never falls. The slice borrows `self`, and
        // with it the map.
        Some(unsafe { std::slice::from_raw_parts(self.map.memory.as_ptr().add(at), length) })
    }

    /// All bytes written so far, kept alive by what is returned. Slices of it cost no allocation.
    pub(crate) fn share(self: &Arc<Self>) -> Bytes {
        Bytes::from_owner(Shared {
            end: self.written(),
            file: Arc::clone(self),
        })
    }

    /// Has the kernel make pages of a range ready to be written. Their content stays.
    pub(crate) fn touch(&self, from: usize, to: usize) -> io::Result<()> {
        let reserved = self.reserved.load(Ordering::Relaxed);
        let length = to.min(reserved).saturating_sub(from);
        self.map
            .memory
            .advise_range(Advice::PopulateWrite, from, length)
    }

    /// Forces a range to the disk.
    pub(crate) fn flush(&self, from: usize, to: usize) -> io::Result<()> {
        self.map.flush(from, to)
    }
}

/// The written bytes of a file at one moment.
struct Shared {
    file: Arc<MappedFile>,
    end: usize,
}

impl AsRef<[u8]> for Shared {
    fn as_ref(&self) -> &[u8] {
        self.file.slice(0, self.end).unwrap_or_default()
    }
}

/// A mapped file of 32-bit big-endian cells, which may be changed in any order.
#[derive(Debug)]
pub(crate) struct MappedCells {
    map: Map,
}

impl MappedCells {
    /// Maps the file, making it first if it is not there. Its header, which must not be longer than
    /// the first page, has its blocks then; what else is written to needs them first.
    pub(crate) fn open(disk: &Disk, path: &Path, bytes: usize) -> io::Result<Self> {
        if disk.exists(path)? && disk.length(path)? > 0 {
            let map = Map::open(disk, path, bytes, Place::Sparse)?;
            return Self::with_header(map);
        }
        let map = Map::create(disk, path, bytes, Place::Sparse)?;
        let cells = Self::with_header(map);
        // Without its blocks it must not be found at the next start.
        cells.or_else(|error| disk.remove(path).and(Err(error)))
    }

    /// A hole of a full tmpfs kills the process even if it is only read.
    fn with_header(map: Map) -> io::Result<Self> {
        map.reserve(0, map.len().min(STEP_BYTES_MIN))?;
        Ok(Self { map })
    }

    /// The cell at a byte position that is a multiple of 4; 0 outside the file.
    #[inline]
    pub(crate) fn get(&self, at: usize) -> u32 {
        self.cell(at)
            .map_or(0, |cell| u32::from_be(cell.load(Ordering::Relaxed)))
    }

    /// Changes the cell at a byte position that is a multiple of 4; outside the file it does nothing.
    #[inline]
    pub(crate) fn set(&self, at: usize, value: u32) {
        if let Some(cell) = self.cell(at) {
            cell.store(value.to_be(), Ordering::Relaxed);
        }
    }

    /// Two cells as one number; both halves are read apart.
    pub(crate) fn get_i64(&self, at: usize) -> i64 {
        let high = u64::from(self.get(at)) << 32;
        (high | u64::from(self.get(at + 4))) as i64
    }

    /// Changes two cells to one number.
    pub(crate) fn set_i64(&self, at: usize, value: i64) {
        self.set(at, (value >> 32) as u32);
        self.set(at + 4, value as u32);
    }

    /// Forces a range to the disk.
    pub(crate) fn flush(&self, from: usize, to: usize) -> io::Result<()> {
        self.map.flush(from, to)
    }

    /// Takes the blocks of a range, so that writing there cannot fail for lack of room.
    pub(crate) fn reserve(&self, from: usize, to: usize) -> io::Result<()> {
        self.map.reserve(from, to)
    }

    /// Has a range read from the disk in large pieces, for it will be looked at as a whole. Page by
    /// page it would take seconds.
    pub(crate) fn read_ahead(&self, from: usize, to: usize) -> io::Result<()> {
        let length = to.saturating_sub(from);
        self.map.memory.advise_range(Advice::WillNeed, from, length)
    }

    /// Makes all cells from a byte position on 0 and gives their blocks back.
    pub(crate) fn clear_from(&self, at: usize) -> io::Result<()> {
        self.map.disk.open(&self.map.path)?.clear_from(at as u64)
    }

    fn cell(&self, at: usize) -> Option<&AtomicU32> {
        let inside = at.checked_add(4)? <= self.map.len();
        if !inside || !at.is_multiple_of(4) {
            return None;
        }
        // SAFETY: the cell lies within the map (`inside`), which lives as long as the `self` that is
        // borrowed; maps begin at a page, so a multiple of 4 is aligned; all access to this file
        // goes through atomics of this size, for nothing else here hands out its memory.
        Some(unsafe { AtomicU32::from_ptr(self.map.memory.as_mut_ptr().add(at).cast()) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn opened(path: &Path, bytes: usize, written: usize, place: Place) -> io::Result<MappedFile> {
        let used = Used::written(written);
        MappedFile::open(&Disk::default(), path, bytes, used, place)
    }

    fn new_file(bytes: usize) -> (tempfile::TempDir, Arc<MappedFile>) {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("0");
        let file = MappedFile::create(&Disk::default(), &path, bytes, Place::Reserved);
        (dir, Arc::new(file.unwrap()))
    }

    #[test]
    fn readers_see_what_was_appended_and_no_more() {
        let (_dir, file) = new_file(16);
        assert_eq!(file.append(b"hello").unwrap(), 0);
        assert_eq!(file.append(b"world").unwrap(), 5);
        assert_eq!(file.slice(3, 4), Some(&b"lowo"[..]));
        assert_eq!(file.slice(3, 8), None);
        assert!(file.append(b"too long").is_err());
        assert_eq!((file.written(), file.bytes_left()), (10, 6));
        file.fill();
        assert_eq!(file.slice(10, 6), Some(&[0; 6][..]));
    }

    #[test]
    fn one_appends_while_others_read() {
        const RECORD: [u8; 7] = *b"message";
        let count = if cfg!(miri) { 40 } else { 20_000 };
        let (_dir, file) = new_file(RECORD.len() * count);
        std::thread::scope(|scope| {
            for _ in 0..2 {
                scope.spawn(|| {
                    let mut read = 0;
                    while read < file.bytes_left() + file.written() {
                        let written = file.written();
                        let new = file.slice(read, written - read).unwrap();
                        assert!(new.chunks(RECORD.len()).all(|record| record == RECORD));
                        assert_eq!(file.share().len() % RECORD.len(), 0);
                        read = written;
                        std::thread::yield_now();
                    }
                });
            }
            (0..count).for_each(|_| {
                file.append(&RECORD).unwrap();
            });
        });
        assert_eq!(file.bytes_left(), 0);
    }

    #[test]
    fn shared_bytes_outlive_file_and_map() {
        let (dir, file) = new_file(16);
        file.append(b"kept").unwrap();
        let bytes = file.share();
        file.append(b"later").unwrap();
        std::fs::remove_file(dir.path().join("0")).unwrap();
        drop(file);
        assert_eq!(bytes, &b"kept"[..]);
    }

    #[test]
    fn a_file_of_another_length_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("0");
        std::fs::write(&path, [0; 10]).unwrap();
        assert!(opened(&path, 16, 0, Place::Sparse).is_err());
        let absent = dir.path().join("1");
        assert!(opened(&absent, 16, 0, Place::Sparse).is_err());
        assert!(!absent.exists(), "only a new file is made");
    }

    #[test]
    fn cells_are_big_endian_and_bounded() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("0");
        let cells = MappedCells::open(&Disk::default(), &path, 20).unwrap();
        cells.set(4, 0x0102_0304);
        cells.set_i64(8, -2);
        cells.set(20, 7);
        cells.set(2, 7);
        assert_eq!((cells.get(4), cells.get_i64(8)), (0x0102_0304, -2));
        assert_eq!((cells.get(20), cells.get(2), cells.get(0)), (0, 0, 0));
        cells.flush(0, 20).unwrap();
        let bytes = std::fs::read(&path).unwrap();
        assert_eq!(&bytes[..8], &[0, 0, 0, 0, 1, 2, 3, 4]);
    }

    #[test]
    #[cfg(not(miri))] // it knows no blocks
    fn a_sparse_file_takes_its_blocks_in_growing_steps() {
        use std::os::unix::fs::MetadataExt;
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("0");
        let file = MappedFile::create(&Disk::default(), &path, 1 << 20, Place::Sparse).unwrap();
        let mut steps = vec![];
        for _ in 0..1 << 10 {
            file.append(&[7; 1 << 10]).unwrap();
            let reserved = file.used().reserved;
            if steps.last() != Some(&(reserved >> 10)) {
                steps.push(reserved >> 10);
            }
            let taken = std::fs::metadata(&path).unwrap().blocks() * 512;
            assert!(taken >= file.written() as u64);
        }
        assert_eq!(steps, [4, 8, 16, 32, 64, 128, 256, 512, 768, 1024]);
        let again = opened(&path, 1 << 20, 5000, Place::Sparse).unwrap();
        again.append(b"x").unwrap();
        assert_eq!(again.used().reserved, 12 << 10);
        let log = opened(&path, 1 << 20, 5000, Place::Reserved).unwrap();
        assert_eq!(log.used().reserved, 5000, "readers need no blocks");
        log.append(b"x").unwrap();
        assert_eq!(log.used().reserved, 1 << 20);
    }
}
