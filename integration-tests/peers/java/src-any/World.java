import java.util.Map;
import org.apache.rocketmq.client.ClientConfig;
import org.apache.rocketmq.client.producer.DefaultMQProducer;
import org.apache.rocketmq.common.message.MessageQueue;
import org.apache.rocketmq.remoting.netty.NettyClientConfig;
import org.apache.rocketmq.remoting.netty.NettyRemotingClient;
import org.apache.rocketmq.remoting.protocol.RemotingCommand;
import org.apache.rocketmq.tools.admin.DefaultMQAdminExt;

/** What all cases share: the one broker of the cluster, and clients that no case may stop. */
final class World {
    private static final long TIMEOUT_MS = 15_000;
    final String namesrv;
    final String cluster;
    final String brokerName;
    final String address;
    final DefaultMQAdminExt admin;
    final DefaultMQProducer producer;
    private final NettyRemotingClient client = new NettyRemotingClient(new NettyClientConfig());

    World(String namesrv) throws Exception {
        this.namesrv = namesrv;
        admin = Clients.admin(namesrv);
        producer = Clients.producer(namesrv, "conformance-producer");
        var broker = admin.examineBrokerClusterInfo().getBrokerAddrTable().values().iterator().next();
        cluster = broker.getCluster();
        brokerName = broker.getBrokerName();
        address = broker.selectBrokerAddr();
        client.start();
    }

    /** A client that tells and asks each second what others tell and ask each half minute. */
    <T extends ClientConfig> T quick(T config, String name) {
        config.setNamesrvAddr(namesrv);
        config.setInstanceName(name + "-" + System.nanoTime());
        config.setPollNameServerInterval(1_000);
        config.setHeartbeatBrokerInterval(1_000);
        config.setMqClientApiTimeout(Clients.API_TIMEOUT_MS);
        config.setPersistConsumerOffsetInterval(500);
        return config;
    }

    MessageQueue queue(String topic, int id) {
        return new MessageQueue(topic, brokerName, id);
    }

    /** A request as the protocol has it, with its fields by name: `name, value, name, value`. */
    RemotingCommand call(int code, String... fields) throws Exception {
        return callWith(null, code, fields);
    }

    RemotingCommand callWith(byte[] body, int code, String... fields) throws Exception {
        RemotingCommand request = RemotingCommand.createRequestCommand(code, null);
        for (int i = 0; i < fields.length; i += 2) {
            request.addExtField(fields[i], fields[i + 1]);
        }
        request.setBody(body);
        return client.invokeSync(address, request, TIMEOUT_MS);
    }

    static String field(RemotingCommand answer, String name) {
        Map<String, String> fields = answer.getExtFields();
        return fields == null ? null : fields.get(name);
    }

    static void checkCode(int code, RemotingCommand answer) {
        Peer.check(answer.getCode() == code, "code " + code + " expected: " + answer);
    }
}
