//! Subjects, keys and values in NATS. Names are encoded: they may contain anything, and subjects may not.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::hmac;
use serde::{Deserialize, Serialize};

use super::directory::{Mac, MachineInfo, Owner};
use crate::sync::mutant;

/// What a key of the bucket is about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Key {
    /// A name.
    Name(String),
    /// The lease of an incarnation.
    Lease(u64),
    /// Whether an incarnation has members in a room.
    Room(String, u64),
}

impl Key {
    /// The key's text.
    pub fn text(&self) -> String {
        match self {
            Self::Name(name) => name_key(name),
            Self::Lease(incarnation) => format!("m.{incarnation:016x}"),
            Self::Room(room, incarnation) => format!("r.{}.{incarnation:016x}", URL_SAFE_NO_PAD.encode(room)),
        }
    }

    /// Reads a key. None: somebody else's.
    pub fn read(text: &str) -> Option<Self> {
        let (kind, rest) = text.split_once('.')?;
        match kind {
            "n" => decode(rest).map(Self::Name),
            "m" => hexadecimal(rest).map(Self::Lease),
            "r" => {
                let (room, incarnation) = rest.split_once('.')?;
                Some(Self::Room(decode(room)?, hexadecimal(incarnation)?))
            }
            _ => None,
        }
    }
}

/// The key of a name.
pub fn name_key(name: &str) -> String {
    if mutant("cluster-name-raw") {
        return format!("n.{name}");
    }
    format!("n.{}", URL_SAFE_NO_PAD.encode(name))
}

fn decode(text: &str) -> Option<String> {
    String::from_utf8(URL_SAFE_NO_PAD.decode(text).ok()?).ok()
}

fn hexadecimal(text: &str) -> Option<u64> {
    (text.len() == 16).then(|| u64::from_str_radix(text, 16).ok()).flatten()
}

/// The value of a name's key.
pub fn owner_value(owner: &Owner) -> String {
    format!("{:016x} {:016x} {}", owner.incarnation, owner.claim, URL_SAFE_NO_PAD.encode(owner.mac))
}

/// Reads the value of a name's key.
pub fn read_owner(value: &[u8]) -> Option<Owner> {
    let mut parts = std::str::from_utf8(value).ok()?.split(' ');
    let (incarnation, claim) = (hexadecimal(parts.next()?)?, hexadecimal(parts.next()?)?);
    let mac = URL_SAFE_NO_PAD.decode(parts.next()?).ok()?.try_into().ok()?;
    parts.next().is_none().then_some(Owner { incarnation, claim, mac })
}

#[derive(Serialize, Deserialize)]
struct LeaseValue {
    machine: String,
    draining: bool,
}

/// The value of a lease.
pub fn lease_value(info: &MachineInfo) -> String {
    let value = LeaseValue { machine: info.machine.clone(), draining: info.is_draining };
    serde_json::to_string(&value).unwrap_or_default()
}

/// Reads the value of a lease.
pub fn read_lease(value: &[u8]) -> Option<MachineInfo> {
    let value: LeaseValue = serde_json::from_slice(value).ok()?;
    is_label(&value.machine).then_some(MachineInfo { machine: value.machine, is_draining: value.draining })
}

/// The subject of an incarnation's frames. Permissions can be given per cluster and per machine.
pub fn subject(cluster: &str, machine: &str, incarnation: u64) -> String {
    let incarnation = if mutant("cluster-subject-shared") { 0 } else { incarnation };
    format!("corelane.{cluster}.m.{machine}.{incarnation:016x}")
}

/// The name of the cluster's bucket.
pub fn bucket(cluster: &str) -> String {
    format!("corelane_{cluster}")
}

/// Whether a text may be the name of a cluster or a machine: it is part of subjects.
pub fn is_label(text: &str) -> bool {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
    (1..=64).contains(&text.len()) && text.bytes().all(is_plain)
}

/// The digests of tokens: who reads the bucket does not learn them.
pub struct Macs(hmac::Key);

impl std::fmt::Debug for Macs {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("Macs")
    }
}

impl Macs {
    /// With the cluster's secret.
    pub fn new(secret: &[u8]) -> Self {
        Self(hmac::Key::new(hmac::HMAC_SHA256, secret))
    }

    /// Of a name's token.
    pub fn of(&self, name: &str, token: &str) -> Mac {
        let mut context = hmac::Context::with_key(&self.0);
        // The length keeps the two apart.
        context.update(&(name.len() as u64).to_le_bytes());
        context.update(name.as_bytes());
        context.update(token.as_bytes());
        let tag = context.sign();
        let mut mac = Mac::default();
        mac.iter_mut().zip(tag.as_ref()).for_each(|(to, from)| *to = *from);
        mac
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_and_values_are_read_as_written() {
        for key in
            [Key::Name("a.b *>\u{e9}".to_owned()), Key::Lease(7), Key::Room("x y".to_owned(), u64::MAX)]
        {
            let text = key.text();
            assert!(text.bytes().all(|byte| is_label(&(byte as char).to_string()) || byte == b'.'), "{text}");
            assert_eq!(Key::read(&text), Some(key));
        }
        for other in ["", "n", "n.%", "m.7", "r.eA", "z.eA"] {
            assert_eq!(Key::read(other), None);
        }
        let owner = Owner { incarnation: 5, claim: 9, mac: [7; 16] };
        assert_eq!(read_owner(owner_value(&owner).as_bytes()), Some(owner));
        assert_eq!(read_owner(b"5 9 x"), None);
        let info = MachineInfo { machine: "a".to_owned(), is_draining: true };
        assert_eq!(read_lease(lease_value(&info).as_bytes()), Some(info));
        assert_eq!(read_lease(br#"{"machine":"a.>","draining":false}"#), None);
    }

    #[test]
    fn a_digest_depends_on_secret_name_and_token() {
        let macs = Macs::new(b"secret");
        let one = macs.of("ann", "token");
        assert_eq!(one, macs.of("ann", "token"));
        for other in [macs.of("ann", "other"), macs.of("annt", "oken"), Macs::new(b"x").of("ann", "token")] {
            assert_ne!(one, other);
        }
    }
}
