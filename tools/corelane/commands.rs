//! The commands for scripts: one answer of the monitor, as lines of fields or as JSON.

use crate::addresses;
use crate::fetch::Monitor;
use crate::table::plain;
use crate::text;
use crate::views;
use clap::ValueEnum;
use corelane::monitor::alert::{Alert, AlertFigures};
use corelane::monitor::{ClientFigures, ClientsFigures, SlowFigures};
use serde::Serialize;
use std::io::{IsTerminal, Write};
use std::time::Duration;

/// What a command ends with, if it does not fail.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// Status 0.
    Fine,
    /// Status 1: an alert fires.
    Firing,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Format {
    Text,
    Json,
    Html,
}

/// The figures that the monitor keeps lists of clients by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum By {
    Messages,
    Errors,
    BytesIn,
    BytesOut,
    Average,
    Maximum,
    Outstanding,
    OutstandingPeak,
    Undelivered,
}

/// Writes to stdout. A reader that has gone is no fault.
fn write(text: &[u8]) -> Result<(), String> {
    let mut out = std::io::stdout().lock();
    match out.write_all(text).and_then(|()| out.flush()) {
        Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => {
            Err(format!("the output cannot be written: {error}"))
        }
        _ => Ok(()),
    }
}

fn write_json(value: &impl Serialize) -> Result<(), String> {
    let json = serde_json::to_string_pretty(value).map_err(|error| error.to_string())?;
    write(format!("{}\n", text::json(&json)).as_bytes())
}

/// `corelane report`.
pub fn report(monitor: &Monitor, format: Format) -> Result<End, String> {
    let name = match format {
        Format::Text => "text",
        Format::Json => "json",
        Format::Html => "html",
    };
    let body = monitor.get(&format!("/api/report?format={name}"))?;
    let body = String::from_utf8_lossy(&body);
    let mut shown = match format {
        Format::Text => text::lines(&body),
        Format::Json => text::json(&body),
        // A file gets the page as it is.
        Format::Html if std::io::stdout().is_terminal() => text::lines(&body),
        Format::Html => body.into_owned(),
    };
    if !shown.ends_with('\n') {
        shown.push('\n');
    }
    write(shown.as_bytes())?;
    Ok(End::Fine)
}

/// Milliseconds with three digits after the point.
fn milliseconds(nanoseconds: u64) -> String {
    format!("{}.{:03}", nanoseconds / 1_000_000, nanoseconds / 1_000 % 1_000)
}

/// `corelane alerts`.
pub fn alerts(monitor: &Monitor, firing: bool, json: bool) -> Result<End, String> {
    let figures: AlertFigures = monitor.json("/api/alerts")?;
    let mut alerts: Vec<&Alert> = figures.current.iter().collect();
    if !firing {
        alerts.extend(figures.pending.iter().chain(&figures.history));
    }
    if json {
        write_json(&alerts)?;
    } else {
        let row = |alert: &&Alert| {
            vec![
                alert.state.label().to_owned(),
                alert.severity.label().to_owned(),
                text::field(&alert.name),
                text::field(&alert.label_set),
                text::moment(alert.raised.unwrap_or(alert.since)),
                alert.resolved.map_or_else(|| "-".to_owned(), text::moment),
                views::value(alert.current_value),
                views::value(alert.threshold),
                text::clean(&alert.message),
            ]
        };
        let titles =
            ["STATE", "SEVERITY", "NAME", "LABELS", "SINCE", "RESOLVED", "VALUE", "THRESHOLD", "MESSAGE"];
        write(plain(&titles, &alerts.iter().map(row).collect::<Vec<_>>()).as_bytes())?;
    }
    Ok(if figures.current.is_empty() { End::Fine } else { End::Firing })
}

