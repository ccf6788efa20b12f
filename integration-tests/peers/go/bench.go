package main

// What every case needs: topics and groups of its own, clients that end with it, and an inbox.

import (
	"context"
	"fmt"
	"strconv"
	"sync"
	"time"

	"github.com/apache/rocketmq-client-go/v2"
	"github.com/apache/rocketmq-client-go/v2/admin"
	"github.com/apache/rocketmq-client-go/v2/consumer"
	"github.com/apache/rocketmq-client-go/v2/primitive"
	"github.com/apache/rocketmq-client-go/v2/producer"
)

// The servers under test.
type stage struct {
	namesrv  string
	broker   string
	run      string // differs from run to run, so that one cluster can be used again
	resolver primitive.NsResolver
	tool     admin.Admin
}

func newStage(namesrv, broker string) (*stage, error) {
	resolver := primitive.NewPassthroughResolver([]string{namesrv})
	tool, err := admin.NewAdmin(admin.WithResolver(resolver))
	run := strconv.FormatInt(time.Now().Unix()%1_000_000, 36)
	return &stage{namesrv, broker, run, resolver, tool}, err
}

// One case's place to work.
type bench struct {
	*stage
	name    string
	lock    sync.Mutex
	clients int
	stops   []func() error
}

func (b *bench) onClose(stop func() error) {
	b.lock.Lock()
	defer b.lock.Unlock()
	b.stops = append(b.stops, stop)
}

func (b *bench) close() {
	b.lock.Lock()
	stops := b.stops
	b.stops = nil
	b.lock.Unlock()
	for i := len(stops) - 1; i >= 0; i-- {
		_ = stops[i]()
	}
}

// A name that only this case uses.
func (b *bench) called(what string) string {
	return "go" + b.run + "-" + b.name + "-" + what
}

// An instance name, so that each client has connections of its own.
func (b *bench) instance() string {
	b.lock.Lock()
	defer b.lock.Unlock()
	b.clients++
	return fmt.Sprintf("%s-%d", b.name, b.clients)
}

// Creates a topic and waits until the name server knows it.
func (b *bench) topic(what string, queues int) (string, error) {
	name := b.called(what)
	return name, b.createTopic(name, queues, 6)
}

func (b *bench) createTopic(name string, queues, perm int) error {
	err := b.tool.CreateTopic(context.Background(), admin.WithTopicCreate(name), admin.WithBrokerAddrCreate(b.broker),
		admin.WithReadQueueNums(queues), admin.WithWriteQueueNums(queues), admin.WithPerm(perm))
	if err != nil {
		return fmt.Errorf("create topic %s: %w", name, err)
	}
	return within(60*time.Second, "the route of "+name, func() bool {
		list, err := b.tool.FetchAllTopicList(context.Background())
		return err == nil && contains(list.TopicList, name)
	})
}

// The retry topic of a group beforehand: else a client finds it when it next asks for routes, up to 30 s later.
func (b *bench) retryTopic(group string) error {
	return b.createTopic("%RETRY%"+group, 1, 6)
}

func contains(list []string, wanted string) bool {
	for _, one := range list {
		if one == wanted {
			return true
		}
	}
	return false
}

// A started producer.
func (b *bench) producer(options ...producer.Option) (rocketmq.Producer, error) {
	all := append([]producer.Option{producer.WithNsResolver(b.resolver), producer.WithInstanceName(b.instance()),
		producer.WithGroupName(b.called("producer"))}, options...)
	client, err := rocketmq.NewProducer(all...)
	if err != nil {
		return nil, err
	}
	if err := client.Start(); err != nil {
		return nil, err
	}
	b.onClose(client.Shutdown)
	return client, nil
}

type handler func(context.Context, ...*primitive.MessageExt) (consumer.ConsumeResult, error)

// A started push consumer from the first offset on, unless the options say otherwise.
func (b *bench) consumer(group string, topics []string, selector consumer.MessageSelector, handle handler,
	options ...consumer.Option) (rocketmq.PushConsumer, error) {
	all := append([]consumer.Option{consumer.WithNsResolver(b.resolver), consumer.WithInstance(b.instance()),
		consumer.WithGroupName(group), consumer.WithConsumeFromWhere(consumer.ConsumeFromFirstOffset)}, options...)
	client, err := rocketmq.NewPushConsumer(all...)
	if err != nil {
		return nil, err
	}
	for _, topic := range topics {
		if err := client.Subscribe(topic, selector, handle); err != nil {
			return nil, err
		}
	}
	if err := client.Start(); err != nil {
		return nil, err
	}
	b.onClose(client.Shutdown)
	return client, nil
}

