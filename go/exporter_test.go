package corelane_test

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	corelane "github.com/corelane/corelane/go"
)

// bulkServer is a server that accepts what Elasticsearch accepts, and nothing else.
type bulkServer struct {
	t    *testing.T
	auth string
	// Refuse the next so many requests.
	lock      sync.Mutex
	away      int
	templates map[string]bool
	documents map[string]map[string]any // By id.
	streams   map[string]int
}

func newBulkServer(t *testing.T, auth string) (*bulkServer, string) {
	s := &bulkServer{t: t, auth: auth, templates: map[string]bool{}, documents: map[string]map[string]any{}, streams: map[string]int{}}
	server := httptest.NewServer(s)
	t.Cleanup(server.Close)
	return s, server.URL
}

func (s *bulkServer) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s.lock.Lock()
	defer s.lock.Unlock()
	refuse := func(format string, values ...any) {
		s.t.Errorf("%s %s: "+format, append([]any{r.Method, r.URL}, values...)...)
		http.Error(w, "{}", http.StatusBadRequest)
	}
	if got := r.Header.Get("Authorization"); got != s.auth {
		refuse("authorization %q", got)
		return
	}
	if s.away > 0 {
		s.away--
		http.Error(w, `{"error":"busy"}`, http.StatusServiceUnavailable)
		return
	}
	body := io.Reader(r.Body)
	if r.Header.Get("Content-Encoding") == "gzip" {
		unpacked, err := gzip.NewReader(body)
		if err != nil {
			refuse("%v", err)
			return
		}
		body = unpacked
	}
	text, err := io.ReadAll(body)
	if err != nil {
		refuse("%v", err)
		return
	}
	kind, _, _ := strings.Cut(r.Header.Get("Content-Type"), ";")
	w.Header().Set("Content-Type", "application/json")
	switch {
	case r.Method == "PUT" && strings.HasPrefix(r.URL.Path, "/_index_template/"):
		var template struct {
			Patterns []string        `json:"index_patterns"`
			Stream   json.RawMessage `json:"data_stream"`
		}
		if err := json.Unmarshal(text, &template); err != nil || kind != "application/json" || len(template.Patterns) == 0 || template.Stream == nil {
			refuse("template %q %v %s", kind, err, text)
			return
		}
		s.templates[r.URL.Path] = true
		_, _ = io.WriteString(w, `{"acknowledged":true}`)
	case r.Method == "POST" && r.URL.Path == "/_bulk":
		if kind != "application/x-ndjson" || !bytes.HasSuffix(text, []byte("\n")) {
			refuse("content type %q, ends with %q", kind, text[max(0, len(text)-1):])
			return
		}
		var items []string
		lines := bufio.NewScanner(bytes.NewReader(text))
		lines.Buffer(nil, 16<<20)
		for lines.Scan() {
			var action map[string]struct {
				Index string `json:"_index"`
				ID    string `json:"_id"`
			}
			if err := json.Unmarshal(lines.Bytes(), &action); err != nil || len(action) != 1 || action["create"].Index == "" || !lines.Scan() {
				refuse("action %q %v", lines.Text(), err)
				return
			}
			var document map[string]any
			if err := json.Unmarshal(lines.Bytes(), &document); err != nil || document["@timestamp"] == nil {
				refuse("document %q %v", lines.Text(), err)
				return
			}
			one := action["create"]
			if _, known := s.documents[one.ID]; known && one.ID != "" {
				items = append(items, `{"create":{"status":409,"error":{"type":"version_conflict_engine_exception"}}}`)
				continue
			}
			s.documents[one.ID] = document
			s.streams[one.Index]++
			items = append(items, `{"create":{"status":201}}`)
		}
		fmt.Fprintf(w, `{"errors":false,"items":[%s]}`, strings.Join(items, ","))
	default:
		refuse("no such address")
	}
}

