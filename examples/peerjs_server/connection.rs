//! What a client has on its network thread: its queue of outgoing frames and its state, between the socket's task
//! and the port's. Of one thread alone: cells, no locks. `Connections` gives each a token that is an index and a
//! generation, so that an event for one that is gone finds nothing.

use crate::registry::Owner;
use corelane::clients::{ClientId, KeptFigures};
use hyper::body::Bytes;
use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::rc::Rc;
use std::task::Waker;
use tokio::sync::oneshot;

/// The most that a socket takes over from the one before it.
const INHERITED_BYTES: usize = 1 << 20;

/// The queue's length from which on nothing is said that no client has sent.
const NOTICES: usize = 64;

/// A text frame to write, and what to acknowledge to the router once it is written.
#[derive(Debug)]
pub(crate) struct Outgoing {
    pub(crate) text: Bytes,
    pub(crate) messages: u32,
    pub(crate) bytes: u32,
}

/// What a socket leaves to the one that takes over from it.
#[derive(Debug, Default)]
pub(crate) struct Rest {
    /// Frames that were not written.
    pub(crate) outgoing: VecDeque<Outgoing>,
    /// What its client was counted with.
    pub(crate) figures: KeptFigures,
}

/// What its socket's task does next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum State {
    /// Reads and writes.
    Open,
    /// Writes what is there, then closes.
    Closing,
    /// Closes and leaves what is there to the socket that has taken over.
    Replaced,
    /// Drops the socket: whoever is there does not read.
    Aborted,
}

#[derive(Debug)]
pub(crate) struct Connection {
    pub(crate) id: String,
    pub(crate) owner: Owner,
    /// The router's client, while it is connected there.
    pub(crate) client: Cell<Option<ClientId>>,
    /// When its last frame was read, of whatever kind; at first when it connected. In raw ticks.
    pub(crate) heard_at: Cell<u64>,
    /// When it was last asked whether it is there, likewise.
    pub(crate) pinged_at: Cell<u64>,
    ping_wanted: Cell<bool>,
    state: Cell<State>,
    /// Why its task is to end, for the log.
    why: Cell<&'static str>,
    /// The id has gone to another socket, which waits for what could not be written to this one.
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

    /// Has the socket's task end. An abort is never taken back.
    pub(crate) fn end(&self, state: State, why: &'static str) {
        if self.state.get() != State::Aborted {
            self.why.set(why);
            self.state.set(state);
            self.wake();
        }
    }

    /// Whether somebody will write what comes: this client's socket, or the one that takes over from it.
    pub(crate) fn takes_messages(&self) -> bool {
        self.client.get().is_some() || self.successor.borrow().is_some()
    }

    /// Queues a frame. The task is woken for the first only: it takes all there are.
    pub(crate) fn push(&self, outgoing: Outgoing) {
        let mut queue = self.outgoing.borrow_mut();
        queue.push_back(outgoing);
        if queue.len() == 1 {
            self.wake();
        }
    }

    /// Takes over what another socket could not write, in front of everything else. Its credit is forgiven, so
    /// what a client that never reads could gather by coming again and again has a limit of its own.
    pub(crate) fn inherit(&self, outgoing: VecDeque<Outgoing>) {
        let mut room = INHERITED_BYTES;
        for outgoing in outgoing {
            let Some(left) = room.checked_sub(outgoing.text.len()) else { return };
            room = left;
            self.push(Outgoing { text: outgoing.text, messages: 0, bytes: 0 });
        }
    }

    /// Hands what is not written to the successor, if there is one, with its client's figures.
    pub(crate) fn hand_over(&self, figures: &KeptFigures) {
        if let Some(successor) = self.successor.take() {
            // Whoever asked may have gone meanwhile.
            let _ = successor.send(Rest { outgoing: self.outgoing.take(), figures: *figures });
        }
    }

    /// Has the socket's task ask the peer whether it is there.
    pub(crate) fn ping(&self, now: u64) {
        self.pinged_at.set(now);
        self.ping_wanted.set(true);
        self.wake();
    }

    /// Whether to ask now.
    pub(crate) fn take_ping(&self) -> bool {
        self.ping_wanted.take()
    }

    pub(crate) fn pop(&self) -> Option<Outgoing> {
        self.outgoing.borrow_mut().pop_front()
    }

    /// Whether a word of the server's own may be queued: a client that does not read gathers few of them.
    pub(crate) fn takes_notices(&self) -> bool {
        self.outgoing.borrow().len() < NOTICES
    }

    pub(crate) fn has_outgoing(&self) -> bool {
        !self.outgoing.borrow().is_empty()
    }

    /// The socket's task waits with this waker.
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
    /// Adds a connection that is not a client yet.
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

    /// Frees a token: nothing will come for it any more.
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
