//! Deleting old files, and refusing messages while the disk is too full: the thread `store-retention`.
//!
//! A log file goes when its youngest message has expired and the hour has come, or sooner when the
//! disk fills up. Queues and index follow the log. Only what is flushed and dispatched goes, and
//! never the last file. A file that a reader holds stays until it is let go; only when the disk is
//! about to be full does it lose its name sooner (what the reader holds stays readable even then).

use std::io;
use std::time::Duration;

use thrustmq_proto_compat::local_time::LocalTime;

use crate::error::{DiskFull, DiskPlace, ReadError};
use crate::file_queue::QueueFile;
use crate::mapped_file::{MAPS_MAX, maps};
use crate::options::RetentionOptions;
use crate::retention_state::{HeldFile, Pass};
use crate::shared::Shared;

const HOUR_MS: i64 = 3_600_000;
/// Passes of a deletion that somebody asked for; Java makes as many.
const ASKED_PASSES_MAX: usize = 20;

/// What may be deleted at the moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Expiry {
    /// Nothing: it is not the hour, and there is room.
    Nothing,
    /// Files whose messages have all expired.
    Expired,
    /// The oldest files, expired or not, until there is room: the disk is about to be full.
    Oldest,
}

/// How full the fuller of the two disks is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct DiskUse {
    used_percent: u32,
    place: DiskPlace,
}

/// The thread `store-retention`. It watches the disk from the start, and deletes from the first full
/// interval on that lies behind `clean_delay_ms`.
pub(crate) fn run(shared: &Shared) {
    let interval = Duration::from_millis(shared.options.clean_interval_ms.max(1));
    let mut delay = Duration::from_millis(shared.options.clean_delay_ms);
    loop {
        let disk = watch_disk(shared);
        shared.wake_retention.wait(interval, || false);
        if shared.wake_retention.is_stopping() {
            return;
        }
        delay = delay.saturating_sub(interval);
        if delay.is_zero() {
            clean(shared, disk);
        }
    }
}

fn clean(shared: &Shared, disk: DiskUse) {
    let options = shared.retention.options();
    let hour = LocalTime::at(shared.clock.now_ms()).hour();
    let expiry = decide(&options, disk.used_percent, hour);
    log_forcing(shared, expiry, disk);
    let pause = Duration::from_millis(options.delete_pause_ms);
    let deleted = delete(shared, &options, expiry, || {
        // Nobody notifies this thread but to end it.
        shared.wake_retention.wait(pause, || false);
        !shared.wake_retention.is_stopping()
    });
    if let Err(error) = deleted {
        tracing::error!(%error, "cannot delete expired files");
    }
}

/// Deletes what has expired, whatever the hour; returns how many log files went.
pub(crate) fn delete_expired(shared: &Shared) -> io::Result<usize> {
    let options = shared.retention.options();
    let mut deleted = 0;
    for _ in 0..ASKED_PASSES_MAX {
        let of_pass = delete(shared, &options, Expiry::Expired, || true)?;
        deleted += of_pass;
        if of_pass < options.delete_files_max {
            break;
        }
    }
    Ok(deleted)
}

/// Removes queue and index files that point before the log only.
pub(crate) fn follow_log(shared: &Shared) -> io::Result<()> {
    let min = shared.progress.min();
    for queue in shared.queues.all() {
        queue.drop_before(min)?;
        if maps() > MAPS_MAX {
            queue.unmap_free();
        }
    }
    if let Some(index) = &shared.index {
        index.remove_before(min)?;
    }
    Ok(())
}

/// Refuses appends while a disk is too full.
fn watch_disk(shared: &Shared) -> DiskUse {
    let disk = disk_use(shared);
    let limit_percent = shared.retention.options().disk_warning_percent;
    let full = (disk.used_percent > limit_percent).then_some(DiskFull {
        used_percent: disk.used_percent,
        limit_percent,
        place: disk.place,
    });
    if shared.health.disk_full(full) {
        let DiskUse {
            used_percent,
            place,
        } = disk;
        if full.is_some() {
            tracing::error!(%place, used_percent, limit_percent, "disk is too full: the store takes no messages");
        } else {
            tracing::info!(%place, used_percent, limit_percent, "disk has room again");
        }
    }
    disk
}

/// Queues may lie on another disk than the log: the fuller one counts.
fn disk_use(shared: &Shared) -> DiskUse {
    let layout = &shared.layout;
    let log = DiskUse {
        used_percent: layout.disk.used_percent(&layout.commit_log),
        place: DiskPlace::CommitLog,
    };
    let queues = DiskUse {
        used_percent: layout.disk.used_percent(&layout.consume_queue),
        place: DiskPlace::ConsumeQueues,
    };
    if queues.used_percent > log.used_percent {
        queues
    } else {
        log
    }
}

