//! mqadmin prints against our servers what it prints against Java's.

use std::collections::BTreeSet;
use std::fs;
use std::ops::Range;
use std::thread;

use anyhow::Context;
use thrustmq_integration_tests::admin::Admin;
use thrustmq_integration_tests::cluster::Cluster;
use thrustmq_integration_tests::normal_form::NormalForm;

/// Every command with what it printed.
type Transcript = Vec<(String, String)>;

/// What updateTopicList and updateSubGroupList read.
const LISTED_TOPICS: &str = r#"[{"topicName":"ListedTopic","readQueueNums":2,"writeQueueNums":2,"perm":6,"attributes":{"+message.type":"FIFO"}}]"#;
const LISTED_GROUPS: &str = r#"[{"groupName":"ListedGroup","consumeEnable":true,"retryMaxTimes":5},{"groupName":"ListedGroup2"}]"#;

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
    "updateTopicList -n NS -b BROKER -f DIRECTORY/topics.json",
    "topicRoute -n NS -t ListedTopic",
    "updateSubGroupList -n NS -b BROKER -f DIRECTORY/groups.json",
    "getConsumerConfig -n NS -g ListedGroup",
    "updateTopicPerm -n NS -b BROKER -t ListedTopic -p 4",
    "updateTopicPerm -n NS -b BROKER -t ListedTopic -p 4",
    "updateTopicPerm -n NS -c DefaultCluster -t NoSuchTopic -p 4",
    "updateOrderConf -n NS -t ListedTopic -m put -v broker-a:2",
    "updateOrderConf -n NS -t ListedTopic -m get",
    "updateOrderConf -n NS -t ListedTopic -m delete",
    "allocateMQ -n NS -t AdminTopic -i 10.0.0.1,10.0.0.2,10.0.0.3",
    "wipeWritePerm -n NS -b broker-a",
    "topicRoute -n NS -t AdminTopic",
    "addWritePerm -n NS -b broker-a",
    "topicRoute -n NS -t AdminTopic",
    "updateKvConfig -n NS -s space -k key -v value",
    "deleteKvConfig -n NS -s space -k key",
    "haStatus -n NS -b BROKER",
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
    "producer -n NS -b BROKER",
    "queryCq -n NS -t AdminTopic -q QUEUE_ID -i 0 -c 2 -b BROKER",
    "queryCq -n NS -t NeverMadeTopic -q 0 -i 0 -c 2 -b BROKER",
    "queryCq -n NS -t AdminTopic -q QUEUE_ID -i 0 -c 2 -b BROKER -g AdminGroup",
    "setConsumeMode -n NS -b BROKER -t AdminTopic -g OtherGroup -m POP -q 2",
    "setConsumeMode -n NS -c DefaultCluster -t AdminTopic -g OtherGroup -m PULL",
    "printMsg -n NS -t AdminTopic -d true",
    "printMsg -n NS -t AdminTopic -s TagA -d false",
    "printMsgByQueue -n NS -t AdminTopic -a broker-a -i QUEUE_ID -p true -d true -f true",
    "consumerConnection -n NS -g NoSuchGroup",
    "consumerProgress -n NS -g NoSuchGroup",
    "checkMsgSendRT -n NS -t AdminTopic -a 3 -s 16",
    "cleanExpiredCQ -n NS -b BROKER",
    "cleanUnusedTopic -n NS -b BROKER",
    "deleteExpiredCommitLog -n NS -b BROKER",
    "getBrokerConfig -n NS -b BROKER",
    "updateBrokerConfig -n NS -b BROKER -k flushConsumerOffsetInterval -v 4000",
    "updateBrokerConfig -n NS -c DefaultCluster -k flushConsumerOffsetInterval -v 5000",
];

/// Commands after the clients left: a consumer that is online says how far it is only every 5 s.
const AFTER: &[&str] = &[
    "consumerProgress -n NS -g AdminGroup",
    "brokerConsumeStats -n NS -b BROKER",
    "cloneGroupOffset -n NS -s AdminGroup -d OtherGroup -t AdminTopic -o true",
    "cloneGroupOffset -n NS -s NoSuchGroup -d OtherGroup -t AdminTopic -o true",
    "consumerProgress -n NS -g OtherGroup",
    "resetOffsetByTime -n NS -g OtherGroup -t AdminTopic -s 1",
    "resetOffsetByTime -n NS -g OtherGroup -t AdminTopic -s now",
    "resetOffsetByTime -n NS -g OtherGroup -t AdminTopic -s 1 -b BROKER -q 1 -o 1",
    "resetOffsetByTime -n NS -g OtherGroup -t AdminTopic -s 1 -b BROKER -q 1 -o 999",
    "resetOffsetByTime -n NS -g NoSuchGroup -t AdminTopic -s now",
    "skipAccumulatedMessage -n NS -g OtherGroup -t AdminTopic",
    "consumerProgress -n NS -g OtherGroup -t AdminTopic",
    "exportMetadata -n NS -c DefaultCluster -f DIRECTORY",
    "exportMetadata -n NS -b BROKER -t -f DIRECTORY",
    "exportConfigs -n NS -c DefaultCluster -f DIRECTORY",
    "exportMetrics -n NS -c DefaultCluster -f DIRECTORY",
    "deleteSubGroup -n NS -b BROKER -g OtherGroup",
    "deleteSubGroup -n NS -c DefaultCluster -g AdminGroup -r true",
    "deleteTopic -n NS -c DefaultCluster -t ClusterTopic",
    "deleteTopic -n NS -c DefaultCluster -t AdminTopic",
    "topicRoute -n NS -t AdminTopic",
];

