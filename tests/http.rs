//! The HTTP door: its answers, who gets them, and what hostile and slow clients cost the others.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test")]

use corelane::config::Config;
use corelane::error::ServeError;
use corelane::http::{Certificate, Door, Options, parameters};
use corelane::monitor::Monitor;
use corelane::record::{Measured, RecordedMessage};
use serde_json::Value;
use std::collections::BTreeMap;
use std::io::{BufRead, ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::process::Command;
use std::time::{Duration, Instant};

mod support;

const TOKEN: &str = "an open secret of this test";
const SPELLED: &str = "an-open-secret-of-this-test";
const LONG: Duration = Duration::from_secs(60);

fn monitor() -> Monitor {
    let monitor = Monitor::new(Config::default()).unwrap();
    monitor.connect("ann", "app").unwrap();
    record(&monitor, 3);
    monitor
}

fn record(monitor: &Monitor, count: u64) {
    let measured = Measured { processing: Duration::from_millis(2), bytes: 10, ..Measured::default() };
    for _ in 0..count {
        monitor.record(&RecordedMessage {
            client: "ann",
            message_type: "job",
            measured,
            ..RecordedMessage::default()
        });
    }
}

fn options() -> Options {
    Options::new("127.0.0.1:0")
}

struct Answer {
    status: u16,
    head: String,
    body: Vec<u8>,
}

impl Answer {
    fn text(&self) -> String {
        String::from_utf8(self.body.clone()).unwrap()
    }

    fn json(&self) -> Value {
        assert_eq!(self.status, 200, "{}", self.text());
        assert_eq!(self.header("content-type"), Some("application/json; charset=utf-8"));
        serde_json::from_slice(&self.body).unwrap()
    }

    fn header(&self, name: &str) -> Option<&str> {
        self.head.lines().find_map(|line| {
            let (one, value) = line.split_once(": ")?;
            one.eq_ignore_ascii_case(name).then_some(value)
        })
    }
}

fn connect(address: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(LONG)).unwrap();
    stream
}

/// Sends bytes, and reads until the door closes the connection.
fn raw(address: SocketAddr, request: &[u8]) -> Answer {
    let mut stream = connect(address);
    // The door may close before it has read everything.
    let _ = stream.write_all(request);
    let mut bytes = Vec::new();
    match stream.read_to_end(&mut bytes) {
        Ok(_) => {}
        Err(error) if error.kind() == ErrorKind::ConnectionReset => {}
        Err(error) => panic!("{error}"),
    }
    let Some(end) = bytes.windows(4).position(|window| window == b"\r\n\r\n") else {
        return Answer { status: 0, head: String::new(), body: Vec::new() };
    };
    let head = String::from_utf8(bytes[..end].to_vec()).unwrap();
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    Answer { status, head, body: bytes[end + 4..].to_vec() }
}

fn ask(address: SocketAddr, method: &str, path: &str, headers: &[&str], body: &str) -> Answer {
    let mut request = format!("{method} {path} HTTP/1.1\r\nConnection: close\r\n");
    if !headers.iter().any(|header| header.starts_with("Host:")) {
        request.push_str("Host: localhost\r\n");
    }
    headers.iter().for_each(|header| request.push_str(&format!("{header}\r\n")));
    if !body.is_empty() {
        request.push_str(&format!("Content-Length: {}\r\n", body.len()));
    }
    raw(address, format!("{request}\r\n{body}").as_bytes())
}

fn get(address: SocketAddr, path: &str) -> Answer {
    ask(address, "GET", path, &[], "")
}

fn until(what: impl FnMut() -> bool) {
    support::until(what);
}

