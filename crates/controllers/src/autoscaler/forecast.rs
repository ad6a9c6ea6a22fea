//! What is ahead of the autoscalers that want to know (`autoscaling::predict`), and where it is kept.
//!
//! The demand of three weeks is a ConfigMap beside the autoscaler and owned by it, so that it goes where the other objects go (into
//! snapshots, to another machine) and goes away with its autoscaler. It is written once an hour, and then only the day that
//! changed: a day is at most 2 KiB, all of them at most 48 KiB. What a crash loses is the last hour, which leaves a gap that a
//! median of three does not notice.

use std::{
    collections::{BTreeMap, HashMap},
    fmt::Write,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use autoscaling::{
    decide::Autoscaler,
    predict::{self, Forecast, Outlook, Predictor, Record},
};
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::{
    autoscaling::v2::HorizontalPodAutoscaler,
    core::v1::{ConfigMap, Pod},
};
use kube::{
    Api, Client, ResourceExt,
    api::{Patch, PatchParams, PostParams},
};
use serde_json::{Value, json};

use crate::{
    cache::Key,
    claim::reference,
    runner::{Error, gone_is_fine},
};

/// From one writing of a record to the next.
const EVERY: Duration = Duration::from_secs(3600);
/// Records read or written in one round; the others have their turn in the next.
const AT_ONCE: usize = 16;
/// Until a record is read again that could not be read.
const AGAIN: Duration = Duration::from_secs(60);
/// A pod's start-up before any was seen.
const START_UP: SignedDuration = SignedDuration::from_secs(30);

/// What is known of one autoscaler's demand.
#[derive(Debug)]
struct Known {
    uid: Option<String>,
    predictor: Predictor,
    /// The days as they were written last; `None` if there is no object yet.
    written: Option<BTreeMap<String, String>>,
    due: Instant,
    ahead: SignedDuration,
}

/// What is known of every demand.
pub(super) struct Forecasts {
    client: Client,
    sync: SignedDuration,
    known: HashMap<Key, Known>,
    /// Those whose record could not be read, until when.
    unread: HashMap<Key, Instant>,
    published: Published,
    /// What this round's metrics will say.
    said: BTreeMap<Key, Forecast>,
    /// Records that may still be read or written in this round.
    left: usize,
}

/// The forecasts as they are now, for whoever serves metrics.
#[derive(Clone, Debug, Default)]
pub struct Published(Arc<Mutex<BTreeMap<Key, Forecast>>>);

/// Metrics of forecasts: name, meaning, and what it is.
type Gauge = (&'static str, &'static str, fn(&Forecast) -> Option<f64>);

const GAUGES: [Gauge; 2] = [
    (
        "coracle_hpa_forecast_replicas",
        "Replicas that the pattern of the demand needs by the time a pod that starts now is ready.",
        |forecast| match forecast {
            Forecast::Known { needed, .. } => Some(*needed),
            _ => None,
        },
    ),
    ("coracle_hpa_forecast_error_ratio", "By which share of the demand forecasts were off lately.", |forecast| {
        match forecast {
            Forecast::Known { error, .. } | Forecast::Uncertain { error } => Some(*error),
            Forecast::Learning => None,
        }
    }),
];

impl Published {
    /// In the text format of Prometheus, which for gauges is that of OpenMetrics, too; nothing where nothing is forecast.
    pub fn prometheus(&self) -> String {
        let all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let mut text = String::new();
        for (name, meaning, value) in GAUGES {
            let mut said = false;
            for (Key { namespace, name: of }, forecast) in all.iter() {
                let Some(value) = value(forecast) else { continue };
                if !said {
                    let _ = write!(text, "# HELP {name} {meaning}\n# TYPE {name} gauge\n");
                    said = true;
                }
                // Names of objects need no quoting, and writing to a String does not fail.
                let _ = writeln!(text, "{name}{{namespace=\"{namespace}\",name=\"{of}\"}} {value}");
            }
        }
        text
    }

    fn set(&self, all: BTreeMap<Key, Forecast>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = all;
    }
}

impl Forecasts {
    /// Nothing is known yet. `sync` is the time from one round to the next.
    pub(super) fn new(client: Client, sync: Duration, published: Published) -> Self {
        let sync = SignedDuration::try_from(sync).unwrap_or(SignedDuration::MAX);
        Self {
            client,
            sync,
            known: HashMap::new(),
            unread: HashMap::new(),
            published,
            said: BTreeMap::new(),
            left: AT_ONCE,
        }
    }

    /// Begins a round with these autoscalers; the others are forgotten.
    pub(super) fn begin(&mut self, here: &HashMap<Key, Option<String>>) {
        self.known.retain(|key, known| here.get(key).is_some_and(|uid| *uid == known.uid));
        self.unread.retain(|key, until| here.contains_key(key) && Instant::now() < *until);
        self.left = AT_ONCE;
        self.said.clear();
    }

    /// What is ahead of an autoscaler whose pods these are; `None` if it does not want to know.
    pub(super) async fn outlook(
        &mut self,
        object: &HorizontalPodAutoscaler,
        autoscaler: &Autoscaler,
        pods: &[&Pod],
        now: Timestamp,
    ) -> Option<Outlook> {
        let key = Key::of(object);
        if !predict::is_enabled(object.annotations()) {
            self.known.remove(&key);
            return None;
        }
        if !self.known.contains_key(&key) {
            if self.left == 0 || self.unread.contains_key(&key) {
                return None;
            }
            self.left -= 1;
            let written = match self.read(object).await {
                Ok(written) => written,
                Err(error) => {
                    tracing::warn!("{}/{}: its recorded demand: {error}", key.namespace, key.name);
                    self.unread.insert(key, Instant::now() + AGAIN);
                    return None;
                }
            };
            let days = written.iter().flatten().map(|(day, cells)| (day.as_str(), cells.as_str()));
            let predictor = Predictor::new(Record::from_days(days, now));
            let known =
                Known { uid: object.uid(), predictor, written, due: Instant::now(), ahead: SignedDuration::ZERO };
            self.known.insert(key.clone(), known);
        }
        let start_up = predict::start_up(object.annotations(), pods).unwrap_or(START_UP);
        let window = autoscaler.behavior.as_ref().map_or(SignedDuration::ZERO, |behavior| behavior.up.window);
        let known = self.known.get_mut(&key)?;
        known.ahead = start_up.saturating_add(self.sync).saturating_add(window);
        let forecast = known.predictor.forecast(now, known.ahead);
        self.said.insert(key, forecast);
        Some(Outlook { forecast, ahead: known.ahead })
    }

    /// Lets the metrics say what was forecast in this round; before anything is done about it, so that they tell why.
    pub(super) fn publish(&mut self) {
        self.published.set(std::mem::take(&mut self.said));
    }

    /// Learns what the demand of an autoscaler needs.
    pub(super) fn learn(&mut self, key: &Key, needed: f64, now: Timestamp) {
        if let Some(known) = self.known.get_mut(key) {
            known.predictor.observe(now, needed);
        }
    }

    /// Writes the records that are due.
    pub(super) async fn keep(&mut self, object: &HorizontalPodAutoscaler) {
        let key = Key::of(object);
        let Some(known) = self.known.get(&key) else { return };
        if self.left == 0 || known.due > Instant::now() || known.predictor.record().is_empty() {
            return;
        }
        self.left -= 1;
        let days = known.predictor.record().to_days();
        let outcome = self.write(object, known.written.as_ref(), &days).await;
        if let Err(error) = &outcome {
            tracing::warn!("{}/{}: its recorded demand is not written: {error}", key.namespace, key.name);
        }
        if let Some(known) = self.known.get_mut(&key) {
            known.due = Instant::now() + EVERY;
            if outcome.is_ok() {
                known.written = Some(days);
            }
        }
    }

    fn api(&self, object: &HorizontalPodAutoscaler) -> Api<ConfigMap> {
        Api::namespaced(self.client.clone(), &object.namespace().unwrap_or_default())
    }

    /// The days that were written; `None` if there is no object.
    ///
    /// # Errors
    /// When the API does not answer, or somebody else has an object of that name.
    async fn read(&self, object: &HorizontalPodAutoscaler) -> Result<Option<BTreeMap<String, String>>, Error> {
        let Some(found) = self.api(object).get_opt(&name(object)).await? else { return Ok(None) };
        let is_own = found.owner_references().iter().any(|owner| Some(&owner.uid) == object.uid().as_ref());
        if is_own {
            Ok(Some(found.data.unwrap_or_default()))
        } else {
            Err(format!("the ConfigMap {} is not this autoscaler's: rename or delete it", name(object)).into())
        }
    }

    async fn write(
        &self,
        object: &HorizontalPodAutoscaler,
        written: Option<&BTreeMap<String, String>>,
        days: &BTreeMap<String, String>,
    ) -> Result<(), Error> {
        let api = self.api(object);
        match written {
            Some(written) => {
                let patch = json!({"data": changes(written, days)});
                let params = PatchParams::default();
                gone_is_fine(api.patch(&name(object), &params, &Patch::Merge(patch)).await)?;
            }
            None => {
                let mut map = ConfigMap { data: Some(days.clone()), ..ConfigMap::default() };
                map.metadata.name = Some(name(object));
                map.metadata.owner_references = Some(vec![reference(object)]);
                api.create(&PostParams::default(), &map).await?;
            }
        }
        Ok(())
    }
}

/// The name of the object that keeps an autoscaler's demand.
fn name(object: &HorizontalPodAutoscaler) -> String {
    format!("{}-demand", object.name_any())
}

/// What a merge patch must say so that one becomes the other.
fn changes(written: &BTreeMap<String, String>, days: &BTreeMap<String, String>) -> BTreeMap<String, Value> {
    let gone = written.keys().filter(|day| !days.contains_key(*day)).map(|day| (day.clone(), Value::Null));
    let new = days.iter().filter(|(day, cells)| written.get(*day) != Some(*cells));
    gone.chain(new.map(|(day, cells)| (day.clone(), cells.as_str().into()))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn metrics_say_what_is_forecast_and_how_far_off_that_was() {
        let published = Published::default();
        assert_eq!(published.prometheus(), "");
        let key = |name: &str| Key { namespace: "shop".to_owned(), name: name.to_owned() };
        let known = Forecast::Known { needed: 4.5, error: 0.08, season: predict::Season::Weekly };
        published.set(BTreeMap::from([(key("web"), known), (key("new"), Forecast::Learning)]));
        let text = published.prometheus();
        let values: Vec<&str> = text.lines().filter(|line| !line.starts_with('#')).collect();
        let wanted = [
            "coracle_hpa_forecast_replicas{namespace=\"shop\",name=\"web\"} 4.5",
            "coracle_hpa_forecast_error_ratio{namespace=\"shop\",name=\"web\"} 0.08",
        ];
        assert_eq!(values, wanted);
    }

    #[test]
    fn only_days_that_changed_are_written() {
        let days = |all: &[(&str, &str)]| -> BTreeMap<String, String> {
            all.iter().map(|(day, cells)| ((*day).to_owned(), (*cells).to_owned())).collect()
        };
        let written = days(&[("2026-03-01", "1"), ("2026-03-02", "1,2"), ("2026-03-03", "3")]);
        let now = days(&[("2026-03-02", "1,2"), ("2026-03-03", "3,4"), ("2026-03-04", "5")]);
        let patch = changes(&written, &now);
        assert_eq!(json!(patch), json!({"2026-03-01": null, "2026-03-03": "3,4", "2026-03-04": "5"}));
    }
}