/// Commands whose lines come in the order of a server's hash map.
const UNORDERED: &[&str] = &["topicList", "consumerProgress -n NS", "producer -n"];

/// Keys of brokerStatus whose values do not depend on the moment.
const STEADY_STATUS: &[&str] = &[
    "ackThreadPoolQueueCapacity",
    "brokerActive",
    "brokerVersionDesc",
    "commitLogMinOffset",
    "dispatchBehindBytes",
    "msgGetTotalTodayNow",
    "msgPutTotalTodayNow",
    "pullThreadPoolQueueCapacity",
    "putMessageFailedTimes",
    "putMessageSizeTotal",
    "putMessageTimesTotal",
    "queryThreadPoolQueueCapacity",
    "sendThreadPoolQueueCapacity",
];

/// Configuration keys whose values differ on purpose, or by where the servers of this test stand.
const OWN_CONFIGURATION: &[&str] = &[
    // Sizes of pools that we chose; one thread appends.
    "sendMessageThreadPoolNums",
    "queryMessageThreadPoolNums",
    // Ours alone: Java has no limit of bytes.
    "sendBytesInFlightMax",
    // A system property of Java's broker.
    "lockMaxLiveTime",
    // The Java broker of this test has small files and its own directories and ports.
    "listenPort",
    "haListenPort",
    "mappedFileSizeCommitLog",
    "mappedFileSizeConsumeQueue",
    "maxHashSlotNum",
    "maxIndexNum",
    "enablePropertyFilter",
    "transactionCheckInterval",
    "transactionOpBatchInterval",
    "transactionTimeOut",
    "namesrvAddr",
    "rocketmqHome",
    "storePathCommitLog",
    "storePathRootDir",
    "brokerIP2",
];

#[test]
fn mqadmin_prints_what_it_prints_against_java() -> anyhow::Result<()> {
    let java = thread::Builder::new()
        .name("java-transcript".to_owned())
        .spawn(java_transcript)?;
    let ours = our_transcript();
    let Some(java) = java.join().expect("the Java transcript panicked")? else {
        return Ok(());
    };
    let form = NormalForm::new()?;
    let differences: Vec<String> = java
        .iter()
        .zip(ours?.context("Java was there before")?)
        .filter_map(|((command, theirs), (_, ours))| difference(&form, command, theirs, &ours))
        .collect();
    assert!(differences.is_empty(), "{}", differences.join("\n"));
    Ok(())
}

fn java_transcript() -> anyhow::Result<Option<Transcript>> {
    let Some(cluster) = Cluster::java()? else {
        return Ok(None);
    };
    let transcript = transcript(&cluster)?;
    cluster.stop(&[])?;
    Ok(transcript)
}

fn our_transcript() -> anyhow::Result<Option<Transcript>> {
    // Java's default: without a checksum among each message's properties.
    let cluster = Cluster::standalone(&["enabledAppendPropCRC=false"])?;
    let transcript = transcript(&cluster)?;
    cluster.stop(&[])?;
    Ok(transcript)
}

/// What differs between the two outputs of a command, line by line; None when they agree.
fn difference(form: &NormalForm, command: &str, theirs: &str, ours: &str) -> Option<String> {
    let mut theirs = form.lines(theirs);
    let mut ours = form.lines(ours);
    if UNORDERED.iter().any(|name| command.starts_with(name)) {
        theirs.sort();
        ours.sort();
    }
    match command.split(' ').next() {
        Some("brokerStatus") => {
            theirs = steady_status(&theirs);
            ours = steady_status(&ours);
        }
        Some("getBrokerConfig") => {
            ours.retain(|line| !has_key_of(OWN_CONFIGURATION, line));
            theirs.retain(|line| ours.contains(line));
            theirs.sort();
            ours.sort();
        }
        // Measured values, and the queue that a producer happens to begin with.
        Some("statsAll" | "sendMessage" | "checkMsgSendRT") => {
            theirs = without_numbers(&theirs);
            ours = without_numbers(&ours);
        }
        _ => {}
    }
    let missing = lines_only_in("-", &theirs, &ours);
    let added = lines_only_in("+", &ours, &theirs);
    (theirs != ours).then(|| format!("$ {command}\n{missing}{added}"))
}

