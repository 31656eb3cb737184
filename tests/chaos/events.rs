//! Checks each event against the ledger: its recipient, whether it may still be delivered, its order, how often it is
//! delivered, and its bytes.

use crate::ledger::{Ledger, Peer, Sent, To, emission_bytes, filling, name_of, send_bytes};
use crate::reach::Reached;
use corelane::error::{Failed, Loss};
use corelane::router::{DeliveredMessage, Event, Recipient};

impl Ledger {
    /// Checks one event of a port.
    pub fn event(&mut self, port: u64, event: &Event<'_>, reached: &mut Reached) {
        self.events += 1;
        self.now += 1;
        match *event {
            Event::Message(ref message) => {
                self.peer(port, message.client.0, message.token);
                self.message(message, reached);
            }
            Event::Expired { client, token, name, correlation } => {
                let peer = self.peer(port, client.0, token);
                peer.handed.0 += 1;
                peer.handed.1 += name.len() as u32;
                self.expired(client.0, name, correlation, reached);
            }
            Event::SendFailed { to, correlation, .. } => {
                let Recipient::Client(to) = to else { panic!("{to:?}") };
                assert!(self.peers.contains_key(&to.0), "sent to a client that never connected");
                let sent = &mut self.sent[correlation as usize];
                assert_eq!((sent.from, sent.port), (0, port), "a notice of another's send");
                assert!(
                    !sent.dead && !std::mem::replace(&mut sent.told, true),
                    "{correlation} is told twice"
                );
                assert!(sent.reached.is_empty(), "{correlation} was delivered, and has failed");
                reached.failed_sends += 1;
            }
            Event::Undelivered { client, token, recipient, correlation, reason } => {
                self.peer(port, client.0, token);
                let sent = &mut self.sent[correlation as usize];
                assert_eq!(sent.from, client.0, "a notice about another client's message");
                if sent.tell {
                    assert!(!std::mem::replace(&mut sent.told, true), "{correlation} is told twice");
                    reached.told += 1;
                    let order = sent.order;
                    if failed_when_taken(sent.to, reason) && self.ordered {
                        let last =
                            std::mem::replace(&mut self.peers.get_mut(&client.0).unwrap().last_failed, order);
                        assert!(last < order, "notices out of order: {correlation}, {order} behind {last}");
                        reached.told_in_order += 1;
                    }
                }
                let sent = &self.sent[correlation as usize];
                if reason == Loss::Expired {
                    assert!(sent.tell, "a notice that was not requested");
                    assert!(sent.reached.is_empty(), "{correlation} was delivered, and has expired");
                    reached.late += 1;
                }
                let Some(recipient) = recipient else {
                    assert!(sent.tell, "a notice that was not requested");
                    return;
                };
                assert!(self.peers.contains_key(&recipient.0), "refused by a client that never connected");
                let sent = &mut self.sent[correlation as usize];
                sent.refusals += 1;
                let most = sent.emissions + 1;
                assert!(
                    sent.refusals <= most,
                    "{correlation}: {} notices, at most {most} expected",
                    sent.refusals
                );
                assert!(!sent.dead, "{correlation} was refused twice");
                reached.refused_notices += 1;
            }
            Event::Left { client, token } => {
                let own = self.sent.iter().filter(|sent| sent.is_leave && sent.from == client.0).count();
                let peer = self.peer(port, client.0, token);
                peer.lefts += 1;
                assert!(
                    peer.lefts <= own as u64,
                    "a notice of a lost name for a client that did not leave it"
                );
                reached.lefts += 1;
            }
            Event::Close { client, token, .. } => {
                let peer = self.peer(port, client.0, token);
                assert!(!peer.leaving, "asked to close a client that its host has disconnected");
                assert!(!std::mem::replace(&mut peer.closing, true), "asked to close twice");
                reached.closes += 1;
            }
            Event::Closed { client, token, .. } => {
                let peer = self.peer(port, client.0, token);
                assert!(peer.leaving, "the last event of a client that was not disconnected");
                peer.closed = true;
                peer.handed = (0, 0);
                reached.closed += 1;
            }
            ref other => panic!("{other:?}"),
        }
    }

    /// Returns the client that an event belongs to.
    fn peer(&mut self, port: u64, client: u64, token: u64) -> &mut Peer {
        let peer = self.peers.get_mut(&client).expect("an event for a client that never connected");
        assert!(!peer.closed, "an event after the client's last event");
        assert!(!peer.gone, "an event from a released port");
        assert_eq!((peer.port, peer.token), (port, token), "an event of another client");
        peer
    }

