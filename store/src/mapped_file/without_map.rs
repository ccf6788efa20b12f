//! Stands in for `memmap2` under Miri, which knows no maps: memory that is read from the file when it
//! is made, and written back when it is flushed.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::sync::atomic::{AtomicU32, Ordering};

const CELL_BYTES: usize = size_of::<AtomicU32>();

#[derive(Debug, Clone, Copy)]
pub(super) enum Advice {
    Random,
    WillNeed,
    PopulateWrite,
}

#[derive(Debug)]
pub(super) struct MmapRaw {
    file: File,
    /// Atomics, since they may be written through a shared reference.
    cells: Box<[AtomicU32]>,
    bytes: usize,
}

impl MmapRaw {
    pub(super) fn map_raw(file: &File) -> io::Result<Self> {
        let bytes = usize::try_from(file.metadata()?.len()).map_err(io::Error::other)?;
        let mut content = vec![0; bytes.next_multiple_of(CELL_BYTES)];
        file.read_exact_at(content.get_mut(..bytes).unwrap_or_default(), 0)?;
        let (cells, _) = content.as_chunks();
        Ok(Self {
            file: file.try_clone()?,
            cells: cells
                .iter()
                .map(|cell| AtomicU32::new(u32::from_ne_bytes(*cell)))
                .collect(),
            bytes,
        })
    }

    pub(super) fn advise(&self, _advice: Advice) -> io::Result<()> {
        Ok(())
    }

    pub(super) fn advise_range(&self, _: Advice, _from: usize, _length: usize) -> io::Result<()> {
        Ok(())
    }

    pub(super) fn len(&self) -> usize {
        self.bytes
    }

    pub(super) fn as_ptr(&self) -> *const u8 {
        self.cells.as_ptr().cast()
    }

    pub(super) fn as_mut_ptr(&self) -> *mut u8 {
        self.as_ptr().cast_mut()
    }

    /// Writes whole cells, as the kernel writes whole pages.
    pub(super) fn flush_range(&self, from: usize, length: usize) -> io::Result<()> {
        let to = (from + length).div_ceil(CELL_BYTES);
        for number in from / CELL_BYTES..to.min(self.cells.len()) {
            let at = number * CELL_BYTES;
            let bytes = self.cells[number].load(Ordering::Relaxed).to_ne_bytes();
            let inside = bytes.len().min(self.bytes - at);
            self.file.write_all_at(&bytes[..inside], at as u64)?;
        }
        self.file.sync_data()
    }
}

impl Drop for MmapRaw {
    fn drop(&mut self) {
        // What was written to a map is in the file, flushed or not.
        self.flush_range(0, self.bytes)
            .expect("the file was read before");
    }
}
