package main

import (
	"strings"
	"testing"
	"time"
)

func read(words ...string) (*options, error) {
	return readOptions(words, func(string) string { return "" })
}

func TestOptionsAreReadInBothSpellings(t *testing.T) {
	o, err := read("--expire-timeout", "7", "--cors", "https://A.example:443/", "http://b.example:8080", "--allow_discovery",
		"--path=/my/app", "-p", "0", "--set", "max_message=2048")
	if err != nil {
		t.Fatal(err)
	}
	configuration := o.configuration()
	if o.expireTimeout != 7 || strings.Join(o.origins, " ") != "https://a.example http://b.example:8080" || !o.allowDiscovery ||
		o.base != "/my/app/" || o.port != 0 || o.maxMessage != 2048 || configuration["max_message"] != "2048" ||
		configuration["hold_ms"] != "7" {
		t.Errorf("%+v, %v", o, configuration)
	}
}

func TestWhatIsWrongIsRefusedWithWhatIsAllowed(t *testing.T) {
	for _, words := range [][]string{{"--port", "65536"}, {"--port", "-1"}, {"--monitor", "9090"}, {"--report_format", "xml"},
		{"--cors", "a.example"}, {"--cors", "https://a.example/app"}, {"--set", "workers"}, {"--threads", "0"},
		{"--trusted_proxy", "proxy"}, {"--log", "loud"}} {
		_, err := read(words...)
		if err == nil || !strings.Contains(err.Error(), words[0]) || !strings.Contains(err.Error(), words[1]) ||
			!strings.Contains(err.Error(), "allowed") {
			t.Errorf("%v: %v", words, err)
		}
	}
	for _, words := range [][]string{{"--bogus", "1"}, {"--port"}, {"--sslkey", "k"}} {
		if _, err := read(words...); err == nil {
			t.Errorf("%v", words)
		}
	}
}

func TestAddressesLieBelowThePathOrNowhere(t *testing.T) {
	for _, one := range []struct {
		path, base, rest string
		ok               bool
	}{
		{"/", "/", "", true}, {"/peerjs/id", "/", "peerjs/id", true}, {"/My/app", "/my/app/", "", true},
		{"/my/app/k/id", "/my/app/", "k/id", true}, {"/my/apple", "/my/app/", "", false}, {"/žš", "/my/", "", false},
	} {
		if rest, ok := below(one.path, one.base); ok != one.ok || ok && rest != one.rest {
			t.Errorf("%s below %s: %q, %v", one.path, one.base, rest, ok)
		}
	}
}

func TestAFloodIsOverOnceAndFewSocketsAreNone(t *testing.T) {
	var f flood
	for at, look := range []struct {
		open   int64
		isOver bool
	}{{0, false}, {200, false}, {0, false}, {0, false}, {1000, false}, {400, false}, {100, false}, {100, true}, {100, false},
		{0, false}, {0, false}} {
		if f.isOver(look.open, look.open) != look.isOver {
			t.Errorf("look %d: %d", at, look.open)
		}
	}
}

func TestTheOptionsOfAClusterAreChecked(t *testing.T) {
	o, err := read("--cluster", "nats://10.0.0.1:4222,tls://[::1]", "--machine", "a", "--cluster-without", "refuse")
	if err != nil || o.drainSeconds != 10 || o.configuration()["max_ports"] != "2" {
		t.Errorf("%+v, %v", o, err)
	}
	if o, err := read(); err != nil || o.drainSeconds != 0 || o.configuration()["max_ports"] != "1" {
		t.Errorf("%+v, %v", o, err)
	}
	for _, one := range []struct{ words, says string }{
		{"--machine a", "needs --cluster"},
		{"--cluster_without refuse", "needs --cluster"},
		{"--cluster nats://n --cluster_key k", "each other"},
		{"--cluster nats://ann:hidden@n", "without a user"},
		{"--cluster http://n", "allowed"},
		{"--cluster nats://n,", "allowed"},
		{"--cluster nats://n --cluster_without never", "allowed: local, refuse"},
		{"--drain_seconds 3601", "allowed: 0 to 3600 seconds"},
	} {
		if _, err := read(strings.Fields(one.words)...); err == nil || !strings.Contains(err.Error(), one.says) ||
			strings.Contains(err.Error(), "hidden") {
			t.Errorf("%s: %v", one.words, err)
		}
	}
}

func TestADrainClosesEvenlyAndAllAtTheEnd(t *testing.T) {
	open, most := 10_000, 0
	for left := 8 * time.Second; ; left -= drainStep {
		count := drainCount(open, left)
		most, open = max(most, count), open-count
		if left <= 0 {
			break
		}
	}
	if open != 0 || most != 63 || drainCount(1, 8*time.Second) != 1 || drainCount(0, 0) != 0 {
		t.Errorf("%d open, %d at most", open, most)
	}
}
