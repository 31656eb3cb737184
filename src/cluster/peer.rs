//! A link to one incarnation of another machine: its two ends, and the frames between them.

use super::link::Moment;
use super::link::receiver::{Place, Receiver, Recipient};
use super::link::sender::{Due, Heard, Limits, Sender};
use super::names::{Names, OPENING};
use super::seam::{DeliverError, Incoming, LinkId, Outgoing, Reject};
use super::tickets::ticket;
use super::wire::{self, Frame, Kind, Records};
use crate::error::{Failed, Loss, SubmitError};
use crate::metrics::LinkStatus;
use crate::router::{self, Gateway};
use crate::sync::mutant;

/// The bytes of records in a frame.
const FRAME_BYTES: usize = 64 << 10;

/// A link to another machine.
#[derive(Debug)]
pub struct Peer {
    /// The other machine's incarnation.
    pub incarnation: u64,
    /// The subject of its frames.
    pub subject: String,
    /// The router's link.
    pub link: LinkId,
    /// Of the tickets of the receiving end's epoch, if there is one.
    tag: Option<u16>,
    /// It waits for an acknowledgement.
    pub owes: bool,
    sender: Sender,
    receiver: Receiver,
    figures: LinkStatus,
    /// What links to earlier incarnations of the machine have counted.
    inherited: LinkStatus,
    /// A receiver that cannot go on has said so in this epoch.
    resets: bool,
}

impl Peer {
    /// A link that is down.
    pub fn new(
        (incarnation, machine): (u64, &str),
        subject: String,
        link: LinkId,
        epoch: u32,
        max_payload: usize,
        now: Moment,
    ) -> Self {
        let limits = limits_of(max_payload);
        let figures = LinkStatus {
            machine: machine.to_owned(),
            incarnation: format!("{incarnation:016x}"),
            ..LinkStatus::default()
        };
        let (sender, receiver) = (Sender::new(epoch, limits, now), Receiver::default());
        Self {
            incarnation,
            subject,
            link,
            tag: None,
            owes: false,
            sender,
            receiver,
            figures,
            inherited: LinkStatus::default(),
            resets: false,
        }
    }

    /// The figures now.
    pub fn status(&self) -> LinkStatus {
        let received = self.receiver.figures();
        let mut status = LinkStatus {
            up: self.sender.is_up(),
            in_flight: self.sender.in_flight(),
            round_trip_us: self.sender.round_trip().map_or(0, |time| time.as_micros() as u64),
            received: received.received,
            receive_lost: received.lost,
            stale: received.stale,
            receive_rejected: received.rejected,
            ..self.figures.clone()
        };
        status.add_counts(&self.inherited);
        status
    }

    /// Goes on with the counts of a link to an earlier incarnation of its machine, so that a machine's counts do not go back.
    pub fn succeed(&mut self, before: &Self) {
        let mut counts = before.status();
        counts.lost += counts.in_flight as u64;
        counts.losses += u64::from(counts.up);
        self.inherited.add_counts(&counts);
    }

    /// The name of its machine.
    pub fn machine(&self) -> &str {
        &self.figures.machine
    }

    /// Takes a message of a worker.
    pub fn push(&mut self, worker: usize, message: &Outgoing<'_>, now: Moment) {
        self.figures.sent += 1;
        self.sender.push(worker, message, now);
    }

    /// Whether nothing is in flight to it.
    pub fn is_idle(&self) -> bool {
        self.sender.is_idle()
    }

    /// Whether it has records for a frame, or an acknowledgement to send.
    pub fn wants_to_send(&self) -> bool {
        self.owes || self.sender.has_frame()
    }

    /// Whether nothing is in flight in either direction, and everything is acknowledged.
    pub fn is_settled(&self) -> bool {
        self.is_idle() && !self.wants_to_send() && self.receiver.is_settled()
    }

    /// Whether records wait for room in the router or for a connect.
    pub fn is_waiting(&self) -> bool {
        self.receiver.is_waiting()
    }

