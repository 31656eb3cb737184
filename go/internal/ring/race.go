//go:build race

package ring

import (
	"runtime"
	"sync/atomic"
	"unsafe"
)

// Enabled says whether the race detector is on.
const Enabled = true

// everything stands for all rings of the process: what is written before any publication is ordered before what follows
// any later refresh. That is more order than there is, so the detector reports no race that is none, and may miss one.
var everything uint64

func releaseRace() { runtime.RaceReleaseMerge(unsafe.Pointer(&everything)) }

func acquireRace() { runtime.RaceAcquire(unsafe.Pointer(&everything)) }

func storeOwn(cell *uint64, value uint64) { atomic.StoreUint64(cell, value) }
