//! Compares the reader with the plain reader. Used by the differential test and by the fuzz target.

use crate::oracle::{Rules, members};
use crate::plain;
use corelane::envelope::{Envelope, Forward, MAX_FIELD_BYTES, ReadError, Text, read};

/// A protocol for both readers.
pub struct Both {
    pub rules: Rules,
    plain: plain::Protocol,
}

impl Both {
    pub fn all() -> Vec<Self> {
        Rules::all().into_iter().map(Self::new).collect()
    }

    fn new(rules: Rules) -> Self {
        let forward = rules.only.map_or(Forward::All, Forward::Only);
        let plain = plain::Protocol::new(&rules.fields, forward, rules.words);
        Self { rules, plain }
    }

    /// Reads and relays `message` with both readers. Panics unless the verdict, the fields and the relayed message are
    /// the same. Returns the verdict.
    pub fn compare(&self, message: &[u8], sender: &str) -> Result<(), ReadError> {
        let shown = || String::from_utf8_lossy(message);
        match (read(&self.rules.protocol, message), plain::read(&self.plain, message)) {
            (Err(ours), Err(plain)) => {
                assert_eq!(ours, plain, "{}", shown());
                Err(ours)
            }
            (Ok(ours), Ok(plain)) => {
                assert_eq!(fields(&ours), plain_fields(&plain), "{}", shown());
                assert_eq!(ours.transaction_json(), plain.transaction_json(), "{}", shown());
                let (ours, plain) = (relayed(&ours, sender), relayed_plainly(&plain, sender));
                self.compare_relayed(&ours, &plain);
                Ok(())
            }
            (ours, plain) => panic!("{:?}, not {:?}: {}", ours.err(), plain.err(), shown()),
        }
    }
}

impl Both {
    /// The members must be the same, with their values as the client wrote them. Listed members are relayed in the
    /// client's order, by the plain reader in the order of the list.
    fn compare_relayed(&self, ours: &str, plain: &str) {
        let (Some(mut our_members), Some(mut plain_members)) = (members(ours), members(plain)) else {
            return assert_eq!(ours, plain, "a command");
        };
        if self.rules.only.is_some() {
            our_members.sort();
            plain_members.sort();
        }
        assert_eq!(our_members, plain_members, "{ours}\n{plain}");
    }
}

type Found = [Option<(String, bool)>; 5];

fn fields(envelope: &Envelope<'_>) -> Found {
    let text = |text: Text<'_>| {
        let mut buffer = [0; MAX_FIELD_BYTES];
        let decoded = text.decode(&mut buffer).map_or_else(|| text.to_string(), str::to_owned);
        assert!(text.eq_str(&decoded));
        (decoded, text.is_escaped())
    };
    [
        envelope.message_type(),
        envelope.recipient(),
        envelope.room(),
        envelope.transaction(),
        envelope.claimed_sender(),
    ]
    .map(|found| found.map(text))
}

fn plain_fields(envelope: &plain::Envelope<'_>) -> Found {
    let text = |text: plain::Text<'_>| (text.to_string(), text.is_escaped());
    [
        envelope.message_type(),
        envelope.recipient(),
        envelope.room(),
        envelope.transaction(),
        envelope.claimed_sender(),
    ]
    .map(|found| found.map(text))
}

fn relayed(envelope: &Envelope<'_>, sender: &str) -> String {
    let mut out = vec![0; envelope.relayed_len(sender)];
    assert_eq!(envelope.write_relayed(sender, &mut out), out.len());
    String::from_utf8(out).unwrap()
}

fn relayed_plainly(envelope: &plain::Envelope<'_>, sender: &str) -> String {
    let mut out = vec![0; envelope.relayed_len(sender)];
    assert_eq!(envelope.write_relayed(sender, &mut out), out.len());
    String::from_utf8(out).unwrap()
}
