//! A store directory goes from one implementation to the other and back, and each answers for it what
//! the one before it answered: one Java program fills the brokers and asks them for everything they keep.

use std::collections::BTreeSet;
use std::time::Duration;

use anyhow::Context;
use thrustmq_integration_tests::admin::Admin;
use thrustmq_integration_tests::cluster::Cluster;
use thrustmq_integration_tests::wait::wait_for;
use thrustmq_integration_tests::wire;
use thrustmq_proto_compat::clock::Clock;

const GET_MAX_OFFSET: i32 = 30;
const BROKER: &str = "broker-a";
/// What a killed broker was receiving when it was killed: it may hold more of these than anybody was told.
const BURST: &str = "Burst";
/// What is sent with a delay, and comes while nobody looks.
const DELAYED: &str = "Delayed";
/// Time enough to stop a broker and to start the other one, unless the machine is busy.
const WAITING_MS: i64 = 20_000;
/// Much sooner than by another look at something, on a slow machine too.
const SOON_MS: i64 = 15_000;
/// Files so small that every kind crosses their borders.
const SETTINGS: &[&str] = &[
    "mappedFileSizeCommitLog=65536",
    "mappedFileSizeConsumeQueue=1000",
    "maxHashSlotNum=500",
    "maxIndexNum=400",
    "messageDelayLevel=1s 20s 1h",
    "flushConsumerOffsetInterval=500",
    "flushDelayOffsetInterval=500",
];

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Maker {
    Ours,
    Java,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    Stopped,
    Killed,
}

#[test]
fn a_directory_moves_from_java_to_ours_and_back() -> anyhow::Result<()> {
    let makers = [Maker::Java, Maker::Ours, Maker::Java, Maker::Ours];
    move_directory(&makers, End::Stopped)
}

#[test]
fn a_directory_moves_from_ours_to_java_and_back_though_each_is_killed() -> anyhow::Result<()> {
    move_directory(&[Maker::Ours, Maker::Java, Maker::Ours], End::Killed)
}

/// Each broker in turn opens the directory, must answer as the one before it did, and adds to it.
fn move_directory(makers: &[Maker], end: End) -> anyhow::Result<()> {
    let mut cluster = Cluster::with_our_namesrv()?;
    cluster.set_broker_settings(SETTINGS);
    let Some(admin) = Admin::start(&cluster)? else {
        return cluster.stop(&[]);
    };
    let mut exchange = Exchange {
        cluster,
        admin,
        runs: 0,
        left: Dump::default(),
        acknowledged: String::new(),
    };
    for &maker in makers {
        exchange.run(maker, end)?;
    }
    exchange.admin.stop()?;
    exchange.cluster.stop(&[])
}

struct Exchange {
    cluster: Cluster,
    admin: Admin,
    runs: usize,
    /// What the last broker answered before it ended.
    left: Dump,
    /// What it acknowledged after that, while it was killed.
    acknowledged: String,
}

impl Exchange {
    fn run(&mut self, maker: Maker, end: End) -> anyhow::Result<()> {
        match maker {
            Maker::Ours => self.cluster.add_our_broker(BROKER)?,
            Maker::Java => self.cluster.add_java_broker(BROKER)?,
        }
        let serves_ms = Clock::system().now_ms();
        let broker = self.cluster.broker(self.runs);
        let found = self.dump(&broker, self.runs)?;
        // Java drops the last index file after a crash, and indexes again only what it dispatches again.
        let forgets_keys = maker == Maker::Java && end == End::Killed;
        self.compare(maker, &found, forgets_keys)
            .with_context(|| format!("{maker:?}, run {}", self.runs))?;
        let acknowledged = self.fill(maker, &broker)?;
        self.wait_for_delayed(&broker, end)?;
        self.runs += 1;
        self.left = self.dump(&broker, self.runs)?;
        self.left.must_list(&acknowledged)?;
        if found.late_ms()?.is_empty() && self.runs > 1 {
            let late_ms = self.left.late_ms()?;
            let is_on_time = self.left.is_on_time(serves_ms)?;
            anyhow::ensure!(is_on_time, "{maker:?} delivered {late_ms:?} ms late");
        }
        self.end(end)
    }

