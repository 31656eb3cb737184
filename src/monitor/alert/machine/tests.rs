//! The machine against its table, and against random readings.

use super::{AlertMachine, Basis, Change, Direction, Input, MachineState, MachineStep, Notification, Terms};
use Input::{Changed, Gone, Nothing, Value};
use MachineState::{Firing, Inactive, Pending, Recovering};
use Notification::{Raised, Repeated, Resolved};
use proptest::prelude::*;

/// Trigger 100, clear 80; pending and keep 10, repeat 50, no cooldown.
const TERMS: Terms = Terms {
    direction: Direction::Above,
    trigger: 100.0,
    clear: 80.0,
    pending: 10,
    keep: 10,
    min_samples: 0,
    min_clients: 0,
    repeat: 50,
    cooldown: 0,
};

const BEYOND: Input = Value(101.0);
const BETWEEN: Input = Value(90.0);
const CLEAR: Input = Value(79.0);

/// A machine in `state` as of time 1000. If it fires, listeners have been notified.
fn machine(state: MachineState) -> AlertMachine {
    let told = matches!(state, Firing | Recovering { .. }).then_some(1000);
    AlertMachine { state, told, resolved: None }
}

/// Feeds (time, input) pairs. Returns the notifications and their times.
fn run(terms: &Terms, readings: &[(u64, Input)]) -> Vec<(u64, Notification)> {
    let mut machine = AlertMachine::default();
    let steps = readings.iter().map(|(now, input)| (*now, machine.step(terms, *input, *now)));
    steps.filter_map(|(now, step)| step.notification.map(|told| (now, told))).collect()
}

#[test]
fn every_state_takes_every_input_as_the_table_says() {
    let (new, pending) = (Pending { since: 1000, seen: false }, Pending { since: 1000, seen: true });
    let (recovering, later) = (Recovering { since: 1000 }, Recovering { since: 1050 });
    let (withdrawn, over) = (Some(Change::Withdrawn), Some(Change::Resolved));
    // The first look after a change of the thresholds.
    let [beyond, between, clear, nothing] = [Some(101.0), Some(90.0), Some(79.0), None].map(Changed);
    let rows = [
        (Inactive, BEYOND, 1005, Pending { since: 1005, seen: false }, Some(Change::Pending), None),
        (Inactive, BETWEEN, 1005, Inactive, None, None),
        (Inactive, CLEAR, 1005, Inactive, None, None),
        (Inactive, Nothing, 1005, Inactive, None, None),
        (Inactive, beyond, 1005, Pending { since: 1005, seen: false }, Some(Change::Pending), None),
        (Inactive, between, 1005, Inactive, None, None),
        (Inactive, clear, 1005, Inactive, None, None),
        (Inactive, nothing, 1005, Inactive, None, None),
        (Inactive, Gone, 1005, Inactive, None, None),
        // Long after the first look, but without a look in between.
        (new, BEYOND, 9999, pending, None, None),
        (pending, BEYOND, 1009, pending, None, None),
        (pending, BEYOND, 1010, Firing, Some(Change::Raised), Some(Raised)),
        (pending, BETWEEN, 1010, Inactive, withdrawn, None),
        (pending, CLEAR, 1010, Inactive, withdrawn, None),
        (pending, Nothing, 1010, Inactive, withdrawn, None),
        (pending, beyond, 1010, Pending { since: 1010, seen: false }, None, None),
        (pending, between, 1010, Inactive, withdrawn, None),
        (pending, clear, 1010, Inactive, withdrawn, None),
        (pending, nothing, 1010, Inactive, withdrawn, None),
        (pending, Gone, 1010, Inactive, withdrawn, None),
        (Firing, BEYOND, 1049, Firing, None, None),
        (Firing, BEYOND, 1050, Firing, None, Some(Repeated)),
        (Firing, BETWEEN, 1050, Firing, None, None),
        (Firing, CLEAR, 1050, later, Some(Change::Recovering), None),
        (Firing, Nothing, 1050, later, Some(Change::Recovering), None),
        (Firing, beyond, 1050, Firing, None, Some(Repeated)),
        (Firing, between, 1001, Inactive, over, Some(Resolved)),
        (Firing, clear, 1001, Inactive, over, Some(Resolved)),
        (Firing, nothing, 1001, Inactive, over, Some(Resolved)),
        (Firing, Gone, 1001, Inactive, over, Some(Resolved)),
        (recovering, BEYOND, 1050, Firing, Some(Change::Relapsed), None),
        (recovering, BETWEEN, 1050, later, None, None),
        (recovering, CLEAR, 1009, recovering, None, None),
        (recovering, CLEAR, 1010, Inactive, over, Some(Resolved)),
        (recovering, Nothing, 1009, recovering, None, None),
        (recovering, Nothing, 1010, Inactive, over, Some(Resolved)),
        (recovering, beyond, 1050, Firing, Some(Change::Relapsed), None),
        (recovering, between, 1001, Inactive, over, Some(Resolved)),
        (recovering, clear, 1001, Inactive, over, Some(Resolved)),
        (recovering, nothing, 1001, Inactive, over, Some(Resolved)),
        (recovering, Gone, 1001, Inactive, over, Some(Resolved)),
    ];
    for (before, input, now, after, change, notification) in rows {
        let mut machine = machine(before);
        let step = machine.step(&TERMS, input, now);
        assert_eq!(machine.state(), after, "{before:?} {input:?} {now}");
        assert_eq!(step, MachineStep { change, notification, withheld: false }, "{before:?} {input:?} {now}");
    }
}

