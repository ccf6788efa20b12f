//! Deleting old files: the thread `store-retention`.
//!
//! A log file goes when its youngest message has expired and the hour has come, or sooner when the
//! disk fills up. Queues and index follow the log. Only what is flushed and dispatched goes, and
//! never the last file.

use std::io;
use std::sync::PoisonError;
use std::time::Duration;

use thrustmq_proto_compat::local_time::LocalTime;

use crate::error::ReadError;
use crate::options::StoreOptions;
use crate::shared::Shared;

const HOUR_MS: i64 = 3_600_000;

/// What may be deleted at the moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Expiry {
    /// Nothing: it is not the hour, and there is room.
    Nothing,
    /// Files whose messages have all expired.
    Expired,
    /// The oldest files, expired or not: the disk is about to be full.
    Oldest,
}

/// The thread `store-retention`.
pub(crate) fn run(shared: &Shared) {
    let interval = Duration::from_millis(shared.options.clean_interval_ms.max(1));
    loop {
        shared.wake_retention.wait(interval, || false);
        if shared.wake_retention.is_stopping() {
            return;
        }
        let used_percent = watch_disk(shared);
        let hour = LocalTime::at(shared.clock.now_ms()).hour();
        let expiry = decide(&shared.options, used_percent, hour);
        if let Err(error) = delete(shared, expiry) {
            tracing::error!(%error, "cannot delete expired files");
        }
    }
}

/// Deletes what has expired, whatever the hour; returns how many log files went.
pub(crate) fn delete_expired(shared: &Shared) -> io::Result<usize> {
    delete(shared, Expiry::Expired)
}

/// Removes queue and index files that point before the log only.
pub(crate) fn follow_log(shared: &Shared) -> io::Result<()> {
    let min = shared.progress.min();
    for queue in shared.queues.all() {
        queue.drop_before(min)?;
    }
    if let Some(index) = &shared.index {
        index.remove_before(min)?;
    }
    Ok(())
}

/// Refuses appends while the disk is too full; returns how full it is, percent.
fn watch_disk(shared: &Shared) -> u32 {
    let used_percent = shared.layout.disk.used_percent(&shared.layout.commit_log);
    let too_full = used_percent > shared.options.disk_warning_percent;
    if shared
        .health
        .disk_full(if too_full { used_percent } else { 0 })
    {
        if too_full {
            tracing::error!(
                used_percent,
                "disk is too full: the store takes no messages"
            );
        } else {
            tracing::info!(used_percent, "disk has room again");
        }
    }
    used_percent
}

fn decide(options: &StoreOptions, used_percent: u32, hour: u32) -> Expiry {
    if used_percent > options.disk_clean_forcibly_percent {
        Expiry::Oldest
    } else if used_percent > options.disk_max_used_percent
        || options.delete_at_hours.contains(&hour)
    {
        Expiry::Expired
    } else {
        Expiry::Nothing
    }
}

fn delete(shared: &Shared, expiry: Expiry) -> io::Result<usize> {
    let _one_at_a_time = shared
        .retention
        .lock()
        .unwrap_or_else(PoisonError::into_inner);
    let min = new_min(shared, expiry)?;
    // Readers first: nobody looks for what is about to go.
    shared.progress.advance_min(min);
    // Also what could not be removed the last time.
    let deleted = shared.log.files.remove_before(min, usize::MAX)?;
    if deleted == 0 {
        return Ok(0);
    }
    follow_log(shared)?;
    tracing::info!(deleted, min, ?expiry, "old log files deleted");
    Ok(deleted)
}

/// Where the log begins once all that may go is gone.
fn new_min(shared: &Shared, expiry: Expiry) -> Result<i64, ReadError> {
    let deletable_end = shared.progress.flushed().min(shared.progress.dispatched());
    let kept_ms = i64::from(shared.options.reserved_hours) * HOUR_MS;
    let expired_until_ms = shared.clock.now_ms() - kept_ms;
    let files = shared.log.files.all();
    let successors = files.iter().skip(1);
    let mut min = shared.progress.min();
    for (file, next) in files
        .iter()
        .zip(successors)
        .take(shared.options.delete_files_max)
    {
        // The youngest message of a file is about as old as the first of the next.
        let finished_ms = shared.log.store_time(next.start)?;
        let expired = match expiry {
            Expiry::Nothing => false,
            Expiry::Expired => {
                finished_ms.is_some_and(|finished_ms| finished_ms <= expired_until_ms)
            }
            Expiry::Oldest => true,
        };
        if !expired || file.end() > deletable_end {
            break;
        }
        min = file.end();
    }
    Ok(min)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_disk_overrides_the_hour() {
        let options = StoreOptions::default();
        assert_eq!(decide(&options, 50, 3), Expiry::Nothing);
        assert_eq!(decide(&options, 50, 4), Expiry::Expired);
        assert_eq!(decide(&options, 76, 3), Expiry::Expired);
        assert_eq!(decide(&options, 86, 3), Expiry::Oldest);
    }
}
