//! Where reports go: series by type, protocol and application, the clients that hosts name, and the controls that
//! recording threads follow.

use super::table::SeriesTable;
use crate::clients::{
    ClientId, ClientLimits, ClientMessage, Clients, CreditPolicy, KeptFigures, MAX_NAME_BYTES, NameHash,
    NewClient,
};
use crate::clock::Clock;
use crate::config::{Config, Key};
use crate::error::{Error, Failed};
use crate::metrics::{
    ApplicationId, Controlled, Controls, Customs, Failing, GroupSeries, IMPOSSIBLE, Outcome, ProtocolId,
    SHARED, SlowMessage, SlowRing, Timing, TypeId, TypeSeries, Writer, shard_of_thread,
};
use crate::sync::{Arc, AtomicBool, AtomicU64, Mutex, Relaxed, lock};

/// Protocols that reports may name beside `other`.
const PROTOCOLS: usize = 16;

/// One message that a host has processed itself.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RecordedMessage<'a> {
    /// Who sent it; empty for nobody in particular. Need not be connected.
    pub client: &'a str,
    /// Its type; empty counts as `other`.
    pub message_type: &'a str,
    /// Its protocol; may be empty.
    pub protocol: &'a str,
    /// The application of its client; may be empty.
    pub application: &'a str,
    /// What became of it.
    pub measured: Measured,
}

/// What is measured of one message.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Measured {
    /// Whether it failed.
    pub failed: bool,
    /// Its size.
    pub bytes: u64,
    /// How long it waited before it was processed. A message with a time of 2^62 nanoseconds or more is refused, and counted:
    /// it was a negative difference.
    pub queue_wait_nanoseconds: u64,
    /// How long it was processed.
    pub processing_nanoseconds: u64,
}

/// A type, a protocol and an application, looked up once: recording under them hashes nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Labels {
    message_type: u16,
    protocol: u16,
    application: u16,
}

impl Labels {
    fn ids(self) -> (TypeId, ProtocolId, ApplicationId) {
        (TypeId(self.message_type), ProtocolId(self.protocol), ApplicationId(self.application))
    }
}

/// How much a hub may hold.
#[derive(Clone, Copy, Debug)]
pub(crate) struct HubSizes {
    types: usize,
    applications: usize,
    recorders: usize,
    customs: usize,
    /// `enable_metrics`.
    enabled: bool,
    clients: ClientLimits,
}

impl HubSizes {
    pub(crate) fn of(config: &Config) -> Self {
        let applications = config.count(Key::MaxApplications);
        let clients = config.get(Key::MaxRecordedClients) as u32;
        Self {
            types: config.count(Key::MaxRecordedTypes),
            applications,
            recorders: config.count(Key::MaxRecorders),
            customs: config.count(Key::MaxCustomSeries),
            enabled: config.has_metrics(),
            clients: ClientLimits { clients, applications: applications + 1, figures: config.has_details() },
        }
    }

    /// Bytes that the host's own metrics may come to, for the budget.
    pub(crate) fn custom_bytes(self) -> u64 {
        Customs::bytes(self.customs)
    }

    /// Bytes that the rest of a hub may come to, for the budget.
    pub(crate) fn bytes(self) -> u64 {
        let shards = SHARED + self.recorders;
        SeriesTable::<TypeSeries>::bytes(self.types, shards)
            + SeriesTable::<GroupSeries>::bytes(self.applications, shards)
            + SeriesTable::<GroupSeries>::bytes(PROTOCOLS, shards)
            + Clients::bytes(self.clients)
            + (shards * (size_of::<HubShard>() + SlowRing::BYTES + Failing::BYTES) + size_of::<Hub>()) as u64
    }
}

/// One recording thread's, or what threads share.
#[derive(Debug)]
struct HubShard {
    slow: SlowRing,
    failing: Failing,
    /// The right to write it; taken by a recorder, or by who writes the shared ring.
    writer: Mutex<Option<Writer>>,
}

