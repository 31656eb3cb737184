//! The text report. The figures that an operator needs first come first.

use super::{
    NO_CLIENTS, NO_MESSAGES, bytes, cut, duration, duration_or_dash, number_or_dash, percent, series_name,
    time,
};
use crate::monitor::figures::{
    ClientFigures, MessageFigures, MonitorStats, RoutingFigures, SeriesFigures, SlowFigures, Windowed,
};
use crate::monitor::paths::NO_ROUTER;
use crate::monitor::system::SystemStats;
use std::fmt::Write;

/// Maximum number of entries in the list of slow messages. The JSON report has all entries.
const SLOW_ENTRIES: usize = 20;

pub(super) fn write(stats: &MonitorStats) -> String {
    let mut text = String::new();
    // Writing to a String cannot fail.
    let _ = report(&mut text, stats);
    text
}

fn report(text: &mut String, stats: &MonitorStats) -> std::fmt::Result {
    writeln!(text, "corelane report, {}", time(stats.time_milliseconds))?;
    writeln!(
        text,
        "figures since {} (resets: {}), up for {}",
        time(stats.since_milliseconds),
        stats.resets,
        duration(stats.uptime_nanoseconds)
    )?;
    let kept = format!("(since {}, never reset)", time(stats.started_milliseconds));
    alerts(text, &kept, stats)?;
    match &stats.messages {
        Some(messages) => self::messages(text, messages)?,
        None => writeln!(text, "\n{NO_MESSAGES}")?,
    }
    series(text, "types", stats.types.as_deref().unwrap_or_default())?;
    series(text, "protocols", stats.protocols.as_deref().unwrap_or_default())?;
    series(text, "applications", stats.applications.as_deref().unwrap_or_default())?;
    if let Some(slow) = &stats.slow_messages {
        self::slow(text, slow)?;
    }
    connections(text, stats)?;
    match &stats.clients {
        Some(all) => {
            clients(text, "clients with the most messages", all.tracked, &all.by_messages)?;
            clients(text, "clients with the most errors", all.tracked, &all.by_errors)?;
            clients(text, "slowest clients", all.tracked, &all.by_average)?;
            clients(text, "clients with the most unacknowledged bytes", all.tracked, &all.by_outstanding)?;
        }
        None => writeln!(text, "\n{NO_CLIENTS}")?,
    }
    if let Some(routing) = &stats.routing {
        self::routing(text, &kept, routing)?;
    }
    if let Some(system) = &stats.system {
        self::system(text, system)?;
    }
    custom(text, &kept, stats)?;
    let cost = &stats.monitor;
    writeln!(
        text,
        "\nmonitor {kept}: {} of processor time, {} of memory, {} collections, longest {}",
        duration(cost.cpu_nanoseconds),
        bytes(cost.bytes),
        cost.ticks,
        duration(cost.collect_nanoseconds_maximum)
    )
}

/// A name that a peer may have chosen, with line breaks and terminal control characters escaped.
fn shown(name: &str) -> String {
    name.escape_debug().to_string()
}

fn alerts(text: &mut String, kept: &str, stats: &MonitorStats) -> std::fmt::Result {
    let alerts = &stats.alerts;
    writeln!(
        text,
        "\nalerts {kept}: {} current, {} raised, {} resolved",
        alerts.current.len(),
        alerts.raised,
        alerts.resolved
    )?;
    for alert in &alerts.current {
        writeln!(text, "  {} {}: {}", alert.severity.label(), shown(&alert.id), alert.message)?;
    }
    if alerts.label_sets_folded > 0 {
        writeln!(
            text,
            "  readings without an alert, because their rule had no place left or their label set is too long: {}",
            alerts.label_sets_folded
        )?;
    }
    for rule in &alerts.rules {
        if let Some(reason) = rule.unavailable.as_deref().filter(|reason| *reason != NO_ROUTER) {
            writeln!(text, "  the rule {} cannot raise an alert: {reason}", rule.name)?;
        }
    }
    Ok(())
}

