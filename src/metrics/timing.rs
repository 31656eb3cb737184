//! The times, labels and outcome of one message.

use super::label::{ApplicationId, ProtocolId, TypeId};
use crate::error::Failed;

/// The series that count a message.
pub(crate) type SeriesIds = (TypeId, ProtocolId, ApplicationId);

/// Times of one message.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Timing {
    /// Nanoseconds from the socket to the worker.
    pub(crate) queue_wait: u64,
    /// Nanoseconds in the handler.
    pub(crate) service: u64,
    /// Nanoseconds on hold, if the message was held.
    pub(crate) held: Option<u64>,
    /// When the message ended, in raw ticks.
    pub(crate) ended: u64,
}

impl Timing {
    /// Sum of all three durations, in nanoseconds.
    #[inline]
    pub(crate) fn total(&self) -> u64 {
        let worked = self.queue_wait.saturating_add(self.service);
        self.held.map_or(worked, |held| worked.saturating_add(held))
    }
}

/// Outcome of an accepted message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    Ok,
    Failed(Failed),
    /// The message waited longer than `max_queue_wait`, or was held until the hold time was over.
    Expired,
}
