//! Sends: one template for all queues of a broker.

use bytes::{BufMut, BytesMut};
use thrustmq_proto_compat::clock::Clock;
use thrustmq_proto_compat::command::Command;
use thrustmq_proto_compat::header::SendMessageRequestHeaderV2;
use thrustmq_proto_compat::message::batch::{self, BatchItem};
use thrustmq_proto_compat::message::id::UniqueKeys;
use thrustmq_proto_compat::message::{names, properties, property_name};
use thrustmq_proto_compat::request_code::{SendBatchMessage, SendMessageV2};

use super::requests::GROUP;
use super::target::TargetQueue;
use super::template::{Place, Template, WIDE_I32};

/// The time and the count at the end of a unique key.
const COUNTER_DIGITS: usize = 12;

/// Makes the sends of one connection.
#[derive(Debug)]
pub(super) struct SendRequests {
    template: Template,
    queue_id: Place,
    born_timestamp: Place,
    keys: Vec<Place>,
    /// What the last unique key ended with; the start is a true key's, so the time in it is near.
    key_counter: u64,
    queues: Vec<u64>,
    next_queue: usize,
    clock: Clock,
}

impl SendRequests {
    /// Requests for these queues, of `batch` messages of `size_bytes`; every message has a key of
    /// its own.
    pub(super) fn new(
        queues: &[TargetQueue],
        size_bytes: u32,
        batch: u16,
        keys: &UniqueKeys,
        clock: Clock,
    ) -> anyhow::Result<Self> {
        let key = keys.next_key();
        let template = Template::new(request(queues, size_bytes, batch, &key, clock.now_ms())?)?;
        let counter = key.len().saturating_sub(COUNTER_DIGITS);
        let counter = key.get(counter..).unwrap_or_default();
        Ok(Self {
            queue_id: template.field("e")?,
            born_timestamp: template.field("g")?,
            keys: template.ends_of(&key, COUNTER_DIGITS),
            key_counter: u64::from_str_radix(counter, 16)?,
            queues: queues
                .iter()
                .map(|target| u64::try_from(target.queue.queue_id).unwrap_or_default())
                .collect(),
            next_queue: 0,
            clock,
            template,
        })
    }

    /// Messages in a request.
    pub(super) fn messages(&self) -> u64 {
        self.keys.len() as u64
    }

    /// Reads the clock for the requests that follow.
    pub(super) fn begin(&mut self) {
        let now_ms = u64::try_from(self.clock.now_ms()).unwrap_or_default();
        self.template.put_decimal(self.born_timestamp, now_ms);
    }

    /// Appends the next request.
    pub(super) fn append(&mut self, slot: u16, out: &mut BytesMut) {
        self.next_queue = (self.next_queue + 1) % self.queues.len().max(1);
        let queue_id = self.queues.get(self.next_queue).copied();
        self.template
            .put_decimal(self.queue_id, queue_id.unwrap_or_default());
        for place in &self.keys {
            self.key_counter += 1;
            self.template.put_hex(*place, self.key_counter);
        }
        out.put_slice(self.template.frame(slot));
    }
}

fn request(
    queues: &[TargetQueue],
    size_bytes: u32,
    batch: u16,
    key: &str,
    now_ms: i64,
) -> anyhow::Result<Command> {
    let first = queues.first().map(|target| target.queue.clone());
    let first = first.unwrap_or_default();
    let mut properties = String::new();
    properties::push(&mut properties, property_name::UNIQUE_KEY, key);
    let mut header = SendMessageRequestHeaderV2 {
        producer_group: GROUP.to_owned(),
        topic: first.topic,
        default_topic: names::AUTO_CREATE_TOPIC.to_owned(),
        default_topic_queue_nums: 4,
        queue_id: WIDE_I32,
        born_timestamp_ms: now_ms,
        batch: batch > 1,
        broker_name: Some(first.broker_name),
        ..SendMessageRequestHeaderV2::default()
    };
    let body = vec![b'x'; size_bytes as usize];
    if batch <= 1 {
        header.properties = Some(properties);
        return Ok(Command::request::<SendMessageV2>(&header).with_body(body));
    }
    let mut items = Vec::new();
    for _ in 0..batch {
        let item = BatchItem {
            flag: 0,
            body: &body,
            properties: &properties,
        };
        batch::encode(&item, &mut items)?;
    }
    Ok(Command::request::<SendBatchMessage>(&header).with_body(items))
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::super::template::decoded;
    use super::*;

    fn requests(batch: u16, clock: &Clock) -> SendRequests {
        let queue = |queue_id| TargetQueue {
            queue: thrustmq_client::MessageQueue {
                topic: "t".into(),
                broker_name: "a".into(),
                queue_id,
            },
            offset_min: 0,
            offset_max: 0,
        };
        let keys = UniqueKeys::new(Ipv4Addr::LOCALHOST.into(), 7, 1, clock.clone());
        SendRequests::new(&[queue(0), queue(12)], 100, batch, &keys, clock.clone()).unwrap()
    }

    fn next(requests: &mut SendRequests, slot: u16) -> (Command, SendMessageRequestHeaderV2) {
        let mut out = BytesMut::new();
        requests.begin();
        requests.append(slot, &mut out);
        let command = decoded(&out);
        let header = command.header().unwrap();
        (command, header)
    }

    fn key(properties: &str) -> &str {
        let key = properties.strip_prefix("UNIQ_KEY\u{1}").unwrap();
        let key = key.trim_end_matches('\u{2}');
        assert_eq!(key.len(), 32);
        key
    }

    #[test]
    fn a_send_is_as_the_client_writes_it() {
        let clock = Clock::by_hand(1_700_000_000_000);
        let mut requests = requests(1, &clock);
        let (first_command, first) = next(&mut requests, 3);
        clock.advance_ms(5);
        let (_, second) = next(&mut requests, 0);
        assert_eq!(
            (first_command.code, first_command.opaque),
            (310, 1_000_000_003)
        );
        assert_eq!(first_command.body.to_bytes(), vec![b'x'; 100]);
        assert_eq!(
            (first.topic.as_str(), first.producer_group.as_str()),
            ("t", GROUP)
        );
        assert_eq!(
            (first.queue_id, second.queue_id, first.batch),
            (12, 0, false)
        );
        let born = (first.born_timestamp_ms, second.born_timestamp_ms);
        assert_eq!(born, (1_700_000_000_000, 1_700_000_000_005));
        let (first, second) = (first.properties.unwrap(), second.properties.unwrap());
        let counters = [key(&first), key(&second)].map(|key| {
            let (prefix, counter) = key.split_at(20);
            assert_eq!(prefix, "7F000001000700000001");
            u64::from_str_radix(counter, 16).unwrap()
        });
        assert_eq!(counters[0] + 1, counters[1]);
    }

    #[test]
    fn every_message_of_a_batch_has_a_key_of_its_own() {
        let mut requests = requests(3, &Clock::by_hand(1_700_000_000_000));
        assert_eq!(requests.messages(), 3);
        let mut keys = Vec::new();
        for slot in 0..2 {
            let (command, header) = next(&mut requests, slot);
            assert!(header.batch && command.code == 320);
            for item in batch::decode(&command.body.to_bytes(), 10) {
                let item = item.unwrap();
                assert_eq!(item.body, [b'x'; 100]);
                keys.push(key(item.properties).to_owned());
            }
        }
        let mut unique = keys.clone();
        unique.sort();
        unique.dedup();
        assert_eq!((unique.len(), unique), (6, keys));
    }
}
