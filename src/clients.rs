//! Connected peers: a slot each, the names that lead to them, and what each may have outstanding. Shared by the
//! router's ports (connect, disconnect, acknowledge) and workers (look up, add credit).
//!
//! A slot goes FREE → OPEN → CLOSING (disconnect called, the record on its way) → CLOSED (CLIENT_CLOSED handed
//! out) → FREE. It is free again once all it submitted is finished and nothing for it is outstanding. Its
//! closing bit is set before that, so no credit can be added meanwhile; with credit held it cannot be freed. So
//! a worker that was quick enough to add credit has a slot that stays, and one that was not is told so by the
//! generation in the credit word (`docs/decisions/0001-credit-pins-slot.md`). A port's own calls compare generation and
//! phase in one word, and change the phase by compare-exchange: a stale handle changes nothing of a successor's.

mod bucket;
mod credit;
mod figures;
mod list;
mod members;
mod names;
mod policy;
mod rooms;
mod slot;
#[cfg(not(corelane_loom))]
mod survey;

pub(crate) use bucket::{Bucket, Rate};
pub(crate) use credit::{Credit, Limits, MAX_BYTES, MAX_MESSAGES, Shortage};
#[cfg(not(corelane_loom))]
pub(crate) use figures::{ApplicationConnections, ClientCounts, ClientView, ConnectionReading};
pub(crate) use figures::{ClientLine, ClientMessage};
pub(crate) use list::{END, SlotList, Stack, UNLISTED};
pub(crate) use names::{NameHash, NameTable};
pub(crate) use slot::{Acknowledged, ClientSlot, NameBuffer, Phase, SlotPlace};

pub(crate) use members::Members;
pub(crate) use rooms::{RoomLimits, RoomReader, Rooms};

pub use crate::id::{ClientId, MAX_NAME_BYTES, RoomId};
pub use figures::KeptFigures;
pub use policy::{CreditPolicy, Outstanding};

use crate::clock::Clock;
use crate::error::Error;
use crate::sync::os::touch;
use crate::sync::{Mutex, Relaxed, lock, mutant};
use crossbeam_utils::CachePadded;
use figures::ConnectionCells;
use std::collections::VecDeque;

/// What a new client is.
#[derive(Clone, Copy, Debug)]
pub(crate) struct NewClient<'a> {
    pub(crate) name: &'a str,
    pub(crate) token: u64,
    pub(crate) port: u16,
    pub(crate) worker: u16,
    pub(crate) protocol: u16,
    pub(crate) application: u16,
    pub(crate) policy: CreditPolicy,
    pub(crate) figures: KeptFigures,
}

/// All clients of a router.
#[derive(Debug)]
pub(crate) struct Clients {
    slots: Box<[ClientSlot]>,
    names: NameTable,
    /// One per slot, or none where clients have no figures of their own.
    lines: Box<[ClientLine]>,
    clock: Clock,
    /// Closed and not yet seen to; linked through their slots. Closing a client takes no lock.
    retired: CachePadded<Stack>,
    control: Mutex<ClientControl>,
}

/// How many clients, and of what.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ClientLimits {
    pub(crate) clients: u32,
    pub(crate) applications: usize,
    /// Whether clients have figures of their own.
    pub(crate) figures: bool,
}

impl ClientLimits {
    const fn lines(self) -> u32 {
        if self.figures { self.clients } else { 0 }
    }
}

/// Its lists have room for every client from the start.
#[derive(Debug)]
struct ClientControl {
    connections: ConnectionCells,
    /// Slots never used start here.
    unused: u32,
    /// First in, first out: a slot's generations last as long as possible.
    free: VecDeque<u32>,
    /// CLIENT_CLOSED handed out; free once nothing refers to it.
    retired: VecDeque<u32>,
    /// Names that were only recorded.
    only_recorded: usize,
}

/// How many closed slots a connect looks at, as long as there are others: enough to keep up with any rate of disconnects.
const SWEPT_PER_CONNECT: usize = 64;

