//! A port's polling half: what stays from poll to poll, the end and the start of a wait, acknowledgements. `walk` reads
//! the records and lends the events. One owner at a time. It never waits, and takes no lock that a submitter can hold.
//!
//! Used by `walk`, `closings`, `handle`, and `shared` (the poller). The records come from `worker/egress`. After an event
//! the message is the host's, until the host acknowledges it here.

use crate::clients::{ClientId, END, Outstanding};
use crate::error::{ClientError, CycleError, NoLocalWorker, Unacknowledged, Undeliverable};
use crate::metrics::{PollShard, Writer};
use crate::park::{Waiter, WakeWord, after_publishing};
use crate::ring::record::DeliveryHeader;
use crate::ring::{AttachState, Consumer};
use crate::router::local::Seat;
use crate::router::notice::Notice;
use crate::router::pair::give_back_from;
use crate::router::payload::Payload;
use crate::router::port::link::PortLink;
use crate::router::shared::Shared;
use crate::sync::{Arc, mutant};
use std::collections::VecDeque;
#[cfg(not(corelane_loom))]
use std::os::fd::BorrowedFd;
use std::time::Duration;

#[derive(Debug)]
pub(in crate::router) struct PollHalf {
    pub(in crate::router) shared: Arc<Shared>,
    pub(in crate::router) index: usize,
    pub(super) ways: Vec<EgressReceiver>,
    pub(super) link: Arc<PortLink>,
    wake: Arc<WakeWord>,
    waiter: Waiter,
    /// The last poll has said closed. Until then the end is news: the follow-up of the poll before may have settled what
    /// kept the port open, and nobody wakes a port for that.
    pub(super) told: bool,
    /// The place of the local worker that this thread drives.
    pub(in crate::router) seat: Option<Arc<Seat>>,
    /// The port is the gateway's, so that records for it are no bad ones.
    pub(super) is_gateway: bool,
    /// The worker at which the next poll starts. It rotates, so that no worker is always first.
    pub(super) first: usize,
    pub(super) writer: Writer,
    /// Out-of-line payloads that were handed out. They stay as long as the bytes in the rings.
    pub(super) views: Vec<Payload>,
    /// Chains of clients taken from the stacks of [`EndedClients`](crate::router::shared::EndedClients) and not
    /// handed out yet: the first client of each.
    pub(super) closes: u32,
    pub(super) closings: u32,
    /// Notices taken from there and not handed out yet.
    pub(super) notices: VecDeque<Notice>,
    /// Clients to close because a worker's ring to the port is corrupt.
    pub(super) cut_off: VecDeque<ClientId>,
}

/// A record of which not all recipients are handed out.
#[derive(Clone, Copy, Debug)]
pub(super) struct Current {
    /// The ring's position before the record.
    pub(super) before: u64,
    pub(super) start: u64,
    pub(super) length: usize,
    pub(super) header: DeliveryHeader,
    /// The payload's length in bytes, inline or out of line.
    pub(super) bytes: usize,
}

/// A delivery's out-of-line payload.
#[derive(Clone, Debug)]
pub(super) enum Beside {
    No,
    There(Payload),
    /// The record's number is not in the table, or the host's value panicked.
    Lost,
}

/// The egress ring from one worker.
#[derive(Debug)]
pub(crate) struct EgressReceiver {
    pub(super) ring: Consumer,
    /// The worker has left, and the submitting half knows.
    pub(super) left: bool,
    /// The worker has left, and all its deliveries have been consumed and released.
    consumed: bool,
    /// The record of which some, but not all, recipients are handed out. If the poll ends there, it becomes the next one
    /// again, with `handed` recipients handed out already.
    pub(super) current: Option<Current>,
    /// How many recipients of that record, or of the next one, are handed out already.
    pub(super) handed: usize,
    /// The ring is corrupt and is not read any more.
    pub(super) corrupt: bool,
    /// The out-of-line payload of the record at hand.
    pub(super) beside: Beside,
}

impl EgressReceiver {
    /// The receiver for a worker's ring. For a `lost` worker nothing will come.
    pub(crate) fn new(ring: Consumer, lost: bool) -> Self {
        Self {
            ring,
            left: lost,
            consumed: lost,
            current: None,
            handed: 0,
            corrupt: false,
            beside: Beside::No,
        }
    }

    pub(super) fn has_more(&self) -> bool {
        !self.corrupt && (self.ring.has_more() || self.current.is_some())
    }

    /// Whether there is a reason not to sleep: a record, or that the worker has closed the ring.
    pub(crate) fn has_news(&self) -> bool {
        self.has_more() || (!self.left && self.ring.memory().is_closed() && !mutant("closed-is-no-news"))
    }

    /// The worker has closed the ring. Once it has also left the pair, tells the submitting half, once.
    pub(super) fn see_leave(&mut self, shared: &Shared, link: &PortLink, (worker, port): (usize, usize)) {
        if !self.left && shared.pair(worker, port).state() == AttachState::Detaching {
            self.left = true;
            link.worker_left(worker);
        }
    }

