import com.alibaba.fastjson2.JSON;
import com.alibaba.fastjson2.JSONObject;
import com.alibaba.fastjson2.JSONReader;
import java.nio.ByteBuffer;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.Collections;
import java.util.HashSet;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.SortedMap;
import java.util.SortedSet;
import java.util.TreeMap;
import java.util.TreeSet;
import java.util.zip.CRC32;
import org.apache.rocketmq.common.BoundaryType;
import org.apache.rocketmq.common.MixAll;
import org.apache.rocketmq.common.TopicConfig;
import org.apache.rocketmq.common.message.MessageConst;
import org.apache.rocketmq.common.message.MessageDecoder;
import org.apache.rocketmq.common.message.MessageExt;
import org.apache.rocketmq.common.sysflag.PullSysFlag;
import org.apache.rocketmq.remoting.protocol.RemotingCommand;
import org.apache.rocketmq.remoting.protocol.RemotingSerializable;
import org.apache.rocketmq.remoting.protocol.RequestCode;
import org.apache.rocketmq.remoting.protocol.body.SubscriptionGroupWrapper;
import org.apache.rocketmq.remoting.protocol.body.TopicConfigSerializeWrapper;
import org.apache.rocketmq.remoting.protocol.header.GetEarliestMsgStoretimeRequestHeader;
import org.apache.rocketmq.remoting.protocol.header.GetMaxOffsetRequestHeader;
import org.apache.rocketmq.remoting.protocol.header.GetMinOffsetRequestHeader;
import org.apache.rocketmq.remoting.protocol.header.PullMessageRequestHeader;
import org.apache.rocketmq.remoting.protocol.header.QueryMessageRequestHeader;
import org.apache.rocketmq.remoting.protocol.header.SearchOffsetRequestHeader;
import org.apache.rocketmq.remoting.protocol.header.ViewMessageRequestHeader;

/**
 * Everything that a broker can be asked about its directory, as lines of text: two brokers that answer the same
 * have the same dump, and a line that differs names what differs.
 */
final class Dump {
    private static final int PULL_MESSAGES = 32;
    private static final int QUERY_MESSAGES = 64;
    /** Nobody knows how many messages these hold at a moment: what is looked up must not depend on them. */
    private static final Set<String> GROWING = Set.of(Burst.TOPIC, "Delayed");
    private final Wire wire;
    private final List<String> lines = new ArrayList<>();
    /** Of every topic: what its messages can be found by. */
    private final SortedMap<String, SortedSet<String>> keys = new TreeMap<>();
    private final SortedMap<String, SortedSet<String>> uniqueKeys = new TreeMap<>();
    private final Set<String> filled = new HashSet<>();
    private final SortedSet<Long> physicalOffsets = new TreeSet<>();
    private final SortedSet<Long> storeTimes = new TreeSet<>();

    private Dump(String address) {
        wire = new Wire(address);
    }

    /** The dump; `deleted` are topics that are asked for though the broker should not have them. */
    static String of(String address, List<String> deleted) throws Exception {
        Dump dump = new Dump(address);
        try {
            dump.everything(deleted);
        } finally {
            dump.wire.close();
        }
        return String.join("\n", dump.lines);
    }

    private void everything(List<String> deleted) throws Exception {
        SortedMap<String, TopicConfig> topics = new TreeMap<>(RemotingSerializable.fromJson(
            wire.text(RequestCode.GET_ALL_TOPIC_CONFIG), TopicConfigSerializeWrapper.class).getTopicConfigTable());
        for (TopicConfig topic : topics.values()) {
            lines.add("topic " + topic.getTopicName() + " perm=" + topic.getPerm() + " read=" + topic.getReadQueueNums()
                + " write=" + topic.getWriteQueueNums() + " order=" + topic.isOrder() + " filter=" + topic.getTopicFilterType()
                + " sysFlag=" + topic.getTopicSysFlag() + " attributes=" + new TreeMap<>(topic.getAttributes()));
            for (int queue = 0; queue < Math.max(topic.getReadQueueNums(), topic.getWriteQueueNums()); queue++) {
                queue(topic.getTopicName(), queue);
            }
        }
        for (String topic : deleted) {
            lines.add("deleted " + topic + " code=" + pull(topic, 0, 0).getCode());
        }
        groupsAndOffsets();
        lookUps();
        byTime(topics);
    }

