//! The settings of the autoscalers, by the names that kube-controller-manager and the Vertical Pod Autoscaler's recommender have for
//! them.

use std::time::Duration;

use anyhow::{Context, ensure};
use clap::Args;
use controllers::autoscaler::Options;
use jiff::SignedDuration;

/// The flags about autoscalers. `None` means: not given here.
#[derive(Clone, Debug, Default, PartialEq, Args)]
pub struct Scaling {
    /// How often every HorizontalPodAutoscaler is looked at, at least 1s [default: 15s].
    #[arg(long, env = "CORACLE_HORIZONTAL_POD_AUTOSCALER_SYNC_PERIOD", value_name = "DURATION", value_parser = duration)]
    pub horizontal_pod_autoscaler_sync_period: Option<Duration>,
    /// Whether a HorizontalPodAutoscaler whose count would rise is decided for between two of these looks, too [default: true].
    #[arg(
        long,
        env = "CORACLE_HORIZONTAL_POD_AUTOSCALER_EARLY_LOOK",
        value_name = "BOOL",
        num_args = 0..=1,
        require_equals = true,
        default_missing_value = "true"
    )]
    pub horizontal_pod_autoscaler_early_look: Option<bool>,
    /// How far a metric may be from its target before anything is scaled, as a share of it [default: 0.1].
    #[arg(long, env = "CORACLE_HORIZONTAL_POD_AUTOSCALER_TOLERANCE", value_name = "SHARE")]
    pub horizontal_pod_autoscaler_tolerance: Option<f64>,
    /// For how long the highest recommendation holds on the way down, where `behavior` does not say [default: 5m].
    #[arg(
        long,
        env = "CORACLE_HORIZONTAL_POD_AUTOSCALER_DOWNSCALE_STABILIZATION",
        value_name = "DURATION",
        value_parser = duration
    )]
    pub horizontal_pod_autoscaler_downscale_stabilization: Option<Duration>,
    /// For how long after a pod's start its CPU may be its start-up's [default: 5m].
    #[arg(
        long,
        env = "CORACLE_HORIZONTAL_POD_AUTOSCALER_CPU_INITIALIZATION_PERIOD",
        value_name = "DURATION",
        value_parser = duration
    )]
    pub horizontal_pod_autoscaler_cpu_initialization_period: Option<Duration>,
    /// A pod that became unready within this time of its start has never been ready [default: 30s].
    #[arg(
        long,
        env = "CORACLE_HORIZONTAL_POD_AUTOSCALER_INITIAL_READINESS_DELAY",
        value_name = "DURATION",
        value_parser = duration
    )]
    pub horizontal_pod_autoscaler_initial_readiness_delay: Option<Duration>,
    /// How often every VerticalPodAutoscaler is looked at, at least 1s [default: 1m].
    #[arg(long, env = "CORACLE_RECOMMENDER_INTERVAL", value_name = "DURATION", value_parser = duration)]
    pub recommender_interval: Option<Duration>,
}

/// A length of time as Go writes it: `15s`, `1m30s`, `500ms`.
///
/// # Errors
/// It is none, or below zero.
pub fn duration(text: &str) -> Result<Duration, String> {
    let signed =
        text.parse::<SignedDuration>().map_err(|_| format!("{text:?} is not a duration such as 15s or 5m0s"))?;
    Duration::try_from(signed).map_err(|_| format!("{text:?} is negative"))
}

/// The keys of `coracle.toml`.
#[derive(Clone, Debug, Default)]
pub struct Keys {
    /// `horizontal-pod-autoscaler-sync-period`.
    pub sync_period: Option<String>,
    /// `horizontal-pod-autoscaler-early-look`.
    pub early_look: Option<bool>,
    /// `horizontal-pod-autoscaler-tolerance`.
    pub tolerance: Option<f64>,
    /// `horizontal-pod-autoscaler-downscale-stabilization`.
    pub downscale_stabilization: Option<String>,
    /// `horizontal-pod-autoscaler-cpu-initialization-period`.
    pub cpu_initialization_period: Option<String>,
    /// `horizontal-pod-autoscaler-initial-readiness-delay`.
    pub initial_readiness_delay: Option<String>,
    /// `recommender-interval`.
    pub recommender_interval: Option<String>,
}

