use std::net::SocketAddr;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use super::{ConnectionEvent, ConnectionEvents, Events, QUEUE_CAPACITY};
use crate::callbacks::Callbacks;
use crate::hooks::Hooks;
use crate::options::ClientOptions;
use crate::peer::{Ends, Peer};

struct Slow {
    go: Mutex<Receiver<()>>,
    heard: Sender<bool>,
}

impl ConnectionEvents for Slow {
    fn on_event(&self, event: ConnectionEvent) {
        // The first event waits until all are told; the sender is gone for the others.
        let _ = self.go.lock().unwrap().recv();
        let is_last = matches!(event, ConnectionEvent::Closed { .. });
        self.heard.send(is_last).unwrap();
    }
}

#[test]
fn a_slow_listener_may_miss_others_but_never_a_close() {
    let addr = SocketAddr::from(([127, 0, 0, 1], 1));
    let ends = Ends {
        remote: addr,
        local: addr,
    };
    let limits = (&ClientOptions::default()).into();
    let peer = Peer::new(ends, &limits, Hooks::default(), Arc::new(Callbacks::new()));
    let (go, waiting) = channel();
    let (heard, hearing) = channel();
    let events = Events::new(Some(Arc::new(Slow {
        go: Mutex::new(waiting),
        heard,
    })));
    for _ in 0..QUEUE_CAPACITY + 500 {
        events.tell(ConnectionEvent::Active { peer: peer.clone() });
    }
    for _ in 0..500 {
        events.tell(ConnectionEvent::Closed { peer: peer.clone() });
    }
    drop(go);
    drop(events);
    let heard: Vec<bool> =
        std::iter::from_fn(|| hearing.recv_timeout(Duration::from_secs(60)).ok()).collect();
    let closed = heard.iter().filter(|is_last| **is_last).count();
    assert_eq!(closed, 500);
    // The thread may have taken some off the queue before it filled.
    assert!(heard.len() - closed >= QUEUE_CAPACITY);
    assert!(heard.len() - closed < QUEUE_CAPACITY + 500);
}
