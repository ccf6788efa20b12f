//! Threads and the task write to one socket, in random order: every answer goes out once, in the order
//! in which it was put in, and none waits for a task that nobody woke.
//!
//! `THRUSTMQ_SEED` runs one schedule again.

use std::collections::VecDeque;
use std::io::{self, IoSlice};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Wake, Waker};

use thrustmq_proto_compat::command::Command;
use thrustmq_proto_compat::frame;

use super::{DirectWrite, Outbox, Taken};
use crate::batch::Batch;
use crate::turn::Turn;

const SEEDS: u64 = 100;
const STEPS: usize = 300;

/// Numbers that look random (xorshift).
struct Random(u64);

impl Random {
    fn below(&mut self, end: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % end
    }
}

/// A socket that takes a few bytes, until its peer reads.
#[derive(Default)]
struct Socket {
    sent: Mutex<Vec<u8>>,
    room: Mutex<usize>,
    /// What others do while a thread is in its system call.
    meanwhile: Mutex<VecDeque<Meanwhile>>,
}

type Meanwhile = Box<dyn FnOnce() + Send>;

impl DirectWrite for Socket {
    fn try_write(&self, pieces: &[IoSlice<'_>]) -> io::Result<usize> {
        let next = self.meanwhile.lock().unwrap().pop_front();
        if let Some(meanwhile) = next {
            meanwhile();
        }
        let mut room = self.room.lock().unwrap();
        let before = *room;
        for piece in pieces {
            let taken = piece.len().min(*room);
            self.sent.lock().unwrap().extend_from_slice(&piece[..taken]);
            *room -= taken;
        }
        match before - *room {
            0 => Err(io::ErrorKind::WouldBlock.into()),
            written => Ok(written),
        }
    }
}

#[derive(Default)]
struct Woken(AtomicBool);

impl Wake for Woken {
    fn wake(self: Arc<Self>) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// The connection's task, as far as it writes.
struct Task {
    outbox: Arc<Outbox>,
    socket: Arc<Socket>,
    woken: Arc<Woken>,
    waker: Waker,
    writing: Batch,
    /// It waits until the socket takes more.
    is_stuck: bool,
}

impl Task {
    fn turn(&mut self) {
        let cx = Context::from_waker(&self.waker);
        self.woken.0.store(false, Ordering::Relaxed);
        loop {
            while !self.writing.is_empty() {
                let mut slices = [IoSlice::new(&[]); 4];
                let count = self.writing.fill(&mut slices);
                match self.socket.try_write(&slices[..count]) {
                    Ok(written) => self.writing.advance(written),
                    Err(_) => {
                        self.is_stuck = true;
                        return;
                    }
                }
            }
            self.is_stuck = false;
            if self.outbox.take(&mut self.writing, &cx) != Taken::Frames {
                return;
            }
        }
    }

    fn run_if_woken(&mut self) {
        let has_room = *self.socket.room.lock().unwrap() > 0;
        if self.woken.0.load(Ordering::Relaxed) || (self.is_stuck && has_room) {
            self.turn();
        }
    }
}

fn answer(opaque: i32) -> Command {
    let mut answer = Command::new(0);
    answer.opaque = opaque;
    answer.with_body(vec![7; opaque as usize % 3 * 700])
}

fn run(seed: u64) {
    let mut random = Random(seed);
    let socket = Arc::new(Socket::default());
    let outbox = Arc::new(Outbox::new(1 << 30, 2));
    outbox.write_to(Arc::<Socket>::clone(&socket));
    let woken = Arc::new(Woken::default());
    let task = Arc::new(Mutex::new(Task {
        outbox: Arc::clone(&outbox),
        socket: Arc::clone(&socket),
        waker: Waker::from(Arc::clone(&woken)),
        woken,
        writing: Batch::default(),
        is_stuck: false,
    }));
    // Peers that read too slowly, and such as nearly keep up.
    let room_max = 1_000 << random.below(4);
    task.lock().unwrap().turn();
    let mut turn = Turn::begin();
    let mut put = 0;
    for _ in 0..STEPS {
        match random.below(8) {
            0..=2 => {
                assert!(outbox.push_answer(&answer(put), &()).is_ok());
                put += 1;
            }
            3 => {
                drop(turn);
                turn = Turn::begin();
            }
            4 => turn.flush(),
            5 => *socket.room.lock().unwrap() += random.below(room_max) as usize,
            6 => task.lock().unwrap().run_if_woken(),
            _ => {
                // Something was read, so the task runs without a wake-up; perhaps during a write.
                let task = Arc::clone(&task);
                let other: Meanwhile = Box::new(move || {
                    if let Ok(mut task) = task.try_lock() {
                        task.turn();
                    }
                });
                if random.below(2) == 0 {
                    socket.meanwhile.lock().unwrap().push_back(other);
                } else {
                    other();
                }
            }
        }
    }
    drop(turn);
    socket.meanwhile.lock().unwrap().clear();
    *socket.room.lock().unwrap() = usize::MAX;
    task.lock().unwrap().run_if_woken();
    let sent = socket.sent.lock().unwrap();
    let expected: Vec<u8> = (0..put)
        .flat_map(|opaque| frame::encode(&answer(opaque)).unwrap())
        .collect();
    assert!(
        *sent == expected,
        "THRUSTMQ_SEED={seed}: {} of {} bytes",
        sent.len(),
        expected.len()
    );
}

#[test]
fn every_answer_goes_out_once_and_in_order() {
    match std::env::var("THRUSTMQ_SEED") {
        Ok(seed) => run(seed.parse().unwrap()),
        Err(_) => (1..=SEEDS).for_each(|seed| run(seed * 0x9E37_79B9)),
    }
}