// A consumer of one topic whose messages land in an inbox.
func (b *bench) inbox(group, topic string, selector consumer.MessageSelector, options ...consumer.Option) (*inbox, error) {
	box := &inbox{}
	_, err := b.consumer(group, []string{topic}, selector, box.take, options...)
	return box, err
}

var everything = consumer.MessageSelector{Type: consumer.TAG, Expression: "*"}

// What a consumer got, with the time of each.
type inbox struct {
	lock     sync.Mutex
	messages []*primitive.MessageExt
	times    []time.Time
}

func (i *inbox) take(_ context.Context, messages ...*primitive.MessageExt) (consumer.ConsumeResult, error) {
	i.add(messages...)
	return consumer.ConsumeSuccess, nil
}

func (i *inbox) add(messages ...*primitive.MessageExt) {
	i.lock.Lock()
	defer i.lock.Unlock()
	for _, message := range messages {
		i.messages = append(i.messages, message)
		i.times = append(i.times, time.Now())
	}
}

func (i *inbox) all() []*primitive.MessageExt {
	i.lock.Lock()
	defer i.lock.Unlock()
	return append([]*primitive.MessageExt(nil), i.messages...)
}

func (i *inbox) bodies() []string {
	var bodies []string
	for _, message := range i.all() {
		bodies = append(bodies, string(message.Body))
	}
	return bodies
}

// Waits for a number of messages, and a moment longer for those that should not come.
func (i *inbox) wait(count int, limit time.Duration) ([]*primitive.MessageExt, error) {
	err := within(limit, fmt.Sprintf("%d messages", count), func() bool { return len(i.all()) >= count })
	if err != nil {
		return nil, fmt.Errorf("%w, got %d: %.300q", err, len(i.all()), i.bodies())
	}
	time.Sleep(200 * time.Millisecond)
	all := i.all()
	if len(all) != count {
		return nil, fmt.Errorf("wanted %d messages, got %d: %.300q", count, len(all), i.bodies())
	}
	return all, nil
}

// Waits for each of the bodies once, in any order.
func (i *inbox) waitForBodies(wanted []string, limit time.Duration) error {
	if _, err := i.wait(len(wanted), limit); err != nil {
		return err
	}
	return sameSet(i.bodies(), wanted)
}

func sameSet(got, wanted []string) error {
	count := map[string]int{}
	for _, one := range wanted {
		count[one]++
	}
	for _, one := range got {
		count[one]--
	}
	for one, difference := range count {
		if difference != 0 {
			return fmt.Errorf("%.60q came %d times too often; got %.300q", one, -difference, got)
		}
	}
	return nil
}

func within(limit time.Duration, what string, condition func() bool) error {
	for deadline := time.Now().Add(limit); !condition(); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(deadline) {
			return fmt.Errorf("waited %v for %s", limit, what)
		}
	}
	return nil
}

// Sends numbered messages one after the other; their bodies.
func sendNumbered(client rocketmq.Producer, topic, prefix string, count int) ([]string, error) {
	var bodies []string
	for i := 0; i < count; i++ {
		body := fmt.Sprintf("%s%d", prefix, i)
		if _, err := send(client, primitive.NewMessage(topic, []byte(body))); err != nil {
			return nil, err
		}
		bodies = append(bodies, body)
	}
	return bodies, nil
}

// Sends and insists on success.
func send(client rocketmq.Producer, message *primitive.Message) (*primitive.SendResult, error) {
	result, err := client.SendSync(context.Background(), message)
	if err != nil {
		return nil, fmt.Errorf("send %.40q: %w", message.Body, err)
	}
	if result.Status != primitive.SendOK {
		return nil, fmt.Errorf("send %.40q: %v", message.Body, result)
	}
	return result, nil
}

// An error unless the two are the same.
func same(what string, got, wanted interface{}) error {
	if got != wanted {
		return fmt.Errorf("%s is %v, not %v", what, got, wanted)
	}
	return nil
}

// The first error.
func first(errs ...error) error {
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}
