//! Each rule of ownership, with a test that fails without it. A bucket stands in for NATS, and may keep its answers back.

use std::collections::HashMap;

use super::*;

#[derive(Default)]
struct Bucket {
    keys: HashMap<String, (Option<Owner>, u64)>,
    last: u64,
}

impl Bucket {
    fn apply(&mut self, operation: &Operation) -> Outcome {
        let (owner, revision) = self.keys.get(&*operation.name).copied().unwrap_or_default();
        match operation.action {
            Action::Put(expected, owner) if expected == revision => self.write(&operation.name, Some(owner)),
            Action::Delete(expected) if expected == revision => self.write(&operation.name, None),
            Action::Put(..) | Action::Delete(_) => Outcome::Conflict,
            Action::Read => owner.map_or(Outcome::Nothing(revision), |owner| Outcome::Owned(owner, revision)),
        }
    }

    fn write(&mut self, name: &str, owner: Option<Owner>) -> Outcome {
        self.last += 1;
        self.keys.insert(name.to_owned(), (owner, self.last));
        Outcome::Done(self.last)
    }

    fn owner(&self, name: &str) -> Option<Owner> {
        self.keys.get(name).and_then(|(owner, _)| *owner)
    }
}

/// What the watch has told, which may be less than the bucket has.
#[derive(Default)]
struct Seen {
    owners: HashMap<String, (Owner, u64)>,
    dead: Vec<u64>,
    may_not_seize: bool,
}

impl Others for Seen {
    fn owner(&self, name: &str) -> Option<(Owner, u64)> {
        self.owners.get(name).copied()
    }

    fn liveness(&self, incarnation: u64) -> Liveness {
        if self.dead.contains(&incarnation) { Liveness::Dead } else { Liveness::Alive }
    }

    fn may_seize(&self) -> bool {
        !self.may_not_seize
    }
}

const NOW: Moment = Duration::from_secs(100);
const ANN: Mac = [1; 16];
const EVE: Mac = [2; 16];

/// Does all operations until none is left.
fn settle(names: &mut Names, bucket: &mut Bucket, seen: &Seen) -> Vec<Told> {
    loop {
        let operations = names.operations();
        if operations.is_empty() {
            return names.told();
        }
        for operation in operations {
            let outcome = bucket.apply(&operation);
            names.done(&operation, outcome, NOW, seen);
        }
    }
}

/// A claim whose write was done, and whose answer is not here.
fn claim_under_way(names: &mut Names, bucket: &mut Bucket, seen: &Seen) -> (Operation, Outcome) {
    names.claim("x", 1, ANN, NOW, seen);
    let operation = names.operations().remove(0);
    let outcome = bucket.apply(&operation);
    (operation, outcome)
}

fn claim(names: &mut Names, bucket: &mut Bucket, seen: &Seen, number: u64, mac: Mac) -> Vec<Told> {
    names.claim("x", number, mac, NOW, seen);
    settle(names, bucket, seen)
}

fn claimed(number: u64) -> Vec<Told> {
    vec![Told::Claimed(number, Ok(()))]
}

fn refused(number: u64, error: ClaimError) -> Vec<Told> {
    vec![Told::Claimed(number, Err(error))]
}

#[test]
fn a_free_name_is_claimed_and_released() {
    let (mut names, mut bucket, seen) = (Names::new(1), Bucket::default(), Seen::default());
    assert_eq!(claim(&mut names, &mut bucket, &seen, 1, ANN), claimed(1));
    assert_eq!(names.owned("x"), Some((1, NOW)));
    names.release("x", 1);
    settle(&mut names, &mut bucket, &seen);
    assert!(names.is_empty() && bucket.owner("x").is_none());
    // The marker of the deletion does not keep the name.
    assert_eq!(claim(&mut names, &mut bucket, &seen, 2, EVE), claimed(2));
}

#[test]
fn a_name_that_is_being_written_may_have_a_revision_that_others_know_first() {
    let (mut names, mut bucket, seen) = (Names::new(1), Bucket::default(), Seen::default());
    assert!(!names.may_become("x", 1));
    names.claim("x", 1, ANN, NOW, &seen);
    assert!(names.may_become("x", 1));
    settle(&mut names, &mut bucket, &seen);
    assert!(!names.may_become("x", 2) && names.owned("x").is_some());
    names.touch("x");
    assert!(names.may_become("x", 2) && !names.may_become("x", 1));
}

