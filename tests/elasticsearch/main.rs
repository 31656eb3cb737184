//! The export to Elasticsearch: against a scripted server (every answer that a server can give), and against a real
//! OpenSearch if `scripts/elasticsearch.sh` runs the test.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test")]

mod opensearch;
mod scripted;

use corelane::clock::Clock;
use corelane::config::Config;
use corelane::elasticsearch::{Credentials, ExportFigures, Exporter, Options};
use corelane::error::ExportError;
use corelane::metrics::Descriptor;
use corelane::monitor::Monitor;
use corelane::monitor::alert::Rule;
use corelane::record::{Measured, RecordedMessage};
use scripted::{Reply, Scripted};
use std::collections::BTreeSet;
use std::time::{Duration, Instant};

fn monitor() -> Monitor {
    Monitor::with_clock(Config::default(), Clock::new()).unwrap()
}

fn record(monitor: &Monitor, client: &str, milliseconds: u64) {
    monitor.record(&RecordedMessage {
        client,
        message_type: "offer",
        measured: Measured { processing: Duration::from_millis(milliseconds), ..Measured::default() },
        ..RecordedMessage::default()
    });
}

fn options(url: &str) -> Options {
    let mut options = Options::new(url);
    options.interval = Duration::from_secs(1);
    // A server of these tests that gets no processor for a while has not failed.
    options.request_timeout = Duration::from_secs(60);
    options
}

