// The Go side of the integration tests.
//
//	peer NAMESRV BROKER TOPIC                  sends and receives in the common ways
//	peer mirror NAMESRV TOPIC BACK COUNT       sends the messages of a topic back to another
//	peer conformance NAMESRV BROKER [CASE…]    all that the client can do, case by case; -CASE leaves one out
//
// The last line on stdout is the result, "ok …" or "failed …"; the exit code says the same.
package main

import (
	"fmt"
	"os"

	"github.com/apache/rocketmq-client-go/v2/rlog"
)

func main() {
	level := os.Getenv("ROCKETMQ_GO_LOG_LEVEL")
	if level == "" {
		level = "fatal" // what the client calls an error is often what a case is about
	}
	rlog.SetLogLevel(level)
	var result string
	var err error
	switch os.Args[1] {
	case "conformance":
		result, err = conformance(os.Args[2], os.Args[3], os.Args[4:])
	case "mirror":
		result, err = mirror(os.Args[2], os.Args[3], os.Args[4], os.Args[5])
	default:
		result, err = sendAndReceive(os.Args[1], os.Args[2], os.Args[3])
	}
	if err != nil {
		fmt.Println("failed", err)
		os.Exit(1)
	}
	fmt.Println("ok", result)
}
