//! Figures of the running broker: 28.
//!
//! The keys and the forms of the values are Java's (`AdminBrokerProcessor.prepareRuntimeInfo`):
//! monitors read them.

use std::collections::BTreeMap;
use std::fmt::Display;
use std::path::Path;

use thrustmq_proto_compat::body::KVTable;
use thrustmq_proto_compat::message::names::SCHEDULE_TOPIC;
use thrustmq_remoting::{Handled, Incoming, Pool, Reply};

use super::disk_space;
use crate::broker::Broker;
use crate::processor::json_body;
use crate::stats::Rate;

/// Java's name of the version in [`thrustmq_proto_compat::command::CURRENT_VERSION`].
const VERSION_NAME: &str = "V5_5_0";
/// Java's default for the queues of pools that this broker has no work for.
const ABSENT_POOL_CAPACITY: usize = 100_000;

/// `GET_BROKER_RUNTIME_INFO`.
pub(crate) fn runtime_info(broker: &Broker, _: Incoming<()>) -> Handled<()> {
    let mut info = Info::default();
    broker_figures(broker, &mut info);
    put_and_get_figures(broker, &mut info);
    store_figures(broker, &mut info);
    delay_figures(broker, &mut info);
    pool_figures(broker, &mut info);
    json_body::answer(Reply::success(), &KVTable { table: info.table })
}

#[derive(Default)]
struct Info {
    table: BTreeMap<String, String>,
}

impl Info {
    fn put(&mut self, key: &str, value: impl Display) {
        self.table.insert(key.to_owned(), value.to_string());
    }
}

fn broker_figures(broker: &Broker, info: &mut Info) {
    let config = broker.config.current();
    info.put("brokerActive", true);
    info.put("brokerVersionDesc", VERSION_NAME);
    info.put("bootTimestamp", broker.started_ms);
    info.put(
        "runtime",
        runtime_text(broker.clock.now_ms() - broker.started_ms),
    );
    info.put(
        "startAcceptSendRequestTimeStamp",
        config.start_accept_send_ms,
    );
}

#[allow(clippy::cast_precision_loss)] // shown to people
fn put_and_get_figures(broker: &Broker, info: &mut Info) {
    let totals = broker.stats.totals();
    let messages = totals.put_messages().max(1);
    info.put("putMessageTimesTotal", messages);
    info.put("putMessageFailedTimes", totals.put_failures());
    info.put("putMessageSizeTotal", totals.put_bytes());
    let average = totals.put_bytes() as f64 / messages as f64;
    info.put("putMessageAverageSize", format!("{average:?}"));
    info.put("putMessageDistributeTime", totals.put_times_text());
    info.put("putMessageEntireTimeMax", totals.put_time_ms_max());
    for (key, share) in [("putLatency99", 0.99), ("putLatency999", 0.999)] {
        info.put(key, format!("{}.00", totals.put_time_ms_of(share)));
    }
    info.put("getMessageEntireTimeMax", totals.get_time_ms_max());
    info.put("putTps", totals.rates(&[Rate::Put]));
    info.put("getFoundTps", totals.rates(&[Rate::Found]));
    info.put("getMissTps", totals.rates(&[Rate::Miss]));
    info.put("getTotalTps", totals.rates(&[Rate::Found, Rate::Miss]));
    info.put("getTransferredTps", totals.rates(&[Rate::Transferred]));
    let (now, mornings) = (broker.stats.message_counts(), totals.mornings());
    info.put("msgPutTotalYesterdayMorning", mornings.yesterday.put);
    info.put("msgPutTotalTodayMorning", mornings.today.put);
    info.put("msgPutTotalTodayNow", now.put);
    info.put("msgGetTotalYesterdayMorning", mornings.yesterday.got);
    info.put("msgGetTotalTodayMorning", mornings.today.got);
    info.put("msgGetTotalTodayNow", now.got);
}

fn store_figures(broker: &Broker, info: &mut Info) {
    let config = broker.config.current();
    let marks = broker.store.watermarks();
    let counters = broker.store.counters();
    info.put("commitLogMinOffset", marks.min);
    info.put("commitLogMaxOffset", marks.written);
    info.put("dispatchBehindBytes", marks.written - marks.dispatched);
    info.put("dispatchMaxBuffer", counters.dispatch_behind_bytes_max);
    info.put("pageCacheLockTimeMills", counters.lock_held_ms);
    let earliest_ms = broker.store.earliest_store_time_of_log().unwrap_or(-1);
    info.put("earliestMessageTimeStamp", earliest_ms);
    info.put(
        "remainHowManyDataToFlush",
        bytes_text(marks.written - marks.flushed),
    );
    info.put("remainTransientStoreBufferNumbs", i32::MAX);
    let used = ratio_text(broker.store.disk_used_percent());
    let root_dir = &config.store_root_dir;
    let log_dir = config.commit_log_dir.clone();
    let log_dir = log_dir.unwrap_or_else(|| format!("{root_dir}/commitlog"));
    info.put(&format!("commitLogDiskRatio_{log_dir}"), &used);
    info.put("commitLogDiskRatio", &used);
    let used_by_queues = ratio_text(broker.store.queue_disk_used_percent());
    info.put("consumeQueueDiskRatio", used_by_queues);
    if let Some(space) = disk_space::of(Path::new(root_dir)) {
        let (total, free) = (bytes_text(space.total_bytes), bytes_text(space.free_bytes));
        info.put(
            "commitLogDirCapacity",
            format!("Total : {total}, Free : {free}."),
        );
    }
    timer_figures(broker, info);
}

