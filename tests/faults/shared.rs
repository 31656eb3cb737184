//! On a shared port nobody waits for who submits, least of all the poller. Row R8; invariants I6, I8.

use super::harness::{Bench, PATIENCE, within};
use corelane::error::{Error, Refused};
use corelane::router::{Poller, SharedPort};
use std::sync::mpsc;
use std::time::Duration;

/// Whether `call` comes back while another thread is in the middle of a batch, which ends behind it.
fn comes_back(call: impl FnOnce(&SharedPort, &mut Poller) + Send + 'static) -> bool {
    let mut bench = Bench::new(&[("workers", "2"), ("balance", "hash")]);
    let (shared, mut poller) = bench.port().share();
    let ann = shared.connect("ann", "generic", "", 1).unwrap();
    bench.cycle();
    let (inside, entered) = mpsc::channel();
    let other = shared.clone();
    let (go, goes) = mpsc::channel::<()>();
    let submitter = std::thread::spawn(move || {
        let message = &br#"{"type":"offer","to":"ann"}"#[..];
        let mut left = 2;
        let batch = std::iter::from_fn(|| {
            left -= 1;
            if left == 0 {
                inside.send(()).unwrap();
                let _ = goes.recv_timeout(2 * PATIENCE);
            }
            (left >= 0).then_some((ann, message, 1))
        });
        shared.submit_batch(batch, |_, result| result.is_ok())
    });
    entered.recv_timeout(PATIENCE).unwrap();
    let polled = within(move || {
        call(&other, &mut poller);
        poller
    });
    let came_back = polled.is_some();
    go.send(()).unwrap();
    assert_eq!(submitter.join().unwrap(), 2);
    if let Some(mut poller) = polled {
        bench.cycle();
        bench.cycle();
        assert_eq!(poller.poll(9, |_| ()), Ok(2), "what was submitted meanwhile");
    }
    came_back
}

/// `sharedpoll`. I8: a poll comes back while a submitter is inside its batch.
#[test]
fn a_poll_does_not_wait_for_a_submitter() {
    assert!(comes_back(|_, poller| assert_eq!(poller.poll(9, |_| ()), Ok(0))));
}

/// `sharedpoll`. I8, I6: so does what comes before a sleep.
#[test]
fn arming_does_not_wait_for_a_submitter() {
    assert!(comes_back(|_, poller| {
        poller.arm();
    }));
}

/// `sharedpoll`. I8: and a wait, once its time is over.
#[test]
fn a_wait_does_not_wait_for_a_submitter() {
    assert!(comes_back(|_, poller| poller.wait(Duration::from_millis(1))));
}

/// I8: nor does another submitter wait for one's batch, which is the host's own code.
#[test]
fn a_submitter_does_not_wait_for_anothers_batch() {
    assert!(comes_back(|shared, _| {
        let forged = corelane::clients::ClientId(77);
        assert_eq!(shared.submit(forged, b"{}", 0), Err(Error::Refused(Refused::Stale)));
    }));
}
