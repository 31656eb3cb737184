package main

// The address of a client: the peer's own, or the one that a proxy reports. Also the number of sockets per address.

import (
	"net"
	"net/http"
	"net/netip"
	"slices"
	"strings"
	"sync"
)

// peerAddress is the address of a socket's other end.
func peerAddress(connection net.Conn) netip.Addr {
	if address, ok := connection.RemoteAddr().(*net.TCPAddr); ok {
		return address.AddrPort().Addr().Unmap()
	}
	return netip.Addr{}
}

// clientAddress returns the client's address: of the addresses that proxies added, the right-most one that is not a
// trusted proxy. Addresses further left are not trusted, because any client can write them.
func (o *options) clientAddress(peer netip.Addr, header http.Header) netip.Addr {
	isOurs := func(address netip.Addr) bool { return slices.Contains(o.trustedProxies, address) }
	if !o.proxied || len(o.trustedProxies) > 0 && !isOurs(peer) {
		return peer
	}
	client := peer
	for _, word := range slices.Backward(forwarded(header)) {
		address, ok := readAddress(word)
		if !ok {
			break // the one to its right is the last known
		}
		client = address
		if !isOurs(address) {
			break
		}
	}
	return client
}

// forwarded returns what proxies have added, in their order. X-Forwarded-For has precedence, because most proxies write
// it; Forwarded is read only without it.
func forwarded(header http.Header) []string {
	if simple := header.Values("X-Forwarded-For"); len(simple) > 0 {
		return strings.Split(strings.Join(simple, ","), ",")
	}
	var words []string
	for element := range strings.SplitSeq(strings.Join(header.Values("Forwarded"), ","), ",") {
		word := ""
		for pair := range strings.SplitSeq(element, ";") {
			if name, value, ok := strings.Cut(pair, "="); ok && strings.EqualFold(strings.TrimSpace(name), "for") {
				word = value
				break
			}
		}
		words = append(words, word)
	}
	return words
}

// readAddress reads an address as proxies write it: alone, with a port, in brackets, or in quotes.
func readAddress(word string) (netip.Addr, bool) {
	word = strings.Trim(strings.TrimSpace(word), `"`)
	if with, err := netip.ParseAddrPort(word); err == nil {
		return with.Addr().Unmap(), true
	}
	inner := strings.TrimSuffix(strings.TrimPrefix(word, "["), "]")
	address, err := netip.ParseAddr(inner)
	return address.Unmap(), err == nil
}

// addresses counts the sockets of each address.
type addresses struct {
	// limit is the most per address; 0 for no limit.
	limit  uint64
	lock   sync.Mutex
	counts map[netip.Addr]uint64
}

// site is the unit that the limit applies to: an IPv4 address, or a /64 network of IPv6, because one machine usually
// has a whole /64 network.
func site(address netip.Addr) netip.Addr {
	if address.Is6() {
		return netip.PrefixFrom(address.WithZone(""), 64).Masked().Addr()
	}
	return address
}

// enter counts one more socket. It returns false if the address is at its limit.
func (a *addresses) enter(address netip.Addr) bool {
	if a.limit == 0 {
		return true
	}
	a.lock.Lock()
	defer a.lock.Unlock()
	address = site(address)
	if a.counts[address] >= a.limit {
		return false
	}
	a.counts[address]++
	return true
}

// leave counts one socket less.
func (a *addresses) leave(address netip.Addr) {
	if a.limit == 0 {
		return
	}
	a.lock.Lock()
	defer a.lock.Unlock()
	address = site(address)
	if a.counts[address]--; a.counts[address] == 0 {
		delete(a.counts, address)
	}
}
