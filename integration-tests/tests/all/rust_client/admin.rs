//! What administers a cluster: the same calls, with the same answers, on both kinds of servers.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use anyhow::Context;
use thrustmq_client::{
    Admin, AdminError, ConsumeFrom, ConsumeResult, KeySearch, Message, MessageQueue, MessageWalk,
    NewGroup, NewTopic, Producer, PushConsumer, QueueLag, Redrive, RouteError, TimeRange,
    TraceRecord,
};

use super::TIMEOUT;

const CLUSTER: &str = "DefaultCluster";
const TOPIC: &str = "RustAdmin";
const DYING: &str = "RustAdminDying";
const GROUP: &str = "rust-admin";
const MESSAGES: usize = 10;

pub(super) async fn run(namesrv: &str) -> anyhow::Result<()> {
    let admin = Admin::connect(namesrv).await?;
    let producer = Producer::builder("rust-admin-producer").name_servers(namesrv);
    let producer = producer.send_timeout(TIMEOUT).trace(true).start().await?;
    for topic in [TOPIC, DYING] {
        let new = NewTopic::named(topic).queues(2);
        admin.create_topic(CLUSTER, &new).await?;
        wait("the route", async || admin.route(topic).await.is_ok()).await?;
    }
    let sent = send(&producer).await?;
    tokio::try_join!(
        servers(&admin),
        messages(&admin, &sent),
        clients(&admin, namesrv, &sent),
        dead_letters(&admin, namesrv, &producer),
    )?;
    producer.shutdown().await; // Sends the traces that wait.
    traces(&admin, &sent).await?;
    deletions(&admin).await?;
    admin.close().await;
    Ok(())
}

/// The first message.
struct SentFirst {
    message_id: String,
    offset_id: String,
    queue: MessageQueue,
}

async fn send(producer: &Producer) -> anyhow::Result<SentFirst> {
    let mut first = None;
    for n in 0..MESSAGES {
        let message = Message::new(TOPIC, n.to_string()).key("admin-key");
        let receipt = producer.send(message.tag(["a", "b"][n % 2])).await?;
        first.get_or_insert(SentFirst {
            message_id: receipt.msg_id,
            offset_id: receipt.offset_msg_id,
            queue: receipt.queue,
        });
        tokio::time::sleep(Duration::from_millis(3)).await; // Each in a millisecond of its own.
    }
    first.context("messages were sent")
}

