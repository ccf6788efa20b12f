//! Pull consumers: from where the application says, by tag and condition, with and without waiting.

use std::future::IntoFuture;

use anyhow::Context;
use thrustmq_client::{Admin, Message, NewTopic, Producer, PullConsumer, Subscription};

use super::TIMEOUT;

const TOPIC: &str = "RustPulled";
const MESSAGES: i64 = 10;

pub(super) async fn run(namesrv: &str) -> anyhow::Result<()> {
    let admin = Admin::connect(namesrv).await?;
    let topic = NewTopic::named(TOPIC).queues(1);
    admin.create_topic("DefaultCluster", &topic).await?;
    admin.close().await;
    let producer = Producer::builder("rust-pulled").name_servers(namesrv);
    let producer = producer.send_timeout(TIMEOUT).start().await?;
    for n in 0..MESSAGES {
        let tag = if n % 2 == 0 { "even" } else { "odd" };
        let message = Message::new(TOPIC, n.to_string()).tag(tag);
        producer.send(message.property("n", n.to_string())).await?;
    }
    let consumer = PullConsumer::builder("rust-puller").name_servers(namesrv);
    let consumer = consumer.start().await?;
    let queues = consumer.queues(TOPIC).await?;
    let queue = queues.first().context("a queue")?;
    let waiting = async {
        while consumer.max_offset(queue).await? < MESSAGES {
            tokio::task::yield_now().await;
        }
        anyhow::Ok(())
    };
    tokio::time::timeout(TIMEOUT, waiting).await??;

    let pulled = async |offset, wanted: Subscription| {
        let pull = consumer.pull(queue, offset).subscription(wanted).await?;
        let bodies = pull.messages.iter().map(|message| message.body.clone());
        anyhow::Ok((bodies.collect::<Vec<_>>().concat(), pull.next_offset))
    };
    anyhow::ensure!(pulled(3, Subscription::all()).await? == (b"3456789".to_vec(), MESSAGES));
    anyhow::ensure!(pulled(0, Subscription::tags("odd")).await? == (b"13579".to_vec(), MESSAGES));
    anyhow::ensure!(pulled(0, Subscription::sql("n > 7")).await?.0 == b"89");
    let two = consumer.pull(queue, 4).messages_max(2).await?;
    anyhow::ensure!(two.messages.len() == 2 && two.next_offset == 6, "{two:?}");
    let beyond = consumer.pull(queue, 99).await?;
    anyhow::ensure!(
        beyond.is_moved && beyond.next_offset == MESSAGES,
        "{beyond:?}"
    );

    let waits = consumer.pull(queue, MESSAGES).wait(TIMEOUT).into_future();
    let (pull, sent) = tokio::join!(waits, producer.send(Message::new(TOPIC, "new")));
    anyhow::ensure!(sent?.queue_offset == MESSAGES);
    anyhow::ensure!(
        pull?
            .messages
            .first()
            .is_some_and(|message| message.body == "new")
    );

    anyhow::ensure!(consumer.committed(queue).await?.is_none());
    consumer.commit(queue, 7).await?;
    anyhow::ensure!(consumer.committed(queue).await? == Some(7));
    anyhow::ensure!(consumer.min_offset(queue).await? == 0);
    anyhow::ensure!(consumer.offset_at(queue, 0).await? == 0);
    consumer.shutdown().await;
    producer.shutdown().await;
    Ok(())
}
