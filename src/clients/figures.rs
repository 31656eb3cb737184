//! Figures of each client and of connections. A client's lie on one cache line beside its slot, there only with
//! `detailed_stats`; those of connections change as clients come and go, under the lock that covers it.
//!
//! | field of a line | written by |
//! |---|---|
//! | `bytes_out` | the client's port, as the host acknowledges |
//! | `flags` | whoever marks the client, and at a reset whoever writes the others, by read-modify-write |
//! | `connected_at`, and all at 0 | connect, while the slot is quiet |
//! | the others | the client's worker; several threads, by read-modify-write, where there is no one worker |
//!
//! A reset starts no counter of somebody else's anew: `flags` say of which epoch a line's two parts are, and their writers
//! restart them with the first message after it. (Of several that are first at once, some may be lost.)

use crate::metrics::{Distribution, Histogram, Writer};
use crate::sync::{AtomicU32, AtomicU64, Relaxed, own_load};

/// The host says that something is wrong with the connection.
const MARKED: u32 = 1;
/// The name is known from what was recorded of it; it is not connected.
const ONLY_RECORDED: u32 = 2;
/// Where in the flags the epoch of what the worker counts lies, and that of what the port does: twelve bits each.
const WORKER_EPOCH: u32 = 8;
const PORT_EPOCH: u32 = 20;
const EPOCH_MASK: u32 = 0xfff;
/// The epoch of a part that is of none that could come again: it reads as 0, and its next writer restarts it.
const LONG_AGO: u32 = 0;
/// How many epochs the flags tell apart.
const EPOCHS: u64 = EPOCH_MASK as u64;
/// After so many resets parts of earlier ones are marked, before their numbers come again.
pub(super) const MARK_EACH: u64 = 1024;

/// An epoch as the flags have it; never `LONG_AGO`.
#[inline]
fn short(epoch: u64) -> u32 {
    (1 + epoch % EPOCHS) as u32
}

/// What one message adds to its client's figures.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ClientMessage {
    /// As its thread last looked.
    pub(crate) epoch: u64,
    pub(crate) failed: bool,
    pub(crate) bytes: u64,
    /// Waiting and handling together, in nanoseconds.
    pub(crate) nanoseconds: u64,
    /// In raw ticks.
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

