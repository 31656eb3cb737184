package main

import (
	"errors"
	"slices"
	"sync"
	"testing"
	"time"
)

func TestOfManyWhoAskAtOnceOneMakesTheList(t *testing.T) {
	var list listing
	calls, answers := make(chan struct{}, 1000), make(chan []string)
	fetch := func() ([]string, error) {
		calls <- struct{}{}
		return <-answers, nil
	}
	// Without an old list all wait for the first one.
	var begun, asking sync.WaitGroup
	for range 100 {
		begun.Add(1)
		asking.Add(1)
		go func() {
			defer asking.Done()
			begun.Done()
			if got := list.get(fetch); !slices.Equal(got, []string{"first"}) {
				t.Errorf("the first list: %q", got)
			}
		}()
	}
	<-calls
	begun.Wait() // Who came when the list is too old would make another one.
	answers <- []string{"first"}
	asking.Wait()
	if len(calls) != 0 {
		t.Errorf("%d more made the list", len(calls))
	}
	// With an old one only who makes the next one waits.
	list.madeAt = time.Now().Add(-2 * listAge)
	made := make(chan []string)
	go func() { made <- list.get(fetch) }()
	<-calls
	for range 100 {
		if got := list.get(fetch); !slices.Equal(got, []string{"first"}) {
			t.Errorf("while another list is made: %q", got)
		}
	}
	answers <- []string{"second"}
	if got := <-made; !slices.Equal(got, []string{"second"}) || len(calls) != 0 {
		t.Errorf("the second list: %q, and %d more made it", got, len(calls))
	}
}

func TestTheLastListStaysIfNoneCanBeMade(t *testing.T) {
	list := listing{names: []string{"old"}, madeAt: time.Now().Add(-2 * listAge)}
	failed := func() ([]string, error) { return nil, errors.New("no answer") }
	if got := list.get(failed); !slices.Equal(got, []string{"old"}) {
		t.Errorf("after a failure: %q", got)
	}
	again := func() ([]string, error) { return []string{"new"}, nil }
	if got := list.get(again); !slices.Equal(got, []string{"new"}) {
		t.Errorf("after the next one: %q", got)
	}
}

func TestTokensHaveTheMarksThatTheOtherServersGiveThem(t *testing.T) {
	for token, want := range map[string]string{"": "1cd9", "a": "cd20", "her token": "3614"} {
		if got := mark(token); got != want {
			t.Errorf("the mark of %q is %s instead of %s", token, got, want)
		}
	}
}