    fn message(&mut self, message: &DeliveredMessage<'_>, reached: &mut Reached) {
        let (client, number) = (message.client.0, message.correlation);
        let text = std::str::from_utf8(message.payload).expect("the bytes are not those that were sent");
        let peer = self.peers.get_mut(&client).unwrap();
        peer.handed.0 += 1;
        peer.handed.1 += text.len() as u32;
        let sent = &mut self.sent[number as usize];
        assert!(!sent.dead, "{number} was refused or taken over, and is delivered: {text}");
        assert_eq!(message.sender.map_or(0, |sender| sender.0), sent.from, "{number} is another's");
        reached.delivered += 1;
        let key = match text.as_bytes()[0] {
            b'E' => {
                let id: u64 = text[1..].split(':').next().unwrap().parse().unwrap();
                let emission = &mut self.emissions[id as usize];
                assert_eq!(text, emission_bytes(id, emission.fill), "the bytes have changed");
                assert_eq!(emission.number, number);
                assert!(emission.ok, "delivered although the handler got an error for it");
                assert!(
                    !std::mem::replace(&mut emission.delivered, true),
                    "a handler's message is delivered twice"
                );
                let meant = emission.to == To::Client(client) || emission.to == To::Name(peer.name);
                assert!(meant, "{:?} was meant, {client:x} got it", emission.to);
                reached.emissions_delivered += 1;
                (sent.order, id + 1)
            }
            first => {
                assert!(!sent.reached.contains(&client), "{number} is delivered twice");
                sent.reached.push(client);
                if first == b'S' {
                    assert_eq!(text, send_bytes(number, sent.fill), "the bytes have changed");
                    assert_eq!((sent.to, sent.from), (To::Client(client), 0));
                    reached.sends_delivered += 1;
                } else {
                    relayed(text, number, sent, self.peers.get(&sent.from).map(|peer| peer.name));
                    assert!(!sent.expired, "{number} has expired, and is delivered");
                    let peer = &self.peers[&client];
                    match sent.to {
                        To::Name(name) => {
                            assert_eq!(
                                (name, sent.reached.len()),
                                (peer.name, 1),
                                "delivered to another name"
                            );
                        }
                        To::Room(room) => {
                            assert_ne!(client, sent.from, "a room message was delivered to its sender");
                            let left =
                                peer.rooms.get(&room).expect("the recipient was never a member of the room");
                            assert!(
                                left.is_none_or(|left| left >= sent.at),
                                "the recipient had left the room before"
                            );
                            reached.room_deliveries += 1;
                        }
                        other => panic!("{number} has the recipient {other:?}"),
                    }
                }
                (sent.order, sent.place)
            }
        };
        let from = if sent.from == 0 { (true, sent.port) } else { (false, sent.from) };
        let peer = self.peers.get_mut(&client).unwrap();
        let last = peer.last_from.insert(from, key);
        if self.ordered || sent.from == 0 {
            assert!(last < Some(key), "out of order: {key:?} behind {last:?}, from {from:?} to {client:x}");
        }
    }

    fn expired(&mut self, client: u64, name: &[u8], number: u64, reached: &mut Reached) {
        let sent = &mut self.sent[number as usize];
        assert_eq!(sent.from, client, "a notice about another client's message");
        assert!(!sent.dead && !std::mem::replace(&mut sent.expired, true), "{number} expires twice");
        assert!(sent.reached.is_empty(), "{number} was delivered, and has expired");
        assert!(!sent.tell, "who is told of each message is not told of the name");
        let name = std::str::from_utf8(name).unwrap();
        assert!(matches!(sent.to, To::Name(to) if name == name_of(to)), "the notice names another recipient");
        reached.expired += 1;
    }
}

/// Whether a message has failed when its worker took it. Other messages may fail later than those behind them, because
/// they were held or their worker has ended.
fn failed_when_taken(to: To, reason: Loss) -> bool {
    match reason {
        Loss::Expired => matches!(to, To::Room(_)),
        Loss::Failed(reason) => matches!(
            reason,
            Failed::NotJson
                | Failed::UnknownType
                | Failed::UnknownRecipient
                | Failed::HoldFull
                | Failed::UnknownRoom
                | Failed::NotAMember
        ),
        _ => false,
    }
}

/// A relayed message carries the submitted bytes and its sender's name.
fn relayed(text: &str, number: u64, sent: &Sent, from: Option<u64>) {
    let json: serde_json::Value = serde_json::from_str(text).expect("the bytes are not those that were sent");
    assert_eq!(json["payload"][0].as_u64(), Some(number), "the bytes of another message");
    assert_eq!(json["payload"][1].as_str(), Some(&*filling(number, sent.fill)), "the bytes have changed");
    assert_eq!(json["src"].as_str(), Some(&*name_of(from.unwrap())), "the sender is wrong");
}
