//go:build cgo && !corelane_stub

package corelane_test

import (
	"context"
	"fmt"
	"strings"
	"time"

	corelane "github.com/corelane/corelane/go"
)

// Two clients of a lane: one sends the other an offer.
func ExampleLane() {
	router, err := corelane.Start(corelane.Config{"workers": "1"})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer router.Close()
	lane, err := router.OpenLane()
	if err != nil {
		fmt.Println(err)
		return
	}
	defer lane.Close()
	ann, err := lane.Connect("ann", "generic", corelane.ConnectOptions{Application: "shop"})
	if err != nil {
		fmt.Println(err)
		return
	}
	if _, err := lane.Connect("ben", "generic", corelane.ConnectOptions{Value: "ben's connection"}); err != nil {
		fmt.Println(err)
		return
	}
	if err := ann.Submit([]byte(`{"type":"offer","to":"ben"}`), corelane.SubmitOptions{Correlation: 1}); err != nil {
		fmt.Println(err)
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	for event := range lane.Events(ctx) {
		fmt.Println(event.Kind, "for", event.Client.Value(), "from", lane.Client(event.Sender).Name())
		event.Client.Acknowledge(1, len(event.Message))
		break
	}
	// Output: message for ben's connection from ann
}

// A handler in Go answers the messages of one type.
func ExampleServe() {
	protocol := `{"name":"echo","type":"kind","types":{"say":"host"}}`
	served, err := corelane.Serve(context.Background(), corelane.Config{"workers": "1"}, corelane.Handlers{
		"echo/say": func(_ context.Context, task *corelane.Task) error {
			task.Send(0, []byte(strings.ToUpper(task.Name)))
			return nil
		},
	}, corelane.WithProtocol(protocol))
	if err != nil {
		fmt.Println(err)
		return
	}
	defer served.Close()
	lane, err := served.OpenLane()
	if err != nil {
		fmt.Println(err)
		return
	}
	defer lane.Close()
	ann, err := lane.Connect("ann", "echo", corelane.ConnectOptions{})
	if err != nil {
		fmt.Println(err)
		return
	}
	if err := ann.Submit([]byte(`{"kind":"say"}`), corelane.SubmitOptions{}); err != nil {
		fmt.Println(err)
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	for event := range lane.Events(ctx) {
		fmt.Printf("%s\n", event.Message)
		break
	}
	// Output: ANN
}
