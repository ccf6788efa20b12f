import java.util.Map;
import java.util.function.Consumer;
import org.apache.rocketmq.client.consumer.DefaultMQPushConsumer;
import org.apache.rocketmq.client.consumer.listener.ConsumeConcurrentlyStatus;
import org.apache.rocketmq.client.consumer.listener.MessageListenerConcurrently;
import org.apache.rocketmq.client.exception.MQBrokerException;
import org.apache.rocketmq.client.exception.MQClientException;
import org.apache.rocketmq.client.producer.DefaultMQProducer;
import org.apache.rocketmq.common.TopicConfig;
import org.apache.rocketmq.common.consumer.ConsumeFromWhere;
import org.apache.rocketmq.common.message.MessageExt;
import org.apache.rocketmq.tools.admin.DefaultMQAdminExt;

/** Clients with the settings that all programs share. */
final class Clients {
    /** Three seconds by default, in which a loaded machine may do nothing at all. */
    static final int API_TIMEOUT_MS = 15_000;
    private static final int SYSTEM_BUSY = 2;

    private Clients() {
    }

    static DefaultMQProducer producer(String namesrv, String group) throws MQClientException {
        DefaultMQProducer producer = new DefaultMQProducer(group);
        producer.setNamesrvAddr(namesrv);
        producer.setMqClientApiTimeout(API_TIMEOUT_MS);
        producer.setInstanceName(group + "-" + System.nanoTime());
        producer.setSendMsgTimeout(10_000); // a loaded machine may stand still for a while
        producer.start();
        return producer;
    }

    static DefaultMQPushConsumer consumer(String namesrv, String group, String topic, String tags, Consumer<MessageExt> sink)
        throws MQClientException {
        DefaultMQPushConsumer consumer = new DefaultMQPushConsumer(group);
        consumer.setNamesrvAddr(namesrv);
        consumer.setMqClientApiTimeout(API_TIMEOUT_MS);
        consumer.setInstanceName(group + "-" + System.nanoTime());
        consumer.setConsumeFromWhere(ConsumeFromWhere.CONSUME_FROM_FIRST_OFFSET);
        // A rebalance raises the subscription's version and skips its heartbeat if another is under way: until the
        // next one, 30 s later by default, every broker refuses the pulls with code 24.
        consumer.setHeartbeatBrokerInterval(1_000);
        consumer.subscribe(topic, tags);
        consumer.setMessageListener((MessageListenerConcurrently) (messages, context) -> {
            messages.forEach(sink);
            return ConsumeConcurrentlyStatus.CONSUME_SUCCESS;
        });
        consumer.start();
        return consumer;
    }

    static DefaultMQAdminExt admin(String namesrv) throws MQClientException {
        DefaultMQAdminExt admin = new DefaultMQAdminExt(API_TIMEOUT_MS);
        admin.setNamesrvAddr(namesrv);
        admin.setMqClientApiTimeout(API_TIMEOUT_MS);
        admin.setInstanceName("admin-" + System.nanoTime());
        admin.start();
        return admin;
    }

    /** A busy broker did not store the message and asks to send it again; a slow machine makes brokers busy. */
    static boolean isBusy(Throwable e) {
        return e instanceof MQBrokerException && ((MQBrokerException) e).getResponseCode() == SYSTEM_BUSY;
    }

    interface Send<T> {
        T send() throws Exception;
    }

    /** Clients send again by themselves only where they may choose the queue. */
    static <T> T untilTaken(Send<T> send) throws Exception {
        while (true) {
            try {
                return send.send();
            } catch (MQBrokerException e) {
                if (!isBusy(e)) {
                    throw e;
                }
                Thread.sleep(10);
            }
        }
    }

    /** Creates the topic on every master of the cluster and waits until the name server knows it. */
    static void createTopic(String namesrv, String topic, int queues) throws Exception {
        DefaultMQAdminExt admin = admin(namesrv);
        try {
            Map<String, ?> brokers = admin.examineBrokerClusterInfo().getBrokerAddrTable();
            Peer.check(!brokers.isEmpty(), "no broker registered");
            for (var broker : admin.examineBrokerClusterInfo().getBrokerAddrTable().values()) {
                admin.createAndUpdateTopicConfig(broker.selectBrokerAddr(), new TopicConfig(topic, queues, queues, 6));
            }
            Peer.await("the route of " + topic, 60_000, () -> {
                try {
                    return admin.examineTopicRouteInfo(topic).getQueueDatas().size() == brokers.size();
                } catch (Exception e) {
                    return false;
                }
            });
        } finally {
            admin.shutdown();
        }
    }
}
