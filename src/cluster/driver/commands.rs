//! What the host asks for.

use super::{Driver, Host};
use crate::cluster::link::Moment;
use crate::cluster::lists::Listed;
use crate::cluster::names::{ClaimError, Seen};

/// What the host asks for.
pub enum Command {
    /// A name, for a client with a token. The number belongs to the claim.
    Claim(String, String, u64, Reply),
    /// A claim has ended.
    Release(String, u64),
    /// The names of all machines, at most so many.
    Names(usize, Listed),
    /// The machine takes no clients any more.
    Drain,
    /// The end.
    Stop,
}

/// Who waits for a claim.
pub type Reply = Box<dyn FnOnce(Result<(), ClaimError>) + Send>;

impl<H: Host> Driver<H> {
    pub(super) fn command(&mut self, command: Command, now: Moment) {
        match command {
            Command::Claim(name, token, claim, reply) => {
                if let Err(error) = self.may_claim(&name, now) {
                    return reply(Err(error));
                }
                self.waiting.insert(claim, reply);
                let mac = self.macs.of(&name, &token);
                let others = Seen { directory: &self.directory, may_seize: self.lease.may_seize(now) };
                self.names.claim(&name, claim, mac, now, &others);
            }
            Command::Release(name, claim) => {
                self.waiting.remove(&claim);
                self.names.release(&name, claim);
            }
            Command::Names(limit, reply) => self.lists.ask(limit, reply),
            Command::Drain => {
                self.info.is_draining = true;
                self.lease.hurry(now);
            }
            Command::Stop => {
                self.stopped.get_or_insert(now);
            }
        }
    }

    fn may_claim(&self, name: &str, now: Moment) -> Result<(), ClaimError> {
        match () {
            () if name.is_empty() || name.len() > crate::clients::MAX_NAME_BYTES => Err(ClaimError::Name),
            () if self.stopped.is_some() => Err(ClaimError::Stopped),
            () if self.info.is_draining => Err(ClaimError::Draining),
            () if self.fenced_from.is_some() => Err(ClaimError::Fenced),
            () if !self.directory.is_synced() || !self.is_connected => Err(ClaimError::Unavailable),
            () if !self.lease.is_valid(now) => Err(ClaimError::Unavailable),
            () if now < self.claims_from => Err(ClaimError::Busy), // NATS is there, and the names are not yet.
            () => Ok(()),
        }
    }
}
