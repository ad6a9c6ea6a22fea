//! The tables of `horizontal_test.go` about windows, policies and limits.

use autoscaling::{
    behavior::{Behavior, Bounds, Rules, limit, limit_with, stabilize, stabilize_with},
    history::{History, Recommendation, ScaleEvent},
};
use jiff::SignedDuration;
use serde::Deserialize;

use crate::world::{now, rules, table};

fn ago(seconds: f64) -> SignedDuration {
    now().steady - SignedDuration::try_from_secs_f64(seconds).unwrap()
}

fn five_minutes() -> SignedDuration {
    SignedDuration::from_mins(5)
}

#[derive(Debug, Deserialize)]
struct Limit {
    name: String,
    #[serde(default)]
    ups: Vec<i32>,
    #[serde(default)]
    downs: Vec<i32>,
    current: i32,
    desired: i32,
    min: i32,
    max: i32,
    up: Option<[i32; 5]>,
    down: Option<[i32; 5]>,
    #[serde(default = "most")]
    select: String,
    want: (i32, String),
}

fn most() -> String {
    "Max".to_owned()
}

/// Upstream's uniform distribution: the events lie in the middle of equal parts of the last two minutes.
fn spread(changes: &[i32]) -> Vec<ScaleEvent> {
    let part = 120.0 / changes.len() as f64;
    let at = |index: usize| ago((120.0 - part * (index as f64 + 1.0) + part / 2.0).trunc());
    changes.iter().enumerate().map(|(index, change)| ScaleEvent { change: *change, at: at(index) }).collect()
}

#[test]
fn bounds_limit_a_count_as_upstream_has_it() {
    for row in table::<Limit>(include_str!("limits.json"), 5) {
        let got = limit(row.current, row.desired, Bounds { min: row.min, max: row.max });
        assert_eq!((got.replicas, got.reason.to_owned()), row.want, "{}", row.name);
    }
}

#[test]
fn policies_limit_a_count_as_upstream_has_it() {
    for row in table::<Limit>(include_str!("policies.json"), 44) {
        let given = |given: Option<[i32; 5]>| given.map(|given| rules(given, &row.select));
        let behavior = Behavior {
            up: Rules::up(given(row.up).as_ref()),
            down: Rules::down(given(row.down).as_ref(), five_minutes()),
        };
        let history = History { ups: spread(&row.ups), downs: spread(&row.downs), ..History::default() };
        let bounds = Bounds { min: row.min, max: row.max };
        let got = limit_with(&history, &behavior, row.current, row.desired, bounds, now().steady);
        assert_eq!((got.replicas, got.reason.to_owned()), row.want, "{}", row.name);
    }
}

#[derive(Debug, Deserialize)]
struct Events {
    name: String,
    before: Vec<(i32, f64)>,
    after: Vec<i32>,
    rules: Option<[i32; 5]>,
    changed: i32,
}

#[test]
fn scale_events_are_kept_as_upstream_keeps_them() {
    for row in table::<Events>(include_str!("events.json"), 8) {
        let events: Vec<ScaleEvent> =
            row.before.iter().map(|(change, seconds)| ScaleEvent { change: *change, at: ago(*seconds) }).collect();
        let changed: i32 = events.iter().filter(|event| event.at > ago(60.0)).map(|event| event.change).sum();
        assert_eq!(changed, row.changed, "{}", row.name);
        for up in [true, false] {
            let mut history = History::default();
            *if up { &mut history.ups } else { &mut history.downs } = events.clone();
            if let Some(given) = row.rules {
                let rules = rules(given, "Max");
                let behavior =
                    Behavior { up: Rules::up(Some(&rules)), down: Rules::down(Some(&rules), five_minutes()) };
                behavior.scaled(&mut history, 10, if up { 15 } else { 5 }, now().steady);
            }
            let kept = if up { &history.ups } else { &history.downs };
            let kept: Vec<i32> = kept.iter().map(|event| event.change).collect();
            assert_eq!(kept, row.after, "{}", row.name);
        }
    }
}

#[derive(Debug, Deserialize)]
struct Window {
    name: String,
    before: Vec<(i32, f64)>,
    current: Option<i32>,
    desired: i32,
    want: i32,
    entries: Option<usize>,
    after: Option<Vec<i32>>,
    #[serde(default)]
    up: i32,
    #[serde(default)]
    down: i32,
}

#[test]
fn windows_stabilize_as_upstreams_do() {
    for row in table::<Window>(include_str!("windows.json"), 16) {
        let read = |(replicas, seconds): &(i32, f64)| Recommendation { replicas: *replicas, at: ago(*seconds) };
        let recommendations = row.before.iter().map(read).collect();
        let mut history = History { recommendations, ..History::default() };
        let got = match row.current {
            None => stabilize(&mut history, row.desired, now().steady, five_minutes()),
            Some(current) => {
                let with = |window: i32| rules([1, 15, 0, 0, window], "Max");
                let (up, down) = (with(row.up), with(row.down));
                let behavior = Behavior { up: Rules::up(Some(&up)), down: Rules::down(Some(&down), five_minutes()) };
                stabilize_with(&mut history, &behavior, current, row.desired, now().steady).replicas
            }
        };
        assert_eq!(got, row.want, "{}", row.name);
        let kept: Vec<i32> = history.recommendations.iter().map(|one| one.replicas).collect();
        assert_eq!(row.entries.unwrap_or(kept.len()), kept.len(), "{}", row.name);
        assert_eq!(row.after.unwrap_or_else(|| kept.clone()), kept, "{}", row.name);
    }
}
