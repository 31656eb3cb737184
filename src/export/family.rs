//! One metric family in the Prometheus text format, written sample by sample.

use crate::metrics::listed::{Figure, Unit};
use crate::metrics::{CustomFamilyStats, Kind, LatencyStats, OCTAVE_BOUNDS};

pub(super) type Labels<'a> = &'a [(&'a str, &'a str)];

/// One metric family, written sample by sample.
pub(super) struct TextFamily {
    /// The whole name.
    pub(super) name: String,
    pub(super) text: String,
}

impl TextFamily {
    /// A family of corelane's. `name` is without the prefix.
    fn new(name: &str, kind: &str, help: &str) -> Self {
        Self::named(format!("corelane_{name}"), kind, help)
    }

    fn named(name: String, kind: &str, help: &str) -> Self {
        let help = help.replace('\\', "\\\\");
        Self { text: format!("# HELP {name} {help}\n# TYPE {name} {kind}\n"), name }
    }

    /// The family of a listed figure.
    pub(super) fn listed<T>(figure: &Figure<T>) -> Self {
        Self::new(figure.name(), if figure.is_counter() { "counter" } else { "gauge" }, figure.help)
    }

    /// A family of the host's own.
    pub(super) fn custom(family: &CustomFamilyStats) -> Self {
        let kind = match family.kind {
            Kind::Counter => "counter",
            Kind::Gauge => "gauge",
            Kind::Histogram => "histogram",
        };
        let empty = Self::named(family.name.clone(), kind, &family.help);
        family.series.iter().fold(empty, |mut text, series| {
            let labels: Vec<_> =
                series.labels.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
            match &series.histogram {
                Some(latency) if family.unit == "seconds" => text.histogram(&labels, latency),
                Some(sizes) => text.sizes(&labels, sizes),
                None => {
                    text.sample("", &labels, &number(series.value.unwrap_or(0.0)));
                    text
                }
            }
        })
    }

    /// A sample in the unit of a listed figure.
    pub(super) fn value(self, unit: Unit, labels: Labels<'_>, value: u64) -> Self {
        match unit {
            Unit::Nanoseconds => self.seconds(labels, value),
            Unit::Bytes | Unit::Count => self.count(labels, value),
        }
    }

    fn sample(&mut self, suffix: &str, labels: Labels<'_>, value: &str) -> &mut Self {
        self.text.push_str(&self.name);
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

    pub(super) fn histogram(self, labels: Labels<'_>, latency: &LatencyStats) -> Self {
        let bounds = OCTAVE_BOUNDS.map(|(bound, text)| (bound, text.to_owned()));
        let sum = seconds(latency.distribution.sum());
        self.buckets(labels, latency, bounds, &sum)
    }

    /// A histogram of bytes, from 64 bytes to 1 GiB. Each bound is the last value of an octave, so every count is exact.
    fn sizes(self, labels: Labels<'_>, sizes: &LatencyStats) -> Self {
        let bounds = (6..=30).map(|octave| (1u64 << octave) - 1).map(|bound| (bound, bound.to_string()));
        let sum = sizes.distribution.sum().to_string();
        self.buckets(labels, sizes, bounds, &sum)
    }

    fn buckets(
        mut self,
        labels: Labels<'_>,
        values: &LatencyStats,
        bounds: impl IntoIterator<Item = (u64, String)>,
        sum: &str,
    ) -> Self {
        for (bound, text) in bounds {
            let labels = [labels, &[("le", text.as_str())]].concat();
            self.sample("_bucket", &labels, &values.distribution.count_up_to(bound).to_string());
        }
        let count = values.count.to_string();
        self.sample("_bucket", &[labels, &[("le", "+Inf")]].concat(), &count);
        self.sample("_sum", labels, sum);
        self.sample("_count", labels, &count);
        self
    }
}

/// A value as Prometheus writes it.
fn number(value: f64) -> String {
    if value.is_infinite() { if value > 0.0 { "+Inf" } else { "-Inf" }.to_owned() } else { value.to_string() }
}

/// Nanoseconds as seconds, with all digits and without an exponent.
pub(super) fn seconds(nanoseconds: u64) -> String {
    let mut text = format!("{}.{:09}", nanoseconds / 1_000_000_000, nanoseconds % 1_000_000_000);
    text.truncate(text.trim_end_matches('0').trim_end_matches('.').len());
    text
}

pub(super) fn counter(name: &str, help: &str) -> TextFamily {
    TextFamily::new(name, "counter", help)
}

pub(super) fn gauge(name: &str, help: &str) -> TextFamily {
    TextFamily::new(name, "gauge", help)
}

pub(super) fn histogram(name: &str, help: &str) -> TextFamily {
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