/// The settings that flags and keys make, with every default filled in.
///
/// # Errors
/// Names the setting, what is wrong with it, and what is accepted.
pub fn resolve(flags: &Scaling, file: &Keys) -> anyhow::Result<Options> {
    let mut options = Options::default();
    options.early_look = flags.horizontal_pod_autoscaler_early_look.or(file.early_look).unwrap_or(options.early_look);
    let read = |name: &str, flag: Option<Duration>, key: &Option<String>| -> anyhow::Result<Option<Duration>> {
        let key = || key.as_deref().map(duration).transpose().map_err(anyhow::Error::msg);
        flag.map_or_else(key, |flag| Ok(Some(flag))).with_context(|| format!("--{name}"))
    };
    let periods = [
        (
            "horizontal-pod-autoscaler-sync-period",
            flags.horizontal_pod_autoscaler_sync_period,
            &file.sync_period,
            &mut options.sync_period,
        ),
        (
            "recommender-interval",
            flags.recommender_interval,
            &file.recommender_interval,
            &mut options.recommender_interval,
        ),
    ];
    for (name, flag, key, setting) in periods {
        if let Some(period) = read(name, flag, key)? {
            ensure!(period >= Duration::from_secs(1), "--{name}: {period:?} is less than a second");
            *setting = period;
        }
    }
    if let Some(tolerance) = flags.horizontal_pod_autoscaler_tolerance.or(file.tolerance) {
        let fits = tolerance.is_finite() && tolerance >= 0.0;
        ensure!(fits, "--horizontal-pod-autoscaler-tolerance: {tolerance} is no share such as 0.1");
        options.settings.tolerance = tolerance;
    }
    let settings = &mut options.settings;
    let spans = [
        (
            "horizontal-pod-autoscaler-downscale-stabilization",
            flags.horizontal_pod_autoscaler_downscale_stabilization,
            &file.downscale_stabilization,
            &mut settings.downscale_stabilization,
        ),
        (
            "horizontal-pod-autoscaler-cpu-initialization-period",
            flags.horizontal_pod_autoscaler_cpu_initialization_period,
            &file.cpu_initialization_period,
            &mut settings.cpu_initialization_period,
        ),
        (
            "horizontal-pod-autoscaler-initial-readiness-delay",
            flags.horizontal_pod_autoscaler_initial_readiness_delay,
            &file.initial_readiness_delay,
            &mut settings.initial_readiness_delay,
        ),
    ];
    for (name, flag, key, setting) in spans {
        if let Some(given) = read(name, flag, key)? {
            *setting = SignedDuration::try_from(given).unwrap_or(SignedDuration::MAX);
        }
    }
    Ok(options)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_are_kube_controller_managers_unless_somebody_says_otherwise() {
        let options = resolve(&Scaling::default(), &Keys::default()).unwrap();
        assert_eq!((options.sync_period, options.settings.tolerance), (Duration::from_secs(15), 0.1));
        let flags =
            Scaling { horizontal_pod_autoscaler_sync_period: Some(duration("1s").unwrap()), ..Scaling::default() };
        let file = Keys {
            sync_period: Some("30s".to_owned()),
            initial_readiness_delay: Some("1m0s".to_owned()),
            ..Keys::default()
        };
        let file = Keys { early_look: Some(false), ..file };
        let options = resolve(&flags, &file).unwrap();
        assert!(!options.early_look);
        assert_eq!(options.sync_period, Duration::from_secs(1), "a flag goes before the file");
        assert_eq!(options.settings.initial_readiness_delay, SignedDuration::from_mins(1));
    }

    #[test]
    fn settings_that_make_no_sense_are_refused_by_name() {
        let keys = |sync_period: &str, tolerance: f64| Keys {
            sync_period: Some(sync_period.to_owned()),
            tolerance: Some(tolerance),
            ..Keys::default()
        };
        for (wrong, name) in [
            (keys("500ms", 0.1), "sync-period"),
            (keys("soon", 0.1), "sync-period"),
            (keys("-5s", 0.1), "sync-period"),
            (keys("5s", -0.1), "tolerance"),
            (keys("5s", f64::NAN), "tolerance"),
        ] {
            let error = format!("{:#}", resolve(&Scaling::default(), &wrong).unwrap_err());
            assert!(error.contains(name), "{error}");
        }
    }
}
