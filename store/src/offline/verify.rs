//! Everything in a directory checked: each record, each queue entry beside its record, each index
//! entry beside its record's keys. The log is read once, by two threads, a file at a time.

use std::io;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use thrustmq_proto_compat::message::record::{CheckBody, RecordView};

use crate::error::OpenError;
use crate::layout::Layout;
use crate::record_properties::{KnownProperties, keys_of};

use super::block::OnRead;
use super::directory::{DirectoryOptions, OffsetFile, SharedLock, offset_files, usual_length};
use super::entry_check::{LogOfEntries, QueuesChecked};
use super::finding::{FindingKind, Findings};
use super::index_check::{IndexChecker, IndexFiles};
use super::log_check::{LogCheck, WalkedFile};
use super::log_walk::{Ending, FileWalk, LogFileReader};
use super::queue_check::{QueueChecker, Standing};
use super::queue_facts::QueueFacts;
use super::repair_write::is_filler;

/// Threads that read the log: one computes checksums while the other waits for the disk.
const THREADS: usize = 2;

/// What a check found.
#[derive(Debug, Clone, Default)]
pub struct Verification {
    /// First byte of the log.
    pub log_start: i64,
    /// End of the log.
    pub log_end: i64,
    /// Files of the log.
    pub log_files: usize,
    /// Sound records.
    pub records: u64,
    /// Consume queues.
    pub queues: usize,
    /// Entries of consume queues.
    pub queue_entries: u64,
    /// Entries of the index.
    pub index_entries: u64,
    /// What is wrong.
    pub findings: Findings,
    /// What is worth knowing, though nothing is wrong.
    pub notes: Vec<String>,
}

/// Bytes that [`verify`] is going to tell of.
///
/// # Errors
/// There is no store in the directory.
pub fn bytes_to_verify(options: &DirectoryOptions) -> Result<u64, OpenError> {
    let layout = options.layout()?;
    let files = offset_files(&layout.commit_log)?;
    Ok(files.iter().map(|file| file.length).sum())
}

/// Checks everything in a directory on which no store runs. `on_read` is told, from several
/// threads, how many bytes of the log were done since it was told last.
///
/// # Errors
/// There is no store in the directory, one runs on it, or a file cannot be read.
pub fn verify(options: &DirectoryOptions, on_read: OnRead<'_>) -> Result<Verification, OpenError> {
    let layout = options.layout()?;
    let _lock = SharedLock::take(&layout)?;
    Ok(check(options, &layout, on_read)?.verification)
}

/// All that was found, in the form that a repair needs.
#[derive(Debug)]
pub(super) struct Checked {
    pub(super) log: LogCheck,
    pub(super) facts: QueueFacts,
    pub(super) verification: Verification,
}

/// Checks everything; the caller keeps stores off the directory.
pub(super) fn check(
    options: &DirectoryOptions,
    layout: &Layout,
    on_read: OnRead<'_>,
) -> Result<Checked, OpenError> {
    let mut findings = Findings::default();
    let files = offset_files(&layout.commit_log)?;
    let log_start = files.first().map_or(0, |file| file.start);
    let facts = QueueFacts::of(layout, log_start)?;
    let index = IndexFiles::open(layout, options.index_size(), &mut findings)?;
    index.check_chains(&mut findings)?;
    let walk = LogWalk {
        files: &files,
        facts: &facts,
        index: &index,
        on_read,
        next: AtomicUsize::new(0),
    };
    let walked = walk.run()?;
    let log = LogCheck::new(walked.files);
    log.tell(&mut findings);
    let places = LogOfEntries {
        files: &files,
        end: log.end,
    };
    let queues = walked.queues.finish(&places, &layout.consume_queue)?;
    findings.merge(walked.index_findings);
    tell_tail(&log, &facts, &mut findings);
    let notes = notes(&log, &queues, &index, facts.aborted);
    findings.merge(queues.findings);
    let verification = Verification {
        log_start,
        log_end: log.end,
        log_files: files.len(),
        records: log.records,
        queues: facts.queues.values().map(|queues| queues.len()).sum(),
        queue_entries: queues.entries,
        index_entries: index.entries(),
        findings,
        notes,
    };
    Ok(Checked {
        log,
        facts,
        verification,
    })
}

/// The end is damaged if queues or the checkpoint know of more.
fn tell_tail(log: &LogCheck, facts: &QueueFacts, findings: &mut Findings) {
    let known = facts.queues_end.max(facts.on_disk);
    let Some((file, at)) = log.place_of(log.end).filter(|_| known > log.end) else {
        return;
    };
    findings.add(FindingKind::DamagedTail, &file.path, at, &|| {
        let end = log.end;
        format!("the log ends at {end}, queues or the checkpoint know of records up to {known}")
    });
}

