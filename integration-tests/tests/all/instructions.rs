//! How many instructions of the broker a message takes, from the socket to the log, its queue and its index, and out
//! again: held to what `bench/instructions.toml` says. Nothing is timed, so a busy machine does not matter.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::Context;
use thrustmq_integration_tests::counted::CountedBroker;
use thrustmq_integration_tests::requests;
use thrustmq_integration_tests::toolchain;
use thrustmq_integration_tests::wire::{self, RawConnection};
use thrustmq_proto_compat::message::batch::{self, BatchItem};
use thrustmq_proto_compat::message::properties;

const SEND_MESSAGE_V2: i32 = 310;
const SEND_BATCH_MESSAGE: i32 = 320;
const PULL_MESSAGE: i32 = 11;

const TOPIC: &str = "Instructions";
const QUEUES: usize = 8;
/// Messages of a batch, and of a pull.
const BATCH: usize = 32;
/// Requests that are written together, as by a client with many in flight.
const IN_FLIGHT: usize = 32;
/// Requests of each kind before anything is counted: what is made on first use is there then.
const WARM_UP: usize = 64;
/// By so much a count may exceed the one that was recorded, per cent. Counts of one build differ by less than one on a
/// machine at rest; on a busy one threads share their wake-ups differently each time.
const TOLERANCE_PERCENT: u64 = 8;
/// A count that exceeds it is taken again, so often at most, and the least counts: a busy machine only adds to it.
const COUNTS_MAX: usize = 3;

/// One kind of work.
struct Load {
    name: &'static str,
    messages_per_request: usize,
    requests: usize,
    request: fn(number: usize) -> Vec<u8>,
}

const LOADS: [Load; 4] = [
    Load {
        name: "send_1024_bytes",
        messages_per_request: 1,
        requests: 4_096,
        request: |number| send(number, 1024),
    },
    Load {
        name: "send_128_bytes",
        messages_per_request: 1,
        requests: 4_096,
        request: |number| send(number, 128),
    },
    Load {
        name: "send_batch_32_x_1024_bytes",
        messages_per_request: BATCH,
        requests: 256,
        request: send_batch,
    },
    Load {
        name: "pull_32_x_1024_bytes",
        messages_per_request: BATCH,
        requests: 2_048,
        request: pull,
    },
];

#[test]
fn a_message_takes_no_more_instructions_than_recorded() -> anyhow::Result<()> {
    let Some(valgrind) = toolchain::valgrind() else {
        return Ok(());
    };
    let binary = toolchain::counted_thrustmq()?;
    let idle = count(valgrind, &binary, None)?;
    let recorded = recorded()?;
    let mut counts = BTreeMap::new();
    for load in &LOADS {
        let may_take = recorded.get(load.name).map(|&count| limit(count));
        let mut least = count_a_message(valgrind, &binary, load, idle)?;
        for _ in 1..COUNTS_MAX {
            if may_take.is_none_or(|limit| least <= limit) {
                break;
            }
            least = least.min(count_a_message(valgrind, &binary, load, idle)?);
        }
        counts.insert(load.name, least);
    }
    if std::env::var_os("THRUSTMQ_RECORD_INSTRUCTIONS").is_some() {
        return record(&counts);
    }
    compare(&counts, &recorded)
}

/// The instructions that a message of the load takes, above those of a broker that is `idle`.
fn count_a_message(valgrind: &Path, binary: &Path, load: &Load, idle: u64) -> anyhow::Result<u64> {
    let taken = count(valgrind, binary, Some(load))?.saturating_sub(idle);
    let messages = load.requests * load.messages_per_request;
    Ok(taken / messages as u64)
}

/// The instructions of a broker that is started, warmed up, put under the load and stopped.
fn count(valgrind: &Path, binary: &Path, load: Option<&Load>) -> anyhow::Result<u64> {
    let name = load.map_or("idle", |load| load.name);
    let counts = binary.with_file_name(format!("callgrind.{name}"));
    let broker = CountedBroker::start(valgrind, binary, &counts)?;
    let mut connection = broker.connect()?;
    for warmed in &LOADS {
        run(&mut connection, warmed, 0..WARM_UP)?;
    }
    if let Some(load) = load {
        run(&mut connection, load, WARM_UP..WARM_UP + load.requests)?;
    }
    drop(connection);
    broker.stop()
}

fn run(
    connection: &mut RawConnection,
    load: &Load,
    numbers: std::ops::Range<usize>,
) -> anyhow::Result<()> {
    let numbers: Vec<usize> = numbers.collect();
    for together in numbers.chunks(IN_FLIGHT) {
        let frames: Vec<u8> = together.iter().flat_map(|&n| (load.request)(n)).collect();
        connection.send(&frames)?;
        for _ in together {
            let answer = connection.receive()?;
            anyhow::ensure!(answer.code == 0, "{}: {answer:?}", load.name);
            let is_pull = load.name.starts_with("pull");
            let pulled = requests::records(&answer.body)?.len();
            anyhow::ensure!(!is_pull || pulled == BATCH, "{pulled} messages");
        }
    }
    Ok(())
}

