package main

import (
	"sync"
	"time"
)

// listAge is how long a list is used.
const listAge = time.Second

// listing is a list that many may ask for at once. One of them makes it at a time, because making it takes time of the cluster's
// thread, and a thread that waits for it.
type listing struct {
	lock   sync.Mutex
	names  []string
	madeAt time.Time
	// making is closed when the list that is being made is there. Nil: none is being made.
	making chan struct{}
}

// get returns the last list if it is younger than listAge, or if another caller is making one. Otherwise it makes one. While there
// is no list at all, callers wait for the first one. If no list can be made, the last one stays.
func (l *listing) get(fetch func() ([]string, error)) []string {
	l.lock.Lock()
	defer l.lock.Unlock()
	if time.Since(l.madeAt) < listAge {
		return l.names
	}
	if making := l.making; making != nil {
		if l.madeAt.IsZero() {
			l.lock.Unlock()
			<-making
			l.lock.Lock()
		}
		return l.names
	}
	making := make(chan struct{})
	l.making = making
	l.lock.Unlock()
	fresh, err := fetch()
	l.lock.Lock()
	if err == nil {
		l.names, l.madeAt = fresh, time.Now()
	}
	l.making = nil
	close(making)
	return l.names
}
