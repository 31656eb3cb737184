//! Figures of each client and of connections. The figures of a client are on their own cache line, beside the
//! slot, and exist only with `detailed_stats`. The figures of connections change when clients connect and
//! disconnect, under the control lock.
//!
//! | field of a line | written by |
//! |---|---|
//! | `bytes_out` | the client's port, when the host acknowledges |
//! | `flags` | whoever marks the client; after a reset, the writers of the other fields; by read-modify-write |
//! | `connected_at`, and the initial value of all fields | connect, while the slot is quiet |
//! | all others | the client's worker; several threads, by read-modify-write, if the client has no single worker |
//!
//! A recorder counts in lines of its own instead: see `recorded`. What a client loses as a recipient is in `losses`.
//!
//! A reset does not write to the counters of other threads. `flags` holds the epochs of the two parts of a
//! line, and the writers restart their part with the first message after the reset. If several threads record
//! first messages at the same time, some of them may be lost.

use super::{ClientId, Outstanding};
use crate::metrics::{CELL_BITS, Distribution, FailingCell, Histogram, Writer};
use crate::sync::{AtomicU32, AtomicU64, Relaxed, own_load};

/// The host has marked the connection as unhealthy.
const MARKED: u32 = 1;
/// The name is known only from recorded messages and is not connected.
const ONLY_RECORDED: u32 = 2;
/// Bit position in the flags of the [`FailingCell`], in which the client's failures are counted.
const FAILING_CELL: u32 = 3;
const CELL_MASK: u32 = (1 << CELL_BITS) - 1;
/// Bit positions in the flags of the epoch of the worker's part and of the epoch of the port's part. Each has
/// ten bits.
const WORKER_EPOCH: u32 = 12;
const PORT_EPOCH: u32 = 22;
pub(super) const EPOCH_MASK: u32 = 0x3ff;
/// Epoch of a part that belongs to no epoch whose number can recur. The part reads as 0, and its next writer
/// restarts it.
const LONG_AGO: u32 = 0;
/// Number of epochs that the flags distinguish: the largest power of two below their number of values, because every
/// message of a client computes the remainder.
const EPOCHS: u64 = 1 << 9;
/// Number of resets after which parts of earlier epochs are marked, before their numbers recur.
pub(super) const MARK_EACH: u64 = EPOCHS / 2;

const _: () = assert!(EPOCHS.is_power_of_two() && EPOCHS <= EPOCH_MASK as u64);
const _: () = assert!(FAILING_CELL + CELL_BITS <= WORKER_EPOCH);

/// An epoch as it is stored in the flags. Never `LONG_AGO`.
#[inline]
pub(super) fn short(epoch: u64) -> u32 {
    (1 + epoch % EPOCHS) as u32
}

/// What one message adds to the figures of its client.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ClientMessage {
    /// Epoch as the recording thread last read it.
    pub(crate) epoch: u64,
    pub(crate) failed: bool,
    pub(crate) bytes: u64,
    /// Waiting time plus handling time, in nanoseconds.
    pub(crate) nanoseconds: u64,
    /// When the message ended, in raw ticks.
    pub(crate) ended: u64,
}

#[derive(Debug)]
#[repr(align(64))]
pub(crate) struct ClientLine {
    messages: AtomicU64,
    errors: AtomicU32,
    flags: AtomicU32,
    bytes_in: AtomicU64,
    nanoseconds: AtomicU64,
    maximum: AtomicU64,
    last: AtomicU64,
    bytes_out: AtomicU64,
    connected_at: AtomicU64,
}

// Relaxed throughout: the values are independent and publish nothing. The ring with the client's first record
// publishes to the worker what `open` stores.
impl ClientLine {
    pub(super) fn new() -> Self {
        let word = || AtomicU64::new(0);
        Self {
            messages: word(),
            errors: AtomicU32::new(0),
            flags: AtomicU32::new(0),
            bytes_in: word(),
            nanoseconds: word(),
            maximum: word(),
            last: word(),
            bytes_out: word(),
            connected_at: word(),
        }
    }

    /// Starts the line of a client that connects. The figures continue from `counts`.
    pub(super) fn open(
        &self,
        now: u64,
        epoch: u64,
        only_recorded: bool,
        counts: &ClientCounts,
        failing: FailingCell,
    ) {
        self.messages.store(counts.messages, Relaxed);
        self.bytes_in.store(counts.bytes_in, Relaxed);
        self.nanoseconds.store(counts.nanoseconds, Relaxed);
        self.maximum.store(counts.maximum, Relaxed);
        self.bytes_out.store(counts.bytes_out, Relaxed);
        self.errors.store(u32::try_from(counts.errors).unwrap_or(u32::MAX), Relaxed);
        let epoch = short(epoch);
        let only_recorded = if only_recorded { ONLY_RECORDED } else { 0 };
        let failing = u32::from(failing.0) << FAILING_CELL;
        self.flags.store(epoch << WORKER_EPOCH | epoch << PORT_EPOCH | failing | only_recorded, Relaxed);
        self.last.store(now, Relaxed);
        // The time of a connection is its own, also where it continues another one's counts.
        self.connected_at.store(now, Relaxed);
    }

