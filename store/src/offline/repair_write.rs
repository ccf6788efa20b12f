//! Doing a repair: first a copy of what changes, then the change, each on the disk before the
//! directory is given back.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use thrustmq_proto_compat::clock::Clock;
use thrustmq_proto_compat::local_time::LocalTime;
use thrustmq_proto_compat::message::record::{
    self, Checksum, EncodeError, NewMessage, Placement, RecordView,
};
use thrustmq_proto_compat::message::sys_flag;

use crate::disk::{Disk, DiskFile};
use crate::error::OpenError;
use crate::layout::Layout;

use super::repair::{Change, Repair};

/// Topic of the records that stand where lost messages were.
const FILLER_TOPIC: &str = "THRUSTMQ_LOST";
const FILLER_PROPERTIES: &str = "THRUSTMQ_REPAIR\u{1}damaged bytes were here\u{2}";
/// Longest filler; a larger place takes several.
const FILLER_BYTES_MAX: u64 = 1 << 20;
/// What is left for the last filler is at least so much, if there are several.
const FILLER_BYTES_MIN: u64 = 1 << 10;
/// Bytes of one read while copying.
const COPY_BYTES: usize = 1 << 20;

/// Whether a record stands where messages were lost: then no index entry before its end needs one.
pub(super) fn is_filler(view: &RecordView<'_>) -> bool {
    let kind = sys_flag::transaction_type(view.sys_flag);
    kind == sys_flag::TRANSACTION_ROLLBACK && FILLER_TOPIC.starts_with(view.topic)
}

/// Writes the changes of one repair.
#[derive(Debug)]
pub(super) struct Writer<'a> {
    layout: &'a Layout,
    disk: &'a Disk,
    /// Directory of what was changed.
    copy: PathBuf,
}

impl<'a> Writer<'a> {
    pub(super) fn new(layout: &'a Layout, clock: &Clock) -> Result<Self, OpenError> {
        let time = LocalTime::at(clock.now_ms()).digits();
        let copy = layout.root.join(format!("repair-{time}"));
        fs::create_dir(&copy).map_err(OpenError::io("create", &copy))?;
        Ok(Self {
            layout,
            disk: &layout.disk,
            copy,
        })
    }

    /// Copies and changes; returns where the copies are.
    pub(super) fn write(self, repair: &Repair) -> Result<PathBuf, OpenError> {
        let told = self.copy.join("repair.txt");
        fs::write(&told, text(repair)).map_err(OpenError::io("write", told))?;
        for change in &repair.changes {
            let path = change.path();
            self.save(change).map_err(OpenError::io("copy", path))?;
        }
        self.sync()?;
        for change in &repair.changes {
            let path = change.path();
            self.apply(change).map_err(OpenError::io("change", path))?;
        }
        self.sync()?;
        Ok(self.copy)
    }

    /// One flush of the file systems, for many small changes in many files.
    fn sync(&self) -> Result<(), OpenError> {
        for dir in [&self.layout.root, &self.layout.commit_log] {
            let synced = self.disk.sync_file_system(dir);
            synced.map_err(OpenError::io("flush", dir))?;
        }
        Ok(())
    }

    /// Copies the bytes that a change will overwrite.
    fn save(&self, change: &Change) -> io::Result<()> {
        let path = change.path();
        match change {
            Change::SetLength { bytes, .. } => self.copy_range(path, *bytes, u64::MAX),
            Change::Fill { at, bytes, .. } => self.copy_range(path, *at, at + bytes),
            Change::EndFile { at, .. } | Change::Cut { at, .. } => {
                self.copy_range(path, *at, u64::MAX)
            }
            Change::Entry { at, entry, .. } => self.copy_range(path, *at, at + entry.len() as u64),
            Change::MoveAway { .. } => Ok(()),
        }
    }

    fn apply(&self, change: &Change) -> io::Result<()> {
        let path = change.path();
        match change {
            Change::SetLength { bytes, .. } => self.disk.open(path)?.set_length(*bytes),
            Change::Fill {
                at,
                bytes,
                physical_offset,
                timestamp,
                ..
            } => {
                let placement = Placement {
                    queue_offset: 0,
                    physical_offset: *physical_offset,
                    store_timestamp: *timestamp,
                };
                fill(&self.disk.open(path)?, *at, *bytes, placement)
            }
            Change::EndFile { at, file_bytes, .. } => {
                let file = self.disk.create(path)?;
                file.set_length(*file_bytes)?;
                file.clear_from(*at)?;
                let left = u32::try_from(file_bytes.saturating_sub(*at)).unwrap_or(u32::MAX);
                file.write_all_at(&record::blank(left), *at)
            }
            Change::Cut { at, .. } => self.disk.open(path)?.clear_from(*at),
            Change::Entry { at, entry, .. } => self.disk.open(path)?.write_all_at(entry, *at),
            Change::MoveAway { .. } => self.move_away(path),
        }
    }

    /// The place of a file's copy: the same name, relative to the directory.
    fn copy_of(&self, path: &Path) -> io::Result<PathBuf> {
        let relative = match path.strip_prefix(&self.layout.root) {
            Ok(relative) => relative.to_owned(),
            Err(_) => Path::new("commitlog").join(path.file_name().unwrap_or_default()),
        };
        let copy = self.copy.join(relative);
        if let Some(dir) = copy.parent() {
            fs::create_dir_all(dir)?;
        }
        Ok(copy)
    }

