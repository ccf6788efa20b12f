//! Calls in three ways and both directions; how connections are made and given up.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use thrustmq_proto_compat::clock::Clock;
use thrustmq_proto_compat::command::Command;
use thrustmq_proto_compat::response_code::ResponseCode;
use thrustmq_remoting::{CallError, Client, ClientOptions, Refusal, Reply};
use tokio::net::TcpListener;
use tokio::time::Instant;

use crate::scripted_peer::*;

async fn listener() -> (TcpListener, String) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let addr = listener.local_addr().unwrap().to_string();
    (listener, addr)
}

#[tokio::test]
async fn the_three_ways() {
    let (pool, handled) = (pool("t", 2, 100), Arc::new(AtomicUsize::new(0)));
    let count = Arc::clone(&handled);
    let routes = stateless().on::<Ping>(&pool, move |(), incoming| {
        count.fetch_add(1, Ordering::Relaxed);
        Ok(echo(incoming))
    });
    let server = serve(routes.build()).await;
    let (addr, client) = (server.local_addr().to_string(), client());
    let reply = client
        .call_as::<Ping>(&addr, &ping("typed"), vec![5; 10], PATIENCE)
        .await
        .unwrap();
    assert_eq!(reply.header.text, "typed");
    assert_eq!(reply.body.len(), 10);
    let (tell, told) = tokio::sync::oneshot::channel();
    client.call_then(&addr, ping_command(0), PATIENCE, move |outcome| {
        tell.send(outcome).unwrap();
    });
    assert_eq!(told.await.unwrap().unwrap().code, 0);
    client.oneway(&addr, ping_command(0)).await.unwrap();
    eventually("all three came", || handled.load(Ordering::Relaxed) == 3).await;
    assert_eq!(server.connections(), 1);
}

#[tokio::test]
async fn a_call_may_take_for_ever() {
    let server = serve(echo_routes(&pool("t", 1, 10))).await;
    let (addr, client) = (server.local_addr().to_string(), client());
    let answer = client.call(&addr, ping_command(0), Duration::MAX).await;
    assert_eq!(answer.unwrap().code, 0);
    let (tell, told) = tokio::sync::oneshot::channel();
    client.call_then(&addr, ping_command(0), Duration::MAX, |outcome| {
        tell.send(outcome).unwrap();
    });
    assert_eq!(told.await.unwrap().unwrap().code, 0);
}

#[tokio::test]
async fn a_typed_call_fails_with_the_servers_refusal() {
    let routes = stateless().on::<Ping>(&pool("t", 1, 10), |(), _| {
        Err(Refusal::new(ResponseCode::TOPIC_NOT_EXIST, "no topic"))
    });
    let server = serve(routes.build()).await;
    let addr = server.local_addr().to_string();
    let called = client()
        .call_as::<Ping>(&addr, &ping("x"), Vec::new(), PATIENCE)
        .await;
    let refusal = Refusal::new(ResponseCode::TOPIC_NOT_EXIST, "no topic");
    assert_eq!(called.unwrap_err(), CallError::Refused(refusal));
}

#[tokio::test]
async fn the_server_asks_the_client_on_the_same_connection() {
    let back = pool("back", 1, 10);
    let client_routes = stateless()
        .on::<Back>(&back, |(), incoming| Ok(echo(incoming)))
        .build();
    // The handler of PARK asks back and answers with what it is told.
    let routes = stateless().on_parked::<Park>(&pool("t", 1, 10), |(), incoming, responder| {
        let question = Command::request::<Back>(&ping("from the server"));
        incoming.peer.call_then(question, PATIENCE, move |outcome| {
            responder.send(match outcome {
                Ok(answer) => Ok(Reply::ok(answer.header::<PongHeader>().unwrap())),
                Err(error) => Err(Refusal::new(ResponseCode::SYSTEM_ERROR, error.to_string())),
            });
        });
    });
    let server = serve(routes.build()).await;
    let client = Client::new(
        ClientOptions::default(),
        Some(client_routes),
        None,
        Clock::system(),
    );
    let addr = server.local_addr().to_string();
    let reply = client
        .call_as::<Park>(&addr, &ping("x"), Vec::new(), PATIENCE)
        .await
        .unwrap();
    assert_eq!(reply.header.text, "from the server");
    let handle = server.peers().remove(0);
    let answer = handle
        .call(Command::request::<Back>(&ping("again")), PATIENCE)
        .await
        .unwrap();
    assert_eq!(answer.fields.get("text"), Some("again"));
    let unknown = handle.call(Command::new(77), PATIENCE).await.unwrap();
    assert_eq!(
        unknown.response_code(),
        ResponseCode::REQUEST_CODE_NOT_SUPPORTED
    );
}

