package signaling

import (
	"runtime"
	"strings"
	"testing"
)

func collect() { runtime.GC() }

func TestCustomMetrics(t *testing.T) {
	pm := started(t, quick())
	for _, metric := range []any{
		CustomMetrics{BusinessMetric1: 7, BusinessMetric2: 1},
		&CustomMetrics{BusinessMetric1: 42, BusinessMetric2: 2.5},
		struct {
			HTTPErrors uint8
			Open       bool
			Name       string
			hidden     int
		}{3, true, "text", 9},
	} {
		if err := pm.RecordCustomMetric(metric); err != nil {
			t.Fatal(err)
		}
	}
	text, err := pm.ExportToPrometheus()
	if err != nil {
		t.Fatal(err)
	}
	for _, line := range []string{"business_metric1 42\n", "business_metric2 2.5\n", "http_errors 3\n", "open 1\n"} {
		if !strings.Contains(text, line) && !strings.Contains(text, "corelane_"+line) {
			t.Errorf("%q is missing", line)
		}
	}
	if strings.Contains(text, "hidden") {
		t.Error("a field that is not exported")
	}
	for _, wrong := range []any{nil, 3, (*CustomMetrics)(nil), "text"} {
		if pm.RecordCustomMetric(wrong) == nil {
			t.Errorf("%v is accepted", wrong)
		}
	}
}

func TestGaugeNames(t *testing.T) {
	for field, want := range map[string]string{"BusinessMetric1": "business_metric1", "HTTPErrors": "http_errors", "ID": "id",
		"RoomsByID": "rooms_by_id", "X": "x"} {
		equal(t, field, gaugeName(field), want)
	}
}
