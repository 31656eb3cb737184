//! Reads one message and writes the relayed message, compared with serde_json with borrowed fields.

use crate::messages::{self, Kind};
use crate::peers;
use crate::race::{Better, Pair, Report};
use corelane::envelope::{Protocol, read};
use corelane::router::ProtocolRules;
use std::hint::black_box;
use std::time::Instant;

const SENDER: &str = "b1946ac9-2492-4d23";

/// Nanoseconds per message, averaged over `times` passes through the whole set.
fn time(set: &[Vec<u8>], times: usize, mut each: impl FnMut(&[u8])) -> f64 {
    let start = Instant::now();
    for _ in 0..times {
        for message in set {
            each(black_box(message));
        }
    }
    start.elapsed().as_nanos() as f64 / (times * set.len()) as f64
}

/// Checks that both sides relay the same members with the same values.
fn check(protocol: &Protocol, set: &[Vec<u8>]) {
    for message in set {
        let envelope = read(protocol, message).unwrap();
        let mut ours = vec![0; envelope.relayed_len(SENDER)];
        assert_eq!(envelope.write_relayed(SENDER, &mut ours), ours.len());
        let mut theirs = Vec::new();
        peers::Envelope::read(message).unwrap().relay(SENDER, &mut theirs);
        // The orders differ: ours is the client's.
        let value = |bytes: &[u8]| serde_json::from_slice::<serde_json::Value>(bytes).unwrap();
        assert_eq!(value(&ours), value(&theirs));
    }
}

pub fn run(report: &mut Report) {
    let protocol = ProtocolRules::peerjs().protocol().clone();
    for (name, kind, any_order, times) in [
        ("heartbeat", Kind::Heartbeat, false, 64),
        ("ICE candidate", Kind::Candidate, false, 24),
        ("ICE candidate, any order", Kind::Candidate, true, 24),
        ("SDP offer 3 KiB", Kind::Offer, false, 6),
        ("SDP offer 3 KiB, any order", Kind::Offer, true, 6),
    ] {
        let set = messages::set(kind, any_order, &[]);
        check(&protocol, &set);
        let pair = |what: &str, peer: &str| Pair {
            bench: "envelope",
            case: format!("{name}{what}"),
            unit: "ns/message",
            peer: peer.to_owned(),
            better: Better::Lower,
        };
        let ours_read = || {
            time(&set, times, |message| {
                let envelope = read(&protocol, message);
                let Ok(envelope) = &envelope else { panic!("ours") };
                black_box((envelope.message_type(), envelope.recipient()));
                black_box(envelope);
            })
        };
        report.race(&pair(": read", "serde_json, borrowed"), ours_read, || {
            time(&set, times, |message| {
                let envelope = peers::Envelope::read(message);
                let Some(envelope) = &envelope else { panic!("theirs") };
                black_box((envelope.message_type, envelope.dst, envelope.payload));
            })
        });
        let mut out = vec![0; 8 << 10];
        let mut ours = || {
            time(&set, times, |message| {
                let envelope = read(&protocol, message);
                let Ok(envelope) = &envelope else { panic!("ours") };
                black_box((envelope.message_type(), envelope.recipient()));
                let length = envelope.relayed_len(SENDER);
                envelope.write_relayed(SENDER, &mut out[..length]);
                black_box(&out);
            })
        };
        let mut buffer = Vec::with_capacity(8 << 10);
        report.race(&pair(": read, relay", "serde_json, borrowed"), &mut ours, || {
            time(&set, times, |message| {
                let envelope = peers::Envelope::read(message);
                let Some(envelope) = &envelope else { panic!("theirs") };
                black_box((envelope.message_type, envelope.dst));
                buffer.clear();
                envelope.relay(SENDER, &mut buffer);
                black_box(&buffer);
            })
        });
        report.race(&pair(": read, relay", "floor: memcpy"), &mut ours, || {
            time(&set, times, |message| {
                buffer.clear();
                buffer.extend_from_slice(message);
                black_box(&buffer);
            })
        });
    }
}