    /// Copies a range to the same place in the copy, which has holes elsewhere.
    fn copy_range(&self, path: &Path, from: u64, to: u64) -> io::Result<()> {
        if !self.disk.exists(path)? {
            return Ok(());
        }
        let file = self.disk.open(path)?;
        let to = to.min(file.length()?);
        let copy = self.disk.create(&self.copy_of(path)?)?;
        copy.set_length(file.length()?.max(copy.length()?))?;
        let mut at = from;
        while at < to {
            let mut bytes = vec![0; (to - at).min(COPY_BYTES as u64) as usize];
            file.read_exact_at(&mut bytes, at)?;
            if bytes.iter().any(|byte| *byte != 0) {
                copy.write_all_at(&bytes, at)?;
            }
            at += bytes.len() as u64;
        }
        Ok(())
    }

    fn move_away(&self, path: &Path) -> io::Result<()> {
        let copy = self.copy_of(path)?;
        match fs::rename(path, &copy) {
            Err(error) if error.kind() == io::ErrorKind::CrossesDevices => {
                fs::copy(path, &copy)?;
                self.disk.remove(path)
            }
            moved => moved,
        }
    }
}

/// Covers a range of a log file with records that get no queue entry and no index entry, here and in
/// Java.
fn fill(file: &DiskFile, mut at: u64, bytes: u64, mut placement: Placement) -> io::Result<()> {
    let mut left = bytes;
    while left > 0 {
        let mut length = left.min(FILLER_BYTES_MAX);
        if left > length && left - length < FILLER_BYTES_MIN {
            length -= FILLER_BYTES_MIN;
        }
        let record = filler(length, placement)?;
        file.write_all_at(&record, at)?;
        at += length;
        left -= length;
        placement.physical_offset = placement.physical_offset.saturating_add_unsigned(length);
    }
    Ok(())
}

/// A record of exactly so many bytes: a rolled-back transaction.
fn filler(length: u64, placement: Placement) -> io::Result<Vec<u8>> {
    let invalid = |error| io::Error::new(io::ErrorKind::InvalidInput, error);
    let length = usize::try_from(length).unwrap_or(usize::MAX);
    let nowhere = std::net::SocketAddr::from(([0, 0, 0, 0], 0));
    let mut message = NewMessage {
        topic: FILLER_TOPIC,
        queue_id: 0,
        flag: 0,
        sys_flag: sys_flag::TRANSACTION_ROLLBACK,
        born_timestamp: placement.store_timestamp,
        born_host: nowhere,
        store_host: nowhere,
        reconsume_times: 0,
        prepared_transaction_offset: 0,
        body: &[],
        properties: FILLER_PROPERTIES,
    };
    // The shortest records have room for less.
    let mut checksum = Checksum::Append;
    let mut around = length_of(&message, checksum).map_err(invalid)?;
    if around > length {
        message.properties = "";
        checksum = Checksum::Omit;
        around = length_of(&message, checksum).map_err(invalid)?;
    }
    let excess = around.saturating_sub(length);
    let kept = FILLER_TOPIC.len().saturating_sub(excess);
    message.topic = FILLER_TOPIC.get(..kept).unwrap_or_default();
    let body = vec![0; length.saturating_sub(around)];
    message.body = &body;
    let mut record = Vec::with_capacity(length);
    record::encode(&message, checksum, &mut record).map_err(invalid)?;
    record::patch(&mut record, placement);
    Ok(record)
}

fn length_of(message: &NewMessage<'_>, checksum: Checksum) -> Result<usize, EncodeError> {
    record::encode(message, checksum, &mut Vec::new())
}

/// What was done, for whoever finds the copies.
fn text(repair: &Repair) -> String {
    let mut lines = vec!["Of everything below the bytes before are in this directory.".to_owned()];
    lines.extend(repair.changes.iter().map(ToString::to_string));
    lines.push(format!("{} bytes of the log are lost", repair.lost_bytes));
    lines.extend(repair.lost.iter().map(|lost| {
        let super::LostMessages {
            topic,
            queue_id,
            messages,
            first,
            last,
        } = lost;
        format!(
            "lost: {messages} messages of {topic} queue {queue_id}, from number {first} to {last}"
        )
    }));
    lines.push(String::new());
    lines.join("\n")
}

#[cfg(test)]
mod tests {
    use thrustmq_proto_compat::message::record::CheckBody;

    use super::*;

    #[test]
    fn fillers_of_every_length_are_sound_and_hidden() {
        let placement = Placement {
            queue_offset: 0,
            physical_offset: 4711,
            store_timestamp: 99,
        };
        for length in (92..400).chain([1 << 20]) {
            let bytes = filler(length, placement).unwrap();
            let view = record::check(&bytes, CheckBody::Crc).unwrap();
            assert_eq!(
                (view.record_bytes as u64, view.physical_offset),
                (length, 4711)
            );
            assert_eq!(view.store_timestamp, 99);
            assert!(is_filler(&view) && !sys_flag::has_queue_entry(view.sys_flag));
            assert!(!view.ends_in_zeros());
        }
    }
}
