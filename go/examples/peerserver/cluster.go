package main

// The server as one of several machines, which NATS connects (--cluster). Before a client connects, its id is claimed for
// this machine. A goroutine closes the clients whose ids are lost.

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"hash/fnv"
	"log/slog"
	"os"
	"regexp"
	"strings"
	"sync"
	"time"

	corelane "github.com/corelane/corelane/go"
	"github.com/gorilla/websocket"
)

const (
	// catchUp is the interval between the claims for clients that were connected without one.
	catchUp = time.Second
	// lateClaims is the most claims at a time for such clients.
	lateClaims = 32
	// listed is the most ids in a list of the clients of all machines.
	listed = 100_000
	// retryAfter is the seconds after which a client may come again to a server that cannot take it now.
	retryAfter = "3"
	// secretBytes is the least length of the secret.
	secretBytes = 16
)

// clusterOptions is what the command line and the environment say of the cluster.
type clusterOptions struct {
	servers, name, machine, credentials, secret, ca, key, certificate, without string
	user, password                                                             string
}

func (o *clusterOptions) isOn() bool { return o.servers != "" }

// natsAddress has no user: other users of this machine see the command line.
var natsAddress = regexp.MustCompile(`^(nats|tls)://([A-Za-z0-9._-]+|\[[0-9A-Fa-f:.]+\])(:[0-9]{1,5})?/?$`)

// check refuses options that do not go together. A wrong address is not repeated: it may have a password.
func (o *clusterOptions) check() error {
	for _, one := range []struct{ name, value string }{{"cluster_name", o.name}, {"machine", o.machine},
		{"cluster_credentials", o.credentials}, {"cluster_secret", o.secret}, {"cluster_ca", o.ca}, {"cluster_key", o.key},
		{"cluster_cert", o.certificate}, {"cluster_without", o.without}} {
		if one.value != "" && !o.isOn() {
			return misused("--%s needs --cluster", one.name)
		}
	}
	if (o.key == "") != (o.certificate == "") {
		return misused("--cluster_key and --cluster_cert need each other")
	}
	for address := range strings.SplitSeq(o.servers, ",") {
		if o.isOn() && !natsAddress.MatchString(address) {
			return misused("--cluster: allowed: addresses such as nats://nats.example:4222 or tls://nats.example, without a user; " +
				"credentials come from a file (--cluster_credentials)")
		}
	}
	return nil
}

// hostName is the host's name, with - for any character that a machine's name cannot have.
func hostName() string {
	name, _ := os.Hostname()
	name = regexp.MustCompile(`[^A-Za-z0-9_-]`).ReplaceAllString(name, "-")
	if name == "" {
		return "machine"
	}
	return name[:min(len(name), 64)]
}

// readSecret is the secret of a file, without the line's end.
func readSecret(file string) ([]byte, error) {
	text, err := os.ReadFile(file)
	if err != nil {
		return nil, misused("--cluster_secret %s: cannot be read: %s", file, err)
	}
	text = bytes.TrimSpace(text)
	if len(text) < secretBytes {
		return nil, misused("--cluster_secret %s: it has fewer than %d characters", file, secretBytes)
	}
	return text, nil
}

// membership is this machine's part in a cluster. Without a cluster it is nil.
type membership struct {
	inner *corelane.Cluster
	// isLocal: new clients are connected while NATS is unreachable.
	isLocal bool

	lock   sync.Mutex
	claims map[*corelane.Claim]*claim
	// asking is how many claims are under way. early are those that were lost before they are in claims.
	asking int
	early  map[*corelane.Claim]corelane.LostReason
	// claimed is how many claims have succeeded.
	claimed uint64
	// list is the last list of the names of all machines.
	list listing
}

// claim is a claim of an id for this machine. The log tells of every change.
type claim struct {
	membership *membership
	inner      *corelane.Claim
	number     uint64
	// owner and lost are under the lock of the membership. lost is 0 while the id belongs to this machine.
	owner *conn
	lost  corelane.LostReason
}

