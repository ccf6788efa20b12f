use super::*;
use crate::message::sys_flag;
use std::net::SocketAddr;

const PLACE: Placement = Placement {
    queue_offset: 7,
    physical_offset: 1_000,
    store_timestamp: 1_700_000_000_123,
};

fn message<'a>() -> NewMessage<'a> {
    NewMessage {
        topic: "Topic",
        queue_id: 3,
        flag: 9,
        sys_flag: sys_flag::COMPRESSED,
        born_timestamp: 1_700_000_000_000,
        born_host: "10.0.0.1:4000".parse().unwrap(),
        store_host: "10.0.0.2:10911".parse().unwrap(),
        reconsume_times: 2,
        prepared_transaction_offset: 55,
        body: b"hello",
        properties: "TAGS\u{1}a\u{2}",
    }
}

fn stored(message: &NewMessage<'_>) -> Vec<u8> {
    let mut bytes = Vec::new();
    let length = encode(message, Checksum::Omit, &mut bytes).unwrap();
    assert_eq!(length, bytes.len());
    patch(&mut bytes, PLACE);
    bytes
}

#[test]
fn a_record_reads_back_as_written() {
    let message = message();
    let bytes = stored(&message);
    assert_eq!(bytes.len(), 91 + 5 + 5 + 7);
    let view = check(&bytes, CheckBody::Crc).unwrap();
    assert_eq!(view.magic, MAGIC_V1);
    assert_eq!(view.record_bytes, bytes.len());
    assert_eq!(view.queue_id, 3);
    assert_eq!(queue_id(&bytes), 3);
    assert_eq!(view.flag, 9);
    assert_eq!(view.queue_offset, 7);
    assert_eq!(view.physical_offset, 1_000);
    assert_eq!(view.store_timestamp, 1_700_000_000_123);
    assert_eq!(view.sys_flag, sys_flag::COMPRESSED);
    assert_eq!(view.born_timestamp, 1_700_000_000_000);
    assert_eq!(view.born_host, message.born_host);
    assert_eq!(view.store_host, message.store_host);
    assert_eq!(view.reconsume_times, 2);
    assert_eq!(view.prepared_transaction_offset, 55);
    assert_eq!(view.body, b"hello");
    assert_eq!(view.topic, "Topic");
    assert_eq!(view.properties_text(), "TAGS\u{1}a\u{2}");
    let mut again = Vec::new();
    encode(
        &view.as_new(&view.properties_text()),
        Checksum::Omit,
        &mut again,
    )
    .unwrap();
    patch(&mut again, PLACE);
    assert_eq!(again, bytes);
}

#[test]
fn every_pair_of_address_families_works() {
    let hosts: [SocketAddr; 2] = [
        "1.2.3.4:5".parse().unwrap(),
        "[2001:db8::1]:6".parse().unwrap(),
    ];
    for born_host in hosts {
        for store_host in hosts {
            let message = NewMessage {
                born_host,
                store_host,
                sys_flag: sys_flag::BORN_HOST_V6,
                ..message()
            };
            let bytes = stored(&message);
            let view = check(&bytes, CheckBody::Crc).unwrap();
            assert_eq!(view.born_host, born_host);
            assert_eq!(view.store_host, store_host);
            assert_eq!(view.store_timestamp, PLACE.store_timestamp);
            assert_eq!(
                view.sys_flag & sys_flag::BORN_HOST_V6 != 0,
                born_host.is_ipv6()
            );
        }
    }
}

#[test]
fn a_mapped_ipv4_peer_is_stored_as_ipv4() {
    let message = NewMessage {
        born_host: "[::ffff:1.2.3.4]:5".parse().unwrap(),
        ..message()
    };
    let bytes = stored(&message);
    let view = check(&bytes, CheckBody::Crc).unwrap();
    assert_eq!(view.born_host, "1.2.3.4:5".parse::<SocketAddr>().unwrap());
}

#[test]
fn a_long_topic_takes_a_v2_record() {
    for (length, magic) in [(127, MAGIC_V1), (128, MAGIC_V2), (255, MAGIC_V2)] {
        let topic = "t".repeat(length);
        let bytes = stored(&NewMessage {
            topic: &topic,
            ..message()
        });
        let view = check(&bytes, CheckBody::Crc).unwrap();
        assert_eq!((view.magic, view.topic), (magic, topic.as_str()));
    }
}

#[test]
fn what_does_not_fit_is_refused() {
    let long = "x".repeat(40_000);
    let mut bytes = Vec::new();
    let topic = NewMessage {
        topic: &long,
        ..message()
    };
    assert_eq!(
        encode(&topic, Checksum::Omit, &mut bytes),
        Err(EncodeError::TopicLength { bytes: 40_000 })
    );
    let properties = NewMessage {
        properties: &long,
        ..message()
    };
    assert_eq!(
        encode(&properties, Checksum::Omit, &mut bytes),
        Err(EncodeError::PropertiesTooLong { bytes: 40_000 })
    );
    let empty = NewMessage {
        topic: "",
        ..message()
    };
    assert_eq!(
        encode(&empty, Checksum::Omit, &mut bytes),
        Err(EncodeError::TopicLength { bytes: 0 })
    );
    assert!(bytes.is_empty());
}

