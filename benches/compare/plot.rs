//! Plots as SVG, readable on light and dark pages. Used by `document`.

use crate::race::{Ratio, format_figure};
use std::fmt::Write as _;

const STYLE: &str = "<style>
text { font: 12px system-ui, sans-serif; fill: #24292f }
.title { font-size: 14px; font-weight: 600 }
.grid { stroke: #d0d7de }
.one { stroke: #57606a; stroke-width: 1.5 }
.c0 { color: #0969da } .c1 { color: #cf222e } .c2 { color: #1a7f37 } .c3 { color: #9a6700 }
.c4 { color: #8250df } .c5 { color: #6e7781 }
.line { fill: none; stroke: currentColor; stroke-width: 2 }
.fill { fill: currentColor }
@media (prefers-color-scheme: dark) {
text { fill: #e6edf3 }
.grid { stroke: #30363d }
.one { stroke: #8b949e }
.c0 { color: #58a6ff } .c1 { color: #ff7b72 } .c2 { color: #3fb950 } .c3 { color: #d29922 }
.c4 { color: #bc8cff } .c5 { color: #8b949e }
}
</style>
";
const COLOURS: usize = 6;

fn svg(width: f64, height: f64, title: &str, body: &str) -> String {
    let title = escape(title);
    format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width} {height}\" width=\"{width}\" \
         height=\"{height}\" role=\"img\">\n<title>{title}</title>\n{STYLE}\
         <text class=\"title\" x=\"10\" y=\"20\">{title}</text>\n{body}</svg>\n"
    )
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

/// The powers of ten from the one below `least` to the one above `most`.
fn decades(least: f64, most: f64) -> (i32, i32) {
    let (low, high) = (least.log10().floor() as i32, most.log10().ceil() as i32);
    (low, high.max(low + 1))
}

/// A dot with its range for each ratio, on a logarithmic axis.
pub fn ratios(title: &str, rows: &[(String, Ratio)]) -> String {
    const LEFT: f64 = 470.0;
    const WIDTH: f64 = 380.0;
    let bottom = 44.0 + 20.0 * rows.len() as f64;
    let positive = |value: f64| value.max(1e-3);
    let least = rows.iter().map(|(_, ratio)| positive(ratio.min)).fold(1.0, f64::min);
    let most = rows.iter().map(|(_, ratio)| ratio.max).fold(1.0, f64::max);
    let (low, high) = decades(least, most);
    let x = |value: f64| LEFT + WIDTH * (positive(value).log10() - f64::from(low)) / f64::from(high - low);
    let mut body = String::new();
    for decade in low..=high {
        let (value, class) = (10f64.powi(decade), if decade == 0 { "one" } else { "grid" });
        let x = x(value);
        let _ = writeln!(body, r#"<line class="{class}" x1="{x:.1}" x2="{x:.1}" y1="32" y2="{bottom}"/>"#);
        let _ = writeln!(
            body,
            r#"<text x="{x:.1}" y="{:.1}" text-anchor="middle">{value}</text>"#,
            bottom + 16.0
        );
    }
    for (place, (label, ratio)) in rows.iter().enumerate() {
        let y = 46.0 + 20.0 * place as f64;
        let (class, label) = (if ratio.median < 1.0 { "c1" } else { "c0" }, escape(label));
        let (from, to, middle) = (x(ratio.min), x(ratio.max), x(ratio.median));
        let _ = writeln!(
            body,
            r#"<text x="{:.1}" y="{:.1}" text-anchor="end">{label}</text><g class="{class}"><line class="line" x1="{from:.1}" x2="{to:.1}" y1="{y}" y2="{y}"/><circle class="fill" cx="{middle:.1}" cy="{y}" r="4"/></g><text x="{:.1}" y="{:.1}">{}</text>"#,
            LEFT - 10.0,
            y + 4.0,
            LEFT + WIDTH + 14.0,
            y + 4.0,
            format_figure(ratio.median)
        );
    }
    svg(LEFT + WIDTH + 60.0, bottom + 26.0, title, &body)
}

/// One line for each series over the same places of the x axis. The y axis is logarithmic.
pub fn lines(title: &str, places: &[String], series: &[(String, Vec<f64>)]) -> String {
    const LEFT: f64 = 60.0;
    const TOP: f64 = 36.0;
    const WIDTH: f64 = 520.0;
    const HEIGHT: f64 = 260.0;
    let values = || series.iter().flat_map(|(_, values)| values.iter().copied()).filter(|value| *value > 0.0);
    let (low, high) = decades(values().fold(f64::INFINITY, f64::min), values().fold(0.0, f64::max));
    let x = |place: usize| LEFT + WIDTH * place as f64 / places.len().saturating_sub(1).max(1) as f64;
    let y = |value: f64| {
        TOP + HEIGHT * (1.0 - (value.max(1e-9).log10() - f64::from(low)) / f64::from(high - low))
    };
    let mut body = String::new();
    for decade in low..=high {
        let value = 10f64.powi(decade);
        let (y, right) = (y(value), LEFT + WIDTH);
        let _ = writeln!(body, r#"<line class="grid" x1="{LEFT}" x2="{right}" y1="{y:.1}" y2="{y:.1}"/>"#);
        let _ =
            writeln!(body, r#"<text x="{}" y="{:.1}" text-anchor="end">{value}</text>"#, LEFT - 8.0, y + 4.0);
    }
    for (place, label) in places.iter().enumerate() {
        let (x, y, label) = (x(place), TOP + HEIGHT + 18.0, escape(label));
        let _ = writeln!(body, r#"<text x="{x:.1}" y="{y}" text-anchor="middle">{label}</text>"#);
    }
    for (number, (name, values)) in series.iter().enumerate() {
        let class = format!("c{}", number % COLOURS);
        let points: Vec<_> = values
            .iter()
            .enumerate()
            .map(|(place, value)| format!("{:.1},{:.1}", x(place), y(*value)))
            .collect();
        let _ =
            writeln!(body, r#"<g class="{class}"><polyline class="line" points="{}"/>"#, points.join(" "));
        for point in &points {
            let (x, y) = point.split_once(',').unwrap_or_default();
            let _ = write!(body, r#"<circle class="fill" cx="{x}" cy="{y}" r="3"/>"#);
        }
        let (legend, row) = (LEFT + WIDTH + 24.0, TOP + 8.0 + 20.0 * number as f64);
        let _ = writeln!(
            body,
            r#"<circle class="fill" cx="{legend}" cy="{row}" r="5"/></g><text x="{}" y="{}">{}</text>"#,
            legend + 12.0,
            row + 4.0,
            escape(name)
        );
    }
    svg(LEFT + WIDTH + 330.0, TOP + HEIGHT + 34.0, title, &body)
}
