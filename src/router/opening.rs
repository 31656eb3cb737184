//! What a port and a lane share when they are opened: a place that no other has, and a pair of rings for each worker.
//!
//! Used by `port/handle` and `lane/handle`.

use super::pair::{Pair, PairCounts};
use super::shared::{RouterControl, RouterState, Shared};
use crate::config::Key;
use crate::error::PortError;
use crate::park::WakeWord;
use crate::ring::{AttachState, Memory};
use crate::sync::Arc;
use std::time::Duration;

/// Opens with `try_open`. If that says that a place becomes free, because a port or a lane was just released and its workers
/// have not left its pairs yet, tries again. `cycle` drives the local workers that only this thread can drive, and returns
/// how much work they have done.
pub(super) fn open<T>(
    shared: &Shared,
    cycle: impl Fn() -> usize,
    try_open: impl Fn() -> Result<Result<T, bool>, PortError>,
) -> Result<T, PortError> {
    for _ in 0..100 {
        match try_open()? {
            Ok(opened) => return Ok(opened),
            Err(false) => break,
            Err(true) if cycle() > 0 => {}
            Err(true) => std::thread::sleep(Duration::from_millis(1)),
        }
    }
    Err(PortError::TooManyPorts(shared.ports.len() as u32))
}

/// A place that is not in use; or else whether one becomes free once the workers have left a released one's pairs.
pub(super) fn free_place(shared: &Shared, control: &RouterControl) -> Result<Result<usize, bool>, PortError> {
    if control.state != RouterState::Running {
        return Err(PortError::Stopped);
    }
    let workers = shared.workers.len();
    let is_free = |port: usize| (0..workers).all(|one| shared.pair(one, port).state() == AttachState::Free);
    let mut unused = (0..shared.ports.len()).filter(|port| !control.port_open[*port]);
    Ok(unused.clone().find(|port| is_free(*port)).ok_or_else(|| unused.next().is_some()))
}

/// The rings between one worker and a new port.
pub(super) fn pair(shared: &Shared, wake: &Arc<WakeWord>) -> std::io::Result<Pair> {
    let touch = shared.config.touches();
    let memory = || {
        let memory = Memory::reserve(shared.config.count(Key::RingBytes), touch)?;
        memory.set_stamp_source(shared.clock.source() as u64);
        Ok::<_, std::io::Error>(Arc::new(memory))
    };
    Ok(Pair {
        backlog: Arc::new(Memory::reserve(shared.config.count(Key::BacklogBytes), touch)?),
        ingress: memory()?,
        egress: memory()?,
        port_wake: Arc::clone(wake),
        counts: Arc::new(PairCounts::new()),
        lane: None,
    })
}