/// Keys that names are hashed under: the standard library's own random ones, from the operating system.
pub(crate) fn random_keys() -> [u64; 2] {
    use std::hash::{BuildHasher, Hasher};
    std::array::from_fn(|_| std::hash::RandomState::new().build_hasher().finish())
}

/// Whether that can be the name of a client, or a room.
fn check_name(name: &str) -> Result<(), Error> {
    if name.is_empty() || name.len() > MAX_NAME_BYTES { Err(Error::NameLength(name.len())) } else { Ok(()) }
}

impl Clients {
    pub(crate) fn new(limits: ClientLimits, keys: [u64; 2], clock: Clock) -> Self {
        let limit = limits.clients;
        let control = ClientControl {
            connections: ConnectionCells::new(limits.applications),
            unused: 0,
            free: VecDeque::with_capacity(limit as usize),
            retired: VecDeque::with_capacity(limit as usize),
            only_recorded: 0,
        };
        Self {
            slots: (0..limit).map(|_| ClientSlot::new()).collect(),
            names: NameTable::new(limit, keys),
            lines: (0..limits.lines()).map(|_| ClientLine::new()).collect(),
            clock,
            retired: CachePadded::new(Stack::new()),
            control: Mutex::new(control),
        }
    }

    /// Bytes that so many clients take, for the budget: slots, names, and the lists of free and of leaving slots.
    pub(crate) const fn bytes(limits: ClientLimits) -> u64 {
        let each = size_of::<ClientSlot>() + 2 * size_of::<u32>();
        limits.clients as u64 * each as u64
            + limits.lines() as u64 * size_of::<ClientLine>() as u64
            + ConnectionCells::bytes(limits.applications)
            + NameTable::bytes(limits.clients)
    }

    /// Takes all pages from the system.
    pub(crate) fn touch(&mut self) -> std::io::Result<()> {
        touch(&mut self.slots)?;
        touch(&mut self.lines)?;
        self.names.touch()?;
        let mut control = lock(&self.control);
        let ClientControl { free, retired, .. } = &mut *control;
        // A queue's spare room cannot be borrowed, only be used once.
        for queue in [free, retired] {
            queue.resize(queue.capacity(), 0);
            queue.clear();
        }
        Ok(())
    }

    /// Whether each has a line for its figures.
    pub(crate) fn has_figures(&self) -> bool {
        !self.lines.is_empty()
    }

    pub(crate) fn names(&self) -> &NameTable {
        &self.names
    }

    /// All slots, for a port in another language.
    #[cfg(not(corelane_loom))]
    pub(crate) fn slots(&self) -> &[ClientSlot] {
        &self.slots
    }

    pub(crate) fn slot(&self, index: u32) -> Option<&ClientSlot> {
        self.slots.get(index as usize)
    }

    /// The slot of a client that is still the one meant; who may use what then is in `slot`'s table.
    #[inline]
    pub(crate) fn get(&self, client: ClientId) -> Option<&ClientSlot> {
        self.slot(client.index()).filter(|slot| slot.place().generation == client.generation())
    }

    /// As [`get`](Self::get), if the client is this port's.
    #[inline]
    pub(crate) fn on(&self, client: ClientId, port: usize) -> Option<&ClientSlot> {
        let is_here =
            |place: SlotPlace| place.generation == client.generation() && usize::from(place.port) == port;
        self.slot(client.index()).filter(|slot| is_here(slot.place()))
    }

    /// The slot of a client of this port that is not closed yet, for the thread that closes the port's clients: it stays
    /// that client's until this thread closes it.
    #[inline]
    pub(crate) fn present(&self, client: ClientId, port: usize) -> Option<&ClientSlot> {
        let slot = self.on(client, port)?;
        let phase = slot.phase_of(client.generation());
        matches!(phase, Some(Phase::Open | Phase::Closing)).then_some(slot)
    }

