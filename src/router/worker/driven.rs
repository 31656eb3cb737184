//! Host-driven workers: `take` hands out tasks in batches, and `done` reports what became of each. While tasks
//! of a ring are out, only further tasks are taken from it. Any other record waits until they are done, so that
//! it does not overtake them, and the ring's bytes are kept from the first task that is not done.
//!
//! Used by hosts and `ffi` through `Worker`, and by `cycle` (the gate before each record). `dispatch` makes a
//! message a task; from `done` the message goes on to `message_end`. `tasks` is the table.

use crate::clients::{ClientId, NameBuffer};
use crate::clock::{Stamp, nanoseconds_of};
use crate::envelope;
use crate::error::{Failed, StaleTask};
use crate::metrics::{Outcome, Timing};
use crate::ring::record::INGRESS_BYTES;
use crate::router::base::call_of;
use crate::router::notice::Tell;
use crate::router::payload::Payload;
use crate::router::rules::Action;
use crate::router::shared::Shared;
use crate::router::thread::InWorker;
use crate::router::worker::cycle::Worker;
use crate::router::worker::handled::Handled;
use crate::router::worker::handler::HandlerCall;
use crate::router::worker::message_end::MessageEnd;
use crate::router::worker::request::Request;
use crate::router::worker::state::WorkerContext;
use crate::router::worker::tasks::{TaskEntry, TaskId};
use crate::sync::Arc;
use std::time::Duration;

/// A task, as its host sees it. Borrowed from its worker; [`Worker::task`] returns it again until it is done.
#[derive(Debug)]
pub struct Task<'a> {
    shared: &'a Shared,
    id: TaskId,
    entry: TaskEntry,
    payload: &'a [u8],
    name: NameBuffer,
    name_length: usize,
}

impl<'a> Task<'a> {
    /// The id for [`Worker::done`].
    pub fn id(&self) -> TaskId {
        self.id
    }

    /// The sender.
    pub fn client(&self) -> ClientId {
        self.entry.client()
    }

    /// The sender's name.
    pub fn name(&self) -> &str {
        let bytes = self.name.as_flattened().get(..self.name_length).unwrap_or_default();
        std::str::from_utf8(bytes).unwrap_or_default()
    }

    /// The sender's application; `other` if it has no series of its own.
    pub fn application(&self) -> &'a str {
        self.shared.labels.application_name(self.entry.ids.2)
    }

    /// The sender's protocol.
    pub fn protocol(&self) -> &'a str {
        self.shared.labels.protocol_name(self.entry.ids.1)
    }

    /// The message's type.
    pub fn message_type(&self) -> &'a str {
        self.shared.labels.type_name(self.entry.ids.0)
    }

    /// The message as it was submitted.
    pub fn payload(&self) -> &'a [u8] {
        self.payload
    }

    /// How long the message waited until it was handed out.
    pub fn queue_wait(&self) -> Duration {
        Duration::from_nanos(self.shared.clock.nanoseconds(self.entry.stamp, self.entry.started))
    }

    /// The correlation of the submitted message.
    pub fn correlation(&self) -> u64 {
        self.entry.header.correlation
    }
}

impl WorkerContext<'_> {
    /// Hands a task out. The worker's activity is that of its oldest task.
    pub(in crate::router) fn hand_out(&mut self, entry: TaskEntry) {
        let shared = self.shared;
        if self.state.tasks.is_empty() {
            shared.workers[self.state.worker].activity.begin(entry.started);
        }
        self.state.tasks.put(entry);
    }

    /// Ends a task. Without an outcome it is held. Returns whether the task was out.
    fn end_task(&mut self, id: TaskId, service: u64, outcome: Option<Outcome>) -> bool {
        let shared = self.shared;
        let before = self.state.tasks.oldest();
        let beside = self.state.tasks.beside(id).map(Payload::length);
        let Some(task) = self.state.tasks.remove(id) else { return false };
        let bytes = beside.unwrap_or(task.spot.length.saturating_sub(INGRESS_BYTES));
        let queue_wait = shared.clock.nanoseconds(task.stamp, task.started);
        if let Some(outcome) =
            outcome.filter(|outcome| *outcome != Outcome::Ok && call_of(&task.header).is_none())
        {
            self.tell_failed(task.port, &task.header, outcome);
        }
        self.end(MessageEnd {
            sender: shared.clients.on(task.client(), task.port).map(|slot| (task.client(), slot)),
            ids: task.ids,
            bytes,
            timing: Timing { queue_wait, service, held: None, ended: shared.clock.raw() },
            outcome,
            is_held: outcome.is_none(),
            call: call_of(&task.header).map(|call| (task.port, call)),
        });
        let activity = &shared.workers[self.state.worker].activity;
        let oldest = self.state.tasks.oldest();
        if oldest != before {
            activity.end();
            if let Some(oldest) = oldest {
                activity.begin(oldest);
            }
        }
        true
    }

    /// Ends all tasks, because the host will not report their outcome.
    pub(in crate::router) fn fail_tasks(&mut self, reason: Failed, now: u64) {
        let shared = self.shared;
        let answering = self.state.tasks.answering.take();
        // The task whose answer has already made it a held message ends with its hold.
        let current = answering.and_then(|_| self.state.inside.current.take());
        let held = answering.filter(|_| current.is_some_and(|current| current.held));
        while let Some(id) = self.state.tasks.any() {
            let current = current.filter(|_| answering == Some(id));
            self.state.tell = current.map_or(Tell::Wanted, |current| current.tell);
            let since = self.state.tasks.get(id).map_or(now, |task| task.started);
            let outcome = (held != Some(id)).then_some(Outcome::Failed(reason));
            self.end_task(id, shared.clock.nanoseconds(since, now), outcome);
        }
    }
}

