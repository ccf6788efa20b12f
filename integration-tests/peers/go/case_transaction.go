package main

// Transactions: what becomes of a half message by the producer's word, or when the broker asks.

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/apache/rocketmq-client-go/v2"
	"github.com/apache/rocketmq-client-go/v2/primitive"
	"github.com/apache/rocketmq-client-go/v2/producer"
)

// Answers by plan: first when sent, then each time the broker asks; the last answer stands.
type plannedListener struct {
	lock   sync.Mutex
	plan   []primitive.LocalTransactionState
	checks []*primitive.MessageExt
}

func (p *plannedListener) next() primitive.LocalTransactionState {
	state := p.plan[0]
	if len(p.plan) > 1 {
		p.plan = p.plan[1:]
	}
	return state
}

func (p *plannedListener) ExecuteLocalTransaction(*primitive.Message) primitive.LocalTransactionState {
	p.lock.Lock()
	defer p.lock.Unlock()
	return p.next()
}

func (p *plannedListener) CheckLocalTransaction(message *primitive.MessageExt) primitive.LocalTransactionState {
	p.lock.Lock()
	defer p.lock.Unlock()
	p.checks = append(p.checks, message)
	return p.next()
}

func (p *plannedListener) checked() []*primitive.MessageExt {
	p.lock.Lock()
	defer p.lock.Unlock()
	return append([]*primitive.MessageExt(nil), p.checks...)
}

type transaction struct {
	topic    string
	listener *plannedListener
	result   *primitive.TransactionSendResult
	box      *inbox
}

// Sends one message in a transaction that goes by plan, with a consumer waiting.
func (b *bench) transaction(plan ...primitive.LocalTransactionState) (*transaction, error) {
	topic, err := b.topic("t", 2)
	if err != nil {
		return nil, err
	}
	box, err := b.inbox(b.called("g"), topic, everything)
	if err != nil {
		return nil, err
	}
	listener := &plannedListener{plan: plan}
	client, err := rocketmq.NewTransactionProducer(listener, producer.WithNsResolver(b.resolver),
		producer.WithInstanceName(b.instance()), producer.WithGroupName(b.called("producer")))
	if err != nil {
		return nil, err
	}
	if err := client.Start(); err != nil {
		return nil, err
	}
	b.onClose(client.Shutdown)
	message := primitive.NewMessage(topic, []byte("in a transaction")).WithTag("T").WithKeys([]string{"k"})
	message.WithProperty("user", "mine")
	result, err := client.SendMessageInTransaction(context.Background(), message)
	if err != nil {
		return nil, err
	}
	return &transaction{topic, listener, result, box}, same("status", result.Status, primitive.SendOK)
}

// The message came, once, as it was sent.
func (t *transaction) committed(limit time.Duration) error {
	got, err := t.box.wait(1, limit)
	if err != nil {
		return err
	}
	return first(same("topic", got[0].Topic, t.topic), same("body", string(got[0].Body), "in a transaction"),
		same("tag", got[0].GetTags(), "T"), same("keys", got[0].GetKeys(), "k"),
		same("property", got[0].GetProperty("user"), "mine"), same("id", got[0].MsgId, t.result.MsgID),
		same("producer group", got[0].GetProperty("PGROUP") != "", true))
}

func (t *transaction) nothingFor(wait time.Duration) error {
	time.Sleep(wait)
	if bodies := t.box.bodies(); len(bodies) > 0 {
		return fmt.Errorf("%v was not committed", bodies)
	}
	return nil
}

// How often the broker asked, and about what.
func (t *transaction) askedAtLeast(times int, limit time.Duration) error {
	if err := within(limit, fmt.Sprintf("%d checks", times), func() bool { return len(t.listener.checked()) >= times }); err != nil {
		return err
	}
	for _, message := range t.listener.checked() {
		if err := first(same("checked body", string(message.Body), "in a transaction"),
			same("checked id", message.TransactionId, t.result.MsgID), same("checked topic", message.Topic, t.topic),
			same("checked property", message.GetProperty("user"), "mine")); err != nil {
			return err
		}
	}
	return nil
}

func transactionCommit(b *bench) error {
	transaction, err := b.transaction(primitive.CommitMessageState)
	if err != nil {
		return err
	}
	if err := transaction.committed(arrival); err != nil {
		return err
	}
	return same("checks", len(transaction.listener.checked()), 0)
}

func transactionRollback(b *bench) error {
	transaction, err := b.transaction(primitive.RollbackMessageState)
	if err != nil {
		return err
	}
	// Long enough for the broker to ask, if it thought that it had to.
	if err := transaction.nothingFor(12 * time.Second); err != nil {
		return err
	}
	return same("checks", len(transaction.listener.checked()), 0)
}

func transactionUnknownThenCommit(b *bench) error {
	transaction, err := b.transaction(primitive.UnknowState, primitive.CommitMessageState)
	if err != nil {
		return err
	}
	if err := transaction.nothingFor(time.Second); err != nil {
		return err
	}
	if err := transaction.askedAtLeast(1, 90*time.Second); err != nil {
		return err
	}
	return transaction.committed(arrival)
}

func transactionUnknownThenRollback(b *bench) error {
	transaction, err := b.transaction(primitive.UnknowState, primitive.RollbackMessageState)
	if err != nil {
		return err
	}
	if err := transaction.askedAtLeast(1, 90*time.Second); err != nil {
		return err
	}
	// A check that was under way may come; then there is an end.
	time.Sleep(8 * time.Second)
	asked := len(transaction.listener.checked())
	if err := transaction.nothingFor(8 * time.Second); err != nil {
		return err
	}
	return same("checks after the end", len(transaction.listener.checked()), asked)
}

func transactionCheckTwice(b *bench) error {
	transaction, err := b.transaction(primitive.UnknowState, primitive.UnknowState, primitive.CommitMessageState)
	if err != nil {
		return err
	}
	if err := transaction.askedAtLeast(2, 90*time.Second); err != nil {
		return err
	}
	return transaction.committed(arrival)
}
