//! The HTML report: a self-contained page without scripts, images or network access. Names that peers or hosts have
//! chosen are escaped.

use super::document::{Importance, Part, Table, document};
use crate::monitor::figures::MonitorStats;

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
    for (place, part) in document(stats).into_iter().enumerate() {
        match part {
            Part::Heading(text) => page.element(if place == 0 { "h1" } else { "h2" }, &text),
            Part::Notice(Importance::Fine, text) => page.notice("alert fine", &text),
            Part::Notice(Importance::Urgent, text) => page.notice("alert", &text),
            Part::Notice(Importance::Plain, text) => page.element("p", &text),
            Part::Table(table) => page.table(&table),
        }
    }
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
                other if super::changes_direction(other) => self.text.push('\u{fffd}'),
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

    fn table(&mut self, table: &Table) {
        self.element("h2", &table.title);
        self.text.push_str("<div class=\"scroll\"><table><tr>");
        table.heads.iter().for_each(|head| self.element("th", head));
        self.text.push_str("</tr>");
        for row in &table.rows {
            self.text.push_str("<tr>");
            row.iter().for_each(|cell| self.element("td", cell));
            self.text.push_str("</tr>");
        }
        self.text.push_str("</table></div>");
    }
}