impl Worker {
    /// As [`cycle`](Self::cycle); also hands out up to `limit` tasks, that is, messages of types whose action
    /// is [`Action::Host`]. Tasks of one ring are handed out in its order. `each` gets them one by one. Until a
    /// task is [`done`](Self::done), [`task`](Self::task) returns it again. At most `max_tasks` are out at a
    /// time. Only one thread drives a worker at a time. Returns how much work was done; 0 means that the host
    /// may [`wait`](Self::wait).
    ///
    /// While a task of a port is out, only further tasks are taken from that port's ring; all other messages
    /// behind it wait, and so do disconnects and a stop. Messages that were published before a stop are still
    /// handed out.
    ///
    /// ```
    /// use corelane::{clock::Stamp, config::Config, router::{Action, Builder, ProtocolRules}};
    /// use std::time::Duration;
    ///
    /// let rules = ProtocolRules::generic().message_type("sum", Action::Host { hold: false });
    /// let mut config = Config::default();
    /// config.router.workers = Some(1);
    /// let (router, mut workers) = Builder::new(config).protocol(rules).build()?;
    /// let mut port = router.port()?;
    /// let ann = port.connect("ann", "generic", "", 1)?;
    /// port.submit(ann, br#"{"type":"sum"}"#, 7)?;
    /// port.publish();
    ///
    /// let (worker, mut batch) = (&mut workers[0], Vec::new());
    /// worker.take(Stamp::default(), 64, |task| batch.push((task.id(), task.payload().len() as u64)));
    /// for (task, length) in batch {
    ///     // The service time that the host measured, and its answer.
    ///     worker.done_with(task, Duration::from_nanos(1_000), |request| request.reply(&length.to_string().into_bytes()))?;
    /// }
    /// worker.flush();
    /// let mut got = Vec::new();
    /// port.poll_each(1, |event| if let corelane::router::Event::Message(message) = event {
    ///     got.extend_from_slice(message.payload);
    /// })?;
    /// assert_eq!(got, b"14");
    /// # Ok::<(), corelane::error::Error>(())
    /// ```
    pub fn take(&mut self, now: Stamp, limit: usize, mut each: impl FnMut(&Task<'_>)) -> usize {
        let _inside = InWorker::enter();
        self.state.tasks.allowance = limit;
        let work = self.cycle(now);
        self.state.tasks.allowance = 0;
        while let Some(id) = self.state.tasks.next_fresh() {
            if let Some(task) = self.task(id) {
                each(&task);
            }
        }
        work
    }

    /// A task that is out.
    pub fn task(&self, id: TaskId) -> Option<Task<'_>> {
        let entry = *self.state.tasks.get(id)?;
        let ring = &self.ingress.get(entry.port)?.as_ref()?.ring;
        let payload = match self.state.tasks.beside(id) {
            Some(payload) => payload.bytes().unwrap_or_default(),
            None => ring.read_back(entry.spot.start, entry.spot.length)?.get(INGRESS_BYTES..)?,
        };
        let mut name = NameBuffer::default();
        let slot = self.shared.clients.get(entry.client());
        let name_length = slot.map_or(0, |slot| slot.name(&mut name).len());
        Some(Task { shared: &self.shared, id, entry, payload, name, name_length })
    }

    /// Reports the outcome of a task, and its service time, as the host measured it. Ports see the effect after
    /// [`flush`](Self::flush), or after the next `take` or `wait`.
    ///
    /// # Errors
    /// [`StaleTask`] if the task is not out; nothing is counted.
    pub fn done(
        &mut self,
        id: TaskId,
        service: Duration,
        outcome: Result<(), Failed>,
    ) -> Result<(), StaleTask> {
        let _inside = InWorker::enter(); // The host's payload may be dropped here, which runs host code.
        let outcome = outcome.map_or_else(Outcome::Failed, |()| Outcome::Ok);
        let mut context = WorkerContext::new(&self.shared, &self.code, &mut self.state);
        context.state.tell = Tell::Wanted;
        let ended = context.end_task(id, nanoseconds_of(service), Some(outcome));
        if ended { Ok(()) } else { Err(StaleTask) }
    }

