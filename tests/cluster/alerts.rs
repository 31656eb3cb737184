//! The figures of a cluster among those of the router's monitor, and its two alerts.

use crate::machine::{Machine, wait_for};
use crate::server::Server;
use corelane::cluster::LostReason;
use corelane::export::prometheus;
use corelane::monitor::alert::{Alert, AlertState, Notification};
use corelane::monitor::{Format, Monitor};
use corelane::router::GatewayOptions;
use std::collections::BTreeMap;
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

const LOOK: (&str, &str) = ("monitor_interval_ms", "100");

/// The samples of a text of Prometheus, by name and labels.
fn samples(monitor: &Monitor) -> BTreeMap<String, f64> {
    let text = prometheus(monitor);
    let lines = text.lines().filter(|line| line.starts_with("corelane_cluster_"));
    lines
        .map(|line| line.rsplit_once(' ').unwrap())
        .map(|(name, value)| (name.to_owned(), value.parse().unwrap()))
        .collect()
}

fn listen(monitor: &Monitor) -> Receiver<Alert> {
    let (sender, alerts) = channel();
    monitor.on_alert(move |alert| sender.send(alert.clone()).unwrap()).unwrap();
    alerts
}

/// The next notification of a rule.
fn next(alerts: &Receiver<Alert>, name: &str) -> Alert {
    loop {
        let alert = alerts.recv_timeout(Duration::from_secs(60)).unwrap();
        if alert.name == name {
            return alert;
        }
    }
}

#[test]
fn both_alerts_begin_and_end() {
    let Some(mut nats) = Server::start("alerts") else { return };
    let a = Machine::with(&nats.url(), "a", &[LOOK], |_| {});
    let monitor = a.router.monitor().unwrap();
    let alerts = listen(&monitor);
    a.join(0);
    wait_for("figures without an alert", || {
        let stats = monitor.snapshot();
        stats.alerts.current.is_empty() && stats.cluster.is_some_and(|cluster| cluster.state == "joined")
    });
    nats.kill();
    let raised = next(&alerts, "cluster_unavailable");
    assert_eq!((raised.state, raised.notification), (AlertState::Firing, Some(Notification::Raised)));
    let raised = next(&alerts, "fenced");
    assert_eq!((raised.state, raised.notification), (AlertState::Firing, Some(Notification::Raised)));
    assert!(raised.message.contains("could not renew its lease"), "{}", raised.message);
    let stats = monitor.snapshot();
    let names: Vec<&str> = stats.alerts.current.iter().map(|alert| alert.name.as_str()).collect();
    assert!(names.contains(&"cluster_unavailable") && names.contains(&"fenced"), "{names:?}");
    let cluster = stats.cluster.unwrap();
    assert!(cluster.problem.is_some() && cluster.fenced && cluster.state == "fenced", "{cluster:?}");
    let report = monitor.report(Format::Text);
    assert!(report.contains("Cluster test: this machine, a, is fenced"), "{report}");
    assert_eq!(samples(&monitor)["corelane_cluster_fenced"], 1.0);
    nats.run();
    for name in ["cluster_unavailable", "fenced"] {
        let alert = ended(&monitor, name);
        assert!(alert.message.contains("no longer above"), "{}", alert.message);
    }
    a.join(0);
    let after = samples(&monitor);
    assert_eq!((after["corelane_cluster_fences_total"], after["corelane_cluster_unavailable"]), (1.0, 0.0));
    assert!(after["corelane_cluster_fenced_seconds_total"] > 0.0);
    assert_eq!(monitor.snapshot().cluster.unwrap().problem, None);
}

/// The resolved alert of a rule, as soon as there is one.
fn ended(monitor: &Monitor, name: &str) -> Alert {
    let mut found = None;
    wait_for(&format!("{name} ends"), || {
        found = monitor.snapshot().alerts.history.into_iter().find(|alert| alert.name == name);
        found.is_some()
    });
    found.unwrap()
}

