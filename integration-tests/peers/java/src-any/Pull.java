import java.util.ArrayList;
import java.util.List;
import java.util.Set;
import java.util.TreeSet;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.FutureTask;
import org.apache.rocketmq.client.consumer.DefaultLitePullConsumer;
import org.apache.rocketmq.client.consumer.DefaultMQPullConsumer;
import org.apache.rocketmq.client.consumer.PullResult;
import org.apache.rocketmq.client.consumer.PullStatus;
import org.apache.rocketmq.common.consumer.ConsumeFromWhere;
import org.apache.rocketmq.common.message.MessageQueue;
import org.apache.rocketmq.remoting.protocol.RemotingCommand;

/** Pull and lite-pull consumers. */
@SuppressWarnings("deprecation")
final class Pull {
    private Pull() {
    }

    static void addTo(Conformance all) {
        all.add("pull-outcomes", Pull::outcomes);
        all.add("pull-waits", Pull::waits);
        all.add("pull-bounds", Pull::bounds);
        all.add("pull-offsets", Pull::offsets);
        all.add("pull-refused", Pull::refused);
        all.add("lite-pull-subscribed", Pull::liteSubscribed);
        all.add("lite-pull-assigned", Pull::liteAssigned);
        all.add("lite-pull-commits", Pull::liteCommits);
    }

    private static void expect(PullResult result, PullStatus status, long next) {
        Peer.check(result.getPullStatus() == status && result.getNextBeginOffset() == next, status + " " + next + " expected: " + result);
    }

    private static void outcomes(Scene scene) throws Exception {
        scene.createTopic(2);
        scene.send(0, 20, 2);
        scene.awaitStored(0, 10);
        DefaultMQPullConsumer consumer = scene.pull();
        MessageQueue queue = scene.world.queue(scene.topic, 0);
        PullResult found = consumer.pull(queue, "*", 2, 5);
        expect(found, PullStatus.FOUND, 7);
        Peer.check(found.getMsgFoundList().size() == 5 && found.getMinOffset() == 0 && found.getMaxOffset() == 10, found.toString());
        Peer.check(found.getMsgFoundList().get(0).getQueueOffset() == 2 && found.getMsgFoundList().get(0).getKeys().equals("4"), found.toString());
        expect(consumer.pull(queue, "Other", 2, 5), PullStatus.NO_MATCHED_MSG, 10);
        expect(consumer.pull(queue, "*", 10, 5), PullStatus.NO_NEW_MSG, 10);
        expect(consumer.pull(queue, "*", 15, 5), PullStatus.OFFSET_ILLEGAL, 10);
        scene.createTopic(scene.topic + "-empty", 1);
        MessageQueue empty = scene.world.queue(scene.topic + "-empty", 0);
        expect(consumer.pull(empty, "*", 0, 5), PullStatus.NO_NEW_MSG, 0);
        expect(consumer.pull(empty, "*", 7, 5), PullStatus.OFFSET_ILLEGAL, 0);
    }

    private static void waits(Scene scene) throws Exception {
        scene.createTopic(1);
        DefaultMQPullConsumer consumer = scene.pull();
        MessageQueue queue = scene.world.queue(scene.topic, 0);
        consumer.pull(queue, "*", 0, 1); // the group is known from here on
        FutureTask<PullResult> waiting = new FutureTask<>(() -> consumer.pullBlockIfNotFound(queue, "*", 0, 8));
        new Thread(waiting).start();
        Thread.sleep(500);
        Peer.check(!waiting.isDone(), "nothing to find");
        scene.send(scene.message("late"), 0);
        Scene.await("the waiting pull", waiting::isDone);
        expect(waiting.get(), PullStatus.FOUND, 1);
        long delay = System.currentTimeMillis() - waiting.get().getMsgFoundList().get(0).getStoreTimestamp();
        Peer.check(delay < 4_500, "heard after " + delay + " ms");
    }

    private static void bounds(Scene scene) throws Exception {
        scene.createTopic(1);
        DefaultMQPullConsumer consumer = scene.pull();
        MessageQueue queue = scene.world.queue(scene.topic, 0);
        scene.send(0, 3, 1);
        scene.awaitStored(0, 3);
        Thread.sleep(50);
        long middle = System.currentTimeMillis();
        Thread.sleep(50);
        scene.send(3, 6, 1);
        scene.awaitStored(0, 6);
        Peer.check(consumer.minOffset(queue) == 0 && consumer.maxOffset(queue) == 6, "bounds");
        Peer.check(consumer.searchOffset(queue, middle) == 3, "by time: " + consumer.searchOffset(queue, middle));
        Peer.check(consumer.searchOffset(queue, middle - 3_600_000) == 0, "before all");
        Peer.check(consumer.searchOffset(queue, middle + 3_600_000) == 6, "after all: " + consumer.searchOffset(queue, middle + 3_600_000));
        long first = consumer.pull(queue, "*", 0, 1).getMsgFoundList().get(0).getStoreTimestamp();
        Peer.check(consumer.earliestMsgStoreTime(queue) == first, "earliest time");
    }

