//! Replaces a file so that a crash leaves the old or the new one, never half of either. Used by
//! [`crate::config`] and [`crate::kv_config`].

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

/// `path` with a suffix added to its name.
pub(crate) fn beside(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    PathBuf::from(name)
}

/// Writes `content` to `path` through a temporary file, syncs it, and keeps what was there as `.bak`, as
/// Java does.
pub(crate) fn replace(path: &Path, content: &[u8]) -> io::Result<()> {
    let parent = path.parent().filter(|p| !p.as_os_str().is_empty());
    let directory = parent.unwrap_or(Path::new("."));
    fs::create_dir_all(directory)?;
    let temporary = beside(path, ".tmp");
    let mut file = File::create(&temporary)?;
    file.write_all(content)?;
    file.sync_all()?;
    if path.exists() {
        fs::copy(path, beside(path, ".bak"))?;
    }
    fs::rename(&temporary, path)?;
    File::open(directory)?.sync_all()
}
