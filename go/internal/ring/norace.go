//go:build !race

package ring

// Enabled says whether the race detector is on.
const Enabled = false

func releaseRace() {}

func acquireRace() {}

// storeOwn stores a figure that only this side writes and that orders nothing. An aligned word is stored at once; an
// atomic store would be a fence.
func storeOwn(cell *uint64, value uint64) { *cell = value }
