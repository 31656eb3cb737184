package corelane

import (
	"cmp"
	_ "embed"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"
)

// schema is docs/schema.json, for GET /api/schema. `go generate` copies it.
//
//go:embed schema.json
var schema []byte

// HandlerOptions say what [Monitor.Handler] allows.
type HandlerOptions struct {
	// AllowChanges says whether a request may change something: POST /api/reset and POST /api/set. Nil: none may. A page of
	// another site can make a browser post, so check more than a cookie.
	AllowChanges func(*http.Request) bool
}

// The addresses of the parts of the report, with the part's name in the report.
var parts = map[string]string{
	"/api/messages": "messages", "/api/types": "types", "/api/protocols": "protocols", "/api/applications": "applications",
	"/api/clients": "clients", "/api/slow": "slow_messages", "/api/connections": "connections", "/api/system": "system",
	"/api/routing": "routing", "/api/alerts": "alerts", "/api/custom": "custom",
}

// Handler serves the monitor's pages. They show clients' names: keep them from the public.
//
//	| address                            | shows                                                   |
//	| /                                  | the report as a page                                    |
//	| /metrics                           | the Prometheus text format                              |
//	| /api/report?format=html, text, json | the report                                             |
//	| /api/stats                         | the report as JSON                                      |
//	| /api/schema                        | the JSON schema of that                                 |
//	| /api/messages, types, protocols, applications, clients, slow, connections, system, routing, alerts, custom | one part |
//	| /api/clients/idle?longer_than_ms=N&limit=N | clients that have been silent for longer, the longest first; 1000 by default |
//	| /api/history?name=N&span=minute, hour, day | one series; without parameters, the names       |
//	| /api/info                          | the version                                             |
//	| POST /api/reset, POST /api/set     | change something, if HandlerOptions.AllowChanges says so |
//
// The program corelane reads these addresses for scripts. Its top does not: it needs /api/timeline, which only the library's
// door has (docs/monitor.md), as well as the live page, /api/events and /api/settings.
//
// To serve it below another address, use [http.StripPrefix].
func (m *Monitor) Handler(options HandlerOptions) http.Handler {
	mux := http.NewServeMux()
	report := func(format ReportFormat) http.HandlerFunc {
		return func(w http.ResponseWriter, r *http.Request) {
			if _, ok := query(w, r); ok {
				m.serveReport(w, format)
			}
		}
	}
	mux.HandleFunc("GET /{$}", report(ReportHTML))
	mux.HandleFunc("GET /metrics", report(ReportPrometheus))
	mux.HandleFunc("GET /api/stats", report(ReportJSON))
	mux.HandleFunc("GET /api/report", m.serveFormat)
	mux.HandleFunc("GET /api/history", m.serveHistory)
	mux.HandleFunc("GET /api/clients/idle", m.serveIdle)
	mux.HandleFunc("GET /api/schema", func(w http.ResponseWriter, r *http.Request) {
		if _, ok := query(w, r); ok {
			answer(w, "application/schema+json", schema)
		}
	})
	mux.HandleFunc("GET /api/info", func(w http.ResponseWriter, r *http.Request) {
		if _, ok := query(w, r); ok {
			text, _ := json.Marshal(map[string]any{"version": Version(), "pages": []string{}, "token": false})
			answer(w, ReportJSON.ContentType(), text)
		}
	})
	for address, part := range parts {
		mux.HandleFunc("GET "+address, func(w http.ResponseWriter, r *http.Request) {
			if _, ok := query(w, r); ok {
				m.servePart(w, part)
			}
		})
	}
	change := func(handle http.HandlerFunc) http.HandlerFunc {
		return func(w http.ResponseWriter, r *http.Request) {
			if options.AllowChanges == nil || !options.AllowChanges(r) {
				http.Error(w, "changes are not allowed", http.StatusForbidden)
				return
			}
			r.Body = http.MaxBytesReader(w, r.Body, 64<<10)
			handle(w, r)
		}
	}
	mux.HandleFunc("POST /api/reset", change(func(w http.ResponseWriter, _ *http.Request) {
		if !failed(w, m.Reset()) {
			answer(w, "text/plain; charset=utf-8", []byte("all figures are reset\n"))
		}
	}))
	mux.HandleFunc("POST /api/set", change(m.serveSet))
	return mux
}

// MetricsHandler serves the Prometheus text format at whatever address it is mounted.
func (m *Monitor) MetricsHandler() http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method != http.MethodGet && r.Method != http.MethodHead {
			w.Header().Set("Allow", "GET, HEAD")
			http.Error(w, "only GET", http.StatusMethodNotAllowed)
			return
		}
		m.serveReport(w, ReportPrometheus)
	})
}

func (m *Monitor) serveReport(w http.ResponseWriter, format ReportFormat) {
	text, err := m.Report(format)
	if !failed(w, err) {
		answer(w, format.ContentType(), []byte(text))
	}
}

func (m *Monitor) serveFormat(w http.ResponseWriter, r *http.Request) {
	values, ok := query(w, r, "format")
	if !ok {
		return
	}
	switch values["format"] {
	case "", "html":
		m.serveReport(w, ReportHTML)
	case "text":
		m.serveReport(w, ReportText)
	case "json":
		m.serveReport(w, ReportJSON)
	default:
		refuse(w, "format = %s is not valid; allowed: html, text, json", values["format"])
	}
}

