//! Several machines as one router, over NATS (`docs/cluster.md`).

#![forbid(unsafe_code)]

pub mod link;
pub mod seam;
pub mod wire;
