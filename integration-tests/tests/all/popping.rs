//! Popping by hand: leases, their ends, who waits, and what is refused.

use std::thread;
use std::time::Duration;

use thrustmq_integration_tests::popping::{self, Pop, Popped};
use thrustmq_integration_tests::requests::{self, Outgoing};
use thrustmq_integration_tests::victim::Victim;
use thrustmq_integration_tests::wire::{Answer, RawConnection};
use thrustmq_proto_compat::clock::Clock;

const TOPIC: &str = "Leased";
const GROUP: &str = "lease-group";
const RESET_OFFSET: i32 = 222;
const POP_MESSAGE: i32 = 200_050;
const ACK_MESSAGE: i32 = 200_051;
const PEEK_MESSAGE: i32 = 200_052;
const NOTIFICATION: i32 = 200_054;
const POLLING_INFO: i32 = 200_055;
const BATCH_ACK_MESSAGE: i32 = 200_151;

const WANTED: Pop<'static> = Pop {
    group: GROUP,
    topic: TOPIC,
    max: 32,
    invisible_ms: 60_000,
    poll_ms: 0,
};

fn send(connection: &mut RawConnection, bodies: &[&str]) -> anyhow::Result<()> {
    for body in bodies {
        let message = Outgoing {
            topic: TOPIC,
            body,
            ..Outgoing::default()
        };
        requests::send(connection, &message)?;
    }
    Ok(())
}

fn bodies(popped: &[Popped]) -> Vec<&str> {
    popped.iter().map(|message| message.body.as_str()).collect()
}

/// Pops until `count` messages came.
fn pop_all(
    connection: &mut RawConnection,
    wanted: &Pop<'_>,
    count: usize,
) -> anyhow::Result<Vec<Popped>> {
    let mut found = Vec::new();
    let end_ms = Clock::system().now_ms() + 60_000;
    while found.len() < count {
        anyhow::ensure!(Clock::system().now_ms() < end_ms, "only {found:?}");
        found.extend(popping::pop(connection, wanted)?);
    }
    Ok(found)
}

#[test]
fn leases_end_by_acknowledgement_or_by_time_and_only_their_own_handle_ends_them()
-> anyhow::Result<()> {
    let mut victim = Victim::new(&["flushConsumerOffsetInterval=100"])?;
    victim.start()?;
    let mut connection = victim.connect()?;
    send(&mut connection, &["a", "b", "c"])?;
    let first = pop_all(&mut connection, &WANTED, 3)?;
    assert!(
        popping::pop(&mut connection, &WANTED)?.is_empty(),
        "all are on lease"
    );
    send(&mut connection, &["d"])?;
    let short = Pop {
        invisible_ms: 300,
        ..WANTED
    };
    let short = pop_all(&mut connection, &short, 1)?;
    let changed = popping::change(&mut connection, GROUP, &first[0], 60_000)?;
    let changed = changed.expect("the handle names the lease");
    assert!(
        popping::change(&mut connection, GROUP, &first[0], 1)?.is_none(),
        "no more"
    );
    assert_eq!(
        popping::acknowledge(&mut connection, GROUP, &first[1])?.code,
        0
    );
    assert_eq!(
        acknowledge_two(&mut connection, &first[1], &first[2])?.code,
        0
    );

    let again = pop_all(&mut connection, &WANTED, 1)?;
    assert_eq!(bodies(&again), ["d"]);
    assert_eq!(
        (again[0].reconsume_times, again[0].topic.as_str()),
        (1, "%RETRY%lease-group_Leased")
    );
    assert!(Clock::system().now_ms() >= short[0].due_ms);
    assert!(popping::pop(&mut connection, &WANTED)?.is_empty());
    // The lease of `a` outlives a kill, and then its handle still ends it.
    victim.kill_and_start()?;
    let mut connection = victim.connect()?;
    assert!(popping::pop(&mut connection, &WANTED)?.is_empty());
    let now_due = popping::change(&mut connection, GROUP, &changed, 0)?.expect("its handle");
    let last = pop_all(&mut connection, &WANTED, 1)?;
    assert_eq!(bodies(&last), ["a"]);
    assert_eq!(
        popping::acknowledge(&mut connection, GROUP, &now_due)?.code,
        0
    );
    victim.stop(&[])
}

/// Both lie in one queue.
fn acknowledge_two(
    connection: &mut RawConnection,
    one: &Popped,
    other: &Popped,
) -> anyhow::Result<Answer> {
    let parts: Vec<&str> = one.handle.split(' ').collect();
    let start: i64 = parts[0].parse()?;
    let bits = 1_u8 << (one.queue_offset - start) | 1 << (other.queue_offset - start);
    // One byte in base64.
    let alphabet = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let digits = [bits >> 2, (bits & 3) << 4].map(|digit| alphabet[usize::from(digit)] as char);
    let body = format!(
        r#"{{"brokerName":"b","acks":[{{"c":"{GROUP}","t":"{TOPIC}","r":"0","so":{start},"q":{},"rq":{},"pt":{},"it":{},"b":"{}{}=="}}]}}"#,
        one.queue_id, parts[3], parts[1], parts[2], digits[0], digits[1]
    );
    connection.call(BATCH_ACK_MESSAGE, &[], body.as_bytes())
}

