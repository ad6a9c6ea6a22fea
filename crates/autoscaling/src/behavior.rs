//! How fast the count may change: stabilization windows, policies, and limits (`horizontal.go`).

use jiff::SignedDuration;
use k8s_openapi::api::autoscaling::v2::{HPAScalingPolicy, HPAScalingRules, HorizontalPodAutoscalerSpec};
use objects::quantity::Quantity;

use crate::{
    Settings, Tolerances,
    history::{History, ScaleEvent},
};

/// Which of the policies holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Select {
    /// The one that allows the largest change.
    Max,
    /// The smallest.
    Min,
    /// The count does not change in this direction.
    Disabled,
}

/// How much may change within a period.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Policy {
    /// Whether `value` is a percentage, or else a number of pods.
    pub percent: bool,
    /// How much.
    pub value: i32,
    /// Within how long.
    pub period: SignedDuration,
}

/// One direction's rules.
#[derive(Clone, Debug, PartialEq)]
pub struct Rules {
    /// How far back recommendations count.
    pub window: SignedDuration,
    /// Which policy holds.
    pub select: Select,
    /// The policies.
    pub policies: Vec<Policy>,
}

/// Both directions' rules.
#[derive(Clone, Debug, PartialEq)]
pub struct Behavior {
    /// On the way up.
    pub up: Rules,
    /// On the way down.
    pub down: Rules,
}

/// A count, and why it is not another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limited {
    /// The count.
    pub replicas: i32,
    /// The reason of the condition.
    pub reason: &'static str,
    /// Its message.
    pub message: &'static str,
}

/// The least and the most pods.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bounds {
    /// `minReplicas`.
    pub min: i32,
    /// `maxReplicas`.
    pub max: i32,
}

const WITHIN: (&str, &str) = ("DesiredWithinRange", "the desired count is within the acceptable range");
const TOO_MANY: (&str, &str) = ("TooManyReplicas", "the desired replica count is more than the maximum replica count");
const TOO_FEW: (&str, &str) = ("TooFewReplicas", "the desired replica count is less than the minimum replica count");
const UP_LIMIT: (&str, &str) =
    ("ScaleUpLimit", "the desired replica count is increasing faster than the maximum scale rate");
const DOWN_LIMIT: (&str, &str) =
    ("ScaleDownLimit", "the desired replica count is decreasing faster than the maximum scale rate");
const UP_STABILIZED: (&str, &str) = (
    "ScaleUpStabilized",
    "recent recommendations were lower than current one, applying the lowest recent recommendation",
);
const DOWN_STABILIZED: (&str, &str) = (
    "ScaleDownStabilized",
    "recent recommendations were higher than current one, applying the highest recent recommendation",
);

fn limited(replicas: i32, (reason, message): (&'static str, &'static str)) -> Limited {
    Limited { replicas, reason, message }
}

impl Rules {
    /// The rules of the way up, with upstream's defaults: no window, and the larger of 4 pods and 100 % each 15 s.
    pub fn up(rules: Option<&HPAScalingRules>) -> Self {
        let policies = vec![policy(false, 4), policy(true, 100)];
        Self::of(rules, SignedDuration::ZERO, policies)
    }

    /// The rules of the way down, with upstream's defaults: the controller's window, and 100 % each 15 s.
    pub fn down(rules: Option<&HPAScalingRules>, window: SignedDuration) -> Self {
        Self::of(rules, window, vec![policy(true, 100)])
    }

    fn of(rules: Option<&HPAScalingRules>, window: SignedDuration, policies: Vec<Policy>) -> Self {
        let Some(rules) = rules else { return Self { window, select: Select::Max, policies } };
        let seconds = |seconds: i32| SignedDuration::from_secs(i64::from(seconds));
        let read = |policy: &HPAScalingPolicy| Policy {
            percent: policy.type_ == "Percent",
            value: policy.value,
            period: seconds(policy.period_seconds),
        };
        Self {
            window: rules.stabilization_window_seconds.map_or(window, seconds),
            select: match rules.select_policy.as_deref() {
                Some("Min") => Select::Min,
                Some("Disabled") => Select::Disabled,
                _ => Select::Max,
            },
            policies: rules.policies.as_ref().map_or(policies, |given| given.iter().map(read).collect()),
        }
    }

    /// The longest period of the policies.
    fn longest(&self) -> SignedDuration {
        self.policies.iter().map(|policy| policy.period).max().unwrap_or_default()
    }
}

fn policy(percent: bool, value: i32) -> Policy {
    Policy { percent, value, period: SignedDuration::from_secs(15) }
}

impl Behavior {
    /// The behavior of an autoscaler that says anything about it.
    pub fn of(spec: &HorizontalPodAutoscalerSpec, settings: &Settings) -> Option<Self> {
        let behavior = spec.behavior.as_ref()?;
        Some(Self {
            up: Rules::up(behavior.scale_up.as_ref()),
            down: Rules::down(behavior.scale_down.as_ref(), settings.downscale_stabilization),
        })
    }

    /// Notes that the count was changed.
    pub fn scaled(&self, history: &mut History, from: i32, to: i32, now: SignedDuration) {
        let rules = if to > from { &self.up } else { &self.down };
        history.push(from, to, now.saturating_sub(rules.longest()), now);
    }
}

