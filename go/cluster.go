package corelane

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"iter"
	"sync"
	"time"
)

// namesPatience is how long Names waits without a deadline.
const namesPatience = 5 * time.Second

// ClusterOptions say how a machine takes part in a cluster. Machine is needed; all zeros elsewhere are the defaults.
type ClusterOptions struct {
	// Servers are the addresses of NATS servers. None: "nats://127.0.0.1:4222".
	Servers []string
	// Cluster is the cluster's name, the same on all machines: 1 to 64 letters, digits, - or _. Empty: "corelane".
	Cluster string
	// Machine is this machine's name, of the same form. Each machine has its own.
	Machine string
	// CredentialsFile is a file with credentials of NATS (JWT and seed).
	CredentialsFile string
	// User and Password are those at NATS.
	User, Password string
	// CAFile is a PEM file of the authorities that the servers' certificates are checked with. With it, TLS is required.
	CAFile string
	// CertificateFile and KeyFile are PEM files of this machine's certificate.
	CertificateFile, KeyFile string
	// Secret hides clients' tokens from who can read what NATS keeps. The same on all machines. Empty: the cluster's name, which
	// hides nothing from who guesses tokens.
	Secret []byte
	// Replicas is how many NATS servers keep what the machines know, 1 to 5. 0: three in a cluster of servers, one otherwise.
	Replicas int
	// Names and Rooms are the most names, 1 to 100,000,000, and rooms with members, 1 to 10,000,000, on other machines. 0, as for the
	// next two: the library's default.
	Names, Rooms int
	// LinkMessages and LinkBytes are the messages, and the bytes of their names and payloads, that a worker may have under way to one
	// machine: 16 messages or more, and 1,048,576 at most for all workers of the router together; 65,536 to 268,435,456 bytes.
	LinkMessages, LinkBytes int
}

// LostReason says why a name is lost.
type LostReason uint32

// The reasons of a loss.
const (
	// LostReplaced: the same client, by its token, has connected elsewhere.
	LostReplaced LostReason = 1
	// LostTaken: another client has the name; this machine was cut off from the cluster for too long.
	LostTaken LostReason = 2
)

// String is the reason's name.
func (r LostReason) String() string {
	if r == LostReplaced {
		return "replaced"
	}
	return "taken"
}

// Lost is a name that its claim has lost. Close the client, and release the claim after the client's EventClosed.
type Lost struct {
	Claim  *Claim
	Reason LostReason
}

// clusterEvent is corelane_cluster_event.
type clusterEvent struct {
	correlation uint64
	isAnswer    bool
	answer      error
	reason      LostReason
}

// Cluster is a router's part in a cluster. Any number of goroutines may use it at once. After Close its methods return [ErrStale].
type Cluster struct {
	handle clusterHandle
	stop   func() bool
	cancel context.CancelFunc
	ended  chan struct{} // Closed by the end of the goroutine that takes events.

	lock   sync.Mutex
	next   uint64
	claims map[uint64]*Claim
	lost   []Lost
	news   chan struct{} // Has a place: something was lost.
}

var _ io.Closer = (*Cluster)(nil)

// Claim is a name that belongs to a client of this machine. Release it at the end.
type Claim struct {
	cluster *Cluster
	name    string
	number  uint64
	handle  claimHandle
	answer  chan error
}

// check finds what the library cannot be told. It checks everything else itself.
func (o *ClusterOptions) check() error {
	for _, number := range []struct {
		name  string
		value int
	}{
		{"Replicas", o.Replicas},
		{"Names", o.Names},
		{"Rooms", o.Rooms},
		{"LinkMessages", o.LinkMessages},
		{"LinkBytes", o.LinkBytes},
	} {
		if number.value < 0 {
			return &Error{Code: ErrInvalid.Code, Message: fmt.Sprintf("%s %d: give it 0 (the default) or more", number.name, number.value)}
		}
	}
	return nil
}

// JoinCluster makes the router one of several machines that act as one, over NATS (docs/cluster.md), until the context ends or the
// cluster is closed. It does not wait for NATS: until NATS answers, claims return [ErrUnavailable] and local routing goes on.
//
// ErrInvalid: an option; the error says which. ErrLimit: the router is in a cluster. ErrState: the router has stopped. ErrSystem.
// ErrUnsupported: the library was built without clusters, or this is a stub. ErrStale.
func (r *Router) JoinCluster(ctx context.Context, options ClusterOptions) (*Cluster, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	if err := options.check(); err != nil {
		return nil, err
	}
	handle, err := r.handle.joinCluster(&options)
	if err != nil {
		return nil, err
	}
	ready, err := newReadiness(handle)
	if err != nil {
		return nil, errors.Join(err, handle.release())
	}
	events, cancel := context.WithCancel(context.Background())
	c := &Cluster{
		handle: handle, cancel: cancel, ended: make(chan struct{}), claims: map[uint64]*Claim{}, news: make(chan struct{}, 1),
	}
	go c.take(events, ready)
	c.stop = context.AfterFunc(ctx, func() { _ = c.close() })
	return c, nil
}

