//! What a mapped file takes of the disk and how much of it is in use: what has to be known beside the
//! file to map it. No unsafe code here.
#![deny(unsafe_code)]

/// Which blocks of the disk a file takes, so that a full disk is an error and not a fault when the
/// map is written to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Place {
    /// All of them, when it is made or first appended to.
    Reserved,
    /// Those that are about to be written, and some ahead.
    Sparse,
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
