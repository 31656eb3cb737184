//! Figures of clients and connections, rows M9 and C1 to C6: a known input, and the exact value of each field. The
//! clock is manual.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test")]

use corelane::clock::Clock;
use corelane::config::Config;
use corelane::error::Error;
use corelane::monitor::{ClientFigures, ClientsFigures, Monitor};
use corelane::record::{Measured, RecordedMessage};
use corelane::router::Builder;
use std::time::Duration;

mod support;

fn record(monitor: &Monitor, client: &str, bytes: u64, nanoseconds: u64, failed: bool) {
    let measured = Measured {
        failed,
        bytes,
        queue_wait_nanoseconds: nanoseconds / 2,
        processing_nanoseconds: nanoseconds - nanoseconds / 2,
    };
    monitor.record(&RecordedMessage {
        client,
        message_type: "offer",
        application: "app",
        measured,
        ..RecordedMessage::default()
    });
}

fn names(list: &[ClientFigures]) -> Vec<&str> {
    list.iter().map(|client| client.name.as_str()).collect()
}

fn lists(clients: &ClientsFigures) -> [&Vec<ClientFigures>; 7] {
    let ClientsFigures {
        by_messages,
        by_errors,
        by_bytes_in,
        by_bytes_out,
        by_average,
        by_maximum,
        by_outstanding,
        ..
    } = clients;
    [by_messages, by_errors, by_bytes_in, by_bytes_out, by_average, by_maximum, by_outstanding]
}

#[test]
fn m9_each_figure_of_a_client_and_the_first_ones_by_each() {
    let (monitor, hand) = support::monitor(Config::default().with_top_clients(2).unwrap());
    let ann = monitor.connect("ann", "app").unwrap();
    hand.advance(Duration::from_secs(2));
    for (client, bytes, nanoseconds, failed) in [
        ("ann", 10, 100, true),
        ("ann", 20, 301, true),
        ("ben", 500, 50, false),
        ("cat", 1, 900, true),
        ("ann", 0, 2, false),
    ] {
        record(&monitor, client, bytes, nanoseconds, failed);
    }
    let ben = monitor.client("ben").unwrap();
    monitor.record_sent(ann, 70).unwrap();
    monitor.record_sent(ben, 7).unwrap();
    hand.advance(Duration::from_secs(3));
    let clients = monitor.snapshot().clients.unwrap();
    assert_eq!(clients.tracked, 3);
    assert_eq!(
        lists(&clients).map(|list| names(list).join(" ")),
        ["ann ben", "ann cat", "ben ann", "ann ben", "cat ann", "cat ann", "",]
    );
    let first = &clients.by_messages[0];
    assert_eq!((first.id, first.name.as_str(), first.application.as_str()), (ann.0, "ann", "app"));
    assert_eq!(
        (first.protocol.as_deref(), first.recorded, first.connected, first.healthy),
        (None, true, true, true)
    );
    assert_eq!((first.messages, first.errors, first.bytes_in, first.bytes_out), (3, 2, 30, 70));
    assert_eq!((first.average_nanoseconds, first.maximum_nanoseconds), (Some(134), 301));
    assert_eq!((first.last_activity_milliseconds, first.idle_milliseconds), (1_002_000, 3_000));
    assert_eq!(
        (first.connected_for_milliseconds, first.outstanding_messages, first.outstanding_bytes),
        (5_000, 0, 0)
    );
    // A client that was only recorded is not a connection.
    assert!(!clients.by_messages[1].connected);
    assert_eq!(monitor.snapshot().connections.active, 1);
    // The client may connect; then it is a connection.
    assert_eq!(monitor.connect("ben", "app").unwrap(), ben);
    let stats = monitor.snapshot();
    assert_eq!(
        (stats.connections.active, stats.connections.total, stats.connections.reconnect_attempts),
        (2, 2, 0)
    );
}

