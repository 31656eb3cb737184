//! Figures of each client, the top lists, and idle clients.

use super::{Bench, MILLISECOND, START, offer, shown, took};
use corelane::clients::ClientId;
use corelane::error::{RecordConnectError, StaleClient};
use corelane::monitor::ClientFigures;
use corelane::record::{Measured, RecordedMessage};
use serde_json::{Value, json};
use std::time::Duration;

/// A client without any activity since it connected at [`START`].
fn client(id: ClientId, name: &str) -> Value {
    json!({
        "id": id.0, "name": name, "application": "app", "protocol": null, "recorded": true, "connected": true,
        "messages": 0, "errors": 0, "bytes_in": 0, "bytes_out": 0,
        "average_nanoseconds": null, "maximum_nanoseconds": 0, "last_activity_milliseconds": START,
        "connected_for_milliseconds": 0, "idle_milliseconds": 0,
        "outstanding_messages": 0, "outstanding_bytes": 0, "outstanding_peak": 0, "undelivered": 0, "healthy": true,
    })
}

fn with(mut figures: Value, changes: &[(&str, Value)]) -> Value {
    for (field, value) in changes {
        assert!(figures.get(field).is_some(), "{field}");
        figures[field] = value.clone();
    }
    figures
}

fn names(list: &[ClientFigures]) -> Vec<&str> {
    list.iter().map(|client| &*client.name).collect()
}

/// All connected clients: those idle for longer than zero, after the clock has advanced.
fn connected(bench: &Bench) -> Vec<ClientFigures> {
    bench.monitor.idle_clients(Duration::ZERO)
}

#[test]
fn every_figure_of_a_client() {
    let bench = Bench::new(&[]);
    let ann = bench.monitor.connect("ann", "app").unwrap();
    bench.advance(1_000);
    assert_eq!(bench.stats().clients.as_ref().unwrap().tracked, 1);
    let silent = [("connected_for_milliseconds", json!(1_000)), ("idle_milliseconds", json!(1_000))];
    assert_eq!(shown(&connected(&bench)), json!([with(client(ann, "ann"), &silent)]));

    let measured = |failed, bytes, waited, took| Measured {
        failed,
        reason: None,
        bytes,
        queue_wait: Duration::from_nanos(waited),
        processing: Duration::from_nanos(took),
    };
    // One message for each way to record. Queue wait counts.
    bench.monitor.record(&offer("ann", measured(false, 100, 10, 20)));
    let mut recorder = bench.monitor.recorder();
    let labels = recorder.labels("peerjs", "OFFER", "app");
    assert_eq!((recorder.client("ann"), bench.monitor.client("ann")), (Some(ann), Some(ann)));
    recorder.record(labels, Some(ann), measured(true, 200, 40, 60));
    bench.monitor.record_labelled(labels, Some(ann), measured(true, 1, 0, 1));
    bench.monitor.record_sent(ann, 5_000).unwrap();
    bench.monitor.record_sent(ann, 1).unwrap();
    bench.advance(250);
    let active = [
        ("messages", json!(3)),
        ("errors", json!(2)),
        ("bytes_in", json!(301)),
        ("bytes_out", json!(5_001)),
        ("average_nanoseconds", json!(43)), // 131 / 3
        ("maximum_nanoseconds", json!(100)),
        ("last_activity_milliseconds", json!(START + 1_000)),
        ("connected_for_milliseconds", json!(1_250)),
        ("idle_milliseconds", json!(250)),
    ];
    let expected = with(client(ann, "ann"), &active);
    assert_eq!(shown(&connected(&bench)), json!([expected]));
    let stats = bench.stats();
    let lists = json!({
        "tracked": 1, "by_messages": [expected], "by_errors": [expected], "by_bytes_in": [expected],
        "by_bytes_out": [expected], "by_average": [expected], "by_maximum": [expected], "by_outstanding": [],
        "by_outstanding_peak": [], "by_undelivered": [],
    });
    assert_eq!(shown(&stats.clients), lists);
    assert_eq!(
        stats.messages.as_ref().unwrap().totals.bytes_out,
        5_001,
        "bytes that hosts report count as written"
    );

    // After the disconnect the client has no figures, and its old handle affects no later client of the same name.
    bench.monitor.disconnect(ann).unwrap();
    assert_eq!((bench.stats().clients.as_ref().unwrap().tracked, bench.monitor.client("ann")), (0, None));
    assert_eq!(bench.monitor.record_sent(ann, 1), Err(StaleClient));
    bench.monitor.record_labelled(labels, Some(ann), took(1));
    let again = bench.monitor.connect("ann", "app").unwrap();
    assert_ne!(again, ann);
    bench.advance(1);
    let fresh = [
        ("last_activity_milliseconds", json!(START + 1_250)),
        ("connected_for_milliseconds", json!(1)),
        ("idle_milliseconds", json!(1)),
    ];
    assert_eq!(shown(&connected(&bench)), json!([with(client(again, "ann"), &fresh)]));
    assert_eq!(bench.stats().messages.as_ref().unwrap().totals.total, 4, "counted without a client");
}