fn decide(options: &RetentionOptions, used_percent: u32, hour: u32) -> Expiry {
    if options.clean_forcibly && used_percent > options.disk_clean_forcibly_percent {
        Expiry::Oldest
    } else if used_percent > options.disk_max_used_percent
        || options.delete_at_hours.contains(&hour)
    {
        Expiry::Expired
    } else {
        Expiry::Nothing
    }
}

/// One line when it begins, however long it lasts.
fn log_forcing(shared: &Shared, expiry: Expiry, disk: DiskUse) {
    let is_forced = expiry == Expiry::Oldest;
    let was_forced = std::mem::replace(&mut shared.retention.pass().is_forced, is_forced);
    if is_forced && !was_forced {
        let DiskUse {
            used_percent,
            place,
        } = disk;
        tracing::warn!(%place, used_percent, "disk is almost full: the oldest log files go though they have not expired");
    }
}

/// One pass: file by file from the oldest on, as long as `goes_on`, which is asked between two files.
fn delete(
    shared: &Shared,
    options: &RetentionOptions,
    expiry: Expiry,
    goes_on: impl Fn() -> bool,
) -> io::Result<usize> {
    let mut pass = shared.retention.pass();
    let mut deleted = 0;
    while deleted < options.delete_files_max {
        let Some(end) = next_to_delete(shared, options, expiry, &mut pass)? else {
            break;
        };
        if deleted > 0 && !goes_on() {
            break;
        }
        // Readers first: nobody looks for what is about to go.
        shared.progress.advance_min(end);
        let removed = shared.log.files.remove_before(end, 1)?;
        if removed == 0 {
            break;
        }
        deleted += removed;
        let has_room = disk_use(shared).used_percent <= options.disk_clean_forcibly_percent;
        if expiry == Expiry::Oldest && has_room {
            break;
        }
    }
    let min = shared.progress.min();
    if min > pass.followed {
        follow_log(shared)?;
        pass.followed = min;
    }
    if deleted > 0 {
        tracing::info!(deleted, min, ?expiry, "old log files deleted");
    }
    Ok(deleted)
}

/// Where the oldest file ends, if it may go.
fn next_to_delete(
    shared: &Shared,
    options: &RetentionOptions,
    expiry: Expiry,
    pass: &mut Pass,
) -> Result<Option<i64>, ReadError> {
    let files = shared.log.files.all();
    let [file, next, ..] = &files[..] else {
        return Ok(None);
    };
    let end = file.end();
    if end <= shared.progress.min() {
        // It should be gone already: removing it failed.
        return Ok(Some(end));
    }
    let may_go = match expiry {
        Expiry::Nothing => false,
        Expiry::Expired => has_expired(shared, options, next.start)?,
        Expiry::Oldest => true,
    };
    let deletable_end = shared.progress.flushed().min(shared.progress.dispatched());
    if !may_go || end > deletable_end {
        return Ok(None);
    }
    if file.is_held() && !outwaited(shared, options, expiry, pass, file) {
        return Ok(None);
    }
    Ok(Some(end))
}

/// The youngest message of a file is about as old as the first of the next.
fn has_expired(
    shared: &Shared,
    options: &RetentionOptions,
    next_start: i64,
) -> Result<bool, ReadError> {
    let kept_ms = i64::from(options.reserved_hours).saturating_mul(HOUR_MS);
    let expired_until_ms = shared.clock.now_ms().saturating_sub(kept_ms);
    let finished_ms = shared.log.store_time(next_start)?;
    Ok(finished_ms.is_some_and(|finished_ms| finished_ms <= expired_until_ms))
}

/// Whether a held file has been waited for long enough. With room on the disk it never has.
fn outwaited(
    shared: &Shared,
    options: &RetentionOptions,
    expiry: Expiry,
    pass: &mut Pass,
    file: &QueueFile,
) -> bool {
    let now_ms = shared.clock.now_ms();
    let held = match pass.held {
        Some(held) if held.start == file.start => held,
        Some(_) | None => {
            tracing::info!(file = %file.path().display(), "log file stays as long as a reader holds it");
            HeldFile {
                start: file.start,
                since_ms: now_ms,
            }
        }
    };
    pass.held = Some(held);
    expiry == Expiry::Oldest && now_ms.saturating_sub(held.since_ms) >= options.held_ms_max
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_disk_overrides_the_hour() {
        let options = RetentionOptions::default();
        assert_eq!(decide(&options, 50, 3), Expiry::Nothing);
        assert_eq!(decide(&options, 50, 4), Expiry::Expired);
        assert_eq!(decide(&options, 75, 3), Expiry::Nothing);
        assert_eq!(decide(&options, 76, 3), Expiry::Expired);
        assert_eq!(decide(&options, 85, 3), Expiry::Expired);
        assert_eq!(decide(&options, 86, 3), Expiry::Oldest);
        let gentle = RetentionOptions {
            clean_forcibly: false,
            ..options
        };
        assert_eq!(decide(&gentle, 99, 3), Expiry::Expired);
    }
}
