//! Requests that a server has no room or no time for: exact codes and texts.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, mpsc};
use std::task::{Wake, Waker};
use std::thread;
use std::time::Duration;

use thrustmq_remoting::{
    Admission, Overdue, OverdueReason, Pool, PoolOptions, QueueLook, Reply, Routes, wake_after_turn,
};

use crate::scripted_peer::*;

/// PING waits at the gate.
fn gated_routes(pool: &Arc<Pool>, gate: &Arc<Gate>) -> Arc<Routes> {
    let gate = Arc::clone(gate);
    let handler = move |(): &(), incoming| {
        gate.wait();
        Ok(echo(incoming))
    };
    stateless().on::<Ping>(pool, handler).build()
}

#[tokio::test]
async fn a_full_queue_answers_overload_at_once_and_serves_the_others() {
    let (pool, gate) = (pool("t", 1, 3), Gate::new());
    let server = serve(gated_routes(&pool, &gate)).await;
    let mut peer = ScriptedPeer::connect(server.local_addr()).await;
    peer.send(&ping_command(0)).await;
    eventually("the thread has the first", || gate.waiting() == 1).await;
    for opaque in 1..=7 {
        peer.send(&ping_command(opaque)).await;
    }
    for opaque in 4..=7 {
        let answer = peer.expect().await;
        assert_eq!((answer.code, answer.opaque), (2, opaque));
        let text = "[OVERLOAD]system busy, start flow control for a while, \
                    the queue of pool t is full, which takes 3 requests";
        assert_eq!(answer.remark.as_deref(), Some(text));
    }
    assert_eq!((pool.queued(), pool.capacity()), (3, 3));
    (0..4).for_each(|_| gate.open());
    for opaque in 0..4 {
        let answer = peer.expect().await;
        assert_eq!((answer.code, answer.opaque), (0, opaque));
    }
}

#[tokio::test]
async fn a_rejecting_pool_is_not_asked() {
    let (pool, switch) = (pool("t", 1, 10), Arc::new(Switch::default()));
    switch.is_refusing.store(true, Ordering::Relaxed);
    let routes = stateless()
        .on::<Ping>(&pool, |(), incoming| Ok(echo(incoming)))
        .admitted_by(&pool, Arc::clone(&switch) as Arc<dyn Admission>);
    let server = serve(routes.build()).await;
    let mut peer = ScriptedPeer::connect(server.local_addr()).await;
    peer.send(&ping_command(1)).await;
    let answer = peer.expect().await;
    assert_eq!((answer.code, answer.opaque), (2, 1));
    let text = "[REJECTREQUEST]system busy, start flow control for a while, as the test wants";
    assert_eq!(answer.remark.as_deref(), Some(text));
    switch.is_refusing.store(false, Ordering::Relaxed);
    peer.send(&ping_command(2)).await;
    assert_eq!(peer.expect().await.code, 0);
}

/// Lets nothing in, or nothing wait, as the test wants.
#[derive(Default)]
struct Switch {
    is_refusing: AtomicBool,
    is_cleaning: AtomicBool,
}

impl Admission for Switch {
    fn refuses_new(&self) -> Option<String> {
        let refuses = self.is_refusing.load(Ordering::Relaxed);
        refuses.then(|| "as the test wants".to_owned())
    }

    fn overdue(&self, queue: QueueLook) -> Option<Overdue> {
        self.is_cleaning.load(Ordering::Relaxed).then(|| Overdue {
            wait_max: Duration::ZERO,
            reason: OverdueReason::PageCacheBusy,
            cause: format!("{} waited", queue.queued),
        })
    }
}

#[tokio::test]
async fn an_owner_decides_how_long_requests_wait() {
    let (pool, gate) = (pool("t", 1, 10), Gate::new());
    let switch = Arc::new(Switch::default());
    let gate_of_handler = Arc::clone(&gate);
    let routes = stateless()
        .on::<Ping>(&pool, move |(), incoming| {
            gate_of_handler.wait();
            Ok(echo(incoming))
        })
        .admitted_by(&pool, Arc::clone(&switch) as Arc<dyn Admission>);
    // The pool's own limit does not count beside the owner's.
    pool.set_wait_ms_max(Some(1));
    let server = serve(routes.build()).await;
    let mut peer = ScriptedPeer::connect(server.local_addr()).await;
    peer.send(&ping_command(0)).await;
    eventually("the thread has the first", || gate.waiting() == 1).await;
    peer.send(&ping_command(1)).await;
    peer.send(&ping_command(2)).await;
    eventually("two wait", || pool.head_wait_ms() > 200).await;
    peer.expect_silence().await;
    switch.is_cleaning.store(true, Ordering::Relaxed);
    for opaque in 1..=2 {
        let answer = peer.expect().await;
        assert_eq!((answer.code, answer.opaque), (2, opaque));
        let remark = answer.remark.unwrap();
        let text =
            "[PCBUSY_CLEAN_QUEUE]broker busy, start flow control for a while, period in queue: ";
        assert!(remark.starts_with(text), "{remark}");
        assert!(
            remark.ends_with("ms, size of queue: 0, 2 waited"),
            "{remark}"
        );
    }
    gate.open();
    assert_eq!(peer.expect().await.opaque, 0);
}

