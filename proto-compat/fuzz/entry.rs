//! What hostile bytes are put through: every function that reads a peer's bytes or a file's.
//!
//! Each either refuses its input or gives something that survives being written and read again.
//! `fuzz_targets/` and `tests/hostile` both use these.

use bytes::{Bytes, BytesMut};
use serde::Serialize;
use serde::de::DeserializeOwned;
use thrustmq_proto_compat::body::*;
use thrustmq_proto_compat::command::Command;
use thrustmq_proto_compat::header::*;
use thrustmq_proto_compat::message::{batch, message_ext, properties::Properties, record};
use thrustmq_proto_compat::table::Header;
use thrustmq_proto_compat::{fastjson, frame, properties_text};

const BODY_BYTES_MAX: usize = 1024 * 1024;
const BATCH_ITEMS_MAX: usize = 1024;

/// A stream of frames, as a connection receives it.
pub(crate) fn frame(bytes: &[u8]) {
    let mut received = BytesMut::from(bytes);
    while let Ok(Some(whole)) = frame::split(&mut received) {
        if let Ok(command) = frame::decode(whole) {
            survives(&command);
        }
        if received.is_empty() {
            break;
        }
    }
}

/// A header in JSON.
pub(crate) fn json_header(header: &[u8]) {
    decode_header(0, header);
}

/// A header in the binary encoding.
pub(crate) fn binary_header(header: &[u8]) {
    decode_header(1, header);
}

/// Records, a batch and properties.
pub(crate) fn record(bytes: &[u8]) {
    if let Ok(view) = record::check(bytes, record::CheckBody::Skip) {
        assert!(view.record_bytes <= bytes.len(), "reads beyond the record");
        let properties = view.properties_text();
        for checksum in [record::Checksum::Append, record::Checksum::Omit] {
            let mut written = Vec::new();
            if record::encode(&view.as_new(&properties), checksum, &mut written).is_err() {
                continue;
            }
            let placement = record::Placement {
                queue_offset: view.queue_offset,
                physical_offset: view.physical_offset,
                store_timestamp: view.store_timestamp,
            };
            record::patch(&mut written, placement);
            let again = record::check(&written, record::CheckBody::Crc);
            assert_eq!(again.map(|r| r.body), Ok(view.body));
        }
    }
    let decoded = message_ext::decode_all(&Bytes::copy_from_slice(bytes), BODY_BYTES_MAX);
    for message in &decoded.messages {
        assert!(message.body.len() <= BODY_BYTES_MAX, "the limit holds");
    }
    assert!(batch::decode(bytes, BATCH_ITEMS_MAX).count() <= BATCH_ITEMS_MAX + 1);
    let text = String::from_utf8_lossy(bytes);
    let properties = Properties::parse(&text);
    assert_eq!(Properties::parse(&properties.to_text()), properties);
}

/// Bodies and config files, and the packed registration.
pub(crate) fn relaxed_json(bytes: &[u8]) {
    body::<HeartbeatData>(bytes);
    body::<TopicRouteData>(bytes);
    body::<RegisterBrokerBody>(bytes);
    body::<SubscriptionGroupWrapper>(bytes);
    body::<ConsumerOffsetSerializeWrapper>(bytes);
    body::<ConsumerRunningInfo>(bytes);
    body::<ConsumeStats>(bytes);
    body::<LockBatchRequestBody>(bytes);
    if let Ok(packed) = RegisterBrokerBody::from_packed(bytes, 513) {
        assert!(fastjson::to_vec(&packed).is_ok());
    }
    if let Ok(text) = std::str::from_utf8(bytes) {
        let pairs = properties_text::parse(text);
        let written = properties_text::write(pairs.iter().map(|(k, v)| (k.as_str(), v.as_str())));
        assert_eq!(properties_text::parse(&written), pairs);
    }
}

fn body<T: DeserializeOwned + Serialize + PartialEq + std::fmt::Debug>(bytes: &[u8]) {
    let Ok(body) = fastjson::from_slice::<T>(bytes) else {
        return;
    };
    for written in [fastjson::to_vec(&body), fastjson::to_pretty_vec(&body)] {
        assert_eq!(
            fastjson::from_slice::<T>(&written.unwrap()).as_ref(),
            Ok(&body)
        );
    }
}

fn decode_header(encoding: u8, header: &[u8]) {
    let header_bytes = header.len().min(0x00FF_FFFF);
    let mut whole = (header_bytes as u32).to_be_bytes().to_vec();
    whole[0] = encoding;
    whole.extend_from_slice(&header[..header_bytes]);
    if let Ok(command) = frame::decode(whole.into()) {
        survives(&command);
    }
}

fn survives(command: &Command) {
    typed::<SendMessageRequestHeaderV2>(command);
    typed::<PullMessageRequestHeader>(command);
    typed::<RegisterBrokerRequestHeader>(command);
    typed::<SearchOffsetRequestHeader>(command);
    let Ok(written) = frame::encode(command) else {
        return;
    };
    let mut received = BytesMut::from(written.as_ref());
    let again = frame::split(&mut received).unwrap().unwrap();
    let again = frame::decode(again).unwrap();
    assert_eq!(again.opaque, command.opaque);
    assert_eq!(again.flag, command.flag);
    assert_eq!(again.fields, command.fields);
    assert_eq!(
        again.remark.as_deref(),
        command.remark.as_deref().filter(|r| !r.is_empty())
    );
    assert_eq!(again.body.to_bytes(), command.body.to_bytes());
}

fn typed<H: Header>(command: &Command) {
    // Either outcome is fine; what counts is that there is one.
    let _ = command.header::<H>();
}
