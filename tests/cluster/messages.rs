//! Messages between machines.

use crate::machine::{Got, LONG, Machine, offer, wait_for};
use crate::server::Server;
use std::time::{Duration, Instant};

#[test]
fn two_machines_exchange_messages() {
    let Some(nats) = Server::start("exchange") else { return };
    let (mut a, mut b) = (Machine::new(&nats.url(), "a"), Machine::new(&nats.url(), "b"));
    a.join(1);
    b.join(1);
    a.connect("ann");
    b.connect("ben");
    wait_for("each knows the other", || {
        [&a, &b].iter().all(|machine| machine.cluster.status().names_known == 2)
    });
    a.offer("ann", "ben", 1);
    a.port.wait(Duration::from_millis(1));
    assert_eq!(b.get(1), [offer("ann", "ben", 1)]);
    b.offer("ben", "ann", 2);
    b.port.wait(Duration::from_millis(1));
    assert_eq!(a.get(1), [offer("ben", "ann", 2)]);
    assert_eq!(a.settled().ok, 1 + 1, "its own message, and the host's send of b's");
}

#[test]
fn what_waits_for_a_name_goes_to_the_machine_where_it_connects() {
    let Some(nats) = Server::start("hold") else { return };
    let mut a = Machine::with(&nats.url(), "a", &[("hold_ms", "60000")], |_| {});
    let mut b = Machine::new(&nats.url(), "b");
    a.join(1);
    b.join(1);
    a.connect("ann");
    for number in 1..=3 {
        a.offer("ann", "ben", number);
    }
    assert!(a.events().is_empty());
    b.connect("ben");
    assert_eq!(b.get(3), [offer("ann", "ben", 1), offer("ann", "ben", 2), offer("ann", "ben", 3)]);
    // And what waits in vain expires at the sender's machine.
    b.offer("ben", "nobody", 4);
    assert_eq!(b.get(1), [Got::Undelivered(4, "expired")]);
    a.settled();
    b.settled();
}

