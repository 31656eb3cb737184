package main

// The ids in use and their owners. All goroutines share them under a lock, which is taken when a client connects or
// disconnects, and by the pages, but never per message.

import (
	"container/list"
	"crypto/rand"
	"fmt"
	"hash/maphash"
	"net/netip"
	"sync"
	"time"
)

// remembered is how many clients that have left are remembered, so that a reconnect is recognised.
const remembered = 65_536

type entered int

const (
	enteredNew entered = iota
	// enteredAgain: the client had the id before.
	enteredAgain
	// enteredAfter: the same client has the id through another socket, which must release it first.
	enteredAfter
	enteredTaken
	enteredFull
)

// holder is who has an id.
type holder struct {
	id, token string
	address   netip.Addr
	since     time.Time
	owner     *conn
}

type registry struct {
	limit int

	lock sync.Mutex
	byID map[string]*list.Element
	// order has the holders, oldest first.
	order *list.List
	left  map[uint64]struct{}
	// ring has the members of left; next is the oldest.
	ring []uint64
	next int
	seed maphash.Seed
}

func newRegistry(limit int) *registry {
	return &registry{limit: limit, byID: map[string]*list.Element{}, order: list.New(), left: map[uint64]struct{}{},
		seed: maphash.MakeSeed()}
}

// mark is a number for a client that has left. Two clients with the same number only confuse a figure.
func (r *registry) mark(id, token string) uint64 {
	var hash maphash.Hash
	hash.SetSeed(r.seed)
	hash.WriteString(id)
	hash.WriteByte(0xff)
	hash.WriteString(token)
	return hash.Sum64()
}

// enter gives an id to a connection, if it is free or the token is the same. With enteredAfter the connection that is
// returned must release the id first.
func (r *registry) enter(id, token string, address netip.Addr, owner *conn) (entered, *conn) {
	r.lock.Lock()
	defer r.lock.Unlock()
	if element, ok := r.byID[id]; ok {
		holder := element.Value.(*holder)
		if holder.token != token {
			return enteredTaken, nil
		}
		before := holder.owner
		holder.owner, holder.address, holder.since = owner, address, time.Now()
		return enteredAfter, before
	}
	if len(r.byID) >= r.limit {
		return enteredFull, nil
	}
	r.byID[id] = r.order.PushBack(&holder{id, token, address, time.Now(), owner})
	mark := r.mark(id, token)
	if _, again := r.left[mark]; again {
		delete(r.left, mark)
		return enteredAgain, nil
	}
	return enteredNew, nil
}

// leave frees an id, if it still belongs to this connection.
func (r *registry) leave(id string, owner *conn) {
	r.lock.Lock()
	defer r.lock.Unlock()
	element, ok := r.byID[id]
	if !ok || element.Value.(*holder).owner != owner {
		return
	}
	delete(r.byID, id)
	mark := r.mark(id, r.order.Remove(element).(*holder).token)
	r.left[mark] = struct{}{}
	if len(r.ring) < remembered {
		r.ring = append(r.ring, mark)
		return
	}
	delete(r.left, r.ring[r.next])
	r.ring[r.next] = mark
	r.next = (r.next + 1) % remembered
}

// token returns the token of the client that has an id, if the id belongs to this connection.
func (r *registry) token(id string, owner *conn) (string, bool) {
	r.lock.Lock()
	defer r.lock.Unlock()
	if element, ok := r.byID[id]; ok && element.Value.(*holder).owner == owner {
		return element.Value.(*holder).token, true
	}
	return "", false
}

func (r *registry) count() int {
	r.lock.Lock()
	defer r.lock.Unlock()
	return len(r.byID)
}

func (r *registry) isFull() bool { return r.count() >= r.limit }

// ids returns the ids in use, oldest first.
func (r *registry) ids() []string {
	r.lock.Lock()
	defer r.lock.Unlock()
	ids := make([]string, 0, len(r.byID))
	for element := r.order.Front(); element != nil; element = element.Next() {
		ids = append(ids, element.Value.(*holder).id)
	}
	return ids
}

// peer is a connected client as the pages show it.
type peer struct {
	ID      string `json:"id"`
	Address string `json:"address"`
	// Since is when the present socket connected.
	Since int64 `json:"since_milliseconds"`
}

// peers returns how many clients there are, and the latest of them, newest first; or the one with this id.
func (r *registry) peers(id string, limit int) (int, []peer) {
	r.lock.Lock()
	defer r.lock.Unlock()
	peers := []peer{}
	show := func(element *list.Element) {
		holder := element.Value.(*holder)
		peers = append(peers, peer{holder.id, holder.address.String(), holder.since.UnixMilli()})
	}
	if id != "" {
		if element, ok := r.byID[id]; ok {
			show(element)
		}
		return len(r.byID), peers
	}
	for element := r.order.Back(); element != nil && len(peers) < limit; element = element.Prev() {
		show(element)
	}
	return len(r.byID), peers
}

// freshID returns a random id that is not in use: a UUID of version 4.
func (r *registry) freshID() string {
	for {
		var n [16]byte
		rand.Read(n[:]) // never fails
		n[6], n[8] = n[6]&0x0f|0x40, n[8]&0x3f|0x80
		id := fmt.Sprintf("%x-%x-%x-%x-%x", n[:4], n[4:6], n[6:8], n[8:10], n[10:])
		r.lock.Lock()
		_, taken := r.byID[id]
		r.lock.Unlock()
		if !taken {
			return id
		}
	}
}
