//! A pool of a fixed number of items, all reserved at the start: taking and giving back allocates nothing, and
//! the memory is bounded. Owned by one thread. Used by `hold`, and by `held` for its end mark.

use crate::sync::os;

/// No item: the end of a list.
pub(in crate::router) const END: u32 = u32::MAX;

/// An item with a link, which the pool uses while the item is free.
pub(in crate::router) trait Linked {
    fn link(&mut self) -> &mut u32;
}

#[derive(Debug)]
pub(in crate::router) struct Pool<T> {
    items: Vec<T>,
    limit: usize,
    free: u32,
}

impl<T: Linked> Pool<T> {
    pub(in crate::router) fn new(limit: usize) -> Self {
        Self { items: Vec::with_capacity(limit), limit, free: END }
    }

    /// The most bytes that the pool can take.
    pub(in crate::router) const fn bytes(limit: u64) -> u64 {
        limit * size_of::<T>() as u64
    }

    /// Makes its pages resident.
    pub(in crate::router) fn touch(&mut self) -> std::io::Result<()> {
        os::touch(self.items.spare_capacity_mut())
    }

    /// Stores an item, if there is room, and returns its index.
    pub(in crate::router) fn put(&mut self, item: T) -> Option<u32> {
        if let Some(place) = self.items.get_mut(self.free as usize) {
            let index = std::mem::replace(&mut self.free, *place.link());
            *place = item;
            return Some(index);
        }
        if self.items.len() >= self.limit {
            return None;
        }
        self.items.push(item);
        Some(self.items.len() as u32 - 1)
    }

    /// Frees an item. The index is then invalid, until `put` returns it again.
    pub(in crate::router) fn give_back(&mut self, index: u32) {
        if let Some(item) = self.items.get_mut(index as usize) {
            *item.link() = self.free;
            self.free = index;
        }
    }

    pub(in crate::router) fn get(&self, index: u32) -> Option<&T> {
        self.items.get(index as usize)
    }

    pub(in crate::router) fn get_mut(&mut self, index: u32) -> Option<&mut T> {
        self.items.get_mut(index as usize)
    }
}
