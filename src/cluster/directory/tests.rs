//! What the watch tells and the leader answers, in every order, and what the directory makes of it.

use super::*;

const OWNER: Owner = Owner { incarnation: 2, claim: 1, mac: [0; 16] };

fn info(machine: &str) -> MachineInfo {
    MachineInfo { machine: machine.to_owned(), is_draining: false }
}

fn synced() -> Directory {
    let mut directory = Directory::new(1, 100, 100);
    directory.begin(false);
    directory.lease(1, info("a"));
    directory.lease(2, info("b"));
    directory.synced(Moment::ZERO);
    assert_eq!(directory.changes(), [Change::Up(2)]);
    directory
}

#[test]
fn a_name_from_before_a_watch_is_not_told_by_it() {
    let mut directory = Directory::new(1, 100, 100);
    directory.begin(false);
    directory.lease(2, info("b"));
    directory.name("ann", 5, OWNER, Moment::ZERO);
    directory.synced(Moment::ZERO);
    assert!(directory.is_told("ann") && !directory.is_told("ben"));
    // The watch of a new bucket, and one that begins again soon after: the entry stays, and may have been deleted.
    for is_new in [true, false] {
        directory.begin(is_new);
        directory.synced(Moment::ZERO);
        assert!(directory.owner("ann").is_some() && !directory.is_told("ann"));
    }
    directory.name("ann", 6, OWNER, Moment::ZERO);
    assert!(directory.is_told("ann"));
}

#[test]
fn a_room_that_had_no_place_gets_one_when_another_room_ends() {
    let mut directory = Directory::new(1, 100, 2);
    directory.begin(false);
    (1..=2).for_each(|one| directory.lease(one, info("m")));
    directory.synced(Moment::ZERO);
    assert!(directory.room("r", 2, true) && directory.room("s", 2, true));
    assert!(!directory.room("t", 2, true) && !directory.room("u", 2, true));
    assert_eq!(directory.rooms_to_read(Moment::ZERO), None, "no place is free");
    directory.room("r", 2, false);
    directory.changes();
    let reading = directory.rooms_to_read(Moment::ZERO).unwrap();
    assert_eq!(directory.rooms_to_read(Moment::ZERO), None, "one at a time");
    // It was asked for before the watch told that the members have left.
    directory.room("u", 2, false);
    directory.room_read(reading, ("u", 2), true);
    directory.room_read(reading, ("v", 3), false); // A machine that the watch has not told of yet.
    directory.room_read(reading, ("w", 4), true); // A dead one.
    directory.room_read(reading + 1, ("x", 2), true);
    assert!(directory.changes().is_empty());
    assert_eq!(directory.dead_rooms(9), [("w".into(), 4)]);
    directory.room_read(reading, ("t", 2), true);
    assert_eq!(directory.changes(), [Change::Interest("t".into())]);
    assert_eq!(directory.interested("t").collect::<Vec<_>>(), [2]);
    // Another one has no place again. The next reading comes later, when there is one.
    directory.room_read(reading, ("y", 2), true);
    directory.rooms_read(reading, true, Moment::ZERO);
    directory.room("t", 2, false);
    assert_eq!(directory.rooms_to_read(READ_ROOMS_EVERY - Moment::from_nanos(1)), None);
    let reading = directory.rooms_to_read(READ_ROOMS_EVERY).unwrap();
    // One that fails comes again, and one during which too many leave.
    directory.rooms_read(reading, false, Moment::ZERO);
    directory.rooms_to_read(READ_ROOMS_EVERY).unwrap();
    (0..3).for_each(|room: u8| assert!(directory.room(&room.to_string(), 2, false)));
    assert!(directory.rooms_to_read(READ_ROOMS_EVERY).is_some());
    // A watch that begins again tells of all.
    directory.begin(false);
    directory.synced(Moment::ZERO);
    assert_eq!(directory.rooms_to_read(READ_ROOMS_EVERY), None);
}

#[test]
fn names_are_placed_when_all_is_known_whatever_the_order_of_lease_and_name() {
    let mut directory = Directory::new(1, 100, 100);
    directory.begin(false);
    directory.name("ben", 5, OWNER, Moment::ZERO);
    directory.lease(2, info("b"));
    assert!(directory.changes().is_empty());
    directory.synced(Moment::ZERO);
    assert_eq!(directory.changes(), [Change::Up(2), Change::Place("ben".into(), 2, 5)]);
}

