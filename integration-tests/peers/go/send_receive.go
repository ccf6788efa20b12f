package main

// One producer that sends in every way, one consumer of everything and one of two tags.

import (
	"bytes"
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/apache/rocketmq-client-go/v2"
	"github.com/apache/rocketmq-client-go/v2/admin"
	"github.com/apache/rocketmq-client-go/v2/consumer"
	"github.com/apache/rocketmq-client-go/v2/primitive"
	"github.com/apache/rocketmq-client-go/v2/producer"
)

const each = 20

type received struct {
	lock  sync.Mutex
	times map[string]int
	wrong []string
}

func (r *received) add(message *primitive.MessageExt) {
	r.lock.Lock()
	defer r.lock.Unlock()
	key := message.GetKeys()
	r.times[key]++
	if !bytes.Equal(message.Body, body(key)) || message.GetTags() != tag(key) ||
		message.GetProperty("user") != "property of "+key {
		r.wrong = append(r.wrong, key)
	}
}

func (r *received) count() int {
	r.lock.Lock()
	defer r.lock.Unlock()
	return len(r.times)
}

func tag(key string) string {
	return "Tag" + string("ABC"[len(key)%3])
}

func body(key string) []byte {
	repeat := 1
	if key[0] == 'l' {
		repeat = 1000
	}
	return bytes.Repeat([]byte("body of "+key+" 中文 "), repeat)
}

func newMessage(topic, key string) *primitive.Message {
	message := primitive.NewMessage(topic, body(key)).WithTag(tag(key)).WithKeys([]string{key})
	message.WithProperty("user", "property of "+key)
	return message
}

func startConsumer(resolver primitive.NsResolver, group, topic, tags string) (rocketmq.PushConsumer, *received, error) {
	client, err := rocketmq.NewPushConsumer(
		consumer.WithGroupName(group), consumer.WithNsResolver(resolver), consumer.WithInstance(group),
		consumer.WithConsumeFromWhere(consumer.ConsumeFromFirstOffset))
	if err != nil {
		return nil, nil, err
	}
	got := &received{times: map[string]int{}}
	selector := consumer.MessageSelector{Type: consumer.TAG, Expression: tags}
	err = client.Subscribe(topic, selector, func(_ context.Context, messages ...*primitive.MessageExt) (consumer.ConsumeResult, error) {
		for _, message := range messages {
			got.add(message)
		}
		return consumer.ConsumeSuccess, nil
	})
	if err != nil {
		return nil, nil, err
	}
	return client, got, client.Start()
}

func sendAll(client rocketmq.Producer, topic string) ([]string, error) {
	var keys []string
	next := func(kind string, i int) *primitive.Message {
		key := fmt.Sprintf("%s%d", kind, i)
		keys = append(keys, key)
		return newMessage(topic, key)
	}
	ctx := context.Background()
	for i := 0; i < each; i++ {
		result, err := client.SendSync(ctx, next("sync", i))
		if err != nil || result.Status != primitive.SendOK || result.MsgID == "" {
			return nil, fmt.Errorf("sync %d: %v %v", i, result, err)
		}
	}
	answers := make(chan error, each)
	for i := 0; i < each; i++ {
		err := client.SendAsync(ctx, func(_ context.Context, _ *primitive.SendResult, err error) { answers <- err }, next("async", i))
		if err != nil {
			return nil, fmt.Errorf("async %d: %w", i, err)
		}
	}
	for i := 0; i < each; i++ {
		if err := <-answers; err != nil {
			return nil, fmt.Errorf("async answer: %w", err)
		}
	}
	for i := 0; i < each; i++ {
		if err := client.SendOneWay(ctx, next("oneway", i)); err != nil {
			return nil, fmt.Errorf("oneway %d: %w", i, err)
		}
	}
	var batch []*primitive.Message
	for i := 0; i < each; i++ {
		batch = append(batch, next("batch", i))
	}
	if _, err := client.SendSync(ctx, batch...); err != nil {
		return nil, fmt.Errorf("batch: %w", err)
	}
	if _, err := client.SendSync(ctx, next("large", 0)); err != nil {
		return nil, fmt.Errorf("large: %w", err)
	}
	return keys, nil
}

func await(what string, condition func() bool) error {
	for deadline := time.Now().Add(60 * time.Second); !condition(); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(deadline) {
			return fmt.Errorf("waited for %s", what)
		}
	}
	return nil
}

func checkReceived(got *received, wanted map[string]bool) error {
	if err := await("all messages", func() bool { return got.count() >= len(wanted) }); err != nil {
		return fmt.Errorf("%w: %d of %d", err, got.count(), len(wanted))
	}
	time.Sleep(200 * time.Millisecond) // what should not come would come now
	got.lock.Lock()
	defer got.lock.Unlock()
	if len(got.wrong) > 0 {
		return fmt.Errorf("changed on the way: %v", got.wrong)
	}
	for key, times := range got.times {
		if !wanted[key] || times != 1 {
			return fmt.Errorf("%s came %d times, wanted %t", key, times, wanted[key])
		}
	}
	return nil
}

func sendAndReceive(namesrv, broker, topic string) (string, error) {
	resolver := primitive.NewPassthroughResolver([]string{namesrv})
	tool, err := admin.NewAdmin(admin.WithResolver(resolver))
	if err != nil {
		return "", err
	}
	if err := tool.CreateTopic(context.Background(), admin.WithTopicCreate(topic), admin.WithBrokerAddrCreate(broker)); err != nil {
		return "", fmt.Errorf("create topic: %w", err)
	}
	client, err := rocketmq.NewProducer(producer.WithNsResolver(resolver), producer.WithGroupName(topic+"-producer"))
	if err != nil {
		return "", err
	}
	if err := client.Start(); err != nil {
		return "", err
	}
	all, gotAll, err := startConsumer(resolver, topic+"-all", topic, "*")
	if err != nil {
		return "", err
	}
	some, gotSome, err := startConsumer(resolver, topic+"-some", topic, "TagA || TagB")
	if err != nil {
		return "", err
	}
	keys, err := sendAll(client, topic)
	if err != nil {
		return "", err
	}
	everything, tagged := map[string]bool{}, map[string]bool{}
	for _, key := range keys {
		everything[key] = true
		if tag(key) != "TagC" {
			tagged[key] = true
		}
	}
	if err := checkReceived(gotAll, everything); err != nil {
		return "", fmt.Errorf("all: %w", err)
	}
	if err := checkReceived(gotSome, tagged); err != nil {
		return "", fmt.Errorf("by tag: %w", err)
	}
	if err := tool.DeleteTopic(context.Background(), admin.WithTopicDelete(topic), admin.WithBrokerAddrDelete(broker),
		admin.WithNameSrvAddr([]string{namesrv})); err != nil {
		return "", fmt.Errorf("delete topic: %w", err)
	}
	for _, stop := range []func() error{some.Shutdown, all.Shutdown, client.Shutdown, tool.Close} {
		if err := stop(); err != nil {
			return "", err
		}
	}
	return fmt.Sprintf("messages=%d tagged=%d", len(everything), len(tagged)), nil
}
