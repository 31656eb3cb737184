//! The admission of a client. Its query is checked and its id entered before the upgrade to a WebSocket, so that a server
//! that cannot take it answers with a status of HTTP. It becomes a client of the router after the upgrade.

use crate::connection::Connection;
use crate::counts::Refusal;
use crate::http::{self, CONNECTION_LIMIT, INVALID_KEY, MISSING_PARAMETERS};
use crate::membership::Claimed;
use crate::network::Network;
use crate::queue::Credit;
use crate::registry::{Entered, Owner};
use corelane::clients::{KeptFigures, MAX_NAME_BYTES};
use corelane::error::ConnectError;
use hyper::body::Bytes;
use std::net::IpAddr;
use std::rc::Rc;
use std::sync::atomic::Ordering::Relaxed;

/// The query of a WebSocket's URL.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Query {
    pub(crate) key: String,
    pub(crate) id: String,
    pub(crate) token: String,
}

/// Why a client is not admitted.
#[derive(Debug)]
pub(crate) enum Refused {
    /// The answer to the request, with status 503: another server may admit the client.
    Unavailable(&'static str),
    /// The only message on the WebSocket.
    Text(Bytes),
}

impl Refused {
    pub(crate) fn into_text(self) -> Bytes {
        match self {
            Self::Unavailable(text) => http::error(text),
            Self::Text(text) => text,
        }
    }
}

/// A client that has its id and is not yet connected to the router. Gives the id back when it is dropped.
pub(crate) struct Entering {
    network: Rc<Network>,
    connection: Rc<Connection>,
    /// The socket of the same client that has to release the id first.
    after: Option<Owner>,
    /// The client's token, and whether the id is claimed, in a cluster.
    token: String,
    is_claimed: bool,
    is_connected: bool,
}

impl Drop for Entering {
    fn drop(&mut self) {
        if !self.is_connected {
            // The id no longer belongs to the predecessor, so its socket must end too.
            if let Some(owner) = self.after.take() {
                drop(self.network.ask_to_release(owner));
            }
            self.network.forget(&self.connection);
        }
    }
}

/// Checks a query, and enters its id.
pub(crate) async fn admit(
    network: &Rc<Network>,
    query: &Query,
    address: IpAddr,
) -> Result<Entering, Refused> {
    let Query { key, id, token } = query;
    let refuse = |reason, text| {
        network.service.refuse(reason, address, id);
        Err(Refused::Text(text))
    };
    if key.is_empty() || id.is_empty() || token.is_empty() {
        return refuse(Refusal::MissingParameters, http::error(MISSING_PARAMETERS));
    }
    if *key != network.service.settings.key {
        return refuse(Refusal::WrongKey, http::error(INVALID_KEY));
    }
    if id.len() > MAX_NAME_BYTES {
        let text = format!("The id is longer than {MAX_NAME_BYTES} bytes");
        return refuse(Refusal::IdTooLong, http::error(&text));
    }
    if network.service.draining.load(Relaxed) {
        network.service.refuse(Refusal::Draining, address, id);
        return Err(Refused::Unavailable(http::DRAINS));
    }
    let connection = network.add(id);
    let entered = network.service.registry.enter(id, token, connection.owner, address);
    if matches!(entered, Entered::New { again: true } | Entered::After(_) | Entered::Taken) {
        network.service.monitor.record_reconnect();
    }
    let mut entering = Entering {
        network: Rc::clone(network),
        connection,
        after: None,
        token: token.clone(),
        is_claimed: false,
        is_connected: false,
    };
    match entered {
        Entered::New { .. } => entering.claim(address).await?,
        // The claim comes from the predecessor.
        Entered::After(owner) => entering.after = Some(owner),
        Entered::Full => return refuse(Refusal::ServerFull, http::error(CONNECTION_LIMIT)),
        Entered::Taken => return refuse(Refusal::IdTaken, Bytes::from_static(http::ID_TAKEN)),
    }
    Ok(entering)
}

impl Entering {
    /// Claims the id for this machine, if it is one of several.
    async fn claim(&mut self, address: IpAddr) -> Result<(), Refused> {
        let service = &self.network.service;
        let Some(membership) = service.membership.as_ref().filter(|_| !self.is_claimed) else {
            return Ok(());
        };
        let id = &self.connection.id;
        match membership.claim(id, &self.token).await {
            Claimed::Owned(claim) => self.connection.take_claim(claim),
            Claimed::Local => {}
            Claimed::Taken => {
                service.monitor.record_reconnect();
                service.refuse(Refusal::IdTaken, address, id);
                return Err(Refused::Text(Bytes::from_static(http::ID_TAKEN)));
            }
            Claimed::Refused(reason, text) => {
                service.refuse(reason, address, id);
                return Err(Refused::Unavailable(text));
            }
        }
        self.is_claimed = true;
        Ok(())
    }

    /// Connects the client to the router once its predecessor, if there is one, has released the id. Queues OPEN before
    /// any other frame.
    pub(crate) async fn connect(mut self, address: IpAddr) -> Result<Rc<Connection>, Refused> {
        let mut figures = KeptFigures::default();
        // The socket connects even if it already has a successor itself, so that the messages that its client has
        // sent are handled.
        if let Some(owner) = self.after.take() {
            let rest = self.network.take_over(owner).await;
            // A claim that the predecessor has lost, here or on the way, is of no use: this client claims the id itself.
            if let Some(claim) = rest.claim.filter(|claim| claim.lost().is_none()) {
                self.is_claimed = true;
                self.connection.take_claim(claim);
            }
            self.claim(address).await?;
            self.greet();
            self.connection.inherit(&rest.outgoing);
            figures = rest.figures;
        } else {
            self.greet();
        }
        match self.network.connect(&self.connection, figures) {
            Ok(()) => {
                self.is_connected = true;
                Ok(Rc::clone(&self.connection))
            }
            Err(error) => {
                self.network.service.refuse(Refusal::Router, address, &self.connection.id);
                Err(Refused::Text(match error {
                    ConnectError::TooManyClients(_) => http::error(CONNECTION_LIMIT),
                    error => http::error(&error.to_string()),
                }))
            }
        }
    }

    fn greet(&self) {
        self.connection.push(http::OPEN, Credit::default());
    }
}
