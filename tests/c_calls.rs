//! Random calls of the C interface against a model that predicts each status: ports, clients, names, rooms, handles that are
//! stale or forged, NULL, texts that are not UTF-8. Everything runs on one thread with local workers, so the model is
//! exact. At the end every message and every client has ended exactly once. Invariants I4, I7.
//!
//! `CORELANE_C_CALLS` and `CORELANE_C_SEED` set the number of calls and the seed.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test"
)]

use corelane::ffi::*;
use std::collections::{HashMap, HashSet};
use std::ffi::c_char;
use std::mem::zeroed;

const NAMES: u64 = 10;
const ROOMS: u64 = 5;
const MAX_ROOMS: usize = 3;
const MAX_MEMBERS: usize = 4;
const MAX_CLIENT_ROOMS: usize = 2;
const MAX_PORTS: usize = 4;
const LOCAL: usize = 2;
const MAX_CLIENTS: usize = 24;
const MAX_MESSAGE: usize = 600;

const OK: i32 = CorelaneStatus::Ok as i32;
const NULL: i32 = CorelaneStatus::Null as i32;
const INVALID: i32 = CorelaneStatus::Invalid as i32;
const STALE: i32 = CorelaneStatus::Stale as i32;
const STATE: i32 = CorelaneStatus::State as i32;
const LIMIT: i32 = CorelaneStatus::Limit as i32;

/// Makes a call.
macro_rules! call {
    ($function:ident($($argument:expr),* $(,)?)) => {
        // SAFETY: every pointer is NULL, or points at a value of the right type that lives until the call returns; every
        // length and every size is that of the value.
        unsafe { $function($($argument),*) }
    };
}

/// A struct with its size and nothing else set.
macro_rules! sized {
    ($name:ident) => {{
        // SAFETY: the C interface's structs are valid if all bytes are zero.
        let mut value: $name = unsafe { zeroed() };
        value.size = size_of::<$name>() as u32;
        value
    }};
}

/// Numbers of a fuzzer's bytes as long as there are some, then of xorshift64*.
struct Random {
    state: u64,
    bytes: std::vec::IntoIter<u8>,
}

