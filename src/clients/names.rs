//! From a name to the client that has it. Readers never block or allocate; connects and disconnects change it.
//! Keyed by a 64-bit SipHash under a secret key: peers choose names, and must not choose collisions.

use super::ClientId;
use siphasher::sip::SipHasher13;
use std::hash::Hasher;

/// A name's keyed hash.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct NameHash(pub(crate) u64);

/// The keys are hashes already.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Identity(u64);

impl Hasher for Identity {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = self.0.rotate_left(8) ^ u64::from(*byte);
        }
    }

    fn write_u64(&mut self, value: u64) {
        self.0 = value;
    }
}

/// For maps whose keys are name hashes: nothing is hashed twice.
pub(crate) type HashedBuilder = std::hash::BuildHasherDefault<Identity>;

#[derive(Debug)]
pub(crate) struct NameTable {
    keys: [u64; 2],
    map: map::Map,
}

impl NameTable {
    pub(crate) fn new(keys: [u64; 2]) -> Self {
        Self { keys, map: map::Map::default() }
    }

    #[inline]
    pub(crate) fn hash(&self, name: &[u8]) -> NameHash {
        let mut hasher = SipHasher13::new_with_keys(self.keys[0], self.keys[1]);
        hasher.write(name);
        NameHash(hasher.finish())
    }

    #[inline]
    pub(crate) fn get(&self, hash: NameHash) -> Option<ClientId> {
        self.map.get(hash.0).map(ClientId)
    }

    /// Inserts, or says who has the name.
    pub(crate) fn insert(&self, hash: NameHash, client: ClientId) -> Result<(), ClientId> {
        self.map.insert(hash.0, client.0).map_err(ClientId)
    }

    /// Removes the name only while it is this client's: a successor keeps it.
    pub(crate) fn remove(&self, hash: NameHash, client: ClientId) {
        self.map.remove_if(hash.0, |present| {
            present == client.0 || crate::sync::mutant("name-removal-unconditional")
        });
    }
}

#[cfg(not(corelane_loom))]
mod map {
    use super::HashedBuilder;

    #[derive(Debug, Default)]
    pub(super) struct Map(papaya::HashMap<u64, u64, HashedBuilder>);

    impl Map {
        #[inline]
        pub(super) fn get(&self, key: u64) -> Option<u64> {
            self.0.pin().get(&key).copied()
        }

        pub(super) fn insert(&self, key: u64, value: u64) -> Result<(), u64> {
            self.0.pin().try_insert(key, value).map(|_| ()).map_err(|occupied| *occupied.current)
        }

        pub(super) fn remove_if(&self, key: u64, condition: impl Fn(u64) -> bool) {
            // Only the outcome's side effect matters: whether the entry went is not asked.
            let _ = self.0.pin().remove_if(&key, |_, value| condition(*value));
        }
    }
}

#[cfg(corelane_loom)]
mod map {
    use crate::sync::{Mutex, lock};
    use std::collections::HashMap;

    /// A lock in place of the concurrent map, whose own atomics loom does not see.
    #[derive(Debug)]
    pub(super) struct Map(Mutex<HashMap<u64, u64>>);

    impl Default for Map {
        fn default() -> Self {
            Self(Mutex::new(HashMap::new()))
        }
    }

    impl Map {
        pub(super) fn get(&self, key: u64) -> Option<u64> {
            lock(&self.0).get(&key).copied()
        }

        pub(super) fn insert(&self, key: u64, value: u64) -> Result<(), u64> {
            let mut map = lock(&self.0);
            match map.get(&key) {
                Some(present) => Err(*present),
                None => {
                    map.insert(key, value);
                    Ok(())
                }
            }
        }

        pub(super) fn remove_if(&self, key: u64, condition: impl Fn(u64) -> bool) {
            let mut map = lock(&self.0);
            if map.get(&key).is_some_and(|value| condition(*value)) {
                map.remove(&key);
            }
        }
    }
}
