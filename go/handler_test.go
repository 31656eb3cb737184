package corelane_test

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	corelane "github.com/corelane/corelane/go"
)

func TestThePagesOfTheMonitor(t *testing.T) {
	needLibrary(t)
	monitor := startMonitor(t, nil)
	monitor.RecordMessage(corelane.Message{Type: "offer", Protocol: "sip"})
	allowed := false
	handler := monitor.Handler(corelane.HandlerOptions{AllowChanges: func(*http.Request) bool { return allowed }})
	server := httptest.NewServer(handler)
	defer server.Close()
	ask := func(method, address, body string) (int, string, http.Header) {
		t.Helper()
		request, _ := http.NewRequest(method, server.URL+address, strings.NewReader(body))
		if method == "POST" {
			request.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		}
		response, err := http.DefaultClient.Do(request)
		if err != nil {
			t.Fatal(err)
		}
		defer response.Body.Close()
		text, _ := io.ReadAll(response.Body)
		return response.StatusCode, string(text), response.Header
	}
	for _, one := range []struct {
		address, kind, want string
	}{
		{"/", "text/html", "<html"},
		{"/metrics", "text/plain; version=0.0.4", "# TYPE"},
		{"/api/report", "text/html", "<html"},
		{"/api/report?format=text", "text/plain", "Messages"},
		{"/api/report?format=json", "application/json", `"schema_version"`},
		{"/api/stats", "application/json", `"schema_version"`},
		{"/api/schema", "application/schema+json", `"$schema"`},
		{"/api/messages", "application/json", `"total":1`},
		{"/api/types", "application/json", `"offer"`},
		{"/api/routing", "application/json", "null"},
		{"/api/clients/idle?longer_than_ms=5", "application/json", "[]"},
		{"/api/clients/idle?longer_than_ms=5&limit=7", "application/json", "[]"},
		{"/api/info", "application/json", `"version":"`},
		{"/api/history", "application/json", `"names"`},
		{"/api/history?name=messages&span=hour", "application/json", "{"},
		{"/api/timeline?span=minute", "application/json", `"counts"`},
		{"/api/settings", "application/json", `"changeable":true`},
	} {
		status, text, header := ask("GET", one.address, "")
		if status != 200 || !strings.Contains(text, one.want) || !strings.HasPrefix(header.Get("Content-Type"), one.kind) {
			t.Errorf("%s: %d %s %.200s", one.address, status, header.Get("Content-Type"), text)
		}
		if strings.HasPrefix(one.kind, "application/json") && !json.Valid([]byte(text)) {
			t.Errorf("%s: not JSON", one.address)
		}
	}
	for address, want := range map[string]string{
		"/api/report?format=pdf":                     "format = pdf is not valid; allowed: html, text, json",
		"/api/report?fromat=text":                    "unknown parameter fromat; allowed: format",
		"/api/stats?x=1":                             "unknown parameter x; allowed: none",
		"/api/history?name=x&name=y":                 "name is given twice; allowed: once",
		"/api/history?name=nothing":                  "name = nothing is not valid",
		"/api/history?span=hour":                     "span needs name as well",
		"/api/history?name=messages&span=ago":        "span = ago is not valid",
		"/api/clients/idle":                          "longer_than_ms =  is not valid",
		"/api/clients/idle?longer_than_ms=-1":        "longer_than_ms = -1 is not valid",
		"/api/clients/idle?longer_than_ms=1&limit=0": "limit = 0 is not valid",
	} {
		if status, text, _ := ask("GET", address, ""); status != 400 || !strings.Contains(text, want) {
			t.Errorf("%s: %d %s", address, status, text)
		}
	}
	if status, _, _ := ask("GET", "/nothing", ""); status != 404 {
		t.Error(status)
	}
	if status, _, _ := ask("POST", "/api/stats", ""); status != 405 {
		t.Error(status)
	}
	if status, _, _ := ask("POST", "/api/reset", ""); status != 403 {
		t.Error(status)
	}
	allowed = true
	if status, text, _ := ask("POST", "/api/set", "slow_message_threshold_ms=70"); status != 200 {
		t.Error(status, text)
	}
	if status, text, _ := ask("POST", "/api/set", "slow_message_threshold=70"); status != 400 || !strings.Contains(text, "slow_message") {
		t.Error(status, text)
	}
	if status, _, _ := ask("POST", "/api/set", "a=1&b=2"); status != 400 {
		t.Error(status)
	}
	if status, _, _ := ask("POST", "/api/reset", ""); status != 200 {
		t.Error(status)
	}
	if got := snapshot(t, monitor); got.Resets != 1 || got.SlowMessages.ThresholdNanoseconds != 70_000_000 {
		t.Error(got.Resets, got.SlowMessages)
	}
	closed, _ := corelane.StartMonitor(nil)
	closed.Close()
	recorder := httptest.NewRecorder()
	closed.MetricsHandler().ServeHTTP(recorder, httptest.NewRequest("GET", "/metrics", nil))
	if recorder.Code != 503 {
		t.Error(recorder.Code)
	}
}

