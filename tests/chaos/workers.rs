//! Drives workers by hand, at any time and from any place; finishes their tasks; loses workers.

use crate::handlers;
use crate::world::{Hand, World, catch};
use corelane::clients::ClientId;
use corelane::clock::Stamp;
use corelane::error::{Failed, StaleTask};
use corelane::router::{TaskId, Worker};
use std::time::Duration;

/// A task that the host holds.
#[derive(Clone, Copy, Debug)]
pub struct Out {
    id: TaskId,
    client: ClientId,
    number: u64,
}

impl World {
    pub fn work(&self) {
        let worker = self.below((self.workers.len() + self.setup.locals) as u64) as usize;
        if worker >= self.workers.len() {
            return self.work_on_some_local();
        }
        if self.is_inside() && self.workers[worker].worker.borrow().is_some() {
            self.reach(|reached| reached.nested_cycles += 1);
        }
        self.work_on(worker);
    }

    /// Runs one cycle of a worker, unless the worker is in use or gone. Returns the amount of work done.
    pub fn work_on(&self, worker: usize) -> usize {
        let hand = &self.workers[worker];
        let Some(mut taken) = hand.worker.take() else { return 0 };
        let raw = self.clock.now();
        let now = match self.below(10) {
            _ if self.calm.get() => raw,
            0 => Stamp(0),
            1 => Stamp(u64::MAX),
            2 => Stamp(raw.0.saturating_sub(1_000_000)),
            _ => raw,
        };
        self.trace(|| format!("work {worker}"));
        let began = {
            let mut ledger = self.ledger.borrow_mut();
            ledger.now += 1;
            ledger.now
        };
        let inside = self.inside.replace(self.inside.get() + 1);
        let work = if self.setup.driven {
            self.drive(hand, &mut taken, now, began)
        } else {
            let work = taken.cycle(now);
            hand.cycled.set(began);
            work
        };
        if !self.calm.get() && self.chance(5) {
            taken.wait(Duration::ZERO);
        }
        self.inside.set(inside);
        if taken.is_stopped() {
            hand.tasks.borrow_mut().clear();
            hand.gone.set(true);
        }
        *hand.worker.borrow_mut() = Some(taken);
        work
    }

    fn drive(&self, hand: &Hand, worker: &mut Worker, now: Stamp, began: u64) -> usize {
        let limit = if self.calm.get() { 1_000 } else { self.below(4) as usize };
        let was_empty = hand.tasks.borrow().is_empty() && limit > 0;
        let mut work = if self.chance(80) || self.calm.get() {
            worker.take(now, limit, |task| {
                let number = task.correlation();
                let out = Out { id: task.id(), client: task.client(), number };
                assert_eq!(task.message_type(), "task");
                self.trace(|| format!("{out:?}"));
                hand.tasks.borrow_mut().push(out);
                self.reach(|reached| reached.tasks += 1);
            })
        } else {
            worker.cycle(now)
        };
        if was_empty && hand.tasks.borrow().is_empty() {
            hand.cycled.set(began); // The worker has detached from the ports that were released before.
        }
        if let Some(id) = hand.last_done.get() {
            assert_eq!(worker.done(id, Duration::from_nanos(1), Ok(())), Err(StaleTask), "done twice");
        }
        let out = hand.tasks.borrow().len() as u64;
        let count = if self.calm.get() { out } else { self.below(out + 1) };
        for _ in 0..count {
            if worker.is_stopped() {
                break;
            }
            work += self.finish_one(hand, worker);
        }
        if self.chance(50) {
            worker.flush();
        }
        work
    }

    /// Finishes one task for which no earlier task of the same client is out.
    fn finish_one(&self, hand: &Hand, worker: &mut Worker) -> usize {
        let out = hand.tasks.borrow().clone();
        let first = |at: &usize| !out[..*at].iter().any(|earlier| earlier.client == out[*at].client);
        let places: Vec<_> = (0..out.len()).filter(first).collect();
        let Some(at) = self.pick(&places) else { return 0 };
        let task = hand.tasks.borrow_mut().remove(at);
        let id = task.id;
        self.finish_elsewhere(id);
        assert_eq!(
            worker.task(id).map(|task| task.correlation()),
            Some(task.number),
            "the task's view has changed"
        );
        self.trace(|| format!("finish {task:?}"));
        let result = match self.below(4) {
            0 => worker.done(
                id,
                Duration::from_nanos(1),
                if self.chance(50) { Ok(()) } else { Err(Failed::HandlerFailed) },
            ),
            _ => {
                self.reach(|reached| reached.answers += 1);
                worker.done_with(id, Duration::from_nanos(1_000), |request| handlers::handle(self, request))
            }
        };
        let wanted = if worker.is_stopped() { Err(StaleTask) } else { Ok(()) };
        assert_eq!(result, wanted);
        assert!(worker.task(id).is_none());
        hand.last_done.set(Some(id));
        1
    }

    /// Checks that another worker rejects the task's id.
    fn finish_elsewhere(&self, id: TaskId) {
        for hand in self.workers.iter().filter(|_| !self.calm.get()) {
            if let Some(worker) = hand.worker.borrow_mut().as_mut() {
                assert_eq!(worker.done(id, Duration::from_nanos(1), Ok(())), Err(StaleTask));
                self.reach(|reached| reached.stale_tasks += 1);
            }
        }
    }

    pub fn lose_worker(&self) {
        if !self.workers.is_empty() {
            self.lose(self.below(self.workers.len() as u64) as usize);
        }
    }

    pub fn lose(&self, worker: usize) {
        let hand = &self.workers[worker];
        let Some(lost) = hand.worker.take() else { return };
        let out = !hand.tasks.borrow().is_empty();
        let runs = !lost.is_stopped();
        hand.gone.set(true);
        hand.tasks.borrow_mut().clear();
        self.trace(|| format!("lose {worker}"));
        catch(|| drop(lost));
        self.reach(|reached| {
            reached.lost_workers += u64::from(runs);
            reached.lost_with_tasks += u64::from(runs && out);
        });
    }
}