fn notes(log: &LogCheck, queues: &QueuesChecked, index: &IndexFiles, aborted: bool) -> Vec<String> {
    let mut notes = Vec::new();
    if aborted {
        notes.push("the store was not closed cleanly: its next start recovers it".to_owned());
    }
    if let Some(reason) = log.tail {
        notes.push(format!(
            "behind the end of the log at {} are bytes that are no record: {reason}",
            log.end
        ));
    }
    if queues.undispatched > 0 {
        let count = queues.undispatched;
        notes.push(format!("{count} records at the end of the log have no queue entry yet: the next start makes them"));
    }
    if queues.topicless > 0 {
        let count = queues.topicless;
        notes.push(format!(
            "{count} records are of topics without queues, as those of deleted topics are"
        ));
    }
    if index.files.is_empty() {
        notes.push("there is no index".to_owned());
    }
    notes
}

/// One walk through all log files.
struct LogWalk<'a> {
    files: &'a [OffsetFile],
    facts: &'a QueueFacts,
    index: &'a IndexFiles,
    on_read: OnRead<'a>,
    /// The next file that a thread takes.
    next: AtomicUsize,
}

/// What the threads found together.
struct Walked<'a> {
    files: Vec<WalkedFile>,
    queues: QueueChecker<'a>,
    index_findings: Findings,
}

impl<'a> LogWalk<'a> {
    fn run(&self) -> Result<Walked<'a>, OpenError> {
        let threads = THREADS.min(self.files.len().max(1));
        let results = thread::scope(|scope| -> io::Result<Vec<_>> {
            let mut running = Vec::new();
            for number in 0..threads {
                let thread = thread::Builder::new().name(format!("store-verify-{number}"));
                running.push(thread.spawn_scoped(scope, || self.walk_files())?);
            }
            let joined = running.into_iter().map(|thread| thread.join());
            Ok(joined
                .map(|joined| joined.unwrap_or_else(|panic| std::panic::resume_unwind(panic)))
                .collect())
        });
        let results = results.map_err(OpenError::io("start thread", "store-verify"))?;
        let mut all = self.nothing();
        for walked in results {
            let walked = walked?;
            all.files.extend(walked.files);
            all.queues.merge(walked.queues);
            all.index_findings.merge(walked.index_findings);
        }
        all.files.sort_unstable_by_key(|walked| walked.file.start);
        Ok(all)
    }

    fn nothing(&self) -> Walked<'a> {
        Walked {
            files: Vec::new(),
            queues: QueueChecker::new(self.facts),
            index_findings: Findings::default(),
        }
    }

    fn walk_files(&self) -> Result<Walked<'a>, OpenError> {
        let mut walked = self.nothing();
        let mut index = IndexChecker::new(self.index);
        let file_bytes = usual_length(self.files);
        loop {
            let number = self.next.fetch_add(1, Ordering::Relaxed);
            let Some(file) = self.files.get(number) else {
                break;
            };
            let mut reader = LogFileReader::open(file, CheckBody::Crc, self.on_read)?;
            index.seek(file.start)?;
            let mut checks = RecordChecks {
                queues: &mut walked.queues,
                index: &mut index,
            };
            let walk = reader.walk(0, &mut |view| checks.check(view))?;
            reader.pass_over_rest();
            checks.end_file(&walk, file.start.saturating_add_unsigned(file_bytes))?;
            if number + 1 == self.files.len() {
                index.pass(i64::MAX)?;
            }
            let file = file.clone();
            walked.files.push(WalkedFile { file, walk });
        }
        walked.index_findings = index.findings;
        Ok(walked)
    }
}

/// What is compared with each record.
struct RecordChecks<'c, 'a> {
    queues: &'c mut QueueChecker<'a>,
    index: &'c mut IndexChecker<'a>,
}

impl RecordChecks<'_, '_> {
    fn check(&mut self, view: &RecordView<'_>) -> Result<(), OpenError> {
        let text = view.properties_text();
        let known = KnownProperties::read(&text);
        let standing = self.queues.check(view, &known)?;
        self.queues.check_light(view, &known)?;
        if is_filler(view) {
            self.index.pass(view.physical_offset)?;
            let end = view
                .physical_offset
                .saturating_add_unsigned(view.record_bytes as u64);
            self.index.tolerate_until(end);
            return Ok(());
        }
        let keys = keys_of(view, &known);
        let required = standing == Standing::Present;
        self.index.check(view, keys.as_ref(), required)
    }

    /// A filler may stand for messages that were lost with their file.
    fn end_file(&mut self, walk: &FileWalk, end: i64) -> Result<(), OpenError> {
        if walk.ending == Ending::Filler {
            self.index.pass(walk.sound_end)?;
            self.index.tolerate_until(end);
        }
        self.index.pass(end)
    }
}
