//! The HTML report: a self-contained page without scripts, images or network access. Names that peers or hosts have
//! chosen are escaped.

use super::{
    NO_CLIENTS, NO_MESSAGES, bytes, cut, duration, duration_or_dash, number_or_dash, percent, series_name,
    time,
};
use crate::monitor::figures::{
    ClientFigures, MessageFigures, MonitorStats, RoutingFigures, SeriesFigures, SlowFigures, Windowed,
};
use crate::monitor::paths::NO_ROUTER;

const STYLE: &str = "body{font:15px/1.5 system-ui,sans-serif;margin:2rem auto;max-width:75rem;padding:0 1rem;color:#1c2430;\
background:#fff}h1{font-size:1.5rem}h2{font-size:1.1rem;margin:2rem 0 .5rem}table{border-collapse:collapse;width:100%}\
th,td{padding:.25rem .6rem;text-align:right;border-bottom:1px solid #dde3ea;font-variant-numeric:tabular-nums}\
th:first-child,td:first-child{text-align:left}th{font-weight:600;color:#51606f}.alert{padding:.5rem .8rem;margin:.3rem 0;\
border-left:4px solid #b42318;background:#fef3f2}.fine{border-color:#067647;background:#ecfdf3}.scroll{overflow-x:auto}\
@media(prefers-color-scheme:dark){body{background:#11161c;color:#dbe3ec}th,td{border-color:#2b3641}th{color:#93a4b5}\
.alert{background:#3a1a18}.fine{background:#12291d}}";

pub(super) fn write(stats: &MonitorStats) -> String {
    let mut page = Page::default();
    page.text.push_str("<!doctype html><html lang=\"en\"><head><meta charset=\"utf-8\">");
    page.text.push_str("<meta name=\"viewport\" content=\"width=device-width,initial-scale=1\">");
    page.text.push_str("<title>corelane report</title><style>");
    page.text.push_str(STYLE);
    page.text.push_str("</style></head><body>");
    page.element("h1", &format!("corelane report, {}", time(stats.time_milliseconds)));
    let since = time(stats.since_milliseconds);
    page.element("p", &format!("Figures since {since}; up for {}.", duration(stats.uptime_nanoseconds)));
    let kept = format!(", since {}, never reset", time(stats.started_milliseconds));
    alerts(&mut page, &kept, stats);
    match &stats.messages {
        Some(messages) => self::messages(&mut page, messages),
        None => page.notice("alert", NO_MESSAGES),
    }
    series(&mut page, "Types", stats.types.as_deref().unwrap_or_default());
    series(&mut page, "Protocols", stats.protocols.as_deref().unwrap_or_default());
    series(&mut page, "Applications", stats.applications.as_deref().unwrap_or_default());
    stats.slow_messages.iter().for_each(|slow| self::slow(&mut page, slow));
    connections(&mut page, stats);
    match &stats.clients {
        Some(all) => {
            clients(&mut page, "Clients with the most messages", all.tracked, &all.by_messages);
            clients(&mut page, "Clients with the most errors", all.tracked, &all.by_errors);
            clients(&mut page, "Slowest clients", all.tracked, &all.by_average);
            clients(
                &mut page,
                "Clients with the most unacknowledged bytes",
                all.tracked,
                &all.by_outstanding,
            );
        }
        None => page.notice("alert", NO_CLIENTS),
    }
    if let Some(routing) = &stats.routing {
        self::routing(&mut page, &kept, routing);
    }
    system(&mut page, stats);
    page.text.push_str("</body></html>\n");
    page.text
}

/// The page written so far.
#[derive(Default)]
struct Page {
    text: String,
}

impl Page {
    fn escaped(&mut self, text: &str) {
        for character in text.chars() {
            match character {
                '&' => self.text.push_str("&amp;"),
                '<' => self.text.push_str("&lt;"),
                '>' => self.text.push_str("&gt;"),
                '"' => self.text.push_str("&quot;"),
                '\'' => self.text.push_str("&#39;"),
                // Replace characters that change the direction of text, because they can disguise a name.
                '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' => self.text.push('\u{fffd}'),
                other => self.text.push(other),
            }
        }
    }

    fn element(&mut self, name: &str, text: &str) {
        self.text.push_str(&format!("<{name}>"));
        self.escaped(text);
        self.text.push_str(&format!("</{name}>"));
    }

    fn notice(&mut self, class: &str, text: &str) {
        self.text.push_str(&format!("<p class=\"{class}\">"));
        self.escaped(text);
        self.text.push_str("</p>");
    }

    fn table<const N: usize>(
        &mut self,
        title: &str,
        heads: [&str; N],
        rows: impl IntoIterator<Item = [String; N]>,
    ) {
        let mut rows = rows.into_iter().peekable();
        if rows.peek().is_none() {
            return;
        }
        self.element("h2", title);
        self.text.push_str("<div class=\"scroll\"><table><tr>");
        heads.iter().for_each(|head| self.element("th", head));
        self.text.push_str("</tr>");
        for row in rows {
            self.text.push_str("<tr>");
            row.iter().for_each(|cell| self.element("td", cell));
            self.text.push_str("</tr>");
        }
        self.text.push_str("</table></div>");
    }
}

