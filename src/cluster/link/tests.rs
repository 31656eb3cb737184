//! Each rule of a link, with a test that fails without it, and a network that delays, drops and reorders.

use std::collections::{HashMap, HashSet, VecDeque};
use std::time::Duration;

use super::receiver::{Place, Receiver, Recipient, Taken, WRITING};
use super::sender::{Due, Heard, Limits, Sender};
use super::{LOST_AFTER, MAX_WINDOW, Moment, NEARLY_OUT, PROBE_EVERY, SEQUENCES, STUCK_AFTER};
use crate::cluster::seam::{DeliverError, Incoming, Reject};
use crate::cluster::wire::{self, Acknowledgement, Kind, Position, Record};
use crate::error::Failed;

const LIMITS: Limits = Limits { frame: 200, record: 1000 };
const FULL: Reject = Reject::Failed(3);

/// A router that notes what it gets.
#[derive(Default)]
struct Machine {
    got: Vec<(u64, String)>,
    absent: HashSet<String>,
    opening: HashSet<String>,
    writing: HashSet<String>,
    room: Option<usize>,
    revisions: HashMap<String, u64>,
    gone: HashSet<(String, u64)>,
}

impl Recipient for Machine {
    fn deliver(&mut self, incoming: &Incoming<'_>, sequence: u64) -> Result<(), DeliverError> {
        if self.absent.contains(incoming.name) {
            return Err(DeliverError::Gone);
        }
        if let Some(room) = &mut self.room {
            *room = room.checked_sub(1).ok_or(DeliverError::Full)?;
        }
        self.got.push((sequence, String::from_utf8_lossy(incoming.payload).into_owned()));
        Ok(())
    }

    fn place(&self, name: &str, revision: u64) -> Place {
        match () {
            () if self.gone.contains(&(name.to_owned(), revision)) => Place::Elsewhere,
            () if self.revisions.get(name).is_some_and(|current| *current != revision) => Place::Elsewhere,
            () if self.writing.contains(name) => Place::Writing,
            () if self.opening.contains(name) => Place::Opening,
            () => Place::Here,
        }
    }

    fn set_gone(&mut self, name: &str, revision: u64) {
        self.gone.insert((name.to_owned(), revision));
    }
}

fn result(
    receiver: &mut Receiver,
    (epoch, sequence): (u32, u64),
    outcome: Result<(), Reject>,
    machine: &mut Machine,
) {
    receiver.result(epoch, sequence, outcome, |name, revision| machine.set_gone(name, revision));
}

fn record<'a>(name: &'a str, payload: &'a str) -> Record<'a> {
    Record {
        name,
        is_room: false,
        revision: 1,
        message_type: "T",
        correlation: 0,
        age: Duration::ZERO,
        payload: payload.as_bytes(),
    }
}

