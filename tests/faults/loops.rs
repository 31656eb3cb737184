//! Event loops: a local worker's loop before its first cycle, at a reopening, and at its end; and deliveries too large for
//! a ring behind a full one.

use corelane::clients::ClientId;
use corelane::clock::Stamp;
use corelane::config::{Balance, Config};
use corelane::envelope::{Fields, Forward, Protocol};
use corelane::error::PortError;
use corelane::router::{Action, Builder, Event, Port, ProtocolRules, Router};
use std::os::fd::{AsFd, AsRawFd};
use std::time::{Duration, Instant};

fn config(workers: u32, local: u32, ports: u32) -> Config {
    let mut config = Config::default();
    config.router.workers = Some(workers);
    config.router.local_workers = local;
    config.router.max_ports = ports;
    config
}

fn connect(port: &mut Port, name: &str) -> ClientId {
    port.connect(name, "generic", "", 0).unwrap()
}

fn text(to: &str) -> Vec<u8> {
    format!(r#"{{"type":"offer","to":"{to}"}}"#).into_bytes()
}

fn settle(port: &mut Port) {
    for _ in 0..5 {
        port.cycle().unwrap();
        port.poll_each(9, |_| ()).unwrap();
    }
}

#[test]
fn a_local_port_is_opened_again_at_once() {
    let router = Builder::new(config(1, 1, 1)).start().unwrap();
    for _ in 0..50 {
        let mut port = router.local_port().unwrap();
        connect(&mut port, "ann");
        port.cycle().unwrap();
    }
}

#[test]
fn a_loop_opens_a_port_whose_place_its_own_worker_must_leave() {
    let router = Builder::new(config(2, 1, 2)).start().unwrap();
    let mut local = router.local_port().unwrap();
    connect(&mut local, "ann");
    local.cycle().unwrap();
    drop(router.port().unwrap());
    drop(router.port().unwrap());
}

#[test]
fn a_router_is_dropped_before_the_first_cycle() {
    let mut slow = config(1, 1, 6);
    slow.router.stop_timeout = Duration::from_millis(60_000);
    let router = Builder::new(slow).start().unwrap();
    let mut port = router.local_port().unwrap();
    connect(&mut port, "ann");
    let start = Instant::now();
    drop(router);
    assert!(start.elapsed() < Duration::from_secs(30), "it waited for this thread");
}

#[test]
fn no_handler_opens_a_local_port() {
    // Any router: on a worker's thread the call could wait for this very worker.
    let (other, _others) = Builder::new(config(1, 1, 6)).build().unwrap();
    let (tell, told) = std::sync::mpsc::channel();
    let builder = Builder::new(config(1, 1, 6)).short_handler("generic", "offer", move |request| {
        tell.send(other.local_port().map(drop)).unwrap();
        request.relay().map(drop)
    });
    let (router, _workers) = builder.build().unwrap();
    let mut port = router.local_port().unwrap();
    let ann = connect(&mut port, "ann");
    port.submit(ann, &text("ann"), 0).unwrap();
    settle(&mut port);
    assert_eq!(told.try_recv().unwrap(), Err(PortError::OwnThread));
}

/// Whether a poll of the host's says that the router has stopped, or the host may not wait.
fn does_not_sleep(port: &mut Port) {
    let polled = port.poll_each(9, |_| ());
    assert!(polled.is_err() || !port.arm(), "the poll said {polled:?}, and nobody wakes the port any more");
}

#[test]
fn a_local_port_does_not_sleep_on_its_end() {
    let (router, _workers) = Builder::new(config(1, 1, 6)).build().unwrap();
    let mut port = router.local_port().unwrap();
    connect(&mut port, "ann");
    settle(&mut port);
    router.request_stop();
    port.cycle().unwrap();
    does_not_sleep(&mut port);
}

#[test]
fn a_port_does_not_sleep_on_its_end() {
    let (router, mut workers) = Builder::new(config(1, 0, 6)).build().unwrap();
    let mut port = router.port().unwrap();
    connect(&mut port, "ann");
    for _ in 0..5 {
        workers[0].cycle(Stamp(u64::MAX));
        port.poll_each(9, |_| ()).unwrap();
    }
    assert!(port.arm());
    router.request_stop();
    while !workers[0].is_stopped() {
        workers[0].cycle(Stamp(u64::MAX));
    }
    does_not_sleep(&mut port);
}

fn signals(port: &Port) -> u64 {
    let text = std::fs::read_to_string(format!("/proc/self/fdinfo/{}", port.as_fd().as_raw_fd())).unwrap();
    let count = text.lines().find_map(|line| line.strip_prefix("eventfd-count:")).unwrap();
    u64::from_str_radix(count.trim(), 16).unwrap()
}

#[test]
fn a_loop_that_may_not_wait_does_not_signal_itself() {
    let (router, _workers) = Builder::new(config(1, 1, 6)).build().unwrap();
    let mut port = router.local_port().unwrap();
    let ann = connect(&mut port, "ann");
    settle(&mut port);
    port.awake(true);
    port.submit(ann, &text("ann"), 1).unwrap();
    assert!(!port.arm());
    connect(&mut port, "ben"); // A new socket of the same round.
    assert_eq!(signals(&port), 0);
}

#[test]
fn a_local_worker_takes_no_turn_of_round_robin() {
    let fields = Fields { message_type: Some("type"), recipient: Some("to"), ..Fields::default() };
    let protocol = Protocol::new("blocking", &fields, Forward::All).unwrap();
    let rules = ProtocolRules::new(protocol).message_type("work", Action::Relay { hold: false });
    let mut config = config(4, 1, 6);
    config.router.balance = Balance::RoundRobin;
    let builder = Builder::new(config).protocol(rules);
    let builder = builder.handler("blocking", "work", |request| request.relay().map(drop));
    let (router, mut workers): (Router, _) = builder.build().unwrap();
    let mut port = router.local_port().unwrap();
    let ann = port.connect("ann", "blocking", "", 0).unwrap();
    let ben = connect(&mut port, "ben");
    for worker in &mut workers {
        worker.cycle(Stamp(u64::MAX));
    }
    for correlation in 0..30 {
        port.submit(ann, br#"{"type":"work","to":"ben"}"#, correlation).unwrap();
        port.submit(ben, &text("ben"), correlation).unwrap();
    }
    port.publish();
    let taken: Vec<_> = workers.iter_mut().map(|worker| worker.cycle(Stamp(u64::MAX))).collect();
    assert_eq!(taken, [10, 10, 10]);
}

/// Everything that the port gets, in order, while the worker goes on.
fn received(port: &mut Port, mut cycle: impl FnMut(&mut Port)) -> Vec<u64> {
    let mut received = Vec::new();
    for _ in 0..300 {
        let mut written = Vec::new();
        let each = |event: Event<'_>| {
            if let Event::Message(message) = event {
                received.push(message.correlation);
                written.push((message.client, 1, message.payload.len() as u32));
            }
        };
        port.poll_each(1_000, each).unwrap();
        port.acknowledge_batch(written);
        cycle(port);
    }
    received
}

/// A record that fits the backlog but not the ring must not go to the backlog: it would never leave it.
#[test]
fn a_message_larger_than_a_ring_takes_passes_a_full_ring() {
    for local in [0, 1] {
        let (router, mut workers) = Builder::new(config(1, local, 6)).build().unwrap();
        let mut port = if local == 1 { router.local_port() } else { router.port() }.unwrap();
        let (ann, _) = (connect(&mut port, "ann"), connect(&mut port, "ben"));
        let mut cycle = |port: &mut Port| {
            let _ = if local == 0 { workers[0].cycle(Stamp(u64::MAX)) } else { port.cycle().unwrap() };
        };
        cycle(&mut port);
        let sizes = [[1_000; 200].as_slice(), &[40_000], &[1_000; 5]].concat();
        for (correlation, size) in sizes.iter().enumerate() {
            let body = format!(r#"{{"type":"offer","to":"ben","p":"{}"}}"#, "x".repeat(*size));
            port.submit(ann, body.as_bytes(), correlation as u64).unwrap();
            port.publish();
            cycle(&mut port);
        }
        assert!(received(&mut port, cycle).into_iter().eq(0..sizes.len() as u64), "local {local}");
    }
}

#[test]
fn a_send_larger_than_a_ring_takes_passes_a_full_ring() {
    let (router, mut workers) = Builder::new(config(1, 0, 6)).build().unwrap();
    let mut port = router.port().unwrap();
    let ann = connect(&mut port, "ann");
    workers[0].cycle(Stamp(u64::MAX));
    let sizes = [[1_000; 300].as_slice(), &[33_000, 50_000, 65_000, 10, 10]].concat();
    for (correlation, size) in sizes.iter().enumerate() {
        port.send(ann, &vec![b'x'; *size], correlation as u64).unwrap();
        port.publish();
        workers[0].cycle(Stamp(u64::MAX));
    }
    let received = received(&mut port, |_| {
        workers[0].cycle(Stamp(u64::MAX));
    });
    assert!(received.into_iter().eq(0..sizes.len() as u64));
}
