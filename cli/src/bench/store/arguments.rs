//! What can be said to `thrustmq bench store`.

use std::path::PathBuf;

use clap::{Args, Subcommand, ValueEnum};

#[derive(Debug, Subcommand)]
pub(crate) enum StoreLoad {
    /// Append messages.
    Append(AppendArguments),
    /// Read queues from end to end, and messages at random.
    Read(ReadArguments),
    /// Open a directory whose process was killed, and one that was closed.
    Recover(RecoverArguments),
}

#[derive(Debug, Args)]
pub(crate) struct FillArguments {
    /// Directory on the disk to measure; what is written there is removed at the end.
    #[arg(long, value_name = "DIR")]
    pub(super) dir: PathBuf,
    /// Bytes of a message.
    #[arg(long, value_name = "BYTES", default_value_t = 1024)]
    pub(super) size: usize,
    /// Queues that messages go to.
    #[arg(long, default_value_t = 8, value_parser = clap::value_parser!(u16).range(1..))]
    pub(super) queues: u16,
}

#[derive(Debug, Args)]
pub(crate) struct AppendArguments {
    #[command(flatten)]
    pub(super) fill: FillArguments,
    /// Messages to append.
    #[arg(long, default_value_t = 1_000_000, value_parser = clap::value_parser!(u64).range(1..))]
    pub(super) messages: u64,
    /// Threads that append.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..))]
    pub(super) threads: u16,
    /// When messages are forced to the disk.
    #[arg(long, value_enum, default_value_t = Flush::Async)]
    pub(super) flush: Flush,
}

#[derive(Debug, Args)]
pub(crate) struct ReadArguments {
    #[command(flatten)]
    pub(super) fill: FillArguments,
    /// Bytes of the log to read, as 500MiB or 5GiB.
    #[arg(long, default_value = "1GiB", value_parser = parse_bytes)]
    pub(super) bytes: u64,
}

#[derive(Debug, Args)]
pub(crate) struct RecoverArguments {
    #[command(flatten)]
    pub(super) fill: FillArguments,
    /// Bytes of the log to recover, as 500MiB or 5GiB.
    #[arg(long, default_value = "5GiB", value_parser = parse_bytes)]
    pub(super) bytes: u64,
    /// Fill a directory and go on appending until killed: what the measured process does.
    #[arg(long, hide = true)]
    pub(super) until_killed: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Flush {
    /// In the background.
    Async,
    /// Before each message counts as appended.
    Sync,
}

fn parse_bytes(text: &str) -> Result<u64, String> {
    let digits = text.trim_end_matches(|letter: char| !letter.is_ascii_digit());
    let unit = match text.get(digits.len()..).unwrap_or_default() {
        "" | "B" => 1,
        "KiB" => 1 << 10,
        "MiB" => 1 << 20,
        "GiB" => 1_u64 << 30,
        _ => return Err("a number with KiB, MiB or GiB is needed".to_owned()),
    };
    let number: u64 = digits.parse().map_err(|_| "no number".to_owned())?;
    number
        .checked_mul(unit)
        .ok_or_else(|| "too large".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_have_units() {
        assert_eq!(parse_bytes("17"), Ok(17));
        assert_eq!(parse_bytes("5GiB"), Ok(5 << 30));
        for wrong in ["", "GiB", "5Gb", "99999999999999GiB", "-1"] {
            assert!(parse_bytes(wrong).is_err(), "{wrong}");
        }
    }
}
