// Writes the directory beside this file with RocketMQ's own store, and what it holds as text.
// java -cp '<jars of rocketmq-broker 5.5.0>:.' WriteStore <directory>   (flags: see ecosystem notes)

import java.io.PrintStream;
import java.net.InetSocketAddress;
import java.util.concurrent.ConcurrentHashMap;
import org.apache.rocketmq.common.BrokerConfig;
import org.apache.rocketmq.common.TopicFilterType;
import org.apache.rocketmq.common.message.MessageAccessor;
import org.apache.rocketmq.common.message.MessageDecoder;
import org.apache.rocketmq.common.message.MessageExtBrokerInner;
import org.apache.rocketmq.common.message.MessageVersion;
import org.apache.rocketmq.store.DefaultMessageStore;
import org.apache.rocketmq.store.PutMessageResult;
import org.apache.rocketmq.store.config.MessageStoreConfig;
import org.apache.rocketmq.store.stats.BrokerStatsManager;

public class WriteStore {
    static final String LONG_TOPIC = "long-" + "t".repeat(125);

    public static void main(String[] arguments) throws Exception {
        String dir = arguments[0];
        MessageStoreConfig config = new MessageStoreConfig();
        config.setStorePathRootDir(dir);
        config.setStorePathCommitLog(dir + "/commitlog");
        config.setMappedFileSizeCommitLog(8192);
        config.setMappedFileSizeConsumeQueue(20 * 16);
        config.setMaxHashSlotNum(50);
        config.setMaxIndexNum(100);
        config.setHaListenPort(0);
        config.setTimerWheelEnable(false);
        BrokerConfig broker = new BrokerConfig();
        DefaultMessageStore store = new DefaultMessageStore(config, new BrokerStatsManager(broker),
            (t, q, o, tc, st, b, p) -> { }, broker, new ConcurrentHashMap<>());
        store.load();
        store.start();
        try (PrintStream expected = new PrintStream(dir + "/expected.txt")) {
            for (int i = 0; i < 90; i++) {
                MessageExtBrokerInner message = message(i);
                PutMessageResult result = store.putMessage(message);
                expected.println(message.getTopic() + " " + message.getQueueId() + " "
                    + result.getAppendMessageResult().getLogicsOffset() + " "
                    + result.getAppendMessageResult().getWroteOffset() + " "
                    + message.getFlag() + " " + message.getTagsCode() + " " + message.getBornHost() + " "
                    + MessageDecoder.createMessageId(message.getStoreHost(), result.getAppendMessageResult().getWroteOffset()) + " "
                    + new String(message.getBody()));
            }
        }
        Thread.sleep(1500);
        store.shutdown();
        System.exit(0);
    }

    static MessageExtBrokerInner message(int i) {
        MessageExtBrokerInner message = new MessageExtBrokerInner();
        message.setTopic(i % 10 == 9 ? LONG_TOPIC : "topic-" + i % 2);
        if (i % 10 == 9) {
            message.setVersion(MessageVersion.MESSAGE_VERSION_V2);
        }
        message.setQueueId(i % 3);
        message.setBody(("body-" + i).getBytes());
        message.setFlag(i);
        message.setBornTimestamp(1_700_000_000_000L + i);
        message.setBornHost(new InetSocketAddress(i % 4 == 1 ? "2001:db8::1" : "10.0.0.1", 4000));
        message.setStoreHost(new InetSocketAddress("10.0.0.2", 10911));
        if (i % 4 == 1) {
            message.setBornHostV6Flag();
        }
        MessageAccessor.putProperty(message, "UNIQ_KEY", "u" + i);
        message.setKeys("k" + i + " all");
        message.setTags("tag" + i % 5);
        message.setPropertiesString(MessageDecoder.messageProperties2String(message.getProperties()));
        message.setTagsCode(MessageExtBrokerInner.tagsString2tagsCode(TopicFilterType.SINGLE_TAG, message.getTags()));
        return message;
    }
}
