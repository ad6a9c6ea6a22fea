//! What was recommended and done before, in memory alone, and what stands in for it after a restart.
//!
//! Upstream keeps both in memory, too, and starts with one recommendation, the present count, which keeps the count from falling
//! (and, with a window on the way up, from rising) for a whole window. Its scale events are lost, so a policy may allow a
//! second step where the first was just taken. Here they are made good, on the cautious side ([`History::restored`]):
//!
//! - A count that is not what the status says was changed since the status was written, maybe by the step that a crash kept
//!   from being written down: it is a scale event of now.
//! - Policies whose period is not over since `lastScaleTime` allow nothing until it is: how much of them that step took, and in
//!   which direction, is no longer known.
//! - Where a target with `minReplicas: 0` was woken from outside, the present count is recommended from then on, so that it does
//!   not sleep again before a whole window without demand.

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::autoscaling::v2::HorizontalPodAutoscalerStatus;

use crate::Moment;

/// Entries past which those that no window reaches any more are dropped.
const KEPT: usize = 4096;

/// A count that the metrics asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Recommendation {
    /// The count.
    pub replicas: i32,
    /// When, by the steady clock.
    pub at: SignedDuration,
}

/// A change of the count.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ScaleEvent {
    /// By how many; not negative, whichever the direction.
    pub change: i32,
    /// When, by the steady clock.
    pub at: SignedDuration,
}

/// What one autoscaler recommended and did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct History {
    /// What was recommended before it was stabilized.
    pub recommendations: Vec<Recommendation>,
    /// Steps up.
    pub ups: Vec<ScaleEvent>,
    /// Steps down.
    pub downs: Vec<ScaleEvent>,
    /// When a step was taken of which only the time is known.
    pub spent: Option<SignedDuration>,
    /// The count that was seen last.
    pub seen: Option<i32>,
    /// When the count was changed last, by whomever, by the steady clock.
    pub changed: Option<SignedDuration>,
}

impl History {
    /// What stands in for a history that was lost, given the present count and the status as it was written last.
    pub fn restored(replicas: i32, status: Option<&HorizontalPodAutoscalerStatus>, now: Moment) -> Self {
        let mut history = Self { seen: Some(replicas), ..Self::default() };
        history.recommendations.push(Recommendation { replicas, at: now.steady });
        let Some(status) = status else { return history };
        // A status that was never written says nothing about the count.
        let written = status.conditions.as_ref().is_some_and(|conditions| !conditions.is_empty());
        history.changed = status.last_scale_time.as_ref().map(|last| now.steady.saturating_sub(age(last.0, now.wall)));
        if written && status.desired_replicas != replicas {
            history.push(status.desired_replicas, replicas, SignedDuration::ZERO, now.steady);
        } else {
            history.spent = history.changed;
        }
        history
    }

    /// Notes the present count, before anything is decided.
    pub fn observe(&mut self, replicas: i32, now: Moment) {
        if self.seen == Some(0) && replicas > 0 {
            self.recommendations.push(Recommendation { replicas, at: now.steady });
        }
        if self.seen.is_some_and(|seen| seen != replicas) {
            self.changed = Some(now.steady);
        }
        self.seen = Some(replicas);
    }

    /// Notes a recommendation. It takes the place of the last one for which `outdated` holds, if one is.
    pub(crate) fn recommend(&mut self, replicas: i32, at: SignedDuration, outdated: impl Fn(&Recommendation) -> bool) {
        put(&mut self.recommendations, Recommendation { replicas, at }, outdated);
    }

    /// Notes a step; steps of the same direction before `cutoff` concern nobody any more, and it takes the place of the last.
    pub(crate) fn push(&mut self, from: i32, to: i32, cutoff: SignedDuration, at: SignedDuration) {
        let events = if to > from { &mut self.ups } else { &mut self.downs };
        let change = i32::try_from(to.abs_diff(from)).unwrap_or(i32::MAX);
        put(events, ScaleEvent { change, at }, |event| event.at < cutoff);
        self.seen = Some(to);
    }
}

fn put<T>(entries: &mut Vec<T>, new: T, outdated: impl Fn(&T) -> bool) {
    if entries.len() >= KEPT {
        entries.retain(|entry| !outdated(entry));
    }
    match entries.iter_mut().rfind(|entry| outdated(entry)) {
        Some(place) => *place = new,
        None => entries.push(new),
    }
}

/// How long ago something was; what lies in the future was before the clock was set back, and counts as just now.
fn age(at: Timestamp, now: Timestamp) -> SignedDuration {
    now.duration_since(at).max(SignedDuration::ZERO)
}
