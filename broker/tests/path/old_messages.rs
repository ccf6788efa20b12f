//! Messages of an earlier run of the broker: from the disk, and never other than they were stored.

use std::fs::{self, File};
use std::path::{Path, PathBuf};

use thrustmq_proto_compat::header::{ConsumerSendMsgBackRequestHeader, ViewMessageRequestHeader};
use thrustmq_proto_compat::request_code::{ConsumerSendMsgBack, ViewMessageById};

use crate::harness::{TestBroker, pull_header, pulled};

/// Files of the log and of the queues.
fn files_of(dir: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files.extend(files_of(&path));
        } else {
            files.push(path);
        }
    }
    files
}

/// Has the system forget what it keeps of the store in memory, if it does as it is told.
fn evict(root: &Path) {
    for dir in ["commitlog", "consumequeue"] {
        for path in files_of(&root.join(dir)) {
            let file = File::open(path).unwrap();
            file.sync_all().unwrap();
            rustix::fs::fadvise(&file, 0, None, rustix::fs::Advice::DontNeed).unwrap();
        }
    }
}

/// A broker that finds `count` messages and has none of them in memory.
async fn broker_with_old(count: i64) -> TestBroker {
    let broker = TestBroker::start().await;
    for number in 0..count {
        let body = format!("{number} {}", "x".repeat(9_000));
        broker.send("orders", 0, &body, &[]).await;
    }
    while broker.pull_some("orders", 0).await.header.max_offset < count {}
    let dir = broker.stop().await;
    let broker = TestBroker::start_in(dir, |_| {}).await;
    evict(broker.dir.path());
    broker
}

fn first_words(bodies: Vec<String>) -> Vec<String> {
    let word = |body: String| body.split(' ').next().unwrap().to_owned();
    bodies.into_iter().map(word).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn old_messages_are_pulled_viewed_and_returned() {
    let broker = broker_with_old(40).await;
    let all = broker.pull(&pull_header("g", "orders", 0, 0)).await;
    assert_eq!(all.remark, "FOUND");
    let first = all.messages[0].physical_offset;
    let mut numbers = Vec::new();
    while numbers.len() < 40 {
        evict(broker.dir.path());
        let header = pull_header("g", "orders", 0, numbers.len() as i64);
        let pulled = broker.pull(&header).await;
        assert_eq!(pulled.code.0, 0, "{}", pulled.remark);
        numbers.extend(first_words(pulled.bodies()));
    }
    let expected: Vec<String> = (0..40).map(|number| number.to_string()).collect();
    assert_eq!(numbers, expected);
    evict(broker.dir.path());
    let view = ViewMessageRequestHeader {
        topic: None,
        offset: first,
    };
    let viewed = pulled(broker.call::<ViewMessageById>(&view, vec![]).await);
    assert_eq!(first_words(viewed.bodies()), ["0"]);
    evict(broker.dir.path());
    let back = ConsumerSendMsgBackRequestHeader {
        offset: first,
        group: "g".to_owned(),
        delay_level: -1,
        ..ConsumerSendMsgBackRequestHeader::default()
    };
    let answer = broker.call::<ConsumerSendMsgBack>(&back, vec![]).await;
    assert_eq!(answer.code, 0, "{:?}", answer.remark);
    let dead = broker.pull_some("%DLQ%g", 0).await;
    assert_eq!(first_words(dead.bodies()), ["0"]);
    broker.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_damaged_message_is_refused_and_not_passed_over() {
    let broker = broker_with_old(20).await;
    let all = broker.pull(&pull_header("g", "orders", 0, 0)).await;
    let damaged = all.messages[3].physical_offset;
    let log_file = broker.dir.path().join("commitlog/00000000000000000000");
    let mut bytes = fs::read(&log_file).unwrap();
    bytes[damaged as usize + 500] ^= 4;
    fs::write(&log_file, bytes).unwrap();
    let before = broker.pull(&pull_header("g", "orders", 0, 0)).await;
    assert_eq!(first_words(before.bodies()), ["0", "1", "2"]);
    assert_eq!(before.header.next_begin_offset, 3);
    for _ in 0..2 {
        let refused = broker.pull(&pull_header("g", "orders", 0, 3)).await;
        assert_eq!(refused.code.0, 1, "{}", refused.remark);
        let place = format!("{} is damaged at byte {damaged}", log_file.display());
        assert!(refused.remark.contains(&place), "{}", refused.remark);
    }
    let behind = broker.pull(&pull_header("g", "orders", 0, 4)).await;
    assert_eq!(first_words(behind.bodies())[0], "4");
    let view = ViewMessageRequestHeader {
        topic: None,
        offset: damaged,
    };
    let viewed = broker.call::<ViewMessageById>(&view, vec![]).await;
    assert_eq!(viewed.code, 1);
    broker.stop().await;
}
