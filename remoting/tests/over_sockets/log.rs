//! The log of this test process, kept: how many lines of WARN and above name a peer.
//!
//! Tests run side by side, so each looks only for its own connection's address.

use std::fmt::Debug;
use std::net::SocketAddr;
use std::sync::{Mutex, Once};

use tracing::field::{Field, Visit};
use tracing::span;

static WARNED_OF: Mutex<Vec<String>> = Mutex::new(Vec::new());

/// Starts to keep the log. Everything that a test needs first calls it, as tracing forgets lines that
/// were met before the first subscriber.
pub(crate) fn keep() {
    static KEPT: Once = Once::new();
    KEPT.call_once(|| tracing::subscriber::set_global_default(Keeper).unwrap());
}

/// Lines of WARN and above about this peer.
pub(crate) fn warnings_of(peer: SocketAddr) -> usize {
    let peer = peer.to_string();
    let warned = WARNED_OF.lock().unwrap();
    warned.iter().filter(|of| **of == peer).count()
}

struct Keeper;

struct PeerField(Option<String>);

impl Visit for PeerField {
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        if field.name() == "peer" {
            self.0 = Some(format!("{value:?}"));
        }
    }
}

impl tracing::Subscriber for Keeper {
    fn enabled(&self, metadata: &tracing::Metadata<'_>) -> bool {
        metadata.is_event() && *metadata.level() <= tracing::Level::WARN
    }

    fn new_span(&self, _: &span::Attributes<'_>) -> span::Id {
        span::Id::from_u64(1)
    }

    fn record(&self, _: &span::Id, _: &span::Record<'_>) {}

    fn record_follows_from(&self, _: &span::Id, _: &span::Id) {}

    fn event(&self, event: &tracing::Event<'_>) {
        let mut peer = PeerField(None);
        event.record(&mut peer);
        WARNED_OF.lock().unwrap().extend(peer.0);
    }

    fn enter(&self, _: &span::Id) {}

    fn exit(&self, _: &span::Id) {}
}