#[derive(Debug)]
pub(crate) struct Hub {
    pub(crate) types: SeriesTable<TypeSeries>,
    pub(crate) protocols: SeriesTable<GroupSeries>,
    pub(crate) applications: SeriesTable<GroupSeries>,
    pub(crate) clients: Clients,
    pub(crate) controls: Arc<Controls>,
    shards: Box<[HubShard]>,
    /// One connects or disconnects at a time: a slot's phase has one writer.
    doorway: Mutex<()>,
    clients_folded: AtomicU64,
    impossible: AtomicU64,
    /// No client has found a place since the last one became free: further names are not tried, which would take the
    /// doorway for each of their messages. Written by who has that.
    is_full: AtomicBool,
    /// Off: nothing is recorded.
    enabled: bool,
    /// Bytes that the host has written to its clients.
    bytes_sent: AtomicU64,
    /// The host's own metrics.
    pub(crate) customs: Customs,
    clock: Clock,
}

impl Hub {
    pub(crate) fn new(sizes: HubSizes, controls: Arc<Controls>, name_keys: [u64; 2], clock: Clock) -> Self {
        let shards = SHARED + sizes.recorders;
        let shard = |_| HubShard {
            slow: SlowRing::new(),
            failing: Failing::new(),
            writer: Mutex::new(Some(Writer::new())),
        };
        Self {
            types: SeriesTable::new(sizes.types, shards),
            protocols: SeriesTable::new(PROTOCOLS, shards),
            applications: SeriesTable::new(sizes.applications, shards),
            clients: Clients::new(sizes.clients, name_keys, clock.clone()),
            controls,
            shards: (0..shards).map(shard).collect(),
            doorway: Mutex::new(()),
            clients_folded: AtomicU64::new(0),
            impossible: AtomicU64::new(0),
            is_full: AtomicBool::new(false),
            enabled: sizes.enabled,
            bytes_sent: AtomicU64::new(0),
            customs: Customs::new(sizes.customs),
            clock,
        }
    }

    /// Makes every series now and takes all pages from the system.
    pub(crate) fn touch(&mut self) -> std::io::Result<()> {
        self.types.touch()?;
        self.protocols.touch()?;
        self.applications.touch()?;
        self.clients.touch()
    }

    pub(crate) fn labels(&self, protocol: &str, message_type: &str, application: &str) -> Labels {
        Labels {
            message_type: self.types.place(protocol, message_type) as u16,
            protocol: self.protocols.place("", protocol) as u16,
            application: self.applications.place("", application) as u16,
        }
    }

    /// Counts one message, from any thread.
    pub(crate) fn record(&self, message: &RecordedMessage<'_>) {
        if !self.enabled || !self.is_possible(message.measured) {
            return;
        }
        let labels = self.labels(message.protocol, message.message_type, message.application);
        let client = self.recorded_client(message.client, labels);
        self.record_named(labels, client, message.client, message.measured);
    }

    /// As [`record`](Self::record), with what was looked up before.
    pub(crate) fn record_shared(&self, labels: Labels, client: Option<ClientId>, measured: Measured) {
        if self.enabled && self.is_possible(measured) {
            self.record_named(labels, client, "", measured);
        }
    }

    /// `name` is the client's where it may have no figures.
    fn record_named(&self, labels: Labels, client: Option<ClientId>, name: &str, measured: Measured) {
        let place = shard_of_thread();
        let controlled = self.controls.now();
        let timing = self.timing(measured);
        let is_slow = timing.total() > controlled.slow;
        let Labels { message_type, protocol, application } = labels;
        if let Some(series) = self.types.series(message_type.into(), place) {
            series.record_shared(controlled.epoch, measured.bytes, timing, is_slow);
            // Behind the rest: see `count_outcome_shared`.
            series.count_outcome_shared(outcome(measured));
        }
        let protocol = self.protocols.series(protocol.into(), place);
        let application = self.applications.series(application.into(), place);
        for series in [protocol, application].into_iter().flatten() {
            series.record_shared(controlled.epoch, measured.bytes, timing, is_slow, !measured.failed);
        }
        self.count_client(client, controlled, measured, timing);
        if measured.failed
            && let Some(shard) = self.shards.get(place)
        {
            shard.failing.note_shared(self.number_of(client, name), timing.ended);
        }
        if is_slow && let Some(shard) = self.shards.get(place) {
            let message = self.slow_message(labels, client, name, measured, timing);
            if let Some(writer) = &mut *lock(&shard.writer) {
                shard.slow.write(writer, message.words());
            }
        }
    }

