//! What the door counts: connections, requests, and refusals by reason.

use crate::export::DoorFigures;
use crate::sync::{AtomicU64, Relaxed};

macro_rules! refusals {
    ($($(#[$text:meta])* $variant:ident = $label:literal,)+) => {
        /// Why a connection or a request was refused.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub(super) enum Refusal { $($(#[$text])* $variant,)+ }

        impl Refusal {
            const LABELS: &[&str] = &[$($label),+];
        }
    };
}

refusals! {
    /// The limit of connections is reached, and none of them waits for a request.
    Full = "full",
    /// A connection was closed in favour of a new one, because it had waited longest.
    Crowded = "crowded_out",
    /// The process has no descriptor left.
    NoDescriptor = "no_descriptor",
    /// The TLS handshake failed or took too long.
    Handshake = "tls_handshake",
    /// The request is not HTTP, its head is too large, or it took too long.
    Request = "request",
    /// The peer did not read its answer.
    NotRead = "not_read",
    /// The Host header is not a name of the door.
    Host = "host",
    /// A page of another origin.
    Origin = "origin",
    /// The token is missing or wrong, or the door has none.
    Token = "token",
    /// The limit of streams is reached.
    Streams = "streams",
}

/// The counts of one door.
#[derive(Debug, Default)]
pub(super) struct Counts {
    requests: AtomicU64,
    refused: [AtomicU64; Refusal::LABELS.len()],
    connections: AtomicU64,
    streams: AtomicU64,
}

impl Counts {
    // Relaxed here and below: independent counts, all written by the door's thread.
    pub(super) fn request(&self) {
        self.requests.fetch_add(1, Relaxed);
    }

    pub(super) fn refuse(&self, reason: Refusal) {
        if let Some(count) = self.refused.get(reason as usize) {
            count.fetch_add(1, Relaxed);
        }
    }

    /// How many connections are open.
    pub(super) fn connections(&self, count: usize) {
        self.connections.store(count as u64, Relaxed);
    }

    /// How many streams of events are open.
    pub(super) fn streams(&self, count: usize) {
        self.streams.store(count as u64, Relaxed);
    }

    pub(super) fn figures(&self) -> DoorFigures {
        let refusals = Refusal::LABELS.iter().zip(&self.refused);
        DoorFigures {
            requests: self.requests.load(Relaxed),
            refusals: refusals.map(|(label, count)| (*label, count.load(Relaxed))).collect(),
            connections: self.connections.load(Relaxed),
            streams: self.streams.load(Relaxed),
        }
    }
}
