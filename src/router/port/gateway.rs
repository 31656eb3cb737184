//! [`Gateway`]: the port through which the workers reach other machines. One thread uses it. It takes the messages that the
//! workers hand over, gives them the answers of the other machines, delivers what other machines have sent, and keeps the
//! directory (`elsewhere`) up to date. It knows nothing of the network.
//!
//! Used by `cluster` and by the simulator. The records come from `worker/remote` and `worker/unknown`, and go there.

use crate::clients::{ClientId, NameHash, RoomChanges};
use crate::error::{Closed, Loss, PortError, SubmitError, TrySubmitError};
#[cfg(all(feature = "nats", not(corelane_loom)))]
use crate::metrics::ClusterFigures;
use crate::metrics::TypeId;
use crate::park::post_bit;
use crate::ring::record::{
    DeliveryHeader, IngressHeader, delivery_flag, delivery_kind, ingress_flag, ingress_kind,
};
use crate::router::crossing::{Answer, Asked, Head};
use crate::router::elsewhere::{
    Directory, Elsewhere, GatewayOptions, Incoming, LinkId, LinkSet, MAX_LINKS, Reject, Whereabouts,
};
use crate::router::notice::Notice;
use crate::router::port::closings::Closing;
use crate::router::port::handle::Port;
use crate::router::port::walk::Found;
use crate::router::shared::Shared;
use crate::sync::Arc;
#[cfg(all(feature = "nats", not(corelane_loom)))]
use crate::sync::lock;
use std::collections::VecDeque;
use std::os::fd::{AsFd, BorrowedFd};
use std::time::Duration;

/// Why a message of another machine is not on its way to its recipient.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DeliverError {
    /// No client, or no room with members, has this name here.
    Gone,
    /// There is no room now: tell the sender so, or try later.
    Full(SubmitError),
    /// It can never be delivered, for this reason.
    Refused(SubmitError),
}

/// What a worker has for the gateway.
#[derive(Clone, Copy, Debug)]
pub enum FromWorker<'a> {
    /// A message for another machine. If the epoch is not the link's present one, drop it: its worker ends it as lost.
    Message {
        /// The link.
        link: LinkId,
        /// The worker that waits for the answer.
        worker: usize,
        /// The recipient's name, or the room's.
        name: &'a str,
        /// Whether it is for a room.
        is_room: bool,
        /// The revision of the recipient's entry in the directory; 0 for a room.
        revision: u64,
        /// The name of its type.
        message_type: &'a str,
        /// The submitter's correlation.
        correlation: u64,
        /// How long ago it was stamped.
        age: Duration,
        /// The bytes to deliver.
        payload: &'a [u8],
    },
    /// How a message that [`Gateway::deliver`] took has ended.
    Result {
        /// Its ticket.
        ticket: u64,
        /// The outcome.
        outcome: Result<(), Loss>,
    },
    /// Where is a name that the table does not have? Comes only after [`Gateway::set_complete`] has said that the table has
    /// not all names. The worker waits for [`Gateway::answer_ask`].
    Ask {
        /// The worker that asks.
        worker: usize,
        /// The name.
        name: &'a str,
    },
}

/// A worker's records that its ring had no room for, in order.
type Waiting = VecDeque<(u16, Vec<u8>)>;

/// The most rejects in one record.
const MOST_REJECTS: usize = 128;

/// The gateway's port. Dropping it ends everything that is under way as lost, and no name or room is elsewhere any more.
#[derive(Debug)]
pub struct Gateway {
    port: Port,
    /// By slot: the present epoch, and whether the slot is in use.
    links: Vec<(u32, bool)>,
    /// By worker. Not more than the answers that the workers wait for.
    waiting: Vec<Waiting>,
    /// Names that were placed since the last publication, as bits of [`post_bit`].
    posts: u64,
}

impl Gateway {
    /// Opens the gateway of a router. One at a time.
    pub(in crate::router) fn open(
        shared: &Arc<Shared>,
        options: GatewayOptions,
        cycle: impl Fn() -> usize,
    ) -> Result<Self, PortError> {
        let directory = shared.other_machines.get_or_init(|| Directory::new(options));
        // Dropped at an error below, which gives the place back.
        let Some(place) = directory.take_place() else { return Err(PortError::TooManyPorts(1)) };
        let mut port = Port::open(shared, None, cycle)?;
        port.poll.accept_crossings();
        let links = (0..MAX_LINKS as u8).map(|slot| (directory.link(slot).0, false)).collect();
        directory.set_options(options);
        place.keep(port.submit.index);
        Ok(Self { port, links, waiting: shared.workers.iter().map(|_| Waiting::new()).collect(), posts: 0 })
    }

