//! What holds whatever the figures, the history and the clock.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a failed step of a test is its failure")]

use std::sync::LazyLock;

use autoscaling::{
    Moment, Settings, Tolerances,
    behavior::Bounds,
    decide::{Autoscaler, Demand, Reading, Scale, Seen, Status},
    history::History,
    pods::{Phase, Ready, Sample, State},
    replicas::{Current, Measured, Target, by_average, by_pods, by_value},
};
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::{autoscaling::v2::HorizontalPodAutoscaler, core::v1::Pod};
use proptest::prelude::*;
use serde_json::{Value, json};

const START: i64 = 1_800_000_000;

fn time(second: i64) -> Timestamp {
    Timestamp::from_second(second).unwrap()
}

fn moment(second: i64) -> Moment {
    Moment { wall: time(START + second), steady: SignedDuration::from_secs(second) }
}

fn autoscaler(min: i32, max: i32, behavior: &Value) -> Autoscaler {
    let target = json!({"type": "Utilization", "averageUtilization": 50});
    let object = json!({"metadata": {"namespace": "n"}, "spec": {
        "scaleTargetRef": {"kind": "Deployment", "name": "d"}, "minReplicas": min, "maxReplicas": max, "behavior": behavior,
        "metrics": [{"type": "Resource", "resource": {"name": "cpu", "target": target}}]}});
    let object: HorizontalPodAutoscaler = serde_json::from_value(object).unwrap();
    Autoscaler::of(&object, &Settings::default())
}

/// Pods that have been ready for long, each asking for a whole core.
static PODS: LazyLock<Vec<Pod>> = LazyLock::new(|| {
    let pod = |index: i32| {
        json!({"metadata": {"name": format!("p{index}")},
            "spec": {"containers": [{"name": "c", "resources": {"requests": {"cpu": "1"}}}]},
            "status": {"phase": "Running", "startTime": time(START - 9000),
                "conditions": [{"type": "Ready", "status": "True", "lastTransitionTime": time(START - 8000)}]}})
    };
    (0..1100).map(|index| serde_json::from_value(pod(index)).unwrap()).collect()
});

fn pods(count: i32) -> Vec<&'static Pod> {
    PODS.iter().take(usize::try_from(count).unwrap()).collect()
}

