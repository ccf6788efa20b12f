//! `thrustmq bench`: load with as little of our own in the way as possible. The client only finds the
//! queues; the load itself writes frames to sockets: no retries, requests in flight on each connection
//! at all times. `bench client` is the other way: the client as applications use it. `bench store` has no
//! broker: it loads the store itself. Leaves first.

mod arguments;
mod histogram;
mod inbox;
mod measured;
mod process;
mod progress;
mod schedule;
mod template;
mod topics;

mod answer;
mod pace;
mod target;

mod pull;
mod send;
mod transaction;

mod requests;

mod connection;

mod check;
mod report;
mod watch;

mod client;
mod connections;
mod consumer;
mod latency;
mod producer;
mod store;

pub(crate) use arguments::BenchCommand;

const BATCH: u16 = 32;

/// Runs the load and prints what it measured.
pub(crate) async fn run(command: BenchCommand) -> anyhow::Result<()> {
    match command {
        BenchCommand::Producer(arguments) => producer::run("producer", arguments, 1).await,
        BenchCommand::Batch(arguments) => producer::run("batch", arguments, BATCH).await,
        BenchCommand::Consumer(arguments) => consumer::run(arguments).await,
        BenchCommand::Latency(arguments) => latency::run(arguments).await,
        BenchCommand::Transaction(arguments) => {
            producer::run(producer::TRANSACTION, arguments, 1).await
        }
        BenchCommand::Client(load) => client::run(load).await,
        BenchCommand::Connections(arguments) => connections::run(&arguments),
        BenchCommand::Store(load) => store::run(&load),
    }
}
