import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.TreeSet;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.ConcurrentSkipListSet;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.atomic.AtomicReference;
import org.apache.rocketmq.client.QueryResult;
import org.apache.rocketmq.client.producer.DefaultMQProducer;
import org.apache.rocketmq.client.producer.SendCallback;
import org.apache.rocketmq.client.producer.SendResult;
import org.apache.rocketmq.client.producer.SendStatus;
import org.apache.rocketmq.common.message.Message;
import org.apache.rocketmq.common.message.MessageConst;
import org.apache.rocketmq.common.message.MessageExt;

/** Creates a topic, sends in every way, receives with and without tags, and looks messages up by key and id. */
final class SendReceive {
    private static final int EACH = 20;
    private final String namesrv;
    private final String topic;
    private final boolean fastPort;
    private final Set<String> sent = new TreeSet<>();
    private final Map<String, MessageExt> received = new ConcurrentHashMap<>();
    private final Set<String> tagged = new ConcurrentSkipListSet<>();
    private final Set<String> repeated = new ConcurrentSkipListSet<>();

    private SendReceive(Map<String, String> options) {
        namesrv = options.get("namesrv");
        topic = options.get("topic");
        fastPort = "fast".equals(options.get("port"));
    }

    static String run(Map<String, String> options) throws Exception {
        return new SendReceive(options).run();
    }

    private String run() throws Exception {
        Clients.createTopic(namesrv, topic, 4);
        var all = Clients.consumer(namesrv, topic + "-all", topic, "*", message -> {
            if (received.put(message.getKeys(), message) != null) {
                repeated.add(message.getKeys());
            }
        });
        var some = Clients.consumer(namesrv, topic + "-some", topic, "TagA || TagB", message -> tagged.add(message.getKeys()));
        DefaultMQProducer producer = Clients.producer(namesrv, topic + "-producer");
        producer.setVipChannelEnabled(fastPort);
        SendResult first = sendSync(producer);
        sendAsync(producer);
        sendOneway(producer);
        sendBatch(producer);
        sendLarge(producer);
        Peer.await("all messages", 60_000, () -> received.size() >= sent.size());
        Set<String> wanted = wantedByTag();
        Peer.await("all tagged messages", 60_000, () -> tagged.size() >= wanted.size());
        Thread.sleep(300); // what should not come would come now
        Peer.check(received.keySet().equals(sent), "received " + received.keySet() + " of " + sent);
        Peer.check(repeated.isEmpty(), "twice: " + repeated);
        Peer.check(tagged.equals(wanted), "by tag " + tagged + " instead of " + wanted);
        received.forEach(SendReceive::checkContent);
        lookUp(producer, first);
        producer.shutdown();
        all.shutdown();
        some.shutdown();
        return "messages=" + sent.size() + " tagged=" + wanted.size();
    }

    private Set<String> wantedByTag() {
        Set<String> wanted = new TreeSet<>(sent);
        wanted.removeIf(key -> !tag(key).equals("TagA") && !tag(key).equals("TagB"));
        return wanted;
    }

    private static String tag(String key) {
        return "Tag" + "ABC".charAt(Math.floorMod(key.hashCode(), 3));
    }

    private static byte[] body(String key) {
        return ("body of " + key + " \u4e2d\u6587 ").repeat(key.startsWith("large") ? 1000 : 1).getBytes(StandardCharsets.UTF_8);
    }

    private Message message(String key) {
        sent.add(key);
        Message message = new Message(topic, tag(key), key, body(key));
        message.putUserProperty("user", "property of " + key);
        message.setFlag(7);
        return message;
    }

    private static void checkContent(String key, MessageExt message) {
        Peer.check(Arrays.equals(message.getBody(), body(key)), "body of " + key);
        Peer.check(tag(key).equals(message.getTags()), "tags of " + key);
        Peer.check(("property of " + key).equals(message.getUserProperty("user")), "property of " + key);
        Peer.check(message.getFlag() == 7, "flag of " + key);
        Peer.check(message.getReconsumeTimes() == 0, "times of " + key);
        Peer.check(message.getBornTimestamp() <= message.getStoreTimestamp() + 1000, "times of " + key);
        Peer.check(key.startsWith("batch") || "DefaultCluster".equals(message.getProperty(MessageConst.PROPERTY_CLUSTER)), "cluster of " + key);
    }

    private static SendResult checkSent(SendResult result) {
        Peer.check(result.getSendStatus() == SendStatus.SEND_OK, result.toString());
        Peer.check(result.getMsgId() != null && result.getOffsetMsgId() != null, result.toString());
        return result;
    }

    private SendResult sendSync(DefaultMQProducer producer) throws Exception {
        SendResult last = null;
        for (int i = 0; i < EACH; i++) {
            last = checkSent(producer.send(message("sync" + i)));
        }
        return last;
    }

    private void sendAsync(DefaultMQProducer producer) throws Exception {
        CountDownLatch open = new CountDownLatch(EACH);
        AtomicReference<Throwable> failure = new AtomicReference<>();
        for (int i = 0; i < EACH; i++) {
            producer.send(message("async" + i), new SendCallback() {
                @Override
                public void onSuccess(SendResult result) {
                    open.countDown();
                }

                @Override
                public void onException(Throwable e) {
                    failure.set(e);
                    open.countDown();
                }
            });
        }
        Peer.check(open.await(60, TimeUnit.SECONDS), "async sends unanswered: " + open.getCount());
        Peer.check(failure.get() == null, "async send: " + failure.get());
    }

    private void sendOneway(DefaultMQProducer producer) throws Exception {
        for (int i = 0; i < EACH; i++) {
            producer.sendOneway(message("oneway" + i));
        }
    }

    private void sendBatch(DefaultMQProducer producer) throws Exception {
        List<Message> batch = new ArrayList<>();
        for (int i = 0; i < EACH; i++) {
            batch.add(message("batch" + i));
        }
        SendResult result = checkSent(producer.send(batch));
        Peer.check(result.getOffsetMsgId().split(",").length == EACH, "ids of the batch: " + result);
    }

    private void sendLarge(DefaultMQProducer producer) throws Exception {
        for (int i = 0; i < 3; i++) {
            checkSent(producer.send(message("large" + i)));
        }
        Message large = message("largest");
        large.setBody(body("largest"));
        checkSent(producer.send(large));
    }

    /** The index is written behind the append, so a key may take a moment to be found. */
    private void lookUp(DefaultMQProducer producer, SendResult result) throws Exception {
        String key = "sync" + (EACH - 1);
        long now = System.currentTimeMillis();
        AtomicReference<QueryResult> found = new AtomicReference<>();
        Peer.await("the key " + key, 60_000, () -> {
            try {
                found.set(producer.queryMessage(topic, key, 10, now - 60_000, now + 60_000));
                return true;
            } catch (Exception e) {
                return false;
            }
        });
        Peer.check(found.get().getMessageList().size() == 1, "by key: " + found.get());
        MessageExt byId = producer.viewMessage(topic, result.getOffsetMsgId());
        Peer.check(key.equals(byId.getKeys()), "by offset id: " + byId);
        MessageExt byUniqueId = producer.viewMessage(topic, result.getMsgId());
        Peer.check(key.equals(byUniqueId.getKeys()), "by unique id: " + byUniqueId);
    }
}
