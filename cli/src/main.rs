//! The one binary: `thrustmq`. It only reads arguments, starts what they ask for, and turns the
//! outcome into an exit code: 0 for a clean end, 1 with one line on stderr for anything else, but for
//! the checks of `store`, which have codes of their own, and for what `admin` was told wrongly: 2.
#![forbid(unsafe_code)]

mod admin;
mod args;
mod bench;
mod logging;
mod messages;
mod moment;
mod output;
mod serve;
mod shown_message;
mod signals;
mod store;
mod tail;

use std::ffi::OsString;
use std::num::NonZero;
use std::process::ExitCode;
use std::thread::available_parallelism;

use anyhow::Context;
use clap::Parser;

use admin::NotSure;
use admin::java_names::translated;
use args::{Arguments, Command};

/// More workers than this only add wake-ups: handlers run on pools of their own.
const WORKER_THREADS_MAX: usize = 4;

fn main() -> ExitCode {
    let words = words();
    let mistake = mistake_code(&words);
    let arguments = match Arguments::try_parse_from(words) {
        Ok(arguments) => arguments,
        Err(error) => return args::explain(&error, mistake),
    };
    match run(arguments.command) {
        Ok(ended) => ended,
        Err(error) if error.is::<NotSure>() => {
            output::complain(&error);
            mistake
        }
        Err(error) => {
            output::complain(&error);
            ExitCode::FAILURE
        }
    }
}

/// How a command ends that was said wrongly, before any server was asked: scripts of `admin` can tell
/// that from a failure.
fn mistake_code(words: &[OsString]) -> ExitCode {
    match words.get(1) {
        Some(word) if word == "admin" => ExitCode::from(2),
        _ => ExitCode::FAILURE,
    }
}

/// What was typed, with `mqadmin`'s commands in our words.
fn words() -> Vec<OsString> {
    let words: Vec<OsString> = std::env::args_os().collect();
    let texts: Option<Vec<String>> = words
        .iter()
        .map(|word| word.to_str().map(str::to_owned))
        .collect();
    match texts {
        Some(texts) => translated(texts).into_iter().map(OsString::from).collect(),
        None => words,
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
            Command::Tail(arguments) => tail::tail(arguments).await?,
            Command::Admin(arguments) => admin::run(arguments).await?,
            Command::Completions { shell } => args::complete(shell),
        }
        Ok(ExitCode::SUCCESS)
    })
}