// Relaxed throughout: readings by themselves, which publish nothing. What `open` stores comes to the worker with the
// client's first record.
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

    /// For a client that connects. It goes on with `kept`, of the epoch in which that was read.
    pub(super) fn open(&self, now: u64, epoch: u64, only_recorded: bool, kept: &KeptFigures) {
        let counts = if kept.epoch == epoch { kept.counts } else { ClientCounts::NONE };
        self.messages.store(counts.messages, Relaxed);
        self.bytes_in.store(counts.bytes_in, Relaxed);
        self.nanoseconds.store(counts.nanoseconds, Relaxed);
        self.maximum.store(counts.maximum, Relaxed);
        self.bytes_out.store(counts.bytes_out, Relaxed);
        self.errors.store(u32::try_from(counts.errors).unwrap_or(u32::MAX), Relaxed);
        let epoch = short(epoch);
        let only_recorded = if only_recorded { ONLY_RECORDED } else { 0 };
        self.flags.store(epoch << WORKER_EPOCH | epoch << PORT_EPOCH | only_recorded, Relaxed);
        self.last.store(now, Relaxed);
        // 0: it goes on with nothing.
        let connected_at = if kept.counts.connected_at > 0 { kept.counts.connected_at } else { now };
        self.connected_at.store(connected_at, Relaxed);
    }

    /// What the client that takes its place goes on with. Before its slot is given back.
    pub(super) fn keep(&self, epoch: u64) -> KeptFigures {
        KeptFigures { epoch, counts: self.read(epoch) }
    }

    /// Counts a message that the client sent. By its only writer.
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

    /// As [`count`](Self::count), by one of several writers, all of which use this.
    pub(crate) fn count_shared(&self, message: ClientMessage) {
        self.follow(WORKER_EPOCH, message.epoch, || self.restart());
        self.messages.fetch_add(1, Relaxed);
        self.bytes_in.fetch_add(message.bytes, Relaxed);
        self.nanoseconds.fetch_add(message.nanoseconds, Relaxed);
        self.maximum.fetch_max(message.nanoseconds, Relaxed);
        self.last.fetch_max(message.ended, Relaxed);
        if message.failed {
            self.fail();
        }
    }

    /// It has sent something that has not ended.
    pub(crate) fn touch(&self, now: u64) {
        self.last.fetch_max(now, Relaxed);
    }

    /// When its last message was handled, in raw ticks.
    pub(crate) fn last(&self) -> u64 {
        self.last.load(Relaxed)
    }

    /// A message of the client has failed.
    #[inline]
    fn fail(&self) {
        self.errors.fetch_add(1, Relaxed);
    }

    /// What a part of the line holds is of an earlier epoch: `restart`s it.
    #[inline]
    fn follow(&self, shift: u32, epoch: u64, restart: impl FnOnce()) {
        let (flags, epoch) = (self.flags.load(Relaxed), short(epoch));
        if flags >> shift & EPOCH_MASK == epoch {
            return;
        }
        let updated = |flags| Some(flags & !(EPOCH_MASK << shift) | epoch << shift);
        // Restarted before it says so: what a reader takes for the new epoch's is not the old one's.
        restart();
        let _ = self.flags.fetch_update(Relaxed, Relaxed, updated); // Never refused: the closure gives Some.
    }

    /// Marks parts that are of an epoch before this one, so that they are of none when its number comes again. Their writers
    /// may be a batch behind: then they restart their part once more.
    pub(super) fn mark_earlier(&self, epoch: u64) {
        for shift in [WORKER_EPOCH, PORT_EPOCH] {
            let marked = |flags: u32| {
                let is_earlier = flags >> shift & EPOCH_MASK != short(epoch);
                is_earlier.then_some(flags & !(EPOCH_MASK << shift) | LONG_AGO << shift)
            };
            let _ = self.flags.fetch_update(Relaxed, Relaxed, marked); // Refused: it is of this one.
        }
    }

    #[cold]
    fn restart(&self) {
        for word in [&self.messages, &self.bytes_in, &self.nanoseconds, &self.maximum] {
            word.store(0, Relaxed);
        }
        self.errors.store(0, Relaxed);
    }

    /// So much has been written to the client. By its port.
    #[inline]
    pub(crate) fn sent(&self, epoch: u64, bytes: u64) {
        self.follow(PORT_EPOCH, epoch, || self.bytes_out.store(0, Relaxed));
        self.bytes_out.store(own_load(&self.bytes_out) + bytes, Relaxed);
    }

    /// So much has been written to the client, as any thread reports.
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

    /// A name that was only recorded connects.
    pub(super) fn connect(&self, now: u64) {
        // Before it counts as connected: a connection is not as silent as its name was.
        self.last.fetch_max(now, Relaxed);
        self.connected_at.store(now, Relaxed);
        self.flags.fetch_and(!ONLY_RECORDED, Relaxed);
    }

    pub(super) fn connected_at(&self) -> u64 {
        self.connected_at.load(Relaxed)
    }

    /// The figures since the reset that began `epoch`, or since the connect if that was later.
    pub(super) fn read(&self, epoch: u64) -> ClientCounts {
        let flags = self.flags.load(Relaxed);
        let epoch = short(epoch);
        let part = |shift: u32, value: u64| if flags >> shift & EPOCH_MASK == epoch { value } else { 0 };
        let counted = |word: &AtomicU64| part(WORKER_EPOCH, word.load(Relaxed));
        let messages = counted(&self.messages);
        ClientCounts {
            messages,
            // Behind the messages: one that fails meanwhile is among the errors, and not yet among those.
            errors: part(WORKER_EPOCH, self.errors.load(Relaxed).into()).min(messages),
            bytes_in: counted(&self.bytes_in),
            bytes_out: part(PORT_EPOCH, self.bytes_out.load(Relaxed)),
            nanoseconds: counted(&self.nanoseconds),
            maximum: counted(&self.maximum),
            last: self.last.load(Relaxed),
            connected_at: self.connected_at.load(Relaxed),
            marked: flags & MARKED != 0,
            is_connected: flags & ONLY_RECORDED == 0,
        }
    }
}

