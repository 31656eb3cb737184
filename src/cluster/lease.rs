//! A machine's lease, and its fence, without I/O and without a clock.
//!
//! The lease is a key of the machine's incarnation that expires [`TTL`] after its last renewal. A name is owned if and only
//! if the lease of its owner exists, so the owner must stop before the lease can have expired: it fences itself
//! [`FENCE_AFTER`] after it *sent* the last renewal that was acknowledged. A fenced incarnation never comes back; the machine
//! takes a new one.

use super::link::Moment;
use crate::sync::mutant;
use std::time::Duration;

/// A lease expires after this time without a renewal.
pub const TTL: Duration = Duration::from_secs(20);
/// The time between two renewals.
pub const RENEW_EVERY: Duration = Duration::from_secs(5);
/// The time until a failed renewal is tried again.
pub const RETRY_AFTER: Duration = Duration::from_secs(1);
/// The owner stops this long after it sent its last acknowledged renewal.
pub const FENCE_AFTER: Duration = Duration::from_secs(15);
/// A machine that begins, returns or had a gap in its own renewals takes no name of a dead one for this long: a stall of NATS
/// expires every lease, and the other machines are about to return.
pub const SEIZE_AFTER: Duration = Duration::from_secs(10);
/// No acknowledged renewal for this long is a gap.
const GAP: Duration = Duration::from_secs(8);

/// What is due.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Due {
    /// Nothing yet.
    Nothing,
    /// Write the lease, if its key's last revision is this one (0: none).
    Renew(u64),
    /// Read the key: a renewal was refused.
    Read,
    /// The incarnation has ended.
    Fence,
}

/// The lease of one incarnation.
#[derive(Clone, Debug)]
pub struct Lease {
    revision: u64,
    /// When the last acknowledged renewal was sent.
    valid_from: Option<Moment>,
    next: Moment,
    is_waiting: bool,
    /// The result that is waited for may be that of a bucket that is lost.
    is_old: bool,
    must_read: bool,
    is_fenced: bool,
    /// The value has changed since the last renewal was sent.
    is_urgent: bool,
    /// From when on names of dead machines may be taken.
    seize_from: Moment,
}

impl Lease {
    /// A lease that does not exist yet.
    pub fn new(now: Moment) -> Self {
        Self {
            revision: 0,
            valid_from: None,
            next: now,
            is_waiting: false,
            is_old: false,
            must_read: false,
            is_fenced: false,
            is_urgent: false,
            seize_from: now + SEIZE_AFTER,
        }
    }

    /// What is due. A renewal that was asked for is due again when its result is known.
    pub fn due(&mut self, now: Moment) -> Due {
        if self.is_fenced {
            return Due::Nothing;
        }
        if self.due_fence(now) {
            return Due::Fence;
        }
        if self.is_waiting || now < self.next {
            return Due::Nothing;
        }
        self.is_waiting = true;
        if self.must_read {
            return Due::Read;
        }
        self.is_urgent = false;
        Due::Renew(self.revision)
    }

    /// Whether the incarnation ends now, when nothing can be renewed. As [`Lease::due`], which need not be called then.
    pub fn due_fence(&mut self, now: Moment) -> bool {
        let is_over = !self.is_fenced
            && !mutant("cluster-no-fence")
            && self.valid_from.is_some_and(|from| now >= from + FENCE_AFTER);
        self.is_fenced |= is_over;
        is_over
    }

    /// The bucket is new: the key has no revision. Written again at once, or when the result is here that is waited for.
    pub fn bucket_is_new(&mut self, now: Moment) {
        self.revision = 0;
        self.must_read = false;
        self.is_old = self.is_waiting;
        self.next = now;
    }

    /// A result is here. True: it counts. Otherwise the lease is written again.
    fn has_result(&mut self, now: Moment) -> bool {
        self.is_waiting = false;
        let is_old = std::mem::take(&mut self.is_old);
        if is_old {
            self.next = now;
        }
        !is_old && !self.is_fenced
    }

    /// A renewal that was sent at `sent` has the revision `revision`.
    pub fn renewed(&mut self, sent: Moment, revision: u64, now: Moment) {
        if !self.has_result(now) {
            return;
        }
        // The first one too: nobody knows for how long NATS was away before a machine begins or returns.
        let is_after_gap = self.valid_from.is_none_or(|from| sent.saturating_sub(from) >= GAP);
        if is_after_gap && !mutant("cluster-seizes-after-gap") {
            self.seize_from = now + SEIZE_AFTER;
        }
        self.revision = revision;
        self.valid_from = Some(sent);
        self.next = if self.is_urgent { now } else { sent + RENEW_EVERY };
    }

    /// A renewal or a read had no answer.
    pub fn failed(&mut self, now: Moment) {
        if self.has_result(now) {
            self.next = now + RETRY_AFTER;
        }
    }

