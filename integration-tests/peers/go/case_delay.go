package main

// Messages that arrive later than they were sent.

import (
	"fmt"
	"time"

	"github.com/apache/rocketmq-client-go/v2/primitive"
)

// Sends one message and waits for it; how long it took, and what came.
func sendDelayed(b *bench, prepare func(*primitive.Message)) (*primitive.MessageExt, time.Duration, error) {
	topic, err := b.topic("t", 1)
	if err != nil {
		return nil, 0, err
	}
	box, err := b.inbox(b.called("g"), topic, everything)
	if err != nil {
		return nil, 0, err
	}
	client, err := b.producer()
	if err != nil {
		return nil, 0, err
	}
	// The route is known and the consumer there before time counts.
	if _, err := send(client, primitive.NewMessage(topic, []byte("at once"))); err != nil {
		return nil, 0, err
	}
	if _, err := box.wait(1, arrival); err != nil {
		return nil, 0, err
	}
	message := primitive.NewMessage(topic, []byte("later")).WithTag("T").WithKeys([]string{"k"})
	message.WithProperty("user", "mine")
	prepare(message)
	begin := time.Now()
	result, err := send(client, message)
	if err != nil {
		return nil, 0, err
	}
	got, err := box.wait(2, arrival)
	if err != nil {
		return nil, 0, err
	}
	took := box.times[1].Sub(begin)
	return got[1], took, first(same("topic", got[1].Topic, topic), same("body", string(got[1].Body), "later"),
		same("tag", got[1].GetTags(), "T"), same("keys", got[1].GetKeys(), "k"),
		same("id", got[1].MsgId, result.MsgID), same("property", got[1].GetProperty("user"), "mine"))
}

func inTime(took, least, most time.Duration) error {
	if took < least || took > most {
		return fmt.Errorf("came after %v, not within %v and %v", took, least, most)
	}
	return nil
}

func delayLevel(b *bench) error {
	message, took, err := sendDelayed(b, func(message *primitive.Message) { message.WithDelayTimeLevel(2) })
	if err != nil {
		return err
	}
	return first(inTime(took, 5*time.Second-50*time.Millisecond, arrival),
		same("level", message.GetProperty("DELAY"), "2"),
		same("real topic", message.GetProperty("REAL_TOPIC"), message.Topic))
}

// Timers are exact to a second, and never early by more than that: Java rounds down.
func timerDeliver(b *bench) error {
	_, took, err := sendDelayed(b, func(message *primitive.Message) {
		due := time.Now().Add(4 * time.Second).UnixMilli()
		message.WithProperty("TIMER_DELIVER_MS", fmt.Sprint(due))
	})
	if err != nil {
		return err
	}
	return inTime(took, 1900*time.Millisecond, arrival)
}

func timerDelay(b *bench) error {
	_, took, err := sendDelayed(b, func(message *primitive.Message) { message.WithProperty("TIMER_DELAY_SEC", "4") })
	if err != nil {
		return err
	}
	return inTime(took, 1900*time.Millisecond, arrival)
}
