import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Map;
import java.util.Random;
import java.util.TreeMap;
import java.util.concurrent.atomic.AtomicReference;
import org.apache.rocketmq.client.exception.MQBrokerException;
import org.apache.rocketmq.client.producer.DefaultMQProducer;
import org.apache.rocketmq.client.producer.SendCallback;
import org.apache.rocketmq.client.producer.SendResult;
import org.apache.rocketmq.common.message.Message;
import org.apache.rocketmq.common.message.MessageExt;
import org.apache.rocketmq.common.message.MessageQueue;
import org.apache.rocketmq.remoting.protocol.RemotingCommand;

/** Ways to send, and what arrives of what was sent. */
final class Sending {
    private Sending() {
    }

    static void addTo(Conformance all) {
        all.add("send-ways", Sending::ways);
        all.add("send-properties", Sending::properties);
        all.add("send-bodies", Sending::bodies);
        all.add("send-batch", Sending::batch);
        all.add("send-batch-large", Sending::batchLarge);
        all.add("send-too-large", Sending::tooLarge);
        all.add("send-to-new-topic", Sending::toNewTopic);
        all.add("send-refused", Sending::refused);
        all.add("send-looked-up", Sending::lookedUp);
        all.add("send-unit", Sending::unit);
        all.add("send-traced", Sending::traced);
    }

    private static void ways(Scene scene) throws Exception {
        scene.createTopic(4);
        Received received = new Received();
        scene.push("*", received);
        DefaultMQProducer producer = scene.world.producer;
        AtomicReference<SendResult> later = new AtomicReference<>();
        Scene.checked(producer.send(scene.message("sync")));
        producer.send(scene.message("async"), new SendCallback() {
            @Override
            public void onSuccess(SendResult result) {
                later.set(result);
            }

            @Override
            public void onException(Throwable e) {
                e.printStackTrace();
            }
        });
        producer.sendOneway(scene.message("oneway"));
        producer.sendOneway(scene.message("oneway-queue"), scene.world.queue(scene.topic, 1));
        MessageQueue chosen = producer.send(scene.message("selected"), (queues, message, argument) -> queues.get((Integer) argument), 2).getMessageQueue();
        Peer.check(chosen.getQueueId() == 2, chosen.toString());
        SendResult result = producer.send(scene.message("queue"), scene.world.queue(scene.topic, 3));
        Peer.check(result.getMessageQueue().getQueueId() == 3 && result.getQueueOffset() >= 0 && result.getOffsetMsgId() != null, result.toString());
        received.checkOnce(6);
        Scene.await("the answer", () -> later.get() != null);
        Scene.checked(later.get());
    }

    private static void properties(Scene scene) throws Exception {
        scene.createTopic(1);
        Received received = new Received();
        scene.push("*", received);
        Message message = scene.message("key one two");
        Map<String, String> odd = new TreeMap<>(Map.of("a", "=", "b=", "c", "unicode", "\u4e2d\u6587 \ud83d\ude80 \u00e9", "blank", " x ", "quotes", "\"'{}[]\\",
            "lines", "a\nb\tc\r", "LONG", "x".repeat(3_000), "__X", "underscores"));
        odd.forEach(message::putUserProperty);
        message.setFlag(Integer.MIN_VALUE);
        message.setBuyerId("buyer");
        scene.send(message, 0);
        received.checkOnce(1);
        MessageExt one = received.all().get(0);
        odd.forEach((name, value) -> Peer.check(value.equals(one.getProperty(name)), name + ": " + one.getProperty(name)));
        Peer.check(one.getFlag() == Integer.MIN_VALUE && "buyer".equals(one.getBuyerId()) && one.getKeys().equals("key one two"), one.toString());
    }

