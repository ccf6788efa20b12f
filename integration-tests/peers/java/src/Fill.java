import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.Random;
import java.util.Set;
import org.apache.rocketmq.client.producer.LocalTransactionState;
import org.apache.rocketmq.client.producer.DefaultMQProducer;
import org.apache.rocketmq.client.producer.SendResult;
import org.apache.rocketmq.client.producer.SendStatus;
import org.apache.rocketmq.client.producer.TransactionListener;
import org.apache.rocketmq.client.producer.TransactionMQProducer;
import org.apache.rocketmq.common.TopicConfig;
import org.apache.rocketmq.common.message.Message;
import org.apache.rocketmq.common.message.MessageDecoder;
import org.apache.rocketmq.common.message.MessageExt;
import org.apache.rocketmq.common.message.MessageQueue;
import org.apache.rocketmq.remoting.protocol.RemotingCommand;
import org.apache.rocketmq.remoting.protocol.RequestCode;
import org.apache.rocketmq.remoting.protocol.ResponseCode;
import org.apache.rocketmq.remoting.protocol.header.ConsumerSendMsgBackRequestHeader;
import org.apache.rocketmq.remoting.protocol.header.GetMaxOffsetRequestHeader;
import org.apache.rocketmq.remoting.protocol.subscription.SubscriptionGroupConfig;
import org.apache.rocketmq.tools.admin.DefaultMQAdminExt;

/**
 * Messages of every kind, for a directory that another broker will open. Each run adds to the topics of the runs
 * before it, and leaves one topic deleted. The brokers' delays are 1 s, one that ends after the next start, 1 h.
 */
final class Fill {
    static final int DELIVERED = 1;
    static final int WAITING = 2;
    static final int KEPT = 3;
    private static final String BROKER = "broker-a";
    private static final Map<String, Integer> TOPICS = Map.of("One", 1, "Four", 4, "Eight", 8, "Delayed", 2, "Work", 1, "Tx", 2);
    private final String namesrv;
    private final String address;
    private final String run;
    private final DefaultMQAdminExt admin;
    private final DefaultMQProducer producer;
    private final Wire wire;
    private final Random random;
    private final List<String> acknowledged = new ArrayList<>();

    private Fill(String namesrv, String address, String run) throws Exception {
        this.namesrv = namesrv;
        this.address = address;
        this.run = run;
        random = new Random(run.hashCode());
        admin = Clients.admin(namesrv);
        producer = Clients.producer(namesrv, "fill-" + run);
        wire = new Wire(address);
    }

    /** What was acknowledged, a message a line: topic, queue, queue offset. */
    static String run(String namesrv, String address, String run, boolean transactions, boolean waiting) throws Exception {
        Fill fill = new Fill(namesrv, address, run);
        try {
            fill.everything(transactions);
            fill.delayed(waiting);
        } finally {
            fill.admin.shutdown();
            fill.producer.shutdown();
            fill.wire.close();
        }
        return String.join("\n", fill.acknowledged);
    }

    private void everything(boolean transactions) throws Exception {
        for (var topic : TOPICS.entrySet()) {
            createTopic(topic.getKey(), topic.getValue());
        }
        createTopic("Gone-" + run, 2);
        plain();
        batches();
        if (transactions) {
            transactions();
        }
        Message gone = new Message("Gone-" + run, "TagA", "gone", "soon gone".getBytes(StandardCharsets.UTF_8));
        checked(() -> producer.send(gone, new MessageQueue("Gone-" + run, BROKER, 0)));
        delete("Gone-" + run);
        again();
        consumed();
        returned();
    }

    private void createTopic(String topic, int queues) throws Exception {
        admin.createAndUpdateTopicConfig(address, new TopicConfig(topic, queues, queues, 6));
        Peer.await("the route of " + topic, 60_000, () -> {
            try {
                return address.equals(admin.examineTopicRouteInfo(topic).getBrokerDatas().get(0).selectBrokerAddr());
            } catch (Exception e) {
                return false;
            }
        });
    }

    private static SendResult checked(Clients.Send<? extends SendResult> send) throws Exception {
        SendResult result = Clients.untilTaken(send);
        Peer.check(result.getSendStatus() == SendStatus.SEND_OK, result.toString());
        return result;
    }

