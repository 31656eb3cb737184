//! What a client accepts: the weights of `Accept` and `Accept-Encoding` (RFC 9110, 12.4.2 and 12.5).

use crate::export::TextFormat;
use hyper::header::{self, HeaderMap, HeaderName};

/// One entry of a list: a name in lower case, its parameters, and its weight in thousandths.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Entry<'a> {
    pub(super) name: String,
    parameters: Vec<(String, &'a str)>,
    pub(super) weight: u16,
}

impl Entry<'_> {
    pub(super) fn parameter(&self, name: &str) -> Option<&str> {
        self.parameters.iter().find(|(one, _)| one == name).map(|(_, value)| *value)
    }
}

/// The entries of a header, in their order. An entry with a malformed weight is left out.
pub(super) fn entries(headers: &HeaderMap, name: HeaderName) -> Vec<Entry<'_>> {
    let texts = headers.get_all(name).into_iter().filter_map(|value| value.to_str().ok());
    texts.flat_map(|text| text.split(',')).filter_map(entry).collect()
}

fn entry(text: &str) -> Option<Entry<'_>> {
    let mut parts = text.split(';').map(str::trim);
    let name = parts.next().filter(|name| !name.is_empty())?.to_ascii_lowercase();
    let (mut parameters, mut weight) = (Vec::new(), 1000);
    for part in parts {
        let (key, value) = part.split_once('=').unwrap_or((part, ""));
        let (key, value) = (key.trim().to_ascii_lowercase(), value.trim().trim_matches('"'));
        if key == "q" {
            let number: f32 = value.parse().ok().filter(|number| (0.0..=1.0).contains(number))?;
            weight = (number * 1000.0).round() as u16;
        } else {
            parameters.push((key, value));
        }
    }
    Some(Entry { name, parameters, weight })
}

/// Whether the client accepts gzip. Named beats `*`; a weight of 0 refuses.
pub(super) fn accepts_gzip(headers: &HeaderMap) -> bool {
    let entries = entries(headers, header::ACCEPT_ENCODING);
    let of = |names: &[&str]| entries.iter().find(|entry| names.contains(&&*entry.name));
    of(&["gzip", "x-gzip"]).or_else(|| of(&["*"])).is_some_and(|entry| entry.weight > 0)
}

/// The format for metrics that the client prefers: the one of the greatest weight, and of equal ones the first. Whoever
/// accepts neither gets the format of Prometheus, because an answer helps more than a refusal.
pub(super) fn metrics_format(headers: &HeaderMap) -> TextFormat {
    let (mut best, mut format) = (0, TextFormat::Prometheus);
    for entry in entries(headers, header::ACCEPT) {
        let version = entry.parameter("version").unwrap_or_default();
        let found = match (&*entry.name, version) {
            ("application/openmetrics-text", "" | "1.0.0" | "0.0.1") => TextFormat::OpenMetrics,
            ("text/plain", "" | "0.0.4") | ("text/*" | "*/*", _) => TextFormat::Prometheus,
            _ => continue,
        };
        if entry.weight > best {
            (best, format) = (entry.weight, found);
        }
    }
    format
}

#[cfg(test)]
mod tests {
    use super::*;
    use hyper::header::HeaderValue;

    #[test]
    fn the_preferred_format_is_found() {
        let prometheus_2 = "application/openmetrics-text;version=1.0.0,application/openmetrics-text;version=0.0.1;q=0.75,\
                            text/plain;version=0.0.4;q=0.5,*/*;q=0.1";
        let prometheus_3 = "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.6,\
                            text/plain;version=1.0.0;escaping=allow-utf-8;q=0.5,text/plain;version=0.0.4;q=0.4";
        let (text, open) = (TextFormat::Prometheus, TextFormat::OpenMetrics);
        for (header, format) in [
            (prometheus_2, open),
            (prometheus_3, open),
            ("", text),
            ("*/*", text),
            ("text/html", text),
            (
                "application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;q=0.9, text/plain;q=0.1",
                text,
            ),
            ("application/openmetrics-text;version=2.0.0", text),
            ("application/openmetrics-text; version=\"1.0.0\"", open),
            ("application/openmetrics-text;q=0", text),
            ("text/plain;version=0.0.4;q=0.5, application/openmetrics-text;q=0.5", text),
            ("application/openmetrics-text;q=0.2, text/plain;q=0.1", open),
            ("APPLICATION/OPENMETRICS-TEXT;VERSION=1.0.0", open),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert(header::ACCEPT, HeaderValue::from_static(header));
            assert_eq!(metrics_format(&headers), format, "{header}");
        }
        assert_eq!(metrics_format(&HeaderMap::new()), text);
    }

    #[test]
    fn gzip_is_used_only_if_it_is_accepted() {
        for (header, is_accepted) in [
            ("gzip", true),
            ("deflate, GZIP;q=0.5", true),
            ("*", true),
            ("gzip;q=0, *", false),
            ("*;q=0", false),
            ("identity", false),
            ("gzip;q=nonsense", false),
            ("gzip;q=-1", false),
            ("", false),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert(header::ACCEPT_ENCODING, HeaderValue::from_static(header));
            assert_eq!(accepts_gzip(&headers), is_accepted, "{header}");
        }
        assert!(!accepts_gzip(&HeaderMap::new()));
    }
}
