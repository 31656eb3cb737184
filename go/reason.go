package corelane

// Reason says why a message was not delivered, or why a client must be closed. Treat an unknown one as an unspecified reason.
type Reason uint32

// The reasons of include/corelane.h; docs/reasons.md explains them.
const (
	// ReasonNone: no reason.
	ReasonNone Reason = 0
	// ReasonExpired: the message waited in the queue for longer than `max_queue_wait_ms`, or was held for longer than
	// `hold_ms`.
	ReasonExpired Reason = 1
	// ReasonCreditExhausted: the recipient, or the client to close, has used up its credit: it has not acknowledged its
	// deliveries.
	ReasonCreditExhausted Reason = 2
	// ReasonCorrupt: a ring of the client's port contains values that neither end can have written.
	ReasonCorrupt Reason = 3
	// ReasonRingFull: the ingress ring to the client's worker is full. Retry after the next poll, or drop the message.
	ReasonRingFull Reason = 4
	// ReasonClosed: the router is stopping or stopped, or the worker closed the ingress ring before it took the message.
	ReasonClosed Reason = 5
	// ReasonDraining: the router is draining: it finishes accepted messages and accepts no new ones.
	ReasonDraining Reason = 6
	// ReasonStaleClient: the client is not connected, or does not belong to the port.
	ReasonStaleClient Reason = 7
	// ReasonWrongPort: the client belongs to another port.
	ReasonWrongPort Reason = 8
	// ReasonTooLarge: the message is larger than `max_message`, or too large for a ring.
	ReasonTooLarge Reason = 9
	// ReasonInFlightLimit: the client has `max_in_flight` messages that have no outcome yet.
	ReasonInFlightLimit Reason = 10
	// ReasonRateLimited: the client sends faster than `client_rate` and `client_burst` allow.
	ReasonRateLimited Reason = 11
	// ReasonConcurrencyLimit: the router has `max_concurrent_messages` messages in flight.
	ReasonConcurrencyLimit Reason = 12
	// ReasonPayloadsFull: the message is too large for a ring, and `payloads` or `payload_bytes` is reached.
	ReasonPayloadsFull Reason = 13
	// ReasonTooManyCalls: `max_calls` callers are already waiting for results on this port.
	ReasonTooManyCalls Reason = 14
	// ReasonEmpty: the message has no bytes.
	ReasonEmpty Reason = 15
	// ReasonNotUTF8: the message is not UTF-8.
	ReasonNotUTF8 Reason = 16
	// ReasonNotJSON: the message is not JSON, or bytes follow the JSON value.
	ReasonNotJSON Reason = 17
	// ReasonNotAnObject: the message is JSON, but not an object.
	ReasonNotAnObject Reason = 18
	// ReasonTooDeep: the JSON is nested too deeply.
	ReasonTooDeep Reason = 19
	// ReasonDuplicateField: the message contains a field of the protocol twice.
	ReasonDuplicateField Reason = 20
	// ReasonWrongType: a field of the protocol has the wrong JSON type.
	ReasonWrongType Reason = 21
	// ReasonMissingType: the message has no type.
	ReasonMissingType Reason = 22
	// ReasonUnknownType: the protocol does not list the message type.
	ReasonUnknownType Reason = 23
	// ReasonFieldTooLong: a field of the protocol, or the recipient's name, is longer than the limit.
	ReasonFieldTooLong Reason = 24
	// ReasonAmbiguousSender: the message contains a key that some readers could mistake for the sender key.
	ReasonAmbiguousSender Reason = 25
	// ReasonNoRecipient: the message needs a recipient and names none.
	ReasonNoRecipient Reason = 26
	// ReasonUnknownRecipient: the recipient is not connected, and messages of this type are not held.
	ReasonUnknownRecipient Reason = 27
	// ReasonHoldFull: the recipient is not connected, and a hold limit is reached: of the recipient's name, of the
	// sender, or of the worker.
	ReasonHoldFull Reason = 28
	// ReasonRecipientClosed: the recipient is closing.
	ReasonRecipientClosed Reason = 29
	// ReasonEgressFull: the egress ring to the recipient's port and the backlog behind it are full.
	ReasonEgressFull Reason = 30
	// ReasonPortGone: the recipient's port has been released.
	ReasonPortGone Reason = 31
	// ReasonBadRecord: the record is not one that a host may write.
	ReasonBadRecord Reason = 32
	// ReasonStopped: the router stopped while it held the message.
	ReasonStopped Reason = 33
	// ReasonUnknownRoom: no room of that name has members.
	ReasonUnknownRoom Reason = 34
	// ReasonNotAMember: the sender is not a member of the room.
	ReasonNotAMember Reason = 35
	// ReasonHandlerFailed: the handler returned a failure.
	ReasonHandlerFailed Reason = 36
	// ReasonHandlerPanicked: the handler panicked, or the value that the host gave away as the message did.
	ReasonHandlerPanicked Reason = 37
	// ReasonStuck: the worker was still inside a handler when the stop time-out ended.
	ReasonStuck Reason = 38
	// ReasonReported: the host handled the message itself and recorded it as failed.
	ReasonReported Reason = 39
	// ReasonForgedSender: the client set a field that only the server may set: the sender.
	ReasonForgedSender Reason = 40
	// ReasonWorkerLost: the worker ended before it handled the message: the worker's thread panicked, or the host
	// dropped the worker.
	ReasonWorkerLost Reason = 41
	// ReasonLinkFull: the recipient is on another machine, and too many messages to that machine are not acknowledged
	// yet.
	ReasonLinkFull Reason = 42
	// ReasonLinkDown: the recipient is on another machine, and the link to it is down.
	ReasonLinkDown Reason = 43
	// ReasonLinkLost: the link to the recipient's machine was lost before that machine acknowledged the message.
	ReasonLinkLost Reason = 44
	// ReasonMoved: the recipient has moved to another machine, and earlier messages to its old one are not acknowledged
	// yet.
	ReasonMoved Reason = 45
)

