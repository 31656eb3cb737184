//! One metric family, written sample by sample, in the text format of Prometheus or in OpenMetrics. The samples of both are
//! the same; the metadata differ.

use super::bounds::Bounds;
use super::format::{TextFormat, seconds};
use crate::metrics::listed::{Figure, Unit};
use crate::metrics::{CustomFamilyStats, Distribution, Kind};

pub(super) type Labels<'a> = &'a [(&'a str, &'a str)];

/// The units that a name may end in, before `_total`.
const UNITS: [&str; 4] = ["seconds", "bytes", "ratio", "celsius"];

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Type {
    Counter,
    Gauge,
    Histogram,
    /// A gauge with the value 1, for its labels.
    Info,
}

/// One metric family.
pub(super) struct TextFamily {
    /// The whole name. A counter's ends in `_total`, an info's in `_info`.
    pub(super) name: String,
    kind: Type,
    help: String,
    unit: Option<String>,
    samples: String,
}

impl TextFamily {
    /// A family of corelane's. `name` is without the prefix.
    fn new(name: &str, kind: Type, help: &str) -> Self {
        Self::named(format!("corelane_{name}"), kind, help, None)
    }

    fn named(name: String, kind: Type, help: &str, unit: Option<&str>) -> Self {
        let stem = name.strip_suffix("_total").unwrap_or(&name);
        let unit = unit.or_else(|| UNITS.into_iter().find(|unit| stem.ends_with(&format!("_{unit}"))));
        let unit = unit.filter(|unit| !unit.is_empty()).map(str::to_owned);
        Self { kind, help: help.to_owned(), unit, samples: String::new(), name }
    }

    /// The family of a listed figure.
    pub(super) fn listed<T>(figure: &Figure<T>) -> Self {
        Self::new(figure.name(), if figure.is_counter() { Type::Counter } else { Type::Gauge }, figure.help)
    }

    /// A family under a name of Prometheus' own, such as `process_open_fds`.
    pub(super) fn standard(name: &str, help: &str) -> Self {
        let kind = if name.ends_with("_total") { Type::Counter } else { Type::Gauge };
        Self::named(name.to_owned(), kind, help, None)
    }

    /// A family of the host's own.
    pub(super) fn custom(family: &CustomFamilyStats, durations: &Bounds, sizes: &Bounds) -> Self {
        let kind = match family.kind {
            Kind::Counter => Type::Counter,
            Kind::Gauge => Type::Gauge,
            Kind::Histogram => Type::Histogram,
        };
        let mut text = Self::named(family.name.clone(), kind, &family.help, Some(&family.unit));
        for series in &family.series {
            // An empty value means that the label is absent.
            let labels = series.labels.iter().filter(|(_, value)| !value.is_empty());
            let labels: Vec<_> = labels.map(|(name, value)| (name.as_str(), value.as_str())).collect();
            text = match &series.histogram {
                Some(times) if family.unit == "seconds" => {
                    text.times(&labels, &times.distribution, durations)
                }
                Some(bytes) => {
                    let sum = bytes.distribution.sum().to_string();
                    text.buckets(&labels, &bytes.distribution, sizes, &sum)
                }
                None => text.number(&labels, series.value.unwrap_or(0.0)),
            };
        }
        text
    }

    /// The family's text; nothing if there is no sample.
    pub(super) fn write(&self, format: TextFormat, into: &mut String) {
        if self.samples.is_empty() {
            return;
        }
        let help = self.help.replace('\\', "\\\\").replace('\n', "\\n");
        let (name, kind) = (&*self.name, self.kind);
        let lines = match format {
            TextFormat::Prometheus => {
                let kind = match kind {
                    Type::Counter => "counter",
                    Type::Gauge | Type::Info => "gauge",
                    Type::Histogram => "histogram",
                };
                format!("# HELP {name} {help}\n# TYPE {name} {kind}\n")
            }
            // The name of a family is without the suffix of its samples.
            TextFormat::OpenMetrics => {
                let (name, kind) = match kind {
                    Type::Counter => (name.strip_suffix("_total").unwrap_or(name), "counter"),
                    Type::Gauge => (name, "gauge"),
                    Type::Histogram => (name, "histogram"),
                    Type::Info => (name.strip_suffix("_info").unwrap_or(name), "info"),
                };
                let unit = self.unit.as_ref().map(|unit| format!("# UNIT {name} {unit}\n"));
                let help = help.replace('"', "\\\"");
                format!("# TYPE {name} {kind}\n{}# HELP {name} {help}\n", unit.unwrap_or_default())
            }
        };
        into.push_str(&lines);
        into.push_str(&self.samples);
    }

    /// A sample in the unit of a listed figure.
    pub(super) fn value(self, unit: Unit, labels: Labels<'_>, value: u64) -> Self {
        match unit {
            Unit::Nanoseconds => self.seconds(labels, value),
            Unit::Bytes | Unit::Count => self.count(labels, value),
        }
    }

