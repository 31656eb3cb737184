//! The same figures for messages that a router routes, in addition to those that its host records.

use super::{
    Counted, MILLISECOND, START, all_windows, buckets, failures, latency, no_latency, offer, shown, support,
    took, window,
};
use corelane::clients::ClientId;
use corelane::error::{ConnectError, StaleClient};
use corelane::monitor::{ClientFigures, Connection, Health, Monitor, MonitorStats, SeriesFigures};
use corelane::router::{ConnectOptions, Event, Port};
use serde_json::json;
use std::time::Duration;

const OFFER: &[u8] = br#"{"type":"OFFER","dst":"ben"}"#;
/// The length of the message that ben gets.
const RELAYED: u64 = r#"{"src":"ann","type":"OFFER","dst":"ben"}"#.len() as u64;
/// The length of the submitted message.
const BYTES: u64 = OFFER.len() as u64;

/// A router that the test drives, with ann and ben on one port, and its monitor.
struct Routed {
    monitor: Monitor,
    bench: support::Bench,
    port: Port,
    ann: ClientId,
    ben: ClientId,
}

impl Routed {
    fn new(set: &[(&str, &str)]) -> Self {
        let bench = support::Bench::of(support::config_of(set), |builder| builder);
        let mut port = bench.router.port().unwrap();
        let monitor = Monitor::of(&bench.router.source());
        let ann = port.connect("ann", "peerjs", "app", 1).unwrap();
        let ben = port.connect("ben", "peerjs", "app", 2).unwrap();
        let mut routed = Self { monitor, bench, port, ann, ben };
        routed.bench.cycle();
        routed
    }

    fn one_worker() -> Self {
        Self::new(&[("workers", "1"), ("slow_message_threshold_ms", "100")])
    }

    fn advance(&self, milliseconds: u64) {
        self.bench.hands.advance(Duration::from_millis(milliseconds));
    }

    /// Ann sends a message that waits for `waits` nanoseconds and is handled for `takes` nanoseconds.
    fn send(&mut self, message: &[u8], waits: u64, takes: u64) {
        self.port.submit(self.ann, message, 0).unwrap();
        self.port.publish();
        self.bench.hands.advance(Duration::from_nanos(waits));
        let began = self.bench.clock.now();
        self.bench.hands.advance(Duration::from_nanos(takes));
        for worker in &mut self.bench.workers {
            worker.cycle(began);
        }
    }

    /// Delivers all events.
    fn poll(&mut self) {
        self.port.poll_each(usize::MAX, |_| ()).unwrap();
    }

    fn stats(&self) -> MonitorStats {
        self.monitor.snapshot()
    }
}

fn of<'a>(series: &'a [SeriesFigures], name: &str) -> &'a SeriesFigures {
    series
        .iter()
        .find(|one| {
            one.totals.name == name
                && (one.totals.protocol.as_deref() == Some("peerjs") || one.totals.queue_wait.is_none())
        })
        .unwrap()
}