    /// A renewal was refused: the key has another revision. Perhaps an earlier renewal without an answer has written it.
    pub fn refused(&mut self, now: Moment) {
        if self.has_result(now) {
            self.must_read = true;
            self.next = now;
        }
    }

    /// The key's last revision (0: none), and whether it has a value. Only this incarnation writes it; without a value it has
    /// expired.
    pub fn read(&mut self, revision: u64, has_value: bool, now: Moment) -> Due {
        if !self.has_result(now) {
            return Due::Nothing;
        }
        self.must_read = false;
        self.next = now;
        // A lease that has expired leaves a marker, and its machine is fenced long before the marker goes. So this is the key of
        // a new bucket, of which the watch does not tell yet.
        if revision == 0 {
            self.revision = 0;
            return Due::Nothing;
        }
        if !has_value && self.valid_from.is_some() {
            return self.expired();
        }
        // Valid only from the next acknowledged renewal on: nobody knows when this one was sent. One that has expired before
        // any was acknowledged is written again behind its marker.
        self.revision = revision;
        Due::Nothing
    }

    /// The lease's key is gone.
    pub fn expired(&mut self) -> Due {
        if self.is_fenced || self.valid_from.is_none() {
            return Due::Nothing;
        }
        self.is_fenced = true;
        Due::Fence
    }

    /// Whether the machine may act as the owner of its names.
    pub fn is_valid(&self, now: Moment) -> bool {
        !self.is_fenced
            && self.valid_from.is_some_and(|from| now < from + FENCE_AFTER || mutant("cluster-no-fence"))
    }

    /// Whether the incarnation has ended.
    pub fn is_fenced(&self) -> bool {
        self.is_fenced
    }

    /// Whether names of dead machines may be taken.
    pub fn may_seize(&self, now: Moment) -> bool {
        let has_gap = self.valid_from.is_none_or(|from| now.saturating_sub(from) >= GAP);
        self.is_valid(now) && !has_gap && now >= self.seize_from
    }

    /// The revision of the last renewal.
    pub fn revision(&self) -> u64 {
        self.revision
    }

