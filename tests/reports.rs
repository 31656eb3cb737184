//! Reports, rows P1, P2 and X5: on demand in each format, on the timer to each receiver, and the log lines.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test")]

use corelane::config::Config;
use corelane::monitor::alert::Notification;
use corelane::monitor::{Format, Monitor, Target};
use corelane::record::{Measured, RecordedMessage};
use std::sync::mpsc::channel;
use std::sync::{Arc, Mutex};
use std::time::Duration;

mod support;
use support::{PATIENCE, until};

fn record(monitor: &Monitor, client: &str, milliseconds: u64) {
    let measured =
        Measured { bytes: 2_048, processing: Duration::from_millis(milliseconds), ..Measured::default() };
    monitor.record(&RecordedMessage {
        protocol: "p",
        message_type: "offer",
        application: "app",
        client,
        measured,
    });
}

/// The figures inside an HTML report. No name ends their element: the page has as many scripts as the empty one.
fn held(page: &str) -> serde_json::Value {
    let scripts = |page: &str| (page.matches("<script").count(), page.matches("</script").count());
    assert_eq!(scripts(page), scripts(corelane::monitor::page()));
    let start = page.find("id=\"figures\">").unwrap() + "id=\"figures\">".len();
    let length = page[start..].find("</script>").unwrap();
    serde_json::from_str(&page[start..start + length]).unwrap()
}

#[test]
fn on_demand_each_format_says_what_is() {
    let (monitor, hand) = support::monitor("high_connection_threshold=1".parse().unwrap());
    let evil = "<script>alert('&\")</script>";
    monitor.connect(evil, "app").unwrap();
    monitor.connect("ben", "app").unwrap();
    record(&monitor, evil, 2_000);
    hand.advance(Duration::from_secs(5));
    monitor.tick();
    let text = monitor.report(Format::Text);
    support::assert_lines(
        &text,
        &[
            "corelane report, 1970-01-01 00:16:45 UTC",
            "Figures since 1970-01-01 00:16:40 UTC (resets: 0); up for 5.00 s.",
            "Alerts, since 1970-01-01 00:16:40 UTC, never reset: 1 raised, 0 resolved",
            "Messages: Total 1, Succeeded 1, Success rate 100.00 %, Failed 0, Expired 0, Slow 1, In 2.0 KiB, Out 0 B",
            "              Average     p50     p90     p95     p99   p99.9  Maximum",
            "  Handling     2.00 s  2.00 s  2.00 s  2.00 s  2.00 s  2.00 s   2.00 s",
            "Handling times: Range 1s-5s, Messages 1",
            "Connections: Open 2, Peak 2, Total 2, Connects (minute) 2, Disconnects (minute) 0, Healthy 2, Unhealthy 0, \
         Reconnect attempts 0",
        ],
    );
    // The page shows the figures that it holds; tests/conformance/page.mjs looks at it in a browser.
    let held = held(&monitor.report(Format::Html));
    assert_eq!(held["stats"]["alerts"]["current"][0]["id"], "connections");
    assert_eq!(held["stats"]["clients"]["by_messages"][0]["name"], evil);
    let spans: Vec<_> = held["timelines"].as_array().unwrap().iter().map(|one| &one["span"]).collect();
    assert_eq!(spans, ["minute", "hour", "day"]);
    assert_eq!(held["timelines"][0]["messages"]["count"].as_array().unwrap().last().unwrap(), 1);
    let json: serde_json::Value = serde_json::from_str(&monitor.report(Format::Json)).unwrap();
    assert_eq!((json["schema_version"].as_u64(), json["messages"]["total"].as_u64()), (Some(3), Some(1)));
    for part in ["types", "connections", "system", "routing", "alerts", "clients", "custom", "monitor"] {
        assert!(json.get(part).is_some(), "{part}");
    }
}

