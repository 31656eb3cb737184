//! Admission and placement from the host's side: a flooding client is refused at its own port, limits are enforced,
//! permits are returned, and clients move away from a worker that is stalled or inactive. Rows R1, R2, R6; invariants
//! I5, I8.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test")]

use corelane::clients::ClientId;
use corelane::error::SubmitError;
use corelane::metrics::ByReason;
use corelane::router::Event;
use std::time::Duration;

mod support;
use support::{Hand as Bench, config_of};

const MESSAGE: &[u8] = br#"{"type":"OFFER","dst":"ben"}"#;

impl Bench {
    fn new(set: &[(&str, &str)]) -> Self {
        Self::of(config_of(set), "peerjs", |builder| builder.name_keys([1, 2]))
    }

    fn send(&mut self, client: ClientId) -> Result<(), SubmitError> {
        self.port.submit(client, MESSAGE, 0)
    }

    /// Lets the workers handle every submitted message and polls the results. Returns the number of messages.
    fn turn(&mut self) -> usize {
        self.port.publish();
        let mut count = 0;
        for _ in 0..2 {
            self.cycle();
            count += support::read(&mut self.port, usize::MAX, |_| ());
        }
        count
    }

    fn refused(&self) -> ByReason {
        self.router.accounting().refusals
    }
}

const fn refusal(reason: SubmitError) -> Result<(), SubmitError> {
    Err(reason)
}

#[test]
fn a_flooder_is_refused_at_its_own_door_and_its_neighbour_is_served() {
    let mut bench = Bench::new(&[("workers", "1"), ("max_in_flight", "3")]);
    for _ in 0..3 {
        bench.send(bench.ann).unwrap();
    }
    for _ in 0..10 {
        assert_eq!(bench.send(bench.ann), refusal(SubmitError::InFlightLimit));
    }
    bench.send(bench.ben).unwrap();
    assert_eq!(bench.refused().counted(), [("in_flight_limit", 10)]);
    assert_eq!(bench.turn(), 4);
    bench.send(bench.ann).unwrap();
}

#[test]
fn a_client_sends_at_its_rate_and_another_at_its_own() {
    let mut bench = Bench::new(&[("workers", "1"), ("client_rate", "10"), ("client_burst", "2")]);
    bench.send(bench.ann).unwrap();
    bench.send(bench.ann).unwrap();
    assert_eq!(bench.send(bench.ann), refusal(SubmitError::RateLimited));
    bench.send(bench.ben).unwrap();
    bench.hands.advance(Duration::from_nanos(99_999_999));
    assert_eq!(bench.send(bench.ann), refusal(SubmitError::RateLimited));
    bench.hands.advance(Duration::from_nanos(1));
    bench.send(bench.ann).unwrap();
    assert_eq!(bench.send(bench.ann), refusal(SubmitError::RateLimited));
    assert_eq!(bench.refused().counted(), [("rate_limited", 3)]);
}

#[test]
fn the_cap_on_messages_in_flight_holds_across_ports_and_an_idle_port_keeps_no_permit() {
    let mut bench = Bench::new(&[("workers", "2"), ("max_concurrent_messages", "5")]);
    let mut other = bench.router.port().unwrap();
    let cleo = other.connect("cleo", "peerjs", "tests", 3).unwrap();
    bench.send(bench.ann).unwrap();
    bench.port.publish();
    // The first port reserved a block of permits for its one message. The unused permits are available to other
    // ports.
    for _ in 0..4 {
        other.submit(cleo, MESSAGE, 0).unwrap();
    }
    assert_eq!(other.submit(cleo, MESSAGE, 0), refusal(SubmitError::ConcurrencyLimit));
    assert_eq!(bench.send(bench.ben), refusal(SubmitError::ConcurrencyLimit));
    other.publish();
    assert_eq!(bench.router.accounting().in_flight, 5);
    assert_eq!(bench.turn(), 5);
    let placement = bench.router.stats().placement;
    assert_eq!((placement.permits, placement.permits_available), (5, 5));
    assert_eq!(bench.refused().counted(), [("concurrency_limit", 2)]);
}

