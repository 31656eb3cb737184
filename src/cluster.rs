//! Several machines as one router, over NATS (`docs/cluster.md`).

#![forbid(unsafe_code)]

pub mod directory;
pub mod lease;
pub mod link;
pub mod names;
pub mod seam;
pub mod wire;
