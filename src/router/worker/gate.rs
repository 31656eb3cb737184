//! Whether the next record of an ingress ring may be taken now. A record must not overtake a task of the same ring,
//! and the host may take a limited number of tasks per call.

use super::state::WorkerContext;
use super::tasks::Spot;
use crate::clients::ClientId;
use crate::envelope;
use crate::ring::record::{IngressHeader, ingress_flag, ingress_kind};
use crate::ring::{Corrupt, Records};
use crate::router::rules::Action;
use crate::router::shared::Shared;
use crate::sync::mutant;

/// Whether a ring's next record may be taken now.
pub(in crate::router) enum Gate {
    Open,
    /// Not in this call.
    Shut,
    /// Not before a task comes back from the host.
    Blocked,
}

impl WorkerContext<'_> {
    /// Checks a ring's next record, and remembers its position.
    pub(in crate::router) fn gate(
        &mut self,
        port: usize,
        records: &mut Records<'_>,
    ) -> Result<Gate, Corrupt> {
        let shared = self.shared;
        let before = records.mark();
        let Some(record) = records.peek()? else { return Ok(Gate::Open) };
        let length = record.bytes.len();
        let behind = self.state.tasks.of_port(port) > 0;
        let beside = IngressHeader::read(record.bytes).is_some_and(|(header, _)| {
            record.kind == ingress_kind::MESSAGE && header.flags & ingress_flag::OWNED != 0
        });
        if beside && (behind || !self.state.tasks.can_take()) {
            // The type of an out-of-line message is unknown until its payload is taken, so both rules apply to
            // it: it waits like a task, and like a record behind a task.
            return Ok(if behind || self.state.tasks.is_full() { Gate::Blocked } else { Gate::Shut });
        }
        if behind || !self.state.tasks.can_take() {
            let is_task = record.kind == ingress_kind::MESSAGE
                && IngressHeader::read(record.bytes)
                    .is_some_and(|(header, payload)| is_task(shared, port, &header, payload));
            match is_task {
                true if self.state.tasks.is_full() => return Ok(Gate::Blocked),
                true if !self.state.tasks.can_take() => return Ok(Gate::Shut),
                false if behind && !mutant("task-overtaken") => return Ok(Gate::Blocked),
                _ => {}
            }
        }
        self.state.tasks.spot = Spot { before, start: records.position(), length };
        Ok(Gate::Open)
    }
}

/// Whether a message's type is a task.
fn is_task(shared: &Shared, port: usize, header: &IngressHeader, payload: &[u8]) -> bool {
    let slot = shared.clients.on(ClientId(header.client), port);
    let rules = slot.and_then(|slot| shared.protocols.get(usize::from(slot.labels().0)));
    let Some(rules) = rules.map(|rules| &rules.rules).filter(|rules| rules.has_tasks()) else { return false };
    let Ok(envelope) = envelope::read(rules.protocol(), payload) else { return false };
    let message_type = envelope.message_type();
    let is_meant = |name: &str| message_type.is_some_and(|message_type| message_type.eq_str(name));
    let listed = rules.types().iter().find(|(name, _)| is_meant(name));
    let action = listed.map_or(rules.unknown(), |(_, action)| Some(*action));
    matches!(action, Some(Action::Host { .. }))
}
