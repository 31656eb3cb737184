//! The two ends of one direction of a link, without I/O and without a clock: every call is told the time.
//!
//! The sender numbers the records. The receiver acknowledges all below a number and lists the ones among them that it
//! rejected. A record is never sent twice. What does not arrive in order is lost, and the receiver says so. An epoch of which
//! nothing is heard for [`LOST_AFTER`] is lost as a whole, and so is one that is heard but does not advance for
//! [`STUCK_AFTER`].

pub mod receiver;
pub mod sender;

use std::time::Duration;

/// The time since some fixed moment.
pub type Moment = Duration;

/// Without any acknowledgement for this long, a link is lost.
pub const LOST_AFTER: Duration = Duration::from_secs(3);
/// A link whose acknowledgements come, but say nothing new although messages are in flight, is lost after this time. A worker
/// that is inside a handler at the other machine holds them back. The end gives every message an outcome.
pub const STUCK_AFTER: Duration = Duration::from_secs(60);
/// The time between two hellos.
pub const HELLO_EVERY: Duration = Duration::from_millis(250);
/// A sender that waits for an acknowledgement asks for it this often.
pub const PROBE_EVERY: Duration = Duration::from_millis(250);
/// A sender that has nothing to send asks this often whether the other side is there.
pub const IDLE_PROBE_EVERY: Duration = Duration::from_secs(2);
/// The most records in flight that a receiver believes. A sender's router allows far fewer.
pub const MAX_WINDOW: u64 = 1 << 20;

/// The sequences of an epoch: those that a ticket has room for.
pub const SEQUENCES: u64 = 1 << 48;
/// A sender this near to the end of its epoch's sequences begins another epoch when nothing is in flight.
const NEARLY_OUT: u64 = 1 << 40;

#[cfg(test)]
mod tests;
