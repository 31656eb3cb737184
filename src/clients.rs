//! Connected peers: a slot each, the names that lead to them, and what each may have outstanding. Shared by the
//! router's ports (connect, disconnect, acknowledge) and workers (look up, add credit).
//!
//! A slot goes FREE → OPEN → CLOSING (disconnect called, the record on its way) → CLOSED (CLIENT_CLOSED handed
//! out) → FREE. It is free again once all it submitted is finished and nothing for it is outstanding. Its
//! closing bit is set before that, so no credit can be added meanwhile; with credit held it cannot be freed. So
//! a worker that was quick enough to add credit has a slot that stays, and one that was not is told so by the
//! generation in the credit word (`docs/decisions/0001-credit-pins-slot.md`).

mod bucket;
mod credit;
mod figures;
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
pub(crate) use names::{NameHash, NameTable};
pub(crate) use slot::{NameBuffer, Phase, Slot};

pub(crate) use members::Members;
pub(crate) use rooms::{RoomLimits, RoomReader, Rooms};

pub use crate::id::{ClientId, MAX_NAME_BYTES, RoomId};
pub use policy::{CreditPolicy, Outstanding};

use crate::clock::Clock;
use crate::error::Error;
use crate::sync::os::touch;
use crate::sync::{Acquire, Mutex, lock, mutant};
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
}

