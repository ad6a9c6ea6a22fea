//! A capacity as people write it: `cpu=10ms,time=50ms,cpu-limit=500m`, or as a pod's template says.

use k8s_openapi::api::core::v1::PodSpec;
use objects::quantity::Quantity;

use super::service::Capacity;
use crate::time::{TimeError, seconds};

/// What a value counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Unit {
    /// A number.
    Number,
    /// A time.
    Time,
    /// A resource quantity, such as `250m` or `64Mi`.
    Quantity,
}

/// A key, its unit, where its value goes, and what it means.
type Key = (&'static str, Unit, fn(&mut Capacity, f64), &'static str);

use Unit::{Number, Quantity as Amount, Time};

const KEYS: &[Key] = &[
    ("requests", Number, |capacity, value| capacity.concurrency = value, "requests that a pod serves at once"),
    ("time", Time, |capacity, value| capacity.time = value, "mean time in service"),
    ("variation", Number, |capacity, value| capacity.variation = value, "its coefficient of variation"),
    ("cpu", Time, |capacity, value| capacity.cpu = value, "CPU time for each request"),
    ("cpu-request", Amount, |capacity, value| capacity.cpu_request = Some(value), "the pod's CPU request"),
    ("cpu-limit", Amount, |capacity, value| capacity.cpu_limit = value, "the pod's CPU limit"),
    ("idle-cpu", Amount, |capacity, value| capacity.idle_cpu = value, "CPU of a pod without requests"),
    ("start-cpu", Amount, |capacity, value| capacity.start_cpu = value, "CPU of a pod that starts"),
    ("memory", Amount, |capacity, value| capacity.memory = value, "memory of a pod without requests"),
    ("request-memory", Amount, |capacity, value| capacity.request_memory = value, "memory for each request in service"),
    ("memory-request", Amount, |capacity, value| capacity.memory_request = Some(value), "the pod's memory request"),
    ("drain", Time, |capacity, value| capacity.drain = value, "time to finish requests when a pod terminates"),
    ("queue", Number, |capacity, value| capacity.queue = value, "requests that may wait for each pod"),
    ("hold", Number, |capacity, value| capacity.hold = value, "requests that may wait while there is no pod"),
    ("patience", Time, |capacity, value| capacity.patience = value, "how long a request may wait"),
];

/// Why a text is no capacity.
#[derive(Debug, thiserror::Error)]
pub enum CapacityError {
    /// A part is not `key=value`, or there is no such key.
    #[error("{0:?} is none of {known}", known = KEYS.iter().map(|(key, ..)| format!("{key}=")).collect::<Vec<_>>().join(", "))]
    Unknown(String),
    /// The value is no number.
    #[error("{0:?} is not a number, zero or more")]
    NotANumber(String),
    /// The value is no quantity.
    #[error("{0:?} is not a quantity, such as 250m or 64Mi")]
    NotAQuantity(String),
    /// The value is no time.
    #[error("{part:?}")]
    Time {
        /// What was written.
        part: String,
        /// What is wrong with it.
        source: TimeError,
    },
    /// A pod that could serve nothing.
    #[error("a pod needs requests= and time= above zero, and a CPU limit where requests take CPU time")]
    Nothing,
}

/// What there is to say, for a help text: key and meaning.
pub fn keys() -> impl Iterator<Item = (&'static str, &'static str)> {
    KEYS.iter().map(|(key, _, _, meaning)| (*key, *meaning))
}

impl Capacity {
    /// Changes what `key=value,key=value` says.
    ///
    /// # Errors
    /// For unknown keys, values of another kind, and a pod that could serve nothing.
    pub fn change(&mut self, text: &str) -> Result<(), CapacityError> {
        for part in text.split(',').filter(|part| !part.is_empty()) {
            let unknown = || CapacityError::Unknown(part.to_owned());
            let (key, value) = part.split_once('=').ok_or_else(unknown)?;
            let (_, unit, set, _) = KEYS.iter().find(|(known, ..)| *known == key).ok_or_else(unknown)?;
            set(self, read(*unit, part, value)?);
        }
        let serves = self.servers() > 0.0 && self.time > 0.0;
        if serves { Ok(()) } else { Err(CapacityError::Nothing) }
    }

