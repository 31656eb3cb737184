//! Sections in formats such as TOML and JSON. The keys have the same names as in the flat text.

use super::text::refuse_unknown;
use super::{
    AllowedValues, Config, Credit, Holds, Key, Limits, MonitorConfig, Rooms, RouterConfig, SECTIONS,
    Thresholds, preset,
};
use crate::error::{ConfigError, ConfigProblem};
use crate::nearest::nearest;
use serde::de::{DeserializeSeed, Error, MapAccess, Visitor};
use serde::ser::SerializeMap;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::fmt;

/// Implements serde for the sections. `Config` does not compile without one of them.
macro_rules! sections {
    ($($section:ident: $Section:ident,)+) => { $(
        impl Serialize for $Section {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                let config = Config { $section: self.clone(), ..Config::default() };
                write_section(stringify!($section), &config, serializer)
            }
        }

        /// A key that is not there has its default.
        impl<'de> Deserialize<'de> for $Section {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                read_section(stringify!($section), deserializer).map(|config| config.$section)
            }
        }
    )+ };
}

sections! {
    router: RouterConfig,
    limits: Limits,
    credit: Credit,
    holds: Holds,
    rooms: Rooms,
    monitor: MonitorConfig,
    thresholds: Thresholds,
}

fn write_section<S: Serializer>(section: &str, config: &Config, serializer: S) -> Result<S::Ok, S::Error> {
    let mut map = serializer.serialize_map(None)?;
    for key in Key::ALL.iter().copied().filter(|key| key.row().section == section) {
        config.exact(key).map_err(serde::ser::Error::custom)?;
        map.serialize_entry(key.row().key, &Written { key, number: config.get(key) })?;
    }
    map.end()
}

/// A value as it is serialized: a switch as a boolean, a choice as its word.
struct Written {
    key: Key,
    number: u64,
}

impl Serialize for Written {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let row = self.key.row();
        match row.values {
            AllowedValues::Choice(["off", "on"]) => serializer.serialize_bool(self.number == 1),
            AllowedValues::Choice(_) => serializer.serialize_str(&row.written(self.number)),
            AllowedValues::Fraction => serializer.serialize_f64(f64::from_bits(self.number)),
            AllowedValues::Number { .. } | AllowedValues::PowerOfTwo { .. } => {
                serializer.serialize_u64(self.number)
            }
        }
    }
}

/// A key that is not there has its default.
impl<'de> Deserialize<'de> for Config {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let mut config = Self::default();
        DeserializeSeed::deserialize(&mut config, deserializer)?;
        Ok(config)
    }
}

/// Reads values into a configuration. A key that is not there keeps its value. If the input is wrong, nothing has
/// changed.
impl<'de> DeserializeSeed<'de> for &mut Config {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        let read = deserializer.deserialize_map(Sections)?;
        if let Some(name) = read.preset {
            self.set_preset(&name).map_err(Error::custom)?;
        }
        read.values.into_iter().for_each(|(key, number)| self.put(key, number));
        Ok(())
    }
}

/// The default configuration with the values of one section.
fn read_section<'de, D: Deserializer<'de>>(
    section: &'static str,
    deserializer: D,
) -> Result<Config, D::Error> {
    let mut config = Config::default();
    let values = Keys { section }.deserialize(deserializer)?;
    values.into_iter().for_each(|(key, number)| config.put(key, number));
    Ok(config)
}

/// What an input says.
#[derive(Default)]
struct Read {
    preset: Option<String>,
    values: Vec<(Key, u64)>,
}

struct Sections;

impl<'de> Visitor<'de> for Sections {
    type Value = Read;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "the sections {}", SECTIONS.join(", "))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Read, A::Error> {
        let (mut read, mut seen) = (Read::default(), Vec::new());
        while let Some(name) = map.next_key_seed(Name(section_named))? {
            once(&mut seen, name)?;
            if name == preset::KEY {
                let name: String = map.next_value()?;
                preset::named(&name).map_err(A::Error::custom)?;
                read.preset = Some(name);
            } else {
                read.values.extend(map.next_value_seed(Keys { section: name })?);
            }
        }
        Ok(read)
    }
}