    private void send(String topic, int queue, Message message) throws Exception {
        SendResult result = checked(() -> producer.send(message, new MessageQueue(topic, BROKER, queue)));
        acknowledged.add(topic + " " + queue + " " + result.getQueueOffset());
    }

    private Message message(String topic, String name, byte[] body) {
        Message message = new Message(topic, "Tag" + name.length(), run + "-" + name + " " + run + "-all both", body);
        message.setFlag(name.hashCode());
        message.putUserProperty("of", name);
        return message;
    }

    /** Small and large ones, some that the client compresses, with every byte a body can have and odd properties. */
    private void plain() throws Exception {
        byte[] bytes = new byte[256];
        for (int i = 0; i < bytes.length; i++) {
            bytes[i] = (byte) i;
        }
        for (int i = 0; i < 70; i++) {
            Message message = message("One", "small" + i, ("body " + i).getBytes(StandardCharsets.UTF_8));
            message.putUserProperty("odd", "\u4e2d\u6587 \ud83d\ude00 = : , ; \t \n \" \\ {} \u00ff");
            message.setBuyerId("buyer" + i);
            message.setWaitStoreMsgOK(i % 2 == 0);
            send("One", 0, message);
        }
        for (int i = 0; i < 40; i++) {
            byte[] body = new byte[i % 4 == 0 ? 1 : 3000];
            random.nextBytes(body);
            send("Eight", i % 8, message("Eight", "random" + i, body));
        }
        send("Eight", 7, message("Eight", "bytes", bytes));
        Message bare = new Message("Eight", "neither tag nor key".getBytes(StandardCharsets.UTF_8));
        send("Eight", 6, bare);
        for (int i = 0; i < 4; i++) {
            send("Four", i, message("Four", "compressed" + i, ("text " + i + " ").repeat(2000).getBytes(StandardCharsets.UTF_8)));
        }
    }

    private void batches() throws Exception {
        for (int queue = 0; queue < 4; queue++) {
            List<Message> batch = new ArrayList<>();
            for (int i = 0; i < 15; i++) {
                batch.add(message("Four", "batch" + queue + "-" + i, new byte[i + 1]));
            }
            MessageQueue target = new MessageQueue("Four", BROKER, queue);
            SendResult result = checked(() -> producer.send(batch, target));
            for (int i = 0; i < batch.size(); i++) {
                acknowledged.add("Four " + queue + " " + (result.getQueueOffset() + i));
            }
        }
    }

    /** A topic that every run deletes and makes again: the log holds more of it than belongs to it. */
    private void again() throws Exception {
        createTopic("Again", 1);
        delete("Again");
        createTopic("Again", 1);
        for (int i = 0; i < 3; i++) {
            // Java finds messages of before the deletion by key, ours does not: so no key is used again.
            send("Again", 0, new Message("Again", "TagA", run + "-again" + i, new byte[] {1}));
        }
    }

    private void delete(String topic) throws Exception {
        admin.deleteTopicInBroker(Set.of(address), topic);
        admin.deleteTopicInNameServer(Set.of(namesrv), topic);
    }

    /** One committed, one rolled back, one that stays half. */
    private void transactions() throws Exception {
        TransactionMQProducer transactions = new TransactionMQProducer("fill-transactions");
        transactions.setNamesrvAddr(namesrv);
        transactions.setInstanceName("transactions-" + run);
        transactions.setTransactionListener(new TransactionListener() {
            @Override
            public LocalTransactionState executeLocalTransaction(Message message, Object state) {
                return (LocalTransactionState) state;
            }

            @Override
            public LocalTransactionState checkLocalTransaction(MessageExt message) {
                return LocalTransactionState.UNKNOW;
            }
        });
        transactions.start();
        long before = maxOffset("Tx", 0) + maxOffset("Tx", 1);
        long operations = maxOffset("RMQ_SYS_TRANS_OP_HALF_TOPIC", 0);
        for (LocalTransactionState state : LocalTransactionState.values()) {
            checked(() -> transactions.sendMessageInTransaction(message("Tx", state.name(), state.name().getBytes(StandardCharsets.UTF_8)), state));
        }
        Peer.await("the committed transaction", 60_000, () -> maxOffset("Tx", 0) + maxOffset("Tx", 1) >= before + 1);
        Peer.await("the ends of transactions", 60_000, () -> maxOffset("RMQ_SYS_TRANS_OP_HALF_TOPIC", 0) > operations);
        transactions.shutdown();
    }

