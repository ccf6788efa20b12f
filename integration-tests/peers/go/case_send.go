package main

// Sending: every way, what comes back, and what arrives.

import (
	"bytes"
	"context"
	"fmt"
	"math/rand"
	"strings"
	"time"

	"github.com/apache/rocketmq-client-go/v2/primitive"
	"github.com/apache/rocketmq-client-go/v2/producer"
)

const arrival = 60 * time.Second

func sendSync(b *bench) error {
	topic, err := b.topic("t", 4)
	if err != nil {
		return err
	}
	client, err := b.producer()
	if err != nil {
		return err
	}
	offsets := map[int]int64{}
	var ids []string
	for i := 0; i < 20; i++ {
		message := primitive.NewMessage(topic, []byte(fmt.Sprint(i))).WithKeys([]string{"k1", "k2"}).WithTag("T")
		result, err := send(client, message)
		if err != nil {
			return err
		}
		queue := result.MessageQueue.QueueId
		if result.MsgID == "" || len(result.OffsetMsgID) < 32 || queue < 0 || queue > 3 || result.RegionID != "DefaultRegion" {
			return fmt.Errorf("an odd answer: %v", result)
		}
		if err := same("queue offset", result.QueueOffset, offsets[queue]); err != nil {
			return err
		}
		offsets[queue]++
		ids = append(ids, result.MsgID)
	}
	box, err := b.inbox(b.called("g"), topic, everything)
	if err != nil {
		return err
	}
	got, err := box.wait(20, arrival)
	if err != nil {
		return err
	}
	var gotIDs []string
	for _, message := range got {
		gotIDs = append(gotIDs, message.MsgId)
		// Broker and client stamp it in their own ways; a minute is far from both.
		if age := time.Since(time.UnixMilli(message.StoreTimestamp)); age < -time.Minute || age > time.Minute {
			return fmt.Errorf("stored at %d", message.StoreTimestamp)
		}
		if err := first(same("keys", message.GetKeys(), "k1 k2"), same("tag", message.GetTags(), "T"),
			same("topic", message.Topic, topic), same("times", message.ReconsumeTimes, int32(0))); err != nil {
			return err
		}
	}
	return sameSet(gotIDs, ids)
}

func sendAsync(b *bench) error {
	topic, err := b.topic("t", 4)
	if err != nil {
		return err
	}
	client, err := b.producer()
	if err != nil {
		return err
	}
	answers := make(chan error, 50)
	var bodies []string
	for i := 0; i < 50; i++ {
		body := fmt.Sprint("a", i)
		bodies = append(bodies, body)
		err := client.SendAsync(context.Background(), func(_ context.Context, result *primitive.SendResult, err error) {
			if err == nil && (result.Status != primitive.SendOK || result.MsgID == "") {
				err = fmt.Errorf("an odd answer: %v", result)
			}
			answers <- err
		}, primitive.NewMessage(topic, []byte(body)))
		if err != nil {
			return err
		}
	}
	for range bodies {
		if err := <-answers; err != nil {
			return err
		}
	}
	box, err := b.inbox(b.called("g"), topic, everything)
	if err != nil {
		return err
	}
	return box.waitForBodies(bodies, arrival)
}

func sendOneway(b *bench) error {
	topic, err := b.topic("t", 4)
	if err != nil {
		return err
	}
	client, err := b.producer()
	if err != nil {
		return err
	}
	var bodies []string
	for i := 0; i < 50; i++ {
		body := fmt.Sprint("o", i)
		bodies = append(bodies, body)
		if err := client.SendOneWay(context.Background(), primitive.NewMessage(topic, []byte(body))); err != nil {
			return err
		}
	}
	box, err := b.inbox(b.called("g"), topic, everything)
	if err != nil {
		return err
	}
	return box.waitForBodies(bodies, arrival)
}

