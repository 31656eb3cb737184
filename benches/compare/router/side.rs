//! What a host does with a router, whichever router it is: it submits messages in batches of 32, with a bounded number
//! in flight, and takes the deliveries.

use crate::race::{Pause, Random};
use std::hint::black_box;
use std::time::Instant;

pub const CLIENTS: usize = 64;
pub const BATCH: usize = 32;
/// The maximum number of messages in flight.
pub const ON_THEIR_WAY: usize = 1024;
/// The maximum number of deliveries in flight: what a peer's channels have room for.
pub const DELIVERIES: usize = 4096;
/// The maximum number of bytes in flight, so that no side's queue overflows.
const BYTES_ON_THEIR_WAY: usize = 384 << 10;

/// The names of `count` clients.
pub fn names(count: usize) -> Vec<String> {
    let mut random = Random::new();
    (0..count)
        .map(|_| format!("{}-{}-{}", random.word(8, 8), random.word(4, 4), random.word(12, 12)))
        .collect()
}

/// How the workers wait for messages.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Idle {
    Spin,
    /// Spin, then yield, then sleep: corelane's default. Peers sleep in their channel, which does the same.
    Backoff,
    /// Sleep at once. Only corelane has it.
    Park,
}

/// The threads of a side.
#[derive(Clone, Copy)]
pub enum Threads {
    /// The host's thread runs the worker between its own steps.
    One,
    /// The host's thread, and one thread for each worker.
    Workers(usize, Idle),
    /// What the side does if its user sets nothing: one worker per core.
    Default,
}

/// A host and its router. `send` submits a message of one client, `flush` is called once per batch, and `receive`
/// passes each delivered message with its recipient.
pub trait Side {
    fn send(&mut self, from: usize, message: &[u8]) -> bool;
    fn flush(&mut self) {}
    fn receive(&mut self, each: &mut dyn FnMut(usize, &[u8])) -> usize;
}

/// Sends `count` messages. Returns nanoseconds per delivery; each message has `fan` of them.
pub fn exchange(side: &mut dyn Side, messages: &[Vec<u8>], count: usize, fan: usize) -> f64 {
    let longest = messages.iter().map(Vec::len).max().unwrap_or(1);
    let limit = ON_THEIR_WAY.min(BYTES_ON_THEIR_WAY / longest).min(DELIVERIES / fan).max(1);
    let began = Instant::now();
    let (mut sent, mut received, mut bytes, mut pause) = (0, 0, 0, Pause::default());
    while received < count * fan {
        let room = limit - (sent - received / fan);
        for _ in 0..BATCH.min(room).min(count - sent) {
            if !side.send(sent % CLIENTS, &messages[sent % messages.len()]) {
                break;
            }
            sent += 1;
        }
        side.flush();
        match side.receive(&mut |_, message| bytes += black_box(message).len()) {
            0 => {
                pause.wait();
                assert!(
                    began.elapsed().as_secs() < 60,
                    "only {received} of {} deliveries arrived",
                    sent * fan
                );
            }
            some => received += some,
        }
    }
    assert!(bytes > 0);
    began.elapsed().as_nanos() as f64 / (count * fan) as f64
}

/// Sends each message once and returns the sorted deliveries, each as JSON.
pub fn outcome(side: &mut dyn Side, messages: &[Vec<u8>], fan: usize) -> Vec<(usize, String)> {
    let mut received = Vec::new();
    for (place, message) in messages.iter().enumerate() {
        assert!(side.send(place % CLIENTS, message));
        let began = Instant::now();
        while received.len() < (place + 1) * fan {
            side.flush();
            side.receive(&mut |to, message| {
                // Sides may write the members in different orders.
                let message: serde_json::Value = serde_json::from_slice(message).expect("JSON");
                received.push((to, message.to_string()));
            });
            assert!(began.elapsed().as_secs() < 10, "message {place} was not delivered");
        }
    }
    received.sort();
    received
}
