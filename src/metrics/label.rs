//! Interned and bounded labels of series. Protocols and their message types are known from the configuration.
//! Hosts name applications when clients connect. A name that does not fit is `other`.

use crate::id::MAX_NAME_BYTES;
use crate::sync::{AtomicU64, Mutex, Relaxed, lock};
use std::collections::HashMap;
use std::sync::OnceLock;

/// The series that counts everything without its own series.
pub(crate) const OTHER: u16 = 0;

/// Series of a message type: one type of one protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct TypeId(pub(crate) u16);
/// Series of a protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ProtocolId(pub(crate) u16);
/// Series of an application.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ApplicationId(pub(crate) u16);

/// All labels of a router.
#[derive(Debug)]
pub(crate) struct LabelTable {
    /// Protocol and type of each type series. The first is `other`.
    types: Vec<(String, String)>,
    protocols: Vec<String>,
    /// Known applications. The first is `other`. Read without a lock; filled in order, while `places` is
    /// locked.
    applications: Box<[OnceLock<String>]>,
    /// Index of each application, without `other`.
    places: Mutex<HashMap<String, u16>>,
    /// Connects whose application was counted as `other`.
    applications_folded: AtomicU64,
}

impl LabelTable {
    pub(crate) fn new(application_limit: usize) -> Self {
        Self {
            types: vec![(String::new(), "other".to_owned())],
            protocols: vec!["other".to_owned()],
            applications: std::iter::once(OnceLock::from("other".to_owned()))
                .chain((0..application_limit).map(|_| OnceLock::new()))
                .collect(),
            places: Mutex::new(HashMap::new()),
            applications_folded: AtomicU64::new(0),
        }
    }

    /// Bytes of this many labels, for the budget: one or two names, each in a list and in a map that may have
    /// grown.
    pub(crate) const fn bytes(labels: usize) -> u64 {
        (labels * (2 * (MAX_NAME_BYTES + 24) + 8 * size_of::<String>())) as u64
    }

    /// Adds a protocol and its types. Only before the router starts.
    pub(crate) fn add_protocol(&mut self, name: &str, types: &[String]) -> (ProtocolId, Vec<TypeId>) {
        let protocol = ProtocolId(self.protocols.len() as u16);
        self.protocols.push(name.to_owned());
        let first = self.types.len() as u16;
        self.types.extend(types.iter().map(|one| (name.to_owned(), one.clone())));
        (protocol, (first..self.types.len() as u16).map(TypeId).collect())
    }

    /// The series of an application. Created on first use while the budget lasts.
    pub(crate) fn application(&self, name: &str) -> ApplicationId {
        if name.is_empty() || name == "other" {
            return ApplicationId(OTHER);
        }
        let mut places = lock(&self.places);
        if let Some(id) = places.get(name) {
            return ApplicationId(*id);
        }
        let id = places.len() + 1;
        let Some(place) = self.applications.get(id).filter(|_| name.len() <= MAX_NAME_BYTES) else {
            self.applications_folded.fetch_add(1, Relaxed); // Relaxed: an independent counter.
            return ApplicationId(OTHER);
        };
        let was_empty = place.set(name.to_owned()).is_ok();
        debug_assert!(was_empty, "each place is written once, under the lock");
        places.insert(name.to_owned(), id as u16);
        ApplicationId(id as u16)
    }

    pub(crate) fn types(&self) -> &[(String, String)] {
        &self.types
    }

    pub(crate) fn protocols(&self) -> &[String] {
        &self.protocols
    }

    pub(crate) fn applications(&self) -> Vec<String> {
        self.applications.iter().map_while(OnceLock::get).cloned().collect()
    }

    /// Name of a protocol. Empty for an unknown one.
    pub(crate) fn protocol_name(&self, id: ProtocolId) -> &str {
        self.protocols().get(usize::from(id.0)).map_or("", String::as_str)
    }

    /// Name of a message type. Empty for an unknown one.
    pub(crate) fn type_name(&self, id: TypeId) -> &str {
        self.types().get(usize::from(id.0)).map_or("", |(_, name)| name)
    }

    /// Name of an application. `other` for an unknown one.
    pub(crate) fn application_name(&self, id: ApplicationId) -> &str {
        let name = self.applications.get(usize::from(id.0)).and_then(OnceLock::get);
        name.map_or("other", String::as_str)
    }

    /// Number of series for applications, including `other`.
    pub(crate) fn application_capacity(&self) -> usize {
        self.applications.len()
    }

    pub(crate) fn applications_folded(&self) -> u64 {
        self.applications_folded.load(Relaxed) // Relaxed: an independent counter.
    }
}

#[cfg(all(test, not(corelane_loom)))]
mod tests {
    use super::*;

    #[test]
    fn applications_past_the_budget_are_other_and_counted() {
        let labels = LabelTable::new(2);
        let ids: Vec<_> =
            ["a", "b", "other", "a", "c", "", "b"].map(|name| labels.application(name).0).into();
        assert_eq!(ids, [1, 2, OTHER, 1, OTHER, OTHER, 2]);
        assert_eq!(labels.applications(), ["other", "a", "b"]);
        assert_eq!(labels.applications_folded(), 1);
        assert_eq!(
            [0, 1, 2, 9].map(|id| labels.application_name(ApplicationId(id))),
            ["other", "a", "b", "other"]
        );
    }

    #[test]
    fn equal_types_of_two_protocols_are_two_series() {
        let mut labels = LabelTable::new(0);
        let (_, first) = labels.add_protocol("one", &["offer".to_owned()]);
        let (_, second) = labels.add_protocol("two", &["offer".to_owned()]);
        assert_ne!(first, second);
        assert_eq!(labels.types()[second[0].0 as usize], ("two".to_owned(), "offer".to_owned()));
    }
}