    /// Counts one message in a shard that only the caller writes.
    pub(super) fn record_alone(
        &self,
        place: usize,
        writer: &mut Writer,
        labels: Labels,
        client: Option<ClientId>,
        measured: Measured,
    ) {
        if !self.enabled || !self.is_possible(measured) {
            return;
        }
        writer.controlled = self.controls.now();
        let timing = self.timing(measured);
        let is_slow = timing.total() > writer.controlled.slow;
        let Labels { message_type, protocol, application } = labels;
        if let Some(series) = self.types.series(message_type.into(), place) {
            series.record(writer, measured.bytes, timing, is_slow);
            series.count_outcome(writer, outcome(measured));
        }
        let protocol = self.protocols.series(protocol.into(), place);
        let application = self.applications.series(application.into(), place);
        for series in [protocol, application].into_iter().flatten() {
            series.record(writer, measured.bytes, timing, is_slow);
            series.count_outcome(writer, !measured.failed);
        }
        self.count_client(client, writer.controlled, measured, timing);
        if measured.failed
            && let Some(shard) = self.shards.get(place)
        {
            shard.failing.note(writer, client.unwrap_or(ClientId(0)), timing.ended);
        }
        if is_slow && let Some(shard) = self.shards.get(place) {
            shard.slow.write(writer, self.slow_message(labels, client, "", measured, timing).words());
        }
    }

    /// Which client has failed: by its name where it has no number, and nobody in particular is one.
    fn number_of(&self, client: Option<ClientId>, name: &str) -> u64 {
        match client {
            Some(client) => client.0,
            None if name.is_empty() => 0,
            None => self.hash(name).0,
        }
    }

    /// Whether its durations can be: one that is beyond all times was negative before it came here. If not, it is counted.
    #[inline]
    fn is_possible(&self, measured: Measured) -> bool {
        let is_possible = (measured.queue_wait_nanoseconds | measured.processing_nanoseconds) < IMPOSSIBLE;
        if !is_possible {
            self.impossible.fetch_add(1, Relaxed); // Relaxed: a count by itself.
        }
        is_possible
    }

    /// Messages that were refused since a duration of theirs cannot be.
    pub(crate) fn impossible(&self) -> u64 {
        self.impossible.load(Relaxed) // Relaxed: a count by itself.
    }

    fn timing(&self, measured: Measured) -> Timing {
        Timing {
            queue_wait: measured.queue_wait_nanoseconds,
            service: measured.processing_nanoseconds,
            held: None,
            ended: self.clock.raw(),
        }
    }

    fn count_client(&self, client: Option<ClientId>, now: Controlled, measured: Measured, timing: Timing) {
        let Some(client) = client.filter(|_| now.detailed) else { return };
        match self.clients.open_line(client) {
            Ok(Some(line)) => line.count_shared(ClientMessage {
                epoch: now.epoch,
                failed: measured.failed,
                bytes: measured.bytes,
                nanoseconds: timing.total(),
                ended: timing.ended,
            }),
            Ok(None) => {}
            // It has disconnected, or its name was given up for want of room.
            Err(_) => self.fold_client(),
        }
    }

    fn fold_client(&self) {
        self.clients_folded.fetch_add(1, Relaxed); // Relaxed: a count by itself.
    }

    fn slow_message(
        &self,
        labels: Labels,
        client: Option<ClientId>,
        name: &str,
        measured: Measured,
        timing: Timing,
    ) -> SlowMessage {
        let mut buffer = Default::default();
        let slot = client.and_then(|client| self.clients.get(client));
        let name = slot.map_or(name, |slot| slot.name(&mut buffer));
        SlowMessage {
            timing,
            client: client.unwrap_or(ClientId(0)),
            name: SlowMessage::name_of(name),
            ids: labels.ids(),
            succeeded: !measured.failed,
            bytes: measured.bytes,
        }
    }

    /// The client of that name, if it is known.
    pub(crate) fn client(&self, name: &str) -> Option<ClientId> {
        self.clients.find(self.hash(name), name.as_bytes())
    }

    fn hash(&self, name: &str) -> NameHash {
        self.clients.names().hash(name.as_bytes())
    }

    /// As [`client`](Self::client); one that is not known gets figures of its own, as long as there is room.
    fn recorded_client(&self, name: &str, labels: Labels) -> Option<ClientId> {
        if name.is_empty() {
            return None;
        }
        let may_have_figures = name.len() <= MAX_NAME_BYTES && self.clients.has_figures();
        let open = || {
            // Relaxed: one message more or less that asks; behind the doorway it is right.
            if self.is_full.load(Relaxed) {
                return None;
            }
            let _door = lock(&self.doorway);
            match self.clients.open_recorded(new_client(name, labels.application)) {
                // Taken by a thread that was faster.
                Ok((client, _)) | Err(Error::NameTaken(client)) => Some(client),
                Err(Error::TooManyClients(_)) => {
                    self.is_full.store(true, Relaxed); // Relaxed: as above.
                    None
                }
                Err(_) => None,
            }
        };
        let recorded = may_have_figures.then(|| self.client(name).or_else(open)).flatten();
        if recorded.is_none() {
            self.fold_client();
        }
        recorded
    }