#[test]
fn of_two_machines_one_gets_the_name() {
    let (mut bucket, seen) = (Bucket::default(), Seen::default());
    let (mut one, mut two) = (Names::new(1), Names::new(2));
    one.claim("x", 1, ANN, NOW, &seen);
    two.claim("x", 1, EVE, NOW, &seen);
    assert_eq!(settle(&mut two, &mut bucket, &seen), claimed(1));
    assert_eq!(settle(&mut one, &mut bucket, &seen), refused(1, ClaimError::Taken));
}

#[test]
fn the_same_token_takes_a_name_over_and_the_old_owner_learns_it() {
    let (mut bucket, seen) = (Bucket::default(), Seen::default());
    let (mut one, mut two) = (Names::new(1), Names::new(2));
    assert_eq!(claim(&mut one, &mut bucket, &seen, 1, ANN), claimed(1));
    assert_eq!(claim(&mut two, &mut bucket, &seen, 7, ANN), claimed(7));
    one.seen("x", bucket.last, bucket.owner("x"));
    assert_eq!(one.told(), [Told::Lost("x".into(), 1, LostReason::Replaced)]);
    // The old owner's release comes too late to delete anything.
    one.release("x", 1);
    settle(&mut one, &mut bucket, &seen);
    assert_eq!(bucket.owner("x").unwrap().incarnation, 2);
}

#[test]
fn on_one_machine_the_second_claim_of_a_token_replaces_the_first() {
    let (mut names, mut bucket, seen) = (Names::new(1), Bucket::default(), Seen::default());
    claim(&mut names, &mut bucket, &seen, 1, ANN);
    assert_eq!(claim(&mut names, &mut bucket, &seen, 2, EVE), refused(2, ClaimError::Taken));
    let told = claim(&mut names, &mut bucket, &seen, 3, ANN);
    assert_eq!(told, [Told::Lost("x".into(), 1, LostReason::Replaced), Told::Claimed(3, Ok(()))]);
    names.release("x", 1); // Of the replaced client.
    settle(&mut names, &mut bucket, &seen);
    assert!(names.owned("x").is_some());
}

#[test]
fn a_claim_without_an_answer_is_read_before_it_is_told() {
    let (mut names, mut bucket, seen) = (Names::new(1), Bucket::default(), Seen::default());
    names.claim("x", 1, ANN, NOW, &seen);
    let put = names.operations().remove(0);
    bucket.apply(&put); // It was done, and its answer lost.
    names.done(&put, Outcome::Unavailable, NOW, &seen);
    assert!(names.told().is_empty());
    assert_eq!(settle(&mut names, &mut bucket, &seen), claimed(1));
    assert_eq!(bucket.last, 1, "written once");
}

#[test]
fn a_claim_whose_read_has_no_answer_either_is_cleaned_up_later() {
    let (mut names, mut bucket, seen) = (Names::new(1), Bucket::default(), Seen::default());
    names.claim("x", 1, ANN, NOW, &seen);
    let put = names.operations().remove(0);
    names.done(&put, Outcome::Unavailable, NOW, &seen);
    let read = names.operations().remove(0);
    names.done(&read, Outcome::Unavailable, NOW, &seen);
    assert_eq!(names.told(), refused(1, ClaimError::Unavailable));
    bucket.apply(&put); // Now it arrives: a name that nobody has.
    names.tick(NOW + RETRY_AFTER, 10);
    settle(&mut names, &mut bucket, &seen);
    assert!(bucket.owner("x").is_none());
}

#[test]
fn a_claim_ends_when_nats_reads_but_does_not_write() {
    let (dead, ours) =
        (Owner { incarnation: 9, claim: 1, mac: EVE }, Owner { incarnation: 9, claim: 1, mac: ANN });
    for before in [None, Some(dead), Some(ours)] {
        let (mut names, mut bucket) = (Names::new(1), Bucket::default());
        let mut seen = Seen { dead: vec![9], ..Seen::default() };
        if let Some(owner) = before {
            bucket.write("x", Some(owner));
            seen.owners.insert("x".to_owned(), (owner, 1));
        }
        names.claim("x", 1, ANN, NOW, &seen);
        let mut writes = 0;
        while let Some(operation) = names.operations().pop() {
            writes += usize::from(operation.action != Action::Read);
            assert!(writes <= usize::from(MAX_TRIES), "it never ends");
            let is_read = operation.action == Action::Read;
            let outcome = if is_read { bucket.apply(&operation) } else { Outcome::Unavailable };
            names.done(&operation, outcome, NOW, &seen);
        }
        assert_eq!(names.told(), refused(1, ClaimError::Unavailable));
        assert_eq!((names.claims(), names.len()), (0, 0));
    }
}

