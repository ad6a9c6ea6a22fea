use proptest::prelude::*;

use super::*;

const START: i64 = 1_704_067_200; // A Monday.

fn at(seconds: i64) -> Timestamp {
    Timestamp::from_second(START + seconds).unwrap()
}

/// Learns a demand, sampled each minute, from one day to another.
fn learn(predictor: &mut Predictor, from_day: i64, to_day: i64, demand: impl Fn(i64) -> f64) {
    for second in (from_day * 86_400..to_day * 86_400).step_by(60) {
        predictor.observe(at(second), demand(second));
    }
}

fn needed(predictor: &Predictor, second: i64) -> Option<f64> {
    match predictor.forecast(at(second), SignedDuration::from_secs(0)) {
        Forecast::Known { needed, .. } => Some((needed * 100.0).round() / 100.0),
        _ => None,
    }
}

/// Ten from 9 to 17, else two.
fn office(second: i64) -> f64 {
    if (9 * 3600..17 * 3600).contains(&(second % 86_400)) { 10.0 } else { 2.0 }
}

/// As in an office, and quiet on Saturday and Sunday.
fn week(second: i64) -> f64 {
    if second % (7 * 86_400) < 5 * 86_400 { office(second) } else { 1.0 }
}

#[test]
fn a_daily_pattern_is_foreseen_after_two_days() {
    let mut predictor = Predictor::default();
    learn(&mut predictor, 0, 1, office);
    assert_eq!(predictor.forecast(at(86_400), SignedDuration::from_secs(60)), Forecast::Learning);
    learn(&mut predictor, 1, 3, office);
    let nine = 3 * 86_400 + 9 * 3600;
    assert_eq!(needed(&predictor, nine - 60), Some(2.0));
    assert_eq!(needed(&predictor, nine), Some(10.0));
    let ahead = predictor.forecast(at(nine - 60), SignedDuration::from_secs(90));
    assert!(matches!(ahead, Forecast::Known { needed, error, .. } if needed == 10.0 && error < 0.01), "{ahead:?}");
}

#[test]
fn a_weekly_pattern_is_foreseen_after_two_weeks() {
    let mut predictor = Predictor::default();
    learn(&mut predictor, 0, 19, week);
    let saturday = 19 * 86_400 + 12 * 3600;
    assert_eq!(needed(&predictor, saturday), Some(1.0), "a Saturday is not like the Friday before");
    learn(&mut predictor, 19, 21, week);
    assert_eq!(needed(&predictor, 21 * 86_400 + 12 * 3600), Some(10.0), "and a Monday not like the Sunday");
}

#[test]
fn one_odd_day_is_forgiven() {
    let mut predictor = Predictor::default();
    learn(&mut predictor, 0, 10, office);
    learn(&mut predictor, 10, 11, |second| office(second) * 1.8);
    assert_eq!(needed(&predictor, 11 * 86_400 + 12 * 3600), Some(10.0));
}

#[test]
fn demand_without_a_pattern_is_not_predicted() {
    let mut predictor = Predictor::default();
    let mut rng = fastrand::Rng::with_seed(7);
    for second in (0..14 * 86_400).step_by(300) {
        predictor.observe(at(second), if rng.bool() { 20.0 } else { 1.0 });
    }
    let forecast = predictor.forecast(at(14 * 86_400), SignedDuration::from_secs(60));
    assert!(matches!(forecast, Forecast::Uncertain { error } if error > 0.3), "{forecast:?}");
    assert_eq!(forecast.raise(3, 0.1), 3);
}

#[test]
fn within_the_tolerance_the_forecast_agrees_with_the_metrics() {
    let forecast = |needed| Forecast::Known { needed, error: 0.1, season: Season::Daily };
    for (needed, proposed, wanted) in
        [(3.2, 3, 3), (3.4, 3, 4), (1.0, 5, 5), (0.05, 0, 0), (0.5, 0, 1), (f64::NAN, 2, 2), (1e30, 2, i32::MAX)]
    {
        assert_eq!(forecast(needed).raise(proposed, 0.1), wanted, "{needed} beside {proposed}");
    }
}

#[test]
fn a_start_up_is_what_the_annotation_says_or_the_median_of_the_pods() {
    let pod = |ready: &str, status: &str| -> Pod {
        serde_json::from_value(serde_json::json!({
            "metadata": {"creationTimestamp": "2026-03-02T08:00:00Z"},
            "status": {"conditions": [{"type": "Ready", "status": status, "lastTransitionTime": ready}]},
        }))
        .unwrap()
    };
    let pods = [
        pod("2026-03-02T08:00:10Z", "True"),
        pod("2026-03-02T08:00:40Z", "True"),
        pod("2026-03-02T08:00:20Z", "True"),
        pod("2026-03-02T08:00:01Z", "False"),
        pod("2026-03-02T12:00:00Z", "True"),
    ];
    let pods: Vec<&Pod> = pods.iter().collect();
    let none = BTreeMap::new();
    assert_eq!(start_up(&none, &pods), Some(SignedDuration::from_secs(20)));
    assert_eq!(start_up(&none, &[]), None);
    let own = BTreeMap::from([(START_UP_ANNOTATION.to_owned(), "1m30s".to_owned())]);
    assert_eq!(start_up(&own, &pods), Some(SignedDuration::from_secs(90)));
}

