//! A lane's host in Rust: what the Go package does, on the same rings. For tests, the simulator and benchmarks.
//!
//! It has its own table of clients, coalesces acknowledgements, keeps space in the rings for them and for disconnects, and
//! hands out a delivery only if the table has its client. One thread at a time.

use super::handle::{Lane, LaneClient};
use crate::clients::{ClientId, RoomId};
use crate::clock::Stamp;
use crate::error::{ClientError, ConnectError, JoinError, LeaveError, SubmitError};
use crate::park::after_publishing;
use crate::ring::record::{
    ACKNOWLEDGE_BYTES, ACKNOWLEDGEMENT_BYTES, Acknowledgement, DeliveryHeader, INGRESS_BYTES, IngressHeader,
    WORD_RECORD_BYTES, delivery_flag, delivery_kind, ingress_flag, ingress_kind,
};
use crate::ring::{Consumer, Producer, PushError};
use crate::router::payload::{REFERENCE_BYTES, read_reference};
use crate::sync::{Arc, mutant};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// What a record from a worker says. The numbers are those of docs/layout.md.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "for tests")]
pub enum LaneKind {
    Message,
    Expired,
    Left,
    Close(u16),
    Closed,
    Undelivered(u16),
    SendFailed(u16),
    RoomSendFailed(u16),
    Refused { reason: SubmitError, count: u64 },
}

/// A delivery, handed out to one client.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "for tests")]
pub struct LaneEvent {
    pub kind: LaneKind,
    pub client: ClientId,
    pub sender: u64,
    pub correlation: u64,
    pub payload: Vec<u8>,
}

/// Options of a message.
#[derive(Clone, Copy, Debug, Default)]
#[allow(missing_docs, reason = "for tests")]
pub struct LaneSubmit {
    pub correlation: u64,
    pub stamp: Option<Stamp>,
    pub tell_failed: bool,
    /// Deliver it to this client as it is.
    pub to: Option<ClientId>,
}

/// Such a host.
#[derive(Debug)]
pub struct LaneHost {
    ways: Vec<Way>,
    /// By handle: the table. A handle that is not in it gets nothing.
    table: BTreeMap<u64, Entry>,
    first: usize,
    armed: bool,
    /// Dropped last: the rings' ends come first.
    lane: Arc<Lane>,
}

#[derive(Debug)]
struct Way {
    ingress: Producer,
    egress: Consumer,
    /// Clients with something to acknowledge.
    written: BTreeSet<u64>,
    /// Clients whose DISCONNECT is not pushed yet, in order.
    leaving: Vec<u64>,
    /// Deliveries thrown away and not reported.
    discarded: u64,
    /// The worker has closed the ring, and its clients are ended.
    ended: bool,
    corrupt: bool,
    stalled: bool,
}

#[derive(Clone, Copy, Debug, Default)]
struct Entry {
    worker: usize,
    entered: bool,
    messages: u32,
    bytes: u32,
    /// The oldest delivery that was handed out and not acknowledged, if it is sampled.
    sampled: Option<u64>,
}

impl LaneHost {
    pub(in crate::router) fn new(lane: Lane) -> Self {
        let workers = lane.describe(0).map_or(0, |view| view.workers);
        let way = |worker| {
            let view = lane.describe(worker)?;
            Some(Way {
                ingress: Producer::new(Arc::clone(view.ingress)),
                egress: Consumer::new(Arc::clone(view.egress)),
                written: BTreeSet::new(),
                leaving: Vec::new(),
                discarded: 0,
                ended: false,
                corrupt: false,
                stalled: false,
            })
        };
        let ways = (0..workers).filter_map(way).collect();
        Self { ways, table: BTreeMap::new(), first: 0, armed: false, lane: Arc::new(lane) }
    }

    /// Connects a client: reserves, fills the table, enters.
    ///
    /// # Errors
    /// [`ConnectError`], with the reason.
    pub fn connect(&mut self, name: &str, protocol: &str) -> Result<ClientId, ConnectError> {
        let client = self.reserve(name, protocol)?;
        self.enter(client)?;
        Ok(client)
    }

