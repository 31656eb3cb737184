//! From a name to the client that has it. Readers never block or allocate; connects and disconnects change it, one at a
//! time. Keyed by a 64-bit SipHash under a secret key: peers choose names, and must not choose collisions. All of it is
//! there from the start: one node per client, one head per bucket, so that its size is what the budget states.
//!
//! | field | written by | read by |
//! |---|---|---|
//! | `heads`, `NameNode::next`, `NameNode::key` | insert and remove, under `writers` | anyone |
//! | `NameNode::generation` | insert, under `writers`, while the node's key is 0 | anyone, between two looks at the key |
//! | `insertions` | insert, before it writes to the node | anyone, before and after a walk |
//!
//! A removed node keeps its `next`, so a reader that stands on it walks on. Only an insertion that takes the node again
//! can lead that reader astray: a walk that found nothing, while there was an insertion, is walked again.

use super::ClientId;
use crate::sync::{
    Acquire, AtomicU32, AtomicU64, Mutex, Relaxed, Release, fence, lock, mutant, ordering, os, own_load,
};
use crossbeam_utils::CachePadded;
use siphasher::sip::SipHasher13;
use std::hash::Hasher;

/// A name's keyed hash.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct NameHash(pub(crate) u64);

/// No node: the end of a chain.
const END: u32 = u32::MAX;

/// The key of a node that is in no chain.
const UNUSED: u64 = 0;

/// One client's place in the table; it has the client's index.
#[derive(Debug)]
struct NameNode {
    key: AtomicU64,
    generation: AtomicU32,
    next: AtomicU32,
}

#[derive(Debug)]
pub(crate) struct NameTable {
    keys: [u64; 2],
    heads: Box<[AtomicU32]>,
    nodes: Box<[NameNode]>,
    writers: Mutex<()>,
    insertions: CachePadded<AtomicU64>,
}

impl NameTable {
    /// For the clients with the indices below `limit`.
    pub(crate) fn new(limit: u32, keys: [u64; 2]) -> Self {
        let node = || NameNode {
            key: AtomicU64::new(UNUSED),
            generation: AtomicU32::new(0),
            next: AtomicU32::new(END),
        };
        Self {
            keys,
            heads: (0..Self::buckets(limit)).map(|_| AtomicU32::new(END)).collect(),
            nodes: (0..limit).map(|_| node()).collect(),
            writers: Mutex::new(()),
            insertions: CachePadded::new(AtomicU64::new(0)),
        }
    }

    const fn buckets(limit: u32) -> u32 {
        limit.next_power_of_two()
    }

    /// Bytes that it takes, for the budget.
    pub(crate) const fn bytes(limit: u32) -> u64 {
        Self::buckets(limit) as u64 * size_of::<AtomicU32>() as u64
            + limit as u64 * size_of::<NameNode>() as u64
    }

    /// Takes its pages from the system.
    pub(crate) fn touch(&mut self) -> std::io::Result<()> {
        os::touch(&mut self.heads)?;
        os::touch(&mut self.nodes)
    }

    #[inline]
    pub(crate) fn hash(&self, name: &[u8]) -> NameHash {
        let mut hasher = SipHasher13::new_with_keys(self.keys[0], self.keys[1]);
        hasher.write(name);
        NameHash(hasher.finish().max(UNUSED + 1))
    }

    #[inline]
    fn head(&self, hash: NameHash) -> Option<&AtomicU32> {
        self.heads.get(hash.0 as usize & (self.heads.len() - 1))
    }

    /// Who has the name: the client that had it at some moment during the call.
    #[inline]
    pub(crate) fn get(&self, hash: NameHash) -> Option<ClientId> {
        let head = self.head(hash)?;
        loop {
            // Acquire: with the count come the removals before it; pairs with the Release in `insert`.
            let insertions = self.insertions.load(Acquire);
            let mut index = head.load(Acquire); // Acquire: the node is filled; pairs with the Release in `insert`.
            while let Some(node) = self.nodes.get(index as usize) {
                // Acquire: the generation is this key's or a later one; pairs with the Release in `insert`.
                if node.key.load(Acquire) == hash.0 {
                    let generation = node.generation.load(Relaxed); // Relaxed: checked behind the fence.
                    // Acquire: pairs with the fence in `insert`: with a later generation comes the end of this key.
                    fence(Acquire);
                    // Relaxed: behind the fence.
                    if node.key.load(Relaxed) == hash.0 || mutant("name-key-once") {
                        return Some(ClientId::new(index, generation));
                    }
                }
                index = node.next.load(Acquire); // Acquire: as for the head.
            }
            // Acquire: pairs with the fence in `insert`: with a link into another chain comes the insertion's count.
            fence(Acquire);
            // Relaxed: behind the fence.
            if self.insertions.load(Relaxed) == insertions || mutant("name-miss-believed") {
                return None;
            }
        }
    }

    /// Inserts, or says who has the name. The client's node is in no chain.
    pub(crate) fn insert(&self, hash: NameHash, client: ClientId) -> Result<(), ClientId> {
        let _writing = lock(&self.writers);
        if let Some(present) = self.get(hash) {
            return Err(present);
        }
        let (Some(head), Some(node)) = (self.head(hash), self.nodes.get(client.index() as usize)) else {
            return Ok(()); // Every client's index is below the limit.
        };
        if !mutant("name-insertion-uncounted") {
            // Release: a walk that starts with this count starts with every removal before it; pairs with the Acquire
            // in `get`.
            let order = ordering("name-count-relaxed", Release, Relaxed);
            self.insertions.store(own_load(&self.insertions) + 1, order);
        }
        // Release: pairs with the fences in `get`. A reader that sees anything written below sees the count, and that
        // the node's last key had gone.
        fence(Release);
        node.generation.store(client.generation(), Relaxed); // Relaxed: the key publishes it.
        node.next.store(head.load(Relaxed), Release); // Relaxed: ours, under the lock. Release: what it leads to.
        node.key.store(hash.0, Release); // Release: with the key comes the generation.
        head.store(client.index(), Release); // Release: with the link comes the node.
        Ok(())
    }

    /// Removes the name only while it is this client's: a successor keeps it.
    pub(crate) fn remove(&self, hash: NameHash, client: ClientId) {
        let _writing = lock(&self.writers);
        let Some(mut link) = self.head(hash) else { return };
        // Relaxed throughout: only the lock's holder writes what is loaded here.
        while let Some(node) = self.nodes.get(link.load(Relaxed) as usize) {
            if node.key.load(Relaxed) == hash.0 {
                let present = ClientId::new(link.load(Relaxed), node.generation.load(Relaxed));
                if present == client || mutant("name-removal-unconditional") {
                    link.store(node.next.load(Relaxed), Release); // Release: what it leads to now.
                    node.key.store(UNUSED, Relaxed); // Relaxed: the fence of the node's next insertion orders it.
                }
                return;
            }
            link = &node.next;
        }
    }
}
