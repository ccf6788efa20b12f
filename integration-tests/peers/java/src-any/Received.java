import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.TreeMap;
import java.util.TreeSet;
import java.util.stream.Collectors;
import org.apache.rocketmq.client.consumer.listener.ConsumeConcurrentlyContext;
import org.apache.rocketmq.client.consumer.listener.ConsumeConcurrentlyStatus;
import org.apache.rocketmq.client.consumer.listener.MessageListenerConcurrently;
import org.apache.rocketmq.common.message.MessageExt;

/** A listener that keeps what it hears and when. */
final class Received implements MessageListenerConcurrently {
    interface Judge {
        ConsumeConcurrentlyStatus judge(MessageExt message, ConsumeConcurrentlyContext context);
    }

    private final List<MessageExt> messages = new ArrayList<>();
    private final List<Long> times = new ArrayList<>();
    private final Judge judge;

    Received() {
        this((message, context) -> ConsumeConcurrentlyStatus.CONSUME_SUCCESS);
    }

    Received(Judge judge) {
        this.judge = judge;
    }

    @Override
    public ConsumeConcurrentlyStatus consumeMessage(List<MessageExt> batch, ConsumeConcurrentlyContext context) {
        batch.forEach(this::add);
        return judge.judge(batch.get(0), context);
    }

    synchronized void add(MessageExt message) {
        messages.add(message);
        times.add(System.currentTimeMillis());
    }

    synchronized int size() {
        return messages.size();
    }

    synchronized List<MessageExt> all() {
        return new ArrayList<>(messages);
    }

    synchronized List<String> keys() {
        return messages.stream().map(MessageExt::getKeys).collect(Collectors.toList());
    }

    Set<String> distinct() {
        return new TreeSet<>(keys());
    }

    Map<String, Integer> timesByKey() {
        Map<String, Integer> byKey = new TreeMap<>();
        keys().forEach(key -> byKey.merge(key, 1, Integer::sum));
        return byKey;
    }

    /** When each came, in the order of coming. */
    synchronized List<Long> timesOf(String key) {
        List<Long> found = new ArrayList<>();
        for (int i = 0; i < messages.size(); i++) {
            if (messages.get(i).getKeys().equals(key)) {
                found.add(times.get(i));
            }
        }
        return found;
    }

    void awaitKeys(int count) throws Exception {
        Scene.await(count + " keys", () -> distinct().size() >= count);
    }

    /** Each exactly once, with some time for a second delivery to come. */
    void checkOnce(int count) throws Exception {
        awaitKeys(count);
        Thread.sleep(300);
        Peer.check(size() == count, count + " expected: " + timesByKey());
    }
}
