import java.util.ArrayList;
import java.util.Collections;
import java.util.List;
import java.util.Map;
import java.util.TreeSet;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.TimeUnit;
import org.apache.rocketmq.client.consumer.AckCallback;
import org.apache.rocketmq.client.consumer.AckResult;
import org.apache.rocketmq.client.consumer.AckStatus;
import org.apache.rocketmq.client.consumer.DefaultMQPushConsumer;
import org.apache.rocketmq.client.consumer.PopCallback;
import org.apache.rocketmq.client.consumer.PopResult;
import org.apache.rocketmq.client.consumer.PopStatus;
import org.apache.rocketmq.client.consumer.listener.ConsumeConcurrentlyStatus;
import org.apache.rocketmq.client.impl.MQClientAPIImpl;
import org.apache.rocketmq.common.TopicConfig;
import org.apache.rocketmq.common.message.Message;
import org.apache.rocketmq.common.message.MessageAccessor;
import org.apache.rocketmq.common.message.MessageExt;
import org.apache.rocketmq.common.message.MessageRequestMode;
import org.apache.rocketmq.remoting.protocol.RemotingCommand;
import org.apache.rocketmq.remoting.protocol.header.AckMessageRequestHeader;
import org.apache.rocketmq.remoting.protocol.header.ChangeInvisibleTimeRequestHeader;
import org.apache.rocketmq.remoting.protocol.header.ExtraInfoUtil;
import org.apache.rocketmq.remoting.protocol.header.PopMessageRequestHeader;
import org.apache.rocketmq.remoting.protocol.heartbeat.MessageModel;

/** POP: the broker remembers who has what. */
final class Pop {
    private static final long LONG_MS = 60_000;
    /** A lease that a case sees end: long enough for what it does before, on a slow machine too. */
    private static final long SHORT_MS = 12_000;
    private static final int NOTIFICATION = 200054;
    private static final int POLLING_INFO = 200055;
    private static final int PEEK = 200052;

    private final Scene scene;
    private final MQClientAPIImpl client;
    private final PopMessageRequestHeader header = new PopMessageRequestHeader();

    private Pop(Scene scene, int queues) throws Exception {
        this.scene = scene;
        client = scene.world.producer.getDefaultMQProducerImpl().getMqClientFactory().getMQClientAPIImpl();
        scene.createTopic(queues);
        Administration.createGroup(scene.world, scene.group);
        header.setConsumerGroup(scene.group);
        header.setTopic(scene.topic);
        header.setQueueId(-1);
        header.setMaxMsgNums(16);
        header.setInvisibleTime(LONG_MS);
        header.setInitMode(0);
        header.setExpType("TAG");
        header.setExp("*");
        header.setOrder(false);
    }

    static void addTo(Conformance all) {
        all.add("pop-again-after-a-while", scene -> new Pop(scene, 1).againAfterAWhile());
        all.add("pop-invisible-longer", scene -> new Pop(scene, 1).invisibleLonger());
        all.add("pop-by-push-consumers", scene -> new Pop(scene, 4).byPushConsumers());
        all.add("pop-orderly", scene -> new Pop(scene, 1).orderly());
        all.add("pop-and-ack", scene -> new Pop(scene, 4).andAck());
        all.add("pop-batch-ack", scene -> new Pop(scene, 1).batchAck());
        all.add("pop-waits", scene -> new Pop(scene, 1).waits());
        all.add("pop-notification", scene -> new Pop(scene, 1).notification());
        all.add("pop-peek", scene -> new Pop(scene, 1).peek());
        all.add("pop-polling-info", scene -> new Pop(scene, 1).pollingInfo());
        all.add("pop-filtered", scene -> new Pop(scene, 1).filtered());
        all.add("pop-refused", scene -> new Pop(scene, 1).refused());
        all.add("pop-assignment", scene -> new Pop(scene, 4).assignment());
        all.add("pop-by-priority", scene -> new Pop(scene, 4).byPriority());
        all.add("pop-light-queues", scene -> new Pop(scene, 1).lightQueues());
    }

    private CompletableFuture<PopResult> popLater(long waitMs) throws Exception {
        CompletableFuture<PopResult> future = new CompletableFuture<>();
        header.setPollTime(waitMs);
        header.setBornTime(System.currentTimeMillis());
        client.popMessageAsync(scene.world.brokerName, scene.world.address, header, waitMs + 15_000, new PopCallback() {
            @Override
            public void onSuccess(PopResult result) {
                future.complete(result);
            }

            @Override
            public void onException(Throwable e) {
                future.completeExceptionally(e);
            }
        });
        return future;
    }