#[test]
fn a_dead_machines_name_is_taken_but_not_after_a_gap() {
    let (mut names, mut bucket) = (Names::new(1), Bucket::default());
    let owner = Owner { incarnation: 9, claim: 1, mac: EVE };
    bucket.write("x", Some(owner));
    let mut seen = Seen { dead: vec![9], may_not_seize: true, ..Seen::default() };
    seen.owners.insert("x".to_owned(), (owner, 1));
    assert_eq!(claim(&mut names, &mut bucket, &seen, 1, ANN), refused(1, ClaimError::Busy), "NATS is there");
    seen.may_not_seize = false;
    assert_eq!(claim(&mut names, &mut bucket, &seen, 2, ANN), claimed(2));
}

#[test]
fn a_refused_seizure_whose_write_comes_late_is_cleaned_up() {
    let (mut names, mut bucket) = (Names::new(1), Bucket::default());
    let owner = Owner { incarnation: 9, claim: 1, mac: EVE };
    bucket.write("x", Some(owner));
    let mut seen = Seen { dead: vec![9], ..Seen::default() };
    seen.owners.insert("x".to_owned(), (owner, 1));
    names.claim("x", 1, ANN, NOW, &seen);
    let put = names.operations().remove(0);
    names.done(&put, Outcome::Unavailable, NOW, &seen);
    seen.may_not_seize = true; // A gap.
    assert_eq!(settle(&mut names, &mut bucket, &seen), refused(1, ClaimError::Busy));
    bucket.apply(&put);
    names.tick(NOW + RETRY_AFTER, 10);
    settle(&mut names, &mut bucket, &seen);
    assert!(bucket.owner("x").is_none());
}

#[test]
fn a_refusal_is_read_at_the_leader_first() {
    let (mut names, mut bucket, mut seen) = (Names::new(1), Bucket::default(), Seen::default());
    // The watch has not told of the release yet.
    let owner = Owner { incarnation: 9, claim: 1, mac: EVE };
    bucket.write("x", Some(owner));
    bucket.write("x", None);
    seen.owners.insert("x".to_owned(), (owner, 1));
    assert_eq!(claim(&mut names, &mut bucket, &seen, 1, ANN), claimed(1));
}

#[test]
fn a_machine_that_returns_keeps_only_what_nobody_has_taken() {
    let (mut bucket, seen) = (Bucket::default(), Seen::default());
    let mut one = Names::new(1);
    for (number, name) in ["kept", "replaced", "taken", "swept"].into_iter().enumerate() {
        one.claim(name, number as u64, ANN, NOW, &seen);
    }
    settle(&mut one, &mut bucket, &seen);
    bucket.write("replaced", Some(Owner { incarnation: 2, claim: 1, mac: ANN }));
    bucket.write("taken", Some(Owner { incarnation: 2, claim: 2, mac: EVE }));
    bucket.write("swept", None);
    one.restart(11);
    one.tick(NOW, 100);
    let mut told = settle(&mut one, &mut bucket, &seen);
    told.sort_by_key(|told| format!("{told:?}"));
    let lost = |name: &str, claim, reason| Told::Lost(name.into(), claim, reason);
    assert_eq!(told, [lost("replaced", 1, LostReason::Replaced), lost("taken", 2, LostReason::Taken)]);
    for name in ["kept", "swept"] {
        assert_eq!(bucket.owner(name).unwrap().incarnation, 11);
        assert!(one.owned(name).is_some());
    }
}

