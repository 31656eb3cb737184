//! The pairs of a worker: it takes up the rings of a port that attaches, leaves those of a port that has left, and leaves
//! all of them at a stop. Every end of a pair gives up the backlog, closes the rings and settles what nobody takes.
//!
//! Used by `cycle`, which looks at the pairs when one has changed, and by `adoption`. What is left goes on to `settle`.

use crate::clients::{ClientId, END};
use crate::error::{Failed, Undeliverable};
use crate::park::after_publishing;
use crate::ring::{AttachState, Consumer};
use crate::router::lane::rings::LaneIngress;
use crate::router::lane::settle::settle_lane;
use crate::router::notice::Notice;
use crate::router::payload::Way;
use crate::router::placement::Frontier;
use crate::router::settle::{settle_ingress, untaken_deliveries};
use crate::router::worker::cycle::{IngressReceiver, Worker};
use crate::router::worker::egress::EgressSender;
use crate::router::worker::handler::NOT_TAKEN_UP;
use crate::router::worker::state::WorkerContext;
use crate::sync::{Arc, mutant};

impl Worker {
    /// Takes up the pairs that have been attached, and leaves the pairs whose port has left.
    pub(in crate::router) fn look_at_pairs(&mut self, now: u64) {
        self.look_again = None;
        for port in 0..self.ingress.len() {
            let state = self.shared.pair(self.index, port).state();
            if state == AttachState::Free {
                continue;
            }
            if self.ingress[port].is_none() {
                self.take_up(port);
            }
            if state == AttachState::Detaching {
                let mut time = now;
                let mut end = None;
                while !self.is_abandoned() && self.drain(port, usize::MAX, &mut time) > 0 {
                    // A lane's host has stopped pushing. One that has not must not keep the worker here.
                    let lane = self.ingress[port].as_ref().filter(|ingoing| ingoing.lane.is_some());
                    if lane.is_some_and(|lane| {
                        lane.ring.position() >= *end.get_or_insert_with(|| lane.ring.seen_tail())
                    }) {
                        break;
                    }
                }
                if self.is_abandoned() {
                    return;
                }
                if self.has_unended(port) {
                    self.look_again = Some(self.state.tasks.returned);
                    continue;
                }
                if self.state.remotes.as_ref().is_some_and(|remotes| remotes.port == port) {
                    WorkerContext::new(&self.shared, &self.code, &mut self.state).leave_gateway();
                }
                if self.state.asks.as_ref().is_some_and(|asks| asks.port == port) {
                    WorkerContext::new(&self.shared, &self.code, &mut self.state).forget_asks();
                }
                self.leave(port, Undeliverable::PortGone);
            }
        }
    }

    /// Ends what is under way to other machines.
    fn end_links(&mut self, reason: Failed) {
        if self.state.remotes.is_some() {
            WorkerContext::new(&self.shared, &self.code, &mut self.state).end_links(reason);
        }
    }

    /// Takes up the rings of an attached pair.
    pub(in crate::router) fn take_up(&mut self, port: usize) {
        let Some(pair) = self.shared.pair(self.index, port).view() else { return };
        // `deliver` may already have taken up the egress ring.
        self.state.egress[port].get_or_insert_with(|| EgressSender::new(&pair));
        self.state.lanes |= u64::from(pair.lane.is_some()) << port;
        self.state.inside.taken[port] = 0;
        self.ingress[port] = Some(IngressReceiver {
            ring: Consumer::new(pair.ingress),
            counts: pair.counts,
            port_wake: pair.port_wake,
            sealed: false,
            corrupt: false,
            blocked: None,
            lane: pair.lane.map(LaneIngress::new),
        });
    }

    /// Stops the worker: takes what is published in every ring, up to its seal, and leaves every pair. Returns
    /// how many records it took.
    pub(in crate::router) fn stop(&mut self, now: u64) -> usize {
        let mut time = now;
        // While tasks are out, the backlogs still move on to the ports that read.
        let mut work = self.flush_egress();
        if let Some(reason) = self.failing {
            WorkerContext::new(&self.shared, &self.code, &mut self.state).fail_tasks(reason, now);
        }
        for port in 0..self.ingress.len() {
            if let Some(Some(ingoing)) = self.ingress.get_mut(port) {
                if !ingoing.sealed {
                    ingoing.corrupt |= ingoing.ring.close_and_seal().is_err();
                    ingoing.sealed = true;
                }
                match self.failing {
                    Some(reason) => self.fail_rest(port, reason, now),
                    None => work += self.drain(port, usize::MAX, &mut time),
                }
                if self.is_abandoned() {
                    return work;
                }
            }
        }
        if (0..self.ingress.len()).any(|port| self.has_unended(port)) {
            // The host continues to take what was published before the stop.
            self.look_again = Some(self.state.tasks.returned);
            return work;
        }
        let lost = self.failing.filter(|reason| *reason == Failed::WorkerLost);
        WorkerContext::new(&self.shared, &self.code, &mut self.state)
            .stop_holds(lost.unwrap_or(Failed::Stopped));
        self.end_links(lost.unwrap_or(Failed::Stopped));
        self.flush_egress();
        for port in 0..self.ingress.len() {
            if self.ingress[port].is_some() {
                self.leave(port, Undeliverable::Stopped);
            }
        }
        // Callers re-check whether a worker can still take their message.
        for calls in &self.shared.calls {
            calls.wake_all();
        }
        self.give_permits();
        self.follow_ports();
        self.stopped = true;
        work
    }

