//! What can be said on the command line.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::error::ErrorKind;
use clap::{Args, CommandFactory, Parser, Subcommand, ValueEnum};

use crate::admin::AdminArguments;
use crate::bench::BenchCommand;
use crate::output;
use crate::store::StoreCommand;
use crate::tail::TailArguments;

/// RocketMQ's name server, broker and client in one binary.
#[derive(Debug, Parser)]
#[command(name = "thrustmq", version, about)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Run a name server and a broker in one process.
    Standalone(StandaloneArguments),
    /// Run a name server.
    Namesrv(NamesrvArguments),
    /// Run a broker.
    Broker(BrokerArguments),
    /// Send messages.
    Produce(ProduceArguments),
    /// Receive messages.
    Consume(ConsumeArguments),
    /// Load a broker, ours or any other RocketMQ's, or the store alone, and measure it.
    #[command(subcommand)]
    Bench(BenchCommand),
    /// Look at a broker's directory, check it, mend it.
    #[command(subcommand)]
    Store(StoreCommand),
    /// Look after a cluster: topics, groups, brokers, messages.
    Admin(AdminArguments),
    /// Show the messages of a topic as they come.
    Tail(TailArguments),
    /// Print what makes a shell complete this program's arguments.
    Completions {
        /// The shell.
        shell: clap_complete::Shell,
    },
}

impl Command {
    /// Servers tell what they do; tools only what went wrong.
    pub(crate) fn default_log_level(&self) -> &'static str {
        match self {
            Self::Standalone(_) | Self::Namesrv(_) | Self::Broker(_) => "info",
            Self::Produce(_)
            | Self::Consume(_)
            | Self::Bench(_)
            | Self::Store(_)
            | Self::Admin(_)
            | Self::Tail(_)
            | Self::Completions { .. } => "error",
        }
    }
}

#[derive(Debug, Args)]
pub(crate) struct StandaloneArguments {
    /// Directory of everything that is kept [default: ./thrustmq-data].
    #[arg(long, value_name = "DIR")]
    pub(crate) data: Option<PathBuf>,
    /// Port of the name server.
    #[arg(long, value_name = "PORT", default_value_t = 9876)]
    pub(crate) namesrv_port: u16,
    /// Port of the broker [default: 10911, or listenPort of the configuration].
    #[arg(long, value_name = "PORT")]
    pub(crate) broker_port: Option<u16>,
    /// Address to listen on [default: 0.0.0.0].
    #[arg(long, value_name = "ADDRESS")]
    pub(crate) bind: Option<String>,
    /// Address that clients are told to reach the broker at [default: this machine's].
    #[arg(long, value_name = "ADDRESS")]
    pub(crate) advertise: Option<String>,
    #[command(flatten)]
    pub(crate) config: ConfigArguments,
}

#[derive(Debug, Args)]
pub(crate) struct NamesrvArguments {
    /// Directory of everything that is kept [default: that of the configuration].
    #[arg(long, value_name = "DIR")]
    pub(crate) data: Option<PathBuf>,
    /// Accepted as by Java's server, and without effect: name servers do not know of each other.
    #[arg(short, long, value_name = "ADDRESSES", visible_alias = "namesrvAddr")]
    pub(crate) namesrv_addr: Option<String>,
    #[command(flatten)]
    pub(crate) config: ConfigArguments,
}

#[derive(Debug, Args)]
pub(crate) struct BrokerArguments {
    /// Directory of everything that is kept [default: that of the configuration].
    #[arg(long, value_name = "DIR")]
    pub(crate) data: Option<PathBuf>,
    /// Name servers to register with: host:port, several with `;` between.
    #[arg(short, long, value_name = "ADDRESSES", visible_alias = "namesrvAddr")]
    pub(crate) namesrv_addr: Option<String>,
    /// Print the important configuration and exit.
    #[arg(short = 'm', long = "printImportantConfig")]
    pub(crate) print_important: bool,
    #[command(flatten)]
    pub(crate) config: ConfigArguments,
}

#[derive(Debug, Args)]
pub(crate) struct ConfigArguments {
    /// Configuration file, as of Java's server.
    #[arg(short = 'c', long = "configFile", value_name = "FILE")]
    pub(crate) file: Option<PathBuf>,
    /// One key of the configuration; may be repeated.
    #[arg(long = "set", value_name = "KEY=VALUE")]
    pub(crate) set: Vec<String>,
    /// Print the whole configuration and exit.
    #[arg(short = 'p', long = "printConfigItem")]
    pub(crate) print: bool,
}

#[derive(Debug, Args)]
pub(crate) struct NameServerArguments {
    /// Name servers: host:port, several with `;` between [default: $NAMESRV_ADDR, else
    /// 127.0.0.1:9876].
    #[arg(short = 'n', long = "namesrv", value_name = "ADDRESSES", global = true)]
    addresses: Option<String>,
}

impl NameServerArguments {
    pub(crate) fn addresses(&self) -> String {
        let environment = || {
            std::env::var("NAMESRV_ADDR")
                .ok()
                .filter(|text| !text.is_empty())
        };
        let given = self.addresses.clone().or_else(environment);
        given.unwrap_or_else(|| "127.0.0.1:9876".to_owned())
    }
}