fn messages(text: &mut String, messages: &MessageFigures) -> std::fmt::Result {
    writeln!(
        text,
        "\nmessages: {}, succeeded {} ({}), failed {}, expired {}, slow {}, {} in, {} out",
        messages.total,
        messages.succeeded,
        percent(messages.success_rate),
        messages.failed,
        messages.expired,
        messages.slow,
        bytes(messages.bytes_in),
        bytes(messages.bytes_out)
    )?;
    for (reason, count) in messages.failures.counted() {
        writeln!(text, "  {reason}: {count}")?;
    }
    for (name, latency) in [
        ("handling", &messages.latency),
        ("queue wait", &messages.queue_wait),
        ("hold", &messages.held),
        ("write", &messages.write),
    ] {
        writeln!(
            text,
            "  {name:<10} average {}, p50 {}, p95 {}, p99 {}, p99.9 {}, maximum {}",
            duration_or_dash(latency.average),
            duration_or_dash(latency.p50),
            duration_or_dash(latency.p95),
            duration_or_dash(latency.p99),
            duration_or_dash(latency.p999),
            duration_or_dash(latency.maximum)
        )?;
    }
    let filled = messages.buckets.iter().filter(|bucket| bucket.count > 0);
    let buckets: Vec<_> = filled.map(|bucket| format!("{} {}", bucket.name, bucket.count)).collect();
    if !buckets.is_empty() {
        writeln!(text, "  {}", buckets.join(", "))?;
    }
    windows(text, &messages.windows)
}

fn windows(text: &mut String, windows: &Windowed) -> std::fmt::Result {
    let all = [
        ("last minute", &windows.last_minute),
        ("last hour", &windows.last_hour),
        ("last day", &windows.last_day),
    ];
    for (name, window) in all {
        writeln!(
            text,
            "  {name}: {} messages, {:.1}/s, errors {}, average {}, p95 {}, p99 {}",
            window.count,
            window.throughput_per_second.unwrap_or(0.0),
            percent(window.error_rate),
            duration_or_dash(window.average),
            duration_or_dash(window.p95),
            duration_or_dash(window.p99)
        )?;
    }
    Ok(())
}

fn series(text: &mut String, title: &str, series: &[SeriesFigures]) -> std::fmt::Result {
    let mut used: Vec<_> = series.iter().filter(|one| one.total > 0 || one.latency.count > 0).collect();
    if used.is_empty() {
        return Ok(());
    }
    used.sort_by_key(|one| std::cmp::Reverse(one.total_nanoseconds));
    writeln!(text, "\n{title}, by total handling time")?;
    for one in used {
        let name = shown(&series_name(one));
        write!(
            text,
            "  {name:<24} {} messages, failed {}, slow {}, average {}, p99 {}, maximum {}",
            one.total,
            one.failed,
            one.slow,
            duration_or_dash(one.latency.average),
            duration_or_dash(one.latency.p99),
            duration_or_dash(one.latency.maximum)
        )?;
        if let Some(windows) = &one.windows {
            let minute = &windows.last_minute;
            write!(text, "; last minute {}, p99 {}", minute.count, duration_or_dash(minute.p99))?;
        }
        writeln!(text)?;
    }
    Ok(())
}

fn slow(text: &mut String, slow: &SlowFigures) -> std::fmt::Result {
    let shown_entries = slow.entries.iter().take(SLOW_ENTRIES);
    let listed: u64 = shown_entries.clone().map(|entry| entry.count).sum();
    writeln!(
        text,
        "\nslow messages (over {}): {}, {} of them not listed here",
        duration(slow.threshold_nanoseconds),
        slow.total,
        slow.total.saturating_sub(listed)
    )?;
    for entry in shown_entries {
        writeln!(
            text,
            "  {} {}/{} from {:?} ({:?}): {} times, queue wait {}, handling {}, {}, worker {}",
            time(entry.last_milliseconds),
            shown(&entry.protocol),
            shown(&entry.message_type),
            entry.client,
            entry.application,
            entry.count,
            duration(entry.queue_wait_nanoseconds),
            duration(entry.service_nanoseconds),
            bytes(entry.bytes),
            entry.worker.map_or_else(|| "-".to_owned(), |worker| worker.to_string())
        )?;
    }
    Ok(())
}

fn connections(text: &mut String, stats: &MonitorStats) -> std::fmt::Result {
    let connections = &stats.connections;
    writeln!(
        text,
        "\nconnections: {} open, {} peak, {} total; last minute: {} connects, {} disconnects; {} unhealthy, {} \
         reconnects",
        connections.active,
        connections.peak,
        connections.total,
        connections.connects_last_minute,
        connections.disconnects_last_minute,
        number_or_dash(connections.unhealthy),
        connections.reconnect_attempts
    )?;
    for one in connections.applications.iter().filter(|one| one.total > 0) {
        writeln!(text, "  {}: {} open, {} total", shown(&one.name), one.active, one.total)?;
    }
    Ok(())
}

