package corelane

import (
	"errors"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"sync/atomic"
	"time"
)

// HandlerOptions say what [Monitor.Handler] allows.
type HandlerOptions struct {
	// AllowChanges says whether a request may change something: POST /api/reset and POST /api/set. Nil: none may. A page of
	// another site can make a browser post, so check more than a cookie. A POST with the Origin of another host is refused
	// before.
	AllowChanges func(*http.Request) bool
	// Streams is the most streams of /api/events at once; 0: 16.
	Streams int
}

// changeBytes is the largest body of a change.
const changeBytes = 4 << 10

// eventEvery is the time between two events of a stream.
const eventEvery = time.Second

// An httpRequest is what the library answers.
type httpRequest struct {
	method, target, accept, lastEvent string
	body                              []byte
	changeable, processMetrics        bool
}

type httpReply struct {
	status              int
	contentType, policy string
	event               uint64
	body                string
}

// Handler serves the monitor: the page, its JSON and its metrics, at the addresses of docs/monitor.md except /healthz and
// /readyz. The library makes the answers, the same ones as those of [Monitor.Serve]. They show clients' names: keep them from
// the public. To serve them below another address, use [http.StripPrefix], and end that address with a slash.
func (m *Monitor) Handler(options HandlerOptions) http.Handler {
	limit := int64(options.Streams)
	if limit == 0 {
		limit = 16
	}
	streams := new(atomic.Int64)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		request := httpRequest{
			method: r.Method, target: target(r), accept: strings.Join(r.Header.Values("Accept"), ","), processMetrics: true,
			changeable: options.AllowChanges != nil,
		}
		switch {
		case r.Method == http.MethodPost:
			if !isFromHere(r) {
				http.Error(w, "pages of another origin cannot change settings; use a page of this monitor, or curl", http.StatusForbidden)
				return
			}
			request.changeable = request.changeable && options.AllowChanges(r)
			body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, changeBytes))
			if err != nil {
				http.Error(w, "the body cannot be read; allowed: up to 4096 bytes", http.StatusRequestEntityTooLarge)
				return
			}
			request.body = body
		case r.URL.Path == "/api/events" && r.Method == http.MethodGet:
			defer streams.Add(-1)
			if streams.Add(1) > limit {
				http.Error(w, "there are as many streams of events as this monitor allows", http.StatusServiceUnavailable)
				return
			}
			request.lastEvent = r.Header.Get("Last-Event-ID")
			m.stream(w, r, request)
			return
		}
		m.Flush()
		reply, err := m.handle.answer(&request)
		if failed(w, err) {
			return
		}
		if reply.status == http.StatusMethodNotAllowed {
			allowed := "GET, HEAD"
			if r.URL.Path == "/api/reset" || r.URL.Path == "/api/set" {
				allowed = http.MethodPost
			}
			w.Header().Set("Allow", allowed)
		}
		reply.write(w)
	})
}

// MetricsHandler serves the metrics for Prometheus at whatever address it is mounted, as OpenMetrics if the request prefers it.
func (m *Monitor) MetricsHandler() http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		m.Flush()
		reply, err := m.handle.answer(&httpRequest{
			method: r.Method, target: "/metrics", accept: strings.Join(r.Header.Values("Accept"), ","), processMetrics: true,
		})
		if failed(w, err) {
			return
		}
		if reply.status == http.StatusMethodNotAllowed {
			w.Header().Set("Allow", "GET, HEAD")
		}
		reply.write(w)
	})
}

// stream sends an event each second until the client goes or the monitor is closed.
func (m *Monitor) stream(w http.ResponseWriter, r *http.Request, request httpRequest) {
	controller := http.NewResponseController(w)
	ticks := time.NewTicker(eventEvery)
	defer ticks.Stop()
	for first := true; ; first = false {
		m.Flush()
		reply, err := m.handle.answer(&request)
		if first {
			if failed(w, err) {
				return
			}
			if reply.event == 0 { // A refusal.
				reply.write(w)
				return
			}
			reply.head(w)
			reply.body = "retry: 2000\n\n" + reply.body
		} else if err != nil || reply.event == 0 {
			return
		}
		// A client that does not read is let go. Not every writer has deadlines.
		_ = controller.SetWriteDeadline(time.Now().Add(10 * time.Second))
		if _, err := io.WriteString(w, reply.body); err != nil || controller.Flush() != nil {
			return
		}
		request.lastEvent = strconv.FormatUint(reply.event, 10)
		select {
		case <-ticks.C:
		case <-r.Context().Done():
			return
		case <-m.done:
			return
		}
	}
}

// target is the path and the query as they came.
func target(r *http.Request) string {
	path := r.URL.Path
	if path == "" {
		path = "/"
	}
	if r.URL.RawQuery != "" {
		path += "?" + r.URL.RawQuery
	}
	return path
}

func (reply *httpReply) head(w http.ResponseWriter) {
	header := w.Header()
	header.Set("Content-Type", reply.contentType)
	header.Set("Cache-Control", "no-store")
	header.Set("X-Content-Type-Options", "nosniff")
	header.Set("Referrer-Policy", "no-referrer")
	if reply.policy != "" {
		header.Set("Content-Security-Policy", reply.policy)
	}
	w.WriteHeader(reply.status)
}

func (reply *httpReply) write(w http.ResponseWriter) {
	reply.head(w)
	_, _ = io.WriteString(w, reply.body)
}

// isFromHere says whether no page sends the request, or a page of this host. A browser adds the page's origin to every POST.
// The scheme is not compared, because a proxy in front may add TLS.
func isFromHere(r *http.Request) bool {
	if len(r.Header.Values("Origin")) == 0 {
		return true
	}
	origin, err := url.Parse(r.Header.Get("Origin"))
	return err == nil && origin.Host != "" && strings.EqualFold(origin.Host, r.Host)
}

// failed answers a request whose figures cannot be had, and says so.
func failed(w http.ResponseWriter, err error) bool {
	if err == nil {
		return false
	}
	status := http.StatusInternalServerError
	if errors.Is(err, ErrStale) || errors.Is(err, ErrUnsupported) {
		status = http.StatusServiceUnavailable
	}
	http.Error(w, err.Error(), status)
	return true
}