    /// The cell in which the client's failures are counted.
    #[inline]
    pub(super) fn failing_cell(&self) -> FailingCell {
        FailingCell((self.flags.load(Relaxed) >> FAILING_CELL & CELL_MASK) as u16)
    }

    /// Counts a message that the client sent. Called by the only writer of the line.
    #[inline]
    pub(crate) fn count(&self, message: ClientMessage) {
        self.follow(WORKER_EPOCH, message.epoch, || self.restart());
        let add = |word: &AtomicU64, value| word.store(own_load(word) + value, Relaxed);
        add(&self.messages, 1);
        add(&self.bytes_in, message.bytes);
        add(&self.nanoseconds, message.nanoseconds);
        if message.nanoseconds > own_load(&self.maximum) {
            self.maximum.store(message.nanoseconds, Relaxed);
        }
        self.last.store(message.ended, Relaxed);
        if message.failed {
            self.fail();
        }
    }

    /// Like [`count`](Self::count), for a line with several writers; all of them must use this function.
    pub(crate) fn count_shared(&self, message: ClientMessage) {
        self.follow(WORKER_EPOCH, message.epoch, || self.restart());
        self.messages.fetch_add(1, Relaxed);
        self.bytes_in.fetch_add(message.bytes, Relaxed);
        self.nanoseconds.fetch_add(message.nanoseconds, Relaxed);
        // Load first: most messages raise neither, and a read-modify-write is expensive.
        let raise = |word: &AtomicU64, value| {
            if value > word.load(Relaxed) {
                word.fetch_max(value, Relaxed);
            }
        };
        raise(&self.maximum, message.nanoseconds);
        raise(&self.last, message.ended);
        if message.failed {
            self.fail();
        }
    }

    /// Notes that the client has sent a message that has no outcome yet.
    pub(crate) fn touch(&self, now: u64) {
        self.last.fetch_max(now, Relaxed);
    }

    /// When the client's last message was handled, in raw ticks.
    pub(crate) fn last(&self) -> u64 {
        self.last.load(Relaxed)
    }

    /// Counts a failed message of the client.
    #[inline]
    fn fail(&self) {
        self.errors.fetch_add(1, Relaxed);
    }

    /// Calls `restart` if a part of the line belongs to an earlier epoch.
    #[inline]
    fn follow(&self, shift: u32, epoch: u64, restart: impl FnOnce()) {
        let (flags, epoch) = (self.flags.load(Relaxed), short(epoch));
        if flags >> shift & EPOCH_MASK == epoch {
            return;
        }
        let updated = |flags| Some(flags & !(EPOCH_MASK << shift) | epoch << shift);
        // Restart the part before storing its new epoch: a reader that finds the new epoch must not read
        // values of the old one.
        restart();
        let _ = self.flags.fetch_update(Relaxed, Relaxed, updated); // Never fails: the closure always returns `Some`.
    }

    /// Marks parts of epochs before this one, so that they do not count as current when their number recurs.
    /// A writer that is one batch behind restarts its part once more.
    pub(super) fn mark_earlier(&self, epoch: u64) {
        for shift in [WORKER_EPOCH, PORT_EPOCH] {
            let marked = |flags: u32| {
                let is_earlier = flags >> shift & EPOCH_MASK != short(epoch);
                is_earlier.then_some(flags & !(EPOCH_MASK << shift) | LONG_AGO << shift)
            };
            let _ = self.flags.fetch_update(Relaxed, Relaxed, marked); // Fails if the part is of this epoch.
        }
    }

    #[cold]
    fn restart(&self) {
        for word in [&self.messages, &self.bytes_in, &self.nanoseconds, &self.maximum] {
            word.store(0, Relaxed);
        }
        self.errors.store(0, Relaxed);
    }

    /// Counts bytes written to the client. Called by the client's port.
    #[inline]
    pub(crate) fn sent(&self, epoch: u64, bytes: u64) {
        self.follow(PORT_EPOCH, epoch, || self.bytes_out.store(0, Relaxed));
        self.bytes_out.store(own_load(&self.bytes_out) + bytes, Relaxed);
    }

