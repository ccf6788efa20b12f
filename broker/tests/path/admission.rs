//! Sends that are refused: by a slow disk, by bytes in flight, by a full disk. Every text begins as
//! Java's and then names what is saturated.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::time::Duration;

use thrustmq_broker::config::{BrokerConfig, FlushDiskType};
use thrustmq_proto_compat::command::Command;
use thrustmq_proto_compat::header::{SendMessageRequestHeaderV2, SendMessageResponseHeader};
use thrustmq_proto_compat::request_code::SendMessageV2;
use thrustmq_proto_compat::response_code::ResponseCode;
use thrustmq_store::{Disk, DiskAction, DiskOperation, DiskWatcher};
use tokio::task::JoinSet;

use crate::harness::*;

const LOG_FILE_BYTES: u64 = 8_192;

/// A disk that takes its time for new log files, or to flush, and is as full as the test says.
#[derive(Default)]
struct SlowDisk {
    create_ms: AtomicU64,
    flush_ms: AtomicU64,
    used_percent: AtomicU32,
}

impl DiskWatcher for SlowDisk {
    fn before(&self, operation: &DiskOperation<'_>) -> std::io::Result<()> {
        if !operation.path.to_string_lossy().contains("commitlog") {
            return Ok(());
        }
        let pause_ms = if operation.action == DiskAction::Create {
            self.create_ms.load(Ordering::Relaxed)
        } else if operation.action == DiskAction::FlushMap {
            self.flush_ms.load(Ordering::Relaxed)
        } else {
            0
        };
        std::thread::sleep(Duration::from_millis(pause_ms));
        Ok(())
    }

