//! Routers on several machines, joined by their gateways. The test is the network: it carries what the gateways take.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test")]

mod support;

use corelane::clients::ClientId;
use corelane::config::Config;
use corelane::error::Loss;
use corelane::metrics::Accounting;
use corelane::router::{
    DeliverError, Event, FromWorker, Gateway, GatewayOptions, Incoming, LinkId, LinkSet, Port, Reject,
    SubmitOptions, Whereabouts,
};
use std::collections::VecDeque;
use std::time::Duration;
use support::{Bench, config_of};

/// A message on the wire.
#[derive(Clone, Debug)]
struct Wire {
    link: LinkId,
    worker: usize,
    name: String,
    is_room: bool,
    message_type: String,
    correlation: u64,
    age: Duration,
    payload: Vec<u8>,
}

/// One machine: its router, a port for its clients, its gateway and its link to the other machine.
struct Machine {
    bench: Bench,
    port: Port,
    gateway: Gateway,
    link: LinkId,
    out: VecDeque<Wire>,
    results: VecDeque<(u64, Result<(), Loss>)>,
    asks: VecDeque<(usize, String)>,
}

impl Machine {
    fn new(config: Config, options: GatewayOptions) -> Self {
        let bench = Bench::of(config, |builder| builder);
        let port = bench.router.port().unwrap();
        Self::of(bench, port, options)
    }

    /// Opens a gateway of a router, and its first link.
    fn of(bench: Bench, port: Port, options: GatewayOptions) -> Self {
        let mut gateway = bench.router.gateway(options).unwrap();
        let link = gateway.open_link().unwrap();
        gateway.link_up(link);
        Self {
            bench,
            port,
            gateway,
            link,
            out: VecDeque::new(),
            results: VecDeque::new(),
            asks: VecDeque::new(),
        }
    }

    fn connect(&mut self, name: &str) -> ClientId {
        self.port.connect(name, "peerjs", "", 1).unwrap()
    }

    fn turn(&mut self) {
        self.port.publish();
        self.gateway.publish();
        self.bench.cycle();
        let (gateway, link) = (&mut self.gateway, self.link);
        let (out, results, asks) = (&mut self.out, &mut self.results, &mut self.asks);
        let polled = gateway.poll(usize::MAX, |record| match record {
            FromWorker::Message {
                link: of,
                worker,
                name,
                is_room,
                revision: _,
                message_type,
                correlation,
                age,
                payload,
            } => {
                if of == link {
                    let (name, message_type) = (name.to_owned(), message_type.to_owned());
                    let payload = payload.to_vec();
                    out.push_back(Wire {
                        link,
                        worker,
                        name,
                        is_room,
                        message_type,
                        correlation,
                        age,
                        payload,
                    });
                }
            }
            FromWorker::Result { ticket, outcome } => results.push_back((ticket, outcome)),
            FromWorker::Ask { worker, name } => asks.push_back((worker, name.to_owned())),
        });
        assert!(polled.is_ok());
    }

