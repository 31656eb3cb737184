// Command after is the server of the folder `before` with a monitor: figures of messages and connections, /metrics, a report
// and alerts in the log. The server keeps its routing. `diff before/main.go after/main.go` shows what was added.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"log"
	"net/http"
	"sync"
	"time"

	corelane "github.com/corelane/corelane/go"
)

type message struct {
	Type string `json:"type"`
	To   string `json:"to"`
	From string `json:"from"`
	Body any    `json:"body"`
}

type client struct {
	name string
	out  chan []byte
	seen *corelane.Connection
}

type server struct {
	lock    sync.Mutex
	clients map[string]*client
	monitor *corelane.Monitor
}

var (
	errTaken   = errors.New("the name is taken")
	errUnknown = errors.New("no such client")
	errFull    = errors.New("the client does not read")
)

func newServer(monitor *corelane.Monitor) *server {
	return &server{clients: map[string]*client{}, monitor: monitor}
}

func (s *server) handler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /events/{name}", s.events)
	mux.HandleFunc("POST /send/{name}", s.send)
	mux.Handle("GET /metrics", s.monitor.MetricsHandler())
	mux.Handle("/monitor/", http.StripPrefix("/monitor", s.monitor.Handler(corelane.HandlerOptions{})))
	return mux
}

func (s *server) connect(name string) (*client, error) {
	s.lock.Lock()
	defer s.lock.Unlock()
	if s.clients[name] != nil {
		s.monitor.Reconnected()
		return nil, errTaken
	}
	one := &client{name: name, out: make(chan []byte, 64)}
	one.seen, _ = s.monitor.Connect(name, "web")
	s.clients[name] = one
	return one, nil
}

func (s *server) disconnect(one *client) {
	s.lock.Lock()
	defer s.lock.Unlock()
	delete(s.clients, one.name)
	if one.seen != nil {
		one.seen.Close()
	}
}

// reason says why a message failed, for the figures.
func reason(err error) corelane.Reason {
	switch {
	case err == nil:
		return corelane.ReasonNone
	case errors.Is(err, errUnknown):
		return corelane.ReasonUnknownRecipient
	case errors.Is(err, errFull):
		return corelane.ReasonCreditExhausted
	default:
		return corelane.ReasonNotJSON
	}
}

// route gives a message to its recipient.
func (s *server) route(from string, text []byte) (err error) {
	var m message
	start, size := time.Now(), len(text)
	defer func() {
		s.monitor.RecordMessage(corelane.Message{
			Protocol: "sse", Type: m.Type, Application: "web", Client: from,
			Sample: corelane.Sample{Reason: reason(err), Bytes: size, Service: time.Since(start)},
		})
	}()
	if err := json.Unmarshal(text, &m); err != nil {
		return err
	}
	m.From = from
	text, err = json.Marshal(m)
	if err != nil {
		return err
	}
	s.lock.Lock()
	defer s.lock.Unlock()
	to := s.clients[m.To]
	if to == nil {
		return errUnknown
	}
	select {
	case to.out <- text:
		return nil
	default:
		return errFull
	}
}

func (s *server) events(w http.ResponseWriter, r *http.Request) {
	one, err := s.connect(r.PathValue("name"))
	if err != nil {
		http.Error(w, err.Error(), http.StatusConflict)
		return
	}
	defer s.disconnect(one)
	w.Header().Set("Content-Type", "text/event-stream")
	flush := http.NewResponseController(w)
	flush.Flush()
	for {
		select {
		case <-r.Context().Done():
			return
		case text := <-one.out:
			fmt.Fprintf(w, "data: %s\n\n", text)
			flush.Flush()
			if one.seen != nil {
				one.seen.Sent(len(text))
			}
		}
	}
}

func (s *server) send(w http.ResponseWriter, r *http.Request) {
	text, err := io.ReadAll(http.MaxBytesReader(w, r.Body, 64<<10))
	if err == nil {
		err = s.route(r.PathValue("name"), text)
	}
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
	}
}

func main() {
	address := flag.String("address", "127.0.0.1:9000", "where to listen")
	flag.Parse()
	monitor, err := corelane.StartMonitor(nil)
	if err != nil {
		log.Fatal(err)
	}
	defer monitor.Close()
	go func() {
		for alert, err := range monitor.Alerts(context.Background()) {
			log.Println("alert:", alert.Message, err)
		}
	}()
	log.Fatal(http.ListenAndServe(*address, newServer(monitor).handler()))
}
