//! Families by port: which one is slow. Ports through which nothing ever went have no samples.

use super::text::{Labels, TextFamily, histogram};
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
        "Time from handing a delivery out to its acknowledgement; of each client one at a time.",
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
            "Most messages that one client had been handed and had not acknowledged.",
            |port| port.outstanding_messages_maximum,
        ),
        count("port_outstanding_peak_bytes", "gauge", "Most bytes, likewise.", |port| {
            port.outstanding_bytes_maximum
        }),
        path("path_ingress_messages", "gauge", "Records in the ring to the worker.", |path| {
            path.ingress_messages
        }),
        path("path_egress_messages", "gauge", "Deliveries in the ring to the port.", |path| {
            path.egress_messages
        }),
        path("path_backlog_bytes", "gauge", "Bytes in the backlog for the port.", |path| path.backlog_bytes),
        path("path_backlog_peak_bytes", "gauge", "Most bytes that were in it.", |path| {
            path.backlog_bytes_maximum
        }),
        path(
            "path_egress_full_total",
            "counter",
            "Deliveries given up because ring and backlog were full.",
            |path| path.egress_full,
        ),
        path("path_closings", "gauge", "Closings that wait for room.", |path| path.closings),
        path("path_closings_peak", "gauge", "Most that waited at once.", |path| path.closings_maximum),
    ]
}
