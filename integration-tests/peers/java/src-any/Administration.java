import java.nio.charset.StandardCharsets;
import java.util.List;
import java.util.Properties;
import org.apache.rocketmq.client.consumer.DefaultMQPushConsumer;
import org.apache.rocketmq.common.TopicConfig;
import org.apache.rocketmq.common.message.MessageExt;
import org.apache.rocketmq.remoting.protocol.RemotingCommand;

/** Requests of tools. */
final class Administration {
    private Administration() {
    }

    static void addTo(Conformance all) {
        all.add("admin-consumers", Administration::consumers);
        all.add("admin-producers", Administration::producers);
        all.add("admin-consumes-directly", Administration::consumesDirectly);
        all.add("admin-permissions", Administration::permissions);
        all.add("admin-deletes-topics", Administration::deletesTopics);
        all.add("admin-groups", Administration::groups);
        all.add("admin-group-disabled", Administration::groupDisabled);
        all.add("admin-settings", Administration::settings);
        all.add("admin-looks-at-queues", Administration::looksAtQueues);
        all.add("admin-lists", Administration::lists);
    }

    static void createGroup(World world, String group) throws Exception {
        World.checkCode(0, updateGroup(world, group, true));
    }

    private static RemotingCommand updateGroup(World world, String group, boolean enabled) throws Exception {
        String config = "{\"groupName\":\"" + group + "\",\"retryQueueNums\":1,\"retryMaxTimes\":16,\"consumeEnable\":" + enabled + ","
            + "\"consumeFromMinEnable\":true,\"consumeBroadcastEnable\":true,\"brokerId\":0,\"whichBrokerWhenConsumeSlowly\":1}";
        return world.callWith(config.getBytes(StandardCharsets.UTF_8), 200);
    }

    private static String id(DefaultMQPushConsumer consumer) {
        return consumer.getDefaultMQPushConsumerImpl().getmQClientFactory().getClientId();
    }

    private static void consumers(Scene scene) throws Exception {
        scene.createTopic(2);
        DefaultMQPushConsumer one = scene.push("TagA", new Received());
        DefaultMQPushConsumer two = scene.push("TagA", new Received());
        scene.awaitQueues(one, 1);
        scene.awaitQueues(two, 1);
        var connections = scene.world.admin.examineConsumerConnectionInfo(scene.group);
        Peer.check(connections.getConnectionSet().size() == 2, connections.getConnectionSet().toString());
        Peer.check(connections.getSubscriptionTable().get(scene.topic).getSubString().equals("TagA"), connections.getSubscriptionTable().toString());
        Peer.check(connections.getMessageModel().name().equals("CLUSTERING"), connections.getMessageModel().toString());
        var running = scene.world.admin.getConsumerRunningInfo(scene.group, id(one), false);
        Peer.check(running.getMqTable().keySet().stream().anyMatch(queue -> queue.getTopic().equals(scene.topic)), running.getMqTable().toString());
        two.shutdown();
        scene.awaitQueues(one, 2);
        Scene.await("one member", () -> scene.world.admin.examineConsumerConnectionInfo(scene.group).getConnectionSet().size() == 1);
    }

    private static void producers(Scene scene) throws Exception {
        scene.createTopic(1);
        scene.send(0, 1, 1);
        Scene.await("the producer", () -> !scene.world.admin.examineProducerConnectionInfo(scene.world.producer.getProducerGroup(), scene.topic).getConnectionSet().isEmpty());
    }

    /** The broker hands a stored message to a consumer of the tool's choice (309). */
    private static void consumesDirectly(Scene scene) throws Exception {
        scene.createTopic(1);
        Received received = new Received();
        DefaultMQPushConsumer consumer = scene.push("*", received);
        String message = scene.send(scene.message("again"), 0).getOffsetMsgId();
        received.awaitKeys(1);
        var result = scene.world.admin.consumeMessageDirectly(scene.group, id(consumer), scene.topic, message);
        Peer.check(result.getConsumeResult().name().equals("CR_SUCCESS"), result.toString());
        Scene.await("the second time", () -> received.timesOf("again").size() == 2);
    }

    private static void permissions(Scene scene) throws Exception {
        scene.createTopic(1);
        scene.send(0, 1, 1);
        scene.awaitStored(0, 1);
        setPermission(scene, 2);
        World.checkCode(16, Pull.raw(scene, "4"));
        setPermission(scene, 6);
        World.checkCode(0, Pull.raw(scene, "4"));
        Received received = new Received();
        scene.push("*", received);
        received.checkOnce(1);
    }

