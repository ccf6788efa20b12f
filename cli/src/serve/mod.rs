//! The server processes: start, say what runs where, wait for a signal, stop in order.

mod banner;
pub(crate) mod broker;
pub(crate) mod namesrv;
pub(crate) mod standalone;

use std::path::{Path, PathBuf};

use anyhow::Context;

/// The directory as an absolute path, made if it is not there.
fn usable_directory(directory: &Path) -> anyhow::Result<PathBuf> {
    let shown = directory.display();
    std::fs::create_dir_all(directory)
        .with_context(|| format!("data directory {shown} cannot be made"))?;
    let absolute = std::fs::canonicalize(directory);
    absolute.with_context(|| format!("data directory {shown} cannot be used"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_directory_that_cannot_be_made_is_named() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("file");
        std::fs::write(&file, "x").unwrap();
        let error = usable_directory(&file.join("data")).unwrap_err();
        assert!(
            format!("{error:#}").contains("file/data cannot be made"),
            "{error:#}"
        );
        let made = usable_directory(&directory.path().join("a/b")).unwrap();
        assert!(made.is_dir());
    }
}
