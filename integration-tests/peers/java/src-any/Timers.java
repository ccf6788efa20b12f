import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.Random;
import org.apache.rocketmq.client.exception.MQBrokerException;
import org.apache.rocketmq.client.producer.SendResult;
import org.apache.rocketmq.common.message.Message;
import org.apache.rocketmq.common.message.MessageAccessor;
import org.apache.rocketmq.common.message.MessageExt;

/** Delay levels, and messages for any later time. */
final class Timers {
    /** Times are rounded to whole seconds, and one that is whole may come one second before. */
    private static final long PRECISION_MS = 1_000;

    private Timers() {
    }

    static void addTo(Conformance all) {
        all.add("delay-levels", Timers::levels);
        all.add("delay-beyond-the-levels", Timers::beyondTheLevels);
        all.add("delay-keeps-messages", Timers::keepsMessages);
        all.add("timer-kinds", Timers::kinds);
        all.add("timer-due-already", Timers::dueAlready);
        all.add("timer-too-far", Timers::tooFar);
        all.add("timer-many", Timers::many);
        all.add("timer-kinds-together", Timers::kindsTogether);
    }

    private static void checkDelay(MessageExt message, long heard, long delayMs, long allowanceMs) {
        long delay = heard - message.getBornTimestamp();
        Peer.check(delay >= delayMs - allowanceMs, message.getKeys() + " early, after " + delay);
        Peer.check(delay <= delayMs + 60_000, message.getKeys() + " late, after " + delay);
    }

    private static void levels(Scene scene) throws Exception {
        scene.createTopic(2);
        Received received = new Received();
        scene.push("*", received);
        for (int level = 5; level >= 1; level--) {
            Message message = scene.message("" + level);
            message.setDelayTimeLevel(level);
            scene.send(message, level % 2);
        }
        received.checkOnce(5);
        for (MessageExt message : received.all()) {
            int level = Integer.parseInt(message.getKeys());
            checkDelay(message, received.timesOf(message.getKeys()).get(0), 1_000L * level, 50);
            Peer.check(message.getQueueId() == level % 2 && message.getTopic().equals(scene.topic), message.toString());
        }
    }

    /** The longest there is: its queue of the delayed has one more message. */
    private static void beyondTheLevels(Scene scene) throws Exception {
        scene.createTopic(1);
        long before = lastLevel(scene);
        Message message = scene.message("far");
        message.setDelayTimeLevel(99);
        scene.send(message, 0);
        Scene.await("a message of the last level", () -> lastLevel(scene) == before + 1);
    }

    private static long lastLevel(Scene scene) throws Exception {
        var answer = scene.world.call(30, "topic", "SCHEDULE_TOPIC_XXXX", "queueId", "17");
        return answer.getCode() == 0 ? Long.parseLong(World.field(answer, "offset")) : 0;
    }

    private static void keepsMessages(Scene scene) throws Exception {
        scene.createTopic(1);
        Received received = new Received();
        scene.push("TagA", received);
        Message message = scene.message("kept");
        message.setDelayTimeLevel(1);
        message.setFlag(5);
        message.putUserProperty("user", "a property");
        SendResult sent = scene.send(message, 0);
        received.checkOnce(1);
        MessageExt one = received.all().get(0);
        Peer.check("a property".equals(one.getUserProperty("user")) && one.getFlag() == 5 && "TagA".equals(one.getTags()), one.toString());
        Peer.check(new String(one.getBody()).equals("body of kept") && one.getMsgId().equals(sent.getMsgId()), one.toString());
    }

    private static Message timed(Scene scene, String key, String property, long value) {
        Message message = scene.message(key);
        MessageAccessor.putProperty(message, property, "" + value);
        return message;
    }

    private static void kinds(Scene scene) throws Exception {
        scene.createTopic(1);
        Received received = new Received();
        scene.push("*", received);
        Map<String, Long> delays = Map.of("deliver", 3_000L, "ms", 2_500L, "sec", 4_000L);
        scene.send(timed(scene, "deliver", "TIMER_DELIVER_MS", System.currentTimeMillis() + 3_000), 0);
        scene.send(timed(scene, "ms", "TIMER_DELAY_MS", 2_500), 0);
        scene.send(timed(scene, "sec", "TIMER_DELAY_SEC", 4), 0);
        received.checkOnce(3);
        for (MessageExt message : received.all()) {
            String key = message.getKeys();
            checkDelay(message, received.timesOf(key).get(0), delays.get(key), PRECISION_MS + 50);
            Peer.check(message.getTopic().equals(scene.topic) && message.getQueueId() == 0, message.toString());
            Peer.check(new String(message.getBody()).equals("body of " + key), message.toString());
        }
    }

    private static void dueAlready(Scene scene) throws Exception {
        scene.createTopic(1);
        Received received = new Received();
        scene.push("*", received);
        scene.send(scene.message("warm"), 0);
        received.awaitKeys(1);
        scene.send(timed(scene, "past", "TIMER_DELIVER_MS", System.currentTimeMillis() - 5_000), 0);
        received.checkOnce(2);
        long delay = received.timesOf("past").get(0) - received.all().get(1).getBornTimestamp();
        Peer.check(delay < 15_000, "after " + delay);
    }

    /** Three days are the most. */
    private static void tooFar(Scene scene) throws Exception {
        scene.createTopic(1);
        for (Message message : List.of(timed(scene, "sec", "TIMER_DELAY_SEC", 4 * 86_400), timed(scene, "ms", "TIMER_DELAY_MS", 4 * 86_400_000L),
            timed(scene, "deliver", "TIMER_DELIVER_MS", System.currentTimeMillis() + 4 * 86_400_000L))) {
            try {
                scene.send(message, 0);
            } catch (MQBrokerException e) {
                Peer.check(e.getResponseCode() == 13, message.getKeys() + ": " + e);
                continue;
            }
            throw new IllegalStateException("accepted: " + message);
        }
        scene.awaitStored(0, 0);
    }

    private static void many(Scene scene) throws Exception {
        scene.createTopic(4);
        Received received = new Received();
        scene.push("*", received);
        Random random = new Random(5);
        List<Long> delays = new ArrayList<>();
        for (int i = 0; i < 100; i++) {
            delays.add(1_000L + random.nextInt(5_000));
            scene.send(timed(scene, "" + i, "TIMER_DELAY_MS", delays.get(i)), i % 4);
        }
        received.checkOnce(100);
        for (MessageExt message : received.all()) {
            checkDelay(message, received.timesOf(message.getKeys()).get(0), delays.get(Integer.parseInt(message.getKeys())), PRECISION_MS + 50);
        }
    }

    /** A level takes precedence over a time, seconds over milliseconds, and those over an instant. */
    private static void kindsTogether(Scene scene) throws Exception {
        scene.createTopic(1);
        Received received = new Received();
        scene.push("*", received);
        long far = 3_600_000;
        Message level = timed(scene, "level", "TIMER_DELAY_MS", far);
        level.setDelayTimeLevel(1);
        Message seconds = timed(scene, "seconds", "TIMER_DELAY_MS", far);
        MessageAccessor.putProperty(seconds, "TIMER_DELAY_SEC", "2");
        Message milliseconds = timed(scene, "milliseconds", "TIMER_DELIVER_MS", System.currentTimeMillis() + far);
        MessageAccessor.putProperty(milliseconds, "TIMER_DELAY_MS", "2000");
        for (Message message : List.of(level, seconds, milliseconds)) {
            scene.send(message, 0);
        }
        received.checkOnce(3);
    }
}
