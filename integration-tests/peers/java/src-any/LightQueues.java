import java.nio.ByteBuffer;
import java.util.ArrayList;
import java.util.List;
import java.util.stream.Collectors;
import org.apache.rocketmq.common.message.Message;
import org.apache.rocketmq.common.message.MessageAccessor;
import org.apache.rocketmq.common.message.MessageDecoder;
import org.apache.rocketmq.common.message.MessageExt;
import org.apache.rocketmq.remoting.protocol.RemotingCommand;

/** Light queues: the broker puts a message into each that it names, beside its topic. Clients pull them by name. */
final class LightQueues {
    private static final int PULL = 11;
    private static final int PULL_NOT_FOUND = 19;

    private LightQueues() {
    }

    static void addTo(Conformance all) {
        all.add("light-queues", LightQueues::dispatched);
    }

    private static void dispatched(Scene scene) throws Exception {
        scene.createTopic(1);
        String all = "%LMQ%" + scene.topic + "-all";
        String odd = "%LMQ%" + scene.topic + "-odd";
        Received received = new Received();
        scene.push("*", received);
        for (int i = 0; i < 10; i++) {
            Message message = scene.message("" + i);
            MessageAccessor.putProperty(message, "INNER_MULTI_DISPATCH", i % 2 == 0 ? all : all + "," + odd);
            scene.send(message, 0);
        }
        received.checkOnce(10);
        Scene.await("all in the one", () -> keys(scene, all, 0).size() == 10);
        Peer.check(keys(scene, all, 0).equals(List.of("0", "1", "2", "3", "4", "5", "6", "7", "8", "9")), "all: " + keys(scene, all, 0));
        Peer.check(keys(scene, odd, 0).equals(List.of("1", "3", "5", "7", "9")), "odd: " + keys(scene, odd, 0));
        Peer.check(keys(scene, odd, 3).equals(List.of("7", "9")), "from the fourth: " + keys(scene, odd, 3));
        World.checkCode(PULL_NOT_FOUND, pull(scene, odd, 5));
    }

    private static RemotingCommand pull(Scene scene, String queue, long from) throws Exception {
        return scene.world.call(PULL, "consumerGroup", scene.group, "topic", queue, "queueId", "0", "queueOffset", "" + from, "maxMsgNums", "32",
            "sysFlag", "4", "commitOffset", "0", "suspendTimeoutMillis", "0", "subscription", "*", "subVersion", "0", "expressionType", "TAG");
    }

    private static List<String> keys(Scene scene, String queue, long from) throws Exception {
        RemotingCommand answer = pull(scene, queue, from);
        List<MessageExt> found = answer.getCode() == 0 ? MessageDecoder.decodes(ByteBuffer.wrap(answer.getBody())) : new ArrayList<>();
        return found.stream().map(MessageExt::getKeys).collect(Collectors.toList());
    }
}
