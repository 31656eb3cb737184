//! Which names this machine owns, and how it comes by them: claims by compare-and-set, take-over, loss, release. Without I/O
//! and without a clock. The machine asks for operations on the bucket ([`Names::operations`]) and is told their results.
//!
//! The bucket wins. An operation without an answer is followed by a read at the leader, before anybody is told anything.

use std::collections::{BTreeSet, HashMap, VecDeque};
use std::time::Duration;

use super::directory::{Directory, Liveness, Mac, News, Owner};
use super::link::Moment;
use super::owner::bucket_of;
use crate::clients::ClientId;
use crate::sync::mutant;

/// The most claims in flight. Beyond, a claim is busy: a herd must come again later.
pub const MAX_CLAIMS: usize = 256;
/// The most releases in flight. The others wait.
const MAX_RELEASES: usize = 256;
/// A claim ends when this many of its writes had no answer, or lost their compare-and-set.
const MAX_TRIES: u8 = 4;
/// Messages for a claimed name wait this long for its client's connect.
pub const OPENING: Duration = Duration::from_secs(1);
/// The time until an operation without an answer is tried again for a name that is owned, or to be released.
const RETRY_AFTER: Duration = Duration::from_secs(1);
/// The earlier incarnations of this process that are remembered.
const MAX_FORMER: usize = 256;
/// The most names that are remembered because the bucket may show them as ours.
const MAX_DOUBTFUL: usize = 65_536;
/// A name that the watch tells of as ours although it is not is read at the next [`Names::tick`].
const ORPHAN: Moment = Moment::ZERO;

/// Why a claim failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ClaimError {
    /// Another client has the name, with another token.
    Taken,
    /// NATS does not answer, or does not write.
    Unavailable,
    /// This machine is fenced: it owns nothing until it can reach the bucket again.
    Fenced,
    /// Not now: too many claims at once, or too many for this name; or its owner seems to be gone, and may be about to return;
    /// or the bucket was lost, and the machines write their names again. Answer 503, so that the client comes again later.
    /// Do not connect it without the claim: the name may be another client's.
    Busy,
    /// The name is empty or longer than a name may be.
    Name,
    /// The machine drains.
    Draining,
    /// The cluster has stopped.
    Stopped,
}

impl ClaimError {
    /// The name of the reason.
    pub const fn label(self) -> &'static str {
        match self {
            Self::Taken => "taken",
            Self::Unavailable => "unavailable",
            Self::Fenced => "fenced",
            Self::Busy => "busy",
            Self::Name => "name",
            Self::Draining => "draining",
            Self::Stopped => "stopped",
        }
    }
}

impl std::fmt::Display for ClaimError {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str(match self {
            Self::Taken => "the name is taken",
            Self::Unavailable => "the cluster does not answer",
            Self::Fenced => "this machine is cut off from the cluster",
            Self::Busy => "the name cannot be claimed now; try again later",
            Self::Name => "the name is empty or too long",
            Self::Draining => "this machine drains",
            Self::Stopped => "the cluster has stopped",
        })
    }
}

impl std::error::Error for ClaimError {}

/// Why a name was lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum LostReason {
    /// The same client, by its token, has connected elsewhere.
    Replaced,
    /// Another client has the name.
    Taken,
}

/// What is done to a name's key in the bucket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// Write this machine's claim if the last revision is this one (0: none).
    Put(u64, Owner),
    /// Delete it if the last revision is this one.
    Delete(u64),
    /// Read it at the leader.
    Read,
}

/// An operation on the bucket.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Operation {
    /// The name.
    pub name: Box<str>,
    /// Returns with the result.
    pub number: u64,
    /// What to do.
    pub action: Action,
}

/// The result of an operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Done, with the new revision.
    Done(u64),
    /// The last revision is another one.
    Conflict,
    /// The key's owner and revision.
    Owned(Owner, u64),
    /// The key has no value; the revision of its marker, or 0.
    Nothing(u64),
    /// No answer, or none that helps.
    Unavailable,
}

