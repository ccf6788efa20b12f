//! `thrustmq bench store`: the store alone, in this process, on a real directory. Neither sockets nor
//! handlers are in the way.

mod append;
mod arguments;
mod filling;
mod read;
mod recover;

use std::path::{Path, PathBuf};
use std::process;
use std::sync::Arc;

use anyhow::Context;
use thrustmq_proto_compat::clock::Clock;
use thrustmq_store::{Arrival, ArrivalListener, FlushMode, Store, StoreOptions};

use arguments::Flush;
pub(crate) use arguments::StoreLoad;

const TOPIC: &str = "thrustmq-bench";

/// Runs the load and prints what it measured.
pub(super) fn run(load: &StoreLoad) -> anyhow::Result<()> {
    match load {
        StoreLoad::Append(arguments) => append::run(arguments),
        StoreLoad::Read(arguments) => read::run(arguments),
        StoreLoad::Recover(arguments) => recover::run(arguments),
    }
}

/// A directory of our own, removed at the end.
#[derive(Debug)]
struct Directory(PathBuf);

impl Directory {
    fn new(parent: &Path) -> anyhow::Result<Self> {
        let dir = parent.join(format!("thrustmq-bench-{}", process::id()));
        std::fs::create_dir_all(&dir).with_context(|| format!("create {}", dir.display()))?;
        Ok(Self(dir))
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

struct Nobody;

impl ArrivalListener for Nobody {
    fn arrived(&self, _arrival: &Arrival<'_>) {}
}

fn open(root: &Path, flush: Flush) -> anyhow::Result<Store> {
    let mut options = StoreOptions {
        root: root.to_owned(),
        ..StoreOptions::default()
    };
    if flush == Flush::Sync {
        options.flush = FlushMode::Sync;
    }
    Ok(Store::open(options, Clock::system(), Arc::new(Nobody))?)
}

/// A share of a second for each of so many.
fn nanoseconds_each(seconds: f64, count: u64) -> f64 {
    seconds * 1e9 / count.max(1) as f64
}
