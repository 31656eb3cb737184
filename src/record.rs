//! Reports of the host: messages that the host routed itself, its clients and its own metrics. The host may
//! report them with or without a router.
//!
//! Each monitor has one `Hub`; the router owns the hub if there is a router. The monitor reads the hub
//! through a `Source`. Recording never blocks on the monitor: a thread with a [`Recorder`] writes its own
//! cells, and all other threads share a few shards through atomic adds.

mod hub;
mod recorder;
mod source;
mod stats;
mod table;

pub use hub::{Labels, Measured, RecordedMessage};
pub use recorder::Recorder;
pub use source::MonitorSource;

pub(crate) use hub::{Hub, HubSizes};
pub(crate) use source::Source;
