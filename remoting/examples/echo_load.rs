//! How much a request costs: a server that answers with a small header, under load from 4 connections
//! with 64 requests of 1 KB in flight each.
//!
//! `echo_load [client|raw] [json|binary] [seconds]` starts the server as a process of its own, so that its CPU
//! time is told apart. `client` loads it with our client, `raw` with a loop that costs next to
//! nothing: on two cores that shows what the server can do.
#![forbid(unsafe_code)]
#![allow(clippy::print_stdout)] // a measurement is printed

use std::error::Error;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::process::{Child, Command as Process, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use thrustmq_proto_compat::clock::Clock;
use thrustmq_proto_compat::command::{Command, Encoding};
use thrustmq_proto_compat::{commands, frame, header};
use thrustmq_remoting::{
    Client, ClientOptions, Handled, Incoming, Peer, Pool, PoolOptions, Reply, Routes, Server,
    ServerOptions,
};

const CONNECTIONS: usize = 4;
const IN_FLIGHT: usize = 64;
const BODY_BYTES: usize = 1024;
const TIMEOUT: Duration = Duration::from_secs(3);

header! {
    /// The fields of a send.
    EchoRequestHeader {
        group "a": String, topic "b": String, default_topic "c": String, queues "d": i32,
        queue_id "e": i32, sys_flag "f": i32, born_ms "g": i64, flag "h": i32,
        properties "i": Option<String>, times "j": Option<i32>, unit "k": Option<bool>,
        batch "m": Option<bool>,
    }
    /// The fields of its answer.
    EchoResponseHeader {
        message_id "msgId": String, queue_id "queueId": i32, queue_offset "queueOffset": i64,
    }
}
commands! {
    /// As heavy as a send, without the store.
    Echo "ECHO" = 310: EchoRequestHeader => EchoResponseHeader;
}

struct Options {
    is_raw: bool,
    encoding: Encoding,
    time: Duration,
}

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let word =
        |at: usize, default: &str| arguments.get(at).map_or(default.to_owned(), Clone::clone);
    if word(0, "client") == "serve" {
        return serve();
    }
    let options = Options {
        is_raw: word(0, "client") == "raw",
        encoding: match word(1, "json").as_str() {
            "binary" => Encoding::Binary,
            _ => Encoding::Json,
        },
        time: Duration::from_secs(word(2, "5").parse()?),
    };
    let mut server = Process::new(std::env::current_exe()?)
        .arg("serve")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()?;
    let measured = load(&mut server, &options);
    server.kill()?;
    server.wait()?;
    measured
}

fn serve() -> Result<(), Box<dyn Error>> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()?;
    let pool = Pool::new(PoolOptions {
        name: "send",
        threads: 1,
        queue_capacity: 10_000,
        lends: 0,
    });
    let routes = Routes::builder(Arc::new(AtomicU64::new(0)))
        .on::<Echo>(&pool, echo)
        .build();
    let listen = SocketAddr::from(([127, 0, 0, 1], 0));
    let server = runtime.block_on(Server::bind(
        ServerOptions::new(listen),
        routes,
        None,
        Clock::system(),
    ))?;
    println!("{}", server.local_addr());
    // Until the parent is done.
    std::io::stdin().read_to_end(&mut Vec::new())?;
    Ok(())
}

fn echo(offsets: &AtomicU64, incoming: Incoming<EchoRequestHeader>) -> Handled<EchoResponseHeader> {
    let offset = offsets.fetch_add(1, Ordering::Relaxed);
    Ok(Reply::ok(EchoResponseHeader {
        message_id: "7F00000100002A9F0000000000000000".to_owned(),
        queue_id: incoming.header.queue_id,
        queue_offset: i64::try_from(offset).unwrap_or(i64::MAX),
    }))
}

fn request(encoding: Encoding) -> Command {
    let header = EchoRequestHeader {
        group: "PID_load".into(),
        topic: "LoadTopic".into(),
        default_topic: "TBW102".into(),
        queues: 4,
        queue_id: 3,
        born_ms: 1_700_000_000_000,
        properties: Some("UNIQ_KEY\u{1}7F0000010000000000000000000000\u{2}WAIT\u{1}true".into()),
        times: Some(0),
        unit: Some(false),
        batch: Some(false),
        ..EchoRequestHeader::default()
    };
    let mut request = Command::request::<Echo>(&header).with_body(vec![b'x'; BODY_BYTES]);
    request.encoding = encoding;
    request
}

