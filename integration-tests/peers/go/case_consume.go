package main

// Push consumers: who gets what, from where on, and what happens when one fails.

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/apache/rocketmq-client-go/v2/consumer"
	"github.com/apache/rocketmq-client-go/v2/primitive"
	"github.com/apache/rocketmq-client-go/v2/producer"
)

func clusteringTwoMembers(b *bench) error {
	topic, err := b.topic("t", 8)
	if err != nil {
		return err
	}
	client, err := b.producer(producer.WithQueueSelector(producer.NewRoundRobinQueueSelector()))
	if err != nil {
		return err
	}
	group := b.called("g")
	one, err := b.inbox(group, topic, everything)
	if err != nil {
		return err
	}
	two, err := b.inbox(group, topic, everything)
	if err != nil {
		return err
	}
	// The first hears of the second by the broker's notice, or by its own clock after 20 s.
	wanted := []string{}
	err = within(90*time.Second, "both members to get messages", func() bool {
		bodies, sendErr := sendNumbered(client, topic, fmt.Sprint("r", len(wanted), "-"), 16)
		if sendErr != nil {
			return false
		}
		wanted = append(wanted, bodies...)
		time.Sleep(300 * time.Millisecond)
		return len(one.all()) > 0 && len(two.all()) > 0
	})
	if err != nil {
		return err
	}
	before := len(two.all())
	last, err := sendNumbered(client, topic, "last", 64)
	if err != nil {
		return err
	}
	wanted = append(wanted, last...)
	err = within(arrival, "all messages", func() bool {
		return len(distinct(append(one.bodies(), two.bodies()...))) >= len(wanted)
	})
	if err != nil {
		return err
	}
	// While queues move a message may come twice; afterwards each member has its own half.
	if got := len(two.all()) - before; got < 16 {
		return fmt.Errorf("the second member got %d of the last 64", got)
	}
	return sameSet(distinct(append(one.bodies(), two.bodies()...)), wanted)
}

func distinct(all []string) []string {
	seen := map[string]bool{}
	var result []string
	for _, one := range all {
		if !seen[one] {
			seen[one] = true
			result = append(result, one)
		}
	}
	return result
}

func broadcasting(b *bench) error {
	topic, err := b.topic("t", 4)
	if err != nil {
		return err
	}
	group := b.called("g")
	one, err := b.inbox(group, topic, everything, consumer.WithConsumerModel(consumer.BroadCasting))
	if err != nil {
		return err
	}
	two, err := b.inbox(group, topic, everything, consumer.WithConsumerModel(consumer.BroadCasting))
	if err != nil {
		return err
	}
	client, err := b.producer()
	if err != nil {
		return err
	}
	bodies, err := sendNumbered(client, topic, "b", 40)
	if err != nil {
		return err
	}
	return first(one.waitForBodies(bodies, arrival), two.waitForBodies(bodies, arrival))
}

func fromFirst(b *bench) error {
	return b.fromWhere(true, consumer.WithConsumeFromWhere(consumer.ConsumeFromFirstOffset))
}

// The broker answers a group without offset that it may begin at 0 while message 0 is young: Java's rule.
func fromLast(b *bench) error {
	return b.fromWhere(true, consumer.WithConsumeFromWhere(consumer.ConsumeFromLastOffset))
}

// By time the same rule holds before the time is looked at.
func fromTimestamp(b *bench) error {
	then := time.Now().UTC().Add(time.Hour).Format("20060102150405")
	return b.fromWhere(true, consumer.WithConsumeFromWhere(consumer.ConsumeFromTimestamp), consumer.WithConsumeTimestamp(then))
}

func (b *bench) fromWhere(wantsOld bool, options ...consumer.Option) error {
	topic, err := b.topic("t", 2)
	if err != nil {
		return err
	}
	client, err := b.producer()
	if err != nil {
		return err
	}
	wanted, err := sendNumbered(client, topic, "old", 10)
	if err != nil {
		return err
	}
	if !wantsOld {
		wanted = nil
	}
	box, err := b.inbox(b.called("g"), topic, everything, options...)
	if err != nil {
		return err
	}
	if err := box.waitForBodies(wanted, arrival); err != nil {
		return err
	}
	recent, err := sendNumbered(client, topic, "new", 10)
	if err != nil {
		return err
	}
	return box.waitForBodies(append(wanted, recent...), arrival)
}