    /// Renews at the next [`Lease::due`], because the value has changed.
    pub fn hurry(&mut self, now: Moment) {
        if !mutant("cluster-drain-untold") {
            self.next = self.next.min(now);
            self.is_urgent = true;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn at(milliseconds: u64) -> Moment {
        Duration::from_millis(milliseconds)
    }

    fn live() -> Lease {
        let mut lease = Lease::new(at(0));
        assert_eq!(lease.due(at(0)), Due::Renew(0));
        lease.renewed(at(0), 7, at(2));
        lease
    }

    #[test]
    fn it_is_renewed_every_five_seconds_at_its_last_revision() {
        let mut lease = live();
        assert_eq!(lease.due(at(4999)), Due::Nothing);
        assert_eq!(lease.due(at(5000)), Due::Renew(7));
        assert_eq!(lease.due(at(5001)), Due::Nothing, "two renewals at once refuse each other");
        lease.renewed(at(5000), 9, at(5001));
        assert_eq!(lease.due(at(10_000)), Due::Renew(9));
    }

    #[test]
    fn the_fence_counts_from_the_sending_of_the_last_acknowledged_renewal() {
        let mut lease = live();
        assert_eq!(lease.due(at(5000)), Due::Renew(7));
        lease.renewed(at(5000), 9, at(9000)); // A slow acknowledgement does not make it live longer.
        assert_eq!(lease.due(at(10_000)), Due::Renew(9));
        lease.failed(at(13_000));
        assert!(lease.is_valid(at(19_999)));
        assert!(!lease.is_valid(at(20_000)));
        assert_eq!(lease.due(at(20_000)), Due::Fence);
        // An acknowledgement that comes now does not bring it back.
        lease.renewed(at(19_000), 11, at(20_001));
        assert!(lease.is_fenced() && !lease.is_valid(at(20_001)));
        assert_eq!(lease.due(at(30_000)), Due::Nothing);
    }

    #[test]
    fn the_fence_falls_before_the_lease_can_expire() {
        assert!(FENCE_AFTER + RENEW_EVERY <= TTL);
    }

    #[test]
    fn a_value_that_changes_while_a_renewal_is_under_way_is_written_next() {
        let mut lease = live();
        lease.hurry(at(1000));
        assert_eq!(lease.due(at(1000)), Due::Renew(7));
        lease.renewed(at(1000), 8, at(1001));
        assert_eq!(lease.due(at(1002)), Due::Nothing, "it was written");
        assert_eq!(lease.due(at(6000)), Due::Renew(8));
        lease.hurry(at(6001));
        assert_eq!(lease.due(at(6001)), Due::Nothing, "two renewals at once refuse each other");
        lease.renewed(at(6000), 9, at(6002));
        assert_eq!(lease.due(at(6002)), Due::Renew(9));
    }

    #[test]
    fn a_result_of_a_bucket_that_is_lost_does_not_count() {
        let mut lease = live();
        assert_eq!(lease.due(at(5000)), Due::Renew(7));
        lease.bucket_is_new(at(5001));
        assert_eq!(lease.due(at(5001)), Due::Nothing, "two renewals at once refuse each other");
        lease.renewed(at(5000), 9, at(5002));
        assert_eq!(lease.due(at(5002)), Due::Renew(0));
        lease.refused(at(5003));
        assert_eq!(lease.due(at(5003)), Due::Read);
        // The next bucket has no key to read either: that is no reason to end.
        lease.bucket_is_new(at(5004));
        assert_eq!(lease.read(0, false, at(5005)), Due::Nothing);
        assert_eq!(lease.due(at(5005)), Due::Renew(0));
        lease.renewed(at(5005), 1, at(5006));
        assert!(lease.is_valid(at(20_004)));
        assert_eq!(lease.due(at(10_005)), Due::Renew(1));
    }

    #[test]
    fn a_refused_renewal_is_read_before_the_incarnation_ends() {
        let mut lease = live();
        assert_eq!(lease.due(at(5000)), Due::Renew(7));
        lease.failed(at(10_000)); // It was written, and its acknowledgement lost.
        assert_eq!(lease.due(at(11_000)), Due::Renew(7));
        lease.refused(at(11_001));
        assert_eq!(lease.due(at(11_001)), Due::Read);
        assert_eq!(lease.read(8, true, at(11_002)), Due::Nothing);
        assert!(!lease.is_valid(at(15_000)), "an unknown sending time makes nothing valid");
        let mut lease = live();
        assert_eq!(lease.read(9, false, at(11_002)), Due::Fence);
    }

    #[test]
    fn a_lease_without_even_a_marker_is_that_of_a_new_bucket() {
        let mut lease = live();
        assert_eq!(lease.due(at(5000)), Due::Renew(7));
        lease.refused(at(5001));
        assert_eq!(lease.due(at(5001)), Due::Read);
        assert_eq!(lease.read(0, false, at(5002)), Due::Nothing);
        assert_eq!(lease.due(at(5002)), Due::Renew(0));
        // It is fenced all the same if it cannot be written.
        lease.failed(at(8000));
        assert_eq!(lease.due(at(15_000)), Due::Fence);
    }

    #[test]
    fn a_lease_that_expired_before_any_acknowledgement_is_written_again() {
        let mut lease = Lease::new(at(0));
        assert_eq!(lease.due(at(0)), Due::Renew(0));
        lease.failed(at(3000)); // It was written, and its acknowledgement lost.
        assert_eq!(lease.due(at(4000)), Due::Renew(0));
        lease.refused(at(4001));
        assert_eq!(lease.due(at(4001)), Due::Read);
        assert_eq!(lease.read(7, true, at(4002)), Due::Nothing);
        // The machine stands still until it has expired.
        assert_eq!(lease.due(at(30_000)), Due::Renew(7));
        lease.refused(at(30_001));
        assert_eq!(lease.due(at(30_001)), Due::Read);
        assert_eq!(lease.read(8, false, at(30_002)), Due::Nothing);
        assert_eq!(lease.due(at(30_002)), Due::Renew(8), "the marker's revision is the key's last one");
    }

    #[test]
    fn after_a_gap_nothing_is_seized_for_ten_seconds() {
        let mut lease = live();
        renew(&mut lease, at(5000));
        renew(&mut lease, at(10_000));
        assert!(lease.may_seize(at(15_000)));
        assert!(!lease.may_seize(at(18_000)), "its own renewals are missing");
        renew(&mut lease, at(18_000));
        assert!(!lease.may_seize(at(22_000)));
        renew(&mut lease, at(23_000));
        assert!(!lease.may_seize(at(28_000)));
        assert!(lease.may_seize(at(28_001)));
    }

    #[test]
    fn after_a_longer_outage_nothing_is_seized_for_ten_seconds_either() {
        // Fenced, and NATS is away for another minute; or started while it was away.
        let mut lease = Lease::new(at(0));
        assert_eq!(lease.due(at(0)), Due::Renew(0));
        lease.failed(at(3000));
        renew(&mut lease, at(60_000));
        assert!(lease.is_valid(at(60_001)) && !lease.may_seize(at(60_001)));
        renew(&mut lease, at(65_000));
        assert!(!lease.may_seize(at(70_000)));
        assert!(lease.may_seize(at(70_001)));
    }

    /// Renews the lease with an acknowledgement after a millisecond.
    fn renew(lease: &mut Lease, sent: Moment) {
        assert!(matches!(lease.due(sent), Due::Renew(_)));
        lease.renewed(sent, lease.revision() + 1, sent + at(1));
    }
}
