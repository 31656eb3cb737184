package signaling

import (
	"cmp"
	"context"
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"errors"
	"net"
	"net/http"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	corelane "github.com/corelane/corelane/go"
	"github.com/corelane/corelane/go/signaling/internal/websocket"
)

// EncoderConfig describes the server's own stream. Clients get it in their welcome; the server does not use it.
type EncoderConfig struct {
	Codec     string `json:"codec,omitempty"`
	Width     int    `json:"width,omitempty"`
	Height    int    `json:"height,omitempty"`
	FrameRate int    `json:"frame_rate,omitempty"`
	Bitrate   int    `json:"bitrate,omitempty"`
}

// ICEServer is a STUN or TURN server, as in a browser's RTCConfiguration. Clients get it in their welcome.
type ICEServer struct {
	URLs       []string `json:"urls"`
	Username   string   `json:"username,omitempty"`
	Credential string   `json:"credential,omitempty"`
}

// MediaHandler is what a media stream implements that is a peer itself: it gets the messages that name no recipient. `send`
// sends a message to the client, at any later time too.
type MediaHandler interface {
	HandleMessage(clientID string, message []byte, send func(message []byte) error) error
}

// ServerOptions are what NewSignalingServer has no parameters for; [WithServerOptions] puts them into its context.
type ServerOptions struct {
	Address        string                    // Where Start listens; empty is localhost:8080.
	Monitor        *PerformanceMonitorConfig // nil for the defaults.
	Router         *ConcurrentRouterConfig   // nil for the defaults, with a worker for every second core.
	MaxMessage     int                       // Bytes; 0 is 64 KiB.
	IdleTimeout    time.Duration             // A connection without a sign of life for so long is closed; 0 is a minute.
	AllowedOrigins func(origin string, r *http.Request) bool
}

type serverOptionsKey struct{}

// WithServerOptions returns a context that gives options to NewSignalingServer.
func WithServerOptions(ctx context.Context, options ServerOptions) context.Context {
	return context.WithValue(ctx, serverOptionsKey{}, options)
}

// SignalingServer is a small signaling server on net/http and WebSocket, with the monitor and the router inside. A client
// connects to /ws?client_id=ann&app=shop and gets a welcome with its id and the ICE servers. What it sends is JSON as the
// protocol "generic" describes it (docs/protocols.md): {"type":"offer","to":"ben",…} arrives at ben with "from":"ann". The
// server answers {"type":"ping"} with a pong, and a message that cannot be delivered with {"type":"error","reason":…}.
//
// /stats has the figures as JSON, /report a report as text, /metrics those for Prometheus, /healthz says that it lives.
type SignalingServer struct {
	context context.Context
	options ServerOptions
	encoder *EncoderConfig
	media   MediaHandler
	ice     []ICEServer
	monitor *PerformanceMonitor
	router  *ConcurrentMessageRouter
	pages   *http.ServeMux

	lock     sync.Mutex
	http     *http.Server
	listener net.Listener
	begun    time.Time
	stopped  bool
	peers    map[string]*peer
	running  sync.WaitGroup
}

// ServerStats are the figures of the server itself.
type ServerStats struct {
	Address string
	Uptime  time.Duration
	Clients int
}

// NewSignalingServer returns a server; Start it. It ends with the context, or with Stop. encoderConfig and iceServers may be
// nil. A mediaStream that is a [MediaHandler] gets the messages without a recipient; any other value has no effect.
func NewSignalingServer(ctx context.Context, encoderConfig *EncoderConfig, mediaStream any, iceServers []ICEServer) *SignalingServer {
	options, _ := ctx.Value(serverOptionsKey{}).(ServerOptions)
	if options.Router == nil {
		options.Router = DefaultConcurrentRouterConfig()
		options.Router.WorkerCount = min(max(runtime.GOMAXPROCS(0)/2, 1), 64)
	}
	options.MaxMessage = cmp.Or(options.MaxMessage, 64<<10)
	options.IdleTimeout = cmp.Or(options.IdleTimeout, time.Minute)
	s := &SignalingServer{context: ctx, options: options, encoder: encoderConfig, ice: iceServers, peers: map[string]*peer{}}
	s.media, _ = mediaStream.(MediaHandler)
	s.monitor = NewPerformanceMonitor(options.Monitor)
	s.router = NewConcurrentMessageRouter(directRoute{s}, options.Router, s.monitor)
	s.pages = http.NewServeMux()
	s.pages.HandleFunc("/ws", s.serveSocket)
	s.pages.Handle("GET /metrics", s.monitor.PrometheusHandler())
	s.pages.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte("ok\n")) })
	s.pages.HandleFunc("GET /stats", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		_ = json.NewEncoder(w).Encode(s.GetPerformanceStats())
	})
	s.pages.HandleFunc("GET /report", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/plain; charset=utf-8")
		_, _ = w.Write([]byte(s.GetDetailedPerformanceReport().String()))
	})
	return s
}

