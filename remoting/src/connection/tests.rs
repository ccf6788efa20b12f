//! Connections over an in-memory stream, with the time in the test's hand.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::task::{Context, Waker};
use std::time::Duration;

use bytes::BytesMut;
use thrustmq_proto_compat::clock::Clock;
use thrustmq_proto_compat::command::Command;
use thrustmq_proto_compat::frame;
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};
use tokio::sync::oneshot;

use super::{Connection, READ_BYTES_MAX, Requests};
use crate::batch::Batch;
use crate::connection;
use crate::endpoint::{Endpoint, EndpointParts, Side};
use crate::error::CallError;
use crate::events::{ConnectionEvent, ConnectionEvents};
use crate::hooks::Hooks;
use crate::options::ClientOptions;
use crate::peer::{Ends, Peer};

impl connection::Stream for DuplexStream {}

const STREAM_BYTES: usize = 4 * 1024;

#[derive(Default)]
struct Diary(Mutex<Vec<&'static str>>);

impl ConnectionEvents for Diary {
    fn on_event(&self, event: ConnectionEvent) {
        let word = match event {
            ConnectionEvent::Idle { .. } => "idle",
            ConnectionEvent::Closed { .. } => "closed",
            ConnectionEvent::Connected { .. } => "connected",
            ConnectionEvent::Active { .. } => "active",
            ConnectionEvent::Exception { .. } => "exception",
        };
        self.0.lock().unwrap().push(word);
    }
}

struct Setup {
    peer: Peer,
    stream: DuplexStream,
    diary: Arc<Diary>,
    endpoint: Arc<Endpoint>,
}

fn setup() -> Setup {
    let diary = Arc::new(Diary::default());
    let endpoint = Endpoint::new(EndpointParts {
        side: Side::Client,
        limits: (&ClientOptions::default()).into(),
        hooks: Hooks::default(),
        routes: None,
        events: Some(Arc::<Diary>::clone(&diary)),
        clock: Clock::by_hand(1),
    });
    endpoint.start_sweep();
    let (ours, theirs) = tokio::io::duplex(STREAM_BYTES);
    let addr = SocketAddr::from(([127, 0, 0, 1], 9876));
    let ends = Ends {
        remote: addr,
        local: addr,
    };
    Setup {
        peer: connection::start(&endpoint, ours, ends),
        stream: theirs,
        diary,
        endpoint,
    }
}

async fn read_command(stream: &mut DuplexStream) -> Command {
    let mut received = BytesMut::new();
    loop {
        if let Some(frame) = frame::split(&mut received).unwrap() {
            return frame::decode(frame).unwrap();
        }
        assert_ne!(stream.read_buf(&mut received).await.unwrap(), 0);
    }
}

#[tokio::test(start_paused = true)]
async fn a_connection_without_traffic_is_closed_after_two_minutes() {
    let mut setup = setup();
    tokio::time::sleep(Duration::from_secs(119)).await;
    assert!(setup.peer.is_open());
    let closed = tokio::time::timeout(Duration::from_secs(3), setup.stream.read_u8());
    assert!(closed.await.unwrap().is_err());
    assert!(!setup.peer.is_open());
    let told = || setup.diary.0.lock().unwrap().clone();
    while told().len() < 4 {
        // The listener's thread has its own time.
        tokio::task::yield_now().await;
    }
    assert_eq!(told(), ["connected", "active", "idle", "closed"]);
}

#[tokio::test(start_paused = true)]
async fn either_direction_of_traffic_keeps_it_open() {
    let mut setup = setup();
    let request = frame::encode(&Command::new(1)).unwrap();
    for byte in request.iter().take(4) {
        tokio::time::sleep(Duration::from_secs(100)).await;
        setup.stream.write_u8(*byte).await.unwrap();
        tokio::time::sleep(Duration::from_secs(100)).await;
        setup.peer.oneway(Command::new(1)).unwrap();
        assert!(read_command(&mut setup.stream).await.is_oneway());
        assert!(setup.peer.is_open());
    }
    tokio::time::sleep(Duration::from_secs(122)).await;
    assert!(!setup.peer.is_open());
}

#[tokio::test(start_paused = true)]
async fn callbacks_whose_time_is_over_hear_of_it_within_a_second() {
    let setup = setup();
    let (tell, told) = oneshot::channel();
    let timeout = Duration::from_secs(5);
    setup.peer.call_then(Command::new(1), timeout, |outcome| {
        tell.send(outcome).unwrap()
    });
    tokio::time::sleep(Duration::from_millis(4_900)).await;
    assert_eq!(setup.peer.pending().in_flight(), 1);
    tokio::time::sleep(Duration::from_millis(1_200)).await;
    let error = told.await.unwrap().unwrap_err();
    let addr = "127.0.0.1:9876".to_owned();
    assert_eq!(error, CallError::Timeout { addr, ms: 5_000 });
    while setup.peer.pending().in_flight() > 0 {
        tokio::task::yield_now().await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_call_times_out_to_the_millisecond_and_leaves_nothing_behind() {
    let setup = setup();
    let started = tokio::time::Instant::now();
    let error = setup
        .peer
        .call(Command::new(1), Duration::from_millis(1_234))
        .await
        .unwrap_err();
    assert!(matches!(error, CallError::Timeout { ms: 1_234, .. }));
    assert_eq!(started.elapsed().as_millis(), 1_234);
    assert_eq!(setup.peer.pending().in_flight(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_caller_that_gives_up_leaves_nothing_behind() {
    let setup = setup();
    let call = setup.peer.call(Command::new(1), Duration::from_secs(100));
    assert!(
        tokio::time::timeout(Duration::from_millis(10), call)
            .await
            .is_err()
    );
    assert_eq!(setup.peer.pending().in_flight(), 0);
}

#[tokio::test(start_paused = true)]
async fn close_ends_a_connection_whose_peer_does_not_read() {
    let setup = setup();
    let request = Command::new(1).with_body(vec![1; 10 * STREAM_BYTES]);
    setup.peer.oneway(request).unwrap();
    tokio::time::sleep(Duration::from_millis(1)).await;
    let (tell, told) = oneshot::channel();
    let timeout = Duration::from_secs(100);
    setup.peer.call_then(Command::new(2), timeout, |outcome| {
        tell.send(outcome).unwrap()
    });
    setup.peer.close("test");
    assert_eq!(told.await.unwrap().unwrap_err(), CallError::Closed);
    assert!(!setup.peer.is_open());
}

#[tokio::test(start_paused = true)]
async fn a_connection_gives_back_its_buffers_after_some_seconds_without_traffic() {
    let endpoint = setup().endpoint;
    let (ours, mut theirs) = tokio::io::duplex(STREAM_BYTES);
    let addr = SocketAddr::from(([127, 0, 0, 1], 9876));
    let ends = Ends {
        remote: addr,
        local: addr,
    };
    let mut connection = Connection {
        stream: ours,
        peer: endpoint.enter(ends),
        endpoint,
        received: BytesMut::with_capacity(READ_BYTES_MAX),
        read_bytes: READ_BYTES_MAX,
        writing: Batch::default(),
        requests: Requests::default(),
        finished: Vec::new(),
        has_let: false,
    };
    connection.requests.jobs.reserve(100);
    let mut cx = Context::from_waker(Waker::noop());
    for (seconds, gives_back) in [(1, false), (4, true)] {
        tokio::time::sleep(Duration::from_secs(seconds)).await;
        assert!(connection.turn(&mut cx).is_pending());
        assert_eq!(connection.received.capacity() < READ_BYTES_MAX, gives_back);
        assert_eq!(connection.requests.jobs.capacity() == 0, gives_back);
    }
    // A frame that has come in part is kept.
    theirs.write_u8(0).await.unwrap();
    assert!(connection.turn(&mut cx).is_pending());
    tokio::time::sleep(Duration::from_secs(8)).await;
    assert!(connection.turn(&mut cx).is_pending());
    assert_eq!(connection.received, [0][..]);
}
