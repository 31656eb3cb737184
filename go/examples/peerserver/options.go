package main

// The command line: npm's options under their names, then the server's own. An invalid value is refused with the
// option, the value and the allowed values, before any socket listens.

import (
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"net/url"
	"os"
	"runtime"
	"strconv"
	"strings"
	"time"
)

const (
	maxThreads = 64
	// levelOff is above every level that is logged.
	levelOff = slog.LevelError + 4
	// levelTrace is below slog's own levels.
	levelTrace = slog.LevelDebug - 4
)

// options is what the command line and the environment say.
type options struct {
	port, expireTimeout, aliveTimeout, concurrentLimit uint64
	maxConnections, maxPerAddress, socketTimeout       uint64
	threads, workers, lanes, maxMessage                uint64
	drainSeconds                                       uint64

	host, key, path, sslKey, sslCertificate string
	monitor, reportFile, reportFormat       string
	token                                   string // of the monitor; empty: it needs none
	monitorHosts, origins                   []string
	trustedProxies                          []netip.Addr
	logLevel                                slog.Level
	allowDiscovery, proxied, logJSON        bool
	cluster                                 clusterOptions
	settings                                []setting

	// base begins and ends with a slash.
	base     string
	maxFrame int
}

// setting is one KEY=VALUE of --set.
type setting struct{ key, value string }

// misuse is an error of the command line; the process ends with status 2.
type misuse struct{ text string }

func (m misuse) Error() string { return m.text }

func misused(format string, values ...any) error { return misuse{fmt.Sprintf(format, values...)} }

// option is one row of the table of options.
type option struct {
	name   string
	letter byte
	// apply takes a value; the error says what is allowed.
	apply func(o *options, value string) error
	// isFlag: the value may be left out. isList: several values may follow.
	isFlag, isList bool
	help           string
}

func number(minimum, maximum uint64, unit string, target func(*options) *uint64) func(*options, string) error {
	return func(o *options, value string) error {
		read, err := strconv.ParseUint(value, 10, 64)
		if err != nil || read < minimum || read > maximum {
			return fmt.Errorf("%d to %d%s", minimum, maximum, unit)
		}
		*target(o) = read
		return nil
	}
}

func text(target func(*options) *string) func(*options, string) error {
	return func(o *options, value string) error {
		*target(o) = value
		return nil
	}
}

func oneOf(names string, take func(*options, string)) func(*options, string) error {
	return func(o *options, value string) error {
		for name := range strings.SplitSeq(names, ", ") {
			if name == value {
				take(o, value)
				return nil
			}
		}
		return errors.New(names)
	}
}

func flagged(target func(*options) *bool) func(*options, string) error {
	return oneOf("true, false", func(o *options, value string) { *target(o) = value == "true" })
}

var levels = map[string]slog.Level{"off": levelOff, "error": slog.LevelError, "warn": slog.LevelWarn,
	"info": slog.LevelInfo, "debug": slog.LevelDebug, "trace": levelTrace}

const milliseconds = " milliseconds"

