//! Messages of the host itself: to one client of any port, or to a room. Part of the submitting half. A send has no
//! sender, so no client's order or limits apply. The recipient fixes the worker, which keeps the order of one port's
//! sends to one client, and of its sends to one room.
//!
//! Used by `handle` and `shared`. After publication the record goes to `worker/send`.

use crate::clients::{ClientId, ClientSlot, Phase, RoomId, SlotPlace};
use crate::error::{SubmitError, TrySubmitError};
use crate::ring::record::{IngressHeader, ingress_kind};
use crate::router::placement::ALL;
use crate::router::port::ingress::Bytes;
use crate::router::port::submit::SubmitHalf;
use crate::router::rules::MessageType;
use crate::router::shared::Shared;
use crate::sync::{Acquire, AtomicU64, mutant};
use crossbeam_utils::CachePadded;

/// Options of a message that the host sends. A number alone is the correlation.
///
/// ```
/// use corelane::{config::Config, router::{Builder, SendOptions}};
///
/// let router = Builder::new(Config::default()).start()?;
/// let mut port = router.port()?;
/// let ann = port.connect("ann", "generic", "", 1)?;
/// let offer = port.message_type("generic", "offer"); // Once, at the start.
/// port.send(ann, b"{}", SendOptions { correlation: 7, message_type: offer })?;
/// port.send(ann, b"{}", 8)?;
/// # Ok::<(), corelane::error::Error>(())
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SendOptions {
    /// The host's value for the message. Its deliveries carry it.
    pub correlation: u64,
    /// The type under which the message counts, and which says whether it is droppable. `None`, and a type of another
    /// protocol than the recipient's, mean the type `send` of the recipient's protocol.
    pub message_type: Option<MessageType>,
}

impl SendOptions {
    /// Sets the message's type.
    pub fn message_type(mut self, message_type: MessageType) -> Self {
        self.message_type = Some(message_type);
        self
    }

    /// What they say of the record. Its stamp, 0, means now.
    fn header(self) -> IngressHeader {
        IngressHeader {
            correlation: self.correlation,
            message_type: self.message_type.map_or(u32::MAX, MessageType::label),
            ..IngressHeader::default()
        }
    }
}

impl From<u64> for SendOptions {
    fn from(correlation: u64) -> Self {
        Self { correlation, message_type: None }
    }
}

impl SubmitHalf {
    /// See [`Port::send`](crate::router::Port::send).
    pub(in crate::router) fn send(
        &mut self,
        to: ClientId,
        message: &[u8],
        options: SendOptions,
    ) -> Result<(), SubmitError> {
        self.counted(|submit| submit.push_to_client(to, message, options.header()))
    }

    /// See [`Port::try_send`](crate::router::Port::try_send).
    pub(in crate::router) fn send_if_room(
        &mut self,
        to: ClientId,
        message: &[u8],
        options: SendOptions,
    ) -> Result<(), TrySubmitError> {
        self.counted_if_room(|submit| submit.push_to_client(to, message, options.header()))
    }

    /// See [`Port::send_to_room`](crate::router::Port::send_to_room).
    pub(in crate::router) fn send_to_room(
        &mut self,
        room: RoomId,
        message: &[u8],
        options: SendOptions,
    ) -> Result<(), SubmitError> {
        self.counted(|submit| submit.push_to_room(room, message, options.header()))
    }

    /// See [`Port::try_send_to_room`](crate::router::Port::try_send_to_room).
    pub(in crate::router) fn send_to_room_if_room(
        &mut self,
        room: RoomId,
        message: &[u8],
        options: SendOptions,
    ) -> Result<(), TrySubmitError> {
        self.counted_if_room(|submit| submit.push_to_room(room, message, options.header()))
    }

    /// Sends to a room. `header` has what the submitter says of the message.
    pub(super) fn push_to_room(
        &mut self,
        room: RoomId,
        message: &[u8],
        header: IngressHeader,
    ) -> Result<(), SubmitError> {
        let worker = room_worker(&self.shared, self.home, room);
        self.push_send(
            IngressHeader { kind: ingress_kind::SEND_TO_ROOM, recipient: room.0, ..header },
            worker,
            message,
        )
    }