#[test]
fn an_own_entry_whose_answer_did_not_come_before_a_fence_costs_no_client_its_name() {
    let (mut bucket, seen) = (Bucket::default(), Seen::default());
    let mut one = Names::new(1);
    for (number, name) in ["back", "touched", "other"].into_iter().enumerate() {
        one.claim(name, number as u64, ANN, NOW, &seen);
    }
    settle(&mut one, &mut bucket, &seen);
    // It returns as 11 and writes its names, NATS is away again before it answers, and it is fenced again.
    one.restart(11);
    one.tick(NOW, 100);
    one.operations()
        .iter()
        .for_each(|operation| assert!(matches!(bucket.apply(operation), Outcome::Done(_))));
    one.restart(12);
    one.tick(NOW, 100);
    // Somebody else's claim of the same number is no own entry.
    bucket.write("other", Some(Owner { incarnation: 2, claim: 2, mac: ANN }));
    let lost = [Told::Lost("other".into(), 2, LostReason::Replaced)];
    assert_eq!(settle(&mut one, &mut bucket, &seen), lost);
    // A new revision, and a bucket that was lost, without an answer before a fence.
    one.touch("touched");
    one.operations()
        .iter()
        .for_each(|operation| assert!(matches!(bucket.apply(operation), Outcome::Done(_))));
    one.restart(13);
    one.tick(NOW, 100);
    assert_eq!(settle(&mut one, &mut bucket, &seen), []);
    bucket = Bucket::default();
    one.bucket_is_new();
    one.tick(NOW, 100);
    one.operations()
        .iter()
        .for_each(|operation| assert!(matches!(bucket.apply(operation), Outcome::Done(_))));
    one.restart(14);
    one.tick(NOW, 100);
    assert_eq!(settle(&mut one, &mut bucket, &seen), []);
    assert!(["back", "touched"].iter().all(|name| bucket.owner(name).unwrap().incarnation == 14));
}

#[test]
fn a_lost_bucket_is_filled_again_with_the_own_names() {
    let (mut bucket, seen) = (Bucket::default(), Seen::default());
    let mut one = Names::new(1);
    claim(&mut one, &mut bucket, &seen, 1, ANN);
    bucket = Bucket::default();
    one.bucket_is_new();
    one.tick(NOW, 100);
    assert!(settle(&mut one, &mut bucket, &seen).is_empty());
    assert_eq!(bucket.owner("x").unwrap().incarnation, 1);
}

#[test]
fn an_answer_of_a_bucket_that_is_lost_is_read_again() {
    let (mut names, mut bucket, seen) = (Names::new(1), Bucket::default(), Seen::default());
    let (operation, outcome) = claim_under_way(&mut names, &mut bucket, &seen);
    bucket = Bucket::default();
    names.bucket_is_new();
    assert_eq!(names.done(&operation, outcome, NOW, &seen), None);
    assert_eq!(settle(&mut names, &mut bucket, &seen), claimed(1));
    assert_eq!(bucket.owner("x").map(|owner| owner.incarnation), Some(1), "owned without an entry");
}

#[test]
fn an_entry_of_ours_without_a_claim_is_deleted() {
    let (mut names, mut bucket, seen) = (Names::new(1), Bucket::default(), Seen::default());
    let owner = Owner { incarnation: 1, claim: 1, mac: ANN };
    for name in ["x", "left"] {
        bucket.write(name, Some(owner));
        names.seen(name, bucket.last, Some(owner));
    }
    // The usual case: the client has left, and the watch is late. The leader is not asked.
    bucket.write("left", None);
    names.seen("left", bucket.last, None);
    names.tick(NOW, 100);
    let operations = names.operations();
    assert_eq!(operations.iter().map(|one| &*one.name).collect::<Vec<_>>(), ["x"]);
    operations.into_iter().for_each(|one| {
        let outcome = bucket.apply(&one);
        names.done(&one, outcome, NOW, &seen);
    });
    assert_eq!(settle(&mut names, &mut bucket, &seen), []);
    assert_eq!((bucket.owner("x"), names.doubtful.len()), (None, 0));
}

#[test]
fn an_entry_without_a_claim_is_read_although_an_earlier_read_found_none() {
    let (mut names, seen) = (Names::new(1), Seen::default());
    let owner = Owner { incarnation: 1, claim: 1, mac: ANN };
    names.seen("x", 1, Some(owner));
    names.tick(NOW, 100);
    let read = names.operations().remove(0);
    names.seen("x", 2, Some(owner)); // It was written after it was read.
    names.done(&read, Outcome::Nothing(0), NOW, &seen);
    names.tick(NOW, 100);
    assert_eq!(names.operations().remove(0).action, Action::Read);
}

