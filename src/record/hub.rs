//! Storage of reports: the series by type, protocol and application, the clients that the host names, and the
//! controls that recording threads read.

use super::table::{Resolved, SeriesTable};
use crate::clients::{
    ClientId, ClientLimits, ClientMessage, Clients, CreditPolicy, KeptFigures, MAX_NAME_BYTES, NameHash,
    NewClient, OpenError, RecorderLines,
};
use crate::clock::{Clock, is_short, nanoseconds_of};
use crate::config::{Config, Key};
use crate::error::{Failed, Loss, RecordConnectError, StaleClient};
use crate::metrics::{
    ApplicationId, Bucketed, ClusterFigures, Controls, Customs, Failing, FailingCell, GroupSeries,
    IMPOSSIBLE, NAMED_FROM, Outcome, ProtocolId, SHARED, SlowMessage, SlowRing, Timing, TypeId, TypeSeries,
    Writer, shard_of_thread,
};
use crate::sync::{Arc, AtomicBool, AtomicU64, Mutex, Relaxed, lock};
use std::time::Duration;

/// Protocols that reports may name, in addition to `other`.
const PROTOCOLS: usize = 16;

/// A message that the host has processed itself.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RecordedMessage<'a> {
    /// Name of the sender. Empty if the message has no client. The client need not be connected.
    pub client: &'a str,
    /// Message type. An empty type counts as `other`.
    pub message_type: &'a str,
    /// Protocol. May be empty.
    pub protocol: &'a str,
    /// Application of the client. May be empty.
    pub application: &'a str,
    /// Outcome, size and times of the message.
    pub measured: Measured,
}

/// Outcome, size and times of one message.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Measured {
    /// Whether the message failed or expired.
    pub failed: bool,
    /// Why. `None`, and a reason for which only a port refuses messages, count as `reported`. Ignored unless `failed`.
    pub reason: Option<Loss>,
    /// Size in bytes.
    pub bytes: u64,
    /// The time between the message's arrival and the start of its processing. A message with either time at 2^62
    /// nanoseconds or more is refused and counted: such a time is a negative difference.
    pub queue_wait: Duration,
    /// The time that processing the message took.
    pub processing: Duration,
}

/// The looked-up series of a type, a protocol and an application. Recording with `Labels` hashes nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Labels {
    message_type: u16,
    protocol: u16,
    application: u16,
}

impl Labels {
    /// The labels as a number of 48 bits.
    pub(crate) fn number(self) -> u64 {
        u64::from(self.message_type) << 32 | u64::from(self.protocol) << 16 | u64::from(self.application)
    }

    /// The labels of a number. Labels beyond those of a hub count nowhere.
    pub(crate) fn of_number(number: u64) -> Self {
        Self {
            message_type: (number >> 32) as u16,
            protocol: (number >> 16) as u16,
            application: number as u16,
        }
    }

    fn ids(self) -> (TypeId, ProtocolId, ApplicationId) {
        (TypeId(self.message_type), ProtocolId(self.protocol), ApplicationId(self.application))
    }
}

/// Capacities of a hub.
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
        let recorders = config.count(Key::MaxRecorders);
        let clients = ClientLimits {
            clients: config.get(Key::MaxRecordedClients) as u32,
            applications: applications + 1,
            figures: config.has_details(),
            recorders,
        };
        Self {
            types: config.count(Key::MaxRecordedTypes),
            applications,
            recorders,
            customs: config.count(Key::MaxCustomSeries),
            enabled: config.has_metrics(),
            clients,
        }
    }

    /// Upper bound in bytes of the host's own metrics, for the budget.
    pub(crate) fn custom_bytes(self) -> u64 {
        Customs::bytes(self.customs)
    }

    /// Upper bound in bytes of the rest of the hub, for the budget.
    pub(crate) fn bytes(self) -> u64 {
        let shards = SHARED + self.recorders;
        SeriesTable::<TypeSeries>::bytes(self.types, shards)
            + SeriesTable::<GroupSeries>::bytes(self.applications, shards)
            + SeriesTable::<GroupSeries>::bytes(PROTOCOLS, shards)
            + Clients::bytes(self.clients)
            + self.recorders as u64
                * (Resolved::<TypeSeries>::bytes(self.types)
                    + Resolved::<GroupSeries>::bytes(self.applications)
                    + Resolved::<GroupSeries>::bytes(PROTOCOLS))
            + (shards * (size_of::<HubShard>() + SlowRing::BYTES + Failing::BYTES) + size_of::<Hub>()) as u64
    }
}