impl Outcome {
    /// What a read at the leader says of a name. `None`: it gave no answer.
    pub fn news(self) -> Option<News> {
        match self {
            Self::Owned(owner, revision) => Some((revision, Some(owner))),
            // A value that is not ours to understand is no owner.
            Self::Nothing(revision) | Self::Done(revision) => Some((revision, None)),
            Self::Conflict | Self::Unavailable => None,
        }
    }
}

/// What the names tell their machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Told {
    /// The answer to a claim.
    Claimed(u64, Result<(), ClaimError>),
    /// A claim has lost its name.
    Lost(Box<str>, u64, LostReason),
}

/// What the names need to know of the others.
pub trait Others {
    /// The owner of a name, and the revision, as the watch has told.
    fn owner(&self, name: &str) -> Option<(Owner, u64)>;
    /// Whether an incarnation lives.
    fn liveness(&self, incarnation: u64) -> Liveness;
    /// Whether names of dead machines may be taken now.
    fn may_seize(&self) -> bool;
}

/// What the directory says of the others.
#[derive(Clone, Copy, Debug)]
pub struct Seen<'a> {
    /// The directory.
    pub directory: &'a Directory,
    /// As [`Others::may_seize`].
    pub may_seize: bool,
}

impl Others for Seen<'_> {
    fn owner(&self, name: &str) -> Option<(Owner, u64)> {
        self.directory.owner(name)
    }

    fn liveness(&self, incarnation: u64) -> Liveness {
        self.directory.liveness(incarnation)
    }

    fn may_seize(&self) -> bool {
        self.may_seize
    }
}

/// Where a name stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// A claim is being written or read. With what it knows of the last try.
    Claiming,
    /// Ours. An operation without number: none is in flight.
    Owned,
    /// Ours before; it is written again, under the new incarnation or because somebody deleted it.
    Reclaiming,
    /// Given up: it is being deleted, or waits for that. It stays until the bucket has answered.
    Releasing,
}

#[derive(Debug)]
struct Name {
    state: State,
    claim: u64,
    mac: Mac,
    /// Our last revision.
    revision: u64,
    /// The operation in flight; 0: none.
    operation: u64,
    tries: u8,
    since: Moment,
    /// When to try again; for names without an operation in flight that need one.
    retry: Option<Moment>,
    /// The last news of the watch that is newer than what we know.
    news: Option<(u64, Option<Owner>)>,
    /// The claim that a claim of the same token replaces, if it succeeds.
    replaces: Option<u64>,
    /// The claim that waits for the release.
    next: Option<(u64, Mac)>,
    /// The claim was dropped while it was in flight.
    is_dropped: bool,
    /// The client that got the messages for `revision`.
    client: Option<ClientId>,
    /// A message for `revision` was answered as gone. So are all later ones: they must not overtake the earlier ones, which
    /// wait at their senders until the name has a new revision.
    is_gone: bool,
    /// A newer revision for which a message was answered as gone: the watch has told the sender first. 0: none.
    gone_later: u64,
    /// The last watch that has told of it as ours.
    told: u32,
}

/// The names of one machine.
#[derive(Debug)]
pub struct Names {
    incarnation: u64,
    /// The incarnations before, the last one last: they may have written names without getting the answer.
    former: VecDeque<u64>,
    names: HashMap<Box<str>, Name>,
    claims: usize,
    max_claims: usize,
    numbers: u64,
    /// The operations up to this number were asked before the bucket was new, or before the watch told everything again.
    before_watch: u64,
    /// The number of the watch.
    watch: u32,
    operations: Vec<Operation>,
    told: Vec<Told>,
    reclaims: VecDeque<Box<str>>,
    /// Names to delete that wait for their turn.
    releases: BTreeSet<Box<str>>,
    /// Deletions in flight.
    deleting: usize,
    /// Names that the bucket may show as ours although they are not, and when to read them: their claim had no answer, or the
    /// watch has told of them ([`ORPHAN`]).
    doubtful: HashMap<Box<str>, Moment>,
    retries: usize,
    /// Names that need a new revision, because a message was answered as gone.
    gone: BTreeSet<Box<str>>,
}

