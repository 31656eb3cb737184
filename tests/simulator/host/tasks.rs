//! A host that drives its workers: in half of the runs one type is handed out as tasks. Some tasks are taken at a
//! time and finished later, in order per client and in any order otherwise.

use super::Host;
use crate::reached::reached;
use corelane::clients::ClientId;
use corelane::error::{Failed, StaleTask, StopError};
use corelane::router::{Request, TaskId, Worker};
use std::sync::atomic::Ordering::SeqCst;
use std::time::Duration;

/// The type that is handed out.
pub const TYPE: &str = "CANDIDATE";

/// One task that is out.
pub struct Out {
    id: TaskId,
    client: ClientId,
    number: u64,
}

reached! {
    done_later: "messages done in a later step",
    out_of_order: "messages done before others that were out earlier",
    answered: "answers",
    stale: "messages done twice",
    dropped_with_tasks: "workers dropped with messages out",
}

impl Host {
    /// Runs one cycle of a worker, with or without taking tasks, and finishes some of the tasks that are out.
    pub(super) fn drive(&mut self, worker: usize) {
        if !self.driven {
            self.workers[worker].cycle(self.clock.now());
            return;
        }
        if let Some((of, id)) = self.last_done
            && of == worker
        {
            let again = self.workers[worker].done(id, Duration::from_nanos(1), Ok(()));
            assert_eq!(again, Err(StaleTask), "done twice");
            self.reached.tasks.stale += 1;
        }
        let limit = self.random.below(6) as usize;
        self.take(worker, limit);
        let before = self.out[worker].len() as u64;
        self.reached.tasks.done_later += before;
        for _ in 0..self.random.below(before + 1) {
            if !self.out[worker].is_empty() {
                self.finish_one(worker);
            }
        }
        if self.random.chance(50) {
            self.workers[worker].flush();
        }
    }

    fn take(&mut self, worker: usize, limit: usize) -> usize {
        let mut taken = Vec::new();
        self.workers[worker].take(self.clock.now(), limit, |task| {
            assert_eq!(task.message_type(), TYPE);
            let text: serde_json::Value = serde_json::from_slice(task.payload()).unwrap();
            assert_eq!(text["payload"][0].as_u64(), Some(task.correlation()));
            taken.push(Out { id: task.id(), client: task.client(), number: task.correlation() });
        });
        assert!(taken.len() <= limit);
        let count = taken.len();
        self.out[worker].extend(taken);
        if self.workers[worker].is_stopped() {
            // The worker was given up inside a handler, and its tasks have failed.
            self.out[worker].clear();
        }
        count
    }

    /// Takes and finishes every task of a worker.
    pub(super) fn drive_through(&mut self, worker: usize) {
        loop {
            let taken = self.take(worker, 1000);
            if (taken == 0 || self.workers[worker].is_stopped()) && self.out[worker].is_empty() {
                return;
            }
            while !self.out[worker].is_empty() {
                self.finish_one(worker);
            }
        }
    }

    /// Finishes one task for which no earlier task of the same client is out.
    fn finish_one(&mut self, worker: usize) {
        let out = &self.out[worker];
        let first = |place: &usize| !out[..*place].iter().any(|earlier| earlier.client == out[*place].client);
        let places: Vec<_> = (0..out.len()).filter(first).collect();
        let place = *self.random.pick(&places).unwrap();
        self.reached.tasks.out_of_order += u64::from(place > 0);
        let Out { id, number, .. } = self.out[worker].remove(place);
        assert_eq!(
            self.workers[worker].task(id).unwrap().correlation(),
            number,
            "the task's view has changed"
        );
        let to = |name: &str| format!(r#"{{"dst":"{name}","payload":[{number}]}}"#);
        let plan = &self.plan;
        let router = &self.router;
        let answer = |request: &mut Request<'_>| {
            if plan.give_up.swap(false, SeqCst) {
                let stopped = router.stop_within(Duration::ZERO);
                if stopped == Err(StopError::OwnThread) {
                    // A local worker lives on this thread, so no stop gives the answer up.
                    return Ok(());
                }
                let stuck = matches!(stopped, Err(StopError::Stuck(_)));
                let told = request.reply(b"never") == Err(Failed::Stuck);
                plan.given_up.fetch_add(u64::from(stuck && told), SeqCst);
                return Ok(());
            }
            match number % 5 {
                0 => request.reply(to(request.name()).as_bytes()),
                1 => {
                    let name = request.recipient().unwrap().to_owned();
                    request.send_to_name(&name, to(&name).as_bytes())
                }
                _ => request.relay().map(|_| ()),
            }
        };
        let worker_of = &mut self.workers[worker];
        let result = if number.is_multiple_of(7) {
            let outcome = if number.is_multiple_of(2) { Err(Failed::HandlerFailed) } else { Ok(()) };
            plan.failed.fetch_add(u64::from(outcome.is_err()), SeqCst);
            worker_of.done(id, Duration::from_nanos(number), outcome)
        } else {
            worker_of.done_with(id, Duration::from_nanos(number), answer)
        };
        if worker_of.is_stopped() {
            assert_eq!(result, Err(StaleTask), "the worker was given up");
            self.out[worker].clear();
        } else {
            assert_eq!(result, Ok(()));
            self.reached.tasks.answered += 1;
        }
        self.last_done = Some((worker, id));
    }

    /// Ends a worker: its tasks are finished, or are dropped with the worker.
    pub(super) fn stop_worker(&mut self, worker: usize) {
        if !self.driven {
            self.workers[worker].cycle(self.clock.now());
            return;
        }
        if self.random.chance(30) {
            self.take(worker, 3);
            let clock = &self.clock;
            // A stopped worker of another router fills the dropped worker's place.
            let other = super::idle_worker(clock);
            let dropped: Worker = std::mem::replace(&mut self.workers[worker], other);
            let out = !self.out[worker].is_empty() && !dropped.is_stopped();
            self.reached.tasks.dropped_with_tasks += u64::from(out);
            drop(dropped);
            self.out[worker].clear();
            return;
        }
        for _ in 0..10_000 {
            if self.workers[worker].is_stopped() {
                self.out[worker].clear();
                return;
            }
            self.drive(worker);
        }
        panic!("a worker did not stop");
    }
}