#[test]
fn an_entry_that_is_written_while_the_name_is_released_is_deleted() {
    let (mut names, mut bucket, seen) = (Names::new(1), Bucket::default(), Seen::default());
    claim(&mut names, &mut bucket, &seen, 1, ANN);
    names.release("x", 1);
    let release = names.operations().remove(0);
    let owner = Owner { incarnation: 1, claim: 1, mac: ANN };
    bucket.write("x", Some(owner)); // A write that was late.
    names.seen("x", bucket.last, Some(owner));
    let outcome = bucket.apply(&release);
    names.done(&release, outcome, NOW, &seen);
    names.tick(NOW, 100);
    settle(&mut names, &mut bucket, &seen);
    assert_eq!((bucket.owner("x"), names.contains("x")), (None, false));
}

#[test]
fn a_late_write_of_an_earlier_claim_costs_no_client_its_name() {
    let (mut names, mut bucket, seen) = (Names::new(1), Bucket::default(), Seen::default());
    claim(&mut names, &mut bucket, &seen, 2, ANN);
    let earlier = Owner { incarnation: 1, claim: 1, mac: [7; 16] };
    // In a bucket that was lost, before the name is written again.
    bucket = Bucket::default();
    bucket.write("x", Some(earlier));
    names.bucket_is_new();
    names.tick(NOW, 100);
    assert_eq!(settle(&mut names, &mut bucket, &seen), []);
    assert_eq!(bucket.owner("x").map(|owner| owner.claim), Some(2));
    // As the watch tells it.
    bucket.write("x", Some(earlier));
    names.seen("x", bucket.last, Some(earlier));
    assert_eq!(settle(&mut names, &mut bucket, &seen), []);
    assert_eq!(bucket.owner("x").map(|owner| owner.claim), Some(2));
}

#[test]
fn what_was_gone_in_a_lost_bucket_hides_nothing_of_the_new_one() {
    let (mut names, mut bucket, seen) = (Names::new(1), Bucket::default(), Seen::default());
    claim(&mut names, &mut bucket, &seen, 1, ANN);
    names.set_gone("x", 5 << 40 | 9);
    bucket = Bucket::default();
    names.bucket_is_new();
    names.set_gone("x", 1); // The sender has heard of the new entry first.
    names.tick(NOW, 100);
    settle(&mut names, &mut bucket, &seen);
    assert_eq!(names.owned("x").map(|(revision, _)| revision), Some(1));
    assert!(names.was_gone("x", 1));
}

#[test]
fn a_deleted_name_is_written_again() {
    let (mut bucket, seen) = (Bucket::default(), Seen::default());
    let mut one = Names::new(1);
    claim(&mut one, &mut bucket, &seen, 1, ANN);
    bucket.write("x", None);
    one.seen("x", bucket.last, None);
    assert!(settle(&mut one, &mut bucket, &seen).is_empty());
    assert_eq!((bucket.owner("x").unwrap().incarnation, one.owned("x").unwrap().0), (1, 3));
}

#[test]
fn news_that_comes_before_the_answer_counts() {
    let (mut bucket, seen) = (Bucket::default(), Seen::default());
    let mut one = Names::new(1);
    one.claim("x", 1, ANN, NOW, &seen);
    let put = one.operations().remove(0);
    let answer = bucket.apply(&put);
    bucket.write("x", Some(Owner { incarnation: 2, claim: 1, mac: ANN }));
    one.seen("x", 1, Some(Owner { incarnation: 1, claim: 1, mac: ANN }));
    one.seen("x", 2, bucket.owner("x"));
    one.done(&put, answer, NOW, &seen);
    assert_eq!(one.told(), [Told::Claimed(1, Ok(())), Told::Lost("x".into(), 1, LostReason::Replaced)]);
}

#[test]
fn a_page_that_loads_again_waits_for_its_release() {
    let (mut bucket, seen) = (Bucket::default(), Seen::default());
    let mut one = Names::new(1);
    claim(&mut one, &mut bucket, &seen, 1, ANN);
    one.release("x", 1);
    one.claim("x", 2, EVE, NOW, &seen);
    assert_eq!(settle(&mut one, &mut bucket, &seen), claimed(2));
}