#[test]
fn torn_and_foreign_bytes_are_told_apart() {
    let bytes = stored(&message());
    for cut in 0..bytes.len() {
        let error = check(&bytes[..cut], CheckBody::Crc).unwrap_err();
        assert!(
            matches!(error, RecordError::Truncated { .. }),
            "cut {cut}: {error}"
        );
    }
    assert_eq!(
        check(&[0; 100], CheckBody::Crc),
        Err(RecordError::Unwritten)
    );
    let filler = [&blank(500)[..], &[0; 492]].concat();
    assert_eq!(
        check(&filler, CheckBody::Crc),
        Err(RecordError::Blank { bytes: 500 })
    );
    let mut foreign = bytes.clone();
    foreign[4] = 0;
    assert!(matches!(
        check(&foreign, CheckBody::Crc),
        Err(RecordError::BadMagic(_))
    ));
    let mut changed = bytes.clone();
    changed[90] ^= 1;
    assert!(matches!(
        check(&changed, CheckBody::Crc),
        Err(RecordError::BadCrc { .. })
    ));
    assert!(check(&changed, CheckBody::Skip).is_ok());
}

#[test]
fn a_tail_of_zeros_is_seen() {
    for properties in ["TAGS\u{1}a\u{2}", ""] {
        let bytes = stored(&NewMessage {
            properties,
            ..message()
        });
        assert!(!check(&bytes, CheckBody::Crc).unwrap().ends_in_zeros());
        for cut in 1..bytes.len() {
            let mut torn = bytes.clone();
            torn[cut..].fill(0);
            let sound = check(&torn, CheckBody::Crc).is_ok_and(|view| !view.ends_in_zeros());
            assert_eq!(sound, torn == bytes, "cut at {cut}");
        }
    }
}

#[test]
fn no_byte_makes_the_parser_panic_or_read_beyond() {
    let bytes = stored(&message());
    for at in 0..bytes.len() {
        for value in [0x00, 0x7F, 0x80, 0xFF] {
            let mut changed = bytes.clone();
            changed[at] = value;
            if let Ok(view) = check(&changed, CheckBody::Skip) {
                assert!(view.record_bytes <= changed.len());
            }
        }
    }
}

fn stored_with(properties: &str, checksum: Checksum) -> Vec<u8> {
    let message = NewMessage {
        properties,
        ..message()
    };
    let mut bytes = Vec::new();
    encode(&message, checksum, &mut bytes).unwrap();
    patch(&mut bytes, PLACE);
    bytes
}

#[test]
fn placing_a_record_again_renews_its_checksum() {
    let mut bytes = stored_with("TAGS\u{1}a\u{2}", Checksum::Append);
    let before = bytes.clone();
    let elsewhere = Placement {
        queue_offset: 8,
        ..PLACE
    };
    patch(&mut bytes, elsewhere);
    assert!(check(&bytes, CheckBody::CrcDemanded).is_ok());
    let ending = bytes.len() - checksum::CHECKSUM_BYTES;
    assert_ne!(bytes[ending..], before[ending..]);
}

#[test]
fn a_record_without_checksum_never_ends_in_what_looks_like_a_damaged_one() {
    let stale = "__CRC32#\u{1}1234567890\u{2}";
    assert_eq!(stored_with(stale, Checksum::Omit).len(), 91 + 5 + 5);
    for at in 0..=8 {
        let mut like = stale.as_bytes().to_vec();
        like[at] = b'X';
        let like = String::from_utf8(like).unwrap();
        let bytes = stored_with(&like, Checksum::Omit);
        let view = check(&bytes, CheckBody::Crc).unwrap();
        let properties = view.properties_text();
        assert!(properties.starts_with(&like), "{properties:?} of {like:?}");
    }
}

#[test]
fn a_hole_that_a_power_cut_left_is_seen_wherever_it_lies() {
    for properties in ["KEYS\u{1}key\u{2}TAGS\u{1}a\u{2}", ""] {
        let bytes = stored_with(properties, Checksum::Append);
        for from in 0..bytes.len() {
            for to in from + 1..=bytes.len() {
                let mut torn = bytes.clone();
                torn[from..to].fill(0);
                let sound = check(&torn, CheckBody::Crc).is_ok_and(|view| !view.ends_in_zeros());
                assert_eq!(sound, torn == bytes, "{from}..{to} of {}", bytes.len());
            }
        }
    }
}

#[test]
fn a_checksum_that_travelled_is_not_compared() {
    let mut bytes = stored_with("", Checksum::Append);
    let place_of_queue_id = QUEUE_ID_AT + 3;
    bytes[place_of_queue_id] ^= 1;
    assert!(check(&bytes, CheckBody::BodyCrc).is_ok());
    assert!(matches!(
        check(&bytes, CheckBody::Crc),
        Err(RecordError::BadRecordCrc { .. })
    ));
}
