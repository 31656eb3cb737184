//! The export to OpenTelemetry collectors: against a scripted server that decodes strictly, and against a real collector
//! if `scripts/otlp.sh` runs the test.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test")]

use corelane::config::Config;
use corelane::error::ExportError;
use corelane::metrics::Descriptor;
use corelane::monitor::Monitor;
use corelane::otlp::{ExportFigures, Exporter, Options};
use corelane::record::{Measured, RecordedMessage};
use opentelemetry_proto::tonic::collector::metrics::v1::{
    ExportMetricsPartialSuccess, ExportMetricsServiceRequest, ExportMetricsServiceResponse,
};
use opentelemetry_proto::tonic::common::v1::KeyValue;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::metrics::v1::metric::Data;
use opentelemetry_proto::tonic::metrics::v1::number_data_point::Value as Number;
use opentelemetry_proto::tonic::metrics::v1::{HistogramDataPoint, Metric, NumberDataPoint};
use prost::Message;
use std::collections::BTreeSet;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::mpsc::channel;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

const PATIENCE: Duration = Duration::from_secs(60);

/// A request: its head in lower case, and its body.
type Request = (String, Vec<u8>);

/// A collector that answers with what `script` returns for the number of the request.
struct Scripted {
    port: u16,
    requests: Arc<Mutex<Vec<Request>>>,
}

impl Scripted {
    fn start(script: impl Fn(usize) -> (u16, Vec<u8>) + Send + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let requests = Arc::new(Mutex::new(Vec::new()));
        let seen = Arc::clone(&requests);
        std::thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                while let Some(request) = read(&stream) {
                    let turn = {
                        let mut seen = seen.lock().unwrap();
                        seen.push(request);
                        seen.len() - 1
                    };
                    let (status, body) = script(turn);
                    let head = format!("HTTP/1.1 {status} X\r\ncontent-length: {}\r\n\r\n", body.len());
                    let mut stream = &stream;
                    if stream.write_all(head.as_bytes()).and_then(|()| stream.write_all(&body)).is_err() {
                        break;
                    }
                }
            }
        });
        Self { port, requests }
    }

    fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    fn requests(&self) -> Vec<Request> {
        self.requests.lock().unwrap().clone()
    }

    /// The metrics of the last request.
    fn last(&self) -> ExportMetricsServiceRequest {
        let requests = self.requests();
        ExportMetricsServiceRequest::decode(&*requests.last().unwrap().1).unwrap()
    }
}

fn read(stream: &TcpStream) -> Option<Request> {
    stream.set_read_timeout(Some(Duration::from_secs(30))).ok()?;
    let mut reader = BufReader::new(stream);
    let (mut head, mut length) = (String::new(), 0);
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).ok().filter(|read| *read > 0)?;
        let line = line.to_ascii_lowercase();
        if line.trim_end().is_empty() {
            break;
        }
        if let Some(value) = line.strip_prefix("content-length: ") {
            length = value.trim_end().parse().ok()?;
        }
        head.push_str(&line);
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body).ok()?;
    Some((head, body))
}

fn options(url: &str) -> Options {
    let mut options = Options::new(url);
    options.interval = Duration::from_secs(1);
    // A server of these tests that gets no processor for a while has not failed.
    options.request_timeout = Duration::from_secs(60);
    options
}

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

fn metrics(request: &ExportMetricsServiceRequest) -> Vec<&Metric> {
    request.resource_metrics.iter().flat_map(|one| &one.scope_metrics).flat_map(|one| &one.metrics).collect()
}

fn metric<'a>(request: &'a ExportMetricsServiceRequest, name: &str) -> &'a Metric {
    let metrics = metrics(request);
    metrics.iter().find(|one| one.name == name).unwrap_or_else(|| {
        panic!("no {name} in {:?}", metrics.iter().map(|one| &one.name).collect::<Vec<_>>())
    })
}

fn text<'a>(attributes: &'a [KeyValue], name: &str) -> &'a str {
    let found = attributes.iter().find(|one| one.key == name);
    match found.and_then(|one| one.value.as_ref()?.value.as_ref()) {
        Some(Value::StringValue(text)) => text,
        other => panic!("{name}: {other:?}"),
    }
}

fn number(point: &NumberDataPoint) -> f64 {
    match point.value.unwrap() {
        Number::AsInt(number) => number as f64,
        Number::AsDouble(number) => number,
    }
}

fn points(metric: &Metric) -> &[NumberDataPoint] {
    match metric.data.as_ref().unwrap() {
        Data::Sum(sum) => &sum.data_points,
        Data::Gauge(gauge) => &gauge.data_points,
        other => panic!("{other:?}"),
    }
}

