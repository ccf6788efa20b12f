//! Sends: one template for all queues of a broker.

use std::net::Ipv4Addr;
use std::process;

use anyhow::bail;
use thrustmq_proto_compat::clock::Clock;
use thrustmq_proto_compat::command::{Command, Encoding};
use thrustmq_proto_compat::header::SendMessageRequestHeaderV2;
use thrustmq_proto_compat::message::batch::{self, BatchItem};
use thrustmq_proto_compat::message::id::UniqueKeys;
use thrustmq_proto_compat::message::sys_flag::TRANSACTION_PREPARED;
use thrustmq_proto_compat::message::{names, properties, property_name};
use thrustmq_proto_compat::request_code::{SendBatchMessage, SendMessageV2};
use thrustmq_proto_compat::response_code::ResponseCode;

use super::answer::Answer;
use super::arguments::{Body, Keys};
use super::measured::Measured;
use super::requests::{Counted, GROUP, refused};
use super::target::TargetQueue;
use super::template::{Place, Template, WIDE_I32};
use super::topics::{self, TopicPlaces};

/// The time and the count at the end of a unique key.
const COUNTER_DIGITS: usize = 12;

/// A frame has at most 16 MiB.
const BATCH_BYTES_MAX: usize = 15 * 1024 * 1024;
/// Bodies are random to whoever compresses them, and the same in every run.
const RANDOM_SEED: u64 = 0x9E37_79B9_7F4A_7C15;

/// Digits of a message's number, at the end of its body.
pub(super) const STAMP_DIGITS: usize = 16;

/// What messages are like.
#[derive(Debug, Clone)]
pub(super) struct Shape {
    pub(super) size_bytes: u32,
    /// Messages in a request.
    pub(super) batch: u16,
    pub(super) keys: Keys,
    pub(super) body: Body,
    pub(super) encoding: Encoding,
    /// Half messages of transactions.
    pub(super) is_half: bool,
}

impl Default for Shape {
    fn default() -> Self {
        Self {
            size_bytes: 1024,
            batch: 1,
            keys: Keys::Unique,
            body: Body::Compressible,
            encoding: Encoding::Json,
            is_half: false,
        }
    }
}

/// Makes the sends of one connection.
#[derive(Debug)]
pub(super) struct SendRequests {
    template: Template,
    first_key: String,
    queue_id: Place,
    born_timestamp: Place,
    keys: Vec<Place>,
    /// What the last unique key ended with; the start is a true key's, so the time in it is near.
    key_counter: u64,
    messages: u64,
    topic: TopicPlaces,
    queues: Vec<Destination>,
    next_queue: usize,
    clock: Clock,
}

/// Where a message goes, by the numbers that stand in its request.
#[derive(Debug, Clone, Copy, Default)]
struct Destination {
    topic: u64,
    queue_id: u64,
}

impl SendRequests {
    /// Requests for these queues. Every message has keys of its own, which differ from those of the
    /// other `connection`s.
    pub(super) fn new(
        queues: &[TargetQueue],
        shape: &Shape,
        connection: u32,
        clock: Clock,
    ) -> anyhow::Result<Self> {
        let address = Ipv4Addr::LOCALHOST.into();
        let keys = UniqueKeys::new(address, process::id(), connection, clock.clone());
        let key = keys.next_key();
        let mut request = request(queues, shape, &key, clock.now_ms())?;
        request.encoding = shape.encoding;
        let template = Template::new(request)?;
        let counter = key.len().saturating_sub(COUNTER_DIGITS);
        let counter = key.get(counter..).unwrap_or_default();
        Ok(Self {
            queue_id: template.field("e")?,
            born_timestamp: template.field("g")?,
            keys: template.ends_of(&key, COUNTER_DIGITS),
            key_counter: u64::from_str_radix(counter, 16)?,
            topic: TopicPlaces::new(&template, topic_of(queues)),
            queues: queues.iter().map(Destination::of).collect(),
            next_queue: 0,
            messages: u64::from(shape.batch.max(1)),
            clock,
            first_key: key,
            template,
        })
    }

