package main

import (
	"net/http"
	"net/netip"
	"slices"
	"testing"
)

func TestATokenTakesOverAndTheOldSocketFreesNothing(t *testing.T) {
	here := netip.MustParseAddr("127.0.0.1")
	first, second := &conn{}, &conn{}
	r := newRegistry(1)
	enter := func(id, token string, owner *conn, expected entered) {
		t.Helper()
		result, before := r.enter(id, token, here, owner)
		if result != expected || (before != nil) != (expected == enteredAfter) {
			t.Fatalf("%s with %s: %v, %p", id, token, result, before)
		}
	}
	enter("ann", "t", first, enteredNew)
	enter("ann", "u", second, enteredTaken)
	enter("ben", "t", second, enteredFull)
	enter("ann", "t", second, enteredAfter)
	r.leave("ann", first)
	if !slices.Equal(r.ids(), []string{"ann"}) {
		t.Fatal(r.ids())
	}
	r.leave("ann", second)
	enter("ben", "t", first, enteredNew)
	r.leave("ben", first)
	enter("ann", "t", first, enteredAgain)
	if total, peers := r.peers("ann", 1); total != 1 || len(peers) != 1 || peers[0].Address != "127.0.0.1" {
		t.Fatal(total, peers)
	}
}

func TestOnlySoManyThatLeftAreRemembered(t *testing.T) {
	r := newRegistry(1)
	for range 3 * remembered / 2 {
		id := r.freshID()
		owner := &conn{}
		r.enter(id, "t", netip.Addr{}, owner)
		r.leave(id, owner)
	}
	if len(r.left) != remembered || len(r.ring) != remembered {
		t.Fatal(len(r.left), len(r.ring))
	}
}

func TestTheRightMostUntrustedAddressIsTheClients(t *testing.T) {
	address := func(text string) netip.Addr { return netip.MustParseAddr(text) }
	one := &options{proxied: true}
	two := &options{proxied: true, trustedProxies: []netip.Addr{address("10.0.0.1"), address("10.0.0.2")}}
	for _, c := range []struct {
		options              *options
		peer, header, client string
	}{
		{&options{}, "10.0.0.1", "1.1.1.1", "10.0.0.1"},
		{one, "10.0.0.1", "", "10.0.0.1"},
		{one, "10.0.0.1", "6.6.6.6, 1.1.1.1", "1.1.1.1"},
		{one, "10.0.0.1", "6.6.6.6, 1.1.1.1:80", "1.1.1.1"},
		{one, "10.0.0.1", "6.6.6.6, unknown", "10.0.0.1"},
		{one, "10.0.0.1", `"[2001:db8::1]:4711"`, "2001:db8::1"},
		{two, "10.0.0.1", "6.6.6.6, 1.1.1.1, 10.0.0.2", "1.1.1.1"},
		{two, "9.9.9.9", "1.1.1.1", "9.9.9.9"},
	} {
		header := http.Header{}
		if c.header != "" {
			header.Add("X-Forwarded-For", c.header)
		}
		if found := c.options.clientAddress(address(c.peer), header); found != address(c.client) {
			t.Errorf("%s, %s: %s", c.peer, c.header, found)
		}
	}
	said := http.Header{"Forwarded": {`for=6.6.6.6, proto=https;For="[2001:db8::1]:4711"`}}
	if found := one.clientAddress(address("10.0.0.1"), said); found != address("2001:db8::1") {
		t.Error(found)
	}
}

func TestAnAddressHasSoManySocketsAndGivesThemBack(t *testing.T) {
	counts := addresses{limit: 2, counts: map[netip.Addr]uint64{}}
	a, b, c := netip.MustParseAddr("2001:db8::1"), netip.MustParseAddr("2001:db8::2"), netip.MustParseAddr("1.1.1.1")
	if !counts.enter(a) || !counts.enter(b) || !counts.enter(c) || counts.enter(a) {
		t.Error(counts.counts)
	}
	counts.leave(b)
	if !counts.enter(a) {
		t.Error(counts.counts)
	}
}
