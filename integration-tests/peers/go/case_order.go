package main

// Order: a queue at a time, by one member, message after message.

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/apache/rocketmq-client-go/v2"
	"github.com/apache/rocketmq-client-go/v2/consumer"
	"github.com/apache/rocketmq-client-go/v2/primitive"
	"github.com/apache/rocketmq-client-go/v2/producer"
)

// What orderly members got, key by key, in the order in which they got it.
type ordered struct {
	lock     sync.Mutex
	byKey    map[string][]int
	count    int
	failOnce map[string]bool
}

func (o *ordered) take(_ context.Context, messages ...*primitive.MessageExt) (consumer.ConsumeResult, error) {
	o.lock.Lock()
	defer o.lock.Unlock()
	for _, message := range messages {
		if o.failOnce[string(message.Body)] {
			delete(o.failOnce, string(message.Body))
			return consumer.SuspendCurrentQueueAMoment, nil
		}
		var key string
		var number int
		if _, err := fmt.Sscanf(string(message.Body), "%s %d", &key, &number); err != nil {
			return consumer.ConsumeSuccess, err
		}
		o.byKey[key] = append(o.byKey[key], number)
		o.count++
	}
	return consumer.ConsumeSuccess, nil
}

func (o *ordered) total() int {
	o.lock.Lock()
	defer o.lock.Unlock()
	return o.count
}

// Every key's numbers from 0 on; one that came twice may stand twice, but nothing may be passed over.
func (o *ordered) inOrder(keys, each int, repeats bool) error {
	o.lock.Lock()
	defer o.lock.Unlock()
	for key := 0; key < keys; key++ {
		numbers := o.byKey[fmt.Sprint("k", key)]
		next := 0
		for _, number := range numbers {
			if number > next || (number < next && !repeats) {
				return fmt.Errorf("key %d: %v", key, numbers)
			}
			if number == next {
				next++
			}
		}
		if next != each {
			return fmt.Errorf("key %d has %d of %d: %v", key, next, each, numbers)
		}
	}
	return nil
}

func sendOrdered(client rocketmq.Producer, topic string, keys, from, to int) error {
	for number := from; number < to; number++ {
		for key := 0; key < keys; key++ {
			name := fmt.Sprint("k", key)
			message := primitive.NewMessage(topic, []byte(fmt.Sprint(name, " ", number))).WithShardingKey(name)
			if _, err := send(client, message); err != nil {
				return err
			}
		}
	}
	return nil
}

func (b *bench) orderly(box *ordered, topic, group string, options ...consumer.Option) (rocketmq.PushConsumer, error) {
	return b.consumer(group, []string{topic}, everything, box.take, append(options, consumer.WithConsumerOrder(true))...)
}

func (b *bench) orderedTopic() (string, rocketmq.Producer, error) {
	topic, err := b.topic("t", 4)
	if err != nil {
		return "", nil, err
	}
	client, err := b.producer(producer.WithQueueSelector(producer.NewHashQueueSelector()))
	return topic, client, err
}

func orderly(b *bench) error {
	topic, client, err := b.orderedTopic()
	if err != nil {
		return err
	}
	box := &ordered{byKey: map[string][]int{}}
	if _, err := b.orderly(box, topic, b.called("g")); err != nil {
		return err
	}
	if err := sendOrdered(client, topic, 8, 0, 25); err != nil {
		return err
	}
	if err := within(90*time.Second, "200 messages", func() bool { return box.total() >= 200 }); err != nil {
		return fmt.Errorf("%w, got %d", err, box.total())
	}
	return box.inOrder(8, 25, false)
}

// A message that fails is offered again before those behind it.
func orderlySuspend(b *bench) error {
	topic, client, err := b.orderedTopic()
	if err != nil {
		return err
	}
	box := &ordered{byKey: map[string][]int{}, failOnce: map[string]bool{"k0 3": true, "k1 0": true, "k2 9": true}}
	if _, err := b.orderly(box, topic, b.called("g")); err != nil {
		return err
	}
	if err := sendOrdered(client, topic, 4, 0, 10); err != nil {
		return err
	}
	if err := within(90*time.Second, "40 messages", func() bool { return box.total() >= 40 }); err != nil {
		return fmt.Errorf("%w, got %d", err, box.total())
	}
	return box.inOrder(4, 10, false)
}

// Two members; one leaves in the middle. The other takes its queues over and nothing changes places.
func orderlyMemberLeaves(b *bench) error {
	topic, client, err := b.orderedTopic()
	if err != nil {
		return err
	}
	box := &ordered{byKey: map[string][]int{}}
	group := b.called("g")
	if _, err := b.orderly(box, topic, group); err != nil {
		return err
	}
	leaving, err := b.orderly(box, topic, group)
	if err != nil {
		return err
	}
	if err := sendOrdered(client, topic, 4, 0, 10); err != nil {
		return err
	}
	if err := leaving.Shutdown(); err != nil {
		return err
	}
	if err := sendOrdered(client, topic, 4, 10, 20); err != nil {
		return err
	}
	if err := within(90*time.Second, "80 messages", func() bool { return box.inOrder(4, 20, true) == nil }); err != nil {
		return fmt.Errorf("%w: %v", err, box.inOrder(4, 20, true))
	}
	return nil
}

// An orderly consumer that gives up after two attempts sends the message to the dead letters and goes on.
func orderlyDeadLetter(b *bench) error {
	topic, err := b.topic("t", 1)
	if err != nil {
		return err
	}
	var lock sync.Mutex
	attempts := 0
	after := &inbox{}
	_, err = b.consumer(b.called("g"), []string{topic}, everything,
		func(ctx context.Context, messages ...*primitive.MessageExt) (consumer.ConsumeResult, error) {
			if string(messages[0].Body) == "poison" {
				lock.Lock()
				defer lock.Unlock()
				attempts++
				return consumer.SuspendCurrentQueueAMoment, nil
			}
			return after.take(ctx, messages...)
		}, consumer.WithConsumerOrder(true), consumer.WithMaxReconsumeTimes(1))
	if err != nil {
		return err
	}
	client, err := b.producer()
	if err != nil {
		return err
	}
	for _, body := range []string{"poison", "next"} {
		if _, err := send(client, primitive.NewMessage(topic, []byte(body))); err != nil {
			return err
		}
	}
	if _, err := after.wait(1, 90*time.Second); err != nil {
		lock.Lock()
		defer lock.Unlock()
		return fmt.Errorf("%w after %d attempts", err, attempts)
	}
	return nil
}
