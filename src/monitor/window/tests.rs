//! The windows, checked with hand-worked examples for every field and every boundary.

use super::model::{SPANS, at, tick};
use super::{Delta, SlotStats, WindowStats, Windows};
use crate::metrics::{CELLS, LatencyStats, index, lower_bound, upper_bound};
use crate::monitor::slots::{SECOND, Span, WindowTime};
use std::collections::BTreeMap;

#[test]
fn a_hand_worked_window() {
    let mut windows = Windows::new(24, 0);
    let mut cells = vec![0; CELLS];
    // Eight values of 10 ns, one of 100 ns, and one above all cells, in two ticks that span two seconds.
    cells[10] = 8;
    windows.tick(SECOND, &Delta { cells: &cells, sum: 80, errors: 1, slow: 0, bytes: 800 });
    cells[10] = 0;
    (cells[82], cells[1024]) = (1, 1);
    let top = (1 << 36) + 5;
    windows.tick(2 * SECOND, &Delta { cells: &cells, sum: 100 + top, errors: 1, slow: 2, bytes: 200 });
    let moment = WindowTime { now: 2 * SECOND, origin_milliseconds: 5_000 };
    let wanted = WindowStats {
        start_milliseconds: 5_000,
        end_milliseconds: 7_000,
        latency: LatencyStats {
            count: 10,
            average: Some((180 + top) / 10),
            minimum: Some(10),
            maximum: Some(top),
            p50: Some(10),
            // The ninth of ten values: 100 is the lower of two values that share a cell.
            p90: Some(101),
            p95: Some(top),
            p99: Some(top),
            p999: Some(top),
            ..LatencyStats::default()
        },
        errors: 2,
        error_rate: Some(0.2),
        slow: 2,
        slow_rate: Some(0.2),
        bytes: 1_000,
        total_nanoseconds: 180 + top,
        overflows: 1,
        throughput_per_second: Some(5.0),
    };
    for span in SPANS {
        assert_eq!(windows.window(span, moment, top), wanted);
    }

    let slots: Vec<_> = windows.slots(Span::Minute, moment, top).collect();
    let first = SlotStats {
        start_milliseconds: 5_000,
        end_milliseconds: 6_000,
        is_open: false,
        latency: LatencyStats {
            count: 8,
            average: Some(10),
            minimum: Some(10),
            maximum: Some(10),
            p50: Some(10),
            p90: Some(10),
            p95: Some(10),
            p99: Some(10),
            p999: Some(10),
            ..LatencyStats::default()
        },
        errors: 1,
        slow: 0,
        bytes: 800,
    };
    let second = SlotStats {
        start_milliseconds: 6_000,
        end_milliseconds: 7_000,
        latency: LatencyStats {
            count: 2,
            average: Some((100 + top) / 2),
            minimum: Some(100),
            maximum: Some(top),
            p50: Some(101),
            p90: Some(top),
            p95: Some(top),
            p99: Some(top),
            p999: Some(top),
            ..LatencyStats::default()
        },
        slow: 2,
        bytes: 200,
        ..first.clone()
    };
    assert_eq!(slots, [first, second]);
    let quarter: Vec<_> =
        windows.slots(Span::Day, moment, top).map(|slot| (slot.is_open, slot.latency.count)).collect();
    assert_eq!(quarter, [(true, 10)]);
}

