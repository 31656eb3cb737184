//! What describes a router's clients: their handles and names, their credit and its policy. They are connected through a
//! [`Port`](crate::router::Port).

// A slot for each client, the names that lead to the slots, and the credit of each client. Ports (connect, disconnect,
// acknowledge) and workers (look up, add credit) share this state.
//
// A slot goes through these phases: FREE → OPEN → CLOSING (disconnect called, its record is in a ring) →
// CLOSED (CLIENT_CLOSED handed out) → FREE. A slot becomes free when all messages that its client submitted
// have finished and none of the client's credit is in use.
//
// The closing bit of the credit word is set before the slot becomes free, so no credit can be added
// meanwhile, and a slot whose credit is in use cannot become free. A worker that has added credit therefore
// keeps the slot from being reused. A worker that comes too late learns this from the generation in the
// credit word (`docs/decisions/0001-credit-pins-slot.md`).
//
// A port's calls compare generation and phase in one word and change the phase by compare-and-swap, so a
// stale handle never changes anything of a successor.

mod bucket;
mod credit;
#[cfg(not(corelane_loom))]
mod events;
mod figures;
mod list;
mod losses;
mod members;
mod name;
mod names;
mod policy;
mod recent;
mod recorded;
mod rooms;
mod slot;
#[cfg(not(corelane_loom))]
mod survey;

pub(crate) use bucket::{Bucket, Rate};
pub(crate) use credit::{Credit, Limits, MAX_BYTES, MAX_MESSAGES, Shortage};
#[cfg(not(corelane_loom))]
pub(crate) use events::{ConnectionQueue, LoggedConnection};
#[cfg(not(corelane_loom))]
pub(crate) use figures::{ApplicationConnections, ClientView, ConnectionReading};
pub(crate) use figures::{ClientCounts, ClientLine, ClientMessage};
pub(crate) use list::{END, SlotList, Stack, UNLISTED};
pub(crate) use names::{NameHash, NameTable};
pub(crate) use recent::RecentNames;
pub(crate) use recorded::RecorderLines;
pub(crate) use slot::{Acknowledged, ClientSlot, NameBuffer, NoticeAt, Phase, Refusals, SlotPlace};

pub(crate) use members::Members;
#[cfg(not(corelane_loom))]
#[doc(hidden)]
pub use rooms::RoomChanges;
pub(crate) use rooms::{RoomLimits, RoomReader, Rooms};

pub use crate::id::{ClientId, MAX_NAME_BYTES, RoomId};
pub use figures::KeptFigures;
pub use name::ClientName;
pub use policy::{CreditPolicy, Outstanding};

use crate::clock::Clock;
use crate::error::{ClientError, ConnectError, RecordConnectError, Unacknowledged};
use crate::metrics::FailingCell;
use crate::sync::os::touch;
use crate::sync::{Mutex, Relaxed, lock, may_switch, mutant};
use crossbeam_utils::CachePadded;
use figures::{ConnectionCells, short};
use losses::Losses;
use std::collections::VecDeque;
use std::sync::OnceLock;

/// Properties of a new client.
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
    /// One line per slot. Empty if clients have no figures.
    lines: Box<[ClientLine]>,
    /// What each client has lost as a recipient. Empty if clients have no figures.
    losses: Box<[Losses]>,
    /// The lines that each recorder writes alone, created when the recorder first names a client. Empty if clients
    /// have no figures.
    recorders: Box<[OnceLock<RecorderLines>]>,
    clock: Clock,
    /// Closed slots that have not been swept yet, linked through the slots. Closing a client takes no lock.
    retired: CachePadded<Stack>,
    control: Mutex<ClientControl>,
}

/// Limits on clients.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ClientLimits {
    pub(crate) clients: u32,
    pub(crate) applications: usize,
    /// Whether each client has its own figures.
    pub(crate) figures: bool,
    /// Recorders that write figures of these clients.
    pub(crate) recorders: usize,
}

