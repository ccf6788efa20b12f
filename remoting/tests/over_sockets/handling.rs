//! What becomes of requests: answers, their encoding, errors of handlers and headers, hooks.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use thrustmq_proto_compat::command::{Body, Command, Encoding};
use thrustmq_proto_compat::frame;
use thrustmq_proto_compat::response_code::ResponseCode;
use thrustmq_remoting::{Hooks, Refusal, Reply, RequestInfo, Responder, RpcHook};

use crate::scripted_peer::*;

#[tokio::test]
async fn a_frame_that_comes_byte_by_byte_is_answered() {
    let server = serve(echo_routes(&pool("t", 1, 10))).await;
    let mut peer = ScriptedPeer::connect(server.local_addr()).await;
    let request = ping_command(7).with_body(vec![1, 2, 3]);
    for byte in frame::encode(&request).unwrap() {
        peer.send_bytes(&[byte]).await;
        tokio::task::yield_now().await;
    }
    let answer = peer.expect().await;
    assert_eq!((answer.code, answer.opaque), (0, 7));
    assert!(answer.is_answer());
    assert_eq!(answer.fields.get("text"), Some("hello"));
    assert_eq!(answer.body.to_bytes(), Bytes::from_static(&[1, 2, 3]));
}

#[tokio::test]
async fn pipelined_requests_are_answered_once_each_and_in_order_by_one_thread() {
    let server = serve(echo_routes(&pool("t", 1, 10_000))).await;
    let mut peer = ScriptedPeer::connect(server.local_addr()).await;
    let mut burst = Vec::new();
    for opaque in 0..5_000 {
        burst.extend_from_slice(&frame::encode(&ping_command(opaque)).unwrap());
    }
    peer.send_bytes(&burst).await;
    for opaque in 0..5_000 {
        assert_eq!(peer.expect().await.opaque, opaque);
    }
    peer.expect_silence().await;
}

#[tokio::test]
async fn several_threads_answer_each_request_once() {
    let server = serve(echo_routes(&pool("t", 4, 10_000))).await;
    let mut peer = ScriptedPeer::connect(server.local_addr()).await;
    let mut burst = Vec::new();
    for opaque in 0..3_000 {
        burst.extend_from_slice(&frame::encode(&ping_command(opaque)).unwrap());
    }
    peer.send_bytes(&burst).await;
    let mut seen = Vec::new();
    for _ in 0..3_000 {
        seen.push(peer.expect().await.opaque);
    }
    seen.sort_unstable();
    assert!(seen.into_iter().eq(0..3_000));
}

#[tokio::test]
async fn the_answer_has_the_encoding_of_its_request() {
    let server = serve(echo_routes(&pool("t", 1, 10))).await;
    let mut peer = ScriptedPeer::connect(server.local_addr()).await;
    for encoding in [Encoding::Binary, Encoding::Json] {
        let mut request = ping_command(1);
        request.encoding = encoding;
        peer.send(&request).await;
        assert_eq!(peer.expect().await.encoding, encoding);
    }
}

#[tokio::test]
async fn bodies_in_pieces_arrive_whole() {
    let pieces: Vec<Bytes> = (1..200_u8)
        .map(|n| Bytes::from(vec![n; usize::from(n) * 37]))
        .collect();
    let whole = Body::Many(pieces.clone()).to_bytes();
    let routes = stateless().on::<Ping>(&pool("t", 1, 100), move |(), incoming| {
        Ok(echo(incoming).with_body(Body::Many(pieces.clone())))
    });
    let server = serve(routes.build()).await;
    let mut peer = ScriptedPeer::connect(server.local_addr()).await;
    for opaque in 0..20 {
        peer.send(&ping_command(opaque)).await;
    }
    for opaque in 0..20 {
        let answer = peer.expect().await;
        assert_eq!(answer.opaque, opaque);
        assert_eq!(answer.body.to_bytes(), whole);
    }
}

#[tokio::test]
async fn a_oneway_request_gets_no_answer_whatever_comes_of_it() {
    let routes = stateless().on::<Ping>(&pool("t", 1, 10), |(), incoming| {
        match incoming.header.text.as_str() {
            "panic" => panic!("as the test wants"),
            "refuse" => Err(Refusal::new(ResponseCode::SYSTEM_ERROR, "no")),
            _ => Ok(echo(incoming)),
        }
    });
    let server = serve(routes.build()).await;
    let mut peer = ScriptedPeer::connect(server.local_addr()).await;
    for text in ["fine", "refuse", "panic"] {
        let mut request = Command::request::<Ping>(&ping(text));
        request.mark_oneway();
        peer.send(&request).await;
    }
    let mut unknown = Command::new(9_999);
    unknown.mark_oneway();
    peer.send(&unknown).await;
    peer.send(&ping_command(5)).await;
    assert_eq!(peer.expect().await.opaque, 5);
    peer.expect_silence().await;
}