#[test]
fn a_dead_machines_names_are_displaced_and_swept_by_revision() {
    let mut directory = synced();
    directory.name("ben", 5, OWNER, Moment::ZERO);
    assert_eq!(directory.changes(), [Change::Place("ben".into(), 2, 5)]);
    directory.lease_gone(2, Duration::from_secs(10));
    assert_eq!(directory.changes(), [Change::Displace("ben".into()), Change::Down(2)]);
    assert_eq!(directory.liveness(2), Liveness::Dead);
    assert_eq!(directory.owner("ben"), Some((OWNER, 5)), "its revision is needed to take it");
    assert!(directory.sweep(Duration::from_secs(11), 10).is_empty());
    assert_eq!(directory.sweep(Duration::from_secs(12), 10), [("ben".into(), Some(5))]);
    directory.name_gone("ben", 6);
    assert!(directory.sweep(Duration::from_secs(14), 10).is_empty());
    assert!(directory.is_empty());
}

#[test]
fn many_names_of_a_dead_machine_are_swept_without_a_pause() {
    let mut directory = Directory::new(1, 1_000, 1);
    directory.begin(false);
    directory.lease(1, info("a"));
    directory.lease(2, info("b"));
    directory.synced(Moment::ZERO);
    directory.name("own", 1, Owner { incarnation: 1, ..OWNER }, Moment::ZERO);
    (0..600_u64).for_each(|number| directory.name(&number.to_string(), 2 + number, OWNER, Moment::ZERO));
    directory.lease_gone(2, Moment::ZERO);
    let gone = |directory: &mut Directory, limit| {
        let swept = directory.sweep(SWEEP_AFTER, limit);
        swept.iter().for_each(|(name, revision)| directory.name_gone(name, revision.unwrap() + 1));
        swept.len()
    };
    // No room, and then as much as there is room for.
    assert_eq!([0, 256, 256, 256].map(|limit| gone(&mut directory, limit)), [0, 256, 256, 88]);
    assert_eq!(gone(&mut directory, 256), 0);
    assert_eq!(directory.len(), 1);
}

#[test]
fn what_was_swept_is_looked_at_again_later() {
    let mut directory = synced();
    directory.name("ben", 5, OWNER, Moment::ZERO);
    directory.lease_gone(2, Moment::ZERO);
    assert_eq!(directory.sweep(SWEEP_AFTER, 10).len(), 1);
    assert_eq!(directory.sweep(SWEEP_AFTER, 10).len(), 0, "the deletion is on its way");
    assert_eq!(directory.sweep(2 * SWEEP_AFTER, 10).len(), 1, "it had no answer");
}

#[test]
fn a_name_without_a_lease_is_not_placed() {
    let mut directory = synced();
    directory.name("ben", 5, Owner { incarnation: 9, ..OWNER }, Moment::ZERO);
    assert!(directory.changes().is_empty());
    assert_eq!(directory.liveness(9), Liveness::Dead);
}

#[test]
fn a_name_that_comes_to_this_machine_is_displaced() {
    let mut directory = synced();
    directory.name("ben", 5, OWNER, Moment::ZERO);
    directory.changes();
    directory.name("ben", 6, Owner { incarnation: 1, ..OWNER }, Moment::ZERO);
    assert_eq!(directory.changes(), [Change::Displace("ben".into())]);
}

#[test]
fn what_a_new_watch_does_not_tell_is_gone() {
    let mut directory = synced();
    directory.name("ben", 5, OWNER, Moment::ZERO);
    directory.name("eve", 6, OWNER, Moment::ZERO);
    directory.changes();
    directory.begin(false);
    directory.lease(1, info("a"));
    directory.lease(2, info("b"));
    directory.name("eve", 6, OWNER, Moment::ZERO);
    assert!(directory.changes().is_empty(), "what is placed stays placed");
    directory.synced(Moment::ZERO);
    assert_eq!(directory.changes(), [Change::Displace("ben".into()), Change::Up(2)]);
}

#[test]
fn a_machine_without_a_link_is_told_of_again_with_names_and_rooms() {
    let mut directory = synced();
    directory.name("ben", 5, OWNER, Moment::ZERO);
    directory.room("lobby", 2, true);
    directory.changes();
    directory.tell_again(2);
    let again = [Change::Up(2), Change::Place("ben".into(), 2, 5), Change::Interest("lobby".into())];
    assert_eq!(directory.changes(), again);
    directory.lease_gone(2, Moment::ZERO);
    directory.changes();
    directory.tell_again(2);
    assert!(directory.changes().is_empty(), "it has ended");
}