#[test]
fn each_list_has_its_own_order_and_no_more_than_it_may() {
    let bench = Bench::new(&[("top_clients", "3")]);
    // Per client: messages and how many of them failed; bytes and nanoseconds of each message; bytes written.
    let clients = [
        ("a", 1, 1, 50, 70, 0),
        ("b", 2, 0, 10, 20, 400),
        ("c", 3, 3, 5, 10, 100),
        ("d", 4, 2, 1, 90, 300),
        ("e", 0, 0, 0, 0, 200),
    ];
    for (name, messages, failed, bytes, nanoseconds, written) in clients {
        let id = bench.monitor.connect(name, "app").unwrap();
        for message in 0..messages {
            let measured = Measured { failed: message < failed, bytes, ..took(nanoseconds) };
            bench.monitor.record(&offer(name, measured));
        }
        bench.monitor.record_sent(id, written).unwrap();
    }
    // One long message of an otherwise fast client.
    bench.monitor.record(&offer("c", took(80)));
    let top = bench.stats().clients;
    assert_eq!(top.as_ref().unwrap().tracked, 5);
    assert_eq!(
        names(&top.as_ref().unwrap().by_messages),
        ["c", "d", "b"],
        "clients with equal figures are in the order of their slots"
    );
    assert_eq!(names(&top.as_ref().unwrap().by_errors), ["c", "d", "a"]);
    assert_eq!(names(&top.as_ref().unwrap().by_bytes_in), ["a", "b", "c"]);
    assert_eq!(names(&top.as_ref().unwrap().by_bytes_out), ["b", "d", "e"]);
    assert_eq!(names(&top.as_ref().unwrap().by_average), ["d", "a", "c"]);
    assert_eq!(names(&top.as_ref().unwrap().by_maximum), ["d", "c", "a"]);
    assert_eq!(names(&top.as_ref().unwrap().by_outstanding), [""; 0], "empty without a router");
    // A list is as long as the number of clients if the limit is larger. The limit can be changed at run time.
    bench.monitor.set("top_clients", "1000").unwrap();
    let top = bench.stats().clients;
    assert_eq!(
        names(&top.as_ref().unwrap().by_messages),
        ["c", "d", "b", "a"],
        "clients without any messages are left out"
    );
    assert_eq!(names(&top.as_ref().unwrap().by_bytes_out), ["b", "d", "e", "c"]);
    bench.monitor.set("top_clients", "1").unwrap();
    assert_eq!(names(&bench.stats().clients.as_ref().unwrap().by_messages), ["c"]);
}

