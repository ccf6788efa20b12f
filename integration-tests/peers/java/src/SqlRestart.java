import java.util.Map;
import java.util.Set;
import java.util.TreeSet;
import java.util.concurrent.ConcurrentHashMap;
import org.apache.rocketmq.client.consumer.DefaultMQPushConsumer;
import org.apache.rocketmq.client.consumer.MessageSelector;
import org.apache.rocketmq.client.consumer.listener.ConsumeConcurrentlyStatus;
import org.apache.rocketmq.client.consumer.listener.MessageListenerConcurrently;
import org.apache.rocketmq.client.producer.DefaultMQProducer;
import org.apache.rocketmq.common.consumer.ConsumeFromWhere;
import org.apache.rocketmq.common.message.Message;

/** A consumer with an SQL92 expression stays while its broker is killed and comes back: a round of messages for each line. */
final class SqlRestart {
    private static final int MESSAGES = 20;
    private static final long ROUND_MS = 120_000;
    private final Set<String> received = ConcurrentHashMap.newKeySet();
    private final Set<String> wanted = new TreeSet<>();

    static String run(Map<String, String> options) throws Exception {
        return new SqlRestart().run(options.get("namesrv"), options.get("topic"));
    }

    private String run(String namesrv, String topic) throws Exception {
        Clients.createTopic(namesrv, topic, 4);
        DefaultMQPushConsumer consumer = new DefaultMQPushConsumer(topic + "-group");
        consumer.setNamesrvAddr(namesrv);
        consumer.setConsumeFromWhere(ConsumeFromWhere.CONSUME_FROM_FIRST_OFFSET);
        consumer.setHeartbeatBrokerInterval(1_000); // as in Clients
        consumer.subscribe(topic, MessageSelector.bySql("price BETWEEN 5 AND 9 AND kind IN ('a', 'it''s')"));
        consumer.setMessageListener((MessageListenerConcurrently) (messages, context) -> {
            messages.forEach(message -> received.add(message.getKeys()));
            return ConsumeConcurrentlyStatus.CONSUME_SUCCESS;
        });
        consumer.start();
        DefaultMQProducer producer = Clients.producer(namesrv, topic + "-producer");
        int rounds = 0;
        System.out.println("ready");
        while (System.in.read() >= 0) {
            round(producer, topic, ++rounds);
            System.out.println("round " + rounds);
        }
        producer.shutdown();
        consumer.shutdown();
        return rounds + " rounds, received " + received.size();
    }

    private void round(DefaultMQProducer producer, String topic, int round) throws Exception {
        for (int price = 0; price < MESSAGES; price++) {
            for (String kind : new String[] {"a", "b", "it's"}) {
                String key = round + "-" + price + "-" + kind;
                Message message = new Message(topic, "", key, new byte[64]);
                message.putUserProperty("price", String.valueOf(price));
                message.putUserProperty("kind", kind);
                sendUntilTaken(producer, message);
                if (price >= 5 && price <= 9 && !kind.equals("b")) {
                    wanted.add(key);
                }
            }
        }
        Peer.await("round " + round, ROUND_MS, () -> received.containsAll(wanted));
        Peer.check(wanted.containsAll(received), "received " + received + ", wanted " + wanted);
    }

    /** The producer finds the broker again a moment after it is back. */
    private static void sendUntilTaken(DefaultMQProducer producer, Message message) throws Exception {
        long deadline = System.currentTimeMillis() + ROUND_MS;
        while (true) {
            try {
                producer.send(message);
                return;
            } catch (Exception e) {
                if (System.currentTimeMillis() > deadline) {
                    throw e;
                }
                Thread.sleep(100);
            }
        }
    }
}