#[test]
fn an_empty_window_has_no_latency_and_no_rate_of_errors() {
    let mut windows = Windows::new(24, SECOND);
    let window = windows.window(Span::Minute, at(SECOND), 77);
    assert_eq!((window.latency.count, window.throughput_per_second, window.error_rate), (0, None, None));
    windows.tick(3 * SECOND, &Delta::default());
    for span in SPANS {
        let window = windows.window(span, at(3 * SECOND), 77);
        assert_eq!((window.start_milliseconds, window.end_milliseconds), (1_000, 3_000));
        assert_eq!((window.error_rate, window.throughput_per_second), (None, Some(0.0)));
        assert_eq!(
            (window.latency.average, window.latency.minimum, window.latency.maximum),
            (None, None, None)
        );
        assert_eq!(
            (
                window.latency.p50,
                window.latency.p90,
                window.latency.p95,
                window.latency.p99,
                window.latency.p999
            ),
            (None, None, None, None, None)
        );
        assert!(serde_json::to_string(&window).unwrap().contains("\"p99\":null"));
        let slots: Vec<_> = windows.slots(span, at(3 * SECOND), 77).collect();
        assert_eq!((slots.len(), slots[0].latency.p50, slots[0].latency.maximum), (1, None, None));
    }
}

#[test]
fn the_maximum_of_all_time_bounds_what_a_cell_says() {
    let mut windows = Windows::new(24, 0);
    tick(&mut windows, SECOND, &[1_000_000]);
    let maximum = |top| windows.window(Span::Day, at(0), top).latency.maximum;
    let cell = index(1_000_000);
    assert_eq!(maximum(1_000_000), Some(1_000_000));
    assert_eq!(maximum(u64::MAX), Some(upper_bound(cell)));
    // A maximum that was read before the value must not move the result out of the value's cell.
    assert_eq!(maximum(0), Some(lower_bound(cell)));
}

#[test]
fn what_a_cell_cannot_hold_is_counted_in_the_next_slot() {
    let mut windows = Windows::new(24, 0);
    let most = u64::from(u32::MAX);
    let mut cells = vec![0; CELLS];
    (cells[3], cells[50]) = (2 * most + 10, 90);
    let count = 2 * most + 100;
    windows.tick(SECOND, &Delta { cells: &cells, sum: 3 * count, errors: count, slow: 0, bytes: 2 * count });
    for second in 2..=4 {
        windows.tick(second * SECOND, &Delta::default());
    }
    let window = windows.window(Span::Minute, at(0), 50);
    assert_eq!((window.latency.count, window.errors, window.bytes), (count, count, 2 * count));
    assert_eq!(
        (window.latency.p50, window.latency.maximum, window.error_rate),
        (Some(3), Some(50), Some(1.0))
    );
    let slots: Vec<_> = windows.slots(Span::Minute, at(0), 50).collect();
    let counts: Vec<_> = slots.iter().map(|slot| slot.latency.count).collect();
    assert_eq!(counts, [most + 90, most, 10, 0]);
    assert_eq!(
        slots.iter().map(|slot| slot.latency.maximum).collect::<Vec<_>>(),
        [Some(50), Some(3), Some(3), None]
    );
    assert_eq!(
        slots.iter().map(|slot| slot.latency.average).collect::<Vec<_>>(),
        [Some(3), Some(3), Some(3), None]
    );
    assert_eq!(slots.iter().map(|slot| slot.errors).sum::<u64>(), count);
    // The day has counted it in its open slot, and carries the rest when that slot closes.
    for quarter in 1..=3 {
        windows.tick(quarter * 15 * 60 * SECOND, &Delta::default());
    }
    let quarters: Vec<_> = windows.slots(Span::Day, at(0), 50).map(|slot| slot.latency.count).collect();
    assert_eq!((quarters, windows.tier(Span::Minute).rolling()), (vec![most + 90, most, 10], vec![]));
    assert_eq!(windows.window(Span::Day, at(0), 50).latency.count, count);
}