/// As Java shows a share.
fn ratio_text(percent: u32) -> String {
    format!("{:?}", f64::from(percent) / 100.0)
}

/// How far the timer is, and what waits there; nothing where it is switched off.
fn timer_figures(broker: &Broker, info: &mut Info) {
    let now_ms = broker.clock.now_ms();
    let timer = broker.timer.as_ref();
    let figures = timer.map(|timer| timer.figures(&broker.store, now_ms));
    let figures = figures.unwrap_or_default();
    info.put("timerReadBehind", figures.read_behind_seconds);
    info.put("timerOffsetBehind", figures.offset_behind);
    info.put("timerCongestNum", figures.waiting);
    info.put("timerEnqueueTps", format!("{:?}", figures.entered_rate));
    info.put("timerDequeueTps", format!("{:?}", figures.left_rate));
}

/// How far each delay level is delivered, and how long its queue is.
fn delay_figures(broker: &Broker, info: &mut Info) {
    for (level, delivered) in broker.delay.progress() {
        let end = broker.store.queue_range(SCHEDULE_TOPIC, level - 1).max;
        info.put(
            &format!("scheduleMessageOffset_{level}"),
            format!("{delivered},{end}"),
        );
    }
}

fn pool_figures(broker: &Broker, info: &mut Info) {
    let pools = &broker.pools;
    pool_figure("send", &pools.send, info);
    pool_figure("pull", &pools.pull, info);
    pool_figure("litePull", &pools.lite_pull, info);
    pool_figure("query", &pools.query, info);
    // Monitors divide by these as well; acknowledgements have no pool of their own here.
    info.put("ackThreadPoolQueueSize", 0);
    info.put("ackThreadPoolQueueCapacity", ABSENT_POOL_CAPACITY);
    info.put("ackThreadPoolQueueHeadWaitTimeMills", 0);
    let ends = &pools.end_transaction;
    info.put("EndTransactionQueueSize", ends.queued());
    info.put("EndTransactionThreadPoolQueueCapacity", ends.capacity());
}

fn pool_figure(name: &str, pool: &Pool, info: &mut Info) {
    info.put(&format!("{name}ThreadPoolQueueSize"), pool.queued());
    info.put(&format!("{name}ThreadPoolQueueCapacity"), pool.capacity());
    info.put(
        &format!("{name}ThreadPoolQueueHeadWaitTimeMills"),
        pool.head_wait_ms(),
    );
}

fn runtime_text(elapsed_ms: i64) -> String {
    let seconds = elapsed_ms / 1_000;
    let (days, hours) = (seconds / 86_400, seconds / 3_600 % 24);
    let (minutes, seconds) = (seconds / 60 % 60, seconds % 60);
    format!("[ {days} days, {hours} hours, {minutes} minutes, {seconds} seconds ]")
}

/// As Java's `MixAll.humanReadableByteCount`: in steps of 1,024, one digit behind the point.
#[allow(clippy::cast_precision_loss)] // shown to people
fn bytes_text(bytes: i64) -> String {
    const STEPS: [&str; 6] = ["KiB", "MiB", "GiB", "TiB", "PiB", "EiB"];
    if bytes < 1_024 {
        return format!("{bytes} B");
    }
    let mut size = bytes as f64 / 1_024.0;
    let mut step = STEPS[0];
    for larger in &STEPS[1..] {
        if size < 1_024.0 {
            break;
        }
        size /= 1_024.0;
        step = larger;
    }
    format!("{size:.1} {step}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_shown_as_java_shows_them() {
        assert_eq!(bytes_text(0), "0 B");
        assert_eq!(bytes_text(1_023), "1023 B");
        assert_eq!(bytes_text(1_024), "1.0 KiB");
        assert_eq!(bytes_text(1_536 * 1_024), "1.5 MiB");
        assert_eq!(bytes_text(i64::MAX), "8.0 EiB");
    }

    #[test]
    fn times_are_shown_as_java_shows_them() {
        let text = runtime_text(((25 * 60 + 3) * 60 + 4) * 1_000 + 999);
        assert_eq!(text, "[ 1 days, 1 hours, 3 minutes, 4 seconds ]");
    }
}