    private static void offsets(Scene scene) throws Exception {
        scene.createTopic(1);
        DefaultMQPullConsumer consumer = scene.pull();
        MessageQueue queue = scene.world.queue(scene.topic, 0);
        scene.send(0, 9, 1);
        scene.awaitStored(0, 9);
        consumer.pull(queue, "*", 0, 1);
        consumer.updateConsumeOffset(queue, 7);
        Scene.await("the commit", () -> {
            consumer.getOffsetStore().persist(queue);
            return scene.committed(scene.group + "-pull", 0) == 7;
        });
        Peer.check(consumer.fetchConsumeOffset(queue, true) == 7, "committed " + consumer.fetchConsumeOffset(queue, true));
    }

    private static void refused(Scene scene) throws Exception {
        scene.createTopic(1);
        scene.pull().pull(scene.world.queue(scene.topic, 0), "*", 0, 1);
        Peer.check(code(scene, scene.topic, 5) == 29 || code(scene, scene.topic, 5) == 1, "queue 5: " + code(scene, scene.topic, 5));
        Peer.check(code(scene, "no-such-topic-at-all", 0) == 17, "topic: " + code(scene, "no-such-topic-at-all", 0));
        World.checkCode(24, pullRaw(scene, scene.topic, 0, "2")); // neither a heartbeat nor a subscription of its own
    }

    private static int code(Scene scene, String topic, int queue) throws Exception {
        return pullRaw(scene, topic, queue, "4").getCode();
    }

    /** Of the first queue, by a group of its own. */
    static RemotingCommand raw(Scene scene, String flags) throws Exception {
        return pullRaw(scene, scene.topic, 0, flags);
    }

    private static RemotingCommand pullRaw(Scene scene, String topic, int queue, String flags) throws Exception {
        return scene.world.call(11, "consumerGroup", scene.group + "-raw", "topic", topic, "queueId", "" + queue, "queueOffset", "0",
            "maxMsgNums", "8", "sysFlag", flags, "commitOffset", "0", "suspendTimeoutMillis", "0", "subscription", "*",
            "subVersion", "0", "expressionType", "TAG");
    }

    private static DefaultLitePullConsumer lite(Scene scene) {
        DefaultLitePullConsumer consumer = scene.world.quick(new DefaultLitePullConsumer(scene.group), scene.group);
        consumer.setConsumeFromWhere(ConsumeFromWhere.CONSUME_FROM_FIRST_OFFSET);
        scene.atEnd(consumer::shutdown);
        return consumer;
    }

    private static Set<String> poll(DefaultLitePullConsumer consumer, int count) throws Exception {
        Set<String> keys = ConcurrentHashMap.newKeySet();
        Scene.await(count + " polled", () -> {
            consumer.poll(200).forEach(message -> keys.add(message.getKeys()));
            return keys.size() >= count;
        });
        return keys;
    }

    private static void liteSubscribed(Scene scene) throws Exception {
        scene.createTopic(4);
        scene.send(0, 40, 4);
        DefaultLitePullConsumer consumer = lite(scene);
        consumer.setAutoCommit(false);
        consumer.subscribe(scene.topic, "*");
        consumer.start();
        poll(consumer, 40);
        consumer.commitSync();
        for (MessageQueue queue : consumer.fetchMessageQueues(scene.topic)) {
            Peer.check(consumer.committed(queue) == 10, "committed of " + queue + ": " + consumer.committed(queue));
        }
    }

    private static void liteAssigned(Scene scene) throws Exception {
        scene.createTopic(2);
        scene.send(0, 20, 2);
        scene.awaitStored(0, 10);
        DefaultLitePullConsumer consumer = lite(scene);
        consumer.setAutoCommit(false);
        consumer.start();
        MessageQueue queue = scene.world.queue(scene.topic, 0);
        consumer.assign(List.of(queue));
        poll(consumer, 10);
        consumer.seek(queue, 8);
        List<String> again = new ArrayList<>();
        Scene.await("those after the seek", () -> {
            consumer.poll(200).forEach(message -> again.add(message.getKeys()));
            return again.size() >= 2;
        });
        Peer.check(again.equals(List.of("16", "18")), again.toString());
        consumer.seekToBegin(queue);
        poll(consumer, 10);
        consumer.pause(List.of(queue));
        // What a pull brings that was under way may still come; it asks for no more.
        scene.send(scene.message("under way"), 0);
        consumer.poll(1_000);
        scene.send(scene.message("paused"), 0);
        Peer.check(consumer.poll(500).stream().noneMatch(message -> message.getKeys().equals("paused")), "while paused");
        consumer.resume(List.of(queue));
        Set<String> resumed = new TreeSet<>();
        Scene.await("the one after the pause", () -> {
            consumer.poll(200).forEach(message -> resumed.add(message.getKeys()));
            return resumed.contains("paused");
        });
        Peer.check(consumer.offsetForTimestamp(queue, 0L) == 0, "by time");
    }

    private static void liteCommits(Scene scene) throws Exception {
        scene.createTopic(1);
        scene.send(0, 12, 1);
        DefaultLitePullConsumer consumer = lite(scene);
        consumer.setAutoCommitIntervalMillis(1_000);
        consumer.subscribe(scene.topic, "*");
        consumer.start();
        poll(consumer, 12);
        Scene.await("the automatic commit", () -> {
            consumer.poll(100);
            return scene.committed(scene.group, 0) == 12;
        });
    }
}
