import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.Collections;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;
import java.util.concurrent.atomic.AtomicInteger;
import org.apache.rocketmq.client.consumer.DefaultLitePullConsumer;
import org.apache.rocketmq.client.consumer.DefaultMQPushConsumer;
import org.apache.rocketmq.client.consumer.listener.ConsumeConcurrentlyStatus;
import org.apache.rocketmq.client.consumer.listener.ConsumeOrderlyStatus;
import org.apache.rocketmq.client.consumer.listener.MessageListener;
import org.apache.rocketmq.client.consumer.listener.MessageListenerConcurrently;
import org.apache.rocketmq.client.consumer.listener.MessageListenerOrderly;
import org.apache.rocketmq.client.producer.DefaultMQProducer;
import org.apache.rocketmq.common.consumer.ConsumeFromWhere;
import org.apache.rocketmq.common.message.Message;
import org.apache.rocketmq.common.message.MessageExt;
import org.apache.rocketmq.common.message.MessageQueue;
import org.apache.rocketmq.remoting.protocol.heartbeat.MessageModel;
import org.apache.rocketmq.tools.admin.DefaultMQAdminExt;

/** The other ways to consume: in order, again after a failure, dead letters, by broadcast, by pulling, after a reset. */
final class Features {
    private static final int COUNT = 40;
    private final String namesrv;
    private final DefaultMQProducer producer;

    private Features(String namesrv) throws Exception {
        this.namesrv = namesrv;
        producer = Clients.producer(namesrv, "features-producer");
    }

    private interface Check {
        void run() throws Exception;
    }

    static String run(Map<String, String> options) throws Exception {
        Features features = new Features(options.get("namesrv"));
        Map<String, Check> checks = Map.of("orderly", features::orderly, "retry", features::retry, "dead letter", features::deadLetter,
            "broadcast", features::broadcast, "lite pull", features::litePull, "reset", features::reset);
        var pool = Executors.newCachedThreadPool();
        Map<String, Future<?>> running = new ConcurrentHashMap<>();
        checks.forEach((name, check) -> running.put(name, pool.submit(() -> {
            check.run();
            return null;
        })));
        List<String> failures = new ArrayList<>();
        for (var entry : running.entrySet()) {
            try {
                entry.getValue().get();
            } catch (Exception e) {
                e.printStackTrace();
                failures.add(entry.getKey() + ": " + e.getCause());
            }
        }
        Peer.check(failures.isEmpty(), failures.toString());
        return "features=" + checks.keySet();
    }

    private DefaultMQPushConsumer consumer(String topic, MessageModel model, MessageListener listener) throws Exception {
        DefaultMQPushConsumer consumer = new DefaultMQPushConsumer(topic + "-group");
        consumer.setNamesrvAddr(namesrv);
        consumer.setInstanceName(topic + "-" + System.nanoTime());
        consumer.setConsumeFromWhere(ConsumeFromWhere.CONSUME_FROM_FIRST_OFFSET);
        consumer.setMessageModel(model);
        consumer.subscribe(topic, "*");
        if (listener instanceof MessageListenerOrderly) {
            consumer.setMessageListener((MessageListenerOrderly) listener);
        } else {
            consumer.setMessageListener((MessageListenerConcurrently) listener);
        }
        return consumer;
    }

    private static MessageListenerConcurrently into(Set<String> keys) {
        return (messages, context) -> {
            messages.forEach(message -> keys.add(message.getKeys()));
            return ConsumeConcurrentlyStatus.CONSUME_SUCCESS;
        };
    }

    private void send(String topic, int count) throws Exception {
        for (int i = 0; i < count; i++) {
            producer.send(new Message(topic, "", "" + i, ("" + i).getBytes(StandardCharsets.UTF_8)),
                (queues, message, number) -> queues.get((Integer) number % queues.size()), i);
        }
    }

    private void orderly() throws Exception {
        Clients.createTopic(namesrv, "Orderly", 4);
        Map<Integer, List<Integer>> byQueue = new ConcurrentHashMap<>();
        AtomicInteger received = new AtomicInteger();
        DefaultMQPushConsumer consumer = consumer("Orderly", MessageModel.CLUSTERING, (MessageListenerOrderly) (messages, context) -> {
            for (MessageExt message : messages) {
                byQueue.computeIfAbsent(message.getQueueId(), id -> Collections.synchronizedList(new ArrayList<>()))
                    .add(Integer.parseInt(message.getKeys()));
                received.incrementAndGet();
            }
            return ConsumeOrderlyStatus.SUCCESS;
        });
        consumer.start();
        send("Orderly", COUNT);
        Peer.await("all in order", 60_000, () -> received.get() >= COUNT);
        byQueue.values().forEach(keys -> {
            List<Integer> sorted = new ArrayList<>(keys);
            Collections.sort(sorted);
            Peer.check(sorted.equals(keys), "out of order: " + keys);
        });
        consumer.shutdown();
    }

