package main

// Tags and SQL92.

import (
	"fmt"
	"strings"
	"time"

	"github.com/apache/rocketmq-client-go/v2/consumer"
	"github.com/apache/rocketmq-client-go/v2/primitive"
)

func consumerTag(expression string) consumer.MessageSelector {
	return consumer.MessageSelector{Type: consumer.TAG, Expression: expression}
}

func consumerSQL(expression string) consumer.MessageSelector {
	return consumer.MessageSelector{Type: consumer.SQL92, Expression: expression}
}

func tags(b *bench) error {
	topic, err := b.topic("t", 2)
	if err != nil {
		return err
	}
	client, err := b.producer()
	if err != nil {
		return err
	}
	// "Aa" and "BB" have the same hash in Java: the client sorts them out.
	all := []string{"A", "B", "C", "", "Aa", "BB"}
	for i := 0; i < 60; i++ {
		message := primitive.NewMessage(topic, []byte(fmt.Sprint(all[i%6], i)))
		if all[i%6] != "" {
			message.WithTag(all[i%6])
		}
		if _, err := send(client, message); err != nil {
			return err
		}
	}
	for index, expectation := range []struct {
		expression string
		tags       string
	}{
		{"*", "A|B|C||Aa|BB"}, {"A", "A"}, {"A || C", "A|C"}, {"Aa", "Aa"}, {"nobody", "-"}, {" B ||A|| ", "A|B"},
	} {
		box, err := b.inbox(b.called(fmt.Sprint("g", index)), topic, consumerTag(expectation.expression))
		if err != nil {
			return err
		}
		var wanted []string
		for i := 0; i < 60; i++ {
			if contains(strings.Split(expectation.tags, "|"), all[i%6]) {
				wanted = append(wanted, fmt.Sprint(all[i%6], i))
			}
		}
		if err := box.waitForBodies(wanted, arrival); err != nil {
			return fmt.Errorf("%q: %w", expectation.expression, err)
		}
	}
	return nil
}

// Consumers with one expression each, and the numbers of the messages that they must get.
func (b *bench) filtered(messages []map[string]string, expected map[string][]int) error {
	topic, err := b.topic("t", 1)
	if err != nil {
		return err
	}
	client, err := b.producer()
	if err != nil {
		return err
	}
	boxes := map[string]*inbox{}
	for expression := range expected {
		group := b.called(fmt.Sprint("g", len(boxes)))
		box, err := b.inbox(group, topic, consumerSQL(expression))
		if err != nil {
			return fmt.Errorf("%s: %w", expression, err)
		}
		boxes[expression] = box
	}
	for i, properties := range messages {
		message := primitive.NewMessage(topic, []byte(fmt.Sprint(i)))
		for key, value := range properties {
			message.WithProperty(key, value)
		}
		if _, err := send(client, message); err != nil {
			return err
		}
	}
	var wrong []string
	for expression, numbers := range expected {
		var wanted []string
		for _, number := range numbers {
			wanted = append(wanted, fmt.Sprint(number))
		}
		if err := boxes[expression].waitForBodies(wanted, arrival); err != nil {
			wrong = append(wrong, fmt.Sprintf("%s: %v", expression, err))
		}
	}
	if len(wrong) > 0 {
		return fmt.Errorf("%s", strings.Join(wrong, "; "))
	}
	return nil
}

func sql92(b *bench) error {
	messages := []map[string]string{
		{"n": "1", "color": "red"}, {"n": "5", "color": "blue"}, {"n": "10", "color": "dark red"}, {"n": "7.5", "color": "it's"},
	}
	return b.filtered(messages, map[string][]int{
		"n > 4":                            {1, 2}, // "7.5" is no whole number, and is compared with none
		"n > 4.0":                          {1, 2, 3},
		"n BETWEEN 5 AND 10":               {1, 2},
		"n >= 5 AND NOT (color = 'blue')":  {2},
		"color IN ('red', 'blue')":         {0, 1},
		"color NOT IN ('red')":             {1, 2, 3},
		"color CONTAINS 'red'":             {0, 2},
		"color STARTSWITH 'dark' OR n = 1": {0, 2},
		"color = 'it''s'":                  {3},
		"n < 6 AND color <> 'red'":         {1},
	})
}

func sql92Missing(b *bench) error {
	messages := []map[string]string{{"a": "1"}, {"b": "2"}, {"a": "x"}, {}}
	return b.filtered(messages, map[string][]int{
		"a IS NULL":          {1, 3},
		"a IS NOT NULL":      {0, 2},
		"a = 1 OR b = 2":     {0, 1},
		"NOT (a = 1)":        {}, // neither known to be 1 nor known not to be
		"a = 'x' AND b = 2":  {},
		"a > 0 OR a IS NULL": {0, 1, 3},
		"TRUE AND b IS NULL": {0, 2, 3},
	})
}

// The Go client does not ask whether its expression is one: it gets nothing, and others go on.
func sql92Bad(b *bench) error {
	topic, err := b.topic("t", 1)
	if err != nil {
		return err
	}
	bad, err := b.inbox(b.called("bad"), topic, consumerSQL("n >> 1 AND"))
	if err != nil {
		return err
	}
	good, err := b.inbox(b.called("good"), topic, consumerSQL("n > 1"))
	if err != nil {
		return err
	}
	client, err := b.producer()
	if err != nil {
		return err
	}
	for i := 0; i < 4; i++ {
		if _, err := send(client, withProperty(primitive.NewMessage(topic, []byte(fmt.Sprint(i))), "n", fmt.Sprint(i))); err != nil {
			return err
		}
	}
	if err := good.waitForBodies([]string{"2", "3"}, arrival); err != nil {
		return err
	}
	time.Sleep(time.Second)
	return same("what the bad expression got", len(bad.all()), 0)
}
