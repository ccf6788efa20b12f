//! Cutting the log off behind its last sound record.

use crate::error::OpenError;
use crate::file_queue::QueueFile;

use super::{Recovery, cannot_map};

/// Behind so many zeros nothing more is looked for: the rest of the file was never written.
const ZEROS_MAX: usize = 4 << 20;

impl Recovery<'_> {
    /// Makes the log end where its last sound record does, for good. Returns how many bytes behind
    /// it are gone.
    pub(super) fn cut_log(&self, from: i64, end: i64) -> Result<i64, OpenError> {
        let files = &self.log.files;
        let Some(first) = files.first() else {
            return Ok(0);
        };
        // Whoever closed cleanly, with offsets, left nothing behind the end.
        let is_clear = !self.aborted && self.checkpoint.offsets.is_some();
        let mut cut_bytes = 0;
        if !is_clear {
            for file in files.all().iter().filter(|file| file.end() > end) {
                cut_bytes += bytes_behind(file, end)?;
            }
        }
        // The first file stays, even if empty: it holds the offset at which the log goes on.
        let removed = files.remove_from(end.max(first.start + 1));
        removed.map_err(OpenError::io("remove log files of", &self.options.root))?;
        let Some(last) = files.last() else {
            return Ok(cut_bytes);
        };
        let written = (end - last.start) as usize;
        if !is_clear {
            let cleared = last.clear_rest(written);
            cleared.map_err(OpenError::io("clear the end of", last.path()))?;
        }
        last.restore(written);
        // What is on the disk need not be written, even if it was read.
        let from = from.max(self.on_disk());
        let flushed = if self.aborted {
            files.flush_inherited(from, end)
        } else {
            files.flush(from, end)
        };
        flushed.map_err(OpenError::io("flush log files of", &self.options.root))?;
        Ok(cut_bytes)
    }
}

/// Bytes of a file behind an offset, but for the zeros at its end.
fn bytes_behind(file: &QueueFile, offset: i64) -> Result<i64, OpenError> {
    let from = (offset.clamp(file.start, file.end()) - file.start) as usize;
    let map = file.map_for_recovery().map_err(cannot_map(file))?;
    let rest = map.slice(from, map.written() - from).unwrap_or_default();
    let mut last = 0;
    for (number, byte) in rest.iter().enumerate() {
        if *byte != 0 {
            last = number + 1;
        } else if number - last >= ZEROS_MAX {
            break;
        }
    }
    Ok(last as i64)
}
