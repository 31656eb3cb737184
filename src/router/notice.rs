//! The notice that a message has not reached its recipient. A worker writes it as a delivery record into the egress ring
//! of the port that has submitted the message; without room there it waits (`worker/egress`). It uses no credit.
//!
//! Used by `worker/notices`, `worker/egress`, `settle`, `port/closings` and `port/walk`.

use crate::clients::ClientId;
use crate::error::{Failed, Loss, SubmitError};
use crate::ring::record::{DeliveryHeader, IngressHeader, delivery_kind, ingress_flag, ingress_kind};

/// A notice: a delivery record without payload, for one recipient.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Notice {
    /// Kind UNDELIVERED, SEND_FAILED, ROOM_SEND_FAILED or RESULT.
    pub(super) header: DeliveryHeader,
    /// UNDELIVERED: the sender. SEND_FAILED: the client that the message was for. ROOM_SEND_FAILED: the room's number.
    /// RESULT: nobody.
    pub(super) client: ClientId,
}

/// Whether the submitter of a message wants a notice if it fails.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Tell {
    #[default]
    No,
    Wanted,
    /// It has got its notice already.
    Told,
}

impl Tell {
    /// Leaves the notice to the held message: it is sent when that message ends, and not before.
    pub(super) fn pass_on(&mut self) -> Self {
        let wanted = *self;
        if wanted == Self::Wanted {
            *self = Self::Told;
        }
        wanted
    }

    /// What the flags of an ingress record say.
    #[inline]
    pub(super) fn of(message: &IngressHeader) -> Self {
        if message.flags & ingress_flag::TELL_FAILED != 0 { Self::Wanted } else { Self::No }
    }
}

/// The number of an expired message's reason; smaller numbers are those of [`Failed`], larger ones of [`SubmitError`].
const EXPIRED: u16 = 256;

/// Only in a RESULT: no reason, the message is delivered.
const DELIVERED: u16 = u16::MAX;

impl Notice {
    /// The notice for a submitted message, if its submitter wants one. Each send has one.
    #[inline]
    pub(super) fn wanted(message: &IngressHeader, reason: Loss) -> Option<Self> {
        if message.flags & ingress_flag::RESULT != 0 {
            return Some(Self::new(delivery_kind::RESULT, ClientId(0), message.call, reason));
        }
        let (kind, client) = match message.kind {
            ingress_kind::SEND => (delivery_kind::SEND_FAILED, message.recipient),
            ingress_kind::SEND_TO_ROOM => (delivery_kind::ROOM_SEND_FAILED, message.recipient),
            ingress_kind::MESSAGE if Tell::of(message) == Tell::Wanted => {
                (delivery_kind::UNDELIVERED, message.client)
            }
            _ => return None,
        };
        Some(Self::new(kind, ClientId(client), message.correlation, reason))
    }

    /// Whether a delivery record of this kind is a notice.
    #[inline]
    pub(super) fn is_kind(kind: u16) -> bool {
        matches!(
            kind,
            delivery_kind::UNDELIVERED
                | delivery_kind::SEND_FAILED
                | delivery_kind::ROOM_SEND_FAILED
                | delivery_kind::RESULT
        )
    }

    pub(super) fn new(kind: u16, client: ClientId, correlation: u64, reason: Loss) -> Self {
        let flags = match reason {
            Loss::Failed(reason) => reason as u16,
            Loss::Expired => EXPIRED,
            Loss::Refused(reason) => EXPIRED + 1 + reason as u16,
        };
        let header = DeliveryHeader { kind, flags, correlation, recipients: 1, ..DeliveryHeader::default() };
        Self { header, client }
    }

    /// The RESULT of a message that was delivered.
    pub(super) fn delivered(ticket: u64) -> Self {
        let mut notice = Self::new(delivery_kind::RESULT, ClientId(0), ticket, Loss::Expired);
        notice.header.flags = DELIVERED;
        notice
    }

    /// How a message from another machine has ended, of a RESULT.
    pub(super) fn result(header: &DeliveryHeader) -> Result<(), Loss> {
        if header.flags == DELIVERED { Ok(()) } else { Err(Self::reason(header)) }
    }

    /// The reason in a notice's header. Another language may have written the record, so any number has one.
    pub(super) fn reason(header: &DeliveryHeader) -> Loss {
        let failed = || Failed::ALL.get(usize::from(header.flags)).copied().map(Loss::Failed);
        let refused = |number: u16| SubmitError::ALL.get(usize::from(number)).copied().map(Loss::Refused);
        match header.flags.checked_sub(EXPIRED) {
            None => failed().unwrap_or(Loss::Failed(Failed::BadRecord)),
            Some(0) => Loss::Expired,
            Some(number) => refused(number - 1).unwrap_or(Loss::Failed(Failed::BadRecord)),
        }
    }
}

const _: () = assert!(Failed::COUNT <= EXPIRED as usize);

#[cfg(all(test, not(corelane_loom)))]
mod tests {
    use super::*;

    #[test]
    fn every_reason_survives_the_record() {
        let failed = Failed::ALL.iter().map(|reason| Loss::Failed(*reason));
        let refused = SubmitError::ALL.iter().map(|reason| Loss::Refused(*reason));
        for reason in failed.chain(refused).chain([Loss::Expired]) {
            let notice = Notice::new(delivery_kind::UNDELIVERED, ClientId(5), 7, reason);
            assert_eq!(Notice::reason(&notice.header), reason);
        }
        let unknown = DeliveryHeader { flags: u16::MAX, ..DeliveryHeader::default() };
        assert_eq!(Notice::reason(&unknown), Loss::Failed(Failed::BadRecord));
    }
}