func resumeWhereItStopped(b *bench) error {
	topic, err := b.topic("t", 2)
	if err != nil {
		return err
	}
	client, err := b.producer()
	if err != nil {
		return err
	}
	bodies, err := sendNumbered(client, topic, "before", 30)
	if err != nil {
		return err
	}
	box := &inbox{}
	group := b.called("g")
	consuming, err := b.consumer(group, []string{topic}, everything, box.take)
	if err != nil {
		return err
	}
	if err := box.waitForBodies(bodies, arrival); err != nil {
		return err
	}
	// The client notes that a message is done only after its listener has returned: what is not noted
	// when it shuts down is not committed, and comes again.
	noted := func() bool {
		behind, known := consuming.GetOffsetDiffMap()[topic]
		return known && behind == 0
	}
	if err := await("the client's own notes", noted); err != nil {
		return err
	}
	// It tells the broker every 5 s, from the tenth second on. What it tells as it closes its connection is
	// lost if answers that it has not read make the system reset that.
	time.Sleep(16 * time.Second)
	if err := consuming.Shutdown(); err != nil {
		return err
	}
	bodies, err = sendNumbered(client, topic, "after", 30)
	if err != nil {
		return err
	}
	again, err := b.inbox(group, topic, everything)
	if err != nil {
		return err
	}
	return again.waitForBodies(bodies, arrival)
}

func consumeBatches(b *bench) error {
	topic, err := b.topic("t", 1)
	if err != nil {
		return err
	}
	client, err := b.producer()
	if err != nil {
		return err
	}
	bodies, err := sendNumbered(client, topic, "m", 64)
	if err != nil {
		return err
	}
	box := &inbox{}
	var lock sync.Mutex
	largest := 0
	_, err = b.consumer(b.called("g"), []string{topic}, everything,
		func(ctx context.Context, messages ...*primitive.MessageExt) (consumer.ConsumeResult, error) {
			lock.Lock()
			defer lock.Unlock()
			if len(messages) > largest {
				largest = len(messages)
			}
			return box.take(ctx, messages...)
		}, consumer.WithConsumeMessageBatchMaxSize(16), consumer.WithPullBatchSize(32))
	if err != nil {
		return err
	}
	if err := box.waitForBodies(bodies, arrival); err != nil {
		return err
	}
	lock.Lock()
	defer lock.Unlock()
	return same("largest batch", largest, 16)
}

func twoTopics(b *bench) error {
	left, err := b.topic("left", 1)
	if err != nil {
		return err
	}
	right, err := b.topic("right", 1)
	if err != nil {
		return err
	}
	box := &inbox{}
	if _, err := b.consumer(b.called("g"), []string{left, right}, everything, box.take); err != nil {
		return err
	}
	client, err := b.producer()
	if err != nil {
		return err
	}
	some, err := sendNumbered(client, left, "left", 10)
	if err != nil {
		return err
	}
	others, err := sendNumbered(client, right, "right", 10)
	if err != nil {
		return err
	}
	if err := box.waitForBodies(append(some, others...), arrival); err != nil {
		return err
	}
	for _, message := range box.all() {
		if !strings.HasSuffix(message.Topic, strings.TrimRight(string(message.Body), "0123456789")) {
			return fmt.Errorf("%s came with topic %s", message.Body, message.Topic)
		}
	}
	return nil
}

func suspendAndResume(b *bench) error {
	topic, err := b.topic("t", 1)
	if err != nil {
		return err
	}
	client, err := b.producer()
	if err != nil {
		return err
	}
	box := &inbox{}
	consuming, err := b.consumer(b.called("g"), []string{topic}, everything, box.take)
	if err != nil {
		return err
	}
	bodies, err := sendNumbered(client, topic, "first", 5)
	if err != nil {
		return err
	}
	if err := box.waitForBodies(bodies, arrival); err != nil {
		return err
	}
	consuming.Suspend()
	// The pull that is under way still brings one message; what is sent after it waits.
	last, err := sendNumbered(client, topic, "last", 1)
	if err != nil {
		return err
	}
	bodies = append(bodies, last...)
	if err := box.waitForBodies(bodies, arrival); err != nil {
		return err
	}
	more, err := sendNumbered(client, topic, "meanwhile", 5)
	if err != nil {
		return err
	}
	time.Sleep(2 * time.Second)
	if err := same("messages while suspended", len(box.all()), len(bodies)); err != nil {
		return err
	}
	consuming.Resume()
	// A pull that found the consumer suspended looks again after 30 s.
	return box.waitForBodies(append(bodies, more...), 90*time.Second)
}

// Each strategy gives both members' queues out without leaving one.
func strategies(b *bench) error {
	for name, strategy := range map[string]consumer.AllocateStrategy{
		"circle":     consumer.AllocateByAveragelyCircle,
		"consistent": consumer.AllocateByConsistentHash(10),
	} {
		topic, err := b.topic(name, 6)
		if err != nil {
			return err
		}
		client, err := b.producer(producer.WithQueueSelector(producer.NewRoundRobinQueueSelector()))
		if err != nil {
			return err
		}
		box := &inbox{}
		for member := 0; member < 2; member++ {
			_, err := b.consumer(b.called(name+"g"), []string{topic}, everything, box.take, consumer.WithStrategy(strategy))
			if err != nil {
				return err
			}
		}
		bodies, err := sendNumbered(client, topic, name, 24)
		if err != nil {
			return err
		}
		err = within(90*time.Second, "all messages by "+name, func() bool { return len(distinct(box.bodies())) == len(bodies) })
		if err != nil {
			return err
		}
	}
	return nil
}

// One consumer whose handler fails as often as it is told for each message; what it got.
type failing struct {
	inbox
	failures int32
	level    int
}

