package main

// What the Go client has no calls of its own for, and reaches by properties: priorities and light queues.

import (
	"context"
	"fmt"
	"time"

	"github.com/apache/rocketmq-client-go/v2/consumer"
	"github.com/apache/rocketmq-client-go/v2/primitive"
	"github.com/apache/rocketmq-client-go/v2/producer"
)

const (
	propertyPriority = "_SYS_MSG_PRIORITY_"
	propertyLight    = "INNER_MULTI_DISPATCH"
	// What Java calls so; the Go client's own name for it, SHARDING_KEY, tells no broker anything.
	propertyShardingKey = "__SHARDINGKEY"
)

// A message with a priority goes into the queue of its number, whatever its producer chose, unless it is ordered.
func priority(b *bench) error {
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
	expected := map[string]struct {
		queue int
		kept  string
	}{}
	for _, sent := range []struct {
		priority    string
		shardingKey string
		queue       int
		kept        string
	}{
		{"0", "", 0, "0"}, {"2", "", 2, "2"}, {"3", "", 3, "3"}, {"9", "", 3, "9"},
		{"-1", "", 1, "-1"}, {"high", "", 1, "high"}, {"2", "order", 1, ""},
	} {
		message := primitive.NewMessage(topic, []byte(sent.priority+sent.shardingKey))
		message.WithProperty(propertyPriority, sent.priority)
		if sent.shardingKey != "" {
			message.WithProperty(propertyShardingKey, sent.shardingKey)
		}
		message.Queue = queues[1]
		result, err := send(client, message)
		if err != nil {
			return err
		}
		if err := same("queue of "+string(message.Body), result.MessageQueue.QueueId, sent.queue); err != nil {
			return err
		}
		expected[string(message.Body)] = struct {
			queue int
			kept  string
		}{sent.queue, sent.kept}
	}
	box, err := b.inbox(b.called("g"), topic, everything)
	if err != nil {
		return err
	}
	got, err := box.wait(len(expected), arrival)
	if err != nil {
		return err
	}
	for _, message := range got {
		body := string(message.Body)
		if err := first(same("queue of "+body, message.Queue.QueueId, expected[body].queue),
			same("priority of "+body, message.GetProperty(propertyPriority), expected[body].kept)); err != nil {
			return err
		}
	}
	return nil
}

// Messages lie in their topic and in each light queue that they name. Light queues are in no route: a pull consumer of
// the topic, which knows its broker, pulls them by name.
func lightQueues(b *bench) error {
	topic, queue, err := b.filled(1)
	if err != nil {
		return err
	}
	client, err := b.producer()
	if err != nil {
		return err
	}
	names := []string{"%LMQ%" + topic + "-all", "%LMQ%" + topic + "-odd"}
	wanted := map[string][]string{}
	dispatch := func(body string, names ...string) error {
		joined := ""
		for i, name := range names {
			if i > 0 {
				joined += ","
			}
			joined += name
			wanted[name] = append(wanted[name], body)
		}
		_, err := send(client, withProperty(primitive.NewMessage(topic, []byte(body)), propertyLight, joined))
		return err
	}
	bodies := []string{"m0"} // what was there before, and names none
	for i := 0; i < 10; i++ {
		body := fmt.Sprint("light", i)
		bodies = append(bodies, body)
		if err := dispatch(body, names[:1+i%2]...); err != nil {
			return err
		}
	}
	box, err := b.inbox(b.called("g"), topic, everything)
	if err != nil {
		return err
	}
	if err := box.waitForBodies(bodies, arrival); err != nil {
		return err
	}
	reader, err := b.pull(b.called("reader"), topic, everything, consumer.WithConsumeFromWhere(consumer.ConsumeFromFirstOffset))
	if err != nil {
		return err
	}
	for _, name := range names {
		light := &primitive.MessageQueue{Topic: name, BrokerName: queue.BrokerName}
		for from := range wanted[name] {
			result, err := reader.PullFrom(context.Background(), light, int64(from), 32)
			if err != nil {
				return err
			}
			if err := first(same("status", result.Status, primitive.PullFound),
				same("max of "+name, result.MaxOffset, int64(len(wanted[name]))),
				same("messages of "+name, fmt.Sprint(bodiesOf(result)), fmt.Sprint(wanted[name][from:]))); err != nil {
				return fmt.Errorf("from %d: %w", from, err)
			}
		}
	}
	// At the end a pull waits, until the next message that names this light queue.
	odd := &primitive.MessageQueue{Topic: names[1], BrokerName: queue.BrokerName}
	answer := make(chan error, 1)
	go func() {
		result, err := reader.PullFrom(context.Background(), odd, 5, 32)
		if err == nil {
			err = first(same("status", result.Status, primitive.PullFound), same("messages", fmt.Sprint(bodiesOf(result)), "[last]"))
		}
		answer <- err
	}()
	time.Sleep(500 * time.Millisecond)
	return first(dispatch("other", names[0]), dispatch("last", names[1]), <-answer)
}

func bodiesOf(result *primitive.PullResult) []string {
	var bodies []string
	for _, message := range result.GetMessageExts() {
		bodies = append(bodies, string(message.Body))
	}
	return bodies
}