impl Names {
    /// No names, of this incarnation.
    pub fn new(incarnation: u64) -> Self {
        Self {
            incarnation,
            former: VecDeque::new(),
            names: HashMap::new(),
            claims: 0,
            max_claims: MAX_CLAIMS,
            numbers: 0,
            before_watch: 0,
            watch: 1,
            operations: Vec::new(),
            told: Vec::new(),
            reclaims: VecDeque::new(),
            releases: BTreeSet::new(),
            deleting: 0,
            doubtful: HashMap::new(),
            retries: 0,
            gone: BTreeSet::new(),
        }
    }

    /// Has at most this many claims in flight, instead of [`MAX_CLAIMS`].
    #[must_use]
    pub fn with_max_claims(self, max_claims: usize) -> Self {
        Self { max_claims, ..self }
    }

    /// How many names are owned or claimed.
    pub fn len(&self) -> usize {
        self.names.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.names.is_empty()
    }

    /// Whether a name is owned or claimed.
    pub fn contains(&self, name: &str) -> bool {
        self.names.contains_key(name)
    }

    /// How many claims are in flight.
    pub fn claims(&self) -> usize {
        self.claims
    }

    /// How many names still wait to be claimed again under the incarnation.
    pub fn reclaims(&self) -> usize {
        self.reclaims.len()
    }

    /// How many releases are in flight.
    pub fn releasing(&self) -> usize {
        self.deleting
    }

    /// The operations to do now.
    pub fn operations(&mut self) -> Vec<Operation> {
        while self.deleting < MAX_RELEASES
            && let Some(name) = self.releases.pop_first()
        {
            if let Some(revision) = self.names.get(&name).map(|known| known.revision) {
                self.operate(&name, Action::Delete(revision));
            }
        }
        std::mem::take(&mut self.operations)
    }

    /// What there is to tell.
    pub fn told(&mut self) -> Vec<Told> {
        std::mem::take(&mut self.told)
    }

    /// The revision in which a name is owned, and since when.
    pub fn owned(&self, name: &str) -> Option<(u64, Moment)> {
        let known = self.names.get(name)?;
        (known.state == State::Owned).then_some((known.revision, known.since))
    }

    /// Whether a name is being written, perhaps in this revision.
    pub fn may_become(&self, name: &str, revision: u64) -> bool {
        self.names.get(name).is_some_and(|known| {
            matches!(known.state, State::Claiming | State::Reclaiming)
                && known.operation != 0
                && revision > known.revision
        })
    }

    /// Whether a message for a name of this revision was answered as gone.
    pub fn was_gone(&self, name: &str, revision: u64) -> bool {
        self.names.get(name).is_some_and(|known| {
            (known.is_gone && revision == known.revision)
                || (known.gone_later != 0 && revision == known.gone_later)
        }) && !mutant("cluster-gone-forgotten")
    }

    /// A message for a name of this revision is answered as gone, whatever link it came by.
    pub fn set_gone(&mut self, name: &str, revision: u64) {
        let Some(known) = self.names.get_mut(name) else { return };
        if revision == known.revision {
            known.is_gone = true;
            self.gone.insert(name.into());
        } else if revision > known.revision || bucket_of(revision) != bucket_of(known.revision) {
            // Revisions of two buckets are in no order. The last one that a sender has heard of counts.
            let is_same = bucket_of(known.gone_later) == bucket_of(revision);
            known.gone_later = if is_same { known.gone_later.max(revision) } else { revision };
        }
    }

    /// The owned names that need a new revision ([`Names::touch`]), because messages wait for it at their senders.
    pub fn gone(&mut self) -> Vec<Box<str>> {
        let names = &self.names;
        self.gone.retain(|name| names.get(name).is_some_and(|known| known.is_gone));
        let is_owned = |name: &str| names.get(name).is_some_and(|known| known.state == State::Owned);
        self.gone.iter().filter(|name| is_owned(name)).cloned().collect()
    }