func sendBatch(b *bench) error {
	topic, err := b.topic("t", 1)
	if err != nil {
		return err
	}
	client, err := b.producer()
	if err != nil {
		return err
	}
	var batch []*primitive.Message
	for i := 0; i < 30; i++ {
		message := primitive.NewMessage(topic, []byte(fmt.Sprint("b", i))).WithTag(fmt.Sprint("T", i%2))
		message.WithProperty("n", fmt.Sprint(i))
		batch = append(batch, message)
	}
	result, err := client.SendSync(context.Background(), batch...)
	if err != nil {
		return err
	}
	ids := strings.Split(result.OffsetMsgID, ",")
	if err := first(same("status", result.Status, primitive.SendOK), same("ids", len(ids), 30),
		same("offset of the first", result.QueueOffset, int64(0))); err != nil {
		return err
	}
	box, err := b.inbox(b.called("g"), topic, consumerTag("T1"))
	if err != nil {
		return err
	}
	got, err := box.wait(15, arrival)
	if err != nil {
		return err
	}
	for _, message := range got {
		n := message.GetProperty("n")
		if err := first(same("body", string(message.Body), "b"+n), same("offset", fmt.Sprint(message.QueueOffset), n)); err != nil {
			return err
		}
	}
	return nil
}

func sendCompressed(b *bench) error {
	topic, err := b.topic("t", 1)
	if err != nil {
		return err
	}
	client, err := b.producer(producer.WithCompressMsgBodyOverHowmuch(1000), producer.WithCompressLevel(9))
	if err != nil {
		return err
	}
	random := make([]byte, 300_000) // does not get smaller
	rand.New(rand.NewSource(7)).Read(random)
	bodies := map[string][]byte{
		"small":  bytes.Repeat([]byte("x"), 999),
		"even":   bytes.Repeat([]byte("compressible "), 50_000),
		"random": random,
	}
	for name, body := range bodies {
		if _, err := send(client, primitive.NewMessage(topic, body).WithTag(name)); err != nil {
			return err
		}
	}
	box, err := b.inbox(b.called("g"), topic, everything)
	if err != nil {
		return err
	}
	got, err := box.wait(3, arrival)
	if err != nil {
		return err
	}
	for _, message := range got {
		if !bytes.Equal(message.Body, bodies[message.GetTags()]) {
			return fmt.Errorf("%s changed: %d bytes", message.GetTags(), len(message.Body))
		}
		// What was compressed for the way is stored so, and smaller.
		if message.GetTags() == "even" && message.StoreSize > 50_000 {
			return fmt.Errorf("stored with %d bytes", message.StoreSize)
		}
	}
	return nil
}

func sendToNewTopic(b *bench) error {
	client, err := b.producer()
	if err != nil {
		return err
	}
	topic := b.called("new")
	bodies, err := sendNumbered(client, topic, "n", 10)
	if err != nil {
		return err
	}
	if err := within(arrival, "the route", func() bool {
		list, err := b.tool.FetchAllTopicList(context.Background())
		return err == nil && contains(list.TopicList, topic)
	}); err != nil {
		return err
	}
	queues, err := b.tool.FetchPublishMessageQueues(context.Background(), topic)
	if err != nil {
		return err
	}
	if err := same("queues", len(queues), 4); err != nil {
		return err
	}
	box, err := b.inbox(b.called("g"), topic, everything)
	if err != nil {
		return err
	}
	return box.waitForBodies(bodies, arrival)
}

// What the broker refuses is told with its code, and the connection lives on.
func sendRefused(b *bench) error {
	topic, err := b.topic("t", 1)
	if err != nil {
		return err
	}
	client, err := b.producer(producer.WithCompressMsgBodyOverHowmuch(1 << 30))
	if err != nil {
		return err
	}
	for _, refusal := range []struct {
		message *primitive.Message
		text    string
	}{
		{primitive.NewMessage(topic, make([]byte, 4*1024*1024+1)), "CODE: 13"},
		{withProperty(primitive.NewMessage(topic, []byte("x")), "p", strings.Repeat("x", 33_000)), "CODE: 13"},
	} {
		_, err := client.SendSync(context.Background(), refusal.message)
		if err == nil || !strings.Contains(err.Error(), refusal.text) {
			return fmt.Errorf("wanted %s, got %.200v", refusal.text, err)
		}
	}
	_, err = send(client, primitive.NewMessage(topic, []byte("small")))
	return err
}

