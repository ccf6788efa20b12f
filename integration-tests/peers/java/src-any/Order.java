import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.Collections;
import java.util.List;
import java.util.Map;
import java.util.TreeMap;
import org.apache.rocketmq.client.consumer.DefaultMQPushConsumer;
import org.apache.rocketmq.client.consumer.listener.ConsumeOrderlyStatus;
import org.apache.rocketmq.client.consumer.listener.MessageListenerOrderly;
import org.apache.rocketmq.common.message.MessageExt;

/** Orderly consumption and the locks below it. */
final class Order {
    private Order() {
    }

    static void addTo(Conformance all) {
        all.add("order-survives-death", Order::survivesDeath);
        all.add("order-within-queues", Order::withinQueues);
        all.add("order-suspended", Order::suspended);
        all.add("order-rebalanced", Order::rebalanced);
        all.add("order-dead-letter", Order::deadLetter);
        all.add("order-locks", Order::locks);
    }

    private static MessageListenerOrderly into(Received received) {
        return (messages, context) -> {
            messages.forEach(received::add);
            return ConsumeOrderlyStatus.SUCCESS;
        };
    }

    /** Each queue's keys went up by its number of queues; what came again does not count. */
    private static void checkOrder(List<MessageExt> messages) {
        Map<Integer, List<Long>> byQueue = new TreeMap<>();
        for (MessageExt message : messages) {
            List<Long> offsets = byQueue.computeIfAbsent(message.getQueueId(), id -> new ArrayList<>());
            if (!offsets.contains(message.getQueueOffset())) {
                offsets.add(message.getQueueOffset());
            }
        }
        byQueue.forEach((queue, offsets) -> {
            List<Long> sorted = new ArrayList<>(offsets);
            Collections.sort(sorted);
            Peer.check(sorted.equals(offsets), "queue " + queue + " out of order: " + offsets);
        });
    }

    private static void withinQueues(Scene scene) throws Exception {
        scene.createTopic(4);
        Received received = new Received();
        scene.pushOrderly(into(received));
        scene.send(0, 100, 4);
        received.checkOnce(100);
        checkOrder(received.all());
    }

    private static void suspended(Scene scene) throws Exception {
        scene.createTopic(1);
        Received received = new Received();
        List<Integer> times = Collections.synchronizedList(new ArrayList<>());
        DefaultMQPushConsumer consumer = scene.newPushConsumer("*");
        consumer.setSuspendCurrentQueueTimeMillis(200);
        consumer.setMessageListener((MessageListenerOrderly) (messages, context) -> {
            MessageExt message = messages.get(0);
            received.add(message);
            if (message.getKeys().equals("2")) {
                times.add(message.getReconsumeTimes());
                return times.size() < 4 ? ConsumeOrderlyStatus.SUSPEND_CURRENT_QUEUE_A_MOMENT : ConsumeOrderlyStatus.SUCCESS;
            }
            return ConsumeOrderlyStatus.SUCCESS;
        });
        consumer.start();
        scene.send(0, 5, 1);
        received.awaitKeys(5);
        Peer.check(received.keys().equals(List.of("0", "1", "2", "2", "2", "2", "3", "4")), received.keys().toString());
        Peer.check(times.equals(List.of(0, 1, 2, 3)), times.toString());
    }

    private static void rebalanced(Scene scene) throws Exception {
        scene.createTopic(4);
        Received both = new Received();
        DefaultMQPushConsumer one = scene.pushOrderly(into(both));
        scene.send(0, 100, 4);
        Received second = new Received();
        DefaultMQPushConsumer two = scene.pushOrderly((messages, context) -> {
            messages.forEach(second::add);
            messages.forEach(both::add);
            return ConsumeOrderlyStatus.SUCCESS;
        });
        scene.send(100, 200, 4);
        scene.awaitQueues(two, 2);
        scene.awaitQueues(one, 2);
        scene.send(200, 300, 4);
        both.awaitKeys(300);
        Peer.check(second.size() > 0, "the second takes part");
        checkOrder(both.all());
        one.shutdown();
        scene.send(300, 400, 4);
        both.awaitKeys(400);
        checkOrder(both.all());
    }

    /** The consumer's connection ends without a word: the locks it held expire, and the next goes on in order. */
    private static void survivesDeath(Scene scene) throws Exception {
        scene.createTopic(2);
        Received both = new Received();
        DefaultMQPushConsumer one = scene.newPushConsumer("*");
        one.setMessageListener(into(both));
        one.start();
        scene.send(0, 20, 2);
        both.awaitKeys(20);
        Scene.await("the commits", () -> scene.committed(scene.group, 0) == 10 && scene.committed(scene.group, 1) == 10);
        one.getDefaultMQPushConsumerImpl().suspend();
        one.getDefaultMQPushConsumerImpl().getmQClientFactory().getMQClientAPIImpl().shutdown();
        scene.send(20, 40, 2);
        Received after = new Received();
        scene.pushOrderly((messages, context) -> {
            messages.forEach(after::add);
            messages.forEach(both::add);
            return ConsumeOrderlyStatus.SUCCESS;
        });
        after.awaitKeys(20);
        both.checkOnce(40);
        checkOrder(both.all());
    }

    private static void deadLetter(Scene scene) throws Exception {
        scene.createTopic(1);
        Received received = new Received();
        DefaultMQPushConsumer consumer = scene.newPushConsumer("*");
        consumer.setMaxReconsumeTimes(2);
        consumer.setSuspendCurrentQueueTimeMillis(100);
        consumer.setMessageListener((MessageListenerOrderly) (messages, context) -> {
            messages.forEach(received::add);
            boolean fails = messages.get(0).getKeys().equals("1");
            return fails ? ConsumeOrderlyStatus.SUSPEND_CURRENT_QUEUE_A_MOMENT : ConsumeOrderlyStatus.SUCCESS;
        });
        consumer.start();
        scene.send(0, 3, 1);
        received.awaitKeys(3);
        Retries.awaitDeadLetters(scene, List.of("1"));
        Peer.check(received.timesOf("1").size() == 3, received.keys().toString());
        Peer.check(received.keys().get(received.size() - 1).equals("2"), received.keys().toString());
    }

    private static String request(Scene scene, String client) {
        return "{\"consumerGroup\":\"" + scene.group + "\",\"clientId\":\"" + client + "\",\"mqSet\":[{\"topic\":\"" + scene.topic
            + "\",\"brokerName\":\"" + scene.world.brokerName + "\",\"queueId\":0}]}";
    }

    private static boolean lock(Scene scene, String client) throws Exception {
        var answer = scene.world.callWith(request(scene, client).getBytes(StandardCharsets.UTF_8), 41);
        World.checkCode(0, answer);
        return new String(answer.getBody(), StandardCharsets.UTF_8).contains("\"queueId\":0");
    }

    private static void locks(Scene scene) throws Exception {
        scene.createTopic(1);
        Peer.check(lock(scene, "one"), "free");
        Peer.check(lock(scene, "one"), "its own");
        Peer.check(!lock(scene, "two"), "another's");
        World.checkCode(0, scene.world.callWith(request(scene, "two").getBytes(StandardCharsets.UTF_8), 42));
        Peer.check(!lock(scene, "two"), "only its owner unlocks");
        World.checkCode(0, scene.world.callWith(request(scene, "one").getBytes(StandardCharsets.UTF_8), 42));
        Peer.check(lock(scene, "two"), "unlocked");
    }
}