#[test]
fn without_times_it_is_raised_and_resolved_at_once() {
    let terms = Terms { pending: 0, keep: 0, ..TERMS };
    let told = run(&terms, &[(1, CLEAR), (2, BEYOND), (3, BETWEEN), (4, CLEAR), (5, BEYOND)]);
    assert_eq!(told, [(2, Raised), (4, Resolved), (5, Raised)]);
}

#[test]
fn below_is_the_mirror() {
    let terms = Terms { direction: Direction::Below, trigger: 10.0, clear: 20.0, pending: 0, ..TERMS };
    let readings = [10.0, 9.9, 15.0, 20.0, 20.1, 20.1].map(Value);
    let readings: Vec<_> = (0..).step_by(10).zip(readings).collect();
    assert_eq!(run(&terms, &readings), [(10, Raised), (50, Resolved)]);
}

#[test]
fn silence_resolves_as_a_good_value_does() {
    let told =
        run(&TERMS, &[(0, BEYOND), (5, BEYOND), (10, BEYOND), (20, Nothing), (25, CLEAR), (30, Nothing)]);
    assert_eq!(told, [(10, Raised), (30, Resolved)]);
}

#[test]
fn a_value_on_equal_thresholds_tells_nothing() {
    let terms = Terms { clear: 100.0, pending: 0, keep: 0, ..TERMS };
    for before in [Inactive, Firing] {
        let mut machine = machine(before);
        for now in (2000..20_000).step_by(100) {
            assert_eq!(machine.step(&terms, Value(100.0), now), MachineStep::default());
        }
        assert_eq!(machine.state(), before);
    }
}

#[test]
fn nothing_is_told_between_the_thresholds() {
    let terms = Terms { pending: 0, keep: 0, ..TERMS };
    for before in [Inactive, Firing] {
        let mut machine = machine(before);
        for (now, value) in (2000..20_000).step_by(100).zip([80.0, 99.9, 100.0, 80.1].into_iter().cycle()) {
            assert_eq!(machine.step(&terms, Value(value), now), MachineStep::default());
        }
    }
}

#[test]
fn it_is_told_again_at_each_interval_and_never_where_that_is_zero() {
    let readings: Vec<_> = (0..200).step_by(10).map(|now| (now, BEYOND)).collect();
    let terms = Terms { pending: 0, ..TERMS };
    assert_eq!(run(&terms, &readings), [(0, Raised), (50, Repeated), (100, Repeated), (150, Repeated)]);
    assert_eq!(run(&Terms { repeat: 0, ..terms }, &readings), [(0, Raised)]);
}

#[test]
fn a_cooldown_delays_the_message_and_not_the_state() {
    let terms = Terms { pending: 0, keep: 0, cooldown: 30, ..TERMS };
    let mut machine = AlertMachine::default();
    for (now, input, state, notification) in [
        (0, BEYOND, Firing, Some(Raised)),
        (10, CLEAR, Inactive, Some(Resolved)),
        (20, BEYOND, Firing, None),
        (30, BEYOND, Firing, None),
        (40, BETWEEN, Firing, Some(Raised)),
        (89, BEYOND, Firing, None),
        (90, BEYOND, Firing, Some(Repeated)),
        (100, CLEAR, Inactive, Some(Resolved)),
    ] {
        let step = machine.step(&terms, input, now);
        assert_eq!((machine.state(), step.notification), (state, notification), "{now}");
    }
}

