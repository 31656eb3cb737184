//! The port's task of a network thread. It receives what the thread's worker, or another one, has routed, and puts the
//! deliveries into the queues of the sockets. The port publishes once per round of ready sockets.

use crate::connection::{Connection, State};
use crate::http;
use crate::network::Network;
use crate::queue::Credit;
use corelane::clients::ClientId;
use corelane::clock::Stamp;
use corelane::router::{Event, OneThread};
use corelane::tokio::AsyncPort;
use std::rc::Rc;

/// Maximum number of deliveries before the sockets' tasks run.
const LIMIT: usize = 1024;

/// Runs until the router has stopped.
pub(crate) async fn run(network: Rc<Network>, mut port: AsyncPort<OneThread>) {
    // Connections whose queue has got its first frame in this batch.
    let mut unwritten = Vec::new();
    loop {
        let Ok(batch) = port.recv(LIMIT).await else { return };
        let now = network.clock.now();
        batch.for_each(|event| hand_out(&network, event, now, &mut unwritten));
        port.poller().acknowledge_batch(unwritten.drain(..).filter_map(|connection| write(&connection)));
    }
}

fn hand_out(network: &Network, event: Event<'_>, now: Stamp, unwritten: &mut Vec<Rc<Connection>>) {
    let connection = |token: u64| network.connections.borrow().get(token).cloned();
    match event {
        Event::Message(message) => {
            let credit = Credit { messages: 1, bytes: message.payload.len() as u32 };
            let push = |connection: &Connection| {
                connection.active_at.set(now);
                connection.queue(message.payload, credit)
            };
            queue(network, message.token, unwritten, push);
        }
        Event::Expired { token, name, .. } => {
            let credit = Credit { messages: 1, bytes: name.len() as u32 };
            let push =
                |connection: &Connection| connection.queue(&http::expired(name, &connection.id), credit);
            queue(network, token, unwritten, push);
        }
        Event::Left { token, .. } => {
            if let Some(connection) = connection(token) {
                network.release_name(&connection);
                network.service.registry.leave(&connection.id, connection.owner);
                // Nobody reaches the client any more, although its socket stays open.
                connection.claim.replace(None);
            }
        }
        Event::Close { token, .. } => {
            if let Some(connection) = connection(token) {
                connection.end(State::Aborted, "the client does not read");
                network.leave(&connection);
            }
        }
        Event::Closed { token, figures, .. } => {
            if let Some(connection) = network.connections.borrow_mut().remove(token) {
                connection.hand_over(&figures);
            }
        }
        _ => {}
    }
}

/// Queues a frame. A frame for a client that has left is dropped; the router returns its credit with its last event.
fn queue(
    network: &Network,
    token: u64,
    unwritten: &mut Vec<Rc<Connection>>,
    push: impl FnOnce(&Connection) -> bool,
) {
    let connections = network.connections.borrow();
    if let Some(connection) = connections.get(token).filter(|one| one.takes_messages())
        && push(connection)
    {
        unwritten.push(Rc::clone(connection));
    }
}

/// Writes a queue that was empty before this batch, all frames at once. Returns what is to be acknowledged. A full queue
/// waits for its socket, whose task continues.
fn write(connection: &Connection) -> Option<(ClientId, u32, u32)> {
    let written = connection.write_now();
    let client = connection.client.get().filter(|_| written.messages > 0)?;
    Some((client, written.messages, written.bytes))
}
