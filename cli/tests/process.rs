//! The binary as its users meet it: what it prints, and how it ends.
#![allow(clippy::unwrap_used)] // what helps tests fails as tests do

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::time::Duration;

use thrustmq_client::{ConsumeFrom, ConsumeResult, PushConsumer};

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

/// A machine that stands still for a while makes no broker refuse: no test here is about that.
const PATIENT: &[&str] = &[
    "waitTimeMillsInSendQueue=60000",
    "waitTimeMillsInPullQueue=60000",
    "osPageCacheBusyTimeOutMills=60000",
];

fn standalone(data: &Path) -> (Server, Ports) {
    standalone_with(data, &[])
}

fn standalone_with(data: &Path, settings: &[&str]) -> (Server, Ports) {
    let arguments = arguments(data, &Ports::default());
    let mut words = strs(&arguments);
    for setting in PATIENT.iter().chain(settings) {
        words.extend(["--set", setting]);
    }
    let server = Server::start(&words);
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
    for load in [&["send"][..], &["batch", "--batch", "8"], &["pull"]] {
        let output = output(&[&["bench"], load, &common[..], &short[..]].concat());
        assert!(output.status.success(), "{output:?}");
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
        assert!(report["server_anonymous_peak_bytes"].as_u64() > Some(1 << 20));
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

/// The README's first command names no package and no binary.
#[test]
fn cargo_run_in_the_root_runs_thrustmq() {
    let metadata = Command::new(env!("CARGO"))
        .args(["metadata", "--no-deps", "--format-version", "1"])
        .current_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join(".."))
        .output()
        .unwrap();
    let metadata: serde_json::Value = serde_json::from_slice(&metadata.stdout).unwrap();
    let list = |value: &serde_json::Value| value.as_array().unwrap().clone();
    let defaults = list(&metadata["workspace_default_members"]);
    let packages = list(&metadata["packages"]);
    let run = packages
        .iter()
        .filter(|package| defaults.contains(&package["id"]));
    let targets = run.flat_map(|package| list(&package["targets"]));
    let binaries: Vec<_> = targets
        .filter(|target| target["kind"][0] == "bin")
        .map(|target| target["name"].clone())
        .collect();
    assert_eq!(binaries, ["thrustmq"]);
}

#[test]
fn a_topic_is_followed_without_leaving_anything_behind() {
    let directory = tempfile::tempdir().unwrap();
    let (server, ports) = standalone(directory.path());
    let address = format!("127.0.0.1:{}", ports.namesrv);
    for (body, tag) in [("one", "a"), ("two", "b"), ("{\"three\": 3}", "a")] {
        let sent = output(&[
            "produce", "t", body, "--key", body, "--tag", tag, "-n", &address,
        ]);
        assert!(sent.status.success(), "{}", text(&sent.stderr));
    }
    let tail = |arguments: &[&str]| {
        let fixed = ["tail", "t", "-n", &address, "--from", "-1h"];
        let tailed = output(&[&fixed, arguments].concat());
        assert!(tailed.status.success(), "{}", text(&tailed.stderr));
        text(&tailed.stdout)
    };
    let json = tail(&[
        "--tags", "a", "--count", "2", "--format", "json", "--decode", "json",
    ]);
    let lines: Vec<serde_json::Value> = json
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    assert!(lines.iter().all(|line| line["tag"] == "a"), "{json}");
    assert!(
        lines.iter().any(|line| line["body"]["three"] == 3),
        "{json}"
    );
    let consumed = output(&["consume", "t", "--count", "1", "-n", &address]);
    assert!(consumed.status.success(), "{}", text(&consumed.stderr));
    let hex = tail(&[
        "--key", "two", "--count", "1", "--format", "body", "--decode", "hex",
    ]);
    assert_eq!(hex, "74776f\n");
    assert_eq!(server.terminate(), 0);
    let offsets = directory.path().join("config/consumerOffset.json");
    let offsets = std::fs::read_to_string(offsets).unwrap();
    assert!(offsets.contains("t@thrustmq-consume"), "{offsets}");
    assert!(!offsets.contains("t@TOOLS"), "{offsets}");
    let nobody = output(&["tail", "t", "-n", "127.0.0.1:1"]);
    assert_eq!(nobody.status.code(), Some(1));
}

#[test]
fn a_topic_is_followed_by_condition_and_from_a_time_on() {
    let directory = tempfile::tempdir().unwrap();
    let (server, ports) = standalone_with(directory.path(), &["enablePropertyFilter=true"]);
    let shell = Shell {
        name_servers: format!("127.0.0.1:{}", ports.namesrv),
    };
    shell.table("produce t one --tag a --key k1");
    shell.table("produce t two --tag b --key k2");
    let tail = |arguments: &str| {
        let fixed = "tail t --count 1 --format body --from";
        shell.table(&format!("{fixed} {arguments}"))
    };
    assert_eq!(tail("first --sql TAGS='b'"), "two\n");
    let stored = shell.json("admin message find t k2")[0]["stored_ms"].clone();
    assert_eq!(tail(&format!("{stored} --tags b")), "two\n");
    assert_eq!(tail("2001-01-01 --keys k1 --decode hex"), "6f6e65\n");
    let later = shell.json("admin topic offsets t --at 2099-01-01");
    let sum: i64 = later
        .as_array()
        .unwrap()
        .iter()
        .map(|row| row["offset"].as_i64().unwrap())
        .sum();
    assert_eq!(sum, 2);
    let wrong = shell.run("tail t --from someday");
    assert_eq!(wrong.status.code(), Some(1));
    assert_eq!(server.terminate(), 0);
}

#[test]
fn shells_get_their_completions() {
    for shell in ["bash", "zsh", "fish"] {
        let script = text(&output(&["completions", shell]).stdout);
        assert!(
            script.contains("standalone") && script.contains("tail"),
            "{shell}"
        );
    }
}

/// Runs `thrustmq admin` and the like against a name server.
struct Shell {
    name_servers: String,
}

impl Shell {
    fn run(&self, line: &str) -> Output {
        let words: Vec<&str> = line.split(' ').chain(["-n", &self.name_servers]).collect();
        output(&words)
    }

    /// What a command prints that must succeed.
    fn table(&self, line: &str) -> String {
        let printed = self.run(line);
        assert!(
            printed.status.success(),
            "{line}: {}",
            text(&printed.stderr)
        );
        text(&printed.stdout)
    }

    fn json(&self, line: &str) -> serde_json::Value {
        serde_json::from_str(&self.table(&format!("{line} --json"))).unwrap()
    }

    /// A column of numbers, added up.
    fn sum(&self, line: &str, column: &str) -> i64 {
        let rows = self.json(line);
        let numbers = rows.as_array().unwrap().iter();
        numbers.map(|row| row[column].as_i64().unwrap()).sum()
    }
}

#[test]
fn topics_and_brokers_are_looked_after() {
    let directory = tempfile::tempdir().unwrap();
    let (server, ports) = standalone(directory.path());
    let shell = Shell {
        name_servers: format!("127.0.0.1:{}", ports.namesrv),
    };
    let broker = format!("127.0.0.1:{}", ports.broker);
    assert_eq!(shell.json("admin cluster list")[0]["address"], *broker);
    shell.table("admin topic create orders -q 2");
    let orders = serde_json::json!([{"topic": "orders"}]);
    assert_eq!(shell.json("admin topic list"), orders);
    shell.table("produce orders paid --key 4711 --count 3");
    assert_eq!(shell.sum("admin topicStatus -t orders", "messages"), 3);
    let found = shell.json("admin message find orders 4711");
    assert_eq!(found.as_array().unwrap().len(), 3);
    let id = found[0]["offset_message_id"].as_str().unwrap();
    let message = shell.json(&format!("admin message get {id}"));
    assert_eq!(
        (&message[0]["keys"][0], &message[0]["body"]),
        (&"4711".into(), &"paid".into())
    );
    shell.table(&format!(
        "admin broker set {broker} flushConsumerOffsetInterval=700"
    ));
    let config = shell.json(&format!(
        "admin broker config {broker} flushconsumeroffsetint"
    ));
    assert_eq!(config[0]["value"], "700");
    let info = shell.table(&format!("admin broker info {broker}"));
    assert!(info.contains("bootTimestamp"), "{info}");
    let route = shell.table("admin topic route orders");
    assert!(
        route.contains(&broker) && route.starts_with("broker"),
        "{route}"
    );
    let unsure = shell.run("admin topic delete orders");
    assert_eq!(unsure.status.code(), Some(2));
    assert!(text(&unsure.stderr).contains("--yes"));
    shell.table("admin topic permission orders 4");
    assert_eq!(shell.json("admin topic config orders")[0]["permission"], 4);
    shell.table("admin cleanUnusedTopic -b broker-a --yes");
    shell.table("admin topic delete orders --everywhere --yes");
    assert_eq!(shell.json("admin topic list"), serde_json::json!([]));
    assert_eq!(shell.run("admin topic stats orders").status.code(), Some(1));
    assert_eq!(server.terminate(), 0);
}

#[test]
fn groups_are_looked_after() {
    let directory = tempfile::tempdir().unwrap();
    let (server, ports) = standalone(directory.path());
    let shell = Shell {
        name_servers: format!("127.0.0.1:{}", ports.namesrv),
    };
    shell.table("admin topic create orders -q 2");
    shell.table("admin group create billing --retries-max 3");
    let billing = serde_json::json!([{"group": "billing"}]);
    assert_eq!(shell.json("admin group list"), billing);
    shell.table("produce orders paid --count 3");
    shell.table("consume orders --group billing --count 3");
    shell.table("produce orders open");
    assert_eq!(shell.sum("admin group lag billing", "lag_messages"), 1);
    assert_eq!(shell.json("admin topic groups orders"), billing);
    assert_eq!(
        shell
            .run("admin group reset billing orders --to first")
            .status
            .code(),
        Some(2)
    );
    shell.table("admin group reset billing orders --to first --yes");
    assert_eq!(
        shell.sum("admin consumerProgress -g billing", "lag_messages"),
        4
    );
    assert_eq!(
        shell.json("admin group members billing"),
        serde_json::json!([])
    );
    shell.table("admin group create other");
    shell.table("admin cloneGroupOffset -s billing -d other -t orders --yes");
    assert_eq!(
        shell.sum("admin group lag other -t orders", "lag_messages"),
        4
    );
    assert_eq!(shell.sum("admin group lag", "lag_messages"), 8);
    shell.table("admin group reset other orders --to now --yes");
    assert_eq!(shell.sum("admin group lag other", "lag_messages"), 0);
    let rates = shell.json("admin statsAll -t orders");
    assert_eq!(
        (&rates[0]["group"], &rates[0]["lag_messages"]),
        (&"billing".into(), &4.into())
    );
    let config = shell.json("admin group config billing");
    assert_eq!(config[0]["retries_max"], 3);
    shell.table("admin group delete other --yes");
    shell.table("admin group delete billing --yes");
    assert_eq!(shell.json("admin group list"), serde_json::json!([]));
    assert_eq!(server.terminate(), 0);
}

/// Each takes at least 50 ms.
const LOOKS_MAX: u32 = 1_200;

/// Has a group give up what it gets, until so many dead letters are there.
fn give_up(shell: &Shell, group: &str, count: usize) {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let builder = PushConsumer::builder(group)
        .name_servers(&shell.name_servers)
        .subscribe("orders", "*")
        .consume_from(ConsumeFrom::FirstOffset)
        .reconsume_times_max(0);
    let started = builder.start(|_| async { ConsumeResult::Later });
    let consumer = runtime.block_on(started).unwrap();
    let listed = || {
        let listed = shell.run(&format!("admin dlq list {group} --json"));
        let listed: Option<Vec<serde_json::Value>> = serde_json::from_slice(&listed.stdout).ok();
        listed.is_some_and(|listed| listed.len() == count)
    };
    let is_so = (0..LOOKS_MAX).any(|_| {
        std::thread::sleep(Duration::from_millis(50));
        listed()
    });
    assert!(is_so, "no dead letters");
    runtime.block_on(consumer.shutdown());
}

#[test]
fn messages_dead_letters_and_name_servers_are_looked_after() {
    let directory = tempfile::tempdir().unwrap();
    let (server, ports) = standalone(directory.path());
    let shell = Shell {
        name_servers: format!("127.0.0.1:{}", ports.namesrv),
    };
    shell.table("admin topic create orders -q 1");
    shell.table("produce orders paid --key 4711 --count 3");
    let listed = shell.json("admin printMsg -t orders --limit 2");
    assert_eq!(listed.as_array().unwrap().len(), 2);
    let second = shell.json("admin queryMsgByOffset -t orders -b broker-a -i 0 -o 1");
    assert_eq!(second[0]["message_id"], listed[1]["message_id"]);

    give_up(&shell, "billing", 3);
    assert_eq!(
        shell.sum("admin dlq redrive billing --dry-run", "messages"),
        3
    );
    let unsure = shell.run("admin dead-letter redrive billing");
    assert_eq!(unsure.status.code(), Some(2));
    assert_eq!(
        shell.sum("admin dlq redrive billing --limit 1 --yes", "messages"),
        1
    );
    assert_eq!(shell.sum("admin dlq redrive billing --yes", "messages"), 2);
    assert_eq!(shell.sum("admin topic stats orders", "messages"), 6);

    shell.table("admin updateKvConfig -s space -k key -v value");
    assert_eq!(
        shell.json("admin namesrv values space")[0]["value"],
        "value"
    );
    shell.table("admin namesrv wipe broker-a --yes");
    let route = shell.json("admin topic route orders");
    assert_eq!(route[0]["write_queues"], 0);
    shell.table("admin addWritePerm -b broker-a");
    assert_eq!(shell.run("admin topic nonsense").status.code(), Some(2));
    assert_eq!(server.terminate(), 0);
}
