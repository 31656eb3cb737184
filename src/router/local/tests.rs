//! A local worker that panics in the middle of a message: in a cycle of its loop, and while a stop ends it.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test")]

use crate::clients::ClientId;
use crate::clock::Stamp;
use crate::config::Config;
use crate::error::{Closed, ConnectError, CycleError, Failed, PortError, SubmitError};
use crate::router::{Builder, Event, Port, Router, Worker};
use std::sync::Barrier;
use std::time::Duration;

fn built(workers: u32, local: u32) -> (Router, Vec<Worker>) {
    let mut config = Config::default();
    config.router.workers = Some(workers);
    config.router.local_workers = local;
    config.router.max_ports = 4;
    Builder::new(config).build().unwrap()
}

/// Makes a local worker panic at the message after `messages` messages.
fn panics_after(router: &Router, worker: usize, messages: u64) {
    let seat = router.seats.get(worker).unwrap();
    let mut worker = seat.worker.take_back().unwrap();
    worker.state.inside.panics_after = Some(messages);
    seat.lay_down(worker);
}

fn offer(port: &mut Port, from: ClientId, to: &str, number: u64) -> Result<(), SubmitError> {
    port.submit(from, format!(r#"{{"type":"offer","to":"{to}"}}"#).as_bytes(), number)
}

/// Polls twice, so that what the first poll has settled comes too. Returns the delivered correlations, and how many
/// clients have got their last event.
fn polled(port: &mut Port) -> (Vec<u64>, usize) {
    let (mut got, mut closed) = (Vec::new(), 0);
    for _ in 0..2 {
        let _ = port.poll_each(usize::MAX, |event| match event {
            Event::Message(message) => got.push(message.correlation),
            Event::Closed { .. } => closed += 1,
            other => panic!("{other:?}"),
        });
    }
    (got, closed)
}

/// The seat of a worker that panics in a cycle is free for nobody, the panic ends in the cycle, and the other loops go
/// on. A send to a client of the lost worker goes to a worker with a thread of its own, or is refused as closed, but
/// never to another port's local worker.
#[test]
fn a_cycle_that_panics_loses_its_worker_only() {
    for threaded in [0, 1] {
        let (router, mut workers) = built(threaded + 2, 2);
        let (mut port, mut other) = (router.local_port().unwrap(), router.local_port().unwrap());
        let ann = port.connect("ann", "generic", "", 1).unwrap();
        let ben = other.connect("ben", "generic", "", 2).unwrap();
        for _ in 0..2 {
            for worker in &mut workers {
                worker.cycle(Stamp(u64::MAX));
            }
            port.cycle().unwrap();
            other.cycle().unwrap();
        }
        let lost = threaded as usize;
        panics_after(&router, lost, 1);
        for number in 0..3 {
            offer(&mut port, ann, "ben", number).unwrap();
        }
        assert_eq!(port.cycle(), Ok(0));
        assert_eq!(port.cycle(), Err(CycleError::Closed));
        let stats = router.stats();
        assert_eq!(stats.messages.failures.counted(), [(Failed::WorkerLost.label(), 2)]);
        assert!(stats.workers.iter().enumerate().all(|(worker, one)| one.lost == (worker == lost)));
        assert_eq!(polled(&mut other).0, [0], "what was delivered before");

        // The port still gets what the other loop sends, and its client's messages are refused.
        offer(&mut other, ben, "ann", 10).unwrap();
        other.cycle().unwrap();
        assert_eq!(polled(&mut port).0, [10]);
        assert_eq!(offer(&mut port, ann, "ben", 11), Err(SubmitError::Closed));
        assert_eq!(port.connect("dora", "generic", "", 3), Err(ConnectError::Closed));

        let before = router.accounting().refused;
        let sent = other.send(ann, b"{}", 20);
        other.publish();
        assert_eq!(other.cycle(), Ok(0), "the other port's worker does not send for it");
        match threaded {
            0 => assert_eq!((sent, router.accounting().refused), (Err(SubmitError::Closed), before + 1)),
            _ => {
                assert_eq!(sent, Ok(()));
                assert_eq!(workers[0].cycle(Stamp(u64::MAX)), 1);
                assert_eq!(polled(&mut port).0, [20]);
            }
        }

        port.disconnect(ann).unwrap();
        assert_eq!(polled(&mut port).1, 1);
        drop(port);
        assert_eq!(router.local_port().unwrap_err(), PortError::TooManyLocalPorts(2));
        offer(&mut other, ben, "ben", 30).unwrap();
        other.cycle().unwrap();
        assert_eq!(polled(&mut other).0, [30]);
        let figures = router.accounting();
        assert_eq!((figures.in_flight, figures.held, figures.queued), (0, 0, 0), "{figures:?}");
    }
}

/// A stop claims the worker of a loop that does not come back, and the worker panics then: the stop ends, and the loop's
/// next cycle says closed.
#[test]
fn a_claim_that_panics_ends_the_worker() {
    let (router, _) = built(1, 1);
    let (away, over) = (Barrier::new(2), Barrier::new(2));
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let mut port = router.local_port().unwrap();
            let ann = port.connect("ann", "generic", "", 1).unwrap();
            port.cycle().unwrap();
            panics_after(&router, 0, 1);
            for number in 0..3 {
                offer(&mut port, ann, "ann", number).unwrap();
            }
            port.publish();
            away.wait();
            over.wait();
            assert_eq!(port.cycle(), Err(CycleError::Closed));
            assert_eq!(polled(&mut port).0, [0]);
            assert_eq!(port.poll_each(1, |_| ()), Err(Closed));
        });
        away.wait();
        let stopped = router.stop_within(Duration::from_millis(20));
        over.wait();
        assert_eq!(stopped, Ok(()));
    });
    let stats = router.stats();
    assert_eq!(stats.messages.failures.counted(), [(Failed::WorkerLost.label(), 2)]);
    assert_eq!((stats.accounting.ok, stats.accounting.in_flight, stats.accounting.queued), (1, 0, 0));
    assert!(stats.workers[0].lost);
}
