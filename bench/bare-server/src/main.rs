//! The least that a server of RocketMQ's sends can cost: it reads frames, copies bodies into a mapped
//! file, and answers. No queue, no index, no check, no flush. `bench/run` loads it with the generator
//! that loads the brokers, so that their figures have a lower bound.
//!
//! `thrustmq-bare-server PORT DIRECTORY`: name server and broker in one, on 127.0.0.1.

#![forbid(unsafe_code)]

mod connection;
mod frame;
mod log;

use std::env;
use std::net::{Ipv4Addr, TcpListener};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::thread;

use anyhow::Context;

use connection::{Connection, Shared};
use log::Log;

fn main() -> anyhow::Result<()> {
    let port = env::args().nth(1).context("say a port")?;
    let port: u16 = port
        .parse()
        .with_context(|| format!("'{port}' is no port"))?;
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port))?;
    let directory = env::args_os().nth(2).context("say a directory")?;
    let shared = Arc::new(Shared {
        port,
        log: Log::create(&PathBuf::from(directory), log::FILE_BYTES)?,
        stored: AtomicU64::new(0),
    });
    for stream in listener.incoming() {
        let connection = Connection::new(stream?, shared.clone())?;
        thread::Builder::new()
            .name("bare".to_owned())
            .spawn(|| connection.serve())?;
    }
    Ok(())
}
