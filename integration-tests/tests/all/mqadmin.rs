//! mqadmin prints against our servers what it prints against Java's.

use thrustmq_integration_tests::admin::Admin;
use thrustmq_integration_tests::cluster::Cluster;

/// Every command with what it printed.
type Transcript = Vec<(String, String)>;

const TOPIC: &str = "AdminTopic";
const GROUP: &str = "AdminGroup";

/// Commands before a client is online. NS and BROKER stand for the addresses.
const BEFORE: &[&str] = &[
    "updateTopic -n NS -b BROKER -t AdminTopic -r 4 -w 4",
    "updateTopic -n NS -c DefaultCluster -t ClusterTopic -r 2 -w 2 -p 4",
    "updateTopic -n NS -b BROKER -t bad/name -r 4 -w 4",
    "topicRoute -n NS -t AdminTopic",
    "topicRoute -n NS -t ClusterTopic -l",
    "topicRoute -n NS -t NoSuchTopic",
    "topicStatus -n NS -t ClusterTopic",
    "topicStatus -n NS -t NoSuchTopic",
    "updateSubGroup -n NS -b BROKER -g AdminGroup",
    "updateSubGroup -n NS -c DefaultCluster -g OtherGroup -s false -r 3",
    "consumerProgress -n NS -g OtherGroup",
    "consumerConnection -n NS -g OtherGroup",
    "producerConnection -n NS -g NobodyProducer -t AdminTopic",
    "sendMessage -n NS -t NoSuchTopic -p text",
];

/// Commands while a producer and a consumer are online and eight messages went through.
const DURING: &[&str] = &[
    "clusterList -n NS",
    "clusterList -n NS -m",
    "topicList -n NS",
    "topicList -n NS -c",
    "topicStatus -n NS -t AdminTopic",
    "brokerStatus -n NS -b BROKER",
    "consumerProgress -n NS -g AdminGroup",
    "consumerProgress -n NS -g AdminGroup -t AdminTopic",
    "consumerProgress -n NS",
    "consumerConnection -n NS -g AdminGroup",
    "consumerStatus -n NS -g AdminGroup",
    "producerConnection -n NS -g AdminGroup-producer -t AdminTopic",
    "queryMsgById -n NS -t AdminTopic -i OFFSET_ID",
    "queryMsgByUniqueKey -n NS -t AdminTopic -i UNIQUE_ID",
    "queryMsgByKey -n NS -t AdminTopic -k key3",
    "queryMsgByKey -n NS -t AdminTopic -k nokey",
    "queryMsgByOffset -n NS -t AdminTopic -b broker-a -i QUEUE_ID -o QUEUE_OFFSET",
    "sendMessage -n NS -t AdminTopic -p text -k sentkey -c TagS -b broker-a -i 1",
    "consumeMessage -n NS -t AdminTopic -b broker-a -i QUEUE_ID -o QUEUE_OFFSET -c 1",
    "statsAll -n NS -t AdminTopic",
    "statsAll -n NS -a -t AdminTopic",
    "getBrokerConfig -n NS -b BROKER",
    "updateBrokerConfig -n NS -b BROKER -k flushConsumerOffsetInterval -v 4000",
    "updateBrokerConfig -n NS -c DefaultCluster -k flushConsumerOffsetInterval -v 5000",
];

/// Commands after the clients left.
const AFTER: &[&str] = &[
    "consumerProgress -n NS -g AdminGroup",
    "deleteSubGroup -n NS -b BROKER -g OtherGroup",
    "deleteSubGroup -n NS -c DefaultCluster -g AdminGroup -r true",
    "deleteTopic -n NS -c DefaultCluster -t ClusterTopic",
    "deleteTopic -n NS -c DefaultCluster -t AdminTopic",
    "topicRoute -n NS -t AdminTopic",
];

#[test]
fn dump() -> anyhow::Result<()> {
    let Some(java) = Cluster::java()? else {
        return Ok(());
    };
    for (command, printed) in transcript(&java)? {
        eprintln!("$ {command}\n{printed}");
    }
    java.stop(&[])
}

fn transcript(cluster: &Cluster) -> anyhow::Result<Transcript> {
    let Some(mut admin) = Admin::start(cluster)? else {
        return Ok(Vec::new());
    };
    let mut transcript = Vec::new();
    run_all(&mut admin, cluster, BEFORE, &[], &mut transcript)?;
    admin.run(&format!("@start {TOPIC} {GROUP}"))?;
    let sent = admin.send(TOPIC, 8)?;
    let fourth = &sent[3];
    let words = [
        ("OFFSET_ID", fourth.offset_id.as_str()),
        ("UNIQUE_ID", fourth.unique_id.as_str()),
        ("QUEUE_ID", fourth.queue_id.as_str()),
        ("QUEUE_OFFSET", fourth.queue_offset.as_str()),
    ];
    run_all(&mut admin, cluster, DURING, &words, &mut transcript)?;
    admin.run("@stop")?;
    run_all(&mut admin, cluster, AFTER, &[], &mut transcript)?;
    admin.stop()?;
    Ok(transcript)
}

fn run_all(
    admin: &mut Admin,
    cluster: &Cluster,
    commands: &[&str],
    words: &[(&str, &str)],
    transcript: &mut Transcript,
) -> anyhow::Result<()> {
    for command in commands {
        let mut filled = command
            .replace("NS", &cluster.namesrv())
            .replace("BROKER", &cluster.broker(0));
        for (word, value) in words {
            filled = filled.replace(word, value);
        }
        let printed = admin.run(&filled)?;
        transcript.push(((*command).to_owned(), printed));
    }
    Ok(())
}
