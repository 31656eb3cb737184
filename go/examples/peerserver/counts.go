package main

// What the server counts in addition to the router: refusals by reason, and sockets by state. The report shows them as
// custom metrics of the monitor, and /metrics does too.

import (
	"log/slog"
	"net/netip"
	"strings"

	corelane "github.com/corelane/corelane/go"
)

// refusal is why a connection or a client was refused.
type refusal string

const (
	missingParameters  refusal = "missing_parameters"
	wrongKey           refusal = "wrong_key"
	idTooLong          refusal = "id_too_long"
	idTaken            refusal = "id_taken"
	serverFull         refusal = "server_full"
	byRouter           refusal = "router"
	wrongOrigin        refusal = "origin"
	badUpgrade         refusal = "bad_upgrade"
	tooManyConnections refusal = "too_many_connections"
	tooManyOfAddress   refusal = "too_many_of_address"
	monitorFull        refusal = "monitor_full"
	noDescriptor       refusal = "no_descriptor"
	tlsHandshake       refusal = "tls_handshake"
	notRead            refusal = "not_read"
	frameTooLarge      refusal = "frame_too_large"
	isDraining         refusal = "draining"
	clusterBusy        refusal = "cluster_busy"
	clusterUnavailable refusal = "cluster_unavailable"
)

var refusals = []refusal{missingParameters, wrongKey, idTooLong, idTaken, serverFull, byRouter, wrongOrigin, badUpgrade,
	tooManyConnections, tooManyOfAddress, monitorFull, noDescriptor, tlsHandshake, notRead, frameTooLarge,
	isDraining, clusterBusy, clusterUnavailable}

// place is the state of a socket.
type place int

const (
	atHandshake place = iota
	atHTTP
	atWebSocket
	atClosing
)

var places = []string{"handshake", "http", "websocket", "closing"}

type counts struct {
	refusals map[refusal]*corelane.Counter
	places   []*corelane.Gauge
}

// newCounts declares every series with 0 at the start, so that a first refusal is visible as a step.
func newCounts(monitor *corelane.Monitor) (*counts, error) {
	refused := corelane.Metric{Name: "peerjs_refused_total", Help: "Connections and clients refused", Labels: []string{"reason"}}
	sockets := corelane.Metric{Name: "peerjs_sockets", Help: "Sockets by state", Labels: []string{"state"}}
	counts := &counts{refusals: map[refusal]*corelane.Counter{}}
	dropped, err := monitor.Counter(corelane.Metric{Name: "peerjs_log_lines_dropped_total", Help: "Log lines dropped"})
	if err != nil {
		return nil, err
	}
	lines.dropped.Store(dropped)
	for _, reason := range refusals {
		counter, err := monitor.Counter(refused, string(reason))
		if err != nil {
			return nil, err
		}
		counts.refusals[reason] = counter
	}
	for _, state := range places {
		gauge, err := monitor.Gauge(sockets, state)
		if err != nil {
			return nil, err
		}
		counts.places = append(counts.places, gauge)
	}
	return counts, nil
}

func (c *counts) enter(at place) { c.places[at].Add(1) }
func (c *counts) leave(at place) { c.places[at].Add(-1) }

// refuse counts a refusal by its reason, and logs it. A refused client may send an id of any length.
func (s *server) refuse(reason refusal, address netip.Addr, id string) {
	if len(id) > nameBytes {
		id = strings.ToValidUTF8(id[:nameBytes], "") // not inside a character
	}
	s.counts.refusals[reason].Inc()
	slog.Warn("refused", "address", address, "id", id, "reason", string(reason))
}
