//! The one binary: `thrustmq`. It only reads arguments, starts what they ask for, and turns the
//! outcome into an exit code: 0 for a clean end, 1 with one line on stderr for anything else, but for
//! the checks of `store`, which have codes of their own.
#![forbid(unsafe_code)]

mod args;
mod bench;
mod logging;
mod messages;
mod output;
mod serve;
mod signals;
mod store;

use std::num::NonZero;
use std::process::ExitCode;
use std::thread::available_parallelism;

use anyhow::Context;
use clap::Parser;

use args::{Arguments, Command};

/// More workers than this only add wake-ups: handlers run on pools of their own.
const WORKER_THREADS_MAX: usize = 4;

fn main() -> ExitCode {
    let arguments = match Arguments::try_parse() {
        Ok(arguments) => arguments,
        Err(error) => return args::explain(&error),
    };
    match run(arguments.command) {
        Ok(ended) => ended,
        Err(error) => {
            output::complain(&error);
            ExitCode::FAILURE
        }
    }
}

fn run(command: Command) -> anyhow::Result<ExitCode> {
    logging::start(command.default_log_level());
    let processors = available_parallelism().map_or(1, NonZero::get);
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(processors.min(WORKER_THREADS_MAX))
        .thread_name("thrustmq")
        .enable_all()
        .build()
        .context("start the runtime")?;
    runtime.block_on(async {
        match command {
            Command::Standalone(arguments) => serve::standalone::run(arguments).await?,
            Command::Namesrv(arguments) => serve::namesrv::run(arguments).await?,
            Command::Broker(arguments) => serve::broker::run(arguments).await?,
            Command::Produce(arguments) => messages::produce(arguments).await?,
            Command::Consume(arguments) => messages::consume(arguments).await?,
            Command::Bench(arguments) => bench::run(arguments).await?,
            Command::Store(command) => return Ok(store::run(command)),
        }
        Ok(ExitCode::SUCCESS)
    })
}
