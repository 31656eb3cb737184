package ring

import "sync/atomic"

// Wake is a thread's wake word and how the thread sleeps: on the descriptor, or, if that is -1, on the word itself.
type Wake struct {
	Word *uint32
	FD   int32
}

// Arm announces that the owner is about to sleep. Afterwards re-check everything that could have been published.
func (w Wake) Arm() { atomic.StoreUint32(w.Word, 1) }

// Disarm ends the announcement.
func (w Wake) Disarm() { atomic.StoreUint32(w.Word, 0) }

// IfAsleep clears the word of a sleeping owner, then wakes it. Call it after a publication.
func (w Wake) IfAsleep() bool {
	if atomic.LoadUint32(w.Word) != 1 || atomic.SwapUint32(w.Word, 0) != 1 {
		return false
	}
	w.wake()
	return true
}
