//! A run's settings for placement and admission, and a model of a client's token bucket in exact fractions of a
//! message.

use crate::random::Random;

/// The keys of one run; 0 is off, as in the configuration.
#[derive(Debug)]
pub struct Admission {
    pub balance: u64,
    pub max_in_flight: u64,
    pub rate: u64,
    pub burst: u64,
    pub max_concurrent: u64,
}

impl Admission {
    pub fn random(random: &mut Random) -> Self {
        let mut sometimes = |percent, least: u64, range| {
            let value = least + random.below(range);
            if random.chance(percent) { value } else { 0 }
        };
        let max_in_flight = sometimes(30, 1, 40);
        let rate = sometimes(30, 1, 2_000);
        let burst = sometimes(50, 1, 60);
        let max_concurrent = sometimes(30, 1, 60);
        Self { balance: random.below(3), max_in_flight, rate, burst, max_concurrent }
    }
}

/// The messages that a client may still send, in billionths, because the simulator's clock counts nanoseconds.
#[derive(Debug, Default)]
pub struct Bucket {
    /// `None` until the first use, which means full.
    left: Option<(u128, u64)>,
}

const WHOLE: u128 = 1_000_000_000;

impl Bucket {
    pub fn allows(&mut self, admission: &Admission, now: u64) -> bool {
        if admission.rate == 0 {
            return true;
        }
        let burst = if admission.burst == 0 { admission.rate } else { admission.burst };
        let full = u128::from(burst) * WHOLE;
        let (left, at) = self.left.unwrap_or((full, now));
        let left = full.min(left + u128::from(now - at) * u128::from(admission.rate));
        self.left = Some((left, now));
        left >= WHOLE
    }

    pub fn take(&mut self, admission: &Admission) {
        if let Some((left, _)) = self.left.as_mut().filter(|_| admission.rate > 0) {
            *left -= WHOLE;
        }
    }
}