#[derive(Debug, Args)]
pub(crate) struct ProduceArguments {
    /// Topic; brokers create it on first use unless they are told not to.
    pub(crate) topic: String,
    /// Body; without it `--size` bytes are made up.
    #[arg(required_unless_present = "size")]
    pub(crate) body: Option<String>,
    #[command(flatten)]
    pub(crate) name_servers: NameServerArguments,
    /// Key to find the message by.
    #[arg(long)]
    pub(crate) key: Option<String>,
    /// Tag to filter by.
    #[arg(long)]
    pub(crate) tag: Option<String>,
    /// How many messages to send.
    #[arg(long, default_value_t = 1)]
    pub(crate) count: u64,
    /// Bytes of a made-up body.
    #[arg(long, value_name = "BYTES", conflicts_with = "body")]
    pub(crate) size: Option<usize>,
    /// Producer group.
    #[arg(long, default_value = "thrustmq-produce")]
    pub(crate) group: String,
}

#[derive(Debug, Args)]
pub(crate) struct ConsumeArguments {
    /// Topic.
    pub(crate) topic: String,
    #[command(flatten)]
    pub(crate) name_servers: NameServerArguments,
    /// Consumer group: it goes on where it was before.
    #[arg(long, default_value = "thrustmq-consume")]
    pub(crate) group: String,
    /// Tags, with `||` between.
    #[arg(long, default_value = "*")]
    pub(crate) tag: String,
    /// Messages to receive before ending; without it until interrupted.
    #[arg(long)]
    pub(crate) count: Option<u64>,
    /// Seconds to wait for `--count` messages before giving up with exit code 1.
    #[arg(long, value_name = "SECONDS", requires = "count")]
    pub(crate) timeout: Option<u64>,
    /// Where a new group begins.
    #[arg(long, value_enum, default_value_t = Beginning::First)]
    pub(crate) from: Beginning,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
pub(crate) enum Beginning {
    /// With the oldest message.
    First,
    /// With what comes from now on.
    Last,
}

/// Prints the completions of a shell, to be put where that reads them.
pub(crate) fn complete(shell: clap_complete::Shell) {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Arguments::command(), "thrustmq", &mut script);
    output::print(String::from_utf8_lossy(&script).trim_end());
}

/// Help and version are printed as they are; a mistake is one line, and the exit code `mistake`.
pub(crate) fn explain(error: &clap::Error, mistake: ExitCode) -> ExitCode {
    let text = error.render().to_string();
    if matches!(
        error.kind(),
        ErrorKind::DisplayHelp | ErrorKind::DisplayVersion
    ) {
        output::print(text.trim_end());
        return ExitCode::SUCCESS;
    }
    if error.kind() == ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand {
        output::print_error(text.trim_end());
        return mistake;
    }
    let paragraph = text.split("\n\n").next().unwrap_or_default();
    let line: Vec<&str> = paragraph.lines().map(str::trim).collect();
    output::print_error(&line.join(" "));
    mistake
}

#[cfg(test)]
mod tests {
    use super::*;

    fn command(line: &str) -> Command {
        Arguments::try_parse_from(line.split(' ')).unwrap().command
    }

    #[test]
    fn the_definition_is_sound() {
        Arguments::command().debug_assert();
    }

    #[test]
    fn java_s_options_are_understood() {
        let Command::Broker(broker) = command("thrustmq broker -n a:1;b:2 -c f.conf -m") else {
            panic!("not a broker");
        };
        assert_eq!(broker.namesrv_addr.as_deref(), Some("a:1;b:2"));
        assert!(broker.print_important && !broker.config.print);
        let Command::Namesrv(namesrv) = command("thrustmq namesrv -p --set listenPort=1 --set a=b")
        else {
            panic!("not a name server");
        };
        assert!(namesrv.config.print);
        assert_eq!(namesrv.config.set, ["listenPort=1", "a=b"]);
    }

    #[test]
    fn a_body_or_a_size_is_needed() {
        assert!(Arguments::try_parse_from(["thrustmq", "produce", "t"]).is_err());
        assert!(
            Arguments::try_parse_from(["thrustmq", "produce", "t", "x", "--size", "3"]).is_err()
        );
        let Command::Produce(produce) = command("thrustmq produce t --size 3") else {
            panic!("not produce");
        };
        assert_eq!((produce.size, produce.count), (Some(3), 1));
    }

    #[test]
    fn mistakes_end_with_exit_code_1() {
        let mistake =
            Arguments::try_parse_from(["thrustmq", "standalone", "--broker-port", "99999"]);
        assert_eq!(
            explain(&mistake.unwrap_err(), ExitCode::FAILURE),
            ExitCode::FAILURE
        );
        let help = Arguments::try_parse_from(["thrustmq", "--help"]);
        assert_eq!(
            explain(&help.unwrap_err(), ExitCode::FAILURE),
            ExitCode::SUCCESS
        );
    }
}