#[tokio::test]
async fn requests_that_wait_too_long_are_answered_while_the_thread_is_busy() {
    let (pool, gate) = (pool("t", 1, 10), Gate::new());
    let server = serve(gated_routes(&pool, &gate)).await;
    let mut peer = ScriptedPeer::connect(server.local_addr()).await;
    peer.send(&ping_command(0)).await;
    eventually("the thread has the first", || gate.waiting() == 1).await;
    for opaque in 1..=3 {
        peer.send(&ping_command(opaque)).await;
    }
    eventually("three wait", || pool.queued() == 3).await;
    eventually("the head is seen to wait", || pool.head_wait_ms() >= 20).await;
    pool.set_wait_ms_max(Some(150));
    for opaque in 1..=3 {
        let answer = peer.expect().await;
        assert_eq!((answer.code, answer.opaque), (2, opaque));
        let remark = answer.remark.unwrap();
        let text =
            "[TIMEOUT_CLEAN_QUEUE]broker busy, start flow control for a while, period in queue: ";
        let rest = remark.strip_prefix(text).expect("Java's text");
        let (waited, size) = rest.split_once("ms, size of queue: ").expect("Java's text");
        assert!(
            (150..2_000).contains(&waited.parse::<u32>().unwrap()),
            "{remark}"
        );
        let (size, cause) = size.split_once(", ").expect("our sentence");
        assert!(size.parse::<usize>().unwrap() < 3);
        assert_eq!(cause, "pool t is busy: a request may wait 150 ms");
    }
    assert_eq!(pool.head_wait_ms(), 0);
    gate.open();
    assert_eq!(peer.expect().await.opaque, 0);
}

#[tokio::test]
async fn a_pool_runs_other_work_and_survives_its_panic() {
    let pool = pool("t", 1, 10);
    let (tell, told) = std::sync::mpsc::channel();
    pool.run(|| panic!("as the test wants")).unwrap();
    pool.run(move || {
        tell.send(std::thread::current().name().map(str::to_owned))
            .unwrap()
    })
    .unwrap();
    let name = told.recv_timeout(PATIENCE).unwrap();
    assert_eq!(name.as_deref(), Some("t-0"));
    pool.shutdown();
    assert!(pool.run(|| ()).is_err());
}

const LENDING: PoolOptions = PoolOptions {
    name: "t",
    threads: 1,
    queue_capacity: 100,
    lends: 1,
};

fn lending_pool() -> Arc<Pool> {
    Pool::new(LENDING)
}

/// Answers PING with the name of the thread that handles it.
fn naming_routes(pool: &Arc<Pool>) -> Arc<Routes> {
    stateless()
        .on::<Ping>(pool, |(), _| {
            let text = std::thread::current().name().unwrap_or("").to_owned();
            Ok(Reply::ok(PongHeader { text }))
        })
        .build()
}

