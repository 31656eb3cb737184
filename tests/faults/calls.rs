//! Synchronous calls: never from inside a worker, no call slot lost for good, and every call counted. Rows R4, R8;
//! invariants I4, I9.

use super::harness::{Bench, PATIENCE, SUM, sums, until, within};
use corelane::clients::ClientId;
use corelane::clock::Stamp;
use corelane::error::{RouteError, SubmitError, TakenOver};
use corelane::router::{Action, Builder, Port, ProtocolRules, Routed, SharedPort, TaskId, Worker};
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

const PING: &[u8] = br#"{"type":"ping"}"#;

/// How long a blocking call would wait.
const LONG: Duration = Duration::from_secs(2);

type Routes = Vec<Result<Routed, RouteError>>;

/// `handler_routes`. R8: a handler's call fails at once because the handler must not wait, even if the host drives
/// the worker. Nothing is counted. After the cycle the thread is no worker's thread and may call.
#[test]
fn a_handler_may_not_route() {
    let given: Arc<Mutex<Option<(SharedPort, Port, ClientId)>>> = Arc::default();
    let results: Arc<Mutex<Routes>> = Arc::default();
    let (inside, told) = (Arc::clone(&given), Arc::clone(&results));
    let mut bench = Bench::built(&[("workers", "1")], |builder| {
        builder.handler("generic", "offer", move |_| {
            let mut given = inside.lock().unwrap();
            let (shared, port, ann) = given.as_mut().unwrap();
            let mut told = told.lock().unwrap();
            told.push(shared.route(*ann, PING, LONG));
            told.push(port.route(*ann, PING, LONG));
            told.extend(port.route_batch(&[(*ann, PING)], LONG));
            Ok(())
        })
    });
    let (shared, _poller) = bench.port().share();
    let ann = shared.connect("ann", "generic", "", 1).unwrap();
    *given.lock().unwrap() = Some((shared.clone(), bench.port(), ann));
    shared.submit(ann, br#"{"type":"offer"}"#, 0).unwrap();
    bench.cycle();
    assert_eq!(*results.lock().unwrap(), vec![Err(RouteError::OwnThread); 3]);
    let figures = bench.router.accounting();
    assert_eq!((figures.submitted, figures.ok, figures.refused), (1, 1, 0), "{figures:?}");
    assert_eq!(shared.route(ann, PING, Duration::from_millis(1)), Err(RouteError::TimedOut));
    *given.lock().unwrap() = None;
}

/// `handler_routes`. R8: code that answers a task may not call either.
#[test]
fn an_answer_may_not_route() {
    let mut bench = Bench::built(&[("workers", "1")], sums);
    let mut port = bench.port();
    let ann = port.connect("ann", "generic", "", 1).unwrap();
    port.submit(ann, SUM, 0).unwrap();
    port.publish();
    let mut tasks = Vec::new();
    bench.workers[0].take(bench.clock.now(), 9, |task| tasks.push(task.id()));
    let mut result = None;
    bench.workers[0]
        .done_with(tasks[0], Duration::from_nanos(1), |_| {
            result = Some(port.route(ann, PING, LONG));
            Ok(())
        })
        .unwrap();
    assert_eq!(result, Some(Err(RouteError::OwnThread)));
    let figures = bench.router.accounting();
    assert_eq!((figures.submitted, figures.ok, figures.refused), (1, 1, 0), "{figures:?}");
    assert_eq!(port.route(ann, PING, Duration::from_millis(1)), Err(RouteError::TimedOut));
}

/// `handler_routes`. R8: a handler may not call through another router's port either, because that router's worker
/// may wait for this one.
#[test]
fn a_handler_may_not_route_on_another_router() {
    let other = Bench::new(&[("workers", "1")]);
    let mut port = other.port();
    let ben = port.connect("ben", "generic", "", 1).unwrap();
    let (port, result) = (Mutex::new(port), Arc::new(Mutex::new(None)));
    let told = Arc::clone(&result);
    let mut bench = Bench::built(&[("workers", "1")], |builder| {
        builder.handler("generic", "offer", move |_| {
            *told.lock().unwrap() = Some(port.lock().unwrap().route(ben, PING, LONG));
            Ok(())
        })
    });
    let mut own = bench.port();
    let ann = own.connect("ann", "generic", "", 1).unwrap();
    own.submit(ann, br#"{"type":"offer"}"#, 0).unwrap();
    bench.turn(&mut own);
    assert_eq!(*result.lock().unwrap(), Some(Err(RouteError::OwnThread)));
}

/// Drives a worker on a separate thread, and keeps the tasks that it takes until it is told to finish them.
struct Taker {
    thread: Option<std::thread::JoinHandle<Worker>>,
    finish: Arc<AtomicBool>,
    end: Arc<AtomicBool>,
}

impl Taker {
    fn start(mut worker: Worker, now: impl Fn() -> Stamp + Send + 'static) -> Self {
        let (finish, end) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicBool::new(false)));
        let (finishes, ends) = (Arc::clone(&finish), Arc::clone(&end));
        let thread = std::thread::spawn(move || {
            let mut out: Vec<TaskId> = Vec::new();
            while !ends.load(SeqCst) {
                worker.take(now(), 9, |task| out.push(task.id()));
                if finishes.load(SeqCst) {
                    out.drain(..)
                        .for_each(|task| worker.done(task, Duration::from_nanos(1), Ok(())).unwrap());
                }
                worker.wait(Duration::from_millis(1));
            }
            worker
        });
        Self { thread: Some(thread), finish, end }
    }

    fn stop(mut self) -> Worker {
        self.end.store(true, SeqCst);
        self.thread.take().unwrap().join().unwrap()
    }
}