var reasonNames = [...]string{
	ReasonNone:             "none",
	ReasonExpired:          "expired",
	ReasonCreditExhausted:  "credit_exhausted",
	ReasonCorrupt:          "corrupt",
	ReasonRingFull:         "ring_full",
	ReasonClosed:           "closed",
	ReasonDraining:         "draining",
	ReasonStaleClient:      "stale_client",
	ReasonWrongPort:        "wrong_port",
	ReasonTooLarge:         "too_large",
	ReasonInFlightLimit:    "in_flight_limit",
	ReasonRateLimited:      "rate_limited",
	ReasonConcurrencyLimit: "concurrency_limit",
	ReasonPayloadsFull:     "payloads_full",
	ReasonTooManyCalls:     "too_many_calls",
	ReasonEmpty:            "empty",
	ReasonNotUTF8:          "not_utf8",
	ReasonNotJSON:          "not_json",
	ReasonNotAnObject:      "not_an_object",
	ReasonTooDeep:          "too_deep",
	ReasonDuplicateField:   "duplicate_field",
	ReasonWrongType:        "wrong_type",
	ReasonMissingType:      "missing_type",
	ReasonUnknownType:      "unknown_type",
	ReasonFieldTooLong:     "field_too_long",
	ReasonAmbiguousSender:  "ambiguous_sender",
	ReasonNoRecipient:      "no_recipient",
	ReasonUnknownRecipient: "unknown_recipient",
	ReasonHoldFull:         "hold_full",
	ReasonRecipientClosed:  "recipient_closed",
	ReasonEgressFull:       "egress_full",
	ReasonPortGone:         "port_gone",
	ReasonBadRecord:        "bad_record",
	ReasonStopped:          "stopped",
	ReasonUnknownRoom:      "unknown_room",
	ReasonNotAMember:       "not_a_member",
	ReasonHandlerFailed:    "handler_failed",
	ReasonHandlerPanicked:  "handler_panicked",
	ReasonStuck:            "stuck",
	ReasonReported:         "reported",
	ReasonForgedSender:     "forged_sender",
	ReasonWorkerLost:       "worker_lost",
	ReasonLinkFull:         "link_full",
	ReasonLinkDown:         "link_down",
	ReasonLinkLost:         "link_lost",
	ReasonMoved:            "moved",
}

// recordable says which reasons a message that the host has handled can fail with. The others are refusals of a router.
var recordable = func() (allowed [len(reasonNames)]bool) {
	for _, one := range []Reason{
		ReasonNone, ReasonExpired, ReasonCreditExhausted, ReasonStaleClient, ReasonTooLarge, ReasonPayloadsFull,
		ReasonEmpty, ReasonNotUTF8, ReasonNotJSON, ReasonNotAnObject, ReasonTooDeep, ReasonDuplicateField, ReasonWrongType,
		ReasonMissingType, ReasonUnknownType, ReasonFieldTooLong, ReasonAmbiguousSender, ReasonNoRecipient,
		ReasonUnknownRecipient, ReasonHoldFull, ReasonRecipientClosed, ReasonEgressFull, ReasonPortGone, ReasonBadRecord,
		ReasonStopped, ReasonUnknownRoom, ReasonNotAMember, ReasonHandlerFailed, ReasonHandlerPanicked, ReasonStuck,
		ReasonReported, ReasonForgedSender, ReasonWorkerLost, ReasonLinkFull, ReasonLinkDown, ReasonLinkLost, ReasonMoved,
	} {
		allowed[one] = true
	}
	return allowed
}()

// String returns the reason's name in reports and metrics, such as "unknown_recipient".
func (r Reason) String() string {
	if int(r) < len(reasonNames) {
		return reasonNames[r]
	}
	return "unknown"
}
