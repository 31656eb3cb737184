//! What hosts report themselves, beside or instead of what a router sees: messages that they routed on their own, their
//! clients, their own metrics. One `Hub` per monitor, owned by the router where there is one; the monitor reads it
//! through a `Source`. Recording waits for nobody: a thread with a [`Recorder`] writes cells of its own, the others
//! share a few shards by atomic adds.

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
