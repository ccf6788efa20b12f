//! How large a disk is, and how much of it is free.

use std::path::Path;

/// Space of a disk, bytes.
pub(super) struct DiskSpace {
    pub(super) total_bytes: i64,
    pub(super) free_bytes: i64,
}

/// The disk of a directory; `None` if the system does not say.
pub(super) fn of(dir: &Path) -> Option<DiskSpace> {
    let disk = rustix::fs::statvfs(dir).ok()?;
    let bytes = |blocks: u64| i64::try_from(blocks.saturating_mul(disk.f_frsize)).ok();
    Some(DiskSpace {
        total_bytes: bytes(disk.f_blocks)?,
        free_bytes: bytes(disk.f_bfree)?,
    })
}

#[cfg(test)]
mod tests {
    #[test]
    fn no_disk_has_more_free_space_than_space() {
        let space = super::of(&std::env::temp_dir()).unwrap();
        assert!(space.total_bytes > 0 && space.free_bytes <= space.total_bytes);
        assert!(super::of("/no/such/directory".as_ref()).is_none());
    }
}
