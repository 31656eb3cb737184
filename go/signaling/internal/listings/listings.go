// Package listings makes Go functions of the listings of the specification (testdata/listings), so that they are compiled as
// they are written. What a listing leaves out, a function gets as parameters, before it and behind it.
package listings

import (
	"bytes"
	"fmt"
	"go/format"
	"os"
	"path/filepath"
	"strings"
)

// wrap says how a listing becomes a function.
type wrap struct {
	file       string
	parameters string // And results.
	after      string // What uses what the listing has declared.
}

// functions are the listings that are statements.
var functions = []wrap{
	{"01_messages", `performanceMonitor *PerformanceMonitor, clientID, messageType string, processingTime time.Duration, success bool`, ``},
	{"02_router", `baseRouter BaseRouter, performanceMonitor *PerformanceMonitor, messageBytes []byte, clientID string) (_ *RouteResult, _ *ConcurrentMessageRouter, _ error`,
		`return result, concurrentRouter, err`},
	{"03_report", `server *SignalingServer) (_ *DetailedPerformanceReport`, `return report`},
	{"04_system", `performanceMonitor *PerformanceMonitor, connectionStats *ConnectionStats`, ``},
	{"05_monitor_config", `) (_ reflect.Type`, `return reflect.TypeFor[PerformanceMonitorConfig]()`},
	{"06_router_config", `) (_ reflect.Type`, `return reflect.TypeFor[ConcurrentRouterConfig]()`},
	{"07_basic", `) (_ *PerformanceStats, _ *PerformanceMonitor`, `return stats, performanceMonitor`},
	{"08_server", `ctx context.Context, encoderConfig *EncoderConfig, mediaStream any, iceServers []ICEServer) (_ *SignalingServer, _ *PerformanceStats, _ *MessageProcessingStats, _ *ConnectionStats`,
		`return server, performanceStats, messageStats, connectionStats`},
	{"09_alerts", `performanceMonitor *PerformanceMonitor`, ``},
	{"10_production", `) (_ *PerformanceMonitorConfig`, `return config`},
	{"13_debugging", `config *PerformanceMonitorConfig, performanceMonitor *PerformanceMonitor`, ``},
}

// declarations are the listings that are declarations, with what goes into the place of their comments.
var declarations = []struct {
	file     string
	elisions map[string]string
}{
	{"11_custom_metric", map[string]string{"// 自定义指标记录逻辑": `pm.failed = pm.PerformanceMonitor.RecordCustomMetric(metric)`}},
	{"12_exports", map[string]string{
		"// 导出指标到 Prometheus":    `pm.text, pm.failed = pm.PerformanceMonitor.ExportToPrometheus()`,
		"// 导出日志到 Elasticsearch": `pm.failed = pm.PerformanceMonitor.ExportToElasticsearch()`,
	}},
}

// Listings reads the listings of a folder, by name.
func Listings(folder string) (map[string]string, error) {
	files, err := filepath.Glob(filepath.Join(folder, "*.txt"))
	if err != nil {
		return nil, err
	}
	all := map[string]string{}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			return nil, err
		}
		all[strings.TrimSuffix(filepath.Base(file), ".txt")] = string(text)
	}
	if len(all) != len(functions)+len(declarations) {
		return nil, fmt.Errorf("%d listings in %s, not %d", len(all), folder, len(functions)+len(declarations))
	}
	return all, nil
}

// Functions writes the listings that are statements, each as a function of a test of package signaling.
func Functions(listings map[string]string) ([]byte, error) {
	var out bytes.Buffer
	out.WriteString(`// Code generated from testdata/listings by internal/listings. DO NOT EDIT.

package signaling_test

import (
	"context"
	"fmt"
	"log"
	"reflect"
	"time"

	. "github.com/corelane/corelane/go/signaling"
)
`)
	for _, f := range functions {
		fmt.Fprintf(&out, "\nfunc listing%s(%s) {\n", f.file, f.parameters)
		out.WriteString(listings[f.file])
		fmt.Fprintf(&out, "\n%s\n}\n", f.after)
	}
	return format.Source(out.Bytes())
}

// Declarations writes the listings that are declarations. They add methods to a type that embeds this package's, because Go
// allows methods only in a type's own package.
func Declarations(listings map[string]string) ([]byte, error) {
	var out bytes.Buffer
	out.WriteString(`// Code generated from testdata/listings by internal/listings. DO NOT EDIT.

package declared

import "github.com/corelane/corelane/go/signaling"

// PerformanceMonitor is the type to which the specification's listings add methods.
type PerformanceMonitor struct {
	*signaling.PerformanceMonitor
	text   string
	failed error
}
`)
	for _, d := range declarations {
		listing := listings[d.file]
		for comment, code := range d.elisions {
			if strings.Count(listing, comment) != 1 {
				return nil, fmt.Errorf("%s: %q is not there once", d.file, comment)
			}
			listing = strings.Replace(listing, comment, comment+"\n\t"+code, 1)
		}
		out.WriteString("\n" + listing)
	}
	return format.Source(out.Bytes())
}
