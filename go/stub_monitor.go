//go:build corelane_stub || !cgo

package corelane

import (
	"context"
	"io"
	"time"
)

// monitorHandle keeps nothing: see Stub.
type monitorHandle struct{}

type nothing struct{}

func (nothing) Close() error { return nil }

func startMonitor(string) (monitorHandle, error)                         { return monitorHandle{}, nil }
func checkMonitor(string) error                                          { return nil }
func (routerHandle) monitor() (monitorHandle, error)                     { return monitorHandle{}, nil }
func (monitorHandle) release() error                                     { return nil }
func (monitorHandle) record([]sample)                                    {}
func (monitorHandle) operate([]operation)                                {}
func (monitorHandle) add([]total)                                        {}
func (monitorHandle) level([]level)                                      {}
func (monitorHandle) series(string, string, string) (uint64, error)      { return 0, nil }
func (monitorHandle) recordMessage(*Message) error                       { return nil }
func (monitorHandle) connect(string, string) (uint64, error)             { return 0, nil }
func (monitorHandle) disconnect(uint64) error                            { return nil }
func (monitorHandle) reconnected() error                                 { return nil }
func (monitorHandle) mark(uint64, bool, bool) error                      { return nil }
func (monitorHandle) reset() error                                       { return nil }
func (monitorHandle) set(string, string) error                           { return nil }
func (monitorHandle) bytes() (uint64, error)                             { return 0, nil }
func (monitorHandle) history(string, Span) (string, error)               { return "{}", nil }
func (monitorHandle) historyNames() (string, error)                      { return "[]", nil }
func (monitorHandle) clients(string) ([]ClientFigures, error)            { return nil, nil }
func (monitorHandle) idleClients(time.Duration) ([]ClientFigures, error) { return nil, nil }
func (monitorHandle) reportTo(ReportFormat, string) (io.Closer, error)   { return nothing{}, nil }
func (monitorHandle) pushRuntime(*runtimeSample)                         {}
func (monitorHandle) counter(*Metric, []string) (uint64, error)          { return 0, nil }
func (monitorHandle) gauge(*Metric, []string) (uint64, error)            { return 0, nil }
func (monitorHandle) histogram(*Metric, []string) (uint64, error)        { return 0, nil }
func (monitorHandle) releaseCounter(uint64)                              {}
func (monitorHandle) releaseGauge(uint64)                                {}
func (monitorHandle) releaseHistogram(uint64)                            {}
func (monitorHandle) addRule(*Rule) error                                { return nil }
func (monitorHandle) removeRule(string) error                            { return nil }
func (monitorHandle) setThreshold(string, float64, float64) error        { return nil }
func (monitorHandle) alertPoll() (alertPoll, error)                      { return alertPoll{}, nil }

// report returns an empty report: JSON that decodes into a Snapshot of zeros, and otherwise no text.
func (monitorHandle) report(format ReportFormat) (string, error) {
	if format == ReportJSON {
		return "{}", nil
	}
	return "", nil
}

// doorHandle does not exist: see Stub.
type doorHandle struct{}

func (monitorHandle) serve(*DoorOptions, string) (doorHandle, error) {
	return doorHandle{}, ErrUnsupported
}
func (doorHandle) address() (string, error) { return "", ErrUnsupported }
func (doorHandle) setReady(string) error    { return ErrUnsupported }
func (doorHandle) release() error           { return nil }

// exporterHandle does not exist: see Stub.
type exporterHandle struct{}

func (monitorHandle) exportToElasticsearch(*ElasticsearchOptions) (exporterHandle, error) {
	return exporterHandle{}, ErrUnsupported
}

func (monitorHandle) exportToOTLP(*OTLPOptions, string, string) (exporterHandle, error) {
	return exporterHandle{}, ErrUnsupported
}

func (exporterHandle) figures() (ExporterFigures, error) { return ExporterFigures{}, ErrUnsupported }
func (exporterHandle) lastError() (string, error)        { return "", ErrUnsupported }
func (exporterHandle) stop(time.Duration) error          { return ErrUnsupported }
func (exporterHandle) release() error                    { return nil }

// answer has no page. Prometheus gets no figures, and no error.
func (monitorHandle) answer(request *httpRequest) (httpReply, error) {
	if request.target == "/metrics" {
		return httpReply{status: 200, contentType: ReportPrometheus.ContentType()}, nil
	}
	return httpReply{}, ErrUnsupported
}

// alertPoll never has an alert.
type alertPoll struct{}

func (alertPoll) next() (Alert, error) { return Alert{}, ErrAgain }
func (alertPoll) release()             {}

// readiness waits for the end of a context.
type readiness struct{}

func newReadiness(any) (readiness, error) { return readiness{}, nil }

func (readiness) wait(ctx context.Context, _ func() bool) error {
	<-ctx.Done()
	return ctx.Err()
}

func (readiness) close() {}