// Start starts the monitor, the router and, unless the address is "none", the HTTP server. After an error nothing runs. A
// server starts once. With the address "none" the program serves the handler itself.
func (s *SignalingServer) Start() error {
	s.lock.Lock()
	defer s.lock.Unlock()
	if s.stopped {
		return ErrStopped
	}
	if !s.begun.IsZero() {
		return nil
	}
	var listener net.Listener
	err := s.context.Err()
	if address := cmp.Or(s.options.Address, "localhost:8080"); err == nil && address != "none" {
		listener, err = net.Listen("tcp", address)
	}
	if err == nil {
		if err = s.monitor.Start(); err == nil {
			err = s.router.Start()
		}
		if err != nil && listener != nil {
			listener.Close()
		}
	}
	if err != nil {
		s.stopped = true
		s.monitor.Stop()
		return err
	}
	s.begun, s.listener = time.Now(), listener
	if listener != nil {
		s.http = &http.Server{Handler: s, ReadHeaderTimeout: 10 * time.Second, IdleTimeout: time.Minute}
		go func(server *http.Server) { _ = server.Serve(listener) }(s.http)
	}
	context.AfterFunc(s.context, s.Stop)
	return nil
}

// Stop closes all connections, and ends the router and the monitor. The figures stay, and can be read. It waits until the
// connections' goroutines have ended. A second Stop does nothing.
func (s *SignalingServer) Stop() {
	s.lock.Lock()
	if s.stopped {
		s.lock.Unlock()
		return
	}
	s.stopped = true
	peers := make([]*peer, 0, len(s.peers))
	for _, p := range s.peers {
		peers = append(peers, p)
	}
	server := s.http
	s.lock.Unlock()
	if server != nil {
		_ = server.Close()
	}
	for _, p := range peers {
		p.close(websocket.CodeGoingAway, "the server stops")
	}
	s.running.Wait()
	s.router.Stop()
	s.monitor.Stop()
}

// Addr is where the server listens; nil before Start, and with the address "none".
func (s *SignalingServer) Addr() net.Addr {
	s.lock.Lock()
	defer s.lock.Unlock()
	if s.listener == nil {
		return nil
	}
	return s.listener.Addr()
}

// ServeHTTP serves all paths of the server.
func (s *SignalingServer) ServeHTTP(w http.ResponseWriter, r *http.Request) { s.pages.ServeHTTP(w, r) }

// Monitor returns the monitor inside.
func (s *SignalingServer) Monitor() *PerformanceMonitor { return s.monitor }

// Router returns the router inside.
func (s *SignalingServer) Router() *ConcurrentMessageRouter { return s.router }

// GetPerformanceStats returns all figures.
func (s *SignalingServer) GetPerformanceStats() *PerformanceStats { return s.monitor.GetStats() }

// GetMessageStats returns the figures of messages.
func (s *SignalingServer) GetMessageStats() *MessageProcessingStats {
	return s.monitor.GetMessageStats()
}

// GetConnectionStats returns the figures of connections.
func (s *SignalingServer) GetConnectionStats() *ConnectionStats {
	return s.monitor.GetConnectionStats()
}

// GetSystemStats returns the figures of the process, the machine and Go's runtime.
func (s *SignalingServer) GetSystemStats() *SystemStats { return s.monitor.GetSystemStats() }

// GetDetailedPerformanceReport returns all figures, with those of the server and the library's own report.
func (s *SignalingServer) GetDetailedPerformanceReport() *DetailedPerformanceReport {
	report := s.monitor.GetDetailedPerformanceReport()
	s.lock.Lock()
	defer s.lock.Unlock()
	report.Server = &ServerStats{Clients: len(s.peers)}
	if s.listener != nil {
		report.Server.Address = s.listener.Addr().String()
	}
	if !s.begun.IsZero() {
		report.Server.Uptime = time.Since(s.begun)
	}
	return report
}