/// Looks at so many pods that share `millis` of a core.
fn sight<R>(count: i32, millis: i64, now: Moment, look: impl FnOnce(Seen<'_>) -> R) -> R {
    let scale = Scale { replicas: count, observed: count, selector: "a=b".to_owned() };
    let pods = pods(count);
    let each = millis / i64::from(count.max(1));
    let sample = Sample { millis: each, at: now.wall, window: SignedDuration::from_secs(15) };
    let readings = [Ok(Reading::Pods { samples: vec![Some(sample); pods.len()], strangers: 0 })];
    look(Seen { scale: &scale, pods: Ok(&pods), readings: &readings, demand: Demand::Unknown })
}

/// One round of an autoscaler whose pods share `millis` of a core; returns the count after it.
fn round(
    autoscaler: &Autoscaler,
    status: &mut Status,
    history: &mut History,
    count: i32,
    millis: i64,
    now: Moment,
) -> i32 {
    let decision = sight(count, millis, now, |seen| autoscaler.decide(status, seen, history, now));
    match decision.scale.as_ref().map(|(to, _)| *to) {
        None => {
            *status = decision.held();
            count
        }
        Some(to) => {
            autoscaler.scaled(history, count, to, now);
            *status = decision.done(now).0;
            to
        }
    }
}

fn policy() -> impl Strategy<Value = Value> {
    (any::<bool>(), 1..=100_i32, 1..=120_i32).prop_map(|(percent, value, period)| {
        json!({"type": if percent { "Percent" } else { "Pods" }, "value": value, "periodSeconds": period})
    })
}

fn rules() -> impl Strategy<Value = Value> {
    let select = prop_oneof![Just("Max"), Just("Min"), Just("Disabled")];
    (prop::collection::vec(policy(), 1..3), select, 0..=120_i32).prop_map(|(policies, select, window)| {
        json!({"policies": policies, "selectPolicy": select, "stabilizationWindowSeconds": window})
    })
}

fn behavior() -> impl Strategy<Value = Value> {
    prop_oneof![Just(Value::Null), (rules(), rules()).prop_map(|(up, down)| json!({"scaleUp": up, "scaleDown": down}))]
}

/// How far a policy lets a count go from the one that there was at the start of its period.
fn reach(policy: &Value, start: i32, up: bool) -> i64 {
    let (value, start) = (policy["value"].as_i64().unwrap(), i64::from(start));
    match (policy["type"] == "Percent", up) {
        (false, true) => start + value,
        (false, false) => start - value,
        (true, true) => (start as f64 * (1.0 + value as f64 / 100.0)).ceil() as i64,
        (true, false) => (start as f64 * (1.0 - value as f64 / 100.0)) as i64,
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn a_count_stays_within_its_bounds_and_its_policies(
        behavior in behavior(),
        (min, span) in (0..5_i32, 0..60_i32),
        loads in prop::collection::vec((0..40_000_i64, 1..60_i64), 1..40),
    ) {
        let max = min.max(1) + span;
        let autoscaler = autoscaler(min, max, &behavior);
        let (mut count, mut second) = (min.max(1), 0);
        let (mut status, mut history) = (Status::default(), History::restored(count, None, moment(0)));
        let mut counts = vec![(0, count)];
        for (load, pause) in loads {
            second += pause;
            let next = round(&autoscaler, &mut status, &mut history, count, load, moment(second));
            prop_assert!((min..=max).contains(&next), "{next} of {min}..{max}");
            let direction = if next > count { "scaleUp" } else { "scaleDown" };
            if next != count && !behavior.is_null() {
                let rules = &behavior[direction];
                prop_assert_ne!(&rules["selectPolicy"], "Disabled");
                let allowed = rules["policies"].as_array().unwrap().iter().map(|policy| {
                    let from = second - policy["periodSeconds"].as_i64().unwrap();
                    // The count when the period began: the last change before it.
                    let start = counts.iter().rev().find(|(at, _)| *at <= from).map_or(counts[0].1, |(_, count)| *count);
                    reach(policy, start, next > count)
                });
                let within = |reach: i64| if next > count { i64::from(next) <= reach } else { i64::from(next) >= reach };
                let all: Vec<bool> = allowed.map(within).collect();
                let holds = if rules["selectPolicy"] == "Min" { all.iter().all(|one| *one) } else { all.iter().any(|one| *one) };
                prop_assert!(holds, "{count} -> {next} by {rules}");
            }
            counts.push((second, next));
            count = next;
        }
    }

    #[test]
    fn an_early_look_raises_only_what_a_round_would_raise_too(
        behavior in behavior(),
        loads in prop::collection::vec((0..40_000_i64, 1..60_i64), 1..40),
    ) {
        let autoscaler = autoscaler(1, 50, &behavior);
        let (mut count, mut second, mut changed) = (1, 0, -100);
        let (mut status, mut history) = (Status::default(), History::restored(count, None, moment(0)));
        for (load, pause) in loads {
            second += pause;
            let now = moment(second);
            let early = sight(count, load, now, |seen| autoscaler.rises_early(seen, &history, now));
            let next = round(&autoscaler, &mut status, &mut history, count, load, now);
            prop_assert!(!early || next > count && second - changed >= 10, "{count} -> {next}");
            changed = if next == count { changed } else { second };
            count = next;
        }
    }

    #[test]
    fn a_constant_demand_comes_to_rest(behavior in behavior(), load in 1..30_000_i64, from in 1..60_i32) {
        let autoscaler = autoscaler(1, 100, &behavior);
        let (mut count, mut status) = (from, Status::default());
        let mut history = History::restored(count, None, moment(0));
        let mut turns = 0;
        let mut last = 0;
        for index in 1..=300 {
            let next = round(&autoscaler, &mut status, &mut history, count, load, moment(index * 15));
            let direction = (next - count).signum();
            turns += i32::from(direction != 0 && last != 0 && direction != last);
            last = if direction == 0 { last } else { direction };
            prop_assert!(index < 290 || next == count, "still moving: {count} -> {next}");
            count = next;
        }
        // A percentage is whole: that of many pods may show a little less than there is, and that of few then more.
        prop_assert!(turns <= 1, "it turned {turns} times");
    }

    #[test]
    fn more_of_the_same_demand_never_asks_for_fewer_pods(
        loads in prop::collection::vec(0..4_000_i64, 1..12),
        factor in 1..10_i64,
        target in 1..200_i32,
    ) {
        let settings = Settings::default();
        // As many as are wanted are there: "within tolerance" is about those.
        let replicas = i32::try_from(loads.len()).unwrap();
        let current = Current { replicas, tolerances: Tolerances::both(0.1), settings: &settings, now: time(START) };
        let count = |factor: i64| {
            let pod = |load: &i64| Measured { state: settled(), sample: Some(sample(load * factor)), pods: 1 };
            let pods: Vec<Measured> = loads.iter().map(pod).collect();
            let requests = || Ok(vec![1000; pods.len()]);
            by_pods(&pods, 0, Target::Utilization(target), true, &current, requests).unwrap().replicas
        };
        prop_assert!(count(factor + 1) >= count(factor));
        let total: i64 = loads.iter().sum();
        let value = |factor: i64| by_value(total * factor, 1000, (loads.len(), loads.len()), &current).unwrap().replicas;
        prop_assert!(value(factor + 1) >= value(factor));
        let each = |factor: i64| by_average(total * factor, 1000, current.replicas, &current).unwrap().replicas;
        prop_assert!(each(factor + 1) >= each(factor));
    }

    #[test]
    fn figures_that_say_nothing_never_scale_down(
        kinds in prop::collection::vec(0..4_u8, 1..12),
        current in 1..20_i32,
    ) {
        let settings = Settings::default();
        let pod = |kind: &u8| Measured {
            state: settled(),
            sample: match kind {
                // Nothing at all, nothing that can be true, nothing recent, and more than can be.
                0 => None,
                1 => Some(sample(-5)),
                2 => Some(Sample { at: time(START - 3600), ..sample(0) }),
                _ => Some(sample(i64::MAX)),
            },
            pods: 1,
        };
        let pods: Vec<Measured> = kinds.iter().map(pod).collect();
        let current = Current { replicas: current, tolerances: Tolerances::both(0.1), settings: &settings, now: time(START) };
        for target in [Target::Utilization(50), Target::Average(500)] {
            let requests = || Ok(vec![1000; pods.len()]);
            if let Ok(proposal) = by_pods(&pods, 0, target, true, &current, requests) {
                prop_assert!(proposal.replicas >= current.replicas.min(pods.len() as i32), "{proposal:?}");
            }
        }
        prop_assert!(by_value(-1, 1000, (3, 3), &current).is_err());
        prop_assert!(by_average(-1, 1000, 3, &current).is_err());
        prop_assert_eq!(by_value(i64::MAX, 1, (3, 3), &current).unwrap().replicas, i32::MAX);
    }

    #[test]
    fn losing_a_sample_never_asks_for_fewer_pods_than_a_busy_pod_would(
        loads in prop::collection::vec(0..2_000_i64, 2..12),
        lost in any::<prop::sample::Index>(),
        target in 1..200_i32,
    ) {
        let settings = Settings::default();
        let replicas = i32::try_from(loads.len()).unwrap();
        let current = Current { replicas, tolerances: Tolerances::both(0.1), settings: &settings, now: time(START) };
        let lost = lost.index(loads.len());
        let count = |of_lost: Option<i64>| {
            let pod = |(index, load): (usize, &i64)| {
                let millis = if index == lost { of_lost } else { Some(*load) };
                Measured { state: settled(), sample: millis.map(sample), pods: 1 }
            };
            let pods: Vec<Measured> = loads.iter().enumerate().map(pod).collect();
            let requests = || Ok(vec![1000; pods.len()]);
            by_pods(&pods, 0, Target::Utilization(target), true, &current, requests).unwrap().replicas
        };
        let without = count(None);
        // On the way down it counts as a pod that uses all it asked for; so what it really used, if less, asks for no more.
        if without < replicas {
            let used = 1000 * i64::from(target.max(100)) / 100;
            prop_assert!(without >= count(Some(used)).min(replicas));
        }
    }

    #[test]
    fn a_calm_rise_is_a_rise_where_the_pods_that_run_are_overloaded(
        old in prop::collection::vec(0..3_000_i64, 1..12),
        surge in prop::collection::vec((0..3_000_i64, any::<bool>()), 0..6),
        target in 10..200_i32,
    ) {
        let wanted = i32::try_from(old.len()).unwrap();
        let pods: Vec<Measured> = (old.iter().map(|load| Measured { state: settled(), sample: Some(sample(*load)), pods: 1 }))
            .chain(surge.iter().map(|(load, starting)| Measured {
                state: if *starting { just_started() } else { settled() },
                sample: Some(sample(*load)),
                pods: 1,
            }))
            .collect();
        let count = |calm: bool| {
            let settings = Settings { calm, ..Settings::default() };
            let current =
                Current { replicas: wanted, tolerances: Tolerances::both(0.1), settings: &settings, now: time(START) };
            let requests = || Ok(vec![1000; pods.len()]);
            by_pods(&pods, 0, Target::Utilization(target), true, &current, requests).unwrap().replicas
        };
        let (upstream, calm) = (count(false), count(true));
        prop_assert!(calm >= upstream.min(wanted) && calm <= upstream.max(wanted));
        // With the start-ups taken for what the settled pods use, are the pods that run above the target?
        let settled: Vec<i64> = old.iter().copied().chain(surge.iter().filter(|one| !one.1).map(|one| one.0)).collect();
        let usual = settled.iter().sum::<i64>() / settled.len() as i64;
        let capped: i64 = settled.iter().sum::<i64>() + surge.iter().filter(|one| one.1).map(|one| one.0.min(usual)).sum::<i64>();
        let share = capped * 100 / (pods.len() as i64 * 1000);
        if share as f64 / f64::from(target) > 1.1 {
            prop_assert!(calm > wanted, "{share} % of {target} %, and still {calm}");
        }
    }

    #[test]
    fn a_clock_that_jumps_changes_no_window(
        jumps in prop::collection::vec(-100_000..100_000_i64, 40),
        loads in prop::collection::vec(0..20_000_i64, 40),
        behavior in behavior(),
    ) {
        let autoscaler = autoscaler(1, 50, &behavior);
        let run = |jumping: bool| {
            let (mut count, mut wall) = (10, 0);
            let (mut status, mut history) = (Status::default(), History::restored(10, None, moment(0)));
            let mut counts = Vec::new();
            for (index, (jump, load)) in jumps.iter().zip(&loads).enumerate() {
                let steady = (index as i64 + 1) * 15;
                // A clock ahead of every pod's start: back before it is another test's.
                wall = if jumping { jump.abs() } else { steady };
                let now = Moment { wall: time(START + wall), steady: SignedDuration::from_secs(steady) };
                count = round(&autoscaler, &mut status, &mut history, count, *load, now);
                counts.push(count);
            }
            let _ = wall;
            counts
        };
        prop_assert_eq!(run(true), run(false));
    }

    #[test]
    fn a_clock_set_back_before_the_pods_began_neither_stops_nor_scales_anything_down(back in 1..1_000_000_i64) {
        let autoscaler = autoscaler(1, 50, &Value::Null);
        let now = Moment { wall: time(START - 9000 - back), steady: SignedDuration::from_secs(15) };
        let (mut status, mut history) = (Status::default(), History::restored(4, None, moment(0)));
        prop_assert_eq!(round(&autoscaler, &mut status, &mut history, 4, 4000, now), 8, "a demand twice the target");
        let (mut status, mut history) = (Status::default(), History::restored(4, None, moment(0)));
        prop_assert_eq!(round(&autoscaler, &mut status, &mut history, 4, 400, now), 4, "the window holds");
    }

    #[test]
    fn a_restart_allows_no_step_that_the_policies_do_not(value in 1..10_i32, period in 2..120_i32, after in 0..200_i64) {
        let rules = json!({"policies": [{"type": "Pods", "value": value, "periodSeconds": period}],
            "selectPolicy": "Max", "stabilizationWindowSeconds": 0});
        let autoscaler = autoscaler(1, 1000, &json!({"scaleUp": rules, "scaleDown": rules}));
        let (mut status, mut history) = (Status::default(), History::restored(100, None, moment(0)));
        let first = round(&autoscaler, &mut status, &mut history, 100, 10_000_000, moment(1));
        prop_assert_eq!(first, 100 + value);
        let later = moment(1 + after);
        // All that is left is what was written: the count and the status.
        let mut restored = History::restored(first, Some(&status), later);
        let second = round(&autoscaler, &mut status.clone(), &mut restored, first, 10_000_000, later);
        let kept = round(&autoscaler, &mut status, &mut history, first, 10_000_000, later);
        prop_assert!(second <= kept, "{second} where without a restart it is {kept}");
        prop_assert!(second > first || after < i64::from(period), "and the wait has an end");
    }
}

fn settled() -> State {
    let since = time(START - 8000);
    State {
        phase: Phase::Running,
        deleting: false,
        started: Some(since),
        ready: Some(Ready { status: Some(true), since }),
    }
}

fn just_started() -> State {
    let (started, since) = (time(START - 60), time(START - 50));
    State { started: Some(started), ready: Some(Ready { status: Some(true), since }), ..settled() }
}

fn sample(millis: i64) -> Sample {
    Sample { millis, at: time(START), window: SignedDuration::from_secs(15) }
}

#[test]
fn a_step_that_a_crash_kept_from_the_status_is_not_taken_twice() {
    let rules = json!({"policies": [{"type": "Pods", "value": 2, "periodSeconds": 60}], "selectPolicy": "Max"});
    let autoscaler = autoscaler(1, 100, &json!({"scaleUp": rules, "scaleDown": rules}));
    let (mut status, mut history) = (Status::default(), History::restored(10, None, moment(0)));
    assert_eq!(round(&autoscaler, &mut status, &mut history, 10, 5_000, moment(1)), 10);
    // The scale was written, and then nothing any more.
    let mut restored = History::restored(12, Some(&status), moment(20));
    assert_eq!(round(&autoscaler, &mut status.clone(), &mut restored, 12, 90_000, moment(20)), 12);
    assert_eq!(round(&autoscaler, &mut status, &mut restored, 12, 90_000, moment(81)), 14);
}

#[test]
fn a_target_that_was_woken_sleeps_no_sooner_than_a_whole_window_after() {
    let autoscaler = autoscaler(0, 10, &Value::Null);
    assert_eq!(autoscaler.bounds, Bounds { min: 0, max: 10 });
    let mut history = History::restored(0, None, moment(0));
    let idle = |history: &mut History, count: i32, second: i64| {
        let scale = Scale { replicas: count, observed: count, selector: "a=b".to_owned() };
        let pods = pods(count);
        let sample = Sample { at: moment(second).wall, ..sample(3) };
        let readings = [Ok(Reading::Pods { samples: vec![Some(sample); pods.len()], strangers: 0 })];
        let seen = Seen { scale: &scale, pods: Ok(&pods), readings: &readings, demand: Demand::Idle };
        autoscaler.decide(&Status::default(), seen, history, moment(second))
    };
    let asleep = idle(&mut history, 0, 600);
    assert!(asleep.scale.is_none() && asleep.events.is_empty(), "{asleep:?}");
    let condition = asleep.held().conditions.unwrap().pop().unwrap();
    assert_eq!((condition.reason.as_deref(), condition.status.as_str()), (Some("ScaledToZero"), "False"));
    // A request wakes it between two looks, and is answered before the next one.
    assert_eq!(idle(&mut history, 1, 610).scale, None);
    assert_eq!(idle(&mut history, 1, 900).scale, None);
    assert_eq!(idle(&mut history, 1, 911).scale.map(|(to, _)| to), Some(0));
}

#[test]
fn a_target_in_demand_does_not_sleep_and_one_of_which_nothing_is_known_sleeps_by_its_metrics_alone() {
    let autoscaler = autoscaler(0, 10, &Value::Null);
    let decide = |demand: Demand, millis: i64| {
        let (scale, pods) = (Scale { replicas: 1, observed: 1, selector: "a=b".to_owned() }, pods(1));
        let readings = [Ok(Reading::Pods { samples: vec![Some(sample(millis))], strangers: 0 })];
        let seen = Seen { scale: &scale, pods: Ok(&pods), readings: &readings, demand };
        autoscaler.decide(&Status::default(), seen, &mut History::default(), moment(0)).scale.map(|(to, _)| to)
    };
    assert_eq!(decide(Demand::Busy, 0), None);
    assert_eq!(decide(Demand::Idle, 10), Some(0), "what a pod uses while it idles is no demand");
    assert_eq!(decide(Demand::Idle, 990), Some(2), "there is other work than requests");
    assert_eq!(decide(Demand::Unknown, 10), None);
    assert_eq!(decide(Demand::Unknown, 0), Some(0), "as upstream");
}

#[test]
fn a_rollout_does_not_raise_the_count() {
    // 10 are wanted, 13 run; each uses most of its target by itself (kubernetes issue 72775).
    let count = |calm: bool, each: i64, of: Target| {
        let settings = Settings { calm, ..Settings::default() };
        let current =
            Current { replicas: 10, tolerances: Tolerances::both(0.1), settings: &settings, now: time(START) };
        let pods = [Measured { state: settled(), sample: Some(sample(each)), pods: 13 }];
        by_pods(&pods, 0, of, false, &current, || Ok(vec![1000])).unwrap().replicas
    };
    assert_eq!((count(false, 850, Target::Average(1000)), count(true, 850, Target::Average(1000))), (12, 10));
    assert_eq!((count(false, 450, Target::Utilization(50)), count(true, 450, Target::Utilization(50))), (10, 10));
    assert_eq!((count(false, 600, Target::Utilization(50)), count(true, 600, Target::Utilization(50))), (16, 12));
    let settings = |calm: bool| Settings { calm, ..Settings::default() };
    let (upstream, calm) = (settings(false), settings(true));
    let of = |settings| Current { replicas: 10, tolerances: Tolerances::both(0.1), settings, now: time(START) };
    // A queue of 10 per pod: status.replicas is taken for what is wanted (79274, 138505).
    let queue = |current: &Current<'_>| by_average(12_500_000, 1_000_000, 13, current).unwrap().replicas;
    assert_eq!((queue(&of(&upstream)), queue(&of(&calm))), (13, 13), "so much is waiting");
    let queue = |current: &Current<'_>| by_average(10_900_000, 1_000_000, 12, current).unwrap().replicas;
    assert_eq!((queue(&of(&upstream)), queue(&of(&calm))), (12, 10), "so little is within tolerance of 10");
    let latency = |current: &Current<'_>| by_value(1_150, 1_000, (13, 13), current).unwrap().replicas;
    assert_eq!((latency(&of(&upstream)), latency(&of(&calm))), (15, 12));
}

#[test]
fn the_cpu_of_a_start_does_not_raise_the_count() {
    // Two that have been up for long, and one whose start takes all it can get (kubernetes issues 28692, 29989, 71255).
    let count = |calm: bool, settled_use: i64| {
        let settings = Settings { calm, ..Settings::default() };
        let current = Current { replicas: 3, tolerances: Tolerances::both(0.1), settings: &settings, now: time(START) };
        let pods = [
            Measured { state: settled(), sample: Some(sample(settled_use)), pods: 2 },
            Measured { state: just_started(), sample: Some(sample(4_000)), pods: 1 },
        ];
        by_pods(&pods, 0, Target::Utilization(50), true, &current, || Ok(vec![1000, 1000])).unwrap().replicas
    };
    assert_eq!((count(false, 400), count(true, 400)), (10, 3));
    assert_eq!((count(false, 900), count(true, 900)), (12, 6), "what the others show is demand");
    let alone = |calm: bool| {
        let settings = Settings { calm, ..Settings::default() };
        let current = Current { replicas: 1, tolerances: Tolerances::both(0.1), settings: &settings, now: time(START) };
        let pods = [Measured { state: just_started(), sample: Some(sample(4_000)), pods: 1 }];
        by_pods(&pods, 0, Target::Utilization(50), true, &current, || Ok(vec![1000])).unwrap().replicas
    };
    assert_eq!((alone(false), alone(true)), (8, 8), "with none to compare it with, it may be a flood");
}