    /// Counts bytes written to the client. Any thread may call this.
    pub(crate) fn sent_shared(&self, epoch: u64, bytes: u64) {
        self.follow(PORT_EPOCH, epoch, || self.bytes_out.store(0, Relaxed));
        self.bytes_out.fetch_add(bytes, Relaxed);
    }

    pub(crate) fn mark(&self, unhealthy: bool) {
        if unhealthy {
            self.flags.fetch_or(MARKED, Relaxed);
        } else {
            self.flags.fetch_and(!MARKED, Relaxed);
        }
    }

    pub(super) fn is_only_recorded(&self) -> bool {
        self.flags.load(Relaxed) & ONLY_RECORDED != 0
    }

    /// Connects a name that was only recorded.
    pub(super) fn connect(&self, now: u64) {
        // Store this before the flag: the connection has not been silent for as long as its name.
        self.last.fetch_max(now, Relaxed);
        self.connected_at.store(now, Relaxed);
        self.flags.fetch_and(!ONLY_RECORDED, Relaxed);
    }

    pub(super) fn connected_at(&self) -> u64 {
        self.connected_at.load(Relaxed)
    }

    /// The line's figures since the reset that began `epoch`, or since the connect if that was later.
    pub(super) fn read(&self, epoch: u64) -> ClientCounts {
        let flags = self.flags.load(Relaxed);
        let epoch = short(epoch);
        let part = |shift: u32, value: u64| if flags >> shift & EPOCH_MASK == epoch { value } else { 0 };
        let counted = |word: &AtomicU64| part(WORKER_EPOCH, word.load(Relaxed));
        let messages = counted(&self.messages);
        ClientCounts {
            messages,
            // Load the errors after the messages and limit them: a message that fails meanwhile is in the
            // errors but not in the messages.
            errors: part(WORKER_EPOCH, self.errors.load(Relaxed).into()).min(messages),
            bytes_in: counted(&self.bytes_in),
            bytes_out: part(PORT_EPOCH, self.bytes_out.load(Relaxed)),
            undelivered: 0, // Not on the line: see `Clients::own_counts`.
            nanoseconds: counted(&self.nanoseconds),
            maximum: counted(&self.maximum),
            last: self.last.load(Relaxed),
            connected_at: self.connected_at.load(Relaxed),
            marked: flags & MARKED != 0,
            is_connected: flags & ONLY_RECORDED == 0,
        }
    }
}

/// The figures of a client whose place another client takes, for example another socket of the same peer.
/// [`Event::Closed`](crate::router::Event::Closed) provides them, and
/// [`ConnectOptions::figures`](crate::router::ConnectOptions::figures) of the same router accepts them. A reset in
/// between restarts the counts. A message that ends after the event, such as a held one, is not among them. Empty by
/// default and while `detailed_stats` is off.
///
/// ```
/// use corelane::{config::Config, monitor::Monitor, router::{Builder, ConnectOptions, Event}};
/// use std::time::Duration;
///
/// let mut config = Config::default();
/// config.router.workers = Some(1);
/// let router = Builder::new(config).start()?;
/// let monitor = Monitor::of(&router.source());
/// let mut port = router.port()?;
/// let first = port.connect("ann", "peerjs", "", 1)?;
/// port.submit(first, br#"{"type":"HEARTBEAT"}"#, 0)?;
/// port.publish();
/// // Another socket of the same peer connects.
/// port.disconnect(first)?;
/// let mut kept = None;
/// while kept.is_none() {
///     port.wait(Duration::from_millis(100));
///     port.poll_each(64, |event| if let Event::Closed { figures, .. } = event { kept = Some(figures) })?;
/// }
/// port.connect_with("ann", ConnectOptions::new("peerjs", "", 2).figures(kept.unwrap_or_default()))?;
/// let clients = monitor.snapshot().clients.expect("detailed_stats is on");
/// assert_eq!(clients.by_messages[0].messages, 1);
/// # Ok::<(), corelane::error::Error>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KeptFigures {
    /// Epoch of the counts.
    epoch: u64,
    counts: ClientCounts,
    /// Where the client's failures are counted. A reset does not change it.
    failing: Option<FailingCell>,
}

impl Default for KeptFigures {
    fn default() -> Self {
        Self::NONE
    }
}

impl KeptFigures {
    /// Figures of no client.
    pub(crate) const NONE: Self = Self { epoch: 0, counts: ClientCounts::NONE, failing: None };

    /// The counts, if they are of this epoch, and the cell of failures, for a client that continues them.
    pub(super) fn continued(&self, client: ClientId, epoch: u64) -> (ClientCounts, FailingCell) {
        let counts = if self.epoch == epoch { self.counts } else { ClientCounts::NONE };
        (counts, self.failing.unwrap_or(FailingCell::of(client.0)))
    }

