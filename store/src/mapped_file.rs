//! One file of fixed size, mapped into memory. The only unsafe code of the workspace.
//!
//! Two ways to use a map, never both for one file:
//! - [`MappedFile`] is append-only. `written` divides it: bytes before it never change again and may
//!   be borrowed by anyone, bytes behind it are seen only by the one call that is appending.
//! - [`MappedCells`] is an array of 32-bit cells that are read and written as atomics.
//!
//! A map stays valid when its file is unlinked; it goes when the last borrower drops it.

use std::fs::{File, OpenOptions};
use std::io;
use std::ops::Deref;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicUsize, Ordering};

use bytes::Bytes;
use memmap2::MmapRaw;

/// Maps that exist now; a process may have some 65,000.
static MAPS: AtomicUsize = AtomicUsize::new(0);

/// How many files this process has mapped.
pub(crate) fn maps() -> usize {
    MAPS.load(Ordering::Relaxed)
}

/// A map that is counted.
#[derive(Debug)]
struct CountedMap(MmapRaw);

impl CountedMap {
    fn of(file: &File) -> io::Result<Self> {
        let map = MmapRaw::map_raw(file)?;
        MAPS.fetch_add(1, Ordering::Relaxed);
        Ok(Self(map))
    }
}

impl Drop for CountedMap {
    fn drop(&mut self) {
        MAPS.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Deref for CountedMap {
    type Target = MmapRaw;

    fn deref(&self) -> &MmapRaw {
        &self.0
    }
}

/// Whether a file that has to be made takes its place on the disk at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Place {
    /// All blocks now, so that a full disk shows here and not as a fault while appending.
    Reserved,
    /// Blocks as they are touched.
    Sparse,
}

/// An append-only mapped file.
#[derive(Debug)]
pub(crate) struct MappedFile {
    map: CountedMap,
    /// End of the bytes that readers may see.
    written: AtomicUsize,
    /// Held by the one call that is appending.
    appending: AtomicBool,
}

impl MappedFile {
    /// Maps the file, making it first if it is not there; `written` bytes of it are known to be
    /// there for good.
    pub(crate) fn open(
        path: &Path,
        bytes: usize,
        written: usize,
        place: Place,
    ) -> io::Result<Self> {
        assert!(written <= bytes, "written {written} of {bytes} bytes");
        Ok(Self {
            map: map(path, bytes, place)?,
            written: AtomicUsize::new(written),
            appending: AtomicBool::new(false),
        })
    }

    /// End of the bytes that readers may see.
    #[inline]
    pub(crate) fn written(&self) -> usize {
        self.written.load(Ordering::Acquire)
    }

    /// Bytes behind the written ones.
    pub(crate) fn bytes_left(&self) -> usize {
        self.map.len() - self.written()
    }

    /// Puts bytes behind the written ones and returns where; nothing if they do not fit.
    ///
    /// # Panics
    /// Two threads append at once: the callers' own lock is broken.
    #[inline]
    pub(crate) fn append(&self, bytes: &[u8]) -> Option<usize> {
        let busy = self.appending.swap(true, Ordering::Acquire);
        assert!(!busy, "a second thread appends to the same file");
        let at = self.written.load(Ordering::Relaxed);
        let end = at
            .checked_add(bytes.len())
            .filter(|end| *end <= self.map.len());
        if let Some(end) = end {
            // SAFETY: at..end lies within the map. Nobody reads behind `written`, and nobody else
            // writes there, for `appending` is held and `written` changes under it only. `bytes`
            // cannot overlap: a borrow of this map ends before `written`.
            unsafe {
                let to = self.map.as_mut_ptr().add(at);
                std::ptr::copy_nonoverlapping(bytes.as_ptr(), to, bytes.len());
            }
            self.written.store(end, Ordering::Release);
        }
        self.appending.store(false, Ordering::Release);
        end.map(|_| at)
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
        // acquiring load, and is never written again while the map lives.
        Some(unsafe { std::slice::from_raw_parts(self.map.as_ptr().add(at), length) })
    }

    /// All bytes written so far, kept alive by what is returned. Slices of it cost no allocation.
    pub(crate) fn share(self: &Arc<Self>) -> Bytes {
        Bytes::from_owner(Shared {
            end: self.written(),
            file: Arc::clone(self),
        })
    }

