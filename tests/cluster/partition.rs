//! A NATS server that is cut off from the other two, with the machine that is connected to it.

use crate::machine::{Machine, offer, wait_for};
use crate::server::{Server, free_port};
use corelane::cluster::{ClaimError, LostReason};
use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// The number of a server that is cut off. `NOBODY`: none.
type Cut = Arc<AtomicUsize>;
const NOBODY: usize = usize::MAX;

/// Stands before a server's address for routes. Who connects tells its name; connections from and to a server that is cut off
/// end, and no new ones begin.
struct Door {
    port: u16,
    is_over: Arc<AtomicBool>,
    /// Both ends of each connection, with the number of who opened it.
    open: Arc<Mutex<Vec<(usize, TcpStream, TcpStream)>>>,
}

impl Door {
    fn before(number: usize, route: u16, cut: &Cut) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let (is_over, open) = (Arc::new(AtomicBool::new(false)), Arc::new(Mutex::new(Vec::new())));
        let (over, list, cut) = (Arc::clone(&is_over), Arc::clone(&open), Arc::clone(cut));
        std::thread::spawn(move || {
            for from in listener.incoming().map_while(Result::ok) {
                if over.load(Ordering::SeqCst) {
                    return;
                }
                if cut.load(Ordering::SeqCst) == number {
                    continue;
                }
                let Ok(to) = TcpStream::connect(("127.0.0.1", route)) else { continue };
                let (list, cut) = (Arc::clone(&list), Arc::clone(&cut));
                std::thread::spawn(move || {
                    let (back_from, back_to) = (to.try_clone().unwrap(), from.try_clone().unwrap());
                    std::thread::spawn(move || copy(back_from, back_to));
                    // Nothing of who connects passes before its name is known.
                    if let Some((opener, start)) = opener(&from)
                        && cut.load(Ordering::SeqCst) != opener
                        && (&to).write_all(&start).is_ok()
                    {
                        let both = (from.try_clone().unwrap(), to.try_clone().unwrap());
                        list.lock().unwrap().push((opener, both.0, both.1));
                        copy(from, to);
                    } else {
                        end(&from);
                        end(&to);
                    }
                });
            }
        });
        Self { port, is_over, open }
    }

    /// Ends the connections of a server, or all.
    fn close(&self, is_meant: impl Fn(usize) -> bool) {
        self.open.lock().unwrap().retain(|(opener, from, to)| {
            let is_meant = is_meant(*opener);
            if is_meant {
                end(from);
                end(to);
            }
            !is_meant
        });
    }
}

impl Drop for Door {
    fn drop(&mut self) {
        self.is_over.store(true, Ordering::SeqCst);
        self.close(|_| true);
        let _ = TcpStream::connect(("127.0.0.1", self.port)); // The thread sees that it is over.
    }
}

fn end(stream: &TcpStream) {
    let _ = stream.shutdown(Shutdown::Both);
}

fn copy(mut from: TcpStream, mut to: TcpStream) {
    let _ = std::io::copy(&mut from, &mut to);
    end(&from);
    end(&to);
}

/// The number of the server that has opened a connection, and the bytes that told it.
fn opener(mut from: &TcpStream) -> Option<(usize, Vec<u8>)> {
    let mut start = Vec::new();
    let mut part = [0; 4096];
    while start.len() < 64 << 10 {
        let count = from.read(&mut part).ok().filter(|count| *count > 0)?;
        start.extend_from_slice(&part[..count]);
        let text = String::from_utf8_lossy(&start).into_owned();
        for name in [r#""server_name":"s"#, r#""name":"s"#] {
            if let Some(number) = text.split(name).nth(1).and_then(|rest| rest.chars().next()?.to_digit(10)) {
                return Some((number as usize, start));
            }
        }
    }
    None
}

/// The machine whose server is alone cannot renew its lease: it is fenced before another machine gets one of its names. The other
/// two go on. After that all is as before, except the name that was taken.
#[test]
fn a_server_that_is_cut_off_fences_its_machine() {
    if crate::server::program().is_none() {
        return;
    }
    let cut: Cut = Arc::new(AtomicUsize::new(NOBODY));
    let routes: Vec<u16> = (0..3).map(|_| free_port()).collect();
    let doors: Vec<Door> =
        routes.iter().enumerate().map(|(number, route)| Door::before(number, *route, &cut)).collect();
    let ports: Vec<u16> = doors.iter().map(|door| door.port).collect();
    let servers = Server::start_behind("partition", &routes, &ports).unwrap();
    let mut machines: Vec<Machine> =
        servers.iter().zip(["a", "b", "c"]).map(|(server, name)| Machine::new(&server.url(), name)).collect();
    machines.iter().for_each(|machine| machine.join(2));
    machines[0].connect("ann");
    machines[0].connect("al");
    machines[1].connect("ben");
    machines[2].connect("cat");
    let knows = |machine: &Machine, count| machine.cluster.status().names_known == count;
    machines.iter().for_each(|machine| wait_for("all names", || knows(machine, 4)));
    exchange(&mut machines, 0, "ann", 1, "ben", 1);
    // Acknowledged: otherwise it would end as lost.
    machines[0].settled();

    cut.store(0, Ordering::SeqCst);
    doors[0].close(|_| true);
    doors.iter().for_each(|door| door.close(|opener| opener == 0));
    // B and C go on, with names and messages.
    wait_for("a claim", || machines[1].cluster.claim_blocking("bob", "t", Duration::from_secs(5)).is_ok());
    wait_for("b and c have a link", || {
        machines[1].cluster.status().links.iter().any(|link| link.up && link.machine == "c")
    });
    exchange(&mut machines, 1, "ben", 2, "cat", 2);
    // Until A is fenced, nobody gets its names.
    let mut taken = None;
    wait_for("ann is free", || {
        taken = machines[1].cluster.claim_blocking("ann", "other", Duration::from_secs(5)).ok();
        taken.is_some()
    });
    let alone = machines[0].cluster.status();
    assert!(alone.fenced && alone.connected, "{alone:?}");
    assert_eq!(
        machines[0].cluster.claim_blocking("al", "token", Duration::from_secs(5)).unwrap_err(),
        ClaimError::Fenced
    );
    machines[0].offer("ann", "al", 3);
    assert_eq!(machines[0].get(1), [offer("ann", "al", 3)]);

    cut.store(NOBODY, Ordering::SeqCst);
    let lost = machines[0].lost.recv_timeout(crate::machine::LONG).unwrap();
    assert_eq!((lost.name.as_str(), lost.reason), ("ann", LostReason::Taken));
    machines[0].disconnect("ann");
    machines.iter().for_each(|machine| machine.join(2));
    // `al`, `ben` and `cat` are where they were; `ann` is at B.
    for machine in &machines {
        wait_for("all names again", || knows(machine, 4));
    }
    wait_for("each has its own", || {
        let owned = machines.iter().map(|machine| machine.cluster.status().names_owned);
        owned.eq([1, 2, 1])
    });
    exchange(&mut machines, 0, "al", 2, "cat", 4);
    exchange(&mut machines, 2, "cat", 0, "al", 5);
    assert!(machines.iter().all(|machine| machine.lost.try_recv().is_err()));
    for machine in &mut machines {
        machine.settled();
    }
}

/// A message of one machine's client arrives at another's.
fn exchange(machines: &mut [Machine], from: usize, sender: &str, to: usize, recipient: &str, number: u64) {
    machines[from].offer(sender, recipient, number);
    machines[from].port.wait(Duration::from_millis(1));
    assert_eq!(machines[to].get(1), [offer(sender, recipient, number)]);
}