impl ClientLimits {
    const fn lines(self) -> u32 {
        if self.figures { self.clients } else { 0 }
    }

    const fn recorders(self) -> usize {
        if self.figures { self.recorders } else { 0 }
    }
}

/// State that changes when clients connect and disconnect. Its lists have room for every client from the
/// start, so they never allocate.
#[derive(Debug)]
struct ClientControl {
    connections: ConnectionCells,
    /// Index of the first slot that has never been used.
    unused: u32,
    /// Free slots, first in, first out, so that the generations of a slot last as long as possible.
    free: VecDeque<u32>,
    /// Slots whose CLIENT_CLOSED has been handed out. They become free when nothing refers to them.
    retired: VecDeque<u32>,
    /// Number of names that were only recorded and are not connected.
    only_recorded: usize,
    /// Those who follow connects and disconnects.
    #[cfg(not(corelane_loom))]
    followers: events::Followers,
}

impl ClientControl {
    /// Tells the followers of a connect, or of a disconnect with the time that the client was connected, if known.
    #[inline]
    fn tell(&mut self, slot: &ClientSlot, ended: Option<Option<u64>>) {
        #[cfg(not(corelane_loom))]
        if self.followers.are_there() {
            let mut name = ClientName { buffer: NameBuffer::default(), length: 0 };
            name.length = slot.name_bytes(&mut name.buffer).len();
            self.followers.tell(LoggedConnection {
                at: std::time::SystemTime::now(),
                name,
                application: slot.labels().1,
                connected: ended.is_none(),
                lived_milliseconds: ended.flatten(),
            });
        }
        #[cfg(corelane_loom)]
        let _ = (slot, ended);
    }
}

/// Number of closed slots that a connect examines if other slots are free. Enough to keep up with any rate of
/// disconnects.
const SWEPT_PER_CONNECT: usize = 64;

/// Random keys for the hashes of names. The standard library gets them from the operating system.
pub(crate) fn random_keys() -> [u64; 2] {
    use std::hash::{BuildHasher, Hasher};
    std::array::from_fn(|_| std::hash::RandomState::new().build_hasher().finish())
}

/// Whether `name` is allowed as the name of a client or room: 1 to `MAX_NAME_BYTES` bytes.
fn is_name(name: &str) -> bool {
    (1..=MAX_NAME_BYTES).contains(&name.len())
}

/// Why no slot is taken for a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum OpenError {
    NameTaken(ClientId),
    NameLength(usize),
    TooManyClients(u32),
}

impl From<OpenError> for ConnectError {
    fn from(error: OpenError) -> Self {
        match error {
            OpenError::NameTaken(present) => Self::NameTaken(present),
            OpenError::NameLength(length) => Self::NameLength(length),
            OpenError::TooManyClients(limit) => Self::TooManyClients(limit),
        }
    }
}

