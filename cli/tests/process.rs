//! The binary as its users meet it: what it prints, and how it ends.
#![allow(clippy::unwrap_used)] // what helps tests fails as tests do

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};

/// A running server; killed if a test forgets it.
struct Server {
    child: Child,
    banner: Vec<String>,
}

impl Server {
    /// Starts it and waits for the line that says ready.
    fn start(arguments: &[&str]) -> Self {
        let mut child = thrustmq(arguments)
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let mut banner = Vec::new();
        for line in lines.map(Result::unwrap) {
            banner.push(line);
            if banner.last().unwrap().starts_with("ready") {
                break;
            }
        }
        assert!(
            banner.last().is_some_and(|line| line.starts_with("ready")),
            "{banner:?}"
        );
        Self { child, banner }
    }

    /// The port in the banner's line that begins with `fact`.
    fn port(&self, fact: &str) -> u16 {
        let line = self
            .banner
            .iter()
            .find(|line| line.trim_start().starts_with(fact))
            .unwrap();
        line.rsplit(':').next().unwrap().parse().unwrap()
    }

    /// Its exit code after SIGTERM.
    fn terminate(mut self) -> i32 {
        let id = self.child.id().to_string();
        assert!(
            Command::new("kill")
                .args(["-TERM", &id])
                .status()
                .unwrap()
                .success()
        );
        self.child.wait().unwrap().code().unwrap()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn thrustmq(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_thrustmq"));
    command
        .args(arguments)
        .env_remove("NAMESRV_ADDR")
        .env("RUST_LOG", "error");
    command
}

fn output(arguments: &[&str]) -> Output {
    thrustmq(arguments).output().unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

/// Fails, with code 1 and one line that holds all of `words`.
fn assert_one_complaint(arguments: &[&str], words: &[&str]) {
    let output = output(arguments);
    let complaint = text(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{complaint}");
    assert_eq!(complaint.lines().count(), 1, "{complaint}");
    for word in words {
        assert!(complaint.contains(word), "{word:?} in {complaint:?}");
    }
}

/// The ports of a standalone server; 0 asks for free ones.
#[derive(Default)]
struct Ports {
    namesrv: u16,
    broker: u16,
}

fn standalone(data: &Path) -> (Server, Ports) {
    let server = Server::start(&strs(&arguments(data, &Ports::default())));
    let ports = Ports {
        namesrv: server.port("name server"),
        broker: server.port("clients use"),
    };
    (server, ports)
}

fn arguments(data: &Path, ports: &Ports) -> Vec<String> {
    let line = format!(
        "standalone --bind 127.0.0.1 --namesrv-port {} --broker-port {} --data {}",
        ports.namesrv,
        ports.broker,
        data.display()
    );
    line.split(' ').map(str::to_owned).collect()
}

fn strs(arguments: &[String]) -> Vec<&str> {
    arguments.iter().map(String::as_str).collect()
}

#[test]
fn a_first_message_goes_through_and_back() {
    let directory = tempfile::tempdir().unwrap();
    let (server, ports) = standalone(directory.path());
    let banner = server.banner.join("\n");
    let data = directory.path().canonicalize().unwrap();
    for fact in [data.to_str().unwrap(), "ASYNC_FLUSH", "broker-a"] {
        assert!(banner.contains(fact), "{fact} in {banner}");
    }
    let address = format!("127.0.0.1:{}", ports.namesrv);
    let sent = output(&[
        "produce", "t", "hello", "--key", "k", "--tag", "new", "-n", &address,
    ]);
    assert!(sent.status.success(), "{}", text(&sent.stderr));
    let sent = output(&[
        "produce", "t", "--size", "5000", "--count", "3", "-n", &address,
    ]);
    assert_eq!(text(&sent.stdout).lines().count(), 3);
    let only_new = [
        "consume",
        "t",
        "--tag",
        "new",
        "--count",
        "1",
        "--group",
        "a",
        "--timeout",
        "30",
    ];
    let received = output(&[&only_new[..], &["-n", &address]].concat());
    assert!(received.status.success(), "{}", text(&received.stderr));
    assert!(text(&received.stdout).ends_with("tag new key k: hello\n"));
    let all = [
        "consume",
        "t",
        "--count",
        "4",
        "--group",
        "b",
        "--timeout",
        "30",
        "-n",
        &address,
    ];
    assert_eq!(text(&output(&all).stdout).lines().count(), 4);
    assert_one_complaint(
        &[
            "consume",
            "t",
            "--count",
            "1",
            "--group",
            "b",
            "--timeout",
            "1",
            "-n",
            &address,
        ],
        &["not enough messages within 1 s"],
    );
    assert_eq!(server.terminate(), 0);
}

#[test]
fn the_load_generator_sends_and_pulls() {
    let directory = tempfile::tempdir().unwrap();
    let (server, ports) = standalone(directory.path());
    let address = format!("127.0.0.1:{}", ports.namesrv);
    let pid = server.child.id().to_string();
    let common = [
        "-n",
        &address,
        "--connections",
        "2",
        "--in-flight",
        "4",
        "--size",
        "100",
    ];
    let short = ["--seconds", "1", "--warm-up", "0", "--pid", &pid, "--json"];
    assert_one_complaint(
        &[&["bench", "pull"], &common[..]].concat(),
        &["nothing to pull"],
    );
    for load in [&["send"][..], &["send", "--batch", "8"], &["pull"]] {
        let output = output(&[&["bench"], load, &common[..], &short[..]].concat());
        let report: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
        assert_eq!(
            (&report["failures"], &report["first_failure"]),
            (&0.into(), &().into())
        );
        assert!(report["messages"].as_u64().unwrap() > 100, "{report}");
        assert!(report["generator_cpu_us_per_message"].is_f64(), "{report}");
        assert!(report["p99_us"].as_u64().unwrap() >= report["p50_us"].as_u64().unwrap());
        assert!(
            report["server_cpu_us_per_message"].as_f64().unwrap() > 0.0,
            "{report}"
        );
    }
    assert_eq!(server.terminate(), 0);
}

#[test]
fn what_is_taken_is_told_in_one_line() {
    let directory = tempfile::tempdir().unwrap();
    let data = directory.path().join("one");
    let other = directory.path().join("two");
    let (server, ports) = standalone(&data);
    let free = Ports::default();
    assert_one_complaint(
        &strs(&arguments(&data, &free)),
        &["one is in use by another process"],
    );
    let namesrv = ports.namesrv.to_string();
    let same_namesrv = Ports { broker: 0, ..ports };
    assert_one_complaint(
        &strs(&arguments(&other, &same_namesrv)),
        &["name server", &namesrv],
    );
    let broker = ports.broker.to_string();
    let same_broker = Ports {
        namesrv: 0,
        ..ports
    };
    assert_one_complaint(
        &strs(&arguments(&other, &same_broker)),
        &["broker", &broker],
    );
    assert_eq!(server.terminate(), 0);
}

#[test]
fn mistakes_are_told_in_one_line() {
    assert_one_complaint(
        &["standalone", "--broker-port", "70000"],
        &["--broker-port", "70000"],
    );
    assert_one_complaint(
        &["standalone", "--data", "/proc/no"],
        &["data directory /proc/no"],
    );
    assert_one_complaint(&["broker", "-c", "/no/such.conf"], &["/no/such.conf"]);
    assert_one_complaint(&["namesrv", "--set", "listenPort"], &["key=value"]);
    assert_one_complaint(
        &["produce", "t", "x", "-n", "127.0.0.1:1"],
        &["127.0.0.1:1"],
    );
    assert_one_complaint(&["nonsense"], &["nonsense"]);
}

#[test]
fn name_server_and_broker_run_apart() {
    let directory = tempfile::tempdir().unwrap();
    let file = |name: &str| directory.path().join(name).to_str().unwrap().to_owned();
    std::fs::write(
        file("namesrv.conf"),
        "listenPort=0\nbindAddress=127.0.0.1\n",
    )
    .unwrap();
    let namesrv = Server::start(&["namesrv", "-c", &file("namesrv.conf"), "--data", &file("n")]);
    let settings = "brokerName=b
brokerIP1=127.0.0.1
listenPort=0
flushDiskType=SYNC_FLUSH
";
    std::fs::write(file("broker.conf"), settings).unwrap();
    let address = format!("127.0.0.1:{}", namesrv.port("address"));
    let conf = file("broker.conf");
    let broker = Server::start(&["broker", "-c", &conf, "-n", &address, "--data", &file("b")]);
    assert!(
        broker.banner.iter().any(|line| line.contains("SYNC_FLUSH")),
        "{:?}",
        broker.banner
    );
    let sent = output(&["produce", "t", "hello", "-n", &address]);
    assert!(
        text(&sent.stdout).contains(" t@b:"),
        "{}",
        text(&sent.stderr)
    );
    assert_eq!((broker.terminate(), namesrv.terminate()), (0, 0));
}

#[test]
fn configurations_can_be_printed() {
    let whole = text(&output(&["broker", "-p", "--set", "brokerName=x"]).stdout);
    assert!(
        whole.contains("\nbrokerName=x\n") && whole.contains("\nmaxMessageSize="),
        "{whole}"
    );
    let important = text(&output(&["broker", "-m", "-n", "a:1"]).stdout);
    assert!(important.contains("namesrvAddr=a:1") && !important.contains("maxMessageSize"));
    let namesrv = text(&output(&["namesrv", "-p"]).stdout);
    assert!(namesrv.contains("listenPort=9876"), "{namesrv}");
}

#[test]
fn an_interrupt_is_a_clean_stop_too() {
    let directory = tempfile::tempdir().unwrap();
    let (mut server, _) = standalone(directory.path());
    let id = server.child.id().to_string();
    assert!(
        Command::new("kill")
            .args(["-INT", &id])
            .status()
            .unwrap()
            .success()
    );
    assert_eq!(server.child.wait().unwrap().code(), Some(0));
}

#[test]
fn a_store_is_inspected_and_verified() {
    // With an index file of the usual size, most of the time would go into its empty slots.
    const SLOTS: &str = "1000";
    const ENTRIES: &str = "4000";
    let directory = tempfile::tempdir().unwrap();
    let root = directory.path().to_str().unwrap();
    let store = |wanted: &[&str]| {
        let size = ["--index-slots", SLOTS, "--index-entries", ENTRIES];
        output(&[&["store"], wanted, &[root], &size].concat())
    };
    let unreadable = store(&["verify"]);
    assert_eq!(unreadable.status.code(), Some(2));
    let mut serve = arguments(directory.path(), &Ports::default());
    for (key, value) in [("maxHashSlotNum", SLOTS), ("maxIndexNum", ENTRIES)] {
        serve.extend(["--set".to_owned(), format!("{key}={value}")]);
    }
    let server = Server::start(&strs(&serve));
    let address = format!("127.0.0.1:{}", server.port("name server"));
    let sent = output(&["produce", "t", "hello", "--key", "k", "-n", &address]);
    assert!(sent.status.success(), "{}", text(&sent.stderr));
    let in_use = store(&["verify"]);
    assert_eq!(in_use.status.code(), Some(2));
    assert!(text(&in_use.stderr).contains("in use"), "{in_use:?}");
    assert_eq!(server.terminate(), 0);
    let inspected = store(&["inspect", "--json"]);
    let inspected: serde_json::Value = serde_json::from_slice(&inspected.stdout).unwrap();
    assert_eq!(inspected["last_records"][0]["keys"], "k");
    assert_eq!(inspected["log"]["count"], 1);
    let inspected = text(&store(&["inspect"]).stdout);
    assert!(inspected.contains("last 1 records"), "{inspected}");
    let sound = store(&["verify"]);
    assert_eq!(sound.status.code(), Some(0), "{sound:?}");
    assert!(text(&sound.stdout).contains("1 records in 1 log files"));
    let log = directory.path().join("commitlog/00000000000000000000");
    let mut file = std::fs::OpenOptions::new().write(true).open(log).unwrap();
    std::io::Write::write_all(&mut file, b"damage").unwrap();
    let damaged = store(&["verify"]);
    assert_eq!(damaged.status.code(), Some(1), "{damaged:?}");
    assert!(
        text(&damaged.stdout).contains("store repair"),
        "{damaged:?}"
    );
}

#[test]
fn the_store_alone_is_measured() {
    let directory = tempfile::tempdir().unwrap();
    let dir = directory.path().to_str().unwrap();
    let common = ["--dir", dir, "--size", "100", "--queues", "2"];
    let loads: [(&[&str], &str); 4] = [
        (
            &["append", "--messages", "500", "--threads", "2"],
            "msg/s until queues and index know them",
        ),
        (
            &["append", "--messages", "20", "--flush", "sync"],
            "Sync flush, 20 messages",
        ),
        (&["read", "--bytes", "300KiB"], "reopened, one at random"),
        (&["recover", "--bytes", "300KiB"], "to open what was closed"),
    ];
    for (load, said) in loads {
        let measured = output(&[&["bench", "store"], load, &common[..]].concat());
        assert!(measured.status.success(), "{measured:?}");
        let told = text(&measured.stdout);
        assert!(told.contains(said), "{told}");
    }
    let left = std::fs::read_dir(directory.path()).unwrap().count();
    assert_eq!(left, 0, "everything was removed");
}
