//! The commands for scripts, against an HTTP door in this process.

// The functions that the tests share.
#![allow(clippy::unwrap_used)]

use corelane::config::Config;
use corelane::http::{Certificate, Door, Options};
use corelane::monitor::Monitor;
use corelane::record::{Measured, RecordedMessage};
use serde_json::Value;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::Duration;

const TOKEN: &str = "0123456789abcdef-token";
const HOSTILE: &str = "a b\u{1b}[2J\u{9b}m";

fn message(monitor: &Monitor, client: &str, milliseconds: u64) {
    monitor.record(&RecordedMessage {
        client,
        message_type: "OFFER",
        protocol: "peerjs",
        application: "app",
        measured: Measured {
            bytes: 10,
            processing: Duration::from_millis(milliseconds),
            ..Measured::default()
        },
    });
}

/// A monitor with three clients and slow messages. It is not started, so nothing raises an alert.
fn monitor() -> Monitor {
    let mut config = Config::default();
    config.monitor.slow_message_threshold = Duration::from_millis(100);
    let monitor = Monitor::new(config).unwrap();
    for client in ["ann", "ben", HOSTILE] {
        monitor.connect(client, "app").unwrap();
    }
    message(&monitor, "ann", 1);
    message(&monitor, "ann", 150);
    message(&monitor, HOSTILE, 1_000);
    monitor
}

fn serve(monitor: &Monitor, token: bool) -> (Door, String) {
    let options = Options::new("127.0.0.1:0");
    let options = if token { options.token(TOKEN) } else { options };
    let door = Door::serve(monitor, options).unwrap();
    let address = door.address().to_string();
    (door, address)
}

fn run(arguments: &[&str], token: Option<&str>) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_corelane"));
    command.args(arguments).env_remove("CORELANE_TOKEN").env_remove("CORELANE_ADDRESS");
    if let Some(token) = token {
        command.env("CORELANE_TOKEN", token);
    }
    command.output().unwrap()
}

fn out(output: &Output) -> String {
    assert!(output.stderr.is_empty(), "{}", String::from_utf8_lossy(&output.stderr));
    let out = String::from_utf8(output.stdout.clone()).unwrap();
    assert!(!out.chars().any(|char| char != '\n' && char.is_control()), "{out:?}");
    out
}

/// The status and the one line on stderr.
fn problem(output: &Output) -> (Option<i32>, String) {
    assert!(output.stdout.is_empty(), "{}", String::from_utf8_lossy(&output.stdout));
    (output.status.code(), String::from_utf8(output.stderr.clone()).unwrap())
}

#[test]
fn clients_are_lines_of_fields_and_json() {
    let monitor = monitor();
    let (_door, address) = serve(&monitor, false);
    let text = out(&run(&["clients", &address], None));
    let lines: Vec<Vec<&str>> = text.lines().map(|line| line.split_whitespace().collect()).collect();
    assert_eq!(lines[0][..6], ["CLIENT", "APPLICATION", "PROTOCOL", "CONNECTED", "HEALTHY", "MESSAGES"]);
    assert!(lines.iter().all(|line| line.len() == lines[0].len()), "{text}");
    assert_eq!((lines.len(), lines[1][0], lines[1][5]), (3, "ann", "2"));
    assert_eq!(lines[2][0], r"a\u{20}b\u{1b}[2J\u{9b}m");

    let json = out(&run(&["clients", &address, "--by", "maximum", "--json"], None));
    assert!(json.contains("\\u009b"), "{json}");
    let clients: Vec<Value> = serde_json::from_str(&json).unwrap();
    assert_eq!((clients.len(), clients[0]["name"].as_str()), (2, Some(HOSTILE)));

    assert!(lines[1][lines[1].len() - 1] == "-" && clients[0]["address"].is_null());

    let options = Options::new("127.0.0.1:0").page("/api/peers", |_| {
        Ok(r#"{"total": 1, "peers": [{"id": "ann", "address": "192.0.2.7", "since_milliseconds": 1}]}"#
            .to_owned())
    });
    let door = Door::serve(&monitor, options).unwrap();
    let text = out(&run(&["clients", &door.address().to_string()], None));
    assert!(text.lines().nth(1).unwrap().ends_with("192.0.2.7"), "{text}");

    std::thread::sleep(Duration::from_millis(20));
    let idle = out(&run(&["clients", &address, "--idle", "10ms"], None));
    assert!(idle.lines().any(|line| line.starts_with("ben ")), "{idle}");
    let none = out(&run(&["clients", &address, "--idle", "1h"], None));
    assert_eq!(none.lines().count(), 1, "{none}");
}