#[tokio::test]
async fn answers_find_their_calls_in_any_order_and_strays_are_ignored() {
    let (listener, addr) = listener().await;
    let client = client();
    let calls: Vec<_> = (0..3)
        .map(|_| {
            let (client, addr) = (client.clone(), addr.clone());
            tokio::spawn(async move { client.call(&addr, ping_command(0), PATIENCE).await })
        })
        .collect();
    let mut server = ScriptedPeer::accept(&listener).await;
    let mut requests = Vec::new();
    for _ in 0..3 {
        requests.push(server.expect().await);
    }
    let mut stray = requests[0].clone();
    stray.opaque = 9_999;
    server.answer(&stray, 0).await;
    for request in requests.iter().rev() {
        server.answer(request, request.opaque + 1_000).await;
        // A second answer to the same request finds nobody.
        server.answer(request, 1).await;
    }
    let mut codes = Vec::new();
    for call in calls {
        let answer = call.await.unwrap().unwrap();
        assert_eq!(answer.code, answer.opaque + 1_000);
        codes.push(answer.code);
    }
    codes.sort_unstable();
    assert_eq!(codes, [1_000, 1_001, 1_002]);
}

#[tokio::test]
async fn a_call_without_an_answer_times_out_and_a_dead_connection_is_given_up() {
    let (listener, addr) = listener().await;
    let client = client();
    let started = Instant::now();
    let timeout = Duration::from_millis(200);
    let error = client
        .call(&addr, ping_command(0), timeout)
        .await
        .unwrap_err();
    assert_eq!(
        error,
        CallError::Timeout {
            addr: addr.clone(),
            ms: 200
        }
    );
    assert!(started.elapsed() < Duration::from_secs(30));
    let mut silent = ScriptedPeer::accept(&listener).await;
    silent.expect_close().await;
    // The next call has a new connection, on which something comes while a call times out: it stays.
    let peer = client.connect(&addr).await.unwrap();
    let mut chatty = ScriptedPeer::accept(&listener).await;
    let call = tokio::spawn({
        let (client, addr) = (client.clone(), addr.clone());
        async move { client.call(&addr, ping_command(0), timeout).await }
    });
    let mut stray = chatty.expect().await;
    stray.opaque += 1_000;
    chatty.answer(&stray, 0).await;
    assert!(matches!(
        call.await.unwrap(),
        Err(CallError::Timeout { .. })
    ));
    assert!(peer.is_open());
    assert_eq!(client.connect(&addr).await.unwrap(), peer);
}

#[tokio::test]
async fn a_callback_hears_of_its_timeout() {
    let (_listener, addr) = listener().await;
    let (tell, told) = tokio::sync::oneshot::channel();
    let client = client();
    let timeout = Duration::from_millis(100);
    client.call_then(&addr, ping_command(0), timeout, |outcome| {
        tell.send(outcome).unwrap()
    });
    let outcome = tokio::time::timeout(PATIENCE, told).await;
    assert!(matches!(
        outcome.unwrap().unwrap(),
        Err(CallError::Timeout { ms: 100, .. })
    ));
}

#[tokio::test]
async fn callers_share_one_attempt_and_one_connection() {
    let (listener, addr) = listener().await;
    let client = client();
    let mut callers = Vec::new();
    for _ in 0..50 {
        let (client, addr) = (client.clone(), addr.clone());
        callers.push(tokio::spawn(
            async move { client.connect(&addr).await.unwrap() },
        ));
    }
    let first = client.connect(&addr).await.unwrap();
    for caller in callers {
        assert_eq!(caller.await.unwrap(), first);
    }
    let _accepted = ScriptedPeer::accept(&listener).await;
    let second = tokio::time::timeout(Duration::from_millis(100), listener.accept()).await;
    assert!(second.is_err(), "a second connection was made");
    // Once it is closed the next caller gets another.
    first.close("test");
    eventually("it is closed", || !first.is_open()).await;
    assert_ne!(client.connect(&addr).await.unwrap(), first);
}

