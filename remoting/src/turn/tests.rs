use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Wake, Waker};

use super::{Answers, TAKEN_OVER_MAX, Turn, send_after_turn, take_over, wake_after_turn};

/// Answers that tell who sent them.
#[derive(Default)]
struct Sent(Mutex<Vec<&'static str>>);

impl Answers for Sent {
    fn wake(&self) {
        self.0.lock().unwrap().push("by the task");
    }

    fn write(&self) {
        self.0.lock().unwrap().push("by this thread");
    }
}

/// A follower that answers somebody.
struct Answering(Arc<Sent>);

impl Wake for Answering {
    fn wake(self: Arc<Self>) {
        send_after_turn(&self.0);
    }
}

#[test]
fn what_a_follower_answers_is_written_in_the_same_turn() {
    let sent = Arc::new(Sent::default());
    let follower = Waker::from(Arc::new(Answering(Arc::clone(&sent))));
    assert!(!wake_after_turn(&follower), "there is no turn");
    let turn = Turn::begin();
    assert!(wake_after_turn(&follower) && wake_after_turn(&follower));
    assert!(sent.0.lock().unwrap().is_empty());
    drop(turn);
    assert_eq!(*sent.0.lock().unwrap(), ["by this thread"]);
    send_after_turn(&sent);
    assert_eq!(sent.0.lock().unwrap().last(), Some(&"by the task"));
}

#[test]
fn a_few_jobs_of_others_are_run_at_the_end_and_answered() {
    let ran = Arc::new(AtomicUsize::new(0));
    let sent = Arc::new(Sent::default());
    let job = || {
        let (ran, sent) = (Arc::clone(&ran), Arc::clone(&sent));
        Box::new(move || {
            ran.fetch_add(1, Ordering::Relaxed);
            send_after_turn(&sent);
        })
    };
    assert!(take_over(job()).is_err(), "there is no turn");
    for _ in 0..2 {
        ran.store(0, Ordering::Relaxed);
        let turn = Turn::begin();
        for _ in 0..TAKEN_OVER_MAX {
            assert!(take_over(job()).is_ok());
        }
        assert!(take_over(job()).is_err(), "it has enough");
        assert_eq!(ran.load(Ordering::Relaxed), 0);
        drop(turn);
        assert_eq!(ran.load(Ordering::Relaxed), TAKEN_OVER_MAX);
    }
    assert_eq!(sent.0.lock().unwrap().len(), 2 * TAKEN_OVER_MAX);
}