fn frame(kind: Kind, position: Position, records: &[Record<'_>]) -> Vec<u8> {
    let mut out = Vec::new();
    wire::write_head(&mut out, kind, (1, 2), position, None);
    if kind == Kind::Data {
        let mut all = wire::Records::default();
        records.iter().for_each(|record| assert!(all.push(record)));
        all.write(&mut out);
    }
    out
}

fn data(first: u64, records: &[Record<'_>]) -> Vec<u8> {
    frame(Kind::Data, Position { epoch: 1, base: 0, first }, records)
}

fn hello(receiver: &mut Receiver, epoch: u32) -> Taken {
    take(receiver, &frame(Kind::Hello, Position { epoch, base: 0, first: 0 }, &[]), &mut Machine::default())
}

fn take(receiver: &mut Receiver, bytes: &[u8], machine: &mut Machine) -> Taken {
    receiver.take(&wire::decode(bytes).unwrap(), Moment::ZERO, machine)
}

fn up(epoch: u32) -> Sender {
    let mut sender = Sender::new(epoch, LIMITS, Moment::ZERO);
    assert_eq!(sender.due(Moment::ZERO), Due::Send(Kind::Hello));
    let acknowledgement = Acknowledgement { epoch, ..Acknowledgement::default() };
    assert_eq!(sender.acknowledged(&acknowledgement, Moment::ZERO), Heard::Up);
    sender
}

#[test]
fn a_link_is_down_until_its_hello_is_acknowledged() {
    let mut sender = Sender::new(3, LIMITS, Moment::ZERO);
    sender.push(0, &record("ben", "1"), Moment::ZERO);
    assert!(sender.take_frame(Moment::ZERO).is_none());
    assert_eq!(sender.due(Moment::ZERO), Due::Send(Kind::Hello));
    assert_eq!(sender.due(Moment::ZERO), Due::Nothing);
    let other = Acknowledgement { epoch: 2, ..Acknowledgement::default() };
    assert_eq!(sender.acknowledged(&other, Moment::ZERO), Heard::Nothing);
    let own = Acknowledgement { epoch: 3, ..Acknowledgement::default() };
    assert_eq!(sender.acknowledged(&own, Moment::ZERO), Heard::Up);
    assert_eq!(sender.take_frame(Moment::ZERO).unwrap().1.count(), 1);
}

#[test]
fn a_record_that_is_too_large_ends_in_its_place() {
    let mut sender = up(1);
    let large = "x".repeat(2000);
    for payload in ["1", &large, "2"] {
        sender.push(0, &record("ben", payload), Moment::ZERO);
    }
    let firsts: Vec<_> =
        std::iter::from_fn(|| sender.take_frame(Moment::ZERO)).map(|(at, _)| at.first).collect();
    assert_eq!(firsts, [0, 2]);
    let acknowledgement = Acknowledgement { epoch: 1, upto: 3, rejects: vec![(1, Reject::Lost)] };
    sender.acknowledged(&acknowledgement, Moment::ZERO);
    let settled = sender.settled().remove(0);
    assert_eq!((settled.count, settled.rejects), (3, vec![(1, Reject::Failed(Failed::TooLarge as u16))]));
}

#[test]
fn acknowledgements_are_cumulative_and_per_worker() {
    let mut sender = up(1);
    for worker in [0, 1, 0, 0] {
        sender.push(worker, &record("ben", "x"), Moment::ZERO);
    }
    assert!(sender.take_frame(Moment::ZERO).is_some());
    let acknowledgement = Acknowledgement { epoch: 1, upto: 3, rejects: vec![(2, Reject::Gone)] };
    assert_eq!(sender.acknowledged(&acknowledgement, Moment::ZERO), Heard::Settled);
    let settled = sender.settled();
    assert_eq!((settled[0].worker, settled[0].count), (0, 2));
    assert_eq!(settled[0].rejects, [(1, Reject::Gone)]);
    assert_eq!((settled[1].worker, settled[1].count), (1, 1));
    // The same again settles nothing twice.
    sender.acknowledged(&acknowledgement, Moment::ZERO);
    assert!(sender.settled().is_empty());
    assert_eq!(sender.in_flight(), 1);
}

#[test]
fn an_acknowledgement_of_what_was_not_sent_is_ignored() {
    let mut sender = up(1);
    sender.push(0, &record("ben", "x"), Moment::ZERO);
    let acknowledgement = Acknowledgement { epoch: 1, upto: 1, rejects: Vec::new() };
    assert_eq!(sender.acknowledged(&acknowledgement, Moment::ZERO), Heard::Nothing);
    assert_eq!(sender.in_flight(), 1);
}

#[test]
fn a_silent_link_is_lost_after_three_seconds() {
    let mut sender = up(1);
    sender.push(0, &record("ben", "x"), Duration::from_secs(1));
    assert!(sender.take_frame(Duration::from_secs(1)).is_some());
    assert_eq!(sender.due(Duration::from_secs(1) + PROBE_EVERY), Due::Send(Kind::Probe));
    let nearly = Duration::from_secs(1) + LOST_AFTER - Duration::from_millis(1);
    assert_ne!(sender.due(nearly), Due::Lost);
    assert_eq!(sender.due(Duration::from_secs(1) + LOST_AFTER), Due::Lost);
    sender.restart(2, Duration::from_secs(5));
    assert_eq!((sender.in_flight(), sender.is_up(), sender.epoch()), (0, false, 2));
}

#[test]
fn a_link_that_is_heard_waits_for_a_stuck_message_but_not_for_ever() {
    let mut sender = up(1);
    for text in ["x", "y"] {
        sender.push(0, &record("ben", text), Duration::from_secs(10));
    }
    assert!(sender.take_frame(Duration::from_secs(10)).is_some());
    // The first one is inside a worker that does not come back.
    let nothing_new = Acknowledgement { epoch: 1, upto: 0, rejects: Vec::new() };
    let last = 10 + STUCK_AFTER.as_secs();
    for now in (10..last).map(Duration::from_secs) {
        assert_ne!(sender.due(now), Due::Lost, "{now:?}");
        sender.acknowledged(&nothing_new, now);
    }
    assert_eq!(sender.in_flight(), 2);
    assert_eq!(sender.due(Duration::from_secs(last)), Due::Lost);
    // Silence is a loss after three seconds also then.
    let mut sender = up(1);
    sender.push(0, &record("ben", "x"), Duration::from_secs(10));
    assert!(sender.take_frame(Duration::from_secs(10)).is_some());
    sender.acknowledged(&nothing_new, Duration::from_secs(12));
    assert_ne!(sender.due(Duration::from_secs(14)), Due::Lost);
    assert_eq!(sender.due(Duration::from_secs(12) + LOST_AFTER), Due::Lost);
}

#[test]
fn an_idle_link_whose_other_end_is_silent_is_lost_too() {
    let mut sender = up(1);
    assert_eq!(sender.due(Duration::from_secs(2)), Due::Send(Kind::Probe));
    assert_eq!(sender.due(Duration::from_secs(6)), Due::Lost);
}

#[test]
fn an_older_epoch_is_dropped_and_counted() {
    let (mut receiver, mut machine) = (Receiver::default(), Machine::default());
    assert_eq!(
        take(&mut receiver, &data(0, &[record("ben", "before the hello")]), &mut machine),
        Taken::Stale
    );
    assert_eq!(hello(&mut receiver, 1), Taken::Yes);
    assert_eq!(hello(&mut receiver, 2), Taken::Yes);
    assert_eq!(hello(&mut receiver, 1), Taken::Stale);
    assert_eq!(take(&mut receiver, &data(0, &[record("ben", "old")]), &mut machine), Taken::Stale);
    assert!(machine.got.is_empty());
    assert_eq!(receiver.figures().stale, 3);
}

#[test]
fn a_gap_is_lost_and_what_comes_late_is_dropped() {
    let (mut receiver, mut machine) = (Receiver::default(), Machine::default());
    hello(&mut receiver, 1);
    let (one, two) = (data(0, &[record("ben", "1")]), data(1, &[record("ben", "2")]));
    assert_eq!(take(&mut receiver, &two, &mut machine), Taken::Yes);
    assert_eq!(take(&mut receiver, &one, &mut machine), Taken::Stale);
    assert_eq!(machine.got, [(1, "2".to_owned())]);
    assert_eq!(receiver.figures().lost, 1);
    result(&mut receiver, (1, 1), Ok(()), &mut machine);
    let acknowledgement = receiver.acknowledgement().unwrap();
    assert_eq!((acknowledgement.upto, acknowledgement.rejects), (2, vec![(0, Reject::Lost)]));
}

#[test]
fn a_probe_shows_what_got_lost_at_the_end() {
    let (mut receiver, mut machine) = (Receiver::default(), Machine::default());
    hello(&mut receiver, 1);
    let probe = frame(Kind::Probe, Position { epoch: 1, base: 0, first: 2 }, &[]);
    assert_eq!(take(&mut receiver, &probe, &mut machine), Taken::Yes);
    assert_eq!(receiver.acknowledgement().unwrap().rejects, [(0, Reject::Lost), (1, Reject::Lost)]);
}

#[test]
fn rejects_are_told_until_the_sender_knows_them() {
    let (mut receiver, mut machine) = (Receiver::default(), Machine::default());
    hello(&mut receiver, 1);
    machine.absent.insert("ben".to_owned());
    take(&mut receiver, &data(0, &[record("ben", "1")]), &mut machine);
    for _ in 0..2 {
        assert_eq!(receiver.acknowledgement().unwrap().rejects, [(0, Reject::Gone)]);
    }
    let probe = frame(Kind::Probe, Position { epoch: 1, base: 1, first: 1 }, &[]);
    take(&mut receiver, &probe, &mut machine);
    assert!(receiver.acknowledgement().unwrap().rejects.is_empty());
}

#[test]
fn results_in_any_order_are_acknowledged_cumulatively() {
    let (mut receiver, mut machine) = (Receiver::default(), Machine::default());
    hello(&mut receiver, 1);
    take(&mut receiver, &data(0, &[record("a", "1"), record("b", "2"), record("c", "3")]), &mut machine);
    result(&mut receiver, (1, 2), Ok(()), &mut machine);
    result(&mut receiver, (1, 1), Err(FULL), &mut machine);
    assert_eq!(receiver.acknowledgement().unwrap().upto, 0);
    result(&mut receiver, (2, 0), Ok(()), &mut machine); // Of another epoch.
    assert_eq!(receiver.acknowledgement().unwrap().upto, 0);
    result(&mut receiver, (1, 0), Ok(()), &mut machine);
    let acknowledgement = receiver.acknowledgement().unwrap();
    assert_eq!((acknowledgement.upto, acknowledgement.rejects), (3, vec![(1, FULL)]));
}

#[test]
fn a_place_that_was_gone_stays_gone_for_its_revision() {
    let (mut receiver, mut machine) = (Receiver::default(), Machine::default());
    hello(&mut receiver, 1);
    machine.absent.insert("ben".to_owned());
    take(&mut receiver, &data(0, &[record("ben", "1")]), &mut machine);
    machine.absent.clear();
    take(&mut receiver, &data(1, &[record("ben", "2")]), &mut machine);
    assert!(machine.got.is_empty(), "2 overtook 1");
    let newer = Record { revision: 2, ..record("ben", "1 again") };
    take(&mut receiver, &data(2, &[newer]), &mut machine);
    assert_eq!(machine.got, [(2, "1 again".to_owned())]);
}

#[test]
fn a_client_that_left_before_its_delivery_makes_the_place_gone() {
    let (mut receiver, mut machine) = (Receiver::default(), Machine::default());
    hello(&mut receiver, 1);
    take(&mut receiver, &data(0, &[record("ben", "1")]), &mut machine);
    result(&mut receiver, (1, 0), Err(Reject::Gone), &mut machine);
    take(&mut receiver, &data(1, &[record("ben", "2")]), &mut machine);
    assert_eq!(machine.got.len(), 1, "2 overtook 1");
}

#[test]
fn another_revision_than_the_owners_is_gone() {
    let (mut receiver, mut machine) = (Receiver::default(), Machine::default());
    hello(&mut receiver, 1);
    machine.revisions.insert("ben".to_owned(), 5);
    take(&mut receiver, &data(0, &[record("ben", "1")]), &mut machine);
    assert!(machine.got.is_empty());
    assert_eq!(receiver.acknowledgement().unwrap().rejects, [(0, Reject::Gone)]);
}

#[test]
fn messages_wait_for_a_claimed_names_connect_without_delaying_others() {
    let (mut receiver, mut machine) = (Receiver::default(), Machine::default());
    hello(&mut receiver, 1);
    machine.absent.insert("ben".to_owned());
    machine.opening.insert("ben".to_owned());
    take(
        &mut receiver,
        &data(0, &[record("ben", "1"), record("ann", "2"), record("ben", "3")]),
        &mut machine,
    );
    assert_eq!(machine.got, [(1, "2".to_owned())]);
    machine.absent.clear();
    take(&mut receiver, &data(3, &[record("ben", "4")]), &mut machine);
    assert_eq!(machine.got.len(), 1, "4 overtook 1");
    assert!(receiver.retry(Moment::ZERO, &mut machine));
    let order: Vec<_> = machine.got.iter().map(|(_, payload)| payload.as_str()).collect();
    assert_eq!(order, ["2", "1", "3", "4"]);
    assert!(!receiver.is_waiting());
}

#[test]
fn messages_wait_for_the_answer_to_a_claim_that_their_sender_knows_already() {
    let (mut receiver, mut machine) = (Receiver::default(), Machine::default());
    hello(&mut receiver, 1);
    machine.writing.insert("ben".to_owned());
    take(&mut receiver, &data(0, &[record("ben", "1"), record("ann", "2")]), &mut machine);
    receiver.retry(WRITING / 2, &mut machine);
    assert_eq!(machine.got, [(1, "2".to_owned())]);
    machine.writing.clear();
    receiver.retry(WRITING / 2, &mut machine);
    assert_eq!(machine.got.last(), Some(&(0, "1".to_owned())));
    // Not for ever.
    machine.writing.insert("ben".to_owned());
    take(&mut receiver, &data(2, &[record("ben", "3"), record("ben", "4")]), &mut machine);
    receiver.retry(WRITING, &mut machine);
    assert!(!receiver.is_waiting() && machine.place("ben", 1) == Place::Elsewhere);
    (0..2).for_each(|sequence| result(&mut receiver, (1, sequence), Ok(()), &mut machine));
    assert_eq!(receiver.acknowledgement().unwrap().rejects, [(2, Reject::Gone), (3, Reject::Gone)]);
}

#[test]
fn a_full_router_delays_and_does_not_reorder() {
    let (mut receiver, mut machine) = (Receiver::default(), Machine::default());
    hello(&mut receiver, 1);
    machine.room = Some(1);
    take(&mut receiver, &data(0, &[record("a", "1"), record("b", "2"), record("c", "3")]), &mut machine);
    machine.room = Some(10);
    take(&mut receiver, &data(3, &[record("d", "4")]), &mut machine);
    assert_eq!(machine.got.len(), 1);
    receiver.retry(Moment::ZERO, &mut machine);
    let order: Vec<_> = machine.got.iter().map(|(_, payload)| payload.as_str()).collect();
    assert_eq!(order, ["1", "2", "3", "4"]);
}

#[test]
fn what_waits_for_room_is_bounded() {
    let (mut receiver, mut machine) = (Receiver::default(), Machine::default());
    hello(&mut receiver, 1);
    machine.room = Some(0);
    let large = "x".repeat(1 << 20);
    for sequence in 0..20 {
        take(&mut receiver, &data(sequence, &[record("a", &large)]), &mut machine);
    }
    machine.room = Some(100);
    receiver.retry(Moment::ZERO, &mut machine);
    assert!(machine.got.len() < 9);
    for (sequence, _) in machine.got {
        receiver.result(1, sequence, Ok(()), |_, _| {});
    }
    assert_eq!(receiver.acknowledgement().unwrap().upto, 20);
}

#[test]
fn an_impossible_position_resets_the_link() {
    let (mut receiver, mut machine) = (Receiver::default(), Machine::default());
    hello(&mut receiver, 1);
    assert_eq!(take(&mut receiver, &data(1 << 40, &[record("a", "1")]), &mut machine), Taken::Reset);
    let ahead = frame(Kind::Probe, Position { epoch: 1, base: 4, first: 4 }, &[]);
    assert_eq!(take(&mut receiver, &ahead, &mut machine), Taken::Reset);
}

#[test]
fn what_is_remembered_for_a_sender_that_settles_nothing_is_bounded() {
    let (mut receiver, mut machine) = (Receiver::default(), Machine::default());
    hello(&mut receiver, 1);
    let probe = |first| frame(Kind::Probe, Position { epoch: 1, base: 0, first }, &[]);
    assert_eq!(take(&mut receiver, &probe(MAX_WINDOW), &mut machine), Taken::Yes);
    assert_eq!(take(&mut receiver, &probe(2 * MAX_WINDOW), &mut machine), Taken::Reset);
    assert_eq!(receiver.figures().lost, MAX_WINDOW);
}

#[test]
fn a_place_that_was_gone_stays_gone_when_the_link_begins_again() {
    let (mut receiver, mut machine) = (Receiver::default(), Machine::default());
    hello(&mut receiver, 1);
    machine.absent.insert("ben".to_owned());
    take(&mut receiver, &data(0, &[record("ben", "1")]), &mut machine);
    // The sender holds 1 until the name has another revision.
    hello(&mut receiver, 2);
    machine.absent.clear();
    let position = Position { epoch: 2, base: 0, first: 0 };
    take(&mut receiver, &frame(Kind::Data, position, &[record("ben", "2")]), &mut machine);
    assert!(machine.got.is_empty(), "2 overtook 1");
}

#[test]
fn a_receiver_takes_no_sequence_that_a_ticket_has_no_room_for() {
    let (mut receiver, mut machine) = (Receiver::at(SEQUENCES - 2), Machine::default());
    let base = SEQUENCES - 2;
    let at = |first| Position { epoch: 1, base, first };
    let two = [record("a", "1"), record("b", "2")];
    assert_eq!(take(&mut receiver, &frame(Kind::Data, at(base + 1), &two), &mut machine), Taken::Reset);
    assert_eq!(take(&mut receiver, &frame(Kind::Data, at(base), &two), &mut machine), Taken::Yes);
    assert_eq!(take(&mut receiver, &frame(Kind::Data, at(base + 2), &two), &mut machine), Taken::Reset);
    assert_eq!(machine.got.len(), 2);
}

#[test]
fn a_sender_that_nears_the_end_of_its_sequences_begins_again_when_nothing_is_in_flight() {
    let nearly = SEQUENCES - NEARLY_OUT;
    assert_ne!(Sender::at(nearly - 1, LIMITS).due(Moment::ZERO), Due::Lost);
    assert_eq!(Sender::at(nearly, LIMITS).due(Moment::ZERO), Due::Lost);
    let mut busy = Sender::at(nearly, LIMITS);
    busy.push(0, &record("ben", "1"), Moment::ZERO);
    assert_ne!(busy.due(Moment::ZERO), Due::Lost, "a message would be lost");
    let mut out = Sender::at(SEQUENCES - 1, LIMITS);
    out.push(0, &record("ben", "1"), Moment::ZERO);
    assert_eq!(out.due(Moment::ZERO), Due::Lost);
    out.restart(2, Moment::ZERO);
    assert_eq!(out.position(), Position { epoch: 2, base: 0, first: 0 });
}

#[test]
fn a_link_whose_frames_are_too_large_for_the_next_server_begins_again() {
    let mut sender = up(1);
    sender.push(0, &record("ben", &"x".repeat(100)), Moment::ZERO);
    assert!(sender.set_limits(Limits { frame: 150, record: 150 }), "it fits");
    assert!(!sender.set_limits(Limits { frame: 100, record: 100 }), "one that waits is larger");
    sender.restart(2, Moment::ZERO);
    let acknowledgement = Acknowledgement { epoch: 2, ..Acknowledgement::default() };
    sender.acknowledged(&acknowledgement, Moment::ZERO);
    sender.push(0, &record("ben", &"x".repeat(100)), Moment::ZERO);
    assert!(!sender.has_frame(), "the new limits count");
}

/// Sends numbered messages over a network that drops and delays frames in both directions. Each is settled exactly once:
/// delivered, lost or ended with its epoch; what is delivered is in order; and nothing that was reported as rejected was
/// delivered.
#[test]
fn a_bad_network_loses_messages_but_neither_repeats_nor_reorders_them() {
    for seed in 1..200_u64 {
        let mut state = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15);
        let mut random = move |below: u64| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            state % below
        };
        let (mut sender, mut receiver) = (Sender::new(1, LIMITS, Moment::ZERO), Receiver::default());
        let mut machine = Machine::default();
        let mut there: VecDeque<(Moment, Vec<u8>)> = VecDeque::new();
        let mut back: VecDeque<(Moment, Acknowledgement)> = VecDeque::new();
        let mut in_flight: VecDeque<usize> = VecDeque::new();
        let mut ends: Vec<Option<Result<(), Option<Reject>>>> = Vec::new();
        for step in 0..4000_u64 {
            let now = Duration::from_millis(step * 5);
            let mut send = |bytes: Vec<u8>| {
                if random(10) > 0 {
                    there.push_back((now + Duration::from_millis(random(40)), bytes));
                }
            };
            if step < 3000 && sender.is_up() && step % 3 == 0 {
                let text = ends.len().to_string();
                sender.push(0, &record("ben", &text), now);
                in_flight.push_back(ends.len());
                ends.push(None);
            }
            while let Some((position, records)) = sender.take_frame(now) {
                let mut out = Vec::new();
                wire::write_head(&mut out, Kind::Data, (1, 2), position, None);
                records.write(&mut out);
                send(out);
            }
            match sender.due(now) {
                Due::Nothing => {}
                Due::Send(kind) => send(frame(kind, sender.position(), &[])),
                Due::Lost => {
                    in_flight.drain(..).for_each(|place| ends[place] = Some(Err(None)));
                    sender.restart(sender.epoch() + 1, now);
                }
            }
            while let Some(place) = there.iter().position(|(due, _)| *due <= now) {
                let (_, bytes) = there.remove(place).unwrap();
                let before = machine.got.len();
                receiver.take(&wire::decode(&bytes).unwrap(), now, &mut machine);
                for (sequence, _) in &machine.got[before..] {
                    receiver.result(receiver.epoch().unwrap(), *sequence, Ok(()), |_, _| {});
                }
                // Some acknowledgements never leave, for long: the link is lost.
                let is_cut = (step / 700) % 3 == 2;
                if let Some(acknowledgement) = receiver.acknowledgement().filter(|_| random(5) > 0 && !is_cut)
                {
                    back.push_back((now + Duration::from_millis(random(40)), acknowledgement));
                }
            }
            while let Some(place) = back.iter().position(|(due, _)| *due <= now) {
                let (_, acknowledgement) = back.remove(place).unwrap();
                sender.acknowledged(&acknowledgement, now);
                for settled in sender.settled() {
                    let mut rejects: HashMap<u32, Reject> = settled.rejects.into_iter().collect();
                    for index in 0..settled.count {
                        let place = in_flight.pop_front().unwrap();
                        let end = rejects.remove(&index).map_or(Ok(()), |reject| Err(Some(reject)));
                        assert!(ends[place].replace(end).is_none(), "settled twice");
                    }
                }
            }
        }
        let got: Vec<usize> = machine.got.iter().map(|(_, payload)| payload.parse().unwrap()).collect();
        assert!(got.is_sorted_by(|one, other| one < other), "seed {seed}: order");
        let got: HashSet<usize> = got.into_iter().collect();
        assert!(got.len() > 300, "{}", got.len());
        for (place, end) in ends.iter().enumerate() {
            match end.unwrap_or_else(|| panic!("seed {seed}: {place} has no end")) {
                Ok(()) => assert!(got.contains(&place), "seed {seed}: {place} counts as delivered"),
                Err(Some(_)) => {
                    assert!(!got.contains(&place), "seed {seed}: {place} was delivered and rejected")
                }
                Err(None) => {} // Lost with the epoch: nobody knows.
            }
        }
    }
}