#[test]
fn m9_what_a_routed_client_has_outstanding_and_was_written() {
    let (clock, _) = Clock::manual();
    let config = Config::default().with_workers(1).unwrap();
    let (router, mut workers) = Builder::new(config).clock(clock.clone()).build().unwrap();
    let monitor = Monitor::of(&router.source());
    let mut port = router.port().unwrap();
    let ann = port.connect("ann", "peerjs", "my-app", 1).unwrap();
    let ben = port.connect("ben", "peerjs", "my-app", 2).unwrap();
    for text in
        [r#"{"type":"OFFER","dst":"ben"}"#, r#"{"type":"OFFER","dst":"ben"}"#, r#"{"type":"NO SUCH"}"#]
    {
        port.submit(ann, text.as_bytes(), 0).unwrap();
    }
    port.publish();
    workers[0].cycle(clock.raw());
    let mut bytes = 0;
    port.poll(64, |event| {
        if let corelane::router::Event::Message(message) = event {
            bytes = message.payload.len() as u64;
        }
    })
    .unwrap();
    let clients = monitor.snapshot().clients.unwrap();
    let outstanding = &clients.by_outstanding[0];
    assert_eq!((outstanding.name.as_str(), outstanding.outstanding_messages), ("ben", 2));
    assert_eq!((outstanding.outstanding_bytes, outstanding.bytes_out), (2 * bytes, 0));
    let sender = &clients.by_messages[0];
    assert_eq!((sender.id, sender.name.as_str(), sender.messages, sender.errors), (ann.0, "ann", 3, 1));
    assert_eq!(
        (sender.bytes_in, sender.protocol.as_deref(), sender.recorded),
        (28 + 28 + 18, Some("peerjs"), false)
    );
    assert_eq!((sender.application.as_str(), sender.connected), ("my-app", true));
    port.acknowledge(ben, 2, 2 * bytes as u32);
    let stats = monitor.snapshot();
    assert!(stats.clients.as_ref().unwrap().by_outstanding.is_empty());
    let written = &stats.clients.as_ref().unwrap().by_bytes_out[0];
    assert_eq!(
        (written.name.as_str(), written.bytes_out, stats.messages.as_ref().unwrap().totals.bytes_out),
        ("ben", 2 * bytes, 2 * bytes)
    );
    // The next client in its slot starts with no figures.
    port.disconnect(ben).unwrap();
    while monitor.snapshot().clients.as_ref().unwrap().tracked == 2 {
        workers[0].cycle(clock.raw());
        port.poll(64, |_| ()).unwrap();
    }
    port.connect("cat", "peerjs", "my-app", 3).unwrap();
    let clients = monitor.snapshot().clients.unwrap();
    assert_eq!((clients.tracked, names(&clients.by_bytes_out).len()), (2, 0));
}

#[test]
fn m9_names_past_the_budget_are_counted_and_silent_ones_give_up_their_place() {
    let (monitor, hand) = support::monitor(Config::default().with_max_recorded_clients(8).unwrap());
    let names: Vec<_> = (0..10).map(|number| format!("client-{number}")).collect();
    names.iter().for_each(|name| record(&monitor, name, 1, 1, false));
    let stats = monitor.snapshot();
    assert_eq!(
        (
            stats.clients.as_ref().unwrap().tracked,
            stats.folded.clients.unwrap(),
            stats.messages.as_ref().unwrap().totals.total
        ),
        (8, 2, 10)
    );
    // Connected clients are not evicted, however long they are silent.
    let stays = monitor.connect("client-0", "app").unwrap();
    hand.advance(Duration::from_secs(61));
    monitor.tick();
    assert_eq!(
        (monitor.snapshot().clients.as_ref().unwrap().tracked, monitor.client("client-0")),
        (1, Some(stays))
    );
    record(&monitor, "client-9", 1, 1, false);
    assert!(monitor.client("client-9").is_some());
}

#[test]
fn c1_c2_c3_connections_come_and_go() {
    let (monitor, hand) = support::monitor(Config::default());
    let connect = |name: &str| monitor.connect(name, "app").unwrap();
    let (ann, ben) = (connect("ann"), connect("ben"));
    hand.advance(Duration::from_secs(10));
    monitor.disconnect(ann).unwrap();
    // A second disconnect is an error and does not change the number of connections.
    assert_eq!(monitor.disconnect(ann), Err(Error::StaleClient));
    let cat = connect("cat");
    hand.advance(Duration::from_secs(20));
    monitor.disconnect(ben).unwrap();
    hand.advance(Duration::from_secs(5));
    let connections = monitor.snapshot().connections;
    assert_eq!((connections.total, connections.active, connections.peak), (3, 1, 2));
    // 10 s and 30 s; the open connection has lasted for 25 s.
    assert_eq!(connections.average_duration_milliseconds, Some(20_000));
    let closed = &connections.closed_milliseconds;
    assert_eq!(
        (closed.as_ref().unwrap().count, closed.as_ref().unwrap().minimum, closed.as_ref().unwrap().maximum),
        (2, Some(10_000), Some(30_000))
    );
    let open = &connections.open_milliseconds;
    assert_eq!(
        (open.as_ref().unwrap().count, open.as_ref().unwrap().average, open.as_ref().unwrap().p50),
        (1, Some(25_000), Some(25_000))
    );
    assert_eq!((connections.connects_last_minute, connections.disconnects_last_minute), (3, 2));
    monitor.tick();
    hand.advance(Duration::from_secs(61));
    monitor.tick();
    let connections = monitor.snapshot().connections;
    assert_eq!((connections.connects_last_minute, connections.disconnects_last_minute), (0, 0));
    monitor.disconnect(cat).unwrap();
    let connections = monitor.snapshot().connections;
    assert_eq!((connections.active, connections.disconnects_last_minute), (0, 1));
    assert_eq!(connections.open_milliseconds.as_ref().unwrap().count, 0);
}

#[test]
fn c4_c5_c6_applications_health_and_idle_ones() {
    let (monitor, hand) =
        support::monitor(Config::default().with_unhealthy_after(Duration::from_secs(30)).unwrap());
    let ann = monitor.connect("ann", "one").unwrap();
    monitor.connect("ben", "two").unwrap();
    let cat = monitor.connect("cat", "two").unwrap();
    assert!(matches!(monitor.connect("ann", "one"), Err(Error::NameTaken(_))));
    monitor.record_reconnect();
    hand.advance(Duration::from_secs(20));
    record(&monitor, "ben", 1, 1, false);
    monitor.disconnect(cat).unwrap();
    hand.advance(Duration::from_secs(11));
    let connections = monitor.snapshot().connections;
    assert_eq!(
        (connections.healthy.unwrap(), connections.unhealthy.unwrap(), connections.reconnect_attempts),
        (1, 1, 2)
    );
    let by_application: Vec<_> = connections
        .applications
        .iter()
        .map(|one| (one.name.as_str(), one.active, one.total, one.last_activity_milliseconds))
        .collect();
    let expected = [
        ("other", 0, 0, None),
        ("one", 1, 1, Some(1_000_000)),
        ("two", 1, 2, Some(1_020_000)),
        // The application under which the message was recorded.
        ("app", 0, 0, Some(1_020_000)),
    ];
    assert_eq!(by_application, expected);
    let idle = |seconds| monitor.idle_clients(Duration::from_secs(seconds));
    assert_eq!((names(&idle(31)), names(&idle(30)), names(&idle(10)).len()), (vec![], vec!["ann"], 2));
    let found = &idle(30)[0];
    assert_eq!((found.id, found.idle_milliseconds, found.healthy), (ann.0, 31_000, false));
    // The host's mark overrides the monitor's, in both directions.
    record(&monitor, "ann", 1, 1, false);
    assert_eq!(monitor.snapshot().connections.unhealthy.unwrap(), 0);
    monitor.mark(ann, true, true).unwrap();
    assert_eq!(
        (monitor.snapshot().connections.healthy.unwrap(), monitor.snapshot().connections.unhealthy.unwrap()),
        (1, 1)
    );
    monitor.mark(ann, true, false).unwrap();
    assert_eq!(monitor.snapshot().connections.unhealthy.unwrap(), 0);
    assert_eq!(monitor.mark(cat, true, true), Err(Error::StaleClient));
}

#[test]
fn c1_to_c4_of_a_routers_own_clients() {
    let (clock, hand) = Clock::manual();
    let (router, mut workers) =
        Builder::new(Config::default().with_workers(1).unwrap()).clock(clock.clone()).build().unwrap();
    let monitor = Monitor::of(&router.source());
    let mut port = router.port().unwrap();
    let ann = port.connect("ann", "peerjs", "one", 1).unwrap();
    port.connect("ben", "peerjs", "two", 2).unwrap();
    assert!(port.connect("ben", "peerjs", "two", 3).is_err());
    hand.advance(Duration::from_secs(4));
    port.disconnect(ann).unwrap();
    workers[0].cycle(clock.raw());
    port.poll(64, |_| ()).unwrap();
    let connections = monitor.snapshot().connections;
    assert_eq!((connections.total, connections.active, connections.peak), (2, 1, 2));
    assert_eq!((connections.average_duration_milliseconds, connections.reconnect_attempts), (Some(4_000), 1));
    assert_eq!((connections.connects_last_minute, connections.disconnects_last_minute), (2, 1));
    let by_application: Vec<_> =
        connections.applications.iter().map(|one| (one.name.as_str(), one.active, one.total)).collect();
    assert_eq!(by_application, [("other", 0, 0), ("one", 0, 1), ("two", 1, 1)]);
    assert_eq!(names(&monitor.idle_clients(Duration::from_secs(3))), ["ben"]);
}