    fn compare(&self, maker: Maker, found: &Dump, forgets_keys: bool) -> anyhow::Result<()> {
        let mut differences = self.left.differences(found);
        if forgets_keys {
            differences.retain(|line| !self.left.is_forgotten_key(line));
        }
        anyhow::ensure!(differences.is_empty(), "{}", differences.join("\n"));
        found.must_list(&self.acknowledged)?;
        eprintln!("{maker:?} answered all {} alike", found.0.lines().count());
        Ok(())
    }

    /// Our broker has no transactions yet. Only the first run leaves messages to the next broker that it has to deliver.
    fn fill(&mut self, maker: Maker, broker: &str) -> anyhow::Result<String> {
        let run = format!("run{}", self.runs);
        let transactions = (maker == Maker::Java).to_string();
        let waiting = (self.runs == 0).to_string();
        self.admin
            .run_words(&["@fill", broker, &run, &transactions, &waiting])
    }

    /// Three that each run delivers itself, and two that the first one left.
    fn wait_for_delayed(&self, broker: &str, end: End) -> anyhow::Result<()> {
        let left = if self.runs == 0 { 0 } else { 2 };
        let wanted = 3 * (i64::try_from(self.runs)? + 1) + left;
        wait_for("the delayed messages", Duration::from_secs(120), || {
            let mut delivered = 0;
            for queue in ["0", "1"] {
                delivered += max_offset(broker, DELAYED, queue)?;
            }
            // What a broker delivered just before it was killed may come again.
            anyhow::ensure!(
                delivered <= wanted || end == End::Killed || self.runs == 0,
                "{delivered} of {wanted}"
            );
            Ok((delivered >= wanted).then_some(()))
        })
    }

    fn dump(&mut self, broker: &str, runs: usize) -> anyhow::Result<Dump> {
        let deleted: Vec<String> = (0..runs).map(|run| format!("Gone-run{run}")).collect();
        let mut words = vec!["@dump", broker];
        words.extend(deleted.iter().map(String::as_str));
        Ok(Dump(self.admin.run_words(&words)?))
    }

    fn end(&mut self, end: End) -> anyhow::Result<()> {
        if end == End::Stopped {
            return self.cluster.terminate(BROKER, &[]);
        }
        self.admin.run("@burst")?;
        self.cluster.kill(BROKER, &[])?;
        self.acknowledged = self.admin.run("@acknowledged")?;
        Ok(())
    }
}

fn max_offset(broker: &str, topic: &str, queue: &str) -> anyhow::Result<i64> {
    let fields = [("topic", topic), ("queueId", queue)];
    let answer = wire::call(broker, GET_MAX_OFFSET, &fields, b"")?;
    let offset = answer.fields["offset"].as_str().context("an offset")?;
    Ok(offset.parse()?)
}

/// What `Dump.java` wrote: a fact a line, its kind and its topic first.
#[derive(Default)]
struct Dump(String);

impl Dump {
    /// Lines that are gone, and lines that are new and say more than that a server made an empty topic of its own.
    fn differences(&self, found: &Self) -> Vec<String> {
        let before: BTreeSet<&str> = self.0.lines().collect();
        let after: BTreeSet<&str> = found.0.lines().collect();
        let known: BTreeSet<&str> = before.iter().map(|line| topic(line)).collect();
        let gone = before.difference(&after).map(|line| format!("- {line}"));
        let new = after.difference(&before);
        let new = new.filter(|line| !self.0.is_empty() && !is_empty_system_topic(line, &known));
        gone.chain(new.map(|line| format!("+ {line}")))
            .filter(|line| !is_expected(line))
            .collect()
    }

