//! Bytes in flight: counted exactly whatever becomes of a request, and refused above the limit.

use std::sync::{Arc, Mutex};

use thrustmq_proto_compat::command::Command;
use thrustmq_proto_compat::frame;
use thrustmq_proto_compat::response_code::ResponseCode;
use thrustmq_remoting::{Pool, Refusal, Reply, Responder, RoutesBuilder, Server};

use crate::scripted_peer::*;

const NO_LIMIT_THAT_MATTERS: usize = 1 << 30;
/// Length field of a frame, which is no part of what is counted.
const LENGTH_BYTES: usize = 4;

fn counted_bytes(command: &Command) -> usize {
    frame::encode(command).unwrap().len() - LENGTH_BYTES
}

fn large(opaque: i32, body_bytes: usize) -> Command {
    ping_command(opaque).with_body(vec![7; body_bytes])
}

type Parked = Arc<Mutex<Vec<Responder>>>;

/// PING does what its text says; PARK waits in `parked`.
fn routes(pool: &Arc<Pool>, parked: &Parked) -> RoutesBuilder<()> {
    let parked = Arc::clone(parked);
    stateless()
        .on::<Ping>(pool, |(), incoming| match incoming.header.text.as_str() {
            "panic" => panic!("as the test wants"),
            "refuse" => Err(Refusal::new(ResponseCode::SYSTEM_ERROR, "no")),
            _ => Ok(echo(incoming)),
        })
        .on_parked::<Park>(pool, move |(), incoming, responder| {
            match incoming.header.text.as_str() {
                "drop" => drop(responder),
                _ => parked.lock().unwrap().push(responder),
            }
        })
}

async fn serve_counted(pool: &Arc<Pool>, parked: &Parked) -> Server {
    pool.set_bytes_max(Some(NO_LIMIT_THAT_MATTERS));
    serve(routes(pool, parked).build()).await
}

async fn all_given_back(pool: &Arc<Pool>) {
    eventually("all bytes are given back", || pool.bytes_in_flight() == 0).await;
}

#[tokio::test]
async fn every_way_of_ending_gives_the_bytes_back() {
    let (pool, parked) = (pool("t", 1, 10), Parked::default());
    let server = serve_counted(&pool, &parked).await;
    let mut peer = ScriptedPeer::connect(server.local_addr()).await;
    for text in ["answer", "refuse", "panic"] {
        peer.send(&Command::request::<Ping>(&ping(text))).await;
        peer.expect().await;
        all_given_back(&pool).await;
    }
    peer.send(&Command::request::<Park>(&ping("drop"))).await;
    assert_eq!(peer.expect().await.code, 1);
    all_given_back(&pool).await;
    for text in ["answer", "refuse", "panic"] {
        let mut request = Command::request::<Ping>(&ping(text));
        request.mark_oneway();
        peer.send(&request).await;
    }
    // A header that can not be read, and a code that nobody serves.
    peer.send(&Command::new(100)).await;
    peer.send(&Command::new(9_999)).await;
    for _ in 0..2 {
        assert_ne!(peer.expect().await.code, 0);
    }
    all_given_back(&pool).await;
}

#[tokio::test]
async fn a_parked_request_is_in_flight_until_it_is_answered_or_dropped() {
    let (pool, parked) = (pool("t", 1, 10), Parked::default());
    let server = serve_counted(&pool, &parked).await;
    let mut peer = ScriptedPeer::connect(server.local_addr()).await;
    let mut request = Command::request::<Park>(&ping("wait")).with_body(vec![1; 5_000]);
    let mut expected = 0;
    for opaque in 0..3 {
        request.opaque = opaque;
        peer.send(&request).await;
        expected += counted_bytes(&request);
        eventually("it is counted to the byte", || {
            pool.bytes_in_flight() == expected
        })
        .await;
    }
    eventually("three are parked", || parked.lock().unwrap().len() == 3).await;
    let text = "late".to_owned();
    let answered = parked.lock().unwrap().pop().unwrap();
    answered.send(Ok(Reply::ok(PongHeader { text })));
    assert_eq!(peer.expect().await.code, 0);
    let two_thirds = expected / 3 * 2;
    eventually("two are left", || pool.bytes_in_flight() == two_thirds).await;
    // A connection that is gone takes nothing with it: what is parked for it is still held.
    drop(peer);
    eventually("the connection is gone", || server.connections() == 0).await;
    assert_eq!(pool.bytes_in_flight(), two_thirds);
    parked.lock().unwrap().clear();
    assert_eq!(pool.bytes_in_flight(), 0);
}

