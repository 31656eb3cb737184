//! Workers: one pinned thread each. `cycle` is the loop: it takes records from the ingress rings. `dispatch`
//! handles one record: it classifies a message, then `deliver` (one client), `rooms` (a room), `hold` (an
//! absent recipient), `handler` with `request` (the host's closure) or `driven` with `tasks` (a host-driven
//! worker) handles it, and `message_end` counts its end. `send` handles host sends, `over_limit` applies the
//! credit policy, `egress` writes the delivery records, `notices` tells the host of messages that
//! have failed, `held` ends held messages, `state` is what a worker owns.
//! `lane` takes the records of lanes: it does there what a port's two halves do otherwise.
//! `pairs` takes up and leaves the rings of ports, and `adoption` settles a worker that ended without a stop.
//! `remote` hands messages to other machines, through the gateway, and takes their answers; `under_way`
//! has those messages. `unknown` asks the gateway for names that this machine does not know; `asks` has those names.
//! `pool` and `blocks` are the memory of `hold`, `remote` and `asks`.
//!
//! `router` imports the folder to build the workers; no file in `port/` imports it. Deliveries go on to `port/poll`.

pub(super) mod adoption;
mod asks;
pub(super) mod blocks;
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
pub(super) mod lane;
pub(super) mod message_end;
mod notices;
pub(super) mod over_limit;
mod pairs;
pub(super) mod pool;
pub(super) mod remote;
pub(super) mod request;
pub(super) mod rooms;
pub(super) mod send;
pub(super) mod state;
pub(super) mod tasks;
pub(super) mod under_way;
mod unknown;
pub(super) mod unusual;