    /// The first step of a connect, with the entry in the table.
    ///
    /// # Errors
    /// [`ConnectError`], with the reason.
    pub fn reserve(&mut self, name: &str, protocol: &str) -> Result<ClientId, ConnectError> {
        let (client, worker) =
            self.lane.reserve(LaneClient { name, protocol, application: "", policy: None })?;
        if !mutant("lane-name-first") {
            self.table.insert(client.0, Entry { worker, ..Entry::default() });
        }
        Ok(client)
    }

    /// The second step.
    ///
    /// # Errors
    /// [`ConnectError`], with the reason. The reservation is gone.
    pub fn enter(&mut self, client: ClientId) -> Result<(), ConnectError> {
        let entered = self.lane.enter(client).unwrap_or(Err(ConnectError::Closed));
        match (&entered, self.table.get_mut(&client.0)) {
            (Ok(()), Some(entry)) => entry.entered = true,
            _ => drop(self.table.remove(&client.0)),
        }
        entered
    }

    /// Instead of the second step.
    pub fn cancel(&mut self, client: ClientId) -> bool {
        self.table.remove(&client.0);
        self.lane.cancel(client)
    }

    /// Starts a disconnect. [`LaneKind::Closed`] follows.
    ///
    /// # Errors
    /// [`ClientError`], with the reason.
    pub fn disconnect(&mut self, client: ClientId) -> Result<(), ClientError> {
        self.lane.disconnect(client)?;
        let worker = self.table.get(&client.0).map_or(0, |entry| entry.worker);
        if let Some(way) = self.ways.get_mut(worker) {
            way.leaving.push(client.0);
        }
        self.push_control(worker);
        self.publish();
        Ok(())
    }

    /// As [`Port::join`](crate::router::Port::join).
    ///
    /// # Errors
    /// [`JoinError`], with the reason.
    pub fn join(&self, client: ClientId, room: &str) -> Result<RoomId, JoinError> {
        self.lane.join(client, room)
    }

    /// As [`Port::leave`](crate::router::Port::leave).
    ///
    /// # Errors
    /// [`LeaveError`], with the reason.
    pub fn leave(&self, client: ClientId, room: RoomId) -> Result<(), LeaveError> {
        self.lane.leave(client, room)
    }

    /// Frees a client's name.
    ///
    /// # Errors
    /// [`ClientError`], with the reason.
    pub fn release_name(&self, client: ClientId) -> Result<(), ClientError> {
        self.lane.release_name(client)
    }

    /// The worker of a client of this host.
    pub fn worker(&self, client: ClientId) -> Option<usize> {
        self.table.get(&client.0).map(|entry| entry.worker)
    }

    /// The clients in the table.
    pub fn clients(&self) -> Vec<ClientId> {
        self.table.keys().map(|client| ClientId(*client)).collect()
    }

    /// Pushes a message of a client. The worker sees it after [`publish`](Self::publish), and may refuse it.
    ///
    /// # Errors
    /// [`SubmitError`]: no room in the ring or for the payload, or the worker takes nothing more.
    pub fn submit(
        &mut self,
        client: ClientId,
        message: &[u8],
        options: LaneSubmit,
    ) -> Result<(), SubmitError> {
        let worker = self.worker(client).ok_or(SubmitError::StaleClient)?;
        let tell = if options.tell_failed { ingress_flag::TELL_FAILED } else { 0 };
        let addressed = if options.to.is_some() { ingress_flag::ADDRESSED } else { 0 };
        let header = IngressHeader {
            kind: ingress_kind::MESSAGE,
            flags: tell | addressed,
            client: client.0,
            stamp: options.stamp.map_or_else(|| self.lane.clock().now().0, |stamp| stamp.0),
            correlation: options.correlation,
            recipient: options.to.map_or(0, |to| to.0),
            message_type: u32::MAX,
            call: 0,
        };
        self.push_message(worker, header, message)
    }

