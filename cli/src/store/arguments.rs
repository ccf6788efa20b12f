//! What can be said to `thrustmq store`.

use std::path::PathBuf;

use clap::{Args, Subcommand};
use thrustmq_store::offline::DirectoryOptions;

#[derive(Debug, Subcommand)]
pub(crate) enum StoreCommand {
    /// Tell what lies in a directory; a broker may run on it.
    Inspect(InspectArguments),
    /// Check every record, queue entry and index entry.
    Verify(DirectoryArguments),
    /// Tell what would make a damaged directory one that opens, and what is lost with it.
    Repair(RepairArguments),
}

#[derive(Debug, Args)]
pub(crate) struct DirectoryArguments {
    /// Directory of the store: storePathRootDir of the configuration.
    #[arg(value_name = "DIR")]
    pub(crate) root: PathBuf,
    /// Directory of the commit log [default: DIR/commitlog].
    #[arg(long, value_name = "DIR")]
    pub(crate) commit_log: Option<PathBuf>,
    /// Hash slots of an index file: maxHashSlotNum of the configuration.
    #[arg(long, value_name = "SLOTS", default_value_t = 5_000_000, value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) index_slots: u32,
    /// Entries of an index file: maxIndexNum of the configuration.
    #[arg(long, value_name = "ENTRIES", default_value_t = 20_000_000, value_parser = clap::value_parser!(u32).range(2..))]
    pub(crate) index_entries: u32,
}

impl DirectoryArguments {
    pub(super) fn options(&self) -> DirectoryOptions {
        DirectoryOptions {
            root: self.root.clone(),
            commit_log_dir: self.commit_log.clone(),
            index_slots: self.index_slots,
            index_entries: self.index_entries,
        }
    }
}

#[derive(Debug, Args)]
pub(crate) struct InspectArguments {
    #[command(flatten)]
    pub(crate) directory: DirectoryArguments,
    /// How many of the last records to show.
    #[arg(long, value_name = "RECORDS", default_value_t = 5)]
    pub(crate) last: usize,
    /// Show the queues of this topic only.
    #[arg(long)]
    pub(crate) topic: Option<String>,
    /// Most queues to show.
    #[arg(long, value_name = "QUEUES", default_value_t = 40)]
    pub(crate) queues: usize,
    /// Print one JSON object, with all queues.
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, Args)]
pub(crate) struct RepairArguments {
    #[command(flatten)]
    pub(crate) directory: DirectoryArguments,
    /// Do it, after a copy of all that is changed into DIR/repair-TIME.
    #[arg(long)]
    pub(crate) write: bool,
}
