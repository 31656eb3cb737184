package signaling

import (
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	corelane "github.com/corelane/corelane/go"
)

// fallbacks counts what the base router has handled.
type fallbacks struct {
	lock           sync.Mutex
	reasons        map[string]uint64
	errors, panics uint64
	count          uint64
	total          time.Duration
	deliveryPanics atomic.Uint64
}

func (f *fallbacks) add(reason string, took time.Duration, err error) {
	f.lock.Lock()
	defer f.lock.Unlock()
	if f.reasons == nil {
		f.reasons = map[string]uint64{}
	}
	f.reasons[reason]++
	f.count++
	f.total += took
	if err != nil {
		f.errors++
	}
	if errors.Is(err, ErrPanicked) {
		f.panics++
	}
}

// addTo adds to the figures of routing. They stay nil if there is nothing to show.
func (f *fallbacks) addTo(s *RoutingStats) *RoutingStats {
	f.lock.Lock()
	defer f.lock.Unlock()
	if s == nil && f.count == 0 {
		return nil
	}
	if s == nil {
		s = &RoutingStats{Refusals: map[string]uint64{}}
	}
	s.Fallbacks = make(map[string]uint64, len(f.reasons))
	for reason, count := range f.reasons {
		s.Fallbacks[reason] = count
	}
	s.FallbackErrors, s.FallbackPanics = f.errors, f.panics
	if f.count > 0 {
		s.AverageFallbackTime = f.total / time.Duration(f.count)
	}
	s.DeliveryPanics = f.deliveryPanics.Load()
	return s
}

// fallsBack says whether the base router handles a message that a worker has ended for this reason: those for which the
// message itself is not to blame.
func fallsBack(reason corelane.Reason) bool {
	switch reason {
	case corelane.ReasonExpired, corelane.ReasonStopped, corelane.ReasonStuck, corelane.ReasonWorkerLost:
		return true
	}
	return isRefusal(reason)
}

// isRefusal says whether a worker has not accepted the message for this reason: then it is in no figure of messages.
func isRefusal(reason corelane.Reason) bool {
	switch reason {
	case corelane.ReasonRingFull, corelane.ReasonClosed, corelane.ReasonDraining, corelane.ReasonConcurrencyLimit,
		corelane.ReasonPayloadsFull, corelane.ReasonCorrupt:
		return true
	}
	return false
}

// whyNot says why no worker can handle a message.
func (r *ConcurrentMessageRouter) whyNot() string {
	if r.monitor.Config().EnableConcurrentRouting {
		return "not_running"
	}
	return "disabled"
}

// refused ends a message that did not get into a queue, or of which no result came.
func (r *ConcurrentMessageRouter) refused(message []byte, clientID string, err error, began time.Time) (*RouteResult, error) {
	reason := ""
	switch {
	case errors.Is(err, corelane.ErrFull):
		reason = "queue_full"
	case errors.Is(err, errWaited):
		reason = corelane.ReasonExpired.String()
	case errors.Is(err, corelane.ErrPayloads):
		reason = corelane.ReasonPayloadsFull.String()
	case errors.Is(err, corelane.ErrClosed), errors.Is(err, corelane.ErrCorrupt):
		reason = "not_running"
	case errors.Is(err, corelane.ErrLimit):
		reason = "client_limit"
	}
	if reason != "" && r.base != nil {
		return r.takeOver(message, clientID, reason, true, began)
	}
	return &RouteResult{ClientID: clientID, Reason: reason, ProcessingTime: time.Since(began)}, err
}

// takeOver lets the base router handle a message. record says that the message is in no figure yet.
func (r *ConcurrentMessageRouter) takeOver(message []byte, clientID, why string, record bool, began time.Time) (*RouteResult, error) {
	if r.base == nil {
		return &RouteResult{ClientID: clientID, Reason: why, ProcessingTime: time.Since(began)}, fmt.Errorf("signaling: %s, and there is no base router: %w", why, ErrStopped)
	}
	started := time.Now()
	answer, err := r.callBase(message, clientID)
	took := time.Since(started)
	result := RouteResult{Success: err == nil}
	if answer != nil {
		result = *answer
	}
	result.ClientID, result.Fallback, result.FallbackReason, result.ProcessingTime = clientID, true, why, time.Since(began)
	if failed := (*RouteError)(nil); result.Reason == "" && errors.As(err, &failed) {
		result.Reason = failed.Reason.String()
	}
	result.Success = result.Success && err == nil
	r.monitor.fallback.add(why, took, err)
	if record && r.config.EnableMetrics {
		kind := result.MessageType
		if kind == "" {
			kind = "fallback"
		}
		r.monitor.RecordMessageProcessing(clientID, kind, took, result.Success)
	}
	return &result, err
}

func (r *ConcurrentMessageRouter) callBase(message []byte, clientID string) (answer *RouteResult, err error) {
	defer func() {
		if value := recover(); value != nil {
			answer, err = nil, fmt.Errorf("%w: %v", ErrPanicked, value)
		}
	}()
	return r.base.RouteMessage(message, clientID)
}