    private void queue(String topic, int queue) throws Exception {
        GetMinOffsetRequestHeader min = new GetMinOffsetRequestHeader();
        min.setTopic(topic);
        min.setQueueId(queue);
        GetMaxOffsetRequestHeader max = new GetMaxOffsetRequestHeader();
        max.setTopic(topic);
        max.setQueueId(queue);
        GetEarliestMsgStoretimeRequestHeader earliest = new GetEarliestMsgStoretimeRequestHeader();
        earliest.setTopic(topic);
        earliest.setQueueId(queue);
        long first = offset(wire.call(RequestCode.GET_MIN_OFFSET, min));
        long end = offset(wire.call(RequestCode.GET_MAX_OFFSET, max));
        String time = wire.call(RequestCode.GET_EARLIEST_MSG_STORETIME, earliest).getExtFields().get("timestamp");
        if (end > 0) {
            filled.add(topic);
        }
        lines.add("queue " + topic + " " + queue + " min=" + first + " max=" + end + " earliest=" + time);
        long next = first;
        while (next < end) {
            RemotingCommand answer = pull(topic, queue, next);
            if (answer.getCode() != 0) {
                lines.add("pull " + topic + " " + queue + " " + next + " code=" + answer.getCode());
                return;
            }
            records(ByteBuffer.wrap(answer.getBody()));
            long following = Long.parseLong(answer.getExtFields().get("nextBeginOffset"));
            Peer.check(following > next, "no progress at " + next + " of " + topic + " " + queue);
            next = following;
        }
    }

    private static long offset(RemotingCommand answer) {
        Peer.check(answer.getCode() == 0, answer.toString());
        return Long.parseLong(answer.getExtFields().get("offset"));
    }

    private RemotingCommand pull(String topic, int queue, long offset) throws Exception {
        PullMessageRequestHeader header = new PullMessageRequestHeader();
        header.setConsumerGroup(MixAll.TOOLS_CONSUMER_GROUP);
        header.setTopic(topic);
        header.setQueueId(queue);
        header.setQueueOffset(offset);
        header.setMaxMsgNums(PULL_MESSAGES);
        header.setSysFlag(PullSysFlag.buildSysFlag(false, false, true, false));
        header.setCommitOffset(0L);
        header.setSuspendTimeoutMillis(0L);
        header.setSubscription("*");
        header.setSubVersion(0L);
        header.setExpressionType("TAG");
        return wire.call(RequestCode.PULL_MESSAGE, header);
    }

    /** Records stand one behind the other, each as it stands in the log. */
    private void records(ByteBuffer records) throws Exception {
        while (records.hasRemaining()) {
            byte[] record = new byte[records.getInt(records.position())];
            records.get(record);
            MessageExt message = MessageDecoder.decode(ByteBuffer.wrap(record), true, false, false, false, true);
            if (message == null) {
                lines.add("bad record of " + record.length + " bytes, crc=" + crc(record));
                continue;
            }
            lines.add("message " + described(message, record));
            if (GROWING.contains(message.getTopic())) {
                continue;
            }
            physicalOffsets.add(message.getCommitLogOffset());
            storeTimes.add(message.getStoreTimestamp());
            if (message.getKeys() != null) {
                SortedSet<String> ofTopic = keys.computeIfAbsent(message.getTopic(), topic -> new TreeSet<>());
                Collections.addAll(ofTopic, message.getKeys().split(MessageConst.KEY_SEPARATOR));
            }
            String uniqueKey = message.getProperty(MessageConst.PROPERTY_UNIQ_CLIENT_MESSAGE_ID_KEYIDX);
            if (uniqueKey != null) {
                uniqueKeys.computeIfAbsent(message.getTopic(), topic -> new TreeSet<>()).add(uniqueKey);
            }
        }
    }

    private static String described(MessageExt message, byte[] record) {
        return message.getTopic() + " " + message.getQueueId() + " " + message.getQueueOffset() + " " + message.getCommitLogOffset()
            + " size=" + record.length + " crc=" + crc(record) + " flag=" + message.getFlag() + " sysFlag=" + message.getSysFlag()
            + " born=" + message.getBornTimestamp() + message.getBornHost() + " stored=" + message.getStoreTimestamp()
            + message.getStoreHost() + " times=" + message.getReconsumeTimes() + " prepared=" + message.getPreparedTransactionOffset()
            + " id=" + message.getMsgId() + " body=" + (message.getBody() == null ? "" : message.getBody().length + ":" + crc(message.getBody()))
            + " properties=" + escaped(new TreeMap<>(message.getProperties()).toString());
    }

    private static long crc(byte[] bytes) {
        CRC32 crc = new CRC32();
        crc.update(bytes);
        return crc.getValue();
    }

