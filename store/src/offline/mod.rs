//! A directory looked at without opening it as a store: no recovery and no maps. Called by the
//! command line's `store inspect`, `store verify` and `store repair`.
//!
//! Files are read by positioned reads in large blocks, so that a disk that cannot be read is an
//! error and no signal. Nothing is written but by a repair, and by it only when asked to.
//! Records, queue entries and index entries are read by the store's own parsers.

mod block;
mod directory;
mod finding;
mod log_walk;
mod queue_files;

mod index_check;
mod log_check;
mod queue_facts;

mod entry_check;
mod queue_check;

mod log_tail;

mod inspect;
mod repair;
mod repair_write;
mod verify;

pub use block::OnRead;
pub use directory::DirectoryOptions;
pub use finding::{Finding, FindingKind, Findings};
pub use inspect::{
    CheckpointOffsets, CheckpointTimes, FileSummary, IndexSummary, InspectRequest, Inspection,
    QueueSummary, inspect,
};
pub use log_tail::RecordSummary;
pub use repair::{Change, LostMessages, Repair, repair};
pub use verify::{Verification, bytes_to_verify, verify};