#[tokio::test]
async fn a_refused_connection_is_an_error_with_the_address() {
    let (listener, addr) = listener().await;
    drop(listener);
    let client = client();
    for _ in 0..2 {
        let error = client
            .call(&addr, ping_command(0), PATIENCE)
            .await
            .unwrap_err();
        assert!(
            matches!(&error, CallError::Connect { addr: named, .. } if *named == addr),
            "{error}"
        );
    }
    let (tell, told) = tokio::sync::oneshot::channel();
    client.call_then(&addr, ping_command(0), PATIENCE, |outcome| {
        tell.send(outcome).unwrap()
    });
    assert!(matches!(
        told.await.unwrap(),
        Err(CallError::Connect { .. })
    ));
    let error = client.connect("no-port").await.unwrap_err();
    assert!(matches!(error, CallError::Connect { .. }));
}

#[tokio::test]
async fn go_away_is_answered_with_one_repetition_on_a_new_connection() {
    let (listener, addr) = listener().await;
    let client = client();
    let script = tokio::spawn(async move {
        let mut leaving = ScriptedPeer::accept(&listener).await;
        let request = leaving.expect().await;
        leaving.answer(&request, ResponseCode::GO_AWAY.0).await;
        let mut staying = ScriptedPeer::accept(&listener).await;
        for _ in 0..2 {
            let request = staying.expect().await;
            assert_eq!(request.fields.get("text"), Some("hello"));
            staying.answer(&request, 0).await;
        }
        let request = staying.expect().await;
        staying.answer(&request, ResponseCode::GO_AWAY.0).await;
        let mut third = ScriptedPeer::accept(&listener).await;
        let request = third.expect().await;
        third.answer(&request, 0).await;
        (leaving, staying, third, listener)
    });
    for _ in 0..2 {
        let answer = client.call(&addr, ping_command(0), PATIENCE).await.unwrap();
        assert_eq!(answer.code, 0);
    }
    let (tell, told) = tokio::sync::oneshot::channel();
    client.call_then(&addr, ping_command(0), PATIENCE, |outcome| {
        tell.send(outcome).unwrap()
    });
    assert_eq!(told.await.unwrap().unwrap().code, 0);
    script.await.unwrap();
}

#[tokio::test]
async fn a_second_go_away_is_an_error() {
    let (listener, addr) = listener().await;
    let client = client();
    let script = tokio::spawn(async move {
        let mut peers = Vec::new();
        for _ in 0..4 {
            let mut peer = ScriptedPeer::accept(&listener).await;
            let request = peer.expect().await;
            peer.answer(&request, ResponseCode::GO_AWAY.0).await;
            peers.push(peer);
        }
    });
    let error = client
        .call(&addr, ping_command(0), PATIENCE)
        .await
        .unwrap_err();
    assert_eq!(error, CallError::GoAway);
    let (tell, told) = tokio::sync::oneshot::channel();
    client.call_then(&addr, ping_command(0), PATIENCE, |outcome| {
        tell.send(outcome).unwrap()
    });
    assert_eq!(told.await.unwrap().unwrap_err(), CallError::GoAway);
    script.await.unwrap();
}

#[tokio::test]
async fn a_client_that_is_shut_fails_its_calls_and_makes_no_more() {
    let (listener, addr) = listener().await;
    let client = client();
    let call = tokio::spawn({
        let (client, addr) = (client.clone(), addr.clone());
        async move { client.call(&addr, ping_command(0), PATIENCE).await }
    });
    let mut server = ScriptedPeer::accept(&listener).await;
    server.expect().await;
    client.shutdown().await;
    assert_eq!(call.await.unwrap().unwrap_err(), CallError::Closed);
    server.expect_close().await;
    let error = client
        .call(&addr, ping_command(0), PATIENCE)
        .await
        .unwrap_err();
    assert_eq!(error, CallError::Closed);
}

#[tokio::test]
async fn dropping_the_last_clone_closes_the_connections() {
    let (listener, addr) = listener().await;
    let client = client();
    client.connect(&addr).await.unwrap();
    let mut server = ScriptedPeer::accept(&listener).await;
    drop(client);
    server.expect_close().await;
}