    /// Whether messages for an owned name go to this client. All messages of one revision go to one client: what an earlier
    /// client did not get comes back to its sender, and must not be overtaken by what a later client gets.
    pub fn accepts(&mut self, name: &str, client: ClientId) -> bool {
        self.names.get_mut(name).is_some_and(|known| *known.client.get_or_insert(client) == client)
    }

    /// Claims a name for a client. The answer is told later.
    pub fn claim(&mut self, name: &str, claim: u64, mac: Mac, now: Moment, others: &impl Others) {
        if self.claims >= self.max_claims && !mutant("cluster-herd") {
            self.told.push(Told::Claimed(claim, Err(ClaimError::Busy)));
            return;
        }
        let Some(known) = self.names.get_mut(name) else {
            self.start(name, claim, mac, None, now, others);
            return;
        };
        let error = match known.state {
            State::Owned if known.mac == mac && known.operation == 0 => {
                let (revision, before) = (known.revision, known.claim);
                *known = Name { replaces: Some(before), ..Name::claiming(claim, mac, revision, now) };
                self.claims += 1;
                self.put(name, revision);
                return;
            }
            // A page that loads again: the claim takes the place of a release that waits, and follows one in flight.
            State::Releasing if known.operation == 0 => {
                self.retries -= usize::from(known.retry.is_some());
                self.releases.remove(name);
                let revision = known.revision;
                *known = Name::claiming(claim, mac, revision, now);
                self.claims += 1;
                self.put(name, revision);
                return;
            }
            State::Releasing if known.next.is_none() => {
                known.next = Some((claim, mac));
                return;
            }
            _ if known.mac == mac => ClaimError::Busy,
            _ => ClaimError::Taken,
        };
        self.told.push(Told::Claimed(claim, Err(error)));
    }

    fn start(
        &mut self,
        name: &str,
        claim: u64,
        mac: Mac,
        replaces: Option<u64>,
        now: Moment,
        others: &impl Others,
    ) {
        self.claims += 1;
        self.doubtful.remove(name);
        self.names.insert(name.into(), Name { replaces, ..Name::claiming(claim, mac, 0, now) });
        match others.owner(name) {
            None => self.put(name, 0),
            // The watch may be late: the leader decides before the client is refused.
            Some((owner, _)) if owner.mac != mac && others.liveness(owner.incarnation) == Liveness::Alive => {
                self.read(name);
            }
            Some((owner, revision)) => self.decide(name, Some(owner), revision, now, others),
        }
    }

    /// Decides on what the key is, for a claim or for a name that is claimed again.
    fn decide(&mut self, name: &str, owner: Option<Owner>, revision: u64, now: Moment, others: &impl Others) {
        let Some(known) = self.names.get_mut(name) else { return };
        let is_again = known.state == State::Reclaiming;
        let may_write = is_again || known.tries < MAX_TRIES;
        let Some(owner) = owner else {
            // Not even a marker of a deletion, of a name that a live machine has: the bucket is not the one that is watched.
            let seen = others.owner(name).map(|(owner, _)| owner.incarnation);
            let is_lost = revision == 0
                && seen.is_some_and(|one| one != self.incarnation && others.liveness(one) == Liveness::Alive);
            if is_lost && !is_again && !mutant("cluster-believes-new-bucket") {
                return self.fail(name, ClaimError::Busy);
            }
            return if may_write {
                self.put(name, revision)
            } else {
                self.fail(name, ClaimError::Unavailable)
            };
        };
        if owner.incarnation == self.incarnation && owner.claim == known.claim {
            return self.own(name, revision, now);
        }
        if is_again {
            // Our own entry of an incarnation before, also one whose write had no answer; or somebody has been faster.
            let is_own = self.former.contains(&owner.incarnation)
                && (owner.claim, owner.mac) == (known.claim, known.mac);
            // Or the entry of an earlier claim of ours, whose write was late.
            if revision == known.revision || is_own || owner.incarnation == self.incarnation {
                return self.put(name, revision);
            }
            let reason = if owner.mac == known.mac { LostReason::Replaced } else { LostReason::Taken };
            return self.lose(name, reason);
        }
        let is_dead =
            owner.incarnation != self.incarnation && others.liveness(owner.incarnation) == Liveness::Dead;
        let is_orphan = owner.incarnation == self.incarnation; // A release of ours that had no answer.
        let may_have = owner.mac == known.mac
            || is_orphan
            || (is_dead && others.may_seize())
            || mutant("cluster-seizes-all");
        match () {
            () if may_have && may_write => self.put(name, revision),
            () if may_have => self.fail(name, ClaimError::Unavailable),
            () if is_dead => self.fail(name, ClaimError::Busy),
            () => self.fail(name, ClaimError::Taken),
        }
    }

