//! The context of a trace, from the task that sends to the one that receives.

use opentelemetry::trace::{
    FutureExt, SpanContext, SpanId, TraceContextExt, TraceFlags, TraceId, TraceState,
};
use opentelemetry::{Context, global};
use opentelemetry_sdk::propagation::TraceContextPropagator;
use thrustmq_client::opentelemetry::{PropagateContext, context_of};
use thrustmq_client::testing::Standalone;
use thrustmq_client::{Message, Producer, PullConsumer, ReceivedMessage};

fn sending(state: TraceState) -> Context {
    let (trace, span) = (TraceId::from(0xA1), SpanId::from(0xB2));
    let context = SpanContext::new(trace, span, TraceFlags::SAMPLED, false, state);
    Context::new().with_remote_span_context(context)
}

async fn received(servers: &Standalone, count: usize) -> Vec<ReceivedMessage> {
    let consumer = PullConsumer::builder("contexts")
        .config(servers.config())
        .start()
        .await
        .unwrap();
    let queue = consumer.queues("orders").await.unwrap().remove(0);
    let pull = consumer.pull(&queue, 0).await.unwrap();
    consumer.shutdown().await;
    assert_eq!(pull.messages.len(), count);
    pull.messages
}

#[tokio::test]
async fn a_message_brings_the_context_that_it_was_sent_in() {
    global::set_text_map_propagator(TraceContextPropagator::new());
    let servers = Standalone::start().await.unwrap();
    servers.create_topic("orders", 1).await.unwrap();
    let producer = Producer::builder("shop")
        .config(servers.config())
        .hook(PropagateContext)
        .start()
        .await
        .unwrap();
    let state = TraceState::from_key_value([("vendor", "7")]).unwrap();
    for context in [
        sending(TraceState::default()),
        sending(state),
        Context::new(),
    ] {
        let message = Message::new("orders", "4711").property("shop", "7");
        let sent = producer.send(message).with_context(context);
        sent.await.unwrap();
    }
    producer.shutdown().await;
    let messages = received(&servers, 3).await;

    let [plain, vendors, none] = &messages[..] else {
        panic!("{messages:?}");
    };
    let parent = "00-000000000000000000000000000000a1-00000000000000b2-01";
    for message in [plain, vendors] {
        assert_eq!(message.properties.get("traceparent"), Some(parent));
        assert_eq!(message.properties.get("shop"), Some("7"));
        let context = context_of(message);
        let span = context.span().span_context().clone();
        assert_eq!(span.trace_id(), TraceId::from(0xA1));
        assert_eq!(span.span_id(), SpanId::from(0xB2));
        assert!(span.is_sampled() && span.is_remote());
    }
    assert_eq!(plain.properties.get("tracestate"), None);
    assert_eq!(vendors.properties.get("tracestate"), Some("vendor=7"));
    assert_eq!(none.properties.get("traceparent"), None);
    assert!(!context_of(none).span().span_context().is_valid());
}