fn histograms(metric: &Metric) -> &[HistogramDataPoint] {
    match metric.data.as_ref().unwrap() {
        Data::Histogram(histogram) => &histogram.data_points,
        other => panic!("{other:?}"),
    }
}

fn loaded() -> Monitor {
    let monitor = Monitor::new(Config::default()).unwrap();
    monitor.connect("ann", "shop").unwrap();
    for (kind, count) in [("offer", 3u32), ("a\"b\\c\n", 2)] {
        for one in 1..=count {
            monitor.record(&RecordedMessage {
                client: "ann",
                message_type: kind,
                protocol: "sip",
                measured: Measured { processing: Duration::from_millis(10) * one, ..Measured::default() },
                ..RecordedMessage::default()
            });
        }
    }
    let descriptor = Descriptor::new("orders_total", "Orders.");
    monitor.counter(&descriptor).unwrap().with(&[]).unwrap().add(7);
    monitor.tick();
    monitor
}

#[test]
fn every_figure_of_the_text_is_in_the_request() {
    let (server, monitor) = (Scripted::start(|_| (200, Vec::new())), loaded());
    let mut options = options(&server.url());
    options.service = "signal".to_owned();
    options.attributes = vec![("deployment.environment.name".to_owned(), "tests".to_owned())];
    options.headers = vec![("Authorization".to_owned(), "Bearer s3cret".to_owned())];
    assert!(!format!("{options:?}").contains("s3cret"));
    let figures = Exporter::start(&monitor, options).unwrap().stop(PATIENCE);
    assert_eq!((figures.failed, figures.rejected_points, figures.last_error), (0, 0, None));
    assert!(figures.sent >= 1);
    let (head, _) = server.requests().pop().unwrap();
    assert!(head.starts_with("post /v1/metrics "), "{head}");
    assert!(
        head.contains("authorization: bearer s3cret") && head.contains("application/x-protobuf"),
        "{head}"
    );

    let request = server.last();
    let resource = request.resource_metrics[0].resource.as_ref().unwrap();
    assert_eq!(text(&resource.attributes, "service.name"), "signal");
    assert_eq!(text(&resource.attributes, "deployment.environment.name"), "tests");

    let messages = metric(&request, "corelane.recorded_messages");
    let Some(Data::Sum(sum)) = &messages.data else { panic!("{messages:?}") };
    assert!(sum.is_monotonic && sum.aggregation_temporality == 2);
    let of = |kind: &str| -> f64 {
        let is = |point: &&NumberDataPoint| text(&point.attributes, "message_type") == kind;
        sum.data_points.iter().filter(is).map(number).sum()
    };
    // A hostile name arrives as it is.
    assert_eq!((of("offer"), of("a\"b\\c\n")), (3.0, 2.0));

    let duration = metric(&request, "corelane.recorded_duration");
    assert_eq!(duration.unit, "s");
    let offer =
        histograms(duration).iter().find(|one| text(&one.attributes, "message_type") == "offer").unwrap();
    assert_eq!(offer.count, 3);
    assert!((offer.sum.unwrap() - 0.06).abs() < 1e-9, "{offer:?}");
    assert_eq!(offer.bucket_counts.len(), offer.explicit_bounds.len() + 1);
    assert_eq!(offer.bucket_counts.iter().sum::<u64>(), 3);
    assert!(offer.explicit_bounds.is_sorted_by(|one, other| one < other));
    assert!(offer.time_unix_nano >= offer.start_time_unix_nano && offer.start_time_unix_nano > 0);

    assert_eq!(number(&points(metric(&request, "corelane.connections_open"))[0]), 1.0);
    assert_eq!(number(&points(metric(&request, "orders"))[0]), 7.0);
    assert_eq!(metric(&request, "process.memory.usage").unit, "By");
    assert!(number(&points(metric(&request, "process.memory.usage"))[0]) > 1e5);
    let names: Vec<_> = metrics(&request).iter().map(|one| one.name.clone()).collect();
    assert_eq!(names.iter().collect::<BTreeSet<_>>().len(), names.len(), "{names:?}");

    // As many metrics as the text has families, and no name keeps its unit.
    let text = corelane::export::openmetrics(&monitor);
    let families = text.lines().filter(|line| line.starts_with("# TYPE ")).count();
    assert_eq!(names.len(), families);
    assert!(names.iter().all(|name| !name.ends_with("_seconds") && !name.ends_with("_bytes")), "{names:?}");
}

