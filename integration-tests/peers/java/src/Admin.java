import java.io.BufferedReader;
import java.io.ByteArrayOutputStream;
import java.io.InputStreamReader;
import java.io.PrintStream;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Map;
import java.util.concurrent.atomic.AtomicInteger;
import org.apache.rocketmq.client.consumer.DefaultMQPushConsumer;
import org.apache.rocketmq.client.producer.DefaultMQProducer;
import org.apache.rocketmq.client.producer.SendResult;
import org.apache.rocketmq.common.message.Message;
import org.apache.rocketmq.common.message.MessageQueue;
import org.apache.rocketmq.tools.admin.DefaultMQAdminExt;
import org.apache.rocketmq.tools.command.MQAdminStartup;

/**
 * mqadmin's commands in one JVM: each input line is a command, its words separated by tabs; the answer is the number
 * of bytes printed, a line end, and those bytes. Lines that begin with @ drive clients for the commands to look at.
 */
final class Admin {
    private final PrintStream answers = System.out;
    private DefaultMQProducer producer;
    private DefaultMQPushConsumer consumer;
    private String consumed;
    private Burst burst;
    private final AtomicInteger received = new AtomicInteger();

    static String run(Map<String, String> options) throws Exception {
        new Admin().serve(options.get("namesrv"));
        return "";
    }

    private void serve(String namesrv) throws Exception {
        BufferedReader commands = new BufferedReader(new InputStreamReader(System.in, StandardCharsets.UTF_8));
        for (String line = commands.readLine(); line != null; line = commands.readLine()) {
            String[] words = line.split("\t");
            String text = words[0].startsWith("@") ? drive(namesrv, words) : mqadmin(words);
            byte[] bytes = text.getBytes(StandardCharsets.UTF_8);
            answers.println(bytes.length);
            answers.write(bytes);
            answers.flush();
        }
        System.setOut(answers);
    }

    /** Commands keep the client they shut down after their first run; a fresh list makes fresh ones. */
    private static final class Commands extends MQAdminStartup {
        static void forget() {
            SUB_COMMANDS.clear();
        }
    }

    private String mqadmin(String[] words) {
        ByteArrayOutputStream printed = new ByteArrayOutputStream();
        PrintStream stream = new PrintStream(printed, true, StandardCharsets.UTF_8);
        PrintStream errors = System.err;
        System.setOut(stream);
        System.setErr(stream);
        Commands.forget();
        MQAdminStartup.main0(words, null);
        System.setErr(errors);
        return printed.toString(StandardCharsets.UTF_8);
    }

    /**
     * `@start topic group`, `@send topic count`, `@stop`; for what a broker keeps: `@fill address run transactions waiting`,
     * `@dump address deleted-topic…`, `@burst` and, when the broker was killed, `@acknowledged`.
     */
    private String drive(String namesrv, String[] words) throws Exception {
        switch (words[0]) {
            case "@start":
                consumed = words[1];
                producer = Clients.producer(namesrv, words[2] + "-producer");
                consumer = Clients.consumer(namesrv, words[2], words[1], "*", message -> received.incrementAndGet());
                return "";
            case "@send":
                return send(words[1], Integer.parseInt(words[2]));
            case "@stop":
                awaitCommitted(consumed);
                producer.shutdown();
                consumer.shutdown();
                return "";
            case "@fill":
                return Fill.run(namesrv, words[1], words[2], Boolean.parseBoolean(words[3]), Boolean.parseBoolean(words[4]));
            case "@dump":
                return Dump.of(words[1], Arrays.asList(words).subList(2, words.length));
            case "@burst":
                burst = Burst.start(namesrv);
                return "";
            case "@acknowledged":
                return burst.end();
            default:
                throw new IllegalArgumentException(Arrays.toString(words));
        }
    }

    /** The listener has a message before it counts as consumed, and the broker hears of it without an answer. */
    private void awaitCommitted(String topic) throws Exception {
        DefaultMQAdminExt admin = Clients.admin(producer.getNamesrvAddr());
        Peer.await("the committed offsets", 60_000, () -> {
            try {
                consumer.getDefaultMQPushConsumerImpl().persistConsumerOffset();
                return admin.examineConsumeStats(consumer.getConsumerGroup(), topic).computeTotalDiff() == 0;
            } catch (Exception e) {
                return false;
            }
        });
        admin.shutdown();
    }

    /** Returns the offset ids and the unique ids, a message a line, once all were received and committed. */
    private String send(String topic, int count) throws Exception {
        List<String> ids = new ArrayList<>();
        int before = received.get();
        for (int i = 0; i < count; i++) {
            Message message = new Message(topic, "TagA", "key" + i, ("body " + i).getBytes(StandardCharsets.UTF_8));
            MessageQueue queue = new MessageQueue(topic, "broker-a", i % 4);
            SendResult result = Clients.untilTaken(() -> producer.send(message, queue));
            ids.add(result.getOffsetMsgId() + " " + result.getMsgId() + " " + result.getMessageQueue().getQueueId() + " " + result.getQueueOffset());
        }
        Peer.await("the consumer", 60_000, () -> received.get() >= before + count);
        awaitCommitted(topic);
        return String.join("\n", ids);
    }
}
