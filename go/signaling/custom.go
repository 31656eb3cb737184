package signaling

import (
	"cmp"
	"fmt"
	"reflect"
	"strings"
	"unicode"

	corelane "github.com/corelane/corelane/go"
)

// CustomMetrics are the specification's example of metrics of the host. RecordCustomMetric takes every struct like it.
type CustomMetrics struct {
	BusinessMetric1 int64
	BusinessMetric2 float64
}

// RecordCustomMetric sets a gauge for each exported field of a struct that is a number or a switch: the gauge of
// BusinessMetric1 is business_metric1. It takes a struct or a pointer to one, and is meant for a few calls per second. The
// gauges are in the reports and in ExportToPrometheus, and alert rules can be set on them.
func (pm *PerformanceMonitor) RecordCustomMetric(metric any) error {
	value := reflect.ValueOf(metric)
	for value.Kind() == reflect.Pointer && !value.IsNil() {
		value = value.Elem()
	}
	if value.Kind() != reflect.Struct {
		return fmt.Errorf("signaling: a custom metric is a struct, not %T", metric)
	}
	of := cmp.Or(value.Type().Name(), "a struct")
	for i := range value.NumField() {
		field := value.Type().Field(i)
		number, ok := asNumber(value.Field(i))
		if !ok || !field.IsExported() {
			continue
		}
		if err := pm.setGauge(gaugeName(field.Name), field.Name+" of "+of+".", number); err != nil {
			return fmt.Errorf("signaling: the custom metric %s: %w", field.Name, err)
		}
	}
	return nil
}

// setGauge keeps the value for a router's monitor to come.
func (pm *PerformanceMonitor) setGauge(name, help string, value float64) error {
	pm.lock.Lock()
	defer pm.lock.Unlock()
	core := pm.now.Load()
	if core == nil {
		return pm.err
	}
	if pm.gauges == nil {
		pm.gauges = map[string]gauge{}
	}
	g, known := pm.gauges[name]
	if !known {
		g.help = help
	}
	if g.core == nil {
		created, err := core.Gauge(corelane.Metric{Name: name, Help: g.help})
		if err != nil {
			return err
		}
		g.core = created
	}
	g.core.Set(value)
	g.value = value
	pm.gauges[name] = g
	return nil
}

// gauge is one custom metric.
type gauge struct {
	help  string
	value float64
	core  *corelane.Gauge
}

func asNumber(value reflect.Value) (float64, bool) {
	switch {
	case value.CanInt():
		return float64(value.Int()), true
	case value.CanUint():
		return float64(value.Uint()), true
	case value.CanFloat():
		return value.Float(), true
	case value.Kind() == reflect.Bool && value.Bool():
		return 1, true
	case value.Kind() == reflect.Bool:
		return 0, true
	}
	return 0, false
}

// gaugeName turns BusinessMetric1 into business_metric1, and HTTPErrors into http_errors.
func gaugeName(field string) string {
	var name strings.Builder
	runes := []rune(field)
	for i, r := range runes {
		if unicode.IsUpper(r) && i > 0 && (!unicode.IsUpper(runes[i-1]) || i+1 < len(runes) && unicode.IsLower(runes[i+1])) {
			name.WriteByte('_')
		}
		name.WriteRune(unicode.ToLower(r))
	}
	return name.String()
}