    /// Sends to the recipient's own worker; the recipient may belong to any port. The send fails at the worker
    /// if the client has closed by then.
    pub(super) fn push_to_client(
        &mut self,
        to: ClientId,
        message: &[u8],
        header: IngressHeader,
    ) -> Result<(), SubmitError> {
        let slot = self.shared.clients.slot(to.index()).ok_or(SubmitError::StaleClient)?;
        let place = slot.place();
        // The phase may belong to another port's client. If it is read late, the record fails at the worker.
        if place.generation != to.generation() || slot.phase_of(to.generation()) != Some(Phase::Open) {
            return Err(SubmitError::StaleClient);
        }
        let worker = send_worker(&self.shared, slot, place);
        self.push_send(IngressHeader { kind: ingress_kind::SEND, recipient: to.0, ..header }, worker, message)
    }

    /// Checks a send and pushes its record to the `worker`, unless no worker can take it in order.
    fn push_send(
        &mut self,
        header: IngressHeader,
        worker: Option<usize>,
        message: &[u8],
    ) -> Result<(), SubmitError> {
        self.check(message.len())?;
        let stamp = if header.stamp == 0 { self.shared.clock.raw() } else { header.stamp };
        let header = IngressHeader { stamp, ..header };
        self.shared.permits.admit(&mut self.spare)?;
        let worker = worker.ok_or(SubmitError::Closed)?;
        self.out.push_message(&self.shared.payloads, worker, header, Bytes::Copied(message))?;
        self.shared.permits.spend(&mut self.spare);
        Ok(())
    }
}

/// The worker for host sends to a client: the one fixed at the connect. If that worker is lost, the next worker with
/// a thread of its own that is not lost, but only after the client's port has consumed everything from the lost ones
/// before it. A later send therefore never overtakes an earlier one. `None` until then, and if no such worker is left:
/// a local worker works for the clients of its own port only, because no other port may wait for its loop.
#[inline]
fn send_worker(shared: &Shared, slot: &ClientSlot, place: SlotPlace) -> Option<usize> {
    let own = if mutant("send-follows-moves") { slot.current().0 } else { usize::from(place.worker) };
    let threaded = shared.placement.threaded();
    let others = (1..=threaded).map(|offset| (own + offset) % threaded);
    for worker in std::iter::once(own).chain(others) {
        if !shared.placement.is_lost(worker) {
            return Some(worker);
        }
        let frontier = shared.workers.get(worker)?.frontiers.get(usize::from(place.port))?;
        // Acquire: pairs with the Release in `Frontier::end`, as in `ClientSlot::is_quiet`.
        if frontier.load(Acquire) != ALL {
            return None;
        }
    }
    None
}

/// The worker for host sends to a room, whose members belong to several workers. The room's place chooses one of the
/// workers with threads of their own, active or not, because a change would let a send overtake an earlier one. If
/// there is none, the port's own local worker. If that worker is lost, the next one, but only after every port has
/// consumed everything from the lost one. `None` until then.
fn room_worker(shared: &Shared, home: Option<usize>, room: RoomId) -> Option<usize> {
    let threaded = shared.placement.threaded();
    let first = if mutant("room-send-moves") { shared.clock.raw() as usize } else { room.index() };
    let candidates = (0..threaded).map(|offset| (first + offset) % threaded).chain(home);
    first_in_order(shared, candidates, |worker| frontiers_of(shared, worker))
}

fn frontiers_of(shared: &Shared, worker: usize) -> &[CachePadded<AtomicU64>] {
    shared.workers.get(worker).map_or(&[], |worker| &worker.frontiers)
}

/// The first of the workers that is not lost, if the frontiers of each lost one before it say that nothing of it is
/// under way.
#[inline]
fn first_in_order<'a>(
    shared: &Shared,
    candidates: impl Iterator<Item = usize>,
    frontiers: impl Fn(usize) -> &'a [CachePadded<AtomicU64>],
) -> Option<usize> {
    for worker in candidates {
        if !shared.placement.is_lost(worker) {
            return Some(worker);
        }
        // Acquire: pairs with the Release in `Frontier::end`, as in `ClientSlot::is_quiet`.
        if frontiers(worker).iter().any(|frontier| frontier.load(Acquire) != ALL) {
            return None;
        }
    }
    None
}