    /// Counts a connection that the host has.
    pub(crate) fn connect(&self, name: &str, application: &str) -> Result<ClientId, Error> {
        let application = self.applications.place("", application) as u16;
        let _door = lock(&self.doorway);
        // Before a new one is tried, which would need a place, and count as an attempt to reconnect.
        let known = self.client(name).filter(|client| self.clients.connect_recorded(*client, application));
        if let Some(known) = known {
            return Ok(known);
        }
        let connect = || self.clients.connect(new_client(name, application)).map(|(client, _)| client);
        match connect() {
            Err(Error::TooManyClients(limit)) => {
                // A connection comes before names that messages were only recorded of. Several of them, as long as there are
                // several, so that the next connects need not look at all clients.
                self.clients.forget_recorded(0, limit.div_ceil(8) as usize);
                self.is_full.store(false, Relaxed); // Relaxed: as where it is read.
                connect()
            }
            done => done,
        }
    }

    /// Gives up names that were only recorded, and of which nothing has been since `before`, in raw ticks.
    pub(crate) fn forget_recorded(&self, before: u64) {
        // So that none of them connects meanwhile.
        let _door = lock(&self.doorway);
        self.clients.forget_recorded(before, 0);
        self.is_full.store(false, Relaxed); // Relaxed: as where it is read.
    }

    /// Counts the end of one.
    pub(crate) fn disconnect(&self, client: ClientId) -> Result<(), Error> {
        let _door = lock(&self.doorway);
        if !self.clients.begin_close(client) {
            return Err(Error::StaleClient);
        }
        self.clients.end_close(client);
        self.is_full.store(false, Relaxed); // Relaxed: as where it is read.
        Ok(())
    }

    /// Counts what the host has written to a client.
    pub(crate) fn sent(&self, client: ClientId, bytes: u64) -> Result<(), Error> {
        if let Some(line) = self.clients.open_line(client)? {
            line.sent_shared(self.controls.now().epoch, bytes);
        }
        self.bytes_sent.fetch_add(bytes, Relaxed); // Relaxed: a count by itself.
        Ok(())
    }

    /// Bytes that the host has written to its clients.
    pub(crate) fn bytes_sent(&self) -> u64 {
        self.bytes_sent.load(Relaxed) // Relaxed: a count by itself.
    }

    /// Messages whose client had no figures of its own.
    pub(crate) fn clients_folded(&self) -> u64 {
        self.clients_folded.load(Relaxed) // Relaxed: a count by itself.
    }

    /// Takes a shard that nobody else writes, if there is one.
    pub(super) fn take_shard(&self) -> Option<(usize, Writer)> {
        let mut own = self.shards.iter().enumerate().skip(SHARED);
        own.find_map(|(place, shard)| Some((place, lock(&shard.writer).take()?)))
    }

    /// Gives it back; what it holds stays, and its next owner goes on with it.
    pub(super) fn give_back(&self, place: usize, writer: Writer) {
        if let Some(shard) = self.shards.get(place) {
            *lock(&shard.writer) = Some(writer);
        }
    }

    /// Who has failed lately, by shard.
    pub(crate) fn failing(&self) -> impl Iterator<Item = &Failing> {
        self.shards.iter().map(|shard| &shard.failing)
    }

    /// Shards with a list of slow messages.
    pub(crate) fn slow_rings(&self) -> impl Iterator<Item = &SlowRing> {
        self.shards.iter().map(|shard| &shard.slow)
    }
}

fn new_client(name: &str, application: u16) -> NewClient<'_> {
    NewClient {
        name,
        token: 0,
        port: 0,
        worker: 0,
        protocol: 0,
        application,
        policy: CreditPolicy::Disconnect,
        figures: KeptFigures::NONE,
    }
}

fn outcome(measured: Measured) -> Outcome {
    if measured.failed { Outcome::Failed(Failed::Reported) } else { Outcome::Ok }
}
