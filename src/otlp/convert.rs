//! Families become OTLP metrics.

use super::Options;
use super::read::{Family, Sample};
use crate::outgoing;
use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::common::v1::{AnyValue, InstrumentationScope, KeyValue};
use opentelemetry_proto::tonic::metrics::v1::metric::Data;
use opentelemetry_proto::tonic::metrics::v1::number_data_point::Value as Number;
use opentelemetry_proto::tonic::metrics::v1::{
    AggregationTemporality, Gauge, Histogram, HistogramDataPoint, Metric, NumberDataPoint, ResourceMetrics,
    ScopeMetrics, Sum,
};
pub(super) use opentelemetry_proto::tonic::resource::v1::Resource;

/// The figures of the process, which have names of the semantic conventions: our name, theirs, and its unit.
const PROCESS: [(&str, &str, &str); 4] = [
    ("process_cpu_seconds", "process.cpu.time", "s"),
    ("process_resident_memory_bytes", "process.memory.usage", "By"),
    ("process_virtual_memory_bytes", "process.memory.virtual", "By"),
    ("process_open_fds", "process.open_file_descriptor.count", "{file_descriptor}"),
];

/// Who the figures are of.
pub(super) fn resource(options: &Options) -> Resource {
    let mut attributes = vec![
        attribute("service.name", &outgoing::service(&options.service)),
        attribute("service.instance.id", &outgoing::instance()),
        attribute("host.name", &sysinfo::System::host_name().unwrap_or_default()),
        KeyValue {
            key: "process.pid".to_owned(),
            value: Some(AnyValue { value: Some(Value::IntValue(std::process::id().into())) }),
            ..KeyValue::default()
        },
    ];
    attributes.extend(options.attributes.iter().map(|(name, value)| attribute(name, value)));
    Resource { attributes, ..Resource::default() }
}

/// A request with these families. `times` are the start of the counts and the present, in milliseconds since 1970.
pub(super) fn request(
    families: &[Family],
    resource: &Resource,
    (start, now): (u64, u64),
) -> ExportMetricsServiceRequest {
    let moment = Moment { start: start * 1_000_000, now: now.max(start) * 1_000_000 };
    let metrics = families.iter().filter(|family| !family.samples.is_empty());
    let scope = InstrumentationScope {
        name: "corelane".to_owned(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        ..InstrumentationScope::default()
    };
    let scope_metrics = ScopeMetrics {
        scope: Some(scope),
        metrics: metrics.map(|family| moment.metric(family)).collect(),
        ..ScopeMetrics::default()
    };
    ExportMetricsServiceRequest {
        resource_metrics: vec![ResourceMetrics {
            resource: Some(resource.clone()),
            scope_metrics: vec![scope_metrics],
            ..ResourceMetrics::default()
        }],
    }
}

/// The number of data points in a request.
pub(super) fn points(request: &ExportMetricsServiceRequest) -> u64 {
    let scopes = request.resource_metrics.iter().flat_map(|resource| &resource.scope_metrics);
    let metrics = scopes.flat_map(|scope| &scope.metrics);
    let of = |metric: &Metric| match &metric.data {
        Some(Data::Sum(sum)) => sum.data_points.len(),
        Some(Data::Gauge(gauge)) => gauge.data_points.len(),
        Some(Data::Histogram(histogram)) => histogram.data_points.len(),
        _ => 0,
    };
    metrics.map(of).sum::<usize>() as u64
}

/// Nanoseconds since 1970.
struct Moment {
    start: u64,
    now: u64,
}

impl Moment {
    fn metric(&self, family: &Family) -> Metric {
        let (name, unit) = renamed(family);
        let cumulative = AggregationTemporality::Cumulative as i32;
        let points = || family.samples.iter().map(|sample| self.point(sample)).collect();
        let data = match &*family.kind {
            "counter" => Data::Sum(Sum {
                data_points: points(),
                aggregation_temporality: cumulative,
                is_monotonic: true,
            }),
            "histogram" => Data::Histogram(Histogram {
                data_points: self.histograms(&family.samples),
                aggregation_temporality: cumulative,
            }),
            _ => Data::Gauge(Gauge { data_points: points() }),
        };
        Metric { name, description: family.help.clone(), unit, data: Some(data), ..Metric::default() }
    }

    fn point(&self, sample: &Sample) -> NumberDataPoint {
        let whole = sample.value.parse().map(Number::AsInt).ok();
        let number = whole.or_else(|| sample.value.parse().map(Number::AsDouble).ok());
        NumberDataPoint {
            attributes: attributes(&sample.labels),
            start_time_unix_nano: self.start,
            time_unix_nano: self.now,
            value: number,
            ..NumberDataPoint::default()
        }
    }

    /// The histograms of a family. The samples of one follow each other: its buckets, then count and sum.
    fn histograms(&self, samples: &[Sample]) -> Vec<HistogramDataPoint> {
        let mut histograms: Vec<HistogramDataPoint> = Vec::new();
        let mut labels: Option<Vec<(String, String)>> = None;
        let mut before = 0;
        for sample in samples {
            let mut own = sample.labels.clone();
            let bound = own.iter().position(|(name, _)| name == "le").map(|place| own.remove(place).1);
            if labels.as_ref() != Some(&own) {
                before = 0;
                histograms.push(HistogramDataPoint {
                    attributes: attributes(&own),
                    start_time_unix_nano: self.start,
                    time_unix_nano: self.now,
                    ..HistogramDataPoint::default()
                });
                labels = Some(own);
            }
            let Some(histogram) = histograms.last_mut() else { continue };
            match (&*sample.suffix, bound) {
                ("_bucket", Some(bound)) => {
                    // Ours count up to the bound; theirs count between two bounds.
                    let up_to: u64 = sample.value.parse().unwrap_or(before);
                    histogram.bucket_counts.push(up_to.saturating_sub(before));
                    before = up_to;
                    if bound != "+Inf" {
                        histogram.explicit_bounds.push(bound.parse().unwrap_or(f64::INFINITY));
                    }
                }
                ("_count", None) => histogram.count = sample.value.parse().unwrap_or(0),
                ("_sum", None) => histogram.sum = sample.value.parse().ok(),
                _ => {}
            }
        }
        histograms
    }
}

/// A family's name and unit in OpenTelemetry: without the unit in the name, and ours below `corelane.`.
fn renamed(family: &Family) -> (String, String) {
    if let Some((_, name, unit)) = PROCESS.iter().find(|(name, ..)| *name == family.name) {
        return ((*name).to_owned(), (*unit).to_owned());
    }
    let unit = match &*family.unit {
        "seconds" => "s",
        "bytes" => "By",
        "celsius" => "Cel",
        "" | "ratio" => "1",
        other => other,
    };
    let stem = family.name.strip_suffix(&family.unit).filter(|_| !family.unit.is_empty());
    let stem = stem.and_then(|stem| stem.strip_suffix('_')).unwrap_or(&family.name);
    let name = match stem.split_once('_') {
        Some((first @ ("corelane" | "process"), rest)) => format!("{first}.{rest}"),
        _ => stem.to_owned(),
    };
    (name, unit.to_owned())
}

fn attributes(labels: &[(String, String)]) -> Vec<KeyValue> {
    labels.iter().map(|(name, value)| attribute(name, value)).collect()
}

fn attribute(name: &str, value: &str) -> KeyValue {
    let value = AnyValue { value: Some(Value::StringValue(value.to_owned())) };
    KeyValue { key: name.to_owned(), value: Some(value), ..KeyValue::default() }
}