#[test]
fn a_failed_request_is_followed_by_the_next() {
    // The second answer waits until the test has seen what the first one leaves.
    let (go, seen) = channel::<()>();
    let server = Scripted::start(move |turn| match turn {
        0 => (503, b"busy".to_vec()),
        1 => {
            let _ = seen.recv_timeout(PATIENCE / 2);
            (200, b"\xff\xff\xff".to_vec())
        }
        2 => (401, Vec::new()),
        _ => (200, Vec::new()),
    });
    let exporter = Exporter::start(&loaded(), options(&server.url())).unwrap();
    wait_for(&exporter, "the refusal", |figures| {
        figures.last_error.as_ref().is_some_and(|e| e.contains("503"))
    });
    go.send(()).unwrap();
    let figures = wait_for(&exporter, "a success", |figures| figures.sent > 0);
    assert_eq!((figures.failed, figures.last_error), (3, None));
    assert_eq!(exporter.stop(PATIENCE).failed, 3);
}

#[test]
fn refused_points_are_counted() {
    let partial = ExportMetricsPartialSuccess { rejected_data_points: 4, error_message: "no".to_owned() };
    let answer = ExportMetricsServiceResponse { partial_success: Some(partial) }.encode_to_vec();
    let server = Scripted::start(move |turn| (200, if turn == 0 { answer.clone() } else { Vec::new() }));
    let exporter = Exporter::start(&loaded(), options(&server.url())).unwrap();
    wait_for(&exporter, "the answer", |figures| figures.sent > 0);
    assert_eq!(exporter.stop(PATIENCE).rejected_points, 4);
}

#[test]
fn the_options_are_checked() {
    let monitor = Monitor::new(Config::default()).unwrap();
    let with = |change: &dyn Fn(&mut Options)| {
        let mut options = options("http://127.0.0.1:1");
        change(&mut options);
        match Exporter::start(&monitor, options) {
            Err(ExportError::Invalid { option, .. }) => option,
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(with(&|options| options.url = "collector:4318".to_owned()), "url");
    assert_eq!(with(&|options| options.interval = Duration::ZERO), "interval");
    assert_eq!(with(&|options| options.request_timeout = Duration::ZERO), "request_timeout");
    assert_eq!(with(&|options| options.headers = vec![("a b".to_owned(), String::new())]), "headers");
    assert_eq!(with(&|options| options.headers = vec![("a".to_owned(), "b\r\nc".to_owned())]), "headers");
    assert_eq!(with(&|options| options.certificates = Some("/nowhere".into())), "certificates");
}

/// `CORELANE_COLLECTOR` is the url of a collector that writes what it gets, as JSON lines, into the file
/// `CORELANE_COLLECTOR_FILE`.
#[test]
fn a_real_collector_takes_everything() {
    let (Ok(url), Ok(file)) = (std::env::var("CORELANE_COLLECTOR"), std::env::var("CORELANE_COLLECTOR_FILE"))
    else {
        assert!(std::env::var_os("CORELANE_OTLP_SUITE").is_none(), "run scripts/otlp.sh");
        println!("skipped: scripts/otlp.sh runs this test with a real collector");
        return;
    };
    let monitor = loaded();
    let figures = Exporter::start(&monitor, options(&url)).unwrap().stop(PATIENCE);
    assert_eq!((figures.failed, figures.rejected_points, figures.last_error), (0, 0, None));
    let start = Instant::now();
    let mut written = String::new();
    while !written.contains("corelane.recorded_messages") && start.elapsed() < Duration::from_secs(30) {
        std::thread::sleep(Duration::from_millis(100));
        written = std::fs::read_to_string(&file).unwrap_or_default();
    }
    let line: serde_json::Value = serde_json::from_str(written.lines().last().unwrap()).unwrap();
    let metrics = line["resourceMetrics"][0]["scopeMetrics"][0]["metrics"].as_array().unwrap();
    let find =
        |name: &str| metrics.iter().find(|one| one["name"] == name).unwrap_or_else(|| panic!("{name}"));
    let messages = &find("corelane.recorded_messages")["sum"];
    assert_eq!(messages["isMonotonic"], true);
    let total: u64 = messages["dataPoints"]
        .as_array()
        .unwrap()
        .iter()
        .map(|point| point["asInt"].as_str().unwrap().parse::<u64>().unwrap())
        .sum();
    assert_eq!(total, 5);
    assert_eq!(find("corelane.recorded_duration")["unit"], "s");
    let text = corelane::export::openmetrics(&monitor);
    assert_eq!(metrics.len(), text.lines().filter(|line| line.starts_with("# TYPE ")).count());
}