    private List<MessageExt> pop() throws Exception {
        PopResult result = popLater(0).get(60, TimeUnit.SECONDS);
        return result.getPopStatus() == PopStatus.FOUND ? result.getMsgFoundList() : List.of();
    }

    /** Until there are this many; a single request looks at some queues only. */
    private List<MessageExt> pop(int count) throws Exception {
        List<MessageExt> all = new ArrayList<>();
        Scene.await(count + " popped", () -> {
            all.addAll(pop());
            return all.size() >= count;
        });
        Peer.check(all.size() == count, "popped " + keys(all));
        return all;
    }

    /** In a topic of priorities a message lies in the queue of its number, and the highest is popped first. */
    private void byPriority() throws Exception {
        TopicConfig config = new TopicConfig(scene.topic, 4, 4, 6);
        config.setAttributes(Map.of("+message.type", "PRIORITY"));
        scene.world.admin.createAndUpdateTopicConfig(scene.world.address, config);
        for (int priority : new int[] {0, 3, 1, 9}) {
            Message message = scene.message("priority " + priority);
            message.setPriority(priority);
            int queue = scene.send(message).getMessageQueue().getQueueId();
            Peer.check(queue == Math.min(priority, 3), "priority " + priority + " in queue " + queue);
        }
        scene.awaitStored(0, 1);
        scene.awaitStored(1, 1);
        scene.awaitStored(3, 2);
        header.setMaxMsgNums(1);
        List<String> order = new ArrayList<>();
        for (int i = 0; i < 4; i++) {
            order.add(pop(1).get(0).getKeys());
        }
        Peer.check(order.equals(List.of("priority 3", "priority 9", "priority 1", "priority 0")), order.toString());
    }

    private void sendLight(String key, String queues) throws Exception {
        Message message = scene.message(key);
        MessageAccessor.putProperty(message, "INNER_MULTI_DISPATCH", queues);
        scene.send(message, 0);
    }

    /** A light queue is popped by its name like a topic: leases, retries and waiting are its own. */
    private void lightQueues() throws Exception {
        String all = "%LMQ%" + scene.topic + "-all";
        String odd = "%LMQ%" + scene.topic + "-odd";
        for (int i = 0; i < 6; i++) {
            sendLight("" + i, i % 2 == 0 ? all : all + "," + odd);
        }
        header.setTopic(odd);
        header.setInvisibleTime(SHORT_MS);
        List<MessageExt> first = pop(3);
        Peer.check(keys(first).equals(new TreeSet<>(List.of("1", "3", "5"))), "odd: " + keys(first));
        Peer.check(pop().isEmpty(), "on lease");
        Peer.check(ack(first.get(0)).getStatus() == AckStatus.OK && ack(first.get(2)).getStatus() == AckStatus.OK, "acknowledged");
        header.setInvisibleTime(LONG_MS);
        List<MessageExt> again = pop(1);
        Peer.check(keys(again).equals(new TreeSet<>(List.of("3"))) && again.get(0).getReconsumeTimes() == 1, "again: " + again);
        Peer.check(ack(again.get(0)).getStatus() == AckStatus.OK, "by the handle of the retry");
        CompletableFuture<PopResult> waiting = popLater(20_000);
        Thread.sleep(500);
        Peer.check(!waiting.isDone(), "nothing to find");
        sendLight("6", all);
        sendLight("7", all + "," + odd);
        Peer.check(keys(waiting.get(60, TimeUnit.SECONDS).getMsgFoundList()).equals(new TreeSet<>(List.of("7"))), "the next");
        for (String other : List.of(all, scene.topic)) {
            header.setTopic(other);
            Peer.check(keys(pop(8)).size() == 8, "of " + other);
        }
    }

    private static TreeSet<String> keys(List<MessageExt> messages) {
        TreeSet<String> keys = new TreeSet<>();
        messages.forEach(message -> keys.add(message.getKeys()));
        return keys;
    }

    private interface Request {
        void start(AckCallback callback) throws Exception;
    }

    private static AckResult await(Request request) throws Exception {
        CompletableFuture<AckResult> future = new CompletableFuture<>();
        request.start(new AckCallback() {
            @Override
            public void onSuccess(AckResult result) {
                future.complete(result);
            }

            @Override
            public void onException(Throwable e) {
                future.completeExceptionally(e);
            }
        });
        return future.get(60, TimeUnit.SECONDS);
    }

    private static String handle(MessageExt message) {
        return message.getProperty("POP_CK");
    }

