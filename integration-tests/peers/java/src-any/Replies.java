import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.atomic.AtomicReference;
import org.apache.rocketmq.client.exception.RequestTimeoutException;
import org.apache.rocketmq.client.producer.RequestCallback;
import org.apache.rocketmq.client.consumer.listener.ConsumeConcurrentlyStatus;
import org.apache.rocketmq.client.utils.MessageUtil;
import org.apache.rocketmq.common.message.Message;
import org.apache.rocketmq.common.message.MessageExt;

/** Requests that wait for a reply. */
final class Replies {
    private static final long TTL_MS = 60_000;

    private Replies() {
    }

    static void addTo(Conformance all) {
        all.add("reply-comes", Replies::comes);
        all.add("reply-comes-later", Replies::comesLater);
        all.add("reply-missing", Replies::missing);
    }

    private static void answerAll(Scene scene) throws Exception {
        var replier = scene.world.quick(new org.apache.rocketmq.client.producer.DefaultMQProducer(scene.group + "-replier"), scene.group);
        replier.start();
        scene.atEnd(replier::shutdown);
        scene.push("*", new Received((message, context) -> {
            try {
                byte[] body = ("reply to " + message.getKeys()).getBytes(StandardCharsets.UTF_8);
                Message reply = MessageUtil.createReplyMessage(message, body);
                reply.putUserProperty("user", "a property");
                replier.send(reply, 10_000);
                return ConsumeConcurrentlyStatus.CONSUME_SUCCESS;
            } catch (Exception e) {
                e.printStackTrace();
                return ConsumeConcurrentlyStatus.RECONSUME_LATER;
            }
        }));
    }

    private static void check(String key, Message reply) {
        Peer.check(new String(reply.getBody(), StandardCharsets.UTF_8).equals("reply to " + key), reply.toString());
        Peer.check("a property".equals(reply.getUserProperty("user")), reply.toString());
    }

    private static void comes(Scene scene) throws Exception {
        scene.createTopic(2);
        answerAll(scene);
        for (int i = 0; i < 5; i++) {
            check("" + i, scene.world.producer.request(scene.message("" + i), TTL_MS));
        }
        MessageExt last = (MessageExt) scene.world.producer.request(scene.message("last"), TTL_MS);
        Peer.check(last.getTopic().equals(scene.world.cluster + "_REPLY_TOPIC"), last.toString());
    }

    private static void comesLater(Scene scene) throws Exception {
        scene.createTopic(2);
        answerAll(scene);
        List<AtomicReference<Object>> outcomes = new ArrayList<>();
        for (int i = 0; i < 5; i++) {
            AtomicReference<Object> outcome = new AtomicReference<>();
            outcomes.add(outcome);
            scene.world.producer.request(scene.message("" + i), new RequestCallback() {
                @Override
                public void onSuccess(Message message) {
                    outcome.set(message);
                }

                @Override
                public void onException(Throwable e) {
                    outcome.set(e);
                }
            }, TTL_MS);
        }
        for (int i = 0; i < 5; i++) {
            AtomicReference<Object> outcome = outcomes.get(i);
            Scene.await("reply " + i, () -> outcome.get() != null);
            Peer.check(outcome.get() instanceof Message, "" + outcome.get());
            check("" + i, (Message) outcome.get());
        }
    }

    private static void missing(Scene scene) throws Exception {
        scene.createTopic(1);
        try {
            scene.world.producer.request(scene.message("alone"), 6_000);
        } catch (RequestTimeoutException e) {
            return;
        }
        throw new IllegalStateException("who replied?");
    }
}