    fn offer(&mut self, from: ClientId, to: &str, number: u64) {
        let text = format!(r#"{{"type":"OFFER","dst":"{to}","payload":{number}}}"#);
        let options = SubmitOptions { correlation: number, tell_failed: true, ..SubmitOptions::default() };
        self.port.submit_with(from, text.as_bytes(), options).unwrap();
    }

    /// What the port's clients got: the payloads of messages, and the reasons of failures.
    fn events(&mut self) -> Vec<String> {
        let mut all = Vec::new();
        let mut written = Vec::new();
        self.port
            .poll_each(usize::MAX, |event| match event {
                Event::Message(message) => {
                    written.push((message.client, 1, message.payload.len() as u32));
                    all.push(String::from_utf8(message.payload.to_vec()).unwrap());
                }
                Event::Undelivered { correlation, reason, .. } => {
                    all.push(format!("{correlation} {}", reason.label()))
                }
                Event::Expired { name, correlation, .. } => {
                    all.push(format!("{correlation} expired {}", String::from_utf8_lossy(name)));
                }
                _ => {}
            })
            .unwrap();
        self.port.acknowledge_batch(written);
        all
    }

    /// Delivers one message of the other machine. The answer, or the ticket of the result to come.
    fn take(&mut self, wire: &Wire, ticket: u64) -> Option<Reject> {
        let incoming = Incoming {
            name: &wire.name,
            is_room: wire.is_room,
            message_type: &wire.message_type,
            correlation: wire.correlation,
            age: wire.age,
            payload: &wire.payload,
        };
        match self.gateway.deliver(&incoming, ticket, |_| true) {
            Ok(()) => None,
            Err(DeliverError::Gone) => Some(Reject::Gone),
            Err(error) => panic!("{error:?}"),
        }
    }

    fn accounts(&self) {
        balanced(&self.bench.router.stats().accounting);
    }
}

fn balanced(all: &Accounting) {
    assert_eq!(all.submitted, all.refused + all.accepted, "{all:?}");
    assert_eq!(all.accepted, all.ok + all.failed + all.expired + all.taken_over + all.in_flight, "{all:?}");
    assert_eq!(all.deliveries, all.consumed + all.undeliverable + all.queued, "{all:?}");
}

/// Carries everything from one machine to the other and the answers back.
fn carry(from: &mut Machine, to: &mut Machine) {
    from.turn();
    while let Some(wire) = from.out.pop_front() {
        let reject = to.take(&wire, 7).or_else(|| {
            to.turn();
            match to.results.pop_front().unwrap() {
                (7, Ok(())) => None,
                (7, Err(Loss::Failed(reason))) => Some(Reject::Failed(reason as u16)),
                other => panic!("{other:?}"),
            }
        });
        let rejects: Vec<_> = reject.into_iter().map(|reject| (0, reject)).collect();
        from.gateway.acknowledge(wire.link, wire.worker, 1, &rejects);
    }
    from.turn();
}

fn two() -> (Machine, Machine) {
    let config = || config_of(&[("workers", "1"), ("hold_ms", "1000")]);
    let machine = || Machine::new(config(), GatewayOptions::default());
    (machine(), machine())
}

#[test]
fn a_message_reaches_a_client_of_another_machine_once_and_is_counted_there_and_here() {
    let (mut a, mut b) = two();
    let ann = a.connect("ann");
    b.connect("ben");
    assert!(a.gateway.place("ben", a.link, 1));
    a.offer(ann, "ben", 1);
    a.turn();
    assert_eq!(a.bench.router.stats().accounting.held, 1, "under way");
    carry(&mut a, &mut b);
    assert_eq!(b.events(), [r#"{"src":"ann","type":"OFFER","dst":"ben","payload":1}"#]);
    assert_eq!(a.events(), [] as [&str; 0]);
    let stats = a.bench.router.stats();
    let offer = stats.types.iter().find(|one| one.name == "OFFER").unwrap();
    assert_eq!((stats.accounting.held, offer.received, offer.succeeded), (0, Some(1), 1));
    let there = b.bench.router.stats();
    assert_eq!(there.types.iter().find(|one| one.name == "OFFER").unwrap().succeeded, 1);
    a.accounts();
    b.accounts();
}

#[test]
fn what_is_gone_there_is_held_in_order_and_not_sent_there_again() {
    let (mut a, mut b) = two();
    let ann = a.connect("ann");
    a.gateway.place("ben", a.link, 1);
    for number in 1..=3 {
        a.offer(ann, "ben", number);
    }
    a.turn();
    assert_eq!(a.out.len(), 3);
    // The first answer comes alone, and a new message arrives before the others.
    let wires: Vec<_> = a.out.drain(..).collect();
    a.gateway.acknowledge(a.link, 0, 1, &[(0, Reject::Gone)]);
    a.turn();
    a.offer(ann, "ben", 4);
    a.turn();
    assert_eq!(a.out.len(), 0, "nothing overtakes what may come back");
    assert!(wires.iter().all(|wire| b.take(wire, 0) == Some(Reject::Gone)));
    a.gateway.acknowledge(a.link, 0, 2, &[(0, Reject::Gone), (1, Reject::Gone)]);
    a.turn();
    assert_eq!((a.out.len(), a.bench.router.stats().accounting.held), (0, 4));
    // The name appears again, with a new revision.
    b.connect("ben");
    a.gateway.place("ben", a.link, 2);
    carry(&mut a, &mut b);
    carry(&mut a, &mut b);
    let got = b.events();
    let numbers: Vec<_> =
        got.iter().map(|text| text.split("payload\":").nth(1).unwrap()[..1].to_owned()).collect();
    assert_eq!(numbers, ["1", "2", "3", "4"]);
    assert_eq!(a.bench.router.stats().accounting.held, 0);
    a.accounts();
}

#[test]
fn what_came_back_expires_at_its_own_time() {
    let (mut a, _) = two();
    let ann = a.connect("ann");
    a.gateway.place("ben", a.link, 1);
    a.offer(ann, "ben", 1);
    a.turn();
    a.bench.hands.advance(Duration::from_millis(600));
    a.gateway.acknowledge(a.link, 0, 1, &[(0, Reject::Gone)]);
    a.turn();
    a.bench.hands.advance(Duration::from_millis(500));
    a.turn();
    assert_eq!(a.events(), ["1 expired"]);
    a.accounts();
}

#[test]
fn a_lost_link_fails_what_is_under_way_and_holds_what_comes_later() {
    let (mut a, mut b) = two();
    let ann = a.connect("ann");
    b.connect("ben");
    a.gateway.place("ben", a.link, 1);
    a.offer(ann, "ben", 1);
    a.turn();
    a.offer(ann, "ben", 2);
    a.port.publish();
    a.bench.cycle(); // In the gateway's ring, and not taken.
    a.link = a.gateway.lose_link(a.link);
    a.out.clear();
    a.offer(ann, "ben", 3);
    a.port
        .submit_with(
            ann,
            br#"{"type":"LEAVE","dst":"ben"}"#,
            SubmitOptions { correlation: 4, tell_failed: true, ..SubmitOptions::default() },
        )
        .unwrap();
    a.turn();
    a.turn();
    assert_eq!(a.out.len(), 0);
    let mut told = a.events();
    told.sort();
    assert_eq!(told, ["1 link_lost", "2 link_lost", "4 link_down"]);
    a.gateway.link_up(a.link);
    carry(&mut a, &mut b);
    carry(&mut a, &mut b);
    assert_eq!(b.events().len(), 1);
    assert_eq!(a.events(), [] as [&str; 0]);
    a.accounts();
}

#[test]
fn what_waits_for_a_link_goes_out_once_although_its_loss_is_seen_late() {
    let config = config_of(&[("workers", "1"), ("batch", "1")]);
    let mut a = Machine::new(config, GatewayOptions::default());
    let ann = a.connect("ann");
    a.gateway.place("ben", a.link, 1);
    a.offer(ann, "ben", 1);
    for _ in 0..4 {
        a.turn(); // A batch is one record.
    }
    assert_eq!(a.out.len(), 1);
    a.out.clear();
    // The record of the loss waits behind these.
    for ticket in 0..3 {
        let (name, message_type, payload) = ("ann", "OFFER", &b"{}"[..]);
        let (is_room, correlation, age) = (false, 0, Duration::ZERO);
        let incoming = Incoming { name, is_room, message_type, correlation, age, payload };
        a.gateway.deliver(&incoming, ticket, |_| true).unwrap();
    }
    a.link = a.gateway.lose_link(a.link);
    a.offer(ann, "ben", 2);
    a.turn();
    a.offer(ann, "ben", 3);
    a.turn();
    a.gateway.link_up(a.link);
    for _ in 0..8 {
        a.turn();
    }
    let numbers: Vec<_> = a.out.iter().map(|wire| wire.correlation).collect();
    assert_eq!(numbers, [2, 3]);
    let told = a.events();
    assert!(told.contains(&"1 link_lost".to_owned()), "{told:?}");
    a.accounts();
}

#[test]
fn one_sender_has_a_sixteenth_of_a_link_and_a_full_link_refuses() {
    let config = config_of(&[("workers", "1")]);
    let options = GatewayOptions { link_messages: 32, ..GatewayOptions::default() };
    let mut a = Machine::new(config, options);
    a.gateway.place("ben", a.link, 1);
    let senders: Vec<_> = (0..20).map(|number| a.connect(&format!("s{number}"))).collect();
    for number in 1..=3 {
        a.offer(senders[0], "ben", number);
    }
    a.turn();
    assert_eq!((a.out.len(), a.events()), (2, vec!["3 link_full".to_owned()]));
    for (number, sender) in senders.iter().enumerate().skip(1) {
        a.offer(*sender, "ben", 100 + number as u64);
        a.offer(*sender, "ben", 200 + number as u64);
    }
    a.turn();
    assert_eq!(a.out.len(), 32);
    assert_eq!(a.events().len(), 8);
    a.gateway.acknowledge(a.link, 0, 32, &[]);
    a.turn();
    a.offer(senders[0], "ben", 9);
    a.turn();
    assert_eq!(a.out.len(), 33);
    a.accounts();
}

#[test]
fn a_name_that_moves_gets_its_later_messages_behind_the_answers_of_its_old_machine() {
    let (mut a, mut b) = two();
    let ann = a.connect("ann");
    b.connect("ben");
    let other = a.gateway.open_link().unwrap();
    a.gateway.link_up(other);
    a.gateway.place("ben", other, 1);
    a.offer(ann, "ben", 1);
    a.turn();
    a.gateway.place("ben", a.link, 2);
    a.offer(ann, "ben", 2);
    a.turn();
    a.turn();
    assert_eq!(a.out.len(), 0, "2 waits for the answer to 1");
    a.gateway.acknowledge(other, 0, 1, &[]);
    carry(&mut a, &mut b);
    carry(&mut a, &mut b);
    assert_eq!(b.events().len(), 1);
    // The same when it comes here.
    a.gateway.place("ben", a.link, 2);
    a.offer(ann, "ben", 3);
    a.turn();
    a.out.clear();
    a.connect("ben");
    a.offer(ann, "ben", 4);
    a.turn();
    assert_eq!(a.events(), [] as [&str; 0]);
    a.gateway.acknowledge(a.link, 0, 1, &[(0, Reject::Gone)]);
    a.turn();
    let got = a.events();
    assert!(got.len() == 2 && got[0].contains(":3") && got[1].contains(":4"), "{got:?}");
    a.accounts();
}

/// What a machine has handed over: the name, and the digits of the payload.
fn handed(machine: &mut Machine) -> Vec<String> {
    let number = |wire: &Wire| {
        let text = String::from_utf8(wire.payload.clone()).unwrap();
        text.split("payload\":").nth(1).unwrap().chars().take_while(char::is_ascii_digit).collect::<String>()
    };
    machine.out.drain(..).map(|wire| format!("{} {}", wire.name, number(&wire))).collect()
}

/// A machine whose senders may have `share` messages under way.
fn narrow(share: u32) -> Machine {
    let config = config_of(&[("workers", "1"), ("hold_ms", "1000")]);
    Machine::new(config, GatewayOptions { link_messages: 16 * share, ..GatewayOptions::default() })
}

#[test]
fn what_waits_for_room_on_a_link_goes_out_once_when_the_link_is_lost_and_comes_back() {
    let mut a = narrow(2);
    let ann = a.connect("ann");
    a.gateway.place("ben", a.link, 1);
    a.link = a.gateway.lose_link(a.link);
    for number in 1..=3 {
        a.offer(ann, "ben", number);
    }
    a.turn();
    a.gateway.link_up(a.link);
    a.turn();
    assert_eq!(handed(&mut a), ["ben 1", "ben 2"]);
    // The worker sees loss and return at once, before it takes the record of the loss.
    a.link = a.gateway.lose_link(a.link);
    a.gateway.link_up(a.link);
    a.offer(ann, "ben", 4);
    a.turn();
    a.turn();
    assert_eq!(handed(&mut a), ["ben 3", "ben 4"]);
    assert_eq!(a.events(), ["1 link_lost", "2 link_lost"]);
    a.gateway.acknowledge(a.link, 0, 2, &[]);
    a.turn();
    assert_eq!(a.bench.router.stats().accounting.held, 0);
    a.accounts();
}

#[test]
fn what_waits_goes_out_once_when_another_gateway_follows() {
    let mut a = narrow(2);
    let ann = a.connect("ann");
    for name in ["ben", "eve"] {
        a.gateway.place(name, a.link, 1);
    }
    a.link = a.gateway.lose_link(a.link);
    for number in 1..=4 {
        a.offer(ann, if number == 1 { "eve" } else { "ben" }, number);
    }
    a.turn();
    a.gateway.link_up(a.link);
    a.turn();
    assert_eq!(a.out.len(), 2);
    a.out.clear();
    let Machine { bench, port, gateway, .. } = a;
    drop(gateway);
    let mut a = Machine::of(bench, port, GatewayOptions::default());
    for name in ["ben", "eve"] {
        a.gateway.place(name, a.link, 2);
    }
    a.offer(ann, "eve", 5);
    for _ in 0..4 {
        a.turn();
    }
    let mut sent = handed(&mut a);
    let under_way = sent.len() as u32;
    a.gateway.acknowledge(a.link, 0, under_way, &[]);
    a.turn();
    a.turn();
    let rest = a.out.len() as u32;
    sent.append(&mut handed(&mut a));
    a.gateway.acknowledge(a.link, 0, rest, &[]);
    a.turn();
    sent.sort();
    let lost = a.events();
    assert_eq!(sent.len() + lost.len(), 5, "{sent:?} {lost:?}");
    assert!(sent.windows(2).all(|two| two[0] != two[1]), "{sent:?}");
    assert_eq!(a.bench.router.stats().accounting.held, 0);
    a.accounts();
}

#[test]
fn a_gateway_that_follows_finds_nothing_of_the_one_before_and_has_its_own_options() {
    let config = config_of(&[("workers", "1")]);
    let options = GatewayOptions { rooms: 1, link_messages: 16, ..GatewayOptions::default() };
    let mut a = Machine::new(config, options);
    let ann = a.port.connect("ann", "generic", "", 1).unwrap();
    let room = a.port.join(ann, "r").unwrap();
    let links = LinkSet::from_iter([a.link.slot]);
    a.gateway.place("ben", a.link, 1);
    assert!(a.gateway.set_interest("r", links) && !a.gateway.set_interest("s", links));
    let offer = |a: &mut Machine| {
        let options = SubmitOptions { correlation: 1, tell_failed: true, ..SubmitOptions::default() };
        a.port.submit_with(ann, br#"{"type":"offer","to":"ben"}"#, options).unwrap();
        a.turn();
    };
    // One sender may have one message under way.
    (0..2).for_each(|_| offer(&mut a));
    assert_eq!((a.out.len(), a.events()), (1, vec!["1 link_full".to_owned()]));
    let Machine { mut bench, mut port, gateway, .. } = a;
    drop(gateway);
    // The router goes on alone.
    let before = SubmitOptions { correlation: 2, tell_failed: true, ..SubmitOptions::default() };
    port.submit_with(ann, br#"{"type":"offer","to":"ben"}"#, before).unwrap();
    port.send_to_room(room, b"{}", 9).unwrap();
    port.publish();
    bench.cycle();
    let options = GatewayOptions { rooms: 2, link_messages: 48, ..GatewayOptions::default() };
    let mut a = Machine::of(bench, port, options);
    assert_eq!(a.events(), ["1 link_lost", "2 unknown_recipient", "{}"]);
    assert_eq!(a.bench.router.stats().accounting.undelivered.counted(), []);
    offer(&mut a);
    assert_eq!(a.events(), ["1 unknown_recipient"], "the place of the first link is another machine's now");
    assert!(a.gateway.set_interest("s", links) && a.gateway.set_interest("t", links));
    assert!(!a.gateway.set_interest("u", links));
    a.gateway.place("ben", a.link, 2);
    (0..4).for_each(|_| offer(&mut a));
    assert_eq!((a.out.len(), a.events()), (3, vec!["1 link_full".to_owned()]));
    a.gateway.acknowledge(a.link, 0, 3, &[]);
    a.turn();
    a.accounts();
}

#[test]
fn what_comes_back_twice_keeps_its_order() {
    let mut a = narrow(3);
    let ann = a.connect("ann");
    a.gateway.place("ben", a.link, 1);
    for number in 1..=3 {
        a.offer(ann, "ben", number);
    }
    a.turn();
    let gone = [(0, Reject::Gone), (1, Reject::Gone), (2, Reject::Gone)];
    a.gateway.acknowledge(a.link, 0, 3, &gone);
    a.turn();
    a.out.clear();
    // Others use the sender's part of the link, so that only two of the three fit.
    a.gateway.place("eve", a.link, 2);
    a.offer(ann, "eve", 7);
    a.turn();
    a.gateway.place("ben", a.link, 3);
    a.turn();
    a.turn();
    assert_eq!(handed(&mut a), ["eve 7", "ben 1", "ben 2"]);
    a.gateway.acknowledge(a.link, 0, 3, &[(1, Reject::Gone), (2, Reject::Gone)]);
    a.turn();
    a.gateway.place("ben", a.link, 4);
    a.turn();
    a.turn();
    assert_eq!(handed(&mut a), ["ben 1", "ben 2", "ben 3"]);
    a.accounts();
}

#[test]
fn a_senders_part_that_other_links_used_is_free_for_what_waits() {
    let mut a = narrow(1);
    let ann = a.connect("ann");
    // On all links together a sender may have four times its part of one.
    let mut links = vec![a.link];
    links.extend((0..3).map(|_| a.gateway.open_link().unwrap()));
    let other = a.gateway.open_link().unwrap();
    a.gateway.place("ben", other, 1);
    a.offer(ann, "ben", 1);
    for (number, link) in links.iter().enumerate() {
        a.gateway.link_up(*link);
        a.gateway.place(&format!("eve{number}"), *link, 2);
        a.offer(ann, &format!("eve{number}"), 2);
    }
    a.turn();
    assert_eq!(handed(&mut a), ["eve0 2"]);
    assert_eq!((a.bench.router.stats().accounting.held, a.events()), (5, Vec::new()));
    a.link = other;
    a.gateway.link_up(other);
    a.turn();
    assert_eq!(handed(&mut a), [] as [&str; 0]);
    a.gateway.acknowledge(links[2], 0, 1, &[]);
    a.turn();
    a.turn();
    assert_eq!(handed(&mut a), ["ben 1"]);
    a.accounts();
}

#[test]
fn a_held_message_that_no_link_can_take_does_not_keep_the_others() {
    let config = config_of(&[("workers", "1"), ("hold_ms", "1000")]);
    let mut a = Machine::new(config, GatewayOptions { link_bytes: 200, ..GatewayOptions::default() });
    let ann = a.connect("ann");
    a.gateway.place("ben", a.link, 1);
    a.link = a.gateway.lose_link(a.link);
    let text = format!(r#"{{"type":"OFFER","dst":"ben","payload":"{}"}}"#, "x".repeat(300));
    let options = SubmitOptions { correlation: 1, tell_failed: true, ..SubmitOptions::default() };
    a.port.submit_with(ann, text.as_bytes(), options).unwrap();
    a.offer(ann, "ben", 2);
    a.turn();
    a.gateway.link_up(a.link);
    a.turn();
    a.turn();
    assert_eq!(a.events(), ["1 too_large"]);
    assert_eq!(handed(&mut a), ["ben 2"]);
    a.accounts();
}

#[test]
fn large_messages_go_out_of_line_both_ways() {
    let (mut a, mut b) = two();
    let ann = a.connect("ann");
    b.connect("ben");
    a.gateway.place("ben", a.link, 1);
    let text = format!(r#"{{"type":"OFFER","dst":"ben","payload":"{}"}}"#, "x".repeat(60_000));
    a.port.submit(ann, text.as_bytes(), 1).unwrap();
    carry(&mut a, &mut b);
    assert!(b.events()[0].len() > 60_000);
    assert_eq!(a.bench.router.stats().payloads_waiting, 0);
    a.accounts();
    b.accounts();
}

#[test]
fn a_room_spans_machines() {
    let config = || config_of(&[("workers", "1")]);
    let machine = || Machine::new(config(), GatewayOptions::default());
    let (mut a, mut b) = (machine(), machine());
    let ann = a.port.connect("ann", "generic", "", 1).unwrap();
    let ben = b.port.connect("ben", "generic", "", 1).unwrap();
    a.port.join(ann, "r").unwrap();
    b.port.join(ben, "r").unwrap();
    let changes = b.gateway.room_changes().unwrap();
    assert!(changes.all && changes.rooms == [("r".to_owned(), true)]);
    assert_eq!(b.gateway.room_changes(), None);
    assert!(a.gateway.set_interest("r", LinkSet::from_iter([a.link.slot])));
    a.port.submit(ann, br#"{"type":"broadcast","room":"r"}"#, 5).unwrap();
    carry(&mut a, &mut b);
    assert_eq!(b.events().len(), 1);
    assert_eq!(a.bench.router.stats().accounting.held, 0);
    b.port.disconnect(ben).unwrap();
    b.turn();
    b.events();
    assert_eq!(b.gateway.room_changes().unwrap().rooms, [("r".to_owned(), false)]);
    a.gateway.lose_link(a.link);
    a.port.submit(ann, br#"{"type":"broadcast","room":"r"}"#, 5).unwrap();
    a.turn();
    a.accounts();
    b.accounts();
}

#[test]
fn what_waits_for_room_in_the_gateways_ring_goes_out_when_the_ring_has_room() {
    let sizes = [("ring_bytes", "4096"), ("backlog_bytes", "4096"), ("max_message", "1024")];
    let mut a = Machine::new(
        config_of(&[&[("workers", "1"), ("hold_ms", "10000")][..], &sizes].concat()),
        GatewayOptions::default(),
    );
    let ann = a.connect("ann");
    a.gateway.place("ben", a.link, 1);
    a.link = a.gateway.lose_link(a.link);
    a.offer(ann, "ben", 1);
    a.turn();
    // Results fill the ring and its backlog.
    for ticket in 0..400 {
        let (name, message_type, payload) = ("ann", "OFFER", &b"{}"[..]);
        let (is_room, correlation, age) = (false, 0, Duration::ZERO);
        let incoming = Incoming { name, is_room, message_type, correlation, age, payload };
        if a.gateway.deliver(&incoming, ticket, |_| true).is_err() {
            break;
        }
        a.gateway.publish();
        a.bench.cycle();
    }
    a.gateway.link_up(a.link);
    a.bench.cycle();
    assert_eq!(a.bench.router.stats().accounting.held, 1, "there was room: the test needs more results");
    for _ in 0..20 {
        a.turn();
    }
    assert_eq!(handed(&mut a), ["ben 1"]);
    assert_eq!(a.bench.router.stats().accounting.held, 1, "under way, and not answered");
    a.gateway.acknowledge(a.link, 0, 1, &[]);
    a.turn();
    assert_eq!(a.bench.router.stats().accounting.held, 0);
}

#[test]
fn a_message_that_cannot_follow_its_recipient_within_a_second_fails_as_moved() {
    let config = config_of(&[("workers", "1"), ("hold_ms", "5000")]);
    let mut a = Machine::new(config, GatewayOptions::default());
    let ann = a.connect("ann");
    let other = a.gateway.open_link().unwrap();
    a.gateway.link_up(other);
    a.gateway.place("ben", other, 1);
    a.offer(ann, "ben", 1);
    a.turn();
    a.gateway.place("ben", a.link, 2);
    a.offer(ann, "ben", 2);
    a.turn();
    a.bench.hands.advance(Duration::from_millis(999));
    a.turn();
    assert_eq!(a.events(), [] as [&str; 0]);
    a.bench.hands.advance(Duration::from_millis(2));
    a.turn();
    assert_eq!(a.events(), ["2 moved"]);
    // The answer comes, and the next one goes to the new place.
    a.gateway.acknowledge(other, 0, 1, &[]);
    a.offer(ann, "ben", 3);
    a.turn();
    assert_eq!(handed(&mut a), ["ben 3"]);
    a.gateway.acknowledge(a.link, 0, 1, &[]);
    // The same for a name that has come here. What waits for no old place is held for its whole time.
    a.gateway.place("ben", other, 3);
    a.offer(ann, "ben", 4);
    a.offer(ann, "eve", 5);
    a.turn();
    a.connect("ben");
    a.offer(ann, "ben", 6);
    a.turn();
    a.bench.hands.advance(Duration::from_millis(1001));
    a.turn();
    assert_eq!(a.events(), ["6 moved"]);
    assert_eq!(a.bench.router.stats().accounting.held, 2);
    a.accounts();
}

#[test]
fn what_a_replaced_client_leaves_is_counted_as_replaced() {
    let (mut a, _) = two();
    let (ann, ben) = (a.connect("ann"), a.connect("ben"));
    for number in 1..=3 {
        a.offer(ann, "ben", number);
    }
    a.turn();
    a.port.poll_each(usize::MAX, |_| ()).unwrap(); // Handed out, and not written.
    a.gateway.replaced("ben");
    a.gateway.replaced("nobody");
    a.port.disconnect(ben).unwrap();
    a.turn();
    a.events();
    let all = a.bench.router.stats().accounting;
    assert_eq!(all.unacknowledged_reasons.counted(), [("replaced", 3)]);
    // The next client of the slot begins anew.
    let ben = a.connect("ben");
    a.offer(ann, "ben", 4);
    a.turn();
    a.port.poll_each(usize::MAX, |_| ()).unwrap();
    a.port.disconnect(ben).unwrap();
    a.turn();
    a.events();
    let all = a.bench.router.stats().accounting;
    assert_eq!(all.unacknowledged_reasons.counted(), [("closed", 1), ("replaced", 3)]);
    a.accounts();
}

#[test]
fn a_hosts_room_message_reaches_members_on_other_machines_once() {
    let config = || config_of(&[("workers", "1")]);
    let machine = || Machine::new(config(), GatewayOptions::default());
    let (mut a, mut b) = (machine(), machine());
    let mut rooms = Vec::new();
    for (machine, name) in [(&mut a, "ann"), (&mut b, "ben")] {
        let client = machine.port.connect(name, "generic", "", 1).unwrap();
        rooms.push(machine.port.join(client, "r").unwrap());
        // Both say that the other one has members.
        assert!(machine.gateway.set_interest("r", LinkSet::from_iter([machine.link.slot])));
    }
    a.port.send_to_room(rooms[0], br#"{"news":1}"#, 9).unwrap();
    carry(&mut a, &mut b);
    carry(&mut b, &mut a);
    assert_eq!(
        (a.events(), b.events()),
        (vec![r#"{"news":1}"#.to_owned()], vec![r#"{"news":1}"#.to_owned()])
    );
    // A link that is down is counted, and the members here get it.
    a.link = a.gateway.lose_link(a.link);
    a.port.send_to_room(rooms[0], br#"{"news":2}"#, 9).unwrap();
    a.turn();
    assert_eq!(a.events(), [r#"{"news":2}"#]);
    assert_eq!(a.bench.router.stats().accounting.undelivered.counted(), [("link", 1)]);
    a.accounts();
    b.accounts();
}

#[test]
fn one_sender_to_a_room_has_a_sixteenth_of_a_link() {
    let config = config_of(&[("workers", "1")]);
    let options = GatewayOptions { link_messages: 32, ..GatewayOptions::default() };
    let mut a = Machine::new(config, options);
    let members: Vec<_> = ["ann", "ben"]
        .map(|name| {
            let client = a.port.connect(name, "generic", "", 1).unwrap();
            a.port.join(client, "r").unwrap();
            client
        })
        .into();
    a.gateway.set_interest("r", LinkSet::from_iter([a.link.slot]));
    for _ in 0..5 {
        a.port.submit(members[0], br#"{"type":"broadcast","room":"r"}"#, 5).unwrap();
    }
    a.turn();
    assert_eq!(a.out.len(), 2);
    assert_eq!(a.bench.router.stats().accounting.undelivered.counted(), [("link", 3)]);
    a.port.submit(members[1], br#"{"type":"broadcast","room":"r"}"#, 6).unwrap();
    a.turn();
    assert_eq!(a.out.len(), 3, "others have their part");
    a.gateway.acknowledge(a.link, 0, 3, &[]);
    a.turn();
    a.port.submit(members[0], br#"{"type":"broadcast","room":"r"}"#, 5).unwrap();
    a.turn();
    assert_eq!(a.out.len(), 4);
    a.accounts();
}

#[test]
fn payloads_that_are_not_kept_use_the_bytes_of_a_link_too() {
    // The gateway has them until they are sent.
    let config = config_of(&[("workers", "1")]);
    let options = GatewayOptions { link_bytes: 4_096, ..GatewayOptions::default() };
    let mut a = Machine::new(config, options);
    let members: Vec<_> = ["ann", "ben"].map(|name| a.port.connect(name, "generic", "", 1).unwrap()).into();
    let room = members.iter().map(|member| a.port.join(*member, "r").unwrap()).next().unwrap();
    a.gateway.set_interest("r", LinkSet::from_iter([a.link.slot]));
    a.gateway.place("eve", a.link, 1);
    let payload = "x".repeat(1_000);
    let news = format!(r#"{{"news":"{payload}"}}"#);
    for _ in 0..6 {
        a.port.send_to_room(room, news.as_bytes(), 9).unwrap();
    }
    a.turn();
    assert_eq!(a.out.len(), 4, "four fit into 4,096 bytes");
    assert_eq!(a.bench.router.stats().accounting.undelivered.counted(), [("link", 2)]);
    // Nor is there room for a message to a name, whose type may not be held.
    let offer = |a: &mut Machine, from| {
        let text = format!(r#"{{"type":"send","to":"eve","data":"{payload}"}}"#);
        let options = SubmitOptions { correlation: 1, tell_failed: true, ..SubmitOptions::default() };
        a.port.submit_with(from, text.as_bytes(), options).unwrap();
        a.turn();
    };
    offer(&mut a, members[0]);
    assert!(a.events().iter().any(|event| event == "1 link_full"));
    a.gateway.acknowledge(a.link, 0, 4, &[]);
    a.turn();
    // One sender has a sixteenth of the bytes, or one message.
    (0..2).for_each(|_| offer(&mut a, members[0]));
    assert_eq!((a.out.len(), a.events()), (5, vec!["1 link_full".to_owned()]));
    offer(&mut a, members[1]);
    assert_eq!((a.out.len(), a.events()), (6, Vec::new()), "others have their part");
    a.gateway.acknowledge(a.link, 0, 2, &[]);
    a.turn();
    a.accounts();
}

#[test]
fn a_handler_sends_to_a_name_on_another_machine() {
    let (mut a, mut b) = two();
    let handled = |request: &mut corelane::router::Request<'_>| {
        let sent = request.send_to_name("ben", br#"{"type":"OFFER","hello":1}"#);
        let text = sent.map_or_else(|reason| reason.label().to_owned(), |()| "sent".to_owned());
        request.reply(text.as_bytes())
    };
    let config = config_of(&[("workers", "1"), ("hold_ms", "1000")]);
    a.bench = Bench::of(config, |builder| builder.handler("peerjs", "OFFER", handled));
    a.port = a.bench.router.port().unwrap();
    a.gateway = a.bench.router.gateway(GatewayOptions::default()).unwrap();
    a.link = a.gateway.open_link().unwrap();
    let ann = a.connect("ann");
    b.connect("ben");
    a.offer(ann, "ben", 1);
    a.turn();
    assert_eq!(a.events(), ["unknown_recipient"]);
    a.gateway.place("ben", a.link, 1);
    a.offer(ann, "ben", 2);
    a.turn();
    assert_eq!(a.events(), ["link_down"]);
    a.gateway.link_up(a.link);
    a.offer(ann, "ben", 3);
    a.turn();
    assert_eq!(a.bench.router.stats().accounting.held, 0, "it has ended here");
    carry(&mut a, &mut b);
    assert_eq!(
        (a.events(), b.events()),
        (vec!["sent".to_owned()], vec![r#"{"type":"OFFER","hello":1}"#.to_owned()])
    );
    // Until the old place has answered, a later one would overtake.
    a.offer(ann, "ben", 4);
    a.turn();
    let other = a.gateway.open_link().unwrap();
    a.gateway.place("ben", other, 2);
    a.offer(ann, "ben", 5);
    a.turn();
    assert_eq!(a.events(), ["sent", "moved"]);
    a.accounts();
    b.accounts();
}

#[test]
fn of_two_threads_that_open_the_gateway_one_does() {
    let mut bench = Bench::of(config_of(&[("workers", "1"), ("max_ports", "8")]), |builder| builder);
    for _ in 0..200 {
        let start = std::sync::Barrier::new(2);
        let router = &bench.router;
        let open = || {
            start.wait();
            router.gateway(GatewayOptions::default()).ok()
        };
        let opened = std::thread::scope(|scope| {
            let threads = [scope.spawn(open), scope.spawn(open)];
            threads.map(|thread| thread.join().unwrap())
        });
        assert_eq!(opened.iter().flatten().count(), 1);
        drop(opened);
        bench.cycle(); // The worker leaves the port, which is free again then.
    }
}

#[test]
fn an_opening_that_fails_gives_the_place_back() {
    let mut bench = Bench::of(config_of(&[("workers", "1"), ("max_ports", "1")]), |builder| builder);
    let port = bench.router.port().unwrap();
    assert!(bench.router.gateway(GatewayOptions::default()).is_err(), "there is no port left");
    drop(port);
    bench.cycle();
    assert!(bench.router.gateway(GatewayOptions::default()).is_ok());
}

#[test]
fn a_router_has_links_to_255_others_and_a_room_reaches_them_all() {
    let config = config_of(&[("workers", "1")]);
    let mut a = Machine::new(config, GatewayOptions::default());
    let mut links = vec![a.link];
    links.extend(std::iter::from_fn(|| a.gateway.open_link()));
    assert_eq!(links.len(), 255);
    for link in &links {
        a.gateway.link_up(*link);
        assert!(a.gateway.place(&format!("there{}", link.slot), *link, 1));
    }
    let ann = a.port.connect("ann", "generic", "", 1).unwrap();
    a.port.join(ann, "r").unwrap();
    assert!(a.gateway.set_interest("r", links.iter().map(|link| link.slot).collect()));
    a.port.submit(ann, br#"{"type":"broadcast","room":"r"}"#, 5).unwrap();
    let text = format!(r#"{{"type":"offer","to":"there{}"}}"#, links[254].slot);
    a.port.submit(ann, text.as_bytes(), 6).unwrap();
    a.port.publish();
    a.bench.cycle();
    let mut got = Vec::new();
    let mut each = |record: FromWorker<'_>| {
        if let FromWorker::Message { link, is_room, .. } = record {
            got.push((link, is_room));
        }
    };
    a.gateway.poll(usize::MAX, &mut each).unwrap();
    let mut expected: Vec<_> = links.iter().map(|link| (*link, true)).collect();
    expected.push((links[254], false));
    assert_eq!(got, expected);
    for link in &links {
        a.gateway.acknowledge(*link, 0, 1, &[]);
    }
    a.gateway.acknowledge(links[254], 0, 1, &[]);
    a.turn();
    assert_eq!(a.bench.router.stats().accounting.held, 0);
    // A place that is given back is another link's.
    a.gateway.close_link(links[200]);
    let again = a.gateway.open_link().unwrap();
    assert!(again.slot == links[200].slot && again.epoch != links[200].epoch);
    a.accounts();
}

#[test]
fn the_end_of_gateway_or_router_ends_what_is_under_way() {
    let (mut a, _) = two();
    let ann = a.connect("ann");
    a.gateway.place("ben", a.link, 1);
    a.offer(ann, "ben", 1);
    a.turn();
    let Machine { mut bench, mut port, gateway, .. } = a;
    drop(gateway);
    bench.cycle();
    let mut reasons = Vec::new();
    port.poll_each(usize::MAX, |event| {
        if let Event::Undelivered { reason, .. } = event {
            reasons.push(reason.label());
        }
    })
    .unwrap();
    assert_eq!(reasons, ["link_lost"]);
    // Another gateway may follow. Its links have other epochs.
    let mut gateway = bench.router.gateway(GatewayOptions::default()).unwrap();
    assert!(bench.router.gateway(GatewayOptions::default()).is_err(), "one at a time");
    let link = gateway.open_link().unwrap();
    gateway.link_up(link);
    gateway.place("ben", link, 2);
    port.submit_with(
        ann,
        br#"{"type":"OFFER","dst":"ben"}"#,
        SubmitOptions { tell_failed: true, ..SubmitOptions::default() },
    )
    .unwrap();
    port.publish();
    bench.cycle();
    assert_eq!(bench.router.stats().accounting.held, 1);
    bench.router.request_stop();
    bench.cycle();
    let stats = bench.router.stats();
    assert_eq!(stats.accounting.held, 0);
    balanced(&stats.accounting);
}

/// A machine whose table has not all names, with a client.
fn incomplete() -> (Machine, ClientId) {
    let config = config_of(&[("workers", "1"), ("hold_ms", "5000")]);
    let mut a = Machine::new(config, GatewayOptions::default());
    let ann = a.connect("ann");
    a.gateway.set_complete(false);
    a.turn();
    (a, ann)
}

/// A message whose type may not be held.
fn leave(machine: &mut Machine, from: ClientId, to: &str, number: u64) {
    let text = format!(r#"{{"type":"LEAVE","dst":"{to}","payload":{number}}}"#);
    let options = SubmitOptions { correlation: number, tell_failed: true, ..SubmitOptions::default() };
    machine.port.submit_with(from, text.as_bytes(), options).unwrap();
}

fn asked(machine: &mut Machine) -> Vec<String> {
    machine.asks.drain(..).map(|(_, name)| name).collect()
}

#[test]
fn a_name_without_room_is_asked_for_once_and_gets_its_messages_in_order() {
    let (mut a, ann) = incomplete();
    a.offer(ann, "ben", 1);
    leave(&mut a, ann, "ben", 2);
    a.offer(ann, "ben", 3);
    a.turn();
    assert_eq!((asked(&mut a), a.bench.router.stats().accounting.held), (vec!["ben".to_owned()], 3));
    // The answer is enough: the table may have no room for the name any more.
    a.gateway.answer_ask(0, "ben", Whereabouts::At(a.link, 4));
    a.turn();
    assert_eq!(handed(&mut a), ["ben 1", "ben 2", "ben 3"]);
    a.gateway.acknowledge(a.link, 0, 3, &[(1, Reject::Gone)]);
    a.turn();
    assert_eq!(a.events(), ["2 unknown_recipient"], "its type may not be held");
    // A name of the table is not asked for.
    a.gateway.place("ben", a.link, 4);
    a.offer(ann, "ben", 5);
    a.turn();
    assert_eq!((handed(&mut a), asked(&mut a)), (vec!["ben 5".to_owned()], vec![]));
    a.accounts();
}

#[test]
fn a_name_that_is_nowhere_is_asked_for_again_after_a_second_while_messages_are_held() {
    let (mut a, ann) = incomplete();
    leave(&mut a, ann, "ben", 1);
    a.offer(ann, "ben", 2);
    leave(&mut a, ann, "ben", 3);
    a.turn();
    a.gateway.answer_ask(0, "ben", Whereabouts::Nowhere);
    a.turn();
    assert_eq!(a.events(), ["1 unknown_recipient", "3 unknown_recipient"]);
    assert_eq!((asked(&mut a).len(), a.bench.router.stats().accounting.held), (1, 1));
    for number in 4..50 {
        leave(&mut a, ann, "ben", number);
    }
    a.turn();
    assert_eq!((asked(&mut a).len(), a.events().len()), (0, 46), "a flood does not ask");
    a.bench.hands.advance(Duration::from_millis(1001));
    a.turn();
    a.turn();
    assert_eq!(asked(&mut a), ["ben"]);
    a.gateway.answer_ask(0, "ben", Whereabouts::At(a.link, 4));
    a.turn();
    assert_eq!(handed(&mut a), ["ben 2"]);
    // Nothing is held: nobody asks again.
    leave(&mut a, ann, "eve", 60);
    a.turn();
    a.gateway.answer_ask(0, "eve", Whereabouts::Nowhere);
    a.turn();
    a.bench.hands.advance(Duration::from_millis(1001));
    a.turn();
    assert_eq!(asked(&mut a), ["eve"]);
    a.accounts();
}

#[test]
fn without_an_answer_a_message_that_may_not_be_held_fails_after_a_second_and_another_is_held() {
    let (mut a, ann) = incomplete();
    leave(&mut a, ann, "ben", 1);
    a.offer(ann, "ben", 2);
    a.turn();
    a.bench.hands.advance(Duration::from_millis(999));
    a.turn();
    assert_eq!(a.events(), [] as [&str; 0]);
    a.bench.hands.advance(Duration::from_millis(2));
    a.turn();
    leave(&mut a, ann, "ben", 3);
    a.turn();
    assert_eq!(a.events(), ["1 link_down", "3 link_down"]);
    // The leader cannot be reached: the same at once, and another ask a second later.
    a.gateway.answer_ask(0, "ben", Whereabouts::Unanswered);
    a.turn();
    leave(&mut a, ann, "ben", 4);
    a.turn();
    assert_eq!(a.events(), ["4 link_down"]);
    assert_eq!(asked(&mut a), ["ben"]);
    a.bench.hands.advance(Duration::from_millis(1001));
    a.turn();
    a.turn();
    assert_eq!(asked(&mut a), ["ben"]);
    a.bench.hands.advance(Duration::from_millis(5000));
    a.turn();
    assert_eq!(a.events(), ["2 expired"]);
    a.accounts();
}

#[test]
fn a_name_that_was_evicted_keeps_the_order_of_its_messages() {
    let (mut a, ann) = incomplete();
    a.gateway.place("ben", a.link, 1);
    a.offer(ann, "ben", 1);
    a.turn();
    // Evicted while the message is under way, and moved before anybody asks.
    a.gateway.displace("ben");
    a.offer(ann, "ben", 2);
    leave(&mut a, ann, "ben", 3);
    a.turn();
    assert_eq!((handed(&mut a), asked(&mut a)), (vec!["ben 1".to_owned()], vec!["ben".to_owned()]));
    let other = a.gateway.open_link().unwrap();
    a.gateway.link_up(other);
    a.gateway.answer_ask(0, "ben", Whereabouts::At(other, 2));
    let before = std::mem::replace(&mut a.link, other);
    a.turn();
    assert_eq!(handed(&mut a), [] as [&str; 0], "the old place has not answered");
    assert_eq!(a.events(), ["3 moved"]);
    a.gateway.place("ben", other, 2);
    a.gateway.acknowledge(before, 0, 1, &[(0, Reject::Gone)]);
    a.turn();
    assert_eq!(handed(&mut a), ["ben 1", "ben 2"]);
    // Evicted again, but not moved: the same link keeps the order.
    a.gateway.displace("ben");
    a.offer(ann, "ben", 4);
    a.turn();
    a.bench.hands.advance(Duration::from_millis(1001));
    a.turn();
    a.turn();
    a.gateway.answer_ask(0, "ben", Whereabouts::At(other, 2));
    a.turn();
    assert_eq!(handed(&mut a), ["ben 4"]);
    a.accounts();
}

#[test]
fn what_is_held_already_is_asked_for_when_the_table_becomes_incomplete() {
    let (mut a, ann) = incomplete();
    a.gateway.set_complete(true);
    a.offer(ann, "ben", 1);
    leave(&mut a, ann, "ben", 2);
    a.turn();
    assert_eq!((asked(&mut a).len(), a.events()), (0, vec!["2 unknown_recipient".to_owned()]));
    a.gateway.set_complete(false);
    a.turn();
    assert_eq!(asked(&mut a), ["ben"]);
    // The watch is faster than the leader.
    a.gateway.place("ben", a.link, 1);
    a.turn();
    assert_eq!(handed(&mut a), ["ben 1"]);
    a.gateway.answer_ask(0, "ben", Whereabouts::At(a.link, 1));
    a.turn();
    assert_eq!((handed(&mut a).len(), asked(&mut a).len()), (0, 0));
}

#[test]
fn the_end_of_a_gateway_ends_what_waits_for_its_answers_and_the_next_one_is_asked() {
    let (mut a, ann) = incomplete();
    leave(&mut a, ann, "ben", 1);
    a.offer(ann, "ben", 2);
    a.turn();
    assert_eq!(asked(&mut a), ["ben"]);
    let Machine { bench, port, gateway, .. } = a;
    drop(gateway);
    let mut a = Machine::of(bench, port, GatewayOptions::default());
    a.gateway.set_complete(false);
    a.turn();
    a.turn();
    assert_eq!((a.events(), asked(&mut a)), (vec!["1 link_down".to_owned()], vec!["ben".to_owned()]));
    a.gateway.answer_ask(0, "ben", Whereabouts::At(a.link, 1));
    a.turn();
    assert_eq!(handed(&mut a), ["ben 2"]);
    a.accounts();
}

#[test]
fn a_handler_that_sends_to_a_name_without_room_has_it_asked_for() {
    let handled = |request: &mut corelane::router::Request<'_>| {
        let sent = request.send_to_name("ben", b"{}");
        request.reply(sent.map_or_else(|reason| reason.label(), |()| "sent").as_bytes())
    };
    let config = config_of(&[("workers", "1"), ("hold_ms", "1000")]);
    let bench = Bench::of(config, |builder| builder.handler("peerjs", "OFFER", handled));
    let port = bench.router.port().unwrap();
    let mut a = Machine::of(bench, port, GatewayOptions::default());
    a.gateway.set_complete(false);
    let ann = a.connect("ann");
    a.offer(ann, "x", 1);
    a.turn();
    assert_eq!((a.events(), asked(&mut a)), (vec!["unknown_recipient".to_owned()], vec!["ben".to_owned()]));
    a.gateway.place("ben", a.link, 1);
    a.gateway.answer_ask(0, "ben", Whereabouts::At(a.link, 1));
    a.offer(ann, "x", 2);
    a.turn();
    assert_eq!(a.events(), ["sent"]);
}

#[test]
fn one_sender_has_no_more_names_asked_for_than_it_may_have_messages_held() {
    let config = config_of(&[("workers", "1"), ("hold_ms", "5000"), ("hold_per_sender", "2")]);
    let mut a = Machine::new(config, GatewayOptions::default());
    let ann = a.connect("ann");
    a.gateway.set_complete(false);
    a.turn();
    for number in 0..4 {
        leave(&mut a, ann, &format!("x{number}"), number);
    }
    a.turn();
    assert_eq!(
        (asked(&mut a).len(), a.events()),
        (2, vec!["2 hold_full".to_owned(), "3 hold_full".to_owned()])
    );
    a.gateway.answer_ask(0, "x0", Whereabouts::Nowhere);
    a.turn();
    leave(&mut a, ann, "x4", 4);
    a.turn();
    assert_eq!((asked(&mut a), a.events()), (vec!["x4".to_owned()], vec!["0 unknown_recipient".to_owned()]));
    a.accounts();
}
