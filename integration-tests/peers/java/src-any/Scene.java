import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.CopyOnWriteArrayList;
import org.apache.rocketmq.client.consumer.DefaultMQPullConsumer;
import org.apache.rocketmq.client.consumer.DefaultMQPushConsumer;
import org.apache.rocketmq.client.consumer.MessageSelector;
import org.apache.rocketmq.client.consumer.PullStatus;
import org.apache.rocketmq.client.consumer.listener.MessageListenerConcurrently;
import org.apache.rocketmq.client.consumer.listener.MessageListenerOrderly;
import org.apache.rocketmq.client.producer.SendResult;
import org.apache.rocketmq.client.producer.SendStatus;
import org.apache.rocketmq.common.TopicConfig;
import org.apache.rocketmq.common.consumer.ConsumeFromWhere;
import org.apache.rocketmq.common.message.Message;
import org.apache.rocketmq.common.message.MessageExt;
import org.apache.rocketmq.common.message.MessageQueue;

/** What one case has for itself: a topic and a group of its name, and the clients that end with it. */
final class Scene {
    /** For waits whose length is the broker's matter: the machine may be slow. */
    static final long PATIENCE_MS = 90_000;

    interface Question {
        boolean ask() throws Exception;
    }

    final World world;
    final String topic;
    final String group;
    private final List<Runnable> endings = new ArrayList<>();
    private final List<DefaultMQPushConsumer> consumers = new CopyOnWriteArrayList<>();

    Scene(World world, String name) {
        this.world = world;
        topic = name;
        group = name + "-group";
    }

    synchronized void atEnd(Runnable ending) {
        endings.add(ending);
    }

    /** In the background: clients take seconds to end, and nobody waits for it. */
    synchronized void close() {
        Thread ending = new Thread(() -> endings.forEach(Runnable::run));
        ending.setDaemon(true);
        ending.start();
    }

    /** An exception counts as a no, and is the reason in the end. */
    static void await(String what, Question question) throws Exception {
        long deadline = System.currentTimeMillis() + PATIENCE_MS;
        while (true) {
            Exception reason = null;
            try {
                if (question.ask()) {
                    return;
                }
            } catch (Exception e) {
                reason = e;
            }
            if (System.currentTimeMillis() > deadline) {
                throw new IllegalStateException("waited in vain for " + what, reason);
            }
            Thread.sleep(20);
        }
    }

    void createTopic(int queues) throws Exception {
        createTopic(topic, queues);
    }

    void createTopic(String name, int queues) throws Exception {
        TopicConfig config = new TopicConfig(name, queues, queues, 6);
        world.admin.createAndUpdateTopicConfig(world.address, config);
        await("the route of " + name, () -> !world.admin.examineTopicRouteInfo(name).getQueueDatas().isEmpty());
    }

    DefaultMQPushConsumer newPushConsumer(String tags) throws Exception {
        DefaultMQPushConsumer consumer = world.quick(new DefaultMQPushConsumer(group), group);
        consumer.setConsumeFromWhere(ConsumeFromWhere.CONSUME_FROM_FIRST_OFFSET);
        // Twenty by default, which adds up over all cases.
        consumer.setConsumeThreadMin(4);
        consumer.setConsumeThreadMax(4);
        if (tags != null) {
            consumer.subscribe(topic, tags);
        }
        atEnd(consumer::shutdown);
        consumers.add(consumer);
        return consumer;
    }

    DefaultMQPushConsumer push(String tags, MessageListenerConcurrently listener) throws Exception {
        DefaultMQPushConsumer consumer = newPushConsumer(tags);
        consumer.setMessageListener(listener);
        consumer.start();
        return consumer;
    }

    DefaultMQPushConsumer pushOrderly(MessageListenerOrderly listener) throws Exception {
        DefaultMQPushConsumer consumer = newPushConsumer("*");
        consumer.setMessageListener(listener);
        consumer.start();
        return consumer;
    }

    @SuppressWarnings("deprecation")
    DefaultMQPullConsumer pull() throws Exception {
        DefaultMQPullConsumer consumer = world.quick(new DefaultMQPullConsumer(group + "-pull"), group);
        consumer.start();
        atEnd(consumer::shutdown);
        return consumer;
    }