#[tokio::test]
async fn requests_beyond_the_limit_are_refused_from_all_connections_together() {
    const BODY_BYTES: usize = 400 << 10;
    let (pool, gate) = (pool("upload", 1, 100), Gate::new());
    pool.set_bytes_max(Some(1 << 20));
    let gate_of_handler = Arc::clone(&gate);
    let routes = stateless().on::<Ping>(&pool, move |(), incoming| {
        gate_of_handler.wait();
        Ok(echo(incoming))
    });
    let server = serve(routes.build()).await;
    let mut first = ScriptedPeer::connect(server.local_addr()).await;
    let mut second = ScriptedPeer::connect(server.local_addr()).await;
    first.send(&large(1, BODY_BYTES)).await;
    second.send(&large(2, BODY_BYTES)).await;
    let held = counted_bytes(&large(1, BODY_BYTES)) + counted_bytes(&large(2, BODY_BYTES));
    eventually("both are in flight", || pool.bytes_in_flight() == held).await;
    first.send(&large(3, BODY_BYTES)).await;
    let refused = first.expect().await;
    assert_eq!((refused.code, refused.opaque), (2, 3));
    assert_eq!(
        refused.remark.as_deref(),
        Some(
            "[OVERLOAD]system busy, start flow control for a while, \
             801 KiB of upload requests are in flight, allowed are 1024 KiB"
        )
    );
    assert_eq!(
        pool.bytes_in_flight(),
        held,
        "the refused one holds nothing"
    );
    // One that fits still comes in.
    second.send(&ping_command(4)).await;
    (0..3).for_each(|_| gate.open());
    assert_eq!(first.expect().await.opaque, 1);
    assert_eq!(second.expect().await.opaque, 2);
    assert_eq!(second.expect().await.opaque, 4);
    all_given_back(&pool).await;
    // And there is room again.
    gate.open();
    first.send(&large(5, BODY_BYTES)).await;
    assert_eq!(first.expect().await.code, 0);
}

#[tokio::test]
async fn a_full_queue_and_a_wait_that_is_too_long_give_the_bytes_back() {
    let (pool, gate) = (pool("t", 1, 2), Gate::new());
    pool.set_bytes_max(Some(NO_LIMIT_THAT_MATTERS));
    let gate_of_handler = Arc::clone(&gate);
    let routes = stateless().on::<Ping>(&pool, move |(), incoming| {
        gate_of_handler.wait();
        Ok(echo(incoming))
    });
    let server = serve(routes.build()).await;
    let mut peer = ScriptedPeer::connect(server.local_addr()).await;
    peer.send(&ping_command(0)).await;
    eventually("the thread has the first", || gate.waiting() == 1).await;
    let one = pool.bytes_in_flight();
    assert_eq!(one, counted_bytes(&ping_command(0)));
    for opaque in 1..=5 {
        peer.send(&ping_command(opaque)).await;
    }
    for _ in 3..=5 {
        assert_eq!(peer.expect().await.code, 2);
    }
    eventually("three are in flight", || pool.bytes_in_flight() == 3 * one).await;
    pool.set_wait_ms_max(Some(1));
    for _ in 1..=2 {
        assert_eq!(peer.expect().await.code, 2);
    }
    eventually("one is in flight", || pool.bytes_in_flight() == one).await;
    gate.open();
    assert_eq!(peer.expect().await.opaque, 0);
    all_given_back(&pool).await;
}
