//! [`ClusterOptions`].

use std::path::PathBuf;

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
    /// How many NATS servers keep the bucket. 0: three in a cluster of servers, one otherwise.
    pub replicas: usize,
    /// Names on other machines, at most.
    pub names: usize,
    /// Rooms with members on machines, at most.
    pub rooms: usize,
    /// Messages that a worker may have under way on one link.
    pub link_messages: u32,
    /// The bytes of their names and payloads.
    pub link_bytes: u32,
}

impl Default for ClusterOptions {
    fn default() -> Self {
        let gateway = crate::router::GatewayOptions::default();
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