#[test]
fn each_address_has_its_answer() {
    let monitor = monitor();
    let pages = options().page("/api/peers", |query| {
        let [limit] = parameters(query, ["limit"])?;
        Ok(format!("{{\"limit\":{}}}", limit.as_deref().unwrap_or("null")))
    });
    let door = Door::serve(&monitor, pages).unwrap();
    let at = door.address();
    assert_eq!((get(at, "/healthz").text().as_str(), get(at, "/readyz").text().as_str()), ("ok", "ok"));
    let page = get(at, "/");
    assert_eq!((page.status, page.header("content-type")), (200, Some("text/html; charset=utf-8")));
    assert!(page.header("content-security-policy").unwrap().contains("default-src 'none'"));
    assert!(page.text().starts_with("<!doctype html>"));
    assert_eq!(get(at, "/api/stats").json()["messages"]["total"], 3);
    assert_eq!(get(at, "/api/messages").json()["total"], 3);
    assert_eq!(get(at, "/api/connections").json()["active"], 1);
    assert!(get(at, "/api/history").json()["names"].as_array().unwrap().contains(&"messages".into()));
    assert_eq!(get(at, "/api/history?name=messages").json()["slots"][0]["count"], 3);
    assert_eq!(get(at, "/api/clients/idle?longer_than_ms=0").json()[0]["name"], "ann");
    assert_eq!(get(at, "/api/peers?limit=7").json()["limit"], 7);
    let info = get(at, "/api/info").json();
    assert_eq!((&info["pages"][0], &info["token"]), (&"/api/peers".into(), &false.into()));
    let settings = get(at, "/api/settings").json();
    assert_eq!(settings["changeable"], false);
    let keys: Vec<_> = settings["settings"].as_array().unwrap().iter().map(|one| &one["key"]).collect();
    assert!(keys.contains(&&"slow_message_threshold_ms".into()) && !keys.contains(&&"workers".into()));
    assert!(get(at, "/metrics").text().contains("\ncorelane_connections_open 1\n"));
    assert_eq!(get(at, "/api/schema").header("content-type"), Some("application/schema+json"));
    assert!(get(at, "/api/report?format=text").text().contains("job"));

    for (path, allowed) in [
        ("/api/report?format=xml", "html, text, json"),
        ("/api/stats?x=1", "none"),
        ("/api/events?x=1", "parts, after"),
        ("/api/events?parts=nonsense", "messages"),
        ("/api/events?after=nonsense", "id of an event"),
        ("/api/peers?x=1", "limit"),
        ("/api/history?name=nobody", "/api/history"),
        ("/api/intervals?name=nobody", "/api/history"),
        ("/api/intervals?span=week", "minute, hour, day, reset"),
        ("/api/events?parts=nonsense", " slow"),
    ] {
        let answer = get(at, path);
        assert_eq!(answer.status, 400, "{path}");
        assert!(answer.text().contains(allowed), "{path}: {}", answer.text());
    }
    for query in ["", "?name=messages&span=hour", "?span=reset", "?name=write&span=reset"] {
        let log = get(at, &format!("/api/intervals{query}"));
        assert_eq!((log.status, log.header("content-type")), (200, Some("text/plain; charset=utf-8")));
        let text = log.text();
        assert!(text.starts_with("#[Histogram log format version 1.3]") && text.contains(",HIST"), "{text}");
    }
    let head = ask(at, "HEAD", "/api/stats", &[], "");
    assert!(head.status == 200 && head.body.is_empty());
    assert!(head.header("content-length").unwrap().parse::<usize>().unwrap() > 1000);
    for (method, path, allow) in
        [("POST", "/api/stats", "GET, HEAD"), ("DELETE", "/", "GET, HEAD"), ("GET", "/api/set", "POST")]
    {
        let answer = ask(at, method, path, &[], "");
        assert_eq!((answer.status, answer.header("allow")), (405, Some(allow)), "{method} {path}");
    }
}

#[test]
fn tricks_with_paths_find_nothing() {
    let monitor = monitor();
    let door = Door::serve(&monitor, options().token(SPELLED)).unwrap();
    let at = door.address();
    // With the token, so that it is the path that is refused.
    let bearer = format!("Authorization: Bearer {SPELLED}");
    for path in [
        "/../etc/passwd",
        "/page/index.html",
        "/api/../metrics",
        "/./metrics",
        "//metrics",
        "/metrics/",
        "/%6detrics",
        "/METRICS",
        "/metrics%00",
        "/metrics;x",
        "/api",
        "/api/",
        "/api/stats/..",
        "/%2e%2e/%2e%2e/etc/passwd",
        "/index.html",
    ] {
        assert_eq!(ask(at, "GET", path, &[&bearer], "").status, 404, "{path}");
        // Without it, they are no way around it.
        assert_eq!(get(at, path).status, 401, "{path}");
    }
    for request in
        ["nonsense\r\n\r\n", "GET /\0 HTTP/1.1\r\n\r\n", "GET metrics HTTP/1.1\r\nConnection: close\r\n\r\n"]
    {
        assert!([400, 403].contains(&raw(at, request.as_bytes()).status), "{request:?}");
    }
    assert_eq!(get(at, "/healthz").status, 200);
}