var table = []option{
	{name: "port", letter: 'p', help: "Port to listen on; 0 for any free port (PORT, or 9000)",
		apply: number(0, 65535, "", func(o *options) *uint64 { return &o.port })},
	{name: "host", letter: 'H', help: "Address to listen on (all addresses)",
		apply: text(func(o *options) *string { return &o.host })},
	{name: "key", letter: 'k', help: "Key that clients must send (peerjs)",
		apply: text(func(o *options) *string { return &o.key })},
	{name: "path", help: "Base path of all addresses (PEERSERVER_PATH, or /)",
		apply: text(func(o *options) *string { return &o.path })},
	{name: "expire_timeout", letter: 't', help: "How long a message for an absent client is held (5000)",
		apply: number(1, 3_600_000, milliseconds, func(o *options) *uint64 { return &o.expireTimeout })},
	{name: "alive_timeout", help: "Close a client after this time without any frame (60000)",
		apply: number(1, 86_400_000, milliseconds, func(o *options) *uint64 { return &o.aliveTimeout })},
	{name: "concurrent_limit", letter: 'c', help: "Most connected clients (5000)",
		apply: number(1, 1_000_000, " clients", func(o *options) *uint64 { return &o.concurrentLimit })},
	{name: "allow_discovery", isFlag: true, help: "Show the list of clients to anyone",
		apply: flagged(func(o *options) *bool { return &o.allowDiscovery })},
	{name: "proxied", isFlag: true, help: "Take a client's address from X-Forwarded-For or Forwarded",
		apply: flagged(func(o *options) *bool { return &o.proxied })},
	{name: "trusted_proxy", isList: true, help: "With --proxied: the addresses of all proxies, if there are several in a row",
		apply: func(o *options, value string) error {
			address, err := netip.ParseAddr(value)
			if err != nil {
				return errors.New("an IP address")
			}
			o.trustedProxies = append(o.trustedProxies, address.Unmap())
			return nil
		}},
	{name: "cors", isList: true, help: "Origins whose pages may connect (any)",
		apply: func(o *options, value string) error {
			origin, ok := readOrigin(value)
			if !ok {
				return errors.New("an origin such as https://app.example or http://localhost:8080")
			}
			o.origins = append(o.origins, origin)
			return nil
		}},
	{name: "sslkey", help: "TLS: file of the private key (PEM)",
		apply: text(func(o *options) *string { return &o.sslKey })},
	{name: "sslcert", help: "TLS: file of the certificate chain (PEM)",
		apply: text(func(o *options) *string { return &o.sslCertificate })},
	{name: "max_connections", help: "Most open sockets of any kind (twice --concurrent_limit plus 1000)",
		apply: number(1, 10_000_000, " sockets", func(o *options) *uint64 { return &o.maxConnections })},
	{name: "max_per_address", help: "Most open sockets of an address or /64 network; 0 for no limit (0)",
		apply: number(0, 1_000_000, " sockets", func(o *options) *uint64 { return &o.maxPerAddress })},
	{name: "socket_timeout", help: "Time for a TLS handshake, a request, an answer, and between two requests (10000)",
		apply: number(100, 3_600_000, milliseconds, func(o *options) *uint64 { return &o.socketTimeout })},
	{name: "drain_seconds", help: "On SIGTERM, close the clients over this time, idle ones first; 0 for no drain (0, or 10 in a cluster)",
		apply: number(0, 3600, " seconds", func(o *options) *uint64 { return &o.drainSeconds })},
	{name: "cluster", help: "Serve as one of several machines: addresses of nats-servers, separated by commas",
		apply: text(func(o *options) *string { return &o.cluster.servers })},
	{name: "cluster_name", help: "Name of the cluster (corelane)",
		apply: text(func(o *options) *string { return &o.cluster.name })},
	{name: "machine", help: "Name of this machine (the host's name)",
		apply: text(func(o *options) *string { return &o.cluster.machine })},
	{name: "cluster_credentials", help: "File with the credentials for NATS; without it CLUSTER_USER and CLUSTER_PASSWORD count",
		apply: text(func(o *options) *string { return &o.cluster.credentials })},
	{name: "cluster_secret", help: "File with the secret that hides the clients' tokens from readers of NATS",
		apply: text(func(o *options) *string { return &o.cluster.secret })},
	{name: "cluster_ca", help: "TLS to NATS: file of the certificates to trust (PEM)",
		apply: text(func(o *options) *string { return &o.cluster.ca })},
	{name: "cluster_key", help: "TLS to NATS: file of this machine's private key (PEM)",
		apply: text(func(o *options) *string { return &o.cluster.key })},
	{name: "cluster_cert", help: "TLS to NATS: file of its certificate chain (PEM)",
		apply: text(func(o *options) *string { return &o.cluster.certificate })},
	{name: "cluster_without", help: "New clients while NATS is unreachable: local connects them for this machine alone, refuse answers 503 (local)",
		apply: oneOf("local, refuse", func(o *options, value string) { o.cluster.without = value })},
	{name: "log", help: "Log events of this level: off, error, warn, info, debug, trace (info)",
		apply: oneOf("off, error, warn, info, debug, trace", func(o *options, value string) { o.logLevel = levels[value] })},
	{name: "log_format", help: "Format of a log line: text or json (text)",
		apply: oneOf("text, json", func(o *options, value string) { o.logJSON = value == "json" })},
	{name: "monitor", help: "Address of the monitor, or off (127.0.0.1:9090); its token is in MONITOR_TOKEN",
		apply: func(o *options, value string) error {
			host, port, err := net.SplitHostPort(value)
			if _, wrong := strconv.ParseUint(port, 10, 16); value != "off" && (err != nil || host == "" || wrong != nil) {
				return errors.New("an address and a port such as 127.0.0.1:9090 or localhost:9090, or \"off\"")
			}
			o.monitor = value
			return nil
		}},
	{name: "monitor_host", help: "Another name of the monitor",
		apply: func(o *options, value string) error {
			o.monitorHosts = append(o.monitorHosts, value)
			return nil
		}},
	{name: "report_file", help: "Write the report to this file every report_interval_ms",
		apply: text(func(o *options) *string { return &o.reportFile })},
	{name: "report_format", help: "Its format: html, text or json (html)",
		apply: oneOf("html, text, json", func(o *options, value string) { o.reportFormat = value })},
	{name: "threads", help: "Threads that run Go code, and listeners (half of the cores)",
		apply: number(1, maxThreads, " threads", func(o *options) *uint64 { return &o.threads })},
	{name: "workers", help: "Worker threads that route (as many as --threads)",
		apply: number(1, maxThreads, " threads", func(o *options) *uint64 { return &o.workers })},
	{name: "lanes", help: "Lanes between the sockets and the workers (1)",
		apply: number(1, maxThreads, " lanes", func(o *options) *uint64 { return &o.lanes })},
	{name: "max_message", help: "Largest message that is routed (1048576)",
		apply: number(1024, 8<<20, " bytes", func(o *options) *uint64 { return &o.maxMessage })},
	{name: "set", help: "KEY=VALUE: a key of the router's configuration",
		apply: func(o *options, value string) error {
			key, to, ok := strings.Cut(value, "=")
			if !ok || key == "" || strings.Contains(value, "\n") {
				return errors.New("a key, an equals sign and a value, such as hold_ms=2000")
			}
			o.settings = append(o.settings, setting{key, to})
			return nil
		}},
}

