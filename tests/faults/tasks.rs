//! Messages that are handed out to the host as tasks. Row R8; invariants I4, I9.

use super::harness::{Bench, SUM, sums};
use corelane::error::{Failed, StaleTask};
use corelane::router::TaskId;
use std::time::Duration;

/// `task_other`. I4: a worker rejects another worker's task and counts nothing for it.
#[test]
fn a_task_is_its_own_workers_alone() {
    let mut bench = Bench::built(&[("workers", "2"), ("balance", "round_robin")], sums);
    let mut port = bench.port();
    let ann = port.connect("ann", "generic", "", 1).unwrap();
    for number in 0..2 {
        port.submit(ann, SUM, number).unwrap();
    }
    port.publish();
    let now = bench.clock.now();
    let mut tasks: Vec<Vec<TaskId>> = Vec::new();
    for worker in &mut bench.workers {
        let mut own = Vec::new();
        worker.take(now, 10, |task| own.push(task.id()));
        tasks.push(own);
    }
    let (first, second) = (tasks[0][0], tasks[1][0]);
    let before = bench.router.accounting();
    for (worker, foreign) in [(0, second), (1, first)] {
        let worker = &mut bench.workers[worker];
        assert!(worker.task(foreign).is_none());
        assert_eq!(worker.done(foreign, Duration::from_nanos(1), Err(Failed::HandlerFailed)), Err(StaleTask));
        let answered = worker
            .done_with(foreign, Duration::from_nanos(1), |_| panic!("an answer to another worker's task"));
        assert_eq!(answered, Err(StaleTask));
    }
    assert_eq!(bench.router.accounting(), before);
    for (worker, own) in [(0, first), (1, second)] {
        assert_eq!(bench.workers[worker].done(own, Duration::from_nanos(1), Ok(())), Ok(()));
        assert_eq!(bench.workers[worker].done(own, Duration::from_nanos(1), Ok(())), Err(StaleTask));
    }
    bench.drain(&mut [&mut port]);
    bench.assert_quiet(2, 0);
    assert_eq!(bench.router.accounting().ok, 2);
}

/// `stop_tasks_backlog`. R9: while a stop waits for a task, the backlog is still delivered.
#[test]
fn a_stop_that_waits_for_a_task_delivers_the_backlog() {
    let set = [("workers", "1"), ("ring_bytes", "4096"), ("backlog_bytes", "65536"), ("max_ports", "2")];
    let mut bench = Bench::built(&set, sums);
    let (mut port, mut other) = (bench.port(), bench.port());
    let ann = port.connect("ann", "generic", "", 1).unwrap();
    other.connect("bob", "generic", "", 2).unwrap();
    bench.turn(&mut port);
    for number in 0..200 {
        port.submit(ann, br#"{"type":"offer","to":"bob"}"#, number).unwrap();
        port.publish();
        bench.cycle();
    }
    port.submit(ann, SUM, 999).unwrap();
    port.publish();
    let now = bench.clock.now();
    let mut tasks = Vec::new();
    bench.workers[0].take(now, 10, |task| tasks.push(task.id()));
    bench.router.request_stop();
    let mut numbers = Vec::new();
    for _ in 0..100 {
        bench.workers[0].take(now, 10, |_| ());
        let mut each = |event: corelane::router::Event<'_>| {
            if let corelane::router::Event::Message(message) = event {
                numbers.push(message.correlation);
            }
        };
        other.poll_each(1_000, &mut each).unwrap();
    }
    assert!(!bench.workers[0].is_stopped());
    assert_eq!(numbers, (0..200).collect::<Vec<_>>(), "while the task is out");
    bench.workers[0].done(tasks[0], Duration::from_nanos(1), Ok(())).unwrap();
    for _ in 0..9 {
        bench.workers[0].take(now, 10, |_| ());
    }
    assert!(bench.workers[0].is_stopped());
    super::harness::poll_to_the_end(&mut port);
    super::harness::poll_to_the_end(&mut other);
    bench.assert_quiet(201, 200);
    assert_eq!(bench.router.accounting().undeliverable, 0);
}
