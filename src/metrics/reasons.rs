//! Counts by reason. Every reason of a list is present, with 0 if it has not occurred, so that the path to
//! its count always exists.

use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};
use serde::ser::{Serialize, Serializer};
use std::borrow::Cow;

/// A count for each reason of a closed list, in the order of the list.
///
/// In JSON this is an object with one member per reason, such as `{"ring_full": 3, "closed": 0}`. A reason
/// that has not occurred has the count 0.
///
/// ```
/// use corelane::{config::Config, router::Builder};
///
/// let mut config = Config::default();
/// config.router.workers = Some(1);
/// let router = Builder::new(config).start()?;
/// let refusals = router.stats().accounting.refusals;
/// assert_eq!(refusals.get("ring_full"), 0);
/// assert!(refusals.counted().is_empty());
/// assert_eq!(format!("{refusals:?}"), "{}"); // `Debug` shows only the reasons that have occurred.
/// # Ok::<(), corelane::error::Error>(())
/// ```
#[derive(Clone, Default, PartialEq, Eq)]
pub struct ByReason(Vec<(Cow<'static, str>, u64)>);

impl ByReason {
    pub(crate) fn new(counts: impl IntoIterator<Item = (&'static str, u64)>) -> Self {
        Self(counts.into_iter().map(|(reason, count)| (Cow::Borrowed(reason), count)).collect())
    }

    /// The count of the reason with this label. 0 if the list has no such reason.
    pub fn get(&self, reason: &str) -> u64 {
        self.iter().find(|(label, _)| *label == reason).map_or(0, |(_, count)| count)
    }

    /// All reasons and their counts.
    pub fn iter(&self) -> impl Iterator<Item = (&str, u64)> {
        self.0.iter().map(|(reason, count)| (&**reason, *count))
    }

    /// The reasons that have occurred, and their counts.
    pub fn counted(&self) -> Vec<(&str, u64)> {
        self.iter().filter(|(_, count)| *count > 0).collect()
    }
}

impl std::fmt::Debug for ByReason {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_map().entries(self.counted()).finish()
    }
}

impl Serialize for ByReason {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.iter())
    }
}

/// Accepts any reasons, so that a program reads the reports of a newer version of corelane.
impl<'de> Deserialize<'de> for ByReason {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Counts;

        impl<'de> Visitor<'de> for Counts {
            type Value = ByReason;

            fn expecting(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                formatter.write_str("an object with a count for each reason")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<ByReason, A::Error> {
                let mut counts = Vec::new();
                while let Some((reason, count)) = map.next_entry::<String, u64>()? {
                    counts.push((Cow::Owned(reason), count));
                }
                Ok(ByReason(counts))
            }
        }

        deserializer.deserialize_map(Counts)
    }
}

/// JSON schemas of the counts of each list of reasons.
#[cfg(feature = "schema")]
pub(super) mod schemas {
    use super::schema_of;
    use crate::error::{Failed, RoomRefused, SubmitError, TakenOver, Unacknowledged, Undeliverable};
    use schemars::{Schema, SchemaGenerator};

    macro_rules! schemas {
        ($($name:ident $reason:ident,)+) => {
            $(pub(in crate::metrics) fn $name(_: &mut SchemaGenerator) -> Schema {
                schema_of($reason::ALL.iter().map(|reason| reason.label()))
            })+
        };
    }

    /// Like [`failed`], or null.
    pub(in crate::metrics) fn optional_failed(generator: &mut SchemaGenerator) -> Schema {
        schemars::json_schema!({"anyOf": [failed(generator), {"type": "null"}]})
    }

    schemas! {
        failed Failed,
        refused SubmitError,
        room_refused RoomRefused,
        taken_over TakenOver,
        unacknowledged Unacknowledged,
        undeliverable Undeliverable,
    }
}

/// JSON schema of a [`ByReason`]: an object with these members.
#[cfg(feature = "schema")]
fn schema_of(reasons: impl Iterator<Item = &'static str>) -> schemars::Schema {
    let reasons: Vec<_> = reasons.collect();
    let count = || serde_json::json!({"type": "integer", "format": "uint64", "minimum": 0});
    let members: serde_json::Map<_, _> = reasons.iter().map(|name| ((*name).to_owned(), count())).collect();
    schemars::json_schema!({"type": "object", "properties": members, "required": reasons})
}