#[test]
fn a_name_that_messages_are_only_recorded_of_is_not_connected() {
    let bench = Bench::new(&[]);
    bench.monitor.record(&offer("ann", took(10)));
    let ann = bench.monitor.client("ann").unwrap();
    bench.advance(1_000);
    let recorded = [
        ("connected", json!(false)),
        ("messages", json!(1)),
        ("average_nanoseconds", json!(10)),
        ("maximum_nanoseconds", json!(10)),
        ("connected_for_milliseconds", json!(1_000)),
        ("idle_milliseconds", json!(1_000)),
    ];
    let stats = bench.stats();
    assert_eq!(
        shown(&stats.clients.as_ref().unwrap().by_messages),
        json!([with(client(ann, "ann"), &recorded)])
    );
    let connections = &stats.connections;
    assert_eq!((connections.total, connections.active, connections.peak), (0, 0, 0));
    assert_eq!(
        (
            connections.healthy.unwrap(),
            connections.unhealthy.unwrap(),
            connections.open_milliseconds.as_ref().unwrap().count
        ),
        (0, 0, 0)
    );
    assert_eq!(connected(&bench), [], "a recorded client is not a connection, so it is not idle");

    // The client connects: it is the same client and keeps its figures. This is its first connect.
    assert_eq!(bench.monitor.connect("ann", "app"), Ok(ann));
    let stats = bench.stats();
    let connections = &stats.connections;
    assert_eq!((connections.total, connections.active, connections.reconnect_attempts), (1, 1, 0));
    let row = &stats.clients.as_ref().unwrap().by_messages[0];
    assert_eq!((row.connected, row.messages, row.connected_for_milliseconds), (true, 1, 0));
    assert_eq!(bench.monitor.connect("ann", "app"), Err(RecordConnectError::NameTaken(ann)));
    assert_eq!(bench.stats().connections.reconnect_attempts, 1);
}

#[test]
fn a_recorded_name_connects_with_the_application_that_it_comes_with() {
    let bench = Bench::new(&[]);
    bench.monitor.record(&RecordedMessage { application: "", ..offer("ann", took(1)) });
    let ann = bench.monitor.connect("ann", "app").unwrap();
    let active = || -> Vec<_> {
        let applications = bench.stats().connections.applications;
        applications.into_iter().map(|one| (one.name, one.total, one.active)).collect()
    };
    assert_eq!(active(), [("other".to_owned(), 0, 0), ("app".to_owned(), 1, 1)]);
    assert_eq!(bench.stats().clients.as_ref().unwrap().by_messages[0].application, "app");
    bench.monitor.disconnect(ann).unwrap();
    assert_eq!(active(), [("other".to_owned(), 0, 0), ("app".to_owned(), 1, 0)]);
}

#[test]
fn a_recorded_name_that_connects_is_not_silent_since_it_was_recorded() {
    let bench = Bench::new(&[("unhealthy_after_ms", "60000")]);
    bench.monitor.record(&offer("ann", took(1)));
    bench.advance(100_000);
    bench.monitor.connect("ann", "app").unwrap();
    bench.advance(7);
    assert_eq!(bench.monitor.idle_clients(Duration::from_millis(7)), []);
    let stats = bench.stats();
    let ann = &stats.clients.as_ref().unwrap().by_messages[0];
    assert_eq!((ann.idle_milliseconds, ann.connected_for_milliseconds, ann.healthy), (7, 7, true));
    assert_eq!(ann.last_activity_milliseconds, START + 100_000);
    assert_eq!((stats.connections.healthy.unwrap(), stats.connections.unhealthy.unwrap()), (1, 0));
}

