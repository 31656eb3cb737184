//! Messages between machines.

use crate::machine::{Got, Machine, offer, wait_for};
use crate::server::Server;
use std::time::Duration;

#[test]
fn two_machines_exchange_messages() {
    let Some(nats) = Server::start("exchange") else { return };
    let (mut a, mut b) = (Machine::new(&nats.url(), "a"), Machine::new(&nats.url(), "b"));
    a.join(1);
    b.join(1);
    a.connect("ann");
    b.connect("ben");
    wait_for("a knows ben", || a.cluster.status().names_known == 2);
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
    let (mut a, mut b) = (Machine::new(&nats.url(), "a"), Machine::new(&nats.url(), "b"));
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
    a.offer("ann", "nobody", 4);
    assert_eq!(a.get(1), [Got::Undelivered(4, "expired")]);
    a.settled();
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
        // So few under way that no sender passes its share of a link: 256 messages.
        while sent < COUNT && sent < expected[0].min(expected[1]) + 100 {
            machines[0].offer("ann", "cat", sent);
            machines[1].offer("ben", "cat", sent);
            sent += 1;
        }
        machines[0].events().iter().for_each(|event| panic!("{event:?}"));
        machines[1].events().iter().for_each(|event| panic!("{event:?}"));
        for event in machines[2].events() {
            let Got::Message(_, text) = event else { panic!("{event:?}") };
            let from = usize::from(text.contains(r#""src":"ben""#));
            let number: u64 =
                text.split(r#""payload":"#).nth(1).unwrap().trim_end_matches('}').parse().unwrap();
            assert_eq!(number, expected[from], "{text}");
            expected[from] += 1;
        }
    }
    for machine in &mut machines[..2] {
        let all = machine.settled();
        assert_eq!((all.ok, all.failed), (COUNT, 0));
    }
}