    /** Empty ones are refused; others arrive as they were, compressed on the way or not. */
    private static void bodies(Scene scene) throws Exception {
        scene.createTopic(1);
        Received received = new Received();
        scene.push("*", received);
        List<byte[]> bodies = bodies();
        for (int i = 0; i < bodies.size(); i++) {
            scene.send(new Message(scene.topic, "", "" + i, bodies.get(i)), 0);
        }
        checkBodies(received, bodies);
    }

    static List<byte[]> bodies() {
        byte[] noise = new byte[200_000];
        new Random(7).nextBytes(noise);
        byte[] text = "again and again ".repeat(20_000).getBytes(StandardCharsets.UTF_8);
        return List.of(new byte[] {0}, new byte[256], Arrays.copyOf(text, 4_095), Arrays.copyOf(text, 4_096), text, noise);
    }

    static void checkBodies(Received received, List<byte[]> bodies) throws Exception {
        received.checkOnce(bodies.size());
        for (MessageExt message : received.all()) {
            Peer.check(Arrays.equals(message.getBody(), bodies.get(Integer.parseInt(message.getKeys()))), "body " + message.getKeys());
        }
    }

    private static void batch(Scene scene) throws Exception {
        scene.createTopic(1);
        Received received = new Received();
        scene.push("TagA", received);
        List<Message> batch = new ArrayList<>();
        for (int i = 0; i < 20; i++) {
            Message message = scene.message("" + i);
            message.putUserProperty("number", "" + i);
            message.setFlag(i);
            batch.add(message);
        }
        SendResult result = Scene.checked(Clients.untilTaken(() -> scene.world.producer.send(batch, scene.world.queue(scene.topic, 0))));
        Peer.check(result.getOffsetMsgId().split(",").length == 20 && result.getMsgId().split(",").length == 20, result.toString());
        received.checkOnce(20);
        for (MessageExt message : received.all()) {
            int number = Integer.parseInt(message.getKeys());
            Peer.check(message.getQueueOffset() == number && message.getFlag() == number, message.toString());
            Peer.check(message.getUserProperty("number").equals("" + number) && new String(message.getBody()).equals("body of " + number), message.toString());
        }
        scene.send(scene.message("after"), 0);
        scene.awaitStored(0, 21);
    }

    private static void batchLarge(Scene scene) throws Exception {
        scene.createTopic(1);
        Received received = new Received();
        scene.push("*", received);
        List<Message> batch = new ArrayList<>();
        for (int i = 0; i < 1_000; i++) {
            batch.add(new Message(scene.topic, "", "" + i, new byte[2_000]));
        }
        Scene.checked(Clients.untilTaken(() -> scene.world.producer.send(batch, scene.world.queue(scene.topic, 0))));
        received.checkOnce(1_000);
    }

    private static void tooLarge(Scene scene) throws Exception {
        scene.createTopic(1);
        DefaultMQProducer producer = scene.world.quick(new DefaultMQProducer(scene.group + "-producer"), scene.group);
        producer.setMaxMessageSize(32 << 20);
        producer.setCompressMsgBodyOverHowmuch(64 << 20);
        producer.setSendMsgTimeout(10_000);
        producer.start();
        scene.atEnd(producer::shutdown);
        try {
            producer.send(new Message(scene.topic, new byte[6 << 20]), scene.world.queue(scene.topic, 0));
        } catch (MQBrokerException e) {
            Peer.check(e.getResponseCode() == 13, e.toString());
            Scene.checked(producer.send(new Message(scene.topic, new byte[3 << 20]), scene.world.queue(scene.topic, 0)));
            return;
        }
        throw new IllegalStateException("accepted");
    }

    private static void toNewTopic(Scene scene) throws Exception {
        DefaultMQProducer producer = scene.world.quick(new DefaultMQProducer(scene.group + "-producer"), scene.group);
        producer.setDefaultTopicQueueNums(3);
        producer.setSendMsgTimeout(10_000);
        producer.start();
        scene.atEnd(producer::shutdown);
        Received received = new Received();
        scene.push("*", received);
        for (int i = 0; i < 6; i++) {
            Scene.checked(producer.send(scene.message("" + i)));
        }
        received.checkOnce(6);
        var config = scene.world.admin.examineTopicConfig(scene.world.address, scene.topic);
        Peer.check(config.getReadQueueNums() == 3 && config.getWriteQueueNums() == 3 && config.getPerm() == 6, config.toString());
    }

