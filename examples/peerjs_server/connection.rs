//! The state of a client on its network thread: its queue of outgoing frames and its life cycle. The socket's task
//! and the port's task share it. Both run on one thread, so cells suffice and no lock is needed. `Connections` gives
//! each connection a token (index and generation), so that an event for a removed connection finds nothing.

use crate::membership::Claim;
use crate::queue::{Credit, Queue};
use crate::registry::Owner;
use crate::wire::Wire;
use corelane::clients::{ClientId, KeptFigures};
use corelane::clock::Stamp;
use std::cell::{Cell, RefCell};
use std::io;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};
use tokio::sync::oneshot;

/// Maximum number of bytes that a socket inherits from its predecessor.
const INHERITED_BYTES: usize = 1 << 20;

/// Queue length above which the server adds no notices of its own.
const NOTICES: usize = 64;

/// What a socket hands over to its successor.
#[derive(Debug, Default)]
pub(crate) struct Rest {
    /// Frames that the old socket has not written.
    pub(crate) outgoing: Queue,
    /// The figures of the old socket's client.
    pub(crate) figures: KeptFigures,
    /// The machine's claim of the id in a cluster.
    pub(crate) claim: Option<Claim>,
}

/// Why another machine has the id of a claim.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(not(feature = "cluster"), allow(dead_code, reason = "of a cluster"))]
pub(crate) enum Lost {
    /// The same client has connected there.
    Replaced,
    /// Another client has it.
    Taken,
}

/// What the socket's task does next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum State {
    /// Read and write.
    Open,
    /// Write the queue, then close.
    Closing,
    /// Close, and hand the queue over to the successor.
    Replaced,
    /// Stop reading, settle, free the id, and close: the server drains.
    Draining,
    /// Write the queue and ID-TAKEN, then close: another machine has the id for another client.
    Taken,
    /// Drop the socket without a closing frame, because the client does not read or the connection is lost.
    Aborted,
}

#[derive(Debug)]
pub(crate) struct Connection {
    pub(crate) id: String,
    pub(crate) owner: Owner,
    /// The client in the router, while it is connected there.
    pub(crate) client: Cell<Option<ClientId>>,
    /// The machine's claim of the id in a cluster. Its drop releases the id.
    pub(crate) claim: RefCell<Option<Claim>>,
    /// Time of the last frame of any kind, initially of the connect. In raw ticks.
    pub(crate) heard_at: Cell<Stamp>,
    /// Time of the last message of the client or for it, initially of the connect. In raw ticks.
    pub(crate) active_at: Cell<Stamp>,
    /// Time of the last ping. In raw ticks.
    pub(crate) pinged_at: Cell<Stamp>,
    ping_wanted: Cell<bool>,
    state: Cell<State>,
    /// Why the task must end, for the log.
    why: Cell<&'static str>,
    /// Set when the id belongs to a newer socket, which waits for the frames that this one has not written.
    pub(crate) successor: RefCell<Option<oneshot::Sender<Rest>>>,
    outgoing: RefCell<Queue>,
    /// The stream, while the socket's task reads and writes.
    wire: RefCell<Option<Rc<Wire>>>,
    waker: RefCell<Option<Waker>>,
}

impl Connection {
    pub(crate) fn state(&self) -> State {
        self.state.get()
    }