    private static void setPermission(Scene scene, int permission) throws Exception {
        scene.world.admin.createAndUpdateTopicConfig(scene.world.address, new TopicConfig(scene.topic, 1, 1, permission));
    }

    private static void deletesTopics(Scene scene) throws Exception {
        scene.createTopic(1);
        scene.send(0, 3, 1);
        scene.awaitStored(0, 3);
        World.checkCode(0, scene.world.call(215, "topic", scene.topic));
        Scene.await("no such topic", () -> !scene.world.admin.getAllTopicConfig(scene.world.address, 10_000).getTopicConfigTable().containsKey(scene.topic));
        World.checkCode(0, scene.world.call(17, "topic", scene.topic, "defaultTopic", "TBW102", "readQueueNums", "1", "writeQueueNums", "1", "perm", "6",
            "topicFilterType", "SINGLE_TAG", "topicSysFlag", "0", "order", "false"));
        Scene.await("a topic with nothing in it", () -> "0".equals(World.field(scene.world.call(30, "topic", scene.topic, "queueId", "0"), "offset")));
    }

    private static void groups(Scene scene) throws Exception {
        createGroup(scene.world, scene.group);
        Peer.check(hasGroup(scene), "made");
        Peer.check(scene.world.admin.examineSubscriptionGroupConfig(scene.world.address, scene.group).getRetryMaxTimes() == 16, "as it was made");
        World.checkCode(0, scene.world.call(207, "groupName", scene.group, "cleanOffset", "true"));
        Peer.check(!hasGroup(scene), "deleted");
    }

    private static boolean hasGroup(Scene scene) throws Exception {
        return scene.world.admin.getAllSubscriptionGroup(scene.world.address, 10_000).getSubscriptionGroupTable().containsKey(scene.group);
    }

    /** A group that may not consume gets nothing, until it may. */
    private static void groupDisabled(Scene scene) throws Exception {
        scene.createTopic(1);
        World.checkCode(0, updateGroup(scene.world, scene.group, false));
        scene.send(0, 2, 1);
        Received received = new Received();
        scene.push("*", received);
        Thread.sleep(2_000);
        Peer.check(received.size() == 0, "not allowed");
        World.checkCode(0, updateGroup(scene.world, scene.group, true));
        received.checkOnce(2);
    }

    private static void settings(Scene scene) throws Exception {
        Properties all = scene.world.admin.getBrokerConfig(scene.world.address);
        Peer.check("broker-a".equals(all.getProperty("brokerName")) || all.getProperty("brokerName") != null, all.toString());
        Properties changed = new Properties();
        changed.setProperty("flushConsumerOffsetInterval", "1100");
        scene.world.admin.updateBrokerConfig(scene.world.address, changed);
        Peer.check("1100".equals(scene.world.admin.getBrokerConfig(scene.world.address).getProperty("flushConsumerOffsetInterval")), "changed");
    }

    private static void looksAtQueues(Scene scene) throws Exception {
        scene.createTopic(1);
        scene.send(0, 5, 1);
        scene.awaitStored(0, 5);
        var body = scene.world.admin.queryConsumeQueue(scene.world.address, scene.topic, 0, 1, 3, null);
        Peer.check(body.getMinQueueIndex() == 0 && body.getMaxQueueIndex() == 5, body.getMinQueueIndex() + " " + body.getMaxQueueIndex());
        Peer.check(body.getQueueData().size() == 3 && body.getQueueData().get(0).getTagsCode() == "TagA".hashCode(), body.getQueueData().toString());
    }

    private static void lists(Scene scene) throws Exception {
        scene.createTopic(1);
        var topics = scene.world.admin.fetchAllTopicList().getTopicList();
        Peer.check(topics.containsAll(List.of(scene.topic, "TBW102", "SCHEDULE_TOPIC_XXXX")), topics.toString());
        var ofCluster = scene.world.admin.fetchTopicsByCLuster(scene.world.cluster).getTopicList();
        Peer.check(ofCluster.contains(scene.topic), ofCluster.toString());
        var config = scene.world.admin.examineTopicConfig(scene.world.address, scene.topic);
        Peer.check(config.getReadQueueNums() == 1 && config.getPerm() == 6 && config.getTopicName().equals(scene.topic), config.toString());
        MessageExt stored = scene.world.producer.viewMessage(scene.topic, scene.send(scene.message("seen"), 0).getOffsetMsgId());
        Scene.await("who has it", () -> scene.world.admin.messageTrackDetail(stored).isEmpty());
    }
}
