//! Varied messages in the form that PeerJS clients send. A single repeated message would train the branch predictor
//! and give misleading figures.

use crate::race::Random;

/// The number of messages in a set.
pub const SET: usize = 256;

#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Heartbeat,
    Candidate,
    /// An offer of 3 KiB.
    Offer,
}

/// A set of messages to the recipients `names`. If `names` is empty, each message gets a recipient of its own.
pub fn set(kind: Kind, any_order: bool, names: &[String]) -> Vec<Vec<u8>> {
    let mut random = Random::new();
    (0..SET).map(|_| message(&mut random, kind, any_order, names).into_bytes()).collect()
}

fn message(random: &mut Random, kind: Kind, any_order: bool, names: &[String]) -> String {
    let spaced = random.below(2) == 0;
    let recipient = match names.len() {
        0 => format!("{}-{}-{}", random.word(8, 8), random.word(4, 4), random.word(8, 20)),
        count => names[random.below(count as u64) as usize].clone(),
    };
    let (name, payload) = match kind {
        Kind::Heartbeat if spaced => return r#"{ "type": "HEARTBEAT" }"#.to_owned(),
        Kind::Heartbeat => return r#"{"type":"HEARTBEAT"}"#.to_owned(),
        Kind::Candidate => ("CANDIDATE", candidate(random)),
        Kind::Offer => ("OFFER", offer(random)),
    };
    let mut members = vec![
        format!(r#""type":"{name}""#),
        format!(r#""payload":{payload}"#),
        format!(r#""dst":"{recipient}""#),
    ];
    if any_order {
        for place in (1..members.len()).rev() {
            members.swap(place, random.below(place as u64 + 1) as usize);
        }
        if spaced {
            members.insert(1, r#""extra":[1,2.5,{"a":null}]"#.to_owned());
        }
    }
    format!("{{{}}}", members.join(","))
}

fn candidate(random: &mut Random) -> String {
    let address: Vec<String> = (0..4).map(|_| random.below(255).to_string()).collect();
    let kind = ["host", "srflx raddr 10.0.0.1 rport 9", "relay"][random.below(3) as usize];
    format!(
        r#"{{"candidate":{{"candidate":"candidate:{} 1 udp {} {} {} typ {kind} generation 0 ufrag {} network-id {}","sdpMLineIndex":{},"sdpMid":"{}","usernameFragment":"{}"}},"type":"media","connectionId":"mc_{}"}}"#,
        random.below(4_000_000_000),
        random.below(2_200_000_000),
        address.join("."),
        random.below(65_535),
        random.word(4, 4),
        random.below(12),
        random.below(3),
        random.below(3),
        random.word(4, 4),
        random.word(8, 11)
    )
}

fn offer(random: &mut Random) -> String {
    let mut sdp = String::from(
        r"v=0\r\no=- 4611731400430051336 2 IN IP4 127.0.0.1\r\ns=-\r\nt=0 0\r\na=group:BUNDLE 0 1\r\n",
    );
    while sdp.len() < 3000 {
        let format = 96 + random.below(30);
        let line = match random.below(6) {
            0 => {
                let codec = ["VP8", "H264", "VP9", "AV1", "rtx"][random.below(5) as usize];
                format!("a=rtpmap:{format} {codec}/90000")
            }
            1 => {
                let kinds = ["goog-remb", "transport-cc", "ccm fir", "nack", "nack pli"];
                format!("a=rtcp-fb:{format} {}", kinds[random.below(5) as usize])
            }
            2 => format!(
                "a=fmtp:{format} level-asymmetry-allowed=1;packetization-mode={};profile-level-id={}",
                random.below(2),
                random.word(6, 6)
            ),
            3 => format!("a=extmap:{} urn:ietf:params:rtp-hdrext:{}", random.below(15), random.word(5, 30)),
            4 => {
                let source = random.below(4_000_000_000);
                format!("a=ssrc:{source} msid:{} {}", random.word(20, 36), random.word(20, 36))
            }
            _ => "a=rtcp-mux".to_owned(),
        };
        sdp.push_str(&line);
        sdp.push_str(r"\r\n");
    }
    let connection = random.word(8, 11);
    format!(
        r#"{{"sdp":{{"type":"offer","sdp":"{sdp}"}},"type":"media","connectionId":"mc_{connection}","metadata":null}}"#
    )
}

/// A set of messages of exactly `length` bytes each to a room, in corelane's generic protocol.
pub fn to_room(length: usize) -> Vec<Vec<u8>> {
    let mut random = Random::new();
    (0..SET)
        .map(|_| {
            let start = format!(
                r#"{{"type":"candidate","room":"room","payload":{{"candidate":"candidate:{} 1 udp {} "#,
                random.below(4_000_000_000),
                random.below(2_200_000_000)
            );
            let end = r#"","sdpMLineIndex":0,"sdpMid":"0"}}"#;
            let filling = (length - start.len() - end.len()) as u64;
            format!("{start}{}{end}", random.word(filling, filling)).into_bytes()
        })
        .collect()
}

/// A set of candidates of exactly `length` bytes each, to random recipients.
pub fn candidates_of(length: usize, names: &[String]) -> Vec<Vec<u8>> {
    let mut random = Random::new();
    (0..SET)
        .map(|_| {
            let name = &names[random.below(names.len() as u64) as usize];
            candidate_of(&mut random, length, name)
        })
        .collect()
}

/// As [`candidates_of`], to one recipient after another, as many times each as fit into the set.
pub fn candidates_in_turn(length: usize, names: &[String]) -> Vec<Vec<u8>> {
    let mut random = Random::new();
    let count = (SET / names.len()).max(1) * names.len();
    names.iter().cycle().take(count).map(|name| candidate_of(&mut random, length, name)).collect()
}

fn candidate_of(random: &mut Random, length: usize, name: &str) -> Vec<u8> {
    let start = format!(
        r#"{{"type":"CANDIDATE","payload":{{"candidate":"candidate:{} 1 udp {} "#,
        random.below(4_000_000_000),
        random.below(2_200_000_000)
    );
    let end = format!(r#"","sdpMLineIndex":0,"sdpMid":"0"}},"dst":"{name}"}}"#);
    let filling = (length - start.len() - end.len()) as u64;
    format!("{start}{}{end}", random.word(filling, filling)).into_bytes()
}
