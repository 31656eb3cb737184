//! Metric families by port, to find a slow port. Ports that have never carried a record have no samples.

use super::family::{Labels, TextFamily, histogram};
use crate::metrics::{PathStats, PortStats, Stats};

fn per_port(
    mut family: TextFamily,
    stats: &Stats,
    sample: impl Fn(TextFamily, Labels<'_>, &PortStats) -> TextFamily,
) -> TextFamily {
    for (index, port) in stats.ports.iter().enumerate().filter(|(_, port)| port.was_used()) {
        family = sample(family, &[("port", &index.to_string())], port);
    }
    family
}

fn per_path(family: TextFamily, stats: &Stats, value: fn(&PathStats) -> u64) -> TextFamily {
    per_port(family, stats, |mut family, labels, port| {
        for (index, path) in port.workers.iter().enumerate() {
            let worker = index.to_string();
            family = family.count(&[labels, &[("worker", worker.as_str())]].concat(), value(path));
        }
        family
    })
}

pub(super) fn port_families(stats: &Stats) -> Vec<TextFamily> {
    let count = |name, kind, help, value: fn(&PortStats) -> u64| {
        per_port(TextFamily::new(name, kind, help), stats, |family, labels, port| {
            family.count(labels, value(port))
        })
    };
    let path = |name, kind, help, value| per_path(TextFamily::new(name, kind, help), stats, value);
    let write = histogram(
        "port_write_duration_seconds",
        "Time from the poll that hands a delivery out to its acknowledgement; one at a time per client is timed.",
    );
    vec![
        per_port(write, stats, |family, labels, port| family.histogram(labels, &port.write)),
        count("port_deliveries_total", "counter", "Deliveries handed out.", |port| port.consumed),
        count("port_acknowledged_total", "counter", "Messages acknowledged as written.", |port| {
            port.acknowledged
        }),
        count("port_sent_bytes_total", "counter", "Bytes acknowledged as written.", |port| port.bytes_out),
        count(
            "port_outstanding_peak_messages",
            "gauge",
            "Most unacknowledged messages of one client.",
            |port| port.outstanding_messages_maximum,
        ),
        count("port_outstanding_peak_bytes", "gauge", "Most unacknowledged bytes of one client.", |port| {
            port.outstanding_bytes_maximum
        }),
        path("path_ingress_messages", "gauge", "Records in the ingress ring to the worker.", |path| {
            path.ingress_messages
        }),
        path("path_egress_messages", "gauge", "Deliveries in the egress ring to the port.", |path| {
            path.egress_messages
        }),
        path("path_backlog_bytes", "gauge", "Bytes in the backlog behind the egress ring.", |path| {
            path.backlog_bytes
        }),
        path("path_backlog_peak_bytes", "gauge", "Most bytes in the backlog at once.", |path| {
            path.backlog_bytes_maximum
        }),
        path(
            "path_egress_full_total",
            "counter",
            "Deliveries given up because egress ring and backlog were full.",
            |path| path.egress_full,
        ),
        path("path_closings", "gauge", "Closings that wait for room in egress ring and backlog.", |path| {
            path.closings
        }),
        path("path_closings_peak", "gauge", "Most closings that waited at once.", |path| {
            path.closings_maximum
        }),
    ]
}