    /// Pushes a message of the host to a client of any port.
    ///
    /// # Errors
    /// As [`submit`](Self::submit).
    pub fn send(&mut self, to: ClientId, message: &[u8], correlation: u64) -> Result<(), SubmitError> {
        let worker = self.lane.worker_of(to).map_err(|_| SubmitError::StaleClient)?;
        let header = IngressHeader {
            kind: ingress_kind::SEND,
            stamp: self.lane.clock().now().0,
            correlation,
            recipient: to.0,
            message_type: u32::MAX,
            ..IngressHeader::default()
        };
        self.push_message(worker, header, message)
    }

    /// Pushes a message of the host to a room.
    ///
    /// # Errors
    /// As [`submit`](Self::submit).
    pub fn send_to_room(
        &mut self,
        room: RoomId,
        message: &[u8],
        correlation: u64,
    ) -> Result<(), SubmitError> {
        let header = IngressHeader {
            kind: ingress_kind::SEND_TO_ROOM,
            stamp: self.lane.clock().now().0,
            correlation,
            recipient: room.0,
            message_type: u32::MAX,
            ..IngressHeader::default()
        };
        self.push_message(self.lane.worker_of_room(room), header, message)
    }

    fn push_message(
        &mut self,
        worker: usize,
        header: IngressHeader,
        message: &[u8],
    ) -> Result<(), SubmitError> {
        let queue_messages = self.lane.describe(worker).map_or(0, |view| view.queue_messages);
        let way = self.ways.get_mut(worker).ok_or(SubmitError::Closed)?;
        way.check_room(INGRESS_BYTES + message.len().min(1 << 10), queue_messages)?;
        if INGRESS_BYTES + message.len() <= way.ingress.memory().max_record() {
            return way.push(INGRESS_BYTES + message.len(), header.kind, header.flags, |record| {
                header.write(record);
                record[INGRESS_BYTES..].copy_from_slice(message);
            });
        }
        let number = self.lane.put(worker, message)?;
        let header = IngressHeader { flags: header.flags | ingress_flag::OWNED, ..header };
        let pushed = way.push(INGRESS_BYTES + REFERENCE_BYTES, header.kind, header.flags, |record| {
            header.write(record);
            record[INGRESS_BYTES..INGRESS_BYTES + 8].copy_from_slice(&number.to_ne_bytes());
            record[INGRESS_BYTES + 8..].copy_from_slice(&(message.len() as u64).to_ne_bytes());
        });
        if pushed.is_err() {
            drop(self.lane.take(worker, number));
        }
        pushed
    }

    /// Pushes any record, also one that no host may push.
    ///
    /// # Errors
    /// As [`submit`](Self::submit).
    pub fn push_raw(&mut self, worker: usize, kind: u16, flags: u16, body: &[u8]) -> Result<(), SubmitError> {
        let way = self.ways.get_mut(worker).ok_or(SubmitError::Closed)?;
        way.push(8 + body.len(), kind, flags, |record| record[8..].copy_from_slice(body))
    }

    /// The first byte of a ring's memory, for a test that overwrites it.
    pub fn start(&self, worker: usize, egress: bool) -> *mut u8 {
        let way = &self.ways[worker];
        if egress { way.egress.memory().start() } else { way.ingress.memory().start() }
    }

    /// Puts a payload into the table without a record.
    ///
    /// # Errors
    /// [`SubmitError`], with the reason.
    pub fn put(&self, worker: usize, bytes: &[u8]) -> Result<u64, SubmitError> {
        self.lane.put(worker, bytes)
    }

    /// Takes a payload.
    pub fn take(&self, worker: usize, number: u64) -> Option<Vec<u8>> {
        self.lane.take_with(worker, number, <[u8]>::to_vec)
    }

