//! What NATS tells: each piece of news goes to the pure machine that it concerns.

use super::{Driver, Host};
use crate::cluster::directory::REFILL;
use crate::cluster::keys::{self, Key};
use crate::cluster::lease;
use crate::cluster::link::Moment;
use crate::cluster::links::Refused;
use crate::cluster::names::{Operation, Outcome, Seen};
use crate::cluster::nats::News;

impl<H: Host> Driver<H> {
    pub(super) fn news(&mut self, news: News, now: Moment) {
        match news {
            News::Connected => {
                self.is_connected = true;
                (self.is_refused, self.status.problem) = (false, None);
            }
            News::Problem(text) => self.problem(text, false),
            News::NotWritten(text) => {
                self.is_not_written = true;
                self.problem(text, false);
            }
            News::Refused(text) => self.problem(text, true),
            News::Disconnected => {
                self.is_connected = false;
                self.status.problem.get_or_insert_with(|| "the connection to NATS was lost".to_owned());
                self.links.disconnected(&mut self.gateway, now);
            }
            News::BucketIsNew => {
                self.claims_from = now + REFILL;
                self.is_new_bucket = true;
                self.lease.bucket_is_new(now);
                self.names.bucket_is_new();
                self.directory.bucket_is_new();
                self.rooms.write_all();
            }
            News::WatchBegins => {
                self.is_connected = true;
                self.has_bucket = true;
                self.status.problem.take_if(|_| !self.is_refused);
                self.directory.begin(std::mem::take(&mut self.is_new_bucket));
                self.names.watch_begins();
                self.rooms.watch_begins();
            }
            News::Entry(key, revision, value) => {
                self.entry(key, revision, value, now);
                self.nats.handled(revision);
            }
            News::Synced(revision) => {
                self.directory.synced(now);
                self.check_own(now);
                self.rooms.write_missing();
                self.nats.handled(revision);
            }
            News::Done(operation, outcome) => self.done(&operation, outcome, now),
            News::Asked(name, outcome) => self.asked(&name, outcome, now),
            // Of the incarnation before: it makes nothing of this one valid.
            News::Renewed(of, ..) | News::LeaseRead(of, _) if of != self.incarnation => {}
            News::Renewed(_, sent, outcome) => match outcome {
                Outcome::Done(revision) => {
                    if std::mem::take(&mut self.is_not_written) {
                        self.status.problem.take_if(|_| !self.is_refused);
                    }
                    self.lease.renewed(sent, revision, now);
                }
                Outcome::Conflict => self.lease.refused(now),
                _ => self.lease.failed(now),
            },
            News::LeaseRead(_, outcome) => {
                let due = match outcome {
                    Outcome::Owned(_, revision) | Outcome::Done(revision) => {
                        self.lease.read(revision, true, now)
                    }
                    Outcome::Nothing(revision) => self.lease.read(revision, false, now),
                    _ => {
                        self.lease.failed(now);
                        lease::Due::Nothing
                    }
                };
                if due == lease::Due::Fence {
                    self.fence(now);
                }
            }
            News::RoomDone(room, has_members, is_done) => self.rooms.done(room, has_members, is_done),
            News::RoomRead(reading, room, incarnation, revision) => {
                let is_old = self.nats.has_handled(revision);
                self.directory.room_read(reading, (&room, incarnation), is_old);
            }
            News::RoomsRead(reading, is_done) => self.directory.rooms_read(reading, is_done, now),
            News::Swept => self.sweeps = self.sweeps.saturating_sub(1),
        }
    }

    /// Keeps a text for the host. A refusal stays until the next connection: what follows from it says less.
    fn problem(&mut self, text: String, is_refused: bool) {
        if self.is_refused && !is_refused || self.status.problem.as_ref() == Some(&text) {
            return;
        }
        tracing::warn!("{text}");
        self.is_refused |= is_refused;
        self.status.problem = Some(text);
    }

    fn done(&mut self, operation: &Operation, outcome: Outcome, now: Moment) {
        self.operations = self.operations.saturating_sub(1);
        let others = Seen { directory: &self.directory, may_seize: self.lease.may_seize(now) };
        if let Some((owner, revision)) = self.names.done(operation, outcome, now, &others) {
            self.directory.name(&operation.name, revision, owner, now);
        }
    }

    /// The leader's answer for a name that a worker has asked for.
    fn asked(&mut self, name: &str, outcome: Outcome, now: Moment) {
        let (gateway, news) = (&self.gateway, outcome.news());
        let counts = self.directory.was_read(name, news, now, |name| gateway.take_used(name));
        if let (true, Some((revision, owner))) = (counts, news) {
            self.names.seen(name, revision, owner); // It may have been this machine's, and the watch is late.
        }
    }

    fn entry(&mut self, key: Key, revision: u64, value: Option<Vec<u8>>, now: Moment) {
        match key {
            Key::Name(name) => match value.as_deref().map(keys::read_owner) {
                Some(Some(owner)) => {
                    self.directory.name(&name, revision, owner, now);
                    self.names.seen(&name, revision, Some(owner));
                }
                Some(None) => {} // Not ours to understand.
                None => {
                    self.directory.name_gone(&name, revision);
                    if self.lease.is_valid(now) {
                        self.names.seen(&name, revision, None);
                    }
                }
            },
            Key::Lease(incarnation) => match value.as_deref().and_then(keys::read_lease) {
                Some(info) => self.directory.lease(incarnation, info),
                None if incarnation == self.incarnation => {
                    if revision > self.lease.revision() && self.lease.expired() == lease::Due::Fence {
                        self.fence(now);
                    }
                }
                None => self.directory.lease_gone(incarnation, now),
            },
            Key::Room(room, incarnation) => {
                if incarnation == self.incarnation {
                    self.rooms.seen(&room, value.is_some());
                }
                if !self.directory.room(&room, incarnation, value.is_some()) {
                    self.refused(Refused::Room);
                }
            }
        }
    }

    /// After the watch has told everything: names of ours that it has not told were deleted meanwhile.
    fn check_own(&mut self, now: Moment) {
        if !self.lease.is_valid(now) {
            return;
        }
        let directory = &self.directory;
        self.names.reclaim_missing(|name| directory.is_told(name));
    }
}