    private AckResult ack(MessageExt message) throws Exception {
        String[] parts = ExtraInfoUtil.split(handle(message));
        AckMessageRequestHeader ack = new AckMessageRequestHeader();
        ack.setConsumerGroup(scene.group);
        ack.setTopic(ExtraInfoUtil.getRealTopic(parts, header.getTopic(), scene.group));
        ack.setQueueId(ExtraInfoUtil.getQueueId(parts));
        ack.setOffset(ExtraInfoUtil.getQueueOffset(parts));
        ack.setExtraInfo(handle(message));
        return await(callback -> client.ackMessageAsync(scene.world.address, 15_000, callback, ack));
    }

    private String changeInvisible(MessageExt message, long invisibleMs) throws Exception {
        String[] parts = ExtraInfoUtil.split(handle(message));
        ChangeInvisibleTimeRequestHeader change = new ChangeInvisibleTimeRequestHeader();
        change.setConsumerGroup(scene.group);
        change.setTopic(ExtraInfoUtil.getRealTopic(parts, header.getTopic(), scene.group));
        change.setQueueId(ExtraInfoUtil.getQueueId(parts));
        change.setOffset(ExtraInfoUtil.getQueueOffset(parts));
        change.setExtraInfo(handle(message));
        change.setInvisibleTime(invisibleMs);
        AckResult result = await(callback -> client.changeInvisibleTimeAsync(scene.world.brokerName, scene.world.address, change, 15_000, callback));
        Peer.check(result.getStatus() == AckStatus.OK, result.toString());
        return result.getExtraInfo();
    }

    private void andAck() throws Exception {
        scene.send(0, 20, 4);
        List<MessageExt> messages = pop(20);
        Peer.check(keys(messages).size() == 20, keys(messages).toString());
        for (MessageExt message : messages) {
            Peer.check(message.getTopic().equals(scene.topic) && handle(message) != null, message.toString());
            Peer.check(ack(message).getStatus() == AckStatus.OK, message.toString());
        }
        Peer.check(pop().isEmpty(), "invisible, and acknowledged");
        scene.send(20, 24, 4);
        Peer.check(keys(pop(4)).equals(new TreeSet<>(List.of("20", "21", "22", "23"))), "the next");
    }

    private void againAfterAWhile() throws Exception {
        scene.send(0, 4, 1);
        header.setInvisibleTime(SHORT_MS);
        List<MessageExt> first = pop(4);
        long popped = System.currentTimeMillis();
        ack(first.get(0));
        ack(first.get(2));
        Peer.check(pop().isEmpty(), "invisible");
        header.setInvisibleTime(LONG_MS);
        List<MessageExt> again = pop(2);
        long delay = System.currentTimeMillis() - popped;
        Peer.check(delay >= SHORT_MS - 2_000, "again after " + delay);
        Peer.check(keys(again).equals(new TreeSet<>(List.of("1", "3"))), keys(again).toString());
        for (MessageExt message : again) {
            Peer.check(message.getReconsumeTimes() == 1 && message.getTopic().equals(scene.topic), message.toString());
            Peer.check(ack(message).getStatus() == AckStatus.OK, message.toString());
        }
        Peer.check(pop().isEmpty(), "all acknowledged");
    }

    private void invisibleLonger() throws Exception {
        scene.send(0, 2, 1);
        header.setInvisibleTime(SHORT_MS);
        List<MessageExt> messages = pop(2);
        long popped = System.currentTimeMillis();
        String longer = changeInvisible(messages.get(0), LONG_MS);
        Peer.check(longer != null && !longer.equals(handle(messages.get(0))), "a handle of its own: " + longer);
        String shorter = changeInvisible(messages.get(1), 3_000);
        Peer.check(shorter != null, "no handle");
        header.setInvisibleTime(LONG_MS);
        List<MessageExt> again = pop(1);
        Peer.check(again.get(0).getKeys().equals(messages.get(1).getKeys()), keys(again).toString());
        while (System.currentTimeMillis() < popped + SHORT_MS + 4_000) {
            Peer.check(pop().isEmpty(), "the first was to stay invisible");
            Thread.sleep(500);
        }
        MessageAccessor.putProperty(messages.get(0), "POP_CK", longer);
        Peer.check(ack(messages.get(0)).getStatus() == AckStatus.OK, "by the new handle");
    }