    /// Notes that these messages and bytes of a client have been written to its peer. Pushed with the next publication.
    pub fn acknowledge(&mut self, client: ClientId, messages: u32, bytes: u32) {
        if let Some(entry) = self.table.get_mut(&client.0)
            && let Some(way) = self.ways.get_mut(entry.worker)
        {
            entry.messages += messages;
            entry.bytes += bytes;
            way.written.insert(client.0);
        }
    }

    /// Makes everything pushed visible, acknowledgements included, and wakes the workers.
    pub fn publish(&mut self) {
        let published = self.publish_quietly();
        if published != 0 {
            after_publishing(|| self.wake(published));
        }
    }

    /// As [`publish`](Self::publish), without a wake. Returns one bit per worker that has something new.
    fn publish_quietly(&mut self) -> u64 {
        for worker in 0..self.ways.len() {
            self.push_control(worker);
        }
        let mut published = 0u64;
        for (worker, way) in self.ways.iter_mut().enumerate() {
            if way.ingress.publish() {
                published |= 1 << worker;
                if !way.stalled {
                    way.ingress.end_request();
                }
            }
        }
        published
    }

    /// Publishes, and runs one cycle of a local worker on this thread; wakes the workers that it has not run. False: the worker
    /// is not to be had.
    pub fn run(&mut self, worker: usize) -> bool {
        let published = self.publish_quietly();
        let has_run = self.lane.cycle(worker).is_some();
        let others = if has_run { published & !(1 << worker) } else { published };
        if others != 0 {
            after_publishing(|| self.wake(others));
        }
        has_run
    }

    fn wake(&self, workers: u64) {
        for worker in (0..self.ways.len()).filter(|worker| workers & 1 << worker != 0) {
            if let Some(view) = self.lane.describe(worker) {
                view.worker_wake.wake_if_asleep();
            }
        }
    }

    /// Pushes the acknowledgements, disconnects and reports of discarded deliveries that fit.
    fn push_control(&mut self, worker: usize) {
        let Some(way) = self.ways.get_mut(worker) else { return };
        while let Some(first) = way.written.first().copied() {
            let most = (way.ingress.memory().max_record() - ACKNOWLEDGE_BYTES) / ACKNOWLEDGEMENT_BYTES;
            let clients: Vec<u64> = way.written.iter().copied().take(most.min(32)).collect();
            let entries: Vec<_> = clients
                .iter()
                .filter_map(|client| {
                    let entry = self.table.get(client)?;
                    Some(Acknowledgement {
                        client: *client,
                        messages: entry.messages,
                        bytes: entry.bytes,
                        handed_out: entry.sampled.unwrap_or(0),
                    })
                })
                .collect();
            let length = ACKNOWLEDGE_BYTES + entries.len() * ACKNOWLEDGEMENT_BYTES;
            let write = |record: &mut [u8]| Acknowledgement::write_all(&entries, record);
            if !entries.is_empty() && way.push(length, ingress_kind::ACKNOWLEDGE, 0, write).is_err() {
                return;
            }
            for client in clients {
                way.written.remove(&client);
                if let Some(entry) = self.table.get_mut(&client) {
                    (entry.messages, entry.bytes, entry.sampled) = (0, 0, None);
                }
            }
            debug_assert!(!way.written.contains(&first), "progress");
        }
        while let Some(client) = way.leaving.first().copied() {
            let write = |record: &mut [u8]| record[8..16].copy_from_slice(&client.to_ne_bytes());
            if way.push(WORD_RECORD_BYTES, ingress_kind::DISCONNECT, 0, write).is_err() {
                return;
            }
            way.leaving.remove(0);
        }
        if way.discarded > 0 {
            let discarded = way.discarded;
            let write = |record: &mut [u8]| record[8..16].copy_from_slice(&discarded.to_ne_bytes());
            if way.push(WORD_RECORD_BYTES, ingress_kind::DISCARDED, 0, write).is_ok() {
                way.discarded = 0;
            }
        }
    }

