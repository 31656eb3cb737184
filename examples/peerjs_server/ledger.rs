//! Which ids this machine has claimed, and which of them it has lost. The cluster's thread tells of a loss once. The claim may then
//! not be at its connection yet, or be on the way from a connection to its successor. So the loss is kept here until the claim ends,
//! and every connection that gets a claim looks here.

use corelane::cluster::LostReason;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// The claims of this machine, by their numbers.
#[derive(Debug, Default)]
pub(crate) struct Ledger(Mutex<Entries>);

#[derive(Debug, Default)]
struct Entries {
    /// How many claims are under way.
    asking: usize,
    held: HashMap<u64, Option<LostReason>>,
    /// Losses of claims that are not in `held` yet. Empty while no claim is under way.
    early: HashMap<u64, LostReason>,
}

/// A claim that is under way, until it is dropped.
#[derive(Debug)]
pub(crate) struct Asking(Arc<Ledger>);

impl Ledger {
    /// Counts a claim as under way. To be called before the cluster is asked.
    pub(crate) fn ask(self: &Arc<Self>) -> Asking {
        self.lock().asking += 1;
        Asking(Arc::clone(self))
    }

    /// Enters a claim that has succeeded, while it counts as under way. The log tells of it, and of its loss if it is lost already.
    pub(crate) fn hold(&self, claim: u64, id: &str, token: &str) {
        let mut entries = self.lock();
        let lost = entries.early.remove(&claim);
        entries.held.insert(claim, lost);
        // Under the lock, so that the log tells of the loss after the claim.
        tracing::debug!(id, claim, token = mark(token).as_str(), "id claimed");
        if lost.is_some() {
            tracing::debug!(id, claim, "id lost");
        }
    }

    /// Notes that another machine has the id of a claim.
    pub(crate) fn lose(&self, claim: u64, id: &str, reason: LostReason) {
        let mut entries = self.lock();
        if let Some(lost) = entries.held.get_mut(&claim) {
            if lost.replace(reason).is_none() {
                tracing::debug!(id, claim, "id lost");
            }
        } else if entries.asking > 0 {
            entries.early.insert(claim, reason);
        } // Otherwise it was released.
    }

    /// Why a claim is lost; `None` if it is not.
    pub(crate) fn lost(&self, claim: u64) -> Option<LostReason> {
        self.lock().held.get(&claim).copied().flatten()
    }

    /// Forgets a claim. The log tells of it, if the id was not lost before.
    pub(crate) fn end(&self, claim: u64, id: &str) {
        if self.lock().held.remove(&claim) == Some(None) {
            tracing::debug!(id, claim, "id released");
        }
    }

    fn lock(&self) -> MutexGuard<'_, Entries> {
        // A poisoned lock is safe to use: every change is complete before anything can panic.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Asking {
    fn drop(&mut self) {
        let mut entries = self.0.lock();
        entries.asking -= 1;
        if entries.asking == 0 {
            entries.early.clear();
        }
    }
}

/// A mark of a client's token for the log, the same in all servers: FNV-1a of 32 bits, folded to 16. It tells two clients apart,
/// and too little of the token to guess it.
pub(crate) fn mark(token: &str) -> String {
    let hash =
        token.bytes().fold(0x811c_9dc5_u32, |hash, byte| (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193));
    format!("{:04x}", (hash >> 16) ^ (hash & 0xffff))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_loss_is_kept_until_its_claim_ends() {
        let ledger = Arc::new(Ledger::default());
        let asking = ledger.ask();
        ledger.hold(1, "ann", "t");
        drop(asking);
        assert_eq!(ledger.lost(1), None);
        ledger.lose(1, "ann", LostReason::Replaced);
        ledger.lose(2, "ann", LostReason::Taken); // nobody's
        for _ in 0..2 {
            assert_eq!(ledger.lost(1), Some(LostReason::Replaced));
        }
        ledger.end(1, "ann");
        assert_eq!((ledger.lost(1), ledger.lost(2)), (None, None));
    }

    #[test]
    fn a_loss_that_is_told_before_the_claim_is_there_counts() {
        let ledger = Arc::new(Ledger::default());
        let (first, second) = (ledger.ask(), ledger.ask());
        ledger.lose(1, "ann", LostReason::Taken);
        drop(second);
        ledger.hold(1, "ann", "t");
        assert_eq!(ledger.lost(1), Some(LostReason::Taken));
        ledger.lose(2, "ben", LostReason::Taken);
        drop(first);
        assert!(ledger.lock().early.is_empty(), "nobody asks for it any more");
    }

    #[test]
    fn tokens_have_the_marks_that_the_other_servers_give_them() {
        assert_eq!([mark(""), mark("a"), mark("her token")], ["1cd9", "cd20", "3614"]);
    }
}
