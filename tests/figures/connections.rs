//! Connections that a host reports: number, duration, rate of connects and disconnects, and health.

use super::{Bench, START, latency, no_latency, offer, shown, took};
use corelane::error::{RecordConnectError, StaleClient};
use corelane::monitor::{Connection, Health};
use serde_json::{Value, json};

fn application(name: &str, total: u64, active: u64, last: Option<u64>) -> Value {
    let last = last.map(|milliseconds| START + milliseconds);
    json!({ "name": name, "total": total, "active": active, "last_activity_milliseconds": last })
}

#[test]
fn every_figure_of_connections() {
    let bench = Bench::new(&[]);
    let nothing = json!({
        "total": 0, "active": 0, "peak": 0, "average_duration_milliseconds": null,
        "closed_milliseconds": no_latency(), "open_milliseconds": no_latency(),
        "last_minute_milliseconds": 0, "connects_last_minute": 0, "disconnects_last_minute": 0, "healthy": 0, "unhealthy": 0,
        "reconnect_attempts": 0, "applications": [application("other", 0, 0, None)],
    });
    assert_eq!(shown(&bench.stats().connections), nothing);

    let connect = |name, application| bench.monitor.connect(name, application).unwrap();
    let ann = connect("ann", "app");
    bench.advance(1_000);
    let ben = connect("ben", "app");
    bench.advance(1_000);
    connect("eve", "two");
    bench.advance(2_000);
    bench.monitor.disconnect(ben).unwrap(); // After 3 s.
    bench.advance(1_000);
    connect("dan", "app");
    bench.advance(1_000);
    bench.monitor.disconnect(ann).unwrap(); // After 6 s.
    bench.advance(4_000);
    bench.monitor.record_reconnect();
    // Cells of milliseconds: the cell of 3,000 ends at 47 × 64 - 1, the cell of 5,000 at 40 × 128 - 1.
    let closed = latency((2, 4_500), [3_000, 6_000, 3_007, 6_000, 6_000, 6_000, 6_000]);
    let open = latency((2, 6_500), [5_000, 8_000, 5_119, 8_000, 8_000, 8_000, 8_000]);
    let applications = json!([
        application("other", 0, 0, None),
        application("app", 3, 1, Some(6_000)),
        application("two", 1, 1, Some(2_000)),
    ]);
    let figures = json!({
        "total": 4, "active": 2, "peak": 3, "average_duration_milliseconds": 4_500,
        "closed_milliseconds": closed, "open_milliseconds": open,
        "last_minute_milliseconds": 10_000, "connects_last_minute": 4, "disconnects_last_minute": 2, "healthy": 2, "unhealthy": 0,
        "reconnect_attempts": 1, "applications": applications,
    });
    assert_eq!(shown(&bench.stats().connections), figures);
    // A message is also activity of its application, whichever client sent it.
    bench.monitor.record(&offer("", took(1)));
    let applications = bench.stats().connections.applications;
    assert_eq!(shown(&applications[1]), application("app", 3, 1, Some(10_000)));
}

#[test]
fn a_connection_ends_once_and_active_is_never_negative() {
    let bench = Bench::new(&[]);
    let ann = bench.monitor.connect("ann", "app").unwrap();
    bench.monitor.disconnect(ann).unwrap();
    for _ in 0..3 {
        assert_eq!(bench.monitor.disconnect(ann), Err(StaleClient));
    }
    let again = bench.monitor.connect("ann", "app").unwrap();
    assert_eq!(bench.monitor.disconnect(ann), Err(StaleClient), "the name belongs to another client");
    let connections = bench.stats().connections;
    assert_eq!((connections.total, connections.active, connections.peak), (2, 1, 1));
    assert_eq!(
        (connections.disconnects_last_minute, connections.closed_milliseconds.as_ref().unwrap().count),
        (1, 1)
    );
    assert_eq!(connections.applications[1].active, 1);
    bench.monitor.disconnect(again).unwrap();
    assert_eq!(bench.stats().connections.active, 0);
}

#[test]
fn the_peak_is_what_was_between_two_looks_as_well() {
    let bench = Bench::new(&[]);
    assert_eq!(bench.stats().connections.peak, 0);
    let clients: Vec<_> =
        ["a", "b", "c", "d", "e"].map(|name| bench.monitor.connect(name, "").unwrap()).into();
    clients.into_iter().for_each(|client| bench.monitor.disconnect(client).unwrap());
    let connections = bench.stats().connections;
    assert_eq!((connections.total, connections.active, connections.peak), (5, 0, 5));
    assert_eq!(connections.applications[0].total, 5, "connections without an application");
}

#[test]
fn threads_that_connect_and_disconnect_are_all_counted() {
    let bench = Bench::new(&[]);
    let stays = bench.monitor.connect("stays", "app").unwrap();
    std::thread::scope(|scope| {
        for thread in 0..4 {
            let monitor = bench.monitor.clone();
            scope.spawn(move || {
                for _ in 0..200 {
                    let client = monitor.connect(&format!("client {thread}"), "app").unwrap();
                    assert!(monitor.connect("stays", "app").is_err());
                    monitor.disconnect(client).unwrap();
                }
            });
        }
    });
    let connections = bench.stats().connections;
    assert_eq!((connections.total, connections.active, connections.reconnect_attempts), (801, 1, 800));
    assert_eq!(connections.closed_milliseconds.as_ref().unwrap().count, 800);
    assert!((2..=5).contains(&connections.peak), "{}", connections.peak);
    let one = &connections.applications[1];
    assert_eq!((one.total, one.active), (801, 1));
    bench.monitor.disconnect(stays).unwrap();
}