    /// Takes up to `limit` records of each ring and hands out their events. Afterwards the rings' space is free again.
    pub fn poll(&mut self, limit: usize) -> Vec<LaneEvent> {
        self.awake();
        self.first += 1;
        let (first, workers) = (self.first, self.ways.len());
        self.poll_some((0..workers).map(|offset| (first + offset) % workers), limit)
    }

    /// As [`poll`](Self::poll), for the ring of one worker.
    pub fn poll_one(&mut self, worker: usize, limit: usize) -> Vec<LaneEvent> {
        self.poll_some([worker], limit)
    }

    fn poll_some(&mut self, workers: impl IntoIterator<Item = usize>, limit: usize) -> Vec<LaneEvent> {
        let mut events = Vec::new();
        for worker in workers {
            self.poll_worker(worker, limit, &mut events);
        }
        let mut released = 0u64;
        for (worker, way) in self.ways.iter_mut().enumerate() {
            if way.egress.release() && way.egress.memory().needs_space() {
                released |= 1 << worker;
            }
        }
        after_publishing(|| {
            // Look again behind the fence: the worker may have asked meanwhile.
            for (worker, way) in self.ways.iter().enumerate() {
                released |= u64::from(way.egress.memory().needs_space()) << worker;
            }
            self.wake(released);
        });
        self.publish();
        events
    }

    fn poll_worker(&mut self, worker: usize, limit: usize, events: &mut Vec<LaneEvent>) {
        let Some(way) = self.ways.get_mut(worker) else { return };
        if way.ended {
            return;
        }
        // Read `closed` before the tail: then everything that was published before is seen in this poll.
        let closed = way.egress.memory().is_closed();
        way.corrupt |= way.egress.refresh().is_err();
        let mut taken = 0;
        while taken < limit && !way.corrupt {
            let record = match way.egress.next() {
                Ok(Some(record)) => record,
                Ok(None) => break,
                Err(_) => {
                    way.corrupt = true;
                    break;
                }
            };
            taken += 1;
            let Some((header, recipients, payload)) = DeliveryHeader::read(record.bytes) else { continue };
            let beside = header.kind == delivery_kind::MESSAGE && header.flags & delivery_flag::OWNED != 0;
            let payload = if beside {
                let number = read_reference(payload).map_or(0, |(number, _)| number);
                self.lane.take_with(worker, number, <[u8]>::to_vec).unwrap_or_default()
            } else {
                payload.to_vec()
            };
            let all: Vec<u64> = recipients.iter().collect();
            for client in all {
                let of_host =
                    [delivery_kind::SEND_FAILED, delivery_kind::ROOM_SEND_FAILED].contains(&header.kind);
                if !of_host && !self.table.contains_key(&client) && !mutant("lane-hands-out-closed") {
                    way.discarded += 1;
                    continue;
                }
                let kind = match header.kind {
                    delivery_kind::MESSAGE => LaneKind::Message,
                    delivery_kind::EXPIRED => LaneKind::Expired,
                    delivery_kind::LEFT => LaneKind::Left,
                    delivery_kind::CLOSE => LaneKind::Close(header.flags),
                    delivery_kind::CLIENT_CLOSED => LaneKind::Closed,
                    delivery_kind::UNDELIVERED => LaneKind::Undelivered(header.flags),
                    delivery_kind::SEND_FAILED => LaneKind::SendFailed(header.flags),
                    delivery_kind::ROOM_SEND_FAILED => LaneKind::RoomSendFailed(header.flags),
                    _ => LaneKind::Refused {
                        reason: SubmitError::ALL[usize::from(header.flags)],
                        count: payload.as_slice().try_into().map_or(0, u64::from_ne_bytes),
                    },
                };
                if kind == LaneKind::Closed {
                    self.table.remove(&client);
                    way.written.remove(&client);
                } else if matches!(kind, LaneKind::Message | LaneKind::Expired)
                    && let Some(entry) = self.table.get_mut(&client)
                {
                    entry.sampled.get_or_insert_with(|| self.lane.clock().now().0);
                }
                events.push(LaneEvent {
                    kind,
                    client: ClientId(client),
                    sender: header.sender,
                    correlation: header.correlation,
                    payload: payload.clone(),
                });
            }
        }
        if closed && (way.corrupt || !way.egress.has_more()) {
            way.ended = true;
            way.written.clear();
            way.leaving.clear();
            let here = self.table.iter().filter(|(_, entry)| entry.worker == worker);
            let here: Vec<u64> = here.map(|(client, _)| *client).collect();
            for client in here {
                if self.lane.closed(ClientId(client)).is_none() {
                    self.ways[worker].ended = false; // The worker has not left yet.
                    return;
                }
                self.table.remove(&client);
                events.push(LaneEvent {
                    kind: LaneKind::Closed,
                    client: ClientId(client),
                    sender: 0,
                    correlation: 0,
                    payload: Vec::new(),
                });
            }
        }
    }

