//! The types of the fields. Each value of a field has a number, from which its text is written.

use crate::clients::CreditPolicy;
use std::time::Duration;

/// The type of a field. The number of a value is in the unit of its key. Switches and choices are numbered from 0 in
/// the order of their words. A fraction is carried as the bits of its floating-point number, so that nothing is
/// rounded.
pub(super) trait Value: Sized {
    /// The number of this value. Rounds a duration up to its unit.
    fn number(&self, unit: &str) -> u64;

    fn of_number(number: u64, unit: &str) -> Self;

    /// What to write instead, if no number stands for exactly this value.
    fn inexact(&self, _unit: &str) -> Option<&'static str> {
        None
    }
}

impl Value for u64 {
    fn number(&self, _: &str) -> u64 {
        *self
    }

    fn of_number(number: u64, _: &str) -> Self {
        number
    }
}

impl Value for u32 {
    fn number(&self, _: &str) -> u64 {
        (*self).into()
    }

    fn of_number(number: u64, _: &str) -> Self {
        number.try_into().unwrap_or(Self::MAX)
    }
}

impl Value for bool {
    fn number(&self, _: &str) -> u64 {
        (*self).into()
    }

    fn of_number(number: u64, _: &str) -> Self {
        number == 1
    }
}

impl Value for f64 {
    fn number(&self, _: &str) -> u64 {
        self.to_bits()
    }

    fn of_number(number: u64, _: &str) -> Self {
        Self::from_bits(number)
    }
}

/// The duration of one unit, and what a value in whole units is called.
fn unit(name: &str) -> (Duration, &'static str) {
    match name {
        "hours" => (Duration::from_secs(3_600), "whole hours"),
        _ => (Duration::from_millis(1), "whole milliseconds"),
    }
}

impl Value for Duration {
    fn number(&self, name: &str) -> u64 {
        u64::try_from(self.as_nanos().div_ceil(unit(name).0.as_nanos())).unwrap_or(u64::MAX)
    }

    fn of_number(number: u64, name: &str) -> Self {
        Self::from_millis(number.saturating_mul(unit(name).0.as_millis() as u64))
    }

    fn inexact(&self, name: &str) -> Option<&'static str> {
        let (unit, whole) = unit(name);
        (!self.as_nanos().is_multiple_of(unit.as_nanos())).then_some(whole)
    }
}

/// `None` is 0.
impl<V: Value> Value for Option<V> {
    fn number(&self, unit: &str) -> u64 {
        self.as_ref().map_or(0, |value| value.number(unit))
    }

    fn of_number(number: u64, unit: &str) -> Self {
        (number > 0).then(|| V::of_number(number, unit))
    }

    fn inexact(&self, unit: &str) -> Option<&'static str> {
        let value = self.as_ref()?;
        if value.number(unit) == 0 { Some("None in place of 0") } else { value.inexact(unit) }
    }
}

/// Declares a choice: an enum, each of whose variants has a word.
macro_rules! choice {
    ($(#[$doc:meta])* $name:ident { $($(#[$variant_doc:meta])* $variant:ident = $word:literal,)+ }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        #[non_exhaustive]
        pub enum $name { $($(#[$variant_doc])* $variant,)+ }

        words!($name { $($variant = $word,)+ });
    };
}

/// Gives the variants of an enum their words. The first one stands for numbers that no variant has.
macro_rules! words {
    ($name:ident { $first:ident = $first_word:literal, $($variant:ident = $word:literal,)* }) => {
        impl Choice for $name {
            const WORDS: &'static [&'static str] = &[$first_word, $($word),*];
        }

        impl Value for $name {
            fn number(&self, _: &str) -> u64 {
                *self as u64
            }

            fn of_number(number: u64, _: &str) -> Self {
                match number {
                    $(number if number == Self::$variant as u64 => Self::$variant,)*
                    _ => Self::$first,
                }
            }
        }
    };
}

/// An enum with a word for each variant.
pub(super) trait Choice {
    /// The words, in the order of the variants.
    const WORDS: &'static [&'static str];
}

choice! {
    /// How a worker waits for work.
    Idle {
        /// Polls without a pause. Needs a core of its own and has the lowest latency.
        Spin = "spin",
        /// Polls a few times, yields a few times, then sleeps.
        Backoff = "backoff",
        /// Sleeps at once.
        Park = "park",
    }
}

choice! {
    /// How a port chooses the worker for a message.
    Balance {
        /// The next worker in turn. Does not keep the order of a client's messages.
        RoundRobin = "round_robin",
        /// The worker that the hash of the client's name selects.
        Hash = "hash",
        /// The worker with the least load. A client moves only while none of its messages is in flight on another
        /// worker.
        LeastLoaded = "least_loaded",
    }
}

choice! {
    /// What happens to a message that is routed synchronously and cannot be handled.
    RouteFallback {
        /// The base route takes the message over. Without a base route the message is refused.
        Auto = "auto",
        /// The base route takes the message over.
        Inline = "inline",
        /// The message is refused.
        Refuse = "refuse",
    }
}

words!(CreditPolicy { Disconnect = "disconnect", Refuse = "refuse", Drop = "drop", });