fn load(server: &mut Child, options: &Options) -> Result<(), Box<dyn Error>> {
    let stdout = server.stdout.take().ok_or("the server has no output")?;
    let mut addr = String::new();
    BufReader::new(stdout).read_line(&mut addr)?;
    let addr = addr.trim().to_owned();
    let answers = Arc::new(AtomicU64::new(0));
    let is_over = Arc::new(AtomicBool::new(false));
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()?;
    let mut clients = Vec::new();
    let mut threads = Vec::new();
    for _ in 0..CONNECTIONS {
        if options.is_raw {
            let (addr, answers, is_over) = (addr.clone(), answers.clone(), is_over.clone());
            let frame = frame::encode(&request(options.encoding))?;
            let thread = std::thread::Builder::new().name("load".into());
            threads.push(thread.spawn(move || drive_raw(&addr, &frame, &answers, &is_over))?);
        } else {
            let _context = runtime.enter();
            let client = Client::new(ClientOptions::default(), None, None, Clock::system());
            let peer = runtime.block_on(client.connect(&addr))?;
            for _ in 0..IN_FLIGHT {
                drive(
                    peer.clone(),
                    request(options.encoding),
                    Arc::clone(&answers),
                );
            }
            clients.push(client);
        }
    }
    std::thread::sleep(Duration::from_secs(1));
    let before = (answers.load(Ordering::Relaxed), cpu_ns(server.id())?);
    std::thread::sleep(options.time);
    let after = (answers.load(Ordering::Relaxed), cpu_ns(server.id())?);
    is_over.store(true, Ordering::Relaxed);
    report(options, after.0 - before.0, &before.1, &after.1);
    for thread in threads {
        thread.join().map_err(|_| "a load thread panicked")??;
    }
    Ok(())
}

/// One of the requests in flight, again and again.
fn drive(peer: Peer, request: Command, answers: Arc<AtomicU64>) {
    let again = (peer.clone(), request.clone());
    peer.call_then(request, TIMEOUT, move |outcome| {
        if outcome.is_ok() {
            answers.fetch_add(1, Ordering::Relaxed);
            drive(again.0, again.1, answers);
        }
    });
}

/// As many requests as answers came, from one buffer.
fn drive_raw(
    addr: &str,
    frame: &Bytes,
    answers: &AtomicU64,
    is_over: &AtomicBool,
) -> std::io::Result<()> {
    let mut stream = TcpStream::connect(addr)?;
    stream.set_nodelay(true)?;
    let burst = frame.repeat(IN_FLIGHT);
    let mut received = BytesMut::new();
    let mut chunk = vec![0; 256 * 1024];
    let mut due = IN_FLIGHT;
    while !is_over.load(Ordering::Relaxed) {
        stream.write_all(&burst[..due * frame.len()])?;
        due = 0;
        while due == 0 {
            let count = stream.read(&mut chunk)?;
            received.extend_from_slice(&chunk[..count]);
            while let Ok(Some(_)) = frame::split(&mut received) {
                due += 1;
            }
        }
        answers.fetch_add(due as u64, Ordering::Relaxed);
    }
    Ok(())
}

struct ThreadTime {
    name: String,
    ns: u64,
}

/// What each thread of a process has spent, in the kernel's nanoseconds.
fn cpu_ns(pid: u32) -> std::io::Result<Vec<ThreadTime>> {
    let mut times = Vec::new();
    for task in std::fs::read_dir(format!("/proc/{pid}/task"))? {
        let task = task?.path();
        let name = std::fs::read_to_string(task.join("comm"))?
            .trim()
            .to_owned();
        let schedstat = std::fs::read_to_string(task.join("schedstat"))?;
        let ns = schedstat.split(' ').next().and_then(|ns| ns.parse().ok());
        times.push(ThreadTime {
            name,
            ns: ns.unwrap_or(0),
        });
    }
    Ok(times)
}

fn report(options: &Options, answers: u64, before: &[ThreadTime], after: &[ThreadTime]) {
    let seconds = options.time.as_secs_f64();
    println!("{:.0} requests/s", answers as f64 / seconds);
    let mut total_us = 0.0;
    for (before, after) in before.iter().zip(after) {
        let us = (after.ns - before.ns) as f64 / 1000.0 / answers as f64;
        total_us += us;
        println!("  {:16} {us:.2} us/request", after.name);
    }
    println!("  {:16} {total_us:.2} us/request of server CPU", "all");
}
