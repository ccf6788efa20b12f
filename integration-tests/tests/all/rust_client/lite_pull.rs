//! Lite pull consumers: as members of a group, and with queues of their own choice.

use std::collections::BTreeSet;

use anyhow::Context;
use thrustmq_client::{
    Admin, ConsumeFrom, LitePullConsumer, LitePullConsumerBuilder, Message, MessageQueue, Producer,
    Subscription,
};

use super::TIMEOUT;

const SHARED: &str = "RustLiteShared";
const CHOSEN: &str = "RustLiteChosen";
const MESSAGES: usize = 40;

pub(super) async fn run(namesrv: &str) -> anyhow::Result<()> {
    let producer = Producer::builder("rust-lite").name_servers(namesrv);
    let producer = producer.send_timeout(TIMEOUT).start().await?;
    for topic in [SHARED, CHOSEN] {
        for n in 0..MESSAGES {
            let message = Message::new(topic, n.to_string()).tag(tag(n));
            producer.send(message).await?;
        }
    }
    tokio::try_join!(shared(namesrv), chosen(namesrv), members(namesrv))?;
    producer.shutdown().await;
    Ok(())
}

fn builder(namesrv: &str, group: &str) -> LitePullConsumerBuilder {
    LitePullConsumer::builder(group)
        .name_servers(namesrv)
        .consume_from(ConsumeFrom::FirstOffset)
}

/// Polls until so many different messages were there; their numbers.
async fn poll(consumer: &mut LitePullConsumer, count: usize) -> anyhow::Result<BTreeSet<usize>> {
    let mut numbers = BTreeSet::new();
    while numbers.len() < count {
        let messages = consumer.poll(TIMEOUT).await;
        anyhow::ensure!(!messages.is_empty(), "{} of {count}", numbers.len());
        for message in messages {
            numbers.insert(std::str::from_utf8(&message.body)?.parse()?);
        }
    }
    Ok(numbers)
}

/// Half of it by one member, and the rest by the one that comes after it.
async fn shared(namesrv: &str) -> anyhow::Result<()> {
    let builder = builder(namesrv, "rust-lite-shared").subscribe(SHARED, "odd");
    let builder = builder.poll_batch(1);
    let mut first = builder.clone().start().await?;
    let mut seen = poll(&mut first, MESSAGES / 4).await?;
    let queues = first.queues(SHARED).await?;
    first.shutdown().await;
    let mut second = builder.start().await?;
    seen.extend(poll(&mut second, MESSAGES / 4).await?);
    let odd: BTreeSet<_> = (0..MESSAGES).filter(|n| n % 2 == 1).collect();
    anyhow::ensure!(seen == odd, "{seen:?}");
    anyhow::ensure!(second.assignment().len() == queues.len());
    second.commit().await?;
    for queue in &queues {
        let committed = second.committed(queue).await?;
        anyhow::ensure!(committed.is_some(), "nothing committed of {queue}");
    }
    second.shutdown().await;
    Ok(())
}

async fn chosen(namesrv: &str) -> anyhow::Result<()> {
    let mut consumer = builder(namesrv, "rust-lite-chosen").start().await?;
    let queues = consumer.queues(CHOSEN).await?;
    let queue = queues.first().context("a queue")?;
    consumer.assign([queue.clone()], "*").await?;
    consumer.seek_to_begin(queue).await?;
    let each = MESSAGES / queues.len();
    let seen = poll(&mut consumer, each).await?;
    consumer.seek(queue, 1)?;
    let again = poll(&mut consumer, each - 1).await?;
    anyhow::ensure!(again.is_subset(&seen) && again.len() + 1 == seen.len());
    let at_end = consumer.offset_at(queue, i64::MAX / 4).await?;
    consumer.seek(queue, at_end)?;
    consumer.assign(queues.clone(), "even").await?;
    for queue in &queues {
        consumer.seek_to_begin(queue).await?;
    }
    let even = poll(&mut consumer, MESSAGES / 2).await?;
    anyhow::ensure!(even == (0..MESSAGES).filter(|n| n % 2 == 0).collect());
    filtered(&mut consumer, &queues).await?;
    consumer.shutdown().await;
    Ok(())
}

/// Messages of one tag from the first queue, and of the other from the others.
async fn filtered(consumer: &mut LitePullConsumer, queues: &[MessageQueue]) -> anyhow::Result<()> {
    let filter = |place: usize| if place == 0 { "even" } else { "odd" };
    let filters = (0..queues.len()).map(|place| Subscription::tags(filter(place)));
    let assigned = queues.iter().cloned().zip(filters);
    let mut expected = BTreeSet::new();
    for (place, queue) in queues.iter().enumerate() {
        let tag = filter(place);
        let end = consumer.offset_at(queue, i64::MAX / 4).await?;
        consumer.assign([queue.clone()], "*").await?;
        consumer.seek_to_begin(queue).await?;
        let all = poll(consumer, usize::try_from(end)?).await?;
        expected.extend(all.into_iter().filter(|n| self::tag(*n) == tag));
    }
    consumer.assign_each(assigned).await?;
    for queue in queues {
        consumer.seek_to_begin(queue).await?;
    }
    let seen = poll(consumer, expected.len()).await?;
    anyhow::ensure!(seen == expected, "{seen:?} instead of {expected:?}");
    Ok(())
}

/// Two at a time: each has queues, the broker knows both, and one that leaves leaves its queues.
async fn members(namesrv: &str) -> anyhow::Result<()> {
    let builder = builder(namesrv, "rust-lite-members").subscribe(SHARED, "*");
    let mut first = builder.clone().start().await?;
    let second = builder.start().await?;
    let queues: BTreeSet<_> = first.queues(SHARED).await?.into_iter().collect();
    let mut changes = first.assignments();
    let mut others = second.assignments();
    let shared = async {
        loop {
            let (ours, theirs) = (first.assignment(), second.assignment());
            let all: BTreeSet<_> = ours.iter().chain(&theirs).cloned().collect();
            let is_disjoint = all.len() == ours.len() + theirs.len();
            if is_disjoint && all == queues && !ours.is_empty() && !theirs.is_empty() {
                return;
            }
            tokio::select! {
                _ = changes.changed() => {}
                _ = others.changed() => {}
            }
        }
    };
    let shared = tokio::time::timeout(TIMEOUT, shared).await;
    shared.context("the queues are not shared")?;
    let admin = Admin::connect(namesrv).await?;
    let known = admin.group_members("rust-lite-members").await?;
    let known = format!("{known:?}");
    for id in [first.client_id(), second.client_id()] {
        anyhow::ensure!(id.ends_with("@STREAM") && known.contains(id), "{known}");
    }
    anyhow::ensure!(known.contains("Actively"), "{known}");
    admin.close().await;

    second.shutdown().await;
    let mut seen = BTreeSet::new();
    let mut messages = first.stream();
    let all = async {
        while seen.len() < MESSAGES
            && let Some(message) = messages.next().await
        {
            let number: usize = std::str::from_utf8(&message.body)?.parse()?;
            seen.insert(number);
        }
        anyhow::Ok(())
    };
    tokio::time::timeout(TIMEOUT, all)
        .await
        .context("messages are missing")??;
    anyhow::ensure!(first.assignment().len() == queues.len());
    first.shutdown().await;
    Ok(())
}

fn tag(n: usize) -> &'static str {
    if n.is_multiple_of(2) { "even" } else { "odd" }
}