    private void retry() throws Exception {
        Clients.createTopic(namesrv, "Retry", 4);
        Map<String, Integer> times = new ConcurrentHashMap<>();
        DefaultMQPushConsumer consumer = consumer("Retry", MessageModel.CLUSTERING, (MessageListenerConcurrently) (messages, context) -> {
            MessageExt message = messages.get(0);
            Peer.check("Retry".equals(message.getTopic()), message.toString());
            times.merge(message.getKeys(), message.getReconsumeTimes(), Math::max);
            boolean fails = message.getReconsumeTimes() == 0 && Integer.parseInt(message.getKeys()) < 3;
            return fails ? ConsumeConcurrentlyStatus.RECONSUME_LATER : ConsumeConcurrentlyStatus.CONSUME_SUCCESS;
        });
        consumer.start();
        send("Retry", 6);
        Peer.await("the second delivery", 100_000, () -> times.values().stream().filter(count -> count == 1).count() == 3);
        Peer.check(times.size() == 6, times.toString());
        consumer.shutdown();
    }

    private void deadLetter() throws Exception {
        Clients.createTopic(namesrv, "Dead", 1);
        DefaultMQPushConsumer consumer = consumer("Dead", MessageModel.CLUSTERING,
            (MessageListenerConcurrently) (messages, context) -> ConsumeConcurrentlyStatus.RECONSUME_LATER);
        consumer.setMaxReconsumeTimes(0);
        consumer.start();
        send("Dead", 1);
        DefaultMQAdminExt admin = Clients.admin(namesrv);
        Peer.await("the dead letter", 60_000, () -> {
            try {
                var stats = admin.examineTopicStats("%DLQ%Dead-group").getOffsetTable().values();
                return stats.stream().mapToLong(offset -> offset.getMaxOffset()).sum() == 1;
            } catch (Exception e) {
                return false;
            }
        });
        admin.shutdown();
        consumer.shutdown();
    }

    private void broadcast() throws Exception {
        Clients.createTopic(namesrv, "Broadcast", 4);
        Set<String> first = ConcurrentHashMap.newKeySet();
        Set<String> second = ConcurrentHashMap.newKeySet();
        DefaultMQPushConsumer one = consumer("Broadcast", MessageModel.BROADCASTING, into(first));
        DefaultMQPushConsumer two = consumer("Broadcast", MessageModel.BROADCASTING, into(second));
        one.start();
        two.start();
        send("Broadcast", COUNT);
        Peer.await("both to have all", 60_000, () -> first.size() == COUNT && second.size() == COUNT);
        one.shutdown();
        two.shutdown();
    }

    private void litePull() throws Exception {
        Clients.createTopic(namesrv, "LitePull", 4);
        send("LitePull", COUNT);
        DefaultLitePullConsumer consumer = new DefaultLitePullConsumer("LitePull-group");
        consumer.setNamesrvAddr(namesrv);
        consumer.setInstanceName("lite-" + System.nanoTime());
        consumer.setConsumeFromWhere(ConsumeFromWhere.CONSUME_FROM_FIRST_OFFSET);
        consumer.subscribe("LitePull", "*");
        consumer.start();
        Set<String> keys = ConcurrentHashMap.newKeySet();
        Peer.await("all pulled", 60_000, () -> {
            consumer.poll(200).forEach(message -> keys.add(message.getKeys()));
            return keys.size() == COUNT;
        });
        consumer.commitSync();
        for (MessageQueue queue : consumer.fetchMessageQueues("LitePull")) {
            Peer.check(consumer.committed(queue) == COUNT / 4, "committed of " + queue + ": " + consumer.committed(queue));
        }
        consumer.shutdown();
    }

    private void reset() throws Exception {
        Clients.createTopic(namesrv, "Reset", 4);
        AtomicInteger received = new AtomicInteger();
        DefaultMQPushConsumer consumer = consumer("Reset", MessageModel.CLUSTERING, (MessageListenerConcurrently) (messages, context) -> {
            received.addAndGet(messages.size());
            return ConsumeConcurrentlyStatus.CONSUME_SUCCESS;
        });
        consumer.start();
        send("Reset", COUNT);
        Peer.await("the first time", 60_000, () -> received.get() >= COUNT);
        consumer.getDefaultMQPushConsumerImpl().persistConsumerOffset();
        DefaultMQAdminExt admin = Clients.admin(namesrv);
        admin.resetOffsetByTimestamp("Reset", "Reset-group", 0, true);
        Peer.await("the second time, got " + received, 100_000, () -> received.get() >= 2 * COUNT);
        admin.shutdown();
        consumer.shutdown();
    }
}
