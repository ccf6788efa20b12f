package main

// The administrator of the Go client, and what surrounds messages: traces, interceptors, namespaces.

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/apache/rocketmq-client-go/v2/admin"
	"github.com/apache/rocketmq-client-go/v2/consumer"
	"github.com/apache/rocketmq-client-go/v2/primitive"
	"github.com/apache/rocketmq-client-go/v2/producer"
)

func adminTopics(b *bench) error {
	topic, err := b.topic("t", 5)
	if err != nil {
		return err
	}
	queues, err := b.tool.FetchPublishMessageQueues(context.Background(), topic)
	if err != nil {
		return err
	}
	if err := same("queues", len(queues), 5); err != nil {
		return err
	}
	if err := b.createTopic(topic, 7, 6); err != nil {
		return err
	}
	if err := within(arrival, "7 queues", func() bool {
		fresh, err := admin.NewAdmin(admin.WithResolver(b.resolver))
		if err != nil {
			return false
		}
		queues, err = fresh.FetchPublishMessageQueues(context.Background(), topic)
		_ = fresh.Close()
		return err == nil && len(queues) == 7
	}); err != nil {
		return err
	}
	err = b.tool.DeleteTopic(context.Background(), admin.WithTopicDelete(topic), admin.WithBrokerAddrDelete(b.broker),
		admin.WithNameSrvAddr([]string{b.namesrv}))
	if err != nil {
		return err
	}
	return within(arrival, "the end of the topic", func() bool {
		list, err := b.tool.FetchAllTopicList(context.Background())
		return err == nil && !contains(list.TopicList, topic)
	})
}

// A group is there from the first heartbeat of a consumer on.
func adminGroups(b *bench) error {
	topic, err := b.topic("t", 1)
	if err != nil {
		return err
	}
	group := b.called("g")
	if _, err := b.inbox(group, topic, everything); err != nil {
		return err
	}
	return within(arrival, "the group", func() bool {
		groups, err := b.tool.GetAllSubscriptionGroup(context.Background(), b.broker, 15*time.Second)
		if err != nil {
			return false
		}
		config, known := groups.SubscriptionGroupTable[group]
		return known && config.ConsumeEnable && config.RetryMaxTimes == 16 && config.RetryQueueNums == 1
	})
}

func readOnlyTopic(b *bench) error {
	topic, err := b.topic("t", 1)
	if err != nil {
		return err
	}
	client, err := b.producer()
	if err != nil {
		return err
	}
	bodies, err := sendNumbered(client, topic, "m", 5)
	if err != nil {
		return err
	}
	if err := b.createTopic(topic, 1, 4); err != nil {
		return err
	}
	// A producer that knows the route from before may go on; one that asks now finds nowhere to send to.
	late, err := b.producer()
	if err != nil {
		return err
	}
	if result, err := late.SendSync(context.Background(), primitive.NewMessage(topic, []byte("x"))); err == nil {
		return fmt.Errorf("a topic for reading only took %v", result)
	}
	box, err := b.inbox(b.called("g"), topic, everything)
	if err != nil {
		return err
	}
	return box.waitForBodies(bodies, arrival)
}

func trace(b *bench) error {
	topic, err := b.topic("t", 1)
	if err != nil {
		return err
	}
	traced := &primitive.TraceConfig{Access: primitive.Local, Resolver: b.resolver}
	client, err := b.producer(producer.WithTrace(traced))
	if err != nil {
		return err
	}
	box, err := b.inbox(b.called("g"), topic, everything, consumer.WithTrace(traced))
	if err != nil {
		return err
	}
	sent, err := send(client, primitive.NewMessage(topic, []byte("traced")).WithKeys([]string{"tracekey"}))
	if err != nil {
		return err
	}
	if err := same("trace wanted", sent.TraceOn, true); err != nil {
		return err
	}
	if _, err := box.wait(1, arrival); err != nil {
		return err
	}
	traces, err := b.inbox(b.called("auditor"), "RMQ_SYS_TRACE_TOPIC", everything)
	if err != nil {
		return err
	}
	for _, kind := range []string{"Pub", "SubBefore", "SubAfter"} {
		err := within(60*time.Second, kind, func() bool {
			for _, record := range strings.Split(strings.Join(traces.bodies(), "\x02"), "\x02") {
				if strings.HasPrefix(record, kind+"\x01") && strings.Contains(record, sent.MsgID) {
					return true
				}
			}
			return false
		})
		if err != nil {
			return err
		}
	}
	return nil
}

func interceptors(b *bench) error {
	topic, err := b.topic("t", 1)
	if err != nil {
		return err
	}
	client, err := b.producer(producer.WithInterceptor(
		func(ctx context.Context, req, reply interface{}, next primitive.Invoker) error {
			req.(*primitive.Message).WithProperty("by", "producer")
			return next(ctx, req, reply)
		}))
	if err != nil {
		return err
	}
	box, err := b.inbox(b.called("g"), topic, everything, consumer.WithInterceptor(
		func(ctx context.Context, req, reply interface{}, next primitive.Invoker) error {
			for _, message := range req.([]*primitive.MessageExt) {
				message.WithProperty("seen", message.GetProperty("by"))
			}
			return next(ctx, req, reply)
		}))
	if err != nil {
		return err
	}
	if _, err := send(client, primitive.NewMessage(topic, []byte("x"))); err != nil {
		return err
	}
	got, err := box.wait(1, arrival)
	if err != nil {
		return err
	}
	return first(same("set when sent", got[0].GetProperty("by"), "producer"),
		same("set when received", got[0].GetProperty("seen"), "producer"))
}

// A namespace stands before topic and group, with a %.
func namespaces(b *bench) error {
	plain := b.called("t")
	full := "ns%" + plain
	if err := b.createTopic(full, 2, 6); err != nil {
		return err
	}
	client, err := b.producer(producer.WithNamespace("ns"))
	if err != nil {
		return err
	}
	box, err := b.inbox(b.called("g"), plain, everything, consumer.WithNamespace("ns"))
	if err != nil {
		return err
	}
	bodies, err := sendNumbered(client, plain, "n", 10)
	if err != nil {
		return err
	}
	if err := box.waitForBodies(bodies, arrival); err != nil {
		return err
	}
	outside, err := b.inbox(b.called("outside"), full, everything)
	if err != nil {
		return err
	}
	return outside.waitForBodies(bodies, arrival)
}

// A unit's name is part of the client's id, and otherwise nothing changes.
func unitName(b *bench) error {
	topic, err := b.topic("t", 1)
	if err != nil {
		return err
	}
	client, err := b.producer(producer.WithUnitName("unit"))
	if err != nil {
		return err
	}
	box, err := b.inbox(b.called("g"), topic, everything, consumer.WithUnitName("unit"))
	if err != nil {
		return err
	}
	bodies, err := sendNumbered(client, topic, "u", 5)
	if err != nil {
		return err
	}
	return box.waitForBodies(bodies, arrival)
}
