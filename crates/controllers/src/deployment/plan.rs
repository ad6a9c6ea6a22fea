//! What to do next about a Deployment. Pure: everything it decides from is a parameter.

use std::{collections::BTreeMap, time::Duration};

use jiff::Timestamp;
use k8s_openapi::api::apps::v1::{Deployment, DeploymentStatus, ReplicaSet};
use kube::ResourceExt;
use objects::intstr::{Round, scaled};

use super::{
    proportional, rolling,
    sets::{self, Set},
    status,
};

/// One step.
#[derive(Clone, Debug, PartialEq)]
pub enum Action {
    /// Make the template's ReplicaSet.
    Create(Box<ReplicaSet>),
    /// Give a ReplicaSet a size and annotations.
    Change {
        /// Its name.
        name: String,
        /// The version that this was decided from.
        version: Option<String>,
        /// Its size before.
        from: i32,
        /// Its size then.
        replicas: i32,
        /// Annotations to set.
        annotations: BTreeMap<String, String>,
        /// `minReadySeconds` to set.
        min_ready: Option<i32>,
    },
    /// Remove a ReplicaSet that is no longer kept as history.
    Delete(String),
    /// Set the Deployment's own revision.
    Annotate(String),
}

/// What to do, and the status to write.
#[derive(Clone, Debug, Default)]
pub struct Plan {
    /// In this order.
    pub actions: Vec<Action>,
    /// `None` if it is as it should be.
    pub status: Option<DeploymentStatus>,
    /// When to look again even if nothing changes: a progress deadline.
    pub again: Option<Duration>,
}

/// How far a rollout may go above and below the wanted size.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Bounds {
    pub replicas: i32,
    pub surge: i32,
    pub unavailable: i32,
    pub recreate: bool,
}

impl Bounds {
    pub fn of(deployment: &Deployment) -> Self {
        let spec = deployment.spec.as_ref();
        let replicas = spec.and_then(|spec| spec.replicas).unwrap_or(1);
        let strategy = spec.and_then(|spec| spec.strategy.as_ref());
        if strategy.and_then(|s| s.type_.as_deref()) == Some("Recreate") {
            return Self { replicas, surge: 0, unavailable: 0, recreate: true };
        }
        let rolling = strategy.and_then(|s| s.rolling_update.as_ref());
        let count = |value: Option<&_>, round| value.and_then(|v| scaled(v, replicas, round)).unwrap_or(0).max(0);
        let surge = count(rolling.and_then(|r| r.max_surge.as_ref()), Round::Up);
        let unavailable = count(rolling.and_then(|r| r.max_unavailable.as_ref()), Round::Down);
        // With both at zero nothing could ever move.
        let unavailable = if surge == 0 && unavailable == 0 { 1 } else { unavailable };
        Self { replicas, surge, unavailable: unavailable.min(replicas), recreate: false }
    }

    pub fn most(self) -> i32 {
        self.replicas + self.surge
    }
}

/// Plans one step. `has_pods` tells whether pods of a ReplicaSet still run, even if they are being deleted.
pub fn plan(
    deployment: &Deployment,
    own: &[&ReplicaSet],
    has_pods: impl Fn(&ReplicaSet) -> bool,
    now: Timestamp,
) -> Plan {
    let bounds = Bounds::of(deployment);
    let spec = deployment.spec.clone().unwrap_or_default();
    let (new, old) = sets::split(deployment, own);
    let mut steps = Steps { bounds, actions: Vec::new() };
    let paused = spec.paused.unwrap_or(false);
    let all: Vec<Set<'_>> = old.iter().chain(&new).cloned().collect();
    if paused || proportional::is_due(bounds, &all) {
        proportional::scale(&mut steps, deployment, new.as_ref(), &old);
    } else {
        let oldest_pods_gone = !old.iter().any(|set| has_pods(set.object));
        roll_out(&mut steps, deployment, new.as_ref(), &old, oldest_pods_gone);
    }
    let status = status::of(deployment, new.as_ref(), &all, now);
    if paused || status::is_complete(deployment, &status.status) {
        clean_up(&mut steps, &old, spec.revision_history_limit.unwrap_or(10));
    }
    let changed = deployment.status.as_ref() != Some(&status.status);
    Plan { actions: steps.actions, status: changed.then_some(status.status), again: status.again }
}