    /// As [`done`](Self::done), with an answer. `answer` can send and relay like a closure of
    /// [`Builder::handler`](crate::router::Builder::handler), with the same credit rules, and its result is the outcome
    /// of the message. A panic counts as [`Failed::HandlerPanicked`]. Answers to the messages of one client go out in
    /// the order in which the tasks are done.
    ///
    /// # Errors
    /// [`StaleTask`] if the task is not out, or if a stop gave the worker up while `answer` ran.
    pub fn done_with(
        &mut self,
        id: TaskId,
        service: Duration,
        answer: impl FnOnce(&mut Request<'_>) -> Result<(), Failed>,
    ) -> Result<(), StaleTask> {
        let _inside = InWorker::enter();
        let shared = Arc::clone(&self.shared);
        let entry = *self.state.tasks.get(id).ok_or(StaleTask)?;
        self.state.tell = Tell::of(&entry.header);
        let handled = match self.answer(&shared, id, &entry, answer) {
            Ok(handled) => handled,
            Err(reason) => Handled::Ended(Outcome::Failed(reason)),
        };
        let outcome = match handled {
            Handled::Ended(outcome) => Some(outcome),
            Handled::Held | Handled::Task { .. } => None,
            Handled::Abandoned => {
                self.stopped = true;
                return Err(StaleTask);
            }
        };
        self.state.tasks.answering = None;
        self.end_batch();
        WorkerContext::new(&self.shared, &self.code, &mut self.state).end_task(
            id,
            nanoseconds_of(service),
            outcome,
        );
        Ok(())
    }

    fn answer(
        &mut self,
        shared: &Shared,
        id: TaskId,
        entry: &TaskEntry,
        answer: impl FnOnce(&mut Request<'_>) -> Result<(), Failed>,
    ) -> Result<Handled, Failed> {
        let ingoing = self.ingress.get(entry.port).and_then(Option::as_ref).ok_or(Failed::PortGone)?;
        // Keep the payload while the answer runs.
        let beside = self.state.tasks.beside(id).cloned();
        let payload = match &beside {
            Some(payload) => payload.bytes().ok_or(Failed::HandlerPanicked)?,
            None => {
                let record = ingoing.ring.read_back(entry.spot.start, entry.spot.length);
                record.and_then(|record| record.get(INGRESS_BYTES..)).ok_or(Failed::BadRecord)?
            }
        };
        let slot = shared.clients.on(entry.client(), entry.port).ok_or(Failed::StaleClient)?;
        let rules = shared.protocols.get(usize::from(slot.labels().0)).ok_or(Failed::BadRecord)?;
        // The message was readable when it was handed out, but the host of a lane may have overwritten it.
        let envelope = envelope::read(rules.rules.protocol(), payload).map_err(|_| Failed::BadRecord)?;
        let call = HandlerCall {
            port: entry.port,
            client: entry.client(),
            slot,
            header: &entry.header,
            payload,
            envelope: &envelope,
            ids: entry.ids,
            action: Action::Host { hold: entry.hold },
            stamp: entry.stamp,
            started: entry.started,
            now: shared.clock.raw(),
        };
        // A new batch: what is emitted now belongs to no batch that has ended.
        self.state.batch += 1;
        self.state.tasks.answering = Some(id);
        Ok(WorkerContext::new(&self.shared, &self.code, &mut self.state).call(answer, &call))
    }

    /// Makes what was done since the last `take` visible to the ports, and gives the ring space back.
    pub fn flush(&mut self) {
        if !self.stopped {
            self.publish();
            self.follow_ports();
        }
    }

    /// Waits until there is something to take, or something is due, or `timeout` is over. Returns at once if
    /// there is something already, and misses nothing that arrives while it goes to sleep. Records that only
    /// wait for tasks which are out do not end the wait.
    pub fn wait(&mut self, timeout: Duration) {
        if !self.stopped {
            self.flush();
            self.sleep(self.shared.clock.raw(), Some(timeout));
        }
    }

    /// Whether a port's ring still holds records that must be handled before the worker can leave the pair.
    pub(in crate::router) fn has_unended(&self, port: usize) -> bool {
        if !self.state.tasks.is_driven() || self.failing.is_some() {
            return false;
        }
        let ingoing = self.ingress.get(port).and_then(Option::as_ref);
        let rest = ingoing.is_some_and(|ingoing| !ingoing.corrupt && !ingoing.ring.is_drained());
        rest || self.state.tasks.of_port(port) > 0
    }
}

/// A worker that is dropped before it has stopped is lost: its messages fail as [`Failed::WorkerLost`], and the
/// router continues with the other workers.
impl Drop for Worker {
    fn drop(&mut self) {
        if !self.stopped && self.failing.is_none() {
            self.lose(None);
        }
    }
}
