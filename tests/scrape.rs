//! A real Prometheus scrapes a loaded router through the HTTP door, and has the figures that we have. Rows X2, X3.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test")]

use corelane::clients::CreditPolicy;
use corelane::config::Config;
use corelane::export::{Exposition, TextFormat};
use corelane::http::{Door, Options};
use corelane::metrics::Descriptor;
use corelane::monitor::Monitor;
use corelane::record::{Measured, RecordedMessage};
use corelane::router::{Builder, Event, Port};
use serde_json::Value;
use std::collections::{BTreeMap, HashMap};
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

mod support;

const TOKEN: &str = "token-of-the-scrape-test";

/// A series: its name and labels.
type Series = BTreeMap<String, String>;

/// A Prometheus with a folder of its own. Ends with the test.
struct Prometheus {
    child: Child,
    folder: PathBuf,
    address: SocketAddr,
}

impl Prometheus {
    fn start(target: SocketAddr) -> Self {
        let folder = std::env::temp_dir().join(format!("corelane-scrape-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let config = format!(
            "global: {{scrape_interval: 1s, scrape_timeout: 1s}}\nscrape_configs:\n- job_name: corelane\n  \
             authorization: {{credentials: {TOKEN}}}\n  static_configs: [{{targets: [\"{target}\"]}}]\n"
        );
        std::fs::write(folder.join("prometheus.yml"), config).unwrap();
        // Free at this moment.
        let address = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let child = Command::new("prometheus")
            .arg(format!("--config.file={}", folder.join("prometheus.yml").display()))
            .arg(format!("--storage.tsdb.path={}", folder.join("data").display()))
            .arg(format!("--web.listen-address={address}"))
            .arg("--log.level=error")
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        Self { child, folder, address }
    }

    /// The answer of its API; null while it does not answer.
    fn ask(&self, path: &str) -> Value {
        let Ok(mut stream) = TcpStream::connect(self.address) else { return Value::Null };
        let request = format!("GET {path} HTTP/1.0\r\nHost: localhost\r\n\r\n");
        let mut bytes = Vec::new();
        if stream.write_all(request.as_bytes()).is_err() || stream.read_to_end(&mut bytes).is_err() {
            return Value::Null;
        }
        let Some(head) = bytes.windows(4).position(|window| window == b"\r\n\r\n") else {
            return Value::Null;
        };
        serde_json::from_slice(&bytes[head + 4..]).unwrap_or_default()
    }

    /// The latest value of each of our series.
    fn series(&self) -> HashMap<Series, f64> {
        // {job="corelane"}
        let answer = self.ask("/api/v1/query?query=%7Bjob%3D%22corelane%22%7D");
        let result = answer["data"]["result"].as_array().cloned().unwrap_or_default();
        let of = |one: &Value| {
            let labels = one["metric"].as_object().unwrap().iter();
            let labels = labels.filter(|(name, _)| !["job", "instance"].contains(&name.as_str()));
            let labels = labels.map(|(name, value)| (name.clone(), value.as_str().unwrap().to_owned()));
            (labels.collect(), number(one["value"][1].as_str().unwrap()))
        };
        result.iter().map(of).collect()
    }
}

impl Drop for Prometheus {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

fn number(text: &str) -> f64 {
    text.trim_start_matches('+').parse().unwrap()
}

/// The samples of a text.
fn samples(text: &str) -> HashMap<Series, f64> {
    text.lines().filter(|line| !line.starts_with('#')).map(sample).collect()
}

fn sample(line: &str) -> (Series, f64) {
    let (series, value) = line.rsplit_once(' ').unwrap();
    let (name, labels) = series.split_once('{').unwrap_or((series, "}"));
    let mut all = Series::from([("__name__".to_owned(), name.to_owned())]);
    let mut rest = labels.strip_suffix('}').unwrap();
    while let Some((name, after)) = rest.split_once("=\"") {
        let (mut value, mut end, mut escaped) = (String::new(), after.len(), false);
        for (place, character) in after.char_indices() {
            match (escaped, character) {
                (true, 'n') => value.push('\n'),
                (true, other) => value.push(other),
                (false, '\\') => {}
                (false, '"') => {
                    end = place + 1;
                    break;
                }
                (false, other) => value.push(other),
            }
            escaped = !escaped && character == '\\';
        }
        all.insert(name.to_owned(), value);
        rest = after[end..].trim_start_matches(',');
    }
    (all, number(value))
}

/// Hands out what has arrived, and acknowledges it.
fn drain(port: &mut Port) {
    port.publish();
    let mut written = Vec::new();
    let mut poll = |event: Event<'_>| {
        if let Event::Message(message) = event {
            written.push((message.client, message.payload.len() as u32));
        }
    };
    port.poll_each(1_000, &mut poll).unwrap();
    for (client, bytes) in written {
        port.acknowledge(client, 1, bytes);
    }
}

#[test]
fn prometheus_has_our_figures() {
    if support::lacks("prometheus", "--version") {
        return;
    }
    let mut config = Config::default();
    config.router.workers = Some(1);
    // Nobody is disconnected when this machine is slow.
    config.credit.policy = CreditPolicy::Refuse;
    let router = Builder::new(config).start().unwrap();
    let monitor: Monitor = router.monitor().unwrap();
    let door = Door::serve(&monitor, Options::new("127.0.0.1:0").token(TOKEN)).unwrap();
    let prometheus = Prometheus::start(door.address());

    let mut port = router.port().unwrap();
    let hostile = "a\"b\\c\nd\u{202e}{}=,";
    let ann = port.connect("ann", "peerjs", hostile, 1).unwrap();
    port.connect("ben", "peerjs", "shop", 2).unwrap();
    monitor.connect("cleo", "app").unwrap();
    let jobs = Descriptor::new("jobs_total", "Jobs \\ \"x\"").labels(&["region"]);
    let jobs = monitor.counter(&jobs).unwrap().with(&[hostile]).unwrap();
    // Load, until it has seen some of it.
    let (mut sent, started) = (0, Instant::now());
    let seen = || {
        let all = prometheus.series();
        let received = |labels: &Series| labels["__name__"] == "corelane_messages_received_total";
        all.iter().any(|(labels, value)| received(labels) && *value > 0.0)
    };
    while !seen() || started.elapsed() < Duration::from_secs(3) {
        assert!(started.elapsed() < Duration::from_secs(60), "{}", prometheus.ask("/api/v1/targets"));
        for message in [br#"{"type":"OFFER","dst":"ben"}"#.as_slice(), b"{", br#"{"type":"HEARTBEAT"}"#] {
            for _ in 0..200 {
                sent += u64::from(port.submit(ann, message, 0).is_ok());
            }
            drain(&mut port);
        }
        let measured = Measured { processing: Duration::from_micros(40), bytes: 20, ..Measured::default() };
        monitor.record(&RecordedMessage {
            client: "cleo",
            message_type: "job",
            measured,
            ..RecordedMessage::default()
        });
        jobs.add(1);
    }
    support::until(|| {
        drain(&mut port);
        let accounting = router.stats().accounting;
        accounting.in_flight == 0 && accounting.queued == 0 && accounting.submitted >= sent
    });

    // What still changes is left out: the monitor's own work, the machine, the process, the door, idle time.
    let steady = |labels: &Series| {
        let changing = [
            "corelane_monitor_",
            "corelane_system_",
            "process_",
            "corelane_http_",
            "corelane_cpu",
            "corelane_heap",
        ];
        let names = [
            "corelane_worker_idle_seconds_total",
            "corelane_threads",
            "corelane_worker_parks_total",
            "corelane_worker_pool_ratio",
            "corelane_reports_total",
            "corelane_worker_busy_seconds_total",
        ];
        let name = labels["__name__"].as_str();
        let of_prometheus = name == "up" || name.starts_with("scrape_");
        !of_prometheus && !changing.iter().any(|start| name.starts_with(start)) && !names.contains(&name)
    };
    let ours = || {
        let text = Exposition::new(TextFormat::Prometheus).write(&monitor);
        let all = samples(&text).into_iter().filter(|(labels, _)| steady(labels));
        all.collect::<HashMap<_, _>>()
    };
    let (mut difference, limit) = (vec![String::new()], Instant::now() + Duration::from_secs(60));
    while !difference.is_empty() {
        assert!(Instant::now() < limit, "{difference:#?}");
        std::thread::sleep(Duration::from_millis(300));
        let (theirs, ours) = (prometheus.series(), ours());
        let theirs: HashMap<_, _> = theirs.into_iter().filter(|(labels, _)| steady(labels)).collect();
        difference = ours
            .keys()
            .chain(theirs.keys())
            .filter(|labels| ours.get(*labels) != theirs.get(*labels))
            .map(|labels| format!("{labels:?}: {:?}, theirs {:?}", ours.get(labels), theirs.get(labels)))
            .collect();
        assert!(ours.len() > 200, "{} series", ours.len());
    }
    // A scrape may have taken too long meanwhile. The next one does not.
    support::until(|| {
        let all = prometheus.series();
        let up = all.get(&Series::from([("__name__".to_owned(), "up".to_owned())]));
        let targets = prometheus.ask("/api/v1/targets");
        up == Some(&1.0) && targets["data"]["activeTargets"][0]["lastError"] == ""
    });
}