    /** All of a queue that the selector lets through, from the first on. */
    @SuppressWarnings("deprecation")
    static List<MessageExt> pullAll(DefaultMQPullConsumer consumer, MessageQueue queue, MessageSelector selector) throws Exception {
        List<MessageExt> all = new ArrayList<>();
        long offset = 0;
        while (true) {
            var result = consumer.pull(queue, selector, offset, 32);
            if (result.getPullStatus() == PullStatus.FOUND) {
                all.addAll(result.getMsgFoundList());
            } else if (result.getPullStatus() != PullStatus.NO_MATCHED_MSG) {
                return all;
            }
            offset = result.getNextBeginOffset();
        }
    }

    Message message(String key) {
        return new Message(topic, "TagA", key, ("body of " + key).getBytes(StandardCharsets.UTF_8));
    }

    SendResult send(Message message, int queue) throws Exception {
        return checked(Clients.untilTaken(() -> world.producer.send(message, world.queue(message.getTopic(), queue))));
    }

    SendResult send(Message message) throws Exception {
        return checked(Clients.untilTaken(() -> world.producer.send(message)));
    }

    static SendResult checked(SendResult result) {
        Peer.check(result.getSendStatus() == SendStatus.SEND_OK, result.toString());
        return result;
    }

    /** Keys from `from` on, spread over the queues in turn. */
    void send(int from, int to, int queues) throws Exception {
        for (int i = from; i < to; i++) {
            send(message("" + i), i % queues);
        }
    }

    /** A broker's index may lag behind its log. */
    void awaitStored(int queue, long count) throws Exception {
        MessageQueue asked = world.queue(topic, queue);
        await("offset " + count + " of " + asked, () -> world.producer.maxOffset(asked) == count);
    }

    /** The committed offset of a queue; −1 where there is none. */
    long committed(String ofGroup, int queue) throws Exception {
        var answer = world.call(14, "consumerGroup", ofGroup, "topic", topic, "queueId", "" + queue, "setZeroIfNotFound", "false");
        return answer.getCode() == 0 ? Long.parseLong(World.field(answer, "offset")) : -1;
    }

    static int queuesOf(DefaultMQPushConsumer consumer) {
        var table = consumer.getDefaultMQPushConsumerImpl().getRebalanceImpl().getProcessQueueTable();
        return (int) table.keySet().stream().filter(queue -> !queue.getTopic().startsWith("%RETRY%")).count();
    }

    void awaitQueues(DefaultMQPushConsumer consumer, int count) throws Exception {
        try {
            await(count + " queues of " + consumer.getInstanceName(), () -> queuesOf(consumer) == count);
        } catch (IllegalStateException e) {
            throw new IllegalStateException(e.getMessage() + ": " + whoHasWhat(), e);
        }
    }

    /** Who the broker says are members of the group, and what each of them says it has. */
    private String whoHasWhat() throws Exception {
        var answer = world.call(38, "consumerGroup", group);
        String members = answer.getBody() == null ? answer.getRemark() : new String(answer.getBody(), StandardCharsets.UTF_8);
        StringBuilder text = new StringBuilder("the broker knows " + members);
        for (DefaultMQPushConsumer consumer : consumers) {
            text.append("; ").append(consumer.getInstanceName()).append(" has");
            consumer.getDefaultMQPushConsumerImpl().getRebalanceImpl().getProcessQueueTable().forEach((queue, held) -> text
                .append(' ').append(queue.getTopic()).append('/').append(queue.getQueueId())
                .append(" dropped=").append(held.isDropped()).append(" locked=").append(held.isLocked())
                .append(" messages=").append(held.getMsgCount()).append(" refusedUnlocks=").append(held.getTryUnlockTimes()));
        }
        return text.toString();
    }

    /** The class that names the model lies in another package in each line of versions. */
    static void broadcast(DefaultMQPushConsumer consumer) throws Exception {
        Class<?> model = consumer.getMessageModel().getClass();
        consumer.getClass().getMethod("setMessageModel", model).invoke(consumer, model.getField("BROADCASTING").get(null));
    }
}
