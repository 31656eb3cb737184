//! Workers: one pinned thread each. `cycle` is the loop, `dispatch` handles one record, `deliver` and `rooms` bring it to its
//! recipients, `message_end` ends it. The files of this folder are one mechanism and import each other; nothing that a port
//! uses imports them.

pub(super) mod adoption;
pub(super) mod cycle;
pub(super) mod deliver;
pub(super) mod dispatch;
pub(super) mod driven;
pub(super) mod egress;
pub(super) mod gate;
pub(super) mod handled;
pub(super) mod handler;
pub(super) mod held;
pub(super) mod hold;
pub(super) mod message_end;
pub(super) mod over_limit;
pub(super) mod pool;
pub(super) mod request;
pub(super) mod rooms;
pub(super) mod send;
pub(super) mod state;
pub(super) mod tasks;
