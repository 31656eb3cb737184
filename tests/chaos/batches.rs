//! Submits messages in batches, as synchronous calls, and until a ring is full.

use crate::submitting::{Draft, Way};
use crate::world::{World, catch, throw};
use corelane::error::{RouteError, SubmitError};
use corelane::router::Routed;
use std::ops::ControlFlow;
use std::time::Duration;

impl World {
    /// Submits several messages at once. The callback that gets each result may panic or stop the batch.
    pub fn batch(&self) {
        let Some((client, place)) = self.client_and_place() else { return };
        if !Self::can_submit(place) {
            return;
        }
        let drafts: Vec<_> = (0..self.below(5)).map(|_| self.draft(client, place)).collect();
        let batch = drafts.iter().map(|draft| {
            self.ledger.borrow_mut().give(draft.number);
            (draft.client, &draft.bytes[..], draft.number)
        });
        let (stops, throws) = (self.chance(10), self.chance(10));
        let serial = place.serial.get();
        let told = std::cell::Cell::new(0);
        let each = |at: usize, result: Result<(), SubmitError>| {
            told.set(told.get() + 1);
            // A shared port whose poller was dropped counts nothing.
            let closed = result == Err(SubmitError::Closed);
            if closed && place.serial.get() != serial {
                return ControlFlow::Continue(());
            }
            self.ledger.borrow_mut().submitted += 1;
            self.answered(drafts[at].number, result.err().as_ref());
            if throws {
                throw();
            }
            if self.chance(5) {
                self.act_inside();
            }
            if stops { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        };
        self.submitting(place, |way| match way {
            Way::Plain(port) => catch(|| port.submit_batch(batch, each)),
            Way::Shared(port) => catch(|| port.submit_batch(batch, each)),
        });
        for draft in &drafts[told.get()..] {
            self.ledger.borrow_mut().sent[draft.number as usize].dead = true;
        }
    }

    /// Makes a call with a zero time-out. From a worker's thread the call is refused and not counted.
    pub fn route(&self) {
        let Some((client, place)) = self.client_and_place() else { return };
        if !Self::can_submit(place) {
            return;
        }
        let Draft { number, client, bytes } = self.draft(client, place);
        let runs = self.ledger.borrow().base_runs;
        let result = self.submitting(place, |way| match way {
            Way::Plain(port) => port.route(client, &bytes, Duration::ZERO),
            Way::Shared(port) => port.route(client, &bytes, Duration::ZERO),
        });
        let result = result.unwrap();
        self.trace(|| format!("route {number} {client:?}: {result:?}"));
        // A call has no correlation value of its own: anything delivered for it would carry number 0.
        self.ledger.borrow_mut().sent[number as usize].dead = true;
        if self.inside.get() > 0 || result == Err(RouteError::OwnThread) {
            assert_eq!(result, Err(RouteError::OwnThread));
            assert!(self.inside.get() > 0 || self.setup.locals > 0, "no worker lives on this thread");
            self.reach(|reached| reached.own_thread += 1);
            return;
        }
        self.ledger.borrow_mut().submitted += 1;
        match result {
            Ok(Routed::TakenOver { .. }) => assert!(self.ledger.borrow().base_runs > runs),
            Err(RouteError::TimedOut) => self.reach(|reached| reached.timeouts += 1),
            Err(RouteError::Refused(SubmitError::TooManyCalls)) => self.ledger.borrow_mut().refused += 1,
            Err(RouteError::Refused(reason)) => self.answered(number, Some(&reason)),
            Err(error) => panic!("{error}"),
            Ok(other) => panic!("a call was answered although no worker ran: {other:?}"),
        }
    }

    /// Submits until the ring is full, lets the workers drain it, and arms the port. The port must not sleep, because
    /// there is space again.
    pub fn stall(&self) {
        let Some((client, place)) = self.client_and_place() else { return };
        if self.setup.driven || self.is_inside() || !Self::can_submit(place) {
            return;
        }
        let full = (0..100).any(|_| {
            let draft = self.draft(client, place);
            self.submit_one(place, draft)
        });
        self.calm.set(true);
        if full {
            self.publish_on(place);
            while self.work_on_all() > 0 {}
            let armed = self.arm(place);
            assert!(armed != Some(true), "the port would sleep although the ring has space");
            self.reach(|reached| reached.stalled_ports += 1);
        }
        self.calm.set(false);
    }

    /// Submits until the port refuses.
    pub fn flood(&self) {
        let Some((client, place)) = self.client_and_place() else { return };
        for _ in 0..self.below(30) {
            if Self::can_submit(place) {
                let draft = self.draft(client, place);
                self.submit_one(place, draft);
            }
        }
    }
}