    /// The figures of the cluster are among the router's from now on.
    #[cfg(all(feature = "nats", not(corelane_loom)))]
    pub(crate) fn show(&self, figures: &Arc<ClusterFigures>) {
        *lock(&self.shared().hub.cluster) = Some(Arc::clone(figures));
    }

    fn shared(&self) -> &Arc<Shared> {
        &self.port.submit.shared
    }

    fn directory(&self) -> &Directory {
        match self.shared().directory() {
            Some(directory) => directory,
            None => unreachable!("the gateway has made it"),
        }
    }

    fn hash(&self, name: &str) -> NameHash {
        self.shared().clients.names().hash(name.as_bytes())
    }

    /// Takes a free slot for a link. The link is down. `None` if all 255 are in use.
    pub fn open_link(&mut self) -> Option<LinkId> {
        let slot = self.links.iter().position(|(_, used)| !used)?;
        let (epoch, used) = self.links.get_mut(slot)?;
        *used = true;
        *epoch = epoch.wrapping_add(1);
        let link = LinkId { slot: slot as u8, epoch: *epoch };
        self.directory().set_link(link, false);
        Some(link)
    }

    /// Lets messages flow on a link, and has the workers look up what they hold.
    pub fn link_up(&mut self, link: LinkId) {
        if self.is_present(link) {
            self.directory().set_link(link, true);
            for worker in &self.shared().workers {
                worker.bell.post_all();
            }
        }
    }

    /// Takes a link down and changes its epoch. All messages under way on it end as lost.
    pub fn lose_link(&mut self, link: LinkId) -> LinkId {
        if !self.is_present(link) {
            return link;
        }
        let shared = Arc::clone(self.shared());
        let Some(directory) = shared.directory() else { return link };
        let next = directory.lose_link(link, || {
            for worker in 0..self.waiting.len() {
                self.push(worker, ingress_kind::LINK_LOST, Answer::bytes(link, 0, &[]));
            }
            self.publish();
        });
        if let Some((epoch, _)) = self.links.get_mut(usize::from(link.slot)) {
            *epoch = next.epoch;
        }
        next
    }

    /// As [`lose_link`](Self::lose_link), and the slot is free again. Displace the names of that machine first.
    pub fn close_link(&mut self, link: LinkId) {
        if self.is_present(link) {
            self.lose_link(link);
            if let Some((_, used)) = self.links.get_mut(usize::from(link.slot)) {
                *used = false;
            }
        }
    }

    /// Whether this is the link's present epoch.
    pub fn is_present(&self, link: LinkId) -> bool {
        self.links.get(usize::from(link.slot)) == Some(&(link.epoch, true))
    }

    /// Notes that a name is on the machine of a link, under this revision. The workers see it at once, and what they hold
    /// for it goes there after the next [`publish`](Self::publish). False if the table is full.
    pub fn place(&mut self, name: &str, link: LinkId, revision: u64) -> bool {
        let hash = self.hash(name);
        self.posts |= post_bit(hash.0);
        self.directory().place(hash, Elsewhere { slot: link.slot, revision })
    }

    /// Notes that a name is on no other machine.
    pub fn displace(&self, name: &str) {
        self.directory().displace(self.hash(name));
    }

    /// Whether [`place`](Self::place) is called for every name on another machine. While it is not, workers ask for the names that
    /// they do not find ([`FromWorker::Ask`]), also for those for which they hold messages already.
    pub fn set_complete(&mut self, is_complete: bool) {
        self.directory().set_incomplete(!is_complete);
        if !is_complete {
            for worker in &self.shared().workers {
                worker.bell.post_all();
            }
        }
    }

    /// Whether a worker has looked a placed name up since the last call for it. For a name that was placed since: yes.
    pub fn take_used(&self, name: &str) -> bool {
        self.directory().take_used(self.hash(name))
    }

    /// Answers a worker that has asked for a name. The worker sees it after [`publish`](Self::publish), and sends what it holds
    /// for the name there, whether the table has the name or not.
    pub fn answer_ask(&mut self, worker: usize, name: &str, answer: Whereabouts) {
        let asked = Asked { hash: self.hash(name), answer: answer.into() };
        self.push(worker, ingress_kind::ASKED, asked.bytes());
    }