// take hands events out until the cluster is closed. It waits with Go's poller.
func (c *Cluster) take(ctx context.Context, ready readiness) {
	defer close(c.ended)
	defer ready.close()
	for ctx.Err() == nil {
		var event clusterEvent
		var failed error
		waited := ready.wait(ctx, func() bool {
			event, failed = c.handle.next()
			return !errors.Is(failed, ErrAgain)
		})
		if waited != nil || failed != nil {
			break
		}
		c.lock.Lock()
		claim := c.claims[event.correlation]
		switch {
		case claim == nil: // It was released.
		case event.isAnswer:
			claim.answer <- event.answer
		default:
			c.lost = append(c.lost, Lost{claim, event.reason})
			c.told()
		}
		c.lock.Unlock()
	}
}

func (c *Cluster) told() {
	select {
	case c.news <- struct{}{}:
	default:
	}
}

// Claim claims a name for a client that shows this token, and waits for the answer. The same client, by its token, takes its name
// over from wherever it was. Connect the client afterwards, and release the claim after the client's EventClosed. If the context
// ends first, the claim is given up. A waiting claim takes no thread.
//
// ErrTaken: another client has the name. ErrUnavailable: NATS does not answer. ErrFenced: this machine is cut off. ErrBusy: not
// now: too many claims, or the name's owner or the bucket was lost and may be about to return; let the client come again later, and
// do not connect it without a claim. ErrClosed: the cluster drains or has stopped. ErrInvalid: the name. ErrStale.
func (c *Cluster) Claim(ctx context.Context, name, token string) (*Claim, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	c.lock.Lock()
	c.next++
	claim := &Claim{cluster: c, name: name, number: c.next, answer: make(chan error, 1)}
	c.claims[claim.number] = claim
	c.lock.Unlock()
	handle, err := c.handle.claim(name, token, claim.number)
	c.lock.Lock()
	claim.handle = handle
	c.lock.Unlock()
	if err != nil {
		c.forget(claim)
		return nil, err
	}
	select {
	case err = <-claim.answer:
	case <-c.ended:
		err = ErrClosed
	case <-ctx.Done():
		err = fmt.Errorf("corelane: the claim has no answer: %w", context.Cause(ctx))
	}
	if err != nil {
		_ = claim.Release()
		return nil, err
	}
	return claim, nil
}

// forget drops what is known of a claim.
func (c *Cluster) forget(claim *Claim) {
	c.lock.Lock()
	defer c.lock.Unlock()
	delete(c.claims, claim.number)
	for at := range c.lost {
		if c.lost[at].Claim == claim {
			c.lost = append(c.lost[:at], c.lost[at+1:]...)
			break
		}
	}
}

// Name is the claimed name.
func (c *Claim) Name() string { return c.name }

// Release gives the name up. A second call does nothing.
func (c *Claim) Release() error {
	c.cluster.forget(c)
	if err := c.cluster.handle.releaseClaim(c.handle); !errors.Is(err, ErrStale) {
		return err
	}
	return nil
}

// Lost gives each name that is taken over or lost, until the context ends or the cluster is closed. A waiting loop takes no thread.
// Each loss is given once: use one loop. A claim that was released is left out.
func (c *Cluster) Lost(ctx context.Context) iter.Seq[Lost] {
	return func(yield func(Lost) bool) {
		for ctx.Err() == nil {
			c.lock.Lock()
			var all []Lost
			all, c.lost = c.lost, nil
			c.lock.Unlock()
			for at, one := range all {
				if !yield(one) {
					c.lock.Lock()
					c.lost = append(all[at+1:], c.lost...)
					c.told() // For the next loop.
					c.lock.Unlock()
					return
				}
			}
			if len(all) > 0 {
				continue
			}
			select {
			case <-c.news:
			case <-c.ended:
				return
			case <-ctx.Done():
				return
			}
		}
	}
}

// Status returns the figures. The cluster's thread writes them ten times a second, and less often when it has too much to do.
func (c *Cluster) Status() (ClusterStatus, error) {
	var status ClusterStatus
	text, err := c.handle.status()
	if err != nil {
		return status, err
	}
	if err := json.Unmarshal([]byte(text), &status); err != nil {
		return status, fmt.Errorf("corelane: the status of the cluster: %w", err)
	}
	return status, nil
}

// Names returns the names of the clients of all machines, as this machine knows them: at most limit, in no order. Copying many takes
// time of the cluster's thread, which does it in pieces: keep the list for a while. One list is made at a time. Without a deadline it
// waits for 5 s at most, with a thread.
//
// ErrTimeout: the cluster's thread has not answered. ErrStale.
func (c *Cluster) Names(ctx context.Context, limit int) ([]string, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	patience := namesPatience
	if end, ok := ctx.Deadline(); ok {
		patience = time.Until(end)
	}
	text, err := c.handle.names(limit, patience)
	if err != nil {
		return nil, err
	}
	var names []string
	if err := json.Unmarshal([]byte(text), &names); err != nil {
		return nil, fmt.Errorf("corelane: the names of the cluster: %w", err)
	}
	return names, nil
}

// IsJoined says whether claims can succeed now.
func (c *Cluster) IsJoined() bool { return c.handle.isJoined() }

// Drain takes no claims any more, and tells the other machines so. Then close the clients, paced, release their claims, and close the
// cluster.
func (c *Cluster) Drain() error { return c.handle.drain() }

// Close leaves the cluster, and tells the other machines so. Its claims are over. It waits for a few seconds at most. The router goes
// on alone. A second call does nothing.
func (c *Cluster) Close() error {
	c.stop()
	return c.close()
}

func (c *Cluster) close() error {
	c.cancel()
	<-c.ended
	if err := c.handle.release(); !errors.Is(err, ErrStale) {
		return err
	}
	return nil
}
