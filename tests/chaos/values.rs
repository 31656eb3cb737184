//! Owned payloads whose own code panics, shrinks, or acts when the router drops them. Each must be dropped exactly
//! once.

use crate::world::{throw, world};
use std::cell::Cell;
use std::sync::atomic::{AtomicU64, Ordering::SeqCst};

static LIVING: AtomicU64 = AtomicU64::new(0);

/// The number of values that are not dropped yet.
pub fn living() -> u64 {
    LIVING.load(SeqCst)
}

pub struct Value {
    bytes: Vec<u8>,
    whims: Whims,
}

/// The misbehaviour of a value.
#[derive(Clone, Copy, Debug, Default)]
pub struct Whims {
    /// The read at which the value panics.
    pub reading: u64,
    /// The read from which on the value is shorter.
    pub shrinks: u64,
    pub dropping: bool,
    /// The value performs an act when it is dropped.
    pub acts: bool,
}

thread_local! {
    static READINGS: Cell<u64> = const { Cell::new(0) };
    static DROPPING: Cell<bool> = const { Cell::new(false) };
}

/// Whether a value is being dropped. A worker may be in the middle of its batch then.
pub fn is_dropping() -> bool {
    DROPPING.get()
}

impl Value {
    pub fn new(bytes: Vec<u8>, whims: Whims) -> Self {
        LIVING.fetch_add(1, SeqCst);
        READINGS.set(0);
        Self { bytes, whims }
    }
}

impl AsRef<[u8]> for Value {
    fn as_ref(&self) -> &[u8] {
        let reading = READINGS.get() + 1;
        READINGS.set(reading);
        if self.whims.reading == reading && !std::thread::panicking() {
            world().reach(|reached| reached.value_panics += 1);
            throw();
        }
        let length = self.bytes.len();
        let shrunk = self.whims.shrinks > 0 && reading >= self.whims.shrinks;
        &self.bytes[..if shrunk { length / 2 } else { length }]
    }
}

impl Drop for Value {
    fn drop(&mut self) {
        LIVING.fetch_sub(1, SeqCst);
        if std::thread::panicking() {
            return;
        }
        if self.whims.acts {
            let before = DROPPING.replace(true);
            world().act_inside();
            world().churn();
            DROPPING.set(before);
        }
        if self.whims.dropping {
            world().reach(|reached| reached.value_panics += 1);
            throw();
        }
    }
}
