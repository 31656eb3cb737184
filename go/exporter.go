package corelane

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"time"
)

// ElasticsearchOptions say where [Monitor.ExportToElasticsearch] sends documents. Everything but URL may be empty.
type ElasticsearchOptions struct {
	// URL is the server, such as "https://search.example.org:9200". A path in it is kept.
	URL string
	// User and Password are for HTTP basic authentication.
	User, Password string
	// APIKey is an API key, in the encoded form that Elasticsearch returns. Not together with a user.
	APIKey string
	// Certificates is a file of PEM certificates: only servers that these certificates vouch for are trusted. Empty: the
	// certificates of Mozilla's list, which the library contains.
	Certificates string
	// Namespace is the last part of the data streams' names. Empty: "default".
	Namespace string
	// Service is the value of service.name in each document. Empty: the name of the program.
	Service string
	// NoConnections: connects and disconnects become no documents.
	NoConnections bool
	// NoTemplates: no index templates are installed, so that the credentials need no rights but to create documents.
	NoTemplates bool
	// Interval is the time between two documents of figures, from 1 second to 1 hour; 0: 10 seconds.
	Interval time.Duration
	// RequestTimeout is the time limit of one request, from 1 second to 5 minutes; 0: 10 seconds.
	RequestTimeout time.Duration
	// QueueBytes is how many bytes of documents may wait, from 64 KiB to 1 GiB; 0: 8 MiB.
	QueueBytes uint64
}

// OTLPOptions say where [Monitor.ExportToOTLP] sends figures. Everything but URL may be empty.
type OTLPOptions struct {
	// URL is the collector, such as "http://127.0.0.1:4318". Requests go to /v1/metrics below it.
	URL string
	// Headers are headers of each request, such as "authorization".
	Headers map[string]string
	// Certificates and Service are as in [ElasticsearchOptions].
	Certificates, Service string
	// Attributes are further attributes of the resource, such as "deployment.environment.name".
	Attributes map[string]string
	// Interval is the time between two requests, from 1 second to 1 hour; 0: 15 seconds.
	Interval time.Duration
	// RequestTimeout is the time limit of one request, from 1 second to 5 minutes; 0: 10 seconds.
	RequestTimeout time.Duration
}

// Exporter sends a monitor's figures elsewhere, on threads of the library. Stop it at the end, so that it sends what waits.
type Exporter struct {
	handle  exporterHandle
	monitor *Monitor
}

var _ io.Closer = (*Exporter)(nil)

// ExporterFigures are what an exporter has sent and lost. An item is a document of Elasticsearch, or a data point of
// OpenTelemetry.
type ExporterFigures struct {
	// Failing says that the last request failed. [Exporter.LastError] says why.
	Failing bool
	// Sent is what the server has stored, Repeated what it had stored already, Rejected what it has refused for good.
	Sent, Repeated, Rejected uint64
	// Dropped is what was given up: documents when the queue was full or the exporter ended, data points when their request
	// failed. Missed is how many connection events came too fast to become documents.
	Dropped, Missed uint64
	FailedRequests  uint64
	// Waiting is how many documents wait, WaitingBytes how large they are.
	Waiting, WaitingBytes uint64
}

// ExportToElasticsearch sends figures and events to Elasticsearch or OpenSearch, as documents of data streams
// (docs/monitor.md). The server need not be there yet. If it is away or too slow, the queue drops its oldest documents and
// counts them. No goroutine waits for it.
//
// ErrInvalid: an option; the error says what is allowed. ErrLimit: 16 exporters. ErrStale.
func (m *Monitor) ExportToElasticsearch(options ElasticsearchOptions) (*Exporter, error) {
	handle, err := m.handle.exportToElasticsearch(&options)
	if err != nil {
		return nil, err
	}
	return &Exporter{handle, m}, nil
}

// ExportToOTLP sends figures to an OpenTelemetry collector, as OTLP metrics over HTTP with protobuf. The collector need not be
// there yet.
//
// Errors as for [Monitor.ExportToElasticsearch].
func (m *Monitor) ExportToOTLP(options OTLPOptions) (*Exporter, error) {
	headers, err := pairsOf("Headers", options.Headers, ": ")
	if err != nil {
		return nil, err
	}
	attributes, err := pairsOf("Attributes", options.Attributes, "=")
	if err != nil {
		return nil, err
	}
	handle, err := m.handle.exportToOTLP(&options, headers, attributes)
	if err != nil {
		return nil, err
	}
	return &Exporter{handle, m}, nil
}

// pairsOf writes names and values as lines. The error does not repeat a value: it may be a secret.
func pairsOf(field string, pairs map[string]string, between string) (string, error) {
	var text strings.Builder
	for _, name := range slices.Sorted(maps.Keys(pairs)) {
		if value := pairs[name]; name == "" || strings.ContainsAny(name, "\r\n"+between) || strings.ContainsAny(value, "\r\n") {
			return "", &Error{Code: CodeInvalid, Message: fmt.Sprintf("%s: the name %q or its value has a character that is not allowed", field, name)}
		}
		text.WriteString(name + between + pairs[name] + "\n")
	}
	return text.String(), nil
}

// Figures returns what was sent and lost so far. ErrStale after Close.
func (e *Exporter) Figures() (ExporterFigures, error) { return e.handle.figures() }

// LastError says why the last request failed. nil if it succeeded, or if there was none.
func (e *Exporter) LastError() error {
	text, err := e.handle.lastError()
	if err != nil || text == "" {
		return err
	}
	return errors.New("corelane: the exporter: " + text)
}

// Stop makes the last documents or data points, sends what waits, and ends the exporter, at the latest at the context's
// deadline; what could not be sent by then is dropped and counted. If the context is cancelled, Stop returns its error at once,
// and the exporter goes on stopping. The figures can be read until Close.
func (e *Exporter) Stop(ctx context.Context) error {
	e.monitor.Flush()
	limit := time.Hour
	if deadline, has := ctx.Deadline(); has {
		limit = max(time.Until(deadline), 0)
	}
	stopped := make(chan error, 1)
	go func() { stopped <- e.handle.stop(limit) }()
	select {
	case err := <-stopped:
		return err
	case <-ctx.Done():
	}
	select { // The call ends at the same deadline. A result that is there counts.
	case err := <-stopped:
		return err
	case <-time.After(20 * time.Millisecond):
		return fmt.Errorf("corelane: the exporter has not stopped: %w", context.Cause(ctx))
	}
}

// Close ends the exporter. What waits is dropped, unless it was stopped before. A second call does nothing.
func (e *Exporter) Close() error {
	if err := e.handle.release(); !errors.Is(err, ErrStale) {
		return err
	}
	return nil
}
