import java.io.BufferedReader;
import java.io.InputStreamReader;
import java.util.List;
import java.util.Map;
import java.util.concurrent.atomic.AtomicBoolean;
import java.util.concurrent.atomic.AtomicInteger;
import java.util.concurrent.atomic.AtomicReference;
import org.apache.rocketmq.client.consumer.DefaultMQPushConsumer;
import org.apache.rocketmq.client.consumer.listener.ConsumeOrderlyStatus;
import org.apache.rocketmq.client.consumer.listener.MessageListenerOrderly;
import org.apache.rocketmq.client.producer.DefaultMQProducer;
import org.apache.rocketmq.common.consumer.ConsumeFromWhere;
import org.apache.rocketmq.common.message.Message;
import org.apache.rocketmq.common.message.MessageExt;

/**
 * Orderly consumers that join, are killed and leave while messages flow, of a topic with four shards and one that is
 * ordered as a whole: each lane is consumed without a gap and never forwards of what was consumed, whoever has it.
 */
final class Orderly {
    private static final int SHARDS = 4;
    private static final int LANES = SHARDS + 1;

    private final Map<String, String> options;
    private final String namesrv;
    private final String shards;
    private final String whole;
    private final Lane[] lanes = new Lane[LANES];
    private final AtomicReference<Throwable> failure = new AtomicReference<>();
    private final AtomicInteger sent = new AtomicInteger();
    private final AtomicBoolean sending = new AtomicBoolean(true);

    private Orderly(Map<String, String> options) {
        this.options = options;
        namesrv = options.get("namesrv");
        shards = options.get("topic") + "-shards";
        whole = options.get("topic") + "-whole";
        for (int lane = 0; lane < LANES; lane++) {
            lanes[lane] = new Lane();
        }
    }

    /** What was consumed of one queue, by whoever had it. */
    private static final class Lane {
        private int next;
        private int consumed;
        private int repeated;

        synchronized void consumed(int number, String by) {
            Peer.check(number <= next, by + " was given " + number + " where " + next + " is next");
            if (number < consumed) {
                repeated++;
            }
            next = number + 1;
            consumed = Math.max(consumed, next);
        }
    }

    static String run(Map<String, String> options) throws Exception {
        beQuick();
        return new Orderly(options).run();
    }

    /** A consumer in a process of its own, which is killed: says what it consumes. */
    static String child(Map<String, String> options) throws Exception {
        beQuick();
        Orderly orderly = new Orderly(options);
        orderly.consumer((lane, number) -> {
            System.out.println("consumed " + lane + " " + number);
            System.out.flush();
        });
        Thread.sleep(600_000);
        return "nobody killed it";
    }

    /** Locks and rebalances every second; by default each 20 s. */
    private static void beQuick() {
        System.setProperty("rocketmq.client.rebalance.waitInterval", "1000");
        System.setProperty("rocketmq.client.rebalance.lockInterval", "1000");
        System.setProperty("rocketmq.client.rebalance.lockMaxLiveTime", "3000");
        System.setProperty("rocketmq.client.unlockDelayTimeMills", "1000");
    }

    private String run() throws Exception {
        Clients.createTopic(namesrv, shards, SHARDS);
        Clients.createTopic(namesrv, whole, 1);
        DefaultMQProducer producer = Clients.producer(namesrv, shards + "-producer");
        Thread sender = new Thread(() -> send(producer), "sender");
        sender.start();
        AtomicInteger byFirst = new AtomicInteger();
        AtomicInteger bySecond = new AtomicInteger();
        AtomicInteger byChild = new AtomicInteger();
        DefaultMQPushConsumer first = consumer(into("first", byFirst));
        await("the first consumer has every lane", () -> least() >= 20);

        DefaultMQPushConsumer second = consumer(into("second", bySecond));
        Process child = child();
        Thread reader = new Thread(() -> read(child, into("child", byChild)), "reader");
        reader.start();
        await("the second consumer and the one to be killed have their share",
            () -> bySecond.get() >= 20 && byChild.get() >= 20);
        child.destroyForcibly().waitFor();
        reader.join();
        int killedAt = least();
        await("others go on with what the killed one had", () -> least() >= killedAt + 60);
        second.shutdown();
        int leftAt = least();
        await("the first goes on with what the second had", () -> least() >= leftAt + 60);
        sending.set(false);
        sender.join();
        await("all is consumed", () -> least() >= sent.get());
        first.shutdown();
        producer.shutdown();
        int repeated = 0;
        for (Lane lane : lanes) {
            repeated += lane.repeated;
        }
        Peer.check(repeated < sent.get(), repeated + " messages were consumed twice");
        return "sent=" + sent.get() * LANES + " repeated=" + repeated + " first=" + byFirst + " second=" + bySecond
            + " killed=" + byChild;
    }

