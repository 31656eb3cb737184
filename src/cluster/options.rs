//! [`ClusterOptions`].

use std::path::PathBuf;

use super::keys;
use super::link::MAX_WINDOW;
use crate::router::GatewayOptions;

/// How a machine takes part in a cluster.
#[derive(Clone)]
pub struct ClusterOptions {
    /// The addresses of NATS servers, separated by commas.
    pub servers: String,
    /// The cluster's name: 1 to 64 letters, digits, `-` or `_`.
    pub cluster: String,
    /// This machine's name, of the same form. Give each machine its own.
    pub machine: String,
    /// A file with credentials of NATS (JWT and seed).
    pub credentials: Option<PathBuf>,
    /// User and password at NATS.
    pub user: Option<(String, String)>,
    /// The certificates of authorities that the NATS servers' certificates are checked with. With it, TLS is required.
    pub tls_ca: Option<PathBuf>,
    /// This machine's certificate and key.
    pub tls_client: Option<(PathBuf, PathBuf)>,
    /// The secret with which clients' tokens are hidden in the bucket. The same on all machines. Empty: the cluster's
    /// name, which hides nothing from who can read the bucket and guess tokens.
    pub secret: Vec<u8>,
    /// How many NATS servers keep the bucket, 1 to 5. 0: three in a cluster of servers, one otherwise.
    pub replicas: usize,
    /// Names on other machines, at most: 1 to 100,000,000. A sixteenth more has room for names beyond these that are asked for.
    pub names: usize,
    /// Rooms with members on machines, at most: 1 to 10,000,000.
    pub rooms: usize,
    /// Messages that a worker may have under way on one link: 16 or more, and 1,048,576 at most for all workers of the router
    /// together.
    pub link_messages: u32,
    /// The bytes of their names and payloads: 65,536 to 268,435,456. A worker reserves memory for four times as many messages
    /// and bytes when it sends its first message to another machine.
    pub link_bytes: u32,
}

impl ClusterOptions {
    /// The options of the router's gateway.
    ///
    /// # Errors
    /// A text that says which option makes no sense for a router with that many workers, and what to change.
    pub(super) fn gateway(&self, workers: usize) -> Result<GatewayOptions, String> {
        for (what, text) in [("cluster", &self.cluster), ("machine", &self.machine)] {
            if !keys::is_label(text) {
                return Err(format!("{what} {text:?}: give it 1 to 64 letters, digits, - or _"));
            }
        }
        // A sender has a sixteenth of a link. The other machine takes no more at once than MAX_WINDOW.
        let most = (MAX_WINDOW / workers.max(1) as u64).max(16);
        let numbers = [
            ("replicas", self.replicas as u64, 0, 5),
            ("names", self.names as u64, 1, 100_000_000),
            ("rooms", self.rooms as u64, 1, 10_000_000),
            ("link_messages", self.link_messages.into(), 16, most),
            ("link_bytes", self.link_bytes.into(), 64 << 10, 256 << 20),
        ];
        for (what, number, least, most) in numbers {
            if number < least || number > most {
                let of = if what == "link_messages" {
                    format!(" with {workers} workers ({MAX_WINDOW} for all together)")
                } else {
                    String::new()
                };
                return Err(format!("{what} {number}: give it {least} to {most}{of}"));
            }
        }
        let Self { names, rooms, link_messages, link_bytes, .. } = *self;
        Ok(GatewayOptions { names, rooms, link_messages, link_bytes })
    }
}

impl Default for ClusterOptions {
    fn default() -> Self {
        let gateway = GatewayOptions::default();
        Self {
            servers: "nats://127.0.0.1:4222".to_owned(),
            cluster: "corelane".to_owned(),
            machine: String::new(),
            credentials: None,
            user: None,
            tls_ca: None,
            tls_client: None,
            secret: Vec::new(),
            replicas: 0,
            names: gateway.names,
            rooms: gateway.rooms,
            link_messages: gateway.link_messages,
            link_bytes: gateway.link_bytes,
        }
    }
}

impl std::fmt::Debug for ClusterOptions {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // Without the secrets.
        let Self { servers, cluster, machine, .. } = self;
        write!(
            formatter,
            "ClusterOptions({cluster}, {machine}, {})",
            servers.split('@').next_back().unwrap_or("")
        )
    }
}

#[cfg(all(test, not(corelane_loom)))]
mod tests {
    use super::*;

    fn refused(workers: usize, change: impl FnOnce(&mut ClusterOptions)) -> Option<String> {
        let mut options = ClusterOptions { machine: "a".to_owned(), ..ClusterOptions::default() };
        change(&mut options);
        options.gateway(workers).err()
    }

    #[test]
    fn options_have_ranges_and_a_refusal_says_what_to_change() {
        assert_eq!(refused(1, |_| {}), None);
        assert_eq!(refused(64, |_| {}), None, "the defaults fit the most workers");
        let text = |change: fn(&mut ClusterOptions)| refused(8, change).unwrap_or_default();
        assert_eq!(
            text(|options| options.machine.clear()),
            "machine \"\": give it 1 to 64 letters, digits, - or _"
        );
        assert_eq!(text(|options| options.replicas = 6), "replicas 6: give it 0 to 5");
        assert_eq!(text(|options| options.names = 0), "names 0: give it 1 to 100000000");
        assert_eq!(text(|options| options.rooms = 0), "rooms 0: give it 1 to 10000000");
        let link_messages = "give it 16 to 131072 with 8 workers (1048576 for all together)";
        assert_eq!(text(|options| options.link_messages = 0), format!("link_messages 0: {link_messages}"));
        assert_eq!(
            text(|options| options.link_messages = u32::MAX),
            format!("link_messages 4294967295: {link_messages}")
        );
        assert!(text(|options| options.link_messages = 131_073).starts_with("link_messages 131073: "));
        assert_eq!(refused(8, |options| options.link_messages = 131_072), None);
        assert_eq!(text(|options| options.link_bytes = 1), "link_bytes 1: give it 65536 to 268435456");
    }
}