#[test]
fn a_cluster_that_never_reaches_nats_is_unavailable_until_it_is_stopped() {
    let a = Machine::with("nats://127.0.0.1:1", "a", &[LOOK], |_| {});
    let monitor = a.router.monitor().unwrap();
    let alerts = listen(&monitor);
    assert_eq!(next(&alerts, "cluster_unavailable").notification, Some(Notification::Raised));
    wait_for("a reason", || {
        monitor.snapshot().cluster.unwrap().problem.is_some_and(|text| text.contains("`servers`"))
    });
    a.cluster.stop();
    ended(&monitor, "cluster_unavailable");
    // Its figures stay, as those of everything that counts.
    assert_eq!(samples(&monitor)[r#"corelane_cluster_state{state="stopped"}"#], 1.0);
}

#[test]
fn a_removed_rule_raises_nothing_and_a_router_without_a_cluster_neither() {
    let a = Machine::with("nats://127.0.0.1:1", "a", &[LOOK], |_| {});
    let monitor = a.router.monitor().unwrap();
    monitor.remove_rule("cluster_unavailable").unwrap();
    let alone = corelane::router::Builder::new(corelane::config::Config::default()).start().unwrap();
    let other = alone.monitor().unwrap();
    // Another rule tells that looks were made.
    for monitor in [&monitor, &other] {
        // Other tests of this process may keep all cores busy.
        monitor.remove_rule("cpu").unwrap();
        monitor.set_threshold("connections", -1.0, -2.0).unwrap();
        wait_for("a look", || !monitor.snapshot().alerts.current.is_empty());
        wait_for("more looks", || monitor.snapshot().uptime_nanoseconds > 1_000_000_000);
        let current = monitor.snapshot().alerts.current;
        assert!(current.iter().all(|alert| alert.name == "connections"), "{current:?}");
    }
    assert!(samples(&other).is_empty() && other.snapshot().cluster.is_none());
    assert!(other.snapshot().alerts.rules.iter().all(|rule| rule.unavailable.is_none()));
}

#[test]
fn figures_of_links_add_up_and_have_one_series_for_each_machine() {
    let Some(nats) = Server::start("figures") else { return };
    let (mut a, mut b) = (Machine::new(&nats.url(), "a"), Machine::new(&nats.url(), "b"));
    let monitor = a.router.monitor().unwrap();
    a.join(1);
    b.join(1);
    a.connect("ann");
    b.connect("ben");
    wait_for("a knows ben", || a.cluster.status().names_known == 2);
    for number in 0..100 {
        a.offer("ann", "ben", number);
    }
    a.port.wait(Duration::from_millis(1));
    b.get(100);
    a.settled();
    wait_for("the figures", || {
        samples(&monitor)[r#"corelane_cluster_link_sent_total{machine="b"}"#] == 100.0
    });
    let check = |sum: f64| {
        let all = samples(&monitor);
        let of = |name: &str| all[&format!(r#"corelane_cluster_link_{name}{{machine="b"}}"#)];
        let ended = of("delivered_total") + of("gone_total") + of("lost_total") + of("rejected_total");
        assert_eq!((of("sent_total"), ended + of("in_flight")), (sum, sum), "{all:?}");
        let links = all.keys().filter(|name| name.starts_with("corelane_cluster_link_up")).count();
        (links, of("up"))
    };
    wait_for("the figures", || check(100.0) == (1, 1.0));
    let all = samples(&monitor);
    assert!(all[r#"corelane_cluster_link_round_trip_seconds{machine="b"}"#] > 0.0);
    assert_eq!((all["corelane_cluster_names_owned"], all["corelane_cluster_names_known"]), (1.0, 2.0));
    assert_eq!((all["corelane_cluster_machines"], all["corelane_cluster_connected"]), (2.0, 1.0));
    assert_eq!(all[r#"corelane_cluster_info{cluster="test",machine="a"}"#], 1.0);
    assert_eq!(all[r#"corelane_cluster_state{state="joined"}"#], 1.0);
    // The machine comes back as another incarnation, while the one before still has a lease: the counts do not go back.
    let url = nats.url();
    let second = Machine::new(&url, "b");
    second.join(2);
    wait_for("both links", || a.cluster.status().links.iter().filter(|link| link.up).count() == 2);
    assert_eq!(check(100.0), (1, 1.0));
    drop(b);
    wait_for("one link", || a.cluster.status().links.len() == 1);
    assert_eq!(check(100.0), (1, 1.0));
}

#[test]
fn a_callback_may_replace_itself() {
    let Some(nats) = Server::start("replace") else { return };
    let (mut a, mut b) = (Machine::new(&nats.url(), "a"), Machine::new(&nats.url(), "b"));
    a.join(1);
    b.join(1);
    let (sender, calls) = channel();
    let (cluster, second) = (a.cluster.clone(), sender.clone());
    a.cluster.on_lost(move |lost| {
        let second = second.clone();
        // Both took the callback's lock once.
        cluster.on_lost(move |lost| second.send(("second", lost.name, lost.reason)).unwrap());
        sender.send(("first", lost.name, lost.reason)).unwrap();
    });
    let wait = Duration::from_secs(30);
    for (name, which) in [("ann", "first"), ("al", "second")] {
        a.connect(name);
        b.connect(name);
        assert_eq!(calls.recv_timeout(wait).unwrap(), (which, name.to_owned(), LostReason::Replaced));
    }
}

#[test]
fn two_threads_that_stop_both_wait_for_the_end() {
    let Some(nats) = Server::start("stops") else { return };
    let a = Machine::new(&nats.url(), "a");
    a.join(0);
    // The lease is deleted at the end; now that takes its time.
    nats.pause(true);
    let door = std::sync::Mutex::new(());
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                a.cluster.stop();
                let _one = door.lock().unwrap();
                // Free after the end of the cluster's thread, not before.
                a.router.gateway(GatewayOptions::default()).map(drop).unwrap();
            });
        }
    });
    nats.pause(false);
}
