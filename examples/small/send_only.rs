//! A server that only sends. It decides itself who gets what; the router has the queues, the credit and the figures. Each
//! subscriber connects and sends a line `NAME TOPIC`. Each line `TOPIC TEXT` of the standard input goes to the topic's
//! subscribers. One that does not read loses news, and delays nobody.
//!
//! `cargo run -p corelane-examples --bin send_only -- 127.0.0.1:9000`. The server ends when its standard input ends.

#![expect(clippy::unwrap_used, reason = "a lock fails only after a panic")]

use corelane::clients::{ClientId, CreditPolicy, RoomId};
use corelane::router::{Builder, ConnectOptions, Event, Poller, ProtocolRules, SendOptions, SharedPort};
use corelane::{config::Config, monitor::Format};
use std::collections::HashMap;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::mpsc::{self, Receiver, Sender};
use std::sync::{Arc, Mutex};
use std::{error::Error, thread, time::Duration};

/// What clients of this server get: one type, which may be dropped.
const FEED: &str = r#"{"name":"feed","type":"type","types":{"news":"accept"},"droppable":["news"]}"#;

/// What the threads share.
struct Feed {
    port: SharedPort,
    topics: Mutex<HashMap<String, RoomId>>,
    /// The queue of each subscriber, by its token. The subscriber's credit bounds it.
    queues: Mutex<HashMap<u64, Sender<Vec<u8>>>>,
}

fn main() -> Result<(), Box<dyn Error>> {
    let router = Builder::new(Config::default()).protocol(ProtocolRules::parse(FEED)?).start()?;
    let (monitor, news) = (router.monitor()?, router.message_type("feed", "news"));
    let (port, poller) = router.port()?.share();
    let feed = Arc::new(Feed { port, topics: Mutex::default(), queues: Mutex::default() });
    let listener = TcpListener::bind(std::env::args().nth(1).as_deref().unwrap_or("127.0.0.1:0"))?;
    println!("listening on {}", listener.local_addr()?);
    let ((sent, written), polled, joined) = (mpsc::channel(), Arc::clone(&feed), Arc::clone(&feed));
    let deliveries = thread::spawn(move || deliver(poller, &polled, &written));
    thread::spawn(move || {
        for (token, stream) in (1..).zip(listener.incoming().flatten()) {
            let (feed, sent) = (Arc::clone(&joined), sent.clone());
            thread::spawn(move || {
                subscribe(&stream, token, &feed, &sent).map_err(|error| eprintln!("{error}"))
            });
        }
    });
    for (correlation, line) in (1..).zip(io::stdin().lock().lines()) {
        let line = line?;
        let (topic, text) = line.split_once(' ').unwrap_or((&line, ""));
        let room = feed.topics.lock().unwrap().get(topic).copied();
        match room {
            Some(room) => feed.port.send_to_room(
                room,
                text.as_bytes(),
                SendOptions { correlation, message_type: news },
            )?,
            None => println!("line {correlation}: nobody has subscribed"),
        }
    }
    drop(router); // Handles what has been sent, and stops. Then the poll says closed.
    drop(deliveries.join());
    println!("{}", monitor.report(Format::Json));
    Ok(())
}

/// Connects one subscriber, and writes what it gets until a write fails.
fn subscribe(
    mut stream: &TcpStream,
    token: u64,
    feed: &Feed,
    sent: &Sender<(ClientId, u32)>,
) -> Result<(), Box<dyn Error>> {
    let mut line = String::new();
    BufReader::new(stream).take(256).read_line(&mut line)?;
    let (name, topic) = line.trim_end().split_once(' ').ok_or("a subscriber sends NAME TOPIC")?;
    let options = ConnectOptions::new("feed", "example", token).credit_policy(CreditPolicy::Drop);
    let client = feed.port.connect_with(name, options)?;
    let (queue, frames) = mpsc::channel::<Vec<u8>>();
    feed.queues.lock().unwrap().insert(token, queue); // Before it joins: until then it gets nothing.
    let room = feed.port.join(client, topic)?;
    feed.topics.lock().unwrap().insert(topic.to_owned(), room);
    let mut written = writeln!(stream, "subscribed to {topic}");
    while let (Ok(()), Ok(frame)) = (&written, frames.recv()) {
        written = stream.write_all(&[&frame, &b"\n"[..]].concat());
        sent.send((client, frame.len() as u32))?;
    }
    Ok(feed.port.disconnect(client)?) // The subscriber's last event is `Closed`.
}

/// Hands deliveries out until the router has stopped.
fn deliver(mut poller: Poller, feed: &Feed, written: &Receiver<(ClientId, u32)>) {
    while poller.poll_each(256, |event| hand_out(event, &mut feed.queues.lock().unwrap())).is_ok() {
        poller.wait(Duration::from_millis(10)); // Not longer, because only this thread gives credit back.
        poller.acknowledge_batch(written.try_iter().map(|(client, bytes)| (client, 1, bytes)));
    }
}

fn hand_out(event: Event<'_>, queues: &mut HashMap<u64, Sender<Vec<u8>>>) {
    match event {
        Event::Message(message) => {
            drop(queues.get(&message.token).map(|queue| queue.send(message.payload.to_vec())));
        }
        Event::SendFailed { correlation, reason, .. } => println!("line {correlation}: {}", reason.label()),
        Event::Close { token, .. } | Event::Closed { token, .. } => drop(queues.remove(&token)),
        _ => {} // These clients submit nothing.
    }
}
