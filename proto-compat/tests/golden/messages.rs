//! Properties, batches, ids, compression and hashes.

use std::net::SocketAddr;

use thrustmq_proto_compat::message::batch::{self, BatchItem};
use thrustmq_proto_compat::message::compress::{CompressionType, compress, decompress};
use thrustmq_proto_compat::message::id::{OffsetId, RecallHandle};
use thrustmq_proto_compat::message::properties::Properties;
use thrustmq_proto_compat::message::record::body_crc;
use thrustmq_proto_compat::message::tags_code::{string_hash, tags_code};

use crate::fixture::{bytes, number, read, text};

#[test]
fn properties_are_read_and_written() {
    for fixture in read("properties.json") {
        let properties = Properties::parse(text(&fixture["text"]));
        let expected = fixture["properties"].as_object().unwrap();
        assert_eq!(properties.len(), expected.len(), "{fixture}");
        for (name, value) in expected {
            assert_eq!(properties.get(name), Some(text(value)), "{fixture}");
        }
        let again = Properties::parse(text(&fixture["again"]));
        assert_eq!(
            properties.to_text().len(),
            text(&fixture["again"]).len(),
            "{fixture}"
        );
        assert_eq!(properties, again, "{fixture}");
    }
}

#[test]
fn batches_are_read_and_written() {
    for fixture in read("batches.json") {
        let body = bytes(&fixture["bytes"]);
        let items: Vec<BatchItem<'_>> =
            batch::decode(&body, 100).collect::<Result<_, _>>().unwrap();
        let expected = fixture["messages"].as_array().unwrap();
        assert_eq!(items.len(), expected.len());
        let mut again = Vec::new();
        for (item, expected) in items.iter().zip(expected) {
            assert_eq!(i64::from(item.flag), number(&expected["flag"]));
            assert_eq!(item.body, bytes(&expected["body"]));
            assert_eq!(item.properties, text(&expected["propertiesText"]));
            batch::encode(item, &mut again).unwrap();
        }
        assert_eq!(again, body);
    }
}

#[test]
fn ids_are_read_and_written() {
    let mut seen = [0; 2];
    for fixture in read("ids.json") {
        let id = text(&fixture["id"]);
        match text(&fixture["kind"]) {
            "offsetMsgId" => {
                let ip = text(&fixture["host"]).parse().unwrap();
                let port = u16::try_from(number(&fixture["port"])).unwrap();
                let expected = OffsetId {
                    store_host: SocketAddr::new(ip, port),
                    physical_offset: number(&fixture["offset"]),
                };
                assert_eq!(OffsetId::decode(id).unwrap(), expected);
                assert_eq!(expected.encode(), id);
                seen[0] += 1;
            }
            "recallHandle" => {
                let handle = RecallHandle::decode(id).unwrap();
                assert_eq!(handle.topic, text(&fixture["topic"]));
                assert_eq!(handle.broker_name, text(&fixture["broker"]));
                assert_eq!(handle.deliver_ms.to_string(), text(&fixture["deliverMs"]));
                assert_eq!(handle.unique_key, text(&fixture["uniqueKey"]));
                assert_eq!(handle.encode(), id);
                seen[1] += 1;
            }
            other => assert_eq!(other, "uniqueKey", "unknown kind"),
        }
    }
    assert_eq!(seen, [12, 1]);
}

#[test]
fn compressed_bodies_unpack_and_pack() {
    for fixture in read("compressed.json") {
        let flag = i32::try_from(number(&fixture["sysFlag"])).unwrap();
        let compression = CompressionType::of(flag).unwrap();
        assert_eq!(compression.sys_flag_bits() | 1, flag);
        let body_bytes = usize::try_from(number(&fixture["length"])).unwrap();
        let body = decompress(&bytes(&fixture["bytes"]), flag, body_bytes).unwrap();
        assert_eq!(body.len(), body_bytes, "{fixture}");
        assert_eq!(
            i64::from(body_crc(&body)),
            number(&fixture["crc32"]),
            "{fixture}"
        );
        let again = compress(&body, compression, 5).unwrap();
        assert_eq!(decompress(&again, flag, body_bytes).unwrap(), body);
        assert!(
            decompress(&again, flag, body_bytes - 1).is_err(),
            "the limit holds"
        );
    }
}

#[test]
fn hashes_are_java_s() {
    for fixture in read("hashes.json") {
        let of = text(&fixture["text"]);
        assert_eq!(tags_code(of), number(&fixture["tagsCode"]), "{of}");
        assert_eq!(
            i64::from(string_hash(of)),
            number(&fixture["hashCode"]),
            "{of}"
        );
        assert_eq!(
            i64::from(body_crc(of.as_bytes())),
            number(&fixture["crc32"]),
            "{of}"
        );
    }
}
