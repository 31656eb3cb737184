//! A port whose rings another language drives without a call (`include/corelane_inline.h`, and the same in Go). The host
//! writes what `SubmitHalf` and `PollHalf` would write: records, positions, the counts that conservation (I4) rests on, a slot's
//! submitted, a client's credit as it is handed out. Calls that push as well (connect, disconnect) take the positions
//! over from the header first, so between two calls everything committed is published.

use crate::clients::{ClientId, ClientSlot};
use crate::config::{Balance, Key};
use crate::error::{Error, Refused, Unacknowledged};
use crate::metrics::{PollShard, SubmitShard};
use crate::park::WakeWord;
use crate::ring::Memory;
use crate::router::port::handle::Port;
use crate::router::port::poll::Event;
use crate::sync::AtomicBool;

/// What such a host works on.
pub(crate) struct InlineView<'a> {
    pub(crate) ingress: &'a Memory,
    pub(crate) egress: &'a Memory,
    pub(crate) worker_wake: &'a WakeWord,
    pub(crate) port_wake: &'a WakeWord,
    pub(crate) submit: &'a SubmitShard,
    pub(crate) poll: &'a PollShard,
    pub(crate) slots: &'a [ClientSlot],
    pub(crate) draining: &'a AtomicBool,
    pub(crate) workers: usize,
    pub(crate) index: usize,
    pub(crate) max_message: usize,
}

impl Port {
    /// What lies between this port and a worker.
    pub(crate) fn inline_view(&self, worker: usize) -> Option<InlineView<'_>> {
        let shared = &self.submit.shared;
        let shard = shared.ports.get(self.submit.index)?;
        Some(InlineView {
            ingress: self.submit.memory(worker)?,
            egress: self.poll.memory(worker)?,
            worker_wake: shared.workers.get(worker)?.bell.wake(),
            port_wake: self.poll.wake(),
            submit: &shard.submit,
            poll: &shard.poll,
            slots: shared.clients.slots(),
            draining: &shared.draining,
            workers: shared.workers.len(),
            index: self.submit.index,
            max_message: self.submit.max_message(),
        })
    }

    /// Hands the rings over, for good: everything of this side's is published and given back. The port's clients stay on their
    /// workers from now on: both sides push for them, and only one of them could see a move.
    ///
    /// # Errors
    /// [`Error::State`] where limits are configured that only this side keeps, clients have no worker of their own, or messages
    /// are for the base route alone; and in the middle of a delivery.
    pub(crate) fn drive_inline(&mut self) -> Result<(), Error> {
        let config = &self.submit.shared.config;
        if [Key::MaxInFlight, Key::ClientRate, Key::MaxConcurrentMessages]
            .iter()
            .any(|key| config.get(*key) > 0)
        {
            return Err(Error::State(
                "an inline port keeps no limits: leave max_in_flight, client_rate and max_concurrent_messages at 0",
            ));
        }
        if self.submit.shared.placement.balance == Balance::RoundRobin {
            return Err(Error::State(
                "an inline port's clients have a worker each: balance must not be round_robin",
            ));
        }
        if config.get(Key::ConcurrentRouting) == 0 {
            return Err(Error::State(
                "an inline port writes into the rings itself: leave enable_concurrent_routing on",
            ));
        }
        if self.poll.is_in_part() {
            return Err(Error::State("a delivery was handed out in part: poll the rest first"));
        }
        self.submit.publish();
        self.poll.release();
        self.submit.pinned = true;
        self.inline = true;
        Ok(())
    }

    /// The payload of a delivery that lies beside its ring; it stays until [`release_payloads`](Self::release_payloads).
    pub(crate) fn take_payload(&mut self, number: u64) -> Option<&[u8]> {
        self.poll.take_payload(number)
    }

    pub(crate) fn release_payloads(&mut self) {
        self.poll.release_payloads();
    }

    pub(crate) fn is_inline(&self) -> bool {
        self.inline
    }

    /// Before a call that pushes: takes over what the host has pushed.
    pub(crate) fn resume(&mut self) -> Result<(), Error> {
        if self.inline && self.submit.reload().is_err() {
            return Err(Error::Refused(Refused::Corrupt));
        }
        Ok(())
    }

    /// Pushes the disconnects that wait for room; says how many still do.
    pub(crate) fn push_waiting(&mut self) -> u64 {
        self.follow_up();
        self.submit.waiting()
    }

    /// What a poll does beside the rings, for a host that has polled them: sees to workers that have ended, and hands out the
    /// last events of clients that no worker will close, up to `limit`. Pushes nothing. Says how many.
    pub(crate) fn closings_inline(&mut self, limit: usize, mut each: impl FnMut(Event<'_>)) -> usize {
        self.poll.look_inline();
        drop(self.submit.settle_left());
        self.poll.hand_out_closings(limit, &mut each)
    }

    /// Whether such events wait.
    pub(crate) fn has_closings(&self) -> bool {
        self.poll.has_closings()
    }

    /// The host has taken a client's last record from a ring.
    pub(crate) fn closed_inline(&mut self, client: ClientId) -> Result<(), Error> {
        let clients = &self.submit.shared.clients;
        if clients.on(client, self.submit.index).is_none() {
            return Err(if clients.get(client).is_some() { Error::WrongPort } else { Error::StaleClient });
        }
        let forgiven = clients.end_close(client).ok_or(Error::StaleClient)?;
        self.poll.forgive(forgiven, Unacknowledged::Closed);
        Ok(())
    }
}
