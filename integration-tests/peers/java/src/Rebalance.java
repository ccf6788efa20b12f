import java.util.Map;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.Semaphore;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.atomic.AtomicInteger;
import java.util.concurrent.atomic.AtomicIntegerArray;
import java.util.concurrent.atomic.AtomicReference;
import org.apache.rocketmq.client.consumer.DefaultMQPushConsumer;
import org.apache.rocketmq.client.producer.DefaultMQProducer;
import org.apache.rocketmq.client.producer.SendCallback;
import org.apache.rocketmq.client.producer.SendResult;
import org.apache.rocketmq.common.message.Message;
import org.apache.rocketmq.common.message.MessageExt;

/** Many messages to one consumer while a second joins and leaves: none lost, duplicates only around the rebalance. */
final class Rebalance {
    private final String namesrv;
    private final String topic;
    private final int count;
    private final AtomicIntegerArray times;
    private final AtomicInteger distinct = new AtomicInteger();
    private final AtomicInteger duplicates = new AtomicInteger();
    private final AtomicInteger busy = new AtomicInteger();
    private final AtomicInteger bySecond = new AtomicInteger();
    private final AtomicReference<Throwable> failure = new AtomicReference<>();

    private Rebalance(Map<String, String> options) {
        namesrv = options.get("namesrv");
        topic = options.get("topic");
        count = Integer.parseInt(options.get("count"));
        times = new AtomicIntegerArray(count);
    }

    static String run(Map<String, String> options) throws Exception {
        return new Rebalance(options).run();
    }

    private String run() throws Exception {
        Clients.createTopic(namesrv, topic, 8);
        DefaultMQPushConsumer first = Clients.consumer(namesrv, topic + "-group", topic, "*", this::receive);
        DefaultMQProducer producer = Clients.producer(namesrv, topic + "-producer");
        int third = count / 3;
        long start = System.currentTimeMillis();
        send(producer, 0, third);
        Peer.await("the first third", 180_000, () -> distinct.get() >= third);
        Peer.check(duplicates.get() == 0, duplicates + " duplicates before the rebalance");

        DefaultMQPushConsumer second = Clients.consumer(namesrv, topic + "-group", topic, "*", message -> {
            bySecond.incrementAndGet();
            receive(message);
        });
        send(producer, third, 2 * third);
        Peer.await("the second consumer's share", 180_000, () -> {
            try {
                producer.send(new Message(topic, "extra".getBytes()));
                Thread.sleep(100);
            } catch (Exception e) {
                failure.set(e);
            }
            return bySecond.get() > 0;
        });
        second.shutdown();
        send(producer, 2 * third, count);
        Peer.await("all " + count, 180_000, () -> distinct.get() >= count);
        long elapsedMs = System.currentTimeMillis() - start;
        int around = duplicates.get();
        Thread.sleep(1000);
        Peer.check(duplicates.get() == around, "duplicates go on after the rebalance");
        Peer.check(failure.get() == null, "" + failure.get());
        Peer.check(around < count / 10, around + " duplicates");
        first.shutdown();
        producer.shutdown();
        return "messages=" + count + " duplicates=" + around + " busy=" + busy + " second=" + bySecond + " ms=" + elapsedMs;
    }

    private void receive(MessageExt message) {
        byte[] body = message.getBody();
        if (body.length < 1024) {
            return; // an extra one, sent to see whether the second consumer takes part
        }
        int number = (body[0] & 255) << 16 | (body[1] & 255) << 8 | body[2] & 255;
        if (times.getAndIncrement(number) == 0) {
            distinct.incrementAndGet();
        } else {
            duplicates.incrementAndGet();
        }
    }

    private void send(DefaultMQProducer producer, int from, int to) throws Exception {
        Semaphore inFlight = new Semaphore(256);
        CountDownLatch open = new CountDownLatch(to - from);
        for (int i = from; i < to; i++) {
            inFlight.acquire();
            sendOne(producer, i, () -> {
                inFlight.release();
                open.countDown();
            });
        }
        Peer.check(open.await(180, TimeUnit.SECONDS), open.getCount() + " sends unanswered");
        Peer.check(failure.get() == null, "send: " + failure.get());
    }

    private void sendOne(DefaultMQProducer producer, int number, Runnable done) throws Exception {
        byte[] body = new byte[1024];
        body[0] = (byte) (number >> 16);
        body[1] = (byte) (number >> 8);
        body[2] = (byte) number;
        producer.send(new Message(topic, body), new SendCallback() {
            @Override
            public void onSuccess(SendResult result) {
                done.run();
            }

            @Override
            public void onException(Throwable e) {
                try {
                    if (!Clients.isBusy(e)) {
                        throw e;
                    }
                    busy.incrementAndGet();
                    sendOne(producer, number, done);
                } catch (Throwable last) {
                    failure.set(last);
                    done.run();
                }
            }
        });
    }
}
