use super::*;

fn problem(result: Result<impl Sized, MetricError>) -> String {
    result.err().map_or_else(String::new, |error| error.to_string())
}

#[test]
fn names_are_those_that_promlint_lets_pass() {
    let customs = Customs::new(10);
    let labelled = |labels: &[&str]| Descriptor::new("a_total", "a").labels(labels);
    for (descriptor, part) in [
        (Descriptor::new("", "a"), "snake_case"),
        (Descriptor::new("9_total", "a"), "snake_case"),
        (Descriptor::new("_a_total", "a"), "snake_case"),
        (Descriptor::new("aB_total", "a"), "snake_case"),
        (Descriptor::new("a:b_total", "a"), "snake_case"),
        (Descriptor::new("a__b_total", "a"), "snake_case"),
        (Descriptor::new("a_total_", "a"), "snake_case"),
        (Descriptor::new(&"a".repeat(200), "a"), "snake_case"),
        (Descriptor::new("corelane_a_total", "a"), "reserved"),
        (Descriptor::new("process_a_total", "a"), "reserved"),
        (Descriptor::new("scrape_a_total", "a"), "reserved"),
        (Descriptor::new("jobs", "a"), "must end in _total"),
        (Descriptor::new("jobs_count_total", "a"), "suffix"),
        (Descriptor::new("wait_ms_total", "a"), "base units"),
        (Descriptor::new("wait_milliseconds_total", "a"), "base units"),
        (Descriptor::new("jobs_counter_total", "a"), "must not contain its type"),
        (Descriptor::new("jobs_total", "a").unit("seconds"), "base unit"),
        (Descriptor::new("jobs_minutes_total", "a").unit("minutes"), "base units"),
        (Descriptor::new("wait_seconds_total", "a"), "set this unit"),
        (Descriptor::new("jobs_total", " "), "help"),
        (Descriptor::new("jobs_total", "two\nlines"), "help"),
        (labelled(&["le"]), "label"),
        (labelled(&["a-b"]), "label"),
        (labelled(&["a", "b", "a"]), "twice"),
        (labelled(&["a", "b", "c", "d", "e", "f", "g", "h", "i"]), "8 labels"),
        (labelled(&["a"]).max_series(0), "at least 1 series"),
    ] {
        let text = problem(customs.counter(&descriptor));
        assert!(text.contains(part), "{descriptor:?}: {text}");
    }
    assert!(problem(customs.gauge(&Descriptor::new("a_total", "a"))).contains("no other name"));
    assert!(problem(customs.histogram(&Descriptor::new("a", "a"))).contains("seconds"));
    assert!(problem(customs.gauge(&Descriptor::new("up", "a"))).contains("reserved"));
    customs.counter(&Descriptor::new("wait_seconds_total", "a").unit("seconds")).unwrap();
    // Starts with `up`, the name of Prometheus' own metric of each target, but is a different name.
    customs.counter(&Descriptor::new("uploads_total", "a")).unwrap();
}

#[test]
fn a_name_is_one_metric() {
    let customs = Customs::new(10);
    let jobs = Descriptor::new("jobs_total", "Jobs").labels(&["kind"]);
    customs.counter(&jobs).unwrap().with(&["a"]).unwrap().add(2);
    customs.counter(&jobs).unwrap().with(&["a"]).unwrap().add(3);
    assert_eq!(customs.stats().families[0].series[0].value, Some(5.0));
    let other = Descriptor::new("jobs_total", "Other").labels(&["kind"]);
    assert!(problem(customs.counter(&other)).contains("another kind, help"));
    assert!(problem(customs.gauge(&Descriptor::new("jobs", "Jobs"))).contains("samples of that name"));
    customs.histogram(&Descriptor::new("run_seconds", "Runs").unit("seconds")).unwrap();
    assert!(problem(customs.gauge(&Descriptor::new("run_seconds_count", "a"))).contains("suffix"));
    let values = customs.counter(&jobs).unwrap().with(&["a", "b"]);
    assert_eq!(
        problem(values),
        "the metric \"jobs_total\" has 1 labels, but 2 values were given: give one value per label"
    );
}