    private void batchAck() throws Exception {
        scene.send(0, 8, 1);
        header.setInvisibleTime(SHORT_MS);
        List<MessageExt> messages = pop(8);
        List<String> handles = new ArrayList<>();
        messages.stream().filter(message -> !message.getKeys().equals("5")).forEach(message -> handles.add(handle(message)));
        AckResult result = await(callback -> client.batchAckMessageAsync(scene.world.address, 15_000, callback, scene.topic, scene.group, handles));
        Peer.check(result.getStatus() == AckStatus.OK, result.toString());
        header.setInvisibleTime(LONG_MS);
        Peer.check(keys(pop(1)).first().equals("5"), "the one that was left out");
        Thread.sleep(1_500);
        Peer.check(pop().isEmpty(), "the others");
    }

    private void waits() throws Exception {
        pop();
        CompletableFuture<PopResult> waiting = popLater(20_000);
        Thread.sleep(500);
        Peer.check(!waiting.isDone(), "nothing to find");
        scene.send(0, 1, 1);
        PopResult result = waiting.get(60, TimeUnit.SECONDS);
        Peer.check(result.getPopStatus() == PopStatus.FOUND && result.getMsgFoundList().size() == 1, result.toString());
        long delay = System.currentTimeMillis() - result.getMsgFoundList().get(0).getStoreTimestamp();
        Peer.check(delay < 15_000, "heard after " + delay);
        long begin = System.currentTimeMillis();
        PopStatus status = popLater(1_500).get(60, TimeUnit.SECONDS).getPopStatus();
        Peer.check(status == PopStatus.POLLING_NOT_FOUND || status == PopStatus.NO_NEW_MSG, "" + status);
        Peer.check(System.currentTimeMillis() - begin >= 900, "did not wait: " + (System.currentTimeMillis() - begin));
    }

    private String[] fields(String... more) {
        List<String> fields = new ArrayList<>(List.of("consumerGroup", scene.group, "topic", scene.topic, "bornTime", "" + System.currentTimeMillis()));
        Collections.addAll(fields, more);
        return fields.toArray(new String[0]);
    }

    private void notification() throws Exception {
        var none = scene.world.call(NOTIFICATION, fields("queueId", "0", "pollTime", "0"));
        World.checkCode(0, none);
        Peer.check("false".equals(World.field(none, "hasMsg")), none.toString());
        CompletableFuture<String> waiting = CompletableFuture.supplyAsync(() -> {
            try {
                return World.field(scene.world.call(NOTIFICATION, fields("queueId", "0", "pollTime", "12000")), "hasMsg");
            } catch (Exception e) {
                return e.toString();
            }
        });
        Thread.sleep(500);
        Peer.check(!waiting.isDone(), "nothing to tell");
        scene.send(0, 1, 1);
        Peer.check("true".equals(waiting.get(60, TimeUnit.SECONDS)), waiting.get());
        pop(1);
        Scene.await("nothing to tell", () -> "false".equals(World.field(scene.world.call(NOTIFICATION, fields("queueId", "0", "pollTime", "0")), "hasMsg")));
    }

    private void peek() throws Exception {
        scene.send(0, 3, 1);
        scene.awaitStored(0, 3);
        for (int i = 0; i < 2; i++) {
            var answer = scene.world.call(PEEK, fields("queueId", "0", "maxMsgNums", "8"));
            World.checkCode(0, answer);
            int found = org.apache.rocketmq.common.message.MessageDecoder.decodes(java.nio.ByteBuffer.wrap(answer.getBody())).size();
            Peer.check(found == 3, "peeked " + found);
        }
        pop(3);
    }

    private void pollingInfo() throws Exception {
        pop();
        CompletableFuture<PopResult> waiting = popLater(15_000);
        Scene.await("one that waits", () -> {
            var answer = scene.world.call(POLLING_INFO, fields("queueId", "-1"));
            return answer.getCode() == 0 && "1".equals(World.field(answer, "pollingNum"));
        });
        scene.send(0, 1, 1);
        waiting.get(60, TimeUnit.SECONDS);
        Scene.await("none that waits", () -> "0".equals(World.field(scene.world.call(POLLING_INFO, fields("queueId", "-1")), "pollingNum")));
    }

    /** Nothing else of a queue until what is out of it is acknowledged or visible again. */
    private void orderly() throws Exception {
        scene.send(0, 6, 1);
        header.setOrder(true);
        header.setQueueId(0);
        header.setMaxMsgNums(2);
        header.setInvisibleTime(SHORT_MS);
        List<MessageExt> first = pop(2);
        Peer.check(keys(first).equals(new TreeSet<>(List.of("0", "1"))), keys(first).toString());
        Peer.check(pop().isEmpty(), "while two are out");
        ack(first.get(0));
        Peer.check(pop().isEmpty(), "while one is out");
        ack(first.get(1));
        List<MessageExt> second = pop(2);
        Peer.check(keys(second).equals(new TreeSet<>(List.of("2", "3"))), keys(second).toString());
        long popped = System.currentTimeMillis();
        List<MessageExt> again = pop(2);
        Peer.check(System.currentTimeMillis() - popped >= 5_000 && keys(again).equals(keys(second)), "again: " + keys(again));
        for (MessageExt message : again) {
            ack(message);
        }
        Peer.check(keys(pop(2)).equals(new TreeSet<>(List.of("4", "5"))), "the last");
    }

