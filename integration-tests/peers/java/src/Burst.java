import java.util.ArrayList;
import java.util.List;
import org.apache.rocketmq.client.producer.DefaultMQProducer;
import org.apache.rocketmq.client.producer.SendResult;
import org.apache.rocketmq.client.producer.SendStatus;
import org.apache.rocketmq.common.message.Message;
import org.apache.rocketmq.common.message.MessageQueue;

/** Sends without pause until the broker is gone. */
final class Burst {
    static final String TOPIC = "Burst";
    private static final int QUEUES = 4;
    private final DefaultMQProducer producer;
    private final Thread thread = new Thread(this::send);
    private final List<String> acknowledged = new ArrayList<>();

    private Burst(DefaultMQProducer producer) {
        this.producer = producer;
    }

    /** Returns once some messages are acknowledged. */
    static Burst start(String namesrv) throws Exception {
        Clients.createTopic(namesrv, TOPIC, QUEUES);
        Burst burst = new Burst(Clients.producer(namesrv, "burst"));
        burst.thread.start();
        Peer.await("the first messages of a burst", 60_000, () -> burst.count() > 100);
        return burst;
    }

    private synchronized int count() {
        return acknowledged.size();
    }

    private synchronized void acknowledge(SendResult result) {
        acknowledged.add(TOPIC + " " + result.getMessageQueue().getQueueId() + " " + result.getQueueOffset());
    }

    private void send() {
        try {
            for (int i = 0; ; i++) {
                MessageQueue queue = new MessageQueue(TOPIC, "broker-a", i % QUEUES);
                Message message = new Message(TOPIC, "", "burst" + i, new byte[100]);
                SendResult result = Clients.untilTaken(() -> producer.send(message, queue, 15_000));
                if (result.getSendStatus() == SendStatus.SEND_OK) {
                    acknowledge(result);
                }
            }
        } catch (Exception e) {
            // The broker is gone: that is how a burst ends.
        }
    }

    /** What was acknowledged, a message a line: topic, queue, queue offset. */
    String end() throws Exception {
        thread.join();
        producer.shutdown();
        return String.join("\n", acknowledged);
    }
}
