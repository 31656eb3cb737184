package corelane

// Room is a room as a lane sees it. It stands for the room as long as the room has members.
type Room struct {
	lane *Lane
	home *pair
	id   RoomID
}

// Room returns the room with this number. ErrStale: the room has no members.
func (l *Lane) Room(id RoomID) (*Room, error) {
	worker, err := l.calls.workerOfRoom(id)
	if err != nil {
		return nil, l.explain(err)
	}
	if int(worker) >= len(l.pairs) {
		return nil, ErrCorrupt
	}
	return &Room{lane: l, home: &l.pairs[worker], id: id}, nil
}

// ID is the room's number.
func (r *Room) ID() RoomID { return r.id }

// Send sends a message of the program to all members. The bytes are copied and delivered unread, in the order of the sends
// to this room. It never waits. In a cluster the members on other machines get it too. If nobody gets the message, the lane
// hands out an event of the kind send failed.
//
// Errors as for [Client.Submit].
func (r *Room) Send(message []byte, options SendOptions) error {
	h := header{correlation: options.Correlation, recipient: uint64(r.id), messageType: options.Type.label()}
	return r.home.push(nil, &r.home.others, recordSendToRoom, 0, &h, message)
}