    /// Leaves one pair: gives up its backlog, stores the seal, publishes, wakes the port once more
    /// unconditionally, and settles the rest if the port has left first.
    fn leave(&mut self, port: usize, reason: Undeliverable) {
        let Some(mut ingoing) = self.ingress[port].take() else { return };
        let shared = Arc::clone(&self.shared);
        self.state.inside.taken[port] = NOT_TAKEN_UP;
        let mut egress = self.state.egress[port].take();
        let lane = ingoing.lane.take().map(|lane| lane.rings);
        self.state.lanes &= !(1 << port);
        let path = &shared.workers[self.index].paths[port];
        let published = &shared.workers[self.index].frontiers[port];
        let (mut closed, mut closes) = (Vec::new(), Vec::new());
        if let Some(egress) = &mut egress {
            egress.report(path, &mut self.state.writer);
            let mut given_up = egress.give_up(&shared.clients, &shared.payloads, (self.index, port));
            if let Some(rings) = &lane {
                // The lane's host closes these clients itself when it finds the ring closed.
                let clients = given_up.closed.drain(..).chain(given_up.closes.drain(..));
                given_up.recipients += clients
                    .map(|client| {
                        let slot = shared.clients.slot(client.index());
                        slot.inspect(|slot| slot.credit.end_close_delivery(client.generation()));
                        1
                    })
                    .sum::<u64>();
                rings.leave_unread(egress.take_unread());
            } else if reason == Undeliverable::Stopped {
                // The port is there: it hands these notices out itself. They are listed before the ring closes, so
                // that the port does not see the end before them.
                shared.ended[port].leave_notices(std::mem::take(&mut given_up.notices));
            }
            let lost = given_up.recipients + given_up.notices.len() as u64;
            WorkerContext::new(&self.shared, &self.code, &mut self.state).undeliverable(reason, lost);
            (closed, closes) = (given_up.closed, given_up.closes);
            egress.report(path, &mut self.state.writer);
            egress.leave(published);
        }
        ingoing.ring.store_seal();
        if let Some(rings) = &lane {
            rings.store_seal(ingoing.ring.position());
        }
        ingoing.counts.end(ingoing.ring.popped());
        if self.failing.is_some() {
            ingoing.ring.keep(); // The handler that was given up may still be reading from it.
        } else {
            ingoing.ring.release();
        }
        // Close first: a port that sees a client on its list then also sees everything that this worker had for
        // the client.
        if let Some(egress) = &egress {
            egress.close();
        }
        for client in closes {
            shared.ask_to_close_by_port(client, port);
        }
        for client in closed {
            shared.close_by_port(client, port);
            if let Some(slot) = shared.clients.slot(client.index()) {
                slot.finish(1);
            }
        }
        ingoing.ring.memory().close();
        after_publishing(|| {
            if !mutant("stop-no-space-step") {
                ingoing.port_wake.wake_if_asleep();
            }
        });
        let port_wake = Arc::clone(&ingoing.port_wake);
        drop(ingoing);
        shared.pair(self.index, port).leave(|pair| {
            if let Some(rings) = &pair.lane {
                let way = (self.index, port);
                drop(settle_lane(&shared, way, &pair, rings, &mut self.state.writer));
                return;
            }
            let unread = settle_ingress(
                &shared,
                (self.index, port),
                &pair,
                |reason, untaken| self.own_shard_add(|shard| &shard.refused[reason as usize], untaken),
                |_: ClientId| (), // The port has already closed it.
                |_: Notice| (),   // Nobody is there to be told.
            );
            drop((unread, shared.payloads.sweep(Way::Out, self.index, port)));
            let untaken = untaken_deliveries(&pair.egress, &shared.clients);
            let closings = shared.forget_ended(port, (END, END));
            WorkerContext::new(&self.shared, &self.code, &mut self.state)
                .undeliverable(Undeliverable::PortGone, untaken + closings);
            Frontier::end(published);
        });
        // The port's re-check also reads the state of the pair.
        after_publishing(|| port_wake.wake_if_asleep());
    }

    /// Whether a leave or a stop can continue only after the host has finished a task.
    pub(super) fn waits_for_tasks(&self) -> bool {
        self.look_again == Some(self.state.tasks.returned) && !self.state.tasks.is_empty()
    }
}
