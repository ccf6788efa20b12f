package main

// Pull consumers: the application says what it wants.

import (
	"context"
	"fmt"
	"time"

	"github.com/apache/rocketmq-client-go/v2"
	"github.com/apache/rocketmq-client-go/v2/consumer"
	"github.com/apache/rocketmq-client-go/v2/primitive"
)

func (b *bench) pull(group, topic string, selector consumer.MessageSelector, options ...consumer.Option) (rocketmq.PullConsumer, error) {
	all := append([]consumer.Option{consumer.WithNsResolver(b.resolver), consumer.WithInstance(b.instance()),
		consumer.WithGroupName(group)}, options...)
	client, err := rocketmq.NewPullConsumer(all...)
	if err != nil {
		return nil, err
	}
	if err := client.Subscribe(topic, selector); err != nil {
		return nil, err
	}
	if err := client.Start(); err != nil {
		return nil, err
	}
	b.onClose(client.Shutdown)
	return client, nil
}

// A topic of one queue with numbered messages, and that queue.
func (b *bench) filled(count int) (string, *primitive.MessageQueue, error) {
	topic, err := b.topic("t", 1)
	if err != nil {
		return "", nil, err
	}
	client, err := b.producer()
	if err != nil {
		return "", nil, err
	}
	for i := 0; i < count; i++ {
		message := primitive.NewMessage(topic, []byte(fmt.Sprint("m", i))).WithTag(fmt.Sprint("T", i%3))
		if _, err := send(client, message); err != nil {
			return "", nil, err
		}
	}
	queues, err := b.tool.FetchPublishMessageQueues(context.Background(), topic)
	if err != nil {
		return "", nil, err
	}
	return topic, queues[0], same("queues", len(queues), 1)
}

func pullFrom(b *bench) error {
	topic, queue, err := b.filled(50)
	if err != nil {
		return err
	}
	client, err := b.pull(b.called("g"), topic, everything)
	if err != nil {
		return err
	}
	offset, number := int64(0), 0
	for offset < 50 {
		result, err := client.PullFrom(context.Background(), queue, offset, 20)
		if err != nil {
			return err
		}
		if err := first(same("status", result.Status, primitive.PullFound), same("min", result.MinOffset, int64(0)),
			same("max", result.MaxOffset, int64(50))); err != nil {
			return err
		}
		for _, message := range result.GetMessageExts() {
			if err := first(same("body", string(message.Body), fmt.Sprint("m", number)),
				same("offset", message.QueueOffset, int64(number))); err != nil {
				return err
			}
			number++
		}
		if err := same("next offset", result.NextBeginOffset, int64(number)); err != nil {
			return err
		}
		offset = result.NextBeginOffset
	}
	return same("messages", number, 50)
}

// Beyond the end: the broker says where to go on.
func offsetIllegal(b *bench) error {
	topic, queue, err := b.filled(5)
	if err != nil {
		return err
	}
	client, err := b.pull(b.called("g"), topic, everything)
	if err != nil {
		return err
	}
	result, err := client.PullFrom(context.Background(), queue, 1000, 20)
	if err != nil {
		return err
	}
	if err := first(same("status", result.Status, primitive.PullOffsetIllegal),
		same("next offset", result.NextBeginOffset, int64(5))); err != nil {
		return err
	}
	// At the end the broker holds the request for a while, and says that there is nothing.
	begin := time.Now()
	result, err = client.PullFrom(context.Background(), queue, 5, 20)
	if err != nil {
		return err
	}
	return first(same("status", result.Status, primitive.PullNoNewMsg), inTime(time.Since(begin), 3*time.Second, 60*time.Second))
}

func pullByTag(b *bench) error {
	topic, queue, err := b.filled(30)
	if err != nil {
		return err
	}
	client, err := b.pull(b.called("g"), topic, consumerTag("T1"))
	if err != nil {
		return err
	}
	result, err := client.PullFrom(context.Background(), queue, 0, 32)
	if err != nil {
		return err
	}
	for _, message := range result.GetMessageExts() {
		if err := same("tag", message.GetTags(), "T1"); err != nil {
			return err
		}
	}
	return first(same("status", result.Status, primitive.PullFound), same("messages", len(result.GetMessageExts()), 10))
}

// Offsets that the application keeps and persists are where the group goes on.
func pullOffsets(b *bench) error {
	topic, _, err := b.filled(20)
	if err != nil {
		return err
	}
	group := b.called("g")
	client, err := b.pull(group, topic, everything, consumer.WithConsumeFromWhere(consumer.ConsumeFromFirstOffset))
	if err != nil {
		return err
	}
	got := 0
	var request *consumer.ConsumeRequest
	err = within(arrival, "20 messages", func() bool {
		request, err = client.Poll(context.Background(), time.Second)
		if err != nil {
			return false
		}
		client.ACK(context.Background(), request, consumer.ConsumeSuccess)
		got += len(request.GetMsgList())
		return got >= 20
	})
	if err != nil {
		return err
	}
	current, err := client.CurrentOffset(request.GetMQ())
	if err != nil {
		return err
	}
	if err := same("current offset", current, int64(20)); err != nil {
		return err
	}
	if err := first(client.UpdateOffset(request.GetMQ(), 12), client.PersistOffset(context.Background(), topic), client.Shutdown()); err != nil {
		return err
	}
	box, err := b.inbox(group, topic, everything)
	if err != nil {
		return err
	}
	var wanted []string
	for i := 12; i < 20; i++ {
		wanted = append(wanted, fmt.Sprint("m", i))
	}
	return box.waitForBodies(wanted, arrival)
}

// Polling with acknowledgement: what was acknowledged does not come again to the next member.
func pollAndAck(b *bench) error {
	topic, _, err := b.filled(10)
	if err != nil {
		return err
	}
	group := b.called("g")
	client, err := b.pull(group, topic, everything, consumer.WithConsumeFromWhere(consumer.ConsumeFromFirstOffset))
	if err != nil {
		return err
	}
	var got, wanted []string
	err = within(arrival, "10 messages", func() bool {
		request, err := client.Poll(context.Background(), time.Second)
		if err != nil {
			return false
		}
		for _, message := range request.GetMsgList() {
			got = append(got, string(message.Body))
		}
		client.ACK(context.Background(), request, consumer.ConsumeSuccess)
		return len(got) >= 10
	})
	if err != nil {
		return err
	}
	for i := 0; i < 10; i++ {
		wanted = append(wanted, fmt.Sprint("m", i))
	}
	if err := first(sameSet(got, wanted), client.Shutdown()); err != nil {
		return err
	}
	again, err := b.inbox(group, topic, everything)
	if err != nil {
		return err
	}
	time.Sleep(2 * time.Second)
	return same("messages again", len(again.all()), 0)
}