#[test]
fn on_the_timer_to_a_callback_and_a_file_and_when_it_is_changed() {
    let (monitor, hand) = support::monitor(Config::default());
    let folder = std::env::temp_dir().join(format!("corelane-reports-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let (tell, told) = channel();
    monitor.on_report(Format::Text, move |report| tell.send(report.to_owned()).unwrap()).unwrap();
    monitor.report_to(Format::Json, Target::File(folder.join("report.json"))).unwrap();
    // At the start an unwritable file is an error. Later it is counted, and raises an alert until a report can be
    // written again.
    let later = folder.join("later");
    assert!(monitor.report_to(Format::Text, Target::File(later.join("report"))).is_err());
    std::fs::create_dir(&later).unwrap();
    let lost = monitor.report_to(Format::Text, Target::File(later.join("report"))).unwrap();
    std::fs::remove_dir(&later).unwrap();
    let tick = |seconds| {
        hand.advance(Duration::from_secs(seconds));
        monitor.tick();
    };
    tick(59);
    assert_eq!(monitor.snapshot().reports.made, 0);
    tick(1);
    assert!(told.recv_timeout(PATIENCE).unwrap().starts_with("corelane report, "));
    until(|| monitor.snapshot().reports.failed > 0 && folder.join("report.json").exists());
    let file = std::fs::read_to_string(folder.join("report.json")).unwrap();
    let file: serde_json::Value = serde_json::from_str(&file).unwrap();
    assert_eq!(file["time_milliseconds"], 1_060_000);
    let reports = monitor.snapshot().reports;
    assert_eq!((reports.made, reports.failed, reports.failing), (1, 1, 1));
    assert_eq!((reports.dropped, reports.panics), (0, 0));
    let poll = monitor.alerts().unwrap();
    let alerts = |poll: &corelane::monitor::AlertPoll| {
        let all = std::iter::from_fn(|| poll.next()).filter(|alert| alert.name == "report_file");
        all.map(|alert| alert.notification.unwrap()).collect::<Vec<_>>()
    };
    tick(5);
    assert_eq!(alerts(&poll), [Notification::Raised]);
    assert!(monitor.remove_report(lost, PATIENCE));
    tick(5);
    assert_eq!((monitor.snapshot().reports.failing, alerts(&poll)), (0, vec![Notification::Resolved]));
    monitor.set("report_interval_ms", "1000").unwrap();
    tick(1);
    told.recv_timeout(PATIENCE).unwrap();
    monitor.set("report_interval_ms", "0").unwrap();
    tick(600);
    assert_eq!(monitor.snapshot().reports.made, 2);
    std::fs::remove_dir_all(&folder).unwrap();
}

#[test]
fn a_receiver_that_blocks_keeps_nobody_else_waiting() {
    let (monitor, hand) = support::monitor("report_interval_ms=1000".parse().unwrap());
    let (entered, is_inside) = channel();
    let (leave, may_leave) = channel::<()>();
    let may_leave = Mutex::new(may_leave);
    let blocks = monitor.on_report(Format::Html, move |_| {
        entered.send(()).unwrap();
        let _ = may_leave.lock().unwrap().recv();
    });
    let (tell, told) = channel();
    monitor.on_report(Format::Text, move |_| tell.send(()).unwrap()).unwrap();
    for round in 0..8 {
        hand.advance(Duration::from_secs(1));
        monitor.tick();
        told.recv_timeout(PATIENCE).unwrap();
        if round == 0 {
            is_inside.recv_timeout(PATIENCE).unwrap();
        }
    }
    // One report is in the callback, four wait, and the three oldest of the others were dropped.
    let reports = monitor.snapshot().reports;
    assert_eq!((reports.made, reports.dropped), (8, 3));
    drop(leave);
    assert!(monitor.remove_report(blocks.unwrap(), PATIENCE));
}

#[test]
fn slow_messages_and_alerts_are_logged_where_that_is_on_and_alike_ones_once() {
    let (listener, log) = support::log();
    tracing::subscriber::with_default(listener, || {
        let (monitor, hand) = support::monitor(
            // The test must not depend on the load of the machine.
            "high_connection_threshold=1\nhigh_cpu_threshold=1".parse().unwrap(),
        );
        let tick = || {
            hand.advance(Duration::from_secs(5));
            monitor.tick();
            std::mem::take(&mut *log.lock().unwrap())
        };
        record(&monitor, "ann", 2_000);
        assert_eq!(tick(), []);
        monitor.set("enable_logging", "on").unwrap();
        (0..5).for_each(|_| record(&monitor, "ben", 3_000));
        monitor.connect("ann", "").unwrap();
        monitor.connect("ben", "").unwrap();
        let logged = tick();
        let targets: Vec<_> = logged.iter().map(|(target, _)| target.as_str()).collect();
        assert_eq!(targets, ["corelane::slow", "corelane::alert"]);
        assert!(
            logged[0].1.contains("client=\"ben\"") && logged[0].1.contains("service_nanoseconds=3000000000")
        );
        assert!(logged[1].1.contains("id=\"connections\"") && logged[1].1.contains("current_value=2.0"));
        (0..5).for_each(|_| record(&monitor, "ben", 3_000));
        assert_eq!(tick(), []);
        // Only the new slow client is logged, even though a known one was slow after it.
        record(&monitor, "dan", 3_000);
        record(&monitor, "ben", 3_000);
        let logged = tick();
        assert!(logged.len() == 1 && logged[0].1.contains("client=\"dan\""), "{logged:?}");
        monitor.set("enable_logging", "off").unwrap();
        record(&monitor, "cat", 3_000);
        assert_eq!(tick(), []);
    });
}

#[test]
fn a_subscriber_may_ask_the_monitor() {
    let (monitor, hand) = support::monitor("enable_logging=on".parse().unwrap());
    let (asked, asks) = (Arc::new(Mutex::new(0)), monitor.clone());
    let count = Arc::clone(&asked);
    let listener = support::Listener(move |_: &tracing::Event<'_>| {
        assert_eq!(asks.snapshot().messages.as_ref().unwrap().totals.slow, 1);
        *count.lock().unwrap() += 1;
    });
    tracing::subscriber::with_default(listener, || {
        record(&monitor, "ann", 2_000);
        hand.advance(Duration::from_secs(5));
        monitor.tick();
    });
    assert_eq!(*asked.lock().unwrap(), 1);
}

#[test]
fn a_name_cannot_write_lines_of_its_own() {
    let (monitor, hand) = support::monitor(Config::default());
    let forged = "x\n\nalerts: 0 now\u{1b}[2J";
    monitor
        .add_rule(corelane::monitor::alert::Rule::above("hogs", "clients.by_messages.*.messages", 0.5))
        .unwrap();
    record(&monitor, forged, 2_000);
    hand.advance(Duration::from_secs(5));
    monitor.tick();
    let report = monitor.report(Format::Text);
    assert!(
        report.contains(r"x\n\nalerts: 0 now\u{1b}[2J") && report.contains("never reset: 1 raised"),
        "{report}"
    );
    assert!(!report.contains('\u{1b}') && !report.contains("\nalerts"), "{report}");
}

/// After a reset one page has figures of two ages. Each states its start.
#[test]
fn every_figure_says_since_when_it_counts() {
    let bench = support::Bench::of("workers=1".parse().unwrap(), |builder| builder);
    let monitor = Monitor::of(&bench.router.source());
    bench.hands.advance(Duration::from_secs(60));
    monitor.reset();
    let stats = monitor.snapshot();
    assert_eq!((stats.started_milliseconds, stats.since_milliseconds), (1_000_000, 1_060_000));
    let text = monitor.report(Format::Text);
    let (start, reset) = ("1970-01-01 00:16:40 UTC", "1970-01-01 00:17:40 UTC");
    assert!(text.contains(&format!("Figures since {reset} (resets: 1)")), "{text}");
    for part in ["Routing", "Alerts", "The monitor itself"] {
        assert!(text.contains(&format!("\n{part}, since {start}, never reset: ")), "{part}: {text}");
    }
}