fn alerts(page: &mut Page, kept: &str, stats: &MonitorStats) {
    page.element("h2", &format!("Alerts{kept}"));
    if stats.alerts.current.is_empty() {
        page.notice("alert fine", "No alert is raised.");
    }
    for alert in &stats.alerts.current {
        page.notice("alert", &format!("{} {}: {}", alert.severity.label(), alert.id, alert.message));
    }
    let past = stats.alerts.history.iter().map(|alert| {
        let over = alert.resolved.map_or_else(|| "-".to_owned(), time);
        [alert.id.clone(), alert.raised.map_or_else(|| "-".to_owned(), time), over, alert.message.clone()]
    });
    let title = cut("Past alerts", stats.alerts.history.len() as u64, stats.alerts.resolved);
    page.table(&title, ["Alert", "Raised", "Resolved", "Message"], past);
    let unavailable = stats.alerts.rules.iter().filter_map(|rule| {
        let reason = rule.unavailable.as_deref().filter(|reason| *reason != NO_ROUTER)?;
        Some([rule.name.clone(), rule.metric.clone(), reason.to_owned()])
    });
    page.table("Rules that cannot raise an alert", ["Rule", "Metric", "Reason"], unavailable);
}

fn messages(page: &mut Page, messages: &MessageFigures) {
    let row = [
        messages.total.to_string(),
        percent(messages.success_rate),
        messages.failed.to_string(),
        messages.expired.to_string(),
        messages.slow.to_string(),
        bytes(messages.bytes_in),
        bytes(messages.bytes_out),
    ];
    page.table("Messages", ["Total", "Succeeded", "Failed", "Expired", "Slow", "In", "Out"], [row]);
    let times = [
        ("Handling", &messages.latency),
        ("Queue wait", &messages.queue_wait),
        ("Hold", &messages.held),
        ("Write", &messages.write),
    ];
    let times = times.map(|(name, latency)| {
        let all = [
            latency.average,
            latency.p50,
            latency.p90,
            latency.p95,
            latency.p99,
            latency.p999,
            latency.maximum,
        ];
        let [a, b, c, d, e, f, g] = all.map(duration_or_dash);
        [name.to_owned(), a, b, c, d, e, f, g]
    });
    page.table("Times", ["", "Average", "p50", "p90", "p95", "p99", "p99.9", "Maximum"], times);
    windows(page, "Windows", &messages.windows);
    let counted = messages.failures.counted().into_iter();
    let failures = counted.map(|(reason, count)| [reason.to_owned(), count.to_string()]);
    page.table("Failures", ["Reason", "Messages"], failures);
    let buckets =
        messages.buckets.iter().map(|bucket| [bucket.name.clone().into_owned(), bucket.count.to_string()]);
    page.table("Handling times", ["Range", "Messages"], buckets);
}

fn windows(page: &mut Page, title: &str, windows: &Windowed) {
    let all = [
        ("Last minute", &windows.last_minute),
        ("Last hour", &windows.last_hour),
        ("Last day", &windows.last_day),
    ];
    let rows = all.map(|(name, window)| {
        [
            name.to_owned(),
            window.count.to_string(),
            format!("{:.1}", window.throughput_per_second.unwrap_or(0.0)),
            percent(window.error_rate),
            duration_or_dash(window.average),
            duration_or_dash(window.p50),
            duration_or_dash(window.p95),
            duration_or_dash(window.p99),
        ]
    });
    page.table(title, ["", "Messages", "Per second", "Errors", "Average", "p50", "p95", "p99"], rows);
}

fn series(page: &mut Page, title: &str, series: &[SeriesFigures]) {
    let used = series.iter().filter(|one| one.total > 0 || one.latency.count > 0);
    let rows = used.map(|one| {
        let minute = one.windows.as_ref().map(|windows| &windows.last_minute);
        [
            series_name(one),
            one.total.to_string(),
            one.failed.to_string(),
            one.slow.to_string(),
            bytes(one.bytes),
            duration_or_dash(one.latency.average),
            duration_or_dash(one.latency.p99),
            duration_or_dash(one.latency.maximum),
            minute.map_or_else(|| "-".to_owned(), |minute| minute.count.to_string()),
            duration_or_dash(minute.and_then(|minute| minute.p99)),
        ]
    });
    let heads = [
        "Name",
        "Messages",
        "Failed",
        "Slow",
        "Bytes",
        "Average",
        "p99",
        "Maximum",
        "Last minute",
        "Last minute's p99",
    ];
    page.table(title, heads, rows);
}

