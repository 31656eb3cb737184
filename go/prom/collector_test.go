package prom_test

import (
	"bytes"
	"fmt"
	"slices"
	"sort"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/prometheus/common/expfmt"

	corelane "github.com/corelane/corelane/go"
	"github.com/corelane/corelane/go/prom"
)

func TestTheRegistryHasTheFiguresOfTheMonitor(t *testing.T) {
	if corelane.Stub {
		t.Skip("a stub build has no figures")
	}
	monitor, err := corelane.StartMonitor(nil)
	if err != nil {
		t.Fatal(err)
	}
	defer monitor.Close()
	joins, err := monitor.Counter(corelane.Metric{Name: "joins_total", Help: "Joins.", Labels: []string{"room"}}, "blue")
	if err != nil {
		t.Fatal(err)
	}
	joins.Add(3)
	setup, err := monitor.Histogram(corelane.Metric{Name: "setup_seconds", Help: "Setup.", Unit: "seconds"})
	if err != nil {
		t.Fatal(err)
	}
	setup.Observe(3 * time.Millisecond)
	recorder, _ := monitor.Recorder("sip", "offer", "web")
	for range 10 {
		recorder.Record(corelane.Sample{Bytes: 100, Service: 2 * time.Millisecond})
	}

	registry := prometheus.NewPedanticRegistry()
	if err := registry.Register(prom.NewCollector(monitor)); err != nil {
		t.Fatal(err)
	}
	want := "# HELP joins_total Joins.\n# TYPE joins_total counter\njoins_total{room=\"blue\"} 3\n"
	if err := testutil.GatherAndCompare(registry, strings.NewReader(want), "joins_total"); err != nil {
		t.Error(err)
	}
	if count, err := testutil.GatherAndCount(registry); err != nil || count < 20 {
		t.Error(count, err)
	}
	// Everything that the library writes comes out again: the same series with the same names and labels. The monitor's thread may
	// have its first look at the system between the two, which brings series.
	var got, wanted []string
	for try := 0; try < 10; try++ {
		families, err := registry.Gather()
		if err != nil {
			t.Fatal(err)
		}
		var written bytes.Buffer
		for _, family := range families {
			if _, err := expfmt.MetricFamilyToText(&written, family); err != nil {
				t.Fatal(err)
			}
		}
		text, err := monitor.Metrics()
		if err != nil {
			t.Fatal(err)
		}
		if got, wanted = series(written.String()), series(text); slices.Equal(got, wanted) {
			break
		}
	}
	if !slices.Equal(got, wanted) {
		t.Errorf("%d series, want %d", len(got), len(wanted))
		for _, one := range difference(got, wanted) {
			t.Log("only in the registry:", one)
		}
		for _, one := range difference(wanted, got) {
			t.Log("missing:", one)
		}
	}
}

func TestAClosedMonitorIsAnErrorOfTheGathering(t *testing.T) {
	if corelane.Stub {
		t.Skip("a stub build has no figures")
	}
	monitor, err := corelane.StartMonitor(nil)
	if err != nil {
		t.Fatal(err)
	}
	registry := prometheus.NewRegistry()
	registry.MustRegister(prom.NewCollector(monitor))
	monitor.Close()
	if _, err := registry.Gather(); err == nil {
		t.Error("no error")
	}
}

// series returns the sorted names of all series of a text, without their values and with the labels sorted.
func series(text string) []string {
	var names []string
	for _, line := range strings.Split(text, "\n") {
		if line == "" || line[0] == '#' {
			continue
		}
		name := line[:strings.LastIndexByte(line, ' ')]
		if at := strings.IndexByte(name, '{'); at >= 0 {
			labels := strings.Split(strings.Trim(name[at:], "{}"), ",")
			for at, label := range labels {
				// The same bound, written in two ways.
				if bound, isBound := strings.CutPrefix(label, "le=\""); isBound {
					value, _ := strconv.ParseFloat(strings.TrimSuffix(bound, "\""), 64)
					labels[at] = fmt.Sprintf("le=%q", fmt.Sprint(value))
				}
			}
			sort.Strings(labels)
			name = name[:at] + "{" + strings.Join(labels, ",") + "}"
		}
		names = append(names, name)
	}
	sort.Strings(names)
	return names
}

func difference(these, those []string) (only []string) {
	known := map[string]bool{}
	for _, one := range those {
		known[one] = true
	}
	for _, one := range these {
		if !known[one] {
			only = append(only, one)
		}
	}
	return only
}
