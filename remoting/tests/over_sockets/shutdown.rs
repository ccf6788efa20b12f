//! How servers end, and what listeners are told.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use thrustmq_proto_compat::clock::Clock;
use thrustmq_proto_compat::response_code::ResponseCode;
use thrustmq_remoting::{
    Client, ClientOptions, ConnectionEvent, ConnectionEvents, Reply, Responder, Server,
    ServerOptions,
};
use tokio::net::TcpStream;
use tokio::time::Instant;

use crate::scripted_peer::*;

type Parked = Arc<Mutex<Vec<Responder>>>;

async fn parking_server(shutdown_wait_ms: u64) -> (Arc<Server>, Parked) {
    let pool = pool("t", 1, 100);
    let parked: Parked = Arc::default();
    let park = Arc::clone(&parked);
    let routes = stateless()
        .on::<Ping>(&pool, |(), incoming| Ok(echo(incoming)))
        .on_parked::<Park>(&pool, move |(), _, responder| {
            park.lock().unwrap().push(responder);
        });
    let options = ServerOptions {
        shutdown_wait_ms,
        ..local_options()
    };
    (Arc::new(serve_with(options, routes.build()).await), parked)
}

fn park_command(opaque: i32) -> thrustmq_proto_compat::command::Command {
    let mut command = ping_command(opaque);
    command.code = 101;
    command
}

