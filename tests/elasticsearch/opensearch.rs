//! Against a real OpenSearch, which `scripts/elasticsearch.sh` makes available: `CORELANE_OPENSEARCH` is the command that
//! starts it, and takes a port and a folder. Without it the test says so and passes, unless `CORELANE_REQUIRE_ALL` is
//! set together with `CORELANE_ELASTICSEARCH_SUITE`.

use super::{monitor, options, record, wait_for};
use corelane::elasticsearch::Exporter;
use corelane::monitor::alert::Rule;
use serde_json::Value;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

struct OpenSearch {
    process: Child,
    port: u16,
}

impl OpenSearch {
    fn start(command: &str, port: u16, folder: &Path) -> Self {
        let words: Vec<_> = command.split(' ').collect();
        let mut process = Command::new(words[0]);
        process
            .args(&words[1..])
            .arg(port.to_string())
            .arg(folder)
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        let this = Self { process: process.spawn().unwrap(), port };
        let start = Instant::now();
        while this.get("/").is_none() {
            assert!(start.elapsed() < Duration::from_secs(120), "OpenSearch does not answer");
            std::thread::sleep(Duration::from_millis(100));
        }
        this
    }

    fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    fn get(&self, path: &str) -> Option<Value> {
        let mut stream = TcpStream::connect(("127.0.0.1", self.port)).ok()?;
        stream.set_read_timeout(Some(Duration::from_secs(20))).ok()?;
        write!(stream, "GET {path} HTTP/1.0\r\nhost: localhost\r\n\r\n").ok()?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).ok()?;
        let (head, body) = answer.split_once("\r\n\r\n")?;
        head.starts_with("HTTP/1.0 200").then(|| serde_json::from_str(body).ok())?
    }

    /// How many documents of a stream match a query.
    fn count(&self, stream: &str, query: &str) -> u64 {
        drop(self.get(&format!("/{stream}/_refresh")));
        let answer = self.get(&format!("/{stream}/_count?q={query}"));
        answer.and_then(|answer| answer["count"].as_u64()).unwrap_or(0)
    }
}

impl Drop for OpenSearch {
    fn drop(&mut self) {
        // SIGKILL: what the test is about.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// A free port below the highest one that the runner takes, whose successor is free too.
fn free_port() -> u16 {
    (9210..9290)
        .find(|port| [*port, port + 1].iter().all(|port| TcpListener::bind(("127.0.0.1", *port)).is_ok()))
        .expect("a free port")
}

#[test]
fn a_real_server_that_is_killed_and_comes_back_has_each_document_once() {
    let Ok(command) = std::env::var("CORELANE_OPENSEARCH") else {
        assert!(std::env::var_os("CORELANE_ELASTICSEARCH_SUITE").is_none(), "run scripts/elasticsearch.sh");
        println!("skipped: scripts/elasticsearch.sh runs this test with a real server");
        return;
    };
    let folder = std::env::temp_dir().join(format!("corelane-opensearch-{}", std::process::id()));
    let port = free_port();
    let server = OpenSearch::start(&command, port, &folder);
    let monitor = monitor();
    let mut options = options(&server.url());
    options.request_timeout = Duration::from_secs(10); // The first documents create the indexes.
    let exporter = Exporter::start(&monitor, options).unwrap();
    monitor.add_rule(Rule::above("crowd", "connections.active", 0.5)).unwrap();
    let connect = |from: u32, to: u32| {
        for one in from..to {
            let client = monitor.connect(&format!("client{one}"), "shop").unwrap();
            record(&monitor, &format!("client{one}"), 1_500);
            monitor.tick();
            monitor.disconnect(client).unwrap();
        }
    };
    connect(0, 100);
    wait_for(&exporter, "the first documents", |figures| figures.sent + figures.repeated > 200);
    let template = server.get("/_index_template/corelane-logs").unwrap();
    assert_eq!(template["index_templates"][0]["name"], "corelane-logs");
    assert!(server.get("/_data_stream/logs-corelane.connections-default").is_some());

    drop(server);
    connect(100, 200);
    wait_for(&exporter, "the outage", |figures| figures.failed_requests > 0);
    let server = OpenSearch::start(&command, port, &folder);
    connect(200, 300);
    let figures = exporter.stop(Duration::from_secs(60));
    assert_eq!(
        (figures.dropped, figures.rejected, figures.waiting, figures.missed),
        (0, 0, 0, 0),
        "{figures:?}"
    );

    let connections = "logs-corelane.connections-default";
    let start = Instant::now();
    while server.count(connections, "*") < 600 && start.elapsed() < Duration::from_secs(30) {
        std::thread::sleep(Duration::from_millis(200));
    }
    assert_eq!(server.count(connections, "event:connect"), 300);
    assert_eq!(server.count(connections, "event:disconnect"), 300);
    for one in [0, 150, 299] {
        assert_eq!(server.count(connections, &format!("client:client{one}")), 2, "client{one}");
    }
    assert!(server.count("logs-corelane.alerts-default", "name:crowd%20AND%20state:firing") > 0);
    assert_eq!(server.count("logs-corelane.slow-default", "client:client150"), 1);
    let stored: u64 =
        ["logs-corelane.*", "metrics-corelane.*"].iter().map(|all| server.count(all, "*")).sum();
    assert_eq!(stored, figures.sent + figures.repeated, "{figures:?}");
    let top = "/metrics-corelane.summary-default/_search?size=1&sort=@timestamp:desc";
    let newest = server.get(top).unwrap()["hits"]["hits"][0]["_source"].clone();
    assert_eq!(newest["messages"]["total"], 300);
    assert_eq!(newest["connections"]["total"], 300);
    drop(server);
    let _ = std::fs::remove_dir_all(folder);
}
