//! The parts of the report: their addresses, and their names in the report.

/// Addresses of the parts of the report, with the part's name in the report.
pub(super) const PARTS: [(&str, &str); 13] = [
    ("/api/messages", "messages"),
    ("/api/types", "types"),
    ("/api/protocols", "protocols"),
    ("/api/applications", "applications"),
    ("/api/clients", "clients"),
    ("/api/slow", "slow_messages"),
    ("/api/connections", "connections"),
    ("/api/system", "system"),
    ("/api/routing", "routing"),
    ("/api/alerts", "alerts"),
    ("/api/custom", "custom"),
    ("/api/cluster", "cluster"),
    ("/api/exporters", "exporters"),
];

/// The member of the report that a part of `/api/events` means. A part has the name of its address (`slow` of `/api/slow`);
/// the member's own name means the same.
pub(super) fn member(part: &str) -> &str {
    let of_address = PARTS.iter().find(|(address, _)| address.strip_prefix("/api/") == Some(part));
    of_address.map_or(part, |(_, member)| member)
}

/// The name of the part that a member of the report is.
pub(super) fn part_name(member: &str) -> &str {
    let found = PARTS.iter().find(|(_, name)| *name == member);
    found.and_then(|(address, _)| address.strip_prefix("/api/")).unwrap_or(member)
}