/// `corelane slow`.
pub fn slow(monitor: &Monitor, json: bool) -> Result<End, String> {
    let figures: Option<SlowFigures> = monitor.json("/api/slow")?;
    let entries = figures.ok_or("the server does not measure messages: enable_metrics is off")?.entries;
    if json {
        write_json(&entries)?;
        return Ok(End::Fine);
    }
    let titles = [
        "LAST",
        "COUNT",
        "CLIENT",
        "PROTOCOL",
        "TYPE",
        "APPLICATION",
        "WORKER",
        "BYTES",
        "WAIT_MS",
        "HANDLING_MS",
        "HELD_MS",
        "SLOWEST_MS",
        "END",
    ];
    let row = |entry: &corelane::monitor::SlowEntry| {
        vec![
            text::moment(entry.last_milliseconds),
            entry.count.to_string(),
            text::field(&entry.client),
            text::field(&entry.protocol),
            text::field(&entry.message_type),
            text::field(&entry.application),
            entry.worker.map_or_else(|| "-".to_owned(), |worker| worker.to_string()),
            entry.bytes.to_string(),
            milliseconds(entry.queue_wait_nanoseconds),
            milliseconds(entry.service_nanoseconds),
            milliseconds(entry.held_nanoseconds),
            milliseconds(entry.slowest_nanoseconds),
            if entry.succeeded { "ok" } else { "failed" }.to_owned(),
        ]
    };
    write(plain(&titles, &entries.iter().map(row).collect::<Vec<_>>()).as_bytes())?;
    Ok(End::Fine)
}

/// `corelane clients`.
pub fn clients(monitor: &Monitor, by: By, idle: Option<Duration>, json: bool) -> Result<End, String> {
    let clients: Vec<ClientFigures> = match idle {
        Some(idle) => {
            let path = format!("/api/clients/idle?longer_than_ms={}&limit=100000", idle.as_millis());
            monitor.json(&path)?
        }
        None => {
            let figures: Option<ClientsFigures> = monitor.json("/api/clients")?;
            let figures = figures
                .ok_or("the server keeps no figures of clients: detailed_stats or enable_metrics is off")?;
            match by {
                By::Messages => figures.by_messages,
                By::Errors => figures.by_errors,
                By::BytesIn => figures.by_bytes_in,
                By::BytesOut => figures.by_bytes_out,
                By::Average => figures.by_average,
                By::Maximum => figures.by_maximum,
                By::Outstanding => figures.by_outstanding,
                By::OutstandingPeak => figures.by_outstanding_peak,
                By::Undelivered => figures.by_undelivered,
            }
        }
    };
    let addresses = addresses::all(monitor)?;
    if json {
        #[derive(Serialize)]
        struct WithAddress<'a> {
            #[serde(flatten)]
            figures: &'a ClientFigures,
            address: Option<&'a String>,
        }
        let with = |figures| WithAddress { figures, address: addresses.get(&figures.name) };
        write_json(&clients.iter().map(with).collect::<Vec<_>>())?;
        return Ok(End::Fine);
    }
    let titles = [
        "CLIENT",
        "APPLICATION",
        "PROTOCOL",
        "CONNECTED",
        "HEALTHY",
        "MESSAGES",
        "ERRORS",
        "BYTES_IN",
        "BYTES_OUT",
        "AVERAGE_MS",
        "MAXIMUM_MS",
        "OUTSTANDING_MESSAGES",
        "OUTSTANDING_BYTES",
        "OUTSTANDING_PEAK",
        "UNDELIVERED",
        "IDLE_S",
        "CONNECTED_S",
        "ADDRESS",
    ];
    let yes = |is: bool| if is { "yes" } else { "no" }.to_owned();
    let row = |client: &ClientFigures| {
        vec![
            text::field(&client.name),
            text::field(&client.application),
            text::field(client.protocol.as_deref().unwrap_or("")),
            yes(client.connected),
            yes(client.healthy),
            client.messages.to_string(),
            client.errors.to_string(),
            client.bytes_in.to_string(),
            client.bytes_out.to_string(),
            client.average_nanoseconds.map_or_else(|| "-".to_owned(), milliseconds),
            milliseconds(client.maximum_nanoseconds),
            client.outstanding_messages.to_string(),
            client.outstanding_bytes.to_string(),
            client.outstanding_peak.to_string(),
            client.undelivered.to_string(),
            (client.idle_milliseconds / 1_000).to_string(),
            (client.connected_for_milliseconds / 1_000).to_string(),
            text::field(addresses.get(&client.name).map_or("", String::as_str)),
        ]
    };
    write(plain(&titles, &clients.iter().map(row).collect::<Vec<_>>()).as_bytes())?;
    Ok(End::Fine)
}