func (m *Monitor) servePart(w http.ResponseWriter, part string) {
	text, err := m.JSON()
	if failed(w, err) {
		return
	}
	var all map[string]json.RawMessage
	if err := json.Unmarshal(text, &all); failed(w, err) {
		return
	}
	if all[part] == nil {
		all[part] = json.RawMessage("null")
	}
	answer(w, ReportJSON.ContentType(), all[part])
}

func (m *Monitor) serveIdle(w http.ResponseWriter, r *http.Request) {
	values, ok := query(w, r, "longer_than_ms", "limit")
	if !ok {
		return
	}
	milliseconds, err := strconv.ParseInt(values["longer_than_ms"], 10, 48)
	if err != nil || milliseconds < 0 {
		refuse(w, "longer_than_ms = %s is not valid; allowed: a whole number of milliseconds", values["longer_than_ms"])
		return
	}
	limit := 1000
	if given, named := values["limit"]; named {
		if limit, err = strconv.Atoi(given); err != nil || limit < 1 || limit > 100_000 {
			refuse(w, "limit = %s is not valid; allowed: 1 to 100000 clients", given)
			return
		}
	}
	clients, err := m.IdleClients(min(time.Duration(milliseconds), 1<<40) * time.Millisecond)
	if clients == nil {
		clients = []ClientFigures{}
	}
	if failed(w, err) {
		return
	}
	slices.SortStableFunc(clients, func(a, b ClientFigures) int { return cmp.Compare(b.IdleMilliseconds, a.IdleMilliseconds) })
	clients = clients[:min(limit, len(clients))]
	text, err := json.Marshal(clients)
	if !failed(w, err) {
		answer(w, ReportJSON.ContentType(), text)
	}
}

func (m *Monitor) serveHistory(w http.ResponseWriter, r *http.Request) {
	values, ok := query(w, r, "name", "span")
	if !ok {
		return
	}
	name, named := values["name"]
	if !named {
		if _, spanned := values["span"]; spanned {
			refuse(w, "span needs name as well; allowed names: those that /api/history lists")
			return
		}
		names, err := m.HistoryNames()
		if failed(w, err) {
			return
		}
		text, _ := json.Marshal(map[string][]string{"names": names})
		answer(w, ReportJSON.ContentType(), text)
		return
	}
	span := SpanMinute
	switch values["span"] {
	case "", "minute":
	case "hour":
		span = SpanHour
	case "day":
		span = SpanDay
	default:
		refuse(w, "span = %s is not valid; allowed: minute, hour, day", values["span"])
		return
	}
	history, err := m.History(name, span)
	if errors.Is(err, ErrNotFound) {
		refuse(w, "name = %s is not valid; allowed: those that /api/history lists", name)
		return
	}
	if !failed(w, err) {
		answer(w, ReportJSON.ContentType(), history)
	}
}

func (m *Monitor) serveSet(w http.ResponseWriter, r *http.Request) {
	err := r.ParseForm()
	if err != nil || len(r.PostForm) != 1 {
		refuse(w, "the body is not one key=value; allowed: exactly one key=value")
		return
	}
	for key, values := range r.PostForm {
		if len(values) != 1 {
			refuse(w, "the body is not one key=value; allowed: exactly one key=value")
			return
		}
		if err := m.Set(key, values[0]); err != nil {
			refuse(w, "%s", strings.TrimPrefix(err.Error(), "corelane: "))
			return
		}
		answer(w, "text/plain; charset=utf-8", fmt.Appendf(nil, "%s = %s\n", key, values[0]))
	}
}

// query returns the parameters of a request, each of which is one of the names and is given once. Otherwise it has answered.
func query(w http.ResponseWriter, r *http.Request, names ...string) (map[string]string, bool) {
	given, err := url.ParseQuery(r.URL.RawQuery)
	if err != nil {
		refuse(w, "the query is not valid: %v", err)
		return nil, false
	}
	values := make(map[string]string, len(given))
	for name, all := range given {
		switch {
		case !slices.Contains(names, name) && len(names) == 0:
			refuse(w, "unknown parameter %s; allowed: none", name)
			return nil, false
		case !slices.Contains(names, name):
			refuse(w, "unknown parameter %s; allowed: %s", name, strings.Join(names, ", "))
			return nil, false
		case len(all) != 1:
			refuse(w, "%s is given twice; allowed: once", name)
			return nil, false
		}
		values[name] = all[0]
	}
	return values, true
}

func answer(w http.ResponseWriter, contentType string, body []byte) {
	header := w.Header()
	header.Set("Content-Type", contentType)
	header.Set("Cache-Control", "no-store")
	header.Set("X-Content-Type-Options", "nosniff")
	w.Write(body)
}

func refuse(w http.ResponseWriter, format string, values ...any) {
	http.Error(w, fmt.Sprintf(format, values...), http.StatusBadRequest)
}

// failed answers a request whose figures cannot be had, and says so.
func failed(w http.ResponseWriter, err error) bool {
	if err == nil {
		return false
	}
	status := http.StatusInternalServerError
	if errors.Is(err, ErrStale) {
		status = http.StatusServiceUnavailable
	}
	http.Error(w, err.Error(), status)
	return true
}
