//! What a mapped file takes of the disk and how much of it is in use: what has to be known beside the
//! file to map it. No unsafe code here.
#![deny(unsafe_code)]

/// Which blocks of the disk a file takes, so that a full disk is an error and not a fault when the
/// map is written to; and by which way it is appended to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// All of them, when it is made or first appended to.
    Reserved,
    /// As `Reserved`, and it is appended to by writing the file, which its map shows at once. A page
    /// that is written so costs a flush less than one that a map's fault has to make writable again
    /// each time (decision 0014): for a log that is flushed all the time.
    Written,
    /// Those that are about to be written, and some ahead.
    Sparse,
}

impl Place {
    /// Whether it takes all blocks at once.
    pub(crate) fn is_whole(self) -> bool {
        matches!(self, Self::Reserved | Self::Written)
    }
}

/// How much of an append-only file is in use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Used {
    /// Bytes that are there for good.
    pub(crate) written: usize,
    /// Bytes that are known to have their blocks.
    pub(crate) reserved: usize,
}

impl Used {
    /// So many bytes are written, and of others nothing is known.
    pub(crate) fn written(written: usize) -> Self {
        let reserved = written;
        Self { written, reserved }
    }
}
