//! The recipients that a worker found last, by name. A message to one of them needs no keyed hash of the name and no walk
//! through the name table: clients mostly write to the same few others.
//!
//! An entry is only a proposal. It counts if the name table still has this client at this hash, as a walk would find it,
//! and if the client's name is the name in question. A removed name, a later client of the same slot and a successor with
//! the name are therefore never mistaken for the entry's client.
//!
//! Entries are placed without a key. Peers who choose names for the same place only make each other's lookups as slow as
//! without entries.

use super::{ClientId, Clients, NameHash};

/// Number of entries of a worker: 16 KiB. A power of two.
#[cfg(not(corelane_loom))]
const ENTRIES: usize = 1024;
#[cfg(corelane_loom)]
const ENTRIES: usize = 1;

#[derive(Clone, Copy, Debug)]
struct Recent {
    hash: NameHash,
    client: ClientId,
}

/// The recipients that one worker found last.
#[derive(Debug)]
pub(crate) struct RecentNames(Box<[Recent]>);

impl RecentNames {
    /// Bytes of the entries, for the budget.
    pub(crate) const BYTES: usize = ENTRIES * size_of::<Recent>();

    pub(crate) fn new() -> Self {
        Self(vec![Recent { hash: NameHash(0), client: ClientId(0) }; ENTRIES].into())
    }

    /// Without room for an entry, for a placeholder.
    pub(crate) fn hollow() -> Self {
        Self(Box::default())
    }

    /// Makes the entries resident.
    pub(crate) fn touch(&mut self) -> std::io::Result<()> {
        crate::sync::os::touch(&mut self.0)
    }

    /// The entry at the place of a name.
    #[inline]
    fn at(&mut self, name: &[u8]) -> Option<&mut Recent> {
        let place = place(name) & self.0.len().wrapping_sub(1);
        self.0.get_mut(place)
    }
}

/// Mixes the ends and the length of a name.
#[inline]
fn place(name: &[u8]) -> usize {
    let word = |bytes: Option<&[u8; 8]>| bytes.map_or(0, |bytes| u64::from_le_bytes(*bytes));
    let ends = match name.first_chunk() {
        Some(first) => word(Some(first)) ^ word(name.last_chunk()).rotate_left(29),
        None => name.iter().fold(0, |mixed, byte| mixed << 8 | u64::from(*byte)),
    };
    ((ends ^ name.len() as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 48) as usize
}

impl Clients {
    /// The hash of a name, and the client that has the name now.
    #[inline]
    pub(crate) fn find_recent(&self, recent: &mut RecentNames, name: &[u8]) -> (NameHash, Option<ClientId>) {
        let entry = recent.at(name);
        if let Some(&mut Recent { hash, client }) = entry
            && self.names.has(hash, client)
            && self.is_named(client, name)
        {
            return (hash, Some(client));
        }
        let hash = self.names.hash(name);
        let client = self.find(hash, name);
        if let (Some(entry), Some(client)) = (entry, client) {
            *entry = Recent { hash, client };
        }
        (hash, client)
    }

    /// Whether a client has this name.
    #[inline]
    pub(super) fn is_named(&self, client: ClientId, name: &[u8]) -> bool {
        self.get(client).is_some_and(|slot| slot.is_named(name))
    }
}

#[cfg(all(test, not(corelane_loom)))]
mod tests {
    use super::*;
    use crate::clients::{ClientLimits, CreditPolicy, KeptFigures, NewClient, OpenError};
    use crate::clock::Clock;

    fn connect(clients: &Clients, name: &str) -> Result<ClientId, OpenError> {
        let policy = CreditPolicy::default();
        let figures = KeptFigures::NONE;
        let new =
            NewClient { name, token: 0, port: 0, worker: 0, protocol: 0, application: 0, policy, figures };
        clients.connect(new).map(|(client, _)| client)
    }

    /// Names of every length, with ends that differ in one byte.
    fn names() -> impl Iterator<Item = String> {
        (1..=super::super::MAX_NAME_BYTES).flat_map(|length| {
            let name = "n".repeat(length);
            let (first, last) = (format!("x{}", &name[1..]), format!("{}x", &name[1..]));
            [name, first, last].into_iter().collect::<std::collections::BTreeSet<_>>()
        })
    }

    #[test]
    fn an_entry_finds_what_the_table_finds() {
        let limits = ClientLimits { clients: 256, applications: 1, figures: false, recorders: 0 };
        let clients = Clients::new(limits, [1, 2], Clock::manual().0);
        let mut recent = RecentNames::new();
        let all: Vec<(String, ClientId)> =
            names().map(|name| (name.clone(), connect(&clients, &name).unwrap())).collect();
        for _ in 0..2 {
            for (name, client) in &all {
                for _ in 0..2 {
                    let (hash, found) = clients.find_recent(&mut recent, name.as_bytes());
                    assert_eq!((hash, found), (clients.names().hash(name.as_bytes()), Some(*client)));
                }
                assert_eq!(clients.find_recent(&mut recent, format!("{name}y").as_bytes()).1, None);
                assert_eq!(clients.find_recent(&mut recent, &name.as_bytes()[1..]).1.map(|_| ()), {
                    let shorter = &name[1..];
                    all.iter().any(|(other, _)| other == shorter).then_some(())
                });
            }
        }
    }

    #[test]
    fn a_name_that_was_removed_or_taken_anew_is_not_reached() {
        let limits = ClientLimits { clients: 4, applications: 1, figures: false, recorders: 0 };
        let clients = Clients::new(limits, [1, 2], Clock::manual().0);
        let mut recent = RecentNames::new();
        let first = connect(&clients, "ann").unwrap();
        assert_eq!(clients.find_recent(&mut recent, b"ann").1, Some(first));
        // The host releases the name: the client is still connected.
        clients.remove_name(first, clients.get(first).unwrap());
        assert_eq!(clients.find_recent(&mut recent, b"ann").1, None);
        let second = connect(&clients, "ann").unwrap();
        assert_eq!(clients.find_recent(&mut recent, b"ann").1, Some(second));
        // The slot of the second client gets another client, with the same name and then with another.
        for name in ["ann", "ben"] {
            let present = clients.find_recent(&mut recent, b"ann").1.unwrap();
            assert!(clients.begin_close(present));
            clients.end_close(present);
            assert_eq!(clients.find_recent(&mut recent, b"ann").1, None);
            let next = connect(&clients, name).unwrap();
            assert_eq!(clients.find_recent(&mut recent, name.as_bytes()).1, Some(next));
        }
        assert_eq!(clients.find_recent(&mut recent, b"ann").1, None);
        assert!(clients.find_recent(&mut RecentNames::hollow(), b"ben").1.is_some());
    }
}
