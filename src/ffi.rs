//! The C interface. `include/corelane.h` is generated from these files. Calls take handles and return plain structs.
//! This module makes no routing decisions.
//!
//! Conventions, the same for every call:
//!
//! - A status is an `int32_t`: 0 or a count on success, a negative code on failure. Codes are never reused.
//! - A call that fails writes the details to the caller's `corelane_error`, if the call has one.
//! - Structs that the caller provides start with `size`, which the caller sets to `sizeof` the struct.
//! - Outputs are written only on success. Every pointer is checked for NULL.
//! - Handles are values in a table that is never freed. A stale, forged or twice released handle yields `STALE`.
//! - Text is UTF-8 with a length. It needs no closing NUL.
//! - A panic does not cross the interface: the call that panicked returns `PANIC`.
//! - A call waits only if its name contains `wait`, `stop` or `release`.
//! - In a child of `fork` whose parent has started a router, every call returns `FORKED`.

mod codes;
mod fork;
mod handle;
mod layout;
mod local;
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
pub use local::{corelane_cycle, corelane_port_awake, corelane_port_next_due, corelane_port_open_local};
pub use port::{
    CorelaneEvent, corelane_acknowledge, corelane_connect, corelane_disconnect, corelane_poll,
    corelane_port_arm, corelane_port_fd, corelane_port_open, corelane_port_release, corelane_port_wait,
    corelane_publish, corelane_release, corelane_release_name, corelane_submit,
};
pub use record::corelane_record;
pub use router::{
    corelane_prometheus, corelane_request_stop, corelane_router_release, corelane_start, corelane_stop,
};
pub use status::{CorelaneError, corelane_status_text, corelane_version};
#[cfg(feature = "ffi-test")]
pub use testing::corelane_test_panic;
pub use written::{CorelaneWritten, corelane_acknowledge_batch, corelane_rebind};