#[tokio::test]
async fn an_unknown_code_gets_code_3_and_javas_text() {
    let server = serve(echo_routes(&pool("t", 1, 10))).await;
    let mut peer = ScriptedPeer::connect(server.local_addr()).await;
    peer.send(&Command::new(31_337)).await;
    let answer = peer.expect().await;
    assert_eq!(answer.code, 3);
    let text = " request type 31337 not supported";
    assert_eq!(answer.remark.as_deref(), Some(text));
}

#[tokio::test]
async fn otherwise_serves_the_codes_without_a_row_and_without_takes_a_row_away() {
    let pool = pool("t", 1, 10);
    let routes = stateless()
        .on::<Ping>(&pool, |(), incoming| Ok(echo(incoming)))
        .otherwise(&pool, |(), incoming| {
            Ok(Reply::success().with_remark(format!("code {}", incoming.command.code)))
        })
        .build();
    let server = serve(routes.without::<Ping>()).await;
    let mut peer = ScriptedPeer::connect(server.local_addr()).await;
    for code in [4_711, 100] {
        peer.send(&Command::new(code)).await;
        let answer = peer.expect().await;
        assert_eq!(answer.remark, Some(format!("code {code}")));
    }
}

#[tokio::test]
async fn a_header_that_lacks_or_garbles_a_field_is_refused_with_the_fields_name() {
    let server = serve(echo_routes(&pool("t", 1, 10))).await;
    let mut peer = ScriptedPeer::connect(server.local_addr()).await;
    peer.send(&Command::new(100)).await;
    let answer = peer.expect().await;
    assert_eq!(answer.code, 1);
    assert_eq!(
        answer.remark.as_deref(),
        Some("the custom field <text> is null")
    );
    let mut garbled = ping_command(1);
    garbled.fields.set("times", "many");
    peer.send(&garbled).await;
    let answer = peer.expect().await;
    assert_eq!(answer.code, 1);
    assert!(answer.remark.unwrap().contains("<times>"));
}

#[tokio::test]
async fn a_panic_in_a_handler_costs_one_answer_and_no_thread() {
    let routes = stateless().on::<Ping>(&pool("t", 1, 10), |(), incoming| {
        assert_ne!(incoming.header.text, "panic", "as the test wants");
        Ok(echo(incoming))
    });
    let server = serve(routes.build()).await;
    let mut peer = ScriptedPeer::connect(server.local_addr()).await;
    peer.send(&Command::request::<Ping>(&ping("panic"))).await;
    peer.send(&ping_command(2)).await;
    let answer = peer.expect().await;
    assert_eq!((answer.code, answer.opaque), (1, 0));
    assert!(answer.remark.unwrap().contains("request type 100"));
    let answer = peer.expect().await;
    assert_eq!((answer.code, answer.opaque), (0, 2));
}

#[tokio::test]
async fn a_dropped_responder_answers_system_error_and_a_kept_one_answers_later() {
    let kept: Arc<Mutex<Vec<Responder>>> = Arc::default();
    let keep = Arc::clone(&kept);
    let routes =
        stateless().on_parked::<Park>(&pool("t", 1, 10), move |(), incoming, responder| {
            match incoming.header.text.as_str() {
                "drop" => drop(responder),
                _ => keep.lock().unwrap().push(responder),
            }
        });
    let server = serve(routes.build()).await;
    let mut peer = ScriptedPeer::connect(server.local_addr()).await;
    peer.send(&Command::request::<Park>(&ping("drop"))).await;
    assert_eq!(peer.expect().await.code, 1);
    peer.send(&Command::request::<Park>(&ping("keep"))).await;
    eventually("the request is parked", || !kept.lock().unwrap().is_empty()).await;
    peer.expect_silence().await;
    let responder = kept.lock().unwrap().pop().unwrap();
    assert_eq!(responder.request().code, 101);
    let text = "later".to_owned();
    responder.send(Ok(Reply::ok(PongHeader { text }).with_field("extra", &7)));
    let answer = peer.expect().await;
    assert_eq!(answer.fields.get("text"), Some("later"));
    assert_eq!(answer.fields.get("extra"), Some("7"));
}

/// Writes down what passes, and stops what is called "stop".
struct Witness {
    name: &'static str,
    seen: Arc<Mutex<Vec<String>>>,
}

