//! The end of a message: count and time it, give back its permit, finish it in its client's slot, and give the
//! result to a waiting caller. Every message ends here exactly once: relayed, handled, sent by the host, held,
//! a task, or left behind by a worker that ended.
//!
//! Used by `dispatch`, `send`, `held`, `driven` and `adoption`. A caller's result goes on to `port/route`.

use crate::call::CallId;
use crate::clients::{ClientId, ClientMessage, ClientSlot, NameBuffer};
use crate::metrics::{NAMED_FROM, Outcome, SeriesIds, SlowMessage, Timing};
use crate::router::base::result_of;
use crate::router::worker::handled::NOBODY;
use crate::router::worker::state::WorkerContext;

/// A message that ends, or that goes on as a held message.
#[derive(Clone, Copy)]
pub(in crate::router) struct MessageEnd<'m> {
    /// The sender with its slot. None for a message of the host, and for a sender that has left.
    pub(in crate::router) sender: Option<(ClientId, &'m ClientSlot)>,
    pub(in crate::router) ids: SeriesIds,
    pub(in crate::router) bytes: usize,
    pub(in crate::router) timing: Timing,
    /// The outcome to count. None if the message is held, or if the base route counts it.
    pub(in crate::router) outcome: Option<Outcome>,
    /// The message is held, and ends later.
    pub(in crate::router) is_held: bool,
    /// The port and the call of a caller that waits for the result.
    pub(in crate::router) call: Option<(usize, CallId)>,
}

impl WorkerContext<'_> {
    /// Ends a message.
    #[inline]
    pub(in crate::router) fn end(&mut self, end: MessageEnd<'_>) {
        let client = end.sender.map_or(NOBODY, |(client, _)| client);
        self.end_and_list(client, end);
    }

    /// Ends a message of the host. If it was slow, the list names its recipient, because it has no sender.
    #[cold]
    pub(in crate::router) fn end_send(&mut self, recipient: ClientId, end: MessageEnd<'_>) {
        self.end_and_list(recipient, end);
    }

    /// Ends a message. `listed` is the client with which it is listed if it was slow, or [`NOBODY`].
    #[inline(always)]
    fn end_and_list(&mut self, listed: ClientId, end: MessageEnd<'_>) {
        if self.count(&end) {
            self.list_slow(listed, &end);
        }
        if !end.is_held {
            self.state.ended += 1;
            if let Some((_, slot)) = end.sender {
                slot.finish(1);
            }
        }
        if let Some((port, call)) = end.call {
            self.tell_caller(port, call, end.outcome);
        }
    }

    /// The times of a message from its stamp, from when the worker took it (`started`) and from its end
    /// (`ended`).
    #[inline]
    pub(in crate::router) fn timing(&self, stamp: u64, started: u64, ended: u64) -> Timing {
        let nanoseconds = |from, to| self.shared.clock.nanoseconds(from, to);
        Timing {
            queue_wait: nanoseconds(stamp, started),
            service: nanoseconds(started, ended),
            held: None,
            ended,
        }
    }

    /// Gives a message's result to its caller. Returns whether the caller still waits.
    pub(in crate::router) fn tell_caller(&self, port: usize, call: CallId, outcome: Option<Outcome>) -> bool {
        self.shared.calls.get(port).is_some_and(|calls| calls.finish(call, result_of(outcome)))
    }

    /// Counts one message in everything that it feeds. Without an outcome the message does not end here (it is
    /// held, or taken over) and counts only as received. Returns whether it was slow.
    #[inline(always)]
    fn count(&mut self, end: &MessageEnd<'_>) -> bool {
        let Timing { service, held, .. } = end.timing;
        let timing = Timing { held: None, ..end.timing };
        let is_usual = end.outcome == Some(Outcome::Ok)
            && held.is_none()
            && service < NAMED_FROM[0]
            && timing.total() <= self.state.writer.controlled.slow
            && self.state.metrics;
        if !is_usual {
            return self.count_unusual(end);
        }
        // Nothing of what other messages need is left here: each part has its constant.
        self.count_end(&MessageEnd { timing, outcome: Some(Outcome::Ok), ..*end });
        false
    }

    /// Counts a message that has not ended well, was held, was slow or took a millisecond.
    #[cold]
    #[inline(never)]
    fn count_unusual(&mut self, end: &MessageEnd<'_>) -> bool {
        self.count_end(end)
    }

    #[inline(always)]
    fn count_end(&mut self, end: &MessageEnd<'_>) -> bool {
        let MessageEnd { sender, ids, bytes, timing, outcome, .. } = *end;
        let client = sender.map_or(NOBODY, |(client, _)| client);
        let shared = self.shared;
        let shard = self.shard();
        let Some(outcome) = outcome else {
            shard.receive(&mut self.state.writer, ids.0);
            if self.state.writer.controlled.detailed
                && let Some(line) = shared.clients.line(client).filter(|_| client != NOBODY)
            {
                line.touch(timing.ended);
            }
            return false;
        };
        if !self.state.metrics {
            shard.record_plainly(&mut self.state.writer, ids, timing.held.is_some(), outcome);
            return false;
        }
        let is_slow = shard.record(&mut self.state.writer, ids, bytes, timing, outcome);
        if self.state.writer.controlled.detailed
            && let Some((client, slot)) = sender
            && let Some(line) = shared.clients.line(client)
        {
            let epoch = self.state.writer.controlled.epoch;
            let failed = outcome != Outcome::Ok;
            // The end of a held message is no sign that its sender is alive.
            let ended = if timing.held.is_none() { timing.ended } else { line.last() };
            let (bytes, nanoseconds) = (bytes as u64, timing.total());
            slot.count(line, ClientMessage { epoch, failed, bytes, nanoseconds, ended });
        }
        if outcome != Outcome::Ok {
            let cell = shared.clients.failing_cell(client);
            shard.failing.note(&mut self.state.writer, cell, timing.ended);
        }
        is_slow
    }

    /// Writes a slow message to the monitor's list, with this client.
    #[cold]
    fn list_slow(&mut self, client: ClientId, end: &MessageEnd<'_>) {
        let clients = &self.shared.clients;
        let mut buffer = NameBuffer::default();
        let name = clients.get(client).map_or("", |slot| slot.name(&mut buffer));
        // The recipient of a send is not pinned: if it is gone by now, the name may be that of the slot's next client.
        let name = SlowMessage::name_of(if clients.get(client).is_some() { name } else { "" });
        let MessageEnd { ids, bytes, timing, outcome, .. } = *end;
        let succeeded = outcome == Some(Outcome::Ok);
        let message = SlowMessage { timing, client, name, ids, succeeded, bytes: bytes as u64 };
        self.shard().slow.write(&mut self.state.writer, message.words());
    }
}
