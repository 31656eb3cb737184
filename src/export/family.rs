//! One metric family in the Prometheus text format, written sample by sample.

use crate::metrics::listed::{Figure, Unit};
use crate::metrics::{LatencyStats, OCTAVE_BOUNDS};

pub(super) type Labels<'a> = &'a [(&'a str, &'a str)];

/// One metric family, written sample by sample.
pub(super) struct TextFamily {
    pub(super) name: &'static str,
    pub(super) text: String,
}

impl TextFamily {
    fn new(name: &'static str, kind: &str, help: &str) -> Self {
        Self { name, text: format!("# HELP corelane_{name} {help}\n# TYPE corelane_{name} {kind}\n") }
    }

    /// The family of a listed figure.
    pub(super) fn listed<T>(figure: &Figure<T>) -> Self {
        Self::new(figure.name(), if figure.is_counter() { "counter" } else { "gauge" }, figure.help)
    }

    /// A sample in the unit of a listed figure.
    pub(super) fn value(self, unit: Unit, labels: Labels<'_>, value: u64) -> Self {
        match unit {
            Unit::Nanoseconds => self.seconds(labels, value),
            Unit::Bytes | Unit::Count => self.count(labels, value),
        }
    }

    fn sample(&mut self, suffix: &str, labels: Labels<'_>, value: &str) -> &mut Self {
        self.text.push_str("corelane_");
        self.text.push_str(self.name);
        self.text.push_str(suffix);
        for (place, (name, value)) in labels.iter().enumerate() {
            self.text.push_str(if place == 0 { "{" } else { "," });
            self.text.push_str(name);
            self.text.push_str("=\"");
            for character in value.chars() {
                match character {
                    '\\' => self.text.push_str("\\\\"),
                    '"' => self.text.push_str("\\\""),
                    '\n' => self.text.push_str("\\n"),
                    other => self.text.push(other),
                }
            }
            self.text.push('"');
        }
        if !labels.is_empty() {
            self.text.push('}');
        }
        self.text.push(' ');
        self.text.push_str(value);
        self.text.push('\n');
        self
    }

    pub(super) fn count(mut self, labels: Labels<'_>, value: u64) -> Self {
        self.sample("", labels, &value.to_string());
        self
    }

    pub(super) fn seconds(mut self, labels: Labels<'_>, nanoseconds: u64) -> Self {
        self.sample("", labels, &seconds(nanoseconds));
        self
    }

    pub(super) fn histogram(mut self, labels: Labels<'_>, latency: &LatencyStats) -> Self {
        let cells = &latency.distribution;
        let mut with_bound = labels.to_vec();
        for (bound, text) in OCTAVE_BOUNDS {
            with_bound.push(("le", text));
            self.sample("_bucket", &with_bound, &cells.count_up_to(bound).to_string());
            with_bound.pop();
        }
        with_bound.push(("le", "+Inf"));
        let count = latency.count.to_string();
        self.sample("_bucket", &with_bound, &count);
        self.sample("_sum", labels, &seconds(cells.sum()));
        self.sample("_count", labels, &count);
        self
    }
}

/// Nanoseconds as seconds, with all digits and without an exponent.
pub(super) fn seconds(nanoseconds: u64) -> String {
    let mut text = format!("{}.{:09}", nanoseconds / 1_000_000_000, nanoseconds % 1_000_000_000);
    text.truncate(text.trim_end_matches('0').trim_end_matches('.').len());
    text
}

pub(super) fn counter(name: &'static str, help: &str) -> TextFamily {
    TextFamily::new(name, "counter", help)
}

pub(super) fn gauge(name: &'static str, help: &str) -> TextFamily {
    TextFamily::new(name, "gauge", help)
}

pub(super) fn histogram(name: &'static str, help: &str) -> TextFamily {
    TextFamily::new(name, "histogram", help)
}

#[cfg(all(test, not(corelane_loom)))]
mod tests {
    use super::*;

    #[test]
    fn seconds_have_all_digits_and_no_exponent() {
        for (nanoseconds, text) in
            [(0, "0"), (1, "0.000000001"), (1_500_000_000, "1.5"), (10_000_000_000, "10")]
        {
            assert_eq!(seconds(nanoseconds), text);
        }
    }

    #[test]
    fn label_values_are_escaped() {
        let family = TextFamily::new("x", "gauge", "h").count(&[("a", "q\"b\\c\nd")], 1);
        assert!(family.text.ends_with("corelane_x{a=\"q\\\"b\\\\c\\nd\"} 1\n"));
    }
}