#[test]
fn annotations_that_mean_nothing_are_doubted() {
    let right = [(ANNOTATION, "enabled"), (START_UP_ANNOTATION, "45s"), ("other", "x")];
    assert_eq!(doubts(right), Vec::<String>::new());
    let wrong = doubts([(ANNOTATION, "true"), (START_UP_ANNOTATION, "soon")]);
    assert_eq!(wrong.len(), 2);
    assert!(wrong[0].ends_with("\"true\" has no effect: it is \"enabled\" or \"disabled\""), "{wrong:?}");
}

#[test]
fn a_restart_knows_what_was_known_before() {
    let mut predictor = Predictor::default();
    learn(&mut predictor, 0, 16, week);
    let days = predictor.record().to_days();
    let now = at(16 * 86_400 + 8 * 3600);
    let again = Predictor::new(Record::from_days(days.iter().map(|(day, cells)| (day.as_str(), cells.as_str())), now));
    let ahead = SignedDuration::from_hours(1);
    let (Forecast::Known { needed: before, season, .. }, Forecast::Known { needed: after, season: same, .. }) =
        (predictor.forecast(now, ahead), again.forecast(now, ahead))
    else {
        panic!("both know");
    };
    assert_eq!((before, season), (after, same));
}

#[test]
fn conditions_say_what_is_known() {
    let ahead = SignedDuration::from_secs(45);
    let known = Forecast::Known { needed: 4.25, error: 0.081, season: Season::Weekly };
    let (status, reason, message) = known.condition(ahead);
    assert_eq!((status, reason), (true, "Forecast"));
    assert_eq!(message, "the weekly pattern needs 4.2 replicas within 45s; its forecasts were off by 8 % lately");
    assert_eq!(Forecast::Learning.condition(ahead).1, "Learning");
    assert_eq!(Forecast::Uncertain { error: 0.5 }.condition(ahead).1, "ForecastUncertain");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn prediction_never_lowers_the_count(
        proposed in 0i32..1000, needed in prop::num::f64::ANY, error in 0.0f64..1.0, tolerance in 0.0f64..1.0,
    ) {
        for forecast in [Forecast::Learning, Forecast::Uncertain { error }, Forecast::Known { needed, error, season: Season::Daily }] {
            prop_assert!(forecast.raise(proposed, tolerance) >= proposed);
        }
    }

    #[test]
    fn constant_demand_asks_for_no_change(needed in 0.2f64..500.0, days in 1i64..22) {
        let mut predictor = Predictor::default();
        learn(&mut predictor, 0, days, |_| needed);
        // Any count that an autoscaler would leave alone.
        let forecast = predictor.forecast(at(days * 86_400), SignedDuration::from_secs(60));
        let count = needed.ceil() as i32;
        prop_assert_eq!(forecast.raise(count, 0.1), count);
    }

    #[test]
    fn a_shift_in_the_pattern_is_unlearned_within_two_weeks(
        old in prop::collection::vec(0.5f64..40.0, 7 * 6), new in prop::collection::vec(0.5f64..40.0, 7 * 6),
    ) {
        // A week of levels for four hours each.
        let level = |levels: &[f64], second: i64| levels[usize::try_from(second % (7 * 86_400) / (4 * 3600)).unwrap()];
        let mut predictor = Predictor::default();
        learn(&mut predictor, 0, 21, |second| level(&old, second));
        learn(&mut predictor, 21, 35, |second| level(&new, second));
        for hour in 0..7 * 24 {
            let second = 35 * 86_400 + hour * 3600;
            let weekly = predictor.pattern(Season::Weekly, bucket(at(second))).unwrap();
            prop_assert!((weekly - level(&new, second)).abs() < 1e-3);
        }
    }

    #[test]
    fn clock_jumps_and_gaps_do_no_harm(
        jumps in prop::collection::vec((-4_000_000i64..4_000_000, 1i64..300, -1.0f64..50.0), 1..40),
    ) {
        let mut predictor = Predictor::default();
        let mut clock = 40 * 86_400;
        for (jump, samples, value) in jumps {
            clock = (clock + jump).max(0);
            for _ in 0..samples {
                clock += 60;
                predictor.observe(at(clock), value);
            }
            // Whatever is forecast was demanded once.
            match predictor.forecast(at(clock), SignedDuration::from_secs(i64::MAX)) {
                Forecast::Known { needed, error, .. } => prop_assert!((0.0..=50.0).contains(&needed) && (0.0..=0.3).contains(&error)),
                Forecast::Uncertain { error } => prop_assert!(error <= 1.0),
                Forecast::Learning => {}
            }
        }
    }
}