impl RpcHook for Witness {
    fn before(&self, _: SocketAddr, request: &mut Command) -> Result<(), Refusal> {
        let line = format!("{} before {}", self.name, request.code);
        self.seen.lock().unwrap().push(line);
        if request.fields.get("text") == Some("stop") {
            return Err(Refusal::new(ResponseCode::NO_PERMISSION, self.name));
        }
        request.fields.set(self.name, "was here");
        Ok(())
    }

    fn after(&self, _: SocketAddr, request: &RequestInfo, response: &mut Command) {
        let line = format!("{} after {}", self.name, request.code);
        self.seen.lock().unwrap().push(line);
        response.fields.set(self.name, "saw it");
    }
}

fn witnesses(names: [&'static str; 2], seen: &Arc<Mutex<Vec<String>>>) -> Hooks {
    let hook = |name| -> Arc<dyn RpcHook> {
        let seen = Arc::clone(seen);
        Arc::new(Witness { name, seen })
    };
    Hooks::new(names.map(hook).to_vec())
}

#[tokio::test]
async fn hooks_run_in_order_around_what_is_handled() {
    let seen = Arc::default();
    let routes = stateless()
        .on::<Ping>(&pool("t", 1, 10), |(), incoming| {
            assert_eq!(incoming.command.fields.get("second"), Some("was here"));
            Ok(echo(incoming))
        })
        .hooks(witnesses(["first", "second"], &seen));
    let server = serve(routes.build()).await;
    let mut peer = ScriptedPeer::connect(server.local_addr()).await;
    peer.send(&ping_command(1)).await;
    let answer = peer.expect().await;
    assert_eq!(answer.code, 0);
    assert_eq!(answer.fields.get("first"), Some("saw it"));
    let lines = [
        "first before 100",
        "second before 100",
        "first after 100",
        "second after 100",
    ];
    assert_eq!(*seen.lock().unwrap(), lines);
}

#[tokio::test]
async fn a_hook_stops_a_request_with_its_own_code() {
    let seen = Arc::default();
    let routes = stateless()
        .on::<Ping>(&pool("t", 1, 10), |(), incoming| Ok(echo(incoming)))
        .hooks(witnesses(["first", "second"], &seen));
    let server = serve(routes.build()).await;
    let mut peer = ScriptedPeer::connect(server.local_addr()).await;
    peer.send(&Command::request::<Ping>(&ping("stop"))).await;
    let answer = peer.expect().await;
    assert_eq!(answer.response_code(), ResponseCode::NO_PERMISSION);
    assert_eq!(answer.remark.as_deref(), Some("first"));
}

struct PanickingHook;

impl RpcHook for PanickingHook {
    fn after(&self, _: SocketAddr, _: &RequestInfo, _: &mut Command) {
        panic!("as the test wants");
    }
}

#[tokio::test]
async fn a_panic_in_a_hook_costs_one_answer_and_no_thread() {
    let routes = stateless()
        .on::<Ping>(&pool("t", 1, 10), |(), incoming| Ok(echo(incoming)))
        .hooks(Hooks::new(vec![Arc::new(PanickingHook)]));
    let server = serve(routes.build()).await;
    let mut peer = ScriptedPeer::connect(server.local_addr()).await;
    for opaque in 1..=2 {
        peer.send(&ping_command(opaque)).await;
        let answer = peer.expect().await;
        assert_eq!((answer.code, answer.opaque), (1, opaque));
    }
}

#[tokio::test]
async fn hooks_of_the_asking_side_run_around_its_calls() {
    let seen = Arc::default();
    let server = serve(echo_routes(&pool("t", 1, 10))).await;
    let options = thrustmq_remoting::ClientOptions {
        hooks: witnesses(["first", "second"], &seen),
        ..Default::default()
    };
    let clock = thrustmq_proto_compat::clock::Clock::system();
    let client = thrustmq_remoting::Client::new(options, None, None, clock);
    let addr = server.local_addr().to_string();
    let answer = client.call(&addr, ping_command(0), PATIENCE).await.unwrap();
    assert_eq!(answer.fields.get("second"), Some("saw it"));
    let (tell, told) = tokio::sync::oneshot::channel();
    client.call_then(&addr, ping_command(0), PATIENCE, move |outcome| {
        tell.send(outcome).unwrap();
    });
    let answer = told.await.unwrap().unwrap();
    assert_eq!(answer.fields.get("second"), Some("saw it"));
    let stopped = Command::request::<Ping>(&ping("stop"));
    let error = client.call(&addr, stopped, PATIENCE).await.unwrap_err();
    let refusal = Refusal::new(ResponseCode::NO_PERMISSION, "first");
    assert_eq!(error, thrustmq_remoting::CallError::Refused(refusal));
}