    /// The slot of a connected client of this port, for the host's calls: `elsewhere` where it is another port's.
    pub(crate) fn open_on(
        &self,
        client: ClientId,
        port: usize,
        elsewhere: Error,
    ) -> Result<&ClientSlot, Error> {
        let slot = self.get(client).ok_or(Error::StaleClient)?;
        if self.on(client, port).is_none() {
            return Err(elsewhere);
        }
        match slot.phase_of(client.generation()) {
            Some(Phase::Open) => Ok(slot),
            _ => Err(Error::StaleClient),
        }
    }

    /// Connects: takes a slot, fills it, inserts the name. The caller then posts the name to every worker.
    pub(crate) fn connect(&self, new: NewClient<'_>) -> Result<(ClientId, NameHash), Error> {
        self.open(new, false)
    }

    /// A slot for a name of which something is recorded, and which is not connected.
    #[cfg(not(corelane_loom))]
    pub(crate) fn open_recorded(&self, new: NewClient<'_>) -> Result<(ClientId, NameHash), Error> {
        self.open(new, true)
    }

    fn open(&self, new: NewClient<'_>, only_recorded: bool) -> Result<(ClientId, NameHash), Error> {
        check_name(new.name)?;
        let hash = self.names.hash(new.name.as_bytes());
        let mut control = lock(&self.control);
        // First of all, so that who is refused costs no slot and no generation. Names are inserted under this lock.
        if let Some(present) = self.names.get(hash) {
            // Who comes under a name that is there has come again, before its first connection was seen to end.
            control.connections.reconnects += u64::from(!only_recorded);
            return Err(Error::NameTaken(present));
        }
        let Some(index) = self.take_free(&mut control) else {
            return Err(Error::TooManyClients(self.slots.len() as u32));
        };
        let Some(slot) = self.slot(index) else { return Err(Error::StaleClient) };
        let generation = slot.open(&new);
        let client = ClientId::new(index, generation);
        let now = self.clock.raw();
        if let Some(line) = self.lines.get(index as usize) {
            line.open(now, control.connections.writer.controlled.epoch, only_recorded, &new.figures);
        }
        let inserted = self.names.insert(hash, client);
        debug_assert!(inserted.is_ok(), "names are inserted under the control lock");
        if only_recorded {
            control.only_recorded += 1;
        } else {
            control.connections.connect(new.application, now);
        }
        Ok((client, hash))
    }

    /// Takes the name away, if it is still this client's, so that a successor may have it.
    pub(crate) fn remove_name(&self, client: ClientId, slot: &ClientSlot) {
        let mut buffer = NameBuffer::default();
        let hash = self.names.hash(slot.name(&mut buffer).as_bytes());
        self.names.remove(hash, client);
    }

    /// Starts a disconnect: no new credit, no name, no further submission. Says whether it was open. By the half of the
    /// client's port that submits.
    pub(crate) fn begin_close(&self, client: ClientId) -> bool {
        let Some(slot) = self.get(client) else { return false };
        if !slot.leave_phase(client.generation(), Phase::Open, Phase::Closing) {
            return false;
        }
        // Closing: only the caller, or a poll behind what the caller pushes, closes it. So the slot stays this client's.
        self.remove_name(client, slot);
        slot.credit.close(client.generation());
        if mutant("slot-reuse-before-closed") {
            self.retired.push(client.index(), &slot.retired_link);
        }
        let mut control = lock(&self.control);
        let line = self.line(client);
        if line.is_some_and(ClientLine::is_only_recorded) {
            control.only_recorded -= 1;
        } else {
            let now = self.clock.raw();
            let lived = line.map(|line| self.clock.nanoseconds(line.connected_at(), now) / 1_000_000);
            control.connections.disconnect(slot.labels().1, now, lived);
        }
        true
    }

    /// What a client was counted with, before [`end_close`](Self::end_close) gives its slot back. By its port.
    pub(crate) fn keep_figures(&self, client: ClientId, epoch: u64) -> KeptFigures {
        let closing =
            self.get(client).is_some_and(|slot| slot.phase_of(client.generation()) == Some(Phase::Closing));
        let line = self.line(client).filter(|_| closing);
        line.map_or_else(|| KeptFigures::NONE, |line| line.keep(epoch))
    }

