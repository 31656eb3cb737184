//go:build cgo && !corelane_stub

package corelane

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime/pprof"
	"slices"
	"strings"
	"testing"
	"time"
)

// startNATS starts a nats-server of the test's own: NATS_SERVER names the program, or it is on the path. Returns its address.
func startNATS(t *testing.T) string {
	t.Helper()
	skip := t.Skip
	if os.Getenv("CORELANE_REQUIRE_ALL") == "1" {
		skip = t.Fatal
	}
	program := os.Getenv("NATS_SERVER")
	if program == "" {
		program, _ = exec.LookPath("nats-server")
	}
	if program == "" {
		skip("no nats-server: go install github.com/nats-io/nats-server/v2@v2.15.3")
	}
	router := startTestRouter(t, nil)
	cluster, err := router.JoinCluster(context.Background(), ClusterOptions{Servers: []string{"nats://127.0.0.1:1"}, Machine: "a"})
	if errors.Is(err, ErrUnsupported) {
		skip(err)
	}
	if err != nil {
		t.Fatal(err)
	}
	if _, err := cluster.Claim(context.Background(), "ann", "t"); !errors.Is(err, ErrUnavailable) {
		t.Errorf("a claim without NATS: %v", err)
	}
	if err := cluster.Close(); err != nil {
		t.Error(err)
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	_, port, _ := net.SplitHostPort(listener.Addr().String())
	listener.Close()
	server := exec.Command(program, "-a", "127.0.0.1", "-p", port, "-js", "-sd", filepath.Join(t.TempDir(), "store"))
	if err := server.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		server.Process.Kill()
		server.Wait()
	})
	return "nats://127.0.0.1:" + port
}

type testMachine struct {
	router  *Router
	lane    *Lane
	cluster *Cluster
}

func joinTestCluster(t *testing.T, url, name string) testMachine {
	t.Helper()
	router := startTestRouter(t, Config{"workers": "1", "hold_ms": "2000"})
	lane := openRouterLane(t, router)
	cluster, err := router.JoinCluster(context.Background(), ClusterOptions{
		Servers: []string{url}, Cluster: "go-tests", Machine: name, Secret: []byte("secret"), Names: 1000,
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		for range 2 {
			if err := cluster.Close(); err != nil {
				t.Error("close of the cluster:", err)
			}
		}
		if _, err := cluster.Status(); !errors.Is(err, ErrStale) {
			t.Errorf("the status of a closed cluster: %v", err)
		}
	})
	return testMachine{router, lane, cluster}
}

// await waits until the status is as wanted.
func (m testMachine) await(t *testing.T, what string, is func(ClusterStatus) bool) {
	t.Helper()
	for end := time.Now().Add(60 * time.Second); ; time.Sleep(10 * time.Millisecond) {
		status, err := m.cluster.Status()
		if err != nil {
			t.Fatal(err)
		}
		if is(status) {
			return
		}
		if time.Now().After(end) {
			t.Fatalf("%s: %+v", what, status)
		}
	}
}

func (m testMachine) message(t *testing.T, ctx context.Context) string {
	t.Helper()
	for event := range m.lane.Events(ctx) {
		if event.Kind == EventMessage {
			text := string(event.Message)
			event.Client.Acknowledge(1, len(event.Message))
			return text
		}
	}
	t.Fatal("no message")
	return ""
}

// hears says something until a message with this text arrives. A machine tells the others of its rooms' members within a tenth of a
// second, and nothing waits for that.
func (m testMachine) hears(t *testing.T, ctx context.Context, text string, say func() error) {
	t.Helper()
	saying, stop := context.WithCancel(ctx)
	said := make(chan error, 1)
	go func() {
		var err error
		for err == nil && saying.Err() == nil {
			err = say()
			select {
			case <-saying.Done():
			case <-time.After(50 * time.Millisecond):
			}
		}
		said <- err
	}()
	for !strings.Contains(m.message(t, ctx), text) {
	}
	stop()
	if err := <-said; err != nil {
		t.Errorf("%s: %v", text, err)
	}
}