    /// Notes which links lead to members of a room. False if the table is full.
    pub fn set_interest(&self, room: &str, links: LinkSet) -> bool {
        self.directory().set_interest(self.hash(room), links)
    }

    /// The rooms that have got their first member here or lost their last one since the last call; all rooms with members
    /// at the first one. `None` for nothing. Takes the lock of the rooms.
    pub fn room_changes(&mut self) -> Option<RoomChanges> {
        self.shared().rooms.changes()
    }

    /// Notes that the client of this name has connected again, to another machine or here. What it leaves unacknowledged is
    /// counted as replaced once the host has disconnected it.
    pub fn replaced(&self, name: &str) {
        let clients = &self.shared().clients;
        let client = clients.find(self.hash(name), name.as_bytes());
        if let Some((client, slot)) = client.and_then(|client| Some((client, clients.get(client)?))) {
            slot.set_replaced(client.generation());
        }
    }

    /// Whether a client of this name is connected here.
    pub fn is_local(&self, name: &str) -> bool {
        self.shared().clients.find(self.hash(name), name.as_bytes()).is_some()
    }

    /// Ends the oldest `count` messages that a worker waits for on a link. `rejects` are those that were not delivered:
    /// their places among the `count`, ascending. The worker sees it after [`publish`](Self::publish).
    pub fn acknowledge(&mut self, link: LinkId, worker: usize, count: u32, rejects: &[(u32, Reject)]) {
        let (mut done, mut rest) = (0, rejects);
        while done < count {
            let (now, later) = rest.split_at(rest.len().min(MOST_REJECTS));
            // With further rejects, only up to the last one of this record.
            let until =
                if later.is_empty() { count } else { now.last().map_or(count, |(place, _)| place + 1) };
            let now: Vec<_> = now.iter().map(|(place, reject)| (place - done, *reject)).collect();
            self.push(worker, ingress_kind::ANSWERED, Answer::bytes(link, until - done, &now));
            (done, rest) = (until, later);
        }
    }

    fn push(&mut self, worker: usize, kind: u16, bytes: Vec<u8>) {
        if let Some(waiting) = self.waiting.get_mut(worker) {
            waiting.push_back((kind, bytes));
        }
        self.push_waiting(worker);
    }

    /// Pushes what fits. What is for a worker that has ended is dropped: its messages have ended with it.
    fn push_waiting(&mut self, worker: usize) {
        let Some(waiting) = self.waiting.get_mut(worker) else { return };
        while let Some((kind, bytes)) = waiting.front() {
            let header = IngressHeader { kind: *kind, ..IngressHeader::default() };
            if self.port.submit.out.push_control(worker, &header, bytes) == Err(SubmitError::RingFull) {
                self.port.submit.out.stall(worker);
                return;
            }
            waiting.pop_front();
        }
    }

    /// Sends a message of another machine on to its recipient, as a message of the host. A result with this ticket
    /// follows. The worker sees it after [`publish`](Self::publish). `accepts` is asked about the client that has the name
    /// now; a no is [`DeliverError::Gone`].
    ///
    /// # Errors
    /// [`DeliverError`]. Nothing follows.
    pub fn deliver(
        &mut self,
        incoming: &Incoming<'_>,
        ticket: u64,
        accepts: impl FnOnce(ClientId) -> bool,
    ) -> Result<(), DeliverError> {
        let shared = Arc::clone(self.shared());
        let age = shared.clock.ticks(incoming.age);
        let header = IngressHeader {
            flags: ingress_flag::RESULT,
            stamp: shared.clock.raw().saturating_sub(age),
            correlation: incoming.correlation,
            message_type: u32::MAX,
            call: ticket,
            ..IngressHeader::default()
        };
        let submit = &mut self.port.submit;
        let sent = if incoming.is_room {
            let room = shared.rooms.id_of(incoming.name).ok_or(DeliverError::Gone)?;
            submit.counted_if_room(|submit| submit.push_to_room(room, incoming.payload, header))
        } else {
            let name = incoming.name.as_bytes();
            let hash = shared.clients.names().hash(name);
            let to = shared.clients.find(hash, name).filter(|to| accepts(*to)).ok_or(DeliverError::Gone)?;
            let rules = shared.clients.get(to).and_then(|slot| shared.rules_of(slot));
            let label = rules.and_then(|(rules, _)| rules.type_named(incoming.message_type));
            let header =
                IngressHeader { message_type: label.map_or(u32::MAX, |id| u32::from(id.0)), ..header };
            submit.counted_if_room(|submit| submit.push_to_client(to, incoming.payload, header))
        };
        sent.map_err(|error| match error {
            TrySubmitError::Full(reason) => DeliverError::Full(reason),
            TrySubmitError::Refused(SubmitError::StaleClient) => DeliverError::Gone,
            TrySubmitError::Refused(reason) => DeliverError::Refused(reason),
        })
    }

