package main

// Runs the cases: each in names of its own, so that they can run at the same time.

import (
	"fmt"
	"sort"
	"strings"
	"sync"
	"time"
)

// How long one case may take. The route of a retry topic is asked for each 30 s.
const caseLimit = 180 * time.Second

// Each case holds some connections and goroutines that spin: all at once is too much for two cores.
const casesAtOnce = 12

type conformanceCase struct {
	name string
	run  func(*bench) error
}

// The slow ones first: they wait for clocks, not for the processor.
var cases = []conformanceCase{
	{"retry-by-the-clients-clock", retryByTheClientsClock},
	{"transaction-unknown-then-commit", transactionUnknownThenCommit},
	{"transaction-unknown-then-rollback", transactionUnknownThenRollback},
	{"transaction-check-twice", transactionCheckTwice},
	{"orderly-suspend", orderlySuspend},
	{"orderly-member-leaves", orderlyMemberLeaves},
	{"topics-differ", topicsDiffer},
	{"retry-times", retryTimes},
	{"dead-letter", deadLetter},
	{"orderly-dead-letter", orderlyDeadLetter},
	{"reset-by-illegal-offset", offsetIllegal},
	{"trace", trace},
	{"timer-deliver-ms", timerDeliver},
	{"timer-delay-sec", timerDelay},
	{"delay-level", delayLevel},
	{"request-timeout", requestTimeout},
	{"request-reply", requestReply},
	{"request-reply-async", requestReplyAsync},
	{"transaction-commit", transactionCommit},
	{"transaction-rollback", transactionRollback},
	{"suspend-and-resume", suspendAndResume},
	{"tags-differ", tagsDiffer},
	{"clustering-two-members", clusteringTwoMembers},
	{"broadcasting", broadcasting},
	{"strategies", strategies},
	{"resume-where-it-stopped", resumeWhereItStopped},
	{"from-timestamp", fromTimestamp},
	{"from-last", fromLast},
	{"from-first", fromFirst},
	{"orderly", orderly},
	{"tags", tags},
	{"sql92", sql92},
	{"sql92-on-what-is-missing", sql92Missing},
	{"sql92-bad-expression", sql92Bad},
	{"consume-batches", consumeBatches},
	{"two-topics-one-consumer", twoTopics},
	{"pull-from", pullFrom},
	{"pull-by-tag", pullByTag},
	{"pull-poll-ack", pollAndAck},
	{"pull-offsets", pullOffsets},
	{"send-sync", sendSync},
	{"send-async", sendAsync},
	{"send-oneway", sendOneway},
	{"send-batch", sendBatch},
	{"send-compressed", sendCompressed},
	{"send-to-new-topic", sendToNewTopic},
	{"send-refused", sendRefused},
	{"properties-kept", propertiesKept},
	{"selector-manual", selectorManual},
	{"selector-hash", selectorHash},
	{"selector-round-robin", selectorRoundRobin},
	{"priority", priority},
	{"light-queues", lightQueues},
	{"interceptors", interceptors},
	{"namespace", namespaces},
	{"unit-name", unitName},
	{"admin-topics", adminTopics},
	{"admin-groups", adminGroups},
	{"read-only-topic", readOnlyTopic},
}

// Runs the chosen cases, and prints a line for each.
func conformance(namesrv, broker string, names []string) (string, error) {
	stage, err := newStage(namesrv, broker)
	if err != nil {
		return "", err
	}
	chosen := choose(names)
	places := make(chan struct{}, casesAtOnce)
	var lock sync.Mutex
	var failed []string
	var all sync.WaitGroup
	for _, one := range chosen {
		places <- struct{}{}
		all.Add(1)
		go func(one conformanceCase) {
			defer all.Done()
			defer func() { <-places }()
			begin := time.Now()
			err := runCase(stage, one)
			lock.Lock()
			defer lock.Unlock()
			if err != nil {
				failed = append(failed, one.name)
				fmt.Printf("fail %s %s\n", one.name, strings.ReplaceAll(err.Error(), "\n", " "))
				return
			}
			fmt.Printf("pass %s %d\n", one.name, time.Since(begin).Milliseconds())
		}(one)
	}
	all.Wait()
	if len(failed) > 0 {
		sort.Strings(failed)
		return "", fmt.Errorf("%d of %d: %s", len(failed), len(chosen), strings.Join(failed, " "))
	}
	return fmt.Sprintf("cases=%d", len(chosen)), nil
}

// The cases that are named, or all; without those that are named with a - before.
func choose(names []string) []conformanceCase {
	var wanted, left []string
	for _, name := range names {
		if strings.HasPrefix(name, "-") {
			left = append(left, name[1:])
		} else {
			wanted = append(wanted, name)
		}
	}
	var chosen []conformanceCase
	for _, one := range cases {
		if !contains(left, one.name) && (len(wanted) == 0 || contains(wanted, one.name)) {
			chosen = append(chosen, one)
		}
	}
	return chosen
}

func runCase(stage *stage, one conformanceCase) error {
	bench := &bench{stage: stage, name: one.name}
	answer := make(chan error, 1)
	go func() {
		defer func() {
			if reason := recover(); reason != nil {
				answer <- fmt.Errorf("panic: %v", reason)
			}
		}()
		answer <- one.run(bench)
	}()
	select {
	case err := <-answer:
		bench.close()
		return err
	case <-time.After(caseLimit):
		return fmt.Errorf("took more than %v", caseLimit)
	}
}
