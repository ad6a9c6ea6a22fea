//! What was learnt, kept in VerticalPodAutoscalerCheckpoints: one for each container, named and laid out as upstream's, so that either
//! goes on where the other left off. Each belongs to its autoscaler and goes away with it.

use std::collections::{BTreeMap, HashMap};

use autoscaling::vertical::{container::Kept, histogram::Checkpoint as Histogram};
use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::{
    Api, Client, ResourceExt,
    api::{ListParams, Patch, PatchParams, PostParams},
};
use objects::vertical::{
    CheckpointStatus, HistogramCheckpoint, VerticalPodAutoscaler, VerticalPodAutoscalerCheckpoint as Checkpoint,
    VerticalPodAutoscalerCheckpointSpec,
};
use serde_json::json;

use super::model::Model;
use crate::{claim::reference, runner::Error};

/// Objects that are written in one round; the others have their turn in the next.
const AT_ONCE: usize = 64;
/// The layout (`SupportedCheckpointVersion`).
const VERSION: &str = "v3";

/// Reads and writes them.
pub(super) struct Checkpoints {
    client: Client,
    left: usize,
    /// How many samples were written, by the object's uid and the container's name.
    written: HashMap<(String, String), u64>,
}

impl Checkpoints {
    pub fn new(client: Client) -> Self {
        Self { client, left: AT_ONCE, written: HashMap::new() }
    }

    /// Begins a round.
    pub fn begin(&mut self) {
        self.left = AT_ONCE;
        // Of objects that are gone; what is forgotten too soon is written once more.
        if self.written.len() > 16 * AT_ONCE {
            self.written.clear();
        }
    }

    fn api(&self, object: &VerticalPodAutoscaler) -> Api<Checkpoint> {
        Api::namespaced(self.client.clone(), &object.namespace().unwrap_or_default())
    }

    /// What was kept of an autoscaler's containers.
    ///
    /// # Errors
    /// When the API does not answer.
    pub async fn read(&self, object: &VerticalPodAutoscaler) -> Result<BTreeMap<String, Kept>, Error> {
        let list = self.api(object).list(&ListParams::default()).await?;
        let name = object.name_any();
        let own = list.items.into_iter().filter(|one| one.spec.vpa_object_name.as_deref() == Some(&name));
        let own = own.filter(|one| {
            // One that an earlier object of the name left is on its way out.
            one.owner_references().is_empty()
                || one.owner_references().iter().any(|owner| Some(&owner.uid) == object.uid().as_ref())
        });
        Ok(own.filter_map(|one| Some((one.spec.container_name?, kept(&one.status?)))).collect())
    }

    /// Writes what was learnt since it was written last.
    pub async fn keep(&mut self, object: &VerticalPodAutoscaler, model: &Model) {
        for (name, container) in &model.containers {
            let whose = (object.uid().unwrap_or_default(), name.clone());
            if self.left == 0 || self.written.get(&whose) == Some(&container.samples) {
                continue;
            }
            self.left -= 1;
            match self.write(object, name, &container.checkpoint()).await {
                Ok(()) => drop(self.written.insert(whose, container.samples)),
                Err(error) => tracing::warn!("checkpoint of {}, container {name}: {error}", object.name_any()),
            }
        }
    }

    async fn write(&self, object: &VerticalPodAutoscaler, container: &str, kept: &Kept) -> Result<(), Error> {
        let name = format!("{}-{container}", object.name_any());
        let status = status(kept, Timestamp::now());
        let api = self.api(object);
        // The whole of it: in a merge patch buckets that became nothing would stay.
        let patch = json!([{"op": "add", "path": "/status", "value": status}]);
        let patch = serde_json::from_value(patch)?;
        match api.patch(&name, &PatchParams::default(), &Patch::Json::<()>(patch)).await {
            Err(kube::Error::Api(answer)) if answer.code == 404 => {
                let (vpa_object_name, container_name) = (Some(object.name_any()), Some(container.to_owned()));
                let spec = VerticalPodAutoscalerCheckpointSpec { vpa_object_name, container_name };
                let mut checkpoint = Checkpoint::new(&name, spec);
                checkpoint.metadata.owner_references = Some(vec![reference(object)]);
                checkpoint.status = Some(status);
                api.create(&PostParams::default(), &checkpoint).await?;
                Ok(())
            }
            other => Ok(other.map(drop)?),
        }
    }
}

fn status(kept: &Kept, now: Timestamp) -> CheckpointStatus {
    let time = |at: Timestamp| Some(Time(Timestamp::from_second(at.as_second()).unwrap_or(at)));
    let histogram = |of: &Histogram| HistogramCheckpoint {
        reference_timestamp: of.reference.and_then(time),
        bucket_weights: of.weights.iter().map(|(bucket, weight)| (bucket.to_string(), *weight)).collect(),
        total_weight: of.total,
    };
    CheckpointStatus {
        last_update_time: time(now),
        version: Some(VERSION.to_owned()),
        cpu_histogram: histogram(&kept.cpu),
        memory_histogram: histogram(&kept.memory),
        first_sample_start: kept.seen.and_then(|(first, _)| time(first)),
        last_sample_start: kept.seen.and_then(|(_, last)| time(last)),
        total_samples_count: i64::try_from(kept.samples).unwrap_or(i64::MAX),
    }
}

/// What cannot be read counts for nothing.
fn kept(status: &CheckpointStatus) -> Kept {
    let histogram = |of: &HistogramCheckpoint| Histogram {
        reference: of.reference_timestamp.as_ref().map(|time| time.0),
        weights: of
            .bucket_weights
            .iter()
            .filter_map(|(bucket, weight)| Some((bucket.parse().ok()?, *weight)))
            .collect(),
        total: of.total_weight,
    };
    let (first, last) = (status.first_sample_start.as_ref(), status.last_sample_start.as_ref());
    Kept {
        cpu: histogram(&status.cpu_histogram),
        memory: histogram(&status.memory_histogram),
        seen: first.zip(last).map(|(first, last)| (first.0, last.0)),
        samples: u64::try_from(status.total_samples_count).unwrap_or(0),
    }
}

#[cfg(test)]
mod tests {
    use autoscaling::vertical::Container;

    use super::*;

    #[test]
    fn what_is_written_is_read_again() {
        let at: Timestamp = "2026-01-01T00:00:00Z".parse().unwrap();
        let mut container = Container::default();
        container.use_cpu(0.5, 1.0, at);
        let written = status(&container.checkpoint(), at);
        let text = serde_json::to_string(&written).unwrap();
        let again = Container::restored(&kept(&serde_json::from_str(&text).unwrap()));
        assert_eq!((again.samples, again.seen), (1, Some((at, at))));
        assert_eq!(again.cpu.percentile(0.9), container.cpu.percentile(0.9));
        assert_eq!(Container::restored(&kept(&CheckpointStatus::default())).samples, 0);
    }
}