func TestFiguresGoToElasticsearch(t *testing.T) {
	needLibrary(t)
	server, url := newBulkServer(t, "ApiKey c2VjcmV0")
	server.lock.Lock()
	server.away = 1
	server.lock.Unlock()
	monitor := startMonitor(t, nil)
	if _, err := monitor.ExportToElasticsearch(corelane.ElasticsearchOptions{URL: "nonsense"}); !errors.Is(err, corelane.ErrInvalid) {
		t.Fatal(err)
	}
	exporter, err := monitor.ExportToElasticsearch(corelane.ElasticsearchOptions{
		URL: url, APIKey: "c2VjcmV0", Namespace: "tested", Service: "go-test", Interval: time.Second,
	})
	if err != nil {
		t.Fatal(err)
	}
	ann, err := monitor.Connect("ann", "web")
	if err != nil {
		t.Fatal(err)
	}
	for range 1000 {
		_ = monitor.RecordMessage(corelane.Message{Type: "offer", Client: "ann", Sample: corelane.Sample{Connection: ann, Service: time.Millisecond}})
	}
	ann.Close()
	for deadline := time.Now().Add(60 * time.Second); ; time.Sleep(50 * time.Millisecond) {
		figures, err := exporter.Figures()
		if err != nil {
			t.Fatal(err)
		}
		if figures.Sent >= 3 && !figures.Failing {
			break
		}
		if time.Now().After(deadline) {
			t.Fatal(figures, exporter.LastError())
		}
	}
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	if err := exporter.Stop(ctx); err != nil {
		t.Fatal(err)
	}
	figures, err := exporter.Figures()
	if err != nil || figures.Rejected+figures.Dropped+figures.Waiting != 0 || figures.FailedRequests != 1 {
		t.Errorf("%+v %v", figures, err)
	}
	if err := exporter.LastError(); err != nil {
		t.Error(err)
	}
	server.lock.Lock()
	if uint64(len(server.documents)) != figures.Sent || len(server.templates) == 0 {
		t.Error(len(server.documents), figures, server.templates)
	}
	for stream := range server.streams {
		if !strings.HasSuffix(stream, "-tested") {
			t.Error(server.streams)
		}
	}
	text, _ := json.Marshal(server.documents)
	server.lock.Unlock()
	for _, want := range []string{`"go-test"`, `"ann"`} {
		if !strings.Contains(string(text), want) {
			t.Errorf("no document has %s: %.2000s", want, text)
		}
	}
	for range 2 {
		if err := exporter.Close(); err != nil {
			t.Error(err)
		}
	}
	if _, err := exporter.Figures(); !errors.Is(err, corelane.ErrStale) {
		t.Error(err)
	}
}

func TestFiguresGoToACollector(t *testing.T) {
	needLibrary(t)
	got := make(chan *http.Request, 16)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if _, err := io.ReadAll(r.Body); err != nil {
			t.Error(err)
		}
		select {
		case got <- r:
		default:
		}
		w.Header().Set("Content-Type", "application/x-protobuf")
	}))
	defer server.Close()
	monitor := startMonitor(t, nil)
	for _, header := range []string{"a:b", "a\nb", ""} {
		if _, err := monitor.ExportToOTLP(corelane.OTLPOptions{URL: server.URL, Headers: map[string]string{header: "x"}}); !errors.Is(err, corelane.ErrInvalid) {
			t.Fatal(header, err)
		}
	}
	exporter, err := monitor.ExportToOTLP(corelane.OTLPOptions{
		URL: server.URL, Headers: map[string]string{"authorization": "Bearer x", "x-scope": "me"}, Interval: time.Second,
		Attributes: map[string]string{"deployment.environment.name": "test"},
	})
	if err != nil {
		t.Fatal(err)
	}
	defer exporter.Close()
	select {
	case r := <-got:
		if r.URL.Path != "/v1/metrics" || r.Header.Get("Authorization") != "Bearer x" || r.Header.Get("X-Scope") != "me" ||
			r.Header.Get("Content-Type") != "application/x-protobuf" {
			t.Error(r.URL, r.Header)
		}
	case <-time.After(60 * time.Second):
		t.Fatal("nothing came", exporter.LastError())
	}
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	if err := exporter.Stop(ctx); err != nil {
		t.Fatal(err)
	}
	if figures, err := exporter.Figures(); err != nil || figures.Sent == 0 {
		t.Error(figures, err)
	}
}
