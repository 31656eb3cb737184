//! A port whose rings another language drives without a call (`include/corelane_inline.h`, and the same in Go). The host
//! writes what `Submit` and `Poll` would write: records, positions, the counts that conservation (I4) rests on, a slot's
//! submitted, a client's credit as it is handed out. Calls that push as well (connect, disconnect) take the positions
//! over from the header first, so between two calls everything committed is published.

use super::port::Port;
use crate::clients::{ClientId, Phase, Slot};
use crate::config::Key;
use crate::error::{Error, Refused};
use crate::metrics::{PollShard, SubmitShard};
use crate::park::WakeWord;
use crate::ring::Memory;
use crate::sync::AtomicBool;

/// What such a host works on.
pub(crate) struct InlineView<'a> {
    pub(crate) ingress: &'a Memory,
    pub(crate) egress: &'a Memory,
    pub(crate) worker_wake: &'a WakeWord,
    pub(crate) port_wake: &'a WakeWord,
    pub(crate) submit: &'a SubmitShard,
    pub(crate) poll: &'a PollShard,
    pub(crate) slots: &'a [Slot],
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
            worker_wake: &shared.workers.get(worker)?.wake,
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

    /// Hands the rings over, for good: everything of this side's is published and given back.
    ///
    /// # Errors
    /// [`Error::State`] where limits are configured that only this side keeps.
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
        self.submit.publish();
        self.poll.release();
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
    pub(crate) fn push_waiting(&mut self) -> usize {
        self.submit.follow_up(0);
        self.submit.waiting()
    }

    /// The host has taken a client's last record from a ring.
    pub(crate) fn closed_inline(&mut self, client: ClientId) -> Result<(), Error> {
        let clients = &self.submit.shared.clients;
        if clients.own(client, self.submit.index, Error::WrongPort)?.phase() != Phase::Closing {
            return Err(Error::StaleClient);
        }
        clients.end_close(client);
        Ok(())
    }
}
