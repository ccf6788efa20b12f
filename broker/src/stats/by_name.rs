//! The counters by Java's names and keys: what 315 asks for (11-observability).
//!
//! An item is there from the first time on that it is counted.

use super::traffic::{Measure, Traffic, TrafficData};
use super::{BrokerStats, ConnectionActivity};

/// Last part of the key of SNDBCK2DLQ_TIMES; its first is the owner, which no open client names.
const SEND_BACK_TO_DLQ: &str = "SEND_BACK_TO_DLQ";
const NO_OWNER: &str = "null";

impl BrokerStats {
    /// One item by Java's name and key; `None` if nothing was counted.
    pub(crate) fn find(&self, name: &str, key: &str) -> Option<TrafficData> {
        if let Some(item) = name.strip_suffix("_LATENCY") {
            return self.find_latency(item, key);
        }
        let is_cluster = key == self.cluster;
        match name {
            "SNDBCK2DLQ_TIMES" => self.find_dead_send_back(key),
            "PRODUCER_REGISTER_TIME" if is_cluster => self.producer_registrations.data(),
            "CONSUMER_REGISTER_TIME" if is_cluster => self.consumer_registrations.data(),
            "CHANNEL_ACTIVITY" => self.connections.of(activity(key)?).data(),
            _ => self.find_measure(name, key),
        }
    }

    fn find_measure(&self, name: &str, key: &str) -> Option<TrafficData> {
        let (item, measure) = split_measure(name)?;
        let of_cluster = |traffic: &Traffic| {
            let is_there = key == self.cluster && traffic.messages() > 0;
            is_there.then(|| traffic.data(measure))
        };
        match item {
            "TOPIC_PUT" => Some(self.topic(key)?.traffic.data(measure)),
            "QUEUE_PUT" => {
                let (topic, queue_id) = key.rsplit_once('@')?;
                Some(self.topic(topic)?.queue_named(queue_id)?.data(measure))
            }
            "GROUP_GET" => Some(self.group(key)?.traffic.data(measure)),
            "QUEUE_GET" => {
                let (topic, rest) = key.split_once('@')?;
                let (queue_id, group) = rest.split_once('@')?;
                let counters = self.group(&format!("{topic}@{group}"))?;
                Some(counters.queue_named(queue_id)?.data(measure))
            }
            "BROKER_PUT" => of_cluster(&self.put),
            "BROKER_GET" => of_cluster(&self.get),
            "BROKER_PUT_USERS" => of_cluster(&self.put_of_users),
            "BROKER_GET_USERS" => of_cluster(&self.get_of_users),
            "BROKER_ACK" => of_cluster(&self.acknowledged),
            "BROKER_CK" => of_cluster(&self.leased),
            _ if measure != Measure::Messages => None,
            "SNDBCK_PUT" => self.group(key)?.send_back.data(),
            "GROUP_ACK" => self.group(key)?.acknowledged.data(),
            "GROUP_CK" => self.group(key)?.leased.data(),
            "DLQ_PUT" => self.group(key)?.dead_letter.data(),
            _ => None,
        }
    }

    /// Latencies are kept by queue, which stands first in the key.
    fn find_latency(&self, item: &str, key: &str) -> Option<TrafficData> {
        let (queue_id, rest) = key.split_once('@')?;
        let latency = |traffic: &Traffic| traffic.data(Measure::Milliseconds);
        match item {
            "TOPIC_PUT" => Some(latency(&*self.topic(rest)?.queue_named(queue_id)?)),
            "GROUP_GET" if self.counts_queues => {
                Some(latency(&*self.group(rest)?.queue_named(queue_id)?))
            }
            "GROUP_GET" => Some(latency(&self.group(key)?.traffic)),
            _ => None,
        }
    }

    /// By `owner@topic@group@SEND_BACK_TO_DLQ`.
    fn find_dead_send_back(&self, key: &str) -> Option<TrafficData> {
        let (owner, rest) = key.split_once('@')?;
        let (of_group, kind) = rest.rsplit_once('@')?;
        if owner != NO_OWNER || kind != SEND_BACK_TO_DLQ {
            return None;
        }
        self.group(of_group)?.dead_send_back.data()
    }
}

fn activity(key: &str) -> Option<ConnectionActivity> {
    Some(match key {
        "CONNECT" => ConnectionActivity::Connect,
        "IDLE" => ConnectionActivity::Idle,
        "EXCEPTION" => ConnectionActivity::Exception,
        "CLOSE" => ConnectionActivity::Close,
        _ => return None,
    })
}

/// `TOPIC_PUT_NUMS` is the messages of `TOPIC_PUT`, `TOPIC_PUT_SIZE` its bytes.
fn split_measure(name: &str) -> Option<(&str, Measure)> {
    match name {
        "BROKER_PUT_NUMS_WITHOUT_SYSTEM_TOPIC" => Some(("BROKER_PUT_USERS", Measure::Messages)),
        "BROKER_GET_NUMS_WITHOUT_SYSTEM_TOPIC" => Some(("BROKER_GET_USERS", Measure::Messages)),
        _ => {
            let messages = name
                .strip_suffix("_NUMS")
                .map(|item| (item, Measure::Messages));
            messages.or_else(|| {
                name.strip_suffix("_SIZE")
                    .map(|item| (item, Measure::Bytes))
            })
        }
    }
}