func (f *failing) take(ctx context.Context, messages ...*primitive.MessageExt) (consumer.ConsumeResult, error) {
	f.add(messages...)
	if messages[0].ReconsumeTimes < f.failures {
		if concurrently, ok := primitive.GetConcurrentlyCtx(ctx); ok {
			concurrently.DelayLevelWhenNextConsume = f.level
		}
		return consumer.ConsumeRetryLater, nil
	}
	return consumer.ConsumeSuccess, nil
}

func (b *bench) failing(topic, group string, failures int32, level int, options ...consumer.Option) (*failing, error) {
	box := &failing{failures: failures, level: level}
	_, err := b.consumer(group, []string{topic}, everything, box.take, options...)
	return box, err
}

func retryTimes(b *bench) error {
	topic, err := b.topic("t", 1)
	if err != nil {
		return err
	}
	group := b.called("g")
	if err := b.retryTopic(group); err != nil {
		return err
	}
	box, err := b.failing(topic, group, 3, 1)
	if err != nil {
		return err
	}
	client, err := b.producer()
	if err != nil {
		return err
	}
	sent, err := send(client, withProperty(primitive.NewMessage(topic, []byte("again")).WithTag("T"), "user", "mine"))
	if err != nil {
		return err
	}
	got, err := box.wait(4, 90*time.Second)
	if err != nil {
		return err
	}
	for times, message := range got {
		if err := first(same("times", message.ReconsumeTimes, int32(times)), same("id", message.MsgId, sent.MsgID),
			same("topic", message.Topic, topic), same("tag", message.GetTags(), "T"),
			same("property", message.GetProperty("user"), "mine")); err != nil {
			return err
		}
		if times > 0 {
			if err := first(same("retry topic", message.GetProperty("RETRY_TOPIC"), topic),
				same("origin", message.GetProperty("ORIGIN_MESSAGE_ID"), sent.OffsetMsgID)); err != nil {
				return err
			}
			// Level 1 is a second.
			if err := inTime(box.times[times].Sub(box.times[times-1]), 950*time.Millisecond, 90*time.Second); err != nil {
				return err
			}
		}
	}
	return nil
}

// Without a word from the consumer the waiting grows: the first retry comes with level 3, 10 s. And the retry topic is
// one that the broker made when it first heard of the group.
func retryByTheClientsClock(b *bench) error {
	topic, err := b.topic("t", 1)
	if err != nil {
		return err
	}
	box, err := b.failing(topic, b.called("g"), 1, 0)
	if err != nil {
		return err
	}
	client, err := b.producer()
	if err != nil {
		return err
	}
	if _, err := send(client, primitive.NewMessage(topic, []byte("again"))); err != nil {
		return err
	}
	if _, err := box.wait(2, 90*time.Second); err != nil {
		return err
	}
	took := box.times[1].Sub(box.times[0])
	return first(inTime(took, 9900*time.Millisecond, 90*time.Second),
		same("times", box.all()[1].ReconsumeTimes, int32(1)))
}

func deadLetter(b *bench) error {
	topic, err := b.topic("t", 1)
	if err != nil {
		return err
	}
	group := b.called("g")
	if err := b.retryTopic(group); err != nil {
		return err
	}
	box, err := b.failing(topic, group, 1000, 1, consumer.WithMaxReconsumeTimes(2))
	if err != nil {
		return err
	}
	return b.endsInDeadLetters(topic, group, box, 3)
}

// Sends a message that its consumer never takes: it comes so often, then stands among the dead letters.
func (b *bench) endsInDeadLetters(topic, group string, box *failing, deliveries int) error {
	client, err := b.producer()
	if err != nil {
		return err
	}
	sent, err := send(client, withProperty(primitive.NewMessage(topic, []byte("never")).WithKeys([]string{"k"}), "user", "mine"))
	if err != nil {
		return err
	}
	if err := within(90*time.Second, fmt.Sprint(deliveries, " deliveries"), func() bool { return len(box.all()) >= deliveries }); err != nil {
		return fmt.Errorf("%w, got %d", err, len(box.all()))
	}
	letters := "%DLQ%" + group
	if err := within(90*time.Second, letters, func() bool {
		list, err := b.tool.FetchAllTopicList(context.Background())
		return err == nil && contains(list.TopicList, letters)
	}); err != nil {
		return err
	}
	dead, err := b.inbox(b.called("undertaker"), letters, everything)
	if err != nil {
		return err
	}
	got, err := dead.wait(1, arrival)
	if err != nil {
		return err
	}
	if len(box.all()) != deliveries {
		return fmt.Errorf("%d deliveries, not %d", len(box.all()), deliveries)
	}
	return first(same("body", string(got[0].Body), "never"), same("keys", got[0].GetKeys(), "k"),
		same("property", got[0].GetProperty("user"), "mine"), same("id", got[0].MsgId, sent.MsgID),
		same("retry topic", got[0].GetProperty("RETRY_TOPIC"), topic))
}