    /// Makes everything visible that was pushed or placed, and wakes the workers.
    pub fn publish(&mut self) {
        for worker in 0..self.waiting.len() {
            self.push_waiting(worker);
        }
        self.port.publish();
        let posts = std::mem::take(&mut self.posts);
        if posts != 0 {
            for worker in &self.shared().workers {
                worker.bell.post_bits(posts);
            }
        }
    }

    /// Takes up to `limit` records of the workers, and passes each to `each`. Returns how many were taken.
    ///
    /// # Errors
    /// [`Closed`]: the router has stopped, and nothing comes any more.
    pub fn poll(&mut self, limit: usize, mut each: impl FnMut(FromWorker<'_>)) -> Result<usize, Closed> {
        for worker in 0..self.waiting.len() {
            self.push_waiting(worker);
        }
        let mut walk = match self.port.poll.begin(limit) {
            Ok(walk) => walk,
            Err(closed) => {
                self.port.follow_up();
                return Err(closed);
            }
        };
        let shared = Arc::clone(self.shared());
        while let Some(found) = self.port.poll.find(&mut walk) {
            match found {
                Found::Record { worker, record, .. } if record.header.kind == delivery_kind::ELSEWHERE => {
                    let bytes = self.port.poll.payload(worker, &record);
                    if let Some(message) = message_of(&shared, worker, &record.header, bytes) {
                        each(message);
                    }
                }
                Found::Record { worker, record, .. } if record.header.kind == delivery_kind::ASK => {
                    let bytes = self.port.poll.payload(worker, &record);
                    if let Ok(name) = std::str::from_utf8(bytes) {
                        each(FromWorker::Ask { worker, name });
                    } else {
                        // No machine has such a name.
                        let hash = shared.clients.names().hash(bytes);
                        let asked = Asked { hash, answer: Whereabouts::Nowhere.into() };
                        self.push(worker, ingress_kind::ASKED, asked.bytes());
                    }
                }
                Found::Record { record, .. } => result_of(&record.header, &mut each),
                Found::Closing(Closing::Notice { notice, .. }) => result_of(&notice.header, &mut each),
                Found::Closing(_) => {}
            }
        }
        let taken = walk.taken;
        self.port.poll.release();
        self.port.follow_up();
        Ok(taken)
    }

    /// Announces that the thread is about to wait for the descriptor. False if there is something to poll.
    pub fn arm(&mut self) -> bool {
        self.port.arm()
    }

    /// Waits until there is something to poll, or `timeout` is over.
    pub fn wait(&mut self, timeout: Duration) {
        self.port.wait(timeout);
    }

    /// Whether every worker has ended and everything was taken.
    pub fn is_over(&self) -> bool {
        self.port.is_over()
    }
}

impl AsFd for Gateway {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.port.as_fd()
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        for slot in 0..self.links.len() as u8 {
            let (epoch, _) = self.directory().link(slot);
            // A worker that still hands something over does so in an epoch that has ended.
            self.directory().set_link(LinkId { slot, epoch: epoch.wrapping_add(1) }, false);
        }
        self.directory().clear();
        self.directory().leave_place();
        self.shared().rooms.end_changes();
    }
}

fn message_of<'a>(
    shared: &'a Shared,
    worker: usize,
    header: &DeliveryHeader,
    bytes: &'a [u8],
) -> Option<FromWorker<'a>> {
    let (head, name, payload) = Head::read(bytes)?;
    let age = shared.clock.nanoseconds(header.stamp, shared.clock.raw());
    Some(FromWorker::Message {
        link: LinkId { slot: head.at.slot, epoch: head.epoch },
        worker,
        name: std::str::from_utf8(name).ok()?,
        is_room: header.flags & delivery_flag::ROOM != 0,
        revision: head.at.revision,
        message_type: shared.labels.type_name(TypeId(header.message_type as u16)),
        correlation: header.correlation,
        age: Duration::from_nanos(age),
        payload,
    })
}

fn result_of(header: &DeliveryHeader, each: &mut impl FnMut(FromWorker<'_>)) {
    if header.kind == delivery_kind::RESULT {
        each(FromWorker::Result { ticket: header.correlation, outcome: Notice::result(header) });
    }
}
