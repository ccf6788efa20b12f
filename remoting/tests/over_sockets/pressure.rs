//! Peers that do not read, and too many of anything.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use thrustmq_proto_compat::command::Command;
use thrustmq_proto_compat::frame;
use thrustmq_remoting::{CallError, ServerOptions};

use crate::scripted_peer::*;

const OUTBOX_BYTES_MAX: usize = 256 * 1024;

fn small_options() -> ServerOptions {
    ServerOptions {
        outbox_bytes_max: OUTBOX_BYTES_MAX,
        send_buffer_bytes: Some(64 * 1024),
        receive_buffer_bytes: Some(64 * 1024),
        async_calls_max: 4,
        oneway_calls_max: 8,
        ..local_options()
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_peer_that_does_not_read_is_not_read_from_and_holds_up_nobody() {
    const ANSWER_BYTES: usize = 16 * 1024;
    const REQUESTS: i32 = 20_000;
    let (pool, handled) = (pool("t", 1, 20_000), Arc::new(AtomicUsize::new(0)));
    let (count, body) = (Arc::clone(&handled), Bytes::from(vec![7; ANSWER_BYTES]));
    let routes = stateless().on::<Ping>(&pool, move |(), incoming| {
        count.fetch_add(1, Ordering::Relaxed);
        Ok(echo(incoming).with_body(body.clone()))
    });
    let server = serve_with(small_options(), routes.build()).await;
    let mut deaf = ScriptedPeer::connect(server.local_addr()).await;
    // Answers of 320 MB are asked for, and none is read.
    let request = |opaque| frame::encode(&ping_command(opaque).with_body(vec![1; 1024])).unwrap();
    let mut all = BytesMut::new();
    let mut ends = Vec::new();
    for opaque in 0..REQUESTS {
        all.extend_from_slice(&request(opaque));
        ends.push(all.len());
    }
    let all = all.freeze();
    let sent = deaf
        .send_until_stuck(&all, Duration::from_millis(500))
        .await;
    assert!(sent < all.len(), "the server went on reading");
    eventually("its requests are all handled", || pool.queued() == 0).await;
    // What is made of answers fits the outbox some times over, and the sockets' buffers.
    let made = handled.load(Ordering::Relaxed) * ANSWER_BYTES;
    assert!(made < 12 * 1024 * 1024, "{made} bytes wait");
    let mut other = ScriptedPeer::connect(server.local_addr()).await;
    for opaque in 0..100 {
        other.send(&ping_command(opaque)).await;
        let answer = other.expect().await;
        assert_eq!((answer.code, answer.opaque), (0, opaque));
    }
    // Once it reads it gets an answer to each whole request, handled or refused.
    let whole = ends.iter().take_while(|end| **end <= sent).count();
    let mut seen = Vec::new();
    for _ in 0..whole {
        let answer = deaf.expect().await;
        assert!(answer.code == 0 || answer.code == 2, "{answer:?}");
        seen.push(answer.opaque);
    }
    seen.sort_unstable();
    assert!(seen.into_iter().eq(0..i32::try_from(whole).unwrap()));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn requests_queued_before_their_peer_stopped_reading_are_refused_in_the_end() {
    const REQUESTS: i32 = 2_000;
    let (pool, handled) = (pool("t", 1, 10_000), Arc::new(AtomicUsize::new(0)));
    let (count, gate) = (Arc::clone(&handled), Gate::new());
    let (gate_of_handler, body) = (Arc::clone(&gate), Bytes::from(vec![7; 16 * 1024]));
    let routes = stateless().on::<Ping>(&pool, move |(), incoming| {
        if count.fetch_add(1, Ordering::Relaxed) == 0 {
            gate_of_handler.wait();
        }
        Ok(echo(incoming).with_body(body.clone()))
    });
    let server = serve_with(small_options(), routes.build()).await;
    let mut deaf = ScriptedPeer::connect(server.local_addr()).await;
    for opaque in 0..REQUESTS {
        deaf.send(&ping_command(opaque)).await;
    }
    let queued = usize::try_from(REQUESTS - 64).unwrap();
    // The thread takes 64 at most while it waits at the gate.
    eventually("almost all are queued", || pool.queued() >= queued).await;
    gate.open();
    eventually("all are taken", || pool.queued() == 0).await;
    let mut refused = 0;
    for _ in 0..REQUESTS {
        let answer = deaf.expect().await;
        refused += usize::from(answer.code == 2);
    }
    assert_eq!(refused + handled.load(Ordering::Relaxed), 2_000);
    assert!(
        refused > 1_000,
        "answers of 16 KB waited for {refused} others"
    );
}

#[tokio::test]
async fn calls_to_one_peer_have_a_limit_and_end_when_it_closes() {
    let server = serve_with(small_options(), echo_routes(&pool("t", 1, 10))).await;
    let peer = ScriptedPeer::connect(server.local_addr()).await;
    eventually("it is connected", || server.connections() == 1).await;
    let handle = server.peers().remove(0);
    let (tell, mut told) = tokio::sync::mpsc::channel(10);
    for number in 0..6 {
        let tell = tell.clone();
        handle.call_then(Command::new(102), PATIENCE, move |outcome| {
            let thread = std::thread::current().name().unwrap_or_default().to_owned();
            assert!(thread.starts_with("callback-"), "{thread}");
            tell.try_send((number, outcome)).unwrap();
        });
    }
    for _ in 4..6 {
        let (number, outcome) = told.recv().await.unwrap();
        assert!(number >= 4);
        assert_eq!(
            outcome.unwrap_err(),
            CallError::TooManyInFlight { limit: 4 }
        );
    }
    let error = handle.call(Command::new(102), PATIENCE).await.unwrap_err();
    assert_eq!(error, CallError::TooManyInFlight { limit: 4 });
    drop(peer);
    for _ in 0..4 {
        let (number, outcome) = told.recv().await.unwrap();
        assert!(number < 4);
        assert_eq!(outcome.unwrap_err(), CallError::Closed);
    }
    assert!(!handle.is_open());
    let error = handle.call(Command::new(102), PATIENCE).await.unwrap_err();
    assert_eq!(error, CallError::Closed);
    assert_eq!(handle.oneway(Command::new(102)), Err(CallError::Closed));
}

#[tokio::test]
async fn requests_to_a_peer_that_does_not_read_are_refused() {
    let options = ServerOptions {
        oneway_calls_max: usize::MAX,
        ..small_options()
    };
    let server = serve_with(options, echo_routes(&pool("t", 1, 10))).await;
    let _deaf = ScriptedPeer::connect(server.local_addr()).await;
    eventually("it is connected", || server.connections() == 1).await;
    let handle = server.peers().remove(0);
    let request = Command::new(102).with_body(vec![1; 10_000]);
    let (mut sent, mut refused) = (0, 0);
    // Its connection goes on writing until the socket takes no more: then it stays full.
    while refused < 10 {
        match handle.oneway(request.clone()) {
            Ok(()) => (sent, refused) = (sent + 1, 0),
            Err(error) => {
                assert_eq!(error, CallError::OutboxFull);
                refused += 1;
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        }
        assert!(sent < 10_000, "no limit at all");
    }
    assert!(sent * 10_000 >= OUTBOX_BYTES_MAX);
    let error = handle.call(request.clone(), PATIENCE).await.unwrap_err();
    assert_eq!(error, CallError::OutboxFull);
    let (tell, told) = tokio::sync::oneshot::channel();
    handle.call_then(request, PATIENCE, |outcome| tell.send(outcome).unwrap());
    assert_eq!(told.await.unwrap().unwrap_err(), CallError::OutboxFull);
}

#[tokio::test]
async fn oneway_requests_that_wait_have_a_limit() {
    let server = serve_with(small_options(), echo_routes(&pool("t", 1, 10))).await;
    let mut peer = ScriptedPeer::connect(server.local_addr()).await;
    eventually("it is connected", || server.connections() == 1).await;
    let handle = server.peers().remove(0);
    // The peer does not read: once the socket is full they wait.
    let request = Command::new(102).with_body(vec![1; 1_000]);
    let mut sent = 0;
    let error = loop {
        match handle.oneway(request.clone()) {
            Ok(()) => sent += 1,
            Err(error) => break error,
        }
        assert!(sent < 100_000, "no limit at all");
    };
    assert_eq!(error, CallError::TooManyInFlight { limit: 8 });
    assert!(sent >= 8);
    for _ in 0..sent {
        let request = peer.expect().await;
        assert!(request.is_oneway() && !request.is_answer());
    }
    handle.oneway(Command::new(102)).unwrap();
    assert_eq!(peer.expect().await.code, 102);
}

#[tokio::test]
async fn connections_beyond_the_limit_are_closed_and_room_is_used_again() {
    let options = ServerOptions {
        connections_max: 2,
        ..local_options()
    };
    let server = serve_with(options, echo_routes(&pool("t", 1, 10))).await;
    let first = ScriptedPeer::connect(server.local_addr()).await;
    let mut second = ScriptedPeer::connect(server.local_addr()).await;
    second.send(&ping_command(1)).await;
    assert_eq!(second.expect().await.opaque, 1);
    let mut third = ScriptedPeer::connect(server.local_addr()).await;
    third.expect_close().await;
    drop(first);
    eventually("one is gone", || server.connections() == 1).await;
    let mut fourth = ScriptedPeer::connect(server.local_addr()).await;
    fourth.send(&ping_command(4)).await;
    assert_eq!(fourth.expect().await.opaque, 4);
}
