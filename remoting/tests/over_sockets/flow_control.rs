//! Requests that a server has no room or no time for: exact codes and texts.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use thrustmq_remoting::{Pool, Routes};

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
        let text = "[OVERLOAD]system busy, start flow control for a while";
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
    let (pool, is_busy) = (pool("t", 1, 10), Arc::new(AtomicBool::new(true)));
    let busy = Arc::clone(&is_busy);
    let routes = stateless()
        .on::<Ping>(&pool, |(), incoming| Ok(echo(incoming)))
        .reject_when(&pool, move || busy.load(Ordering::Relaxed));
    let server = serve(routes.build()).await;
    let mut peer = ScriptedPeer::connect(server.local_addr()).await;
    peer.send(&ping_command(1)).await;
    let answer = peer.expect().await;
    assert_eq!((answer.code, answer.opaque), (2, 1));
    let text = "[REJECTREQUEST]system busy, start flow control for a while";
    assert_eq!(answer.remark.as_deref(), Some(text));
    is_busy.store(false, Ordering::Relaxed);
    peer.send(&ping_command(2)).await;
    assert_eq!(peer.expect().await.code, 0);
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
        assert!(size.parse::<usize>().unwrap() < 3);
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