#[test]
fn a_hundred_thousand_messages_arrive_in_order_between_three_machines() {
    let Some(nats) = Server::start("order") else { return };
    let mut machines: Vec<Machine> =
        ["a", "b", "c"].iter().map(|name| Machine::new(&nats.url(), name)).collect();
    machines.iter().for_each(|machine| machine.join(2));
    for (machine, name) in machines.iter_mut().zip(["ann", "ben", "cat"]) {
        machine.connect(name);
    }
    machines.iter().for_each(|one| wait_for("all names", || one.cluster.status().names_known == 3));
    const COUNT: u64 = 50_000;
    let mut expected = [0_u64; 2];
    let mut sent = 0;
    while expected != [COUNT; 2] {
        // So few under way that no sender passes its share of a link, 256 messages. Those of the last three rounds may have arrived,
        // but are not acknowledged at the sender's worker yet.
        while sent < COUNT && sent < expected[0].min(expected[1]) + 50 {
            machines[0].offer("ann", "cat", sent);
            machines[1].offer("ben", "cat", sent);
            sent += 1;
        }
        assert_eq!((machines[0].events(), machines[1].events()), (Vec::new(), Vec::new()));
        for event in machines[2].events() {
            let number = event.number();
            let Got::Message(_, text) = event else { panic!("{event:?}") };
            let from = usize::from(text.contains(r#""src":"ben""#));
            assert_eq!(number, expected[from], "{text}");
            expected[from] += 1;
        }
    }
    for machine in &mut machines[..2] {
        let all = machine.settled();
        assert_eq!((all.ok, all.failed), (COUNT, 0));
    }
}

#[test]
fn a_room_has_members_on_two_machines() {
    let Some(nats) = Server::start("room") else { return };
    let (mut a, mut b) = (Machine::new(&nats.url(), "a"), Machine::new(&nats.url(), "b"));
    a.join(1);
    b.join(1);
    let (ann, ben) = (a.connect_as("ann", "generic"), b.connect_as("ben", "generic"));
    a.port.join(ann, "lobby").unwrap();
    let lobby = b.port.join(ben, "lobby").unwrap();
    // Interest is told within a tenth of a second, and nothing waits for it.
    let mut tries = 0;
    let got = loop {
        tries += 1;
        assert!(tries < 1200, "b never gets it");
        a.port.submit(ann, br#"{"type":"broadcast","room":"lobby","text":"hello"}"#, 1).unwrap();
        a.port.wait(Duration::from_millis(1));
        std::thread::sleep(Duration::from_millis(50));
        let got = b.events();
        if !got.is_empty() {
            break got;
        }
    };
    let hello = r#"{"from":"ann","type":"broadcast","room":"lobby","text":"hello"}"#.to_owned();
    assert!(got.iter().all(|one| *one == Got::Message("ben".to_owned(), hello.clone())), "{got:?}");
    std::thread::sleep(Duration::from_millis(300));
    assert_eq!(a.events(), [], "nothing comes back from b");
    // After the last member has left, nothing is sent there, as soon as that is told.
    b.port.leave(ben, lobby).unwrap();
    let sent = |machine: &Machine| machine.cluster.status().links[0].sent;
    wait_for("nothing is sent to b", || {
        let before = sent(&a);
        a.port.submit(ann, br#"{"type":"broadcast","room":"lobby","text":"hello"}"#, 1).unwrap();
        a.port.wait(Duration::from_millis(1));
        std::thread::sleep(Duration::from_millis(300));
        sent(&a) == before
    });
}

#[test]
fn a_room_without_a_place_is_counted_and_gets_one_when_another_room_ends() {
    let Some(nats) = Server::start("rooms") else { return };
    let mut a = Machine::with(&nats.url(), "a", &[], |options| options.rooms = 1);
    let mut b = Machine::new(&nats.url(), "b");
    a.join(1);
    b.join(1);
    let ben = b.connect_as("ben", "generic");
    let left_out = |a: &Machine| a.cluster.status().rooms_left_out;
    let first = b.port.join(ben, "first").unwrap();
    // Only when `a` knows the first one, the second one has no place.
    let ann = a.connect_as("ann", "generic");
    let of_ann = a.port.join(ann, "first").unwrap();
    let news = |a: &mut Machine, b: &mut Machine, room: &str| {
        let text = format!(r#"{{"type":"broadcast","room":"{room}"}}"#);
        wait_for(room, || {
            a.port.submit(ann, text.as_bytes(), 1).unwrap();
            a.port.wait(Duration::from_millis(1));
            b.events().iter().any(|got| matches!(got, Got::Message(_, text) if text.contains(room)))
        });
    };
    news(&mut a, &mut b, "first");
    b.port.join(ben, "second").unwrap();
    wait_for("the second room is left out", || left_out(&a) == 1);
    b.port.leave(ben, first).unwrap();
    a.port.leave(ann, of_ann).unwrap();
    a.port.join(ann, "second").unwrap();
    news(&mut a, &mut b, "second");
}

#[test]
fn the_last_messages_before_a_stop_are_sent_and_acknowledged() {
    let Some(nats) = Server::start("last") else { return };
    let mut b = Machine::new(&nats.url(), "b");
    b.join(0);
    b.connect("ben");
    let (mut round, mut good) = (0, 0);
    while good < 5 {
        round += 1;
        assert!(round < 15, "the last messages are lost again and again");
        let mut a = Machine::new(&nats.url(), &format!("a{round}"));
        a.join(1);
        a.connect("ann");
        wait_for("ben is known", || {
            a.offer("ann", "ben", 1000);
            a.port.wait(Duration::from_millis(1));
            b.events().contains(&offer("ann", "ben", 1000))
        });
        a.settled();
        b.events();
        let before = a.accounting();
        (0..20).for_each(|number| a.offer("ann", "ben", number));
        wait_for("the worker has them", || {
            a.port.wait(Duration::from_millis(1));
            let all = a.accounting();
            all.held + all.ok - before.ok == 20
        });
        let stopping = Instant::now();
        a.cluster.stop();
        let stopped = stopping.elapsed();
        let all = a.settled();
        // A stop waits for a second at most, which may be over before b's machine or NATS gets a processor.
        if all.ok - before.ok == 20 {
            assert_eq!(all.failed, before.failed, "round {round}");
            let expected: Vec<_> = (0..20).map(|number| offer("ann", "ben", number)).collect();
            assert_eq!(b.get(20), expected);
            good += 1;
        } else {
            assert!(stopped >= Duration::from_secs(1), "round {round}: the stop did not wait: {stopped:?}");
        }
        a.disconnect("ann");
    }
}

#[test]
fn a_client_that_leaves_and_connects_elsewhere_gets_all_in_order() {
    let Some(nats) = Server::start("move") else { return };
    let machine = |name: &&str| Machine::with(&nats.url(), name, &[("hold_ms", "60000")], |_| {});
    let mut machines: Vec<Machine> = ["a", "b", "c"].iter().map(machine).collect();
    machines.iter().for_each(|machine| machine.join(2));
    machines[0].connect("ann");
    let (mut next, mut seen) = (0, Vec::new());
    let end = Instant::now() + LONG;
    for round in 0..10 {
        let at = 1 + round % 2;
        machines[at].connect("ben");
        let until = next + 40;
        while next < until {
            // Far fewer than may be held for one sender: the news of a move may take long.
            if next <= seen.last().map_or(0, Got::number) + 8 {
                machines[0].offer("ann", "ben", next);
                next += 1;
            }
            machines[0].port.wait(Duration::from_millis(1));
            seen.extend(machines[at].events());
            assert!(Instant::now() < end, "{next} sent, {:?}", seen.last());
        }
        machines[at].disconnect("ben");
        // What was on the way when it left.
        for number in next..next + 5 {
            machines[0].offer("ann", "ben", number);
        }
        next += 5;
        machines[0].port.wait(Duration::from_millis(1));
    }
    machines[1].connect("ben");
    let all = machines[0].settled();
    std::thread::sleep(Duration::from_millis(500));
    seen.extend(machines[1].events());
    let numbers: Vec<u64> = seen.iter().map(Got::number).collect();
    assert!(numbers.is_sorted_by(|one, other| one < other), "{numbers:?}");
    // Deliveries that a closing client has not taken are lost with it; none else.
    assert_eq!((all.ok + all.failed + all.expired, all.expired), (next, 0), "{all:?}");
    assert!(numbers.len() as u64 > next * 8 / 10, "{} of {next}", numbers.len());
}
