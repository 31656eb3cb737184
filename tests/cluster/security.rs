//! TLS, credentials and permissions at NATS. Whatever is wrong, local routing goes on, and the figures say what to change.

use crate::machine::{Got, Machine, offer, wait_for};
use crate::server::Server;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use corelane::cluster::{Cluster, ClusterOptions, ClusterStatus, StartError};
use nkeys::KeyPair;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

/// What docs/cluster.md lists. MACHINE is replaced by the machine's name.
const PUBLISH: &[&str] = &[
    "corelane.test.m.>",
    "$KV.corelane_test.>",
    "$JS.API.STREAM.INFO.KV_corelane_test",
    "$JS.API.CONSUMER.CREATE.KV_corelane_test",
    "$JS.FC.KV_corelane_test.>",
    "$JS.API.INFO",
    "$JS.API.STREAM.CREATE.KV_corelane_test",
    "$JS.API.STREAM.MSG.GET.KV_corelane_test",
    "$JS.API.CONSUMER.*.KV_corelane_test.>",
];
/// So many of them are needed at each start. The others make the bucket, read after a timeout, and begin the watch again.
const ALWAYS: usize = 5;
const SUBSCRIBE: &[&str] = &["corelane.test.m.MACHINE.>", "_INBOX.>"];
/// A message waits for its recipient however slow the machine is.
const HOLD: &[(&str, &str)] = &[("hold_ms", "60000")];

/// Two machines join, and a message goes from one to the other.
fn works(mut a: Machine, mut b: Machine) {
    a.join(1);
    b.join(1);
    a.connect("ann");
    b.connect("ben");
    // It waits at A until A knows where Ben is.
    a.offer("ann", "ben", 1);
    a.port.wait(Duration::from_millis(1));
    assert_eq!(b.get(1), [offer("ann", "ben", 1)]);
    for machine in [&a, &b] {
        let status = machine.cluster.status();
        assert!(!status.unavailable && status.problem.is_none(), "{status:?}");
    }
}