fn slow(page: &mut Page, slow: &SlowFigures) {
    let rows = slow.entries.iter().map(|entry| {
        [
            time(entry.last_milliseconds),
            format!("{}/{}", entry.protocol, entry.message_type),
            entry.client.clone(),
            entry.application.clone(),
            entry.count.to_string(),
            duration(entry.queue_wait_nanoseconds),
            duration(entry.service_nanoseconds),
            bytes(entry.bytes),
            entry.worker.map_or_else(|| "-".to_owned(), |worker| worker.to_string()),
        ]
    });
    let heads =
        ["Last", "Type", "Client", "Application", "Count", "Queue wait", "Handling", "Bytes", "Worker"];
    page.table(&cut("Slow messages", slow.total - slow.unlisted.min(slow.total), slow.total), heads, rows);
}

fn connections(page: &mut Page, stats: &MonitorStats) {
    let connections = &stats.connections;
    let counts = [
        connections.active,
        connections.peak,
        connections.total,
        connections.connects_last_minute,
        connections.disconnects_last_minute,
    ]
    .map(Some);
    let health = [connections.healthy, connections.unhealthy, Some(connections.reconnect_attempts)];
    let heads = [
        "Open",
        "Peak",
        "Total",
        "Connects (minute)",
        "Disconnects (minute)",
        "Healthy",
        "Unhealthy",
        "Reconnect attempts",
    ];
    let [a, b, c, d, e] = counts.map(number_or_dash);
    let [f, g, h] = health.map(number_or_dash);
    page.table("Connections", heads, [[a, b, c, d, e, f, g, h]]);
    let used = connections.applications.iter().filter(|one| one.total > 0);
    let rows = used.map(|one| {
        let last = one.last_activity_milliseconds.map_or_else(|| "-".to_owned(), time);
        [one.name.clone(), one.active.to_string(), one.total.to_string(), last]
    });
    page.table("Connections by application", ["Application", "Open", "Total", "Last activity"], rows);
}

fn clients(page: &mut Page, title: &str, tracked: u64, clients: &[ClientFigures]) {
    let rows = clients.iter().map(|client| {
        [
            client.name.clone(),
            client.application.clone(),
            client.messages.to_string(),
            client.errors.to_string(),
            bytes(client.bytes_in),
            bytes(client.bytes_out),
            duration_or_dash(client.average_nanoseconds),
            duration(client.maximum_nanoseconds),
            bytes(client.outstanding_bytes),
        ]
    });
    let heads =
        ["Client", "Application", "Messages", "Errors", "In", "Out", "Average", "Maximum", "Unacknowledged"];
    page.table(&cut(title, clients.len() as u64, tracked), heads, rows);
}

fn routing(page: &mut Page, kept: &str, routing: &RoutingFigures) {
    let (totals, rates) = (&routing.totals, &routing.rates);
    let row = [
        totals.routed.to_string(),
        totals.failed.to_string(),
        totals.expired.to_string(),
        totals.concurrency.to_string(),
        totals.queue_messages.to_string(),
        format!("{:.1}", rates.messages_per_second),
        percent(Some(rates.utilisation)),
        routing.egress_full_last_minute.to_string(),
        routing.credit_exhausted_last_minute.to_string(),
    ];
    let heads = [
        "Routed",
        "Failed",
        "Expired",
        "In flight",
        "Queued",
        "Per second",
        "Utilisation",
        "Egress full (minute)",
        "Credit exhausted (minute)",
    ];
    page.table(&format!("Routing{kept}"), heads, [row]);
    let workers = routing.workers.iter().enumerate().map(|(place, worker)| {
        [
            place.to_string(),
            worker.ended.to_string(),
            worker.failed.to_string(),
            worker.queue_messages.to_string(),
            worker.queue_messages_maximum.to_string(),
            worker.full_batches.to_string(),
            worker.parks.to_string(),
            if worker.stalled { "stalled" } else { "" }.to_owned(),
        ]
    });
    let heads = ["Worker", "Ended", "Failed", "Queue", "Peak", "Full batches", "Parks", "State"];
    page.table("Workers", heads, workers);
}

fn system(page: &mut Page, stats: &MonitorStats) {
    let or_dash = |count: Option<u64>| count.map_or_else(|| "-".to_owned(), bytes);
    let rows = stats.system.iter().map(|system| {
        [
            or_dash(system.memory.resident_bytes),
            or_dash(system.memory.heap_bytes),
            or_dash(system.memory.system_available_bytes),
            percent(system.cpu.process_share),
            percent(system.cpu.system_share),
            number_or_dash(system.process.threads),
            number_or_dash(system.process.open_descriptors),
            number_or_dash(system.process.descriptor_limit),
        ]
    });
    let heads = [
        "Resident",
        "Allocated",
        "Available",
        "Processor",
        "Whole system",
        "Threads",
        "Descriptors",
        "Descriptor limit",
    ];
    page.table("System", heads, rows);
    let cost = &stats.monitor;
    let row = [
        duration(cost.cpu_nanoseconds),
        bytes(cost.bytes),
        cost.ticks.to_string(),
        duration(cost.collect_nanoseconds_maximum),
    ];
    page.table("The monitor itself", ["Processor time", "Memory", "Collections", "Longest"], [row]);
}
