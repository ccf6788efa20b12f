//! POP consumers: leases, their ends, order, and a listener.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use anyhow::Context;
use thrustmq_client::{
    Admin, ConsumeFrom, Leased, Message, NewTopic, PopConsumer, PopConsumerBuilder, PopResult,
    Producer,
};

use super::TIMEOUT;

const LEASED: &str = "RustLeased";
const ORDERED: &str = "RustLeasedInOrder";
const HEARD: &str = "RustLeasedByListener";
/// Java's brokers look for leases that ended each second, and some seconds late.
const SHORT: Duration = Duration::from_secs(3);
const MESSAGES: usize = 10;

pub(super) async fn run(namesrv: &str) -> anyhow::Result<()> {
    let admin = Admin::connect(namesrv).await?;
    let producer = Producer::builder("rust-leased").name_servers(namesrv);
    let producer = producer.send_timeout(TIMEOUT).start().await?;
    for (topic, queues) in [(LEASED, 4), (ORDERED, 1), (HEARD, 4)] {
        let topic = NewTopic::named(topic).queues(queues);
        admin.create_topic("DefaultCluster", &topic).await?;
    }
    for topic in [LEASED, ORDERED, HEARD] {
        for n in 0..MESSAGES {
            let tag = if n % 2 == 0 { "even" } else { "odd" };
            let message = Message::new(topic, n.to_string()).tag(tag);
            producer.send(message.property("n", n.to_string())).await?;
        }
    }
    producer.shutdown().await;
    admin.close().await;
    tokio::try_join!(leased(namesrv), ordered(namesrv), heard(namesrv))?;
    Ok(())
}

fn builder(namesrv: &str, topic: &str) -> PopConsumerBuilder {
    PopConsumer::builder(format!("of-{topic}"))
        .name_servers(namesrv)
        .consume_from(ConsumeFrom::FirstOffset)
        .subscribe(topic, "*")
}

async fn take(consumer: &PopConsumer, count: usize) -> anyhow::Result<Vec<Leased>> {
    let mut all = Vec::new();
    let taking = async {
        while all.len() < count {
            all.extend(consumer.receive(32, TIMEOUT).await?);
        }
        anyhow::Ok(())
    };
    let in_time = tokio::time::timeout(TIMEOUT, taking).await;
    in_time.with_context(|| format!("of {count} messages some did not come"))??;
    all.sort_by_key(|leased| leased.body.clone());
    Ok(all)
}

fn bodies(leased: &[Leased]) -> Vec<String> {
    let text = |leased: &Leased| String::from_utf8_lossy(&leased.body).into_owned();
    leased.iter().map(text).collect()
}

async fn leased(namesrv: &str) -> anyhow::Result<()> {
    let builder = builder(namesrv, LEASED).subscribe(LEASED, "odd");
    let consumer = builder.invisible_time(SHORT).start().await?;
    let mut first = take(&consumer, MESSAGES / 2).await?;
    anyhow::ensure!(bodies(&first) == ["1", "3", "5", "7", "9"], "{first:?}");
    let new = |leased: &Leased| leased.delivery() == 1 && leased.topic == LEASED;
    anyhow::ensure!(first.iter().all(new), "{first:?}");
    // 1 and 3 are done; 5 and 7 together; 9 comes again.
    let (by_itself, others) = first.split_at_mut(2);
    let [one, three] = by_itself else {
        anyhow::bail!("five messages");
    };
    consumer.change_invisible(three, TIMEOUT).await?;
    consumer.ack(one).await?;
    consumer.ack(three).await?;
    consumer.ack_all(&others[..2]).await?;
    let again = take(&consumer, 1).await?;
    anyhow::ensure!(bodies(&again) == ["9"], "{again:?}");
    anyhow::ensure!(
        again[0].delivery() == 2 && again[0].topic == LEASED,
        "{again:?}"
    );
    anyhow::ensure!(again[0].properties.get("n") == Some("9"), "{again:?}");
    consumer.ack_all(&again).await?;
    let nothing = consumer.receive(32, 3 * SHORT).await?;
    anyhow::ensure!(nothing.is_empty(), "{nothing:?}");
    consumer.shutdown().await;
    Ok(())
}

async fn ordered(namesrv: &str) -> anyhow::Result<()> {
    let consumer = builder(namesrv, ORDERED).fifo().start().await?;
    let mut seen = Vec::new();
    while seen.len() < MESSAGES {
        let messages = consumer.receive(3, TIMEOUT).await?;
        let more = consumer.receive(3, Duration::ZERO).await?;
        anyhow::ensure!(more.is_empty(), "{more:?} overtake {messages:?}");
        seen.extend(bodies(&messages));
        for message in &messages {
            consumer.ack(message).await?;
        }
    }
    let all: Vec<_> = (0..MESSAGES).map(|n| n.to_string()).collect();
    anyhow::ensure!(seen == all, "{seen:?}");
    consumer.shutdown().await;
    Ok(())
}

/// One message takes longer than a lease, one fails the first time.
async fn heard(namesrv: &str) -> anyhow::Result<()> {
    let deliveries = Arc::<Mutex<Vec<(String, i32)>>>::default();
    let seen = deliveries.clone();
    let listener = builder(namesrv, HEARD)
        .invisible_time(SHORT)
        .listen(move |message| {
            let body = String::from_utf8_lossy(&message.body).into_owned();
            let before = message.reconsume_times;
            let mut seen = seen.lock().expect("no listener panics");
            seen.push((body.clone(), before));
            async move {
                match (body.as_str(), before) {
                    ("1", _) => tokio::time::sleep(3 * SHORT).await,
                    ("2", 0) => return PopResult::LaterAfter(Duration::from_secs(1)),
                    _ => {}
                }
                PopResult::Done
            }
        });
    let listener = listener.await?;
    let count = || deliveries.lock().expect("no listener panics").len();
    let all_there = async {
        while count() <= MESSAGES {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        tokio::time::sleep(4 * SHORT).await;
    };
    let in_time = tokio::time::timeout(TIMEOUT, all_there).await;
    in_time.with_context(|| format!("{} deliveries", count()))?;
    listener.shutdown().await;
    let deliveries = deliveries.lock().expect("no listener panics").clone();
    anyhow::ensure!(deliveries.len() == MESSAGES + 1, "{deliveries:?}");
    let again: Vec<_> = deliveries
        .iter()
        .filter(|(_, before)| *before > 0)
        .collect();
    anyhow::ensure!(again == [&("2".to_owned(), 1)], "{deliveries:?}");
    let bodies: BTreeSet<_> = deliveries.iter().map(|(body, _)| body).collect();
    anyhow::ensure!(bodies.len() == MESSAGES, "{deliveries:?}");
    Ok(())
}
