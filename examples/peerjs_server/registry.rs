//! The ids in use and their owners. Network threads share this state under a lock, which is taken when a client
//! connects or disconnects, and by the pages, but never per message.

use serde::Serialize;
use std::collections::{HashMap, HashSet, VecDeque};
use std::hash::{BuildHasher, RandomState};
use std::net::IpAddr;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

/// Number of disconnected clients that are remembered, so that a reconnect is recognised.
const REMEMBERED: usize = 65_536;

/// The owner of an id: a network thread and the connection there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Owner {
    pub(crate) thread: usize,
    pub(crate) connection: u64,
}

/// The result of entering an id.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Entered {
    /// The id was free.
    New {
        /// Whether this client had the id before, as far as it is remembered.
        again: bool,
    },
    /// The same client has the id through another socket, which must release it first.
    After(Owner),
    /// Another client has the id.
    Taken,
    /// The limit of clients is reached.
    Full,
}

#[derive(Debug)]
struct Entry {
    token: String,
    owner: Owner,
    /// Orders the list of clients by time of connection, as npm's server does.
    number: u64,
    address: IpAddr,
    since: SystemTime,
}

/// A connected client, as the pages show it.
#[derive(Debug, Serialize)]
pub(crate) struct Peer {
    id: String,
    /// Address of the client.
    address: IpAddr,
    /// Time at which the current socket connected, in milliseconds of Unix time.
    since_milliseconds: u64,
}

#[derive(Debug, Default)]
struct Entries {
    by_id: HashMap<String, Entry>,
    next_number: u64,
    /// Hashes of id and token of clients that have left, oldest first.
    left: VecDeque<u64>,
    is_left: HashSet<u64>,
}

/// The ids in use.
#[derive(Debug)]
pub(crate) struct Registry {
    entries: Mutex<Entries>,
    limit: usize,
    hasher: RandomState,
}

impl Registry {
    pub(crate) fn new(limit: usize) -> Self {
        Self { entries: Mutex::default(), limit, hasher: RandomState::new() }
    }

    /// Gives an id to a socket, if the id is free or the token is the same. The id then belongs to this socket, even
    /// while its predecessor still has to release it.
    pub(crate) fn enter(&self, id: &str, token: &str, owner: Owner, address: IpAddr) -> Entered {
        let mut entries = self.lock();
        let since = SystemTime::now();
        if let Some(entry) = entries.by_id.get_mut(id) {
            if entry.token != token {
                return Entered::Taken;
            }
            (entry.address, entry.since) = (address, since);
            return Entered::After(std::mem::replace(&mut entry.owner, owner));
        }
        if entries.by_id.len() >= self.limit {
            return Entered::Full;
        }
        let number = entries.next_number;
        entries.next_number += 1;
        let entry = Entry { token: token.to_owned(), owner, number, address, since };
        entries.by_id.insert(id.to_owned(), entry);
        Entered::New { again: entries.is_left.remove(&self.hasher.hash_one((id, token))) }
    }

    /// Frees an id, if it still belongs to this socket. The router has freed the name before.
    pub(crate) fn leave(&self, id: &str, owner: Owner) {
        let mut entries = self.lock();
        if entries.by_id.get(id).is_some_and(|entry| entry.owner == owner) {
            let left = entries.by_id.remove(id);
            let hash = self.hasher.hash_one((id, &*left.map(|entry| entry.token).unwrap_or_default()));
            if entries.is_left.insert(hash) {
                entries.left.push_back(hash);
            }
            if entries.left.len() > REMEMBERED
                && let Some(oldest) = entries.left.pop_front()
            {
                entries.is_left.remove(&oldest);
            }
        }
    }

    /// The owner of an id.
    #[cfg(feature = "cluster")]
    pub(crate) fn owner(&self, id: &str) -> Option<Owner> {
        self.lock().by_id.get(id).map(|entry| entry.owner)
    }

