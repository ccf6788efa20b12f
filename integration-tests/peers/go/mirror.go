package main

// Sends every message of a topic back to another: the same body, tag, keys, flag, and properties whose names begin with
// `u-`, and one property more that tells what was received. What came delayed goes back so.

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"sync"

	"github.com/apache/rocketmq-client-go/v2"
	"github.com/apache/rocketmq-client-go/v2/consumer"
	"github.com/apache/rocketmq-client-go/v2/primitive"
	"github.com/apache/rocketmq-client-go/v2/producer"
)

func mirror(namesrv, topic, back, countText string) (string, error) {
	count, err := strconv.Atoi(countText)
	if err != nil {
		return "", err
	}
	resolver := primitive.NewPassthroughResolver([]string{namesrv})
	sender, err := rocketmq.NewProducer(producer.WithNsResolver(resolver), producer.WithGroupName(back+"-producer"),
		producer.WithInstanceName(back+"-producer"))
	if err != nil {
		return "", err
	}
	if err := sender.Start(); err != nil {
		return "", err
	}
	receiver, err := rocketmq.NewPushConsumer(consumer.WithGroupName(back+"-consumer"), consumer.WithNsResolver(resolver),
		consumer.WithInstance(back+"-consumer"), consumer.WithConsumeFromWhere(consumer.ConsumeFromFirstOffset))
	if err != nil {
		return "", err
	}
	var lock sync.Mutex
	seen := map[string]bool{}
	all := consumer.MessageSelector{Type: consumer.TAG, Expression: "*"}
	err = receiver.Subscribe(topic, all, func(ctx context.Context, messages ...*primitive.MessageExt) (consumer.ConsumeResult, error) {
		for _, message := range messages {
			if _, err := sender.SendSync(ctx, mirrored(back, message)); err != nil {
				return consumer.ConsumeRetryLater, err // it comes again
			}
			lock.Lock()
			seen[message.MsgId] = true
			lock.Unlock()
		}
		return consumer.ConsumeSuccess, nil
	})
	if err != nil {
		return "", err
	}
	if err := receiver.Start(); err != nil {
		return "", err
	}
	number := func() int {
		lock.Lock()
		defer lock.Unlock()
		return len(seen)
	}
	if err := await("the messages", func() bool { return number() >= count }); err != nil {
		return "", fmt.Errorf("%w: %d of %d", err, number(), count)
	}
	_ = receiver.Shutdown()
	_ = sender.Shutdown()
	return fmt.Sprintf("mirrored=%d", number()), nil
}

func mirrored(topic string, message *primitive.MessageExt) *primitive.Message {
	answer := primitive.NewMessage(topic, message.Body)
	answer.Flag = message.Flag
	orNull := func(text string) string {
		if text == "" {
			return "null"
		}
		return text
	}
	if message.GetTags() != "" {
		answer.WithTag(message.GetTags())
	}
	if message.GetKeys() != "" {
		answer.WithKeys(strings.Split(message.GetKeys(), " "))
	}
	for name, value := range message.GetProperties() {
		if strings.HasPrefix(name, "u-") {
			answer.WithProperty(name, value)
		}
	}
	if strings.HasPrefix(message.GetKeys(), "level") {
		answer.WithDelayTimeLevel(1)
	}
	answer.WithProperty("seen", strings.Join([]string{message.MsgId, orNull(message.GetTags()), orNull(message.GetKeys()),
		strconv.Itoa(int(message.Flag)), orNull(message.GetProperty("__SHARDINGKEY")), strconv.Itoa(len(message.Body))}, "|"))
	return answer
}
