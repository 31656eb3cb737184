//! What happens when NATS or a machine fails.

use crate::machine::{Got, LONG, Machine, offer, wait_for};
use crate::server::Server;
use async_nats::jetstream::{kv, stream};
use corelane::cluster::ClaimError;
use std::io::BufRead;
use std::time::{Duration, Instant};

#[test]
fn a_cluster_starts_without_nats_and_joins_later() {
    let Some(mut nats) = Server::start("away") else { return };
    nats.kill();
    let mut a = Machine::new(&nats.url(), "a");
    let refused = a.cluster.claim_blocking("ann", "token", Duration::from_secs(5)).unwrap_err();
    assert_eq!(refused, ClaimError::Unavailable);
    assert!(a.cluster.status().unavailable);
    nats.run();
    a.join(0);
    a.connect("ann");
    wait_for("the alert ends", || !a.cluster.status().unavailable);
}

/// Sends numbered messages until that many have ended, and returns which have arrived, and how many failed.
fn flow(a: &mut Machine, b: &mut Machine, next: &mut u64, lasts: Duration) -> (Vec<u64>, usize) {
    let (mut arrived, mut failed) = (Vec::new(), 0);
    let end = Instant::now() + lasts;
    while Instant::now() < end {
        a.offer("ann", "ben", *next);
        *next += 1;
        take(a, b, &mut arrived, &mut failed);
    }
    (arrived, failed)
}

fn take(a: &mut Machine, b: &mut Machine, arrived: &mut Vec<u64>, failed: &mut usize) {
    arrived.extend(b.events().iter().map(Got::number));
    *failed += a.events().len();
}

fn two(nats: &Server) -> (Machine, Machine) {
    let (mut a, mut b) = (Machine::new(&nats.url(), "a"), Machine::new(&nats.url(), "b"));
    a.join(1);
    b.join(1);
    a.connect("ann");
    b.connect("ben");
    wait_for("a knows ben", || a.cluster.status().names_known == 2);
    (a, b)
}

/// The flow goes on after the fault: in order, nothing twice, every message with an end.
fn survives(test: &str, fault: impl FnOnce(&mut Server), repair: impl FnOnce(&mut Server), lasts: Duration) {
    let Some(mut nats) = Server::start(test) else { return };
    let (mut a, mut b) = two(&nats);
    let mut next = 0;
    let second = Duration::from_secs(1);
    let (mut arrived, mut failed) = (Vec::new(), 0);
    let until = Instant::now() + LONG;
    while arrived.len() <= 100 {
        // Fewer than a sender may have on a link, with those that have arrived and are not acknowledged yet.
        if next < arrived.len() as u64 + 50 {
            a.offer("ann", "ben", next);
            next += 1;
        }
        take(&mut a, &mut b, &mut arrived, &mut failed);
        assert!(failed == 0 && Instant::now() < until, "{} {failed}", arrived.len());
    }
    fault(&mut nats);
    let during = flow(&mut a, &mut b, &mut next, lasts);
    arrived.extend(during.0);
    failed += during.1;
    repair(&mut nats);
    let until = Instant::now() + LONG;
    loop {
        let after = flow(&mut a, &mut b, &mut next, second);
        failed += after.1;
        let is_well = after.1 == 0 && after.0.len() > 100;
        arrived.extend(after.0);
        if is_well {
            break;
        }
        assert!(Instant::now() < until, "no messages after the fault: {:?}", a.cluster.status());
    }
    let all = a.settled();
    wait_for("what was delivered arrives", || {
        take(&mut a, &mut b, &mut arrived, &mut failed);
        arrived.len() as u64 >= all.ok
    });
    assert!(arrived.is_sorted_by(|one, other| one < other), "order");
    assert_eq!((all.ok + all.failed + all.expired), next, "{all:?}");
    // What counts as delivered has arrived. What got lost with a link may have.
    println!("{test}: {next} sent, {} arrived, {all:?}", arrived.len());
    a.join(1);
    b.join(1);
}

#[test]
fn the_server_is_killed_and_comes_back() {
    survives("kill", Server::kill, Server::run, Duration::from_secs(2));
}

#[test]
fn the_server_is_paused_for_longer_than_the_link_waits() {
    survives("pause", |nats| nats.pause(true), |nats| nats.pause(false), Duration::from_secs(8));
}

