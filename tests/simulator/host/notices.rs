//! Notices of messages that have not been delivered: each is true, comes once, and none is missing.

use super::{Host, tasks};
use crate::reached::reached;
use corelane::clients::ClientId;
use corelane::error::{Failed, Loss};
use std::collections::{HashMap, HashSet};

reached! {
    undelivered: "notices of undelivered messages",
    late: "notices of late messages",
    held: "notices of messages that were held",
    sends: "notices of failed sends",
    room_sends: "notices of failed sends to rooms",
    untaken: "notices of messages that no worker took",
    crowded: "notices that waited for room",
}

/// The messages whose outcome the host is told.
#[derive(Default)]
pub struct Notices {
    /// Accepted messages whose submitter wants a notice, and accepted sends, with their port.
    wanted: HashMap<u64, usize>,
    told: HashSet<u64>,
}

/// Whether a message either arrives or is told. A handler, or a task's host, may relay a message and fail it
/// afterwards.
fn is_plain(message: &[u8]) -> bool {
    let text = std::str::from_utf8(message).unwrap_or_default();
    !["ANSWER", tasks::TYPE, "HEARTBEAT", "LEAVE", super::rooms::TYPE]
        .iter()
        .any(|kind| text.contains(&format!(r#""type":"{kind}""#)))
}

impl Host {
    /// Notes an accepted message.
    pub fn wants(&mut self, place: usize, number: u64, message: &[u8]) {
        if is_plain(message) {
            self.notices.wanted.insert(number, place);
        }
    }

    /// Notes an accepted send.
    pub fn wants_send(&mut self, place: usize, number: u64) {
        self.notices.wanted.insert(number, place);
    }

    /// A port is released: its host is told nothing any more.
    pub fn is_told_no_more(&mut self, place: usize) {
        self.notices.wanted.retain(|_, of| *of != place);
    }

    /// A client's message was not delivered.
    pub fn undelivered(
        &mut self,
        (client, token): (ClientId, u64),
        recipient: Option<ClientId>,
        number: u64,
        reason: Loss,
    ) {
        if let (Some(recipient), Loss::Failed(reason)) = (recipient, reason) {
            let is_requested = self.asked.contains(&number);
            self.refusal(client, token, recipient, number, reason, is_requested);
        }
        assert_eq!(self.peers[&token].id, client);
        assert_eq!(self.numbers_of[&number], client.0, "a notice about another client's message");
        if self.asked.contains(&number) {
            self.reached.notices.undelivered += 1;
            self.reached.notices.late += u64::from(reason == Loss::Expired);
            self.reached.notices.held += u64::from(reason == Loss::Failed(Failed::Stopped));
            self.reached.notices.untaken += u64::from(matches!(reason, Loss::Refused(_)));
            self.told(number);
        } else {
            assert!(recipient.is_some(), "a notice that was not requested");
        }
    }

    /// A message of the host was not delivered.
    pub fn send_failed(&mut self, place: usize, number: u64) {
        let through = self.sent_through[&number];
        assert_eq!((u64::MAX - through) % 100, place as u64, "a notice of another port's send");
        if self.rooms.was_sent(number) {
            // One for each member that the message has not reached.
            self.reached.notices.room_sends += 1;
            return;
        }
        self.reached.notices.sends += 1;
        self.told(number);
    }

    fn told(&mut self, number: u64) {
        assert!(self.notices.told.insert(number), "{number} is told twice");
        assert!(
            !self.seen.contains(&number) || !self.notices.wanted.contains_key(&number),
            "{number} was delivered, and is told as undelivered"
        );
    }

    /// After everything has ended: each message that the host wants to know of was delivered, was told, or is among the
    /// deliveries that are counted as given up.
    pub fn check_notices(&mut self) {
        let missing = self.notices.wanted.keys();
        let missing = missing.filter(|one| !self.seen.contains(one) && !self.notices.told.contains(one));
        let stats = self.router.stats();
        // A message that failed without credit is told: it is no excuse for a missing notice.
        let without_credit = stats.messages.failures.get("credit_exhausted");
        let (missing, given_up) = (missing.count() as u64, stats.accounting.undeliverable - without_credit);
        assert!(
            missing <= given_up,
            "{missing} messages were lost in silence; {given_up} deliveries given up"
        );
        let paths = stats.ports.iter().flat_map(|port| &port.workers);
        self.reached.notices.crowded += paths.map(|path| path.closings_maximum).sum::<u64>();
    }
}
