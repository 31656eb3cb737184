package corelane

import (
	"time"

	"github.com/corelane/corelane/go/internal/processor"
)

// Sample is one message that the program has handled. All zero: it succeeded in no time.
type Sample struct {
	// Reason is ReasonNone if the message succeeded, ReasonExpired if it waited too long, and otherwise why it failed.
	// A reason with which a handled message cannot end counts as ReasonReported, and so does ReasonReported itself: use it
	// if no other reason fits.
	Reason Reason
	// Connection is the sender. It may be nil.
	Connection *Connection
	// Bytes is the size of the message.
	Bytes int
	// QueueWait is the time from the message's arrival to the start of its handling.
	QueueWait time.Duration
	// Service is the time that handling took. A message with a negative time is counted as impossible, and nowhere else.
	Service time.Duration
}

// Recorder records messages of one protocol, type and application. Any number of goroutines may use it at once.
//
// Recording does not call C and takes no lock: the message is written to a buffer of this processor. Full buffers cross to
// the library at once, the others every 100 ms, and all of them before every snapshot, report and Close.
type Recorder struct {
	monitor *Monitor
	series  uint64
}

// Record records one message, which ends now. After the monitor's Close it does nothing.
func (r *Recorder) Record(message Sample) {
	monitor := r.monitor
	for {
		shard, at := monitor.shards.pin()
		if slot := shard.samples.slot(); slot != nil {
			slot.size = sampleSize
			slot.reason = uint32(recordedReason(message.Reason))
			slot.series = r.series
			slot.client = 0
			if c := message.Connection; c != nil && c.monitor == monitor {
				slot.client = c.handle
			}
			slot.bytes = uint64(max(message.Bytes, 0))
			slot.queueWait = uint64(message.QueueWait)
			slot.service = uint64(message.Service)
			half := shard.samples.publish()
			processor.Unpin(at)
			if half {
				shard.samples.relieve(monitor.takeSamples)
			}
			return
		}
		processor.Unpin(at)
		shard.samples.drain(monitor.takeSamples) // Waits for whoever drains it at present.
	}
}

// Since records a message that was read `start` ago and whose handling ends now.
func (r *Recorder) Since(start time.Time, bytes int, reason Reason) {
	r.Record(Sample{Reason: reason, Bytes: bytes, Service: time.Since(start)})
}

// recordedReason is the reason under which a message counts.
func recordedReason(reason Reason) Reason {
	if int(reason) < len(recordable) && recordable[reason] {
		return reason
	}
	return ReasonReported
}

// operate writes a value to the buffer of this processor.
func (m *Monitor) operate(one operation) {
	for {
		shard, at := m.shards.pin()
		if slot := shard.operations.slot(); slot != nil {
			*slot = one
			half := shard.operations.publish()
			processor.Unpin(at)
			if half {
				shard.operations.relieve(m.takeOperations)
			}
			return
		}
		processor.Unpin(at)
		shard.operations.drain(m.takeOperations)
	}
}

func (m *Monitor) takeSamples(batch []sample)       { m.handle.record(batch) }
func (m *Monitor) takeOperations(batch []operation) { m.handle.operate(batch) }