// join joins the cluster, if there is one. It does not wait for NATS.
func (s *server) join() error {
	o := &s.options.cluster
	if !o.isOn() {
		return nil
	}
	options := corelane.ClusterOptions{Servers: strings.Split(o.servers, ","), Cluster: o.name, Machine: o.machine,
		CredentialsFile: o.credentials, CAFile: o.ca, CertificateFile: o.certificate, KeyFile: o.key}
	if options.Machine == "" {
		options.Machine = hostName()
	}
	if o.user != "" && o.password != "" {
		options.User, options.Password = o.user, o.password
	}
	var err error
	if o.secret != "" {
		if options.Secret, err = readSecret(o.secret); err != nil {
			return err
		}
	}
	inner, err := s.router.JoinCluster(context.Background(), options)
	if err != nil {
		return misused("--cluster: %s", err)
	}
	s.membership = &membership{inner: inner, isLocal: o.without != "refuse", claims: map[*corelane.Claim]*claim{},
		early: map[*corelane.Claim]corelane.LostReason{}}
	go s.membership.watch(s.running)
	go s.catchUp()
	return nil
}

// watch closes the connections of clients whose ids another machine gets.
func (m *membership) watch(ctx context.Context) {
	for lost := range m.inner.Lost(ctx) {
		m.lock.Lock()
		claim := m.claims[lost.Claim]
		if claim == nil { // it was released, or its connection does not know it yet
			if m.asking > 0 {
				m.early[lost.Claim] = lost.Reason
			}
			m.lock.Unlock()
			continue
		}
		claim.lost = lost.Reason
		owner := claim.owner
		m.lock.Unlock()
		claim.says("id lost")
		owner.losesID(claim)
	}
}

// isCutOff: the server cannot connect a client, because it cannot reach its cluster.
func (m *membership) isCutOff() bool { return m != nil && !m.isLocal && !m.inner.IsJoined() }

// close leaves the cluster.
func (m *membership) close() {
	if m != nil {
		m.inner.Close()
	}
}

// release gives the id up. A nil claim has none.
func (c *claim) release() {
	if c == nil {
		return
	}
	c.membership.lock.Lock()
	delete(c.membership.claims, c.inner)
	lost := c.lost
	c.membership.lock.Unlock()
	if lost == 0 {
		c.says("id released") // before another machine can say that it has claimed it
	}
	c.inner.Release()
}

// says logs what has happened to the claim.
func (c *claim) says(what string, more ...any) {
	slog.Debug(what, append([]any{"id", c.inner.Name(), "claim", c.number}, more...)...)
}

// mark is a mark of a client's token for the log, the same in all servers: FNV-1a of 32 bits, folded to 16. It tells two clients
// apart, and too little of the token to guess it.
func mark(token string) string {
	hash := fnv.New32a()
	hash.Write([]byte(token))
	return fmt.Sprintf("%04x", hash.Sum32()>>16^hash.Sum32()&0xffff)
}

// moves makes the claim that of another connection. False: there is none, or it is lost, and then over.
func (c *claim) moves(to *conn) bool {
	if c == nil {
		return false
	}
	c.membership.lock.Lock()
	c.owner = to
	lost := c.lost
	c.membership.lock.Unlock()
	if lost != 0 {
		c.release()
	}
	return lost == 0
}

// claim claims an id for a connection. A nil claim without an error: NATS is unreachable, and the client is connected for this
// machine alone.
func (m *membership) claim(ctx context.Context, id, token string, owner *conn) (*claim, error) {
	m.lock.Lock()
	m.asking++
	m.lock.Unlock()
	inner, err := m.inner.Claim(ctx, id, token)
	m.lock.Lock()
	defer m.lock.Unlock()
	var claimed *claim
	if err == nil {
		m.claimed++
		claimed = &claim{membership: m, inner: inner, number: m.claimed, owner: owner, lost: m.early[inner]}
		m.claims[inner] = claimed
		claimed.says("id claimed", "token", mark(token))
		if claimed.lost != 0 {
			claimed.says("id lost")
		}
	}
	if m.asking--; m.asking == 0 {
		clear(m.early)
	}
	isFinal := errors.Is(err, corelane.ErrTaken) || errors.Is(err, corelane.ErrBusy) || errors.Is(err, corelane.ErrClosed)
	if m.isLocal && !isFinal {
		err = nil
	}
	return claimed, err
}