#[test]
fn connections_come_before_names_that_were_only_recorded() {
    let bench = Bench::new(&[("max_recorded_clients", "16")]);
    let names: Vec<_> = (0..16).map(|number| format!("name {number}")).collect();
    for name in &names {
        bench.advance(1);
        bench.monitor.record(&offer(name, took(1)));
    }
    bench.monitor.record(&offer(&names[0], took(1)));
    let stale = bench.monitor.client("name 1").unwrap();
    // There is no tick, and no client counts as silent. An eighth of the clients is evicted: the two with the oldest
    // activity.
    bench.monitor.connect("one", "app").unwrap();
    let known = || -> Vec<bool> { names.iter().map(|name| bench.monitor.client(name).is_some()).collect() };
    assert_eq!(known().iter().position(|known| !known), Some(1));
    assert_eq!(known().iter().filter(|known| !**known).count(), 2, "{:?}", known());
    let connected: Vec<_> =
        (2..=16).map(|number| bench.monitor.connect(&format!("c {number}"), "app").unwrap()).collect();
    assert_eq!(known(), [false; 16]);
    assert_eq!(bench.monitor.connect("c 17", "app"), Err(RecordConnectError::TooManyClients(16)));
    let stats = bench.stats();
    assert_eq!((stats.connections.active, stats.connections.disconnects_last_minute), (16, 0));
    assert_eq!((stats.clients.as_ref().unwrap().tracked, stats.folded.clients.unwrap()), (16, 0));
    // A message recorded with the handle of an evicted client counts without a client.
    let labels = bench.monitor.labels("peerjs", "OFFER", "app");
    bench.monitor.record_labelled(labels, Some(stale), took(1));
    bench.monitor.recorder().record(labels, Some(stale), took(1));
    let stats = bench.stats();
    assert_eq!(
        (
            stats.messages.as_ref().unwrap().totals.total,
            stats.folded.clients.unwrap(),
            shown(&stats.clients.as_ref().unwrap().by_messages)
        ),
        (19, 2, json!([]))
    );
    bench.monitor.record(&offer("name 1", took(1)));
    assert_eq!(bench.monitor.client("name 1"), None);
    connected.into_iter().for_each(|client| bench.monitor.disconnect(client).unwrap());
    bench.monitor.record(&offer("name 1", took(1)));
    assert!(bench.monitor.client("name 1").is_some());
}

#[test]
fn messages_of_who_is_gone_are_counted_as_nobodys() {
    let bench = Bench::new(&[("max_recorded_clients", "8"), ("unhealthy_after_ms", "60000")]);
    let ann = bench.monitor.connect("ann", "app").unwrap();
    (0..7).for_each(|number| bench.monitor.record(&offer(&format!("name {number}"), took(1))));
    let silent = bench.monitor.client("name 0").unwrap();
    bench.advance(60_001);
    bench.monitor.tick();
    bench.monitor.disconnect(ann).unwrap();
    // Their client slots are not reused yet.
    let labels = bench.monitor.labels("peerjs", "OFFER", "app");
    for gone in [ann, silent] {
        bench.monitor.record_labelled(labels, Some(gone), took(1));
        bench.monitor.recorder().record(labels, Some(gone), took(1));
    }
    let stats = bench.stats();
    assert_eq!(
        (
            stats.clients.as_ref().unwrap().tracked,
            stats.folded.clients.unwrap(),
            stats.messages.as_ref().unwrap().totals.total
        ),
        (0, 4, 11)
    );
}

#[test]
fn who_comes_again_is_told_so_where_the_table_is_full_too() {
    let bench = Bench::new(&[("max_recorded_clients", "8")]);
    let ann = bench.monitor.connect("ann", "app").unwrap();
    (0..7).for_each(|number| bench.monitor.record(&offer(&format!("name {number}"), took(1))));
    assert_eq!(bench.monitor.connect("ann", "app"), Err(RecordConnectError::NameTaken(ann)));
    let stats = bench.stats();
    assert_eq!((stats.clients.as_ref().unwrap().tracked, stats.connections.reconnect_attempts), (8, 1));
    (0..7).for_each(|number| assert!(bench.monitor.connect(&format!("name {number}"), "app").is_ok()));
    assert_eq!(bench.monitor.connect("ann", "app"), Err(RecordConnectError::NameTaken(ann)));
    assert_eq!(bench.monitor.connect("ben", "app"), Err(RecordConnectError::TooManyClients(8)));
    assert_eq!(bench.stats().connections.reconnect_attempts, 2);
}

#[test]
fn silent_names_make_room_where_nobody_ticks_but_not_for_silence_that_nobody_heard() {
    let bench = Bench::new(&[("max_recorded_clients", "8"), ("unhealthy_after_ms", "60000")]);
    (0..8).for_each(|number| bench.monitor.record(&offer(&format!("name {number}"), took(1))));
    bench.monitor.set("detailed_stats", "off").unwrap();
    bench.advance(60_001);
    bench.monitor.tick();
    bench.monitor.set("detailed_stats", "on").unwrap();
    bench.monitor.tick();
    bench.advance(60_000);
    assert_eq!(bench.stats().clients.as_ref().unwrap().tracked, 8);
    bench.advance(1);
    assert_eq!(bench.stats().clients.as_ref().unwrap().tracked, 0);
}

