import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.Queue;
import java.util.Set;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.ConcurrentLinkedQueue;
import java.util.concurrent.atomic.AtomicBoolean;
import java.util.concurrent.atomic.AtomicInteger;
import org.apache.rocketmq.client.consumer.DefaultMQPushConsumer;
import org.apache.rocketmq.client.producer.DefaultMQProducer;
import org.apache.rocketmq.common.message.Message;

/** Sends without pause until told to stop, while brokers come and go; every acknowledged message must arrive. */
final class RestartLoad {
    private static final int SENDERS = 4;
    private final Set<String> acknowledged = ConcurrentHashMap.newKeySet();
    private final Set<String> received = ConcurrentHashMap.newKeySet();
    private final Map<String, AtomicInteger> perBroker = new ConcurrentHashMap<>();
    private final Queue<String> errors = new ConcurrentLinkedQueue<>();
    private final AtomicBoolean stopped = new AtomicBoolean();

    static String run(Map<String, String> options) throws Exception {
        return new RestartLoad().run(options.get("namesrv"), options.get("topic"));
    }

    private String run(String namesrv, String topic) throws Exception {
        Clients.createTopic(namesrv, topic, 4);
        DefaultMQPushConsumer consumer = Clients.consumer(namesrv, topic + "-group", topic, "*",
            message -> received.add(message.getKeys()));
        DefaultMQProducer producer = Clients.producer(namesrv, topic + "-producer");
        List<Thread> senders = new ArrayList<>();
        for (int i = 0; i < SENDERS; i++) {
            int number = i;
            Thread sender = new Thread(() -> send(producer, topic, number));
            sender.start();
            senders.add(sender);
        }
        System.out.println("sending");
        while (System.in.read() >= 0) {
            // each line asks for the state; the end of input stops the load
            System.out.println("state " + perBroker);
        }
        stopped.set(true);
        for (Thread sender : senders) {
            sender.join();
        }
        Peer.await("every acknowledged message", 180_000, () -> received.containsAll(acknowledged));
        Peer.check(errors.isEmpty(), errors.size() + " sends failed, the first: " + errors.peek());
        producer.shutdown();
        consumer.shutdown();
        return "acknowledged=" + acknowledged.size() + " received=" + received.size() + " " + perBroker;
    }

    private void send(DefaultMQProducer producer, String topic, int sender) {
        for (int i = 0; !stopped.get(); i++) {
            String key = sender + "-" + i;
            try {
                Message message = new Message(topic, "", key, new byte[512]);
                var result = producer.send(message);
                acknowledged.add(key);
                perBroker.computeIfAbsent(result.getMessageQueue().getBrokerName(), name -> new AtomicInteger()).incrementAndGet();
                Thread.sleep(1);
            } catch (Exception e) {
                errors.add(key + ": " + e);
            }
        }
    }
}
