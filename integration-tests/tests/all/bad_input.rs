//! Whatever arrives, a server answers or closes the connection, and serves the next client.

use std::process;
use std::time::Duration;

use thrustmq_integration_tests::cluster::Cluster;
use thrustmq_integration_tests::wire::{self, RawConnection};

const SEND_MESSAGE_V2: i32 = 310;
const GET_ROUTE: i32 = 105;
const GET_BROKER_CLUSTER_INFO: i32 = 106;
const GET_BROKER_RUNTIME_INFO: i32 = 28;

/// What our servers say about a connection that sends garbage.
const GARBAGE_LINES: &[&str] = &["connection closed: what came is no frame"];

/// Random numbers for tests: splitmix64.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut value = self.0;
        value = (value ^ (value >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        value = (value ^ (value >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        value ^ (value >> 31)
    }

    fn bytes(&mut self, length_max: u64) -> Vec<u8> {
        let length = self.next() % length_max;
        (0..length).map(|_| self.next().to_le_bytes()[0]).collect()
    }
}

/// Both servers of a standalone process, each with a request that it must go on answering.
fn servers(cluster: &Cluster) -> [(String, i32); 2] {
    [
        (cluster.namesrv(), GET_BROKER_CLUSTER_INFO),
        (cluster.broker(0), GET_BROKER_RUNTIME_INFO),
    ]
}

fn both_serve(cluster: &Cluster) -> anyhow::Result<()> {
    for (address, code) in servers(cluster) {
        let answer = wire::call(&address, code, &[], b"")?;
        anyhow::ensure!(answer.code == 0, "{address} answers {answer:?}");
    }
    Ok(())
}

#[test]
fn random_bytes() -> anyhow::Result<()> {
    let seed = u64::from(process::id());
    eprintln!("seed {seed}");
    let mut random = Random(seed);
    let cluster = Cluster::standalone(&[])?;
    for _ in 0..200 {
        for (address, _) in servers(&cluster) {
            let mut connection = RawConnection::open(&address)?;
            // The server may close before it has read all.
            drop(connection.send(&garbage(&mut random)));
        }
    }
    both_serve(&cluster)?;
    cluster.stop(GARBAGE_LINES)
}

/// Loose bytes, or bytes that get as far as each of the decoders.
fn garbage(random: &mut Random) -> Vec<u8> {
    match random.next() % 4 {
        0 => random.bytes(2000),
        1 => wire::frame(&random.bytes(500), &random.bytes(500)),
        2 => {
            let mut binary = wire::frame(&random.bytes(500), &random.bytes(500));
            binary[4] = 1;
            binary
        }
        _ => damaged_request(random),
    }
}

/// A whole request with some bytes changed, none of them in the lengths.
fn damaged_request(random: &mut Random) -> Vec<u8> {
    let fields = [
        ("a", "group"),
        ("b", "topic"),
        ("c", "TBW102"),
        ("e", "0"),
        ("consumerGroup", "group"),
        ("topic", "topic"),
        ("queueId", "0"),
        ("queueOffset", "0"),
        ("maxMsgNums", "32"),
        ("sysFlag", "2"),
        ("subscription", "*"),
        ("key", "key"),
        ("brokerName", "broker-x"),
        ("brokerAddr", "127.0.0.1:1"),
        ("clusterName", "other"),
        ("brokerId", "0"),
    ];
    let codes = [
        10, 11, 12, 14, 15, 29, 34, 36, 38, 41, 103, 105, 310, 320, 322,
    ];
    let choice = usize::try_from(random.next() % 15).unwrap_or(0);
    let mut bytes = wire::request(codes[choice], 1, &fields, &random.bytes(300));
    for _ in 0..=random.next() % 8 {
        let places = u64::try_from(bytes.len() - 8).unwrap_or(1);
        let place = usize::try_from(random.next() % places).unwrap_or(0);
        bytes[8 + place] = random.next().to_le_bytes()[0];
    }
    bytes
}

#[test]
fn truncated_frames() -> anyhow::Result<()> {
    let cluster = Cluster::standalone(&[])?;
    let whole = wire::request(GET_ROUTE, 1, &[("topic", "TBW102")], b"body");
    let mut left_open = Vec::new();
    for cut in 1..whole.len() {
        for (address, _) in servers(&cluster) {
            let mut connection = RawConnection::open(&address)?;
            connection.send(&whole[..cut])?;
            if cut % 10 == 0 {
                left_open.push(connection);
            }
        }
    }
    both_serve(&cluster)?;
    drop(left_open);
    cluster.stop(&[])
}

#[test]
fn lengths_that_lie() -> anyhow::Result<()> {
    let cluster = Cluster::standalone(&[])?;
    let header = br#"{"code":105,"flag":0,"language":"JAVA","opaque":1,"version":513}"#;
    let header_length = u32::try_from(header.len())?;
    let lies: [(u32, u32); 9] = [
        (u32::MAX, header_length),
        (0x7FFF_FFFF, header_length),
        (16 * 1024 * 1024 + 1, header_length),
        (0, 0),
        (3, 0),
        (4 + header_length, header_length + 1),
        (4 + header_length, 0x00FF_FFFF),
        (4 + header_length, 0x0100_0000 | header_length),
        (4 + header_length, 0x7F00_0000 | header_length),
    ];
    for (address, _) in servers(&cluster) {
        for (length, header_length) in lies {
            let mut connection = RawConnection::open(&address)?;
            connection.send(
                &[
                    &length.to_be_bytes(),
                    &header_length.to_be_bytes(),
                    &header[..],
                ]
                .concat(),
            )?;
            anyhow::ensure!(
                connection.is_closed_by_server()?,
                "{address} keeps a connection with lengths {length:#x} {header_length:#x}"
            );
        }
    }
    both_serve(&cluster)?;
    cluster.stop(GARBAGE_LINES)
}

#[test]
fn headers_that_do_not_parse() -> anyhow::Result<()> {
    let cluster = Cluster::standalone(&[])?;
    let headers: [&[u8]; 8] = [
        b"",
        b"{",
        b"null",
        b"[1]",
        b"\xff\xfe{}",
        br#"{"code":"x","opaque":1}"#,
        br#"{"code":99999999999999999999,"opaque":1}"#,
        br#"{"code":105,"opaque":1,"extFields":[1]}"#,
    ];
    for (address, _) in servers(&cluster) {
        for header in headers {
            let mut connection = RawConnection::open(&address)?;
            connection.send(&wire::frame(header, b""))?;
            let answered = connection.receive().is_ok();
            anyhow::ensure!(
                answered || connection.is_closed_by_server()?,
                "{address} is silent after {:?}",
                String::from_utf8_lossy(header)
            );
        }
    }
    both_serve(&cluster)?;
    cluster.stop(GARBAGE_LINES)
}

#[test]
fn unknown_codes_are_answered_with_code_3() -> anyhow::Result<()> {
    let cluster = Cluster::standalone(&[])?;
    for (address, _) in servers(&cluster) {
        let mut connection = RawConnection::open(&address)?;
        for code in [-1, 0, 13, 999, 20_000, 200_070, i32::MAX, i32::MIN] {
            let answer = connection.call(code, &[("topic", "T")], b"body")?;
            assert_eq!(answer.code, 3, "{code} at {address}: {answer:?}");
            assert_eq!(
                answer.remark,
                format!(" request type {code} not supported"),
                "the text Java uses"
            );
        }
    }
    cluster.stop(&[])
}

/// Codes that need fields or a body, by server.
const NAMESRV_CODES: &[i32] = &[
    100, 101, 102, 103, 104, 105, 205, 216, 217, 219, 224, 318, 322, 327, 901, 904,
];
const BROKER_CODES: &[i32] = &[
    10, 11, 12, 14, 15, 17, 25, 29, 30, 31, 32, 33, 34, 35, 36, 38, 41, 42, 46, 200, 202, 203, 204,
    207, 208, 215, 222, 300, 307, 309, 310, 315, 320, 361,
];

#[test]
fn missing_and_malformed_fields() -> anyhow::Result<()> {
    let cluster = Cluster::standalone(&[])?;
    let malformed = [
        ("topic", ""),
        ("queueId", "x"),
        ("offset", "9999999999999999999999"),
        ("brokerId", "-"),
        ("e", "four"),
        ("b", ""),
        ("timestamp", "now"),
        ("maxNum", "1e9"),
    ];
    let bodies: [&[u8]; 4] = [b"", b"{", b"\xff\xff\xff\xff", br#"{"clientID":5}"#];
    for (address, codes) in [
        (cluster.namesrv(), NAMESRV_CODES),
        (cluster.broker(0), BROKER_CODES),
    ] {
        let mut connection = RawConnection::open(&address)?;
        for code in codes {
            for fields in [&[][..], &malformed[..]] {
                for body in bodies {
                    let answer = connection.call(*code, fields, body).map_err(|error| {
                        error.context(format!(
                            "code {code} at {address} with {fields:?}, {body:?}"
                        ))
                    })?;
                    assert!(!answer.remark.contains("panick"), "code {code}: {answer:?}");
                }
            }
        }
    }
    both_serve(&cluster)?;
    // Codes 25 and 318 take any text for properties; each unknown key is told once.
    cluster.stop(&["configuration key"])
}

#[test]
fn oversized_topics_properties_and_bodies_are_refused() -> anyhow::Result<()> {
    let cluster = Cluster::standalone(&[])?;
    let broker = cluster.broker(0);
    let long_topic = "t".repeat(300);
    let long_properties = format!("k\u{1}{}\u{2}", "v".repeat(40_000));
    let large_body = vec![b'x'; 4 * 1024 * 1024 + 1];
    for (topic, properties, body, code) in [
        (long_topic.as_str(), "", &b"body"[..], 29),
        ("T", long_properties.as_str(), &b"body"[..], 13),
        ("T", "", large_body.as_slice(), 13),
        ("T", "", &b"body"[..], 0),
    ] {
        let fields = [
            ("a", "group"),
            ("b", topic),
            ("c", "TBW102"),
            ("d", "4"),
            ("e", "0"),
            ("f", "0"),
            ("g", "1700000000000"),
            ("h", "0"),
            ("i", properties),
        ];
        let answer = wire::call(&broker, SEND_MESSAGE_V2, &fields, body)?;
        assert_eq!(answer.code, code, "{answer:?}");
    }
    cluster.stop(&[])
}

#[test]
fn a_client_that_does_not_read_does_not_hold_up_others() -> anyhow::Result<()> {
    let cluster = Cluster::standalone(&[])?;
    let mut deaf = RawConnection::open(&cluster.namesrv())?;
    deaf.set_timeout(Duration::from_secs(1))?;
    let request = wire::request(GET_BROKER_CLUSTER_INFO, 1, &[], b"").repeat(100);
    let is_held_back = (0..2000).any(|_| deaf.send(&request).is_err());
    assert!(
        is_held_back,
        "the server reads on from a client that reads nothing"
    );
    both_serve(&cluster)?;
    drop(deaf);
    cluster.stop(GARBAGE_LINES)
}