func TestTwoRoutersAreOneCluster(t *testing.T) {
	url := startNATS(t)
	a, b := joinTestCluster(t, url, "a"), joinTestCluster(t, url, "b")
	for _, one := range []testMachine{a, b} {
		one.await(t, "a link", func(s ClusterStatus) bool { return s.State == "joined" && len(s.Links) == 1 && s.Links[0].Up })
	}
	if !a.cluster.IsJoined() {
		t.Error("joined, and not")
	}
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Minute)
	defer cancel()
	claim := func(m testMachine, name, token string) *Claim {
		t.Helper()
		claim, err := m.cluster.Claim(ctx, name, token)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		return claim
	}
	connect := func(m testMachine, name string) *Client {
		t.Helper()
		client, err := m.lane.Connect(name, "generic", ConnectOptions{})
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		return client
	}

	// Messages there and back.
	annsName, bensName := claim(a, "ann", "her token"), claim(b, "ben", "his token")
	ann, ben := connect(a, "ann"), connect(b, "ben")
	for _, one := range []testMachine{a, b} {
		one.await(t, "both names", func(s ClusterStatus) bool { return s.NamesKnown == 2 })
	}
	names, err := a.cluster.Names(ctx, 10)
	if slices.Sort(names); err != nil || !slices.Equal(names, []string{"ann", "ben"}) {
		t.Errorf("the names of all: %q, %v", names, err)
	}
	if names, err := a.cluster.Names(ctx, 1); err != nil || len(names) != 1 {
		t.Errorf("one name: %q, %v", names, err)
	}
	if err := ann.Submit([]byte(`{"type":"offer","to":"ben","payload":1}`), SubmitOptions{}); err != nil {
		t.Fatal(err)
	}
	if got, want := b.message(t, ctx), `"from":"ann"`; !bytes.Contains([]byte(got), []byte(want)) {
		t.Errorf("%s has no %s", got, want)
	}
	if err := ben.Submit([]byte(`{"type":"answer","to":"ann","payload":2}`), SubmitOptions{}); err != nil {
		t.Fatal(err)
	}
	if got, want := a.message(t, ctx), `"from":"ben"`; !bytes.Contains([]byte(got), []byte(want)) {
		t.Errorf("%s has no %s", got, want)
	}

	// A room has members on both machines: messages of a client, and of the program.
	annsLobby, err := ann.Join("lobby")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := ben.Join("lobby"); err != nil {
		t.Fatal(err)
	}
	b.hears(t, ctx, `"from":"ann","type":"broadcast"`, func() error {
		return ann.Submit([]byte(`{"type":"broadcast","room":"lobby","text":"hello"}`), SubmitOptions{})
	})
	b.hears(t, ctx, `{"from":"the program"}`, func() error { return annsLobby.Send([]byte(`{"from":"the program"}`), SendOptions{}) })
	a.hears(t, ctx, `"from":"ben","type":"broadcast"`, func() error {
		return ben.Submit([]byte(`{"type":"broadcast","room":"lobby","text":"hello"}`), SubmitOptions{})
	})
	for _, one := range []testMachine{a, b} {
		one.await(t, "figures that add up", func(s ClusterStatus) bool {
			link := s.Links[0]
			return link.InFlight == 0 && link.Sent >= 2 && link.Sent == link.Delivered+link.Gone+link.Lost+link.Rejected
		})
	}

	// Another client does not get the name; the same one does, and the loser is told.
	if _, err := b.cluster.Claim(ctx, "ann", "another token"); !errors.Is(err, ErrTaken) {
		t.Errorf("ann is taken: %v", err)
	}
	taken := claim(b, "ann", "her token")
	for lost := range a.cluster.Lost(ctx) {
		if lost.Claim != annsName || lost.Reason != LostReplaced || lost.Claim.Name() != "ann" {
			t.Errorf("lost: %+v", lost)
		}
		break
	}
	if err := ann.Disconnect(); err != nil {
		t.Error(err)
	}
	for _, one := range []*Claim{annsName, annsName, taken, bensName} {
		if err := one.Release(); err != nil {
			t.Error(err)
		}
	}
	short, end := context.WithTimeout(ctx, 50*time.Millisecond)
	defer end()
	for lost := range a.cluster.Lost(short) {
		t.Errorf("lost: %+v", lost)
	}

	// Many claims at once take no threads. On a busy machine Go makes some for calls of C that wait for a processor.
	threads := pprof.Lookup("threadcreate").Count()
	errs := make(chan error, 200)
	for at := range cap(errs) {
		go func() {
			claim, err := a.cluster.Claim(ctx, fmt.Sprint("herd", at), "t")
			if err == nil {
				err = claim.Release()
			}
			errs <- err
		}()
	}
	for range cap(errs) {
		if err := <-errs; err != nil && !errors.Is(err, ErrBusy) {
			t.Error(err)
		}
	}
	if more := pprof.Lookup("threadcreate").Count() - threads; more > 100 {
		t.Errorf("200 claims have made %d threads", more)
	}

	ended, endNow := context.WithCancel(ctx)
	endNow()
	if _, err := a.cluster.Claim(ended, "cat", "t"); !errors.Is(err, context.Canceled) {
		t.Errorf("a claim of a cancelled context: %v", err)
	}
	if _, err := a.cluster.Claim(ctx, "", "t"); !errors.Is(err, ErrInvalid) {
		t.Errorf("no name: %v", err)
	}
	if err := a.cluster.Drain(); err != nil {
		t.Error(err)
	}
	if _, err := a.cluster.Claim(ctx, "cat", "t"); !errors.Is(err, ErrClosed) {
		t.Errorf("a claim while draining: %v", err)
	}
	if _, err := a.router.JoinCluster(ctx, ClusterOptions{Machine: "c"}); !errors.Is(err, ErrLimit) {
		t.Errorf("a second cluster: %v", err)
	}
	if _, err := a.router.JoinCluster(ctx, ClusterOptions{Machine: "a b"}); !errors.Is(err, ErrInvalid) {
		t.Errorf("a wrong name: %v", err)
	}
	for says, options := range map[string]ClusterOptions{
		"link_messages 7: give it 16 to ":                {LinkMessages: 7},
		"link_bytes 2147483647: give it 65536 to ":       {LinkBytes: math.MaxInt},
		"Rooms -1: give it 0 (the default) or more":      {Rooms: -1},
		"names 9223372036854775807: give it 1 to 100000": {Names: math.MaxInt},
	} {
		options.Machine = "a"
		if _, err := a.router.JoinCluster(ctx, options); !errors.Is(err, ErrInvalid) || !strings.Contains(err.Error(), says) {
			t.Errorf("%v does not say %s", err, says)
		}
	}
}
