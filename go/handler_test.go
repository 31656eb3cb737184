package corelane_test

import (
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

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