#[test]
fn the_server_loses_its_bucket() {
    let Some(mut nats) = Server::start("bucket") else { return };
    let (mut a, mut b) = two(&nats);
    nats.kill();
    nats.forget();
    nats.run();
    // Nobody gets another one's name while the machines write what is theirs again.
    wait_for("the loss is noticed", || {
        let claimed = a.cluster.claim_blocking("ben", "other", Duration::from_secs(5)).map(drop);
        assert_ne!(claimed, Ok(()));
        claimed == Err(ClaimError::Taken)
    });
    let is_known = |machine: &Machine| {
        let status = machine.cluster.status();
        status.state == "joined" && status.names_known == 2 && status.links.iter().any(|link| link.up)
    };
    wait_for("the directory is back", || is_known(&a) && is_known(&b));
    assert_eq!(a.cluster.claim_blocking("ben", "other", LONG).unwrap_err(), ClaimError::Taken);
    a.offer("ann", "ben", 7);
    a.port.wait(Duration::from_millis(1));
    assert_eq!(b.get(1), [offer("ann", "ben", 7)]);
    assert!(a.lost.try_recv().is_err() && b.lost.try_recv().is_err());
}

#[test]
fn a_machine_without_nats_fences_itself_and_comes_back_with_its_names() {
    let Some(mut nats) = Server::start("fence") else { return };
    let (mut a, mut b) = two(&nats);
    a.connect("al");
    let before = a.cluster.status().incarnation;
    nats.kill();
    wait_for("a is fenced", || a.cluster.status().state == "fenced");
    assert!(a.cluster.status().fenced);
    assert_eq!(a.cluster.claim_blocking("x", "t", Duration::from_secs(5)).unwrap_err(), ClaimError::Fenced);
    // Local routing goes on.
    a.offer("ann", "al", 1);
    assert_eq!(a.get(1), [offer("ann", "al", 1)]);
    wait_for("b is fenced", || b.cluster.status().state == "fenced");
    // Until both leases have ended, which last 20 s.
    std::thread::sleep(Duration::from_secs(7));
    nats.run();
    // Another client gets none of their names, whoever is back first.
    let rival =
        |at: &Machine, name| at.cluster.claim_blocking(name, "other", Duration::from_secs(5)).map(drop);
    let is_back = |machine: &Machine| {
        let status = machine.cluster.status();
        status.state == "joined" && status.names_known == 3 && status.links.iter().any(|link| link.up)
    };
    wait_for("both are back", || {
        for (at, name) in [(&b, "ann"), (&a, "ben"), (&b, "al")] {
            assert_ne!(rival(at, name), Ok(()), "{name}");
        }
        is_back(&a) && is_back(&b)
    });
    for (at, name) in [(&b, "ann"), (&a, "ben"), (&b, "al")] {
        assert_eq!(rival(at, name), Err(ClaimError::Taken), "{name}");
    }
    a.join(1);
    b.join(1);
    assert_ne!(a.cluster.status().incarnation, before);
    assert!(a.cluster.status().fenced_ms > 0 && a.cluster.status().fences == 1);
    b.offer("ben", "ann", 2);
    b.port.wait(Duration::from_millis(1));
    assert_eq!(a.get(1), [offer("ben", "ann", 2)]);
    assert!(a.lost.try_recv().is_err() && b.lost.try_recv().is_err());
}

#[test]
fn a_full_storage_ends_claims_and_is_named() {
    let Some(nats) = Server::start("full") else { return };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let config = kv::Config {
        bucket: "corelane_test".to_owned(),
        history: 1,
        max_bytes: 100_000,
        limit_markers: Some(Duration::from_secs(60)),
        ..kv::Config::default()
    };
    let (context, store) = runtime.block_on(async {
        let context = async_nats::jetstream::new(async_nats::connect(nats.url()).await.unwrap());
        let store = context.create_key_value(config).await.unwrap();
        (context, store)
    });
    let mut a = Machine::new(&nats.url(), "a");
    a.join(0);
    a.connect("ann");
    runtime.block_on(async {
        let (mut size, mut number) = (64_000, 0);
        while size > 0 {
            number += 1;
            if store.put(format!("other.{number}"), vec![0_u8; size].into()).await.is_err() {
                size /= 2;
            }
        }
    });
    // NATS reads, and refuses to write.
    let (sender, answer) = std::sync::mpsc::channel();
    let _claim = a.cluster.claim_then("ben", "token", move |result| sender.send(result).unwrap()).unwrap();
    assert_eq!(answer.recv_timeout(LONG).expect("a claim without an end"), Err(ClaimError::Unavailable));
    wait_for("it is named", || {
        // A renewal has the room of the one before, and ends what is told.
        let _ = a.cluster.claim_blocking("ben", "token", LONG);
        let status = a.cluster.status();
        status.unavailable && status.problem.is_some_and(|text| text.contains("maximum bytes exceeded"))
    });
    runtime.block_on(async {
        let mut stream = context.get_stream("KV_corelane_test").await.unwrap();
        let config = stream::Config { max_bytes: -1, ..stream.info().await.unwrap().config.clone() };
        context.update_stream(config).await.unwrap();
    });
    wait_for("it is over", || {
        let status = a.cluster.status();
        status.state == "joined" && !status.unavailable && status.problem.is_none()
    });
    a.connect("ben");
}