/// Waits for a condition on the figures.
fn wait_for(exporter: &Exporter, what: &str, is: impl Fn(&ExportFigures) -> bool) -> ExportFigures {
    let start = Instant::now();
    loop {
        let figures = exporter.figures();
        if is(&figures) {
            return figures;
        }
        assert!(start.elapsed() < Duration::from_secs(60), "{what}: {figures:?}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

const PATIENCE: Duration = Duration::from_secs(60);

/// Each series of a metric of the host is a document. A counter or histogram gets another only if it has changed.
#[test]
fn metrics_of_the_host_become_documents() {
    let (server, monitor) = (Scripted::start(|_, _| Reply::ok()), monitor());
    let joins = Descriptor::new("joins_total", "Joins of conferences").labels(&["region"]);
    let joins = monitor.counter(&joins).unwrap();
    joins.with(&["eu"]).unwrap().add(3);
    joins.with(&["us"]).unwrap().add(4);
    let level = monitor.gauge(&Descriptor::new("level_ratio", "Filled").unit("ratio")).unwrap();
    level.with(&[]).unwrap().set(0.25);
    let endless = monitor.gauge(&Descriptor::new("endless", "Infinite")).unwrap();
    endless.with(&[]).unwrap().set(f64::INFINITY);
    let setup = monitor.histogram(&Descriptor::new("setup_seconds", "Set-up").unit("seconds")).unwrap();
    setup.with(&[]).unwrap().record(2_000_000);
    let mut options = options(&server.url());
    options.interval = Duration::from_secs(1);
    let exporter = Exporter::start(&monitor, options).unwrap();
    let all = || -> Vec<serde_json::Value> {
        let documents = server.documents().into_iter();
        documents.filter(|one| one.stream == "metrics-corelane.custom-default").map(|one| one.body).collect()
    };
    let of = |name: &str, label: Option<&str>| -> Vec<serde_json::Value> {
        let label = serde_json::Value::from(label.into_iter().collect::<Vec<_>>());
        all().into_iter().filter(|one| one["name"] == name && one["labels"] == label).collect()
    };
    let start = Instant::now();
    while of("level_ratio", None).len() < 2 {
        assert!(start.elapsed() < PATIENCE);
        std::thread::sleep(Duration::from_millis(20));
    }
    joins.with(&["eu"]).unwrap().add(2);
    assert_eq!(exporter.stop(PATIENCE).rejected, 0);
    let eu = of("joins_total", Some("region=eu"));
    assert_eq!(eu.iter().map(|one| one["value"].as_f64()).collect::<Vec<_>>(), [Some(3.0), Some(5.0)]);
    assert_eq!((&eu[0]["kind"], of("joins_total", Some("region=us")).len()), (&"counter".into(), 1));
    let level = of("level_ratio", None);
    assert_eq!((level[0]["value"].as_f64(), &level[0]["unit"]), (Some(0.25), &"ratio".into()));
    assert!(of("endless", None)[0].get("value").is_none());
    let setup = of("setup_seconds", None);
    assert_eq!((setup.len(), &setup[0]["histogram"]["count"]), (1, &1.into()));
}

#[test]
fn figures_and_events_become_documents() {
    let (server, monitor) = (Scripted::start(|_, _| Reply::ok()), monitor());
    let mut options = options(&server.url());
    options.service = "signal".to_owned();
    options.namespace = "tests".to_owned();
    options.credentials = Credentials::Basic { user: "ann".to_owned(), password: "s3cret: ü".to_owned() };
    let exporter = Exporter::start(&monitor, options).unwrap();
    let ann = monitor.connect("ann\"\n{}", "shop").unwrap();
    monitor.add_rule(Rule::above("crowd", "connections.active", 0.5)).unwrap();
    record(&monitor, "ann\"\n{}", 2_000);
    monitor.tick();
    monitor.disconnect(ann).unwrap();
    let figures = exporter.stop(PATIENCE);
    assert_eq!(
        (figures.dropped, figures.rejected, figures.waiting, figures.missed),
        (0, 0, 0, 0),
        "{figures:?}"
    );
    let documents = server.documents();
    assert_eq!(figures.sent, documents.len() as u64);
    let of = |stream: &str| -> Vec<&serde_json::Value> {
        let name = format!("{stream}-tests");
        documents.iter().filter(|one| one.stream == name).map(|one| &one.body).collect()
    };
    let summary = of("metrics-corelane.summary");
    let last = summary.last().unwrap();
    assert_eq!(last["messages"]["total"], 1);
    assert_eq!(last["service"]["name"], "signal");
    assert_eq!(last["connections"]["total"], 1);
    assert!(last["@timestamp"].as_u64().unwrap() > 1_700_000_000_000);
    let series = of("metrics-corelane.series");
    assert!(series.iter().any(|one| one["kind"] == "type" && one["name"] == "offer" && one["total"] == 1));
    // A series without a new message gets no second document.
    assert_eq!(series.iter().filter(|one| one["kind"] == "type" && one["name"] == "offer").count(), 1);
    let slow = of("logs-corelane.slow");
    assert_eq!(slow.len(), 1);
    assert_eq!((&slow[0]["client"], &slow[0]["new"]), (&"ann\"\n{}".into(), &1.into()));
    let alerts = of("logs-corelane.alerts");
    assert!(alerts.iter().any(|one| one["name"] == "crowd" && one["state"] == "firing"), "{alerts:?}");
    let connections = of("logs-corelane.connections");
    let events: Vec<_> = connections.iter().map(|one| one["event"].as_str().unwrap()).collect();
    assert_eq!(events, ["connect", "disconnect"]);
    assert_eq!(connections[1]["application"], "shop");
    assert!(connections[1]["lived_milliseconds"].is_u64());
    // Ids are unique, every request carries the credentials, and the templates come before the documents.
    let ids: BTreeSet<_> = documents.iter().map(|one| one.id.clone()).collect();
    assert_eq!(ids.len(), documents.len());
    let requests = server.requests();
    assert!(requests.iter().all(|one| one.authorization == "Basic YW5uOnMzY3JldDogw7w="), "{requests:?}");
    let paths: Vec<_> =
        requests.iter().take(3).map(|one| one.path.split('?').next().unwrap().to_owned()).collect();
    assert_eq!(paths, ["/_index_template/corelane-metrics", "/_index_template/corelane-logs", "/_bulk"]);
}

#[test]
fn a_lost_answer_doubles_nothing() {
    // The server stores the first batch and drops the connection before it answers.
    let server = Scripted::start(|path, turn| match (path, turn) {
        ("/_bulk", 0) => Reply::StoreAndHangUp,
        _ => Reply::ok(),
    });
    let monitor = monitor();
    let exporter = Exporter::start(&monitor, options(&server.url())).unwrap();
    record(&monitor, "ann", 1);
    let figures = wait_for(&exporter, "the repeated batch", |figures| figures.repeated > 0);
    assert!(figures.failed_requests > 0);
    let figures = exporter.stop(PATIENCE);
    assert_eq!((figures.dropped, figures.rejected), (0, 0));
    let documents = server.documents();
    let ids: BTreeSet<_> = documents.iter().map(|one| one.id.clone()).collect();
    assert_eq!(ids.len(), documents.len(), "the server has stored each document once");
    assert_eq!(figures.sent + figures.repeated, documents.len() as u64);
}

#[test]
fn each_item_is_counted_by_its_own_answer() {
    // Of the first batch the server stores one document, refuses one for good, and has no room for the rest.
    let server = Scripted::start(|path, turn| match (path, turn) {
        ("/_bulk", 0) => Reply::Items(vec![201, 400, 429]),
        _ => Reply::ok(),
    });
    let monitor = monitor();
    let ann: Vec<_> = (0..10).map(|one| monitor.connect(&format!("ann{one}"), "shop").unwrap()).collect();
    let exporter = Exporter::start(&monitor, options(&server.url())).unwrap();
    for client in ann {
        monitor.disconnect(client).unwrap();
    }
    wait_for(&exporter, "the first batch", |figures| figures.rejected == 1);
    let figures = exporter.stop(PATIENCE);
    assert_eq!((figures.rejected, figures.dropped, figures.waiting), (1, 0, 0), "{figures:?}");
    assert_eq!(figures.sent, server.documents().len() as u64);
    assert!(figures.failed_requests >= 1);
}

#[test]
fn a_batch_that_is_too_large_is_halved() {
    let server = Scripted::start(|path, _| if path == "/_bulk" { Reply::AtMost(2) } else { Reply::ok() });
    let monitor = monitor();
    let exporter = Exporter::start(&monitor, options(&server.url())).unwrap();
    for one in 0..9 {
        monitor.connect(&format!("ann{one}"), "shop").unwrap();
    }
    let figures = exporter.stop(PATIENCE);
    assert_eq!((figures.rejected, figures.dropped), (0, 0), "{figures:?}");
    assert_eq!(figures.sent, server.documents().len() as u64);
    assert!(figures.sent >= 9);
}

#[test]
fn a_full_queue_drops_the_oldest_and_counts_them() {
    let server = Scripted::start(|_, _| Reply::Status(503));
    let monitor = monitor();
    let mut options = options(&server.url());
    options.queue_bytes = 64 << 10;
    let exporter = Exporter::start(&monitor, options).unwrap();
    for one in 0..2_000 {
        let client = monitor.connect(&format!("ann{one}"), "shop").unwrap();
        monitor.disconnect(client).unwrap();
    }
    let figures =
        wait_for(&exporter, "the losses", |figures| figures.dropped > 100 && figures.failed_requests > 0);
    assert!(figures.waiting_bytes <= 64 << 10);
    assert!(figures.last_error.unwrap().contains("503"));
    let figures = exporter.stop(Duration::from_millis(10));
    assert_eq!((figures.sent, figures.waiting), (0, 0));
    assert!(figures.dropped >= 4_000, "{figures:?}");
}

#[test]
fn a_server_that_never_answers_does_not_hold_up_the_stop() {
    let server = Scripted::start(|_, _| Reply::Silence);
    let monitor = monitor();
    let mut options = options(&server.url());
    options.request_timeout = Duration::from_secs(1);
    let exporter = Exporter::start(&monitor, options).unwrap();
    record(&monitor, "ann", 1);
    let start = Instant::now();
    let figures = exporter.stop(Duration::from_millis(100));
    assert_eq!(figures.sent, 0);
    assert!(figures.dropped > 0);
    // Not asserted more tightly: one request may last for `request_timeout`.
    assert!(start.elapsed() < Duration::from_secs(60));
}

#[test]
fn nonsense_from_the_server_loses_nothing() {
    let server = Scripted::start(|path, turn| match (path, turn) {
        ("/_bulk", 0) => Reply::Body("<html>not found</html>"),
        ("/_bulk", 1) => Reply::Body(r#"{"items":[]}"#),
        ("/_bulk", 2) => Reply::Status(401),
        ("/_index_template/corelane-metrics", 0) => Reply::Status(403),
        _ => Reply::ok(),
    });
    let monitor = monitor();
    let exporter = Exporter::start(&monitor, options(&server.url())).unwrap();
    record(&monitor, "ann", 1);
    wait_for(&exporter, "the documents", |figures| figures.sent > 0);
    let figures = exporter.stop(PATIENCE);
    assert_eq!((figures.rejected, figures.dropped, figures.failed_requests), (0, 0, 4), "{figures:?}");
}

#[test]
fn the_options_are_checked() {
    let monitor = monitor();
    let with = |change: &dyn Fn(&mut Options)| {
        let mut options = options("http://127.0.0.1:1");
        change(&mut options);
        match Exporter::start(&monitor, options) {
            Err(ExportError::Invalid { option, .. }) => option,
            other => panic!("{other:?}"),
        }
    };
    for url in ["", "ftp://a", "http://", "http://user:word@host", "https://host/?a", "http://a b"] {
        assert_eq!(with(&|options| options.url = url.to_owned()), "url", "{url}");
    }
    assert_eq!(with(&|options| options.namespace = "Upper".to_owned()), "namespace");
    assert_eq!(with(&|options| options.namespace = "a-b".to_owned()), "namespace");
    assert_eq!(with(&|options| options.interval = Duration::ZERO), "interval");
    assert_eq!(with(&|options| options.request_timeout = Duration::MAX), "request_timeout");
    assert_eq!(with(&|options| options.queue_bytes = 0), "queue_bytes");
    let key = |text: &str| Credentials::ApiKey(text.to_owned());
    assert_eq!(with(&|options| options.credentials = key("a\r\nb")), "credentials");
    assert_eq!(with(&|options| options.certificates = Some("/nowhere".into())), "certificates");
    let secret = Credentials::Basic { user: "ann".to_owned(), password: "s3cret".to_owned() };
    assert!(!format!("{secret:?} {:?}", key("s3cret")).contains("s3cret"));
}