    fn operate(&mut self, name: &str, action: Action) {
        self.numbers += 1;
        self.deleting += usize::from(matches!(action, Action::Delete(_)));
        let number = self.numbers;
        if let Some(known) = self.names.get_mut(name) {
            known.operation = number;
            self.retries -= usize::from(known.retry.take().is_some());
        }
        self.operations.push(Operation { name: name.into(), number, action });
    }

    fn put(&mut self, name: &str, expected: u64) {
        let Some(known) = self.names.get(name) else { return };
        let owner = Owner { incarnation: self.incarnation, claim: known.claim, mac: known.mac };
        self.operate(name, Action::Put(expected, owner));
    }

    fn read(&mut self, name: &str) {
        self.operate(name, Action::Read);
    }

    fn retry_later(&mut self, name: &str, now: Moment) {
        if let Some(known) = self.names.get_mut(name) {
            known.operation = 0;
            self.retries += usize::from(known.retry.replace(now + RETRY_AFTER).is_none());
        }
    }

    fn own(&mut self, name: &str, revision: u64, now: Moment) {
        let Some(known) = self.names.get_mut(name) else { return };
        let (before, replaces) = (known.state, known.replaces.take());
        known.state = State::Owned;
        known.operation = 0;
        known.tries = 0;
        if known.set_revision(revision) {
            self.gone.insert(name.into());
        }
        let (claim, is_dropped) = (known.claim, known.is_dropped);
        let news = known.news.take().filter(|(newer, _)| *newer > revision);
        if before == State::Claiming {
            known.since = now;
            self.claims -= 1;
            if let Some(replaced) = replaces {
                self.told.push(Told::Lost(name.into(), replaced, LostReason::Replaced));
            }
            if !is_dropped {
                self.told.push(Told::Claimed(claim, Ok(())));
            }
        }
        match news {
            Some((newer, owner)) => self.seen(name, newer, owner),
            None if is_dropped => self.release(name, claim),
            None => {}
        }
    }

    /// Ends a claim that did not succeed.
    fn fail(&mut self, name: &str, error: ClaimError) {
        let Some(known) = self.names.remove(name) else { return };
        self.claims -= usize::from(known.state == State::Claiming);
        self.retries -= usize::from(known.retry.is_some());
        if !known.is_dropped {
            self.told.push(Told::Claimed(known.claim, Err(error)));
        }
        // The client that it would have replaced has lost its name too, or the bucket would have said so.
        if let Some(replaced) = known.replaces {
            let reason = if error == ClaimError::Taken { LostReason::Taken } else { LostReason::Replaced };
            self.told.push(Told::Lost(name.into(), replaced, reason));
        }
        // A write without an answer may still be done.
        if matches!(error, ClaimError::Unavailable | ClaimError::Busy) {
            self.doubt(name, known.since);
        }
    }

    fn lose(&mut self, name: &str, reason: LostReason) {
        let Some(known) = self.names.remove(name) else { return };
        self.retries -= usize::from(known.retry.is_some());
        self.told.push(Told::Lost(name.into(), known.claim, reason));
    }

    fn doubt(&mut self, name: &str, now: Moment) {
        if self.doubtful.len() < MAX_DOUBTFUL {
            self.doubtful.insert(name.into(), now + RETRY_AFTER);
        }
    }