    /// Whether a difference is an answer to a key that is gone, or one that lacks messages and has no new ones.
    fn is_forgotten_key(&self, difference: &str) -> bool {
        let (sign, line) = difference.split_at(2);
        let Some((asked, answer)) = line.split_once(" code=") else {
            return false;
        };
        let is_key = line.starts_with("key ") || line.starts_with("unique ");
        let before = self.0.lines().find(|line| {
            line.split_once(" code=")
                .is_some_and(|(key, _)| key == asked)
        });
        is_key
            && (sign == "- "
                || before.is_some_and(|before| offsets(before).is_superset(&offsets(answer))))
    }

    /// `acknowledged` names messages as `topic queue queue-offset`, one a line.
    fn must_list(&self, acknowledged: &str) -> anyhow::Result<()> {
        let held: BTreeSet<String> = self.fields("message", 3).collect();
        let missing: Vec<&str> = acknowledged
            .lines()
            .filter(|message| !held.contains(*message))
            .collect();
        anyhow::ensure!(missing.is_empty(), "acknowledged and lost: {missing:?}");
        Ok(())
    }

    /// The words behind the kind of a line, of all lines of that kind.
    fn fields(&self, kind: &'static str, count: usize) -> impl Iterator<Item = String> {
        let of_kind = move |line: &&str| line.split(' ').next() == Some(kind);
        let fields = move |line: &str| {
            let words: Vec<&str> = line.split(' ').skip(1).take(count).collect();
            words.join(" ")
        };
        self.0.lines().filter(of_kind).map(fields)
    }

    /// How late the messages came that waited for the next broker.
    fn late_ms(&self) -> anyhow::Result<Vec<i64>> {
        self.waited()
            .map(|line| Ok(number(line, "stored=")? - number(line, "born=")? - WAITING_MS))
            .collect()
    }

    /// Whether those came when they were due, or soon after the broker was there.
    fn is_on_time(&self, serves_ms: i64) -> anyhow::Result<bool> {
        for line in self.waited() {
            let due_ms = number(line, "born=")? + WAITING_MS;
            let late_ms = number(line, "stored=")? - due_ms;
            if late_ms < 0 || late_ms > SOON_MS + (serves_ms - due_ms).max(0) {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// The messages that waited for the next broker and have come.
    fn waited(&self) -> impl Iterator<Item = &str> {
        self.0
            .lines()
            .filter(|line| line.starts_with("message Delayed") && line.contains("of=delayed2"))
    }
}

fn topic(line: &str) -> &str {
    line.split(' ').nth(1).unwrap_or_default()
}

/// What was sent while the broker was killed, what became due meanwhile, and how far a broker's own group
/// looked for transactions to end; but no message is ever gone.
fn is_expected(difference: &str) -> bool {
    let line = &difference[2..];
    let is_lost = difference.starts_with("- message");
    let is_own = line.starts_with("delayed ") || line.contains("@CID_RMQ_SYS_TRANS ");
    is_own || matches!(topic(line), BURST | DELAYED) && !is_lost
}

/// Servers make topics and groups of their own when they start; they differ in which.
fn is_empty_system_topic(line: &str, known: &BTreeSet<&str>) -> bool {
    let kind = line.split(' ').next().unwrap_or_default();
    let is_empty = kind != "queue" || line.contains(" max=0 ");
    matches!(kind, "topic" | "queue" | "times" | "group")
        && is_empty
        && !known.contains(topic(line))
}

/// The numbers in brackets.
fn offsets(line: &str) -> BTreeSet<&str> {
    let inner = line.split_once('[').map_or("", |(_, inner)| inner);
    let words = inner.trim_end_matches(']').split(", ");
    words.filter(|word| !word.is_empty()).collect()
}

/// The digits behind a name.
fn number(line: &str, name: &str) -> anyhow::Result<i64> {
    let (_, rest) = line.split_once(name).context("a named number")?;
    let digits = rest.split(|c: char| !c.is_ascii_digit()).next();
    Ok(digits.context("digits")?.parse()?)
}
