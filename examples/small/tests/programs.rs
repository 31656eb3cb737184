//! Starts each program on a free port, talks to it, ends it, and checks the figures that it prints at its end.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test")]

use serde_json::Value;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::time::Duration;

/// A read that takes longer means that the program hangs.
const PATIENCE: Duration = Duration::from_secs(60);

struct Program {
    child: Child,
    input: Option<ChildStdin>,
    output: BufReader<ChildStdout>,
    address: String,
}

impl Program {
    fn start(path: &str) -> Self {
        let mut child = Command::new(path)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("the program starts");
        let (input, output) = (child.stdin.take(), child.stdout.take().unwrap());
        let mut program = Self { child, input, output: BufReader::new(output), address: String::new() };
        let line = program.line();
        program.address = line.strip_prefix("listening on ").expect(&line).to_owned();
        program
    }

    /// The next line that the program prints.
    fn line(&mut self) -> String {
        let mut line = String::new();
        self.output.read_line(&mut line).unwrap();
        line.trim_end().to_owned()
    }

    fn type_line(&mut self, line: &str) {
        writeln!(self.input.as_mut().unwrap(), "{line}").unwrap();
    }

    fn connect(&self) -> TcpStream {
        let stream = TcpStream::connect(&self.address).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream
    }

    /// Ends the program, and returns its last line: the report.
    fn end(mut self) -> Value {
        drop(self.input.take());
        let mut rest = String::new();
        self.output.read_to_string(&mut rest).unwrap();
        assert!(self.child.wait().unwrap().success());
        serde_json::from_str(rest.lines().last().unwrap()).unwrap()
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        // After `end` there is nothing to end any more.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A client whose messages are lines.
struct Peer {
    reader: BufReader<TcpStream>,
}

impl Peer {
    fn start(program: &Program, first: &str) -> Self {
        let mut peer = Self { reader: BufReader::new(program.connect()) };
        peer.say(first);
        peer
    }

    fn say(&mut self, line: &str) {
        self.reader.get_mut().write_all(format!("{line}\n").as_bytes()).unwrap();
    }

    /// The next line; empty at the end of the connection.
    fn hear(&mut self) -> String {
        let mut line = String::new();
        self.reader.read_line(&mut line).unwrap();
        line.trim_end().to_owned()
    }

    /// Connects under a name, and returns once messages to it arrive.
    fn join(program: &Program, name: &str) -> Self {
        let mut peer = Self::start(program, name);
        peer.say(&format!(r#"{{"type":"offer","to":"{name}"}}"#));
        assert_eq!(peer.hear(), format!(r#"{{"from":"{name}","type":"offer","to":"{name}"}}"#));
        peer
    }
}

fn count(report: &Value, path: &str) -> u64 {
    let value = path.split('.').fold(report, |value, step| &value[step]);
    value.as_u64().unwrap_or_else(|| panic!("{path} is {value}"))
}

/// The figures of a message type.
fn typed<'a>(report: &'a Value, name: &str) -> &'a Value {
    report["types"].as_array().unwrap().iter().find(|one| one["name"] == name).expect("the type is listed")
}

fn routes(path: &str) {
    let program = Program::start(path);
    let (mut ann, mut ben) = (Peer::join(&program, "ann"), Peer::join(&program, "ben"));
    for number in 0..100 {
        ann.say(&format!(r#"{{"type":"offer","to":"ben","number":{number}}}"#));
    }
    for number in 0..100 {
        assert_eq!(ben.hear(), format!(r#"{{"from":"ann","type":"offer","to":"ben","number":{number}}}"#));
    }
    // A sender learns that its message has not arrived.
    ann.say(r#"{"type":"offer","to":"nobody"}"#);
    assert_eq!(ann.hear(), r#"{"type":"error","reason":"unknown_recipient"}"#);
    ann.say("no JSON");
    assert_eq!(ann.hear(), r#"{"type":"error","reason":"not_json"}"#);
    // A name is taken while its client is connected, and free once it has left.
    assert_eq!(Peer::start(&program, "ann").hear(), "");
    drop(ben);
    loop {
        let mut ben = Peer::start(&program, "ben");
        ben.say(r#"{"type":"offer","to":"ben"}"#);
        if !ben.hear().is_empty() {
            break;
        }
    }
    let report = program.end();
    assert_eq!(count(&report, "routing.accounting.failed"), 2);
    // From each join one, the offers, and the server's two answers.
    assert_eq!(count(&report, "routing.accounting.ok"), 3 + 100 + 2);
    assert_eq!(count(&report, "messages.failures.unknown_recipient"), 1);
    assert_eq!(count(&report, "messages.failures.not_json"), 1);
    assert_eq!(count(&report, "routing.accounting.in_flight"), 0);
}

#[test]
fn the_tokio_router_routes() {
    routes(env!("CARGO_BIN_EXE_router_tokio"));
}

#[test]
fn the_blocking_router_routes() {
    routes(env!("CARGO_BIN_EXE_router_blocking"));
}

#[test]
fn the_server_that_only_sends_sends_to_a_topic() {
    let mut program = Program::start(env!("CARGO_BIN_EXE_send_only"));
    program.type_line("weather rain");
    assert_eq!(program.line(), "line 1: nobody has subscribed");
    let mut peers = ["ann weather", "ben weather", "cleo sport"].map(|line| Peer::start(&program, line));
    for (peer, topic) in peers.iter_mut().zip(["weather", "weather", "sport"]) {
        assert_eq!(peer.hear(), format!("subscribed to {topic}"));
    }
    for number in 0..100 {
        program.type_line(&format!("weather {number} degrees"));
    }
    for peer in &mut peers[..2] {
        for number in 0..100 {
            assert_eq!(peer.hear(), format!("{number} degrees"));
        }
    }
    // Once a topic has no subscriber any more, the server learns that its news is lost.
    let [_, _, cleo] = peers;
    drop(cleo);
    let mut sent = 0;
    let lost = loop {
        sent += 1;
        program.type_line("sport goal");
        program.type_line("nothing goal"); // Prints a line, so that the read below never waits.
        let line = program.line();
        if !line.ends_with("nobody has subscribed") {
            break line;
        }
        assert!(sent < 1_000, "the subscriber has not left");
        std::thread::sleep(Duration::from_millis(20));
    };
    assert!(lost.ends_with(": unknown_room") || lost.ends_with(": recipient_closed"), "{lost}");
    let report = program.end();
    let news = typed(&report, "news");
    assert!(news["total"].as_u64().unwrap() >= 100, "{news}");
    assert_eq!(count(&report, "routing.accounting.accepted"), 100 + sent);
    assert!(count(&report, "routing.accounting.failed") >= 1);
}

/// Sends an HTTP request, and returns the answer's first line and its body.
fn ask(program: &Program, request: &str, body: &[u8]) -> (String, String) {
    let mut stream = program.connect();
    let length = body.len();
    let head =
        format!("{request} HTTP/1.1\r\nhost: test\r\nconnection: close\r\ncontent-length: {length}\r\n\r\n");
    stream.write_all(&[head.as_bytes(), body].concat()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    (head.lines().next().unwrap().to_owned(), body.to_owned())
}

#[test]
fn the_axum_server_shows_what_it_has_handled() {
    let program = Program::start(env!("CARGO_BIN_EXE_monitor_axum"));
    let ok = "HTTP/1.1 200 OK".to_owned();
    for _ in 0..10 {
        assert_eq!(ask(&program, "POST /message/ann/greeting", b"hello"), (ok.clone(), "HELLO".to_owned()));
    }
    let refused = ask(&program, "POST /message/ben/greeting", b"\xff");
    assert_eq!(refused, ("HTTP/1.1 400 Bad Request".to_owned(), "the message is not text".to_owned()));
    let (status, metrics) = ask(&program, "GET /metrics", b"");
    assert_eq!(status, ok);
    let counted = r#"type="greeting""#;
    assert!(metrics.lines().any(|line| line.contains(counted) && line.ends_with(" 11")), "{metrics}");
    let (status, report) = ask(&program, "GET /report", b"");
    assert_eq!(status, ok);
    for report in [serde_json::from_str(&report).unwrap(), program.end()] {
        assert_eq!((count(&report, "messages.total"), count(&report, "messages.failed")), (11, 1));
        let greeting = typed(&report, "greeting");
        assert_eq!((&greeting["total"], &greeting["failed"]), (&11.into(), &1.into()));
    }
}

/// The programs are meant to be read. Comments and blank lines do not count.
#[test]
fn each_program_has_less_than_100_lines() {
    let programs = [
        include_str!("../monitor_axum.rs"),
        include_str!("../router_tokio.rs"),
        include_str!("../router_blocking.rs"),
        include_str!("../send_only.rs"),
    ];
    for program in programs {
        let code = program.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with("//"));
        let count = code.count();
        assert!(count < 100, "{count}: {}", program.lines().next().unwrap());
    }
}