// peer is the connection of one client.
type peer struct {
	server *SignalingServer
	id     string
	socket *websocket.Conn
	client *corelane.Client // nil without concurrent routing.

	lock    sync.Mutex // Of the queue, and of the socket until it is there.
	queue   []outgoing
	more    chan struct{}
	over    atomic.Bool
	ended   chan struct{}
	closing sync.Once
}

// outgoing is a message for the socket. Those of the router are acknowledged when they are written.
type outgoing struct {
	message []byte
	routed  bool
}

// peerQueue bounds what waits for a socket. The router's credit, 1,024 messages, ends a connection earlier.
const peerQueue = 2048

func (s *SignalingServer) serveSocket(w http.ResponseWriter, r *http.Request) {
	id := r.URL.Query().Get("client_id")
	if id == "" {
		id = randomID()
	}
	p := &peer{server: s, id: id, more: make(chan struct{}, 1), ended: make(chan struct{})}
	if err := s.add(p, r.URL.Query().Get("app")); err != nil {
		status := http.StatusServiceUnavailable
		switch {
		case errors.Is(err, corelane.ErrNameTaken):
			status = http.StatusConflict
		case errors.Is(err, corelane.ErrInvalid):
			status = http.StatusBadRequest
		}
		http.Error(w, err.Error(), status)
		return
	}
	defer s.running.Done()
	defer s.remove(p)
	socket, err := websocket.Accept(w, r, websocket.Options{MaxMessage: s.options.MaxMessage,
		IdleTimeout: s.options.IdleTimeout, Origin: s.options.AllowedOrigins})
	if err != nil {
		return
	}
	p.connect(socket)
	welcome, _ := json.Marshal(map[string]any{"type": "welcome", "id": id, "ice_servers": s.ice, "encoder": s.encoder})
	_ = p.send(welcome)
	var writer sync.WaitGroup
	writer.Add(1)
	go func() {
		defer writer.Done()
		p.write()
	}()
	p.read()
	p.close(websocket.CodeNormal, "")
	writer.Wait()
}

// add enters a peer under its name, in the server and in the router.
func (s *SignalingServer) add(p *peer, application string) error {
	s.lock.Lock()
	defer s.lock.Unlock()
	if s.stopped || s.begun.IsZero() {
		return ErrStopped
	}
	if s.peers[p.id] != nil {
		_ = s.monitor.RecordConnectionEvent("reconnect", p.id, application)
		return corelane.ErrNameTaken
	}
	if l := s.router.running.Load(); l != nil {
		c, err := s.router.connect(l, p.id, application, p, false)
		if err != nil {
			return err
		}
		p.client = c.client
	} else if err := s.monitor.RecordConnectionEvent("connect", p.id, application); err != nil {
		return err
	}
	s.peers[p.id] = p
	s.running.Add(1)
	return nil
}

func (s *SignalingServer) remove(p *peer) {
	s.lock.Lock()
	if s.peers[p.id] == p {
		delete(s.peers, p.id)
	}
	s.lock.Unlock()
	if p.client == nil {
		_ = s.monitor.RecordConnectionEvent("disconnect", p.id, "")
		return
	}
	s.router.Disconnect(p.id)
}

// connect gives the peer its socket. The server may have closed the peer before.
func (p *peer) connect(socket *websocket.Conn) {
	p.lock.Lock()
	p.socket = socket
	p.lock.Unlock()
	if p.over.Load() {
		socket.Close(websocket.CodeGoingAway, "")
	}
}

// read handles what the client sends, one message after another: a client that floods waits for itself.
func (p *peer) read() {
	var buffer []byte
	for {
		kind, message, err := p.socket.Read(buffer)
		if err != nil {
			return
		}
		buffer = message
		if kind != websocket.Text {
			p.socket.Close(websocket.CodeUnsupported, "messages are texts")
			return
		}
		p.handle(message)
	}
}

