//! A random schedule of brokers that come, change topics, fall silent and go, against a plain model, and
//! the invariants of the table after every step. THRUSTMQ_SEED repeats a run.

use std::collections::{BTreeMap, BTreeSet};
use std::hash::{BuildHasher, Hasher};

use super::tests::{config, member, registration};
use super::*;

const STEPS: usize = 4_000;
const SILENCE_MS_MAX: i64 = 100;

/// Numbers from a seed (SplitMix64).
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn below(&mut self, limit: u64) -> u64 {
        self.next() % limit
    }
}

/// A broker process as it knows itself.
#[derive(Clone, Default)]
struct Process {
    topics: BTreeSet<String>,
    version: i64,
    connection: u64,
}

/// What the name server should know of a member.
struct Known {
    updated_ms: i64,
    connection: u64,
}

struct Model {
    processes: Vec<(Member, Process)>,
    known: BTreeMap<usize, Known>,
    /// Topic → brokers that have it.
    routes: BTreeMap<String, BTreeSet<String>>,
    connections: u64,
    now_ms: i64,
}

impl Model {
    fn new() -> Self {
        let groups = [("a", 2), ("b", 1), ("c", 3)];
        let members = groups.iter().flat_map(|(name, size)| {
            (0..*size).map(move |id| member(name, id, &format!("{name}{id}:1")))
        });
        let mut processes: Vec<_> = members.map(|m| (m, Process::default())).collect();
        for (_, process) in &mut processes {
            process.topics = BTreeSet::from(["x".to_owned(), "y".to_owned()]);
        }
        Self {
            processes,
            known: BTreeMap::new(),
            routes: BTreeMap::new(),
            connections: 0,
            now_ms: 0,
        }
    }

    fn step(&mut self, table: &RouteTable, random: &mut Random) {
        let who = random.below(self.processes.len() as u64) as usize;
        match random.below(10) {
            0..=3 => self.register(who, table),
            4 => self.change_topics(who, random),
            5 => self.close(who, table),
            6 => self.ask(who, table),
            7 => self.delete_topic(table, random),
            8 => self.touch(who, table),
            _ => self.pass_time(table, random),
        }
    }

    fn register(&mut self, who: usize, table: &RouteTable) {
        let now_ms = self.now_ms;
        if !self.known.contains_key(&who) {
            self.connections += 1;
            self.processes[who].1.connection = self.connections;
        }
        let (member, process) = &self.processes[who];
        let mut registration = registration(member, 0);
        registration.fingerprint = table.fingerprint(&process.version.to_be_bytes(), false, 0);
        registration.silence_ms_max = SILENCE_MS_MAX;
        registration.now_ms = now_ms;
        // Old brokers: only masters set topics, which keeps the model plain.
        registration.acting_master = None;
        registration.connection = Arc::new(super::tests::FakeConnection {
            id: process.connection,
            ..Default::default()
        });
        if table.renew(&registration).is_none() {
            let topics = Topics {
                data_version: DataVersion {
                    counter: process.version,
                    ..DataVersion::default()
                },
                configs: process.topics.iter().map(|t| config(t)).collect(),
                ..Topics::default()
            };
            table.register(registration, topics).unwrap();
        }
        if member.id == MASTER_ID {
            for topic in &process.topics {
                let brokers = self.routes.entry(topic.clone()).or_default();
                brokers.insert(member.name.clone());
            }
        }
        let connection = process.connection;
        self.known.insert(
            who,
            Known {
                updated_ms: now_ms,
                connection,
            },
        );
    }

    fn change_topics(&mut self, who: usize, random: &mut Random) {
        let process = &mut self.processes[who].1;
        process.topics.insert(format!("t{}", random.below(20)));
        process.version += 1;
    }

    fn close(&mut self, who: usize, table: &RouteTable) {
        let Some(known) = self.known.get(&who) else {
            return;
        };
        table.leave(
            vec![Leaving::ConnectionClosed(known.connection)],
            self.now_ms,
        );
        self.forget(who);
    }

    fn ask(&mut self, who: usize, table: &RouteTable) {
        let member = self.processes[who].0.clone();
        table.leave(vec![table.asked(member)], self.now_ms);
        self.forget(who);
    }

