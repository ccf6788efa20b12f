import java.util.HashMap;
import java.util.List;
import java.util.Map;
import org.apache.rocketmq.client.producer.DefaultMQProducer;
import org.apache.rocketmq.client.producer.SendResult;
import org.apache.rocketmq.common.TopicConfig;
import org.apache.rocketmq.common.compression.CompressionType;
import org.apache.rocketmq.common.message.Message;

/** What the clients of the 4.9 line cannot ask for; src-4 has its counterpart, which lists the same names. */
final class OnlyIn5 {
    private OnlyIn5() {
    }

    static void addTo(Conformance all) {
        Pop.addTo(all);
        all.add("timer-recalled", OnlyIn5::recalled);
        all.add("compression-kinds", OnlyIn5::compressionKinds);
        all.add("message-types", OnlyIn5::messageTypes);
        all.add("topic-groups-and-subscriptions", OnlyIn5::topicGroups);
    }

    private static void recalled(Scene scene) throws Exception {
        scene.createTopic(1);
        Received received = new Received();
        scene.push("*", received);
        long due = System.currentTimeMillis() + 15_000;
        Message stays = scene.message("stays");
        Message goes = scene.message("goes");
        stays.setDeliverTimeMs(due);
        goes.setDeliverTimeMs(due);
        DefaultMQProducer producer = scene.world.producer;
        SendResult kept = Scene.checked(producer.send(stays));
        SendResult sent = Scene.checked(producer.send(goes));
        Peer.check(kept.getRecallHandle() != null && sent.getRecallHandle() != null, "handles: " + kept + sent);
        Peer.check(sent.getMsgId().equals(producer.recallMessage(scene.topic, sent.getRecallHandle())), "the id of what was recalled");
        received.awaitKeys(1);
        Thread.sleep(3_000);
        Peer.check(received.keys().equals(List.of("stays")), received.keys().toString());
    }

    private static void compressionKinds(Scene scene) throws Exception {
        scene.createTopic(1);
        Received received = new Received();
        scene.push("*", received);
        List<byte[]> bodies = Sending.bodies();
        int sent = 0;
        Map<String, byte[]> expected = new HashMap<>();
        for (CompressionType kind : List.of(CompressionType.ZLIB, CompressionType.LZ4, CompressionType.ZSTD)) {
            DefaultMQProducer producer = scene.world.quick(new DefaultMQProducer(scene.group + kind), scene.group + kind);
            producer.setCompressType(kind);
            producer.setSendMsgTimeout(10_000);
            producer.start();
            scene.atEnd(producer::shutdown);
            for (byte[] body : bodies) {
                String key = kind + "-" + sent++;
                expected.put(key, body);
                Scene.checked(Clients.untilTaken(() -> producer.send(new Message(scene.topic, "", key, body), scene.world.queue(scene.topic, 0))));
            }
        }
        received.checkOnce(sent);
        received.all().forEach(message -> Peer.check(java.util.Arrays.equals(message.getBody(), expected.get(message.getKeys())), message.getKeys()));
    }

    /** A topic's attributes are kept, changed and deleted; unknown ones are refused. */
    private static void messageTypes(Scene scene) throws Exception {
        TopicConfig config = new TopicConfig(scene.topic, 1, 1, 6);
        config.setAttributes(Map.of("+message.type", "FIFO"));
        scene.world.admin.createAndUpdateTopicConfig(scene.world.address, config);
        Scene.await("the attribute", () -> "FIFO".equals(attributes(scene).get("message.type")));
        config.setAttributes(Map.of("-message.type", ""));
        scene.world.admin.createAndUpdateTopicConfig(scene.world.address, config);
        Scene.await("no attribute", () -> attributes(scene).get("message.type") == null);
        config.setAttributes(Map.of("+no.such.attribute", "1"));
        try {
            scene.world.admin.createAndUpdateTopicConfig(scene.world.address, config);
        } catch (Exception e) {
            return;
        }
        throw new IllegalStateException("accepted");
    }

    private static Map<String, String> attributes(Scene scene) throws Exception {
        return scene.world.admin.examineTopicConfig(scene.world.address, scene.topic).getAttributes();
    }

    private static void topicGroups(Scene scene) throws Exception {
        scene.createTopic(1);
        Received received = new Received();
        var consumer = scene.push("TagA", received);
        scene.send(0, 2, 1);
        received.awaitKeys(2);
        Scene.await("the topic's groups", () -> scene.world.admin.queryTopicConsumeByWho(scene.topic).getGroupList().contains(scene.group));
        Scene.await("the group's topics", () -> scene.world.admin.queryTopicsByConsumer(scene.group).getTopicList().contains("%RETRY%" + scene.group));
        Scene.await("the subscription", () -> scene.world.admin.querySubscription(scene.group, scene.topic).getSubString().equals("TagA"));
        consumer.shutdown();
    }
}
