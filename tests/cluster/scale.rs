//! Many names, and many claims at once.

use crate::machine::{Got, LONG, Machine, offer, wait_for};
use crate::server::Server;
use async_nats::jetstream;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use corelane::cluster::ClaimError;
use std::collections::VecDeque;
use std::sync::mpsc::channel;
use std::time::Instant;

/// The machine that has the many names. It lives, because its lease has no end, and never answers.
const OWNER: &str = "00000000000000aa";

/// Writes that many names of one machine into the bucket, which exists, as `cluster::keys` does.
pub fn fill(url: &str, options: async_nats::ConnectOptions, count: usize) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let client = options.connect(url).await.unwrap();
        let context = jetstream::new(client);
        let lease = format!("$KV.corelane_test.m.{OWNER}");
        context.publish(lease, r#"{"machine":"many","draining":false}"#.into()).await.unwrap().await.unwrap();
        let mut waiting = VecDeque::new();
        for number in 0..count {
            let key =
                format!("$KV.corelane_test.n.{}", URL_SAFE_NO_PAD.encode(format!("client {number:07}")));
            let value = format!("{OWNER} {number:016x} {}", URL_SAFE_NO_PAD.encode([7; 16]));
            waiting.push_back(context.publish(key, value.into()).await.unwrap());
            if waiting.len() >= 1000 {
                waiting.pop_front().unwrap().await.unwrap();
            }
        }
        for one in waiting {
            one.await.unwrap();
        }
    });
}

/// The process's resident bytes.
fn resident() -> u64 {
    let text = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = text.lines().find(|line| line.starts_with("VmRSS")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() << 10
}

/// A machine that starts reads all names, within its bounds, and its own clients talk meanwhile. One that has room for fewer counts
/// the others.
fn many_names(test: &str, count: usize) {
    let Some(nats) = Server::start(test) else { return };
    let begun = Instant::now();
    // The bucket is made by a machine.
    let first = Machine::new(&nats.url(), "first");
    first.join(0);
    drop(first);
    fill(&nats.url(), async_nats::ConnectOptions::new(), count);
    println!("{count} names written in {:?}", begun.elapsed());
    let (before, begun) = (resident(), Instant::now());
    let mut a = Machine::with(&nats.url(), "a", &[], |options| options.names = 2 * count);
    let clients = ["x", "y"].map(|name| a.port.connect(name, "peerjs", "", 0).unwrap());
    let mut rounds = 0;
    let knows_all = |a: &Machine| a.cluster.status().names_known >= count;
    wait_for("all names", || {
        // The two are local, and the router does not wait for the cluster.
        a.port.submit(clients[0], br#"{"type":"OFFER","dst":"y","payload":1}"#, 1).unwrap();
        let got = a.get(1);
        let Got::Message(_, text) = &got[0] else { panic!("{got:?}") };
        assert!(text.contains(r#""dst":"y""#), "{text}");
        rounds += 1;
        knows_all(&a)
    });
    let (took, grown) = (begun.elapsed(), resident().saturating_sub(before));
    println!("{count} names read in {took:?}: {} MB more, {rounds} local messages meanwhile", grown >> 20);
    // The directory, its table in the router for twice as many names, and a machine's other memory.
    assert!(grown < 700 * count as u64 + (96 << 20), "{} MB", grown >> 20);
    a.join(0);
    assert_eq!(a.cluster.status().names_left_out, 0);
    assert_eq!(a.cluster.claim_blocking("client 0000001", "t", LONG).unwrap_err(), ClaimError::Taken);

    let room = count / 5;
    let mut b = Machine::with(&nats.url(), "b", &[], |options| options.names = room);
    b.join(1);
    wait_for("what has no room is counted", || b.cluster.status().names_left_out >= (count - room) as u64);
    let status = b.cluster.status();
    assert!(status.names_left_out <= (count - room) as u64 + 16, "{status:?}");
    // Names of its own do not need that room.
    b.connect("ben");
    b.connect("bob");
    b.offer("ben", "bob", 1);
    assert_eq!(b.get(1), [offer("ben", "bob", 1)]);
}

#[test]
fn fifty_thousand_names_are_read_at_the_start() {
    many_names("many", 50_000);
}

#[test]
#[ignore = "40 s and some hundred MB"]
fn a_million_names_are_read_at_the_start() {
    many_names("million", 1_000_000);
}

#[test]
fn five_thousand_claims_at_once_get_in_by_trying_again() {
    let Some(nats) = Server::start("five") else { return };
    let (a, b) = (Machine::new(&nats.url(), "a"), Machine::new(&nats.url(), "b"));
    a.join(1);
    b.join(1);
    const COUNT: usize = 5000;
    let (sender, answers) = channel();
    let mut claims: Vec<_> = (0..COUNT).map(|_| None).collect();
    let mut to_claim: Vec<usize> = (0..COUNT).collect();
    let (mut waves, mut at_once) = (0, 0);
    while !to_claim.is_empty() {
        let (mut sent, mut again) = (0, Vec::new());
        for number in to_claim {
            let sender = sender.clone();
            let reply = move |answer| sender.send((number, answer)).unwrap();
            match a.cluster.claim_then(&format!("client {number}"), "token", reply) {
                Ok(claim) => {
                    claims[number] = Some(claim);
                    sent += 1;
                }
                Err(ClaimError::Busy) => again.push(number),
                Err(other) => panic!("{other}"),
            }
        }
        for _ in 0..sent {
            let (number, answer) = answers.recv_timeout(LONG).unwrap();
            match answer {
                Ok(()) => {}
                Err(ClaimError::Busy) => {
                    claims[number] = None;
                    again.push(number);
                }
                Err(other) => panic!("{other}"),
            }
            assert!(a.cluster.status().claims_in_flight <= 256);
        }
        assert!(again.len() < COUNT - 256 * waves, "each wave gets 256 in at least");
        at_once = at_once.max(again.len());
        to_claim = again;
        waves += 1;
    }
    println!("{COUNT} claims in {waves} waves; at most {at_once} were told to come again");
    assert!(at_once > 0);
    for machine in [&a, &b] {
        wait_for("all names", || machine.cluster.status().names_known == COUNT);
    }
    assert_eq!(a.cluster.status().names_owned, COUNT);
    drop(claims);
    wait_for("all are given up", || {
        b.cluster.status().names_known == 0 && a.cluster.status().names_owned == 0
    });
}