func (p *peer) handle(message []byte) {
	result, err := p.server.router.RouteMessageContext(p.server.context, message, p.id)
	if err == nil {
		if isPing(message) {
			_ = p.send([]byte(`{"type":"pong"}`))
		}
		return
	}
	reason := "internal"
	if result != nil && result.Reason != "" {
		reason = result.Reason
	}
	if m := p.server.media; m != nil && reason == corelane.ReasonNoRecipient.String() {
		if err = m.HandleMessage(p.id, message, p.send); err == nil {
			return
		}
		reason = "media"
	}
	text, _ := json.Marshal(map[string]string{"type": "error", "reason": reason, "message": err.Error()})
	_ = p.send(text)
}

// isPing says whether a message that was routed successfully is a ping. No other message of this type is that short.
func isPing(message []byte) bool {
	var ping struct {
		Type string `json:"type"`
	}
	return len(message) <= 128 && json.Unmarshal(message, &ping) == nil && ping.Type == "ping"
}

// deliver implements sink.
func (p *peer) deliver(message []byte) bool {
	if !p.enqueue(outgoing{append([]byte(nil), message...), true}) {
		return true // The connection ends, so nothing will be written.
	}
	return false
}

func (p *peer) failed(uint64, corelane.Reason) {}

// closed implements sink.
func (p *peer) closed(reason corelane.Reason) {
	if reason != corelane.ReasonNone {
		p.close(websocket.CodePolicy, reason.String())
	}
}

// send queues a message of the server.
func (p *peer) send(message []byte) error {
	if !p.enqueue(outgoing{message, false}) {
		return net.ErrClosed
	}
	return nil
}

func (p *peer) enqueue(o outgoing) bool {
	p.lock.Lock()
	full := len(p.queue) >= peerQueue
	if !full && !p.over.Load() {
		p.queue = append(p.queue, o)
	}
	p.lock.Unlock()
	if full {
		p.close(websocket.CodePolicy, "the client reads too slowly")
	}
	if p.over.Load() {
		return false
	}
	select {
	case p.more <- struct{}{}:
	default:
	}
	return true
}

// write writes what is queued, and pings.
func (p *peer) write() {
	beat := time.NewTicker(p.server.options.IdleTimeout * 2 / 5)
	defer beat.Stop()
	var batch []outgoing
	for {
		select {
		case <-p.ended:
			return
		case <-beat.C:
			if p.socket.Ping() != nil {
				p.close(websocket.CodeInternal, "")
			}
			continue
		case <-p.more:
		}
		p.lock.Lock()
		batch, p.queue = p.queue, batch[:0]
		p.lock.Unlock()
		for i, o := range batch {
			if p.socket.Write(websocket.Text, o.message) != nil {
				p.close(websocket.CodeInternal, "")
				return
			}
			if o.routed {
				p.client.Acknowledge(1, len(o.message))
			}
			batch[i] = outgoing{}
		}
	}
}

// close closes the connection, from any goroutine, without waiting for it.
func (p *peer) close(code int, reason string) {
	p.closing.Do(func() {
		p.over.Store(true)
		close(p.ended)
		p.lock.Lock()
		socket := p.socket
		p.lock.Unlock()
		if socket != nil {
			go socket.Close(code, reason)
		}
	})
}

// directRoute is the base router of the server: it relays without the workers.
type directRoute struct{ server *SignalingServer }

// RouteMessage implements BaseRouter.
func (d directRoute) RouteMessage(message []byte, clientID string) (*RouteResult, error) {
	var fields map[string]json.RawMessage
	if err := json.Unmarshal(message, &fields); err != nil {
		return nil, &RouteError{clientID, corelane.ReasonNotJSON}
	}
	var kind, to string
	if json.Unmarshal(fields["type"], &kind) != nil || kind == "" {
		return nil, &RouteError{clientID, corelane.ReasonMissingType}
	}
	result := &RouteResult{MessageType: kind, Success: true}
	if kind == "ping" {
		return result, nil
	}
	if json.Unmarshal(fields["to"], &to) != nil || to == "" {
		return result, &RouteError{clientID, corelane.ReasonNoRecipient}
	}
	d.server.lock.Lock()
	recipient := d.server.peers[to]
	d.server.lock.Unlock()
	if recipient == nil {
		return result, &RouteError{clientID, corelane.ReasonUnknownRecipient}
	}
	fields["from"], _ = json.Marshal(clientID)
	relayed, err := json.Marshal(fields)
	if err == nil {
		err = recipient.send(relayed)
	}
	return result, err
}

func randomID() string {
	var bytes [16]byte
	_, _ = rand.Read(bytes[:])
	return hex.EncodeToString(bytes[:])
}
