// Package declared has the listings of the specification that are declarations, in its test.
package declared

import (
	"errors"
	"strings"
	"testing"

	corelane "github.com/corelane/corelane/go"
	"github.com/corelane/corelane/go/signaling"
)

// TestDeclaredListings runs listings 11 and 12.
func TestDeclaredListings(t *testing.T) {
	if corelane.Stub {
		t.Skip("a build without the library")
	}
	monitor := signaling.NewPerformanceMonitor(nil)
	defer monitor.Stop()
	pm := &PerformanceMonitor{PerformanceMonitor: monitor}
	pm.RecordCustomMetric(&CustomMetrics{BusinessMetric1: 42, BusinessMetric2: 0.5})
	if pm.failed != nil {
		t.Fatal(pm.failed)
	}
	pm.ExportToPrometheus()
	if pm.failed != nil || !strings.Contains(pm.text, "business_metric1 42\n") || !strings.Contains(pm.text, "business_metric2 0.5\n") {
		t.Fatalf("%v\n%s", pm.failed, pm.text)
	}
	pm.ExportToElasticsearch()
	if !errors.Is(pm.failed, errors.ErrUnsupported) {
		t.Fatal(pm.failed)
	}
}