impl Random {
    fn next(&mut self) -> u64 {
        if let (Some(low), high) = (self.bytes.next(), self.bytes.next()) {
            return u64::from(u16::from_le_bytes([low, high.unwrap_or(0)])) << 11;
        }
        self.state ^= self.state >> 12;
        self.state ^= self.state << 25;
        self.state ^= self.state >> 27;
        self.state.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    fn below(&mut self, limit: u64) -> u64 {
        (self.next() >> 11) % limit
    }

    fn one_of<T: Copy>(&mut self, all: &[T]) -> Option<T> {
        (!all.is_empty()).then(|| all[self.below(all.len() as u64) as usize])
    }
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Phase {
    Open,
    /// Disconnected; its last event has not come.
    Leaving,
    /// Gone for good.
    Gone,
}

#[derive(Debug)]
struct Client {
    port: u64,
    phase: Phase,
    token: u64,
    name: String,
    has_name: bool,
    rooms: Vec<u64>,
    handed: (u32, u32),
}

#[derive(Default)]
struct Model {
    /// Open ports, and whether they are local.
    ports: HashMap<u64, bool>,
    gone_ports: Vec<u64>,
    clients: HashMap<u64, Client>,
    names: HashMap<String, u64>,
    /// Rooms with members, by name and by handle.
    rooms: HashMap<String, u64>,
    members: HashMap<u64, Vec<u64>>,
    gone_rooms: Vec<u64>,
    refused: u64,
    accepted: u64,
    token: u64,
}

impl Model {
    fn client_on(&self, port: u64, client: u64) -> Result<&Client, i32> {
        if !self.ports.contains_key(&port) {
            return Err(STALE);
        }
        match self.clients.get(&client) {
            Some(one) if one.phase == Phase::Open && one.port == port => Ok(one),
            // A client of another port stays "another port's" until its last event.
            Some(one) if one.phase != Phase::Gone && one.port != port => Err(INVALID),
            _ => Err(STALE),
        }
    }

    fn leave_rooms(&mut self, client: u64) {
        for room in std::mem::take(&mut self.clients.get_mut(&client).unwrap().rooms) {
            self.leave(client, room);
        }
    }

    fn leave(&mut self, client: u64, room: u64) {
        let members = self.members.get_mut(&room).unwrap();
        members.retain(|one| *one != client);
        if members.is_empty() {
            self.members.remove(&room);
            self.rooms.retain(|_, one| *one != room);
            self.gone_rooms.push(room);
        }
    }

    fn open_clients(&self) -> Vec<u64> {
        let open = self.clients.iter().filter(|(_, one)| one.phase == Phase::Open);
        let mut all: Vec<u64> = open.map(|(client, _)| *client).collect();
        all.sort_unstable();
        all
    }
}

struct Run {
    router: CorelaneRouter,
    random: Random,
    model: Model,
    log: Vec<String>,
}

impl Run {
    fn new(seed: u64, bytes: &[u8]) -> Self {
        let config = format!(
            "workers={LOCAL}\nlocal_workers={LOCAL}\nidle=park\nmax_ports={MAX_PORTS}\nmax_clients=512\nmax_rooms={MAX_ROOMS}\n\
             max_room_members={MAX_MEMBERS}\nmax_client_rooms={MAX_CLIENT_ROOMS}\nroom_retired_lists=65536\n\
             room_retired_bytes=1073741824\nmax_message={MAX_MESSAGE}\nring_bytes=1048576\nhold_ms=3600000\nhold_per_name=20\n\
             max_queue_wait_ms=3600000\ncredit_messages=65535\ncredit_bytes=1073741824\ndetailed_stats=off"
        );
        let mut router = CorelaneRouter::default();
        let mut error = sized!(CorelaneError);
        let status = call!(corelane_router_start(
            config.as_ptr().cast(),
            config.len(),
            &raw mut router,
            &raw mut error
        ));
        assert_eq!(status, OK);
        Self {
            router,
            random: Random { state: seed | 1, bytes: Vec::from(bytes).into_iter() },
            model: Model::default(),
            log: Vec::new(),
        }
    }

    fn expect(&mut self, what: &str, status: i32, expected: i32) {
        self.log.push(format!("{what} -> {status}"));
        if status != expected {
            let from = self.log.len().saturating_sub(40);
            panic!("{what} returned {status}, not {expected}; before it:\n{}", self.log[from..].join("\n"));
        }
    }

    /// A port's handle: mostly an open one.
    fn port(&mut self) -> CorelanePort {
        let mut open: Vec<u64> = self.model.ports.keys().copied().collect();
        open.sort_unstable();
        let value = match self.random.below(12) {
            0 => self.random.one_of(&self.model.gone_ports).unwrap_or(0),
            1 => self.random.next(),
            _ => self.random.one_of(&open).unwrap_or(0),
        };
        CorelanePort { value }
    }

    /// A client's handle: mostly one that was connected at some time, mostly of this port.
    fn client(&mut self, port: CorelanePort) -> CorelaneClient {
        let open = self.model.open_clients();
        let here: Vec<u64> =
            open.iter().copied().filter(|one| self.model.clients[one].port == port.value).collect();
        let value = match self.random.below(16) {
            0 => self.random.below(100),
            1 => self.random.next(),
            2 => open.first().map_or(0, |one| one + (1 << 40)),
            3 => {
                let mut gone: Vec<u64> = self
                    .model
                    .clients
                    .iter()
                    .filter(|(_, one)| one.phase != Phase::Open)
                    .map(|(one, _)| *one)
                    .collect();
                gone.sort_unstable();
                self.random.one_of(&gone).unwrap_or(0)
            }
            4 => self.random.one_of(&open).unwrap_or(0),
            _ => self.random.one_of(&here).unwrap_or(0),
        };
        CorelaneClient { value }
    }

    /// A room's handle: mostly one with members.
    fn room(&mut self) -> CorelaneRoom {
        let mut now: Vec<u64> = self.model.members.keys().copied().collect();
        now.sort_unstable();
        let value = match self.random.below(8) {
            0 => self.random.next() | 1,
            1 => self.random.one_of(&self.model.gone_rooms).unwrap_or(1),
            _ => self.random.one_of(&now).unwrap_or(1),
        };
        CorelaneRoom { value }
    }

    fn message(&mut self) -> Vec<u8> {
        let name = format!("name{}", self.random.below(NAMES + 2));
        match self.random.below(10) {
            0 => b"no message".to_vec(),
            1 => vec![b'x'; MAX_MESSAGE + 1],
            2 => format!(r#"{{"type":"offer","room":"room{}"}}"#, self.random.below(ROOMS)).into_bytes(),
            3 => format!(r#"{{"type":"OFFER","dst":"{name}"}}"#).into_bytes(),
            4 => Vec::new(),
            _ => format!(r#"{{"type":"offer","to":"{name}"}}"#).into_bytes(),
        }
    }

    fn open(&mut self) {
        let local = self.model.ports.values().filter(|local| **local).count();
        let mut options = sized!(CorelanePortOptions);
        let mut port = CorelanePort::default();
        let (flags, expected) = match self.random.below(8) {
            0 => (0, STATE), // Each worker is local.
            1 => (8, INVALID),
            _ => (CORELANE_PORT_LOCAL, if local < LOCAL { OK } else { LIMIT }),
        };
        options.flags = flags;
        let mut status = LIMIT;
        // A worker that leaves a released port may still use its place.
        for _ in 0..100 {
            status = call!(corelane_port_open(
                self.router,
                &raw const options,
                &raw mut port,
                std::ptr::null_mut()
            ));
            if status == expected {
                break;
            }
        }
        self.expect("port_open", status, expected);
        if status == OK {
            assert!(!self.model.gone_ports.contains(&port.value), "a handle is used again");
            self.model.ports.insert(port.value, true);
        }
    }

    fn release(&mut self) {
        let port = self.port();
        let expected = if self.model.ports.remove(&port.value).is_some() { OK } else { STALE };
        let status = call!(corelane_port_release(port));
        self.expect("port_release", status, expected);
        if status == OK {
            self.model.gone_ports.push(port.value);
            let here: Vec<u64> = self
                .model
                .clients
                .iter()
                .filter(|(_, one)| one.port == port.value)
                .map(|(client, _)| *client)
                .collect();
            for client in here {
                if self.model.clients[&client].phase == Phase::Open {
                    self.forget(client);
                }
                self.model.clients.get_mut(&client).unwrap().phase = Phase::Gone;
            }
        }
    }

    /// What a disconnect ends at once.
    fn forget(&mut self, client: u64) {
        self.model.leave_rooms(client);
        let one = self.model.clients.get_mut(&client).unwrap();
        if std::mem::take(&mut one.has_name) {
            let name = one.name.clone();
            self.model.names.remove(&name);
        }
    }

    fn connect(&mut self) {
        let port = self.port();
        let name = match self.random.below(20) {
            0 => String::new(),
            1 => "x".repeat(65),
            _ => format!("name{}", self.random.below(NAMES)),
        };
        let protocol = ["generic", "peerjs", "peerjs", "generic", "smtp"][self.random.below(5) as usize];
        let mut options = sized!(CorelaneConnectOptions);
        self.model.token += 1;
        (options.name, options.name_length) = (name.as_ptr().cast(), name.len());
        (options.protocol, options.protocol_length) = (protocol.as_ptr().cast(), protocol.len());
        options.token = self.model.token;
        options.credit_policy = if self.random.below(20) == 0 { 9 } else { self.random.below(4) as u32 };
        let bad = self.random.below(20);
        if bad == 0 {
            (options.name, options.name_length) = (c"\xff".as_ptr(), 1);
        } else if bad == 1 {
            (options.application, options.application_length) = (std::ptr::null(), 3);
        }
        let expected = if bad == 0 {
            INVALID
        } else if bad == 1 {
            NULL
        } else if options.credit_policy > 3 {
            INVALID
        } else if !self.model.ports.contains_key(&port.value) {
            STALE
        } else if protocol == "smtp" {
            CorelaneStatus::NotFound as i32
        } else if name.is_empty() || name.len() > 64 {
            INVALID
        } else if self.model.names.contains_key(&name) {
            CorelaneStatus::Exists as i32
        } else if self.model.open_clients().len() >= MAX_CLIENTS {
            return;
        } else {
            OK
        };
        let mut client = CorelaneClient::default();
        let status =
            call!(corelane_port_connect(port, &raw const options, &raw mut client, std::ptr::null_mut()));
        self.expect(&format!("connect {name} {protocol}"), status, expected);
        if status == OK {
            self.model.names.insert(name.clone(), client.value);
            let one = Client {
                port: port.value,
                phase: Phase::Open,
                token: options.token,
                name,
                has_name: true,
                rooms: vec![],
                handed: (0, 0),
            };
            assert!(self.model.clients.insert(client.value, one).is_none(), "a handle is used again");
        } else {
            assert_eq!(client.value, 0, "outputs are written only on success");
        }
    }

    fn disconnect(&mut self) {
        let port = self.port();
        let client = self.client(port);
        let expected = self.model.client_on(port.value, client.value).err().unwrap_or(OK);
        let status = call!(corelane_port_disconnect(port, client));
        self.expect("disconnect", status, expected);
        if status == OK {
            self.forget(client.value);
            self.model.clients.get_mut(&client.value).unwrap().phase = Phase::Leaving;
        }
    }

    fn about_client(&mut self) {
        let port = self.port();
        let client = self.client(port);
        let found = self.model.client_on(port.value, client.value).err().unwrap_or(OK);
        match self.random.below(4) {
            0 => {
                let status = call!(corelane_port_release_name(port, client));
                self.expect("release_name", status, found);
                if status == OK {
                    let one = self.model.clients.get_mut(&client.value).unwrap();
                    if std::mem::take(&mut one.has_name) {
                        let name = one.name.clone();
                        self.model.names.remove(&name);
                    }
                }
            }
            1 => {
                self.model.token += 1;
                let status = call!(corelane_port_rebind(port, client, self.model.token));
                self.expect("rebind", status, found);
                if status == OK {
                    self.model.clients.get_mut(&client.value).unwrap().token = self.model.token;
                }
            }
            2 => {
                let leaving =
                    self.model.clients.get(&client.value).is_some_and(|one| one.phase == Phase::Leaving);
                let mut outstanding = sized!(CorelaneOutstanding);
                let status = call!(corelane_port_outstanding(port, client, &raw mut outstanding));
                if !leaving {
                    self.expect("outstanding", status, found);
                }
                if status == OK && !leaving {
                    let handed = self.model.clients[&client.value].handed;
                    assert_eq!((outstanding.handed_messages, outstanding.handed_bytes), handed);
                    assert!(outstanding.messages >= handed.0);
                }
            }
            _ => {
                let mut name = sized!(CorelaneText);
                let status = call!(corelane_port_client_name(port, client, &raw mut name));
                let known = self.model.clients.get(&client.value).filter(|one| one.phase == Phase::Open);
                let expected =
                    known.filter(|_| self.model.ports.contains_key(&port.value)).map(|one| one.name.clone());
                let leaving =
                    self.model.clients.get(&client.value).is_some_and(|one| one.phase != Phase::Open);
                if !leaving {
                    self.expect("client_name", status, if expected.is_some() { OK } else { STALE });
                }
                if let (OK, Some(expected)) = (status, expected) {
                    // SAFETY: the call has filled the text.
                    let bytes = unsafe { std::slice::from_raw_parts(name.data.cast::<u8>(), name.length) };
                    assert_eq!(bytes, expected.as_bytes());
                }
                assert_eq!(call!(corelane_text_free(&raw mut name)), OK);
                assert!(name.data.is_null());
            }
        }
    }

    fn count(&mut self, status: i32) {
        if status == OK { self.model.accepted += 1 } else { self.model.refused += 1 }
    }

    fn submit_status(&self, port: u64, client: u64, message: &[u8]) -> i32 {
        match self.model.client_on(port, client) {
            Err(status) => status,
            Ok(_) if message.len() > MAX_MESSAGE => CorelaneStatus::TooLarge as i32,
            Ok(_) => OK,
        }
    }

    fn submit(&mut self) {
        let port = self.port();
        let client = self.client(port);
        let message = self.message();
        let expected = self.submit_status(port.value, client.value, &message);
        if self.random.below(30) == 0 {
            let status = call!(corelane_port_submit(port, client, std::ptr::null(), 3, 0));
            return self.expect("submit NULL", status, NULL);
        }
        let status = call!(corelane_port_submit(port, client, message.as_ptr(), message.len(), 1));
        self.expect("submit", status, expected);
        if self.model.ports.contains_key(&port.value) {
            self.count(status);
        }
    }

    fn batch(&mut self) {
        let port = self.port();
        let messages: Vec<_> = (0..self.random.below(4)).map(|_| self.message()).collect();
        let batch: Vec<_> = messages
            .iter()
            .map(|message| {
                let mut one = sized!(CorelaneSubmission);
                one.client = self.client(port);
                (one.message, one.length) = (message.as_ptr(), message.len());
                one.flags = self.random.below(3) as u32 & CORELANE_TELL_FAILED;
                if self.random.below(30) == 0 {
                    one.flags = 64;
                }
                one
            })
            .collect();
        let expected: Vec<i32> = batch
            .iter()
            .zip(&messages)
            .map(|(one, message)| {
                if one.flags == 64 {
                    INVALID
                } else {
                    self.submit_status(port.value, one.client.value, message)
                }
            })
            .collect();
        let mut out = 77;
        let status = call!(corelane_port_submit_batch(port, batch.as_ptr(), batch.len(), &raw mut out));
        if !self.model.ports.contains_key(&port.value) {
            return self.expect("submit_batch", status, STALE);
        }
        let first = expected.iter().position(|one| *one != OK);
        self.expect("submit_batch", status, first.unwrap_or(expected.len()) as i32);
        self.expect("out_status", out, first.map_or(OK, |at| expected[at]));
        self.model.accepted += status as u64;
        self.model.refused += u64::from(first.is_some_and(|at| batch[at].flags != 64));
    }

    fn send(&mut self) {
        let port = self.port();
        let message = self.message();
        let none = CorelaneMessageType { value: 0 };
        let (status, expected, what) = if self.random.below(3) == 0 {
            let room = self.room();
            let expected = if message.len() > MAX_MESSAGE { CorelaneStatus::TooLarge as i32 } else { OK };
            (
                call!(corelane_port_send_to_room(port, room, message.as_ptr(), message.len(), none, 2)),
                expected,
                "send_to_room",
            )
        } else {
            let client = self.client(port);
            let open = self.model.clients.get(&client.value).is_some_and(|one| one.phase == Phase::Open);
            let expected = match () {
                () if client.value == 0 => INVALID,
                () if !open => STALE,
                () if message.len() > MAX_MESSAGE => CorelaneStatus::TooLarge as i32,
                () => OK,
            };
            (
                call!(corelane_port_send(port, client, message.as_ptr(), message.len(), none, 2)),
                expected,
                "send",
            )
        };
        let known = self.model.ports.contains_key(&port.value);
        self.expect(what, status, if known { expected } else { STALE });
        if known && status != INVALID {
            self.count(status);
        }
    }

    fn rooms(&mut self) {
        let port = self.port();
        let client = self.client(port);
        let on = self.model.client_on(port.value, client.value).err().unwrap_or(OK);
        match self.random.below(4) {
            0 | 1 => {
                let name = match self.random.below(20) {
                    0 => String::new(),
                    _ => format!("room{}", self.random.below(ROOMS)),
                };
                let present = self.model.rooms.get(&name).copied();
                let expected = if on != OK {
                    on
                } else if name.is_empty() {
                    INVALID
                } else {
                    let mine = &self.model.clients[&client.value].rooms;
                    match present {
                        Some(room) if mine.contains(&room) => OK,
                        _ if mine.len() >= MAX_CLIENT_ROOMS => LIMIT,
                        Some(room) if self.model.members[&room].len() >= MAX_MEMBERS => LIMIT,
                        None if self.model.rooms.len() >= MAX_ROOMS => LIMIT,
                        _ => OK,
                    }
                };
                let mut room = CorelaneRoom::default();
                let start = name.as_ptr().cast::<c_char>();
                let status = call!(corelane_port_join(
                    port,
                    client,
                    start,
                    name.len(),
                    &raw mut room,
                    std::ptr::null_mut()
                ));
                self.expect(&format!("join {name}"), status, expected);
                if status == OK {
                    assert!(present.is_none_or(|one| one == room.value));
                    assert!(!self.model.gone_rooms.contains(&room.value), "a handle is used again");
                    self.model.rooms.insert(name, room.value);
                    let mine = &mut self.model.clients.get_mut(&client.value).unwrap().rooms;
                    if !mine.contains(&room.value) {
                        mine.push(room.value);
                        self.model.members.entry(room.value).or_default().push(client.value);
                    }
                }
            }
            2 => {
                let room = self.room();
                let expected = if on != OK {
                    on
                } else if !self.model.members.contains_key(&room.value) {
                    STALE
                } else if !self.model.clients[&client.value].rooms.contains(&room.value) {
                    CorelaneStatus::NotFound as i32
                } else {
                    OK
                };
                let status = call!(corelane_port_leave(port, client, room));
                self.expect("leave", status, expected);
                if status == OK {
                    self.model.clients.get_mut(&client.value).unwrap().rooms.retain(|one| *one != room.value);
                    self.model.leave(client.value, room.value);
                }
            }
            _ => {
                let room = self.room();
                let mut found = [CorelaneClient::default(); MAX_MEMBERS];
                let members = self.model.members.get(&room.value).cloned();
                let known = self.model.ports.contains_key(&port.value);
                let expected =
                    members.as_ref().filter(|_| known).map_or(STALE, |members| members.len() as i32);
                let status = call!(corelane_port_members(port, room, found.as_mut_ptr(), found.len()));
                self.expect("members", status, expected);
                if let (Some(members), true) = (members, status > 0) {
                    let found: HashSet<u64> = found[..status as usize].iter().map(|one| one.value).collect();
                    assert_eq!(found, members.into_iter().collect());
                }
                let mut rooms = [CorelaneRoom::default(); MAX_CLIENT_ROOMS];
                let one =
                    self.model.clients.get(&client.value).filter(|one| known && one.phase == Phase::Open);
                let mine = one.map(|one| one.rooms.clone());
                let status = call!(corelane_port_rooms_of(port, client, rooms.as_mut_ptr(), rooms.len()));
                self.expect("rooms_of", status, mine.as_ref().map_or(STALE, |mine| mine.len() as i32));
                if let Some(mine) = mine {
                    assert!(
                        rooms.iter().map(|one| one.value).take(mine.len()).eq(mine),
                        "in the order of the joins"
                    );
                }
            }
        }
    }

    fn poll(&mut self, port: CorelanePort) -> i32 {
        // SAFETY: the C interface's structs are valid if all bytes are zero.
        let mut events: [CorelaneEvent; 32] = unsafe { zeroed() };
        events[0].size = size_of::<CorelaneEvent>() as u32;
        let capacity = 1 + self.random.below(32) as usize;
        let status = call!(corelane_port_poll(port, events.as_mut_ptr(), capacity));
        if !self.model.ports.contains_key(&port.value) {
            self.expect("poll", status, STALE);
            return status;
        }
        assert!(status >= 0 && status as usize <= capacity, "poll: {status}");
        self.log.push(format!("poll -> {status}"));
        for event in &events[..status as usize] {
            if event.kind == CORELANE_EVENT_SEND_FAILED {
                continue;
            }
            let one = self.model.clients.get_mut(&event.client.value).expect("an event of a client");
            assert_eq!((one.port, one.token), (port.value, event.token), "kind {}", event.kind);
            assert_ne!(one.phase, Phase::Gone, "an event after the last one");
            match event.kind {
                CORELANE_EVENT_MESSAGE => {
                    one.handed.0 += 1;
                    one.handed.1 += event.length as u32;
                    if !event.bytes.is_null() {
                        // SAFETY: the view is valid until the next poll.
                        let view = unsafe { std::slice::from_raw_parts(event.bytes, event.length) };
                        assert!(view.len() <= MAX_MESSAGE + 100);
                    }
                }
                CORELANE_EVENT_CLOSED => {
                    assert_eq!(one.phase, Phase::Leaving, "the last event comes once, after the disconnect");
                    one.phase = Phase::Gone;
                }
                CORELANE_EVENT_UNDELIVERED | CORELANE_EVENT_LEFT => {}
                other => panic!("kind {other}"),
            }
        }
        status
    }

    fn acknowledge(&mut self) {
        let port = self.port();
        let client = self.client(port);
        let (messages, bytes) = (self.random.below(4) as u32, self.random.below(300) as u32);
        let known = self.model.ports.contains_key(&port.value);
        let status = if self.random.below(2) == 0 {
            call!(corelane_port_acknowledge(port, client, messages, bytes))
        } else {
            let mut written = sized!(CorelaneWritten);
            (written.client, written.messages, written.bytes) = (client, messages, bytes);
            call!(corelane_port_acknowledge_batch(port, &raw const written, 1))
        };
        self.expect("acknowledge", status, if known { OK } else { STALE });
        if let Some(one) = self.model.clients.get_mut(&client.value)
            && known
            && one.port == port.value
        {
            one.handed = (one.handed.0.saturating_sub(messages), one.handed.1.saturating_sub(bytes));
        }
    }

    fn loop_calls(&mut self) {
        let port = self.port();
        let known = self.model.ports.contains_key(&port.value);
        let expected = if known { OK } else { STALE };
        match self.random.below(7) {
            0 => {
                let status = call!(corelane_port_publish(port));
                self.expect("publish", status, expected);
            }
            1 => {
                let status = call!(corelane_port_release_views(port));
                self.expect("release_views", status, expected);
            }
            2 => {
                let status = call!(corelane_port_awake(port, self.random.below(2) as i32));
                self.expect("awake", status, expected);
            }
            3 => {
                let mut due = 7;
                let status = call!(corelane_port_next_due(port, &raw mut due));
                self.expect("next_due", status, expected);
                assert!(if known { due >= -1 } else { due == 7 });
            }
            4 => {
                let status = call!(corelane_port_fd(port));
                self.expect("fd", status.min(0), expected);
            }
            5 => {
                let status = call!(corelane_port_arm(port));
                let again = CorelaneStatus::Again as i32;
                self.expect("arm", if known && status == again { OK } else { status }, expected);
            }
            _ => {
                let status = call!(corelane_port_wait(port, 0));
                let timeout = CorelaneStatus::Timeout as i32;
                self.expect("wait", if known && status == timeout { OK } else { status }, expected);
            }
        }
    }

    fn cycle(&mut self) {
        let port = self.port();
        let known = self.model.ports.contains_key(&port.value);
        let status = call!(corelane_port_cycle(port));
        self.expect("cycle", status.min(0), if known { OK } else { STALE });
        self.poll(port);
    }

    fn step(&mut self) {
        match self.random.below(200) {
            0 | 1 => self.open(),
            2 if self.random.below(4) == 0 => self.release(),
            3..12 => self.connect(),
            12..17 => self.disconnect(),
            17..30 => self.about_client(),
            30..75 => self.submit(),
            75..90 => self.batch(),
            90..110 => self.send(),
            110..130 => self.rooms(),
            130..140 => self.acknowledge(),
            140..160 => self.loop_calls(),
            160..170 => {
                let port = self.port();
                self.poll(port);
            }
            _ => self.cycle(),
        }
    }

    /// Disconnects everybody, lets everything end, and compares the counts.
    fn end(mut self) {
        for client in self.model.open_clients() {
            let port = CorelanePort { value: self.model.clients[&client].port };
            let status = call!(corelane_port_disconnect(port, CorelaneClient { value: client }));
            self.expect("disconnect", status, OK);
            self.forget(client);
            self.model.clients.get_mut(&client).unwrap().phase = Phase::Leaving;
        }
        let mut ports: Vec<u64> = self.model.ports.keys().copied().collect();
        ports.sort_unstable();
        for _ in 0..10_000 {
            let mut quiet = true;
            for value in &ports {
                let port = CorelanePort { value: *value };
                quiet &= call!(corelane_port_cycle(port)) == 0;
                quiet &= self.poll(port) == 0;
            }
            if quiet {
                break;
            }
        }
        let left = self.model.clients.values().filter(|one| one.phase != Phase::Gone).count();
        assert_eq!(left, 0, "clients without their last event");
        let mut text = sized!(CorelaneText);
        assert_eq!(call!(corelane_router_prometheus(self.router, &raw mut text)), OK);
        // SAFETY: the call has filled the text.
        let bytes = unsafe { std::slice::from_raw_parts(text.data.cast::<u8>(), text.length) };
        let figures = String::from_utf8(bytes.to_vec()).unwrap();
        let total = |family: &str| -> u64 {
            let of = |line: &&str| line.strip_prefix(family).is_some_and(|rest| rest.starts_with(['{', ' ']));
            figures
                .lines()
                .filter(of)
                .map(|line| line.rsplit(' ').next().unwrap().parse::<u64>().unwrap())
                .sum()
        };
        let submitted = total("corelane_messages_submitted_total");
        let refused = total("corelane_messages_refused_total");
        assert_eq!(submitted, self.model.accepted + self.model.refused);
        // What was in the ring of a port that was released is refused as well.
        assert!(refused >= self.model.refused);
        assert_eq!(call!(corelane_text_free(&raw mut text)), OK);
        for value in ports {
            assert_eq!(call!(corelane_port_release(CorelanePort { value })), OK);
        }
        assert_eq!(call!(corelane_router_release(self.router)), OK);
        assert_eq!(call!(corelane_router_release(self.router)), STALE);
    }
}

#[test]
fn each_call_does_what_the_model_says() {
    let number = |name: &str, otherwise| std::env::var(name).map_or(otherwise, |text| text.parse().unwrap());
    let (calls, seed) = (number("CORELANE_C_CALLS", 20_000), number("CORELANE_C_SEED", 7));
    println!("{calls} calls from seed {seed}");
    let mut run = Run::new(seed, &[]);
    run.open();
    for _ in 0..calls {
        run.step();
        if run.log.len() > 1000 {
            run.log.drain(..900);
        }
    }
    run.end();
}

/// Makes the calls that a fuzzer's bytes describe. `fuzz/fuzz_targets/c_calls.rs` calls it.
pub fn calls_of(bytes: &[u8]) {
    let mut run = Run::new(1, bytes);
    run.open();
    while run.random.bytes.len() > 0 {
        run.step();
    }
    run.end();
}

#[test]
fn bytes_describe_calls() {
    let mut random = Random { state: 11, bytes: Vec::new().into_iter() };
    for length in [0, 1, 64, 1000, 4096] {
        let bytes: Vec<u8> = (0..length).map(|_| (random.next() >> 56) as u8).collect();
        calls_of(&bytes);
    }
}

/// What a submit through C costs more than one in Rust, in one process, in alternating rounds. Run it in release:
/// `cargo test --release --test c_calls -- --ignored --nocapture`.
#[test]
#[ignore = "a measurement"]
fn a_submit_costs_as_much_as_in_rust() {
    const ROUNDS: usize = 4001;
    const CALLS: u64 = 256;
    const MESSAGE: &[u8] = br#"{"type":"ping","payload":"0123456789012345678901234567890123456789"}"#;
    let text = "workers=1\nlocal_workers=1\nring_bytes=1048576\nmax_clients=10";
    let rust = corelane::router::Builder::new(text.parse().unwrap()).start().unwrap();
    let mut own = rust.local_port().unwrap();
    let ann = own.connect("ann", "generic", "", 1).unwrap();
    let mut router = CorelaneRouter::default();
    let mut port = CorelanePort::default();
    let mut client = CorelaneClient::default();
    let null = std::ptr::null_mut();
    assert_eq!(call!(corelane_router_start(text.as_ptr().cast(), text.len(), &raw mut router, null)), OK);
    let mut options = sized!(CorelanePortOptions);
    options.flags = CORELANE_PORT_LOCAL;
    assert_eq!(call!(corelane_port_open(router, &raw const options, &raw mut port, null)), OK);
    let mut connect = sized!(CorelaneConnectOptions);
    (connect.name, connect.name_length) = (c"ann".as_ptr(), 3);
    (connect.protocol, connect.protocol_length) = (c"generic".as_ptr(), 7);
    assert_eq!(call!(corelane_port_connect(port, &raw const connect, &raw mut client, null)), OK);
    let (mut in_rust, mut in_c) = (Vec::new(), Vec::new());
    let mut event = sized!(CorelaneEvent);
    for _ in 0..ROUNDS {
        let start = std::time::Instant::now();
        for number in 0..CALLS {
            own.submit(ann, std::hint::black_box(MESSAGE), number).unwrap();
        }
        in_rust.push(start.elapsed());
        let start = std::time::Instant::now();
        for number in 0..CALLS {
            let message = std::hint::black_box(MESSAGE);
            let status = call!(corelane_port_submit(port, client, message.as_ptr(), message.len(), number));
            assert_eq!(status, OK);
        }
        in_c.push(start.elapsed());
        while own.cycle().unwrap() > 0 {}
        own.poll_each(10, |_| ()).unwrap();
        while call!(corelane_port_cycle(port)) > 0 {}
        assert_eq!(call!(corelane_port_poll(port, &raw mut event, 1)), 0);
    }
    let [rust_ns, c_ns] = [in_rust, in_c].map(|mut all| {
        all.sort_unstable();
        all[ROUNDS / 2].as_nanos() as f64 / CALLS as f64
    });
    println!("submit: {rust_ns:.1} ns in Rust, {c_ns:.1} ns through C, {:.1} ns more", c_ns - rust_ns);
    assert_eq!(call!(corelane_port_release(port)), OK);
    assert_eq!(call!(corelane_router_release(router)), OK);
}