#[test]
fn those_who_wait_are_told_of_messages_or_that_there_are_none() -> anyhow::Result<()> {
    let mut victim = Victim::new(&[])?;
    victim.start()?;
    let mut connection = victim.connect()?;
    send(&mut connection, &["first"])?;
    assert_eq!(pop_all(&mut connection, &WANTED, 1)?.len(), 1);

    let patient = Pop {
        poll_ms: 30_000,
        ..WANTED
    };
    let mut waiting = victim.connect()?;
    let waits = thread::Builder::new().spawn(move || popping::pop(&mut waiting, &patient))?;
    let mut notified = victim.connect()?;
    let told = thread::Builder::new().spawn(move || {
        look(
            &mut notified,
            NOTIFICATION,
            &[("pollTime", "30000"), ("bornTime", "0")],
        )
    })?;
    let count = |connection: &mut RawConnection| -> anyhow::Result<bool> {
        let answer = look(connection, POLLING_INFO, &[])?;
        Ok(answer.fields["pollingNum"] == "1")
    };
    while !count(&mut connection)? {
        thread::sleep(Duration::from_millis(5));
    }
    let sent_ms = Clock::system().now_ms();
    send(&mut connection, &["second"])?;
    let popped = waits.join().expect("no panic")?;
    assert_eq!(bodies(&popped), ["second"]);
    assert!(
        Clock::system().now_ms() - sent_ms < 20_000,
        "it was not woken"
    );
    assert_eq!(told.join().expect("no panic")?.code, 0);

    let impatient = Pop {
        poll_ms: 300,
        ..WANTED
    };
    let began_ms = Clock::system().now_ms();
    let answer = popping::try_pop(&mut connection, &impatient)?;
    assert_eq!(answer.code, 210, "{answer:?}");
    assert!(Clock::system().now_ms() - began_ms >= 200);
    let peeked = look(&mut connection, PEEK_MESSAGE, &[("maxMsgNums", "8")])?;
    assert_eq!(peeked.code, 19, "{peeked:?}");
    victim.stop(&[])
}

fn look(
    connection: &mut RawConnection,
    code: i32,
    more: &[(&str, &str)],
) -> anyhow::Result<Answer> {
    let fields = [
        ("consumerGroup", GROUP),
        ("topic", TOPIC),
        ("queueId", "-1"),
    ];
    connection.call(code, &[&fields, more].concat(), b"")
}

#[test]
fn a_reset_outlives_the_leases_that_were_given_before() -> anyhow::Result<()> {
    // Only what the reset itself writes is on the disk.
    let mut victim = Victim::new(&["flushConsumerOffsetInterval=600000"])?;
    victim.start()?;
    let mut connection = victim.connect()?;
    send(&mut connection, &["a", "b", "c"])?;
    let popped = pop_all(&mut connection, &WANTED, 3)?;
    assert_eq!(
        popping::acknowledge(&mut connection, GROUP, &popped[1])?.code,
        0
    );
    let fields = [
        ("topic", TOPIC),
        ("group", GROUP),
        ("queueId", "0"),
        ("offset", "1"),
        ("timestamp", "-1"),
        ("isForce", "true"),
    ];
    let answer = connection.call(RESET_OFFSET, &fields, b"")?;
    assert_eq!(answer.code, 0, "{answer:?}");
    victim.kill_and_start()?;
    let mut connection = victim.connect()?;
    assert_eq!(bodies(&pop_all(&mut connection, &WANTED, 2)?), ["b", "c"]);
    victim.stop(&[])
}

#[test]
fn what_can_not_be_is_refused_with_javas_codes() -> anyhow::Result<()> {
    let mut victim = Victim::new(&[])?;
    victim.start()?;
    let mut connection = victim.connect()?;
    let unknown = popping::try_pop(&mut connection, &WANTED)?;
    assert_eq!(unknown.code, 17, "{unknown:?}");
    send(&mut connection, &["a"])?;
    let many = Pop { max: 33, ..WANTED };
    assert_eq!(popping::try_pop(&mut connection, &many)?.code, 29);
    let late = [
        ("consumerGroup", GROUP),
        ("topic", TOPIC),
        ("queueId", "-1"),
        ("maxMsgNums", "1"),
        ("invisibleTime", "1000"),
        ("pollTime", "0"),
        ("bornTime", "1000"),
        ("initMode", "0"),
    ];
    assert_eq!(connection.call(POP_MESSAGE, &late, b"")?.code, 210);
    for (queue_id, offset, handle, code) in [
        ("0", "0", "no handle", 13),
        ("99", "0", "0 1 1 0 0 b 99 0", 13),
        ("0", "7", "0 1 1 0 0 b 0 7", 208),
        ("0", "0", "0 1 1 0 0 b 0 0", 0),
    ] {
        let fields = [
            ("consumerGroup", GROUP),
            ("topic", TOPIC),
            ("queueId", queue_id),
            ("extraInfo", handle),
            ("offset", offset),
        ];
        let answer = connection.call(ACK_MESSAGE, &fields, b"")?;
        assert_eq!(answer.code, code, "{handle}: {answer:?}");
    }
    assert_eq!(connection.call(BATCH_ACK_MESSAGE, &[], b"")?.code, 208);
    victim.stop(&[])
}