#[test]
fn clients_leave_stalled_and_inactive_workers_when_they_are_quiet() {
    for balance in ["hash", "least_loaded"] {
        let mut bench = Bench::new(&[("workers", "2"), ("balance", balance)]);
        bench.router.set_active_workers(1).unwrap();
        for _ in 0..3 {
            bench.send(bench.ann).unwrap();
            assert_eq!(bench.turn(), 1);
        }
        // Only the first worker is active, so the client is there, whatever its name hashes to.
        let before = bench.router.stats().workers[0].received;
        bench.send(bench.ann).unwrap();
        // The client is not quiet: it stays on its worker although a move is wanted.
        bench.router.set_active_workers(2).unwrap();
        bench.router.set_stalled(0, true);
        let wanted = bench.router.stats().placement.moves_wanted;
        bench.send(bench.ann).unwrap();
        let placement = bench.router.stats().placement;
        assert_eq!(placement.moves_wanted, wanted + 1);
        assert_eq!(bench.turn(), 2);
        assert_eq!(bench.router.stats().workers[0].received, before + 2);
        let made = bench.router.stats().placement.moves_made;
        bench.send(bench.ann).unwrap();
        assert_eq!(bench.turn(), 1);
        assert_eq!(bench.router.stats().workers[0].received, before + 2, "placed on a stalled worker");
        assert_eq!(bench.router.stats().placement.moves_made, made + 1);
    }
}

#[test]
fn a_port_that_never_polls_pins_only_those_who_wrote_to_it() {
    let mut bench = Bench::new(&[("workers", "2"), ("balance", "hash"), ("active_workers", "1")]);
    let mut deaf = bench.router.port().unwrap();
    deaf.connect("dora", "peerjs", "tests", 9).unwrap();
    bench.port.submit(bench.ann, br#"{"type":"OFFER","dst":"dora"}"#, 0).unwrap();
    bench.send(bench.ben).unwrap();
    bench.turn();
    bench.router.set_active_workers(2).unwrap();
    bench.router.set_stalled(0, true);
    let before = bench.router.stats().workers[0].received;
    bench.send(bench.ann).unwrap();
    bench.send(bench.ben).unwrap();
    assert_eq!(bench.turn(), 2);
    let placement = bench.router.stats().placement;
    assert_eq!((placement.moves_wanted, placement.moves_made), (2, 1));
    assert_eq!(bench.router.stats().workers[0].received, before + 1);
}

#[test]
fn round_robin_uses_every_active_worker_in_turn() {
    let mut bench = Bench::new(&[("workers", "3"), ("balance", "round_robin"), ("active_workers", "2")]);
    for _ in 0..10 {
        bench.send(bench.ann).unwrap();
    }
    assert_eq!(bench.turn(), 10);
    let received: Vec<_> = bench.router.stats().workers.iter().map(|worker| worker.received).collect();
    assert_eq!(received, [5, 5, 0]);
    bench.send(bench.ann).unwrap();
    bench.port.disconnect(bench.ann).unwrap();
    let mut closed = 0;
    for worker in 0..3 {
        let now = bench.clock.now();
        bench.workers[worker].cycle(now);
        bench.port.poll_each(9, |event| closed += u32::from(matches!(event, Event::Closed { .. }))).unwrap();
        assert_eq!(
            closed,
            u32::from(worker == 2),
            "Closed was delivered before every worker had handled the client's messages"
        );
    }
}

#[test]
fn wrong_numbers_of_active_workers_are_refused() {
    let bench = Bench::new(&[("workers", "2")]);
    for wrong in [0, 3] {
        let error = bench.router.set_active_workers(wrong).unwrap_err().to_string();
        assert_eq!(error, format!("active_workers = {wrong} is not valid; allowed: 1 to 2 threads"));
    }
    let config = config_of(&[("workers", "2"), ("active_workers", "3")]);
    assert!(config.validate().unwrap_err().to_string().starts_with("active_workers = 3"));
}

#[test]
fn the_figures_are_exported() {
    let mut bench =
        Bench::new(&[("workers", "2"), ("max_concurrent_messages", "7"), ("active_workers", "1")]);
    bench.send(bench.ann).unwrap();
    bench.turn();
    let text = corelane::export::prometheus_of_router(&bench.router.stats());
    support::assert_lines(
        &text,
        &[
            "corelane_workers_enabled 1",
            "corelane_messages_permitted 7",
            "corelane_message_permits_available 7",
            "corelane_placement_moves_wanted_total 0",
            "corelane_placement_moves_total 0",
            "corelane_worker_load_records{worker=\"0\"} 0",
            "corelane_messages_refused_total{reason=\"concurrency_limit\"} 0",
        ],
    );
}

/// R3: a ring holds at most `queue_messages` messages, however much space is left. Connects and disconnects still
/// pass.
#[test]
fn a_queue_is_bounded_in_messages() {
    let mut bench = Bench::new(&[("workers", "1"), ("queue_messages", "5")]);
    bench.turn();
    for _ in 0..3 {
        let accepted = (0..20).filter(|_| bench.send(bench.ann).is_ok()).count();
        assert_eq!(accepted, 5);
        bench.turn();
    }
    let figures = bench.router.accounting();
    assert_eq!((figures.submitted, figures.refusals.counted()), (60, vec![("ring_full", 45)]));
}
