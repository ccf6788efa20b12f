import org.apache.rocketmq.common.MixAll;
import org.apache.rocketmq.remoting.CommandCustomHeader;
import org.apache.rocketmq.remoting.netty.NettyClientConfig;
import org.apache.rocketmq.remoting.netty.NettyRemotingClient;
import org.apache.rocketmq.remoting.protocol.RemotingCommand;
import org.apache.rocketmq.remoting.protocol.RequestCode;
import org.apache.rocketmq.remoting.protocol.header.QueryMessageRequestHeader;

/** Single requests to one broker, without a route: so that system topics and deleted topics can be asked about too. */
final class Wire {
    private static final long TIMEOUT_MS = 60_000;
    private final NettyRemotingClient client = new NettyRemotingClient(new NettyClientConfig());
    private final String address;

    Wire(String address) {
        this.address = address;
        client.start();
    }

    RemotingCommand call(int code, CommandCustomHeader header) throws Exception {
        return client.invokeSync(address, RemotingCommand.createRequestCommand(code, header), TIMEOUT_MS);
    }

    /** By key, or by the id that the producer gave. */
    RemotingCommand query(QueryMessageRequestHeader header, boolean unique) throws Exception {
        RemotingCommand request = RemotingCommand.createRequestCommand(RequestCode.QUERY_MESSAGE, header);
        request.addExtField(MixAll.UNIQUE_MSG_QUERY_FLAG, Boolean.toString(unique));
        return client.invokeSync(address, request, TIMEOUT_MS);
    }

    /** The answer's body as text; anything but success is an error. */
    String text(int code) throws Exception {
        RemotingCommand answer = call(code, null);
        Peer.check(answer.getCode() == 0, "code " + code + ": " + answer);
        return new String(answer.getBody(), java.nio.charset.StandardCharsets.UTF_8);
    }

    void close() {
        client.shutdown();
    }
}