/// The tolerances of an autoscaler: its own, or else everybody's.
pub fn tolerances(spec: &HorizontalPodAutoscalerSpec, settings: &Settings) -> Tolerances {
    let own = |rules: Option<&HPAScalingRules>| {
        let quantity: Quantity = rules?.tolerance.as_ref()?.0.parse().ok()?;
        Some(quantity.millis() as f64 / 1000.0).filter(|tolerance| *tolerance >= 0.0)
    };
    let behavior = spec.behavior.as_ref();
    Tolerances {
        down: own(behavior.and_then(|behavior| behavior.scale_down.as_ref())).unwrap_or(settings.tolerance),
        up: own(behavior.and_then(|behavior| behavior.scale_up.as_ref())).unwrap_or(settings.tolerance),
    }
}

/// Without a behavior: the highest recommendation of the window. Notes this one.
pub fn stabilize(history: &mut History, desired: i32, now: SignedDuration, window: SignedDuration) -> i32 {
    let cutoff = now.saturating_sub(window);
    let recent = history.recommendations.iter().filter(|one| one.at >= cutoff).map(|one| one.replicas);
    let highest = recent.fold(desired, i32::max);
    history.recommend(desired, now, |one| one.at < cutoff);
    highest
}

/// With a behavior: the present count, raised to the lowest recommendation of the window up, then lowered to the highest of the
/// window down. Notes this one. The reason holds where the outcome is not `desired`.
pub fn stabilize_with(
    history: &mut History,
    behavior: &Behavior,
    current: i32,
    desired: i32,
    now: SignedDuration,
) -> Limited {
    let (up, down) = (now.saturating_sub(behavior.up.window), now.saturating_sub(behavior.down.window));
    let (mut lowest, mut highest) = (desired, desired);
    for one in &history.recommendations {
        if one.at > up {
            lowest = lowest.min(one.replicas);
        }
        if one.at > down {
            highest = highest.max(one.replicas);
        }
    }
    history.recommend(desired, now, |one| one.at < up && one.at < down);
    limited(current.max(lowest).min(highest), if desired >= current { UP_STABILIZED } else { DOWN_STABILIZED })
}

/// What is said where [`stabilize`] came to another count.
pub fn stabilized() -> Limited {
    limited(0, DOWN_STABILIZED)
}

/// Without a behavior: within the bounds, and on the way up not past twice the count, or 4.
pub fn limit(current: i32, desired: i32, bounds: Bounds) -> Limited {
    let fastest = current.saturating_mul(2).max(4);
    let (most, why) = if bounds.max > fastest { (fastest, UP_LIMIT) } else { (bounds.max, TOO_MANY) };
    if desired < bounds.min {
        limited(bounds.min, TOO_FEW)
    } else if desired > most {
        limited(most, why)
    } else {
        limited(desired, WITHIN)
    }
}

/// With a behavior: within the bounds, and not faster than its policies allow.
pub fn limit_with(
    history: &History,
    behavior: &Behavior,
    current: i32,
    desired: i32,
    bounds: Bounds,
    now: SignedDuration,
) -> Limited {
    if desired > current {
        let fastest = allowed(history, &behavior.up, current, true, now).max(current);
        let (most, why) = if bounds.max > fastest { (fastest, UP_LIMIT) } else { (bounds.max, TOO_MANY) };
        if desired > most {
            return limited(most, why);
        }
    } else if desired < current {
        let fastest = allowed(history, &behavior.down, current, false, now).min(current);
        let (least, why) = if bounds.min < fastest { (fastest, DOWN_LIMIT) } else { (bounds.min, TOO_FEW) };
        if desired < least {
            return limited(least, why);
        }
    }
    limited(desired, WITHIN)
}

/// How far the policies let the count go.
fn allowed(history: &History, rules: &Rules, current: i32, up: bool, now: SignedDuration) -> i32 {
    if rules.select == Select::Disabled {
        return current;
    }
    let each = rules.policies.iter().map(|policy| {
        // A step was taken of which only the time is known: it may have been all that the policy allows.
        if history.spent.is_some_and(|at| now.saturating_sub(at) < policy.period) {
            return current;
        }
        let cutoff = now.saturating_sub(policy.period);
        let changed = |events: &[ScaleEvent]| -> i64 {
            events.iter().filter(|event| event.at > cutoff).map(|event| i64::from(event.change)).sum()
        };
        let start = i64::from(current) - changed(&history.ups) + changed(&history.downs);
        saturate(match (policy.percent, up) {
            (false, true) => start + i64::from(policy.value),
            (false, false) => start - i64::from(policy.value),
            // Rounded away from the start, so that a small percentage moves a small count at all,
            (true, true) => (start as f64 * (1.0 + f64::from(policy.value) / 100.0)).ceil() as i64,
            // in both directions.
            (true, false) => (start as f64 * (1.0 - f64::from(policy.value) / 100.0)) as i64,
        })
    });
    // The largest change is the highest count on the way up, and the lowest on the way down.
    let highest = (rules.select == Select::Max) == up;
    let chosen = if highest { each.max() } else { each.min() };
    chosen.unwrap_or(current)
}

fn saturate(value: i64) -> i32 {
    i32::try_from(value).unwrap_or(if value < 0 { i32::MIN } else { i32::MAX })
}
