import org.apache.rocketmq.client.consumer.DefaultMQPushConsumer;

/** What the broker tells of traffic, and of what waits for consumers. */
final class Statistics {
    private Statistics() {
    }

    static void addTo(Conformance all) {
        all.add("statistics-of-topics", Statistics::ofTopics);
        all.add("statistics-lag", Statistics::lag);
        all.add("statistics-of-the-broker", Statistics::ofTheBroker);
        all.add("statistics-of-all-groups", Statistics::ofAllGroups);
    }

    /** Counted by the second, sampled each ten: over a minute at first. */
    private static void ofTopics(Scene scene) throws Exception {
        scene.createTopic(1);
        Received received = new Received();
        scene.push("*", received);
        scene.send(0, 1, 1);
        received.awaitKeys(1);
        int[] sent = {1};
        Scene.await("both sums", () -> {
            scene.send(sent[0], ++sent[0], 1);
            Thread.sleep(500);
            return sum(scene, "TOPIC_PUT_NUMS", scene.topic) > 0 && sum(scene, "TOPIC_PUT_SIZE", scene.topic) > 0
                && sum(scene, "GROUP_GET_NUMS", scene.topic + "@" + scene.group) > 0;
        });
    }

    private static long sum(Scene scene, String name, String key) throws Exception {
        return scene.world.admin.viewBrokerStatsData(scene.world.address, name, key).getStatsMinute().getSum();
    }

    private static void lag(Scene scene) throws Exception {
        scene.createTopic(2);
        Received received = new Received();
        DefaultMQPushConsumer consumer = scene.push("*", received);
        scene.send(0, 10, 2);
        received.awaitKeys(10);
        Scene.await("no lag", () -> scene.world.admin.examineConsumeStats(scene.group, scene.topic).computeTotalDiff() == 0);
        Scene.await("the commits", () -> scene.committed(scene.group, 0) == 5 && scene.committed(scene.group, 1) == 5);
        consumer.shutdown();
        scene.send(10, 17, 2);
        Scene.await("a lag of seven", () -> {
            var stats = scene.world.admin.examineConsumeStats(scene.group, scene.topic);
            return stats.computeTotalDiff() == 7 && stats.getOffsetTable().size() == 2;
        });
        var offsets = scene.world.admin.examineTopicStats(scene.topic).getOffsetTable().values();
        Peer.check(offsets.stream().mapToLong(offset -> offset.getMaxOffset() - offset.getMinOffset()).sum() == 17, offsets.toString());
    }

    private static void ofTheBroker(Scene scene) throws Exception {
        scene.createTopic(1);
        scene.send(0, 3, 1);
        var table = scene.world.admin.fetchBrokerRuntimeStats(scene.world.address).getTable();
        for (String name : new String[] {"brokerVersionDesc", "bootTimestamp", "putTps", "msgPutTotalTodayNow", "commitLogMaxOffset", "sendThreadPoolQueueSize", "runtime"}) {
            Peer.check(table.get(name) != null, name + " of " + table);
        }
        Peer.check(Long.parseLong(table.get("commitLogMaxOffset")) > 0, table.toString());
    }

    private static void ofAllGroups(Scene scene) throws Exception {
        scene.createTopic(1);
        Received received = new Received();
        scene.push("*", received);
        scene.send(0, 3, 1);
        received.awaitKeys(3);
        Scene.await("the commit", () -> scene.committed(scene.group, 0) == 3);
        Scene.await("the group among all", () -> scene.world.admin.fetchConsumeStatsInBroker(scene.world.address, false, 10_000)
            .getConsumeStatsList().stream().anyMatch(one -> one.containsKey(scene.group)));
    }
}
