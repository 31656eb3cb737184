// Package prom makes a monitor of corelane a collector of github.com/prometheus/client_golang, for programs that have a
// registry already. Other programs need no client: [corelane.Monitor.MetricsHandler] serves the same figures.
package prom

import (
	"fmt"
	"math"
	"strings"

	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"

	corelane "github.com/corelane/corelane/go"
)

// Source has figures in the Prometheus text format: a [corelane.Monitor], or a [corelane.Router] without one.
type Source interface{ Metrics() (string, error) }

var (
	_ Source = (*corelane.Monitor)(nil)
	_ Source = (*corelane.Router)(nil)
)

type collector struct{ source Source }

// NewCollector returns a collector of all figures of a monitor or a router. Register it once. Each gathering collects. It is
// an unchecked collector: its metrics depend on what was recorded. A registry refuses two collectors with the same
// metrics, so give each further monitor labels with [prometheus.WrapRegistererWith].
func NewCollector(source Source) prometheus.Collector { return collector{source} }

// Describe sends nothing: the collector is unchecked.
func (collector) Describe(chan<- *prometheus.Desc) {}

// Collect sends all figures of this moment. If they cannot be had, it sends one invalid metric, whose error the registry
// reports.
func (c collector) Collect(out chan<- prometheus.Metric) {
	if err := c.collect(out); err != nil {
		out <- prometheus.NewInvalidMetric(prometheus.NewDesc("corelane_collect", "The figures of corelane.", nil, nil), err)
	}
}

func (c collector) collect(out chan<- prometheus.Metric) error {
	text, err := c.source.Metrics()
	if err != nil {
		return err
	}
	var parser expfmt.TextParser
	families, err := parser.TextToMetricFamilies(strings.NewReader(text))
	if err != nil {
		return fmt.Errorf("corelane: the metrics: %w", err)
	}
	for name, family := range families {
		for _, one := range family.GetMetric() {
			metric, err := convert(name, family, one)
			if err != nil {
				return fmt.Errorf("corelane: the metric %s: %w", name, err)
			}
			out <- metric
		}
	}
	return nil
}

func convert(name string, family *dto.MetricFamily, one *dto.Metric) (prometheus.Metric, error) {
	var labels, values []string
	for _, label := range one.GetLabel() {
		labels = append(labels, label.GetName())
		values = append(values, label.GetValue())
	}
	desc := prometheus.NewDesc(name, family.GetHelp(), labels, nil)
	switch family.GetType() {
	case dto.MetricType_COUNTER:
		return prometheus.NewConstMetric(desc, prometheus.CounterValue, one.GetCounter().GetValue(), values...)
	case dto.MetricType_GAUGE:
		return prometheus.NewConstMetric(desc, prometheus.GaugeValue, one.GetGauge().GetValue(), values...)
	case dto.MetricType_HISTOGRAM:
		histogram := one.GetHistogram()
		buckets := map[float64]uint64{}
		for _, bucket := range histogram.GetBucket() {
			if !math.IsInf(bucket.GetUpperBound(), 1) { // client_golang adds this one.
				buckets[bucket.GetUpperBound()] = bucket.GetCumulativeCount()
			}
		}
		return prometheus.NewConstHistogram(desc, histogram.GetSampleCount(), histogram.GetSampleSum(), buckets, values...)
	case dto.MetricType_SUMMARY:
		summary := one.GetSummary()
		quantiles := map[float64]float64{}
		for _, quantile := range summary.GetQuantile() {
			quantiles[quantile.GetQuantile()] = quantile.GetValue()
		}
		return prometheus.NewConstSummary(desc, summary.GetSampleCount(), summary.GetSampleSum(), quantiles, values...)
	default:
		return prometheus.NewConstMetric(desc, prometheus.UntypedValue, one.GetUntyped().GetValue(), values...)
	}
}