    fn touch(&mut self, who: usize, table: &RouteTable) {
        let known = table
            .touch(&self.processes[who].0.at, self.now_ms)
            .is_some();
        assert_eq!(known, self.known.contains_key(&who));
        if let Some(known) = self.known.get_mut(&who) {
            known.updated_ms = self.now_ms;
        }
    }

    fn delete_topic(&mut self, table: &RouteTable, random: &mut Random) {
        let topic = format!("t{}", random.below(20));
        table.delete_topic(&topic, None);
        self.routes.remove(&topic);
    }

    fn pass_time(&mut self, table: &RouteTable, random: &mut Random) {
        self.now_ms += random.below(60) as i64;
        let silent = table.silent(self.now_ms).into_iter();
        let batch = silent.map(|s| Leaving::Silent(s.at)).collect();
        table.leave(batch, self.now_ms);
        let now_ms = self.now_ms;
        let known = self.known.iter();
        let expired: Vec<usize> = known
            .filter(|(_, k)| k.updated_ms + SILENCE_MS_MAX < now_ms)
            .map(|(who, _)| *who)
            .collect();
        expired.into_iter().for_each(|who| self.forget(who));
    }

    fn forget(&mut self, who: usize) {
        self.known.remove(&who);
        let name = &self.processes[who].0.name;
        let is_left = self
            .known
            .keys()
            .any(|w| self.processes[*w].0.name == *name);
        if !is_left {
            for brokers in self.routes.values_mut() {
                brokers.remove(name);
            }
            self.routes.retain(|_, brokers| !brokers.is_empty());
        }
    }

    fn check(&self, table: &RouteTable) {
        let expected: Vec<&String> = self.routes.keys().collect();
        assert_eq!(
            table
                .topics(TopicFilter::All)
                .topic_list
                .iter()
                .collect::<Vec<_>>(),
            expected
        );
        for (topic, brokers) in &self.routes {
            let route = table.pick(topic, false).unwrap();
            let names: BTreeSet<_> = route
                .broker_datas
                .iter()
                .map(|b| b.broker_name.clone())
                .collect();
            assert_eq!(names, *brokers, "of {topic}");
        }
        let members: BTreeSet<_> = self
            .known
            .keys()
            .map(|w| self.processes[*w].0.at.clone())
            .collect();
        let live: BTreeSet<_> = table.silent(i64::MAX).into_iter().map(|s| s.at).collect();
        assert_eq!(live, members);
    }
}

/// The invariants at the head of mod.rs.
fn check_invariants(tables: &Tables) {
    for (name, broker) in &tables.brokers {
        assert!(!broker.addresses.is_empty(), "{name} has no address");
        assert!(tables.clusters.values().any(|names| names.contains(name)));
        for (id, address) in &broker.addresses {
            let of_broker = tables
                .live
                .iter()
                .find(|(at, l)| at.address == *address && l.name == *name);
            let (_, live) = of_broker.unwrap_or_else(|| panic!("{address} has no liveness"));
            assert_eq!(live.id, *id);
        }
    }
    for (cluster, names) in &tables.clusters {
        assert!(!names.is_empty(), "{cluster} is empty");
        assert!(names.iter().all(|name| tables.brokers.contains_key(name)));
    }
    for (topic, brokers) in &tables.topics {
        assert!(!brokers.is_empty(), "{topic} is empty");
        assert!(
            brokers.keys().all(|name| tables.brokers.contains_key(name)),
            "{topic}"
        );
    }
}

#[test]
fn a_random_schedule_agrees_with_the_model() {
    let given = std::env::var("THRUSTMQ_SEED")
        .ok()
        .and_then(|s| s.parse().ok());
    let seed = given.unwrap_or_else(|| RandomState::new().build_hasher().finish());
    println!("THRUSTMQ_SEED={seed}");
    let mut random = Random(seed);
    let table = RouteTable::default();
    let mut model = Model::new();
    for _ in 0..STEPS {
        model.step(&table, &mut random);
        model.check(&table);
        check_invariants(&table.read());
    }
}