    /// What is due.
    pub fn due(&mut self, now: Moment) -> Due {
        self.sender.due(now)
    }

    /// Everything in flight is lost, and the link begins again. The router has given it another epoch already.
    pub fn restart(&mut self, link: LinkId, epoch: u32, now: Moment) {
        self.figures.losses += u64::from(self.sender.is_up());
        if !mutant("cluster-lost-uncounted") {
            self.figures.lost += self.sender.in_flight() as u64;
        }
        self.link = link;
        self.sender.restart(epoch, now);
    }

    /// This machine has another incarnation: the other side's link to the one before has ended.
    pub fn forget_received(&mut self) {
        self.receiver.forget();
        self.owes = false;
    }

    /// A NATS server takes payloads up to this size. False: a frame that is to be sent is larger.
    pub fn set_max_payload(&mut self, max_payload: usize) -> bool {
        self.sender.set_limits(limits_of(max_payload))
    }

    /// Whether a frame begins an epoch of the receiving end, which needs a tag of its own.
    pub fn begins(&self, frame: &Frame<'_>) -> bool {
        frame.kind == Kind::Hello && self.receiver.begins(frame.position.epoch)
    }

    /// The tag of the tickets from now on. Returns the one before.
    pub fn set_tag(&mut self, tag: u16) -> Option<u16> {
        self.tag.replace(tag)
    }

    /// The tag of the tickets.
    pub fn tag(&self) -> Option<u16> {
        self.tag
    }

    /// A frame without records.
    pub fn bare(&self, kind: Kind, own: u64) -> Vec<u8> {
        self.head(kind, own, self.sender.position())
    }

    fn head(&self, kind: Kind, own: u64, position: wire::Position) -> Vec<u8> {
        let acknowledgement = self.receiver.acknowledgement();
        let mut out = Vec::with_capacity(256);
        wire::write_head(&mut out, kind, (own, self.incarnation), position, acknowledgement.as_ref());
        out
    }

    /// The next frame: records, or only an acknowledgement.
    pub fn frame(&mut self, own: u64, now: Moment) -> Option<Vec<u8>> {
        let frame = match self.sender.take_frame(now) {
            Some((position, records)) => self.data(own, position, &records),
            None if std::mem::take(&mut self.resets) => self.bare(Kind::Reset, own),
            None if self.owes => self.bare(Kind::Acknowledgement, own),
            None => return None,
        };
        self.owes = self.resets;
        Some(frame)
    }

    fn data(&self, own: u64, position: wire::Position, records: &Records) -> Vec<u8> {
        let mut out = self.head(Kind::Data, own, position);
        records.write(&mut out);
        out
    }

    /// Takes a frame. True: the router's link is up now.
    pub fn take(&mut self, frame: &Frame<'_>, now: Moment, machine: &mut Machine<'_>) -> Taken {
        let mut taken = Taken::Going;
        if let Some(acknowledgement) = &frame.acknowledgement {
            if frame.kind == Kind::Reset && acknowledgement.epoch == self.sender.epoch() {
                return Taken::Lost;
            }
            if self.sender.acknowledged(acknowledgement, now) == Heard::Up {
                taken = Taken::Up;
            }
            for settled in self.sender.settled() {
                self.count(settled.count, &settled.rejects);
                machine.gateway.acknowledge(self.link, settled.worker, settled.count, &settled.rejects);
            }
        }
        machine.tag = self.tag.unwrap_or_default();
        match self.receiver.take(frame, now, machine) {
            super::link::receiver::Taken::Yes | super::link::receiver::Taken::Stale => {}
            super::link::receiver::Taken::Reset => self.resets = true,
        }
        self.owes |= !matches!(frame.kind, Kind::Acknowledgement | Kind::Reset);
        taken
    }

    fn count(&mut self, count: u32, rejects: &[(u32, Reject)]) {
        self.figures.delivered += u64::from(count) - rejects.len() as u64;
        for (_, reject) in rejects {
            match reject {
                Reject::Gone => self.figures.gone += 1,
                Reject::Lost => self.figures.lost += 1,
                Reject::Expired | Reject::Failed(_) => self.figures.rejected += 1,
            }
        }
    }

