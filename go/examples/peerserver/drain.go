package main

// The drain before a stop: the server closes its clients one after another, so that they connect to another server. Idle
// clients come first.

import (
	"cmp"
	"log/slog"
	"os"
	"slices"
	"syscall"
	"time"
)

const (
	// drainSeconds is the default of --drain_seconds in a cluster.
	drainSeconds = 10
	drainStep    = 50 * time.Millisecond
	// idleAfter: a client is idle once it has neither sent nor got a message for this time. A call is set up in less.
	idleAfter = 3 * time.Second
	// drainLast is the last part of a drain, in which clients that are not idle are closed too, and in which all settle.
	drainLast = 2 * time.Second
)

// drain closes all clients. It returns once all are closed, after the time, or on a second signal.
func (s *server) drain(limit time.Duration, signals <-chan os.Signal) {
	s.draining.Store(true)
	if s.membership != nil {
		s.membership.inner.Drain()
	}
	slog.Info("draining", "clients", s.registry.count(), "seconds", int(limit.Seconds()))
	start, last := time.Now(), limit-min(drainLast, limit/2)
	ticker := time.NewTicker(drainStep)
	defer ticker.Stop()
	for all := s.all(); len(all) > 0 && time.Since(start) < limit; all = s.all() {
		s.closeSome(all, last-time.Since(start))
		select {
		case <-ticker.C:
			continue
		case received := <-signals:
			if received == syscall.SIGHUP {
				continue
			}
		}
		slog.Info("a second signal ends the drain")
		break
	}
	slog.Info("drained", "clients", s.registry.count())
}

// closeSome closes so many clients that all are closed after the time that is left.
func (s *server) closeSome(all []*conn, left time.Duration) {
	open := slices.DeleteFunc(all, func(c *conn) bool { return !c.canDrain() })
	slices.SortFunc(open, func(one, other *conn) int { return cmp.Compare(one.active.Load(), other.active.Load()) })
	for _, c := range open[:drainCount(len(open), left)] {
		if isIdle := s.now()-c.active.Load() >= idleAfter.Milliseconds(); isIdle || left <= 0 {
			c.settle(drained, "the server drains")
		}
	}
}

// drainCount is how many of the open clients to close in this step, so that all are closed after the time that is left.
func drainCount(open int, left time.Duration) int {
	steps := 1 + int(max(left, 0)/drainStep)
	return (open + steps - 1) / steps
}

func (c *conn) canDrain() bool {
	c.lock.Lock()
	defer c.lock.Unlock()
	return c.state == open && c.isConnected && c.client != nil
}