    /// The result of an operation. Returns the name's owner and revision if it is this machine's now: the watch may be late,
    /// and until it tells of the claim it tells where the name was before.
    pub fn done(
        &mut self,
        operation: &Operation,
        outcome: Outcome,
        now: Moment,
        others: &impl Others,
    ) -> Option<(Owner, u64)> {
        let name = &*operation.name;
        let is_deletion = matches!(operation.action, Action::Delete(_));
        self.deleting = self.deleting.saturating_sub(usize::from(is_deletion));
        let Some(known) = self.names.get_mut(name).filter(|known| known.operation == operation.number) else {
            self.doubtful_done(operation, outcome, now);
            return None;
        };
        match (known.state, outcome) {
            // It may have been done before the watch began again, and the name be another's since: that watch does not tell
            // of what was before it. Or it was done in a bucket that is lost. The leader knows.
            (State::Claiming | State::Reclaiming, Outcome::Done(_) | Outcome::Owned(..))
                if operation.number <= self.before_watch =>
            {
                self.read(name);
            }
            (State::Releasing, outcome) => self.released(name, outcome, now, others),
            (State::Owned, _) => known.operation = 0,
            (_, Outcome::Done(revision)) => self.own(name, revision, now),
            (State::Claiming, Outcome::Conflict) if mutant("cluster-owns-after-conflict") => {
                let revision = known.revision;
                self.own(name, revision, now);
            }
            (_, Outcome::Conflict) => {
                known.tries += 1;
                if known.tries < MAX_TRIES || known.state == State::Reclaiming {
                    self.read(name);
                } else {
                    self.fail(name, ClaimError::Busy);
                }
            }
            (_, Outcome::Owned(owner, revision)) => self.decide(name, Some(owner), revision, now, others),
            (_, Outcome::Nothing(revision)) => self.decide(name, None, revision, now, others),
            (State::Reclaiming, Outcome::Unavailable) => self.retry_later(name, now),
            (State::Claiming, Outcome::Unavailable) if mutant("cluster-opens-unread") => {
                let revision = known.revision;
                self.own(name, revision, now);
            }
            // Read before anybody is told. The read that has no answer either is the end.
            (_, Outcome::Unavailable) if operation.action != Action::Read => {
                known.tries += 1;
                self.read(name);
            }
            (_, Outcome::Unavailable) => self.fail(name, ClaimError::Unavailable),
        }
        let known = self.names.get(name).filter(|known| known.state == State::Owned)?;
        let owner = Owner { incarnation: self.incarnation, claim: known.claim, mac: known.mac };
        Some((owner, known.revision))
    }

    fn released(&mut self, name: &str, outcome: Outcome, now: Moment, others: &impl Others) {
        let Some(known) = self.names.get_mut(name) else { return };
        if outcome == Outcome::Unavailable {
            // Whoever waits writes over the entry, which is ours. Otherwise it is deleted later: it would stay this machine's.
            let is_busy = self.claims >= self.max_claims;
            if let Some((claim, _)) = known.next.take_if(|_| is_busy) {
                self.told.push(Told::Claimed(claim, Err(ClaimError::Busy)));
            }
            if known.next.is_none() {
                return self.retry_later(name, now);
            }
        }
        let Some(known) = self.names.remove(name) else { return };
        self.retries -= usize::from(known.retry.is_some());
        if let Some((_, owner)) = known.news {
            self.seen_without_claim(name, owner);
        }
        if let Some((claim, mac)) = known.next {
            self.claim(name, claim, mac, now, others);
        }
    }

    /// Results of operations on names that are not ours (any more).
    fn doubtful_done(&mut self, operation: &Operation, outcome: Outcome, now: Moment) {
        let name = &*operation.name;
        if self.names.contains_key(name) || !self.doubtful.contains_key(name) {
            return;
        }
        match outcome {
            Outcome::Owned(owner, revision) if owner.incarnation == self.incarnation => {
                self.doubt(name, now);
                self.operate(name, Action::Delete(revision));
            }
            Outcome::Unavailable => self.doubt(name, now),
            // The watch has told of another entry since this was asked.
            _ if self.doubtful.get(name) == Some(&ORPHAN) => {}
            _ => drop(self.doubtful.remove(name)),
        }
    }