/// Makes a key and a certificate for 127.0.0.1, with this basic constraint.
fn certify(folder: &Path, name: &str, constraint: &str) -> (PathBuf, PathBuf) {
    let (key, chain) = (folder.join(format!("{name}.key.pem")), folder.join(format!("{name}.pem")));
    let made = Command::new("openssl")
        .args(["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"])
        .args(["-days", "2", "-subj", &format!("/CN={name}"), "-addext", "subjectAltName=IP:127.0.0.1"])
        .args(["-addext", &format!("basicConstraints=critical,{constraint}")])
        .arg("-keyout")
        .arg(&key)
        .arg("-out")
        .arg(&chain)
        .output()
        .unwrap();
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    (key, chain)
}

/// A self-made certificate is trusted if `--ca-file` names it, and never otherwise. The token goes to no other server.
#[test]
fn https_needs_a_certificate_that_is_trusted() {
    if Command::new("openssl").arg("version").output().is_err() {
        assert!(std::env::var_os("CORELANE_REQUIRE_ALL").is_none(), "openssl is missing");
        println!("skipped: openssl is missing");
        return;
    }
    let folder = std::env::temp_dir().join(format!("corelane-tls-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let (key, chain) = certify(&folder, "door", "CA:FALSE");
    let (_, other) = certify(&folder, "other", "CA:FALSE");
    let certificate = Certificate::load(&key, &chain).unwrap();
    let monitor = monitor();
    let door = Door::serve(&monitor, Options::new("127.0.0.1:0").token(TOKEN).tls(certificate)).unwrap();
    let (port, address) = (door.address().port(), format!("https://{}", door.address()));
    let (trusted, other) = (chain.to_str().unwrap(), other.to_str().unwrap());

    let text = out(&run(&["report", &address, "--ca-file", trusted], Some(TOKEN)));
    assert!(text.contains("OFFER"));
    let (status, line) = problem(&run(&["report", &address, "--ca-file", trusted], None));
    assert!(status == Some(2) && line.contains("wants a token"), "{line}");
    // Without the file the list of Mozilla counts, which has no such certificate; another certificate does not help.
    for more in [&[][..], &["--ca-file", other]] {
        let (status, line) = problem(&run(&[&["report", &address], more].concat(), Some(TOKEN)));
        assert_eq!((status, line.lines().count()), (Some(2), 1), "{line}");
        assert!(line.contains("certificate") && !line.contains(TOKEN), "{line}");
    }
    // The certificate is for an address, not for this name.
    let named = format!("https://localhost:{port}");
    let (status, line) = problem(&run(&["report", &named, "--ca-file", trusted], Some(TOKEN)));
    assert!(status == Some(2) && line.contains("certificate"), "{line}");
    // What `openssl req -x509` makes by default is a certificate of an authority, and no server's. The line says so.
    let (key, chain) = certify(&folder, "authority", "CA:TRUE");
    let certificate = Certificate::load(&key, &chain).unwrap();
    let authority = Door::serve(&monitor, Options::new("127.0.0.1:0").tls(certificate)).unwrap();
    let address_there = format!("https://{}", authority.address());
    let (status, line) =
        problem(&run(&["report", &address_there, "--ca-file", chain.to_str().unwrap()], None));
    assert!(status == Some(2) && line.contains("CA:FALSE"), "{line}");
    // Plain HTTP there: no figures, and one line.
    let plain = format!("http://127.0.0.1:{port}");
    let (status, line) = problem(&run(&["report", &plain], Some(TOKEN)));
    assert_eq!((status, line.lines().count()), (Some(2), 1), "{line}");

    let token = folder.join("token");
    std::fs::write(&token, TOKEN).unwrap();
    let program = env!("CARGO_BIN_EXE_corelane");
    for (more, shown, hidden) in
        [(format!("--ca-file {trusted}"), "OFFER", "ertificate"), (String::new(), "ertificate", "OFFER")]
    {
        let top = format!("exec {program} top {address} --token-file {} {more}", token.display());
        let line = format!("stty rows 24 cols 120; {top}");
        let Some(written) = on_a_terminal(&line, shown, Ending::Keys(b"q")) else {
            eprintln!("skipped: there is no `script` here");
            break;
        };
        assert!(written.contains(shown) && !written.contains(hidden), "{written:?}");
    }
    std::fs::remove_dir_all(&folder).unwrap();
}

#[test]
fn slow_messages_are_listed() {
    let monitor = monitor();
    let (_door, address) = serve(&monitor, false);
    let text = out(&run(&["slow", &address], None));
    let found = text.lines().find(|line| line.contains(" ann ")).unwrap();
    let fields: Vec<_> = found.split_whitespace().collect();
    assert_eq!(fields[1..6], ["1", "ann", "peerjs", "OFFER", "app"]);
    assert_eq!((fields[9], fields[12]), ("150.000", "ok"));
    let entries: Vec<Value> = serde_json::from_str(&out(&run(&["slow", &address, "--json"], None))).unwrap();
    assert_eq!(entries.len(), 2);
}

#[test]
fn reports_come_in_every_format() {
    let monitor = monitor();
    let (_door, address) = serve(&monitor, false);
    assert!(out(&run(&["report", &address], None)).contains("OFFER"));
    let json: Value =
        serde_json::from_str(&out(&run(&["report", &address, "--format", "json"], None))).unwrap();
    assert_eq!(json["messages"]["total"], 3);
    let html = run(&["report", &format!("http://{address}/"), "--format", "html"], None);
    assert!(String::from_utf8_lossy(&html.stdout).starts_with("<!"));
}

#[test]
fn the_status_says_whether_an_alert_fires() {
    let quiet = monitor();
    let (_quiet_door, address) = serve(&quiet, false);
    let output = run(&["alerts", &address, "--firing", "--json"], None);
    assert_eq!((output.status.code(), out(&output).trim()), (Some(0), "[]"));

    let mut config = Config::default();
    config.monitor.interval = Duration::from_millis(100);
    config.thresholds.connections = 1;
    let busy = Monitor::new(config).unwrap();
    busy.start().unwrap();
    for client in ["ann", "ben", "cid"] {
        busy.connect(client, "app").unwrap();
    }
    let (_door, address) = serve(&busy, false);
    let mut output = run(&["alerts", &address, "--firing"], None);
    for _ in 0..300 {
        if output.status.code() == Some(1) {
            break;
        }
        std::thread::sleep(Duration::from_millis(100));
        output = run(&["alerts", &address, "--firing"], None);
    }
    assert_eq!(output.status.code(), Some(1));
    let text = out(&output);
    let line: Vec<_> = text.lines().nth(1).unwrap().split_whitespace().collect();
    assert_eq!(line[..3], ["firing", "warning", "connections"]);
    let alerts: Vec<Value> = serde_json::from_str(&out(&run(&["alerts", &address, "--json"], None))).unwrap();
    assert_eq!(alerts[0]["name"], "connections");
}

#[test]
fn a_token_comes_from_a_file_or_the_environment() {
    let monitor = monitor();
    let (_door, address) = serve(&monitor, true);
    let (status, text) = problem(&run(&["slow", &address], None));
    assert!(status == Some(2) && text.contains("--token-file"), "{text}");
    let (status, text) = problem(&run(&["slow", &address], Some("0123456789abcdef-wrong")));
    assert!(status == Some(2) && text.contains("refuses the token") && !text.contains("wrong"), "{text}");
    out(&run(&["slow", &address], Some(TOKEN)));

    let file = std::env::temp_dir().join(format!("corelane-token-{}", std::process::id()));
    std::fs::write(&file, format!("{TOKEN}\n")).unwrap();
    let path = file.to_str().unwrap();
    // The file comes before the environment.
    out(&run(&["slow", &address, "--token-file", path], Some("0123456789abcdef-wrong")));
    std::fs::write(&file, "two words").unwrap();
    let (status, text) = problem(&run(&["slow", &address, "--token-file", path], None));
    assert!(status == Some(2) && text.contains("visible ASCII") && !text.contains("two"), "{text}");
    std::fs::remove_file(&file).unwrap();
    let (status, text) = problem(&run(&["slow", &address, "--token-file", path], None));
    assert!(status == Some(2) && text.contains("cannot be read"), "{text}");
}

#[test]
fn every_error_has_status_2_and_one_line() {
    let unused = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string();
    for (arguments, expected) in [
        (&["alerts", &unused][..], "refused"),
        (&["report", "a?b"], "is not valid"),
        (&["slow", "http://127.0.0.1:1/\u{1b}"], "is not valid"),
        (&["top", &unused], "needs a terminal"),
    ] {
        let (status, text) = problem(&run(arguments, None));
        assert!(status == Some(2) && text.contains(expected) && text.lines().count() == 1, "{text}");
    }
    for arguments in [
        &["clients", "--idle", "soon"][..],
        &["nothing"],
        &["clients", "--by", "x"],
        &["slow", "--token", "x"],
    ] {
        assert_eq!(run(arguments, None).status.code(), Some(2));
    }
    // A server that is no monitor.
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let answers = std::thread::spawn(move || {
        use std::io::{Read, Write};
        let (mut stream, _) = listener.accept().unwrap();
        let _ = stream.read(&mut [0; 1024]).unwrap();
        stream.write_all(b"HTTP/1.1 404 Not\r\nContent-Length: 3\r\n\r\n\x1b[m").unwrap();
    });
    let (status, text) = problem(&run(&["alerts", &address], None));
    answers.join().unwrap();
    assert!(status == Some(2) && text.contains("404") && !text.contains('\u{1b}'), "{text:?}");
}

/// How a test ends `corelane top`.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Ending {
    Keys(&'static [u8]),
    Signal(&'static str),
    /// The terminal goes away.
    Close,
}

/// The process that a shell has named.
fn pid(text: &str) -> &str {
    text.split("pid=").nth(1).unwrap().split_whitespace().next().unwrap()
}

/// What a shell's command line writes to a terminal of its own, which `script` makes. It is ended once it has shown a text.
/// `None` without `script`.
fn on_a_terminal(line: &str, shown: &str, ending: Ending) -> Option<String> {
    use std::io::{Read, Write};
    let mut script = Command::new("script");
    script.args(["-qec", line, "/dev/null"]).env("TERM", "xterm-256color").env_remove("NO_COLOR");
    script.stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut child = script.spawn().ok()?;
    // `script` would make a key of the end of its input: keep it open.
    let mut keys = child.stdin.take().unwrap();
    let mut out = child.stdout.take().unwrap();
    let (mut written, mut buffer, mut ended) = (Vec::new(), [0; 4096], false);
    loop {
        let count = out.read(&mut buffer).unwrap_or(0);
        if count == 0 {
            break;
        }
        written.extend_from_slice(&buffer[..count]);
        let text = String::from_utf8_lossy(&written);
        if !ended && text.contains(shown) {
            ended = true;
            match ending {
                Ending::Keys(bytes) => keys.write_all(bytes).unwrap(),
                Ending::Signal(name) => {
                    assert!(Command::new("kill").args([name, pid(&text)]).status().unwrap().success());
                }
                Ending::Close => child.kill().unwrap(),
            }
        }
    }
    child.wait().unwrap();
    Some(String::from_utf8_lossy(&written).into_owned())
}

#[test]
fn the_terminal_is_put_back() {
    let monitor = monitor();
    let (_door, address) = serve(&monitor, false);
    let endings = [
        Ending::Keys(b"6sq"),
        Ending::Keys(b"\x03"),
        Ending::Signal("-TERM"),
        Ending::Signal("-INT"),
        Ending::Signal("-HUP"),
    ];
    for ending in endings {
        let colour = ending != Ending::Keys(b"\x03");
        let set = if colour { "" } else { "export NO_COLOR=1; " };
        let top = format!("exec {} top {address}", env!("CARGO_BIN_EXE_corelane"));
        let line = format!("stty rows 24 cols 80; {set}sh -c 'echo pid=$$; {top}'; stty -a");
        let Some(written) = on_a_terminal(&line, "OFFER", ending) else {
            eprintln!("skipped: there is no `script` here");
            return;
        };
        let left = written.rfind("\u{1b}[?1049l").unwrap();
        let screen = written[..left].split("\u{1b}[?1049h").nth(1).unwrap();
        let after = &written[left..];
        assert!(screen.contains("messages") && after.contains("\u{1b}[?25h"), "{written:?}");
        assert!(after.contains(" icanon") && after.contains(" echo "), "{after:?}");
        // The name of a client begins with "a b", then clears the screen.
        assert!(!screen.contains("\u{1b}[2J\u{9b}") && !screen.contains('\u{9b}'), "{screen:?}");
        let colours = ["\u{1b}[38;5;", "\u{1b}[31m", "\u{1b}[35m"];
        assert!(colour || !colours.iter().any(|colour| screen.contains(colour)), "{screen:?}");
    }
}

#[test]
fn a_terminal_that_goes_away_ends_the_program() {
    let monitor = monitor();
    let (_door, address) = serve(&monitor, false);
    let line = format!(
        "stty rows 24 cols 80; sh -c 'echo pid=$$; exec {} top {address}'",
        env!("CARGO_BIN_EXE_corelane")
    );
    let Some(written) = on_a_terminal(&line, "OFFER", Ending::Close) else {
        eprintln!("skipped: there is no `script` here");
        return;
    };
    let status = format!("/proc/{}/status", pid(&written));
    let is_gone = || std::fs::read_to_string(&status).map_or(true, |text| text.contains("State:\tZ"));
    let ended = (0..200).any(|_| {
        std::thread::sleep(Duration::from_millis(100));
        is_gone()
    });
    assert!(ended, "the process still runs without its terminal");
}