#[test]
fn every_figure_of_routed_messages() {
    let mut routed = Routed::one_worker();
    routed.send(OFFER, 40, 20);
    routed.poll();
    routed.bench.hands.advance(Duration::from_nanos(50));
    routed.port.acknowledge(routed.ben, 1, RELAYED as u32);
    routed.send(b"{", 30, 10);
    // Together with the time that has already passed, one millisecond.
    routed.bench.hands.advance(Duration::from_nanos(MILLISECOND - 150));
    // Six seconds exceed the maximum queue wait.
    routed.send(OFFER, 6_000 * MILLISECOND, 0);
    let stats = routed.stats();
    let (now, long) = (6_001, 6_000 * MILLISECOND);
    let service = latency((3, 10), [0, 20, 10, 20, 20, 20, 20]);
    let waited = latency((3, (long + 70) / 3), [30, long, 40, long, long, long, long]);
    let counted = Counted { count: 3, errors: 2, slow: 1, bytes: 2 * BYTES + 1, sum: 30, overflows: 0 };
    let handled = window((0, now), counted, [0, 20, 10, 20, 20, 20, 20]);
    let counted = Counted { sum: long + 70, ..counted };
    let queued = window((0, now), counted, [30, long, 40, long, long, long, long]);
    let messages = json!({
        "total": 3, "succeeded": 1, "failed": 1, "expired": 1, "success_rate": 1.0 / 3.0,
        "failures": failures(&[("not_json", 1)]), "slow": 1,
        "bytes_in": 2 * BYTES + 1, "bytes_out": RELAYED,
        "latency": service, "queue_wait": waited, "held": no_latency(), "write": latency((1, 50), [50; 7]),
        "buckets": buckets([3, 0, 0, 0, 0, 0, 0, 0, 0]), "windows": all_windows(&handled),
        "error_clients_last_minute": 1,
        "queue_wait_windows": all_windows(&queued),
    });
    assert_eq!(shown(&stats.messages), messages);
    // By type, with the type's own failure reasons. A message that is not JSON has no type.
    let offers = of(stats.types.as_ref().unwrap(), "OFFER");
    let counts = |one: &SeriesFigures| {
        let totals = &one.totals;
        (totals.total, totals.succeeded, totals.failed, totals.expired, totals.slow)
    };
    assert_eq!((counts(offers), offers.totals.received), ((2, 1, 0, 1, 1), Some(2)));
    assert_eq!(shown(&offers.totals.failures), failures(&[]));
    assert_eq!(shown(&offers.totals.latency), latency((2, 10), [0, 20, 0, 20, 20, 20, 20]));
    assert_eq!((offers.totals.bytes, offers.last_processed_milliseconds), (2 * BYTES, Some(START + now)));
    assert_eq!(shown(&stats.types.as_ref().unwrap()[0].totals.failures), failures(&[("not_json", 1)]));
    for group in
        [of(stats.protocols.as_ref().unwrap(), "peerjs"), of(stats.applications.as_ref().unwrap(), "app")]
    {
        assert_eq!(counts(group), (3, 1, 1, 1, 1), "{}", group.totals.name);
        assert_eq!((group.totals.bytes, group.total_nanoseconds), (2 * BYTES + 1, 30));
        assert_eq!(shown(&group.totals.latency), service);
    }
}

#[test]
fn a_slow_routed_message_has_its_worker_and_names() {
    let mut routed = Routed::new(&[("workers", "2"), ("slow_message_threshold_ms", "100")]);
    routed.send(OFFER, 100 * MILLISECOND, 0);
    assert_eq!(routed.stats().slow_messages.as_ref().unwrap().total, 0, "exactly the threshold is not slow");
    routed.advance(900);
    routed.send(OFFER, 200 * MILLISECOND, 50 * MILLISECOND);
    let stats = routed.stats();
    let workers = &stats.routing.as_ref().unwrap().workers;
    // One worker handled both messages of the client.
    let worker = workers.iter().position(|worker| worker.ended == 2).unwrap();
    let entry = json!({
        "count": 1, "first_milliseconds": START + 1_250, "last_milliseconds": START + 1_250,
        "client": "ann", "protocol": "peerjs", "message_type": "OFFER", "application": "app", "worker": worker,
        "bytes": BYTES, "queue_wait_nanoseconds": 200 * MILLISECOND, "service_nanoseconds": 50 * MILLISECOND, "held_nanoseconds": 0,
        "succeeded": true, "slowest_nanoseconds": 250 * MILLISECOND,
    });
    let expected = json!({
        "threshold_nanoseconds": 100 * MILLISECOND, "total": 1, "unlisted": 0, "entries": [entry],
    });
    assert_eq!(shown(&stats.slow_messages), expected);
    routed.send(b"{", 101 * MILLISECOND, 0);
    let newest = routed.stats().slow_messages.unwrap().entries.remove(0);
    assert_eq!((&*newest.client, &*newest.message_type, newest.succeeded), ("ann", "other", false));
}

