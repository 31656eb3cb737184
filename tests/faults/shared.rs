//! On a shared port no thread waits for a submitter, least of all the poller. Row R8; invariants I6, I8.

use super::harness::{Bench, PATIENCE, within};
use corelane::error::SubmitError;
use corelane::router::{Poller, SharedPort};
use std::ops::ControlFlow;
use std::sync::mpsc;
use std::time::Duration;

/// Whether `call` returns while another thread is in the middle of a batch.
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
        shared.submit_batch(batch, |_, result| match result {
            Ok(()) => ControlFlow::Continue(()),
            Err(_) => ControlFlow::Break(()),
        })
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
        assert_eq!(poller.poll_each(9, |_| ()), Ok(2), "the messages submitted meanwhile");
    }
    came_back
}

/// `sharedpoll`. I8: a poll returns while a submitter is inside its batch.
#[test]
fn a_poll_does_not_wait_for_a_submitter() {
    assert!(comes_back(|_, poller| assert_eq!(poller.poll_each(9, |_| ()), Ok(0))));
}

/// `sharedpoll`. I8, I6: arming before a sleep returns as well.
#[test]
fn arming_does_not_wait_for_a_submitter() {
    assert!(comes_back(|_, poller| {
        poller.arm();
    }));
}

/// `sharedpoll`. I8: a wait returns when its time is over.
#[test]
fn a_wait_does_not_wait_for_a_submitter() {
    assert!(comes_back(|_, poller| poller.wait(Duration::from_millis(1))));
}

/// I8: a submitter does not wait for another submitter's batch, which runs host code.
#[test]
fn a_submitter_does_not_wait_for_anothers_batch() {
    assert!(comes_back(|shared, _| {
        let forged = corelane::clients::ClientId(77);
        assert_eq!(shared.submit(forged, b"{}", 0), Err(SubmitError::StaleClient));
    }));
}