#[test]
fn a_new_bucket_is_given_time_to_fill() {
    let mut directory = synced();
    directory.name("ben", 5, OWNER, Moment::ZERO);
    directory.name("eve", 6, OWNER, Moment::ZERO);
    directory.changes();
    directory.begin(true);
    directory.synced(Moment::ZERO);
    directory.tick(REFILL - Duration::from_millis(1));
    assert_eq!(directory.changes(), [Change::Up(2)]);
    assert_eq!(directory.liveness(2), Liveness::Alive);
    // A smaller revision than before: it counts from 1 again.
    directory.lease(2, info("b"));
    directory.name("ben", 2, OWNER, Moment::ZERO);
    assert_eq!(directory.changes(), [Change::Place("ben".into(), 2, 2)]);
    directory.tick(REFILL);
    assert_eq!(directory.changes(), [Change::Displace("eve".into())]);
}

#[test]
fn a_watch_that_starts_again_does_not_shorten_the_time_to_fill() {
    let mut directory = synced();
    directory.name("ben", 5, OWNER, Moment::ZERO);
    directory.changes();
    directory.begin(true);
    directory.begin(false); // Before it has told everything.
    directory.synced(Moment::ZERO);
    directory.begin(false);
    directory.synced(REFILL / 2);
    assert!(!directory.changes().contains(&Change::Displace("ben".into())));
    directory.tick(REFILL - Duration::from_millis(1));
    assert_eq!((directory.liveness(2), directory.len()), (Liveness::Alive, 1));
    directory.tick(REFILL);
    assert_eq!((directory.liveness(2), directory.len()), (Liveness::Dead, 0));
    // The next watch is one of a bucket that is known.
    directory.name("ben", 5, OWNER, REFILL);
    directory.begin(false);
    directory.synced(REFILL);
    assert!(directory.is_empty());
}

#[test]
fn an_old_deletion_deletes_nothing_newer() {
    let mut directory = synced();
    directory.name("ben", 5, OWNER, Moment::ZERO);
    directory.name_gone("ben", 4);
    assert_eq!(directory.len(), 1);
}

#[test]
fn rooms_tell_of_other_machines_with_members() {
    let mut directory = synced();
    directory.room("lobby", 2, true);
    directory.room("lobby", 1, true);
    assert_eq!(directory.changes(), [Change::Interest("lobby".into()), Change::Interest("lobby".into())]);
    assert_eq!(directory.interested("lobby").collect::<Vec<_>>(), [2]);
    directory.lease_gone(2, Moment::ZERO);
    assert_eq!(directory.interested("lobby").count(), 0);
}

#[test]
fn rooms_that_are_written_before_their_machines_lease_count_in_a_new_bucket() {
    let mut directory = Directory::new(1, 100, 100);
    directory.begin(true);
    directory.lease(1, info("a"));
    directory.room("early", 2, true);
    directory.synced(Moment::ZERO);
    directory.room("lobby", 2, true);
    directory.changes();
    directory.lease(2, info("b"));
    let [Change::Up(2), rooms @ ..] = &directory.changes()[..] else { panic!("no machine") };
    assert_eq!(rooms.len(), 2);
    assert!(["early", "lobby"].iter().all(|room| rooms.contains(&Change::Interest((*room).into()))));
    directory.tick(REFILL);
    assert!(directory.dead_rooms(9).is_empty(), "its machine lives");
}

#[test]
fn the_number_of_names_is_bounded() {
    let mut directory = Directory::new(1, 1, 1);
    directory.name("a", 1, OWNER, Moment::ZERO);
    directory.name("b", 2, OWNER, Moment::ZERO);
    assert_eq!((directory.len(), directory.left_out()), (1, 1));
}

/// A directory with room for one name, which `a` has, and for one more that is asked for.
fn full() -> Directory {
    let mut directory = Directory::new(1, 1, 1);
    directory.begin(false);
    directory.lease(1, info("a"));
    directory.lease(2, info("b"));
    directory.name("a", 1, OWNER, Moment::ZERO);
    directory.synced(Moment::ZERO);
    directory.name("b", 2, OWNER, Moment::ZERO);
    let told = directory.changes();
    assert_eq!(told, [Change::Up(2), Change::Place("a".into(), 2, 1), Change::Complete(false)]);
    directory
}

