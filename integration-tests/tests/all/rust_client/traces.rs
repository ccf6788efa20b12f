//! Java's decoder reads the traces that our producers and consumers write.

use thrustmq_client::{
    Admin, ConsumeFrom, ConsumeResult, Message, NewTopic, Producer, PushConsumer,
};
use thrustmq_integration_tests::peer::{self, HeaderEncoding};
use tokio::sync::mpsc;

use super::TIMEOUT;

const TOPIC: &str = "RustTraced";

pub(super) async fn run(namesrv: &str) -> anyhow::Result<()> {
    let admin = Admin::connect(namesrv).await?;
    let topic = NewTopic::named(TOPIC).queues(2);
    admin.create_topic("DefaultCluster", &topic).await?;
    admin.close().await;
    let ids = traced(namesrv).await?;
    let (namesrv, messages) = (namesrv.to_owned(), ids.join(","));
    let read = tokio::task::spawn_blocking(move || {
        let directory = tempfile::tempdir()?;
        let options = [("namesrv", namesrv.as_str()), ("messages", &messages)];
        let command = peer::java(directory.path(), HeaderEncoding::Json, "traces", &options);
        let run = |command| peer::run(command, directory.path(), TIMEOUT);
        command.map(run).transpose()
    });
    let Some(read) = read.await?? else {
        return Ok(());
    };
    let expected = "ok \
        Pub=traced-senders,RustTraced,a tag,one two,4,Normal_Msg,true,32 \
        SubBefore=traced-receivers,0,one two \
        SubAfter=true,one two,0,traced-receivers \
        Pub=traced-senders,RustTraced,,,5,Normal_Msg,true,32 \
        SubBefore=traced-receivers,0,null \
        SubAfter=true,null,0,traced-receivers";
    anyhow::ensure!(read == expected, "{read}");
    Ok(())
}

/// One message with a tag and keys and one without, sent and received; their ids.
async fn traced(namesrv: &str) -> anyhow::Result<Vec<String>> {
    let (received, mut messages) = mpsc::channel(2);
    let consumer = PushConsumer::builder("traced-receivers")
        .name_servers(namesrv)
        .subscribe(TOPIC, "*")
        .consume_from(ConsumeFrom::FirstOffset)
        .trace(true)
        .start(move |message| {
            // The test may have failed meanwhile.
            let _ = received.try_send(message.message_id());
            async { ConsumeResult::Success }
        })
        .await?;
    let producer = Producer::builder("traced-senders").name_servers(namesrv);
    let producer = producer.send_timeout(TIMEOUT).trace(true).start().await?;
    let full = Message::new(TOPIC, "full")
        .tag("a tag")
        .key("one")
        .key("two");
    let mut ids = Vec::new();
    for message in [full, Message::new(TOPIC, "plain")] {
        ids.push(producer.send(message).await?.msg_id);
    }
    for _ in &ids {
        tokio::time::timeout(TIMEOUT, messages.recv()).await?;
    }
    // These wait for listeners and write the traces that wait.
    producer.shutdown().await;
    consumer.shutdown().await;
    Ok(ids)
}