func withProperty(message *primitive.Message, key, value string) *primitive.Message {
	message.WithProperty(key, value)
	return message
}

// Every property of a message arrives as it was sent, and so does its flag.
func propertiesKept(b *bench) error {
	topic, err := b.topic("t", 1)
	if err != nil {
		return err
	}
	client, err := b.producer()
	if err != nil {
		return err
	}
	sent := map[string]string{
		"plain": "value", "中文": "键值 ß €", "blank": "  two  ", "long": strings.Repeat("v", 20_000), "sign": "a=b&c;d,e",
		"SHARDING_KEY": "s", "BUYER_ID": "me", "MSG_REGION_X": "r",
	}
	message := primitive.NewMessage(topic, []byte("\x00\x01\xff")).WithKeys([]string{"键"})
	message.Flag = 0x1234567
	for key, value := range sent {
		message.WithProperty(key, value)
	}
	if _, err := send(client, message); err != nil {
		return err
	}
	box, err := b.inbox(b.called("g"), topic, everything)
	if err != nil {
		return err
	}
	got, err := box.wait(1, arrival)
	if err != nil {
		return err
	}
	for key, value := range sent {
		if err := same("property "+key, got[0].GetProperty(key), value); err != nil {
			return err
		}
	}
	return first(same("flag", got[0].Flag, int32(0x1234567)), same("body", string(got[0].Body), "\x00\x01\xff"),
		same("keys", got[0].GetKeys(), "键"), same("region", got[0].GetProperty("MSG_REGION"), "DefaultRegion"))
}

func selectorManual(b *bench) error {
	topic, err := b.topic("t", 4)
	if err != nil {
		return err
	}
	client, err := b.producer(producer.WithQueueSelector(producer.NewManualQueueSelector()))
	if err != nil {
		return err
	}
	queues, err := b.tool.FetchPublishMessageQueues(context.Background(), topic)
	if err != nil {
		return err
	}
	for i := 0; i < 12; i++ {
		message := primitive.NewMessage(topic, []byte("x"))
		message.Queue = queues[i%3]
		result, err := send(client, message)
		if err != nil {
			return err
		}
		if err := first(same("queue", result.MessageQueue.QueueId, queues[i%3].QueueId),
			same("offset", result.QueueOffset, int64(i/3))); err != nil {
			return err
		}
	}
	message := primitive.NewMessage(topic, []byte("x"))
	message.Queue = &primitive.MessageQueue{Topic: topic, BrokerName: queues[0].BrokerName, QueueId: 99}
	if result, err := client.SendSync(context.Background(), message); err == nil {
		return fmt.Errorf("a queue that is not there took %v", result)
	}
	return nil
}

func selectorHash(b *bench) error {
	topic, err := b.topic("t", 4)
	if err != nil {
		return err
	}
	client, err := b.producer(producer.WithQueueSelector(producer.NewHashQueueSelector()))
	if err != nil {
		return err
	}
	queueOf := map[string]int{}
	for i := 0; i < 60; i++ {
		key := fmt.Sprint("key", i%6)
		result, err := send(client, primitive.NewMessage(topic, []byte(fmt.Sprint(i))).WithShardingKey(key))
		if err != nil {
			return err
		}
		if queue, known := queueOf[key]; known && queue != result.MessageQueue.QueueId {
			return fmt.Errorf("%s went to queues %d and %d", key, queue, result.MessageQueue.QueueId)
		}
		queueOf[key] = result.MessageQueue.QueueId
	}
	return nil
}

func selectorRoundRobin(b *bench) error {
	topic, err := b.topic("t", 4)
	if err != nil {
		return err
	}
	client, err := b.producer(producer.WithQueueSelector(producer.NewRoundRobinQueueSelector()))
	if err != nil {
		return err
	}
	count := map[int]int{}
	for i := 0; i < 40; i++ {
		result, err := send(client, primitive.NewMessage(topic, []byte("x")))
		if err != nil {
			return err
		}
		count[result.MessageQueue.QueueId]++
	}
	for queue := 0; queue < 4; queue++ {
		if err := same(fmt.Sprint("messages in queue ", queue), count[queue], 10); err != nil {
			return err
		}
	}
	return nil
}