    private void filtered() throws Exception {
        for (int i = 0; i < 6; i++) {
            scene.send(new Message(scene.topic, i % 2 == 0 ? "Even" : "Odd", "" + i, new byte[] {1}), 0);
        }
        header.setExp("Odd");
        List<MessageExt> odd = new ArrayList<>();
        Scene.await("the odd ones", () -> {
            pop().stream().filter(message -> message.getTags().equals("Odd")).forEach(odd::add);
            return odd.size() == 3;
        });
        Peer.check(keys(odd).equals(new TreeSet<>(List.of("1", "3", "5"))), keys(odd).toString());
    }

    private void refused() throws Exception {
        String[] all = {"queueId", "0", "maxMsgNums", "8", "invisibleTime", "5000", "pollTime", "0", "initMode", "0", "order", "false"};
        int nothing = raw(all).getCode();
        Peer.check(nothing == 19 || nothing == 210, "nothing there: " + nothing);
        all[3] = "33";
        World.checkCode(29, raw(all));
        all[3] = "8";
        all[1] = "9";
        World.checkCode(29, raw(all));
        all[1] = "0";
        header.setTopic("no-such-topic");
        try {
            pop();
            throw new IllegalStateException("no such topic");
        } catch (ExecutionException e) {
            Peer.check(e.toString().contains("17"), e.toString());
        }
        Peer.check(scene.world.call(200051, fields("queueId", "0", "offset", "5", "extraInfo", "nonsense")).getCode() != 0, "a handle");
    }

    /** A request that came late is refused for that alone (210), which a slow machine may cause. */
    private RemotingCommand raw(String[] more) throws Exception {
        while (true) {
            RemotingCommand answer = scene.world.call(200050, fields(more));
            if (answer.getRemark() == null || !answer.getRemark().contains("timeout too much")) {
                return answer;
            }
        }
    }

    /** Push consumers whose group was switched: all of them read all queues, each message once; what fails comes again. */
    private void byPushConsumers() throws Exception {
        scene.world.admin.setMessageRequestMode(scene.world.address, scene.topic, scene.group, MessageRequestMode.POP, 8, 15_000);
        Received received = new Received((message, context) -> {
            boolean fails = message.getKeys().equals("7") && message.getReconsumeTimes() == 0;
            return fails ? ConsumeConcurrentlyStatus.RECONSUME_LATER : ConsumeConcurrentlyStatus.CONSUME_SUCCESS;
        });
        for (int i = 0; i < 2; i++) {
            DefaultMQPushConsumer consumer = scene.newPushConsumer("*");
            consumer.setClientRebalance(false);
            consumer.setPopInvisibleTime(60_000);
            consumer.setMessageListener(received);
            consumer.start();
        }
        scene.send(0, 40, 4);
        received.awaitKeys(40);
        Scene.await("the failed one again", () -> received.timesOf("7").size() == 2);
        Peer.check(received.timesByKey().entrySet().stream().allMatch(entry -> entry.getKey().equals("7") || entry.getValue() == 1), received.timesByKey().toString());
    }

    private void assignment() throws Exception {
        DefaultMQPushConsumer consumer = scene.push("*", new Received());
        scene.awaitQueues(consumer, 4);
        String id = consumer.getDefaultMQPushConsumerImpl().getmQClientFactory().getClientId();
        var pulled = client.queryAssignment(scene.world.address, scene.topic, scene.group, id, "AVG", MessageModel.CLUSTERING, 15_000);
        Peer.check(pulled.size() == 4 && pulled.stream().allMatch(one -> one.getMode() == MessageRequestMode.PULL), pulled.toString());
        scene.world.admin.setMessageRequestMode(scene.world.address, scene.topic, scene.group, MessageRequestMode.POP, 8, 15_000);
        var popped = client.queryAssignment(scene.world.address, scene.topic, scene.group, id, "AVG", MessageModel.CLUSTERING, 15_000);
        Peer.check(!popped.isEmpty() && popped.stream().allMatch(one -> one.getMode() == MessageRequestMode.POP), popped.toString());
    }
}