/// A machine in a process of its own, for [`a_machine_is_killed`] and [`a_machine_is_paused`].
#[test]
#[ignore = "run by other tests, in a process of its own"]
fn in_its_own_process() {
    let Ok(url) = std::env::var("CLUSTER_TEST_URL") else { return };
    let mut machine = Machine::new(&url, "child");
    machine.join(1);
    machine.connect("ben");
    println!("ready");
    loop {
        machine.events();
        if let Ok(lost) = machine.lost.try_recv() {
            println!("lost {} {:?}", lost.name, lost.reason);
        }
    }
}

struct Process(std::process::Child, std::io::Lines<std::io::BufReader<std::process::ChildStdout>>);

impl Process {
    fn start(url: &str) -> Self {
        let mut child = std::process::Command::new(std::env::current_exe().unwrap())
            .args(["--ignored", "--exact", "--nocapture", "faults::in_its_own_process"])
            .env("CLUSTER_TEST_URL", url)
            .stdout(std::process::Stdio::piped())
            .spawn()
            .unwrap();
        let lines = std::io::BufReader::new(child.stdout.take().unwrap()).lines();
        Self(child, lines)
    }

    fn wait_for(&mut self, text: &str) {
        self.1.find(|line| line.as_ref().unwrap().contains(text)).unwrap().unwrap();
    }

    fn signal(&self, signal: &str) {
        let id = self.0.id().to_string();
        assert!(std::process::Command::new("kill").args([signal, &id]).status().unwrap().success());
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn a_machine_is_killed() {
    let Some(nats) = Server::start("dead") else { return };
    let mut a = Machine::new(&nats.url(), "a");
    let mut child = Process::start(&nats.url());
    child.wait_for("ready");
    a.join(1);
    a.connect("ann");
    wait_for("a knows ben", || a.cluster.status().names_known == 2);
    child.signal("-KILL");
    a.offer("ann", "ben", 1);
    assert_eq!(a.get(1), [Got::Undelivered(1, "link_lost")]);
    // The loss of the link was noticed long before the end of the lease. While that exists the name is the dead machine's.
    assert_eq!(a.cluster.claim_blocking("ben", "other", LONG).unwrap_err(), ClaimError::Taken);
    wait_for("ben is free", || a.cluster.claim_blocking("ben", "other", Duration::from_secs(5)).is_ok());
    wait_for("the link is closed", || a.cluster.status().links.is_empty());
    a.settled();
}

#[test]
fn a_machine_is_paused_for_longer_than_its_lease() {
    let Some(nats) = Server::start("paused") else { return };
    let a = Machine::new(&nats.url(), "a");
    let mut child = Process::start(&nats.url());
    child.wait_for("ready");
    a.join(1);
    child.signal("-STOP");
    let mut claim = None;
    wait_for("ben is free", || {
        claim = a.cluster.claim_blocking("ben", "other", Duration::from_secs(5)).ok();
        claim.is_some()
    });
    child.signal("-CONT");
    child.wait_for("lost ben Taken");
    a.join(1);
    assert_eq!(a.cluster.status().names_known, 1);
}

#[test]
fn one_of_three_servers_is_killed() {
    let Some(mut servers) = Server::start_three("three") else { return };
    let url = servers.iter().map(Server::url).collect::<Vec<_>>().join(",");
    let (mut a, mut b) = (Machine::new(&url, "a"), Machine::new(&url, "b"));
    a.join(1);
    b.join(1);
    a.connect("ann");
    b.connect("ben");
    wait_for("a knows ben", || a.cluster.status().names_known == 2);
    for (number, server) in servers.iter_mut().enumerate() {
        server.kill();
        // Within half a minute there is a leader again, and names can be claimed.
        wait_for("a claim", || {
            a.cluster.claim_blocking(&format!("x{number}"), "t", Duration::from_secs(5)).is_ok()
        });
        wait_for("both are there", || {
            let is_up = |machine: &Machine| machine.cluster.status().links.iter().any(|link| link.up);
            is_up(&a) && is_up(&b)
        });
        // One that is sent just when the connection is lost may be lost with it.
        wait_for("a message arrives", || {
            a.offer("ann", "ben", number as u64);
            a.events();
            std::thread::sleep(Duration::from_millis(50));
            !b.events().is_empty()
        });
        server.run();
        std::thread::sleep(Duration::from_secs(3));
    }
    assert!(a.lost.try_recv().is_err() && b.lost.try_recv().is_err());
}
