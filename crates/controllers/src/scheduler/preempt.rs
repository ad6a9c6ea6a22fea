//! Which pods go so that a more important one fits (upstream's plugin DefaultPreemption). Pure.
//!
//! One rule goes beyond upstream's: pods of lower priority that are ending already are counted on first, whatever their priority, so
//! that nobody is told to go for room that comes anyway.

use std::{
    cmp::Reverse,
    collections::{BTreeMap, HashMap},
};

use jiff::Timestamp;
use k8s_openapi::api::{core::v1::Pod, policy::v1::PodDisruptionBudget};
use kube::ResourceExt;

use super::{
    fit::{Reason, Stay, Wants, fits, unavailable},
    plan::Room,
};
use crate::disruption::covers;

/// Who has to go.
#[derive(Clone, Debug, PartialEq)]
pub struct Victims<'a> {
    /// The node's place in the list of nodes.
    pub node: usize,
    /// The pods to delete, the most important first; none when enough are ending already.
    pub pods: Vec<&'a Pod>,
}

/// What may still be taken of each budget, by its place in the list.
pub(super) type Left = HashMap<usize, i32>;

/// Why a pod may make nobody go now; upstream's words.
pub(super) fn may_not(pod: &Wants<'_>, nominated: Option<&Room<'_>>) -> Option<&'static str> {
    if pod.pod.spec.as_ref().and_then(|spec| spec.preemption_policy.as_deref()) == Some("Never") {
        return Some("not eligible due to preemptionPolicy=Never.");
    }
    let goes = |other: &Wants<'_>| other.priority < pod.priority && other.stay == Stay::Preempted;
    let waits = nominated.is_some_and(|room| room.pods.iter().any(goes));
    waits.then_some("not eligible due to a terminating pod on the nominated node.")
}

/// Chooses the node whose pods are missed least, and who goes there. `reasons` say why each node cannot take the pod as it is.
///
/// # Errors
/// Why that helps nowhere, in upstream's words.
pub(super) fn choose<'a>(
    pod: &Wants<'a>,
    rooms: &[Room<'a>],
    reasons: &[Vec<Reason>],
    budgets: (&[&PodDisruptionBudget], &Left),
    now: Timestamp,
) -> Result<Victims<'a>, String> {
    let mut why = Vec::new();
    let mut best: Option<(Missed, Victims<'a>)> = None;
    for (at, (room, reasons)) in rooms.iter().zip(reasons).enumerate() {
        if !reasons.iter().all(Reason::is_others) {
            why.push("Preemption is not helpful for scheduling".to_owned());
            continue;
        }
        match victims(pod, room, budgets, now) {
            Ok((pods, violations)) => {
                let missed = missed(&pods, violations, now);
                if best.as_ref().is_none_or(|(least, _)| missed < *least) {
                    let pods = pods.iter().map(|victim| victim.pod).collect();
                    best = Some((missed, Victims { node: at, pods }));
                }
            }
            Err(reasons) => why.extend(reasons),
        }
    }
    best.map(|(_, victims)| victims).ok_or_else(|| unavailable(rooms.len(), why.into_iter()))
}

/// By what nodes are compared: broken budgets, the highest priority, all priorities together, how many pods, and how young the most
/// important ones are.
type Missed = (usize, i32, i64, usize, Reverse<Timestamp>);

fn missed(pods: &[&Wants<'_>], violations: usize, now: Timestamp) -> Missed {
    let highest = pods.iter().map(|pod| pod.priority).max().unwrap_or(i32::MIN);
    // Each counts, be its priority below zero.
    let sum = pods.iter().map(|pod| i64::from(pod.priority) - i64::from(i32::MIN)).sum();
    let oldest = pods.iter().filter(|pod| pod.priority == highest).map(|pod| started(pod.pod, now)).min();
    (violations, highest, sum, pods.len(), Reverse(oldest.unwrap_or(now)))
}

/// The pods that have to go from one node, the most important first, and how many of them a budget would keep.
fn victims<'r, 'a>(
    pod: &Wants<'a>,
    room: &'r Room<'a>,
    (budgets, left): (&[&PodDisruptionBudget], &Left),
    now: Timestamp,
) -> Result<(Vec<&'r Wants<'a>>, usize), Vec<String>> {
    let mut lower: Vec<&Wants<'a>> = room.pods.iter().filter(|other| other.priority < pod.priority).collect();
    if lower.is_empty() {
        return Err(vec!["No preemption victims found for incoming pod".to_owned()]);
    }
    let mut load = room.load_for(pod);
    lower.iter().for_each(|other| load.remove(other));
    if let Err(reasons) = fits(pod, room.node, &load) {
        return Err(reasons.iter().map(Reason::text).collect());
    }
    lower.retain(|other| other.stay == Stay::Stays);
    lower.sort_by_cached_key(|other| importance(other, now));
    let (kept, free) = by_budget(&lower, budgets, left);
    let mut victims: Vec<&Wants<'a>> = Vec::new();
    let mut violations = 0;
    // Whoever still fits beside the pod stays, those first whom a budget keeps.
    for (other, is_kept) in kept.iter().map(|other| (*other, true)).chain(free.iter().map(|other| (*other, false))) {
        load.add(other);
        if fits(pod, room.node, &load).is_err() {
            load.remove(other);
            violations += usize::from(is_kept);
            victims.push(other);
        }
    }
    victims.sort_by_cached_key(|other| importance(other, now));
    Ok((victims, violations))
}

/// Sorts the most important pod first: the highest priority, then the longest running; names decide among equals, so that the same
/// picture has the same victims.
fn importance(pod: &Wants<'_>, now: Timestamp) -> (Reverse<i32>, Timestamp, String, String) {
    (Reverse(pod.priority), started(pod.pod, now), pod.pod.namespace().unwrap_or_default(), pod.pod.name_any())
}

fn started(pod: &Pod, now: Timestamp) -> Timestamp {
    pod.status.as_ref().and_then(|status| status.start_time.as_ref()).map_or(now, |time| time.0)
}

/// Splits pods into those whom a disruption budget would keep and the others, when they went one after the other.
fn by_budget<'r, 'a>(
    pods: &[&'r Wants<'a>],
    budgets: &[&PodDisruptionBudget],
    left: &Left,
) -> (Vec<&'r Wants<'a>>, Vec<&'r Wants<'a>>) {
    let mut left = left.clone();
    pods.iter().partition(|pod| !spend(pod.pod, budgets, &mut left))
}

/// Takes a pod's going from the budgets that are about it; whether they all allow it.
pub(super) fn spend(pod: &Pod, budgets: &[&PodDisruptionBudget], left: &mut Left) -> bool {
    let mut allowed = true;
    if pod.labels().is_empty() {
        return allowed;
    }
    for (at, budget) in budgets.iter().enumerate() {
        if budget.namespace() != pod.namespace() || !covers(budget, pod.labels()) {
            continue;
        }
        let status = budget.status.as_ref();
        let gone: Option<&BTreeMap<_, _>> = status.and_then(|status| status.disrupted_pods.as_ref());
        // An eviction that was allowed has been counted.
        if gone.is_some_and(|gone| gone.contains_key(&pod.name_any())) {
            continue;
        }
        let left = left.entry(at).or_insert_with(|| status.map_or(0, |status| status.disruptions_allowed));
        *left = left.saturating_sub(1);
        allowed &= *left >= 0;
    }
    allowed
}
