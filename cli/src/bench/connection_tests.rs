use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpListener};
use std::sync::mpsc::{Sender, channel};

use bytes::BytesMut;
use thrustmq_proto_compat::clock::Clock;
use thrustmq_proto_compat::command::Command;
use thrustmq_proto_compat::frame;
use thrustmq_proto_compat::response_code::ResponseCode;

use super::super::pace::{Closed, End, Open};
use super::super::schedule::Schedule;
use super::super::send::{SendRequests, Shape};
use super::super::target::TargetQueue;
use super::*;

const IN_FLIGHT: u16 = 8;

fn sends() -> Requests {
    let queue = TargetQueue {
        queue: thrustmq_client::MessageQueue::default(),
        offset_min: 0,
        offset_max: 0,
    };
    let shape = Shape {
        size_bytes: 10,
        ..Shape::default()
    };
    Requests::Send(SendRequests::new(&[queue], &shape, 0, Clock::system()).unwrap())
}

fn next_request(stream: &mut TcpStream, received: &mut BytesMut) -> Option<Command> {
    loop {
        if let Some(frame) = frame::split(received).unwrap() {
            return Some(frame::decode(frame).unwrap());
        }
        let mut room = [0; 1_000];
        match stream.read(&mut room).unwrap() {
            0 => return None,
            read => received.extend_from_slice(&room[..read]),
        }
    }
}

/// Answers all requests, in pieces; the first of them, where wanted, with a refusal. Says how many.
fn serve(mut stream: TcpStream, first: ResponseCode, stalls: &Sender<()>) -> u64 {
    let mut received = BytesMut::new();
    let mut answered = 0;
    while let Some(request) = next_request(&mut stream, &mut received) {
        let mut answer = Command::answer(match answered {
            0 => first,
            _ => ResponseCode::SUCCESS,
        });
        answer.opaque = request.opaque;
        answered += 1;
        if answered == 50 {
            stalls.send(()).unwrap();
            thread::sleep(Duration::from_millis(200));
        }
        for piece in frame::encode(&answer).unwrap().chunks(50) {
            stream.write_all(piece).unwrap();
        }
    }
    answered
}

struct Ran {
    measured: Measured,
    answered: u64,
}

/// The broker closes the first connection, if it should, and serves the next.
fn run(pace: Pace, first: ResponseCode, closes: bool) -> Ran {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let (stalls, _stalled) = channel();
    let broker = thread::Builder::new().spawn(move || {
        if closes {
            let (mut closed, _) = listener.accept().unwrap();
            next_request(&mut closed, &mut BytesMut::new());
        }
        serve(listener.accept().unwrap().0, first, &stalls)
    });
    let stream = open(&address).unwrap();
    let connection = Connection::new(address, IN_FLIGHT, sends(), pace);
    let sum = std::cell::RefCell::new(Measured::new());
    connection.run(stream, &|measured| sum.borrow_mut().add(measured));
    Ran {
        measured: sum.into_inner(),
        answered: broker.unwrap().join().unwrap(),
    }
}

#[test]
fn failures_are_counted_and_the_load_goes_on_until_all_is_answered() {
    let pace = Pace::Closed(Closed {
        measured_from: Instant::now(),
        end: End::Requests(100),
    });
    let Ran { measured, answered } = run(pace, ResponseCode::SYSTEM_BUSY, true);
    assert_eq!(measured.failures, 2, "{:?}", measured.first_failure);
    let kinds: Vec<_> = measured.failures_by_kind.into_iter().collect();
    assert_eq!(kinds, [("SYSTEM_BUSY".into(), 1), ("connection".into(), 1)]);
    // What was in flight on the connection that broke is not known.
    assert_eq!(measured.uncertain, 100 - answered);
    assert_eq!(
        (measured.messages, measured.done),
        (answered - 1, answered - 1)
    );
}

/// Coordinated omission: a broker that stalls for 200 ms makes all late that were due meanwhile,
/// though only a few were sent then.
#[test]
fn at_a_rate_a_stall_shows_in_the_percentiles() {
    let pace = Pace::Open(Open {
        schedule: Schedule::new(Instant::now(), 500, 0, 1),
        next: 0,
        step: 1,
    });
    let Ran { measured, answered } = run(pace, ResponseCode::SUCCESS, false);
    assert_eq!(
        (measured.messages, measured.failures, answered),
        (500, 0, 500)
    );
    // A hundred of them are due in that time.
    assert!(
        measured.latencies.at(0.9) > 50_000,
        "{}",
        measured.latencies.at(0.9)
    );
    assert!(measured.latencies.max() >= 200_000);
}
