//! The per-message work of every peer, in its fastest form: serde_json into a struct with borrowed fields, and
//! counters and histograms of the prometheus crate with handles resolved in advance.

use prometheus::{Histogram, HistogramOpts, HistogramVec, IntCounter, IntCounterVec, Opts, Registry};
use serde::Deserialize;
use serde_json::value::RawValue;

/// A PeerJS message with borrowed fields.
#[derive(Deserialize)]
pub struct Envelope<'a> {
    #[serde(borrow, rename = "type")]
    pub message_type: &'a str,
    #[serde(borrow)]
    pub dst: Option<&'a str>,
    #[serde(borrow)]
    pub payload: Option<&'a RawValue>,
}

impl<'a> Envelope<'a> {
    #[inline]
    pub fn read(message: &'a [u8]) -> Option<Self> {
        serde_json::from_slice(message).ok()
    }

    /// Writes the relayed message with the sender that the server knows.
    #[inline]
    pub fn relay(&self, sender: &str, out: &mut Vec<u8>) {
        out.extend_from_slice(br#"{"type":""#);
        out.extend_from_slice(self.message_type.as_bytes());
        out.extend_from_slice(br#"","src":""#);
        out.extend_from_slice(sender.as_bytes());
        if let Some(dst) = self.dst {
            out.extend_from_slice(br#"","dst":""#);
            out.extend_from_slice(dst.as_bytes());
        }
        out.extend_from_slice(b"\"");
        if let Some(payload) = self.payload {
            out.extend_from_slice(br#","payload":"#);
            out.extend_from_slice(payload.get().as_bytes());
        }
        out.extend_from_slice(b"}");
    }
}

/// A message to a room, in corelane's generic protocol.
#[derive(Deserialize)]
pub struct RoomEnvelope<'a> {
    #[serde(borrow, rename = "type")]
    pub message_type: &'a str,
    #[serde(borrow)]
    pub room: &'a str,
    #[serde(borrow)]
    pub payload: &'a RawValue,
}

impl<'a> RoomEnvelope<'a> {
    pub fn read(message: &'a [u8]) -> Option<Self> {
        serde_json::from_slice(message).ok()
    }

    pub fn relay(&self, sender: &str, out: &mut Vec<u8>) {
        out.extend_from_slice(br#"{"type":""#);
        out.extend_from_slice(self.message_type.as_bytes());
        out.extend_from_slice(br#"","from":""#);
        out.extend_from_slice(sender.as_bytes());
        out.extend_from_slice(br#"","room":""#);
        out.extend_from_slice(self.room.as_bytes());
        out.extend_from_slice(br#"","payload":"#);
        out.extend_from_slice(self.payload.get().as_bytes());
        out.extend_from_slice(b"}");
    }
}

/// The types of the PeerJS messages, and of the messages to a room.
pub const TYPES: [&str; 7] = ["OFFER", "ANSWER", "CANDIDATE", "LEAVE", "EXPIRE", "HEARTBEAT", "candidate"];

struct OfType {
    received: IntCounter,
    ok: IntCounter,
    bytes: IntCounter,
    service: Histogram,
    queue_wait: Histogram,
}

struct OfGroup {
    ok: IntCounter,
    service: Histogram,
}

/// The figures that corelane records for a message, as prometheus metrics.
pub struct Metrics {
    types: Vec<OfType>,
    protocol: OfGroup,
    application: OfGroup,
    pub submitted: IntCounter,
    pub emitted: IntCounter,
    pub consumed: IntCounter,
    pub bytes_out: IntCounter,
}

impl Metrics {
    pub fn new() -> Self {
        let registry = Registry::new();
        // The same bucket bounds that corelane exports.
        let bounds: Vec<f64> =
            corelane::metrics::OCTAVE_BOUNDS.iter().map(|(bound, _)| *bound as f64 / 1e9).collect();
        let counters = |name: &str, label: &str| {
            let made = IntCounterVec::new(Opts::new(name, name), &[label]).unwrap();
            registry.register(Box::new(made.clone())).unwrap();
            made
        };
        let histograms = |name: &str, label: &str| {
            let options = HistogramOpts::new(name, name).buckets(bounds.clone());
            let made = HistogramVec::new(options, &[label]).unwrap();
            registry.register(Box::new(made.clone())).unwrap();
            made
        };
        let counter = |name: &str| {
            let made = IntCounter::new(name, name).unwrap();
            registry.register(Box::new(made.clone())).unwrap();
            made
        };
        let group = |name: &str, value: &str| OfGroup {
            ok: counters(&format!("{name}_ok"), name).with_label_values(&[value]),
            service: histograms(&format!("{name}_service"), name).with_label_values(&[value]),
        };
        let (received, ok, bytes) =
            (counters("received", "type"), counters("ok", "type"), counters("bytes", "type"));
        let (service, queue_wait) = (histograms("service", "type"), histograms("queue_wait", "type"));
        let types = TYPES.iter().map(|name| OfType {
            received: received.with_label_values(&[name]),
            ok: ok.with_label_values(&[name]),
            bytes: bytes.with_label_values(&[name]),
            service: service.with_label_values(&[name]),
            queue_wait: queue_wait.with_label_values(&[name]),
        });
        Self {
            types: types.collect(),
            protocol: group("protocol", "peerjs"),
            application: group("application", "app"),
            submitted: counter("submitted"),
            emitted: counter("emitted"),
            consumed: counter("consumed"),
            bytes_out: counter("bytes_out"),
        }
    }

    /// Records one delivered message. Times are in nanoseconds.
    #[inline]
    pub fn record(&self, message_type: usize, bytes: usize, queue_wait: u64, service: u64) {
        let of_type = &self.types[message_type];
        let service = service as f64 * 1e-9;
        of_type.received.inc();
        of_type.ok.inc();
        of_type.bytes.inc_by(bytes as u64);
        of_type.service.observe(service);
        of_type.queue_wait.observe(queue_wait as f64 * 1e-9);
        for group in [&self.protocol, &self.application] {
            group.ok.inc();
            group.service.observe(service);
        }
    }

    /// The number of recorded messages, and the number of values in all histograms.
    pub fn totals(&self) -> (u64, u64) {
        let values =
            self.types.iter().map(|one| one.service.get_sample_count() + one.queue_wait.get_sample_count());
        let groups = [&self.protocol, &self.application].map(|one| one.service.get_sample_count());
        (self.types.iter().map(|one| one.ok.get()).sum(), values.sum::<u64>() + groups.iter().sum::<u64>())
    }
}