    /// The worker has left and its ring is empty. The port then ends the frontier, once.
    fn end_frontier(&mut self, shared: &Shared, (worker, port): (usize, usize)) {
        if !std::mem::replace(&mut self.consumed, true) {
            shared.end_frontier(worker, port);
        }
    }

    /// Makes the current record the next one again. Without one, the payload of the last record is not needed any more.
    fn go_back(&mut self) {
        if let Some(current) = self.current.take() {
            self.ring.rewind(current.before);
        }
        if self.handed == 0 {
            self.beside = Beside::No;
        }
    }
}

/// Bytes per worker in a port's polling half.
pub(in crate::router) const PAIR_BYTES: u64 = size_of::<EgressReceiver>() as u64;

impl PollHalf {
    pub(in crate::router) fn new(
        shared: &Arc<Shared>,
        index: usize,
        ways: Vec<EgressReceiver>,
        link: Arc<PortLink>,
        wake: Arc<WakeWord>,
    ) -> Self {
        Self {
            shared: Arc::clone(shared),
            index,
            ways,
            link,
            wake,
            waiter: Waiter::default(),
            told: false,
            seat: None,
            is_gateway: false,
            first: 0,
            writer: Writer::new(),
            views: Vec::new(),
            closes: END,
            closings: END,
            notices: VecDeque::new(),
            cut_off: VecDeque::new(),
        }
    }

    /// A worker's ring to this port is corrupt and is not read any more: other code has overwritten the memory. The port's
    /// clients cannot be sure of their deliveries any more and are to be closed.
    #[cold]
    pub(super) fn cut_off_clients(&mut self) {
        let shared = Arc::clone(&self.shared);
        shared.ports[self.index].poll.corrupt_rings.add(&mut self.writer, 1);
        self.cut_off.clear();
        for (client, slot) in shared.clients.open_of(self.index, None) {
            slot.credit.close(client.generation());
            self.cut_off.push_back(client);
        }
    }

    /// From now on records for the gateway are no bad ones.
    #[cfg(not(corelane_loom))]
    pub(super) fn accept_crossings(&mut self) {
        self.is_gateway = true;
    }

    /// Gives back the ring space of what was handed out, and wakes workers that wait for the space.
    pub(in crate::router) fn release(&mut self) {
        self.views.clear();
        let mut released = 0u64;
        for (worker, way) in self.ways.iter_mut().enumerate() {
            way.go_back();
            released |= u64::from(way.ring.release()) << worker;
            if way.left && !way.has_more() {
                way.end_frontier(&self.shared, (worker, self.index));
            }
        }
        if released == 0 {
            return;
        }
        after_publishing(|| {
            for (worker, way) in self.ways.iter().enumerate() {
                if released & (1 << worker) != 0 && way.ring.memory().needs_space() {
                    self.shared.workers[worker].bell.wake().wake_if_asleep();
                }
            }
        });
    }

    /// See [`Port::acknowledge_batch`](crate::router::Port::acknowledge_batch).
    pub(in crate::router) fn acknowledge_batch(
        &mut self,
        written: impl IntoIterator<Item = (ClientId, u32, u32)>,
    ) {
        let shared = &self.shared;
        let shard = &shared.ports[self.index].poll;
        let (mut all_messages, mut all_bytes) = (0, 0);
        self.writer.controlled = shared.controls.now();
        let mut now = None;
        for (client, messages, bytes) in written {
            let Some(given) = shared.clients.acknowledge(client, self.index, messages, bytes) else {
                continue;
            };
            all_messages += u64::from(given.messages);
            all_bytes += u64::from(given.bytes);
            if let Some(line) = shared.clients.line(client).filter(|_| self.writer.controlled.detailed) {
                line.sent(self.writer.controlled.epoch, given.bytes.into());
            }
            if let Some(since) = given.sampled_at {
                let now = *now.get_or_insert_with(|| shared.clock.raw());
                shard.write_time.record(&mut self.writer, shared.clock.nanoseconds(since, now));
            }
        }
        shard.acknowledged.add(&mut self.writer, all_messages);
        shard.bytes_out.add(&mut self.writer, all_bytes);
    }

    /// See [`Port::rebind`](crate::router::Port::rebind).
    pub(in crate::router) fn rebind(&mut self, client: ClientId, token: u64) -> Result<(), ClientError> {
        let slot = self.shared.clients.open_on(client, self.index)?;
        if !mutant("rebind-old-token") {
            slot.rebind(token);
        }
        Ok(())
    }

    /// See [`Port::outstanding`](crate::router::Port::outstanding).
    pub(in crate::router) fn outstanding(&self, client: ClientId) -> Result<Outstanding, ClientError> {
        let clients = &self.shared.clients;
        clients.on(client, self.index).ok_or_else(|| clients.not_here(client))?;
        let slot = clients.present(client, self.index).ok_or(ClientError::StaleClient)?;
        Ok(slot.outstanding())
    }

    pub(in crate::router) fn link(&self) -> &PortLink {
        &self.link
    }