/// Ends the thread, so that a failing test leaves no thread running.
impl Drop for Taker {
    fn drop(&mut self) {
        self.end.store(true, SeqCst);
    }
}

/// `calls_exhausted`. R8: a call that timed out returns its call slot, even while its task is still out.
#[test]
fn calls_that_timed_out_give_their_places_back() {
    let set = [("workers", "1"), ("max_calls", "2")];
    let mut bench = Bench::built(&set, |builder| sums(builder).base_route(|_| true));
    let mut port = bench.port();
    let ann = port.connect("ann", "generic", "", 1).unwrap();
    let clock = bench.clock.clone();
    let taker = Taker::start(bench.workers.remove(0), move || clock.now());
    let time = Duration::from_millis(50);
    let (mut started, mut late) = (0, 0);
    let give_up = Instant::now() + PATIENCE;
    while started < 5 && Instant::now() < give_up {
        match port.route(ann, SUM, time) {
            Err(RouteError::TimedOutStarted) => started += 1,
            // On a busy machine the call may time out before its task is handed out.
            Ok(Routed::TakenOver { reason: TakenOver::TimedOut, .. }) => late += 1,
            other => panic!("after {started} calls: {other:?}"),
        }
    }
    assert_eq!(started, 5);
    // A message that is not handed out waits behind the client's task.
    let unhandled = Ok(Routed::TakenOver { reason: TakenOver::TimedOut, success: true });
    assert_eq!(port.route_batch(&[(ann, PING), (ann, PING)], time), [unhandled, unhandled]);
    taker.finish.store(true, SeqCst);
    let routed = port.route_batch(&[(ann, PING), (ann, PING), (ann, PING)], PATIENCE);
    assert_eq!(routed, vec![Ok(Routed::Delivered); 3]);
    bench.workers.push(taker.stop());
    bench.drain(&mut [&mut port]);
    bench.assert_quiet(10 + late, 0);
    let figures = bench.router.accounting();
    assert_eq!((figures.ok, figures.taken_over, figures.refused), (8, 2 + late, 0), "{figures:?}");
}

/// One call occupies the only call slot while `then` runs. A worker ends the call afterwards.
fn with_one_call_waiting(
    extend: impl FnOnce(Builder) -> Builder,
    then: impl FnOnce(&SharedPort, ClientId),
) -> Bench {
    let mut bench = Bench::built(&[("workers", "1"), ("max_calls", "1")], extend);
    let (shared, mut poller) = bench.port().share();
    let ann = shared.connect("ann", "generic", "", 1).unwrap();
    let calling = shared.clone();
    let first =
        std::thread::spawn(move || within(move || calling.route(ann, PING, Duration::from_secs(3_600))));
    until(|| bench.router.accounting().submitted == 1);
    then(&shared, ann);
    until(|| {
        bench.cycle();
        first.is_finished()
    });
    assert_eq!(first.join().unwrap(), Some(Ok(Routed::Delivered)));
    assert_eq!(poller.poll_each(1, |_| ()), Ok(0));
    bench
}