    fn after(&self, _: &DiskOperation<'_>) {}

    fn used_percent(&self, _: &Path) -> Option<u32> {
        Some(self.used_percent.load(Ordering::Relaxed))
    }
}

async fn start_on(disk: &Arc<SlowDisk>, configure: impl FnOnce(&mut BrokerConfig)) -> TestBroker {
    let watched = Disk::watched(Arc::clone(disk) as Arc<dyn DiskWatcher>);
    TestBroker::start_on(watched, tempfile::tempdir().unwrap(), |config| {
        // Every message of these tests takes a file of its own, which is made under the append lock.
        config.commit_log_file_bytes = LOG_FILE_BYTES;
        config.send_queue_wait_ms_max = 500;
        configure(config);
    })
    .await
}

/// Sends at once, each message so large that a log file takes one.
async fn send_at_once(broker: &Arc<TestBroker>, count: usize) -> Vec<Command> {
    let mut sends = JoinSet::new();
    for _ in 0..count {
        let broker = Arc::clone(broker);
        sends.spawn(async move {
            let header = send_header("t", 0, &[]);
            broker
                .call::<SendMessageV2>(&header, vec![b'x'; 4_500])
                .await
        });
    }
    sends.join_all().await
}

fn with_code(answers: &[Command], code: ResponseCode) -> Vec<&str> {
    let answers = answers.iter().filter(|answer| answer.code == code.0);
    answers
        .map(|answer| answer.remark.as_deref().unwrap_or_default())
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn slow_appends_refuse_sends_and_say_so() {
    let disk = Arc::new(SlowDisk::default());
    let broker = Arc::new(start_on(&disk, |_| {}).await);
    // The topic's first message, so that its creation is behind us.
    broker.send("t", 0, "first", &[]).await;
    disk.create_ms.store(60, Ordering::Relaxed);
    let answers = send_at_once(&broker, 60).await;
    let stored = with_code(&answers, ResponseCode::SUCCESS).len();
    let refused = with_code(&answers, ResponseCode::SYSTEM_BUSY);
    assert!(stored > 0 && stored + refused.len() == 60, "{answers:?}");
    let dropped =
        "[TIMEOUT_CLEAN_QUEUE]broker busy, start flow control for a while, period in queue: ";
    let kept_out = "[REJECTREQUEST]system busy, start flow control for a while, ";
    assert!(refused.iter().any(|remark| remark.starts_with(dropped)));
    for remark in refused {
        assert!(
            remark.starts_with(dropped) || remark.starts_with(kept_out),
            "{remark}"
        );
        let cause = ", the disk of the commit log is slow: an append takes ";
        assert!(remark.contains(cause), "{remark}");
    }
    disk.create_ms.store(0, Ordering::Relaxed);
    let sent = send_once_let_in(&broker).await;
    assert_eq!(
        sent.queue_offset,
        1 + stored as i64,
        "what was refused is not stored"
    );
}

/// Whether sends are let in is looked at every 10 ms, and on a busy machine later: for so long the last
/// look counts.
async fn send_once_let_in(broker: &TestBroker) -> SendMessageResponseHeader {
    for _ in 0..6_000 {
        let header = send_header("t", 0, &[]);
        let answer = broker.call::<SendMessageV2>(&header, b"as fast as before".to_vec());
        let answer = answer.await;
        if answer.code == ResponseCode::SUCCESS.0 {
            return answer.header().unwrap();
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("the disk is fast again, and sends are still refused");
}

#[tokio::test(flavor = "multi_thread")]
async fn without_fast_failure_slow_sends_wait() {
    let disk = Arc::new(SlowDisk::default());
    let broker = start_on(&disk, |config| config.fast_failure = false).await;
    let broker = Arc::new(broker);
    broker.send("t", 0, "first", &[]).await;
    disk.create_ms.store(30, Ordering::Relaxed);
    let answers = send_at_once(&broker, 20).await;
    assert_eq!(
        with_code(&answers, ResponseCode::SUCCESS).len(),
        20,
        "{answers:?}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn an_append_that_stands_still_keeps_sends_out() {
    let disk = Arc::new(SlowDisk::default());
    let broker = start_on(&disk, |config| {
        config.send_queue_wait_ms_max = 30_000;
        // The others have to be queued by then, on a busy machine as well.
        config.log_busy_ms_max = 1_500;
    });
    let broker = Arc::new(broker.await);
    broker.send("t", 0, "first", &[]).await;
    disk.create_ms.store(3_000, Ordering::Relaxed);
    let answers = send_at_once(&broker, 5).await;
    let mark = "[PCBUSY_CLEAN_QUEUE]broker busy, start flow control for a while, period in queue: ";
    // One that comes late, on a busy machine, finds the sends before it refused.
    let kept_out = "[REJECTREQUEST]system busy, start flow control for a while, ";
    let refused = with_code(&answers, ResponseCode::SYSTEM_BUSY);
    let is_marked = |remark: &&str| remark.starts_with(mark);
    assert!(refused.iter().any(is_marked), "{answers:?}");
    for remark in refused {
        let is_known = is_marked(&remark) || remark.starts_with(kept_out);
        assert!(is_known, "{remark}");
        assert!(remark.contains("the one under way has taken "), "{remark}");
    }
    assert!(!with_code(&answers, ResponseCode::SUCCESS).is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn sends_that_wait_for_the_disk_are_in_flight() {
    let disk = Arc::new(SlowDisk::default());
    let broker = start_on(&disk, |config| {
        config.flush_disk_type = FlushDiskType::SyncFlush;
        config.send_bytes_max = 20_000;
    });
    let broker = Arc::new(broker.await);
    broker.send("t", 0, "first", &[]).await;
    disk.flush_ms.store(300, Ordering::Relaxed);
    let answers = send_at_once(&broker, 20).await;
    let refused = with_code(&answers, ResponseCode::SYSTEM_BUSY);
    assert!(refused.len() >= 10, "{answers:?}");
    for remark in &refused {
        let text = "[OVERLOAD]system busy, start flow control for a while, ";
        assert!(remark.starts_with(text), "{remark}");
        let figures = " KiB of send requests are in flight, allowed are 20 KiB";
        assert!(remark.ends_with(figures), "{remark}");
    }
    let stored = with_code(&answers, ResponseCode::SUCCESS).len();
    assert!((1..=10).contains(&stored) && stored + refused.len() == 20);
    disk.flush_ms.store(0, Ordering::Relaxed);
    broker.send("t", 0, "room again", &[]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_disk_is_named_and_passes() {
    let disk = Arc::new(SlowDisk::default());
    disk.used_percent.store(99, Ordering::Relaxed);
    let broker = start_on(&disk, |config| {
        config.disk_warning_ratio = 90;
        config.clean_interval_ms = 10;
    });
    let broker = broker.await;
    let header = send_header("t", 0, &[]);
    let (code, remark) = refused_in_time(&broker, &header).await;
    assert_eq!(code, ResponseCode::SERVICE_NOT_AVAILABLE.0);
    let root = broker.dir.path().display();
    assert_eq!(
        remark,
        format!(
            "service not available now. The cause: the disk of the commit log is 99 % full ({root}), \
             allowed are 90 % (diskSpaceWarningLevelRatio): free space on it, or lower fileReservedTime"
        )
    );
    disk.used_percent.store(90, Ordering::Relaxed);
    for _ in 0..6_000 {
        let answer = broker.call::<SendMessageV2>(&header, b"x".to_vec()).await;
        if answer.response_code() == ResponseCode::SUCCESS {
            return;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    panic!("there is room, and nothing is taken");
}

/// The first look at the disk may come after the first send.
async fn refused_in_time(
    broker: &TestBroker,
    header: &SendMessageRequestHeaderV2,
) -> (i32, String) {
    for _ in 0..6_000 {
        let answer = broker.call::<SendMessageV2>(header, b"x".to_vec()).await;
        if answer.response_code() != ResponseCode::SUCCESS {
            return (answer.code, answer.remark.unwrap_or_default());
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    panic!("the disk is full, and sends are taken");
}
