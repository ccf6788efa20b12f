import java.util.Map;
import java.util.Set;
import java.util.concurrent.ConcurrentHashMap;
import org.apache.rocketmq.client.consumer.DefaultMQPushConsumer;
import org.apache.rocketmq.client.exception.MQClientException;
import org.apache.rocketmq.client.producer.DefaultMQProducer;
import org.apache.rocketmq.client.producer.LocalTransactionState;
import org.apache.rocketmq.client.producer.TransactionListener;
import org.apache.rocketmq.client.producer.TransactionMQProducer;
import org.apache.rocketmq.common.message.Message;
import org.apache.rocketmq.common.message.MessageExt;

/**
 * Sends every message of a topic back to another: the same body, tag, keys, flag, and properties whose names begin with
 * `u-`, and one property more that tells what was received. What came delayed, in a transaction or traced goes back so.
 */
final class Mirror {
    private static final String USER_PREFIX = "u-";

    private Mirror() {
    }

    static String run(Map<String, String> options) throws Exception {
        String back = options.get("back");
        int count = Integer.parseInt(options.get("count"));
        DefaultMQProducer producer = Clients.producer(options.get("namesrv"), back + "-producer");
        DefaultMQProducer traced = started(new DefaultMQProducer(back + "-traced", true, null), options.get("namesrv"));
        TransactionMQProducer transactions = new TransactionMQProducer(back + "-transactions");
        transactions.setTransactionListener(new Commits());
        started(transactions, options.get("namesrv"));
        Set<String> seen = ConcurrentHashMap.newKeySet();
        Set<String> tracedIds = ConcurrentHashMap.newKeySet();
        DefaultMQPushConsumer consumer = Clients.consumer(options.get("namesrv"), back + "-consumer", options.get("topic"), "*", message -> {
            try {
                Message answer = mirrored(back, message);
                String kind = message.getKeys().split(" ")[0];
                if (kind.equals("level")) {
                    answer.setDelayTimeLevel(1);
                }
                if (kind.equals("committed")) {
                    Clients.untilTaken(() -> transactions.sendMessageInTransaction(answer, null));
                } else if (kind.equals("traced")) {
                    tracedIds.add(Clients.untilTaken(() -> traced.send(answer)).getMsgId());
                } else {
                    Clients.untilTaken(() -> producer.send(answer));
                }
                seen.add(message.getMsgId());
            } catch (Exception e) {
                throw new IllegalStateException(e); // it comes again
            }
        });
        Peer.await(count + " messages", 90_000, () -> seen.size() >= count);
        consumer.shutdown();
        // A producer that shuts down sends its traces without waiting for their answers, and loses some.
        for (String id : tracedIds) {
            Peer.await("the trace of " + id, 60_000, () -> isTraced(producer, id));
        }
        producer.shutdown();
        transactions.shutdown();
        traced.shutdown();
        return "mirrored=" + seen.size();
    }

    private static boolean isTraced(DefaultMQProducer producer, String id) {
        try {
            long now = System.currentTimeMillis();
            return !producer.queryMessage("RMQ_SYS_TRACE_TOPIC", id, 1, now - 600_000, now + 60_000).getMessageList().isEmpty();
        } catch (MQClientException notYet) {
            return false; // the topic or the message is not there
        } catch (InterruptedException e) {
            throw new IllegalStateException(e);
        }
    }

    private static DefaultMQProducer started(DefaultMQProducer producer, String namesrv) throws MQClientException {
        producer.setNamesrvAddr(namesrv);
        producer.setInstanceName(producer.getProducerGroup());
        producer.setSendMsgTimeout(10_000);
        producer.start();
        return producer;
    }

    private static final class Commits implements TransactionListener {
        @Override
        public LocalTransactionState executeLocalTransaction(Message message, Object argument) {
            return LocalTransactionState.COMMIT_MESSAGE;
        }

        @Override
        public LocalTransactionState checkLocalTransaction(MessageExt message) {
            return LocalTransactionState.COMMIT_MESSAGE;
        }
    }

    private static Message mirrored(String topic, MessageExt message) {
        Message answer = new Message(topic, message.getTags(), message.getKeys(), message.getFlag(), message.getBody(), true);
        message.getProperties().forEach((name, value) -> {
            if (name.startsWith(USER_PREFIX)) {
                answer.putUserProperty(name, value);
            }
        });
        answer.putUserProperty("seen", String.join("|", message.getMsgId(), String.valueOf(message.getTags()),
            String.valueOf(message.getKeys()), String.valueOf(message.getFlag()), String.valueOf(message.getProperty("__SHARDINGKEY")),
            String.valueOf(message.getBody().length)));
        return answer;
    }
}