    pub(crate) fn why(&self) -> &'static str {
        self.why.get()
    }

    /// Makes the socket's task end. An abort is final: a later state does not replace it.
    pub(crate) fn end(&self, state: State, why: &'static str) {
        if self.state.get() != State::Aborted {
            self.why.set(why);
            self.state.set(state);
            self.wake();
        }
    }

    /// Stores the claim of the id. The id may be lost already.
    pub(crate) fn take_claim(&self, claim: Claim) {
        self.claim.replace(Some(claim));
        self.look_at_claim();
    }

    /// Makes the socket's task end if the claim of the id is lost. A loss that is told while the claim is not here yet is seen when
    /// it comes.
    pub(crate) fn look_at_claim(&self) {
        let lost = self.claim.borrow().as_ref().and_then(Claim::lost);
        match lost {
            Some(Lost::Taken) => self.end(State::Taken, "another client has the id, on another machine"),
            Some(Lost::Replaced) => {
                self.end(State::Replaced, "replaced by a new socket of the same client, on another machine");
            }
            None => {}
        }
    }

    /// Whether a socket will write new messages: this one, or its successor.
    pub(crate) fn takes_messages(&self) -> bool {
        self.client.get().is_some() || self.successor.borrow().is_some()
    }

    /// Queues a frame and wakes the socket's task. Only the first frame does so, because the task takes all of them.
    pub(crate) fn push(&self, text: &[u8], credit: Credit) {
        if self.queue(text, credit) {
            self.wake();
        }
    }

    /// Queues a frame. Returns whether it is the only one, so that the caller must get the queue written.
    pub(crate) fn queue(&self, text: &[u8], credit: Credit) -> bool {
        let mut queue = self.outgoing.borrow_mut();
        queue.push(text, credit);
        queue.len() == 1
    }

    /// Takes over the frames that the predecessor has not written, before any other frame. The router has already
    /// returned the credit of these frames. A separate limit (`INHERITED_BYTES`) therefore bounds what a client can
    /// accumulate by reconnecting again and again without reading. Frames past the limit are dropped.
    pub(crate) fn inherit(&self, outgoing: &Queue) {
        let mut room = INHERITED_BYTES;
        for text in outgoing.texts() {
            let Some(left) = room.checked_sub(text.len()) else { return };
            room = left;
            self.push(text, Credit::default());
        }
    }

    /// Sets the stream to write to, or takes it away.
    pub(crate) fn attach(&self, wire: Option<Rc<Wire>>) {
        *self.wire.borrow_mut() = wire;
    }

    /// Writes the queue. Returns the credit of the written frames once all are written. If the stream does not take
    /// all, it wakes the socket's task once it takes more.
    pub(crate) fn poll_write(&self, context: &mut Context<'_>) -> Poll<io::Result<Credit>> {
        match &*self.wire.borrow() {
            Some(wire) => self.outgoing.borrow_mut().poll_write(context, wire),
            None => Poll::Ready(Ok(Credit::default())),
        }
    }

    /// Writes the queue at once, for the port's task. Returns the credit of the written frames. What cannot be written
    /// now is left to the socket's task.
    pub(crate) fn write_now(&self) -> Credit {
        // Before its first poll and in any other state, the socket's task decides what happens to the queue.
        let waker = self.waker.borrow();
        let Some(waker) = waker.as_ref().filter(|_| self.state.get() == State::Open) else {
            return Credit::default();
        };
        match self.poll_write(&mut Context::from_waker(waker)) {
            Poll::Ready(Ok(credit)) => credit,
            Poll::Ready(Err(_)) => {
                self.end(State::Aborted, "connection lost");
                Credit::default()
            }
            Poll::Pending => Credit::default(),
        }
    }

    /// Hands the unwritten frames, the client's figures and the claim to the successor. Without one the claim ends.
    pub(crate) fn hand_over(&self, figures: &KeptFigures) {
        let claim = self.claim.take();
        if let Some(successor) = self.successor.take() {
            // An error means that the successor is already gone.
            let _ = successor.send(Rest { outgoing: self.outgoing.take(), figures: *figures, claim });
        }
    }

    /// Makes the socket's task send a ping.
    pub(crate) fn ping(&self, now: Stamp) {
        self.pinged_at.set(now);
        self.ping_wanted.set(true);
        self.wake();
    }

    /// Whether a ping is due; clears the request.
    pub(crate) fn take_ping(&self) -> bool {
        self.ping_wanted.take()
    }

    /// Whether a notice of the server may be queued. This bounds the notices of a client that does not read.
    pub(crate) fn takes_notices(&self) -> bool {
        self.outgoing.borrow().len() < NOTICES
    }

    /// Stores the waker of the socket's task.
    pub(crate) fn wait_with(&self, waker: &Waker) {
        match &mut *self.waker.borrow_mut() {
            Some(present) => present.clone_from(waker),
            none => *none = Some(waker.clone()),
        }
    }

    fn wake(&self) {
        if let Some(waker) = &*self.waker.borrow() {
            waker.wake_by_ref();
        }
    }
}

