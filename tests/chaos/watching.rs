//! Watches the runs: a thread ends the process if a seed takes too long, and a panic hook counts panics. The actors
//! panic without the hook (`resume_unwind`), so every panic that the hook sees is a defect, wherever it is caught.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::SeqCst};
use std::time::{Duration, Instant};

/// The maximum time for one seed.
const PATIENCE: Duration = Duration::from_secs(60);

static PANICS: AtomicU64 = AtomicU64::new(0);

/// The number of panics that the hook has seen so far.
pub fn panics() -> u64 {
    PANICS.load(SeqCst)
}

/// The current seed plus one; 0 between runs.
pub struct Watch(Arc<AtomicU64>);

impl Watch {
    pub fn start() -> Self {
        let before = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |info| {
            PANICS.fetch_add(1, SeqCst);
            before(info);
        }));
        let present = Arc::new(AtomicU64::new(0));
        let seen = Arc::clone(&present);
        std::thread::spawn(move || {
            let (mut last, mut since) = (0, Instant::now());
            loop {
                std::thread::sleep(Duration::from_millis(100));
                let seed = seen.load(SeqCst);
                if seed != last {
                    (last, since) = (seed, Instant::now());
                }
                if seed > 0 && since.elapsed() > PATIENCE {
                    eprintln!("failing seed {}: it does not end", seed - 1);
                    std::process::abort();
                }
            }
        });
        Self(present)
    }

    pub fn begin(&self, seed: u64) {
        self.0.store(seed + 1, SeqCst);
    }

    pub fn end(&self) {
        self.0.store(0, SeqCst);
    }
}