pub(super) struct Steps {
    pub bounds: Bounds,
    pub actions: Vec<Action>,
}

impl Steps {
    /// Resizes a set, unless it has that size and says so already.
    pub fn resize(&mut self, set: &Set<'_>, replicas: i32) {
        let annotations = sets::sizes(self.bounds.replicas, self.bounds.most());
        self.change(set, replicas, annotations, None);
    }

    pub fn change(
        &mut self,
        set: &Set<'_>,
        replicas: i32,
        annotations: BTreeMap<String, String>,
        min_ready: Option<i32>,
    ) {
        let has = set.object.annotations();
        let says = annotations.iter().all(|(key, value)| has.get(key) == Some(value));
        let waits = set.object.spec.as_ref().and_then(|spec| spec.min_ready_seconds).unwrap_or(0);
        let min_ready = min_ready.filter(|seconds| *seconds != waits);
        if set.replicas != replicas || !says || min_ready.is_some() {
            self.actions.push(Action::Change {
                name: set.object.name_any(),
                version: set.object.resource_version(),
                from: set.replicas,
                replicas,
                annotations,
                min_ready,
            });
        }
    }
}

fn roll_out(steps: &mut Steps, deployment: &Deployment, new: Option<&Set<'_>>, old: &[Set<'_>], old_gone: bool) {
    let bounds = steps.bounds;
    if bounds.recreate {
        old.iter().filter(|set| set.replicas > 0).for_each(|set| steps.resize(set, 0));
        if !steps.actions.is_empty() || !old_gone {
            return;
        }
    }
    let last = old.iter().map(Set::revision).max().unwrap_or(0);
    let total: i32 = old.iter().chain(new).map(|set| set.replicas).sum();
    let have = new.map_or(0, |set| set.replicas);
    let size = if bounds.recreate { bounds.replicas } else { rolling::new_size(bounds, have, total) };
    // A template that comes back (an undo) gets the next revision.
    let revision = new.map(Set::revision).filter(|revision| *revision > last).unwrap_or(last + 1);
    let mut annotations = sets::annotations(deployment, revision, bounds.replicas, bounds.most());
    let min_ready = deployment.spec.as_ref().and_then(|spec| spec.min_ready_seconds).unwrap_or(0);
    match new {
        None => steps.actions.push(Action::Create(Box::new(sets::make(deployment, size, annotations)))),
        Some(set) => {
            annotations.extend(sets::history(set, revision));
            steps.change(set, size, annotations, Some(min_ready));
        }
    }
    if deployment.annotations().get(sets::REVISION) != Some(&revision.to_string()) {
        steps.actions.push(Action::Annotate(revision.to_string()));
    }
    if let Some(new) = new.filter(|set| set.replicas == size && !bounds.recreate) {
        rolling::shrink_old(steps, new, old);
    }
}

/// Removes the oldest of what is kept as history beyond the limit; only what is empty and settled.
fn clean_up(steps: &mut Steps, old: &[Set<'_>], limit: i32) {
    let settled = |set: &&Set<'_>| {
        let status = set.object.status.as_ref();
        let seen = status.and_then(|status| status.observed_generation).unwrap_or(0);
        let empty = set.replicas == 0 && status.is_none_or(|status| status.replicas == 0);
        empty && set.object.metadata.generation.unwrap_or(0) <= seen && set.object.metadata.deletion_timestamp.is_none()
    };
    let mut history: Vec<&Set<'_>> = old.iter().collect();
    history.sort_by_key(|set| set.revision());
    let excess = history.len().saturating_sub(usize::try_from(limit).unwrap_or(0));
    let gone = history.into_iter().take(excess).filter(settled).map(|set| Action::Delete(set.object.name_any()));
    steps.actions.extend(gone);
}