#[test]
fn without_the_token_nothing_is_read_or_changed() {
    let monitor = monitor();
    let door = Door::serve(&monitor, options().token(SPELLED)).unwrap();
    let at = door.address();
    let bearer = |token: &str| format!("Authorization: Bearer {token}");
    for path in ["/metrics", "/api/stats", "/api/events", "/api/settings", "/api/report", "/api/nothing"] {
        for header in
            [bearer("an-open-secret-of-this-tesT"), bearer(""), "X: y".to_owned(), "Cookie: token".to_owned()]
        {
            let answer = ask(at, "GET", path, &[&header], "");
            assert_eq!((answer.status, answer.header("www-authenticate")), (401, Some("Bearer")), "{path}");
        }
    }
    for path in ["/", "/healthz", "/readyz", "/api/info"] {
        assert_eq!(get(at, path).status, 200, "{path}");
    }
    let (good, set) = (bearer(SPELLED), "slow_message_threshold_ms=7");
    let threshold = || monitor.snapshot().slow_messages.unwrap().threshold_nanoseconds;
    assert_eq!(ask(at, "POST", "/api/set", &[&bearer("wrong")], set).status, 401);
    assert_eq!(ask(at, "POST", "/api/set", &[&good, "Origin: http://evil.example"], set).status, 403);
    assert_eq!(ask(at, "POST", "/api/reset", &[&good, "Origin: null"], "").status, 403);
    assert_eq!((threshold(), monitor.snapshot().resets), (1_000_000_000, 0));
    assert_eq!(ask(at, "POST", "/api/set", &[&good], set).status, 200);
    assert_eq!(threshold(), 7_000_000);
    let from_page = ask(at, "POST", "/api/reset", &[&good, "Origin: http://localhost"], "");
    assert_eq!((from_page.status, monitor.snapshot().resets), (200, 1));
    for (body, status) in [("workers=2", 400), ("", 400), ("a=1&b=2", 400), (&*"x".repeat(5000), 413)] {
        assert_eq!(ask(at, "POST", "/api/set", &[&good], body).status, status, "{body}");
    }
    assert_eq!(ask(at, "GET", "/api/settings", &[&good], "").json()["changeable"], true);
    assert_eq!(ask(at, "GET", "/metrics", &[&good], "").status, 200);
}

#[test]
fn a_door_without_a_token_changes_nothing() {
    let monitor = monitor();
    let door = Door::serve(&monitor, options()).unwrap();
    let answer = ask(door.address(), "POST", "/api/set", &[], "slow_message_threshold_ms=7");
    assert_eq!(answer.status, 403);
    assert!(answer.text().contains("no token"), "{}", answer.text());
    assert_eq!(ask(door.address(), "POST", "/api/reset", &["Authorization: Bearer x"], "").status, 403);
    assert_eq!(monitor.snapshot().resets, 0);
}

