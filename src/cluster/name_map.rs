//! A map of names that can be read piece by piece while it changes. It consists of many small maps. A name is always in the same one,
//! so who has read all of them has read every name that was there all the time, once. It also grows in small steps.

use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};

/// How many maps there are: of two million names each has four thousand.
pub const PARTS: usize = 512;

/// Values by name.
#[derive(Debug)]
pub struct NameMap<V> {
    parts: Box<[HashMap<Box<str>, V>]>,
    length: usize,
    /// Its keys are random: nobody can choose names that all are in one part.
    hasher: RandomState,
}

impl<V> NameMap<V> {
    /// An empty map.
    pub fn new() -> Self {
        Self { parts: (0..PARTS).map(|_| HashMap::new()).collect(), length: 0, hasher: RandomState::new() }
    }

    fn place(&self, name: &str) -> usize {
        self.hasher.hash_one(name) as usize % PARTS
    }

    /// How many names there are.
    pub fn len(&self) -> usize {
        self.length
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.length == 0
    }

    /// The value of a name.
    pub fn get(&self, name: &str) -> Option<&V> {
        self.parts[self.place(name)].get(name)
    }

    /// Sets the value of a name. Returns the one before.
    pub fn insert(&mut self, name: Box<str>, value: V) -> Option<V> {
        let place = self.place(&name);
        let before = self.parts[place].insert(name, value);
        self.length += usize::from(before.is_none());
        before
    }

    /// Removes a name. Returns its value.
    pub fn remove(&mut self, name: &str) -> Option<V> {
        let place = self.place(name);
        let before = self.parts[place].remove(name);
        self.length -= usize::from(before.is_some());
        before
    }

    /// The names of a part, below [`PARTS`], with their values.
    pub fn part(&self, part: usize) -> impl Iterator<Item = (&Box<str>, &V)> {
        self.parts[part].iter()
    }

    /// All names with their values.
    pub fn iter(&self) -> impl Iterator<Item = (&Box<str>, &V)> {
        self.into_iter()
    }

    /// All values.
    pub fn values(&self) -> impl Iterator<Item = &V> {
        self.parts.iter().flat_map(HashMap::values)
    }

    /// All values, to be changed.
    pub fn values_mut(&mut self) -> impl Iterator<Item = &mut V> {
        self.parts.iter_mut().flat_map(HashMap::values_mut)
    }
}

impl<'a, V> IntoIterator for &'a NameMap<V> {
    type Item = (&'a Box<str>, &'a V);
    type IntoIter = std::iter::Flatten<std::slice::Iter<'a, HashMap<Box<str>, V>>>;

    fn into_iter(self) -> Self::IntoIter {
        self.parts.iter().flatten()
    }
}

impl<'a, V> IntoIterator for &'a mut NameMap<V> {
    type Item = (&'a Box<str>, &'a mut V);
    type IntoIter = std::iter::Flatten<std::slice::IterMut<'a, HashMap<Box<str>, V>>>;

    fn into_iter(self) -> Self::IntoIter {
        self.parts.iter_mut().flatten()
    }
}