/// All clients of a router.
#[derive(Debug)]
pub(crate) struct Clients {
    slots: Box<[Slot]>,
    names: NameTable,
    /// One per slot, or none where clients have no figures of their own.
    lines: Box<[ClientLine]>,
    clock: Clock,
    control: Mutex<Control>,
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
struct Control {
    connections: ConnectionCells,
    /// Slots never used start here.
    unused: u32,
    free: Vec<u32>,
    /// CLIENT_CLOSED handed out; free once finished and nothing is outstanding.
    retired: VecDeque<ClientId>,
    /// Names that were only recorded.
    only_recorded: usize,
}

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
        let control = Control {
            connections: ConnectionCells::new(limits.applications),
            unused: 0,
            free: Vec::with_capacity(limit as usize),
            retired: VecDeque::with_capacity(limit as usize),
            only_recorded: 0,
        };
        Self {
            slots: (0..limit).map(|_| Slot::new()).collect(),
            names: NameTable::new(limit, keys),
            lines: (0..limits.lines()).map(|_| ClientLine::new()).collect(),
            clock,
            control: Mutex::new(control),
        }
    }

    /// Bytes that so many clients take, for the budget: slots, names, and the lists of free and of leaving slots.
    pub(crate) const fn bytes(limits: ClientLimits) -> u64 {
        let each = size_of::<Slot>() + size_of::<u32>() + size_of::<ClientId>();
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
        let Control { free, retired, .. } = &mut *control;
        touch(free.spare_capacity_mut())?;
        // Its spare room cannot be borrowed, only be used once.
        retired.resize(retired.capacity(), ClientId(0));
        retired.clear();
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
    pub(crate) fn slots(&self) -> &[Slot] {
        &self.slots
    }

    pub(crate) fn slot(&self, index: u32) -> Option<&Slot> {
        self.slots.get(index as usize)
    }

    /// The slot of a client that is still the one meant; who may use what then is in `slot`'s table.
    #[inline]
    pub(crate) fn get(&self, client: ClientId) -> Option<&Slot> {
        self.slot(client.index()).filter(|slot| slot.place().generation == client.generation())
    }

    /// As [`get`](Self::get), if the client is this port's.
    #[inline]
    pub(crate) fn on(&self, client: ClientId, port: usize) -> Option<&Slot> {
        self.get(client).filter(|slot| usize::from(slot.place().port) == port)
    }

    /// As [`on`](Self::on), for the host's calls: `elsewhere` where the client is another port's.
    pub(crate) fn own(&self, client: ClientId, port: usize, elsewhere: Error) -> Result<&Slot, Error> {
        let slot = self.get(client).ok_or(Error::StaleClient)?;
        if usize::from(slot.place().port) == port { Ok(slot) } else { Err(elsewhere) }
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
        self.sweep(&mut control);
        let index = match control.free.pop() {
            Some(index) => index,
            None if (control.unused as usize) < self.slots.len() => {
                control.unused += 1;
                control.unused - 1
            }
            // Who comes again needs no other place, and learns that.
            None => {
                let present = self.names.get(hash);
                control.connections.reconnects += u64::from(present.is_some() && !only_recorded);
                return Err(present.map_or(Error::TooManyClients(self.slots.len() as u32), Error::NameTaken));
            }
        };
        let Some(slot) = self.slot(index) else { return Err(Error::StaleClient) };
        let generation = slot.open(&new);
        let client = ClientId::new(index, generation);
        let now = self.clock.raw();
        if let Some(line) = self.lines.get(index as usize) {
            line.open(now, control.connections.writer.controlled.epoch, only_recorded);
        }
        if let Err(present) = self.names.insert(hash, client) {
            slot.set_phase(Phase::Free);
            control.free.push(index);
            // Who comes under a name that is there has come again, before its first connection was seen to end.
            control.connections.reconnects += u64::from(!only_recorded);
            return Err(Error::NameTaken(present));
        }
        if only_recorded {
            control.only_recorded += 1;
        } else {
            control.connections.connect(new.application, now);
        }
        Ok((client, hash))
    }

    /// Takes the name away, if it is still this client's, so that a successor may have it.
    pub(crate) fn remove_name(&self, client: ClientId, slot: &Slot) {
        let mut buffer = NameBuffer::default();
        let hash = self.names.hash(slot.name(&mut buffer).as_bytes());
        self.names.remove(hash, client);
    }

    /// Starts a disconnect: no new credit, no name, no further submission. Says whether it was open.
    pub(crate) fn begin_close(&self, client: ClientId) -> bool {
        let Some(slot) = self.get(client) else { return false };
        if slot.phase() != Phase::Open {
            return false;
        }
        self.remove_name(client, slot);
        slot.set_phase(Phase::Closing);
        slot.credit.close(client.generation());
        let mut control = lock(&self.control);
        if mutant("slot-reuse-before-closed") {
            control.retired.push_back(client);
        }
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

    /// CLIENT_CLOSED has been handed out, or the port is gone: nothing is handed out for the client any more,
    /// and what it was handed and had not acknowledged is forgiven.
    pub(crate) fn end_close(&self, client: ClientId) {
        let Some(slot) = self.get(client) else { return };
        slot.set_phase(Phase::Closed);
        slot.forgive();
        lock(&self.control).retired.push_back(client);
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

    /// Open clients of a port, for its release.
    pub(crate) fn of_port(&self, port: u16) -> impl Iterator<Item = (ClientId, Phase)> + '_ {
        self.slots.iter().enumerate().filter_map(move |(index, slot)| {
            let (place, phase) = (slot.place(), slot.phase());
            let here = place.port == port && matches!(phase, Phase::Open | Phase::Closing);
            here.then(|| (ClientId::new(index as u32, place.generation), phase))
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

    /// Frees the retired slots that nothing refers to any more.
    fn sweep(&self, control: &mut Control) {
        for _ in 0..control.retired.len() {
            let Some(client) = control.retired.pop_front() else { return };
            match self.get(client) {
                Some(slot) if self.is_quiet(slot) => {
                    slot.set_phase(Phase::Free);
                    control.free.push(client.index());
                }
                Some(_) => control.retired.push_back(client),
                None => {}
            }
        }
    }

    fn is_quiet(&self, slot: &Slot) -> bool {
        if mutant("slot-reuse-early") {
            return true;
        }
        // Acquire: what the worker did for the client's messages is done; pairs with `Slot::finish`.
        slot.finished.load(Acquire) == slot.submitted() && slot.credit.outstanding() == (0, 0)
    }
}
