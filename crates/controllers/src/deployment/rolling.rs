//! The rolling update: how large the new set may be, and by how much the old ones may shrink (`rolling.go`).

use super::{
    plan::{Bounds, Steps},
    sets::Set,
};

/// The new set's next size: as many more as fit below the surge.
pub(super) fn new_size(bounds: Bounds, have: i32, total: i32) -> i32 {
    if have >= bounds.replicas {
        return bounds.replicas;
    }
    let room = bounds.most() - total;
    if room <= 0 { have } else { have + room.min(bounds.replicas - have) }
}

/// Shrinks the old sets by what the new one's available pods make up for: pods that do not serve first, then the oldest sets.
pub(super) fn shrink_old(steps: &mut Steps, new: &Set<'_>, old: &[Set<'_>]) {
    let bounds = steps.bounds;
    let total: i32 = old.iter().map(|set| set.replicas).sum::<i32>() + new.replicas;
    let least_available = bounds.replicas - bounds.unavailable;
    let new_unavailable = new.replicas - new.available;
    let mut may_go = total - least_available - new_unavailable;
    if may_go <= 0 {
        return;
    }
    let mut sizes: Vec<i32> = old.iter().map(|set| set.replicas).collect();
    for (set, size) in old.iter().zip(&mut sizes) {
        let unhealthy = (set.replicas - set.available).clamp(0, may_go);
        *size -= unhealthy;
        may_go -= unhealthy;
    }
    let available: i32 = old.iter().map(|set| set.available).sum::<i32>() + new.available;
    let mut surplus = available - least_available;
    for size in &mut sizes {
        let by = (*size).min(surplus).max(0);
        *size -= by;
        surplus -= by;
    }
    for (set, size) in old.iter().zip(sizes) {
        if size != set.replicas {
            steps.resize(set, size);
        }
    }
}
