import java.util.Map;
import java.util.concurrent.atomic.AtomicReference;
import org.apache.rocketmq.client.consumer.DefaultMQPushConsumer;
import org.apache.rocketmq.common.message.MessageQueue;
import org.apache.rocketmq.remoting.protocol.RemotingCommand;

/** Offsets: asked, committed, reset by time, cloned, and what the broker tells of them. */
final class Offsets {
    private static final int QUERY = 14;
    private static final int UPDATE = 15;

    private Offsets() {
    }

    static void addTo(Conformance all) {
        all.add("offsets-of-new-groups", Offsets::ofNewGroups);
        all.add("offsets-go-back", Offsets::goBack);
        all.add("offsets-refused", Offsets::refused);
        all.add("offsets-reset-online", Offsets::resetOnline);
        all.add("offsets-reset-offline", Offsets::resetOffline);
        all.add("offsets-reset-to-time", Offsets::resetToTime);
        all.add("offsets-illegal", Offsets::illegal);
        all.add("offsets-cloned", Offsets::cloned);
        all.add("offsets-time-span", Offsets::timeSpan);
        all.add("offsets-of-clients", Offsets::ofClients);
        all.add("offsets-correction", Offsets::correction);
    }

    private static void ofNewGroups(Scene scene) throws Exception {
        scene.createTopic(1);
        scene.send(0, 3, 1);
        scene.awaitStored(0, 3);
        var zero = scene.world.call(QUERY, "consumerGroup", scene.group, "topic", scene.topic, "queueId", "0");
        World.checkCode(0, zero);
        Peer.check("0".equals(World.field(zero, "offset")), zero.toString());
        World.checkCode(22, scene.world.call(QUERY, "consumerGroup", scene.group, "topic", scene.topic, "queueId", "0", "setZeroIfNotFound", "false"));
    }

    private static void goBack(Scene scene) throws Exception {
        scene.createTopic(1);
        Administration.createGroup(scene.world, scene.group);
        for (int offset : new int[] {10, 5, 0, 7}) {
            World.checkCode(0, commit(scene, scene.group, offset));
            Peer.check(scene.committed(scene.group, 0) == offset, "committed " + offset);
        }
    }

    private static RemotingCommand commit(Scene scene, String group, long offset) throws Exception {
        return scene.world.call(UPDATE, "consumerGroup", group, "topic", scene.topic, "queueId", "0", "commitOffset", "" + offset);
    }

    private static void refused(Scene scene) throws Exception {
        scene.createTopic(1);
        Administration.createGroup(scene.world, scene.group);
        World.checkCode(26, commit(scene, scene.group + "-none", 1));
        World.checkCode(17, scene.world.call(UPDATE, "consumerGroup", scene.group, "topic", "no-such-topic", "queueId", "0", "commitOffset", "1"));
    }

    private static void resetOnline(Scene scene) throws Exception {
        scene.createTopic(4);
        Received received = new Received();
        scene.push("*", received);
        scene.send(0, 20, 4);
        received.awaitKeys(20);
        Scene.await("the commits", () -> scene.committed(scene.group, 0) == 5);
        Map<MessageQueue, Long> targets = scene.world.admin.resetOffsetByTimestamp(scene.topic, scene.group, 0, true);
        Peer.check(targets.size() == 4 && targets.values().stream().allMatch(target -> target == 0), targets.toString());
        Scene.await("all once more", () -> received.timesByKey().values().stream().allMatch(count -> count >= 2));
    }

    private static void resetOffline(Scene scene) throws Exception {
        scene.createTopic(1);
        Received first = new Received();
        DefaultMQPushConsumer consumer = scene.push("*", first);
        scene.send(0, 8, 1);
        first.awaitKeys(8);
        // A client that leaves does not wait for its listener's last answer: it would commit 7.
        Scene.await("the commit", () -> scene.committed(scene.group, 0) == 8);
        consumer.shutdown();
        // Asked without a timestamp that could mean something: from the first on.
        var answer = scene.world.call(222, "topic", scene.topic, "group", scene.group, "timestamp", "0", "isForce", "true", "offset", "2", "queueId", "0");
        World.checkCode(0, answer);
        Received second = new Received();
        scene.push("*", second);
        second.checkOnce(6);
    }

