//! Our client while a broker is killed under it: each kind of consumer gets everything that was acknowledged.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use anyhow::Context;
use thrustmq_client::{
    Admin, ConsumeFrom, ConsumeResult, LitePullConsumer, Message, NewTopic, OrderedResult,
    PopConsumer, PopListener, PopResult, Producer, PushConsumer,
};
use thrustmq_integration_tests::cluster::Cluster;
use tokio::task::JoinHandle;

use super::TIMEOUT;

const TOPIC: &str = "RustKilled";
const KILLS: usize = 2;
/// How long brokers live between the kills.
const LIFE: Duration = Duration::from_secs(3);

/// Starts the broker of a number and name again.
type Restart = fn(&mut Cluster, usize, &str) -> anyhow::Result<()>;
/// Bodies.
type Seen = Arc<Mutex<BTreeSet<String>>>;

pub(super) fn run(cluster: &mut Cluster, restart: Restart) -> anyhow::Result<()> {
    let runtime = super::runtime()?;
    let namesrv = cluster.namesrv();
    let (consumers, load) = runtime.block_on(async {
        create_topic(&namesrv).await?;
        let consumers = Consumers::start(&namesrv).await?;
        anyhow::Ok((consumers, Load::start(&namesrv).await?))
    })?;
    for _ in 0..KILLS {
        std::thread::sleep(LIFE);
        cluster.kill("broker-b", &[])?;
        std::thread::sleep(LIFE);
        restart(cluster, 1, "broker-b")?;
    }
    std::thread::sleep(LIFE);
    runtime.block_on(async {
        let acknowledged = load.stop().await?;
        anyhow::ensure!(acknowledged.len() > 200, "hardly any load");
        consumers.wait_for(&acknowledged).await?;
        consumers.stop().await
    })
}

async fn create_topic(namesrv: &str) -> anyhow::Result<()> {
    let admin = Admin::connect(namesrv).await?;
    let topic = NewTopic::named(TOPIC).queues(2);
    admin.create_topic("DefaultCluster", &topic).await?;
    admin.close().await;
    Ok(())
}

/// A producer that sends one message after the other.
struct Load {
    stops: Arc<AtomicBool>,
    sending: JoinHandle<anyhow::Result<BTreeSet<String>>>,
}

impl Load {
    async fn start(namesrv: &str) -> anyhow::Result<Self> {
        let producer = Producer::builder("rust-killed")
            .name_servers(namesrv)
            .send_timeout(TIMEOUT)
            .retries(100)
            .start()
            .await?;
        let stops = Arc::<AtomicBool>::default();
        let stopping = stops.clone();
        let sending = tokio::spawn(async move {
            let mut acknowledged = BTreeSet::new();
            for n in 0.. {
                if stopping.load(Ordering::Relaxed) {
                    break;
                }
                let body = format!("{n:06}");
                producer.send(Message::new(TOPIC, body.clone())).await?;
                acknowledged.insert(body);
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
            producer.shutdown().await;
            Ok(acknowledged)
        });
        Ok(Self { stops, sending })
    }

    /// What was acknowledged.
    async fn stop(self) -> anyhow::Result<BTreeSet<String>> {
        self.stops.store(true, Ordering::Relaxed);
        self.sending.await?
    }
}

struct Consumers {
    seen: [(&'static str, Seen); 4],
    push: [PushConsumer; 2],
    pop: PopListener,
    lite: JoinHandle<()>,
    stops: Arc<AtomicBool>,
}

impl Consumers {
    async fn start(namesrv: &str) -> anyhow::Result<Self> {
        let seen = ["parallel", "ordered", "popped", "polled"].map(|name| (name, Seen::default()));
        let [(_, parallel), (_, ordered), (_, popped), (_, polled)] = seen.clone();
        let push = |group| {
            PushConsumer::builder(group)
                .name_servers(namesrv)
                .subscribe(TOPIC, "*")
                .consume_from(ConsumeFrom::FirstOffset)
        };
        let parallel = push("killed-parallel").start(move |message| {
            note(&parallel, &message.body);
            async { ConsumeResult::Success }
        });
        let ordered = push("killed-ordered").start_orderly(move |message| {
            note(&ordered, &message.body);
            async { OrderedResult::Success }
        });
        let pop = PopConsumer::builder("killed-popped")
            .name_servers(namesrv)
            .subscribe(TOPIC, "*")
            .consume_from(ConsumeFrom::FirstOffset)
            .invisible_time(Duration::from_secs(5))
            .listen(move |message| {
                note(&popped, &message.body);
                async { PopResult::Done }
            });
        let lite = LitePullConsumer::builder("killed-polled")
            .name_servers(namesrv)
            .subscribe(TOPIC, "*")
            .consume_from(ConsumeFrom::FirstOffset)
            .start();
        let (parallel, ordered, pop, mut lite) = tokio::try_join!(parallel, ordered, pop, lite)?;
        let stops = Arc::<AtomicBool>::default();
        let stopping = stops.clone();
        let lite = tokio::spawn(async move {
            while !stopping.load(Ordering::Relaxed) {
                for message in lite.poll(Duration::from_millis(200)).await {
                    note(&polled, &message.body);
                }
            }
            lite.shutdown().await;
        });
        Ok(Self {
            seen,
            push: [parallel, ordered],
            pop,
            lite,
            stops,
        })
    }

    async fn wait_for(&self, acknowledged: &BTreeSet<String>) -> anyhow::Result<()> {
        for (name, seen) in &self.seen {
            let missing = || {
                let seen = seen.lock().expect("no listener panics");
                acknowledged.difference(&seen).count()
            };
            let all_there = async {
                while missing() > 0 {
                    tokio::time::sleep(Duration::from_millis(50)).await;
                }
            };
            let in_time = tokio::time::timeout(TIMEOUT, all_there).await;
            let count = acknowledged.len();
            in_time.with_context(|| format!("{name}: {} of {count} missing", missing()))?;
        }
        Ok(())
    }

    async fn stop(self) -> anyhow::Result<()> {
        self.stops.store(true, Ordering::Relaxed);
        for consumer in &self.push {
            consumer.shutdown().await;
        }
        self.pop.shutdown().await;
        Ok(self.lite.await?)
    }
}

fn note(seen: &Seen, body: &[u8]) {
    let body = String::from_utf8_lossy(body).into_owned();
    seen.lock().expect("no listener panics").insert(body);
}
