use std::io::IoSlice;

use bytes::Bytes;
use thrustmq_proto_compat::clock::Clock;
use thrustmq_proto_compat::command::{Body, Command};
use thrustmq_proto_compat::frame;

use super::Batch;

fn push(batch: &mut Batch, command: &Command) {
    let mut head = Vec::new();
    frame::encode_head(command, &(), &mut head).unwrap();
    batch.push(&head, &command.body);
}

fn piece(length: usize) -> Bytes {
    let mark = u8::try_from(length % 251).unwrap();
    Bytes::from(vec![mark; length])
}

fn commands() -> Vec<Command> {
    let bodies = [
        Body::Empty,
        Body::One(piece(10)),
        Body::One(piece(5_000)),
        Body::Many(vec![
            piece(3),
            piece(2_000),
            piece(0),
            piece(1_024),
            piece(1_025),
        ]),
        Body::Many((0..200).map(|n| piece(n * 13)).collect()),
        Body::Many(vec![piece(4_096), piece(4_097)]),
        Body::Empty,
    ];
    bodies
        .into_iter()
        .map(|body| Command::new(1).with_body(body))
        .collect()
}

/// Writes the batch away in steps that `step` chooses, as a socket does.
fn drain(batch: &mut Batch, slices_max: usize, mut step: impl FnMut(usize) -> usize) -> Vec<u8> {
    let mut written = Vec::new();
    while !batch.is_empty() {
        let mut slices = vec![IoSlice::new(&[]); slices_max];
        let count = batch.fill(&mut slices);
        let offered: Vec<u8> = slices[..count].iter().flat_map(|s| s.to_vec()).collect();
        assert!(!offered.is_empty() && slices[..count].iter().all(|s| !s.is_empty()));
        let taken = step(offered.len()).clamp(1, offered.len());
        written.extend_from_slice(&offered[..taken]);
        batch.advance(taken);
    }
    written
}

#[test]
fn what_is_written_is_what_the_frames_are_however_the_socket_takes_it() {
    let seed = Clock::system().now_ms().cast_unsigned() | 1;
    println!("seed {seed}");
    let mut random = seed;
    let mut batch = Batch::default();
    for round in 0..200_usize {
        let mut expected = Vec::new();
        for command in commands() {
            push(&mut batch, &command);
            expected.extend_from_slice(&frame::encode(&command).unwrap());
        }
        assert_eq!(batch.len(), expected.len());
        let written = drain(&mut batch, 1 + round % 70, |offered| {
            random = random
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1);
            usize::try_from(random >> 33).unwrap() % (offered + offered / 2 + 1)
        });
        assert!(written == expected, "round {round}");
        batch.clear();
    }
}

#[test]
fn great_bodies_are_not_copied() {
    let body = piece(100_000);
    let mut batch = Batch::default();
    push(&mut batch, &Command::new(1).with_body(body.clone()));
    let mut slices = [IoSlice::new(&[]); 4];
    assert_eq!(batch.fill(&mut slices), 2);
    assert_eq!(slices[1].as_ptr(), body.as_ptr());
}

#[test]
fn large_buffers_are_given_back() {
    let mut batch = Batch::default();
    for _ in 0..2_000 {
        push(&mut batch, &Command::new(1).with_body(piece(1_000)));
    }
    assert!(batch.heads.capacity() > super::KEPT_BYTES_MAX);
    batch.clear();
    assert_eq!((batch.heads.capacity(), batch.len()), (0, 0));
}
