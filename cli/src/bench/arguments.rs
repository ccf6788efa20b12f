//! What can be said to `thrustmq bench`, but for the store.

use clap::{Args, Subcommand, ValueEnum};
use thrustmq_proto_compat::command::Encoding;

use super::store::StoreLoad;
use crate::args::NameServerArguments;

#[derive(Debug, Subcommand)]
pub(crate) enum BenchCommand {
    /// Send messages, as fast as they are answered or at a rate.
    #[command(visible_alias = "send")]
    Producer(ProducerArguments),
    /// Send batches, of 32 messages unless told otherwise.
    Batch(ProducerArguments),
    /// Pull what is stored, over and over or once; it is an error if a message is missing.
    #[command(visible_alias = "pull")]
    Consumer(ConsumerArguments),
    /// Send at a rate, however fast the broker answers, and receive by long polling.
    Latency(LatencyArguments),
    /// Send half messages and commit them.
    Transaction(ProducerArguments),
    /// Send or receive with the client library, as an application does.
    #[command(subcommand)]
    Client(ClientLoad),
    /// Open connections that do nothing but send heartbeats, and hold them.
    Connections(ConnectionsArguments),
    /// Load the store in this process, without a broker.
    #[command(subcommand)]
    Store(StoreLoad),
}

/// What all kinds of load have.
#[derive(Debug, Args)]
pub(crate) struct BenchArguments {
    #[command(flatten)]
    pub(super) name_servers: NameServerArguments,
    /// Topic; it is created if it does not exist. Nobody else should send to it meanwhile: in the end
    /// what was acknowledged has to be what is stored.
    #[arg(long, default_value = "thrustmq-bench")]
    pub(super) topic: String,
    /// Spread over so many topics, whose names end in numbers from -00000 on.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=10_000))]
    pub(super) topics: u16,
    /// Queues of a topic on each broker, where it is created.
    #[arg(long, default_value_t = 8, value_parser = clap::value_parser!(u16).range(1..))]
    pub(super) queues: u16,
    /// Connections to each broker.
    #[arg(long, default_value_t = 4, value_parser = clap::value_parser!(u16).range(1..=1024))]
    pub(super) connections: u16,
    /// Requests in flight on each connection.
    #[arg(long, default_value_t = 64, value_parser = clap::value_parser!(u16).range(1..))]
    pub(super) in_flight: u16,
    /// Bytes of a message.
    #[arg(long, value_name = "BYTES", default_value_t = 1024, value_parser = clap::value_parser!(u32).range(1..=15_000_000))]
    pub(super) size: u32,
    /// Messages in a send request, or at most in a pull's answer.
    #[arg(long, value_name = "MESSAGES", value_parser = clap::value_parser!(u16).range(1..))]
    pub(super) batch: Option<u16>,
    /// Seconds of measuring.
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u64).range(1..=86_400))]
    pub(super) seconds: u64,
    /// Seconds of load before it is measured.
    #[arg(long, value_name = "SECONDS", default_value_t = 2, value_parser = clap::value_parser!(u64).range(..=3_600))]
    pub(super) warm_up: u64,
    /// How headers are written.
    #[arg(long, value_enum, default_value_t = HeaderEncoding::Json)]
    pub(super) encoding: HeaderEncoding,
    /// The server's process, on this machine, whose CPU time and memory are measured too.
    #[arg(long)]
    pub(super) pid: Option<u32>,
    /// Print one JSON object: times in microseconds (`…_us`), memory in bytes.
    #[arg(long)]
    pub(super) json: bool,
}

#[derive(Debug, Args)]
pub(crate) struct ProducerArguments {
    #[command(flatten)]
    pub(super) load: BenchArguments,
    /// Messages a second in all, evenly spaced. A message's time counts from when it was due, so that
    /// a stall shows as what it costs [default: as fast as answers come].
    #[arg(long, value_name = "MESSAGES", value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    pub(super) rate: Option<u32>,
    /// Measure so many messages, instead of `--seconds`.
    #[arg(long, value_name = "MESSAGES", value_parser = clap::value_parser!(u64).range(1..))]
    pub(super) count: Option<u64>,
    /// Keys of a message, by which brokers index it.
    #[arg(long, value_enum, default_value_t = Keys::Unique)]
    pub(super) keys: Keys,
    /// What is in a message.
    #[arg(long, value_enum, default_value_t = Body::Compressible)]
    pub(super) body: Body,
}

