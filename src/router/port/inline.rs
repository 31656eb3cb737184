//! A port whose rings another language uses directly, without a call per message (`ffi-tests/go/ring`,
//! and the same in Go). The host writes what `SubmitHalf` and `PollHalf` would write: records, ring positions,
//! the counts that conservation (I4) depends on, a slot's `submitted`, and a client's credit at hand-out. Calls
//! that push records as well (connect, disconnect) first read the positions from the ring header, and publish
//! before they return, so between two calls everything committed is published.
//!
//! Used by `ffi`. Records that the host pushes go to the worker like those of `submit`.

use crate::clients::{ClientId, ClientSlot};
use crate::config::{Balance, Key};
use crate::error::{ClientError, Unacknowledged};
use crate::metrics::{PollShard, SubmitShard};
use crate::park::WakeWord;
use crate::ring::{Corrupt, Memory};
use crate::router::port::event::Event;
use crate::router::port::handle::Port;
use crate::sync::AtomicBool;

/// The shared memory that such a host uses.
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
    /// The view of one worker's pair with this port.
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

    /// Hands the rings over to the host, for good. First this side publishes what it has committed and releases
    /// what it has read. From now on the port's clients stay on their workers: both sides push messages for
    /// them, and only one side would see a move.
    ///
    /// # Errors
    /// Why not, if limits are configured that only this side enforces, if clients have no worker of
    /// their own (`round_robin`), if the base route handles all messages, or if a delivery is handed out in
    /// part.
    pub(crate) fn drive_inline(&mut self) -> Result<(), &'static str> {
        let config = &self.submit.shared.config;
        if [Key::MaxInFlight, Key::ClientRate, Key::MaxConcurrentMessages]
            .iter()
            .any(|key| config.get(*key) > 0)
        {
            return Err(
                "an inline port enforces no limits: set max_in_flight, client_rate and max_concurrent_messages to 0",
            );
        }
        if self.submit.home.is_some() {
            return Err(
                "the rings of a local port cannot be driven by its host: open the port without a local worker",
            );
        }
        if self.submit.shared.placement.balance == Balance::RoundRobin {
            return Err(
                "each client of an inline port stays on one worker: set balance to hash or least_loaded",
            );
        }
        if !config.router.concurrent_routing {
            return Err("an inline port cannot call the base route: set enable_concurrent_routing to on");
        }
        if self.poll.is_in_part() {
            return Err("a delivery is handed out in part: poll the rest first");
        }
        self.submit.publish();
        self.poll.release();
        self.submit.pinned = true;
        self.inline = true;
        Ok(())
    }

    /// Takes the out-of-line payload of a delivery. It stays valid until
    /// [`release_payloads`](Self::release_payloads).
    pub(crate) fn take_payload(&mut self, number: u64) -> Option<&[u8]> {
        self.poll.take_payload(number)
    }

    pub(crate) fn release_payloads(&mut self) {
        self.poll.release_payloads();
    }

    pub(crate) fn is_inline(&self) -> bool {
        self.inline
    }

    /// Reads the positions that the host has pushed to. Called before a call that pushes.
    pub(crate) fn resume(&mut self) -> Result<(), Corrupt> {
        if self.inline { self.submit.reload() } else { Ok(()) }
    }

    /// Pushes the waiting disconnects that fit. Returns how many still wait.
    pub(crate) fn push_waiting(&mut self) -> u64 {
        self.follow_up();
        self.submit.waiting()
    }

    /// The part of a poll outside the rings, for a host that has polled the rings itself: notices workers that
    /// have left, and hands out up to `limit` close and closed events that come from no ring. Pushes nothing.
    /// Returns how many were handed out.
    pub(crate) fn closings_inline(&mut self, limit: usize, mut each: impl FnMut(Event<'_>)) -> usize {
        self.poll.look_inline();
        drop(self.submit.settle_left());
        let mut count = 0;
        while count < limit
            && let Some(closing) = self.poll.next_closing()
        {
            each(closing.event());
            count += 1;
        }
        count
    }

    /// Whether such events wait.
    pub(crate) fn has_closings(&self) -> bool {
        self.poll.has_closings()
    }

    /// Ends a client whose last record the host has taken from a ring.
    pub(crate) fn closed_inline(&mut self, client: ClientId) -> Result<(), ClientError> {
        let clients = &self.submit.shared.clients;
        clients.on(client, self.submit.index).ok_or_else(|| clients.not_here(client))?;
        let forgiven = clients.end_close(client).ok_or(ClientError::StaleClient)?;
        self.poll.forgive(forgiven, Unacknowledged::Closed);
        Ok(())
    }
}
