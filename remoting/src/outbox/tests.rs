use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Wake, Waker};

use thrustmq_proto_compat::command::Command;

use super::{Closing, Outbox, PushError, Taken};
use crate::batch::Batch;
use crate::turn::Turn;

#[derive(Default)]
struct WakeCount(AtomicUsize);

impl Wake for WakeCount {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

/// An outbox whose task sleeps, and how often it was woken.
struct Asleep {
    outbox: Arc<Outbox>,
    wakes: Arc<WakeCount>,
    waker: Waker,
    batch: Batch,
}

impl Asleep {
    fn new() -> Self {
        let wakes = Arc::new(WakeCount::default());
        let mut asleep = Self {
            outbox: Arc::new(Outbox::new(10_000, 2)),
            waker: Waker::from(Arc::clone(&wakes)),
            wakes,
            batch: Batch::default(),
        };
        assert!(!asleep.take());
        asleep
    }

    fn take(&mut self) -> bool {
        let cx = Context::from_waker(&self.waker);
        self.outbox.take(&mut self.batch, &cx) == Taken::Frames
    }

    fn wakes(&self) -> usize {
        self.wakes.0.load(Ordering::Relaxed)
    }

    fn answer(&self, body_bytes: usize) -> Result<(), PushError> {
        let answer = Command::new(0).with_body(vec![1; body_bytes]);
        self.outbox.push_answer(&answer, &())
    }
}

#[test]
fn a_sleeping_task_is_woken_once_until_it_sleeps_again() {
    let mut asleep = Asleep::new();
    for _ in 0..10 {
        assert!(asleep.answer(1).is_ok());
    }
    assert_eq!(asleep.wakes(), 1);
    assert!(asleep.take());
    assert!(asleep.answer(1).is_ok());
    assert_eq!(asleep.wakes(), 1);
    assert!(asleep.take());
    assert!(!asleep.take());
    assert!(asleep.answer(1).is_ok());
    assert_eq!(asleep.wakes(), 2);
}

#[test]
fn answers_of_a_turn_wake_at_its_end_and_requests_at_once() {
    let asleep = Asleep::new();
    let other = Asleep::new();
    let turn = Turn::begin();
    assert!(asleep.answer(1).is_ok());
    assert!(asleep.answer(1).is_ok());
    assert!(other.outbox.push_request(&Command::new(1)).is_ok());
    assert_eq!((asleep.wakes(), other.wakes()), (0, 1));
    turn.flush();
    assert_eq!((asleep.wakes(), other.wakes()), (1, 1));
    drop(turn);
    assert_eq!((asleep.wakes(), other.wakes()), (1, 1));
    let later = Asleep::new();
    assert!(later.answer(1).is_ok());
    assert_eq!(later.wakes(), 1);
}

#[test]
fn requests_stop_at_the_limit_and_answers_do_not() {
    let mut asleep = Asleep::new();
    for _ in 0..3 {
        assert!(asleep.answer(5_000).is_ok());
    }
    let refused = asleep.outbox.push_request(&Command::new(1));
    assert!(matches!(refused, Err(PushError::Full)));
    assert!(asleep.outbox.is_over_limit(0));
    // Taken, but not written.
    assert!(asleep.take());
    assert!(asleep.outbox.is_over_limit(asleep.batch.len()));
    assert!(!asleep.outbox.is_over_limit(9_999));
    assert!(asleep.outbox.push_request(&Command::new(1)).is_ok());
}

#[test]
fn it_is_overfull_at_four_times_the_limit_until_it_drains() {
    let mut asleep = Asleep::new();
    for _ in 0..7 {
        assert!(asleep.answer(5_000).is_ok());
    }
    assert!(!asleep.outbox.is_overfull());
    assert!(asleep.answer(5_000).is_ok());
    assert!(asleep.outbox.is_overfull());
    assert!(asleep.take());
    assert!(asleep.outbox.is_overfull());
    assert!(!asleep.take());
    assert!(!asleep.outbox.is_overfull());
}

#[test]
fn a_stronger_wish_to_close_replaces_a_weaker_one() {
    let asleep = Asleep::new();
    asleep.outbox.request_close(Closing::Drained("a"));
    asleep.outbox.request_close(Closing::Drained("b"));
    assert!(matches!(asleep.outbox.closing(), Closing::Drained("a")));
    asleep.outbox.request_close(Closing::Now("c"));
    asleep.outbox.request_close(Closing::Drained("d"));
    assert!(matches!(asleep.outbox.closing(), Closing::Now("c")));
    assert_eq!(asleep.wakes(), 2);
    asleep.outbox.finish();
    asleep.outbox.request_close(Closing::Now("e"));
    assert!(matches!(asleep.answer(1), Err(PushError::Closed)));
    let refused = asleep.outbox.push_request(&Command::new(1));
    assert!(matches!(refused, Err(PushError::Closed)));
}

#[test]
fn buffers_are_given_back_when_nothing_waits() {
    let mut asleep = Asleep::new();
    assert!(asleep.answer(1).is_ok());
    asleep.outbox.grow_quiet();
    assert!(!asleep.outbox.take_quiet());
    assert!(asleep.take());
    assert!(!asleep.take());
    let wakes = asleep.wakes();
    asleep.outbox.grow_quiet();
    assert_eq!(asleep.wakes(), wakes + 1);
    assert!(asleep.outbox.take_quiet());
    assert!(!asleep.outbox.take_quiet());
}
