use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use super::{JobQueue, Share};
use crate::worker;

fn taken(queue: &JobQueue<usize>, threads: usize) -> Vec<usize> {
    let mut into = VecDeque::new();
    queue.try_take(&mut into, Share::OfThreads(threads));
    into.into()
}

#[test]
fn it_holds_no_more_than_its_capacity_and_gives_in_order() {
    let queue = JobQueue::new(3);
    assert_eq!(queue.push(1), Ok(()));
    let mut jobs = vec![2, 3, 4, 5];
    queue.push_all(&mut jobs);
    assert_eq!(jobs, [4, 5]);
    assert_eq!(queue.push(6), Err(6));
    assert_eq!(queue.push_beyond(7), Ok(()));
    assert_eq!((queue.len(), queue.peek(|job| *job)), (4, Some(1)));
    assert_eq!(taken(&queue, 2), [1]);
    assert_eq!(taken(&queue, 1), [2, 3, 7]);
    assert!(taken(&queue, 1).is_empty());
}

#[test]
fn several_threads_leave_each_other_some() {
    let queue = JobQueue::new(1_000);
    queue.push_all(&mut (0..400).collect());
    assert_eq!(taken(&queue, 20).len(), 10);
    assert_eq!(taken(&queue, 4).len(), 16);
    assert_eq!(taken(&queue, 1).len(), 64);
    assert_eq!(taken(&queue, 200).len(), 1);
}

#[test]
fn jobs_are_taken_off_the_head_as_long_as_they_are_unwanted() {
    let queue = JobQueue::new(9);
    queue.push_all(&mut vec![1, 2, 30, 4]);
    assert_eq!(queue.take_while(|job| *job < 10), [1, 2]);
    assert_eq!(queue.len(), 2);
}

#[test]
fn a_closed_queue_hands_out_what_it_has_and_takes_nothing() {
    let queue = JobQueue::new(9);
    queue.push(1).unwrap();
    queue.close();
    assert_eq!(queue.push(2), Err(2));
    assert_eq!(queue.push_beyond(2), Err(2));
    let mut into = VecDeque::new();
    assert!(queue.take(&mut into, Share::OfThreads(5)));
    assert!(!queue.take(&mut into, Share::OfThreads(5)));
    assert_eq!(into, [1]);
}

static DONE: AtomicUsize = AtomicUsize::new(0);

#[test]
fn no_job_is_left_asleep_however_pushes_and_waits_meet() {
    const JOBS: usize = 20_000;
    let queue = Arc::new(JobQueue::new(JOBS));
    let threads = worker::start("t", 4, &queue, |job: usize| {
        DONE.fetch_add(job, Ordering::Relaxed);
    });
    for job in 0..JOBS {
        match job % 7 {
            0 => queue.push_all(&mut vec![1]),
            _ => queue.push(1).unwrap(),
        }
        if job % 50 == 0 {
            // Lets the workers run dry, so that they go to sleep again and again.
            std::thread::yield_now();
        }
    }
    // Closing would wake whoever sleeps: it comes after all is done.
    for _ in 0..60_000 {
        if DONE.load(Ordering::Relaxed) == JOBS {
            break;
        }
        std::thread::sleep(Duration::from_millis(1));
    }
    assert_eq!(DONE.load(Ordering::Relaxed), JOBS);
    queue.close();
    threads
        .into_iter()
        .for_each(|thread| thread.join().unwrap());
}

static MET: AtomicUsize = AtomicUsize::new(0);

#[test]
fn long_jobs_that_come_together_have_a_thread_each() {
    const THREADS: usize = 4;
    let queue = Arc::new(JobQueue::new(THREADS));
    let threads = worker::start("t", THREADS, &queue, |_: usize| {
        // Ends only once all are there at the same time.
        MET.fetch_add(1, Ordering::Relaxed);
        for _ in 0..60_000 {
            if MET.load(Ordering::Relaxed) == THREADS {
                return;
            }
            std::thread::sleep(Duration::from_millis(1));
        }
        panic!("not all jobs run side by side");
    });
    while queue.lock().waiting < THREADS {
        std::thread::sleep(Duration::from_millis(1));
    }
    queue.push_all(&mut (0..THREADS).collect());
    while MET.load(Ordering::Relaxed) < THREADS && threads.iter().all(|t| !t.is_finished()) {
        std::thread::sleep(Duration::from_millis(1));
    }
    queue.close();
    for thread in threads {
        thread.join().unwrap();
    }
}