/// A section, or `preset`.
fn section_named(name: &str) -> Result<&'static str, ConfigError> {
    let mut known = SECTIONS.iter().copied().chain([preset::KEY]);
    known.find(|one| *one == name).ok_or_else(|| {
        let place = Key::ALL.iter().find(|key| key.row().key == name);
        let allowed = match place {
            Some(key) => format!("write it in the section [{}]", key.row().section),
            None => format!(
                "nearest: {}",
                nearest(name, SECTIONS.iter().copied().chain([preset::KEY])).join(", ")
            ),
        };
        ConfigError::new(ConfigProblem::UnknownKey, name, "", allowed)
    })
}

fn once<K: Copy + PartialEq<K> + fmt::Display, E: Error>(seen: &mut Vec<K>, key: K) -> Result<(), E> {
    if seen.contains(&key) {
        let error = ConfigError::new(ConfigProblem::RepeatedKey, &key.to_string(), "", "remove one of them");
        return Err(E::custom(error));
    }
    seen.push(key);
    Ok(())
}

/// The keys of one section.
struct Keys {
    section: &'static str,
}

impl Keys {
    fn find(&self, name: &str) -> Result<Key, ConfigError> {
        match Key::ALL.iter().copied().find(|key| key.row().key == name) {
            Some(key) if key.row().section == self.section => Ok(key),
            Some(key) => {
                let allowed = format!("write it in the section [{}]", key.row().section);
                let name = format!("{name} in [{}]", self.section);
                Err(ConfigError::new(ConfigProblem::UnknownKey, &name, "", allowed))
            }
            None => Err(refuse_unknown(name)),
        }
    }
}

impl<'de> DeserializeSeed<'de> for Keys {
    type Value = Vec<(Key, u64)>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for Keys {
    type Value = Vec<(Key, u64)>;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "the keys of the section [{}]", self.section)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let (mut values, mut seen) = (Vec::new(), Vec::new());
        while let Some(key) = map.next_key_seed(Name(|name: &str| self.find(name)))? {
            once(&mut seen, key.row().key)?;
            values.push((key, map.next_value_seed(Number(key))?));
        }
        Ok(values)
    }
}

/// Reads a name and looks it up. A format that knows places reports the name's own.
struct Name<F>(F);

impl<'de, T, F: FnOnce(&str) -> Result<T, ConfigError>> DeserializeSeed<'de> for Name<F> {
    type Value = T;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<T, D::Error> {
        deserializer.deserialize_identifier(self)
    }
}

impl<T, F: FnOnce(&str) -> Result<T, ConfigError>> Visitor<'_> for Name<F> {
    type Value = T;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a name")
    }

    fn visit_str<E: Error>(self, name: &str) -> Result<T, E> {
        self.0(name).map_err(E::custom)
    }
}

/// Reads the value of a key.
struct Number(Key);

impl<'de> DeserializeSeed<'de> for Number {
    type Value = u64;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<u64, D::Error> {
        deserializer.deserialize_any(self)
    }
}

/// Every form of a value is read as its text, so that there is one check.
impl Visitor<'_> for Number {
    type Value = u64;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "a value of {}; allowed: {}", self.0.row().key, self.0.row().allowed())
    }

    fn visit_bool<E: Error>(self, is_on: bool) -> Result<u64, E> {
        self.visit_str(if is_on { "on" } else { "off" })
    }

    fn visit_i64<E: Error>(self, value: i64) -> Result<u64, E> {
        self.visit_str(&value.to_string())
    }

    fn visit_u64<E: Error>(self, value: u64) -> Result<u64, E> {
        self.visit_str(&value.to_string())
    }

    fn visit_f64<E: Error>(self, value: f64) -> Result<u64, E> {
        self.visit_str(&value.to_string())
    }

    fn visit_str<E: Error>(self, value: &str) -> Result<u64, E> {
        self.0.row().read(value).map_err(E::custom)
    }
}