#[test]
fn releases_are_limited_and_each_is_tried_until_it_has_an_answer() {
    let (mut bucket, seen) = (Bucket::default(), Seen::default());
    let mut one = Names::new(1);
    let all: Vec<String> = (0..2_000).map(|number| number.to_string()).collect();
    for name in &all {
        one.claim(name, 1, ANN, NOW, &seen);
        settle(&mut one, &mut bucket, &seen);
    }
    all.iter().for_each(|name| one.release(name, 1));
    // Nobody answers.
    let asked = one.operations();
    assert_eq!((asked.len(), one.operations().len()), (MAX_RELEASES, 0));
    for operation in &asked {
        assert_eq!(one.done(operation, Outcome::Unavailable, NOW, &seen), None);
    }
    assert_eq!(one.len(), all.len(), "they are this machine's as long as the bucket says so");
    // Now somebody does, and those are tried again that had no answer.
    settle(&mut one, &mut bucket, &seen);
    assert_eq!(one.len(), MAX_RELEASES);
    one.tick(NOW + RETRY_AFTER, 1_000);
    settle(&mut one, &mut bucket, &seen);
    assert!(one.is_empty() && all.iter().all(|name| bucket.owner(name).is_none()));
}

#[test]
fn a_claim_takes_the_place_of_a_release_that_waits() {
    let (mut bucket, seen) = (Bucket::default(), Seen::default());
    let mut one = Names::new(1);
    claim(&mut one, &mut bucket, &seen, 1, ANN);
    one.release("x", 1);
    let delete = one.operations().remove(0);
    one.done(&delete, Outcome::Unavailable, NOW, &seen);
    one.claim("x", 2, EVE, NOW, &seen);
    let put = one.operations().remove(0);
    bucket.apply(&delete); // It was on its way.
    let outcome = bucket.apply(&put);
    one.done(&put, outcome, NOW, &seen);
    assert_eq!(settle(&mut one, &mut bucket, &seen), claimed(2));
    one.tick(NOW + 10 * RETRY_AFTER, 10);
    assert!(settle(&mut one, &mut bucket, &seen).is_empty());
    assert_eq!(bucket.owner("x").map(|owner| owner.claim), Some(2));
}

#[test]
fn a_dropped_claim_is_released_when_it_succeeds() {
    let (mut bucket, seen) = (Bucket::default(), Seen::default());
    let mut one = Names::new(1);
    one.claim("x", 1, ANN, NOW, &seen);
    one.release("x", 1);
    assert!(settle(&mut one, &mut bucket, &seen).is_empty());
    assert!(one.is_empty() && bucket.owner("x").is_none());
}

#[test]
fn more_than_256_claims_at_once_are_busy() {
    let (mut names, seen) = (Names::new(1), Seen::default());
    for number in 0..=MAX_CLAIMS as u64 {
        names.claim(&number.to_string(), number, ANN, NOW, &seen);
    }
    assert_eq!(names.told(), refused(MAX_CLAIMS as u64, ClaimError::Busy));
}

#[test]
fn a_touched_name_gets_a_new_revision() {
    let (mut bucket, seen) = (Bucket::default(), Seen::default());
    let mut one = Names::new(1);
    claim(&mut one, &mut bucket, &seen, 1, ANN);
    one.touch("x");
    assert!(settle(&mut one, &mut bucket, &seen).is_empty());
    assert_eq!(one.owned("x").unwrap().0, 2);
}

#[test]
fn a_bucket_without_a_trace_of_a_live_machines_name_is_not_believed() {
    let (mut names, mut bucket, mut seen) = (Names::new(1), Bucket::default(), Seen::default());
    let owner = Owner { incarnation: 9, claim: 1, mac: EVE };
    seen.owners.insert("x".to_owned(), (owner, 7));
    assert_eq!(claim(&mut names, &mut bucket, &seen, 1, ANN), refused(1, ClaimError::Busy));
}