// readOrigin normalises an origin to the form that browsers send: scheme, host, and the port unless it is the scheme's
// own.
func readOrigin(value string) (string, bool) {
	parsed, err := url.Parse(strings.ToLower(value))
	if err != nil || parsed.Scheme == "" || parsed.Host == "" || parsed.User != nil || parsed.Opaque != "" ||
		strings.Trim(parsed.Path, "/") != "" || parsed.RawQuery != "" || strings.ContainsAny(value, "?#") {
		return "", false
	}
	own := map[string]string{"http": ":80", "https": ":443"}[parsed.Scheme]
	host := parsed.Host
	if own != "" {
		host = strings.TrimSuffix(host, own)
	}
	return parsed.Scheme + "://" + host, host != ""
}

func find(name string) *option {
	name = strings.ReplaceAll(name, "-", "_") // both spellings: concurrent_limit and concurrent-limit
	for at := range table {
		if table[at].name == name {
			return &table[at]
		}
	}
	return nil
}

func findLetter(letter byte) *option {
	for at := range table {
		if table[at].letter == letter {
			return &table[at]
		}
	}
	return nil
}

func (option *option) take(o *options, value string) error {
	if allowed := option.apply(o, value); allowed != nil {
		return misused("invalid value %q for --%s; allowed: %s", value, option.name, allowed)
	}
	return nil
}

func (o *options) readLine(words []string) error {
	for at := 0; at < len(words); at++ {
		word, value, hasValue := words[at], "", false
		var option *option
		switch {
		case strings.HasPrefix(word, "--"):
			var name string
			name, value, hasValue = strings.Cut(word[2:], "=")
			option = find(name)
		case len(word) == 2 && word[0] == '-':
			option = findLetter(word[1])
		}
		if option == nil {
			return misused("unknown option %s; --help lists them", word)
		}
		isLast := at+1 == len(words)
		if !hasValue && option.isFlag {
			value, hasValue = "true", true
			if !isLast && (words[at+1] == "true" || words[at+1] == "false") {
				at++
				value = words[at]
			}
		}
		if !hasValue {
			if isLast {
				return misused("--%s needs a value", option.name)
			}
			at++
			value = words[at]
		}
		if err := option.take(o, value); err != nil {
			return err
		}
		for option.isList && at+1 < len(words) && !strings.HasPrefix(words[at+1], "-") {
			at++
			if err := option.take(o, words[at]); err != nil {
				return err
			}
		}
	}
	return nil
}

func help() {
	fmt.Print("usage: peerserver [--OPTION VALUE]...\n\n")
	for _, option := range table {
		letter := ""
		if option.letter != 0 {
			letter = ", -" + string(option.letter)
		}
		fmt.Printf("  --%-22s %s\n", option.name+letter, option.help)
	}
}

