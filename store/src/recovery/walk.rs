//! The walk through the log, from record to record, that checks and dispatches.

use thrustmq_proto_compat::message::record::{CheckBody, RecordError, RecordView};

use crate::commit_log::cold::{FRONT_BYTES, RECORD_BYTES_MAX};
use crate::commit_log::reader::{Step, step};
use crate::consume_queue::Put;
use crate::dispatch::Targets;
use crate::error::OpenError;
use crate::file_queue::QueueFile;
use crate::mapped_file::maps;
use crate::offset::Mark;

use super::{Recovery, cannot_map};

/// With more maps than that the queues' are let go; a process may have some 65,000.
const MAPS_MAX: usize = 30_000;

/// Where a walk through the log begins, and what it may take for granted.
#[derive(Debug, Clone, Copy)]
pub(super) struct Plan {
    /// Begin of a record.
    pub(super) from: i64,
    /// Queues were complete up to here: a topic without any was deleted.
    pub(super) complete_until: i64,
    /// No record before `from` was stored later than this, milliseconds.
    pub(super) timestamp: i64,
    pub(super) purpose: Purpose,
}

/// What a walk is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Purpose {
    /// To find the end, and to derive what is missing.
    Continue,
    /// There are no queues yet: all are built, and what the log no longer knows stays blank.
    Rebuild,
    /// To find the end, and to leave everything as it is.
    Look,
}

/// How far a walk came.
#[derive(Debug)]
pub(super) struct Walked {
    /// All before it is sound, and dispatched.
    pub(super) end: Mark,
    pub(super) records: u64,
    /// What lies at the end; nothing if the files end there.
    pub(super) stop: Option<RecordError>,
    /// Queue entries are missing before the place where the walk began: it was given up.
    pub(super) gap: bool,
}

impl Recovery<'_> {
    pub(super) fn walk(&self, plan: &Plan) -> Result<Walked, OpenError> {
        let mut walked = Walked {
            end: Mark {
                end: plan.from,
                timestamp: plan.timestamp,
            },
            records: 0,
            stop: None,
            gap: false,
        };
        for file in self.log.files.all() {
            if file.end() > plan.from {
                self.walk_file(&file, plan, &mut walked)?;
            }
            if walked.gap || walked.stop.is_some() {
                break;
            }
        }
        Ok(walked)
    }

    fn walk_file(
        &self,
        file: &QueueFile,
        plan: &Plan,
        walked: &mut Walked,
    ) -> Result<(), OpenError> {
        let map = file.map_for_recovery().map_err(cannot_map(file))?;
        let bytes = map.slice(0, map.written()).unwrap_or_default();
        let from = walked.end.end.max(file.start);
        let mut rest = bytes
            .get((from - file.start) as usize..)
            .unwrap_or_default();
        walked.end.end = from;
        loop {
            match self.step(rest, walked.end.end) {
                Step::Record(view) => {
                    if self.dispatch(&view, plan)? == Some(Put::Gap) {
                        walked.gap = true;
                        return Ok(());
                    }
                    walked.records += 1;
                    walked.end.end += view.record_bytes as i64;
                    walked.end.timestamp = walked.end.timestamp.max(view.store_timestamp);
                    rest = rest.get(view.record_bytes..).unwrap_or_default();
                }
                Step::NextFile => {
                    walked.end.end = file.end();
                    return Ok(());
                }
                Step::Stop(stop) => {
                    walked.stop = Some(stop);
                    return Ok(());
                }
            }
        }
    }

    /// As the step of readers, and stricter.
    fn step<'b>(&self, rest: &'b [u8], at: i64) -> Step<'b> {
        match step(rest, at, self.check_body()) {
            Step::Record(view) if self.is_torn(&view) => Step::Stop(RecordError::Truncated {
                need: view.record_bytes,
                have: view.record_bytes - 1,
            }),
            Step::NextFile if !is_filler_of(rest) => Step::Stop(RecordError::Blank {
                bytes: filler_bytes(rest),
            }),
            step @ (Step::Record(_) | Step::NextFile | Step::Stop(_)) => step,
        }
    }

    fn check_body(&self) -> CheckBody {
        match (
            self.options.check_crc_on_recovery,
            self.options.force_record_checksum,
        ) {
            (false, _) => CheckBody::Skip,
            (true, false) => CheckBody::Crc,
            (true, true) => CheckBody::CrcDemanded,
        }
    }

    /// The checksum covers the body only: of a record whose last bytes did not reach the disk, only
    /// the zeros tell.
    fn is_torn(&self, view: &RecordView<'_>) -> bool {
        let end = view.physical_offset + view.record_bytes as i64;
        self.aborted && end > self.on_disk() && view.ends_in_zeros()
    }

    /// Dispatches one record.
    fn dispatch(&self, view: &RecordView<'_>, plan: &Plan) -> Result<Option<Put>, OpenError> {
        let complete = view.physical_offset < plan.complete_until;
        if plan.purpose == Purpose::Look || complete && !self.queues.has_topic(view.topic) {
            return Ok(None);
        }
        let targets = Targets {
            queues: self.queues,
            index: self.index,
            deletions: self.deletions,
            options: self.options,
        };
        if maps() > MAPS_MAX {
            self.queues.unmap_free();
        }
        let text = view.properties_text();
        let mut dispatched = targets.dispatch(view, &text);
        let is_gap = dispatched
            .as_ref()
            .is_ok_and(|dispatched| dispatched.put == Some(Put::Gap));
        if is_gap && plan.purpose == Purpose::Rebuild {
            dispatched = targets.dispatch_after_gap(view, &text);
        }
        let dispatched =
            dispatched.map_err(OpenError::io("write queues of", &self.options.root))?;
        Ok(dispatched.put)
    }

    /// Looks at what lies at an offset of a file, checksums included. By position: a map would bring
    /// megabytes around it from the disk, and logs have many files.
    pub(super) fn look_at<T>(
        &self,
        file: &QueueFile,
        at: i64,
        look: impl FnOnce(Step<'_>) -> T,
    ) -> Result<T, OpenError> {
        let open = file
            .open_file()
            .map_err(OpenError::io("open", file.path()))?;
        let left = usize::try_from(file.end() - at).unwrap_or(0);
        let read = |length: usize| {
            let mut bytes = vec![0; length];
            let filled = open.read_exact_at(&mut bytes, (at - file.start) as u64);
            filled.map_err(OpenError::io("read", file.path()))?;
            Ok::<_, OpenError>(bytes)
        };
        let mut bytes = read(left.min(FRONT_BYTES))?;
        if let Step::Stop(RecordError::Truncated { need, .. }) = step(&bytes, at, CheckBody::Crc)
            && need <= left.min(RECORD_BYTES_MAX)
        {
            bytes = read(need)?;
        }
        Ok(look(step(&bytes, at, CheckBody::Crc)))
    }
}

/// Whether a filler reaches to the end of its file, as all do.
fn is_filler_of(rest: &[u8]) -> bool {
    filler_bytes(rest) == rest.len()
}

/// The bytes that a filler says it takes.
fn filler_bytes(rest: &[u8]) -> usize {
    let length = rest.first_chunk().map(|bytes| i32::from_be_bytes(*bytes));
    length
        .and_then(|length| usize::try_from(length).ok())
        .unwrap_or(0)
}
