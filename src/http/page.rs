//! The page at `/`: one self-contained file.

/// The content type and the bytes of a file of the page.
pub(super) fn find(path: &str) -> Option<(&'static str, &'static [u8])> {
    match path {
        "/" => Some(("text/html; charset=utf-8", crate::monitor::page().as_bytes())),
        _ => None,
    }
}