    private static void resetToTime(Scene scene) throws Exception {
        scene.createTopic(1);
        Received received = new Received();
        scene.push("*", received);
        scene.send(0, 5, 1);
        received.awaitKeys(5);
        Thread.sleep(50);
        long middle = System.currentTimeMillis();
        Thread.sleep(50);
        scene.send(5, 9, 1);
        received.awaitKeys(9);
        Scene.await("the commits", () -> scene.committed(scene.group, 0) == 9);
        scene.world.admin.resetOffsetByTimestamp(scene.topic, scene.group, middle, true);
        Scene.await("the later ones once more", () -> received.size() >= 13);
        Thread.sleep(300);
        received.timesByKey().forEach((key, times) -> Peer.check(times == (Integer.parseInt(key) < 5 ? 1 : 2), received.timesByKey().toString()));
    }

    /** A committed offset beyond the end: the consumer is told so, and goes on at the end. */
    private static void illegal(Scene scene) throws Exception {
        scene.createTopic(1);
        scene.send(0, 5, 1);
        scene.awaitStored(0, 5);
        Administration.createGroup(scene.world, scene.group);
        World.checkCode(0, commit(scene, scene.group, 1_000));
        Received received = new Received();
        scene.push("*", received);
        Scene.await("the corrected offset", () -> scene.committed(scene.group, 0) == 5);
        scene.send(5, 7, 1);
        received.checkOnce(2);
    }

    private static void cloned(Scene scene) throws Exception {
        scene.createTopic(1);
        Received received = new Received();
        DefaultMQPushConsumer consumer = scene.push("*", received);
        scene.send(0, 6, 1);
        received.awaitKeys(6);
        Scene.await("the commit", () -> scene.committed(scene.group, 0) == 6);
        String copy = scene.group + "-copy";
        Administration.createGroup(scene.world, copy);
        scene.world.admin.cloneGroupOffset(scene.group, copy, scene.topic, false);
        Scene.await("the copy", () -> scene.committed(copy, 0) == 6);
        consumer.shutdown();
    }

    private static void timeSpan(Scene scene) throws Exception {
        scene.createTopic(1);
        long before = System.currentTimeMillis();
        Received received = new Received();
        scene.push("*", received);
        scene.send(0, 4, 1);
        received.awaitKeys(4);
        Scene.await("the commit", () -> scene.committed(scene.group, 0) == 4);
        Scene.await("the span", () -> {
            var spans = scene.world.admin.queryConsumeTimeSpan(scene.topic, scene.group);
            var span = spans.get(0);
            return spans.size() == 1 && span.getMinTimeStamp() >= before && span.getMaxTimeStamp() >= span.getMinTimeStamp()
                && span.getConsumeTimeStamp() == span.getMaxTimeStamp() && span.getDelayTime() == 0;
        });
    }

    /** The broker asks the consumer itself (221). */
    private static void ofClients(Scene scene) throws Exception {
        scene.createTopic(2);
        Received received = new Received();
        DefaultMQPushConsumer consumer = scene.push("*", received);
        scene.send(0, 10, 2);
        received.awaitKeys(10);
        String id = consumer.getDefaultMQPushConsumerImpl().getmQClientFactory().getClientId();
        AtomicReference<Object> last = new AtomicReference<>();
        Scene.await("the client's offsets", () -> {
            var status = scene.world.admin.getConsumeStatus(scene.topic, scene.group, id);
            last.set(status);
            return status.get(id).values().stream().mapToLong(Long::longValue).sum() == 10;
        });
    }

    /** The smallest of the filtering groups' offsets. */
    private static void correction(Scene scene) throws Exception {
        scene.createTopic(1);
        scene.send(0, 9, 1);
        scene.awaitStored(0, 9);
        for (String group : new String[] {"-one", "-two"}) {
            Administration.createGroup(scene.world, scene.group + group);
        }
        World.checkCode(0, commit(scene, scene.group + "-one", 7));
        World.checkCode(0, commit(scene, scene.group + "-two", 4));
        var answer = scene.world.call(308, "filterGroups", "", "compareGroup", scene.group + "-two", "topic", scene.topic);
        World.checkCode(0, answer);
        Peer.check(new String(answer.getBody()).contains("correctionOffsets"), new String(answer.getBody()));
    }
}
