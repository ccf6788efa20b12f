//! The index beside the log: both are in one order, so they are read side by side.

use thrustmq_proto_compat::message::record::RecordView;

use crate::error::OpenError;
use crate::index::scan::{IndexOnDisk, ScannedEntry};
use crate::index::{Keys, file::IndexSize};
use crate::layout::{Layout, names_in};

use super::finding::{FindingKind, Findings};

/// The index files of a directory, oldest first.
#[derive(Debug)]
pub(super) struct IndexFiles {
    pub(super) files: Vec<IndexOnDisk>,
}

impl IndexFiles {
    /// Files of another length than they should have are told and left out.
    pub(super) fn open(
        layout: &Layout,
        size: IndexSize,
        findings: &mut Findings,
    ) -> Result<Self, OpenError> {
        let mut files = Vec::new();
        for name in names_in(&layout.disk, &layout.index)? {
            let path = layout.index.join(name);
            let file = IndexOnDisk::open(&path, size).map_err(OpenError::io("read", &path))?;
            if file.fits() {
                files.push(file);
                continue;
            }
            findings.add(FindingKind::MisfitFile, &path, 0, &|| {
                let (length, expected) = (file.length, size.file_bytes());
                let entries = file.header.next_entry - 1;
                format!("index file of {length} bytes with {entries} entries, expected are {expected} bytes and less than {} entries", size.entries)
            });
        }
        Ok(Self { files })
    }

    /// How many entries there are.
    pub(super) fn entries(&self) -> u64 {
        let entries = self
            .files
            .iter()
            .map(|file| u64::from(file.header.next_entry - 1));
        entries.sum()
    }

    /// Physical offset of the last message indexed.
    pub(super) fn end_offset(&self) -> Option<i64> {
        let used = self.files.iter().filter(|file| file.header.next_entry > 1);
        used.map(|file| file.header.end_offset).max()
    }

    /// Physical offset of the first message indexed.
    fn begin_offset(&self) -> Option<i64> {
        let mut used = self.files.iter().filter(|file| file.header.next_entry > 1);
        used.next().map(|file| file.header.begin_offset)
    }

    pub(super) fn check_chains(&self, findings: &mut Findings) -> Result<(), OpenError> {
        for file in &self.files {
            let checked = file.check_chains(&mut |broken| {
                findings.add(FindingKind::IndexChain, &file.path, broken.at, &|| {
                    let (found, expected) = (broken.found, broken.expected);
                    format!("leads to entry {found}, should lead to {expected}")
                });
            });
            checked.map_err(OpenError::io("read", &file.path))?;
        }
        Ok(())
    }
}

/// Goes along the index while its caller goes along a log file.
#[derive(Debug)]
pub(super) struct IndexChecker<'a> {
    index: &'a IndexFiles,
    file: usize,
    number: u32,
    block: std::vec::IntoIter<ScannedEntry>,
    /// Entries for this offset and behind it have to be there.
    complete_from: i64,
    /// And up to this one.
    complete_to: i64,
    /// Entries before it belong to what was replaced by filler.
    tolerated_until: i64,
    pub(super) findings: Findings,
}

impl<'a> IndexChecker<'a> {
    pub(super) fn new(index: &'a IndexFiles) -> Self {
        Self {
            index,
            file: 0,
            number: 1,
            block: Vec::new().into_iter(),
            // Of the very first message some entries may have gone with the file before.
            complete_from: index
                .begin_offset()
                .map_or(i64::MAX, |begin| begin.saturating_add(1)),
            complete_to: index.end_offset().unwrap_or(-1),
            tolerated_until: -1,
            findings: Findings::default(),
        }
    }

    /// Goes to the first entry of a message at an offset or behind it.
    pub(super) fn seek(&mut self, physical_offset: i64) -> Result<(), OpenError> {
        let files = &self.index.files;
        self.file = files.partition_point(|file| file.header.end_offset < physical_offset);
        self.number = match files.get(self.file) {
            Some(file) => file
                .first_from(physical_offset)
                .map_err(OpenError::io("read", &file.path))?,
            None => 1,
        };
        self.block = Vec::new().into_iter();
        Ok(())
    }

    /// Compares the entries of one record. `required`: whether its keys have to be there.
    pub(super) fn check(
        &mut self,
        view: &RecordView<'_>,
        keys: Option<&Keys<'_>>,
        required: bool,
    ) -> Result<(), OpenError> {
        self.pass(view.physical_offset)?;
        let mut wanted: Vec<u32> = keys.map_or_else(Vec::new, |keys| keys.hashes().collect());
        let known = wanted.clone();
        while let Some(entry) = self.peek()? {
            if entry.physical_offset != view.physical_offset {
                break;
            }
            if !known.contains(&entry.key_hash) {
                self.tell_entry("of none of its keys");
            }
            wanted.retain(|hash| *hash != entry.key_hash);
            self.advance();
        }
        let complete = self.complete_from..=self.complete_to;
        if required && !wanted.is_empty() && complete.contains(&view.physical_offset) {
            self.tell_missing(view, wanted.len());
        }
        Ok(())
    }

    /// Goes on to an offset: entries before it have no record.
    pub(super) fn pass(&mut self, physical_offset: i64) -> Result<(), OpenError> {
        while let Some(entry) = self.peek()? {
            if entry.physical_offset >= physical_offset {
                break;
            }
            if entry.physical_offset >= self.tolerated_until {
                self.tell_entry("where no record is");
            }
            self.advance();
        }
        Ok(())
    }

    /// Entries before an offset stand for messages that a repair gave up.
    pub(super) fn tolerate_until(&mut self, physical_offset: i64) {
        self.tolerated_until = physical_offset;
    }

    fn peek(&mut self) -> Result<Option<ScannedEntry>, OpenError> {
        loop {
            if let Some(entry) = self.block.as_slice().first() {
                return Ok(Some(*entry));
            }
            let Some(file) = self.index.files.get(self.file) else {
                return Ok(None);
            };
            let entries = file.entries(self.number);
            self.block = entries
                .map_err(OpenError::io("read", &file.path))?
                .into_iter();
            if self.block.as_slice().is_empty() {
                self.file += 1;
                self.number = 1;
            }
        }
    }

    fn advance(&mut self) {
        self.block.next();
        self.number += 1;
    }

    fn tell_entry(&mut self, what: &str) {
        let Some(file) = self.index.files.get(self.file) else {
            return;
        };
        let entry = self.block.as_slice().first();
        let offset = entry.map_or(0, |entry| entry.physical_offset);
        let (number, at) = (self.number, file.entry_at(self.number));
        self.findings
            .add(FindingKind::IndexEntry, &file.path, at, &|| {
                format!("entry {number} is for offset {offset} of the log, {what}")
            });
    }

    fn tell_missing(&mut self, view: &RecordView<'_>, keys: usize) {
        let files = &self.index.files;
        let Some(file) = files.get(self.file).or(files.last()) else {
            return;
        };
        let at = file.entry_at(self.number);
        self.findings.add(FindingKind::MissingIndexEntry, &file.path, at, &|| {
            let (topic, offset) = (view.topic, view.physical_offset);
            format!("{keys} keys of the record at offset {offset} of the log, topic {topic}, are missing")
        });
    }
}
