import java.nio.charset.StandardCharsets;
import java.util.Map;
import java.util.concurrent.ConcurrentHashMap;
import org.apache.rocketmq.client.consumer.DefaultMQPushConsumer;
import org.apache.rocketmq.client.trace.TraceBean;
import org.apache.rocketmq.client.trace.TraceContext;
import org.apache.rocketmq.client.trace.TraceDataEncoder;

/** Reads what became of messages from the trace topic, as Java's own decoder understands it. */
final class Traces {
    private static final String TOPIC = "RMQ_SYS_TRACE_TOPIC";

    private Traces() {
    }

    static String run(Map<String, String> options) throws Exception {
        String[] ids = options.get("messages").split(",");
        // By kind and message id.
        Map<String, String> seen = new ConcurrentHashMap<>();
        DefaultMQPushConsumer consumer = Clients.consumer(options.get("namesrv"), "java-reads-traces", TOPIC, "*", message -> {
            String text = new String(message.getBody(), StandardCharsets.UTF_8);
            for (TraceContext context : TraceDataEncoder.decoderFromTraceDataString(text)) {
                for (TraceBean bean : context.getTraceBeans()) {
                    seen.put(context.getTraceType() + bean.getMsgId(), shown(context, bean));
                }
            }
        });
        StringBuilder result = new StringBuilder();
        for (String id : ids) {
            for (String kind : new String[] {"Pub", "SubBefore", "SubAfter"}) {
                Peer.await(kind + " of " + id + " in " + seen, 60_000, () -> seen.containsKey(kind + id));
                result.append(kind).append('=').append(seen.get(kind + id)).append(' ');
            }
        }
        consumer.shutdown();
        return result.toString().trim();
    }

    private static String shown(TraceContext context, TraceBean bean) {
        switch (context.getTraceType()) {
            case Pub:
                return String.join(",", context.getGroupName(), bean.getTopic(), bean.getTags(), bean.getKeys(),
                    String.valueOf(bean.getBodyLength()), String.valueOf(bean.getMsgType()), String.valueOf(context.isSuccess()),
                    String.valueOf(bean.getOffsetMsgId().length()));
            case SubBefore:
                return String.join(",", context.getGroupName(), String.valueOf(bean.getRetryTimes()), bean.getKeys());
            default:
                return String.join(",", String.valueOf(context.isSuccess()), bean.getKeys(), String.valueOf(context.getContextCode()),
                    context.getGroupName());
        }
    }
}
