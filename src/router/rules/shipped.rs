//! The protocols that come with corelane: the files in `protocols/`, embedded at build time. They are read by the same
//! parser as a host's own description.
//!
//! Used by `router`: `Builder::new` takes `generic` and `peerjs`. Hosts add the other protocols that they need,
//! because the types of each cost histograms.

use super::ProtocolRules;

macro_rules! description {
    ($name:ident) => {
        include_str!(concat!("../../../protocols/", stringify!($name), ".json"))
    };
}

macro_rules! shipped {
    ($($name:ident)+) => {
        impl ProtocolRules {
            /// The name and the JSON description of each protocol that comes with corelane.
            pub const SHIPPED: &[(&str, &str)] = &[$((stringify!($name), description!($name)),)+];

            $(
                #[doc = concat!("The shipped protocol `", stringify!($name), "`:\n\n```json")]
                #[doc = include_str!(concat!("../../../protocols/", stringify!($name), ".json"))]
                #[doc = "```"]
                pub fn $name() -> Self {
                    Self::embedded(description!($name))
                }
            )+
        }
    };
}

shipped! { generic peerjs janus gstreamer selkies json_rpc protoo nextcloud_talk }

impl ProtocolRules {
    /// A shipped protocol by its name; [`SHIPPED`](Self::SHIPPED) lists the names.
    pub fn by_name(name: &str) -> Option<Self> {
        Self::SHIPPED.iter().find(|(one, _)| *one == name).map(|(_, text)| Self::embedded(text))
    }

    fn embedded(text: &str) -> Self {
        Self::parse(text).unwrap_or_else(|error| {
            unreachable!("a unit test parses every embedded description, and this one is wrong: {error}")
        })
    }
}

#[cfg(all(test, not(corelane_loom)))]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn every_file_is_embedded_under_the_name_that_it_describes() {
        for (name, text) in ProtocolRules::SHIPPED {
            assert_eq!(ProtocolRules::parse(text).map(|rules| rules.name().to_owned()).as_deref(), Ok(*name));
        }
        let folder = std::fs::read_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/protocols")).unwrap();
        let files: BTreeSet<_> =
            folder.map(|file| file.unwrap().file_name().into_string().unwrap()).collect();
        let embedded = ProtocolRules::SHIPPED.iter().map(|(name, _)| format!("{name}.json"));
        assert_eq!(files, embedded.collect());
    }
}