#[test]
fn threads_lose_nothing_and_handles_outlive_the_registry() {
    let customs = Customs::new(10);
    let counter = customs.counter(&Descriptor::new("a_total", "a")).unwrap().with(&[]).unwrap();
    let gauge = customs.gauge(&Descriptor::new("level", "b")).unwrap().with(&[]).unwrap();
    let seconds = Descriptor::new("run_seconds", "c").unit("seconds");
    let histogram = customs.histogram(&seconds).unwrap().with(&[]).unwrap();
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                for number in 0..10_000 {
                    counter.add(number % 3);
                    gauge.add(0.5);
                    histogram.record(number);
                }
            });
        }
    });
    gauge.set(f64::NAN);
    gauge.add(f64::NAN);
    let stats = customs.stats();
    let value = |place: usize| &stats.families[place].series[0];
    assert_eq!((value(0).value, value(1).value), (Some(8.0 * 9_999.0), Some(40_000.0)));
    let times = value(2).histogram.as_ref().unwrap();
    assert_eq!((times.count, times.maximum, times.distribution.sum()), (80_000, Some(9_999), 8 * 49_995_000));
    gauge.set(-3.5);
    assert_eq!(customs.stats().families[1].series[0].value, Some(-3.5));
    const LARGEST: u64 = (1 << 62) - 1;
    for value in [0, 1, 1 << 36, LARGEST, LARGEST + 1, u64::MAX, -5i64 as u64] {
        histogram.record(value);
    }
    let times = customs.stats().families[2].clone();
    assert_eq!(times.ignored, 3, "2^62, and what was negative");
    let times = times.series[0].histogram.as_ref().unwrap();
    assert_eq!((times.count, times.maximum, times.distribution.overflows()), (80_004, Some(LARGEST), 2));
    drop(customs);
    counter.add(1);
}

#[test]
fn a_hundred_thousand_values_stay_within_the_budget_and_add_up() {
    let customs = Customs::new(20);
    let wide = Descriptor::new("a_total", "a").labels(&["name"]).max_series(16);
    let wide = customs.counter(&wide).unwrap();
    for number in 0..100_000 {
        wide.with(&[&format!("value-{number}")]).unwrap().add(1);
    }
    let long = customs.counter(&Descriptor::new("more_total", "b").labels(&["name", "more"])).unwrap();
    for number in 0..10 {
        long.with(&[&format!("{number}{}", "ä".repeat(100)), ""]).unwrap().add(1);
    }
    let stats = customs.stats();
    let [wide, long] = &stats.families[..] else { panic!("two families") };
    assert_eq!((wide.series.len(), wide.folded), (16 + 1, 100_000 - 16));
    assert_eq!(wide.series.iter().filter_map(|one| one.value).sum::<f64>(), 100_000.0);
    assert_eq!(wide.series[16].labels, [("name".to_owned(), "other".to_owned())]);
    assert_eq!(wide.series[16].value, Some(100_000.0 - 16.0));
    // 20 in total: one `other` series per family, 16 series of the first family, and the 2 that are left.
    assert_eq!((long.series.len(), long.folded), (2 + 1, 8));
    assert!(long.series.iter().all(|one| one.labels[0].1.len() <= 64));
    assert_eq!(long.series.iter().filter_map(|one| one.value).sum::<f64>(), 10.0);
    assert!(problem(customs.gauge(&Descriptor::new("depth", "c"))).contains("max_custom_series"));
}

