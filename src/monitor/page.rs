//! The page: one template, without external resources. A server serves it as it is, and it reads the figures from the
//! server's addresses. With figures inside it is the HTML report, which needs no server.

use super::timeline::Timeline;
use std::sync::OnceLock;

const TEMPLATE: &str = include_str!("page/page.html");
/// The place of a frozen page's figures.
const FIGURES: &str = "{{figures}}";
/// The other places of the template, with their contents. `tests/conformance/page.mjs` checks the hashes that the template states.
const PARTS: [(&str, &str); 4] = [
    ("{{uplot.css}}", include_str!("page/vendor/uPlot.min.css")),
    ("{{page.css}}", include_str!("page/page.css")),
    ("{{uplot.js}}", include_str!("page/vendor/uPlot.iife.min.js")),
    ("{{page.js}}", include_str!("page/page.js")),
];

/// The page as a server serves it: `GET /`. It holds no figures; it reads them from `/api/…` at the same origin.
pub fn page() -> &'static str {
    static PAGE: OnceLock<String> = OnceLock::new();
    PAGE.get_or_init(|| assemble("null"))
}

/// The page with the figures inside. `report` is the JSON report.
pub(super) fn frozen(report: &str, timelines: &[Timeline]) -> String {
    // Serialising cannot fail: numbers, texts and lists.
    let timelines = serde_json::to_string(timelines).unwrap_or_else(|_| "[]".to_owned());
    // Names come from peers. In JSON `<` appears only in texts, and without it no text can end the element.
    assemble(&format!("{{\"stats\":{report},\"timelines\":{timelines}}}").replace('<', "\\u003c"))
}

fn assemble(figures: &str) -> String {
    let mut page = TEMPLATE.to_owned();
    for (place, content) in PARTS.into_iter().chain([(FIGURES, figures)]) {
        // Only the first place is filled, so that no content is searched: the figures, which come last in the page,
        // are put in last.
        page = page.replacen(place, content, 1);
    }
    page
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_part_is_in_the_page() {
        for (place, content) in PARTS {
            assert_eq!(TEMPLATE.matches(place).count(), 1, "{place}");
            assert!(page().contains(content), "{place}");
            assert!(!content.contains("{{"), "{place}");
        }
        assert!(page().contains(">null</script>"));
    }

    #[test]
    fn figures_cannot_leave_their_element() {
        let name = r#"{"name":"</script><script>alert(1)</script>{{page.js}}"}"#;
        let shown = frozen(name, &[]);
        assert_eq!(shown.matches("</script>").count(), page().matches("</script>").count());
        assert!(shown.contains(r#"{"name":"\u003c/script>\u003cscript>alert(1)\u003c/script>{{page.js}}"}"#));
    }
}
