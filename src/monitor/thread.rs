//! The monitor's thread: one tick per second, or more often if looks are more frequent. The thread holds no handle of
//! the monitor while it sleeps, so it ends with the last handle.

use super::Core;
use crate::sync::{Arc, Mutex, lock};
use std::panic::AssertUnwindSafe;
use std::sync::{Condvar, PoisonError, Weak};
use std::time::{Duration, Instant};

/// The longest time between two ticks; shorter if `monitor_interval_ms` is shorter.
pub(super) const PERIOD: Duration = Duration::from_secs(1);

#[derive(Debug, Default)]
struct ThreadState {
    stop: bool,
    /// Tick at once, because a value has changed.
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
    pub(super) fn start(core: &Arc<Core>) -> std::io::Result<Self> {
        let bell = Arc::new(Bell::default());
        let (core, its) = (Arc::downgrade(core), Arc::clone(&bell));
        let thread = std::thread::Builder::new().name("corelane-monitor".to_owned());
        // The thread is not joined: setting `ended` is its last act.
        let handle = thread.spawn(move || {
            run(&core, &its);
            lock(&its.state).ended = true;
            its.changed.notify_all();
        })?;
        Ok(Self { bell, id: handle.thread().id() })
    }

    /// Makes the thread tick at once.
    pub(super) fn wake(&self) {
        lock(&self.bell.state).hurry = true;
        self.bell.changed.notify_all();
    }

    /// Ends the thread and waits for its end, up to `patience`.
    pub(super) fn stop(&self, patience: Duration) {
        let start = Instant::now();
        let mut state = lock(&self.bell.state);
        state.stop = true;
        self.bell.changed.notify_all();
        // The monitor's thread cannot wait for its own end; the last handle may be dropped inside a tick.
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
            // A panic of a host's `tracing` subscriber must not end the monitor. The panic hook has printed it.
            period = std::panic::catch_unwind(AssertUnwindSafe(|| core.tick())).unwrap_or(period);
        }
        // The next tick is a period after the scheduled time of this one, or at once if this tick took longer. It is
        // never more than a period away: each wake causes an extra tick, which would otherwise postpone the scheduled
        // ones.
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
