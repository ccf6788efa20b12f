import java.util.Map;
import java.util.Set;
import java.util.concurrent.ConcurrentHashMap;
import java.util.function.Function;
import org.apache.rocketmq.client.consumer.DefaultMQPullConsumer;
import org.apache.rocketmq.client.consumer.MessageSelector;
import org.apache.rocketmq.client.producer.LocalTransactionState;
import org.apache.rocketmq.client.producer.TransactionListener;
import org.apache.rocketmq.client.producer.TransactionMQProducer;
import org.apache.rocketmq.client.producer.TransactionSendResult;
import org.apache.rocketmq.common.message.Message;
import org.apache.rocketmq.common.message.MessageDecoder;
import org.apache.rocketmq.common.message.MessageExt;
import org.apache.rocketmq.remoting.protocol.RemotingCommand;

/** Transactions, which end at once or after the broker asked. */
@SuppressWarnings("deprecation")
final class Transactions {
    private Transactions() {
    }

    static void addTo(Conformance all) {
        all.add("transaction-never-told", Transactions::neverTold);
        all.add("transaction-asked-once-more", Transactions::askedOnceMore);
        all.add("transaction-asked-of-another", Transactions::askedOfAnother);
        all.add("transaction-ended-at-once", Transactions::endedAtOnce);
        all.add("transaction-immunity", Transactions::immunity);
        all.add("transaction-refused", Transactions::refused);
    }

    /** Answers by key, and counts how often the broker asked. */
    private static final class Listener implements TransactionListener {
        final Map<String, Integer> asked = new ConcurrentHashMap<>();
        private final Function<String, LocalTransactionState> first;
        private final Function<String, LocalTransactionState> later;

        Listener(Function<String, LocalTransactionState> first, Function<String, LocalTransactionState> later) {
            this.first = first;
            this.later = later;
        }

        @Override
        public LocalTransactionState executeLocalTransaction(Message message, Object argument) {
            return first.apply(message.getKeys());
        }

        @Override
        public LocalTransactionState checkLocalTransaction(MessageExt message) {
            asked.merge(message.getKeys(), 1, Integer::sum);
            return later.apply(message.getKeys());
        }

        int asked(String key) {
            return asked.getOrDefault(key, 0);
        }
    }

    private static TransactionMQProducer producer(Scene scene, Listener listener) throws Exception {
        TransactionMQProducer producer = scene.world.quick(new TransactionMQProducer(scene.group + "-producer"), scene.group);
        producer.setSendMsgTimeout(10_000);
        producer.setTransactionListener(listener);
        producer.start();
        scene.atEnd(producer::shutdown);
        return producer;
    }

    private static TransactionSendResult send(TransactionMQProducer producer, Message message) throws Exception {
        TransactionSendResult result = Clients.untilTaken(() -> producer.sendMessageInTransaction(message, null));
        Scene.checked(result);
        return result;
    }

    private static LocalTransactionState byName(String key) {
        return LocalTransactionState.valueOf(key.substring(0, key.indexOf('-')));
    }

    private static void endedAtOnce(Scene scene) throws Exception {
        scene.createTopic(2);
        Received received = new Received();
        scene.push("TagA", received);
        Listener listener = new Listener(Transactions::byName, key -> LocalTransactionState.UNKNOW);
        TransactionMQProducer producer = producer(scene, listener);
        for (int i = 0; i < 6; i++) {
            String key = (i % 2 == 0 ? "COMMIT_MESSAGE-" : "ROLLBACK_MESSAGE-") + i;
            Message message = scene.message(key);
            message.putUserProperty("user", "a property");
            TransactionSendResult result = send(producer, message);
            Peer.check(result.getTransactionId() != null && result.getTransactionId().equals(result.getMsgId()), result.toString());
        }
        received.checkOnce(3);
        for (MessageExt message : received.all()) {
            Peer.check(message.getKeys().startsWith("COMMIT") && "a property".equals(message.getUserProperty("user")), message.toString());
            Peer.check(new String(message.getBody()).equals("body of " + message.getKeys()), message.toString());
            Peer.check(message.getPreparedTransactionOffset() > 0 && message.getTransactionId() != null, message.toString());
        }
        Thread.sleep(5_000);
        Peer.check(received.size() == 3 && listener.asked.isEmpty(), "asked about what has ended: " + listener.asked);
    }

    private static void askedOnceMore(Scene scene) throws Exception {
        scene.createTopic(1);
        Received received = new Received();
        scene.push("*", received);
        Listener listener = new Listener(key -> LocalTransactionState.UNKNOW, Transactions::byName);
        TransactionMQProducer producer = producer(scene, listener);
        send(producer, scene.message("COMMIT_MESSAGE-0"));
        send(producer, scene.message("ROLLBACK_MESSAGE-1"));
        Scene.await("both asked about", () -> listener.asked("COMMIT_MESSAGE-0") > 0 && listener.asked("ROLLBACK_MESSAGE-1") > 0);
        received.awaitKeys(1);
        Thread.sleep(4_000);
        // One that is asked about again before its answer came may be committed twice by the Java broker.
        Peer.check(received.distinct().equals(Set.of("COMMIT_MESSAGE-0")), received.keys().toString());
    }