#[test]
fn sums_do_not_drift_in_thousands_of_ticks() {
    let mut windows = Windows::new(1, 0);
    let (mut now, mut state) = (0, 1u64);
    for round in 0..6_000 {
        // Any multiplicative generator would do; this one is Knuth's.
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        now += SECOND - 50_000_000 + (state >> 32) % 100_000_000;
        let values: Vec<u64> = (0..state >> 61).map(|shift| (state >> 27) >> (shift * 3)).collect();
        tick(&mut windows, now, &values);
        if round % 500 < 2 {
            for span in SPANS {
                let tier = windows.tier(span);
                let mut sum = BTreeMap::new();
                for (cell, count) in tier.closed().into_iter().flatten().chain(tier.open()) {
                    *sum.entry(cell).or_insert(0) += count;
                }
                assert_eq!(tier.rolling(), sum.into_iter().collect::<Vec<_>>(), "{span:?} {round}");
            }
        }
    }
    assert_eq!(windows.tier(Span::Minute).closed().len(), 60);
    assert_eq!(windows.tier(Span::Hour).closed().len(), 60);
}

#[test]
fn who_looks_late_is_not_told_what_is_over() {
    let mut windows = Windows::new(24, 0);
    tick(&mut windows, SECOND, &[5]);
    tick(&mut windows, 2 * SECOND, &[6, 7]);
    tick(&mut windows, 2 * SECOND + 1, &[8]);
    let look = |now| {
        let window = windows.window(Span::Minute, at(now), 8);
        let slots: Vec<_> = windows.slots(Span::Minute, at(now), 8).map(|slot| slot.latency.count).collect();
        (
            window.start_milliseconds,
            window.latency.count,
            window.total_nanoseconds,
            window.latency.minimum,
            slots,
        )
    };
    assert_eq!(look(61 * SECOND - 1), (0, 4, 26, Some(5), vec![1, 2, 1]));
    assert_eq!(look(61 * SECOND), (1_000, 3, 21, Some(6), vec![2, 1]));
    // The open slot never leaves the window, because its end is in the future.
    assert_eq!(look(3_600 * SECOND), (2_000, 1, 8, Some(8), vec![1]));
}

#[test]
fn a_reset_empties_everything_and_counting_goes_on() {
    let mut windows = Windows::new(24, 0);
    for second in 1..=100 {
        tick(&mut windows, second * SECOND, &[second, 1 << 36]);
    }
    windows.reset(100 * SECOND + 5);
    for span in SPANS {
        let window = windows.window(span, at(0), 0);
        assert_eq!(
            (window.latency.count, window.latency.maximum, window.overflows, window.bytes),
            (0, None, 0, 0)
        );
        assert_eq!((window.start_milliseconds, window.end_milliseconds), (100_000, 100_000));
        assert_eq!(windows.slots(span, at(0), 0).count(), 0);
    }
    tick(&mut windows, 102 * SECOND, &[9]);
    for span in SPANS {
        let window = windows.window(span, at(0), 9);
        assert_eq!((window.latency.count, window.latency.maximum, window.total_nanoseconds), (1, Some(9), 9));
        assert_eq!(windows.slots(span, at(0), 9).count(), 1);
    }
}

#[test]
fn cells_beyond_the_last_count_as_overflow_and_missing_ones_as_none() {
    let mut windows = Windows::new(24, 0);
    let mut cells = vec![0; CELLS + 9];
    cells[CELLS + 8] = 4;
    windows.tick(SECOND, &Delta { cells: &cells, ..Delta::default() });
    windows.tick(2 * SECOND, &Delta { cells: &[0, 3], ..Delta::default() });
    for span in SPANS {
        let window = windows.window(span, at(0), 1 << 40);
        assert_eq!((window.latency.count, window.overflows, window.latency.p99), (7, 4, Some(1 << 40)));
        assert_eq!(window.latency.minimum, Some(1));
    }
}

#[test]
fn it_takes_what_it_says() {
    for hours in [1, 24, 168] {
        let windows = Windows::new(hours, 0);
        let tiers = SPANS.map(|span| windows.tier(span).allocated());
        assert_eq!(Windows::bytes(hours), size_of::<Windows>() + tiers.iter().sum::<usize>());
    }
    assert!(Windows::bytes(24) < 940 * 1024, "{}", Windows::bytes(24));
}