async fn wait(what: &str, is_so: impl AsyncFn() -> bool) -> anyhow::Result<()> {
    let waiting = async {
        while !is_so().await {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    let waited = tokio::time::timeout(TIMEOUT, waiting).await;
    waited.with_context(|| format!("waited in vain for {what}"))
}

/// Name servers, and the broker itself.
async fn servers(admin: &Admin) -> anyhow::Result<()> {
    let name_server = admin.name_servers().remove(0);
    let setting = [("serverChannelMaxIdleTimeSeconds", "121")];
    admin.set_name_server_config(&setting).await?;
    let config = admin.name_server_config(&name_server).await?;
    anyhow::ensure!(config["serverChannelMaxIdleTimeSeconds"] == "121");
    anyhow::ensure!(admin.value("rust-space", "key").await?.is_none());
    admin.put_value("rust-space", "key", "value").await?;
    anyhow::ensure!(admin.value("rust-space", "key").await?.as_deref() == Some("value"));
    anyhow::ensure!(admin.values("rust-space").await?.len() == 1);
    admin.delete_value("rust-space", "key").await?;
    anyhow::ensure!(admin.values("rust-space").await?.is_empty());

    let broker = admin.broker_address("broker-a").await?;
    let unknown = admin.broker_address("broker-z").await;
    anyhow::ensure!(matches!(unknown, Err(AdminError::NoSuchBroker { .. })));
    anyhow::ensure!(admin.replication(&broker).await?.master);
    let info = admin.broker_info(&broker).await?;
    anyhow::ensure!(info.contains_key("msgPutTotalTodayNow"));
    let counted = admin.statistics(&broker, "TOPIC_PUT_NUMS", TOPIC).await?;
    anyhow::ensure!(counted.is_some(), "nothing was counted");
    let nothing = admin.statistics(&broker, "TOPIC_PUT_NUMS", "RustNoTopic");
    anyhow::ensure!(nothing.await?.is_none());
    let producers = admin.producers_of_broker(&broker).await?;
    anyhow::ensure!(producers.contains_key("rust-admin-producer"));
    let ours = admin
        .producers_of_group("rust-admin-producer", TOPIC)
        .await?;
    anyhow::ensure!(ours.connection_set.len() == 1, "{ours:?}");
    admin.clean_expired_queues(&broker).await?;
    admin.clean_unused_topics(&broker).await?;
    admin
        .delete_expired_files(&broker)
        .await
        .context("delete expired files")
}

/// Times and bodies.
async fn all_of(mut walk: MessageWalk) -> anyhow::Result<Vec<(i64, String)>> {
    let mut found = Vec::new();
    while let Some(next) = walk.next().await? {
        let body = String::from_utf8(next.message.body.to_vec())?;
        found.push((next.message.store_timestamp, body));
    }
    Ok(found)
}

fn bodies(found: &[(i64, String)]) -> String {
    found.iter().map(|(_, body)| body.as_str()).collect()
}

async fn messages(admin: &Admin, first: &SentFirst) -> anyhow::Result<()> {
    let ends = async || {
        let stats = admin.topic_stats(TOPIC).await.unwrap_or_default();
        stats.iter().map(|queue| queue.offsets.max).sum::<i64>()
    };
    wait("the queues", async || {
        ends().await == i64::try_from(MESSAGES).unwrap_or_default()
    })
    .await?;
    let walk = admin.messages_between(TOPIC, TimeRange::all(), "*").await?;
    let all = all_of(walk).await?;
    anyhow::ensure!(bodies(&all) == "0123456789", "{all:?}");
    let (begin, end) = (all[2].0, all[6].0);
    let span = TimeRange::since(begin).until(end);
    let walk = admin.messages_between(TOPIC, span, "a").await?;
    let some = all_of(walk).await?;
    anyhow::ensure!(bodies(&some) == "246", "{some:?}");
    let later = TimeRange::since(all[9].0 + 60_000);
    let walk = admin.messages_between(TOPIC, later, "*").await?;
    anyhow::ensure!(all_of(walk).await?.is_empty());
    let offsets = admin.offsets_at(TOPIC, begin).await?;
    anyhow::ensure!(offsets.values().sum::<i64>() == 2, "{offsets:?}");
    let message = admin
        .message_at(&first.queue, 0)
        .await?
        .context("the first")?;
    anyhow::ensure!(message.message_id() == first.message_id);
    anyhow::ensure!(admin.message_at(&first.queue, 1_000).await?.is_none());
    let key = KeySearch::of(TOPIC, "admin-key");
    wait("the index", async || {
        admin
            .find(&key)
            .await
            .is_ok_and(|found| found.len() == MESSAGES)
    })
    .await
}

/// A consumer that counts, and answers as it is told.
async fn consumer(
    namesrv: &str,
    group: &str,
    topic: &str,
    result: ConsumeResult,
) -> anyhow::Result<(PushConsumer, Arc<AtomicUsize>)> {
    let count = Arc::new(AtomicUsize::new(0));
    let counting = count.clone();
    let consumer = PushConsumer::builder(group)
        .name_servers(namesrv)
        .subscribe(topic, "*")
        .consume_from(ConsumeFrom::FirstOffset)
        .reconsume_times_max(0)
        .trace(true)
        .start(move |_| {
            counting.fetch_add(1, Ordering::SeqCst);
            async move { result }
        })
        .await?;
    Ok((consumer, count))
}

async fn clients(admin: &Admin, namesrv: &str, first: &SentFirst) -> anyhow::Result<()> {
    let (consumer, count) = consumer(namesrv, GROUP, TOPIC, ConsumeResult::Success).await?;
    wait("the messages", async || {
        count.load(Ordering::SeqCst) == MESSAGES
    })
    .await?;
    wait("the member", async || {
        matches!(admin.group_members(GROUP).await, Ok(Some(_)))
    })
    .await?;
    let id = consumer.client_id();
    let info = admin.consumer_info(GROUP, id, true).await?;
    anyhow::ensure!(info.mq_table.contains_key(&first.queue), "{info:?}");
    anyhow::ensure!(admin.consumer_info(GROUP, "nobody", false).await.is_err());
    let again = admin.consume_directly(GROUP, id, &first.offset_id).await?;
    anyhow::ensure!(
        again.is_success && again.result == "CR_SUCCESS",
        "{again:?}"
    );
    anyhow::ensure!(count.load(Ordering::SeqCst) == MESSAGES + 1);
    consumer.shutdown().await;

    let lag = async |group: &str| {
        let lags = admin.lag_in(group, TOPIC).await.unwrap_or_default();
        lags.iter().map(QueueLag::messages).sum::<i64>()
    };
    wait("the commit", async || lag(GROUP).await == 0).await?;
    admin.reset_offset(GROUP, &first.queue, 1).await?;
    let behind = admin.offsets(&first.queue).await?.max - 1;
    anyhow::ensure!(lag(GROUP).await == behind);
    let other = NewGroup::named("rust-admin-other");
    admin.create_group(CLUSTER, &other).await?;
    admin
        .clone_offsets(GROUP, "rust-admin-other", Some(TOPIC))
        .await?;
    anyhow::ensure!(lag("rust-admin-other").await == behind);
    anyhow::ensure!(
        !admin.lag("rust-admin-other").await?.is_empty(),
        "it was never online"
    );
    anyhow::ensure!(admin.topics_of_group(GROUP).await?.contains(TOPIC));
    let unknown = admin.lag("rust-admin-nobody").await;
    anyhow::ensure!(
        matches!(unknown, Err(AdminError::NoSuchGroup(_))),
        "{unknown:?}"
    );
    let broker = admin.broker_address("broker-a").await?;
    let config = admin.group_config(&broker, "rust-admin-other").await?;
    anyhow::ensure!(config.retry_max_times == 16);
    let rates = admin.topic_rates(TOPIC).await?;
    anyhow::ensure!(rates.groups[GROUP].lag == behind, "{rates:?}");
    Ok(())
}

async fn dead_letters(admin: &Admin, namesrv: &str, producer: &Producer) -> anyhow::Result<()> {
    let group = "rust-admin-dying";
    let none = admin.dead_letters(group, TimeRange::all()).await;
    anyhow::ensure!(matches!(
        none,
        Err(AdminError::Route(RouteError::NoSuchTopic(_)))
    ));
    for n in 0..MESSAGES {
        let message = Message::new(DYING, n.to_string()).property("user", "kept");
        producer.send(message.key("dying-key").tag("a")).await?;
    }
    let (dying, _) = consumer(namesrv, group, DYING, ConsumeResult::Later).await?;
    wait("the dead letters", async || {
        let Ok(walk) = admin.dead_letters(group, TimeRange::all()).await else {
            return false;
        };
        all_of(walk)
            .await
            .is_ok_and(|found| found.len() == MESSAGES)
    })
    .await?;
    dying.shutdown().await;
    let count = u64::try_from(MESSAGES)?;
    let redrive = Redrive::of(group);
    let dry = admin
        .redrive(&redrive.clone().dry_run(true), |_| ())
        .await?;
    anyhow::ensure!((dry.messages, dry.by_topic.len()) == (count, 1), "{dry:?}");
    let some = admin
        .redrive(&redrive.clone().messages_max(3), |_| ())
        .await?;
    anyhow::ensure!(some.messages == 3);
    let rest = redrive.clone().only_to_group(true);
    anyhow::ensure!(admin.redrive(&rest, |_| ()).await?.messages == count - 3);
    anyhow::ensure!(admin.redrive(&redrive, |_| ()).await?.messages == 0);
    let (revived, received) = consumer(namesrv, group, DYING, ConsumeResult::Success).await?;
    wait("what was sent back", async || {
        received.load(Ordering::SeqCst) >= MESSAGES
    })
    .await?;
    revived.shutdown().await;
    anyhow::ensure!(
        received.load(Ordering::SeqCst) == MESSAGES,
        "some came twice"
    );
    Ok(())
}

/// What the producer and the consumer of `clients` noted of the first message.
async fn traces(admin: &Admin, first: &SentFirst) -> anyhow::Result<()> {
    let search = KeySearch::traces(&first.message_id);
    let found = async || admin.traces(&search).await.unwrap_or_default();
    // Sent once; consumed by its group, and by it directly.
    wait("the traces", async || found().await.len() >= 3).await?;
    let found = found().await;
    let sent = found.iter().filter_map(|traced| {
        let TraceRecord::Sent(sent) = &traced.record else {
            return None;
        };
        Some(sent)
    });
    let sent: Vec<_> = sent.collect();
    anyhow::ensure!(sent.len() == 1 && sent[0].topic == TOPIC, "{found:?}");
    anyhow::ensure!(sent[0].offset_message_id == first.offset_id);
    let is_after = |record: &TraceRecord| matches!(record, TraceRecord::Consumed(after) if after.is_success && after.group == GROUP);
    anyhow::ensure!(
        found.iter().any(|traced| is_after(&traced.record)),
        "{found:?}"
    );
    Ok(())
}

async fn deletions(admin: &Admin) -> anyhow::Result<()> {
    let broker = admin.broker_address("broker-a").await?;
    admin.set_topic_permission(DYING, 4).await?;
    let config = admin.topic_config(&broker, DYING).await?;
    anyhow::ensure!(
        (config.perm, config.write_queue_nums) == (4, 2),
        "{config:?}"
    );
    let cleared = admin.delete_topic_everywhere(DYING).await?;
    anyhow::ensure!(cleared == [CLUSTER], "{cleared:?}");
    anyhow::ensure!(admin.route(DYING).await.is_err());
    anyhow::ensure!(admin.delete_topic_everywhere(DYING).await?.is_empty());
    Ok(())
}