#[test]
fn there_are_figures_for_so_many_clients_and_the_rest_is_counted() {
    let bench = Bench::new(&[("max_recorded_clients", "8"), ("unhealthy_after_ms", "60000")]);
    for name in ["a", "b", "c", "d"] {
        bench.monitor.record(&offer(name, took(1)));
    }
    let kept: Vec<_> = ["e", "f", "g", "h"].map(|name| bench.monitor.connect(name, "app").unwrap()).into();
    bench.monitor.record(&offer("i", took(1)));
    bench.monitor.record(&offer("i", took(1)));
    bench.monitor.record(&offer(&"long".repeat(17), took(1)));
    assert_eq!(bench.monitor.client("i"), None);
    assert_eq!(bench.monitor.connect(&"long".repeat(17), "app"), Err(RecordConnectError::NameLength(68)));
    // A client that already has a slot needs no new one.
    let a = bench.monitor.connect("a", "app").unwrap();
    let stats = bench.stats();
    assert_eq!(
        (stats.folded.clients.unwrap(), stats.clients.as_ref().unwrap().tracked, stats.connections.active),
        (3, 8, 5)
    );
    assert_eq!(stats.messages.as_ref().unwrap().totals.total, 7, "still counted");

    // Clients that were only recorded are evicted after they have been silent for the set time; connected clients
    // never are.
    bench.advance(60_000);
    bench.monitor.tick();
    assert_eq!(bench.stats().clients.as_ref().unwrap().tracked, 8, "exactly that long is not longer");
    bench.monitor.record(&offer("b", took(1)));
    bench.advance(1);
    bench.monitor.tick();
    assert_eq!(bench.stats().clients.as_ref().unwrap().tracked, 6);
    let known = ["a", "b", "c", "d", "e", "h"].map(|name| bench.monitor.client(name).is_some());
    assert_eq!(known, [true, true, false, false, true, true]);
    bench.monitor.record(&offer("i", took(1)));
    assert!(bench.monitor.client("i").is_some());
    let stats = bench.stats();
    assert_eq!((stats.folded.clients.unwrap(), stats.connections.active), (3, 5));
    assert_eq!(
        stats.connections.closed_milliseconds.as_ref().unwrap().count,
        0,
        "none of them was connected"
    );
    kept.into_iter().chain([a]).for_each(|client| bench.monitor.disconnect(client).unwrap());
}

#[test]
fn connections_that_have_been_silent_for_longer_than_asked_are_listed() {
    let bench = Bench::new(&[]);
    let ann = bench.monitor.connect("ann", "app").unwrap();
    bench.advance(1_000);
    let ben = bench.monitor.connect("ben", "app").unwrap();
    bench.advance(1_000);
    bench.monitor.record(&offer("eve", took(1))); // Not connected, so there is nothing to close.
    let idle = |nanoseconds| -> Vec<String> {
        let idle = bench.monitor.idle_clients(Duration::from_nanos(nanoseconds));
        idle.into_iter().map(|client| client.name).collect()
    };
    assert_eq!(idle(1_000 * MILLISECOND - 1), ["ann", "ben"]);
    assert_eq!(idle(1_000 * MILLISECOND), ["ann"], "only clients idle for longer than that");
    assert_eq!(idle(2_000 * MILLISECOND), [""; 0]);
    bench.monitor.record(&offer("ann", took(1)));
    assert_eq!(idle(1_000 * MILLISECOND - 1), ["ben"], "a message is activity");
    bench.monitor.record_sent(ben, 1).unwrap();
    assert_eq!(idle(1_000 * MILLISECOND - 1), ["ben"], "bytes written to the client are not activity");
    bench.monitor.disconnect(ann).unwrap();
    bench.advance(10_000);
    assert_eq!(idle(0), ["ben"]);
    assert_eq!(bench.monitor.idle_clients(Duration::MAX), []);
}
