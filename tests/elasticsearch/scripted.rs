//! A server on loopback that answers as a test says, and stores documents as Elasticsearch does: once per id.

use serde_json::{Value, json};
use std::collections::HashMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::time::Duration;

pub(crate) enum Reply {
    /// Stores everything.
    Items(Vec<u64>),
    /// Stores up to this many documents; more are too large.
    AtMost(usize),
    StoreAndHangUp,
    Status(u16),
    Body(&'static str),
    Silence,
}

impl Reply {
    /// Every document is stored.
    pub(crate) fn ok() -> Self {
        Self::Items(Vec::new())
    }
}

#[derive(Clone, Debug)]
pub(crate) struct Stored {
    pub(crate) stream: String,
    pub(crate) id: String,
    pub(crate) body: Value,
}

#[derive(Clone, Debug)]
pub(crate) struct Asked {
    pub(crate) path: String,
    pub(crate) authorization: String,
}

#[derive(Default)]
struct State {
    stored: Vec<Stored>,
    asked: Vec<Asked>,
    turns: HashMap<String, usize>,
}

pub(crate) struct Scripted {
    port: u16,
    state: Arc<Mutex<State>>,
}

impl Scripted {
    /// `script` gets the path without the query, and how often the path was asked for before.
    pub(crate) fn start(script: impl Fn(&str, usize) -> Reply + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let state = Arc::new(Mutex::new(State::default()));
        let (shared, script) = (Arc::clone(&state), Arc::new(script));
        std::thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let (state, script) = (Arc::clone(&shared), Arc::clone(&script));
                std::thread::spawn(move || while serve(&stream, &state, &*script).is_some() {});
            }
        });
        Self { port, state }
    }

    pub(crate) fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    pub(crate) fn documents(&self) -> Vec<Stored> {
        self.state.lock().unwrap().stored.clone()
    }

    pub(crate) fn requests(&self) -> Vec<Asked> {
        self.state.lock().unwrap().asked.clone()
    }
}

/// Answers one request. None at the end of the connection.
fn serve(stream: &TcpStream, state: &Mutex<State>, script: &dyn Fn(&str, usize) -> Reply) -> Option<()> {
    stream.set_read_timeout(Some(Duration::from_secs(30))).ok()?;
    let mut reader = BufReader::new(stream);
    let mut line = String::new();
    reader.read_line(&mut line).ok().filter(|read| *read > 0)?;
    let path = line.split(' ').nth(1)?.to_owned();
    let (mut length, mut authorization) = (0, String::new());
    loop {
        line.clear();
        reader.read_line(&mut line).ok()?;
        let Some((name, value)) = line.trim_end().split_once(": ") else { break };
        match name.to_ascii_lowercase().as_str() {
            "content-length" => length = value.parse().ok()?,
            "authorization" => authorization = value.to_owned(),
            _ => {}
        }
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body).ok()?;
    let plain = path.split('?').next()?.to_owned();
    let turn = {
        let mut state = state.lock().unwrap();
        state.asked.push(Asked { path, authorization });
        let turn = state.turns.entry(plain.clone()).or_insert(0);
        *turn += 1;
        *turn - 1
    };
    let text = String::from_utf8(body).ok()?;
    let (status, answer) = match script(&plain, turn) {
        Reply::Items(statuses) if plain == "/_bulk" => (200, store(state, &text, &statuses)),
        Reply::Items(_) => (200, r#"{"acknowledged":true}"#.to_owned()),
        Reply::AtMost(limit) if text.lines().count() > 2 * limit => (413, String::new()),
        Reply::AtMost(_) => (200, store(state, &text, &[])),
        Reply::StoreAndHangUp => {
            store(state, &text, &[]);
            stream.shutdown(std::net::Shutdown::Both).ok()?;
            return None;
        }
        Reply::Status(status) => (status, "as the test says".to_owned()),
        Reply::Body(body) => (200, body.to_owned()),
        Reply::Silence => {
            std::thread::sleep(Duration::from_secs(30));
            return None;
        }
    };
    let mut stream = stream;
    let head = format!(
        "HTTP/1.1 {status} X\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n",
        answer.len()
    );
    stream.write_all(head.as_bytes()).ok()?;
    stream.write_all(answer.as_bytes()).ok()
}

/// Stores the documents of a bulk request. `statuses` are the answers to the first ones, and the last of them to the
/// rest; without any, all are stored.
fn store(state: &Mutex<State>, text: &str, statuses: &[u64]) -> String {
    let mut state = state.lock().unwrap();
    let lines: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let items: Vec<_> = lines
        .chunks(2)
        .enumerate()
        .map(|(place, pair)| {
            let (action, body) = (&pair[0]["create"], &pair[1]);
            let (stream, id) = (action["_index"].as_str().unwrap(), action["_id"].as_str().unwrap());
            let mut status = statuses.get(place).or(statuses.last()).copied().unwrap_or(201);
            if status == 201 && state.stored.iter().any(|one| one.id == id && one.stream == stream) {
                status = 409;
            }
            if status == 201 {
                state.stored.push(Stored {
                    stream: stream.to_owned(),
                    id: id.to_owned(),
                    body: body.clone(),
                });
            }
            json!({ "create": { "status": status, "error": { "type": "as_the_test_says", "reason": "no" } } })
        })
        .collect();
    json!({ "items": items }).to_string()
}
