//! Bytes that are no frames: the connection is closed, with one line in the log, and the next peer is
//! served.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use thrustmq_proto_compat::clock::Clock;
use thrustmq_proto_compat::frame;
use thrustmq_remoting::Server;

use crate::log;
use crate::scripted_peer::*;

async fn assert_still_serving(server: &Server) {
    let mut peer = ScriptedPeer::connect(server.local_addr()).await;
    peer.send(&ping_command(42)).await;
    assert_eq!(peer.expect().await.opaque, 42);
}

#[tokio::test]
async fn what_is_no_frame_closes_the_connection_with_one_line() {
    let server = serve(echo_routes(&pool("t", 1, 10))).await;
    let longest = u32::try_from(frame::FRAME_BYTES_MAX).unwrap();
    let bad: [(&str, Vec<u8>); 6] = [
        ("one byte too long", (longest - 3).to_be_bytes().to_vec()),
        ("absurdly long", vec![0xFF; 4]),
        ("too short for a header length", vec![0, 0, 0, 3, 0, 0, 0]),
        ("header beyond the frame", vec![0, 0, 0, 4, 0, 0, 0, 9]),
        ("unknown encoding", vec![0, 0, 0, 4, 7, 0, 0, 0]),
        ("no JSON", vec![0, 0, 0, 6, 0, 0, 0, 2, b'{', b'?']),
    ];
    for (what, bytes) in &bad {
        let mut peer = ScriptedPeer::connect_from([127, 0, 0, 2], server.local_addr()).await;
        peer.send_bytes(bytes).await;
        peer.expect_close().await;
        assert_eq!(log::warnings_of(peer.local_addr()), 1, "{what}");
        assert_still_serving(&server).await;
    }
    eventually("all are forgotten", || server.connections() == 0).await;
}

#[tokio::test]
async fn what_came_before_the_garbage_is_still_handled() {
    let (pool, handled) = (pool("t", 1, 10), Arc::new(AtomicUsize::new(0)));
    let count = Arc::clone(&handled);
    let routes = stateless().on::<Ping>(&pool, move |(), incoming| {
        count.fetch_add(1, Ordering::Relaxed);
        Ok(echo(incoming))
    });
    let server = serve(routes.build()).await;
    let mut peer = ScriptedPeer::connect(server.local_addr()).await;
    let mut bytes = frame::encode(&ping_command(1)).unwrap().to_vec();
    bytes.extend([0xFF; 64]);
    peer.send_bytes(&bytes).await;
    peer.expect_close().await;
    eventually("it is handled", || handled.load(Ordering::Relaxed) == 1).await;
}

#[tokio::test]
async fn half_a_frame_and_then_nothing_leaves_nothing_behind() {
    let server = serve(echo_routes(&pool("t", 1, 10))).await;
    let whole = frame::encode(&ping_command(1)).unwrap();
    for cut in [0, 1, 3, 4, 7, whole.len() - 1] {
        let mut peer = ScriptedPeer::connect(server.local_addr()).await;
        peer.send_bytes(&whole[..cut]).await;
        drop(peer);
        assert_still_serving(&server).await;
    }
    eventually("all are forgotten", || server.connections() == 0).await;
}

#[tokio::test]
async fn a_frame_of_exactly_the_greatest_length_is_served() {
    let server = serve(echo_routes(&pool("t", 1, 10))).await;
    let mut peer = ScriptedPeer::connect(server.local_addr()).await;
    let head = frame::encode(&ping_command(1)).unwrap().len();
    let body = vec![b'x'; frame::FRAME_BYTES_MAX - head];
    let request = frame::encode(&ping_command(1).with_body(body.clone())).unwrap();
    assert_eq!(request.len(), frame::FRAME_BYTES_MAX);
    peer.send_bytes(&request).await;
    let answer = peer.expect().await;
    assert_eq!((answer.code, answer.opaque), (0, 1));
    assert!(answer.body.to_bytes() == body);
}

#[tokio::test]
async fn an_answer_that_fits_no_frame_becomes_an_error() {
    let routes = stateless().on::<Ping>(&pool("t", 1, 10), |(), incoming| {
        Ok(echo(incoming).with_body(vec![0; frame::FRAME_BYTES_MAX]))
    });
    let server = serve(routes.build()).await;
    let mut peer = ScriptedPeer::connect(server.local_addr()).await;
    peer.send(&ping_command(1)).await;
    let answer = peer.expect().await;
    assert_eq!((answer.code, answer.opaque), (1, 1));
    assert!(answer.body.is_empty());
}

/// Not for secrets: a xorshift, so that a seed gives the same bytes everywhere.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    fn below(&mut self, end: usize) -> usize {
        usize::try_from(self.next() % end as u64).unwrap()
    }
}

#[tokio::test]
async fn random_bytes_harm_nobody_else() {
    let given = std::env::var("THRUSTMQ_SEED")
        .ok()
        .and_then(|seed| seed.parse().ok());
    let seed = given.unwrap_or_else(|| Clock::system().now_ms().cast_unsigned() | 1);
    println!("THRUSTMQ_SEED={seed}");
    let mut random = Random(seed);
    let server = serve(echo_routes(&pool("t", 2, 100))).await;
    let good = frame::encode(&ping_command(1).with_body(vec![9; 300])).unwrap();
    for _ in 0..300 {
        // Either noise, or a good frame with a few bytes changed.
        let mut bytes: Vec<u8> = match random.below(3) {
            0 => (0..random.below(2_000))
                .map(|_| random.next().to_be_bytes()[0])
                .collect(),
            _ => good.to_vec(),
        };
        for _ in 0..random.below(4) {
            let at = random.below(bytes.len().max(1));
            if let Some(byte) = bytes.get_mut(at) {
                *byte = random.next().to_be_bytes()[0];
            }
        }
        let mut peer = ScriptedPeer::connect(server.local_addr()).await;
        peer.send_bytes(&bytes).await;
    }
    assert_still_serving(&server).await;
    eventually("all are forgotten", || server.connections() == 0).await;
}