    private static void refused(Scene scene) throws Exception {
        scene.createTopic(1);
        World.checkCode(16, send(scene, "SCHEDULE_TOPIC_XXXX", 0));
        World.checkCode(16, send(scene, "RMQ_SYS_TRANS_HALF_TOPIC", 0));
        Peer.check(send(scene, "bad topic name", 0).getCode() != 0, "a bad name");
        Peer.check(send(scene, scene.topic, 7).getCode() != 0, "queue 7");
        World.checkCode(0, send(scene, scene.topic, 0));
    }

    private static RemotingCommand send(Scene scene, String topic, int queue) throws Exception {
        return scene.world.callWith(new byte[] {1}, 10, "producerGroup", "raw", "topic", topic, "defaultTopic", "TBW102", "defaultTopicQueueNums", "4",
            "queueId", "" + queue, "sysFlag", "0", "bornTimestamp", "" + System.currentTimeMillis(), "flag", "0", "properties", "", "reconsumeTimes", "0",
            "unitMode", "false", "batch", "false");
    }

    private static void lookedUp(Scene scene) throws Exception {
        scene.createTopic(1);
        SendResult sent = scene.send(scene.message("first second"), 0);
        long now = System.currentTimeMillis();
        for (String key : List.of("first", "second")) {
            Scene.await("the key " + key, () -> scene.world.producer.queryMessage(scene.topic, key, 10, now - 60_000, now + 60_000).getMessageList().size() == 1);
        }
        MessageExt byOffset = scene.world.producer.viewMessage(scene.topic, sent.getOffsetMsgId());
        MessageExt byId = scene.world.producer.viewMessage(scene.topic, sent.getMsgId());
        Peer.check(byOffset.getKeys().equals("first second") && byId.getKeys().equals("first second"), byOffset + " " + byId);
    }

    /** Topics and groups of units are marked. */
    private static void unit(Scene scene) throws Exception {
        DefaultMQProducer producer = scene.world.quick(new DefaultMQProducer(scene.group + "-producer"), scene.group);
        producer.setUnitMode(true);
        producer.setSendMsgTimeout(10_000);
        producer.start();
        scene.atEnd(producer::shutdown);
        Scene.checked(producer.send(scene.message("unit")));
        var config = scene.world.admin.examineTopicConfig(scene.world.address, scene.topic);
        Peer.check(config.getTopicSysFlag() == 1, config.toString());
        Received received = new Received();
        var consumer = scene.newPushConsumer("*");
        consumer.setUnitMode(true);
        consumer.setMessageListener(received);
        consumer.start();
        received.checkOnce(1);
        Scene.await("the mark of the retry topic", () -> scene.world.admin.examineTopicConfig(scene.world.address, "%RETRY%" + scene.group).getTopicSysFlag() == 2);
    }

    private static void traced(Scene scene) throws Exception {
        scene.createTopic(1);
        DefaultMQProducer producer = scene.world.quick(new DefaultMQProducer(scene.group + "-producer", true, "RMQ_SYS_TRACE_TOPIC"), scene.group);
        producer.setSendMsgTimeout(10_000);
        producer.start();
        scene.atEnd(producer::shutdown);
        String id = Scene.checked(producer.send(scene.message("traced"))).getMsgId();
        long now = System.currentTimeMillis();
        Scene.await("the trace", () -> !scene.world.producer.queryMessage("RMQ_SYS_TRACE_TOPIC", id, 10, now - 60_000, now + 60_000).getMessageList().isEmpty());
    }
}
