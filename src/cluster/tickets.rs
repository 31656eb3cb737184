//! Tickets of messages that the router has taken: a tag, which stands for one epoch of one link, and a sequence of that
//! epoch. A tag is used again when the router has returned all its tickets, and not before: no ticket of another time is
//! taken for one of now. Without I/O and without a clock.

use std::collections::HashMap;

use super::link::SEQUENCES;

/// The number of the sequence in a ticket.
const SEQUENCE_BITS: u32 = SEQUENCES.trailing_zeros();

/// The tags that are in use.
#[derive(Debug, Default)]
pub struct Tickets {
    tags: HashMap<u16, Tag>,
    last: u16,
}

#[derive(Debug)]
struct Tag {
    /// The incarnation of the link. `None`: its epoch has ended.
    of: Option<u64>,
    /// The tickets that the router has.
    open: u64,
}

/// The ticket of a sequence.
pub fn ticket(tag: u16, sequence: u64) -> u64 {
    u64::from(tag) << SEQUENCE_BITS | sequence & (SEQUENCES - 1)
}

impl Tickets {
    /// A tag for a new epoch of the link to an incarnation. `None`: the router has tickets of all tags.
    pub fn begin(&mut self, of: u64) -> Option<u16> {
        if self.tags.len() > usize::from(u16::MAX) {
            return None;
        }
        while self.tags.contains_key(&self.last) {
            self.last = self.last.wrapping_add(1);
        }
        let tag = self.last;
        self.last = self.last.wrapping_add(1);
        self.tags.insert(tag, Tag { of: Some(of), open: 0 });
        Some(tag)
    }

    /// The epoch of a tag has ended.
    pub fn end(&mut self, tag: u16) {
        let Some(known) = self.tags.get_mut(&tag) else { return };
        known.of = None;
        if known.open == 0 {
            self.tags.remove(&tag);
        }
    }

    /// The router has taken so many messages with this tag.
    pub fn taken(&mut self, tag: u16, count: u64) {
        if let Some(known) = self.tags.get_mut(&tag) {
            known.open += count;
        }
    }

    /// The router returns a ticket. The incarnation of its link, unless its epoch has ended; the tag; and the sequence.
    pub fn returned(&mut self, ticket: u64) -> Option<(u64, u16, u64)> {
        let tag = (ticket >> SEQUENCE_BITS) as u16;
        let known = self.tags.get_mut(&tag)?;
        known.open = known.open.saturating_sub(1);
        match known.of {
            Some(of) => Some((of, tag, ticket & (SEQUENCES - 1))),
            None => {
                if known.open == 0 {
                    self.tags.remove(&tag);
                }
                None
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tag_is_not_used_again_while_the_router_has_a_ticket_of_it() {
        let mut tickets = Tickets::default();
        let first = tickets.begin(9).unwrap();
        tickets.taken(first, 1);
        tickets.end(first);
        // More epochs than there are tags.
        for epoch in 0..100_000 {
            let tag = tickets.begin(epoch).unwrap();
            assert_ne!(tag, first, "epoch {epoch}");
            tickets.end(tag);
        }
        assert_eq!(tickets.returned(ticket(first, 5)), None, "its epoch has ended");
        assert!((0..=u16::MAX).any(|_| {
            let tag = tickets.begin(1).unwrap();
            tickets.end(tag);
            tag == first
        }));
    }

    #[test]
    fn without_a_free_tag_no_epoch_begins() {
        let mut tickets = Tickets::default();
        for _ in 0..=u16::MAX {
            let tag = tickets.begin(1).unwrap();
            tickets.taken(tag, 1);
            tickets.end(tag);
        }
        assert_eq!(tickets.begin(1), None);
        tickets.returned(ticket(77, 0));
        assert_eq!(tickets.begin(1), Some(77));
    }

    #[test]
    fn the_last_sequence_of_an_epoch_does_not_touch_the_tag() {
        let mut tickets = Tickets::default();
        let tags: Vec<u16> = (0..3).map(|of| tickets.begin(of).unwrap()).collect();
        tickets.taken(tags[1], 2);
        assert_eq!(tickets.returned(ticket(tags[1], SEQUENCES - 1)), Some((1, tags[1], SEQUENCES - 1)));
        assert_eq!(tickets.returned(ticket(tags[1], 0)), Some((1, tags[1], 0)));
    }
}