#[test]
fn as_many_sets_as_were_declared_have_series_of_their_own() {
    let customs = Customs::new(10);
    let kinds = Descriptor::new("joins_total", "a").labels(&["kind"]).max_series(2);
    let kinds = customs.counter(&kinds).unwrap();
    // A label set that the host itself names `other` uses the shared series and takes no other series' place.
    for kind in ["other", "audio", "video", "data"] {
        kinds.with(&[kind]).unwrap().add(1);
    }
    let family = &customs.stats().families[0];
    let shown: Vec<_> = family.series.iter().map(|one| (one.labels[0].1.as_str(), one.value)).collect();
    assert_eq!(shown, [("other", Some(2.0)), ("audio", Some(1.0)), ("video", Some(1.0))]);
    assert_eq!(family.folded, 1);
}

#[test]
fn a_sum_that_reaches_the_end_stays_there() {
    let customs = Customs::new(10);
    let counter = customs.counter(&Descriptor::new("a_total", "a")).unwrap().with(&[]).unwrap();
    let size = Descriptor::new("frame_bytes", "b").unit("bytes");
    let size = customs.histogram(&size).unwrap().with(&[]).unwrap();
    let mut last = (0.0, 0);
    const LARGEST: u64 = (1 << 62) - 1;
    for value in [0, 1, 1 << 36, LARGEST, 1, LARGEST, LARGEST, LARGEST, LARGEST, 1 << 36] {
        // From two threads, so that two cells of the counter are used.
        std::thread::scope(|scope| scope.spawn(|| counter.add(value)).join().unwrap());
        counter.add(value);
        size.record(value);
        let stats = customs.stats();
        let sum =
            |place: usize| stats.families[place].series[0].histogram.clone().unwrap().distribution.sum();
        let now = (stats.families[0].series[0].value.unwrap(), sum(1));
        assert!(now >= last && now.1 >= last.1, "{value}: from {last:?} to {now:?}");
        last = now;
        if value == 1 << 36 && now.1 < 1 << 60 {
            assert_eq!(now, (2.0 + (1u64 << 37) as f64, 1 + (1 << 36)));
        }
    }
    assert_eq!(last, (u64::MAX as f64, u64::MAX), "both have reached the end");
    let stats = customs.stats();
    let sizes = stats.families[1].series[0].histogram.as_ref().unwrap();
    assert_eq!((sizes.count, sizes.minimum, sizes.maximum), (10, Some(0), Some(LARGEST)));
}

#[test]
fn what_is_no_number_leaves_a_gauge_as_it_was_and_is_counted() {
    let customs = Customs::new(10);
    let gauge = customs.gauge(&Descriptor::new("level", "a")).unwrap().with(&[]).unwrap();
    gauge.set(2.0);
    gauge.set(f64::NAN);
    gauge.add(f64::NAN);
    let shown = || {
        let family = &customs.stats().families[0];
        (family.series[0].value, family.ignored)
    };
    assert_eq!(shown(), (Some(2.0), 2));
    gauge.add(f64::INFINITY);
    assert_eq!(shown(), (Some(f64::INFINITY), 2));
    // Their sum is NaN.
    gauge.add(f64::NEG_INFINITY);
    assert_eq!(shown(), (Some(f64::INFINITY), 3));
}

#[test]
fn many_values_at_once_are_as_many_single_ones() {
    let customs = Customs::new(10);
    let wait = |name: &str| {
        customs.histogram(&Descriptor::new(name, "A wait.").unit("seconds")).unwrap().with(&[]).unwrap()
    };
    let (one, all) = (wait("one_wait_seconds"), wait("all_wait_seconds"));
    let values = [1000, 5, 1 << 63, 70_000_000, 5];
    values.iter().for_each(|value| one.record(*value));
    all.record_all(&values);
    all.record_all(&[]);
    let text = |wait: &CustomHistogram| {
        let Cells::Histogram(values) = &*wait.0 else { panic!() };
        let mut into = crate::metrics::Distribution::default();
        values.histogram.collect(0, &mut into);
        (format!("{into:?}"), values.histogram.generation(), values.ignored.get())
    };
    assert_eq!(text(&one), text(&all));
    assert_eq!(text(&all).1, 4);
}