    /** The producer that sent is gone: another of its group is asked. */
    private static void askedOfAnother(Scene scene) throws Exception {
        scene.createTopic(1);
        Received received = new Received();
        scene.push("*", received);
        TransactionMQProducer one = producer(scene, new Listener(key -> LocalTransactionState.UNKNOW, key -> LocalTransactionState.UNKNOW));
        send(one, scene.message("half"));
        one.shutdown();
        Listener listener = new Listener(key -> LocalTransactionState.UNKNOW, key -> LocalTransactionState.COMMIT_MESSAGE);
        TransactionMQProducer two = producer(scene, listener);
        // A producer that never sent knows no broker, and tells none of itself.
        Scene.checked(two.send(scene.message("plain")));
        received.awaitKeys(2);
        Peer.check(listener.asked("half") > 0, "asked: " + listener.asked);
    }

    /** Asked about as often as the broker has been told, then kept in a topic of its own. */
    private static void neverTold(Scene scene) throws Exception {
        scene.createTopic(1);
        Received received = new Received();
        scene.push("*", received);
        Listener listener = new Listener(key -> LocalTransactionState.UNKNOW, key -> LocalTransactionState.UNKNOW);
        TransactionMQProducer producer = producer(scene, listener);
        send(producer, scene.message("open"));
        DefaultMQPullConsumer reader = scene.pull();
        Scene.await("the message among those that were given up", () -> Scene
            .pullAll(reader, scene.world.queue("TRANS_CHECK_MAX_TIME_TOPIC", 0), MessageSelector.byTag("*")).stream()
            .anyMatch(message -> scene.topic.equals(message.getProperty("REAL_TOPIC"))));
        // The producer answers when it comes to it, which may be after the broker gave up.
        Scene.await("three questions", () -> listener.asked("open") >= 3);
        Thread.sleep(4_000);
        Peer.check(listener.asked("open") <= 5 && received.size() == 0, "asked " + listener.asked + " received " + received.keys());
    }

    /** A message may ask for more time before it is asked about. */
    private static void immunity(Scene scene) throws Exception {
        scene.createTopic(1);
        Received received = new Received();
        scene.push("*", received);
        Listener listener = new Listener(key -> LocalTransactionState.UNKNOW, key -> LocalTransactionState.COMMIT_MESSAGE);
        TransactionMQProducer producer = producer(scene, listener);
        Message patient = scene.message("patient");
        patient.putUserProperty("CHECK_IMMUNITY_TIME_IN_SECONDS", "5");
        send(producer, patient);
        send(producer, scene.message("plain"));
        received.awaitKeys(1);
        received.awaitKeys(2);
        long delay = received.timesOf("patient").get(0) - bornOf(received, "patient");
        Peer.check(delay >= 5_000, "asked after " + delay);
    }

    private static long bornOf(Received received, String key) {
        return received.all().stream().filter(message -> message.getKeys().equals(key)).findFirst().orElseThrow().getBornTimestamp();
    }

    /** An end that names another message, or another group, changes nothing. */
    private static void refused(Scene scene) throws Exception {
        scene.createTopic(1);
        Received received = new Received();
        scene.push("*", received);
        var half = scene.world.callWith("half".getBytes(), 10, "producerGroup", scene.group, "topic", scene.topic, "defaultTopic", "TBW102",
            "defaultTopicQueueNums", "4", "queueId", "0", "sysFlag", "4", "bornTimestamp", "" + System.currentTimeMillis(), "flag", "0",
            "properties", "TRAN_MSG\u0001true\u0002PGROUP\u0001" + scene.group + "\u0002KEYS\u0001half\u0002UNIQ_KEY\u0001half-id\u0002",
            "reconsumeTimes", "0", "unitMode", "false", "batch", "false");
        World.checkCode(0, half);
        long offset = MessageDecoder.decodeMessageId(World.field(half, "msgId")).getOffset();
        long queueOffset = Long.parseLong(World.field(half, "queueOffset"));
        World.checkCode(1, end(scene, "another-group", queueOffset, offset));
        World.checkCode(1, end(scene, scene.group, queueOffset + 1, offset));
        Thread.sleep(300);
        Peer.check(received.size() == 0, received.keys().toString());
        World.checkCode(0, end(scene, scene.group, queueOffset, offset));
        received.checkOnce(1);
    }

    private static RemotingCommand end(Scene scene, String group, long queueOffset, long offset) throws Exception {
        return scene.world.call(37, "topic", scene.topic, "producerGroup", group, "tranStateTableOffset", "" + queueOffset, "commitLogOffset", "" + offset,
            "commitOrRollback", "8", "fromTransactionCheck", "false", "msgId", "half-id", "transactionId", "half-id");
    }
}
