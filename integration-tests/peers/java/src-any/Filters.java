import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.TreeSet;
import java.util.stream.Collectors;
import org.apache.rocketmq.client.consumer.DefaultMQPullConsumer;
import org.apache.rocketmq.client.consumer.DefaultMQPushConsumer;
import org.apache.rocketmq.client.consumer.MessageSelector;
import org.apache.rocketmq.client.consumer.listener.ConsumeConcurrentlyStatus;
import org.apache.rocketmq.client.exception.MQClientException;
import org.apache.rocketmq.common.message.Message;

/** Filters by tag and by SQL92. */
@SuppressWarnings("deprecation")
final class Filters {
    private Filters() {
    }

    static void addTo(Conformance all) {
        all.add("filter-tags", Filters::tags);
        all.add("filter-tags-collide", Filters::tagsCollide);
        all.add("filter-sql", Filters::sql);
        all.add("filter-sql-refused", Filters::sqlRefused);
        all.add("filter-sql-push", Filters::sqlPush);
        all.add("filter-sql-wakes", Filters::sqlWakes);
        all.add("filter-changes", Filters::changes);
        all.add("filter-groups", Filters::groups);
        all.add("filter-members-differ", Filters::membersDiffer);
    }

    private static Message tagged(Scene scene, String tag, int number) {
        return new Message(scene.topic, tag, tag + number, "x".getBytes(StandardCharsets.UTF_8));
    }

    /** Members of one group that subscribe differently: what both want reaches them, and neither hears what it did not ask for. */
    private static void membersDiffer(Scene scene) throws Exception {
        scene.createTopic(2);
        Received first = new Received();
        Received second = new Received();
        DefaultMQPushConsumer one = scene.push("TagA || TagB", first);
        DefaultMQPushConsumer two = scene.push("TagB || TagC", second);
        scene.awaitQueues(one, 1);
        scene.awaitQueues(two, 1);
        for (int i = 0; i < 20; i++) {
            for (String tag : new String[] {"TagA", "TagB", "TagC"}) {
                scene.send(tagged(scene, tag, i), i % 2);
            }
        }
        Scene.await("what both want", () -> {
            Set<String> all = new TreeSet<>(first.distinct());
            all.addAll(second.distinct());
            return all.stream().filter(key -> key.startsWith("TagB")).count() == 20;
        });
        Peer.check(first.keys().stream().noneMatch(key -> key.startsWith("TagC")), first.keys().toString());
        Peer.check(second.keys().stream().noneMatch(key -> key.startsWith("TagA")), second.keys().toString());
    }

    private static void tags(Scene scene) throws Exception {
        scene.createTopic(2);
        Received received = new Received();
        scene.push("TagA || TagC", received);
        for (int i = 0; i < 10; i++) {
            for (String tag : new String[] {"TagA", "TagB", "TagC", ""}) {
                scene.send(tagged(scene, tag, i), i % 2);
            }
        }
        received.checkOnce(20);
        Peer.check(received.keys().stream().noneMatch(key -> key.startsWith("TagB")), received.keys().toString());
    }

    /** Two tags of one hash: the broker cannot tell them apart, the client can. */
    private static void tagsCollide(Scene scene) throws Exception {
        Peer.check("Aa".hashCode() == "BB".hashCode(), "hashes");
        scene.createTopic(1);
        Received received = new Received();
        scene.push("Aa", received);
        for (int i = 0; i < 5; i++) {
            scene.send(tagged(scene, "BB", i), 0);
            scene.send(tagged(scene, "Aa", i), 0);
        }
        received.checkOnce(5);
        Peer.check(received.keys().stream().allMatch(key -> key.startsWith("Aa")), received.keys().toString());
        Scene.await("the commit behind all", () -> scene.committed(scene.group, 0) == 10);
    }