/// Asks for a name, and the leader says this.
fn read(directory: &mut Directory, name: &str, says: Option<News>) -> Answer {
    directory.ask(name, 0, Moment::ZERO);
    assert_eq!(directory.reads(true), [name.into()]);
    directory.was_read(name, says, Moment::ZERO, |_| false);
    directory.answers().remove(0).2
}

#[test]
fn a_name_without_room_is_asked_for_and_kept_until_another_one_is() {
    let mut directory = full();
    assert_eq!(read(&mut directory, "b", Some((2, Some(OWNER)))), Answer::At(2, 2));
    assert_eq!(directory.changes(), [Change::Place("b".into(), 2, 2)]);
    // It is known now, for all.
    directory.ask("b", 1, Moment::ZERO);
    assert_eq!(directory.answers(), [(1, "b".into(), Answer::At(2, 2))]);
    assert_eq!(read(&mut directory, "c", Some((3, Some(OWNER)))), Answer::At(2, 3));
    assert_eq!(directory.changes(), [Change::Displace("b".into()), Change::Place("c".into(), 2, 3)]);
    // The watch corrects it, and takes it away.
    directory.name("c", 4, OWNER, Moment::ZERO);
    assert_eq!(directory.changes(), [Change::Place("c".into(), 2, 4)]);
    directory.name_gone("c", 5);
    assert_eq!(directory.changes(), [Change::Displace("c".into())]);
    let (figures, kept) = directory.ask_figures();
    assert_eq!((figures.asked, figures.found, figures.evicted, kept), (2, 2, 1, 0));
}

#[test]
fn a_name_that_was_asked_for_moves_where_there_is_room() {
    let mut directory = full();
    read(&mut directory, "b", Some((2, Some(OWNER))));
    directory.name_gone("a", 5);
    directory.name("b", 6, OWNER, Moment::ZERO);
    assert_eq!((directory.ask_figures().1, directory.len()), (0, 1));
    // The place is taken.
    let before = directory.left_out();
    directory.name("c", 7, OWNER, Moment::ZERO);
    assert_eq!(directory.left_out(), before + 1);
}

#[test]
fn what_the_watch_tells_while_the_leader_is_asked_counts_if_it_is_later() {
    let mut directory = full();
    directory.ask("b", 0, Moment::ZERO);
    directory.reads(true);
    directory.name_gone("b", 9);
    directory.was_read("b", Some((2, Some(OWNER))), Moment::ZERO, |_| false);
    assert_eq!(directory.answers(), [(0, "b".into(), Answer::Nowhere)]);
    assert!(directory.changes().is_empty());
    directory.ask("c", 0, Moment::ZERO);
    directory.reads(true);
    directory.name("c", 3, OWNER, Moment::ZERO);
    directory.was_read("c", Some((4, None)), Moment::ZERO, |_| false);
    assert_eq!(directory.answers(), [(0, "c".into(), Answer::Nowhere)]);
    // Without an answer of the leader, what the watch has told is one.
    directory.ask("d", 0, Moment::ZERO);
    directory.reads(true);
    directory.name("d", 10, OWNER, Moment::ZERO);
    directory.was_read("d", None, Moment::ZERO, |_| false);
    assert_eq!(directory.answers(), [(0, "d".into(), Answer::At(2, 10))]);
}

#[test]
fn what_is_being_read_when_the_watch_begins_again_is_read_once_more() {
    let mut directory = full();
    directory.ask("b", 0, Moment::ZERO);
    assert_eq!(directory.reads(true), ["b".into()]);
    directory.begin(true);
    (1..=2).for_each(|one| directory.lease(one, info("m")));
    directory.name("a", 3, OWNER, Moment::ZERO);
    directory.name("b", 4, OWNER, Moment::ZERO);
    directory.synced(Moment::ZERO);
    // The revision is that of the bucket before. It would hide all later ones.
    assert!(!directory.was_read("b", Some((9 << 40, Some(OWNER))), Moment::ZERO, |_| false));
    assert_eq!((directory.answers().len(), directory.owner("b")), (0, None));
    assert_eq!(directory.reads(true), ["b".into()]);
    assert!(directory.was_read("b", Some((4, Some(OWNER))), Moment::ZERO, |_| false));
    assert_eq!(directory.answers(), [(0, "b".into(), Answer::At(2, 4))]);
}

