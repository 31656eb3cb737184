//! The monitor's thread: a tick each second, or more often where looks are. It holds no handle of the monitor while it
//! sleeps, so it ends with the last of them.

use super::Core;
use crate::error::Error;
use crate::sync::{Arc, Mutex, lock};
use std::panic::AssertUnwindSafe;
use std::sync::{Condvar, PoisonError, Weak};
use std::time::{Duration, Instant};

/// At most; less where looks are wanted more often.
pub(super) const PERIOD: Duration = Duration::from_secs(1);

#[derive(Debug, Default)]
struct ThreadState {
    stop: bool,
    /// Tick at once: something was changed.
    hurry: bool,
    ended: bool,
}

#[derive(Debug, Default)]
struct Bell {
    state: Mutex<ThreadState>,
    changed: Condvar,
}

#[derive(Debug)]
pub(super) struct Thread {
    bell: Arc<Bell>,
    id: std::thread::ThreadId,
}

impl Thread {
    pub(super) fn start(core: &Arc<Core>) -> Result<Self, Error> {
        let bell = Arc::new(Bell::default());
        let (core, its) = (Arc::downgrade(core), Arc::clone(&bell));
        let thread = std::thread::Builder::new().name("corelane-monitor".to_owned());
        // Not joined: `ended` is the last thing that it says.
        let handle = thread.spawn(move || {
            run(&core, &its);
            lock(&its.state).ended = true;
            its.changed.notify_all();
        })?;
        Ok(Self { bell, id: handle.thread().id() })
    }

    /// Has it tick at once.
    pub(super) fn wake(&self) {
        lock(&self.bell.state).hurry = true;
        self.bell.changed.notify_all();
    }

    /// Ends it, and waits for that up to `patience`.
    pub(super) fn stop(&self, patience: Duration) {
        let start = Instant::now();
        let mut state = lock(&self.bell.state);
        state.stop = true;
        self.bell.changed.notify_all();
        // Its own end it cannot wait for: the last handle may be dropped inside a tick.
        while !state.ended && std::thread::current().id() != self.id {
            let left = patience.saturating_sub(start.elapsed());
            if left.is_zero() {
                return;
            }
            state = wait(&self.bell, state, left);
        }
    }
}

impl Drop for Thread {
    fn drop(&mut self) {
        lock(&self.bell.state).stop = true;
        self.bell.changed.notify_all();
    }
}

fn run(core: &Weak<Core>, bell: &Bell) {
    let (mut next, mut period) = (Instant::now(), PERIOD);
    loop {
        {
            let Some(core) = core.upgrade() else { return };
            // What a host's `tracing` subscriber does there must not end the monitor; its panic was printed.
            period = std::panic::catch_unwind(AssertUnwindSafe(|| core.tick())).unwrap_or(period);
        }
        // On time where it can be; where a tick took longer, the next is at once. Never further away than a period: each
        // wake brings a tick that was not due, and would put off those that are.
        let now = Instant::now();
        next = (next + period).clamp(now, now + period);
        let mut state = lock(&bell.state);
        loop {
            if state.stop {
                return;
            }
            let left = next.saturating_duration_since(Instant::now());
            if std::mem::take(&mut state.hurry) || left.is_zero() {
                break;
            }
            state = wait(bell, state, left);
        }
    }
}

fn wait<'a>(
    bell: &Bell,
    state: crate::sync::MutexGuard<'a, ThreadState>,
    most: Duration,
) -> crate::sync::MutexGuard<'a, ThreadState> {
    bell.changed.wait_timeout(state, most).unwrap_or_else(PoisonError::into_inner).0
}
