// Command peerserver is a PeerJS-compatible signaling server on net/http, gorilla/websocket and corelane. It does what
// npm's peer does, and counts and times every message. A message takes no call of C: it goes through a lane.
//
//	| files                        | what they do                                                      |
//	| main.go, options.go          | the start, the command line                                       |
//	| accept.go, http.go, tls.go   | listeners and sockets, the pages of npm's server, the certificate |
//	| client.go, conn.go, queue.go | the life of a WebSocket, its writes, its queue                    |
//	| lane.go, server.go           | what the router hands out; what all share, and the end            |
//	| registry.go, address.go      | who has which id, and the addresses of clients                    |
//	| cluster.go, drain.go         | ids in a cluster of several machines, the drain before a stop     |
//	| monitor.go, counts.go, log.go| the monitor's pages, refusals, the log                            |
package main

import (
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/netip"
	"os"
	"os/signal"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	corelane "github.com/corelane/corelane/go"
)

func main() {
	for _, word := range os.Args[1:] {
		if word == "--help" || word == "-h" {
			help()
			return
		}
	}
	// A closed log must not end the server.
	signal.Ignore(syscall.SIGPIPE)
	err := run()
	lines.finish()
	var misuse misuse
	switch {
	case err == nil:
	case errors.As(err, &misuse), errors.Is(err, corelane.ErrConfigKey), errors.Is(err, corelane.ErrConfigValue):
		fmt.Fprintln(os.Stderr, "error:", err)
		os.Exit(2)
	default:
		fmt.Fprintln(os.Stderr, "error:", err)
		os.Exit(1)
	}
}

// run serves until a signal. No socket listens before the whole configuration is accepted.
func run() error {
	options, err := readOptions(os.Args[1:], os.Getenv)
	if err != nil {
		return err
	}
	runtime.GOMAXPROCS(int(options.threads))
	startLog(options.logLevel, options.logJSON)
	var certificate *certificate
	if options.sslKey != "" {
		if certificate, err = loadCertificate(options.sslKey, options.sslCertificate); err != nil {
			return err
		}
	}
	router, err := corelane.Start(options.configuration())
	if err != nil {
		return err
	}
	defer router.Close()
	monitor, err := startMonitor(options, router)
	if err != nil {
		return fmt.Errorf("cannot start the monitor: %w", err)
	}
	defer monitor.Close()
	server, err := newServer(options, router, monitor)
	if err != nil {
		return err
	}
	server.certificate = certificate
	if err := server.join(); err != nil {
		return err
	}
	public, watching, err := server.openAll()
	if err != nil {
		return err
	}
	server.introduce(public[0], watching)
	signals := make(chan os.Signal, 4)
	signal.Notify(signals, syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP)
	server.serve(public, watching, signals)
	return nil
}

// startMonitor starts the monitor. Alerts go to the log, reports to their file.
func startMonitor(options *options, router *corelane.Router) (*corelane.Monitor, error) {
	monitor, err := router.Monitor()
	if err != nil {
		return nil, err
	}
	if options.reportFile != "" {
		if _, err := monitor.ReportTo(formats[options.reportFormat], options.reportFile); err != nil {
			return nil, err
		}
	}
	snapshot, err := monitor.Snapshot()
	if err != nil {
		return nil, err
	}
	for _, rule := range snapshot.Alerts.Rules {
		if rule.Unavailable != nil {
			slog.Warn("this rule cannot raise an alert", "rule", rule.Name, "reason", *rule.Unavailable)
		}
	}
	return monitor, nil
}

// openAll opens all listeners.
func (s *server) openAll() (public []*listener, watching *listener, err error) {
	host := s.host
	address := func(host string) string { return joinHostPort(host, s.port) }
	public, err = openListeners(s, address(host), int(s.threads))
	if err != nil && host == "" && errors.Is(err, syscall.EAFNOSUPPORT) {
		public, err = openListeners(s, address("0.0.0.0"), int(s.threads))
	}
	if err != nil {
		return nil, nil, fmt.Errorf("cannot listen on %s port %d: %w", orAll(host), s.port, err)
	}
	if s.options.monitor != "off" {
		if watching, err = openMonitorListener(s, s.options.monitor); err != nil {
			return nil, nil, fmt.Errorf("the monitor cannot listen on --monitor %s: %w", s.options.monitor, err)
		}
	}
	return public, watching, nil
}

func joinHostPort(host string, port uint64) string {
	if strings.Contains(host, ":") && !strings.HasPrefix(host, "[") {
		host = "[" + host + "]"
	}
	return host + ":" + strconv.FormatUint(port, 10)
}

func orAll(host string) string {
	if host == "" {
		return "all addresses"
	}
	return host
}

// reachable is the address as this machine reaches it.
func reachable(address netip.AddrPort) string {
	if address.Addr().IsUnspecified() {
		return "localhost:" + strconv.Itoa(int(address.Port()))
	}
	return netip.AddrPortFrom(address.Addr().Unmap(), address.Port()).String()
}

// introduce prints the addresses of the server, in a form that a browser accepts.
func (s *server) introduce(public, watching *listener) {
	scheme, everywhere := "http", ""
	if s.certificate != nil {
		scheme = "https"
	}
	if public.address.Addr().IsUnspecified() {
		everywhere = " (all addresses of this machine)"
	}
	say("PeerJS server on %s://%s%s%s", scheme, reachable(public.address), s.base, everywhere)
	if watching == nil {
		say("the monitor has no HTTP address (--monitor off)")
	} else {
		here := reachable(watching.address)
		say("monitor on http://%s/ and http://%s/metrics", here, here)
		if !watching.address.Addr().Unmap().IsLoopback() {
			slog.Warn("the monitor listens beyond the loopback: anyone who reaches it can read all figures and change thresholds",
				"address", watching.address)
		}
	}
	say("threads for Go: %d; workers: %d; lanes: %d", s.threads, s.workers, s.options.lanes)
	if bytes, err := s.monitor.Bytes(); err == nil {
		say("memory of the monitor: at most %.1f MiB, in addition to the router's", float64(bytes)/(1<<20))
	}
}

// serve runs until SIGINT or SIGTERM.
func (s *server) serve(public []*listener, watching *listener, signals <-chan os.Signal) {
	var pollers sync.WaitGroup
	for _, lane := range s.lanes {
		pollers.Go(lane.run)
	}
	go s.tellAlerts(s.running)
	go s.look()
	visitors, watchers := s.httpServer(s), s.httpServer(newPages(s))
	for _, listener := range public {
		go visitors.Serve(listener)
	}
	if watching != nil {
		go watchers.Serve(watching)
	}
	for received := range signals {
		if received == syscall.SIGTERM && s.drainSeconds > 0 {
			s.drain(time.Duration(s.drainSeconds)*time.Second, signals)
		}
		if received != syscall.SIGHUP {
			break
		}
		if s.certificate == nil {
			slog.Info("SIGHUP ignored: without TLS there are no files to reload")
		}
		s.certificate.refresh(true)
	}
	slog.Info("stopping")
	for _, listener := range public {
		listener.Close()
	}
	s.stop(&pollers)
	visitors.Close()
	watchers.Close()
}

var _ http.Handler = (*server)(nil)