#[test]
fn a_name_that_was_nowhere_is_read_when_the_watch_tells_of_it_or_after_a_while() {
    let mut directory = full();
    assert_eq!(read(&mut directory, "x", Some((0, None))), Answer::Nowhere);
    directory.ask("x", 0, Moment::ZERO);
    assert!(directory.reads(true).is_empty());
    assert_eq!(directory.answers(), [(0, "x".into(), Answer::Nowhere)]);
    directory.ask("x", 0, super::super::asks::NOWHERE_FOR);
    assert_eq!(directory.reads(true), ["x".into()]);
    directory.was_read("x", Some((0, None)), super::super::asks::NOWHERE_FOR, |_| false);
    directory.answers();
    directory.name("x", 8, OWNER, Moment::ZERO);
    assert_eq!(directory.reads(true), ["x".into()]);
    directory.was_read("x", Some((8, Some(OWNER))), Moment::ZERO, |_| false);
    assert_eq!(directory.changes(), [Change::Place("x".into(), 2, 8)]);
    assert!(directory.answers().is_empty(), "nobody waits");
}

#[test]
fn a_name_of_this_or_of_a_dead_machine_is_at_no_other_one() {
    let mut directory = full();
    let own = Owner { incarnation: 1, ..OWNER };
    let dead = Owner { incarnation: 9, ..OWNER };
    assert_eq!(read(&mut directory, "own", Some((3, Some(own)))), Answer::Nowhere);
    assert_eq!(read(&mut directory, "late", Some((4, Some(dead)))), Answer::Nowhere);
    assert!(directory.changes().is_empty());
    directory.lease(9, info("c"));
    assert_eq!(directory.changes(), [Change::Up(9), Change::Place("late".into(), 9, 4)]);
    assert_eq!(read(&mut directory, "y", None), Answer::Unanswered);
    directory.ask("z", 3, Moment::ZERO);
    assert!(directory.reads(false).is_empty());
    assert_eq!(directory.answers(), [(3, "z".into(), Answer::Unanswered)]);
}

#[test]
fn the_table_is_complete_again_when_a_watch_tells_only_what_has_room() {
    let mut directory = full();
    read(&mut directory, "b", Some((2, Some(OWNER))));
    directory.name_gone("a", 3);
    directory.changes();
    assert!(!directory.is_complete);
    directory.begin(false);
    directory.lease(1, info("a"));
    directory.lease(2, info("b"));
    directory.name("b", 2, OWNER, Moment::ZERO);
    directory.synced(Moment::ZERO);
    assert!(directory.changes().contains(&Change::Complete(true)));
    assert_eq!((directory.len(), directory.ask_figures().1), (1, 0));
    directory.name("c", 4, OWNER, Moment::ZERO);
    assert_eq!(directory.changes(), [Change::Complete(false)]);
}

#[test]
fn the_number_of_rooms_is_bounded() {
    let mut directory = Directory::new(1, 1, 1);
    assert!(directory.room("hall", 2, true) && directory.room("hall", 3, true));
    assert!(!directory.room("lobby", 2, true));
    assert!(directory.room("hall", 2, false) && directory.room("hall", 3, false));
    assert!(directory.room("lobby", 2, true));
}

#[test]
fn the_owner_of_a_name_without_room_is_known_to_be_dead() {
    let mut directory = Directory::new(1, 1, 1);
    directory.begin(false);
    let owned_by = |incarnation| Owner { incarnation, ..OWNER };
    directory.name("a", 1, owned_by(1), Moment::ZERO);
    directory.name("b", 2, owned_by(2), Moment::ZERO); // Its lease is told later.
    directory.name("c", 3, owned_by(3), Moment::ZERO); // It has none.
    directory.lease(1, info("a"));
    directory.lease(2, info("b"));
    directory.synced(Moment::ZERO);
    assert_eq!((directory.liveness(2), directory.liveness(3)), (Liveness::Alive, Liveness::Dead));
    directory.lease_gone(2, Moment::ZERO);
    let later = Moment::ZERO + SWEEP_AFTER;
    assert!(directory.sweep(later, 10).is_empty() && directory.sweep(later + SWEEP_AFTER, 10).is_empty());
    assert_eq!(directory.liveness(2), Liveness::Dead, "its name cannot be swept from here, but claimed");
}
