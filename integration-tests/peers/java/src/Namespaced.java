import java.nio.charset.StandardCharsets;
import java.util.Map;
import java.util.concurrent.atomic.AtomicReference;
import org.apache.rocketmq.client.consumer.DefaultMQPushConsumer;
import org.apache.rocketmq.client.consumer.listener.ConsumeConcurrentlyStatus;
import org.apache.rocketmq.client.consumer.listener.MessageListenerConcurrently;
import org.apache.rocketmq.client.producer.DefaultMQProducer;
import org.apache.rocketmq.common.consumer.ConsumeFromWhere;
import org.apache.rocketmq.common.message.Message;

/** Receives one message within a namespace, and sends one that says what it was. */
final class Namespaced {
    private Namespaced() {
    }

    static String run(Map<String, String> options) throws Exception {
        String topic = options.get("topic");
        AtomicReference<String> received = new AtomicReference<>();
        DefaultMQPushConsumer consumer = new DefaultMQPushConsumer(topic + "-java");
        consumer.setNamespace(options.get("namespace"));
        consumer.setNamesrvAddr(options.get("namesrv"));
        consumer.setMqClientApiTimeout(Clients.API_TIMEOUT_MS);
        consumer.setConsumeFromWhere(ConsumeFromWhere.CONSUME_FROM_FIRST_OFFSET);
        consumer.setHeartbeatBrokerInterval(1_000);
        consumer.subscribe(topic, "from-rust");
        consumer.setMessageListener((MessageListenerConcurrently) (messages, context) -> {
            messages.forEach(message ->
                received.set(message.getTopic() + " " + new String(message.getBody(), StandardCharsets.UTF_8)));
            return ConsumeConcurrentlyStatus.CONSUME_SUCCESS;
        });
        consumer.start();
        Peer.await("a message in the namespace", 60_000, () -> received.get() != null);
        consumer.shutdown();
        DefaultMQProducer producer = new DefaultMQProducer(topic + "-java");
        producer.setNamespace(options.get("namespace"));
        producer.setNamesrvAddr(options.get("namesrv"));
        producer.setMqClientApiTimeout(Clients.API_TIMEOUT_MS);
        producer.setSendMsgTimeout(10_000);
        producer.start();
        Message answer = new Message(topic, "from-java", received.get().getBytes(StandardCharsets.UTF_8));
        Clients.untilTaken(() -> producer.send(answer));
        producer.shutdown();
        return received.get();
    }
}
