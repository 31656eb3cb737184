//! The state of a client on its network thread: its queue of outgoing frames and its life cycle. The socket's task
//! and the port's task share it. Both run on one thread, so cells suffice and no lock is needed. `Connections` gives
//! each connection a token (index and generation), so that an event for a removed connection finds nothing.

use crate::registry::Owner;
use corelane::clients::{ClientId, KeptFigures};
use hyper::body::Bytes;
use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::rc::Rc;
use std::task::Waker;
use tokio::sync::oneshot;

/// Maximum number of bytes that a socket inherits from its predecessor.
const INHERITED_BYTES: usize = 1 << 20;

/// Queue length above which the server adds no notices of its own.
const NOTICES: usize = 64;

/// A text frame to write, and the credit to acknowledge to the router once it is written.
#[derive(Debug)]
pub(crate) struct Outgoing {
    pub(crate) text: Bytes,
    pub(crate) messages: u32,
    pub(crate) bytes: u32,
}

/// What a socket hands over to its successor.
#[derive(Debug, Default)]
pub(crate) struct Rest {
    /// Frames that the old socket has not written.
    pub(crate) outgoing: VecDeque<Outgoing>,
    /// The figures of the old socket's client.
    pub(crate) figures: KeptFigures,
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
    /// Drop the socket without a closing frame, because the client does not read.
    Aborted,
}

#[derive(Debug)]
pub(crate) struct Connection {
    pub(crate) id: String,
    pub(crate) owner: Owner,
    /// The client in the router, while it is connected there.
    pub(crate) client: Cell<Option<ClientId>>,
    /// Time of the last frame of any kind, initially of the connect. In raw ticks.
    pub(crate) heard_at: Cell<u64>,
    /// Time of the last ping. In raw ticks.
    pub(crate) pinged_at: Cell<u64>,
    ping_wanted: Cell<bool>,
    state: Cell<State>,
    /// Why the task must end, for the log.
    why: Cell<&'static str>,
    /// Set when the id belongs to a newer socket, which waits for the frames that this one has not written.
    pub(crate) successor: RefCell<Option<oneshot::Sender<Rest>>>,
    outgoing: RefCell<VecDeque<Outgoing>>,
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

    /// Whether a socket will write new messages: this one, or its successor.
    pub(crate) fn takes_messages(&self) -> bool {
        self.client.get().is_some() || self.successor.borrow().is_some()
    }

    /// Queues a frame. Only the first frame wakes the task, because the task takes all of them.
    pub(crate) fn push(&self, outgoing: Outgoing) {
        let mut queue = self.outgoing.borrow_mut();
        queue.push_back(outgoing);
        if queue.len() == 1 {
            self.wake();
        }
    }

    /// Takes over the frames that the predecessor has not written, before any other frame. The router has already
    /// returned the credit of these frames. A separate limit (`INHERITED_BYTES`) therefore bounds what a client can
    /// accumulate by reconnecting again and again without reading. Frames past the limit are dropped.
    pub(crate) fn inherit(&self, outgoing: VecDeque<Outgoing>) {
        let mut room = INHERITED_BYTES;
        for outgoing in outgoing {
            let Some(left) = room.checked_sub(outgoing.text.len()) else { return };
            room = left;
            self.push(Outgoing { text: outgoing.text, messages: 0, bytes: 0 });
        }
    }

    /// Hands the unwritten frames and the client's figures to the successor, if there is one.
    pub(crate) fn hand_over(&self, figures: &KeptFigures) {
        if let Some(successor) = self.successor.take() {
            // An error means that the successor is already gone.
            let _ = successor.send(Rest { outgoing: self.outgoing.take(), figures: *figures });
        }
    }

    /// Makes the socket's task send a ping.
    pub(crate) fn ping(&self, now: u64) {
        self.pinged_at.set(now);
        self.ping_wanted.set(true);
        self.wake();
    }

    /// Whether a ping is due; clears the request.
    pub(crate) fn take_ping(&self) -> bool {
        self.ping_wanted.take()
    }

    pub(crate) fn pop(&self) -> Option<Outgoing> {
        self.outgoing.borrow_mut().pop_front()
    }

    /// Whether a notice of the server may be queued. This bounds the notices of a client that does not read.
    pub(crate) fn takes_notices(&self) -> bool {
        self.outgoing.borrow().len() < NOTICES
    }

    pub(crate) fn has_outgoing(&self) -> bool {
        !self.outgoing.borrow().is_empty()
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
            heard_at: Cell::new(0),
            pinged_at: Cell::new(0),
            ping_wanted: Cell::new(false),
            state: Cell::new(State::Open),
            why: Cell::new(""),
            successor: RefCell::new(None),
            outgoing: RefCell::default(),
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
        let frame = |size: usize| Outgoing { text: vec![b'x'; size].into(), messages: 1, bytes: size as u32 };
        for size in [10, INHERITED_BYTES - 10, 1] {
            old.push(frame(size));
        }
        let (successor, mut rest) = oneshot::channel();
        old.successor.replace(Some(successor));
        assert!(old.takes_messages() && !new.takes_messages());
        old.hand_over(&KeptFigures::default());
        new.inherit(rest.try_recv().unwrap().outgoing);
        let taken: Vec<_> = std::iter::from_fn(|| new.pop()).map(|one| (one.text.len(), one.bytes)).collect();
        assert_eq!(taken, [(10, 0), (INHERITED_BYTES - 10, 0)]);
        assert!(!old.has_outgoing());
    }
}
