//! The conditions of an autoscaler, and the events about it.

use jiff::Timestamp;
use k8s_openapi::{
    api::autoscaling::v2::HorizontalPodAutoscalerCondition as Condition, apimachinery::pkg::apis::meta::v1::Time,
};

/// Whether the target's scale can be read and written.
pub const ABLE: &str = "AbleToScale";
/// Whether the metrics say how many pods there are to be.
pub const ACTIVE: &str = "ScalingActive";
/// Whether the count would be another without limits.
pub const LIMITED: &str = "ScalingLimited";
/// Whether a forecast takes part in the count; there only where prediction is on. No other autoscaler has it.
pub const PREDICTING: &str = "PredictionActive";

/// Something to tell about an autoscaler.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// Whether somebody should look.
    pub warning: bool,
    /// The reason, one word.
    pub reason: &'static str,
    /// The message.
    pub message: String,
}

impl Event {
    /// All is well.
    pub fn normal(reason: &'static str, message: String) -> Self {
        Self { warning: false, reason, message }
    }

    /// Somebody should look.
    pub fn warning(reason: &'static str, message: String) -> Self {
        Self { warning: true, reason, message }
    }
}

/// Sets a condition, adding it if it is new. Its time changes only with its status.
pub fn set(conditions: &mut Vec<Condition>, type_: &str, holds: bool, reason: &str, message: String, now: Timestamp) {
    let status = if holds { "True" } else { "False" };
    let place = match conditions.iter().position(|condition| condition.type_ == type_) {
        Some(place) => place,
        None => {
            conditions.push(Condition { type_: type_.to_owned(), ..Condition::default() });
            conditions.len() - 1
        }
    };
    let Some(condition) = conditions.get_mut(place) else { return };
    if condition.status != status {
        condition.last_transition_time = Some(whole_seconds(now));
    }
    status.clone_into(&mut condition.status);
    condition.reason = Some(reason.to_owned());
    condition.message = Some(message);
}

/// Times of the API have whole seconds.
pub fn whole_seconds(at: Timestamp) -> Time {
    Time(Timestamp::from_second(at.as_second()).unwrap_or(at))
}