    fn sample(&mut self, suffix: &str, labels: &str, value: &str) {
        self.samples.push_str(&self.name);
        self.samples.push_str(suffix);
        if !labels.is_empty() {
            self.samples.push('{');
            self.samples.push_str(labels);
            self.samples.push('}');
        }
        self.samples.push(' ');
        self.samples.push_str(value);
        self.samples.push('\n');
    }

    pub(super) fn count(mut self, labels: Labels<'_>, value: u64) -> Self {
        self.sample("", &written(labels), &value.to_string());
        self
    }

    pub(super) fn seconds(mut self, labels: Labels<'_>, nanoseconds: u64) -> Self {
        self.sample("", &written(labels), &seconds(nanoseconds));
        self
    }

    pub(super) fn number(mut self, labels: Labels<'_>, value: f64) -> Self {
        let text = match value {
            f64::INFINITY => "+Inf".to_owned(),
            f64::NEG_INFINITY => "-Inf".to_owned(),
            value => value.to_string(),
        };
        self.sample("", &written(labels), &text);
        self
    }

    /// A histogram of durations in nanoseconds.
    pub(super) fn times(self, labels: Labels<'_>, times: &Distribution, bounds: &Bounds) -> Self {
        self.buckets(labels, times, bounds, &seconds(times.sum()))
    }

    /// A histogram of durations in milliseconds.
    pub(super) fn long_times(self, labels: Labels<'_>, times: &Distribution, bounds: &Bounds) -> Self {
        let (whole, rest) = (times.sum() / 1_000, times.sum() % 1_000);
        self.buckets(labels, times, bounds, &format!("{whole}.{rest:03}"))
    }

    fn buckets(mut self, labels: Labels<'_>, values: &Distribution, bounds: &Bounds, sum: &str) -> Self {
        let labels = written(labels);
        let comma = if labels.is_empty() { "" } else { "," };
        for (bound, text) in &bounds.0 {
            let count = values.count_up_to(*bound).to_string();
            self.sample("_bucket", &format!("{labels}{comma}le=\"{text}\""), &count);
        }
        // The sum of all cells, so that it is never below the last bucket.
        let count = values.count().to_string();
        self.sample("_bucket", &format!("{labels}{comma}le=\"+Inf\""), &count);
        self.sample("_sum", &labels, sum);
        self.sample("_count", &labels, &count);
        self
    }
}

/// Labels as they stand between the braces.
fn written(labels: Labels<'_>) -> String {
    let mut text = String::new();
    for (place, (name, value)) in labels.iter().enumerate() {
        text.push_str(if place == 0 { "" } else { "," });
        text.push_str(name);
        text.push_str("=\"");
        for character in value.chars() {
            match character {
                '\\' => text.push_str("\\\\"),
                '"' => text.push_str("\\\""),
                '\n' => text.push_str("\\n"),
                other => text.push(other),
            }
        }
        text.push('"');
    }
    text
}

pub(super) fn counter(name: &str, help: &str) -> TextFamily {
    TextFamily::new(name, Type::Counter, help)
}

pub(super) fn gauge(name: &str, help: &str) -> TextFamily {
    TextFamily::new(name, Type::Gauge, help)
}

pub(super) fn histogram(name: &str, help: &str) -> TextFamily {
    TextFamily::new(name, Type::Histogram, help)
}

pub(super) fn info(name: &str, help: &str) -> TextFamily {
    TextFamily::new(name, Type::Info, help)
}

#[cfg(all(test, not(corelane_loom)))]
mod tests {
    use super::*;

    fn text(family: &TextFamily, format: TextFormat) -> String {
        let mut text = String::new();
        family.write(format, &mut text);
        text
    }

    #[test]
    fn label_values_are_escaped() {
        let family = gauge("x", "h").count(&[("a", "q\"b\\c\nd")], 1);
        let text = text(&family, TextFormat::Prometheus);
        assert!(text.ends_with("corelane_x{a=\"q\\\"b\\\\c\\nd\"} 1\n"));
    }

    #[test]
    fn the_metadata_are_those_of_the_format() {
        let family = counter("busy_seconds_total", "a \"b\" \\").seconds(&[], 1_000_000_000);
        assert_eq!(
            text(&family, TextFormat::Prometheus),
            "# HELP corelane_busy_seconds_total a \"b\" \\\\\n# TYPE corelane_busy_seconds_total counter\n\
             corelane_busy_seconds_total 1\n"
        );
        assert_eq!(
            text(&family, TextFormat::OpenMetrics),
            "# TYPE corelane_busy_seconds counter\n# UNIT corelane_busy_seconds seconds\n\
             # HELP corelane_busy_seconds a \\\"b\\\" \\\\\ncorelane_busy_seconds_total 1\n"
        );
        let info = info("build_info", "h").count(&[("version", "1")], 1);
        assert!(text(&info, TextFormat::Prometheus).contains("# TYPE corelane_build_info gauge\n"));
        let opened = text(&info, TextFormat::OpenMetrics);
        assert!(opened.contains("# TYPE corelane_build info\n") && opened.contains("\ncorelane_build_info{"));
        assert_eq!(text(&counter("x_total", "h"), TextFormat::OpenMetrics), "");
    }
}