#[test]
fn an_answer_from_before_the_watch_began_again_is_read_again() {
    let (mut names, mut bucket, seen) = (Names::new(1), Bucket::default(), Seen::default());
    let (operation, outcome) = claim_under_way(&mut names, &mut bucket, &seen);
    // Meanwhile the same client claims its name elsewhere and leaves, and the watch begins again behind both.
    bucket.write("x", Some(Owner { incarnation: 2, claim: 1, mac: ANN }));
    bucket.write("x", None);
    names.reclaim_missing(|_| false);
    assert_eq!(names.done(&operation, outcome, NOW, &seen), None);
    assert_eq!(settle(&mut names, &mut bucket, &seen), claimed(1));
    assert_eq!(bucket.owner("x").map(|owner| owner.incarnation), Some(1), "owned without an entry");
}

#[test]
fn a_name_that_the_watch_has_told_of_is_not_written_again_although_the_directory_has_no_room_for_it() {
    let (mut names, mut bucket, seen) = (Names::new(1), Bucket::default(), Seen::default());
    assert_eq!(claim(&mut names, &mut bucket, &seen, 1, ANN), claimed(1));
    let owner = Owner { incarnation: 1, claim: 1, mac: ANN };
    let revision = names.owned("x").unwrap().0;
    names.watch_begins();
    names.seen("x", revision, Some(owner));
    names.reclaim_missing(|_| false);
    assert_eq!((names.reclaims(), names.owned("x").is_some()), (0, true));
    // The next watch says nothing of it.
    names.watch_begins();
    names.reclaim_missing(|_| false);
    assert_eq!(names.reclaims(), 1);
}

#[test]
fn only_what_is_owned_is_told_to_the_directory() {
    let (mut names, mut bucket, seen) = (Names::new(1), Bucket::default(), Seen::default());
    let (operation, outcome) = claim_under_way(&mut names, &mut bucket, &seen);
    let owner = Owner { incarnation: 1, claim: 1, mac: ANN };
    assert_eq!(names.done(&operation, outcome, NOW, &seen), Some((owner, 1)));
    names.touch("x");
    let operation = names.operations().remove(0);
    let outcome = bucket.apply(&operation);
    names.seen("x", 3, None); // The watch is ahead of the answer.
    assert_eq!(names.done(&operation, outcome, NOW, &seen), None);
}

#[test]
fn a_place_that_was_gone_stays_gone_until_the_name_has_a_new_revision() {
    let (mut names, mut bucket, seen) = (Names::new(1), Bucket::default(), Seen::default());
    claim(&mut names, &mut bucket, &seen, 1, ANN);
    names.set_gone("x", 1);
    assert!(names.was_gone("x", 1) && !names.was_gone("x", 2));
    assert_eq!(names.gone(), ["x".into()]);
    names.touch("x");
    assert!(names.gone().is_empty() && names.was_gone("x", 1), "it is being written");
    // The bucket does not answer; the leader says that nothing was written.
    let operation = names.operations().remove(0);
    names.done(&operation, Outcome::Unavailable, NOW, &seen);
    names.tick(NOW + RETRY_AFTER, 10);
    settle(&mut names, &mut bucket, &seen);
    assert_eq!(names.gone(), ["x".into()], "the revision is the same");
    names.touch("x");
    settle(&mut names, &mut bucket, &seen);
    assert_eq!(names.owned("x").map(|(revision, _)| revision), Some(2));
    assert!(names.gone().is_empty() && !names.was_gone("x", 2));
}

#[test]
fn a_revision_that_was_gone_before_the_bucket_told_of_it_stays_gone() {
    let (mut names, mut bucket, seen) = (Names::new(1), Bucket::default(), Seen::default());
    let (operation, outcome) = claim_under_way(&mut names, &mut bucket, &seen);
    names.set_gone("x", 1); // A sender knows the revision, and has waited for the answer long enough.
    names.done(&operation, outcome, NOW, &seen);
    assert!(names.was_gone("x", 1));
    assert_eq!(names.gone(), ["x".into()]);
}

#[test]
fn the_messages_of_one_revision_go_to_one_client() {
    let (mut names, mut bucket, seen) = (Names::new(1), Bucket::default(), Seen::default());
    claim(&mut names, &mut bucket, &seen, 1, ANN);
    assert!(names.accepts("x", ClientId(7)) && names.accepts("x", ClientId(7)));
    assert!(!names.accepts("x", ClientId(8)), "8 would overtake what comes back from 7");
    names.set_gone("x", 1);
    names.touch("x");
    settle(&mut names, &mut bucket, &seen);
    assert!(names.accepts("x", ClientId(8)));
}
