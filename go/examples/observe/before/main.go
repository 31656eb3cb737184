// Command before is a small signaling server as one finds it: net/http, server-sent events out, POST in. The folder
// beside it has the same server with a monitor.
package main

import (
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"log"
	"net/http"
	"sync"
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
}

type server struct {
	lock    sync.Mutex
	clients map[string]*client
}

var (
	errTaken   = errors.New("the name is taken")
	errUnknown = errors.New("no such client")
	errFull    = errors.New("the client does not read")
)

func newServer() *server {
	return &server{clients: map[string]*client{}}
}

func (s *server) handler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /events/{name}", s.events)
	mux.HandleFunc("POST /send/{name}", s.send)
	return mux
}

func (s *server) connect(name string) (*client, error) {
	s.lock.Lock()
	defer s.lock.Unlock()
	if s.clients[name] != nil {
		return nil, errTaken
	}
	one := &client{name: name, out: make(chan []byte, 64)}
	s.clients[name] = one
	return one, nil
}

func (s *server) disconnect(one *client) {
	s.lock.Lock()
	defer s.lock.Unlock()
	delete(s.clients, one.name)
}

// route gives a message to its recipient.
func (s *server) route(from string, text []byte) error {
	var m message
	if err := json.Unmarshal(text, &m); err != nil {
		return err
	}
	m.From = from
	text, err := json.Marshal(m)
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
	log.Fatal(http.ListenAndServe(*address, newServer().handler()))
}
