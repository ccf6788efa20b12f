import java.util.ArrayList;
import java.util.List;
import java.util.TreeSet;
import org.apache.rocketmq.client.consumer.DefaultMQPullConsumer;
import org.apache.rocketmq.client.consumer.DefaultMQPushConsumer;
import org.apache.rocketmq.client.consumer.MessageSelector;
import org.apache.rocketmq.client.consumer.listener.ConsumeConcurrentlyStatus;
import org.apache.rocketmq.client.consumer.listener.MessageListenerConcurrently;
import org.apache.rocketmq.common.message.Message;
import org.apache.rocketmq.common.message.MessageExt;
import org.apache.rocketmq.remoting.protocol.RemotingCommand;

/** Failed consumption: again later, or to the dead letters. */
@SuppressWarnings("deprecation")
final class Retries {
    private Retries() {
    }

    static void addTo(Conformance all) {
        all.add("retry-by-default", Retries::byDefault);
        all.add("retry-by-level", Retries::byLevel);
        all.add("retry-keeps-properties", Retries::keepsProperties);
        all.add("retry-part-of-a-batch", Retries::partOfABatch);
        all.add("retry-maximum", Retries::maximum);
        all.add("retry-straight-to-dead-letters", Retries::straightToDeadLetters);
        all.add("retry-exceptions", Retries::exceptions);
        all.add("retry-by-request", Retries::byRequest);
        all.add("retry-refused", Retries::refused);
        all.add("retry-by-another-member", Retries::byAnotherMember);
    }

    private static Received failing(int level, java.util.function.Predicate<MessageExt> fails) {
        return new Received((message, context) -> {
            context.setDelayLevelWhenNextConsume(level);
            return fails.test(message) ? ConsumeConcurrentlyStatus.RECONSUME_LATER : ConsumeConcurrentlyStatus.CONSUME_SUCCESS;
        });
    }

    private static void byDefault(Scene scene) throws Exception {
        scene.createTopic(2);
        Received received = failing(0, message -> message.getReconsumeTimes() == 0 && Integer.parseInt(message.getKeys()) < 3);
        scene.push("*", received);
        scene.send(0, 6, 2);
        Scene.await("the second deliveries", () -> received.size() == 9);
        for (int i = 0; i < 3; i++) {
            List<Long> times = received.timesOf("" + i);
            // Level 3 of the broker's table, which is 3 s.
            Peer.check(times.size() == 2 && times.get(1) - times.get(0) >= 2_900, "" + times);
        }
    }

    private static void byLevel(Scene scene) throws Exception {
        scene.createTopic(1);
        Received received = failing(1, message -> message.getReconsumeTimes() < 3);
        scene.push("*", received);
        scene.send(0, 1, 1);
        Scene.await("four deliveries", () -> received.size() == 4);
        List<Integer> counts = new ArrayList<>();
        received.all().forEach(message -> counts.add(message.getReconsumeTimes()));
        Peer.check(counts.equals(List.of(0, 1, 2, 3)), counts.toString());
        List<Long> times = received.timesOf("0");
        Peer.check(times.get(1) - times.get(0) >= 900 && times.get(3) - times.get(2) >= 900, times.toString());
        Scene.await("the commit behind it", () -> scene.committed(scene.group, 0) == 1);
    }

    private static void keepsProperties(Scene scene) throws Exception {
        scene.createTopic(1);
        Received received = failing(1, message -> message.getReconsumeTimes() < 2);
        scene.push("TagA", received);
        Message message = scene.message("kept");
        message.putUserProperty("user", "a property");
        message.setFlag(77);
        String id = scene.send(message, 0).getMsgId();
        Scene.await("three deliveries", () -> received.size() == 3);
        for (MessageExt one : received.all()) {
            Peer.check(one.getTopic().equals(scene.topic) && one.getTags().equals("TagA"), one.toString());
            Peer.check("a property".equals(one.getUserProperty("user")) && one.getFlag() == 77, one.toString());
            Peer.check(new String(one.getBody()).equals("body of kept"), one.toString());
            Peer.check(one.getReconsumeTimes() == 0 || one.getProperty("ORIGIN_MESSAGE_ID") != null, one.toString());
            Peer.check(one.getMsgId().equals(id), id + " " + one);
        }
        String origin = received.all().get(2).getProperty("ORIGIN_MESSAGE_ID");
        Peer.check(origin.equals(received.all().get(1).getProperty("ORIGIN_MESSAGE_ID")), "of the first: " + origin);
    }

    private static void partOfABatch(Scene scene) throws Exception {
        scene.createTopic(1);
        scene.send(0, 8, 1);
        Received received = new Received();
        DefaultMQPushConsumer consumer = scene.newPushConsumer("*");
        consumer.setConsumeMessageBatchMaxSize(8);
        consumer.setMessageListener((MessageListenerConcurrently) (messages, context) -> {
            context.setDelayLevelWhenNextConsume(1);
            if (messages.size() > 1) {
                context.setAckIndex(messages.size() - 2); // the last one failed
            }
            return received.consumeMessage(messages, context);
        });
        consumer.start();
        received.awaitKeys(8);
        Scene.await("the last one again", () -> received.timesOf("7").size() == 2);
        Thread.sleep(500);
        Peer.check(received.timesByKey().entrySet().stream().allMatch(entry -> entry.getKey().equals("7") || entry.getValue() == 1), received.timesByKey().toString());
    }