    /// Takes requests, limits and the time to drain from a pod's template. What it does not say stays as it is.
    pub fn of_pods(&mut self, template: &PodSpec) {
        let sum = |resource: &str, limits: bool| {
            let amounts = template.containers.iter().filter_map(|container| {
                let resources = container.resources.as_ref()?;
                let amounts = if limits { &resources.limits } else { &resources.requests };
                amount(&amounts.as_ref()?.get(resource)?.0)
            });
            amounts.reduce(|sum, one| sum + one)
        };
        // A limit without a request is the request, too.
        let request = |resource: &str| sum(resource, false).or_else(|| sum(resource, true));
        self.cpu_request = request("cpu");
        self.memory_request = request("memory");
        self.cpu_limit = sum("cpu", true).filter(|limit| *limit > 0.0).unwrap_or(self.cpu_limit);
        self.drain = template.termination_grace_period_seconds.map_or(self.drain, |seconds| seconds.max(0) as f64);
    }
}

fn amount(text: &str) -> Option<f64> {
    let quantity: Quantity = text.parse().ok()?;
    (!quantity.is_negative()).then(|| quantity.millis() as f64 / 1000.0)
}

fn read(unit: Unit, part: &str, value: &str) -> Result<f64, CapacityError> {
    let part = part.to_owned();
    match unit {
        Number => {
            let number = value.parse::<f64>().ok().filter(|number| number.is_finite() && *number >= 0.0);
            number.ok_or(CapacityError::NotANumber(part))
        }
        Amount => amount(value).ok_or(CapacityError::NotAQuantity(part)),
        Time => seconds(value).map_err(|source| CapacityError::Time { part, source }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn capacities_are_read_by_key() {
        let mut capacity = Capacity::default();
        capacity.change("requests=8,time=100ms,cpu=2ms,cpu-request=250m,memory=32Mi,patience=1m").unwrap();
        assert_eq!((capacity.concurrency, capacity.time, capacity.cpu), (8.0, 0.1, 0.002));
        assert_eq!((capacity.cpu_request, capacity.memory, capacity.patience), (Some(0.25), 33_554_432.0, 60.0));
        for (text, message) in [
            ("speed=1", "\"speed=1\" is none of requests=, time=,"),
            ("requests", "\"requests\" is none of requests=, time=,"),
            ("requests=many", "\"requests=many\" is not a number"),
            ("cpu-limit=1x", "\"cpu-limit=1x\" is not a quantity"),
            ("time=0", "a pod needs requests= and time= above zero"),
            ("cpu-limit=0", "a pod needs"),
        ] {
            let error = Capacity::default().change(text).unwrap_err().to_string();
            assert!(error.starts_with(message), "{error}");
        }
    }

    #[test]
    fn a_template_says_what_pods_request() {
        let template = serde_json::from_value(serde_json::json!({
            "terminationGracePeriodSeconds": 5,
            "containers": [
                {"name": "a", "resources": {"requests": {"cpu": "100m"}, "limits": {"cpu": "1", "memory": "64Mi"}}},
                {"name": "b", "resources": {"requests": {"cpu": "50m"}, "limits": {"cpu": "500m"}}},
            ],
        }));
        let mut capacity = Capacity::default();
        capacity.of_pods(&template.unwrap());
        assert!((capacity.cpu_request.unwrap() - 0.15).abs() < 1e-9);
        assert_eq!((capacity.cpu_limit, capacity.memory_request, capacity.drain), (1.5, Some(67_108_864.0), 5.0));
    }
}
