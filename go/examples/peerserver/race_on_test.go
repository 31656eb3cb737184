//go:build race

package main

// underRace: the race detector keeps memory of its own for each goroutine and each access, so memory is no measure.
const underRace = true