    /// CLIENT_CLOSED has been handed out, or the port is gone: nothing is handed out for the client any more,
    /// and what it was handed and had not acknowledged is forgiven. Tells the one caller that did it how many messages that were. Takes no
    /// lock.
    pub(crate) fn end_close(&self, client: ClientId) -> Option<u32> {
        let slot = self.get(client)?;
        // With credit outstanding, or the phase, the slot stays this client's until it is on the list.
        if !slot.leave_phase(client.generation(), Phase::Closing, Phase::Closed) {
            return None;
        }
        let forgiven = slot.forgive(client.generation());
        if !mutant("slot-reuse-before-closed") {
            self.retired.push(client.index(), &slot.retired_link);
        }
        Some(forgiven)
    }

    /// The host of `port` has written so much to a client. Gives its credit back, never more than was handed out; nothing
    /// where the client is not the port's, or is closed. By the port's polling half, which alone closes its clients.
    #[inline]
    pub(crate) fn acknowledge(
        &self,
        client: ClientId,
        port: usize,
        messages: u32,
        bytes: u32,
    ) -> Option<Acknowledged> {
        Some(self.present(client, port)?.acknowledge(client.generation(), messages, bytes))
    }

    /// The client that has this name now.
    #[inline]
    pub(crate) fn find(&self, hash: NameHash, name: &[u8]) -> Option<ClientId> {
        let client = self.names.get(hash)?;
        let slot = self.get(client)?;
        let mut buffer = NameBuffer::default();
        // Keyed 64-bit hashes do not collide in practice; a name that is another's would be a wrong delivery.
        (slot.name(&mut buffer).as_bytes() == name).then_some(client)
    }

    /// Clients of a port that are not closed, for its release.
    pub(crate) fn of_port(&self, port: u16) -> impl Iterator<Item = ClientId> + '_ {
        self.slots.iter().enumerate().filter_map(move |(index, slot)| {
            let client = ClientId::new(index as u32, slot.place().generation);
            self.present(client, usize::from(port)).map(|_| client)
        })
    }

    /// Connected so far, connected now, most at once.
    pub(crate) fn figures(&self) -> (u64, u64, u64) {
        let connections = &lock(&self.control).connections;
        (connections.connected, connections.active(), connections.peak)
    }

    /// A client's figures, where clients have any.
    #[inline]
    pub(crate) fn line(&self, client: ClientId) -> Option<&ClientLine> {
        self.lines.get(client.index() as usize)
    }

    /// A free slot, if there is one. Looks at a few of the closed ones, and at all of them only where there is no other.
    fn take_free(&self, control: &mut ClientControl) -> Option<u32> {
        self.sweep(control, SWEPT_PER_CONNECT);
        if let Some(index) = control.free.pop_front() {
            return Some(index);
        }
        if (control.unused as usize) < self.slots.len() {
            control.unused += 1;
            return Some(control.unused - 1);
        }
        self.sweep(control, usize::MAX);
        control.free.pop_front()
    }

    /// Frees closed slots that nothing refers to any more, in the order in which they were closed. Looks at `limit` at most.
    fn sweep(&self, control: &mut ClientControl, limit: usize) {
        // The latest comes first: turned round on the way.
        let (mut next, mut first) = (self.retired.take(), END);
        while let Some(slot) = self.slot(next) {
            let rest = slot.retired_link.load(Relaxed); // Relaxed: `take` acquired it.
            slot.retired_link.store(first, Relaxed); // Relaxed: under the control lock from here on.
            (first, next) = (next, rest);
        }
        while let Some(slot) = self.slot(first) {
            control.retired.push_back(first);
            first = slot.retired_link.load(Relaxed); // Relaxed: as above.
        }
        for _ in 0..control.retired.len().min(limit) {
            let Some(index) = control.retired.pop_front() else { return };
            let Some(slot) = self.slot(index) else { continue };
            if mutant("slot-reuse-early") || slot.is_unused() {
                control.free.push_back(index);
            } else {
                control.retired.push_back(index);
            }
        }
    }
}