// readOptions reads the command line and the environment.
func readOptions(words []string, environment func(string) string) (*options, error) {
	const unset = ^uint64(0)
	o := &options{port: unset, drainSeconds: unset, expireTimeout: 5000, aliveTimeout: 60_000, concurrentLimit: 5000, socketTimeout: 10_000,
		lanes: 1, maxMessage: 1 << 20, key: "peerjs", path: "/", monitor: "127.0.0.1:9090", reportFormat: "html"}
	if path := environment("PEERSERVER_PATH"); path != "" {
		o.path = path
	}
	o.token = environment("MONITOR_TOKEN")
	o.cluster.user, o.cluster.password = environment("CLUSTER_USER"), environment("CLUSTER_PASSWORD")
	if err := o.readLine(words); err != nil {
		return nil, err
	}
	if o.port == unset {
		o.port = 9000
		if port := environment("PORT"); port != "" {
			if err := find("port").apply(o, port); err != nil {
				return nil, misused("the environment variable PORT is %q, which is not a port; allowed: %s", port, err)
			}
		}
	}
	if (o.sslKey == "") != (o.sslCertificate == "") {
		return nil, misused("--sslkey and --sslcert need each other")
	}
	if err := o.cluster.check(); err != nil {
		return nil, err
	}
	if o.drainSeconds == unset {
		o.drainSeconds = 0
		if o.cluster.isOn() {
			o.drainSeconds = drainSeconds
		}
	}
	if o.reportFile != "" {
		if err := writable(o.reportFile); err != nil {
			return nil, misused("--report_file %s cannot be written: %s", o.reportFile, err)
		}
	}
	o.base = "/"
	if inner := strings.Trim(o.path, "/"); inner != "" {
		o.base = "/" + inner + "/"
	}
	if o.threads == 0 {
		// As in the Rust server: half of the cores stay free for the kernel's share of the work.
		o.threads = min(uint64(runtime.NumCPU()+1)/2, maxThreads)
	}
	if o.workers == 0 {
		o.workers = o.threads
	}
	return o, nil
}

// writable checks that a file can be created next to the report: it is written there first and then renamed.
func writable(file string) error {
	if info, err := os.Stat(file); err == nil && info.IsDir() {
		return errors.New("it is a folder")
	}
	beside := fmt.Sprintf("%s.%d", file, os.Getpid())
	created, err := os.OpenFile(beside, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o666)
	if err != nil {
		return err
	}
	created.Close()
	return os.Remove(beside)
}

// given is the value that --set gives to a key, or the other one.
func (o *options) given(key string, otherwise uint64) uint64 {
	for _, setting := range o.settings {
		if setting.key == key {
			if value, err := strconv.ParseUint(setting.value, 10, 64); err == nil {
				otherwise = value
			}
		}
	}
	return otherwise
}

// configuration returns the router's configuration: the sizes with which a router works that has these limits, then
// what --set says. Several of the largest messages may be in flight to one client, or held for it. A message larger
// than a ring's record becomes an out-of-line payload.
func (o *options) configuration() map[string]string {
	const largestInRing = 66_560
	o.maxMessage = o.given("max_message", o.maxMessage)
	o.concurrentLimit = o.given("connection_limit", o.concurrentLimit)
	record, limit := o.maxMessage+1024, o.concurrentLimit
	fourRecords := uint64(4096)
	for fourRecords < 4*min(record, largestInRing) {
		fourRecords *= 2
	}
	o.maxFrame = int(max(2*o.maxMessage, 2<<20))
	if o.maxConnections == 0 {
		o.maxConnections = 2*limit + 1000
	}
	numbers := map[string]uint64{
		"workers":          o.workers,
		"max_ports":        o.lanes,
		"connection_limit": limit,
		// A client that has disconnected keeps its slot for a while.
		"max_clients":   min(max(2*limit, 64), 1_000_000),
		"max_message":   o.maxMessage,
		"hold_ms":       o.expireTimeout,
		"ring_bytes":    max(fourRecords, 128<<10),
		"backlog_bytes": max(fourRecords, 1<<20),
		"credit_bytes":  max(4*record, 1<<20),
		"hold_bytes":    max(4*record, 4<<20),
		"payload_bytes": max(32*record, 16<<20),
	}
	configuration := map[string]string{}
	for key, value := range numbers {
		configuration[key] = strconv.FormatUint(value, 10)
	}
	for _, setting := range o.settings {
		configuration[setting.key] = setting.value
	}
	if o.cluster.isOn() { // the gateway to the other machines is one more port
		configuration["max_ports"] = strconv.FormatUint(o.given("max_ports", o.lanes)+1, 10)
	}
	return configuration
}

func (o *options) patience() time.Duration { return time.Duration(o.socketTimeout) * time.Millisecond }

func (o *options) alive() time.Duration { return time.Duration(o.aliveTimeout) * time.Millisecond }

// allows tells whether pages of this origin may send requests and connect.
func (o *options) allows(origin string) bool {
	if len(o.origins) == 0 {
		return true
	}
	for _, one := range o.origins {
		if one == origin {
			return true
		}
	}
	return false
}
