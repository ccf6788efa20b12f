//! `thrustmq store`: looks at the directory of a broker that does not run, and mends it.
//!
//! Exit codes are those of file system checkers: 0 sound, 1 damage found, 2 it could not be read.

mod arguments;
mod inspect;
mod repair;
mod text;
mod verify;

use std::process::ExitCode;

use crate::output;

pub(crate) use arguments::StoreCommand;

/// Damage was found.
const DAMAGED: u8 = 1;
/// The directory could not be read, or is in use.
const UNREADABLE: u8 = 2;

/// Runs a command and tells how it ended.
pub(crate) fn run(command: StoreCommand) -> ExitCode {
    let ended = match command {
        StoreCommand::Inspect(arguments) => inspect::run(&arguments),
        StoreCommand::Verify(arguments) => verify::run(&arguments),
        StoreCommand::Repair(arguments) => repair::run(&arguments),
    };
    ended.unwrap_or_else(|error| {
        output::complain(&error);
        ExitCode::from(UNREADABLE)
    })
}