#[tokio::test]
async fn shutdown_finishes_what_is_in_flight_and_sends_newcomers_away() {
    let (server, parked) = parking_server(30_000).await;
    let mut peer = ScriptedPeer::connect(server.local_addr()).await;
    peer.send(&park_command(1)).await;
    eventually("it is parked", || !parked.lock().unwrap().is_empty()).await;
    let ending = tokio::spawn({
        let server = Arc::clone(&server);
        async move { server.shutdown().await }
    });
    // One who understands GO_AWAY gets it, one of before 5.3.1 is served to the end.
    let mut answer;
    loop {
        peer.send(&ping_command(2)).await;
        answer = peer.expect().await;
        if answer.code != 0 {
            break;
        }
    }
    assert_eq!(answer.response_code(), ResponseCode::GO_AWAY);
    assert_eq!(answer.remark.as_deref(), Some("please go away"));
    let mut old = ping_command(3);
    old.version = 475;
    peer.send(&old).await;
    assert_eq!(peer.expect().await.code, 0);
    assert!(TcpStream::connect(server.local_addr()).await.is_err());
    assert!(!ending.is_finished());
    let responder = parked.lock().unwrap().pop().unwrap();
    responder.send(Ok(Reply::ok(PongHeader {
        text: "done".into(),
    })));
    let answer = peer.expect().await;
    assert_eq!((answer.code, answer.opaque), (0, 1));
    peer.expect_close().await;
    tokio::time::timeout(PATIENCE, ending)
        .await
        .unwrap()
        .unwrap();
    assert_eq!(server.connections(), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn shutdown_lets_peers_read_their_last_answers() {
    const ANSWER_BYTES: usize = 12 * 1024 * 1024;
    let handled = Arc::new(AtomicBool::new(false));
    let is_handled = Arc::clone(&handled);
    let routes = stateless().on::<Ping>(&pool("t", 1, 10), move |(), incoming| {
        is_handled.store(true, Ordering::Relaxed);
        Ok(echo(incoming).with_body(vec![7; ANSWER_BYTES]))
    });
    let options = ServerOptions {
        send_buffer_bytes: Some(64 * 1024),
        ..local_options()
    };
    let server = serve_with(options, routes.build()).await;
    let mut peer = ScriptedPeer::connect(server.local_addr()).await;
    peer.send(&ping_command(1)).await;
    eventually("it is handled", || handled.load(Ordering::Relaxed)).await;
    let ending = tokio::spawn(async move { server.shutdown().await });
    // By now the answer fills the sockets, and the rest of it waits.
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert!(!ending.is_finished());
    let answer = peer.expect().await;
    assert_eq!(answer.body.len(), ANSWER_BYTES);
    peer.expect_close().await;
    tokio::time::timeout(PATIENCE, ending)
        .await
        .unwrap()
        .unwrap();
}

#[tokio::test]
async fn shutdown_does_not_wait_for_ever() {
    let (server, parked) = parking_server(200).await;
    let mut peer = ScriptedPeer::connect(server.local_addr()).await;
    peer.send(&park_command(1)).await;
    eventually("it is parked", || !parked.lock().unwrap().is_empty()).await;
    let started = Instant::now();
    server.shutdown().await;
    let took = started.elapsed();
    assert!(
        took >= Duration::from_millis(200) && took < PATIENCE,
        "{took:?}"
    );
    peer.expect_close().await;
    // The late answer goes nowhere and harms nothing.
    let responder = parked.lock().unwrap().pop().unwrap();
    responder.send(Ok(Reply::ok(PongHeader {
        text: "late".into(),
    })));
}

#[tokio::test]
async fn an_idle_server_shuts_down_at_once_and_frees_its_port() {
    let (server, _) = parking_server(30_000).await;
    let addr = server.local_addr();
    let started = Instant::now();
    server.shutdown().await;
    assert!(started.elapsed() < Duration::from_secs(15));
    let options = ServerOptions::new(addr);
    let again = serve_with(options, echo_routes(&pool("t", 1, 1))).await;
    assert_eq!(again.local_addr(), addr);
}

#[tokio::test]
async fn a_port_in_use_is_an_error() {
    let (server, _) = parking_server(1).await;
    let options = ServerOptions::new(server.local_addr());
    let routes = echo_routes(&pool("t", 1, 1));
    let error = Server::bind(options, routes, None, Clock::system())
        .await
        .unwrap_err();
    assert_eq!(error.kind(), std::io::ErrorKind::AddrInUse);
}

/// Writes down each event as one word and the connection's number.
#[derive(Default)]
struct Diary(Mutex<Vec<(&'static str, u64)>>);

impl Diary {
    fn words(&self) -> Vec<&'static str> {
        self.0
            .lock()
            .unwrap()
            .iter()
            .map(|(word, _)| *word)
            .collect()
    }
}

impl ConnectionEvents for Diary {
    fn on_event(&self, event: ConnectionEvent) {
        let word = match &event {
            ConnectionEvent::Connected { .. } => "connected",
            ConnectionEvent::Active { .. } => "active",
            ConnectionEvent::Idle { .. } => "idle",
            ConnectionEvent::Exception { .. } => "exception",
            ConnectionEvent::Closed { .. } => "closed",
        };
        let thread = std::thread::current().name().map(str::to_owned);
        assert_eq!(thread.as_deref(), Some("conn-events-0"));
        self.0.lock().unwrap().push((word, event.peer().id()));
    }
}

#[tokio::test]
async fn each_connection_is_told_from_first_to_last() {
    let diary = Arc::new(Diary::default());
    let routes = echo_routes(&pool("t", 1, 100));
    let events: Arc<dyn ConnectionEvents> = Arc::<Diary>::clone(&diary);
    let server = Server::bind(local_options(), routes, Some(events), Clock::system());
    let server = server.await.unwrap();
    for round in 1..=20 {
        let mut peer = ScriptedPeer::connect(server.local_addr()).await;
        if round % 2 == 0 {
            peer.send_bytes(&[0xFF; 8]).await;
            peer.expect_close().await;
        }
    }
    eventually("all are closed", || {
        diary
            .words()
            .iter()
            .filter(|word| **word == "closed")
            .count()
            == 20
    })
    .await;
    let mut by_connection = std::collections::BTreeMap::<u64, Vec<&str>>::new();
    for (word, id) in diary.0.lock().unwrap().iter() {
        by_connection.entry(*id).or_default().push(word);
    }
    assert_eq!(by_connection.len(), 20);
    for words in by_connection.values() {
        let whole = [
            &["connected", "closed"][..],
            &["connected", "exception", "closed"],
        ];
        assert!(whole.contains(&words.as_slice()), "{words:?}");
    }
}

#[tokio::test]
async fn a_clients_listener_hears_of_the_connections_it_makes() {
    let server = serve(echo_routes(&pool("t", 1, 100))).await;
    let diary = Arc::new(Diary::default());
    let events: Arc<dyn ConnectionEvents> = Arc::<Diary>::clone(&diary);
    let client = Client::new(
        ClientOptions::default(),
        None,
        Some(events),
        Clock::system(),
    );
    let peer = client
        .connect(&server.local_addr().to_string())
        .await
        .unwrap();
    assert_eq!(peer.remote_addr(), server.local_addr());
    assert_eq!(server.peers()[0].remote_addr(), peer.local_addr());
    server.shutdown().await;
    eventually("it is told", || {
        diary.words() == ["connected", "active", "closed"]
    })
    .await;
}
