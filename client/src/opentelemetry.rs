//! The context of a distributed trace travels in the properties of messages. With the feature
//! `opentelemetry`:
//!
//! ```no_run
//! use opentelemetry::trace::{Span, Tracer, TracerProvider};
//! use thrustmq_client::opentelemetry::{PropagateContext, context_of};
//! use thrustmq_client::{ConsumeResult, Producer, PushConsumer};
//!
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! // Once, with the propagator of your SDK: opentelemetry::global::set_text_map_propagator(...)
//! let producer = Producer::builder("shop").hook(PropagateContext).start().await?;
//!
//! let consumer = PushConsumer::builder("order-service")
//!     .subscribe("orders", "*")
//!     .start(|message| async move {
//!         let tracer = opentelemetry::global::tracer("order-service");
//!         let mut span = tracer.start_with_context("orders process", &context_of(&message));
//!         println!("{}", message.message_id());
//!         span.end();
//!         ConsumeResult::Success
//!     })
//!     .await?;
//! # drop((producer, consumer));
//! # Ok(())
//! # }
//! ```
//!
//! What the properties are called, and which there are, says the propagator that the application gave to
//! `opentelemetry::global`: that of W3C writes `traceparent` and `tracestate`, as other languages' do.
//! Without one nothing is written.

use opentelemetry::propagation::{Extractor, Injector};
use opentelemetry::{Context, global};

use crate::ReceivedMessage;
use crate::message::Message;
use crate::producer::SendHook;

/// Writes the context that is current where a message is sent into its properties. A hook of a
/// [`Producer`](crate::ProducerBuilder::hook).
#[derive(Debug, Clone, Copy, Default)]
pub struct PropagateContext;

/// The context that a message was sent in, to be the parent of the spans that handle it; an empty one if it
/// has none.
pub fn context_of(message: &ReceivedMessage) -> Context {
    global::get_text_map_propagator(|propagator| {
        // Not what is current here: that is the consumer's own.
        propagator.extract_with_context(&Context::new(), &Received(message))
    })
}

impl SendHook for PropagateContext {
    fn before(&self, message: &mut Message) -> Result<(), String> {
        let context = Context::current();
        global::get_text_map_propagator(|propagator| {
            propagator.inject_context(&context, &mut Outgoing(message));
        });
        Ok(())
    }
}

struct Outgoing<'a>(&'a mut Message);

impl Injector for Outgoing<'_> {
    fn set(&mut self, key: &str, value: String) {
        // W3C's propagator writes an empty `tracestate` where there is none; messages have no empty property.
        if !value.is_empty() {
            self.0.set_property(key, value);
        }
    }
}

struct Received<'a>(&'a ReceivedMessage);

impl Extractor for Received<'_> {
    fn get(&self, key: &str) -> Option<&str> {
        self.0.properties.get(key)
    }

    fn keys(&self) -> Vec<&str> {
        self.0.properties.iter().map(|(key, _)| key).collect()
    }
}