static RUN: AtomicUsize = AtomicUsize::new(0);

#[test]
fn what_was_taken_behind_a_slow_job_is_seen_to_wait() {
    const JOBS: usize = 20;
    let queue = Arc::new(JobQueue::new(JOBS));
    let mut jobs = (0..JOBS).collect();
    queue.push_all(&mut jobs);
    let threads = worker::start("t", 1, &queue, |number: usize| {
        assert_eq!(
            RUN.fetch_add(1, Ordering::Relaxed),
            number,
            "in their order"
        );
        std::thread::sleep(Duration::from_millis(20));
    });
    while RUN.load(Ordering::Relaxed) < 3 {
        std::thread::sleep(Duration::from_millis(1));
    }
    // It took all at once at first, and one at a time since it knows that they are slow.
    let waiting = queue.take_while(|_| true);
    assert!(waiting.len() > JOBS / 2, "{waiting:?}");
    queue.close();
    for thread in threads {
        thread.join().unwrap();
    }
    assert_eq!(RUN.load(Ordering::Relaxed) + waiting.len(), JOBS);
}

static RUNNING: AtomicUsize = AtomicUsize::new(0);
static NEXT: AtomicUsize = AtomicUsize::new(0);

fn run_alone(number: usize) {
    assert_eq!(RUNNING.fetch_add(1, Ordering::AcqRel), 0, "one at a time");
    assert_eq!(
        NEXT.fetch_add(1, Ordering::AcqRel),
        number,
        "in their order"
    );
    RUNNING.fetch_sub(1, Ordering::AcqRel);
}

#[test]
fn who_borrows_the_place_of_the_only_thread_runs_alone_and_in_order() {
    const JOBS: usize = 30_000;
    let queue = Arc::new(JobQueue::new(JOBS));
    let threads = worker::start("t", 1, &queue, run_alone);
    let mut borrowed = 0;
    for number in 0..JOBS {
        // Pushed ones wake the thread, which then has no place to lend for a while.
        if number % 5 > 0 && queue.borrow_place() {
            borrowed += 1;
            run_alone(number);
            queue.give_back_place();
        } else {
            queue.push(number).unwrap();
        }
        if number % 50 == 0 {
            std::thread::sleep(Duration::from_micros(50));
        }
    }
    queue.close();
    threads
        .into_iter()
        .for_each(|thread| thread.join().unwrap());
    assert_eq!(NEXT.load(Ordering::Relaxed), JOBS);
    assert!(borrowed > 0, "the thread was never idle");
}

static AFTER: AtomicUsize = AtomicUsize::new(0);

#[test]
fn a_thread_waits_for_who_has_its_place_and_ends_after_him() {
    let queue = Arc::new(JobQueue::new(9));
    assert!(!queue.borrow_place(), "there is no thread yet");
    let threads = worker::start("t", 1, &queue, |number: usize| {
        AFTER.fetch_add(number, Ordering::Relaxed);
    });
    while !queue.borrow_place() {
        std::thread::sleep(Duration::from_millis(1));
    }
    assert!(!queue.borrow_place(), "it has one place");
    queue.push(5).unwrap();
    queue.close();
    std::thread::sleep(Duration::from_millis(20));
    assert!(!threads[0].is_finished(), "somebody runs in its place");
    assert_eq!((queue.len(), AFTER.load(Ordering::Relaxed)), (1, 0));
    queue.give_back_place();
    for thread in threads {
        thread.join().unwrap();
    }
    assert_eq!(AFTER.load(Ordering::Relaxed), 5);
    assert!(!queue.borrow_place(), "it is closed");
}

#[test]
fn spare_places_are_lent_beside_the_threads() {
    let queue = JobQueue::with_spare_places(9, 2);
    let lent = || (0..9).take_while(|_| queue.borrow_place()).count();
    assert_eq!(lent(), 2, "there is no thread yet");
    queue.give_back_place();
    queue.push(1).unwrap();
    assert!(!queue.borrow_place(), "that job came first");
    let mut taken = VecDeque::new();
    assert!(queue.take(&mut taken, Share::One), "a place is left for it");
    assert_eq!(lent(), 1, "nothing is queued any more");
}