fn send(number: usize, bytes: usize) -> Vec<u8> {
    let mut text = String::new();
    properties::push(&mut text, "UNIQ_KEY", &unique_key(number));
    send_request(SEND_MESSAGE_V2, number, &text, &vec![b'x'; bytes])
}

fn send_batch(number: usize) -> Vec<u8> {
    let mut body = Vec::new();
    for item in 0..BATCH {
        let mut text = String::new();
        properties::push(&mut text, "UNIQ_KEY", &unique_key(number * BATCH + item));
        let item = BatchItem {
            flag: 0,
            body: &[b'x'; 1024],
            properties: &text,
        };
        batch::encode(&item, &mut body).expect("a small message fits");
    }
    send_request(SEND_BATCH_MESSAGE, number, "", &body)
}

fn send_request(code: i32, number: usize, text: &str, body: &[u8]) -> Vec<u8> {
    let queue_id = (number % QUEUES).to_string();
    let fields = [
        ("a", "counting-producer"),
        ("b", TOPIC),
        ("c", "TBW102"),
        ("d", "8"),
        ("e", queue_id.as_str()),
        ("f", "0"),
        ("g", "1700000000000"),
        ("h", "0"),
        ("i", text),
        ("j", "0"),
        ("k", "false"),
        ("l", "0"),
        (
            "m",
            if code == SEND_BATCH_MESSAGE {
                "true"
            } else {
                "false"
            },
        ),
    ];
    wire::request(code, opaque(number), &fields, body)
}

/// Of the first messages of a queue: the batches of the warm-up.
fn pull(number: usize) -> Vec<u8> {
    let queue_id = (number % QUEUES).to_string();
    let fields = [
        ("consumerGroup", "counting-consumer"),
        ("topic", TOPIC),
        ("queueId", queue_id.as_str()),
        ("queueOffset", "16"),
        ("maxMsgNums", "32"),
        ("sysFlag", "4"),
        ("commitOffset", "0"),
        ("suspendTimeoutMillis", "0"),
        ("subscription", "*"),
        ("subVersion", "0"),
        ("expressionType", "TAG"),
    ];
    wire::request(PULL_MESSAGE, opaque(number), &fields, b"")
}

fn unique_key(number: usize) -> String {
    format!("7F0000010001{number:020X}")
}

fn opaque(number: usize) -> i32 {
    i32::try_from(number).expect("few requests")
}

fn recorded_path() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../bench/instructions.toml")
}

fn record(counts: &BTreeMap<&str, u64>) -> anyhow::Result<()> {
    let mut text = "# Instructions of the broker a message, as `cargo test -p thrustmq-integration-tests \
                    instructions` counts them\n# under callgrind; `THRUSTMQ_RECORD_INSTRUCTIONS=1` writes this file.\n"
        .to_owned();
    for (name, count) in counts {
        writeln!(text, "{name} = {count}")?;
    }
    Ok(fs::write(recorded_path(), text)?)
}

fn recorded() -> anyhow::Result<BTreeMap<String, u64>> {
    let text = fs::read_to_string(recorded_path())?;
    let rows = text.lines().filter(|line| !line.starts_with('#'));
    rows.map(|row| {
        let (name, count) = row.split_once(" = ").with_context(|| row.to_owned())?;
        Ok((name.to_owned(), count.parse()?))
    })
    .collect()
}

fn limit(recorded: u64) -> u64 {
    recorded + recorded * TOLERANCE_PERCENT / 100
}

/// Prints a table; an error names what takes more than it may.
fn compare(counts: &BTreeMap<&str, u64>, recorded: &BTreeMap<String, u64>) -> anyhow::Result<()> {
    let mut table = String::from("instructions a message        counted  recorded\n");
    let mut grown = Vec::new();
    for (&name, &count) in counts {
        let recorded = *recorded.get(name).with_context(|| name.to_owned())?;
        writeln!(table, "{name:<28} {count:>8} {recorded:>9}")?;
        if count > limit(recorded) {
            grown.push(name);
        }
    }
    eprint!("{table}");
    anyhow::ensure!(
        grown.is_empty(),
        "{grown:?} grew by more than {TOLERANCE_PERCENT} %:\n{table}Which functions did, callgrind_annotate says of the \
         files counted/debug/callgrind.* in the target directory. If it is worth it, run this test with \
         THRUSTMQ_RECORD_INSTRUCTIONS=1 and commit bench/instructions.toml"
    );
    Ok(())
}