#[test]
fn connects_and_disconnects_are_counted_over_the_last_minute() {
    let bench = Bench::new(&[]);
    let last_minute = || {
        let connections = bench.stats().connections;
        (connections.connects_last_minute, connections.disconnects_last_minute)
    };
    let ann = bench.monitor.connect("ann", "app").unwrap();
    bench.monitor.connect("ben", "app").unwrap();
    bench.run(1);
    assert_eq!(last_minute(), (2, 0));
    bench.run(29);
    bench.monitor.connect("eve", "app").unwrap();
    bench.monitor.disconnect(ann).unwrap();
    bench.run(30);
    assert_eq!(last_minute(), (3, 1));
    // A minute after the look that counted the first two.
    bench.run(1);
    assert_eq!(last_minute(), (1, 1));
    bench.run(29);
    assert_eq!(last_minute(), (1, 1));
    bench.run(1);
    assert_eq!(last_minute(), (0, 0));
    assert_eq!(bench.stats().connections.total, 3);
}

#[test]
fn who_is_silent_or_marked_is_unhealthy() {
    let bench = Bench::new(&[("unhealthy_after_ms", "2000")]);
    let health = || {
        let connections = bench.stats().connections;
        (connections.healthy.unwrap(), connections.unhealthy.unwrap())
    };
    let ann = bench.monitor.connect("ann", "app").unwrap();
    let ben = bench.monitor.connect("ben", "app").unwrap();
    bench.advance(2_000);
    assert_eq!(health(), (2, 0), "exactly that long is not longer");
    bench.advance(1);
    assert_eq!(health(), (0, 2));
    bench.monitor.record(&offer("ann", took(1)));
    assert_eq!(health(), (1, 1));
    assert!(bench.stats().clients.as_ref().unwrap().by_messages[0].healthy);
    // The host marks the client as unhealthy.
    bench.monitor.mark(Connection::Recorded(ann), Health::Unhealthy).unwrap();
    assert_eq!(health(), (0, 2));
    assert!(!bench.stats().clients.as_ref().unwrap().by_messages[0].healthy);
    bench.monitor.record(&offer("ann", took(1)));
    assert_eq!(health(), (0, 2), "a message does not remove the mark");
    bench.monitor.mark(Connection::Recorded(ann), Health::Healthy).unwrap();
    assert_eq!(health(), (1, 1));
    // Changed at run time.
    bench.monitor.set("unhealthy_after_ms", "2001").unwrap();
    assert_eq!(health(), (2, 0));
    assert_eq!(
        bench.monitor.mark(Connection::Routed(ann), Health::Unhealthy),
        Err(StaleClient),
        "the client is not connected through this router"
    );
    bench.monitor.mark(Connection::Recorded(ben), Health::Unhealthy).unwrap();
    bench.monitor.disconnect(ben).unwrap();
    assert_eq!(bench.monitor.mark(Connection::Recorded(ben), Health::Unhealthy), Err(StaleClient));
    assert_eq!(health(), (1, 0));
    bench.monitor.connect("ben", "app").unwrap();
    assert_eq!(health(), (2, 0), "a mark ends with its connection");
}

#[test]
fn attempts_to_reconnect_are_those_under_a_name_that_is_connected_and_those_reported() {
    let bench = Bench::new(&[]);
    let attempts = || bench.stats().connections.reconnect_attempts;
    let ann = bench.monitor.connect("ann", "app").unwrap();
    assert_eq!(attempts(), 0);
    assert_eq!(bench.monitor.connect("ann", "app"), Err(RecordConnectError::NameTaken(ann)));
    assert_eq!(bench.monitor.connect("ann", "two"), Err(RecordConnectError::NameTaken(ann)));
    assert_eq!(attempts(), 2);
    bench.monitor.record_reconnect();
    assert_eq!(attempts(), 3);
    bench.monitor.disconnect(ann).unwrap();
    bench.monitor.connect("ann", "app").unwrap();
    assert_eq!(attempts(), 3, "the first connection had ended");
    let connections = bench.stats().connections;
    assert_eq!((connections.total, connections.active), (2, 1), "an attempt does not count as a connection");
}

#[test]
fn applications_past_the_budget_are_other() {
    let bench = Bench::new(&[("max_applications", "1")]);
    for (name, application) in [("a", "one"), ("b", "two"), ("c", "three")] {
        bench.monitor.connect(name, application).unwrap();
    }
    let stats = bench.stats();
    let expected = json!([application("other", 2, 2, Some(0)), application("one", 1, 1, Some(0))]);
    assert_eq!(shown(&stats.connections.applications), expected);
    assert_eq!(stats.folded.applications, 2);
}
