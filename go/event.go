package corelane

// EventKind says what an event is about.
type EventKind uint16

// The kinds of events. Ignore an event of a kind that you do not know.
const (
	// EventMessage: a message for Client. Acknowledge it once it is written.
	EventMessage EventKind = 1
	// EventExpired: a message that Client has sent waited too long. Message is the name of the recipient that did not
	// come, or empty. Acknowledge it as a message.
	EventExpired EventKind = 2
	// EventLeft: Client has left its name by a message of its protocol.
	EventLeft EventKind = 3
	// EventClose: close the connection of Client, and call Disconnect. Reason says why.
	EventClose EventKind = 4
	// EventClosed: the last event of Client. Nothing comes for it any more.
	EventClosed EventKind = 5
	// EventUndelivered: the message of Client with this Correlation was not delivered, for this Reason. Sender is the
	// recipient that it failed at, or 0. Only for messages with SubmitOptions.TellFailed.
	EventUndelivered EventKind = 6
	// EventSendFailed: the message that this program has sent to the client ID, or to Room, failed for this Reason. Client
	// is nil if it is no client of this lane, or is gone.
	EventSendFailed EventKind = 7
	// EventRefused: the router refused the message of Client with this Correlation, for this Reason. Count says how many
	// messages of the client were refused since its last such event, this one included.
	EventRefused EventKind = 9
)

// kindRoomSendFailed is EventSendFailed for a room.
const kindRoomSendFailed = 8

// String is the kind's name.
func (k EventKind) String() string {
	switch k {
	case EventMessage:
		return "message"
	case EventExpired:
		return "expired"
	case EventLeft:
		return "left"
	case EventClose:
		return "close"
	case EventClosed:
		return "closed"
	case EventUndelivered:
		return "undelivered"
	case EventSendFailed:
		return "send_failed"
	case EventRefused:
		return "refused"
	}
	return "unknown"
}

// ClientID is the number of a client in its router. The number of a client that has gone is never used again. 0 is no
// client.
type ClientID uint64

// RoomID is the number of a room in its router. 0 is no room.
type RoomID uint64

// Event is what a lane hands out.
type Event struct {
	// Kind says what the event is about.
	Kind EventKind
	// Reason says why, in events of the kinds close, undelivered, send failed and refused.
	Reason Reason
	// Type is the number of the message's type. Compare it with Lane.MessageType.
	Type MessageType
	// Client is the client that the event is for.
	Client *Client
	// ID is the client's number.
	ID ClientID
	// Sender is the client that has sent the message, or 0.
	Sender ClientID
	// Correlation is the value that SubmitOptions or SendOptions had.
	Correlation uint64
	// Count is the number of refused messages in an event of the kind refused.
	Count uint64
	// Room is the room in an event of the kind send failed, if the message was for a room.
	Room RoomID
	// Message has the bytes. It is valid until the next event of Events, or until the next Poll. Copy what you keep.
	Message []byte
}

// failedReasons are the reasons of failures, by their number in a record; refusedReasons those of refusals. The numbers
// are those of Failed and SubmitError in src/error/reasons.rs, and records of one version of the layout keep them.
var (
	failedReasons = [...]Reason{
		ReasonEmpty, ReasonNotUTF8, ReasonNotJSON, ReasonNotAnObject, ReasonTooDeep, ReasonDuplicateField, ReasonWrongType,
		ReasonMissingType, ReasonUnknownType, ReasonFieldTooLong, ReasonAmbiguousSender, ReasonNoRecipient,
		ReasonUnknownRecipient, ReasonHoldFull, ReasonRecipientClosed, ReasonCreditExhausted, ReasonEgressFull,
		ReasonPortGone, ReasonTooLarge, ReasonStaleClient, ReasonBadRecord, ReasonStopped, ReasonUnknownRoom,
		ReasonNotAMember, ReasonHandlerFailed, ReasonHandlerPanicked, ReasonStuck, ReasonPayloadsFull, ReasonReported,
		ReasonForgedSender, ReasonWorkerLost, ReasonLinkFull, ReasonLinkDown, ReasonLinkLost, ReasonMoved,
	}
	refusedReasons = [...]Reason{
		ReasonRingFull, ReasonClosed, ReasonDraining, ReasonStaleClient, ReasonWrongPort, ReasonTooLarge, ReasonCorrupt,
		ReasonInFlightLimit, ReasonRateLimited, ReasonConcurrencyLimit, ReasonPayloadsFull, ReasonTooManyCalls,
	}
	closeReasons = [...]Reason{ReasonCreditExhausted, ReasonCorrupt}
)

// unknownReason is a reason of a later version of the library.
const unknownReason = ^Reason(0)

// expiredFlag is the number of an expired message's reason: smaller ones are failures, larger ones refusals.
const expiredFlag = 256

func reasonOf(kind EventKind, flags uint16) Reason {
	list, at := failedReasons[:], flags
	switch {
	case kind == EventClose:
		list = closeReasons[:]
	case kind == EventRefused:
		list = refusedReasons[:]
	case kind != EventUndelivered && kind != EventSendFailed:
		return ReasonNone
	case flags == expiredFlag:
		return ReasonExpired
	case flags > expiredFlag:
		list, at = refusedReasons[:], flags-expiredFlag-1
	}
	if int(at) < len(list) {
		return list[at]
	}
	return unknownReason
}
