//! The port's task of a network thread: publishes what sockets have submitted once per round of ready sockets,
//! hands what the router delivers to their queues, and sleeps on the port's descriptor.

use crate::connection::{Connection, Outgoing, State};
use crate::http;
use crate::network::Network;
use corelane::router::Event;
use hyper::body::Bytes;
use std::cell::{Cell, RefCell};
use std::future::poll_fn;
use std::io;
use std::os::fd::{AsRawFd, RawFd};
use std::rc::Rc;
use std::task::{Context, Poll, Waker};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use tokio::task::yield_now;

/// Deliveries taken from the rings before the sockets have their turn.
const POLL_LIMIT: usize = 1024;

/// What sockets leave for the port's task.
#[derive(Default)]
pub(crate) struct Pump {
    /// Something waits to be published.
    submitted: Cell<bool>,
    /// Sockets that found a ring full.
    stalled: RefCell<Vec<Waker>>,
    waker: Cell<Option<Waker>>,
}

impl Pump {
    /// Has the task publish, behind all sockets that are ready now: one publication does for them all.
    pub(crate) fn publish_soon(&self) {
        if !self.submitted.replace(true)
            && let Some(waker) = self.waker.take()
        {
            waker.wake();
        }
    }

    /// A ring was full. The task asks for space, and wakes the socket once there is some.
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

/// The port's descriptor, as tokio wants it.
#[derive(Debug)]
pub(crate) struct Descriptor(RawFd);

impl AsRawFd for Descriptor {
    fn as_raw_fd(&self) -> RawFd {
        self.0
    }
}

/// The port's descriptor in this thread's event loop, for the port's task, which keeps the port open with it.
#[expect(deprecated, reason = "its successor is unsafe, for descriptors that may close before it is dropped")]
pub(crate) fn descriptor(network: &Network) -> io::Result<AsyncFd<Descriptor>> {
    AsyncFd::with_interest(Descriptor(network.port.borrow().descriptor()), Interest::READABLE)
}

/// Runs until the router has stopped.
pub(crate) async fn run(network: Rc<Network>, descriptor: AsyncFd<Descriptor>) {
    let mut follow_ups = Vec::new();
    loop {
        publish(&network);
        let Some(count) = poll_port(&network, &mut follow_ups) else { return };
        network.pump.wake_stalled();
        if count > 0 || !network.port.borrow_mut().arm() {
            // The sockets have their turn: they write what came, and submit what has come for them.
            yield_now().await;
        } else if poll_fn(|context| poll_wait(&network, &descriptor, context)).await.is_err() {
            return;
        }
    }
}

fn publish(network: &Network) {
    if network.pump.submitted.replace(false) {
        network.port.borrow_mut().publish();
    }
}

/// Waits until the router has something, or space for who waits for it; publishes meanwhile.
fn poll_wait(
    network: &Network,
    descriptor: &AsyncFd<Descriptor>,
    context: &mut Context<'_>,
) -> Poll<io::Result<()>> {
    network.pump.waker.set(Some(context.waker().clone()));
    if network.pump.submitted.get() {
        publish(network);
        // Arming again asks for space in the ring that was found full since.
        if !network.pump.stalled.borrow().is_empty() && !network.port.borrow_mut().arm() {
            return Poll::Ready(Ok(()));
        }
    }
    std::task::ready!(descriptor.poll_read_ready(context))?.clear_ready();
    Poll::Ready(Ok(()))
}

/// What a poll leaves to do: a port cannot be called while it hands out.
#[derive(Debug)]
enum FollowUp {
    LeftName(u64),
    Abort(u64),
}

/// Hands out deliveries; how many, or `None` once the router has stopped.
fn poll_port(network: &Network, follow_ups: &mut Vec<FollowUp>) -> Option<usize> {
    let polled = network.port.borrow_mut().poll(POLL_LIMIT, |event| hand_out(network, event, follow_ups));
    for follow_up in follow_ups.drain(..) {
        carry_out(network, &follow_up);
    }
    polled.ok()
}

fn hand_out(network: &Network, event: Event<'_>, follow_ups: &mut Vec<FollowUp>) {
    match event {
        Event::Message(message) => {
            let bytes = message.payload.len() as u32;
            queue(network, message.token, bytes, |_| Bytes::copy_from_slice(message.payload));
        }
        Event::Expired { token, name, .. } => {
            queue(network, token, name.len() as u32, |connection| http::expired(name, &connection.id));
        }
        Event::Left { token, .. } => follow_ups.push(FollowUp::LeftName(token)),
        Event::Close { token, .. } => follow_ups.push(FollowUp::Abort(token)),
        Event::Closed { token, figures, .. } => {
            if let Some(connection) = network.connections.borrow_mut().remove(token) {
                connection.hand_over(figures);
            }
        }
        _ => {}
    }
}

/// Queues a frame. For a client that has left it is dropped: its credit is forgiven with its last event.
fn queue(network: &Network, token: u64, bytes: u32, text: impl FnOnce(&Connection) -> Bytes) {
    let connections = network.connections.borrow();
    if let Some(connection) = connections.get(token).filter(|one| one.takes_messages()) {
        connection.push(Outgoing { text: text(connection), messages: 1, bytes });
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
                connection.end(State::Aborted, "does not read");
                network.leave(&connection);
            }
        }
    }
}