impl From<OpenError> for RecordConnectError {
    fn from(error: OpenError) -> Self {
        match error {
            OpenError::NameTaken(present) => Self::NameTaken(present),
            OpenError::NameLength(length) => Self::NameLength(length),
            OpenError::TooManyClients(limit) => Self::TooManyClients(limit),
        }
    }
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
            #[cfg(not(corelane_loom))]
            followers: events::Followers::default(),
        };
        Self {
            slots: (0..limit).map(|_| ClientSlot::new()).collect(),
            names: NameTable::new(limit, keys),
            lines: (0..limits.lines()).map(|_| ClientLine::new()).collect(),
            losses: (0..limits.lines()).map(|_| Losses::new()).collect(),
            recorders: (0..limits.recorders()).map(|_| OnceLock::new()).collect(),
            clock,
            retired: CachePadded::new(Stack::new()),
            control: Mutex::new(control),
        }
    }

    /// Bytes that this many clients take, for the budget: slots, names, and the lists of free and leaving
    /// slots.
    pub(crate) const fn bytes(limits: ClientLimits) -> u64 {
        let each = size_of::<ClientSlot>() + 2 * size_of::<u32>();
        limits.clients as u64 * each as u64
            + limits.lines() as u64 * (size_of::<ClientLine>() + size_of::<Losses>()) as u64
            + limits.recorders() as u64
                * (size_of::<OnceLock<RecorderLines>>() as u64 + RecorderLines::bytes(limits.clients) + 128)
            + ConnectionCells::bytes(limits.applications)
            + NameTable::bytes(limits.clients)
    }

    /// Makes all pages resident.
    pub(crate) fn touch(&mut self) -> std::io::Result<()> {
        touch(&mut self.slots)?;
        touch(&mut self.lines)?;
        touch(&mut self.losses)?;
        for recorder in &mut self.recorders {
            recorder.get_or_init(|| RecorderLines::new(self.slots.len()));
            recorder.get_mut().map_or(Ok(()), RecorderLines::touch)?;
        }
        self.names.touch()?;
        let mut control = lock(&self.control);
        let ClientControl { free, retired, .. } = &mut *control;
        // The spare capacity of a queue cannot be borrowed, only be filled once.
        for queue in [free, retired] {
            queue.resize(queue.capacity(), 0);
            queue.clear();
        }
        Ok(())
    }

    /// Whether each client has a line for its figures.
    pub(crate) fn has_figures(&self) -> bool {
        !self.lines.is_empty()
    }

    pub(crate) fn names(&self) -> &NameTable {
        &self.names
    }

    pub(crate) fn slot(&self, index: u32) -> Option<&ClientSlot> {
        self.slots.get(index as usize)
    }

    /// The slot of a client, if the slot still has the client's generation. The table in `slot` lists who may
    /// use which field.
    #[inline]
    pub(crate) fn get(&self, client: ClientId) -> Option<&ClientSlot> {
        self.slot(client.index()).filter(|slot| slot.place().generation == client.generation())
    }

    /// Whether the client is connected, and its disconnect has not begun.
    pub(crate) fn is_open(&self, client: ClientId) -> bool {
        self.get(client).and_then(|slot| slot.phase_of(client.generation())) == Some(Phase::Open)
    }

    /// Like [`get`](Self::get), if the client belongs to this port.
    #[inline]
    pub(crate) fn on(&self, client: ClientId, port: usize) -> Option<&ClientSlot> {
        let is_here =
            |place: SlotPlace| place.generation == client.generation() && usize::from(place.port) == port;
        self.slot(client.index()).filter(|slot| is_here(slot.place()))
    }

    /// The slot of a client of this port that is not closed. For the thread that closes the port's clients:
    /// the slot stays the client's until this thread closes the client.
    #[inline]
    pub(crate) fn present(&self, client: ClientId, port: usize) -> Option<&ClientSlot> {
        let slot = self.on(client, port)?;
        let phase = slot.phase_of(client.generation());
        matches!(phase, Some(Phase::Open | Phase::Closing)).then_some(slot)
    }

    /// The connected clients of a port, or those of them whose messages go to a worker. Looks at every slot.
    pub(crate) fn open_of(
        &self,
        port: usize,
        worker: Option<usize>,
    ) -> impl Iterator<Item = (ClientId, &ClientSlot)> {
        self.slots.iter().enumerate().filter_map(move |(index, slot)| {
            let (place, state) = (slot.place(), slot.state());
            let is_here = state.phase == Phase::Open
                && place.generation == state.generation
                && usize::from(place.port) == port
                && worker.is_none_or(|worker| usize::from(state.worker) == worker);
            is_here.then(|| (ClientId::new(index as u32, state.generation), slot))
        })
    }

    /// Whether a client is not closed: connected, or on its way out.
    pub(crate) fn is_present(&self, client: ClientId) -> bool {
        let phase = self.slot(client.index()).and_then(|slot| slot.phase_of(client.generation()));
        matches!(phase, Some(Phase::Open | Phase::Closing))
    }

    /// Why a client that is not [`on`](Self::on) a port cannot be used there.
    #[cold]
    pub(crate) fn not_here(&self, client: ClientId) -> ClientError {
        if self.is_present(client) { ClientError::WrongPort } else { ClientError::StaleClient }
    }

    /// The slot of a connected client of this port, for calls of the host.
    #[inline]
    pub(crate) fn open_on(&self, client: ClientId, port: usize) -> Result<&ClientSlot, ClientError> {
        let slot = self.on(client, port).ok_or_else(|| self.not_here(client))?;
        match slot.phase_of(client.generation()) {
            Some(Phase::Open) => Ok(slot),
            _ => Err(ClientError::StaleClient),
        }
    }

    /// Connects a client: takes a slot, fills it and inserts the name. The caller then posts the name to
    /// every worker.
    pub(crate) fn connect(&self, new: NewClient<'_>) -> Result<(ClientId, NameHash), OpenError> {
        self.open(new, false)
    }

    /// Takes a slot for a name that is recorded but not connected.
    #[cfg(not(corelane_loom))]
    pub(crate) fn open_recorded(&self, new: NewClient<'_>) -> Result<(ClientId, NameHash), OpenError> {
        self.open(new, true)
    }

    fn open(&self, new: NewClient<'_>, only_recorded: bool) -> Result<(ClientId, NameHash), OpenError> {
        if !is_name(new.name) {
            return Err(OpenError::NameLength(new.name.len()));
        }
        let hash = self.names.hash(new.name.as_bytes());
        let mut control = lock(&self.control);
        let index = self.place_for(&mut control, hash, only_recorded)?;
        let slot = &self.slots[index as usize];
        let generation = slot.open(&new);
        let client = ClientId::new(index, generation);
        self.let_in(&mut control, client, slot, hash, (new.figures, only_recorded));
        Ok((client, hash))
    }

    /// A free slot for a client of this name. Names are inserted under the control lock.
    fn place_for(
        &self,
        control: &mut ClientControl,
        hash: NameHash,
        only_recorded: bool,
    ) -> Result<u32, OpenError> {
        // Check the name first, so that a refused client costs no slot and no generation.
        if let Some(present) = self.names.get(hash) {
            // A client whose name is still present has reconnected before the end of its first connection was
            // noticed.
            control.connections.reconnects += u64::from(!only_recorded);
            return Err(OpenError::NameTaken(present));
        }
        self.take_free(control).ok_or(OpenError::TooManyClients(self.slots.len() as u32))
    }

    /// Begins the figures of a client whose slot is open, inserts its name and counts it.
    fn let_in(
        &self,
        control: &mut ClientControl,
        client: ClientId,
        slot: &ClientSlot,
        hash: NameHash,
        (figures, only_recorded): (KeptFigures, bool),
    ) {
        let (place, now) = (client.index() as usize, self.clock.raw());
        if let (Some(line), Some(losses)) = (self.lines.get(place), self.losses.get(place)) {
            let epoch = control.connections.writer.controlled.epoch;
            let (counts, failing) = figures.continued(client, epoch);
            line.open(now, epoch, only_recorded, &counts, failing);
            losses.open(client.generation(), short(epoch), counts.undelivered);
        }
        let inserted = self.names.insert(hash, client);
        debug_assert!(inserted.is_ok(), "names are inserted under the control lock");
        if only_recorded {
            control.only_recorded += 1;
        } else {
            control.connections.connect(slot.labels().1, now);
            control.tell(slot, None);
        }
    }

    /// Takes a slot for a client of a lane. Nobody finds the client before [`enter`](Self::enter).
    pub(crate) fn reserve(&self, new: NewClient<'_>) -> Result<(ClientId, NameHash), OpenError> {
        if !is_name(new.name) {
            return Err(OpenError::NameLength(new.name.len()));
        }
        let hash = self.names.hash(new.name.as_bytes());
        let mut control = lock(&self.control);
        let index = self.place_for(&mut control, hash, false)?;
        Ok((ClientId::new(index, self.slots[index as usize].reserve(&new)), hash))
    }

    /// Connects a reserved client: opens its slot and inserts its name. The caller then posts the name to every worker.
    /// If the name is taken meanwhile, the reservation is given back. `None` if there is no such reservation.
    pub(crate) fn enter(&self, client: ClientId) -> Option<Result<NameHash, OpenError>> {
        let slot = self.get(client)?;
        let mut buffer = NameBuffer::default();
        let hash = self.names.hash(slot.name(&mut buffer).as_bytes());
        let mut control = lock(&self.control);
        if slot.phase_of(client.generation()) != Some(Phase::Reserved) {
            return None;
        }
        if let Some(present) = self.names.get(hash) {
            control.connections.reconnects += 1;
            drop(control);
            self.cancel(client);
            return Some(Err(OpenError::NameTaken(present)));
        }
        if !slot.enter(client.generation()) {
            return None;
        }
        self.let_in(&mut control, client, slot, hash, (KeptFigures::NONE, false));
        Some(Ok(hash))
    }

    /// Gives a reservation back. Returns whether there was one.
    pub(crate) fn cancel(&self, client: ClientId) -> bool {
        let reserved = self
            .get(client)
            .filter(|slot| slot.leave_phase(client.generation(), Phase::Reserved, Phase::Closed));
        if let Some(slot) = reserved {
            self.retired.push(client.index(), &slot.retired_link);
        }
        reserved.is_some()
    }

    /// The clients of a port whose slots are reserved, for a lane's release.
    pub(crate) fn reserved_of(&self, port: usize) -> impl Iterator<Item = ClientId> + '_ {
        self.slots.iter().enumerate().filter_map(move |(index, slot)| {
            let client = ClientId::new(index as u32, slot.place().generation);
            let reserved = slot.phase_of(client.generation()) == Some(Phase::Reserved);
            (reserved && usize::from(slot.place().port) == port).then_some(client)
        })
    }

    /// The name of a client that is present.
    pub(crate) fn name(&self, client: ClientId) -> Option<ClientName> {
        let mut name = ClientName { buffer: NameBuffer::default(), length: 0 };
        // Generation 0 is no client's, but the generation of slots that were never used.
        let slot = self.get(client).filter(|_| client.generation() != 0)?;
        name.length = slot.name_bytes(&mut name.buffer).len();
        // If the client is gone now, the slot may have had the name of its next client already.
        self.get(client).map(|_| name)
    }

    /// Removes the name if it still belongs to this client, so that a successor can use it.
    pub(crate) fn remove_name(&self, client: ClientId, slot: &ClientSlot) {
        let mut buffer = NameBuffer::default();
        let hash = self.names.hash(slot.name(&mut buffer).as_bytes());
        self.names.remove(hash, client);
    }

    /// Starts a disconnect: the client gets no more credit, loses its name and can no longer submit. Returns
    /// whether the client was open. Called by the submitting half of the client's port.
    pub(crate) fn begin_close(&self, client: ClientId) -> bool {
        let Some(slot) = self.get(client) else { return false };
        if !slot.leave_phase(client.generation(), Phase::Open, Phase::Closing) {
            return false;
        }
        // In CLOSING, only the caller, or a poll that sees what the caller pushes, closes the client. Until
        // then the slot stays the client's.
        self.remove_name(client, slot);
        slot.credit.close(client.generation());
        if mutant("slot-reuse-before-closed") {
            self.retired.push(client.index(), &slot.retired_link);
        }
        let mut control = lock(&self.control);
        if slot.is_of_lane() {
            // The client of a worker that has left may be closed in the middle of `enter`, which holds this lock: its
            // credit and its name came only now.
            self.remove_name(client, slot);
            slot.credit.close(client.generation());
        }
        let line = self.line(client);
        if line.is_some_and(ClientLine::is_only_recorded) {
            control.only_recorded -= 1;
        } else {
            let now = self.clock.raw();
            let lived = line.map(|line| self.clock.nanoseconds(line.connected_at(), now) / 1_000_000);
            control.connections.disconnect(slot.labels().1, now, lived);
            control.tell(slot, Some(lived));
        }
        true
    }

    /// A queue of the connects and disconnects from now on. `None` if 16 such queues exist.
    #[cfg(not(corelane_loom))]
    pub(crate) fn follow(&self, capacity: usize) -> Option<crate::sync::Arc<Mutex<ConnectionQueue>>> {
        lock(&self.control).followers.add(capacity)
    }

    /// The figures of a client, or none while `detailed_stats` is off. Called by its port before
    /// [`end_close`](Self::end_close) gives the slot back.
    pub(crate) fn keep_figures(
        &self,
        client: ClientId,
        controlled: crate::metrics::Controlled,
    ) -> KeptFigures {
        let closing =
            self.get(client).is_some_and(|slot| slot.phase_of(client.generation()) == Some(Phase::Closing));
        let line = self.line(client).filter(|_| closing && controlled.detailed);
        let counts = line.and_then(|line| Some((line, self.own_counts(client, controlled.epoch)?)));
        counts.map_or(KeptFigures::NONE, |(line, counts)| {
            KeptFigures::of(controlled.epoch, counts, line.failing_cell())
        })
    }

    /// Closes the client, after CLIENT_CLOSED was handed out or the port was released. Nothing more is handed
    /// out for the client, and everything that was handed out and is unacknowledged is forgiven. Returns the
    /// number of forgiven messages, and the reason to count them with, to the one caller that closed the client. Takes no
    /// lock.
    pub(crate) fn end_close(&self, client: ClientId) -> Option<(u32, Unacknowledged)> {
        let slot = self.get(client)?;
        let reason = slot.unacknowledged();
        // While the phase is CLOSING or credit is in use, the slot stays this client's, until it is on the
        // list.
        if !slot.leave_phase(client.generation(), Phase::Closing, Phase::Closed) {
            return None;
        }
        let forgiven = slot.forgive(client.generation());
        if !mutant("slot-reuse-before-closed") {
            self.retired.push(client.index(), &slot.retired_link);
        }
        Some((forgiven, reason))
    }

    /// Gives back the credit for messages and bytes that the host of `port` has written to a client, at most
    /// as much as was handed out. `None` if the client belongs to another port or is closed. Called by the
    /// polling half of the port, which alone closes its clients.
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

    /// As [`acknowledge`](Self::acknowledge), for a client of a lane: at most as much as is outstanding. Called by the client's
    /// home worker, which alone closes its clients. The slot may be its next client's by now: that one loses nothing.
    #[inline]
    pub(crate) fn acknowledge_on_lane(&self, client: ClientId, messages: u32, bytes: u32) -> (u32, u32) {
        let Some(slot) = self.slot(client.index()) else { return (0, 0) };
        let successor = mutant("lane-acknowledges-successor");
        let generation = if successor { slot.place().generation } else { client.generation() };
        slot.credit.subtract(generation, messages, bytes)
    }

    /// Takes credit for a delivery to a client, whose slot this is. Returns the client's port.
    ///
    /// Credit pins the slot of a port's client: it keeps client and port until the credit is given back. The slot of a lane's
    /// client may be another's at any time, with what is outstanding forgiven. Therefore the generation is compared again
    /// behind the addition, and the port is of the same load; see docs/decisions/0014-no-batch-boundary-for-lanes.md.
    #[inline(always)]
    pub(crate) fn take_credit(
        slot: &ClientSlot,
        to: ClientId,
        bytes: u32,
        limits: Limits,
    ) -> Result<usize, Shortage> {
        slot.credit.try_add(to.generation(), bytes, limits)?;
        may_switch();
        let place = slot.place();
        if place.generation != to.generation() && !mutant("lane-place-unchecked") {
            // The credit word contains only a part of the generation.
            slot.credit.subtract(to.generation(), 1, bytes);
            return Err(Shortage::Closed);
        }
        Ok(usize::from(place.port))
    }

    /// The client that has this name now.
    #[inline]
    pub(crate) fn find(&self, hash: NameHash, name: &[u8]) -> Option<ClientId> {
        let client = self.names.get(hash)?;
        // Compare the names: keyed 64-bit hashes do not collide in practice, but a collision would deliver to
        // the wrong client.
        self.is_named(client, name).then_some(client)
    }

    /// The clients of a port that are not closed, for the port's release.
    pub(crate) fn of_port(&self, port: u16) -> impl Iterator<Item = ClientId> + '_ {
        self.slots.iter().enumerate().filter_map(move |(index, slot)| {
            let client = ClientId::new(index as u32, slot.place().generation);
            self.present(client, usize::from(port)).map(|_| client)
        })
    }

    /// Connections since the start, current connections, and the largest number at the same time.
    pub(crate) fn figures(&self) -> (u64, u64, u64) {
        let connections = &lock(&self.control).connections;
        (connections.connected, connections.active(), connections.peak)
    }

    /// The figures of a client, if clients have figures.
    #[inline]
    pub(crate) fn line(&self, client: ClientId) -> Option<&ClientLine> {
        self.lines.get(client.index() as usize)
    }

    /// The figures of a client, except those that recorders count in lines of their own. The slot may outlive the client.
    fn own_counts(&self, client: ClientId, epoch: u64) -> Option<ClientCounts> {
        let place = client.index() as usize;
        let (line, losses) = (self.lines.get(place)?, self.losses.get(place)?);
        Some(ClientCounts { undelivered: losses.read(client.generation(), short(epoch)), ..line.read(epoch) })
    }

    /// Counts a delivery that a client does not get. Any thread may call this.
    #[cold]
    pub(crate) fn lose(&self, client: ClientId, epoch: u64) {
        if let Some(losses) = self.losses.get(client.index() as usize) {
            losses.add(client.generation(), short(epoch));
        }
    }

    /// The cell in which the failures of a client are counted. Without figures each connection has a cell of its own.
    #[inline]
    pub(crate) fn failing_cell(&self, client: ClientId) -> FailingCell {
        // No client has generation 0: it is a message that no client sent.
        let line = self.line(client).filter(|_| client.generation() != 0);
        line.map_or(FailingCell::of(client.0), ClientLine::failing_cell)
    }

    /// Takes a free slot. Examines a few closed slots, and all of them only if no other slot is left.
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

    /// Frees closed slots that nothing refers to, in the order in which they were closed. Examines at most
    /// `limit` slots.
    fn sweep(&self, control: &mut ClientControl, limit: usize) {
        // The stack yields the latest slot first: reverse the order.
        let (mut next, mut first) = (self.retired.take(), END);
        while let Some(slot) = self.slot(next) {
            let rest = slot.retired_link.load(Relaxed); // Relaxed: `take` acquired it.
            slot.retired_link.store(first, Relaxed); // Relaxed: only used under the control lock from here on.
            (first, next) = (next, rest);
        }
        while let Some(slot) = self.slot(first) {
            control.retired.push_back(first);
            first = slot.retired_link.load(Relaxed); // Relaxed: as above.
        }
        for _ in 0..control.retired.len().min(limit) {
            let Some(index) = control.retired.pop_front() else { return };
            if mutant("slot-reuse-early") || self.slots[index as usize].is_unused() {
                control.free.push_back(index);
            } else {
                control.retired.push_back(index);
            }
        }
    }
}