// TestTheHandlerServesWhatThePageNeeds: the live page, its stream, its settings, and OpenMetrics.
func TestTheHandlerServesWhatThePageNeeds(t *testing.T) {
	needLibrary(t)
	monitor := startMonitor(t, nil)
	mux := http.NewServeMux()
	mux.Handle("/monitor/", http.StripPrefix("/monitor", monitor.Handler(corelane.HandlerOptions{Streams: 1})))
	mux.Handle("/metrics", monitor.MetricsHandler())
	server := httptest.NewServer(mux)
	defer server.Close()
	ctx, cancel := context.WithTimeout(context.Background(), 60*time.Second)
	defer cancel()
	ask := func(method, address string, header ...string) *http.Response {
		t.Helper()
		request, _ := http.NewRequestWithContext(ctx, method, server.URL+address, nil)
		for at := 0; at < len(header); at += 2 {
			request.Header.Set(header[at], header[at+1])
		}
		response, err := http.DefaultClient.Do(request)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { response.Body.Close() })
		return response
	}
	body := func(response *http.Response) string {
		text, _ := io.ReadAll(response.Body)
		return string(text)
	}
	if page := ask("GET", "/monitor/"); page.StatusCode != 200 || !strings.Contains(page.Header.Get("Content-Security-Policy"), "default-src 'none'") ||
		!strings.Contains(body(page), "api/events") {
		t.Error(page.Status, page.Header)
	}
	if settings := body(ask("GET", "/monitor/api/settings")); !strings.Contains(settings, `"changeable":false`) {
		t.Error(settings)
	}
	for _, address := range []string{"/metrics", "/monitor/metrics"} {
		open := ask("GET", address, "Accept", "application/openmetrics-text; version=1.0.0")
		if !strings.HasPrefix(open.Header.Get("Content-Type"), "application/openmetrics-text") || !strings.HasSuffix(body(open), "# EOF\n") {
			t.Error(address, open.Header)
		}
	}
	if refused := ask("POST", "/monitor/api/reset", "Origin", "https://elsewhere.example"); refused.StatusCode != 403 {
		t.Error(refused.Status)
	}
	if refused := ask("GET", "/monitor/api/events?parts=nothing"); refused.StatusCode != 400 {
		t.Error(refused.Status, body(refused))
	}
	stream := ask("GET", "/monitor/api/events?parts=messages")
	lines := bufio.NewReaderSize(stream.Body, 1<<20)
	ids := []string{}
	for len(ids) < 3 {
		line, err := lines.ReadString('\n')
		if err != nil {
			t.Fatal(err)
		}
		if id, found := strings.CutPrefix(line, "id: "); found {
			ids = append(ids, id)
		}
	}
	if ids[0] >= ids[1] || ids[1] >= ids[2] {
		t.Error(ids)
	}
	if second := ask("GET", "/monitor/api/events"); second.StatusCode != 503 {
		t.Error(second.Status)
	}
	// The stream ends with the monitor.
	monitor.Close()
	if _, err := io.Copy(io.Discard, lines); err != nil {
		t.Error(err)
	}
}

// TestTheDoorOfTheLibrary: it serves the monitor until its context ends.
func TestTheDoorOfTheLibrary(t *testing.T) {
	needLibrary(t)
	monitor := startMonitor(t, nil)
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	if _, err := monitor.Serve(ctx, corelane.DoorOptions{Token: "short"}); !errors.Is(err, corelane.ErrInvalid) {
		t.Fatal(err)
	}
	const token = "a-token-of-some-length"
	door, err := monitor.Serve(ctx, corelane.DoorOptions{Address: "127.0.0.1:0", Token: token, NotReady: "starting", Names: []string{"a.example", "b.example"}})
	if err != nil {
		t.Fatal(err)
	}
	address, err := door.Address()
	if err != nil {
		t.Fatal(err)
	}
	status := func(path, token, host string) int {
		request, _ := http.NewRequest("GET", "http://"+address+path, nil)
		if token != "" {
			request.Header.Set("Authorization", "Bearer "+token)
		}
		request.Host = host
		response, err := http.DefaultClient.Do(request)
		if err != nil {
			return 0
		}
		response.Body.Close()
		return response.StatusCode
	}
	for _, one := range []struct {
		path, token, host string
		want              int
	}{
		{"/", "", "", 200}, {"/api/stats", "", "", 401}, {"/api/stats", token, "", 200}, {"/api/stats", token, "b.example", 200},
		{"/api/stats", token, "c.example", 403}, {"/readyz", "", "", 503},
	} {
		if got := status(one.path, one.token, one.host); got != one.want {
			t.Error(one, got)
		}
	}
	if err := door.SetReady(""); err != nil || status("/readyz", "", "") != 200 {
		t.Error(err)
	}
	cancel()
	for deadline := time.Now().Add(30 * time.Second); status("/healthz", "", "") != 0; time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("the door outlives its context")
		}
	}
	if err := door.Close(); err != nil {
		t.Error(err)
	}
	if _, err := door.Address(); !errors.Is(err, corelane.ErrStale) {
		t.Error(err)
	}
	if _, err := monitor.Serve(ctx, corelane.DoorOptions{}); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
}
