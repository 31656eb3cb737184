//! The port's task of a network thread. Once per round of ready sockets it publishes what they have submitted, lets the
//! thread's worker route it, and puts the deliveries into the queues of the sockets. It sleeps on one descriptor, which
//! port and worker share.

use crate::connection::{Connection, State};
use crate::http;
use crate::network::Network;
use crate::queue::Credit;
use corelane::router::Event;
use std::cell::{Cell, RefCell};
use std::future::poll_fn;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::rc::Rc;
use std::task::{Context, Poll, Waker};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use tokio::task::yield_now;
use tokio::time::timeout;

/// Maximum number of messages and deliveries before the sockets' tasks run.
const POLL_LIMIT: usize = 1024;

/// State that the sockets' tasks share with the port's task.
#[derive(Default)]
pub(crate) struct Pump {
    /// Whether submitted messages wait to be published.
    submitted: Cell<bool>,
    /// Wakers of the sockets that found a ring full.
    stalled: RefCell<Vec<Waker>>,
    waker: Cell<Option<Waker>>,
    /// Connections whose queue has got its first frame in this poll of the port.
    unwritten: RefCell<Vec<Rc<Connection>>>,
}

impl Pump {
    /// Makes the port's task publish after all sockets that are ready now, so that one publication serves all of them.
    pub(crate) fn publish_soon(&self) {
        if !self.submitted.replace(true)
            && let Some(waker) = self.waker.take()
        {
            waker.wake();
        }
    }

    /// Registers a socket that found its ring full. The port's task requests space, and wakes the socket when there
    /// is some.
    pub(crate) fn stall(&self, waker: &Waker) {
        self.stalled.borrow_mut().push(waker.clone());
        self.publish_soon();
    }

    fn wake_stalled(&self) {
        for waker in self.stalled.borrow_mut().drain(..) {
            waker.wake();
        }
    }
}

/// Registers a copy of the port's descriptor with this thread's event loop.
///
/// # Errors
/// An error of the event loop, or of the copy.
#[expect(deprecated, reason = "the replacement is unsafe: a descriptor might close before the drop")]
pub(crate) fn descriptor(network: &Network) -> io::Result<AsyncFd<OwnedFd>> {
    AsyncFd::with_interest(network.port.borrow().as_fd().try_clone_to_owned()?, Interest::READABLE)
}

/// Runs until the router has stopped.
pub(crate) async fn run(network: Rc<Network>, descriptor: AsyncFd<OwnedFd>) {
    let (mut follow_ups, mut done) = (Vec::new(), 0);
    loop {
        let routed = publish(&network);
        let Some(count) = poll_port(&network, &mut follow_ups) else { return };
        if routed + count > 0 {
            network.pump.wake_stalled();
            done += routed + count;
            if done >= POLL_LIMIT {
                done = 0;
                yield_now().await;
            }
            continue;
        }
        done = 0;
        if !network.port.borrow_mut().arm() {
            network.pump.wake_stalled();
            // Let the sockets' tasks run: they submit again what found a ring full.
            yield_now().await;
            continue;
        }
        let due = if network.is_local { network.port.borrow().next_due() } else { Ok(None) };
        let wait = poll_fn(|context| poll_wait(&network, &descriptor, context));
        let woken = match due {
            // The time is over without a wake: an event of the worker is due.
            Ok(Some(due)) => timeout(due, wait).await.unwrap_or(Ok(false)),
            _ => wait.await,
        };
        let Ok(reported) = woken else { return };
        network.port.borrow_mut().awake(reported);
        if reported {
            network.pump.wake_stalled();
        }
    }
}

/// Publishes what was submitted, and lets the thread's worker route it. Returns how much the worker has done.
fn publish(network: &Network) -> usize {
    let submitted = network.pump.submitted.replace(false);
    let mut port = network.port.borrow_mut();
    if network.is_local {
        // Once the worker has stopped, the poll says so too.
        return port.cycle().unwrap_or(0);
    }
    if submitted {
        port.publish();
    }
    0
}

/// Waits until port or worker have something to do, or a socket has submitted something. Returns whether the event loop
/// has reported the descriptor.
fn poll_wait(
    network: &Network,
    descriptor: &AsyncFd<OwnedFd>,
    context: &mut Context<'_>,
) -> Poll<io::Result<bool>> {
    network.pump.waker.set(Some(context.waker().clone()));
    match descriptor.poll_read_ready(context) {
        Poll::Ready(ready) => {
            ready?.clear_ready();
            Poll::Ready(Ok(true))
        }
        Poll::Pending if network.pump.submitted.get() => Poll::Ready(Ok(false)),
        Poll::Pending => Poll::Pending,
    }
}

/// Work that must wait until the poll returns, because the port cannot be called from its own poll.
#[derive(Debug)]
enum FollowUp {
    LeftName(u64),
    Abort(u64),
}

/// Polls the port. Returns the number of events, or `None` once the router has stopped.
fn poll_port(network: &Network, follow_ups: &mut Vec<FollowUp>) -> Option<usize> {
    let polled =
        network.port.borrow_mut().poll_each(POLL_LIMIT, |event| hand_out(network, event, follow_ups));
    write(network);
    for follow_up in follow_ups.drain(..) {
        carry_out(network, &follow_up);
    }
    polled.ok()
}

fn hand_out(network: &Network, event: Event<'_>, follow_ups: &mut Vec<FollowUp>) {
    match event {
        Event::Message(message) => {
            let credit = Credit { messages: 1, bytes: message.payload.len() as u32 };
            queue(network, message.token, |connection| connection.queue(message.payload, credit));
        }
        Event::Expired { token, name, .. } => {
            let credit = Credit { messages: 1, bytes: name.len() as u32 };
            queue(network, token, |connection| {
                connection.queue(&http::expired(name, &connection.id), credit)
            });
        }
        Event::Left { token, .. } => follow_ups.push(FollowUp::LeftName(token)),
        Event::Close { token, .. } => follow_ups.push(FollowUp::Abort(token)),
        Event::Closed { token, figures, .. } => {
            if let Some(connection) = network.connections.borrow_mut().remove(token) {
                connection.hand_over(&figures);
            }
        }
        _ => {}
    }
}

/// Queues a frame. A frame for a client that has left is dropped; the router returns its credit with its last event.
fn queue(network: &Network, token: u64, push: impl FnOnce(&Connection) -> bool) {
    let connections = network.connections.borrow();
    if let Some(connection) = connections.get(token).filter(|one| one.takes_messages())
        && push(connection)
    {
        network.pump.unwritten.borrow_mut().push(Rc::clone(connection));
    }
}

/// Writes the queues that were empty before this poll, all frames of a socket at once. A full queue waits for its
/// socket, whose task continues.
fn write(network: &Network) {
    for connection in network.pump.unwritten.borrow_mut().drain(..) {
        let written = connection.write_now();
        network.acknowledge(&connection, written);
    }
}

fn carry_out(network: &Network, follow_up: &FollowUp) {
    let connection = |token: u64| network.connections.borrow().get(token).cloned();
    match *follow_up {
        FollowUp::LeftName(token) => {
            if let Some(connection) = connection(token) {
                network.release_name(&connection);
                network.service.registry.leave(&connection.id, connection.owner);
            }
        }
        FollowUp::Abort(token) => {
            if let Some(connection) = connection(token) {
                connection.end(State::Aborted, "the client does not read");
                network.leave(&connection);
            }
        }
    }
}