/// What a client was counted with, for the client that takes its place (another socket of the same peer, say):
/// [`Event::Closed`](crate::router::Event::Closed) has it, [`ConnectOptions::figures`](crate::router::ConnectOptions::figures)
/// takes it. A reset in between starts the counts anew, and not the time since when it is connected. Empty by default, and
/// while `detailed_stats` is off.
///
/// ```
/// use corelane::{config::Config, monitor::Monitor, router::{Builder, ConnectOptions, Event}};
/// use std::time::Duration;
///
/// let router = Builder::new(Config::default().with_workers(1)?).start()?;
/// let monitor = Monitor::of(&router.source());
/// let mut port = router.port()?;
/// let first = port.connect("ann", "peerjs", "", 1)?;
/// port.submit(first, br#"{"type":"HEARTBEAT"}"#, 0)?;
/// port.publish();
/// // Another socket of ann's comes.
/// port.disconnect(first)?;
/// let mut kept = None;
/// while kept.is_none() {
///     port.wait(Duration::from_millis(100));
///     port.poll(64, |event| if let Event::Closed { figures, .. } = event { kept = Some(*figures) })?;
/// }
/// port.connect_with("ann", ConnectOptions::new("peerjs", "", 2).figures(kept.unwrap_or_default()))?;
/// let clients = monitor.snapshot().clients.expect("detailed_stats is on");
/// assert_eq!(clients.by_messages[0].messages, 1);
/// # Ok::<(), corelane::error::Error>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KeptFigures {
    /// The one that they are of.
    epoch: u64,
    counts: ClientCounts,
}

impl Default for KeptFigures {
    fn default() -> Self {
        Self::NONE
    }
}

impl KeptFigures {
    /// Those of nobody.
    pub(crate) const NONE: Self = Self { epoch: 0, counts: ClientCounts::NONE };
}

/// A client's figures since its connect, as read once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ClientCounts {
    pub(crate) messages: u64,
    pub(crate) errors: u64,
    pub(crate) bytes_in: u64,
    pub(crate) bytes_out: u64,
    pub(crate) nanoseconds: u64,
    pub(crate) maximum: u64,
    /// In raw ticks.
    pub(crate) last: u64,
    /// In raw ticks.
    pub(crate) connected_at: u64,
    /// The host says that it is unhealthy.
    pub(crate) marked: bool,
    pub(crate) is_connected: bool,
}

impl ClientCounts {
    const NONE: Self = Self {
        messages: 0,
        errors: 0,
        bytes_in: 0,
        bytes_out: 0,
        nanoseconds: 0,
        maximum: 0,
        last: 0,
        connected_at: 0,
        marked: false,
        is_connected: false,
    };
}

/// One client as the monitor sees it.
#[derive(Debug)]
pub(crate) struct ClientView<'a> {
    pub(crate) id: super::ClientId,
    pub(crate) name: &'a str,
    pub(crate) application: u16,
    pub(crate) protocol: u16,
    pub(crate) counts: ClientCounts,
    /// Messages and bytes that hold credit.
    pub(crate) outstanding: (u32, u32),
}

/// One application's connections.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct ApplicationConnections {
    pub(crate) total: u64,
    pub(crate) active: u64,
    /// The last connect or disconnect, in raw ticks.
    pub(crate) last: u64,
}

/// What is counted as clients come and go.
#[derive(Debug)]
pub(super) struct ConnectionCells {
    pub(super) connected: u64,
    pub(super) disconnected: u64,
    pub(super) peak: u64,
    pub(super) reconnects: u64,
    pub(super) applications: Box<[ApplicationConnections]>,
    /// In milliseconds.
    pub(super) lived: Histogram,
    pub(super) writer: Writer,
}

/// Connections, as read once.
#[derive(Clone, Debug, Default)]
pub(crate) struct ConnectionReading {
    pub(crate) total: u64,
    pub(crate) active: u64,
    pub(crate) peak: u64,
    pub(crate) disconnected: u64,
    pub(crate) reconnects: u64,
    pub(crate) applications: Vec<ApplicationConnections>,
    /// How long those that have ended had lasted, in milliseconds; unsettled.
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

    /// A connection ends that has lasted for so many milliseconds, if that is known.
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