    private interface Sink {
        void consumed(int lane, int number);
    }

    private Sink into(String name, AtomicInteger count) {
        return (lane, number) -> {
            try {
                lanes[lane].consumed(number, name + " on lane " + lane);
                count.incrementAndGet();
            } catch (Throwable e) {
                failure.compareAndSet(null, e);
            }
        };
    }

    private DefaultMQPushConsumer consumer(Sink sink) throws Exception {
        DefaultMQPushConsumer consumer = new DefaultMQPushConsumer(shards + "-group");
        consumer.setNamesrvAddr(namesrv);
        consumer.setInstanceName("orderly-" + System.nanoTime());
        consumer.setConsumeFromWhere(ConsumeFromWhere.CONSUME_FROM_FIRST_OFFSET);
        consumer.setHeartbeatBrokerInterval(1_000);
        consumer.setPersistConsumerOffsetInterval(500);
        consumer.setSuspendCurrentQueueTimeMillis(50);
        consumer.subscribe(shards, "*");
        consumer.subscribe(whole, "*");
        consumer.setMessageListener((MessageListenerOrderly) (messages, context) -> {
            MessageExt message = messages.get(0);
            int number = Integer.parseInt(new String(message.getBody()));
            if (number % 40 == 7 && message.getReconsumeTimes() == 0) {
                return ConsumeOrderlyStatus.SUSPEND_CURRENT_QUEUE_A_MOMENT; // it comes again, before all others
            }
            sink.consumed(message.getTopic().equals(whole) ? SHARDS : message.getQueueId(), number);
            return ConsumeOrderlyStatus.SUCCESS;
        });
        consumer.start();
        return consumer;
    }

    private void send(DefaultMQProducer producer) {
        try {
            while (sending.get()) {
                byte[] body = Integer.toString(sent.get()).getBytes();
                for (int lane = 0; lane < LANES; lane++) {
                    int shard = lane;
                    Message message = new Message(lane == SHARDS ? whole : shards, body);
                    Clients.untilTaken(() -> producer.send(message, (queues, m, arg) -> queue(queues, shard), null));
                }
                sent.incrementAndGet();
                Thread.sleep(20);
            }
        } catch (Throwable e) {
            failure.compareAndSet(null, e);
        }
    }

    private static org.apache.rocketmq.common.message.MessageQueue queue(
        List<org.apache.rocketmq.common.message.MessageQueue> queues, int shard) {
        return queues.stream().filter(queue -> queue.getQueueId() == shard % SHARDS).findFirst().orElse(queues.get(0));
    }

    private Process child() throws Exception {
        String java = System.getProperty("java.home") + "/bin/java";
        return new ProcessBuilder(java, "-Xmx128m", "-XX:+UseSerialGC", "-cp", System.getProperty("java.class.path"),
            "-Duser.home=" + System.getProperty("user.home"),
            "-Drocketmq.client.logRoot=" + System.getProperty("rocketmq.client.logRoot"),
            "Peer", "orderly-child", "namesrv=" + namesrv, "topic=" + options.get("topic"))
            .redirectError(ProcessBuilder.Redirect.DISCARD).start();
    }

    private void read(Process child, Sink sink) {
        try (BufferedReader lines = new BufferedReader(new InputStreamReader(child.getInputStream()))) {
            for (String line = lines.readLine(); line != null; line = lines.readLine()) {
                String[] words = line.split(" ");
                if (words.length == 3 && words[0].equals("consumed")) {
                    sink.consumed(Integer.parseInt(words[1]), Integer.parseInt(words[2]));
                }
            }
        } catch (Exception e) {
            failure.compareAndSet(null, e);
        }
    }

    /** How much was consumed of every lane. */
    private int least() {
        int least = Integer.MAX_VALUE;
        for (Lane lane : lanes) {
            synchronized (lane) {
                least = Math.min(least, lane.consumed);
            }
        }
        return least;
    }

    private void await(String what, java.util.function.BooleanSupplier condition) throws Exception {
        Peer.await(what, 180_000, () -> failure.get() != null || condition.getAsBoolean());
        Peer.check(failure.get() == null, what + ": " + failure.get());
    }
}
