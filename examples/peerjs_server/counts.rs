//! What the server counts in addition to the router: refusals by reason, and sockets by state. The report shows these
//! counts as custom metrics of the monitor; `/metrics` shows them too.

use corelane::error::MetricError;
use corelane::metrics::{Counter, Descriptor, Gauge};
use corelane::monitor::Monitor;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

macro_rules! labelled {
    ($(#[$attribute:meta])* $name:ident { $($(#[$text:meta])* $variant:ident = $label:literal,)+ }) => {
        $(#[$attribute])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub(crate) enum $name { $($(#[$text])* $variant,)+ }

        impl $name {
            const LABELS: &[&str] = &[$($label),+];

            /// The name in figures and in the log.
            #[allow(dead_code, reason = "of some enums, only figures use the names")]
            pub(crate) fn label(self) -> &'static str {
                Self::LABELS.get(self as usize).copied().unwrap_or_default()
            }
        }
    };
}

labelled! {
    /// Why a connection or client was refused.
    #[cfg_attr(not(feature = "cluster"), allow(dead_code, reason = "some reasons are a cluster's"))]
    Refusal {
        MissingParameters = "missing_parameters",
        WrongKey = "wrong_key",
        IdTooLong = "id_too_long",
        IdTaken = "id_taken",
        /// `--concurrent_limit` is reached.
        ServerFull = "server_full",
        /// The router did not accept the client.
        Router = "router",
        /// The page's origin is not in `--cors`.
        Origin = "origin",
        /// The request is not a valid WebSocket upgrade.
        BadUpgrade = "bad_upgrade",
        /// `--max_connections` is reached.
        TooManyConnections = "too_many_connections",
        /// `--max_per_address` is reached.
        TooManyOfAddress = "too_many_of_address",
        /// The process has no descriptor left.
        NoDescriptor = "no_descriptor",
        /// The TLS handshake failed or timed out.
        Handshake = "tls_handshake",
        /// The request is not HTTP, or timed out.
        Request = "request",
        /// The peer does not read an answer or its messages.
        NotRead = "not_read",
        /// A frame is larger than the server reads.
        FrameTooLarge = "frame_too_large",
        /// The server drains.
        Draining = "draining",
        /// More clients connect than the cluster takes at once.
        ClusterBusy = "cluster_busy",
        /// NATS is unreachable (`--cluster_without refuse`).
        ClusterUnavailable = "cluster_unavailable",
    }
}

labelled! {
    /// The state of a socket.
    At {
        Handshake = "handshake",
        Http = "http",
        WebSocket = "websocket",
        Closing = "closing",
    }
}

/// The counts of all threads.
#[derive(Debug)]
pub(crate) struct Counts {
    refusals: Vec<Counter>,
    sockets: Vec<Gauge>,
    log_lines: Counter,
    /// How many of the log's dropped lines `log_lines` has.
    told: AtomicU64,
}

impl Counts {
    /// Registers every series with 0 at the start, so that a first refusal is visible as a step.
    ///
    /// # Errors
    /// An error of the monitor's registration.
    pub(crate) fn new(monitor: &Monitor) -> Result<Self, MetricError> {
        let refused =
            Descriptor::new("peerjs_refused_total", "Connections and clients refused").labels(&["reason"]);
        let refused = monitor.counter(&refused)?;
        let sockets = Descriptor::new("peerjs_sockets", "Sockets by state").labels(&["state"]);
        let sockets = monitor.gauge(&sockets)?;
        let log_lines = Descriptor::new("peerjs_log_lines_dropped_total", "Log lines dropped");
        let log_lines = monitor.counter(&log_lines)?.with(&[])?;
        let refusals = Refusal::LABELS.iter().map(|reason| refused.with(&[reason]));
        let at = At::LABELS.iter().map(|state| sockets.with(&[state]));
        Ok(Self {
            refusals: refusals.collect::<Result<_, MetricError>>()?,
            sockets: at.collect::<Result<_, MetricError>>()?,
            log_lines,
            told: AtomicU64::new(0),
        })
    }

    pub(crate) fn refuse(&self, reason: Refusal) {
        if let Some(count) = self.refusals.get(reason as usize) {
            count.add(1);
        }
    }

    /// Takes over the log's own count of dropped lines. Called by one thread.
    pub(crate) fn log_lines(&self, dropped: u64) {
        self.log_lines.add(dropped - self.told.swap(dropped, Relaxed));
    }

    pub(crate) fn enter(&self, at: At) {
        if let Some(count) = self.sockets.get(at as usize) {
            count.add(1.0);
        }
    }

    pub(crate) fn leave(&self, at: At) {
        if let Some(count) = self.sockets.get(at as usize) {
            count.add(-1.0);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_reason_is_shown_from_the_start() {
        let monitor = Monitor::new(corelane::config::Config::default()).unwrap();
        let counts = Counts::new(&monitor).unwrap();
        counts.refuse(Refusal::WrongKey);
        counts.enter(At::Http);
        counts.leave(At::Http);
        counts.log_lines(2);
        counts.log_lines(3);
        let text = corelane::export::prometheus(&monitor);
        for line in [
            "peerjs_log_lines_dropped_total 3",
            "peerjs_refused_total{reason=\"wrong_key\"} 1",
            "peerjs_refused_total{reason=\"frame_too_large\"} 0",
            "peerjs_sockets{state=\"http\"} 0",
        ] {
            assert!(text.lines().any(|one| one == line), "{line} in {text}");
        }
    }
}