    /** A message is one line, whatever its properties hold. */
    private static String escaped(String text) {
        StringBuilder escaped = new StringBuilder();
        text.chars().forEach(c -> escaped.append(c < ' ' ? String.format("\\u%04x", c) : Character.toString(c)));
        return escaped.toString();
    }

    private void groupsAndOffsets() throws Exception {
        var groups = RemotingSerializable.fromJson(wire.text(RequestCode.GET_ALL_SUBSCRIPTIONGROUP_CONFIG), SubscriptionGroupWrapper.class);
        new TreeMap<>(groups.getSubscriptionGroupTable()).forEach((name, group) -> lines.add("group " + name + " " + group));
        offsets(RequestCode.GET_ALL_CONSUMER_OFFSET).forEach((name, queues) ->
            lines.add("consumed " + name + " " + new TreeMap<>((JSONObject) queues)));
        lines.add("delayed " + offsets(RequestCode.GET_ALL_DELAY_OFFSET));
    }

    /** Java writes queue ids as names without quotes, which its own reader refuses here and there. */
    private SortedMap<String, Object> offsets(int code) throws Exception {
        JSONObject answer = JSON.parseObject(wire.text(code), JSONReader.Feature.AllowUnQuotedFieldNames);
        return new TreeMap<>(answer.getJSONObject("offsetTable"));
    }

    private void lookUps() throws Exception {
        for (var topic : keys.entrySet()) {
            for (String key : topic.getValue()) {
                lines.add("key " + topic.getKey() + " " + key + " " + query(topic.getKey(), key, false, 0, Long.MAX_VALUE));
            }
        }
        for (var topic : uniqueKeys.entrySet()) {
            for (String key : topic.getValue()) {
                lines.add("unique " + topic.getKey() + " " + key + " " + query(topic.getKey(), key, true, 0, Long.MAX_VALUE));
            }
        }
        for (long offset : physicalOffsets) {
            ViewMessageRequestHeader header = new ViewMessageRequestHeader();
            header.setOffset(offset);
            RemotingCommand answer = wire.call(RequestCode.VIEW_MESSAGE_BY_ID, header);
            lines.add("view " + offset + " code=" + answer.getCode() + " crc=" + crc(answer.getBody()));
        }
    }

    /** The places in the log of what a key finds, in the order of the answer. */
    private String query(String topic, String key, boolean unique, long begin, long end) throws Exception {
        QueryMessageRequestHeader header = new QueryMessageRequestHeader();
        header.setTopic(topic);
        header.setKey(key);
        header.setMaxNum(QUERY_MESSAGES);
        header.setBeginTimestamp(begin);
        header.setEndTimestamp(end);
        RemotingCommand answer = wire.query(header, unique);
        List<Long> found = new ArrayList<>();
        if (answer.getCode() == 0) {
            ByteBuffer records = ByteBuffer.wrap(answer.getBody());
            while (records.hasRemaining()) {
                found.add(records.getLong(records.position() + MessageDecoder.MESSAGE_PHYSIC_OFFSET_POSITION));
                records.position(records.position() + records.getInt(records.position()));
            }
        }
        return "code=" + answer.getCode() + " " + found;
    }

    /** In topics with messages: around the first and the last, around some between them, and where there is nothing. */
    private void byTime(SortedMap<String, TopicConfig> topics) throws Exception {
        if (storeTimes.isEmpty()) {
            return;
        }
        SortedSet<Long> times = new TreeSet<>(List.of(0L, storeTimes.last() + 1_000_000));
        List<Long> all = new ArrayList<>(storeTimes);
        for (int i = 0; i < 5; i++) {
            long time = all.get((all.size() - 1) * i / 4);
            Collections.addAll(times, time - 1, time, time + 1);
        }
        for (TopicConfig topic : topics.values()) {
            for (int queue = 0; queue < topic.getReadQueueNums() && filled.contains(topic.getTopicName()); queue++) {
                StringBuilder found = new StringBuilder();
                for (long time : times) {
                    found.append(' ').append(time).append(':').append(search(topic.getTopicName(), queue, time, BoundaryType.LOWER))
                        .append('-').append(search(topic.getTopicName(), queue, time, BoundaryType.UPPER));
                }
                lines.add("times " + topic.getTopicName() + " " + queue + found);
            }
        }
    }

    private String search(String topic, int queue, long time, BoundaryType boundary) throws Exception {
        SearchOffsetRequestHeader header = new SearchOffsetRequestHeader();
        header.setTopic(topic);
        header.setQueueId(queue);
        header.setTimestamp(time);
        header.setBoundaryType(boundary);
        return wire.call(RequestCode.SEARCH_OFFSET_BY_TIMESTAMP, header).getExtFields().get("offset");
    }
}