#[tokio::test]
async fn an_idle_pool_that_lends_has_requests_handled_where_they_were_read() {
    let pool = lending_pool();
    let server = serve(naming_routes(&pool)).await;
    let mut peer = ScriptedPeer::connect(server.local_addr()).await;
    // Its thread is in this job, so it has no place to lend.
    let (runs, release) = occupy(&pool);
    runs.recv_timeout(PATIENCE).unwrap();
    peer.send(&ping_command(1)).await;
    until_queued(&pool, 1).await;
    release.send(()).unwrap();
    assert_eq!(peer.expect().await.fields.get("text"), Some("t-0"));
    // It goes to sleep soon after its last job.
    for opaque in 2.. {
        peer.send(&ping_command(opaque)).await;
        let answer = peer.expect().await;
        assert_eq!(answer.opaque, opaque);
        if answer
            .fields
            .get("text")
            .unwrap()
            .starts_with("connections-")
        {
            break;
        }
        assert!(opaque < 1_000, "never handled where it was read");
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

/// Follows what a handler does, at the end of its turn: has the pool's own thread do something meanwhile.
struct Follower {
    pool: Arc<Pool>,
    saw_it_done: mpsc::Sender<bool>,
}

impl Wake for Follower {
    fn wake(self: Arc<Self>) {
        if !on_connections_thread() {
            return;
        }
        let (tell, told) = mpsc::channel();
        let pool = Arc::clone(&self.pool);
        // From a thread without a turn, which would take it over.
        let push = thread::Builder::new().spawn(move || pool.run(move || tell.send(()).unwrap()));
        push.unwrap().join().unwrap().unwrap();
        let is_done = told.recv_timeout(PATIENCE).is_ok();
        self.saw_it_done.send(is_done).unwrap();
    }
}

fn on_connections_thread() -> bool {
    thread::current()
        .name()
        .is_some_and(|name| name.starts_with("connections-"))
}

#[tokio::test]
async fn who_borrowed_a_place_has_given_it_back_when_its_turn_ends() {
    let pool = lending_pool();
    let (saw_it_done, seen) = mpsc::channel();
    let follower = Waker::from(Arc::new(Follower {
        pool: Arc::clone(&pool),
        saw_it_done,
    }));
    let handler = move |(): &(), incoming| {
        assert!(wake_after_turn(&follower));
        Ok(echo(incoming))
    };
    let server = serve(stateless().on::<Ping>(&pool, handler).build()).await;
    let mut peer = ScriptedPeer::connect(server.local_addr()).await;
    for opaque in 1.. {
        peer.send(&ping_command(opaque)).await;
        assert_eq!(peer.expect().await.opaque, opaque);
        if let Ok(is_done) = seen.recv_timeout(Duration::from_millis(1)) {
            assert!(is_done, "the place was held while the turn ended");
            break;
        }
        assert!(opaque < 1_000, "never handled where it was read");
    }
}

/// Keeps the pool's thread in a job: when that runs, and what ends it.
fn occupy(pool: &Arc<Pool>) -> (mpsc::Receiver<()>, mpsc::Sender<()>) {
    let (tell, runs) = mpsc::channel();
    let (release, released) = mpsc::channel();
    pool.run(move || {
        tell.send(()).unwrap();
        released.recv_timeout(PATIENCE).unwrap();
    })
    .unwrap();
    (runs, release)
}

async fn until_queued(pool: &Pool, requests: usize) {
    while pool.queued() != requests {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

#[tokio::test]
async fn requests_do_not_overtake_those_of_their_connection_that_stand_in_line() {
    let pool = Pool::new(PoolOptions {
        lends: 4,
        ..LENDING
    });
    let server = serve(naming_routes(&pool)).await;
    let mut peer = ScriptedPeer::connect(server.local_addr()).await;
    let mut other = ScriptedPeer::connect(server.local_addr()).await;
    let (first_runs, release_first) = occupy(&pool);
    first_runs.recv_timeout(PATIENCE).unwrap();
    let (second_runs, release_second) = occupy(&pool);
    peer.send(&ping_command(1)).await;
    until_queued(&pool, 2).await;
    // Now the thread holds that request behind the second job, and nothing is queued.
    release_first.send(()).unwrap();
    second_runs.recv_timeout(PATIENCE).unwrap();
    until_queued(&pool, 0).await;
    other.send(&ping_command(1)).await;
    let of_other = other.expect().await;
    let handled_by = of_other.fields.get("text").unwrap();
    assert!(handled_by.starts_with("connections-"), "{handled_by}");
    peer.send(&ping_command(2)).await;
    until_queued(&pool, 1).await;
    release_second.send(()).unwrap();
    for opaque in [1, 2] {
        let answer = peer.expect().await;
        assert_eq!(
            (answer.opaque, answer.fields.get("text")),
            (opaque, Some("t-0"))
        );
    }
}

#[tokio::test]
async fn places_are_lent_only_while_handlers_are_quick() {
    let pool = Pool::new(PoolOptions {
        lends: 4,
        ..LENDING
    });
    let is_quick = Arc::new(AtomicBool::new(false));
    let asked = Arc::clone(&is_quick);
    pool.lend_while(move || asked.load(Ordering::Relaxed));
    let server = serve(naming_routes(&pool)).await;
    let mut peer = ScriptedPeer::connect(server.local_addr()).await;
    peer.send(&ping_command(1)).await;
    assert_eq!(peer.expect().await.fields.get("text"), Some("t-0"));
    // Its thread is in this job, so the request below can only be handled where it was read.
    let (runs, release) = occupy(&pool);
    runs.recv_timeout(PATIENCE).unwrap();
    is_quick.store(true, Ordering::Relaxed);
    peer.send(&ping_command(2)).await;
    let answer = peer.expect().await;
    let handled_by = answer.fields.get("text").unwrap();
    assert!(handled_by.starts_with("connections-"), "{handled_by}");
    release.send(()).unwrap();
}

#[tokio::test]
async fn pipelined_requests_of_a_pool_that_lends_are_answered_once_each_and_in_order() {
    let pool = lending_pool();
    let server = serve(echo_routes(&pool)).await;
    let mut peer = ScriptedPeer::connect(server.local_addr()).await;
    for round in 0..200 {
        let opaques = round * 20..(round + 1) * 20;
        for opaque in opaques.clone() {
            peer.send(&ping_command(opaque)).await;
        }
        for opaque in opaques {
            assert_eq!(peer.expect().await.opaque, opaque);
        }
    }
    peer.expect_silence().await;
}