#[test]
fn every_figure_of_a_routed_client_with_what_it_has_not_acknowledged() {
    let mut routed = Routed::one_worker();
    routed.send(OFFER, 40, 20);
    routed.send(OFFER, 10, 10);
    routed.send(b"{", 0, 1);
    routed.advance(1_000);
    let client = |id: ClientId, name: &str| {
        json!({
            "id": id.0, "name": name, "application": "app", "protocol": "peerjs", "recorded": false,
            "connected": true, "messages": 0, "errors": 0, "bytes_in": 0, "bytes_out": 0,
            "average_nanoseconds": null, "maximum_nanoseconds": 0, "last_activity_milliseconds": START,
            "connected_for_milliseconds": 1_000, "idle_milliseconds": 1_000,
            "outstanding_messages": 0, "outstanding_bytes": 0, "outstanding_peak": 0, "undelivered": 0, "healthy": true,
        })
    };
    let mut ann = client(routed.ann, "ann");
    for (field, value) in [("messages", 3), ("errors", 1), ("bytes_in", 2 * BYTES + 1)] {
        ann[field] = json!(value);
    }
    (ann["average_nanoseconds"], ann["maximum_nanoseconds"]) = (json!(27), json!(60)); // 81 / 3
    let mut ben = client(routed.ben, "ben");
    (ben["outstanding_messages"], ben["outstanding_bytes"]) = (json!(2), json!(2 * RELAYED));
    let mut lists = json!({
        "tracked": 2, "by_messages": [ann], "by_errors": [ann], "by_bytes_in": [ann], "by_bytes_out": [],
        "by_average": [ann], "by_maximum": [ann], "by_outstanding": [ben],
        "by_outstanding_peak": [], "by_undelivered": [],
    });
    assert_eq!(shown(&routed.stats().clients), lists);
    routed.poll();
    ben["outstanding_peak"] = json!(2);
    (lists["by_outstanding"], lists["by_outstanding_peak"]) = (json!([ben]), json!([ben]));
    assert_eq!(shown(&routed.stats().clients), lists, "a delivered message is not yet acknowledged");
    let of_ben = |list: &[ClientFigures]| -> Vec<_> {
        list.iter().map(|one| (one.outstanding_messages, one.outstanding_bytes, one.bytes_out)).collect()
    };
    routed.port.acknowledge(routed.ben, 1, RELAYED as u32);
    let clients = routed.stats().clients.unwrap();
    assert_eq!(of_ben(&clients.by_outstanding), [(1, RELAYED, RELAYED)]);
    assert_eq!(of_ben(&clients.by_bytes_out), [(1, RELAYED, RELAYED)]);
    routed.port.acknowledge(routed.ben, 1, RELAYED as u32);
    let clients = routed.stats().clients.unwrap();
    assert_eq!(
        (of_ben(&clients.by_outstanding), of_ben(&clients.by_bytes_out)),
        (vec![], vec![(0, 0, 2 * RELAYED)])
    );
    assert_eq!(routed.stats().messages.as_ref().unwrap().totals.bytes_out, 2 * RELAYED);
}