#[test]
fn what_ends_within_the_cooldown_is_withheld_and_does_not_lengthen_it() {
    let terms = Terms { pending: 0, keep: 0, cooldown: 30, ..TERMS };
    let mut machine = AlertMachine::default();
    let withheld: Vec<_> = (0..80)
        .step_by(10)
        .zip([BEYOND, CLEAR].into_iter().cycle())
        .map(|(now, input)| machine.step(&terms, input, now))
        .map(|step| (step.notification, step.withheld))
        .collect();
    let told = |notification| (Some(notification), false);
    let (silent, lost) = ((None, false), (None, true));
    assert_eq!(
        withheld,
        [told(Raised), told(Resolved), silent, lost, told(Raised), told(Resolved), silent, lost]
    );
}

#[test]
fn only_an_inactive_one_that_has_cooled_down_is_forgotten() {
    let terms = Terms { cooldown: 30, ..TERMS };
    for state in [Pending { since: 1, seen: true }, Firing, Recovering { since: 1 }] {
        assert!(!machine(state).is_forgettable(&terms, u64::MAX));
    }
    let machine = AlertMachine { resolved: Some(1000), ..AlertMachine::default() };
    assert!(!machine.is_forgettable(&terms, 1029));
    assert!(machine.is_forgettable(&terms, 1030));
}

#[test]
fn what_rests_on_too_little_and_what_is_no_number_is_worth_nothing() {
    let terms = Terms { min_samples: 20, min_clients: 2, ..TERMS };
    let basis = |samples, clients| Basis { samples, clients };
    assert_eq!(terms.value(5.0, basis(19, Some(2))), None);
    assert_eq!(terms.value(5.0, basis(20, Some(1))), None);
    assert_eq!(terms.value(5.0, basis(20, None)), None);
    assert_eq!(terms.value(5.0, basis(20, Some(2))), Some(5.0));
    assert_eq!(Terms { min_clients: 1, ..terms }.value(5.0, basis(20, None)), Some(5.0));
    assert_eq!(TERMS.value(f64::NAN, Basis::WHOLE), None);
    for value in [f64::INFINITY, f64::NEG_INFINITY] {
        assert_eq!(TERMS.value(value, Basis::WHOLE), Some(value));
    }
}

fn readings() -> impl Strategy<Value = Vec<(u64, Input)>> {
    let changed = proptest::option::of(70.0..110.0).prop_map(Changed);
    let input =
        prop_oneof![9 => (70.0..110.0).prop_map(Value), 2 => Just(Nothing), 1 => changed, 1 => Just(Gone)];
    proptest::collection::vec((0u64..20, input), 1..200)
}

fn some_terms() -> impl Strategy<Value = Terms> {
    let times = (0u64..20, 0u64..20, 0u64..60, 0u64..60);
    (times, 80.0f64..=100.0).prop_map(|((pending, keep, repeat, cooldown), clear)| Terms {
        clear,
        pending,
        keep,
        repeat,
        cooldown,
        ..TERMS
    })
}

proptest! {
    #[test]
    fn what_is_told_alternates_and_every_transition_is_told_or_counted(
        terms in some_terms(),
        readings in readings(),
    ) {
        let (mut machine, mut now) = (AlertMachine::default(), 0);
        let (mut fires, mut last_resolved) = (false, None::<u64>);
        // Changes without a notification so far: raised, resolved.
        let (mut raised, mut resolved) = (0i32, 0i32);
        for (passed, input) in readings {
            now += passed;
            let step = machine.step(&terms, input, now);
            raised += i32::from(step.change == Some(Change::Raised));
            resolved += i32::from(step.change == Some(Change::Resolved));
            match step.notification {
                Some(Raised) => {
                    prop_assert!(!fires);
                    prop_assert!(last_resolved.is_none_or(|at| now - at >= terms.cooldown));
                    (fires, raised) = (true, raised - 1);
                }
                Some(Repeated) => prop_assert!(fires),
                Some(Resolved) => {
                    prop_assert!(fires);
                    (fires, resolved, last_resolved) = (false, resolved - 1, Some(now));
                }
                None => {}
            }
            if step.withheld {
                (raised, resolved) = (raised - 1, resolved - 1);
            }
            prop_assert_eq!(resolved, 0);
            // Only an alert that is firing or recovering during the cooldown may lack its notification.
            let active = matches!(machine.state(), Firing | Recovering { .. });
            prop_assert_eq!(raised, i32::from(active && !fires));
            prop_assert!(terms.cooldown > 0 || raised == 0);
        }
    }
}