    /// Forces a range to the disk.
    pub(crate) fn flush(&self, from: usize, to: usize) -> io::Result<()> {
        let to = to.min(self.map.len());
        if from >= to {
            return Ok(());
        }
        self.map.flush_range(from, to - from)
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
    map: CountedMap,
}

impl MappedCells {
    /// Maps the file, making it first if it is not there; it takes disk blocks as it is touched.
    pub(crate) fn open(path: &Path, bytes: usize) -> io::Result<Self> {
        Ok(Self {
            map: map(path, bytes, Place::Sparse)?,
        })
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

    /// Forces all of it to the disk.
    pub(crate) fn flush(&self) -> io::Result<()> {
        self.map.flush()
    }

    fn cell(&self, at: usize) -> Option<&AtomicU32> {
        let inside = at.checked_add(4)? <= self.map.len();
        if !inside || !at.is_multiple_of(4) {
            return None;
        }
        // SAFETY: the cell lies within the map, which lives as long as `self`; maps begin at a page,
        // so a multiple of 4 is aligned; all access to this file goes through atomics of this size.
        Some(unsafe { AtomicU32::from_ptr(self.map.as_mut_ptr().add(at).cast()) })
    }
}

fn map(path: &Path, bytes: usize, place: Place) -> io::Result<CountedMap> {
    let file = OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .open(path)?;
    let length = file.metadata()?.len();
    let wanted = bytes as u64;
    if length == 0 {
        file.set_len(wanted)?;
        if place == Place::Reserved {
            // A file without its blocks must not be found and used at the next start.
            reserve(&file, wanted).or_else(|error| file.set_len(0).and(Err(error)))?;
        }
    } else if length != wanted {
        let problem = format!("file has {length} bytes, not {wanted}");
        return Err(io::Error::new(io::ErrorKind::InvalidData, problem));
    }
    CountedMap::of(&file)
}

/// Takes the blocks of a file now; file systems that cannot do so leave it sparse.
pub(crate) fn reserve(file: &File, bytes: u64) -> io::Result<()> {
    use rustix::fs::{FallocateFlags, fallocate};
    match fallocate(file, FallocateFlags::empty(), 0, bytes) {
        Ok(()) | Err(rustix::io::Errno::OPNOTSUPP | rustix::io::Errno::NOSYS) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn new_file(bytes: usize) -> (tempfile::TempDir, Arc<MappedFile>) {
        let dir = tempfile::tempdir().unwrap();
        let file = MappedFile::open(&dir.path().join("0"), bytes, 0, Place::Reserved).unwrap();
        (dir, Arc::new(file))
    }

    #[test]
    fn readers_see_what_was_appended_and_no_more() {
        let (_dir, file) = new_file(16);
        assert_eq!(file.append(b"hello"), Some(0));
        assert_eq!(file.append(b"world"), Some(5));
        assert_eq!(file.slice(3, 4), Some(&b"lowo"[..]));
        assert_eq!(file.slice(3, 8), None);
        assert_eq!(file.append(b"too long"), None);
        assert_eq!((file.written(), file.bytes_left()), (10, 6));
        file.fill();
        assert_eq!(file.slice(10, 6), Some(&[0; 6][..]));
    }

    #[test]
    fn shared_bytes_outlive_file_and_map() {
        let (dir, file) = new_file(16);
        file.append(b"kept");
        let bytes = file.share();
        file.append(b"later");
        std::fs::remove_file(dir.path().join("0")).unwrap();
        drop(file);
        assert_eq!(bytes, &b"kept"[..]);
    }

    #[test]
    fn a_file_of_another_length_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("0");
        std::fs::write(&path, [0; 10]).unwrap();
        assert!(MappedFile::open(&path, 16, 0, Place::Sparse).is_err());
    }

    #[test]
    fn cells_are_big_endian_and_bounded() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("0");
        let cells = MappedCells::open(&path, 20).unwrap();
        cells.set(4, 0x0102_0304);
        cells.set_i64(8, -2);
        cells.set(20, 7);
        cells.set(2, 7);
        assert_eq!((cells.get(4), cells.get_i64(8)), (0x0102_0304, -2));
        assert_eq!((cells.get(20), cells.get(2), cells.get(0)), (0, 0, 0));
        cells.flush().unwrap();
        let bytes = std::fs::read(&path).unwrap();
        assert_eq!(&bytes[..8], &[0, 0, 0, 0, 1, 2, 3, 4]);
    }
}
