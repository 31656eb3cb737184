//! The C door: `include/corelane.h` is generated from these files. Handles in, plain structs out; nothing here
//! decides anything about messages.
//!
//! Conventions, the same for every call:
//!
//! - A status is an `int32_t`: 0 or a count where it worked, a code below 0 where not. Codes are never reused.
//! - Details of a failure go into the caller's `corelane_error`, filled by the call that failed.
//! - Structs that the caller provides start with `size`, which the caller sets to `sizeof` the struct.
//! - Outputs are written only on success. Every pointer is checked for NULL.
//! - Handles are values in a table that is never freed: stale, forged, or released twice, they are `STALE`.
//! - Text is UTF-8 with a length, and need not end with a zero.
//! - A panic ends at the call that it happened in, which returns `PANIC`.
//! - Nothing waits unless its name says `wait`, `stop` or `release`.
//! - In a child of `fork` every call returns `FORKED` once its parent has started a router.

mod fork;
mod handle;
mod layout;
mod port;
#[cfg(test)]
mod port_tests;
mod record;
mod router;
mod status;
#[cfg(feature = "ffi-test")]
mod testing;
mod written;

pub use handle::{CorelaneClient, CorelanePort, CorelaneRouter};
pub use layout::{
    CorelaneCounts, CorelaneLayout, CorelaneRing, CorelaneSlots, corelane_client_closed,
    corelane_payload_release, corelane_payload_take, corelane_port_inline, corelane_port_layout,
};
pub use port::{
    CorelaneEvent, corelane_acknowledge, corelane_connect, corelane_disconnect, corelane_poll,
    corelane_port_arm, corelane_port_fd, corelane_port_open, corelane_port_release, corelane_port_wait,
    corelane_publish, corelane_release, corelane_release_name, corelane_submit,
};
pub use record::corelane_record;
pub use router::{corelane_prometheus, corelane_router_release, corelane_start, corelane_stop};
pub use status::{CorelaneError, corelane_status_text, corelane_version};
#[cfg(feature = "ffi-test")]
pub use testing::corelane_test_panic;
pub use written::{CorelaneWritten, corelane_acknowledge_batch, corelane_rebind};