#[test]
fn a_foreign_host_is_refused_while_others_are_served() {
    let monitor = monitor();
    let door = Door::serve(&monitor, options().name("Watch.Example")).unwrap();
    let at = door.address();
    for (host, status) in [
        ("localhost", 200),
        ("127.0.0.1:9090", 200),
        ("[::1]", 200),
        ("watch.example:80", 200),
        ("evil.example", 403),
        ("127.0.0.1.evil.example", 403),
        ("a b", 403),
    ] {
        for path in ["/", "/metrics", "/api/stats", "/api/info"] {
            assert_eq!(ask(at, "GET", path, &[&format!("Host: {host}")], "").status, status, "{host}{path}");
        }
        assert_eq!(ask(at, "GET", "/healthz", &[&format!("Host: {host}")], "").status, 200, "a probe");
    }
    let two = ask(at, "GET", "/metrics", &["Host: localhost", "Host: evil.example"], "");
    assert!([400, 403].contains(&two.status), "{}", two.status);
    assert_eq!(
        raw(at, b"GET http://evil.example/metrics HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
            .status,
        403
    );
    assert_eq!(raw(at, b"GET /metrics HTTP/1.0\r\n\r\n").status, 403);
}

#[test]
fn readiness_is_the_hosts() {
    let is_ready = std::sync::Arc::new(std::sync::Mutex::new(Err("not yet".to_owned())));
    let asked = std::sync::Arc::clone(&is_ready);
    let door = Door::serve(&monitor(), options().ready(move || asked.lock().unwrap().clone())).unwrap();
    let answer = get(door.address(), "/readyz");
    assert_eq!((answer.status, answer.text().as_str()), (503, "not yet"));
    *is_ready.lock().unwrap() = Ok(());
    assert_eq!(get(door.address(), "/readyz").status, 200);
}

#[test]
fn large_answers_are_compressed_if_the_client_wants_that() {
    let door = Door::serve(&monitor(), options()).unwrap();
    let plain = get(door.address(), "/api/stats");
    assert_eq!(plain.header("content-encoding"), None);
    assert!(plain.header("vary").unwrap().contains("Accept-Encoding"));
    let packed = ask(door.address(), "GET", "/api/stats", &["Accept-Encoding: br, gzip"], "");
    assert_eq!(packed.header("content-encoding"), Some("gzip"));
    assert!(packed.body.len() * 3 < plain.body.len());
    let mut text = String::new();
    flate2::read::GzDecoder::new(&packed.body[..]).read_to_string(&mut text).unwrap();
    assert_eq!(serde_json::from_str::<Value>(&text).unwrap()["messages"]["total"], 3);
    let refused = ask(door.address(), "GET", "/api/stats", &["Accept-Encoding: gzip;q=0"], "");
    assert_eq!(refused.header("content-encoding"), None);
}

#[test]
fn metrics_come_in_the_format_that_the_client_prefers() {
    let monitor = monitor();
    monitor.tick();
    let door = Door::serve(&monitor, options().process_metrics(false)).unwrap();
    let at = door.address();
    let text = get(at, "/metrics");
    assert_eq!(text.header("content-type"), Some("text/plain; version=0.0.4; charset=utf-8"));
    for name in ["corelane_http_requests_total 1", "corelane_http_refused_total{reason=\"token\"} 0"] {
        assert!(text.text().lines().any(|line| line == name), "{name} in {}", text.text());
    }
    assert!(!text.text().contains("\nprocess_"));
    let asked = [
        "Accept: application/openmetrics-text; version=1.0.0; q=0.6, text/plain; q=0.3",
        "Accept-Encoding: gzip",
    ];
    let open = ask(at, "GET", "/metrics", &asked, "");
    let kind = "application/openmetrics-text; version=1.0.0; charset=utf-8; escaping=underscores";
    assert_eq!((open.header("content-type"), open.header("content-encoding")), (Some(kind), Some("gzip")));
    let mut unpacked = String::new();
    flate2::read::GzDecoder::new(&open.body[..]).read_to_string(&mut unpacked).unwrap();
    assert!(unpacked.ends_with("\n# EOF\n") && unpacked.contains("# TYPE corelane_http_requests counter\n"));
    assert!(open.body.len() * 4 < unpacked.len(), "{} of {}", open.body.len(), unpacked.len());
    drop(door);
    let other = Door::serve(&monitor, options()).unwrap();
    assert!(get(other.address(), "/metrics").text().contains("\nprocess_cpu_seconds_total "));
}

#[test]
fn huge_heads_are_refused() {
    let door = Door::serve(&monitor(), options()).unwrap();
    let at = door.address();
    let long = format!("X: {}", "x".repeat(20_000));
    assert_eq!(ask(at, "GET", "/healthz", &[&long], "").status, 431);
    let many: Vec<_> = (0..100).map(|number| format!("X{number}: y")).collect();
    let many: Vec<_> = many.iter().map(String::as_str).collect();
    assert_eq!(ask(at, "GET", "/healthz", &many, "").status, 431);
    let path = format!("/{}", "x".repeat(20_000));
    assert!([414, 431].contains(&get(at, &path).status));
    assert_eq!(get(at, "/healthz").status, 200);
}

#[test]
fn slow_clients_are_closed_and_delay_nobody() {
    let patience = Duration::from_millis(400);
    let door = Door::serve(&monitor(), options().patience(patience)).unwrap();
    let at = door.address();
    let start = Instant::now();
    // A head that does not end, no head at all, a body that does not come, an answer that nobody reads.
    let mut half = connect(at);
    half.write_all(b"GET / HTTP/1.1\r\nHost: localhost\r\n").unwrap();
    let mut silent = connect(at);
    let mut deaf = connect(at);
    for _ in 0..2_000 {
        // As many answers as fit into both sockets' buffers, and more.
        if deaf.write_all(b"GET /api/schema HTTP/1.1\r\nHost: localhost\r\n\r\n").is_err() {
            break;
        }
    }
    // Whoever asks is closed as well if this thread loses the processor in between.
    let is_served = || get(at, "/healthz").status == 200;
    until(is_served);
    let mut rest = Vec::new();
    for stream in [&mut half, &mut silent] {
        // Closed by the door, with or without an answer.
        let _ = stream.read_to_end(&mut rest);
    }
    until(|| deaf.write_all(b"x").is_err());
    assert!(start.elapsed() >= patience);
    until(is_served);
}

#[test]
fn a_thousand_idle_connections_keep_nobody_out() {
    let door = Door::serve(&monitor(), options()).unwrap();
    let at = door.address();
    // More than the process may have open on some machines, so each is opened by one that has room.
    let mut crowd = Vec::new();
    for number in 0..1000 {
        crowd.push(connect(at));
        if number % 100 == 0 {
            assert_eq!(get(at, "/metrics").status, 200, "after {number}");
        }
    }
    assert_eq!(get(at, "/api/stats").status, 200);
    let text = get(at, "/metrics").text();
    assert!(text.contains("corelane_connections_open"), "{text}");
    drop(crowd);
    assert_eq!(get(at, "/api/stats").status, 200);
}

#[test]
fn it_says_when_it_listens_beyond_the_loopback_without_a_token() {
    let warned = |options: Options| {
        let (subscriber, log) = support::log();
        let door =
            tracing::subscriber::with_default(subscriber, || Door::serve(&monitor(), options)).unwrap();
        drop(door);
        log.lock().unwrap().iter().any(|line| line.1.contains("without a token"))
    };
    assert!(warned(Options::new("0.0.0.0:0")));
    assert!(!warned(Options::new("0.0.0.0:0").token(SPELLED)));
    assert!(!warned(options()));
}

#[test]
fn bad_options_are_refused_before_anything_listens() {
    let refused = |options: Options| Door::serve(&monitor(), options).unwrap_err();
    let text = |options| refused(options).to_string();
    assert!(text(options().token("short")).contains("5 characters; allowed: 16 to 256"));
    assert!(text(options().token(TOKEN)).contains("has a space"));
    assert!(!text(options().token("short and secret")).contains("secret"));
    assert!(text(options().page("/x", |_| Ok(String::new()))).contains("/x"));
    assert!(text(options().page("/api/stats", |_| Ok(String::new()))).contains("taken"));
    assert!(text(options().limits(4, 4)).contains("fewer streams"));
    assert!(matches!(refused(Options::new("nowhere")), ServeError::Address { .. }));
    let door = Door::serve(&monitor(), options()).unwrap();
    assert!(matches!(refused(Options::new(door.address().to_string())), ServeError::Address { .. }));
    assert!(!format!("{:?}", options().token(SPELLED)).contains(SPELLED));
}

#[test]
fn a_stopped_door_has_closed_everything() {
    let door = Door::serve(&monitor(), options()).unwrap();
    let at = door.address();
    let mut idle = connect(at);
    idle.write_all(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n").unwrap();
    let mut byte = [0];
    idle.read_exact(&mut byte).unwrap();
    assert!(door.stop(LONG));
    let mut rest = Vec::new();
    let _ = idle.read_to_end(&mut rest);
    assert!(TcpStream::connect(at).is_err());
}

/// Reads events from a stream.
struct Events {
    stream: TcpStream,
    buffer: String,
}

struct Event {
    id: u64,
    data: Value,
}

impl Event {
    /// Puts the event's slots in the place of the known ones from their beginning on, as a page does. Starts differ by a
    /// millisecond between readings.
    fn put(&self, slots: &mut BTreeMap<u64, u64>) {
        let columns = &self.data["timeline"]["messages"];
        let column = |name: &str| -> Vec<u64> {
            columns[name].as_array().unwrap().iter().map(|value| value.as_u64().unwrap()).collect()
        };
        let (start, count) = (column("start"), column("count"));
        if let Some(first) = start.first() {
            slots.retain(|known, _| known + 500 < *first);
        }
        slots.extend(start.into_iter().zip(count));
    }
}

impl Events {
    fn open(address: SocketAddr, query: &str, header: &str) -> Self {
        let mut stream = connect(address);
        let request = format!("GET /api/events{query} HTTP/1.1\r\nHost: localhost\r\n{header}\r\n");
        stream.write_all(request.as_bytes()).unwrap();
        let mut events = Self { stream, buffer: String::new() };
        let head = events.until("\r\n\r\n").unwrap();
        assert!(head.starts_with("HTTP/1.1 200") && head.contains("text/event-stream"), "{head}");
        events
    }

    fn until(&mut self, end: &str) -> Option<String> {
        loop {
            if let Some(place) = self.buffer.find(end) {
                let rest = self.buffer.split_off(place + end.len());
                return Some(std::mem::replace(&mut self.buffer, rest));
            }
            let mut bytes = [0; 65_536];
            match self.stream.read(&mut bytes) {
                Ok(0) | Err(_) => return None,
                Ok(count) => self.buffer.push_str(std::str::from_utf8(&bytes[..count]).unwrap()),
            }
        }
    }

    fn next(&mut self) -> Option<Event> {
        loop {
            let text = self.until("\n\n")?;
            let field = |name: &str| text.lines().find_map(|line| line.strip_prefix(name)).map(str::to_owned);
            if let (Some(id), Some(data)) = (field("id: "), field("data: ")) {
                assert_eq!(field("event: ").as_deref(), Some("figures"));
                return Some(Event { id: id.parse().unwrap(), data: serde_json::from_str(&data).unwrap() });
            }
        }
    }
}

#[test]
fn events_bring_every_slot_and_a_client_resumes() {
    let monitor = monitor();
    monitor.start().unwrap();
    let door = Door::serve(&monitor, options()).unwrap();
    let at = door.address();
    // The three messages were recorded before the monitor's first second was over.
    let mut events = Events::open(at, "", "");
    let counted = |slots: &BTreeMap<u64, u64>| slots.values().sum::<u64>();
    let (mut slots, mut last) = (BTreeMap::new(), 0);
    let started = Instant::now();
    while counted(&slots) < 3 {
        let event = events.next().unwrap();
        assert!(event.id >= last);
        assert_eq!(event.data["stats"]["messages"]["total"], 3);
        event.put(&mut slots);
        last = event.id;
        assert!(started.elapsed() < LONG);
    }
    drop(events);
    record(&monitor, 5);
    std::thread::sleep(Duration::from_millis(2200));
    // A new door stands for a server that was restarted: ids mean the same there.
    let other = Door::serve(&monitor, options()).unwrap();
    for (at, query, header) in [
        (at, String::new(), format!("Last-Event-ID: {last}\r\n")),
        (other.address(), format!("?parts=messages&after={last}"), String::new()),
    ] {
        let (mut again, mut slots) = (Events::open(at, &query, &header), slots.clone());
        while counted(&slots) < 8 {
            let event = again.next().unwrap();
            assert_eq!(event.data["stats"].get("types").is_none(), !query.is_empty());
            assert!(event.data["stats"]["time_milliseconds"].as_u64() >= Some(last));
            event.put(&mut slots);
        }
        assert_eq!(counted(&slots), 8);
    }
}

#[test]
fn events_are_compressed_if_the_client_accepts_that() {
    let monitor = monitor();
    let door = Door::serve(&monitor, options()).unwrap();
    let mut stream = connect(door.address());
    let head =
        "GET /api/events?parts=slow,exporters HTTP/1.1\r\nHost: localhost\r\nAccept-Encoding: gzip\r\n\r\n";
    stream.write_all(head.as_bytes()).unwrap();
    let mut reader = std::io::BufReader::new(stream);
    let mut line = String::new();
    let mut is_gzip = false;
    while line != "\r\n" {
        line.clear();
        reader.read_line(&mut line).unwrap();
        is_gzip |= line == "content-encoding: gzip\r\n";
    }
    assert!(is_gzip);
    // Each event can be read as soon as its chunk is there, without the next.
    let (mut decoder, mut events) = (flate2::write::GzDecoder::new(Vec::new()), 0);
    let mut plain = Vec::new();
    while events < 3 {
        line.clear();
        reader.read_line(&mut line).unwrap();
        let mut chunk = vec![0; usize::from_str_radix(line.trim(), 16).unwrap() + 2];
        reader.read_exact(&mut chunk).unwrap();
        decoder.write_all(&chunk[..chunk.len() - 2]).unwrap();
        decoder.flush().unwrap();
        plain.append(decoder.get_mut());
        let text = std::str::from_utf8(&plain).unwrap();
        assert!(text.ends_with("\n\n"), "{text}");
        events = text.matches("event: figures").count();
    }
    let text = String::from_utf8(plain).unwrap();
    let data = text.lines().find_map(|line| line.strip_prefix("data: ")).unwrap();
    let stats = serde_json::from_str::<Value>(data).unwrap()["stats"].clone();
    assert!(stats.get("slow_messages").is_some() && stats.get("exporters").is_some());
    assert!(stats.get("types").is_none());
}

#[test]
fn streams_are_limited_and_end_with_the_door() {
    let door = Door::serve(&monitor(), options().limits(8, 2)).unwrap();
    let at = door.address();
    let mut events = [Events::open(at, "", ""), Events::open(at, "", "")];
    events.iter_mut().for_each(|one| drop(one.next().unwrap()));
    assert_eq!(get(at, "/api/events").status, 503);
    // Idle connections do not crowd a stream out.
    let idle: Vec<_> = (0..50).map(|_| connect(at)).collect();
    events.iter_mut().for_each(|one| drop(one.next().unwrap()));
    drop(idle);
    let [first, mut second] = events;
    drop(first);
    let opened = || ask_for_stream(at) == 200;
    until(opened);
    assert!(door.stop(LONG));
    while second.next().is_some() {}
}

/// The status of a request for a stream, which is closed at once.
fn ask_for_stream(address: SocketAddr) -> u16 {
    let mut stream = connect(address);
    stream.write_all(b"GET /api/events HTTP/1.1\r\nHost: localhost\r\n\r\n").unwrap();
    let mut start = [0; 12];
    stream.read_exact(&mut start).unwrap();
    std::str::from_utf8(&start[9..]).unwrap().parse().unwrap()
}

#[test]
fn it_serves_tls_and_reads_a_new_certificate() {
    if support::lacks("openssl", "version") || support::lacks("curl", "--version") {
        return;
    }
    let folder = std::env::temp_dir().join(format!("corelane-http-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let (key, chain) = (folder.join("key.pem"), folder.join("chain.pem"));
    let certify = |name: &str| {
        let made = Command::new("openssl")
            .args(["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"])
            .args(["-days", "2", "-subj", &format!("/CN={name}"), "-addext", "subjectAltName=IP:127.0.0.1"])
            .arg("-keyout")
            .arg(&key)
            .arg("-out")
            .arg(&chain)
            .output()
            .unwrap();
        assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    };
    certify("first");
    let certificate = Certificate::load(&key, &chain).unwrap();
    let door =
        Door::serve(&monitor(), options().tls(certificate).patience(Duration::from_millis(500))).unwrap();
    let seen = || {
        let url = format!("https://{}/api/stats", door.address());
        let said = Command::new("curl").args(["-s", "--cacert"]).arg(&chain).arg(&url).output().unwrap();
        said.status.success() && serde_json::from_slice::<Value>(&said.stdout).is_ok()
    };
    // A client that has no processor before it has said a word is not answered either.
    until(seen);
    // Without TLS, and without a word, nobody is answered, and others are.
    assert_eq!(get(door.address(), "/healthz").status, 0);
    let mut silent = connect(door.address());
    until(seen);
    let mut rest = Vec::new();
    let _ = silent.read_to_end(&mut rest);
    certify("second");
    until(seen);
    std::fs::write(&chain, "nonsense").unwrap();
    let error = Certificate::load(&key, &chain).unwrap_err();
    assert!(matches!(error, ServeError::Tls { is_key: false, .. }), "{error}");
    std::fs::remove_dir_all(&folder).unwrap();
}
