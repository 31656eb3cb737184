package signaling

import (
	"errors"
	"fmt"
	"os"
	"testing"
	"time"

	corelane "github.com/corelane/corelane/go"
)

// TestMain leaves the tests out in a build without the library, in which nothing is measured.
func TestMain(m *testing.M) {
	if corelane.Stub {
		if err := inAStub(); err != nil {
			fmt.Println(err)
			os.Exit(1)
		}
		return
	}
	os.Exit(m.Run())
}

// inAStub checks that every call is accepted, and that a router says that it does not start.
func inAStub() error {
	pm := NewPerformanceMonitor(nil)
	if err := pm.Start(); err != nil {
		return err
	}
	pm.AddAlertCallback(func(*PerformanceAlert) {})
	pm.RecordMessageProcessing("ann", "ping", time.Second, true)
	_ = pm.RecordConnectionEvent("connect", "ann", "")
	r := NewConcurrentMessageRouter(BaseRouterFunc(func([]byte, string) (*RouteResult, error) { return nil, nil }), nil, pm)
	if err := r.Start(); !errors.Is(err, corelane.ErrUnsupported) {
		return fmt.Errorf("a router in a stub: %v", err)
	}
	if result, err := r.RouteMessage([]byte("{}"), "ann"); err != nil || result.FallbackReason != "not_running" {
		return fmt.Errorf("a message in a stub: %v", err)
	}
	if m := pm.GetStats().Message; m.TotalMessages != 0 || pm.GetDetailedPerformanceReport().String() == "" {
		return fmt.Errorf("a stub has measured: %+v", m)
	}
	pm.ResetStats()
	pm.Stop()
	return nil
}
