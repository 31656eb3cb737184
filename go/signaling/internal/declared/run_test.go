// Package declared has the listings of the specification that are declarations, in its test.
package declared

import (
	"io"
	"net/http"
	"net/http/httptest"
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
	documents := make(chan string, 64)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		text, _ := io.ReadAll(r.Body)
		if r.URL.Path == "/_bulk" {
			documents <- string(text)
			stored := strings.Repeat(`{"create":{"status":201}},`, strings.Count(string(text), "\n")/2)
			text = []byte(`{"items":[` + strings.TrimSuffix(stored, ",") + "]}")
		}
		_, _ = w.Write(text)
	}))
	defer server.Close()
	t.Setenv("ELASTICSEARCH_URL", server.URL)
	pm.ExportToElasticsearch()
	if pm.failed != nil {
		t.Fatal(pm.failed)
	}
	monitor.Stop() // Sends the last documents.
	select {
	case text := <-documents:
		if !strings.Contains(text, `"create"`) {
			t.Error(text)
		}
	default:
		t.Error("no document has come")
	}
}
