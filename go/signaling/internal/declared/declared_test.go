// Code generated from testdata/listings by internal/listings. DO NOT EDIT.

package declared

import "github.com/corelane/corelane/go/signaling"

// PerformanceMonitor is the type to which the specification's listings add methods.
type PerformanceMonitor struct {
	*signaling.PerformanceMonitor
	text   string
	failed error
}

// 添加自定义指标收集
type CustomMetrics struct {
	BusinessMetric1 int64
	BusinessMetric2 float64
}

// 扩展性能监控器
func (pm *PerformanceMonitor) RecordCustomMetric(metric *CustomMetrics) {
	// 自定义指标记录逻辑
	pm.failed = pm.PerformanceMonitor.RecordCustomMetric(metric)
}

// 集成外部监控系统（如 Prometheus）
func (pm *PerformanceMonitor) ExportToPrometheus() {
	// 导出指标到 Prometheus
	pm.text, pm.failed = pm.PerformanceMonitor.ExportToPrometheus()
}

// 集成日志系统
func (pm *PerformanceMonitor) ExportToElasticsearch() {
	// 导出日志到 Elasticsearch
	pm.failed = pm.PerformanceMonitor.ExportToElasticsearch()
}
