//! Who has which id: the one thing that network threads share under a lock. Asked when a client comes or goes and
//! by the HTTP side, never on a message's way.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Where a client's socket is: a network thread and its connection there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Owner {
    pub(crate) thread: usize,
    pub(crate) connection: u64,
}

/// How an id is entered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Entered {
    /// Nobody had it.
    New,
    /// The same client had it through another socket, which must let go first.
    After(Owner),
    /// Another client has it.
    Taken,
    /// No more clients are let in.
    Full,
}

#[derive(Debug)]
struct Entry {
    token: String,
    owner: Owner,
    /// Orders the list of clients as npm's does: by when they came.
    number: u64,
}

#[derive(Debug, Default)]
struct Entries {
    by_id: HashMap<String, Entry>,
    next_number: u64,
}

/// The ids in use.
#[derive(Debug)]
pub(crate) struct Registry {
    entries: Mutex<Entries>,
    limit: usize,
}

impl Registry {
    pub(crate) fn new(limit: usize) -> Self {
        Self { entries: Mutex::default(), limit }
    }

    /// Gives an id to a socket, if its token lets it have it. From then on it is that socket's, also while the
    /// one before it still has to let go.
    pub(crate) fn enter(&self, id: &str, token: &str, owner: Owner) -> Entered {
        let mut entries = self.lock();
        if let Some(entry) = entries.by_id.get_mut(id) {
            if entry.token != token {
                return Entered::Taken;
            }
            return Entered::After(std::mem::replace(&mut entry.owner, owner));
        }
        if entries.by_id.len() >= self.limit {
            return Entered::Full;
        }
        let number = entries.next_number;
        entries.next_number += 1;
        entries.by_id.insert(id.to_owned(), Entry { token: token.to_owned(), owner, number });
        Entered::New
    }

    /// Frees an id, if it is still this socket's. The router has freed the name before.
    pub(crate) fn leave(&self, id: &str, owner: Owner) {
        let mut entries = self.lock();
        if entries.by_id.get(id).is_some_and(|entry| entry.owner == owner) {
            entries.by_id.remove(id);
        }
    }

    /// The ids in use, oldest first.
    pub(crate) fn ids(&self) -> Vec<String> {
        let entries = self.lock();
        let mut ids: Vec<_> = entries.by_id.iter().map(|(id, entry)| (entry.number, id.clone())).collect();
        drop(entries);
        ids.sort_unstable_by_key(|(number, _)| *number);
        ids.into_iter().map(|(_, id)| id).collect()
    }

    /// An id that nobody has.
    pub(crate) fn fresh_id(&self) -> String {
        loop {
            let id = uuid::Uuid::new_v4().to_string();
            if !self.lock().by_id.contains_key(&id) {
                return id;
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, Entries> {
        // Every change is whole before anything can panic.
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FIRST: Owner = Owner { thread: 0, connection: 1 };
    const SECOND: Owner = Owner { thread: 1, connection: 1 };

    #[test]
    fn a_token_takes_over_and_the_old_socket_frees_nothing() {
        let registry = Registry::new(1);
        assert_eq!(registry.enter("ann", "t", FIRST), Entered::New);
        assert_eq!(registry.enter("ann", "u", SECOND), Entered::Taken);
        assert_eq!(registry.enter("ben", "t", SECOND), Entered::Full);
        assert_eq!(registry.enter("ann", "t", SECOND), Entered::After(FIRST));
        registry.leave("ann", FIRST);
        assert_eq!(registry.ids(), ["ann"]);
        registry.leave("ann", SECOND);
        assert_eq!(registry.enter("ben", "t", FIRST), Entered::New);
    }

    #[test]
    fn ids_are_listed_in_the_order_they_came() {
        let registry = Registry::new(3);
        for id in ["c", "a", "b"] {
            registry.enter(id, "t", FIRST);
        }
        assert_eq!(registry.ids(), ["c", "a", "b"]);
    }
}
