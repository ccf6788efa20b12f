//! How long a send request's header takes: `cargo run --release --example header_speed`.
#![allow(clippy::print_stdout)] // it is what this is for
#![allow(clippy::disallowed_methods)] // measures the machine, not the protocol

use std::hint::black_box;
use std::time::Instant;

use thrustmq_proto_compat::command::{Command, Encoding};
use thrustmq_proto_compat::frame;
use thrustmq_proto_compat::header::{SendMessageRequestHeaderV2, SendMessageResponseHeader};
use thrustmq_proto_compat::request_code::SendMessageV2;
use thrustmq_proto_compat::response_code::ResponseCode;

const ROUNDS: u32 = 1_000;
const SPELLS: usize = 1_000;

fn main() {
    for encoding in [Encoding::Json, Encoding::Binary] {
        let mut request = Command::request::<SendMessageV2>(&header());
        request.encoding = encoding;
        let whole = frame::encode(&request).expect("a small frame").slice(4..);
        report(encoding, "decode frame", || {
            black_box(frame::decode(black_box(whole.clone())).expect("our own frame"));
        });
        let command = frame::decode(whole.clone()).expect("our own frame");
        report(encoding, "read send header", || {
            let read = black_box(&command).header::<SendMessageRequestHeaderV2>();
            black_box(read.expect("our own header"));
        });
        let mut out = Vec::with_capacity(4096);
        report(encoding, "make and encode answer", || {
            let mut answer = Command::answer(ResponseCode::SUCCESS).with_header(&sent());
            answer.encoding = encoding;
            out.clear();
            frame::encode_head(black_box(&answer), &(), &mut out).expect("a small frame");
        });
    }
}

/// The best of many short spells, so that a busy machine does not count.
fn report(encoding: Encoding, what: &str, mut work: impl FnMut()) {
    let spell = || {
        let begin = Instant::now();
        for _ in 0..ROUNDS {
            work();
        }
        begin.elapsed().as_nanos() / u128::from(ROUNDS)
    };
    let best = std::iter::repeat_with(spell).take(SPELLS).min();
    println!("{encoding:?} {what}: {} ns", best.unwrap_or_default());
}

fn header() -> SendMessageRequestHeaderV2 {
    SendMessageRequestHeaderV2 {
        producer_group: "ProducerGroup".into(),
        topic: "TopicOfOrders".into(),
        default_topic: "TBW102".into(),
        default_topic_queue_nums: 4,
        queue_id: 3,
        born_timestamp_ms: 1_700_000_000_000,
        properties: Some(
            "KEYS\u{1}order-4711\u{2}UNIQ_KEY\u{1}7F0000010A2B18B4AAC2123456780001\u{2}WAIT\u{1}true\u{2}TAGS\u{1}TagA\u{2}".into(),
        ),
        max_reconsume_times: Some(16),
        broker_name: Some("broker-a".into()),
        ..SendMessageRequestHeaderV2::default()
    }
}

fn sent() -> SendMessageResponseHeader {
    SendMessageResponseHeader {
        msg_id: "0A01020300002A9F000000FFFFFFFFFF".into(),
        queue_id: 3,
        queue_offset: 4_294_967_296,
        transaction_id: Some("7F0000010A2B18B4AAC2123456780001".into()),
        ..SendMessageResponseHeader::default()
    }
}
