//! Numbers of the host in JSON. JSON has no infinity, so an infinite value is written as the text `Infinity`
//! or `-Infinity`. A null would mean that there is no value.

use serde::Serializer;

/// Writes a number, or null for `None`.
pub(crate) fn number<S: Serializer>(
    value: &(impl Into<Option<f64>> + Copy),
    serializer: S,
) -> Result<S::Ok, S::Error> {
    match (*value).into() {
        Some(value) if value == f64::INFINITY => serializer.serialize_str("Infinity"),
        Some(value) if value == f64::NEG_INFINITY => serializer.serialize_str("-Infinity"),
        Some(value) => serializer.serialize_f64(value),
        None => serializer.serialize_none(),
    }
}

/// The JSON schema of what [`number`] writes.
#[cfg(feature = "schema")]
pub(crate) struct Number;

#[cfg(feature = "schema")]
impl schemars::JsonSchema for Number {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Number".into()
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({
            "anyOf": [{"type": "number"}, {"enum": ["Infinity", "-Infinity"]}, {"type": "null"}]
        })
    }
}
