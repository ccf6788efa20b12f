import java.lang.management.ManagementFactory;
import java.util.Arrays;
import java.util.Map;
import java.util.TreeMap;
import java.util.concurrent.Semaphore;
import java.util.concurrent.atomic.AtomicLong;

import org.apache.rocketmq.client.consumer.DefaultMQPushConsumer;
import org.apache.rocketmq.client.consumer.listener.ConsumeConcurrentlyStatus;
import org.apache.rocketmq.client.consumer.listener.MessageListenerConcurrently;
import org.apache.rocketmq.client.producer.DefaultMQProducer;
import org.apache.rocketmq.client.producer.SendCallback;
import org.apache.rocketmq.client.producer.SendResult;
import org.apache.rocketmq.common.consumer.ConsumeFromWhere;
import org.apache.rocketmq.common.message.Message;

/**
 * Java's client under load, for bench/run: what `thrustmq bench client` does with ours, with the same arguments and the
 * same names in its result. Run as source: java -cp LIBRARIES ClientLoad.java send --namesrv ...
 */
public class ClientLoad {
    static final int TIMEOUT_MS = 20_000;

    final Map<String, String> options = new TreeMap<>();
    final AtomicLong done = new AtomicLong();
    final AtomicLong failed = new AtomicLong();

    public static void main(String[] arguments) throws Exception {
        ClientLoad load = new ClientLoad();
        for (int at = 1; at + 1 < arguments.length; at += 2) {
            load.options.put(arguments[at].substring(2), arguments[at + 1]);
        }
        switch (arguments[0]) {
            case "send" -> load.send();
            case "receive" -> load.receive();
            default -> throw new IllegalArgumentException("send or receive, not " + arguments[0]);
        }
        System.exit(0);
    }

    int number(String name) {
        return Integer.parseInt(options.get(name));
    }

    void send() throws Exception {
        DefaultMQProducer producer = new DefaultMQProducer("client-load");
        producer.setNamesrvAddr(options.get("namesrv"));
        producer.setSendMsgTimeout(TIMEOUT_MS);
        producer.start();
        byte[] body = new byte[number("size")];
        Arrays.fill(body, (byte) 'x');
        int inFlight = number("in-flight");
        Thread sending = new Thread(() -> {
            if (inFlight == 1) {
                sendOneByOne(producer, body);
            } else {
                sendMany(producer, body, inFlight);
            }
        });
        sending.setDaemon(true);
        sending.start();
        measure();
    }

    void sendOneByOne(DefaultMQProducer producer, byte[] body) {
        while (true) {
            try {
                producer.send(new Message(options.get("topic"), body));
                done.incrementAndGet();
            } catch (Exception failure) {
                failed.incrementAndGet();
            }
        }
    }

    void sendMany(DefaultMQProducer producer, byte[] body, int inFlight) {
        Semaphore room = new Semaphore(inFlight);
        SendCallback callback = new SendCallback() {
            @Override
            public void onSuccess(SendResult result) {
                done.incrementAndGet();
                room.release();
            }

            @Override
            public void onException(Throwable failure) {
                failed.incrementAndGet();
                room.release();
            }
        };
        while (true) {
            try {
                room.acquire();
                producer.send(new Message(options.get("topic"), body), callback);
            } catch (Exception failure) {
                failed.incrementAndGet();
                room.release();
            }
        }
    }

    void receive() throws Exception {
        DefaultMQPushConsumer consumer = new DefaultMQPushConsumer("client-load-" + System.nanoTime());
        consumer.setNamesrvAddr(options.get("namesrv"));
        consumer.setConsumeFromWhere(ConsumeFromWhere.CONSUME_FROM_FIRST_OFFSET);
        consumer.subscribe(options.get("topic"), "*");
        consumer.registerMessageListener((MessageListenerConcurrently) (messages, context) -> {
            done.addAndGet(messages.size());
            return ConsumeConcurrentlyStatus.CONSUME_SUCCESS;
        });
        consumer.start();
        while (done.get() == 0) {
            Thread.sleep(10);
        }
        measure();
    }

    /** Counts for --seconds after --warm-up; prints the result. Threads that came and went count as well. */
    void measure() throws Exception {
        var system = (com.sun.management.OperatingSystemMXBean) ManagementFactory.getOperatingSystemMXBean();
        Thread.sleep(1000L * number("warm-up"));
        long doneBefore = done.get(), cpuBefore = system.getProcessCpuTime(), before = System.nanoTime();
        Thread.sleep(1000L * number("seconds"));
        long messages = done.get() - doneBefore;
        double cpuUs = (system.getProcessCpuTime() - cpuBefore) / 1e3, seconds = (System.nanoTime() - before) / 1e9;
        System.out.printf(
            "{\"messages\":%d,\"seconds\":%.3f,\"messages_per_s\":%.1f,\"generator_cpu_us_per_message\":%.3f,\"failures\":%d,\"received\":%d}%n",
            messages, seconds, messages / seconds, cpuUs / Math.max(messages, 1), failed.get(), done.get());
        System.out.flush();
        // No orderly end: it would take seconds, and nothing is measured any more.
        Runtime.getRuntime().halt(0);
    }
}