    /// What the next client continues.
    pub(super) fn of(epoch: u64, counts: ClientCounts, failing: FailingCell) -> Self {
        Self { epoch, counts, failing: Some(failing) }
    }
}

/// Figures of a client since its connect, as one read found them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ClientCounts {
    pub(crate) messages: u64,
    pub(crate) errors: u64,
    pub(crate) bytes_in: u64,
    pub(crate) bytes_out: u64,
    /// Deliveries to the client that were given up.
    pub(crate) undelivered: u64,
    pub(crate) nanoseconds: u64,
    pub(crate) maximum: u64,
    /// When the last message was handled, in raw ticks.
    pub(crate) last: u64,
    /// When the client connected, in raw ticks.
    pub(crate) connected_at: u64,
    /// The host has marked the client as unhealthy.
    pub(crate) marked: bool,
    pub(crate) is_connected: bool,
}

impl ClientCounts {
    const NONE: Self = Self {
        messages: 0,
        errors: 0,
        bytes_in: 0,
        bytes_out: 0,
        undelivered: 0,
        nanoseconds: 0,
        maximum: 0,
        last: 0,
        connected_at: 0,
        marked: false,
        is_connected: false,
    };
}

/// One client as the monitor reads it.
#[derive(Debug)]
pub(crate) struct ClientView<'a> {
    pub(crate) id: ClientId,
    pub(crate) name: &'a str,
    pub(crate) application: u16,
    pub(crate) protocol: u16,
    pub(crate) counts: ClientCounts,
    pub(crate) outstanding: Outstanding,
}

/// Connections of one application.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct ApplicationConnections {
    pub(crate) total: u64,
    pub(crate) active: u64,
    /// Time of the last connect or disconnect, in raw ticks.
    pub(crate) last: u64,
}

/// Counters that connects and disconnects change.
#[derive(Debug)]
pub(super) struct ConnectionCells {
    pub(super) connected: u64,
    pub(super) disconnected: u64,
    pub(super) peak: u64,
    pub(super) reconnects: u64,
    pub(super) applications: Box<[ApplicationConnections]>,
    /// Durations of ended connections, in milliseconds.
    pub(super) lived: Histogram,
    pub(super) writer: Writer,
}

/// Figures of connections, as one read found them.
#[derive(Clone, Debug, Default)]
pub(crate) struct ConnectionReading {
    pub(crate) total: u64,
    pub(crate) active: u64,
    pub(crate) peak: u64,
    pub(crate) disconnected: u64,
    pub(crate) reconnects: u64,
    pub(crate) applications: Vec<ApplicationConnections>,
    /// Durations of ended connections, in milliseconds. The extremes are not settled.
    pub(crate) lived: Distribution,
}

impl ConnectionCells {
    pub(super) fn new(applications: usize) -> Self {
        Self {
            connected: 0,
            disconnected: 0,
            peak: 0,
            reconnects: 0,
            applications: vec![ApplicationConnections::default(); applications].into(),
            lived: Histogram::new(),
            writer: Writer::new(),
        }
    }

    /// Bytes, for the budget.
    pub(super) const fn bytes(applications: usize) -> u64 {
        (size_of::<Self>() + Histogram::CELL_BYTES + applications * size_of::<ApplicationConnections>())
            as u64
    }

    pub(super) fn connect(&mut self, application: u16, now: u64) {
        self.connected += 1;
        self.peak = self.peak.max(self.active());
        if let Some(one) = self.applications.get_mut(usize::from(application)) {
            (one.total, one.active, one.last) = (one.total + 1, one.active + 1, now);
        }
    }

    /// Counts the end of a connection. `lived` is its duration in milliseconds, if known.
    pub(super) fn disconnect(&mut self, application: u16, now: u64, lived: Option<u64>) {
        self.disconnected += 1;
        if let Some(one) = self.applications.get_mut(usize::from(application)) {
            (one.active, one.last) = (one.active.saturating_sub(1), now);
        }
        if let Some(milliseconds) = lived {
            self.lived.record(&mut self.writer, milliseconds);
        }
    }

    pub(super) fn active(&self) -> u64 {
        self.connected - self.disconnected
    }

    pub(super) fn read(&self) -> ConnectionReading {
        ConnectionReading {
            total: self.connected,
            active: self.active(),
            peak: self.peak,
            disconnected: self.disconnected,
            reconnects: self.reconnects,
            applications: self.applications.to_vec(),
            lived: Distribution::unsettled(self.writer.controlled.epoch, [&self.lived]),
        }
    }
}
