//! The table from names to clients. Readers never block or allocate. Connects and disconnects change the
//! table under a lock. It is keyed by a 64-bit SipHash-1-3 with a secret key, because peers choose their
//! names and must not be able to choose collisions. All memory is allocated at the start, one node per client
//! and one head per bucket, so the size is exactly what the budget states.
//!
//! | field | written by | read by |
//! |---|---|---|
//! | `heads`, `NameNode::next`, `NameNode::key` | insert and remove, under `writers` | anyone |
//! | `NameNode::generation` | insert, under `writers`, while the key is 0 | anyone, between two loads of the key |
//! | `insertions` | insert, before it writes to the node | anyone, before and after a walk |
//!
//! A removed node keeps its `next`, so a reader at this node can continue its walk. Only an insertion that
//! reuses the node can lead the reader into another chain. A walk that finds nothing is therefore repeated if
//! there was an insertion meanwhile. This is a seqlock whose readers retry only on a miss.

use super::ClientId;
use crate::sync::{
    Acquire, AtomicU32, AtomicU64, Mutex, Relaxed, Release, fence, lock, mutant, ordering, os, own_load,
};
use crossbeam_utils::CachePadded;
use siphasher::sip::SipHasher13;
use std::hash::Hasher;

/// Keyed hash of a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct NameHash(pub(crate) u64);

/// No node: the end of a chain.
const END: u32 = u32::MAX;

/// Key of a node that is in no chain.
const UNUSED: u64 = 0;

/// The node of one client. It has the client's index.
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
    /// A table for clients with indices below `limit`.
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

    /// Bytes of the table, for the budget.
    pub(crate) const fn bytes(limit: u32) -> u64 {
        Self::buckets(limit) as u64 * size_of::<AtomicU32>() as u64
            + limit as u64 * size_of::<NameNode>() as u64
    }

    /// Makes the pages of the table resident.
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

    /// The client that had this name at some moment during the call.
    #[inline]
    pub(crate) fn get(&self, hash: NameHash) -> Option<ClientId> {
        let head = self.head(hash)?;
        loop {
            // Acquire pairs with the Release in `insert`: this thread sees all removals before the count.
            let insertions = self.insertions.load(Acquire);
            let mut index = head.load(Acquire); // Acquire pairs with the Release in `insert`: the node is filled.
            while let Some(node) = self.nodes.get(index as usize) {
                // Acquire pairs with the Release in `insert`: the generation belongs to this key or to a
                // later one.
                if node.key.load(Acquire) == hash.0 {
                    let generation = node.generation.load(Relaxed); // Relaxed: checked after the fence.
                    // Pairs with the Release fence in `insert`: a thread that sees a later generation also
                    // sees the end of this key.
                    fence(Acquire);
                    // Relaxed: the fence orders it.
                    if node.key.load(Relaxed) == hash.0 || mutant("name-key-once") {
                        return Some(ClientId::new(index, generation));
                    }
                }
                index = node.next.load(Acquire); // Acquire: as for the head.
            }
            // Pairs with the Release fence in `insert`: a thread that followed a link into another chain also
            // sees the count of that insertion.
            fence(Acquire);
            // Relaxed: the fence orders it.
            if self.insertions.load(Relaxed) == insertions || mutant("name-miss-believed") {
                return None;
            }
        }
    }

    /// Whether this client had the name at some moment during the call, as [`get`](Self::get) would have found.
    #[inline]
    pub(crate) fn has(&self, hash: NameHash, client: ClientId) -> bool {
        let Some(node) = self.nodes.get(client.index() as usize) else { return false };
        // Acquire, fence and second load: as in `get`. A removal that this thread knows of has ended the key.
        if node.key.load(Acquire) != hash.0 {
            return false;
        }
        let generation = node.generation.load(Relaxed); // Relaxed: checked after the fence.
        fence(Acquire);
        // Relaxed: the fence orders it.
        generation == client.generation() && (node.key.load(Relaxed) == hash.0 || mutant("name-has-key-once"))
    }

    /// Inserts a name, or returns the client that has it. The node of `client` must be in no chain.
    pub(crate) fn insert(&self, hash: NameHash, client: ClientId) -> Result<(), ClientId> {
        let _writing = lock(&self.writers);
        if let Some(present) = self.get(hash) {
            return Err(present);
        }
        let (Some(head), Some(node)) = (self.head(hash), self.nodes.get(client.index() as usize)) else {
            debug_assert!(false, "the index of every client is below the limit");
            return Ok(());
        };
        if !mutant("name-insertion-uncounted") {
            // Release pairs with the Acquire in `get`: a walk that starts with this count sees every earlier
            // removal.
            let order = ordering("name-count-relaxed", Release, Relaxed);
            self.insertions.store(own_load(&self.insertions) + 1, order);
        }
        // Pairs with the Acquire fences in `get`: a reader that sees any of the stores below also sees the
        // count, and the end of the node's previous key.
        fence(Release);
        node.generation.store(client.generation(), Relaxed); // Relaxed: the key publishes it.
        node.next.store(head.load(Relaxed), Release); // Relaxed: under the lock. Release: publishes the chain.
        node.key.store(hash.0, Release); // Release: publishes the generation.
        head.store(client.index(), Release); // Release: publishes the node.
        Ok(())
    }

    /// Removes the name if it still belongs to this client. A successor keeps it.
    pub(crate) fn remove(&self, hash: NameHash, client: ClientId) {
        let _writing = lock(&self.writers);
        let Some(mut link) = self.head(hash) else { return };
        // Relaxed throughout: only the holder of the lock writes these words.
        while let Some(node) = self.nodes.get(link.load(Relaxed) as usize) {
            if node.key.load(Relaxed) == hash.0 {
                let present = ClientId::new(link.load(Relaxed), node.generation.load(Relaxed));
                if present == client || mutant("name-removal-unconditional") {
                    link.store(node.next.load(Relaxed), Release); // Release: publishes the rest of the chain.
                    node.key.store(UNUSED, Relaxed); // Relaxed: the fence of the node's next insertion orders it.
                }
                return;
            }
            link = &node.next;
        }
    }
}