// claimFor claims the connection's id, if the server is one of several. It tells why the client is refused.
func (c *conn) claimFor(token string) admission {
	m := c.server.membership
	if m == nil {
		return admission{}
	}
	claimed, err := m.claim(c.server.running, c.id, token, c)
	switch {
	case err == nil:
		c.lock.Lock()
		c.claim = claimed
		c.lock.Unlock()
		return admission{}
	case errors.Is(err, corelane.ErrTaken):
		c.server.monitor.Reconnected()
		return admission{reason: idTaken, text: takenText, id: c.id}
	case errors.Is(err, corelane.ErrBusy):
		return admission{reason: clusterBusy, text: "too many clients connect at once; try again", isUnavailable: true}
	case errors.Is(err, corelane.ErrClosed):
		return admission{reason: isDraining, text: drainsText, isUnavailable: true}
	case errors.Is(err, corelane.ErrInvalid):
		return admission{} // the router tells what is wrong with the id
	}
	return admission{reason: clusterUnavailable, text: "the server cannot reach its cluster; connect to another one", isUnavailable: true}
}

// losesID ends a connection whose id another machine has: for another client, or for the same one. Does nothing while the connection
// is not open; who opens it looks again.
func (c *conn) losesID(held *claim) {
	c.lock.Lock()
	isIts := held != nil && c.claim == held && c.state == open
	c.lock.Unlock()
	if !isIts {
		return
	}
	held.membership.lock.Lock()
	lost := held.lost
	held.membership.lock.Unlock()
	switch lost {
	case 0:
	case corelane.LostTaken:
		c.closeAsTaken()
	default:
		c.beginTakeover("replaced by a new socket of the same client, on another machine")
	}
}

func (c *conn) closeAsTaken() {
	c.say(takenText)
	c.leave()
	c.close(websocket.CloseNormalClosure, "another client has the id, on another machine")
}

// catchUp claims the ids of clients that were connected while NATS was unreachable, until the server stops.
func (s *server) catchUp() {
	ticker := time.NewTicker(catchUp)
	defer ticker.Stop()
	for {
		select {
		case <-s.running.Done():
			return
		case <-ticker.C:
		}
		if !s.membership.inner.IsJoined() {
			continue
		}
		places := make(chan struct{}, lateClaims)
		for _, c := range s.all() {
			c.lock.Lock()
			lacks := c.state == open && c.claim == nil && !c.isClaiming && !c.hasLeft
			c.isClaiming = c.isClaiming || lacks
			c.lock.Unlock()
			if lacks {
				places <- struct{}{}
				go func() {
					c.claimLate()
					<-places
				}()
			}
		}
	}
}

func (c *conn) claimLate() {
	var claimed *claim
	var err error
	if token, ok := c.server.registry.token(c.id, c); ok {
		claimed, err = c.server.membership.claim(c.server.running, c.id, token, c)
	}
	c.lock.Lock()
	c.isClaiming = false
	if c.isRouted && c.claim == nil && !c.hasLeft {
		c.claim, claimed = claimed, nil
	}
	isOpen := c.state == open
	held := c.claim
	c.lock.Unlock()
	claimed.release() // the client has left meanwhile
	if errors.Is(err, corelane.ErrTaken) && isOpen {
		c.closeAsTaken()
	}
	c.losesID(held) // it may have been lost before the connection had it
}

// ids returns the ids of the clients of this machine, oldest first, and then of all others, which are some time old.
func (s *server) ids() []string {
	ids, m := s.registry.ids(), s.membership
	if m == nil {
		return ids
	}
	own := make(map[string]struct{}, len(ids))
	for _, id := range ids {
		own[id] = struct{}{}
	}
	for _, name := range m.list.get(func() ([]string, error) { return m.inner.Names(s.running, listed) }) {
		if _, isOwn := own[name]; !isOwn {
			ids = append(ids, name)
		}
	}
	return ids
}