    /// A client of this machine has left, or its claim was dropped.
    pub fn release(&mut self, name: &str, claim: u64) {
        let Some(known) = self.names.get_mut(name) else { return };
        if known.claim != claim {
            if let Some((next, _)) = known.next
                && next == claim
            {
                known.next = None;
            }
            return;
        }
        match known.state {
            State::Owned => {
                known.state = State::Releasing;
                known.operation = 0;
                self.releases.insert(name.into());
            }
            // Its result releases it.
            State::Claiming | State::Reclaiming => known.is_dropped = !mutant("cluster-dropped-kept"),
            State::Releasing => {}
        }
    }

    /// The watch tells of a name: its owner, or that it was deleted.
    pub fn seen(&mut self, name: &str, revision: u64, owner: Option<Owner>) {
        let (incarnation, watch) = (self.incarnation, self.watch);
        let Some(known) = self.names.get_mut(name) else {
            return self.seen_without_claim(name, owner);
        };
        if owner.is_some_and(|owner| owner.incarnation == incarnation && owner.claim == known.claim) {
            known.told = watch;
        }
        if known.state != State::Owned {
            if known.news.is_none_or(|(newest, _)| revision > newest) {
                known.news = Some((revision, owner));
            }
            return;
        }
        if revision <= known.revision {
            return;
        }
        match owner {
            Some(owner) if owner.incarnation == incarnation && owner.claim == known.claim => {
                if known.set_revision(revision) {
                    self.gone.insert(name.into());
                }
            }
            Some(owner) if owner.incarnation != incarnation => {
                let reason = if owner.mac == known.mac { LostReason::Replaced } else { LostReason::Taken };
                self.lose(name, reason);
            }
            // Deleted, or overwritten for an earlier claim of ours, whose write was late.
            _ => {
                known.state = State::Reclaiming;
                self.put(name, revision);
            }
        }
    }

    /// The watch tells of a name that this machine has no claim for.
    fn seen_without_claim(&mut self, name: &str, owner: Option<Owner>) {
        if owner.is_some_and(|owner| owner.incarnation == self.incarnation) {
            // A write was done after its claim had ended, in a bucket that was new. Or the deletion is still to be told.
            if self.doubtful.len() < MAX_DOUBTFUL {
                self.doubtful.insert(name.into(), ORPHAN);
            }
        } else if self.doubtful.get(name) == Some(&ORPHAN) {
            self.doubtful.remove(name);
        }
    }

    /// Gives an owned name a new revision: messages for the old one were answered as gone.
    pub fn touch(&mut self, name: &str) {
        let Some(known) = self.names.get_mut(name).filter(|known| known.state == State::Owned) else {
            return;
        };
        known.state = State::Reclaiming;
        let revision = known.revision;
        self.put(name, revision);
    }

    /// The bucket is new: write all names again. Expect nothing.
    pub fn bucket_is_new(&mut self) {
        self.before_watch = self.numbers;
        self.reclaim_all(true);
    }

    /// The watch begins again.
    pub fn watch_begins(&mut self) {
        self.watch = self.watch.wrapping_add(1);
    }

    /// The watch has begun again and told everything: writes owned names again that the bucket does not have. `is_told`:
    /// [`Directory::is_told`](super::directory::Directory::is_told). It may have no room for names that the watch has told of.
    pub fn reclaim_missing(&mut self, is_told: impl Fn(&str) -> bool) {
        self.before_watch = self.numbers;
        let watch = self.watch;
        for (name, known) in &mut self.names {
            if known.state == State::Owned && known.told != watch && !is_told(name) {
                known.state = State::Reclaiming;
                known.operation = 0;
                self.reclaims.push_back(name.clone());
            }
        }
    }

