//! The links of a machine to all others, on the router's gateway: which incarnation is in which slot, and the numbers that
//! keep epochs and tickets apart. Without I/O and without a clock.

use std::collections::BTreeMap;

use super::directory::{Change, Directory};
use super::link::Moment;
use super::names::Names;
use super::peer::{Machine, Peer, Taken, read_ticket};
use super::seam::Outgoing;
use super::wire::Frame;
use crate::router::{FromWorker, Gateway};

/// All links of a machine.
#[derive(Debug, Default)]
pub struct Links {
    /// By incarnation.
    peers: BTreeMap<u64, Peer>,
    /// By slot: the incarnation of the link.
    slots: Vec<Option<u64>>,
    epochs: u32,
    tags: u16,
}

/// What [`Links::change`] could not do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refused {
    /// There is no slot for another machine.
    Machine,
    /// The router's directory has no room for the name, or its machine has no link.
    Name,
    /// It has no room for the room.
    Room,
}

impl Links {
    /// The link to an incarnation.
    pub fn get_mut(&mut self, incarnation: u64) -> Option<&mut Peer> {
        self.peers.get_mut(&incarnation)
    }

    /// The incarnations that have links.
    pub fn incarnations(&self) -> Vec<u64> {
        self.peers.keys().copied().collect()
    }

    /// The links.
    pub fn values(&self) -> impl Iterator<Item = &Peer> {
        self.peers.values()
    }

    /// The links.
    pub fn values_mut(&mut self) -> impl Iterator<Item = &mut Peer> {
        self.peers.values_mut()
    }

    fn in_slot(&mut self, slot: u8) -> Option<&mut Peer> {
        let incarnation = (*self.slots.get(usize::from(slot))?)?;
        self.peers.get_mut(&incarnation)
    }

    /// Takes a record of a worker: a message for a link, or the result of one that came over a link.
    pub fn record(&mut self, record: FromWorker<'_>, now: Moment) {
        match record {
            FromWorker::Message {
                link,
                worker,
                name,
                is_room,
                revision,
                message_type,
                correlation,
                age,
                payload,
            } => {
                let message = Outgoing { name, is_room, revision, message_type, correlation, age, payload };
                if let Some(peer) = self.in_slot(link.slot).filter(|peer| peer.link == link) {
                    peer.push(worker, &message, now);
                }
            }
            FromWorker::Result { ticket, outcome } => {
                let (slot, tag, sequence) = read_ticket(ticket);
                if let Some(peer) = self.in_slot(slot) {
                    peer.result(tag, sequence, outcome);
                }
            }
        }
    }

    /// Takes a frame. False: its sender has no link.
    pub fn frame(&mut self, frame: &Frame<'_>, gateway: &mut Gateway, names: &Names, now: Moment) -> bool {
        let Some(peer) = self.peers.get_mut(&frame.from) else { return false };
        let mut machine = Machine { gateway, names, now, tag: (0, 0) };
        match peer.take(frame, now, &mut machine) {
            Taken::Going => {}
            Taken::Up => gateway.link_up(peer.link),
            Taken::Lost => self.lose(frame.from, gateway, now),
        }
        true
    }

    /// Everything in flight on a link is lost.
    pub fn lose(&mut self, incarnation: u64, gateway: &mut Gateway, now: Moment) {
        self.epochs = self.epochs.wrapping_add(1);
        if let Some(peer) = self.peers.get_mut(&incarnation) {
            let link = gateway.lose_link(peer.link);
            peer.restart(link, self.epochs, now);
        }
    }

    /// This machine has another incarnation: all links begin again, in both directions.
    pub fn begin_again(&mut self, gateway: &mut Gateway, now: Moment) {
        for incarnation in self.incarnations() {
            self.lose(incarnation, gateway, now);
            self.tags = self.tags.wrapping_add(1);
            if let Some(peer) = self.peers.get_mut(&incarnation) {
                peer.forget_received(self.tags);
            }
        }
    }

    /// Passes a change of the directory on to the router. `subject` is that of a machine's frames; `max_payload` is the most
    /// bytes of a frame.
    ///
    /// # Errors
    /// [`Refused`]: there is no room. Nothing has changed.
    pub fn change(
        &mut self,
        change: Change,
        (gateway, directory): (&mut Gateway, &Directory),
        subject: impl FnOnce(&str, u64) -> String,
        max_payload: usize,
        now: Moment,
    ) -> Result<(), Refused> {
        match change {
            Change::Up(incarnation) => {
                if self.peers.contains_key(&incarnation) {
                    return Ok(());
                }
                let (Some(info), Some(link)) = (directory.machine(incarnation), gateway.open_link()) else {
                    return Err(Refused::Machine);
                };
                self.epochs = self.epochs.wrapping_add(1);
                self.tags = self.tags.wrapping_add(1);
                let who = (incarnation, info.machine.as_str());
                let subject = subject(&info.machine, incarnation);
                let numbers = (self.epochs, self.tags);
                self.peers.insert(incarnation, Peer::new(who, subject, link, numbers, max_payload, now));
                let slot = usize::from(link.slot);
                self.slots.resize(self.slots.len().max(slot + 1), None);
                if let Some(slot) = self.slots.get_mut(slot) {
                    *slot = Some(incarnation);
                }
            }
            Change::Down(incarnation) => {
                if let Some(peer) = self.peers.remove(&incarnation) {
                    gateway.close_link(peer.link);
                    if let Some(slot) = self.slots.get_mut(usize::from(peer.link.slot)) {
                        *slot = None;
                    }
                }
            }
            Change::Place(name, incarnation, revision) => {
                let link = self.peers.get(&incarnation).map(|peer| peer.link);
                if !link.is_some_and(|link| gateway.place(&name, link, revision)) {
                    gateway.displace(&name);
                    return Err(Refused::Name);
                }
            }
            Change::Displace(name) => gateway.displace(&name),
            Change::Interest(room) => {
                let peers = directory.interested(&room).filter_map(|one| self.peers.get(&one));
                let links = peers.fold(0, |links, peer| links | 1_u64 << peer.link.slot);
                if !gateway.set_interest(&room, links) {
                    return Err(Refused::Room);
                }
            }
        }
        Ok(())
    }
}
