//! Records from one thread into cells that no other thread writes.

use super::hub::{Hub, Labels, Measured, OwnShard};
use crate::clients::ClientId;
use crate::sync::Arc;

/// Records messages from one thread, into cells that no other thread writes. The cost of a record does not
/// grow with the number of threads.
///
/// There are `max_recorders` sets of such cells. A recorder beyond that number shares cells with other
/// threads, which is slower and just as exact. A recorder may move to another thread. After a drop its
/// figures stay.
///
/// ```
/// use corelane::config::Config;
/// use corelane::monitor::Monitor;
/// use corelane::record::Measured;
///
/// let monitor = Monitor::new(Config::default())?;
/// let mut recorder = monitor.recorder();
/// let labels = recorder.labels("peerjs", "OFFER", "my-app"); // once
/// recorder.record(labels, None, Measured { bytes: 200, processing_nanoseconds: 1_500, ..Measured::default() });
/// assert_eq!(monitor.snapshot().messages.map(|messages| messages.totals.total), Some(1));
/// # Ok::<(), corelane::error::Error>(())
/// ```
#[derive(Debug)]
pub struct Recorder {
    hub: Arc<Hub>,
    own: Option<OwnShard>,
}

impl Recorder {
    pub(crate) fn new(hub: &Arc<Hub>) -> Self {
        Self { hub: Arc::clone(hub), own: hub.take_shard() }
    }

    /// Looks names up. Unknown names are interned while the budget lasts; after that they are `other`.
    pub fn labels(&self, protocol: &str, message_type: &str, application: &str) -> Labels {
        self.hub.labels(protocol, message_type, application)
    }

    /// The client with this name, if the monitor knows it.
    pub fn client(&self, name: &str) -> Option<ClientId> {
        self.hub.client(name)
    }

    /// Counts one message that the host has processed. Hashes nothing and never blocks. Allocates only at the
    /// first message of a series.
    #[inline]
    pub fn record(&mut self, labels: Labels, client: Option<ClientId>, measured: Measured) {
        match &mut self.own {
            Some(own) => self.hub.record_alone(own, labels, client, measured),
            None => self.hub.record_shared(labels, client, measured),
        }
    }

    /// Whether this recorder has its own cells.
    pub fn is_alone(&self) -> bool {
        self.own.is_some()
    }
}

impl Drop for Recorder {
    fn drop(&mut self) {
        if let Some(own) = self.own.take() {
            self.hub.give_back(own);
        }
    }
}