    /// Whether every worker has ended, and everything was handed out.
    pub fn is_over(&self) -> bool {
        self.ways.iter().all(|way| way.ended)
    }

    /// Publishes, and announces that the host is about to wait. False if there is something to poll.
    pub fn arm(&mut self) -> bool {
        self.publish();
        self.armed = true;
        let Some(view) = self.lane.describe(0) else { return false };
        let may_wait = view.lane_wake.arm_unless(|| {
            self.ways.iter().any(|way| {
                let closed = way.egress.memory().is_closed() && !way.ended;
                let space = way.stalled && way.ingress.space_moved();
                (!way.ended && !way.corrupt && way.egress.has_more()) || closed || space
            })
        });
        if !may_wait {
            self.awake();
        }
        may_wait
    }

    fn awake(&mut self) {
        if std::mem::take(&mut self.armed)
            && let Some(view) = self.lane.describe(0)
        {
            view.lane_wake.disarm();
            view.lane_wake.drain();
        }
    }

    /// Waits until there is something to poll, or `timeout` is over.
    pub fn wait(&mut self, timeout: Duration) {
        if self.arm()
            && let Some(view) = self.lane.describe(0)
        {
            view.lane_wake.sleep(Some(timeout));
        }
        self.awake();
    }
}

impl Way {
    /// Whether a message of this length may be pushed. An eighth of the ring is for acknowledgements and disconnects.
    fn check_room(&mut self, length: usize, queue_messages: u64) -> Result<(), SubmitError> {
        let capacity = self.ingress.memory().capacity();
        let used = self.ingress.position() - self.ingress.consumed();
        let waiting = self.ingress.pushed().saturating_sub(self.ingress.memory().traffic().1);
        let is_full = used + length as u64 + capacity / 8 > capacity
            || (queue_messages > 0 && waiting >= queue_messages);
        if self.ingress.memory().is_closed() {
            return Err(SubmitError::Closed);
        }
        if is_full {
            self.stall();
            return Err(SubmitError::RingFull);
        }
        Ok(())
    }

    fn stall(&mut self) {
        let _ = self.ingress.refresh_head();
        self.stalled = true;
        self.ingress.request_space();
    }

    fn push(
        &mut self,
        length: usize,
        kind: u16,
        flags: u16,
        write: impl FnOnce(&mut [u8]),
    ) -> Result<(), SubmitError> {
        if self.ingress.memory().is_closed() {
            return Err(SubmitError::Closed);
        }
        match self.ingress.claim(length, kind, flags) {
            Ok(record) => {
                write(record);
                self.ingress.commit();
                self.stalled = false;
                Ok(())
            }
            Err(PushError::Full) => {
                self.stall();
                Err(SubmitError::RingFull)
            }
            Err(PushError::TooLarge) => Err(SubmitError::TooLarge),
            Err(PushError::Closed) => Err(SubmitError::Corrupt),
        }
    }
}

impl Drop for LaneHost {
    fn drop(&mut self) {
        // The release comes behind the last publication.
        self.publish();
    }
}