    /** The dead letters of the case's group are these, and can be read. */
    static List<MessageExt> awaitDeadLetters(Scene scene, List<String> keys) throws Exception {
        String dead = "%DLQ%" + scene.group;
        DefaultMQPullConsumer consumer = scene.pull();
        List<MessageExt> found = new ArrayList<>();
        TreeSet<String> expected = new TreeSet<>(keys);
        TreeSet<String> names = new TreeSet<>();
        Scene.await("dead letters " + expected + ", got " + names, () -> {
            List<MessageExt> all = Scene.pullAll(consumer, scene.world.queue(dead, 0), MessageSelector.byTag("*"));
            found.clear();
            names.clear();
            found.addAll(all);
            all.forEach(message -> names.add(message.getKeys()));
            return names.equals(expected);
        });
        Peer.check(found.size() == keys.size(), found.toString());
        return found;
    }

    private static void maximum(Scene scene) throws Exception {
        scene.createTopic(1);
        Received received = failing(1, message -> message.getKeys().equals("1"));
        DefaultMQPushConsumer consumer = scene.newPushConsumer("*");
        consumer.setMaxReconsumeTimes(2);
        consumer.setMessageListener(received);
        consumer.start();
        scene.send(0, 3, 1);
        List<MessageExt> dead = awaitDeadLetters(scene, List.of("1"));
        Peer.check(received.timesOf("1").size() == 3, received.timesByKey().toString());
        Peer.check(scene.topic.equals(dead.get(0).getProperty("RETRY_TOPIC")), dead.toString());
        Peer.check(new String(dead.get(0).getBody()).equals("body of 1"), dead.toString());
        var config = scene.world.admin.examineTopicConfig(scene.world.address, "%DLQ%" + scene.group);
        Peer.check(config.getReadQueueNums() == 1 && config.getWriteQueueNums() == 1, config.toString());
        Thread.sleep(1_500);
        Peer.check(received.timesOf("1").size() == 3, "after the end: " + received.timesByKey());
    }

    private static void straightToDeadLetters(Scene scene) throws Exception {
        scene.createTopic(1);
        Received received = failing(-1, message -> !message.getKeys().equals("0"));
        scene.push("*", received);
        scene.send(0, 3, 1);
        awaitDeadLetters(scene, List.of("1", "2"));
        Peer.check(received.size() == 3, received.timesByKey().toString());
    }

    /** A listener that throws, and one that answers nothing, have failed. */
    private static void exceptions(Scene scene) throws Exception {
        scene.createTopic(1);
        Received received = new Received((message, context) -> {
            context.setDelayLevelWhenNextConsume(1);
            if (message.getReconsumeTimes() > 0) {
                return ConsumeConcurrentlyStatus.CONSUME_SUCCESS;
            }
            if (message.getKeys().equals("0")) {
                throw new IllegalStateException("on purpose");
            }
            return null;
        });
        scene.push("*", received);
        scene.send(0, 2, 1);
        Scene.await("both again", () -> received.timesByKey().values().stream().mapToInt(Integer::intValue).sum() == 4);
        Peer.check(received.timesByKey().values().stream().allMatch(count -> count == 2), received.timesByKey().toString());
    }

    private static void byRequest(Scene scene) throws Exception {
        scene.createTopic(1);
        Received received = new Received();
        DefaultMQPushConsumer consumer = scene.push("*", received);
        scene.send(0, 1, 1);
        received.awaitKeys(1);
        MessageExt message = received.all().get(0);
        World.checkCode(0, scene.world.call(36, "offset", "" + message.getCommitLogOffset(), "group", scene.group, "delayLevel", "1",
            "originMsgId", message.getMsgId(), "originTopic", scene.topic, "unitMode", "false", "maxReconsumeTimes", "16"));
        Scene.await("the one sent back", () -> received.size() == 2);
        Peer.check(received.all().get(1).getReconsumeTimes() == 1, received.all().toString());
        consumer.sendMessageBack(received.all().get(1), 1);
        Scene.await("and sent back again", () -> received.size() == 3);
        Peer.check(received.all().get(2).getReconsumeTimes() == 2, received.all().toString());
    }

    private static void refused(Scene scene) throws Exception {
        scene.createTopic(1);
        Administration.createGroup(scene.world, scene.group);
        World.checkCode(1, back(scene, scene.group, 1L << 50));
    }

    private static RemotingCommand back(Scene scene, String group, long offset) throws Exception {
        return scene.world.call(36, "offset", "" + offset, "group", group, "delayLevel", "1", "originMsgId", "x", "originTopic", scene.topic,
            "unitMode", "false", "maxReconsumeTimes", "16");
    }

    /** What a member that is gone failed at, the one that is left gets. */
    private static void byAnotherMember(Scene scene) throws Exception {
        scene.createTopic(1);
        Received first = failing(3, message -> true);
        DefaultMQPushConsumer one = scene.push("*", first);
        scene.send(0, 2, 1);
        first.awaitKeys(2);
        Scene.await("the commit", () -> scene.committed(scene.group, 0) == 2);
        one.shutdown();
        Received second = new Received();
        scene.push("*", second);
        // The first member may have failed them once more before it was gone.
        second.awaitKeys(2);
        Peer.check(second.all().stream().allMatch(message -> message.getReconsumeTimes() >= 1), second.all().toString());
    }
}
