//! The drain before a stop: a network thread closes its clients one after another, so that they connect to another
//! server. Idle clients come first. `main` starts a drain on SIGTERM and stops the server after it.

use crate::connection::{Connection, State};
use crate::network::Network;
use std::rc::Rc;
use std::time::Duration;
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep};

/// Interval between the steps of a drain.
const STEP: Duration = Duration::from_millis(50);
/// A client is idle once it has neither sent nor got a message for this time. A call is set up in less.
const IDLE: Duration = Duration::from_secs(3);
/// The last part of a drain, in which clients that are not idle are closed too, and in which all settle.
const LAST: Duration = Duration::from_secs(2);

/// Closes all clients of this thread within `time`, and reports to `drained` once no socket is left.
pub(crate) async fn run(network: Rc<Network>, time: Duration, drained: mpsc::UnboundedSender<()>) {
    let start = Instant::now();
    let last = time - LAST.min(time / 2);
    while network.sockets.get() > 0 {
        let (now, elapsed) = (network.clock.now(), start.elapsed());
        let mut open: Vec<_> =
            network.connections.borrow().iter().filter(|one| can_close(one)).cloned().collect();
        let count = step(open.len(), last.saturating_sub(elapsed));
        open.sort_unstable_by_key(|connection| connection.active_at.get());
        for connection in open.into_iter().take(count) {
            let is_idle = network.clock.between(connection.active_at.get(), now) >= IDLE;
            if is_idle || elapsed >= last {
                connection.end(State::Draining, "the server drains");
            }
        }
        sleep(STEP).await;
    }
    // The receiver is gone if the time is over.
    let _ = drained.send(());
}

fn can_close(connection: &Connection) -> bool {
    connection.client.get().is_some() && connection.state() == State::Open
}

/// How many of `open` clients to close in this step, so that all are closed after `left`.
fn step(open: usize, left: Duration) -> usize {
    open.div_ceil(1 + (left.as_millis() / STEP.as_millis()) as usize)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clients_are_closed_evenly_and_all_at_the_end() {
        let mut left = Duration::from_secs(8);
        let (mut open, mut most) = (10_000, 0);
        loop {
            let count = step(open, left);
            most = most.max(count);
            open -= count;
            if left.is_zero() {
                break;
            }
            left = left.saturating_sub(STEP);
        }
        assert_eq!((open, most), (0, 63));
        assert_eq!((step(1, Duration::from_secs(8)), step(0, Duration::ZERO)), (1, 0));
    }
}