    /// Messages in a request.
    pub(super) fn messages(&self) -> u64 {
        self.messages
    }

    /// Reads the clock for the requests that follow.
    pub(super) fn begin(&mut self) {
        let now_ms = u64::try_from(self.clock.now_ms()).unwrap_or_default();
        self.template.put_decimal(self.born_timestamp, now_ms);
    }

    /// Gives the next message, which is not of a batch, a number to know it by.
    pub(super) fn stamp(&mut self, number: u64) {
        let place = self.template.tail(STAMP_DIGITS);
        self.template.put_hex(place, number);
    }

    /// Appends the next request.
    pub(super) fn append(&mut self, slot: u16, out: &mut Vec<u8>) {
        self.next_queue = (self.next_queue + 1) % self.queues.len().max(1);
        let next = self.queues.get(self.next_queue).copied();
        let Destination { topic, queue_id } = next.unwrap_or_default();
        self.topic.put(&mut self.template, topic);
        self.template.put_decimal(self.queue_id, queue_id);
        for place in &self.keys {
            self.key_counter += 1;
            self.template.put_hex(*place, self.key_counter);
        }
        out.extend_from_slice(self.template.frame(slot));
    }

    /// The key that the template was made with; those of messages differ in their ends.
    pub(super) fn first_key(&self) -> &str {
        &self.first_key
    }

    /// What the key of the last message ends with.
    pub(super) fn last_key(&self) -> u64 {
        self.key_counter
    }

    /// Where another template has the key of a message.
    pub(super) fn ends_of_keys(&self, template: &Template) -> Vec<Place> {
        template.ends_of(&self.first_key, COUNTER_DIGITS)
    }

    /// Takes an answer.
    pub(super) fn count(&self, answer: &Answer<'_>, measured: &mut Measured) -> Counted {
        if answer.code == ResponseCode::SUCCESS {
            measured.done += self.messages;
            return Counted::Messages(self.messages);
        }
        if may_be_stored(answer.code) {
            measured.uncertain += self.messages;
        }
        refused(answer, measured)
    }
}

impl Destination {
    fn of(target: &TargetQueue) -> Self {
        Self {
            topic: topics::number(&target.queue.topic).unwrap_or_default(),
            queue_id: u64::try_from(target.queue.queue_id).unwrap_or_default(),
        }
    }
}

/// The topic that a template for these queues is made with.
pub(super) fn topic_of(queues: &[TargetQueue]) -> &str {
    let first = queues.first();
    first.map_or("", |target| target.queue.topic.as_str())
}

/// Whether a broker that refuses so may have stored the message nevertheless.
pub(super) fn may_be_stored(code: ResponseCode) -> bool {
    matches!(
        code,
        ResponseCode::SYSTEM_ERROR
            | ResponseCode::FLUSH_DISK_TIMEOUT
            | ResponseCode::SLAVE_NOT_AVAILABLE
            | ResponseCode::FLUSH_SLAVE_TIMEOUT
    )
}

fn request(
    queues: &[TargetQueue],
    shape: &Shape,
    key: &str,
    now_ms: i64,
) -> anyhow::Result<Command> {
    let first = queues.first().map(|target| target.queue.clone());
    let first = first.unwrap_or_default();
    let mut header = SendMessageRequestHeaderV2 {
        producer_group: GROUP.to_owned(),
        topic: first.topic,
        default_topic: names::AUTO_CREATE_TOPIC.to_owned(),
        default_topic_queue_nums: 4,
        queue_id: WIDE_I32,
        born_timestamp_ms: now_ms,
        batch: shape.batch > 1,
        sys_flag: if shape.is_half {
            TRANSACTION_PREPARED
        } else {
            0
        },
        broker_name: Some(first.broker_name),
        ..SendMessageRequestHeaderV2::default()
    };
    let properties = message_properties(shape, key);
    let body = message_body(shape);
    if shape.batch <= 1 {
        header.properties = Some(properties);
        return Ok(Command::request::<SendMessageV2>(&header).with_body(body));
    }
    let mut items = Vec::new();
    for _ in 0..shape.batch {
        let item = BatchItem {
            flag: 0,
            body: &body,
            properties: &properties,
        };
        batch::encode(&item, &mut items)?;
        if items.len() > BATCH_BYTES_MAX {
            bail!("--batch: more than {BATCH_BYTES_MAX} bytes in a request");
        }
    }
    Ok(Command::request::<SendBatchMessage>(&header).with_body(items))
}