/// The machine says that it cannot be part of the cluster, and why. Its own clients talk.
fn is_told(machine: &mut Machine, texts: &[&str]) -> ClusterStatus {
    let mut status = ClusterStatus::default();
    wait_for(&format!("{texts:?}"), || {
        status = machine.cluster.status();
        let problem = status.problem.clone().unwrap_or_default();
        status.unavailable && texts.iter().all(|text| problem.contains(text))
    });
    let clients = ["x", "y"].map(|name| machine.port.connect(name, "peerjs", "", 0).unwrap());
    machine.port.submit(clients[0], br#"{"type":"OFFER","dst":"y","payload":1}"#, 1).unwrap();
    assert!(matches!(&machine.get(1)[..], [Got::Message(..)]));
    status
}

fn openssl(folder: &Path, arguments: &str) {
    let mut command = Command::new("openssl");
    command.args(arguments.split(' ')).current_dir(folder).stderr(Stdio::null());
    assert!(command.status().unwrap().success(), "openssl {arguments}");
}

/// Two authorities, and certificates of the first one for the server and for machines.
fn certificates(folder: &Path) {
    let key = "-newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes";
    for ca in ["ca", "other"] {
        openssl(folder, &format!("req -x509 {key} -keyout {ca}.key -out {ca}.pem -days 2 -subj /CN={ca}"));
    }
    std::fs::write(folder.join("names"), "subjectAltName=IP:127.0.0.1").unwrap();
    for name in ["server", "machine"] {
        openssl(folder, &format!("req -new {key} -keyout {name}.key -out {name}.csr -subj /CN={name}"));
        let by = "-CA ca.pem -CAkey ca.key -CAcreateserial -days 2 -extfile names";
        openssl(folder, &format!("x509 -req -in {name}.csr {by} -out {name}.pem"));
    }
}

fn lacks_openssl() -> bool {
    let found = Command::new("openssl").arg("version").stdout(Stdio::null()).status();
    if found.is_ok_and(|status| status.success()) {
        return false;
    }
    assert!(std::env::var_os("CORELANE_REQUIRE_ALL").is_none(), "no openssl: make deps installs it");
    eprintln!("skipped: no openssl");
    true
}

#[test]
fn certificates_of_both_sides_are_checked() {
    if lacks_openssl() {
        return;
    }
    let nats = Server::start_with("tls", |folder| {
        certificates(folder);
        let of = |file: &str| folder.join(file).display().to_string();
        let (certificate, key, ca) = (of("server.pem"), of("server.key"), of("ca.pem"));
        format!("tls {{ cert_file: {certificate:?}, key_file: {key:?}, ca_file: {ca:?}, verify: true }}")
    });
    let Some(nats) = nats else { return };
    let of = |file: &str| Some(nats.folder().join(file));
    let machine = |name, ca, client: bool| {
        Machine::with(&nats.url(), name, HOLD, |options| {
            options.tls_ca = of(ca);
            options.tls_client = of("machine.pem").zip(of("machine.key")).filter(|_| client);
        })
    };
    works(machine("a", "ca.pem", true), machine("b", "ca.pem", true));
    // The server's certificate is of another authority; the server wants one of the machine.
    is_told(&mut machine("c", "other.pem", true), &["no connection to NATS", "`tls_ca`"]);
    is_told(&mut machine("d", "ca.pem", false), &["`tls_client`"]);
}

#[test]
fn files_that_cannot_be_used_are_refused_at_once() {
    let router = corelane::router::Builder::new(corelane::config::Config::default()).start().unwrap();
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR"));
    let empty = folder.join(format!("empty-{}.pem", std::process::id()));
    std::fs::write(&empty, "nothing").unwrap();
    let missing = folder.join("missing.pem");
    let refused = |change: &dyn Fn(&mut ClusterOptions)| {
        let mut options = ClusterOptions { machine: "a".to_owned(), ..ClusterOptions::default() };
        change(&mut options);
        match Cluster::start(&router, options).unwrap_err() {
            StartError::Options(text) => text,
            other => panic!("{other}"),
        }
    };
    let text = refused(&|options| options.tls_ca = Some(missing.clone()));
    assert!(text.starts_with("tls_ca: ") && text.contains("missing.pem"), "{text}");
    let text = refused(&|options| options.tls_ca = Some(empty.clone()));
    assert!(text.contains("has no CERTIFICATE"), "{text}");
    let text = refused(&|options| options.tls_client = Some((empty.clone(), missing.clone())));
    assert!(text.starts_with("tls_client: "), "{text}");
    let text = refused(&|options| options.credentials = Some(missing.clone()));
    assert!(text.starts_with("credentials: ") && text.contains("missing.pem"), "{text}");
    let text = refused(&|options| options.credentials = Some(empty.clone()));
    assert!(text.starts_with("credentials: "), "{text}");
    std::fs::remove_file(empty).unwrap();
    assert!(router.stats().cluster.is_none(), "it was never in a cluster");
}

#[test]
fn user_and_password_are_checked() {
    let config = |_: &Path| r#"authorization { user: "corelane", password: "secret" }"#.to_owned();
    let Some(nats) = Server::start_with("password", config) else { return };
    let machine = |name, password: &str| {
        Machine::with(&nats.url(), name, HOLD, |options| {
            options.user = Some(("corelane".to_owned(), password.to_owned()));
        })
    };
    works(machine("a", "secret"), machine("b", "secret"));
    let status = is_told(&mut machine("c", "wrong"), &["does not let this machine in", "`user`"]);
    assert!(!status.connected && status.state == "starting", "{status:?}");
}

/// A JWT of NATS, signed by its issuer.
fn jwt(issuer: &KeyPair, subject: &KeyPair, kind: &str, more: &str) -> String {
    let (issuer_key, subject_key) = (issuer.public_key(), subject.public_key());
    let head = URL_SAFE_NO_PAD.encode(r#"{"typ":"JWT","alg":"ed25519-nkey"}"#);
    let body = URL_SAFE_NO_PAD.encode(format!(
        r#"{{"jti":"{kind}","iat":1700000000,"iss":"{issuer_key}","name":"{kind}","sub":"{subject_key}","nats":{{{more}"type":"{kind}","version":2}}}}"#
    ));
    let signed = format!("{head}.{body}");
    let signature = URL_SAFE_NO_PAD.encode(issuer.sign(signed.as_bytes()).unwrap());
    format!("{signed}.{signature}")
}

#[test]
fn credentials_are_checked() {
    let (operator, account, system) =
        (KeyPair::new_operator(), KeyPair::new_account(), KeyPair::new_account());
    let config = |_: &Path| {
        let limits = r#""limits":{"subs":-1,"data":-1,"payload":-1,"imports":-1,"exports":-1,"wildcards":true,"conn":-1,"leaf":-1,"mem_storage":-1,"disk_storage":-1,"streams":-1,"consumer":-1},"#;
        let all = limits.replace(r#","mem_storage":-1,"disk_storage":-1,"streams":-1,"consumer":-1"#, "");
        format!(
            "operator: {}\nsystem_account: {}\nresolver: MEMORY\nresolver_preload {{\n {}: {}\n {}: {}\n}}\n",
            jwt(&operator, &operator, "operator", ""),
            system.public_key(),
            account.public_key(),
            jwt(&operator, &account, "account", limits),
            system.public_key(),
            jwt(&operator, &system, "account", &all),
        )
    };
    let Some(nats) = Server::start_with("credentials", config) else { return };
    // A user is valid if the account has signed it.
    let write = |file: &str, signer: &KeyPair| {
        let user = KeyPair::new_user();
        let token = jwt(signer, &user, "user", r#""pub":{},"sub":{},"subs":-1,"data":-1,"payload":-1,"#);
        let seed = user.seed().unwrap();
        let path = nats.folder().join(file);
        let text = format!(
            "-----BEGIN NATS USER JWT-----\n{token}\n------END NATS USER JWT------\n\n\
             -----BEGIN USER NKEY SEED-----\n{seed}\n------END USER NKEY SEED------\n"
        );
        std::fs::write(&path, text).unwrap();
        path
    };
    let (good, bad) = (write("good.creds", &account), write("bad.creds", &KeyPair::new_account()));
    let machine = |name, path: &Path| {
        Machine::with(&nats.url(), name, HOLD, |options| options.credentials = Some(path.to_owned()))
    };
    works(machine("a", &good), machine("b", &good));
    is_told(&mut machine("c", &bad), &["does not let this machine in", "`credentials`"]);
}

/// The configuration of a user with these permissions.
fn user(name: &str, publish: &[&str], subscribe: &[&str]) -> String {
    let list = |all: &[&str]| {
        let all: Vec<String> = all.iter().map(|one| format!("{:?}", one.replace("MACHINE", name))).collect();
        all.join(", ")
    };
    format!(
        "{{ user: {name:?}, password: \"secret\", permissions: {{ publish: {{ allow: [{}] }}, subscribe: {{ allow: [{}] }} }} }}\n",
        list(publish),
        list(subscribe)
    )
}

#[test]
fn the_documented_permissions_suffice_and_each_is_needed() {
    let without = |all: &[&'static str], place: usize| -> Vec<&'static str> {
        all.iter().enumerate().filter(|(one, _)| *one != place).map(|(_, text)| *text).collect()
    };
    let config = |_: &Path| {
        let mut users = user("a", PUBLISH, SUBSCRIBE) + &user("b", PUBLISH, SUBSCRIBE);
        for place in 0..ALWAYS {
            users += &user(&format!("publish{place}"), &without(PUBLISH, place), SUBSCRIBE);
        }
        for place in 0..SUBSCRIBE.len() {
            users += &user(&format!("subscribe{place}"), PUBLISH, &without(SUBSCRIBE, place));
        }
        format!("authorization {{ users: [\n{users}] }}\n")
    };
    let Some(nats) = Server::start_with("permissions", config) else { return };
    let machine = |name: &str| {
        Machine::with(&nats.url(), name, HOLD, |options| {
            options.user = Some((name.to_owned(), "secret".to_owned()));
        })
    };
    works(machine("a"), machine("b"));
    // So many names that a machine that starts is asked whether it keeps up.
    let options = async_nats::ConnectOptions::new().user_and_password("a".to_owned(), "secret".to_owned());
    crate::scale::fill(&nats.url(), options, 50_000);
    let missing = [("publish", &PUBLISH[..ALWAYS]), ("subscribe", SUBSCRIBE)];
    let missing = missing.iter().flat_map(|(kind, list)| list.iter().enumerate().map(move |one| (kind, one)));
    // All at once: a machine without an inbox says so only at its second try.
    std::thread::scope(|scope| {
        for (kind, (place, missing)) in missing {
            let name = format!("{kind}{place}");
            let mut one = machine(&name);
            scope.spawn(move || {
                // What NATS tells has a name for a wildcard.
                let subject = missing.replace("MACHINE", &name);
                let start = subject.split(['*', '>']).next().unwrap();
                is_told(&mut one, &["NATS refuses", start, "docs/cluster.md"]);
            });
        }
    });
    works(machine("a"), machine("b"));
}