    /// Offers again what waits for room or for a connect.
    pub fn retry(&mut self, now: Moment, machine: &mut Machine<'_>) {
        machine.tag = self.tag.unwrap_or_default();
        self.owes |= self.receiver.retry(now, machine);
    }

    /// The router's result for a ticket.
    pub fn result(&mut self, tag: u16, sequence: u64, outcome: Result<(), Loss>, names: &mut Names) {
        if self.tag == Some(tag)
            && let Some(epoch) = self.receiver.epoch()
        {
            self.receiver.result(epoch, sequence, outcome.map_err(reject_of), |name, revision| {
                names.set_gone(name, revision);
            });
            self.owes = true;
        }
    }
}

/// Of the server's largest payload.
fn limits_of(max_payload: usize) -> Limits {
    let record = max_payload.saturating_sub(wire::MAX_HEAD_BYTES);
    Limits { frame: FRAME_BYTES.min(record), record }
}

/// What a frame has done to the link.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Taken {
    /// Nothing that concerns the router.
    Going,
    /// It is up now.
    Up,
    /// The other side cannot go on: the link is lost.
    Lost,
}

/// This machine, as a receiving end sees it.
#[derive(Debug)]
pub struct Machine<'a> {
    /// Its router.
    pub gateway: &'a mut Gateway,
    /// Its names.
    pub names: &'a mut Names,
    /// The time.
    pub now: Moment,
    /// The tag of the tickets.
    tag: u16,
    /// How many messages the router has taken.
    pub taken: u64,
}

impl<'a> Machine<'a> {
    /// This machine now.
    pub fn new(gateway: &'a mut Gateway, names: &'a mut Names, now: Moment) -> Self {
        Self { gateway, names, now, tag: 0, taken: 0 }
    }
}

impl Recipient for Machine<'_> {
    fn deliver(&mut self, incoming: &Incoming<'_>, sequence: u64) -> Result<(), DeliverError> {
        let (names, mut is_replaced) = (&mut *self.names, false);
        let accepts = |client| {
            is_replaced = !names.accepts(incoming.name, client);
            !is_replaced
        };
        let delivered = self.gateway.deliver(incoming, ticket(self.tag, sequence), accepts);
        self.taken += u64::from(delivered.is_ok());
        delivered.map_err(|error| match error {
            router::DeliverError::Gone if is_replaced => DeliverError::Replaced,
            router::DeliverError::Gone => DeliverError::Gone,
            router::DeliverError::Full(_) => DeliverError::Full,
            router::DeliverError::Refused(reason) => DeliverError::Refused(Reject::Failed(match reason {
                SubmitError::TooLarge => Failed::TooLarge as u16,
                _ => Failed::Stopped as u16,
            })),
        })
    }

    fn place(&self, name: &str, revision: u64) -> Place {
        match self.names.owned(name) {
            _ if self.names.was_gone(name, revision) => Place::Elsewhere,
            Some((own, since)) if own == revision || mutant("cluster-any-revision") => {
                if self.now < since + OPENING { Place::Opening } else { Place::Here }
            }
            _ if self.names.may_become(name, revision) => Place::Writing,
            _ => Place::Elsewhere,
        }
    }

    fn set_gone(&mut self, name: &str, revision: u64) {
        self.names.set_gone(name, revision);
    }
}

/// What the sender's machine is told of a loss here.
fn reject_of(loss: Loss) -> Reject {
    match loss {
        Loss::Expired => Reject::Expired,
        Loss::Failed(Failed::UnknownRecipient | Failed::RecipientClosed | Failed::StaleClient) => {
            Reject::Gone
        }
        Loss::Failed(reason) => Reject::Failed(reason as u16),
        Loss::Refused(SubmitError::StaleClient) => Reject::Gone,
        Loss::Refused(_) => Reject::Failed(Failed::WorkerLost as u16),
    }
}
