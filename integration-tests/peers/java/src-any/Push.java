import java.util.Collections;
import java.util.List;
import java.util.TreeSet;
import java.util.concurrent.CopyOnWriteArrayList;
import org.apache.rocketmq.client.consumer.DefaultMQPushConsumer;
import org.apache.rocketmq.client.consumer.listener.ConsumeConcurrentlyStatus;
import org.apache.rocketmq.client.consumer.listener.MessageListenerConcurrently;
import org.apache.rocketmq.common.UtilAll;
import org.apache.rocketmq.common.consumer.ConsumeFromWhere;


/** Push consumers: clustering, broadcasting, where they begin, how soon they hear. */
final class Push {
    private Push() {
    }

    static void addTo(Conformance all) {
        all.add("push-clustering", Push::clustering);
        all.add("push-broadcasting", Push::broadcasting);
        all.add("push-hears-at-once", Push::hearsAtOnce);
        all.add("push-from-last", Push::fromLast);
        all.add("push-from-time", Push::fromTime);
        all.add("push-suspended", Push::suspended);
        all.add("push-many-at-once", Push::manyAtOnce);
        all.add("push-takes-over", Push::takesOver);
    }

    private static void clustering(Scene scene) throws Exception {
        scene.createTopic(8);
        Received first = new Received();
        Received second = new Received();
        DefaultMQPushConsumer one = scene.push("*", first);
        DefaultMQPushConsumer two = scene.push("*", second);
        scene.awaitQueues(one, 4);
        scene.awaitQueues(two, 4);
        scene.send(0, 80, 8);
        Scene.await("all", () -> {
            TreeSet<String> all = new TreeSet<>(first.distinct());
            all.addAll(second.distinct());
            return all.size() == 80;
        });
        // A machine that stands still for a while may move a queue once more, so they need not have 40 each.
        Peer.check(first.size() > 0 && second.size() > 0, "shared: " + first.size() + " and " + second.size());
    }

    private static void broadcasting(Scene scene) throws Exception {
        scene.createTopic(4);
        Received first = new Received();
        Received second = new Received();
        for (Received received : List.of(first, second)) {
            DefaultMQPushConsumer consumer = scene.newPushConsumer("*");
            Scene.broadcast(consumer);
            consumer.setMessageListener(received);
            consumer.start();
        }
        scene.send(0, 40, 4);
        first.checkOnce(40);
        second.checkOnce(40);
        Peer.check(scene.committed(scene.group, 0) == -1, "broadcasting consumers keep their offsets themselves");
    }

    /** Sooner than by the look that a broker takes by itself each five seconds: each is sent right after the one before came. */
    private static void hearsAtOnce(Scene scene) throws Exception {
        scene.createTopic(1);
        List<Long> delays = new CopyOnWriteArrayList<>();
        Received received = new Received((message, context) -> {
            delays.add(System.currentTimeMillis() - message.getStoreTimestamp());
            return ConsumeConcurrentlyStatus.CONSUME_SUCCESS;
        });
        scene.push("*", received);
        for (int i = 0; i < 30; i++) {
            scene.send(scene.message("" + i), 0);
            received.awaitKeys(i + 1);
        }
        List<Long> sorted = new java.util.ArrayList<>(delays.subList(10, 30));
        Collections.sort(sorted);
        Peer.check(sorted.get(10) < 2_500, "delays " + sorted);
    }

    /** A new group on a topic that is young enough to be in memory begins at its first message all the same. */
    private static void fromLast(Scene scene) throws Exception {
        scene.createTopic(1);
        scene.send(0, 5, 1);
        scene.awaitStored(0, 5);
        Received received = new Received();
        DefaultMQPushConsumer consumer = scene.newPushConsumer("*");
        consumer.setConsumeFromWhere(ConsumeFromWhere.CONSUME_FROM_LAST_OFFSET);
        consumer.setMessageListener(received);
        consumer.start();
        scene.send(5, 8, 1);
        received.checkOnce(8);
    }

    /** The offsets exist already, so the group goes on there, whatever it says of where to begin. */
    private static void fromTime(Scene scene) throws Exception {
        scene.createTopic(1);
        scene.send(0, 5, 1);
        scene.awaitStored(0, 5);
        World.checkCode(0, scene.world.call(15, "consumerGroup", ensureGroup(scene), "topic", scene.topic, "queueId", "0", "commitOffset", "3"));
        Received received = new Received();
        DefaultMQPushConsumer consumer = scene.newPushConsumer("*");
        consumer.setConsumeFromWhere(ConsumeFromWhere.CONSUME_FROM_TIMESTAMP);
        consumer.setConsumeTimestamp(UtilAll.timeMillisToHumanString3(System.currentTimeMillis() - 3_600_000));
        consumer.setMessageListener(received);
        consumer.start();
        received.checkOnce(2);
        Peer.check(received.distinct().contains("3") && received.distinct().contains("4"), received.keys().toString());
    }

    private static String ensureGroup(Scene scene) throws Exception {
        Administration.createGroup(scene.world, scene.group);
        return scene.group;
    }

    private static void suspended(Scene scene) throws Exception {
        scene.createTopic(2);
        Received received = new Received();
        DefaultMQPushConsumer consumer = scene.push("*", received);
        scene.send(0, 4, 2);
        received.awaitKeys(4);
        consumer.suspend();
        // What a pull brings that was under way is still consumed, and mostly there is one; it asks for no more.
        scene.send(4, 6, 2);
        for (int i = 0; i < 500 && received.size() < 6; i++) {
            Thread.sleep(20);
        }
        scene.send(6, 12, 2);
        Thread.sleep(1_000);
        Peer.check(received.size() <= 6, "while suspended: " + received.keys());
        consumer.resume();
        received.checkOnce(12);
    }

    private static void manyAtOnce(Scene scene) throws Exception {
        scene.createTopic(1);
        scene.send(0, 64, 1);
        List<Integer> sizes = new CopyOnWriteArrayList<>();
        Received received = new Received();
        DefaultMQPushConsumer consumer = scene.newPushConsumer("*");
        consumer.setConsumeMessageBatchMaxSize(16);
        consumer.setPullBatchSize(32);
        consumer.setMessageListener((MessageListenerConcurrently) (messages, context) -> {
            sizes.add(messages.size());
            return received.consumeMessage(messages, context);
        });
        consumer.start();
        received.checkOnce(64);
        Peer.check(sizes.stream().allMatch(size -> size <= 16) && sizes.contains(16), "batches of " + sizes);
    }

    /** What one member consumed and committed, the next does not see again; the rest it does. */
    private static void takesOver(Scene scene) throws Exception {
        scene.createTopic(4);
        Received first = new Received();
        DefaultMQPushConsumer one = scene.push("*", first);
        scene.send(0, 20, 4);
        first.awaitKeys(20);
        one.shutdown();
        Scene.await("the committed offsets", () -> {
            long sum = 0;
            for (int queue = 0; queue < 4; queue++) {
                sum += scene.committed(scene.group, queue);
            }
            return sum == 20;
        });
        scene.send(20, 30, 4);
        Received second = new Received();
        scene.push("*", second);
        second.checkOnce(10);
    }
}
