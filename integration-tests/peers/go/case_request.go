package main

// Request and reply.

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/apache/rocketmq-client-go/v2"
	"github.com/apache/rocketmq-client-go/v2/consumer"
	"github.com/apache/rocketmq-client-go/v2/primitive"
)

// A consumer that answers each request with "re: " and its body; the requester; the topic.
func (b *bench) replying() (rocketmq.Producer, string, *replies, error) {
	topic, err := b.topic("t", 2)
	if err != nil {
		return nil, "", nil, err
	}
	replier, err := b.producer()
	if err != nil {
		return nil, "", nil, err
	}
	answers := &replies{producer: replier}
	if _, err := b.consumer(b.called("g"), []string{topic}, everything, answers.handle); err != nil {
		return nil, "", nil, err
	}
	requester, err := b.producer()
	if err != nil {
		return nil, "", nil, err
	}
	return requester, topic, answers, b.makeKnown(requester)
}

// The broker can reach only a requester that sent it a heartbeat, and this client sends its first one second after its
// start, to the brokers it knows by then.
func (b *bench) makeKnown(requester rocketmq.Producer) error {
	topic, err := b.topic("greeting", 1)
	if err != nil {
		return err
	}
	if _, err := send(requester, primitive.NewMessage(topic, []byte("hello"))); err != nil {
		return err
	}
	time.Sleep(2 * time.Second)
	return nil
}

type replies struct {
	producer rocketmq.Producer
	lock     sync.Mutex
	failures []error
}

func (r *replies) handle(_ context.Context, messages ...*primitive.MessageExt) (consumer.ConsumeResult, error) {
	for _, message := range messages {
		if err := r.reply(message); err != nil {
			r.lock.Lock()
			r.failures = append(r.failures, err)
			r.lock.Unlock()
		}
	}
	return consumer.ConsumeSuccess, nil
}

func (r *replies) reply(request *primitive.MessageExt) error {
	body := []byte("re: " + string(request.Body))
	reply, err := consumer.CreateReplyMessage(request, body)
	if err != nil {
		return err
	}
	reply.Body = body // the client leaves it out, and Java's broker fails on that
	reply.WithProperty("mood", "good")
	result, err := r.producer.SendSync(context.Background(), reply)
	if err != nil {
		return err
	}
	return same("status of the reply", result.Status, primitive.SendOK)
}

func (r *replies) failed() error {
	r.lock.Lock()
	defer r.lock.Unlock()
	return first(r.failures...)
}

func requestReply(b *bench) error {
	requester, topic, answers, err := b.replying()
	if err != nil {
		return err
	}
	for i := 0; i < 10; i++ {
		body := fmt.Sprint("question ", i)
		reply, err := requester.Request(context.Background(), 60*time.Second, primitive.NewMessage(topic, []byte(body)))
		if err != nil {
			return fmt.Errorf("%w; replying: %v", err, answers.failed())
		}
		if err := first(same("reply", string(reply.Body), "re: "+body), same("property", reply.GetProperty("mood"), "good")); err != nil {
			return err
		}
	}
	return answers.failed()
}

func requestReplyAsync(b *bench) error {
	requester, topic, answers, err := b.replying()
	if err != nil {
		return err
	}
	got := make(chan string, 20)
	var wanted []string
	for i := 0; i < 10; i++ {
		body := fmt.Sprint("q", i)
		wanted = append(wanted, "re: "+body)
		err := requester.RequestAsync(context.Background(), 60*time.Second,
			func(_ context.Context, reply *primitive.Message, err error) {
				// The client calls back a second time when it forgets the request.
				if err == nil && reply != nil {
					got <- string(reply.Body)
				}
			}, primitive.NewMessage(topic, []byte(body)))
		if err != nil {
			return err
		}
	}
	seen := map[string]bool{}
	deadline := time.After(60 * time.Second)
	for len(seen) < len(wanted) {
		select {
		case body := <-got:
			seen[body] = true
		case <-deadline:
			return fmt.Errorf("%d of %d replies; replying: %v", len(seen), len(wanted), answers.failed())
		}
	}
	for _, body := range wanted {
		if !seen[body] {
			return fmt.Errorf("no %q in %v", body, seen)
		}
	}
	return answers.failed()
}

// Nobody answers: the requester hears of it in time, and its message is there all the same.
func requestTimeout(b *bench) error {
	topic, err := b.topic("t", 1)
	if err != nil {
		return err
	}
	requester, err := b.producer()
	if err != nil {
		return err
	}
	begin := time.Now()
	reply, err := requester.Request(context.Background(), 3*time.Second, primitive.NewMessage(topic, []byte("anyone?")))
	if err == nil {
		return fmt.Errorf("a reply from nobody: %v", reply)
	}
	if err := inTime(time.Since(begin), 2900*time.Millisecond, 60*time.Second); err != nil {
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
	return first(same("ttl", got[0].GetProperty("TTL"), "3"), same("cluster", got[0].GetProperty("CLUSTER"), "DefaultCluster"),
		same("asks for a reply", got[0].GetProperty("REPLY_TO_CLIENT") != "", true))
}
