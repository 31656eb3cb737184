package signaling_test

import (
	"fmt"
	"log"
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/corelane/corelane/go/signaling"
)

// standardRoute is the host's own way to route a message.
var standardRoute = signaling.BaseRouterFunc(func(message []byte, clientID string) (*signaling.RouteResult, error) {
	return &signaling.RouteResult{Success: true}, nil
})

func Example() {
	monitor := signaling.NewPerformanceMonitor(signaling.ProductionPerformanceMonitorConfig())
	if err := monitor.Start(); err != nil {
		log.Fatal(err)
	}
	defer monitor.Stop()

	config := signaling.DefaultConcurrentRouterConfig()
	config.WorkerCount = 2
	router := signaling.NewConcurrentMessageRouter(standardRoute, config, monitor)
	if err := router.Start(); err != nil {
		log.Fatal(err)
	}
	defer router.Stop()

	err := router.Connect("ben", "shop", func(message []byte) { fmt.Printf("ben gets %s\n", message) })
	if err != nil {
		log.Fatal(err)
	}
	result, err := router.RouteMessage([]byte(`{"type":"offer","to":"ben"}`), "ann")
	fmt.Println(result.Success, err)
	// Unordered output:
	// ben gets {"from":"ann","type":"offer","to":"ben"}
	// true <nil>
}

// TestTheListingsOfThePageAreThoseThatRun compares docs/specification.md with this file.
func TestTheListingsOfThePageAreThoseThatRun(t *testing.T) {
	page, err := os.ReadFile("../../docs/specification.md")
	if err != nil {
		t.Skip("the page is only in a working copy")
	}
	file, err := os.ReadFile("example_test.go")
	if err != nil {
		t.Fatal(err)
	}
	plain := func(text string) string { return strings.Join(strings.Fields(text), " ") }
	listings := regexp.MustCompile("(?ms)^```go\n(.*?)^```$").FindAllSubmatch(page, -1)
	if len(listings) == 0 {
		t.Fatal("no listing")
	}
	for _, one := range listings {
		if !strings.Contains(plain(string(file)), plain(string(one[1]))) {
			t.Errorf("not in example_test.go:\n%s", one[1])
		}
	}
}