fn message_properties(shape: &Shape, key: &str) -> String {
    let keys = shape.keys;
    let mut properties = String::new();
    if keys != Keys::None {
        properties::push(&mut properties, property_name::UNIQUE_KEY, key);
    }
    if keys == Keys::Both {
        properties::push(&mut properties, property_name::KEYS, key);
    }
    if shape.is_half {
        properties::push(&mut properties, property_name::TRANSACTION_PREPARED, "true");
        properties::push(&mut properties, property_name::PRODUCER_GROUP, GROUP);
    }
    properties
}

fn message_body(shape: &Shape) -> Vec<u8> {
    let size = shape.size_bytes as usize;
    match shape.body {
        Body::Compressible => vec![b'x'; size],
        Body::Random => {
            let mut state = RANDOM_SEED;
            let mut byte = || {
                state ^= state << 13;
                state ^= state >> 7;
                state ^= state << 17;
                state as u8
            };
            (0..size).map(|_| byte()).collect()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::template::decoded;
    use super::*;

    fn requests(batch: u16, encoding: Encoding, clock: &Clock) -> SendRequests {
        let queue = |queue_id| TargetQueue {
            queue: thrustmq_client::MessageQueue {
                topic: "t".into(),
                broker_name: "a".into(),
                queue_id,
            },
            offset_min: 0,
            offset_max: 0,
        };
        let shape = Shape {
            size_bytes: 100,
            batch,
            keys: Keys::Unique,
            body: Body::Compressible,
            encoding,
            is_half: false,
        };
        SendRequests::new(&[queue(0), queue(12)], &shape, 1, clock.clone()).unwrap()
    }

    fn next(requests: &mut SendRequests, slot: u16) -> (Command, SendMessageRequestHeaderV2) {
        let mut out = Vec::new();
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
        for encoding in [Encoding::Json, Encoding::Binary] {
            assert_as_the_client(encoding);
        }
    }

    fn assert_as_the_client(encoding: Encoding) {
        let clock = Clock::by_hand(1_700_000_000_000);
        let mut requests = requests(1, encoding, &clock);
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
            assert!(prefix.starts_with("7F000001") && prefix.ends_with("00000001"));
            u64::from_str_radix(counter, 16).unwrap()
        });
        assert_eq!(counters[0] + 1, counters[1]);
    }

    #[test]
    fn every_message_of_a_batch_has_a_key_of_its_own() {
        let mut requests = requests(3, Encoding::Json, &Clock::by_hand(1_700_000_000_000));
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

    #[test]
    fn both_keys_of_a_message_are_its_own() {
        let shape = Shape {
            keys: Keys::Both,
            body: Body::Random,
            ..Shape::default()
        };
        let clock = Clock::by_hand(1_700_000_000_000);
        let mut requests = SendRequests::new(&[], &shape, 1, clock).unwrap();
        let (command, first) = next(&mut requests, 0);
        let (_, second) = next(&mut requests, 0);
        let values = |header: &SendMessageRequestHeaderV2| {
            let properties = header.properties.clone().unwrap();
            let pairs = properties.split('\u{2}').filter(|pair| !pair.is_empty());
            let values = pairs.map(|pair| pair.split_once('\u{1}').unwrap().1.to_owned());
            values.collect::<Vec<_>>()
        };
        let mut keys = [values(&first), values(&second)].concat();
        keys.sort();
        keys.dedup();
        assert_eq!(keys.len(), 4);
        let body = command.body.to_bytes();
        let different: std::collections::BTreeSet<_> = body.iter().collect();
        assert!(body.len() == 1024 && different.len() > 200);
    }
}