    pub(in crate::router) fn wake(&self) -> &Arc<WakeWord> {
        &self.wake
    }

    #[cfg(not(corelane_loom))]
    pub(in crate::router) fn as_fd(&self) -> BorrowedFd<'_> {
        match self.wake.as_fd() {
            Some(descriptor) => descriptor,
            None => unreachable!("every port is opened with the word of a descriptor"),
        }
    }

    /// Announces that the host is about to wait for the descriptor. False if there is something to poll, or
    /// room again after a refusal as full.
    pub(in crate::router) fn arm(&mut self) -> bool {
        let mut waiter = std::mem::take(&mut self.waiter);
        let news = || self.link.space_moved() || self.has_news();
        let may_wait = match &self.seat {
            Some(seat) => seat.arm(&mut waiter, news),
            None => waiter.arm_unless(&self.wake, news),
        };
        self.waiter = waiter;
        if !may_wait {
            // The thread goes on. A word that still says asleep would make it signal itself.
            self.waiter.awake(&self.wake, false);
        }
        may_wait
    }

    /// The local worker's place.
    fn local(&self) -> Result<&Arc<Seat>, NoLocalWorker> {
        self.seat.as_ref().ok_or(NoLocalWorker)
    }

    /// One cycle of the local worker. First ends the wait that the thread was in.
    pub(in crate::router) fn cycle(&mut self) -> Result<usize, CycleError> {
        self.end_wait();
        Ok(self.local()?.cycle()?)
    }

    /// Ends a wait of which nothing else is known: disarms, and reads the descriptor.
    pub(in crate::router) fn end_wait(&mut self) {
        self.waiter.awake_unsure(&self.wake);
    }

    /// See [`Port::next_due`](crate::router::Port::next_due). Does not end a wait: a host may ask between its arm and its
    /// wait.
    pub(in crate::router) fn next_due(&self) -> Result<Option<Duration>, NoLocalWorker> {
        Ok(self.local()?.next_due())
    }

    /// The port is released: it gives up its local worker.
    pub(in crate::router) fn leave_seat(&mut self) {
        self.end_wait();
        if let Some(seat) = self.seat.take() {
            seat.release();
        }
    }

    /// See [`Port::awake`](crate::router::Port::awake).
    pub(in crate::router) fn awake(&mut self, reported: bool) {
        self.waiter.awake(&self.wake, reported);
    }

    /// Whether there is something to poll or to settle.
    pub(in crate::router) fn has_news(&self) -> bool {
        self.ways.iter().any(EgressReceiver::has_news)
            || self.has_closings()
            || self.link.left() != 0
            || (!self.told && !self.ways.is_empty() && self.is_over())
    }

    /// Whether every worker has left and everything has been handed out.
    pub(in crate::router) fn is_over(&self) -> bool {
        let left = self.ways.iter().all(|way| way.left && !way.has_more());
        left && !self.has_closings() && !self.link.has_work()
    }

    /// The egress ring from a worker.
    #[cfg(all(any(test, feature = "ffi-test"), not(corelane_loom)))]
    pub(in crate::router) fn memory(&self, worker: usize) -> Option<&crate::ring::Memory> {
        self.ways.get(worker).map(|way| &**way.ring.memory())
    }

    /// Waits until there is news, or room after a refusal as full, or something is due, or `timeout` is over.
    pub(in crate::router) fn wait(&mut self, timeout: Duration) {
        let due = self.seat.as_ref().and_then(|seat| seat.next_due());
        let timeout = due.map_or(timeout, |due| due.min(timeout));
        let reported = self.arm() && self.wake.sleep(Some(timeout));
        self.awake(reported);
    }

    /// Gives up the rest of the records that were handed out in part. The settlement then finds only whole
    /// records, and what was handed out is neither given back nor counted twice.
    pub(in crate::router) fn give_up_parts(&mut self) {
        let mut rest = 0;
        for way in &mut self.ways {
            way.go_back();
            let handed = std::mem::take(&mut way.handed);
            if handed > 0
                && !mutant("room-partial-release")
                && let Ok(Some(record)) = way.ring.next()
            {
                rest += give_back_from(record.bytes, handed, &self.shared.clients);
            }
        }
        self.give_up(rest);
    }

    /// Counts messages that were handed out and can never be acknowledged.
    pub(in crate::router) fn forgive(&mut self, messages: u32, reason: Unacknowledged) {
        forgive(&self.shared.ports[self.index].poll, &mut self.writer, messages, reason);
    }

    /// Counts deliveries that will not be handed out, because the port is released.
    pub(in crate::router) fn give_up(&mut self, recipients: u64) {
        let shard = &self.shared.ports[self.index].poll;
        shard.undeliverable[Undeliverable::PortGone as usize].add(&mut self.writer, recipients);
    }
}

/// Counts the unacknowledged messages of a closed client.
pub(super) fn forgive(shard: &PollShard, writer: &mut Writer, messages: u32, reason: Unacknowledged) {
    shard.unacknowledged[reason as usize].add(writer, messages.into());
}