/// A message counts entirely in the window in which it ends. An error rate and its messages therefore belong
/// together.
#[test]
fn a_held_message_counts_when_it_ends_with_its_error_and_its_time_on_hold() {
    let mut routed =
        Routed::new(&[("workers", "1"), ("slow_message_threshold_ms", "2000"), ("hold_ms", "90000")]);
    routed.send(br#"{"type":"OFFER","dst":"nobody"}"#, 30, 10);
    let of_ann = |stats: &MonitorStats| {
        let ann = stats.clients.as_ref().unwrap().by_messages.first().map(|ann| (ann.messages, ann.errors));
        let minute = &stats.messages.as_ref().unwrap().windows.last_minute;
        (
            stats.messages.as_ref().unwrap().totals.total,
            ann,
            minute.latency.count,
            minute.errors,
            stats.messages.as_ref().unwrap().totals.slow,
        )
    };
    assert_eq!(of_ann(&routed.stats()), (0, None, 0, 0, 0), "the message has not ended");
    assert_eq!(
        routed.bench.router.stats().types.iter().filter_map(|one| one.received).sum::<u64>(),
        1,
        "but it was received"
    );
    // A minute of successful messages passes in between, and a reset.
    routed.send(OFFER, 0, 0);
    routed.advance(45_000);
    routed.monitor.reset();
    routed.advance(46_000);
    routed.bench.cycle();
    let stats = routed.stats();
    assert_eq!(of_ann(&stats), (1, Some((1, 1)), 1, 1, 1));
    assert_eq!(
        (
            stats.messages.as_ref().unwrap().totals.expired,
            stats.messages.as_ref().unwrap().windows.last_minute.error_rate
        ),
        (1, Some(1.0))
    );
    assert_eq!(
        (
            stats.messages.as_ref().unwrap().totals.bytes_in,
            stats.messages.as_ref().unwrap().error_clients_last_minute
        ),
        (31, 1)
    );
    let held = 91_000 * MILLISECOND;
    assert_eq!(shown(&stats.messages.as_ref().unwrap().totals.held), latency((1, held), [held; 7]));
    assert_eq!(shown(&stats.messages.as_ref().unwrap().totals.queue_wait), latency((1, 30), [30; 7]));
    assert_eq!(shown(&stats.messages.as_ref().unwrap().totals.latency), latency((1, 10), [10; 7]));
    let entry = &stats.slow_messages.as_ref().unwrap().entries[0];
    assert_eq!(
        (entry.held_nanoseconds, entry.slowest_nanoseconds, entry.succeeded),
        (held, held + 40, false)
    );
    // The end of the hold is not activity: ann's last activity is the successful message.
    assert_eq!(stats.clients.as_ref().unwrap().by_messages[0].idle_milliseconds, 91_000);
}

#[test]
fn a_held_message_that_is_delivered_counts_once_with_its_time_on_hold() {
    let mut routed = Routed::one_worker();
    routed.send(br#"{"type":"OFFER","dst":"eve"}"#, 0, 5);
    routed.advance(50);
    routed.port.connect("eve", "peerjs", "app", 3).unwrap();
    routed.bench.cycle();
    let stats = routed.stats();
    assert_eq!(
        (
            stats.messages.as_ref().unwrap().totals.total,
            stats.messages.as_ref().unwrap().totals.succeeded,
            stats.messages.as_ref().unwrap().totals.slow
        ),
        (1, 1, 0)
    );
    let held = 50 * MILLISECOND;
    assert_eq!(shown(&stats.messages.as_ref().unwrap().totals.held), latency((1, held), [held; 7]));
    assert_eq!(
        (
            stats.messages.as_ref().unwrap().totals.latency.count,
            stats.clients.as_ref().unwrap().by_messages[0].messages
        ),
        (1, 1)
    );
    assert_eq!(routed.bench.router.stats().types.iter().filter_map(|one| one.received).sum::<u64>(), 1);
}

#[test]
fn what_the_host_records_adds_to_what_is_routed_under_the_same_names() {
    let mut routed = Routed::one_worker();
    routed.send(OFFER, 0, 20);
    routed.monitor.record(&offer("eve", took(40)));
    let eve = routed.monitor.connect("eve", "app").unwrap();
    routed.monitor.record_sent(eve, 11).unwrap();
    let stats = routed.stats();
    assert_eq!(
        shown(&stats.messages.as_ref().unwrap().totals.latency),
        latency((2, 30), [20, 40, 20, 40, 40, 40, 40])
    );
    assert_eq!(
        shown(&of(stats.types.as_ref().unwrap(), "OFFER").totals.latency),
        latency((2, 30), [20, 40, 20, 40, 40, 40, 40])
    );
    assert_eq!(
        (
            of(stats.protocols.as_ref().unwrap(), "peerjs").totals.total,
            of(stats.applications.as_ref().unwrap(), "app").totals.total
        ),
        (2, 2)
    );
    assert_eq!(
        (stats.messages.as_ref().unwrap().totals.bytes_in, stats.messages.as_ref().unwrap().totals.bytes_out),
        (BYTES, 11)
    );
    let connections = &stats.connections;
    assert_eq!((connections.total, connections.active, connections.healthy.unwrap()), (3, 3, 3));
    let app = connections.applications.iter().find(|one| one.name == "app").unwrap();
    assert_eq!((app.total, app.active), (3, 3));
    let names: Vec<_> =
        stats.clients.as_ref().unwrap().by_messages.iter().map(|one| (&*one.name, one.recorded)).collect();
    assert_eq!(names, [("ann", false), ("eve", true)]);
    // The router's own figures include only what the router routed.
    let totals = &stats.routing.as_ref().unwrap().totals;
    assert_eq!((totals.routed, routed.bench.router.stats().messages.total), (1, 1));
}

#[test]
fn routed_connections_are_counted_marked_and_found_idle() {
    let mut routed = Routed::one_worker();
    assert!(matches!(routed.port.connect("ann", "peerjs", "app", 3), Err(ConnectError::NameTaken(_))));
    let figures = |routed: &Routed| {
        let connections = routed.stats().connections;
        (
            connections.active,
            connections.healthy.unwrap(),
            connections.unhealthy.unwrap(),
            connections.reconnect_attempts,
        )
    };
    assert_eq!(figures(&routed), (2, 2, 0, 1));
    assert_eq!(routed.stats().connections.connects_last_minute, 2);
    routed.monitor.mark(Connection::Routed(routed.ann), Health::Unhealthy).unwrap();
    assert_eq!(figures(&routed), (2, 1, 1, 1));
    routed.monitor.mark(Connection::Routed(routed.ann), Health::Healthy).unwrap();
    routed.advance(1_000);
    routed.send(OFFER, 0, 0);
    let idle = routed.monitor.idle_clients(Duration::from_millis(999));
    assert_eq!(idle.iter().map(|one| (one.id, &*one.name)).collect::<Vec<_>>(), [(routed.ben.0, "ben")]);
    routed.advance(60_000);
    assert_eq!(figures(&routed), (2, 1, 1, 1), "ben has been silent for longer than a minute");
    let ann = routed.ann;
    routed.port.disconnect(ann).unwrap();
    assert_eq!(routed.monitor.mark(Connection::Routed(ann), Health::Unhealthy), Err(StaleClient));
    let connections = routed.stats().connections;
    assert_eq!((connections.total, connections.active, connections.peak), (2, 1, 2));
    assert_eq!((connections.connects_last_minute, connections.disconnects_last_minute), (0, 1));
    assert_eq!(shown(&connections.closed_milliseconds), latency((1, 61_000), [61_000; 7]));
    let by_application: Vec<_> =
        connections.applications.iter().map(|one| (one.name.as_str(), one.active, one.total)).collect();
    assert_eq!(by_application, [("other", 0, 0), ("app", 1, 2)]);
}

#[test]
fn a_reset_leaves_routing_as_it_is_and_starts_the_rest_anew() {
    let mut routed = Routed::one_worker();
    routed.send(OFFER, 3_000 * MILLISECOND, 2_000 * MILLISECOND);
    routed.poll();
    routed.advance(7_000);
    routed.port.acknowledge(routed.ben, 1, RELAYED as u32);
    routed.send(OFFER, 0, 0);
    let before = routed.stats();
    assert_eq!(
        (before.messages.as_ref().unwrap().totals.total, before.messages.as_ref().unwrap().totals.bytes_out),
        (2, RELAYED)
    );
    routed.monitor.reset();
    let stats = routed.stats();
    let messages = stats.messages.as_ref().unwrap();
    assert_eq!(
        (messages.totals.total, messages.totals.slow, messages.totals.bytes_in, messages.totals.bytes_out),
        (0, 0, 0, 0)
    );
    assert_eq!(
        (shown(&messages.totals.latency), shown(&messages.totals.write)),
        (no_latency(), no_latency())
    );
    assert_eq!((stats.connections.total, stats.connections.active, stats.connections.peak), (0, 2, 2));
    assert_eq!(stats.slow_messages.as_ref().unwrap().entries, []);
    assert_eq!(shown(&stats.clients.as_ref().unwrap().by_messages), json!([]));
    // Current values stay, and so do the figures that the router needs for its own accounts.
    assert_eq!(stats.clients.as_ref().unwrap().by_outstanding[0].outstanding_bytes, RELAYED);
    assert_eq!(stats.routing.as_ref().unwrap().totals.routed, 2);
    // The worker and the port continue in the new epoch with exact figures.
    routed.poll();
    routed.bench.hands.advance(Duration::from_nanos(1_000_003));
    routed.port.acknowledge(routed.ben, 1, RELAYED as u32);
    routed.send(OFFER, 2_000_003, 1_000_003);
    let stats = routed.stats();
    assert_eq!(
        shown(&stats.messages.as_ref().unwrap().totals.latency),
        latency((1, 1_000_003), [1_000_003; 7])
    );
    assert_eq!(
        shown(&stats.messages.as_ref().unwrap().totals.queue_wait),
        latency((1, 2_000_003), [2_000_003; 7])
    );
    assert_eq!(
        shown(&stats.messages.as_ref().unwrap().totals.write),
        latency((1, 1_000_003), [1_000_003; 7])
    );
    assert_eq!(
        shown(&of(stats.types.as_ref().unwrap(), "OFFER").totals.latency),
        latency((1, 1_000_003), [1_000_003; 7])
    );
    assert_eq!(stats.messages.as_ref().unwrap().totals.bytes_out, RELAYED);
    let ann = &stats.clients.as_ref().unwrap().by_messages[0];
    assert_eq!((ann.messages, ann.bytes_in, ann.maximum_nanoseconds), (1, BYTES, 3_000_006));
}

#[test]
fn a_monitor_that_comes_later_shows_the_totals_and_begins_its_windows() {
    let mut routed = Routed::one_worker();
    let began = routed.stats().since_milliseconds;
    routed.send(OFFER, 0, 20);
    routed.advance(1_000);
    let late = Monitor::of(&routed.bench.router.source());
    let stats = late.snapshot();
    assert_eq!(
        (
            stats.messages.as_ref().unwrap().totals.total,
            stats.messages.as_ref().unwrap().windows.last_minute.latency.count
        ),
        (1, 0)
    );
    assert_eq!((stats.connections.total, stats.uptime_nanoseconds), (2, 0));
    routed.send(OFFER, 0, 20);
    routed.advance(1_000);
    let stats = late.snapshot();
    assert_eq!(
        (
            stats.messages.as_ref().unwrap().totals.total,
            stats.messages.as_ref().unwrap().windows.last_minute.latency.count
        ),
        (2, 1)
    );
    assert_eq!(
        (stats.since_milliseconds, began),
        (START, START),
        "the router's figures count since the router's start"
    );
}

#[test]
fn detail_and_the_threshold_reach_the_workers() {
    let mut routed = Routed::one_worker();
    routed.monitor.set("detailed_stats", "off").unwrap();
    routed.monitor.set("slow_message_threshold_ms", "1").unwrap();
    routed.send(OFFER, 2 * MILLISECOND, 0);
    routed.poll();
    routed.port.acknowledge(routed.ben, 1, RELAYED as u32);
    let stats = routed.stats();
    assert_eq!(
        (
            stats.messages.as_ref().unwrap().totals.total,
            stats.messages.as_ref().unwrap().totals.slow,
            stats.slow_messages.as_ref().unwrap().entries.len()
        ),
        (1, 1, 1)
    );
    assert_eq!(shown(&stats.clients), serde_json::Value::Null);
    assert!(of(stats.types.as_ref().unwrap(), "OFFER").windows.is_none());
    routed.monitor.set("detailed_stats", "on").unwrap();
    routed.monitor.set("slow_message_threshold_ms", "3").unwrap();
    routed.send(OFFER, 2 * MILLISECOND, 0);
    let stats = routed.stats();
    assert_eq!(
        (stats.messages.as_ref().unwrap().totals.total, stats.messages.as_ref().unwrap().totals.slow),
        (2, 1)
    );
    assert_eq!(stats.clients.as_ref().unwrap().by_messages[0].messages, 1);
    assert_eq!(
        of(stats.types.as_ref().unwrap(), "OFFER").windows.as_ref().unwrap().last_minute.latency.count,
        1
    );
}

/// Ann's figures after her next socket has taken over those of the closed client.
fn takes_over(routed: &mut Routed, port: Option<&mut Port>) -> ClientFigures {
    routed.port.disconnect(routed.ann).unwrap();
    routed.port.publish();
    let mut kept = None;
    while kept.is_none() {
        routed.bench.cycle();
        let each = |event: Event<'_>| {
            if let Event::Closed { figures, .. } = event {
                kept = Some(figures);
            }
        };
        routed.port.poll_each(usize::MAX, each).unwrap();
    }
    let options = ConnectOptions::new("peerjs", "app", 9).figures(kept.unwrap());
    let other = port.is_some();
    let port = port.unwrap_or(&mut routed.port);
    let ann = port.connect_with("ann", options).unwrap();
    if !other {
        routed.ann = ann;
    }
    routed.bench.cycle();
    let clients = routed.stats().clients.unwrap();
    clients.by_maximum.into_iter().find(|one| one.name == "ann").unwrap()
}

#[test]
fn a_client_that_is_taken_over_keeps_its_figures() {
    let mut routed = Routed::one_worker();
    routed.send(OFFER, 30, 10);
    routed.send(b"{", 0, 20);
    routed.advance(2_000);
    // A new token alone changes nothing.
    let before = routed.stats().clients.unwrap().by_maximum.remove(0);
    routed.port.rebind(routed.ann, 7).unwrap();
    assert_eq!(routed.stats().clients.unwrap().by_maximum[0], before);
    // Another socket, on the same port and on another port.
    let same = |after: &ClientFigures| {
        let mut expected = before.clone();
        expected.id = after.id;
        expected.connected_for_milliseconds = 0;
        (expected.last_activity_milliseconds, expected.idle_milliseconds) =
            (after.last_activity_milliseconds, 0);
        assert_eq!(*after, expected);
    };
    let after = takes_over(&mut routed, None);
    assert_ne!(after.id, before.id);
    assert_eq!(after.idle_milliseconds, 0, "a connect is activity");
    same(&after);
    // Messages that the client sends now are added.
    routed.send(OFFER, 0, 50);
    let ann = routed.stats().clients.unwrap().by_messages.remove(0);
    assert_eq!((&*ann.name, ann.messages, ann.errors, ann.bytes_in), ("ann", 3, 1, 2 * BYTES + 1));
    let mut port = routed.bench.router.port().unwrap();
    let after = takes_over(&mut routed, Some(&mut port));
    assert_eq!((after.messages, after.errors, after.connected_for_milliseconds), (3, 1, 0));
}

#[test]
fn a_reset_before_a_takeover_starts_its_figures_anew() {
    let mut routed = Routed::one_worker();
    routed.send(OFFER, 30, 10);
    routed.advance(2_000);
    routed.monitor.reset();
    routed.send(OFFER, 0, 70);
    let after = takes_over(&mut routed, None);
    assert_eq!((after.messages, after.maximum_nanoseconds), (1, 70), "only since the reset");
    routed.send(br#"{"type":"OFFER","dst":"ann"}"#, 0, 0);
    routed.poll();
    routed.port.acknowledge(routed.ann, 1, RELAYED as u32);
    assert_eq!(routed.stats().clients.unwrap().by_bytes_out.len(), 1);
    // A client that does not take over another's figures keeps nothing of the client that had the slot before.
    routed.port.disconnect(routed.ann).unwrap();
    routed.bench.cycle();
    routed.poll();
    routed.ann = routed.port.connect("ann", "peerjs", "app", 1).unwrap();
    routed.bench.cycle();
    let clients = routed.stats().clients.unwrap();
    assert_eq!((clients.by_messages.len(), clients.by_bytes_out.len()), (0, 0));
}

/// A delivered message is acknowledged, unacknowledged, or counted under a reason for which it never will be
/// acknowledged.
#[test]
fn what_is_never_acknowledged_is_counted_by_reason() {
    let mut routed = Routed::one_worker();
    for _ in 0..7 {
        routed.send(OFFER, 0, 0);
    }
    routed.poll();
    routed.port.acknowledge(routed.ben, 2, 2 * RELAYED as u32);
    let accounts = |routed: &Routed| {
        let all = routed.stats().routing.unwrap().accounting;
        let reasons = all.unacknowledged_reasons.counted();
        let reasons: Vec<_> = reasons.into_iter().map(|(reason, count)| (reason.to_owned(), count)).collect();
        (all.acknowledged, all.unacknowledged, reasons)
    };
    assert_eq!(accounts(&routed), (2, 0, vec![]));
    // An aborted connection: five messages were delivered.
    let ben = routed.ben;
    routed.port.disconnect(ben).unwrap();
    routed.port.publish();
    routed.bench.cycle();
    routed.poll();
    assert_eq!(accounts(&routed), (2, 5, vec![("closed".to_owned(), 5)]));
    // A released port: two messages to ann herself, one delivered and one still in the ring.
    let to_ann = br#"{"type":"OFFER","dst":"ann"}"#;
    routed.send(to_ann, 0, 0);
    routed.poll();
    routed.send(to_ann, 0, 0);
    drop(routed.port);
    let stats = routed.monitor.snapshot();
    let all = stats.routing.unwrap().accounting;
    assert_eq!(all.unacknowledged_reasons.counted(), [("closed", 5), ("port_gone", 1)]);
    assert_eq!(
        (stats.messages.as_ref().unwrap().totals.succeeded, all.acknowledged, all.unacknowledged),
        (9, 2, 6)
    );
    assert_eq!(all.undelivered.iter().map(|(_, count)| count).sum::<u64>(), all.undeliverable);
    // One message, and possibly ann's Closed event, were given up.
    assert_eq!(all.deliveries, all.consumed + all.undeliverable + all.queued);
}

/// Each limit counts only its own connections: neither the host's connections nor a larger limit hides that the full
/// limit is full.
#[test]
fn the_use_of_connections_is_of_the_limit_that_refuses() {
    let limits = [("workers", "1"), ("max_clients", "4"), ("max_recorded_clients", "16")];
    let used = |routed: &Routed| {
        routed.advance(5_000);
        routed.monitor.tick();
        routed.stats().system.unwrap().load.unwrap().connection_pool_use
    };
    for (own, all) in [("0", 0.75), ("16", 14.0 / 16.0), ("100", 0.75)] {
        let routed = Routed::new(&[&limits[..], &[("connection_limit", own)]].concat());
        assert_eq!(used(&routed), Some(0.5), "two of a router's four");
        for number in 0..12 {
            routed.monitor.connect(&format!("client {number}"), "app").unwrap();
        }
        assert_eq!(used(&routed), Some(all), "twelve of the host's sixteen, fourteen of {own} in all");
    }
}