    /// Another incarnation: every name is claimed again. Claims in flight have failed.
    pub fn restart(&mut self, incarnation: u64) {
        self.former.push_back(std::mem::replace(&mut self.incarnation, incarnation));
        if self.former.len() > MAX_FORMER {
            self.former.pop_front();
        }
        self.doubtful.clear(); // Entries of the old incarnation are swept.
        self.releases.clear();
        let claiming: Vec<Box<str>> = self
            .names
            .iter()
            .filter(|(_, known)| known.state == State::Claiming)
            .map(|(name, _)| name.clone())
            .collect();
        claiming.iter().for_each(|name| self.fail(name, ClaimError::Fenced));
        let releasing: Vec<Box<str>> = self
            .names
            .iter()
            .filter(|(_, known)| known.state == State::Releasing)
            .map(|(name, _)| name.clone())
            .collect();
        for name in releasing {
            if let Some(Name { next: Some((claim, _)), .. }) = self.names.remove(&name) {
                self.told.push(Told::Claimed(claim, Err(ClaimError::Fenced)));
            }
        }
        self.reclaim_all(false);
    }

    fn reclaim_all(&mut self, is_new: bool) {
        self.reclaims.clear();
        self.retries = 0;
        for (name, known) in &mut self.names {
            known.news = None; // Its revision is of the bucket before.
            if is_new && known.state == State::Claiming {
                known.set_revision(0);
            }
            if is_new && matches!(known.state, State::Claiming | State::Releasing) {
                self.retries += usize::from(known.retry.is_some());
                continue;
            }
            known.state = State::Reclaiming;
            known.operation = 0;
            known.retry = None;
            if is_new {
                known.set_revision(0);
            }
            self.reclaims.push_back(name.clone());
        }
    }

    /// Does what is due: names to claim again, retries, doubtful names. `room`: how many more operations may be in flight.
    pub fn tick(&mut self, now: Moment, room: usize) {
        for _ in 0..room.min(self.reclaims.len()) {
            let Some(name) = self.reclaims.pop_front() else { break };
            if let Some(known) = self.names.get(&name).filter(|known| known.operation == 0) {
                let revision = known.revision;
                self.put(&name, revision);
            }
        }
        if self.retries > 0 {
            let due = |known: &Name| known.retry.is_some_and(|retry| now >= retry);
            let names: Vec<Box<str>> = self
                .names
                .iter()
                .filter(|(_, known)| due(known))
                .map(|(name, _)| name.clone())
                .take(room)
                .collect();
            for name in names {
                match self.names.get_mut(&name) {
                    Some(known) if known.state == State::Releasing => {
                        known.retry = None;
                        self.retries -= 1;
                        self.releases.insert(name);
                    }
                    _ => self.read(&name),
                }
            }
        }
        let doubtful: Vec<Box<str>> = self
            .doubtful
            .iter_mut()
            .filter(|(_, due)| now >= **due)
            .take(room)
            .map(|(name, due)| {
                *due = now + 5 * RETRY_AFTER;
                name.clone()
            })
            .collect();
        doubtful.iter().for_each(|name| self.read(name));
    }
}

impl Name {
    fn claiming(claim: u64, mac: Mac, revision: u64, now: Moment) -> Self {
        Self {
            state: State::Claiming,
            claim,
            mac,
            revision,
            operation: 0,
            tries: 0,
            since: now,
            retry: None,
            news: None,
            replaces: None,
            next: None,
            is_dropped: false,
            client: None,
            is_gone: false,
            gone_later: 0,
            told: 0,
        }
    }

    /// Our last revision is this one. True: messages for it were answered as gone already.
    fn set_revision(&mut self, revision: u64) -> bool {
        if revision != self.revision {
            self.revision = revision;
            self.client = None;
            // In a new bucket (0) it may be a revision of that: the watch of the sender can be ahead of ours.
            self.is_gone = revision != 0 && revision == std::mem::take(&mut self.gone_later);
        }
        self.is_gone
    }
}

#[cfg(test)]
mod tests;