    /// The token of the client of this socket, while the id belongs to the socket.
    #[cfg(feature = "cluster")]
    pub(crate) fn token(&self, id: &str, owner: Owner) -> Option<String> {
        let entries = self.lock();
        entries.by_id.get(id).filter(|entry| entry.owner == owner).map(|entry| entry.token.clone())
    }

    /// The ids in use, oldest first.
    pub(crate) fn ids(&self) -> Vec<String> {
        let entries = self.lock();
        let mut ids: Vec<_> = entries.by_id.iter().map(|(id, entry)| (entry.number, id.clone())).collect();
        drop(entries);
        ids.sort_unstable_by_key(|(number, _)| *number);
        ids.into_iter().map(|(_, id)| id).collect()
    }

    /// How many ids are in use.
    pub(crate) fn len(&self) -> usize {
        self.lock().by_id.len()
    }

    /// Whether the limit of clients is reached.
    pub(crate) fn is_full(&self) -> bool {
        self.len() >= self.limit
    }

    /// The clients that connected last, at most `limit` and newest first; or the client with this id.
    pub(crate) fn peers(&self, id: Option<&str>, limit: usize) -> Vec<Peer> {
        let entries = self.lock();
        let mut found: Vec<_> = match id {
            Some(id) => entries.by_id.get_key_value(id).into_iter().collect(),
            None => entries.by_id.iter().collect(),
        };
        let latest = |(_, entry): &(&String, &Entry)| std::cmp::Reverse(entry.since);
        if found.len() > limit {
            found.select_nth_unstable_by_key(limit, latest);
            found.truncate(limit);
        }
        found.sort_unstable_by_key(latest);
        let shown = found.into_iter().map(|(id, entry)| {
            let since = entry.since.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
            Peer { id: id.clone(), address: entry.address, since_milliseconds: since.as_millis() as u64 }
        });
        shown.collect()
    }

    /// A random id that is not in use.
    pub(crate) fn fresh_id(&self) -> String {
        loop {
            let id = uuid::Uuid::new_v4().to_string();
            if !self.lock().by_id.contains_key(&id) {
                return id;
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, Entries> {
        // A poisoned lock is safe to use: every change is complete before anything can panic.
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HERE: IpAddr = IpAddr::V4(std::net::Ipv4Addr::LOCALHOST);
    const FIRST: Owner = Owner { thread: 0, connection: 1 };
    const SECOND: Owner = Owner { thread: 1, connection: 1 };

    #[test]
    fn a_token_takes_over_and_the_old_socket_frees_nothing() {
        let registry = Registry::new(1);
        assert_eq!(registry.enter("ann", "t", FIRST, HERE), Entered::New { again: false });
        assert_eq!(registry.enter("ann", "u", SECOND, HERE), Entered::Taken);
        assert_eq!(registry.enter("ben", "t", SECOND, HERE), Entered::Full);
        assert_eq!(registry.enter("ann", "t", SECOND, HERE), Entered::After(FIRST));
        registry.leave("ann", FIRST);
        assert_eq!(registry.ids(), ["ann"]);
        registry.leave("ann", SECOND);
        assert_eq!(registry.enter("ben", "t", FIRST, HERE), Entered::New { again: false });
    }

    #[test]
    fn who_comes_again_with_its_token_is_known_once_it_has_left() {
        let registry = Registry::new(1);
        for (token, again) in [("t", false), ("t", true), ("u", false)] {
            assert_eq!(registry.enter("ann", token, FIRST, HERE), Entered::New { again }, "{token}");
            assert_eq!(registry.peers(Some("ann"), 1).len(), 1);
            registry.leave("ann", FIRST);
        }
        assert!(registry.peers(None, 9).is_empty());
    }

    #[test]
    fn ids_are_listed_in_the_order_they_came() {
        let registry = Registry::new(3);
        for id in ["c", "a", "b"] {
            registry.enter(id, "t", FIRST, HERE);
        }
        assert_eq!(registry.ids(), ["c", "a", "b"]);
    }
}