    /** Offsets of two groups, one of them with settings of its own. */
    private void consumed() throws Exception {
        SubscriptionGroupConfig group = new SubscriptionGroupConfig();
        group.setGroupName("group-" + run);
        group.setRetryMaxTimes(3);
        group.setConsumeBroadcastEnable(false);
        admin.createAndUpdateSubscriptionGroupConfig(address, group);
        SubscriptionGroupConfig workers = new SubscriptionGroupConfig();
        workers.setGroupName("workers");
        admin.createAndUpdateSubscriptionGroupConfig(address, workers);
        for (int queue = 0; queue < 4; queue++) {
            admin.updateConsumeOffset(address, "group-" + run, new MessageQueue("Four", BROKER, queue), queue * 3);
        }
        admin.updateConsumeOffset(address, "workers", new MessageQueue("One", BROKER, 0), maxOffset("One", 0));
    }

    /** A message that comes again, and one that becomes a dead letter. */
    private void returned() throws Exception {
        long retried = maxOffset("%RETRY%workers", 0);
        long dead = maxOffset("%DLQ%workers", 0);
        for (int level : new int[] {DELIVERED, -1}) {
            SendResult sent = checked(() -> producer.send(message("Work", "returned" + level, new byte[] {1}), new MessageQueue("Work", BROKER, 0)));
            acknowledged.add("Work 0 " + sent.getQueueOffset());
            ConsumerSendMsgBackRequestHeader header = new ConsumerSendMsgBackRequestHeader();
            header.setGroup("workers");
            header.setOriginTopic("Work");
            header.setOffset(MessageDecoder.decodeMessageId(sent.getOffsetMsgId()).getOffset());
            header.setDelayLevel(level);
            header.setOriginMsgId(sent.getMsgId());
            header.setMaxReconsumeTimes(16);
            RemotingCommand answer = wire.call(RequestCode.CONSUMER_SEND_MSG_BACK, header);
            while (answer.getCode() == ResponseCode.SYSTEM_BUSY) {
                answer = wire.call(RequestCode.CONSUMER_SEND_MSG_BACK, header);
            }
            Peer.check(answer.getCode() == 0, answer.toString());
        }
        Peer.await("the returned message", 60_000, () -> maxOffset("%RETRY%workers", 0) >= retried + 1);
        Peer.await("the dead letter", 60_000, () -> maxOffset("%DLQ%workers", 0) >= dead + 1);
    }

    /** Some are delivered before the end of the run. Those that wait are the last that a run adds: the next broker delivers them. */
    private void delayed(boolean waiting) throws Exception {
        long before = delivered();
        for (int level : new int[] {KEPT, DELIVERED, DELIVERED, DELIVERED}) {
            sendDelayed(level);
        }
        // What an earlier run left may come meanwhile too.
        Peer.await("the delayed messages", 60_000, () -> delivered() >= before + 3);
        if (waiting) {
            sendDelayed(WAITING);
            sendDelayed(WAITING);
        }
    }

    private void sendDelayed(int level) throws Exception {
        Message message = message("Delayed", "delayed" + level, ("by level " + level).getBytes(StandardCharsets.UTF_8));
        message.setDelayTimeLevel(level);
        checked(() -> producer.send(message, new MessageQueue("Delayed", BROKER, level % 2)));
    }

    private long delivered() {
        return maxOffset("Delayed", 0) + maxOffset("Delayed", 1);
    }

    private long maxOffset(String topic, int queue) {
        return maxOffset(wire, topic, queue);
    }

    static long maxOffset(Wire wire, String topic, int queue) {
        GetMaxOffsetRequestHeader header = new GetMaxOffsetRequestHeader();
        header.setTopic(topic);
        header.setQueueId(queue);
        try {
            String offset = wire.call(RequestCode.GET_MAX_OFFSET, header).getExtFields().get("offset");
            return offset == null ? 0 : Long.parseLong(offset);
        } catch (Exception e) {
            throw new IllegalStateException(e);
        }
    }
}
