package main

import (
	"bufio"
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"os/exec"
	"strings"
	"testing"

	corelane "github.com/corelane/corelane/go"
)

// The monitor takes less than 60 changed lines.
func TestTheChangeIsSmall(t *testing.T) {
	output, _ := exec.Command("diff", "../before/main.go", "main.go").Output()
	changed := 0
	for _, line := range strings.Split(string(output), "\n") {
		if strings.HasPrefix(line, "> ") {
			changed++
		}
	}
	if changed == 0 || changed >= 60 {
		t.Errorf("%d lines are new or changed", changed)
	}
	t.Logf("%d lines are new or changed", changed)
}

func TestTheMonitorSeesTheServer(t *testing.T) {
	monitor, err := corelane.StartMonitor(nil)
	if err != nil {
		t.Fatal(err)
	}
	defer monitor.Close()
	server := httptest.NewServer(newServer(monitor).handler())
	defer server.Close()

	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	request, _ := http.NewRequestWithContext(ctx, "GET", server.URL+"/events/ben", nil)
	events, err := http.DefaultClient.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	defer events.Body.Close()
	send := func(text string) int {
		t.Helper()
		response, err := http.Post(server.URL+"/send/ann", "application/json", strings.NewReader(text))
		if err != nil {
			t.Fatal(err)
		}
		response.Body.Close()
		return response.StatusCode
	}
	if status := send(`{"type":"offer","to":"ben","body":1}`); status != 200 {
		t.Error(status)
	}
	if line, err := bufio.NewReader(events.Body).ReadString('\n'); err != nil || !strings.Contains(line, `"from":"ann"`) {
		t.Error(line, err)
	}
	if status := send(`{"type":"offer","to":"nobody"}`); status != 400 {
		t.Error(status)
	}
	if corelane.Stub {
		return
	}
	snapshot, err := monitor.Snapshot()
	if err != nil {
		t.Fatal(err)
	}
	if got := snapshot.Messages; got.Total != 2 || got.Succeeded != 1 || got.Failures["unknown_recipient"] != 1 {
		t.Errorf("%+v", got)
	}
	if snapshot.Connections.Active != 1 {
		t.Errorf("%+v", snapshot.Connections)
	}
	for _, address := range []string{"/metrics", "/monitor/", "/monitor/api/stats"} {
		response, err := http.Get(server.URL + address)
		if err != nil {
			t.Fatal(err)
		}
		text, _ := io.ReadAll(response.Body)
		response.Body.Close()
		if response.StatusCode != 200 || len(text) == 0 {
			t.Error(address, response.StatusCode)
		}
	}
}