fn clients(text: &mut String, title: &str, tracked: u64, clients: &[ClientFigures]) -> std::fmt::Result {
    if clients.is_empty() {
        return Ok(());
    }
    writeln!(text, "\n{}", cut(title, clients.len() as u64, tracked))?;
    for client in clients {
        writeln!(
            text,
            "  {:<24} {} messages, {} errors, {} in, {} out, average {}, maximum {}, unacknowledged {}",
            shown(&client.name),
            client.messages,
            client.errors,
            bytes(client.bytes_in),
            bytes(client.bytes_out),
            duration_or_dash(client.average_nanoseconds),
            duration(client.maximum_nanoseconds),
            bytes(client.outstanding_bytes)
        )?;
    }
    Ok(())
}

fn routing(text: &mut String, kept: &str, routing: &RoutingFigures) -> std::fmt::Result {
    let (totals, rates, accounting) = (&routing.totals, &routing.rates, &routing.accounting);
    writeln!(
        text,
        "\nrouting {kept}: {} routed, {} failed, average {}, {:.1}/s, worker utilisation {}; {} in flight, {} messages \
         and {} queued",
        totals.routed,
        totals.failed,
        duration_or_dash(totals.average_nanoseconds),
        rates.messages_per_second,
        percent(Some(rates.utilisation)),
        totals.concurrency,
        totals.queue_messages,
        bytes(totals.queue_bytes)
    )?;
    writeln!(
        text,
        "  submitted {}, refused {}, taken over {}, deliveries {}, undeliverable {}; last minute: egress full {}, credit \
         exhausted {}",
        accounting.submitted,
        accounting.refused,
        accounting.taken_over,
        accounting.deliveries,
        accounting.undeliverable,
        routing.egress_full_last_minute,
        routing.credit_exhausted_last_minute
    )?;
    for (place, worker) in routing.workers.iter().enumerate() {
        writeln!(
            text,
            "  worker {place}: {} ended, {} failed, queue {} (peak {}), full batches {}, parks {}{}",
            worker.ended,
            worker.failed,
            worker.queue_messages,
            worker.queue_messages_maximum,
            worker.full_batches,
            worker.parks,
            if worker.stalled { ", STALLED" } else { "" }
        )?;
    }
    Ok(())
}

fn system(text: &mut String, system: &SystemStats) -> std::fmt::Result {
    let or_dash = |count: Option<u64>| count.map_or_else(|| "-".to_owned(), bytes);
    writeln!(
        text,
        "\nsystem: {} resident ({} of the threshold), {} allocated, {} of {} available; processor {} of {} cores, whole \
         system {}",
        or_dash(system.memory.resident_bytes),
        percent(system.memory.share_of_threshold),
        or_dash(system.memory.heap_bytes),
        or_dash(system.memory.system_available_bytes),
        or_dash(system.memory.system_total_bytes),
        percent(system.cpu.process_share),
        system.cpu.cores_allowed.map_or_else(|| "-".to_owned(), |cores| cores.to_string()),
        percent(system.cpu.system_share)
    )?;
    writeln!(
        text,
        "  {} threads, {} of {} descriptors{}",
        number_or_dash(system.process.threads),
        number_or_dash(system.process.open_descriptors),
        number_or_dash(system.process.descriptor_limit),
        system
            .cpu
            .load_average
            .as_ref()
            .map_or_else(String::new, |load| format!(", load {} {} {}", load.one, load.five, load.fifteen))
    )?;
    if let Some(runtime) = &system.runtime {
        writeln!(
            text,
            "  runtime: {} goroutines, {} collections, last pause {}, heap {}",
            runtime.goroutines,
            runtime.gc_count,
            duration(runtime.gc_last_pause_nanoseconds),
            bytes(runtime.heap_bytes)
        )?;
    }
    Ok(())
}

fn custom(text: &mut String, kept: &str, stats: &MonitorStats) -> std::fmt::Result {
    if !stats.custom.families.is_empty() {
        writeln!(text, "\nhost metrics {kept}")?;
    }
    for family in &stats.custom.families {
        for series in &family.series {
            let labels: Vec<_> =
                series.labels.iter().map(|(name, value)| format!("{name}={value:?}")).collect();
            let value = match (&series.value, &series.histogram) {
                (Some(value), _) => value.to_string(),
                (None, Some(histogram)) => format!("{} values", histogram.count),
                (None, None) => continue,
            };
            writeln!(text, "  {}{{{}}} {value}", family.name, labels.join(","))?;
        }
    }
    Ok(())
}