    /** Keys 0 to 9; `number` is the key, `half` is n/2 as a decimal, `name` a word, `odd` a word that only odd ones have. */
    private static void sendForSql(Scene scene) throws Exception {
        String[] names = {"zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "it's"};
        for (int i = 0; i < 10; i++) {
            Message message = new Message(scene.topic, i < 5 ? "Low" : "High", "" + i, "x".getBytes(StandardCharsets.UTF_8));
            message.putUserProperty("number", "" + i);
            message.putUserProperty("half", "" + i / 2.0);
            message.putUserProperty("name", names[i]);
            if (i % 2 == 1) {
                message.putUserProperty("odd", "true");
            }
            scene.send(message, 0);
        }
        scene.awaitStored(0, 10);
    }

    private static Map<String, String> expressions() {
        Map<String, String> expected = new LinkedHashMap<>();
        expected.put("number = 3", "3");
        expected.put("number <> 3", "012456789");
        expected.put("number > 7", "89");
        expected.put("number >= 7", "789");
        expected.put("number < 2", "01");
        expected.put("number <= 2", "012");
        expected.put("7 < number", "89");
        expected.put("number > 7L", "89");
        expected.put("half > 3.5", "89");
        expected.put("half = 1", ""); // as integers, which they do not look like
        expected.put("half = 1.0", "2");
        expected.put("number > 6.5", "789");
        expected.put("number BETWEEN 3 AND 5", "345");
        expected.put("number NOT BETWEEN 3 AND 8", "0129");
        expected.put("name = 'two'", "2");
        expected.put("name <> 'two'", "013456789");
        expected.put("name = 'it''s'", "9");
        expected.put("name IN ('two', 'five')", "25");
        expected.put("name NOT IN ('two', 'five')", "01346789");
        expected.put("odd IS NULL", "02468");
        expected.put("odd IS NOT NULL", "13579");
        expected.put("missing = 1", "");
        expected.put("NOT (missing = 1)", "");
        expected.put("missing = 1 OR number = 1", "1");
        expected.put("missing = 1 AND number = 1", "");
        expected.put("odd = 'true' AND number > 4", "579");
        expected.put("odd = TRUE", "13579");
        expected.put("number = 1 OR number = 2 AND name = 'nothing'", "1");
        expected.put("(number = 1 OR number = 2) AND name = 'two'", "2");
        expected.put("not (number = 3)", "012456789");
        expected.put("TRUE", "0123456789");
        expected.put("FALSE", "");
        expected.put("name CONTAINS 'e'", "013578");
        expected.put("name NOT CONTAINS 'e'", "2469");
        expected.put("name STARTSWITH 't'", "23");
        expected.put("name NOT STARTSWITH 't'", "01456789");
        expected.put("name ENDSWITH 'e'", "135");
        expected.put("name NOT ENDSWITH 'e'", "0246789");
        expected.put("TAGS = 'Low'", "01234");
        expected.put("TAGS IS NOT NULL AND number < 3", "012");
        expected.put("number > -1", "0123456789");
        expected.put("number = +4", "4");
        expected.put("number > 3 -- and so on\n AND number < 5", "4");
        expected.put("number > 3 /* and so on */ AND number < 5", "4");
        expected.put("number between 3 and 5 or name in ('one')", "1345");
        return expected;
    }

    private static void sql(Scene scene) throws Exception {
        scene.createTopic(1);
        sendForSql(scene);
        DefaultMQPullConsumer consumer = scene.pull();
        consumer.fetchSubscribeMessageQueues(scene.topic);
        // A client asks for more than tags once a heartbeat told it that the broker is young enough.
        Scene.await("the broker's version", () -> keys(scene, consumer, "TRUE").length() == 10);
        StringBuilder wrong = new StringBuilder();
        expressions().forEach((expression, expected) -> {
            String found;
            try {
                found = keys(scene, consumer, expression);
            } catch (Exception e) {
                found = e.toString();
            }
            if (!found.equals(expected)) {
                wrong.append("\n").append(expression).append(": ").append(expected).append(" expected, ").append(found);
            }
        });
        Peer.check(wrong.length() == 0, wrong.toString());
    }

    private static String keys(Scene scene, DefaultMQPullConsumer consumer, String expression) throws Exception {
        return Scene.pullAll(consumer, scene.world.queue(scene.topic, 0), MessageSelector.bySql(expression)).stream()
            .map(Message::getKeys).collect(Collectors.joining());
    }

    private static void sqlRefused(Scene scene) throws Exception {
        scene.createTopic(1);
        List<String> accepted = new ArrayList<>();
        for (String expression : List.of("number >", "number = = 1", "(number = 1", "name IN (1, 2)", "name > 'a'", "number BETWEEN 5 AND 3", "'a' = ")) {
            DefaultMQPushConsumer consumer = scene.newPushConsumer(null);
            consumer.subscribe(scene.topic, MessageSelector.bySql(expression));
            consumer.setMessageListener(new Received());
            try {
                consumer.start();
            } catch (MQClientException e) {
                Peer.check(e.toString().contains("23") || e.toString().contains("SUBSCRIPTION_PARSE_FAILED") || e.getResponseCode() == 23, expression + ": " + e);
                continue;
            }
            accepted.add(expression);
        }
        Peer.check(accepted.isEmpty(), "accepted: " + accepted);
    }

    private static void sqlPush(Scene scene) throws Exception {
        scene.createTopic(1);
        Received received = new Received((message, context) -> {
            context.setDelayLevelWhenNextConsume(1);
            boolean fails = message.getKeys().equals("7") && message.getReconsumeTimes() == 0;
            return fails ? ConsumeConcurrentlyStatus.RECONSUME_LATER : ConsumeConcurrentlyStatus.CONSUME_SUCCESS;
        });
        DefaultMQPushConsumer consumer = scene.newPushConsumer(null);
        consumer.subscribe(scene.topic, MessageSelector.bySql("number > 4 AND odd IS NOT NULL"));
        consumer.setMessageListener(received);
        consumer.start();
        sendForSql(scene);
        received.awaitKeys(3);
        Scene.await("the retry", () -> received.timesOf("7").size() == 2);
        Set<String> keys = received.distinct();
        Peer.check(keys.equals(new TreeSet<>(List.of("5", "7", "9"))), keys.toString());
        Scene.await("the commit behind all", () -> scene.committed(scene.group, 0) == 10);
    }

    /** A waiting consumer is woken by what its expression lets through. */
    private static void sqlWakes(Scene scene) throws Exception {
        scene.createTopic(1);
        Received received = new Received();
        DefaultMQPushConsumer consumer = scene.newPushConsumer(null);
        consumer.subscribe(scene.topic, MessageSelector.bySql("number >= 0"));
        consumer.setMessageListener(received);
        consumer.start();
        long best = Long.MAX_VALUE;
        for (int i = 0; i < 5; i++) {
            Message message = scene.message("" + i);
            message.putUserProperty("number", "" + i);
            scene.send(message, 0);
            received.awaitKeys(i + 1);
            // Each is sent right after the one before came: one that nothing woke for waits for a look each five seconds.
            best = Math.min(best, System.currentTimeMillis() - received.all().get(i).getStoreTimestamp());
        }
        Peer.check(best < 2_000, "heard after " + best + " ms");
    }

    /** A group that comes back with another expression gets by that one. */
    private static void changes(Scene scene) throws Exception {
        scene.createTopic(1);
        Received first = new Received();
        DefaultMQPushConsumer one = scene.push("TagA", first);
        scene.send(tagged(scene, "TagA", 0), 0);
        first.awaitKeys(1);
        one.shutdown();
        Received second = new Received();
        scene.push("TagB", second);
        scene.send(tagged(scene, "TagA", 1), 0);
        scene.send(tagged(scene, "TagB", 1), 0);
        second.checkOnce(1);
        Peer.check(second.keys().equals(List.of("TagB1")), second.keys().toString());
    }

    /** Each group by its own expression, from one topic. */
    private static void groups(Scene scene) throws Exception {
        scene.createTopic(1);
        sendForSql(scene);
        for (String expression : List.of("number < 3", "number > 6")) {
            DefaultMQPushConsumer consumer = scene.world.quick(new DefaultMQPushConsumer(scene.group + expression.hashCode()), scene.group);
            consumer.setConsumeFromWhere(org.apache.rocketmq.common.consumer.ConsumeFromWhere.CONSUME_FROM_FIRST_OFFSET);
            scene.atEnd(consumer::shutdown);
            Received received = new Received();
            consumer.subscribe(scene.topic, MessageSelector.bySql(expression));
            consumer.setMessageListener(received);
            consumer.start();
            received.checkOnce(3);
            Peer.check(received.distinct().contains(expression.contains("<") ? "0" : "9"), received.keys().toString());
        }
    }
}