/// `calls_exhausted`. I9, I4: a call that finds no call slot counts as submitted and refused for that reason.
#[test]
fn a_call_without_a_place_is_counted() {
    let bench = with_one_call_waiting(
        |builder| builder,
        |shared, ann| {
            assert_eq!(shared.route(ann, PING, LONG), Err(RouteError::Refused(SubmitError::TooManyCalls)))
        },
    );
    let figures = bench.router.accounting();
    assert_eq!(figures.refusals.counted(), [("too_many_calls", 1)]);
    bench.assert_quiet(2, 0);
}

/// `calls_exhausted`. R4: if there is a base route, it takes over the message of a call without a call slot.
#[test]
fn the_base_route_takes_a_call_without_a_place_over() {
    let bench = with_one_call_waiting(
        |builder| builder.base_route(|_| true),
        |shared, ann| match shared.route(ann, PING, LONG) {
            Ok(Routed::TakenOver { reason, success }) => {
                assert_eq!((reason.label(), success), ("too_many_calls", true));
            }
            other => panic!("{other:?}"),
        },
    );
    let figures = bench.router.accounting();
    assert_eq!((figures.takeovers.get("too_many_calls"), figures.refused), (1, 0));
    bench.assert_quiet(2, 0);
}

/// R8: a call may wait without a time limit.
#[test]
fn a_call_without_an_end_of_its_time_is_answered() {
    let set = [("workers", "1"), ("pin", "off"), ("max_queue_wait_ms", "600000")];
    let builder = Builder::new(super::harness::config(&set));
    let router = builder.start().unwrap();
    let mut port = router.port().unwrap();
    let ann = port.connect("ann", "generic", "", 1).unwrap();
    let results = within(move || {
        let mut results = vec![port.route(ann, PING, Duration::MAX)];
        results.extend(port.route_batch(&[(ann, PING), (ann, PING)], Duration::MAX));
        let (shared, _poller) = port.share();
        results.push(shared.route(ann, PING, Duration::MAX));
        results
    });
    assert_eq!(results, Some(vec![Ok(Routed::Delivered); 4]));
}

/// R9: a drain with nothing to wait for, and a stop, return even without a time limit.
#[test]
fn a_drain_and_a_stop_without_an_end_of_their_time_come_to_theirs() {
    let builder = Builder::new(super::harness::config(&[("workers", "1"), ("pin", "off")]));
    let router = builder.start().unwrap();
    let results = within(move || (router.drain(Duration::MAX), router.stop_within(Duration::MAX)));
    assert_eq!(results, Some((Ok(()), Ok(()))));
}

/// R9: a stop still handles messages that were published before it. A waiting caller that observes the stop must not
/// mistake it for a time-out.
#[test]
fn a_stop_answers_the_calls_that_it_still_handles() {
    let bench = Bench::built(&[("workers", "1")], |builder| {
        // The second caller has been waiting for a while when its message is handled.
        builder.protocol(slow_rules()).handler("generic", "slow", |_| {
            std::thread::sleep(Duration::from_millis(50));
            Ok(())
        })
    });
    let Bench { router, mut workers, clock, .. } = bench;
    let mut port = router.port().unwrap();
    let ann = port.connect("ann", "generic", "", 1).unwrap();
    workers[0].cycle(clock.now());
    let slow: &[u8] = br#"{"type":"slow"}"#;
    let answers = std::thread::scope(|scope| {
        let caller = scope.spawn(|| port.route_batch(&[(ann, PING), (ann, slow), (ann, PING)], PATIENCE));
        until(|| router.stats().workers[0].queue_messages == 3);
        router.request_stop();
        workers[0].cycle(clock.now());
        caller.join().unwrap()
    });
    assert_eq!(answers, vec![Ok(Routed::Delivered); 3]);
}

fn slow_rules() -> ProtocolRules {
    ProtocolRules::generic().message_type("slow", Action::Handler { hold: false })
}
