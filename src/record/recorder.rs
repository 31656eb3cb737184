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
/// use std::time::Duration;
///
/// let monitor = Monitor::new(Config::default())?;
/// let mut recorder = monitor.recorder();
/// let labels = recorder.labels("peerjs", "OFFER", "my-app"); // once
/// recorder.record(labels, None, Measured { bytes: 200, processing: Duration::from_micros(2), ..Measured::default() });
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

    /// Counts one message that the host has processed and that ends now. Hashes nothing and never blocks. Allocates
    /// only at the first message of a series and at the first message with a client. A reset and every changed setting
    /// apply to the next message.
    #[inline]
    pub fn record(&mut self, labels: Labels, client: Option<ClientId>, measured: Measured) {
        self.batch().record(labels, client, measured);
    }

    /// Begins a batch: several messages for which the clock and the monitor's settings are read once. For a host that
    /// processes messages in turns, such as an event loop.
    ///
    /// ```
    /// # use corelane::{config::Config, monitor::Monitor, record::Measured};
    /// # let monitor = Monitor::new(Config::default())?;
    /// let mut recorder = monitor.recorder();
    /// let labels = recorder.labels("peerjs", "OFFER", "my-app");
    /// let processing = std::time::Duration::from_micros(2);
    /// let mut batch = recorder.batch();
    /// for bytes in [200, 300] {
    ///     batch.record(labels, None, Measured { bytes, processing, ..Measured::default() });
    /// }
    /// assert_eq!(monitor.snapshot().messages.map(|messages| messages.totals.total), Some(2));
    /// # Ok::<(), corelane::error::Error>(())
    /// ```
    #[inline]
    pub fn batch(&mut self) -> RecordBatch<'_> {
        if let Some(own) = &mut self.own {
            self.hub.begin_batch(own);
        }
        RecordBatch { ended: self.hub.now(), recorder: self }
    }

    /// Whether this recorder has its own cells.
    pub fn is_alone(&self) -> bool {
        self.own.is_some()
    }
}

/// Messages of one turn of a recorder's thread, from [`Recorder::batch`].
///
/// Each message is counted at once, and counts as ended when the batch began. A reset and every changed setting apply
/// to the next batch at the latest. Until then the messages of a batch that began before a reset count after it,
/// except in the figures of clients and in maxima and minima. Therefore begin a new batch in every turn.
#[derive(Debug)]
pub struct RecordBatch<'a> {
    recorder: &'a mut Recorder,
    /// When the batch began, in raw ticks.
    ended: u64,
}

impl RecordBatch<'_> {
    /// Counts one message. See [`Recorder::record`].
    #[inline(always)]
    pub fn record(&mut self, labels: Labels, client: Option<ClientId>, measured: Measured) {
        let Recorder { hub, own } = &mut *self.recorder;
        match own {
            Some(own) => hub.record_alone(own, labels, client, measured, self.ended),
            None => hub.record_shared(labels, client, measured, self.ended),
        }
    }
}

impl Drop for Recorder {
    fn drop(&mut self) {
        if let Some(own) = self.own.take() {
            self.hub.give_back(own);
        }
    }
}