#[derive(Debug, Args)]
pub(crate) struct ConsumerArguments {
    #[command(flatten)]
    pub(super) load: BenchArguments,
    /// Offset in each queue where to begin [default: the oldest message].
    #[arg(long, value_name = "OFFSET", value_parser = clap::value_parser!(i64).range(0..))]
    pub(super) from: Option<i64>,
    /// Pull everything once, instead of for `--seconds`; it is an error if that is not what is stored.
    #[arg(long)]
    pub(super) once: bool,
}

#[derive(Debug, Args)]
pub(crate) struct LatencyArguments {
    #[command(flatten)]
    pub(super) load: BenchArguments,
    /// Messages a second. Their times count from when they are due.
    #[arg(long, value_name = "MESSAGES", default_value_t = 5_000, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    pub(super) rate: u32,
    /// Without a consumer.
    #[arg(long)]
    pub(super) send_only: bool,
}

#[derive(Debug, Subcommand)]
pub(crate) enum ClientLoad {
    /// With one producer, as fast as messages are acknowledged.
    Send(ClientArguments),
    /// With one push consumer, what is stored, from the oldest message on.
    Receive(ClientArguments),
}

#[derive(Debug, Args)]
pub(crate) struct ClientArguments {
    #[command(flatten)]
    pub(super) name_servers: NameServerArguments,
    /// Topic, which is there.
    #[arg(long, default_value = "thrustmq-bench")]
    pub(super) topic: String,
    /// Messages in flight, each sent by a task of its own.
    #[arg(long, default_value_t = 256, value_parser = clap::value_parser!(u16).range(1..))]
    pub(super) in_flight: u16,
    /// Bytes of a message.
    #[arg(long, value_name = "BYTES", default_value_t = 1024, value_parser = clap::value_parser!(u32).range(1..=4_000_000))]
    pub(super) size: u32,
    /// Seconds of measuring.
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u64).range(1..=86_400))]
    pub(super) seconds: u64,
    /// Seconds of load before it is measured.
    #[arg(long, value_name = "SECONDS", default_value_t = 2, value_parser = clap::value_parser!(u64).range(..=3_600))]
    pub(super) warm_up: u64,
    /// Print one JSON object, as the other loads do.
    #[arg(long)]
    pub(super) json: bool,
}

#[derive(Debug, Args)]
pub(crate) struct ConnectionsArguments {
    /// Broker: host:port.
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:10911")]
    pub(super) broker: String,
    /// Connections to open.
    #[arg(long, default_value_t = 1_000, value_parser = clap::value_parser!(u32).range(1..=60_000))]
    pub(super) connections: u32,
    /// Seconds to hold them, once all are open.
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u64).range(..=86_400))]
    pub(super) seconds: u64,
    /// Seconds between two heartbeats of a connection.
    #[arg(long, value_name = "SECONDS", default_value_t = 30, value_parser = clap::value_parser!(u64).range(1..=3_600))]
    pub(super) heartbeat: u64,
    /// The server's process, on this machine, whose CPU time and memory are measured too.
    #[arg(long)]
    pub(super) pid: Option<u32>,
    /// Print one JSON object: times in microseconds (`…_us`), memory in bytes.
    #[arg(long)]
    pub(super) json: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum HeaderEncoding {
    /// As the clients of Apache RocketMQ write them.
    Json,
    /// RocketMQ's own binary form.
    Binary,
}

impl From<HeaderEncoding> for Encoding {
    fn from(encoding: HeaderEncoding) -> Self {
        match encoding {
            HeaderEncoding::Json => Self::Json,
            HeaderEncoding::Binary => Self::Binary,
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum Keys {
    /// None at all.
    None,
    /// The unique key that every client gives.
    Unique,
    /// The unique key, and one as applications give them.
    Both,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum Body {
    /// The same byte again and again.
    Compressible,
    /// Bytes that nothing makes shorter.
    Random,
}