#[derive(Debug, Default)]
struct Slot {
    generation: u32,
    connection: Option<Rc<Connection>>,
}

/// The connections of one thread.
#[derive(Debug, Default)]
pub(crate) struct Connections {
    slots: Vec<Slot>,
    free: Vec<u32>,
}

impl Connections {
    /// Adds a connection that is not yet a client in the router.
    pub(crate) fn insert(&mut self, thread: usize, id: String) -> Rc<Connection> {
        let index = self.free.pop().unwrap_or_else(|| {
            self.slots.push(Slot::default());
            (self.slots.len() - 1) as u32
        });
        let slot = &mut self.slots[index as usize];
        slot.generation = slot.generation.wrapping_add(1);
        let token = u64::from(slot.generation) << 32 | u64::from(index);
        let connection = Rc::new(Connection {
            id,
            owner: Owner { thread, connection: token },
            client: Cell::new(None),
            claim: RefCell::new(None),
            heard_at: Cell::new(Stamp::default()),
            active_at: Cell::new(Stamp::default()),
            pinged_at: Cell::new(Stamp::default()),
            ping_wanted: Cell::new(false),
            state: Cell::new(State::Open),
            why: Cell::new(""),
            successor: RefCell::new(None),
            outgoing: RefCell::default(),
            wire: RefCell::default(),
            waker: RefCell::default(),
        });
        slot.connection = Some(Rc::clone(&connection));
        connection
    }

    #[inline]
    pub(crate) fn get(&self, token: u64) -> Option<&Rc<Connection>> {
        let slot = self.slots.get(token as u32 as usize)?;
        slot.connection.as_ref().filter(|_| u64::from(slot.generation) == token >> 32)
    }

    /// Frees a token. No further event may be expected for it.
    pub(crate) fn remove(&mut self, token: u64) -> Option<Rc<Connection>> {
        self.get(token)?;
        let index = token as u32;
        self.free.push(index);
        self.slots[index as usize].connection.take()
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &Rc<Connection>> {
        self.slots.iter().filter_map(|slot| slot.connection.as_ref())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_that_was_freed_finds_nothing() {
        let mut connections = Connections::default();
        let first = connections.insert(0, "ann".to_owned()).owner.connection;
        connections.remove(first);
        connections.remove(first);
        let second = connections.insert(0, "ben".to_owned()).owner.connection;
        assert_eq!(first as u32, second as u32);
        assert!(connections.get(first).is_none());
        assert_eq!(connections.get(second).map(|one| one.id.as_str()), Some("ben"));
        assert_eq!(connections.iter().count(), 1);
    }

    #[test]
    fn what_is_taken_over_comes_first_and_has_a_limit() {
        let mut connections = Connections::default();
        let [old, new] = ["old", "new"].map(|id| connections.insert(0, id.to_owned()));
        for size in [10, INHERITED_BYTES - 10, 1] {
            old.push(&vec![b'x'; size], Credit { messages: 1, bytes: size as u32 });
        }
        let (successor, mut rest) = oneshot::channel();
        old.successor.replace(Some(successor));
        assert!(old.takes_messages() && !new.takes_messages());
        old.hand_over(&KeptFigures::default());
        new.inherit(&rest.try_recv().unwrap().outgoing);
        let taken: Vec<_> = new.outgoing.borrow().texts().map(<[u8]>::len).collect();
        assert_eq!(taken, [10, INHERITED_BYTES - 10]);
        assert_eq!(old.outgoing.borrow().len(), 0);
        let (stream, _far) = tokio::io::duplex(2 * INHERITED_BYTES);
        new.attach(Some(Wire::new(stream)));
        let written = new.poll_write(&mut Context::from_waker(Waker::noop()));
        assert!(matches!(written, Poll::Ready(Ok(credit)) if credit == Credit::default()));
    }
}
