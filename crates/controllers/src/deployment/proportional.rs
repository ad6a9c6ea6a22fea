//! A Deployment that is resized in the middle of a rollout: every set gets its share (`sync.go`).

use k8s_openapi::api::apps::v1::Deployment;

use super::{
    plan::{Bounds, Steps},
    sets::{DESIRED, MAX, Set},
};

/// Whether a set was scaled for another size than the Deployment has now.
pub(super) fn is_due(bounds: Bounds, all: &[Set<'_>]) -> bool {
    let active = all.iter().filter(|set| set.replicas > 0);
    active.filter_map(|set| set.number(DESIRED)).any(|desired| desired != i64::from(bounds.replicas))
}

/// Resizes what there is, without rolling further.
pub(super) fn scale(steps: &mut Steps, deployment: &Deployment, new: Option<&Set<'_>>, old: &[Set<'_>]) {
    let bounds = steps.bounds;
    let mut active: Vec<&Set<'_>> = old.iter().chain(new).filter(|set| set.replicas > 0).collect();
    if active.len() <= 1 {
        let latest = || new.or_else(|| old.iter().max_by_key(|set| set.revision()));
        if let Some(only) = active.first().copied().or_else(latest) {
            steps.resize(only, bounds.replicas);
        }
        return;
    }
    let saturated = |set: &Set<'_>| set.replicas == bounds.replicas && set.available == bounds.replicas;
    if new.is_some_and(saturated) {
        old.iter().filter(|set| set.replicas > 0).for_each(|set| steps.resize(set, 0));
        return;
    }
    if bounds.recreate {
        return;
    }
    let total: i32 = active.iter().map(|set| set.replicas).sum();
    let allowed = if bounds.replicas > 0 { bounds.most() } else { 0 };
    let to_add = allowed - total;
    // The largest gets what rounding leaves over; among equals the newest when growing, the oldest when shrinking.
    active.sort_by_key(|set| {
        (std::cmp::Reverse(set.replicas), if to_add > 0 { -set.revision() } else { set.revision() })
    });
    let mut added = 0;
    let mut sizes: Vec<i32> = Vec::with_capacity(active.len());
    for set in &active {
        let share = share(deployment, bounds, set);
        let left = to_add - added;
        let share = if to_add > 0 { share.clamp(0, left.max(0)) } else { share.clamp(left.min(0), 0) };
        added += share;
        sizes.push(set.replicas + share);
    }
    if let Some(first) = sizes.first_mut() {
        *first = (*first + to_add - added).max(0);
    }
    for (set, size) in active.iter().zip(sizes) {
        steps.resize(set, size);
    }
}

/// By how much a set grows if it keeps its share of the whole.
fn share(deployment: &Deployment, bounds: Bounds, set: &Set<'_>) -> i32 {
    if bounds.replicas == 0 {
        return -set.replicas;
    }
    let whole = set.number(MAX).unwrap_or_else(|| {
        deployment.status.as_ref().and_then(|status| status.replicas).unwrap_or(bounds.replicas).into()
    });
    let exact = f64::from(set.replicas) * f64::from(bounds.most()) / (whole.max(1) as f64);
    exact.round() as i32 - set.replicas
}
