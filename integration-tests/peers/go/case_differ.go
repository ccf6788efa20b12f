package main

// Members of one group that subscribe differently, which users are told not to do: what both want is not lost.

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/apache/rocketmq-client-go/v2"
	"github.com/apache/rocketmq-client-go/v2/primitive"
	"github.com/apache/rocketmq-client-go/v2/producer"
)

// A producer that is told the queue, and the queues of a new topic.
func (b *bench) byQueue(what string, queues int) (rocketmq.Producer, []*primitive.MessageQueue, error) {
	topic, err := b.topic(what, queues)
	if err != nil {
		return nil, nil, err
	}
	client, err := b.producer(producer.WithQueueSelector(producer.NewManualQueueSelector()))
	if err != nil {
		return nil, nil, err
	}
	all, err := b.tool.FetchPublishMessageQueues(context.Background(), topic)
	return client, all, err
}

func sendTo(client rocketmq.Producer, queue *primitive.MessageQueue, body, tag string) error {
	message := primitive.NewMessage(queue.Topic, []byte(body)).WithTag(tag)
	message.Queue = queue
	_, err := send(client, message)
	return err
}

// Waits until each member has one of two queues for itself: then a message in each comes to each once.
func settled(client rocketmq.Producer, queues []*primitive.MessageQueue, tag string, one, two *inbox) error {
	round := 0
	return within(90*time.Second, "a queue for each member", func() bool {
		probe := fmt.Sprint("probe", round)
		round++
		if first(sendTo(client, queues[0], probe, tag), sendTo(client, queues[1], probe, tag)) != nil {
			return false
		}
		time.Sleep(300 * time.Millisecond)
		return count(one.bodies(), probe) == 1 && count(two.bodies(), probe) == 1
	})
}

func count(all []string, wanted string) int {
	found := 0
	for _, one := range all {
		if one == wanted {
			found++
		}
	}
	return found
}

// The numbered messages of one tag, without the probes.
func (i *inbox) tagged(tag string) []string {
	var bodies []string
	for _, message := range i.all() {
		if message.GetTags() == tag && !strings.HasPrefix(string(message.Body), "probe") {
			bodies = append(bodies, string(message.Body))
		}
	}
	return bodies
}

// By tags: nobody gets what it did not ask for, the newest gets all it asked for in its queue, and what both ask for
// comes once. The older member's own tag may be passed over: Java serves all members with the newest subscription.
func tagsDiffer(b *bench) error {
	client, queues, err := b.byQueue("t", 2)
	if err != nil {
		return err
	}
	group := b.called("g")
	one, err := b.inbox(group, queues[0].Topic, consumerTag("A || C"))
	if err != nil {
		return err
	}
	two, err := b.inbox(group, queues[0].Topic, consumerTag("B || C"))
	if err != nil {
		return err
	}
	if err := settled(client, queues, "C", one, two); err != nil {
		return err
	}
	var shared []string
	for i := 0; i < 10; i++ {
		for _, queue := range queues {
			for _, tag := range []string{"A", "B", "C"} {
				body := fmt.Sprint(tag, queue.QueueId, i)
				if tag == "C" {
					shared = append(shared, body)
				}
				if err := sendTo(client, queue, body, tag); err != nil {
					return err
				}
			}
		}
	}
	err = within(arrival, "what both ask for", func() bool { return len(one.tagged("C"))+len(two.tagged("C")) >= len(shared) })
	if err != nil {
		return fmt.Errorf("%w: %.200q and %.200q", err, one.bodies(), two.bodies())
	}
	time.Sleep(500 * time.Millisecond)
	return first(sameSet(append(one.tagged("C"), two.tagged("C")...), shared),
		same("shared messages of the older member", len(one.tagged("C")), 10),
		same("own messages of the newer member", len(two.tagged("B")), 10),
		same("the newer member's messages at the older", len(one.tagged("B")), 0),
		same("the older member's messages at the newer", len(two.tagged("A")), 0))
}

// By topics: each topic's queues are divided among all members, and those that fall to one that does not know the topic
// wait until it leaves. Nothing is lost.
func topicsDiffer(b *bench) error {
	client, both, err := b.byQueue("both", 2)
	if err != nil {
		return err
	}
	_, single, err := b.byQueue("single", 4)
	if err != nil {
		return err
	}
	group := b.called("g")
	two := &inbox{}
	if _, err := b.consumer(group, []string{both[0].Topic, single[0].Topic}, everything, two.take); err != nil {
		return err
	}
	one := &inbox{}
	leaving, err := b.consumer(group, []string{both[0].Topic}, everything, one.take)
	if err != nil {
		return err
	}
	if err := settled(client, both, "", one, two); err != nil {
		return err
	}
	var shared, own []string
	for i := 0; i < 8; i++ {
		shared, own = append(shared, fmt.Sprint("b", i)), append(own, fmt.Sprint("s", i))
		if err := first(sendTo(client, both[i%2], shared[i], "b"), sendTo(client, single[i%4], own[i], "s")); err != nil {
			return err
		}
	}
	err = within(arrival, "the topic of both", func() bool { return len(one.tagged("b"))+len(two.tagged("b")) >= len(shared) })
	if err != nil {
		return fmt.Errorf("%w: %.200q and %.200q", err, one.bodies(), two.bodies())
	}
	time.Sleep(time.Second)
	if err := first(sameSet(append(one.tagged("b"), two.tagged("b")...), shared), same("of the other topic", len(one.tagged("s")), 0)); err != nil {
		return err
	}
	if alone := len(two.tagged("s")); alone > 4 {
		return fmt.Errorf("%d messages from two of four queues of two messages each", alone)
	}
	if err := leaving.Shutdown(); err != nil {
		return err
	}
	// On Java's broker the topic is the group's again with the next heartbeat, up to 30 s later.
	err = within(90*time.Second, "the queues of who left", func() bool { return len(distinct(two.tagged("s"))) >= len(own) })
	if err != nil {
		return fmt.Errorf("%w: %.300q", err, two.bodies())
	}
	return sameSet(two.tagged("s"), own)
}
