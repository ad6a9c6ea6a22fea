//! The settings of node-pressure eviction, by the names that the kubelet has for them.

use std::time::Duration;

use anyhow::Context;
use clap::Args;
use node::eviction::{Given, Options};

use crate::scaling::duration;

/// The flags about eviction. `None` means: not given here.
#[derive(Clone, Debug, Default, PartialEq, Eq, Args)]
pub struct Eviction {
    /// What the machine keeps free: below it pods are evicted at once; an empty text is nothing
    /// [default: memory.available<100Mi,nodefs.available<1Gi|10%,nodefs.inodesFree<5%].
    #[arg(long, env = "CORACLE_EVICTION_HARD", value_name = "LIMITS")]
    pub eviction_hard: Option<String>,
    /// What the machine is to keep free: below it for its grace period, pods are evicted.
    #[arg(long, env = "CORACLE_EVICTION_SOFT", value_name = "LIMITS")]
    pub eviction_soft: Option<String>,
    /// For how long there may be less than a soft limit, such as memory.available=1m30s.
    #[arg(long, env = "CORACLE_EVICTION_SOFT_GRACE_PERIOD", value_name = "PERIODS")]
    pub eviction_soft_grace_period: Option<String>,
    /// How much more than its limit is to be free after an eviction, such as memory.available=50Mi.
    #[arg(long, env = "CORACLE_EVICTION_MINIMUM_RECLAIM", value_name = "AMOUNTS")]
    pub eviction_minimum_reclaim: Option<String>,
    /// For how long the node says that it lacks something after it does no more [default: 5m].
    #[arg(long, env = "CORACLE_EVICTION_PRESSURE_TRANSITION_PERIOD", value_name = "DURATION", value_parser = duration)]
    pub eviction_pressure_transition_period: Option<Duration>,
    /// The most seconds that a pod gets to end in when a soft limit is passed [default: 0].
    #[arg(long, env = "CORACLE_EVICTION_MAX_POD_GRACE_PERIOD", value_name = "SECONDS")]
    pub eviction_max_pod_grace_period: Option<u32>,
}

/// The keys of `coracle.toml`.
#[derive(Clone, Debug, Default)]
pub struct Keys {
    /// `eviction-hard`.
    pub hard: Option<String>,
    /// `eviction-soft`.
    pub soft: Option<String>,
    /// `eviction-soft-grace-period`.
    pub soft_grace_period: Option<String>,
    /// `eviction-minimum-reclaim`.
    pub minimum_reclaim: Option<String>,
    /// `eviction-pressure-transition-period`.
    pub pressure_transition_period: Option<String>,
    /// `eviction-max-pod-grace-period`.
    pub max_pod_grace_period: Option<u32>,
}

/// The settings that flags and keys make, with every default filled in.
///
/// # Errors
/// Names the setting, what is wrong with it, and what is accepted.
pub fn resolve(flags: &Eviction, file: Keys) -> anyhow::Result<Options> {
    let default = Given::default();
    let text = |flag: &Option<String>, key: Option<String>, default: String| flag.clone().or(key).unwrap_or(default);
    let transition = match (flags.eviction_pressure_transition_period, file.pressure_transition_period) {
        (Some(flag), _) => flag,
        (None, Some(key)) => {
            duration(&key).map_err(anyhow::Error::msg).context("--eviction-pressure-transition-period")?
        }
        (None, None) => default.pressure_transition_period,
    };
    let given = Given {
        hard: text(&flags.eviction_hard, file.hard, default.hard),
        soft: text(&flags.eviction_soft, file.soft, default.soft),
        soft_grace_period: text(&flags.eviction_soft_grace_period, file.soft_grace_period, default.soft_grace_period),
        minimum_reclaim: text(&flags.eviction_minimum_reclaim, file.minimum_reclaim, default.minimum_reclaim),
        pressure_transition_period: transition,
        max_pod_grace_period: flags
            .eviction_max_pod_grace_period
            .or(file.max_pod_grace_period)
            .unwrap_or(default.max_pod_grace_period),
    };
    Ok(Options::read(&given)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flag_goes_before_the_file_and_the_file_before_the_default() {
        let nothing = resolve(&Eviction::default(), Keys::default()).unwrap();
        assert_eq!((nothing.thresholds.len(), nothing.transition), (3, Duration::from_secs(300)));
        let file = || Keys { hard: Some("memory.available<1Gi".to_owned()), ..Keys::default() };
        assert_eq!(resolve(&Eviction::default(), file()).unwrap().thresholds.len(), 1);
        let flags = Eviction { eviction_hard: Some(String::new()), ..Eviction::default() };
        assert_eq!(resolve(&flags, file()).unwrap().thresholds.len(), 0);
    }

    #[test]
    fn what_cannot_be_used_is_refused_by_name() {
        let period = Keys { pressure_transition_period: Some("soon".to_owned()), ..Keys::default() };
        let soft = Keys { soft: Some("memory.available<1Gi".to_owned()), ..Keys::default() };
        for (wrong, name) in [(period, "--eviction-pressure-transition-period"), (soft, "--eviction-soft")] {
            let error = format!("{:#}", resolve(&Eviction::default(), wrong).unwrap_err());
            assert!(error.contains(name), "{error}");
        }
    }
}