/// Slow messages and failing clients of one recorder, or of the threads that share a shard.
#[derive(Debug)]
struct HubShard {
    slow: SlowRing,
    failing: Failing,
    /// The right to write this shard. A recorder takes the writer out. Threads that share the shard lock it
    /// to write the slow ring.
    writer: Mutex<Option<Writer>>,
}

/// A recorder's own shard: the right to write it, and its series.
#[derive(Debug)]
pub(super) struct OwnShard {
    /// Place among all shards. The first [`SHARED`] are no recorder's.
    place: usize,
    writer: Writer,
    types: Resolved<TypeSeries>,
    protocols: Resolved<GroupSeries>,
    applications: Resolved<GroupSeries>,
    /// The lines of the recorder's clients, from the first message with a client on.
    lines: Option<RecorderLines>,
}

#[derive(Debug)]
pub(crate) struct Hub {
    pub(crate) types: SeriesTable<TypeSeries>,
    pub(crate) protocols: SeriesTable<GroupSeries>,
    pub(crate) applications: SeriesTable<GroupSeries>,
    pub(crate) clients: Clients,
    pub(crate) controls: Arc<Controls>,
    shards: Box<[HubShard]>,
    /// Serializes connects and disconnects: the phase of a client slot has only one writer.
    doorway: Mutex<()>,
    clients_folded: AtomicU64,
    impossible: AtomicU64,
    /// No slot has become free since the last attempt to add a client failed. While this is set, an unknown
    /// name is not added, because each of its messages would lock `doorway`. Written only while `doorway` is
    /// locked.
    is_full: AtomicBool,
    /// False: nothing is recorded.
    enabled: bool,
    /// Bytes that the host has written to its clients.
    bytes_sent: AtomicU64,
    /// The host's own metrics.
    pub(crate) customs: Customs,
    /// The figures of the router's present or last part in a cluster.
    pub(crate) cluster: Mutex<Option<Arc<ClusterFigures>>>,
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
            cluster: Mutex::new(None),
            clock,
        }
    }

    /// Creates every series and makes all their pages resident.
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

    /// Counts one message. Any thread may call this.
    pub(crate) fn record(&self, message: &RecordedMessage<'_>) {
        if !self.enabled || !self.is_possible(message.measured) {
            return;
        }
        let labels = self.labels(message.protocol, message.message_type, message.application);
        let client = self.recorded_client(message.client, labels);
        self.record_named(labels, client, message.client, message.measured, self.now());
    }

    /// Like [`record`](Self::record), with labels and client that have already been looked up. The message ended
    /// at `ended`, in raw ticks.
    pub(crate) fn record_shared(
        &self,
        labels: Labels,
        client: Option<ClientId>,
        measured: Measured,
        ended: u64,
    ) {
        if self.enabled && self.is_possible(measured) {
            self.record_named(labels, client, "", measured, ended);
        }
    }

    /// `name` is the client's name for a client that may have no figures.
    fn record_named(
        &self,
        labels: Labels,
        client: Option<ClientId>,
        name: &str,
        measured: Measured,
        ended: u64,
    ) {
        let place = shard_of_thread();
        let controlled = self.controls.now();
        let (timing, outcome) = (timing(measured, ended), outcome(measured));
        let message = Counted { bytes: measured.bytes, timing, outcome };
        let is_slow = timing.total() > controlled.slow;
        let Labels { message_type, protocol, application } = labels;
        let service = Bucketed::new(timing.service);
        if let Some(series) = self.types.series(message_type.into(), place) {
            series.record_shared(controlled.epoch, measured.bytes, &timing, service, is_slow);
            // Count the outcome last: see `count_outcome_shared`.
            series.count_outcome_shared(outcome);
        }
        let protocol = self.protocols.series(protocol.into(), place);
        let application = self.applications.series(application.into(), place);
        for series in [protocol, application].into_iter().flatten() {
            series.record_shared(controlled.epoch, measured.bytes, ended, service, is_slow, outcome);
        }
        if let Some(client) = client.filter(|_| controlled.detailed) {
            self.count_client(client, message.of_client(controlled.epoch));
        }
        if measured.failed
            && let Some(shard) = self.shards.get(place)
        {
            shard.failing.note_shared(self.failing_cell(client, name), timing.ended);
        }
        if is_slow && let Some(shard) = self.shards.get(place) {
            let message = self.slow_message(labels, client, name, &message);
            if let Some(writer) = &mut *lock(&shard.writer) {
                shard.slow.write(writer, message.words());
            }
        }
    }

    /// The current time, in raw ticks. 0 if nothing is recorded, so that a host without metrics reads no clock.
    #[inline]
    pub(crate) fn now(&self) -> u64 {
        if self.enabled { self.clock.raw() } else { 0 }
    }

    /// Lets what `own` records from now on follow the current settings and belong to the current epoch.
    #[inline]
    pub(super) fn begin_batch(&self, own: &mut OwnShard) {
        own.writer.controlled = self.controls.now();
    }

    /// Counts one message in a shard that only the caller writes. The message ended at `ended`, in raw ticks.
    #[inline(always)]
    pub(super) fn record_alone(
        &self,
        own: &mut OwnShard,
        labels: Labels,
        client: Option<ClientId>,
        measured: Measured,
        ended: u64,
    ) {
        if !self.enabled || !self.is_possible(measured) {
            return;
        }
        let Measured { failed, bytes, .. } = measured;
        let timing = timing(measured, ended);
        let is_slow = timing.total() > own.writer.controlled.slow;
        if failed || is_slow || timing.service >= NAMED_FROM[0] {
            let message = Counted { bytes, timing, outcome: outcome(measured) };
            return self.count_unusual(own, labels, client, &message, is_slow);
        }
        // Nothing of what `count_alone` does for other messages is left here: each part has its constant.
        self.count_alone(own, labels, client, &Counted { bytes, timing, outcome: Outcome::Ok }, false);
    }

    /// Counts a message that has failed, was slow or took a millisecond.
    #[cold]
    #[inline(never)]
    fn count_unusual(
        &self,
        own: &mut OwnShard,
        labels: Labels,
        client: Option<ClientId>,
        message: &Counted,
        is_slow: bool,
    ) {
        self.count_alone(own, labels, client, message, is_slow);
        let Some(shard) = self.shards.get(own.place) else { return };
        if message.outcome != Outcome::Ok {
            shard.failing.note(&mut own.writer, self.failing_cell(client, ""), message.timing.ended);
        }
        if is_slow {
            let message = self.slow_message(labels, client, "", message);
            shard.slow.write(&mut own.writer, message.words());
        }
    }

    /// Counts one message in the series and the client that it feeds.
    #[inline(always)]
    fn count_alone(
        &self,
        own: &mut OwnShard,
        labels: Labels,
        client: Option<ClientId>,
        message: &Counted,
        is_slow: bool,
    ) {
        let OwnShard { place, writer, types, protocols, applications, lines } = own;
        let Counted { bytes, timing, outcome } = *message;
        let service = Bucketed::new(timing.service);
        if let Some(series) = types.series(&self.types, labels.message_type.into(), *place) {
            series.record(writer, bytes, &timing, service, is_slow);
            series.count_outcome(writer, outcome);
        }
        if let Some(series) = protocols.series(&self.protocols, labels.protocol.into(), *place) {
            series.record(writer, bytes, timing.ended, service, is_slow);
            series.count_outcome(writer, outcome);
        }
        if let Some(series) = applications.series(&self.applications, labels.application.into(), *place) {
            series.record(writer, bytes, timing.ended, service, is_slow);
            series.count_outcome(writer, outcome);
        }
        if let Some(client) = client.filter(|_| writer.controlled.detailed) {
            let epoch = writer.controlled.epoch;
            let line =
                lines.as_ref().and_then(|lines| self.clients.recorder_line(lines, writer, client, epoch));
            match line {
                Some(line) => line.count(writer, message.of_client(epoch)),
                None => self.count_without_line(*place, (writer, lines), client, message),
            }
        }
    }

    /// Counts a message of a client in the first line that the recorder uses, or in the line that several threads write.
    #[cold]
    #[inline(never)]
    fn count_without_line(
        &self,
        place: usize,
        (writer, lines): (&mut Writer, &mut Option<RecorderLines>),
        client: ClientId,
        message: &Counted,
    ) {
        if lines.is_none() {
            *lines = self.clients.recorder_lines(place - SHARED);
            let epoch = writer.controlled.epoch;
            let line =
                lines.as_ref().and_then(|lines| self.clients.recorder_line(lines, writer, client, epoch));
            if let Some(line) = line {
                return line.count(writer, message.of_client(epoch));
            }
        }
        // Other threads write this line too, and a batch may be older than a reset that they know.
        self.count_client(client, message.of_client(self.controls.now().epoch));
    }

    /// The cell in which a failing client is counted: that of its id, else of the hash of its name, or of 0 without a
    /// client.
    fn failing_cell(&self, client: Option<ClientId>, name: &str) -> FailingCell {
        FailingCell::of(match client {
            Some(client) => client.0,
            None if name.is_empty() => 0,
            None => self.hash(name).0,
        })
    }

    /// Whether both durations are below 2^62 ns. A larger one is a negative difference, and the message is
    /// counted as impossible.
    #[inline]
    fn is_possible(&self, measured: Measured) -> bool {
        let is_possible = (is_short(measured.queue_wait) && is_short(measured.processing))
            || nanoseconds_of(measured.queue_wait).max(nanoseconds_of(measured.processing)) < IMPOSSIBLE;
        if !is_possible {
            self.impossible.fetch_add(1, Relaxed); // Relaxed: an independent counter.
        }
        is_possible
    }

    /// Messages refused because one of their durations is impossible.
    pub(crate) fn impossible(&self) -> u64 {
        self.impossible.load(Relaxed) // Relaxed: an independent counter.
    }

    /// Counts a message in the line that several threads write.
    fn count_client(&self, client: ClientId, message: ClientMessage) {
        match self.clients.open_line(client) {
            Ok(Some(line)) => line.count_shared(message),
            Ok(None) => {}
            // The client has disconnected, or the hub has given up its name to make room.
            Err(_) => self.fold_client(),
        }
    }

    fn fold_client(&self) {
        self.clients_folded.fetch_add(1, Relaxed); // Relaxed: an independent counter.
    }

    fn slow_message(
        &self,
        labels: Labels,
        client: Option<ClientId>,
        name: &str,
        message: &Counted,
    ) -> SlowMessage {
        let mut buffer = Default::default();
        let slot = client.and_then(|client| self.clients.get(client));
        let name = slot.map_or(name, |slot| slot.name(&mut buffer));
        SlowMessage {
            timing: message.timing,
            client: client.unwrap_or(ClientId(0)),
            name: SlowMessage::name_of(name),
            ids: labels.ids(),
            succeeded: message.outcome == Outcome::Ok,
            bytes: message.bytes,
        }
    }

    /// The client with this name, if the hub knows it.
    pub(crate) fn client(&self, name: &str) -> Option<ClientId> {
        self.clients.find(self.hash(name), name.as_bytes())
    }

    fn hash(&self, name: &str) -> NameHash {
        self.clients.names().hash(name.as_bytes())
    }

    /// Like [`client`](Self::client). An unknown client gets its own figures while there is room.
    fn recorded_client(&self, name: &str, labels: Labels) -> Option<ClientId> {
        if name.is_empty() {
            return None;
        }
        let may_have_figures = name.len() <= MAX_NAME_BYTES && self.clients.has_figures();
        let open = || {
            // Relaxed: a stale value costs one more or one less attempt. The value is exact while `doorway`
            // is locked.
            if self.is_full.load(Relaxed) {
                return None;
            }
            let _door = lock(&self.doorway);
            match self.clients.open_recorded(new_client(name, labels.application)) {
                // `NameTaken`: another thread has just added the client.
                Ok((client, _)) | Err(OpenError::NameTaken(client)) => Some(client),
                Err(OpenError::TooManyClients(_)) => {
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

    /// Counts a new connection of the host.
    pub(crate) fn connect(&self, name: &str, application: &str) -> Result<ClientId, RecordConnectError> {
        let application = self.applications.place("", application) as u16;
        let _door = lock(&self.doorway);
        // Look for a known client first. `Clients::connect` would need a free slot and would count a
        // reconnect.
        let known = self.client(name).filter(|client| self.clients.connect_recorded(*client, application));
        if let Some(known) = known {
            return Ok(known);
        }
        let connect = || self.clients.connect(new_client(name, application)).map(|(client, _)| client);
        match connect() {
            Err(OpenError::TooManyClients(limit)) => {
                // A connection takes precedence over names that are only recorded. Evict an eighth of the
                // slots at once, so that the next connects need not scan all clients.
                self.clients.forget_recorded(0, limit.div_ceil(8) as usize);
                self.is_full.store(false, Relaxed); // Relaxed: see `recorded_client`.
                Ok(connect()?)
            }
            done => Ok(done?),
        }
    }

    /// Evicts names that were only recorded and have had no message since `before`, in raw ticks.
    pub(crate) fn forget_recorded(&self, before: u64) {
        // Keep a client from connecting under one of these names meanwhile.
        let _door = lock(&self.doorway);
        self.clients.forget_recorded(before, 0);
        self.is_full.store(false, Relaxed); // Relaxed: see `recorded_client`.
    }

    /// Counts the end of a connection.
    pub(crate) fn disconnect(&self, client: ClientId) -> Result<(), StaleClient> {
        let _door = lock(&self.doorway);
        if !self.clients.begin_close(client) {
            return Err(StaleClient);
        }
        self.clients.end_close(client);
        self.is_full.store(false, Relaxed); // Relaxed: see `recorded_client`.
        Ok(())
    }

    /// Counts bytes that the host has written to a client.
    pub(crate) fn sent(&self, client: ClientId, bytes: u64) -> Result<(), StaleClient> {
        if let Some(line) = self.clients.open_line(client)? {
            line.sent_shared(self.controls.now().epoch, bytes);
        }
        self.bytes_sent.fetch_add(bytes, Relaxed); // Relaxed: an independent counter.
        Ok(())
    }

    /// Bytes that the host has written to its clients.
    pub(crate) fn bytes_sent(&self) -> u64 {
        self.bytes_sent.load(Relaxed) // Relaxed: an independent counter.
    }

    /// Messages whose client had no figures of its own.
    pub(crate) fn clients_folded(&self) -> u64 {
        self.clients_folded.load(Relaxed) // Relaxed: an independent counter.
    }

    /// Takes a shard that no other thread writes, if one is left.
    pub(super) fn take_shard(&self) -> Option<OwnShard> {
        let mut free = self.shards.iter().enumerate().skip(SHARED);
        let (place, writer) = free.find_map(|(place, shard)| Some((place, lock(&shard.writer).take()?)))?;
        Some(OwnShard {
            place,
            writer,
            types: self.types.resolved(),
            protocols: self.protocols.resolved(),
            applications: self.applications.resolved(),
            lines: None,
        })
    }

    /// Returns a shard. Its figures stay, and its next owner adds to them.
    pub(super) fn give_back(&self, own: OwnShard) {
        if let Some(shard) = self.shards.get(own.place) {
            *lock(&shard.writer) = Some(own.writer);
        }
    }

    /// Clients that have failed recently, by shard.
    pub(crate) fn failing(&self) -> impl Iterator<Item = &Failing> {
        self.shards.iter().map(|shard| &shard.failing)
    }

    /// The ring of slow messages of each shard.
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

#[inline(always)]
fn timing(measured: Measured, ended: u64) -> Timing {
    Timing {
        queue_wait: nanoseconds_of(measured.queue_wait),
        service: nanoseconds_of(measured.processing),
        held: None,
        ended,
    }
}

/// A message as it is counted.
#[derive(Clone, Copy)]
struct Counted {
    bytes: u64,
    timing: Timing,
    outcome: Outcome,
}

impl Counted {
    #[inline(always)]
    fn of_client(&self, epoch: u64) -> ClientMessage {
        ClientMessage {
            epoch,
            failed: self.outcome != Outcome::Ok,
            bytes: self.bytes,
            nanoseconds: self.timing.total(),
            ended: self.timing.ended,
        }
    }
}

#[inline(always)]
fn outcome(measured: Measured) -> Outcome {
    if !measured.failed {
        return Outcome::Ok;
    }
    match measured.reason {
        Some(Loss::Expired) => Outcome::Expired,
        Some(Loss::Failed(reason)) => Outcome::Failed(reason),
        Some(Loss::Refused(_)) | None => Outcome::Failed(Failed::Reported),
    }
}

#[cfg(all(test, not(corelane_loom)))]
mod tests {
    use super::*;
    use crate::error::SubmitError;

    #[test]
    fn a_recorded_message_has_the_outcome_of_its_reason() {
        let of = |failed, reason| outcome(Measured { failed, reason, ..Measured::default() });
        let gone = Failed::RecipientClosed;
        assert_eq!(of(false, None), Outcome::Ok);
        assert_eq!(of(false, Some(Loss::Expired)), Outcome::Ok, "a reason counts only if the message failed");
        assert_eq!(of(true, None), Outcome::Failed(Failed::Reported));
        assert_eq!(of(true, Some(Loss::Failed(gone))), Outcome::Failed(gone));
        assert_eq!(of(true, Some(Loss::Expired)), Outcome::Expired);
        assert_eq!(of(true, Some(Loss::Refused(SubmitError::RingFull))), Outcome::Failed(Failed::Reported));
    }
}
