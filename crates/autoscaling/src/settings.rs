//! What holds for all autoscalers, and the two clocks.

use jiff::{SignedDuration, Timestamp};

/// What holds for all autoscalers: kube-controller-manager's flags (`pkg/controller/podautoscaler/config/v1alpha1/defaults.go`).
#[derive(Clone, Debug, PartialEq)]
pub struct Settings {
    /// How far the ratio of what is measured to what is wanted may be from 1 before anything is done; an autoscaler's
    /// `behavior` may say otherwise for itself.
    pub tolerance: f64,
    /// For how long the highest recommendation holds on the way down, where `behavior` does not say.
    pub downscale_stabilization: SignedDuration,
    /// For how long after its start a pod's CPU may be its start-up's.
    pub cpu_initialization_period: SignedDuration,
    /// A pod that is unready, and became so within this time of its start, has never been ready.
    pub initial_readiness_delay: SignedDuration,
    /// A sample older than this is no sample. `None`: samples have no age, as upstream has it.
    pub stale_after: Option<SignedDuration>,
    /// Whether rollouts and start-ups are kept from raising the count (the rule is with `replicas`); off is upstream's way.
    pub calm: bool,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            tolerance: 0.1,
            downscale_stabilization: SignedDuration::from_mins(5),
            cpu_initialization_period: SignedDuration::from_mins(5),
            initial_readiness_delay: SignedDuration::from_secs(30),
            stale_after: Some(SignedDuration::from_mins(5)),
            calm: true,
        }
    }
}

/// The time, by two clocks: one may be set, the other only goes forward.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Moment {
    /// The time of day: what the times of pods, samples and conditions are compared with.
    pub wall: Timestamp,
    /// Time since some start that never jumps: what windows and periods are measured with.
    pub steady: SignedDuration,
}

/// How far from the target a metric may be on either side.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Tolerances {
    /// Below it, as a share of the target.
    pub down: f64,
    /// Above it.
    pub up: f64,
}

impl Tolerances {
    /// The same on both sides.
    pub fn both(tolerance: f64) -> Self {
        Self { down: tolerance, up: tolerance }
    }

    /// Whether a ratio of measured to wanted is near enough to 1. A ratio that is not a number never is.
    pub fn hold(self, ratio: f64) -> bool {
        (1.0 - self.down) <= ratio && ratio <= (1.0 + self.up)
    }
}