fn lines_only_in(mark: &str, here: &[String], there: &[String]) -> String {
    here.iter()
        .filter(|line| !there.contains(line))
        .map(|line| format!("{mark} {line}\n"))
        .collect()
}

fn has_key_of(keys: &[&str], line: &str) -> bool {
    line.split(' ')
        .next()
        .is_some_and(|key| keys.contains(&key))
}

/// Every key, and the value where it is steady.
fn steady_status(lines: &[String]) -> Vec<String> {
    let key = |line: &String| line.split([' ', ':']).next().unwrap_or_default().to_owned();
    lines
        .iter()
        .map(|line| {
            if has_key_of(STEADY_STATUS, &key(line)) {
                line.clone()
            } else {
                key(line)
            }
        })
        .collect()
}

fn without_numbers(lines: &[String]) -> Vec<String> {
    let is_measured = |word: &&str| *word != "FLOAT" && word.parse::<u64>().is_err();
    lines
        .iter()
        .map(|line| {
            line.split(' ')
                .filter(is_measured)
                .collect::<Vec<_>>()
                .join(" ")
        })
        .collect()
}

/// None where there is no Java.
fn transcript(cluster: &Cluster) -> anyhow::Result<Option<Transcript>> {
    let Some(mut admin) = Admin::start(cluster)? else {
        return Ok(None);
    };
    let directory = cluster.directory();
    fs::write(directory.join("topics.json"), LISTED_TOPICS)?;
    fs::write(directory.join("groups.json"), LISTED_GROUPS)?;
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
    our_numbers_are_those_of_mqadmin(&mut admin, cluster)?;
    run_all(&mut admin, cluster, AFTER, &[], &mut transcript)?;
    admin.stop()?;
    Ok(Some(transcript))
}

fn run_all(
    admin: &mut Admin,
    cluster: &Cluster,
    commands: &[&str],
    words: &[(&str, &str)],
    transcript: &mut Transcript,
) -> anyhow::Result<()> {
    let directory = cluster.directory().display().to_string();
    for command in commands {
        let mut filled = command
            .replace("NS", &cluster.namesrv())
            .replace("BROKER", &cluster.broker(0))
            .replace("DIRECTORY", &directory);
        for (word, value) in words {
            filled = filled.replace(word, value);
        }
        let printed = admin.run(&filled)?;
        transcript.push(((*command).to_owned(), printed));
    }
    Ok(())
}

/// Offsets by queue, as rows of text.
type Numbers = BTreeSet<String>;

/// What our client says of the queues and the group is what mqadmin prints.
fn our_numbers_are_those_of_mqadmin(admin: &mut Admin, cluster: &Cluster) -> anyhow::Result<()> {
    let namesrv = cluster.namesrv();
    let runtime = tokio::runtime::Runtime::new()?;
    let (topic, group) = runtime.block_on(our_numbers(&namesrv))?;
    // Broker, queue, first and next offset.
    let printed = admin.run(&format!("topicStatus -n {namesrv} -t {TOPIC}"))?;
    let theirs = columns(&printed, "broker-a", 0..4);
    anyhow::ensure!(
        topic.len() == 4 && topic == theirs,
        "{topic:?}, not {printed}"
    );
    // Topic, broker, queue, next and committed offset, and what is between.
    let printed = admin.run(&format!(
        "consumerProgress -n {namesrv} -g {GROUP} -t {TOPIC}"
    ))?;
    let theirs = columns(&printed, TOPIC, 0..6);
    anyhow::ensure!(
        group.len() == 4 && group == theirs,
        "{group:?}, not {printed}"
    );
    Ok(())
}

async fn our_numbers(namesrv: &str) -> anyhow::Result<(Numbers, Numbers)> {
    let client = thrustmq_client::Admin::connect(namesrv).await?;
    let topic = client.topic_stats(TOPIC).await?.into_iter().map(|found| {
        let (queue, offsets) = (found.queue, found.offsets);
        let (broker, number) = (queue.broker_name, queue.queue_id);
        format!("{broker} {number} {} {}", offsets.min, offsets.max)
    });
    let group = client.lag_in(GROUP, TOPIC).await?.into_iter().map(|found| {
        let (lag, queue) = (found.messages(), found.queue);
        let (broker, number) = (queue.broker_name, queue.queue_id);
        let (end, committed) = (found.end, found.committed);
        format!("{TOPIC} {broker} {number} {end} {committed} {lag}")
    });
    let numbers = (topic.collect(), group.collect());
    client.close().await;
    Ok(numbers)
}

/// Columns of the lines that begin with a word.
fn columns(printed: &str, first: &str, wanted: Range<usize>) -> Numbers {
    let rows = printed
        .lines()
        .map(|line| line.split_whitespace().collect::<Vec<_>>());
    rows.filter(|row| row.first() == Some(&first))
        .filter_map(|row| Some(row.get(wanted.clone())?.join(" ")))
        .collect()
}
