//! What an object may say: upstream's validation, kind by kind, in its words. It sees objects as they are stored, with their
//! defaults.

mod at;
mod autoscaler;
mod change;
mod container;
mod data;
mod gateway;
mod metadata;
mod network;
mod pod;
mod volume;
mod workload;

use objects::kinds::Kind;
use serde_json::Value;

use self::at::At;
use crate::status::Cause;

/// What is wrong with a new object.
pub fn create(kind: &Kind, object: &Value) -> Vec<Cause> {
    let mut causes = metadata::check(kind, object);
    causes.extend(spec(kind, &At::root(object)));
    causes
}

/// What is wrong with a change of an object.
pub fn update(kind: &Kind, new: &Value, old: &Value) -> Vec<Cause> {
    let mut causes = metadata::check(kind, new);
    causes.extend(metadata::change(new, old));
    // What may not change is said first: it is what the client has to know.
    causes.extend(change::check(kind, new, old));
    causes.extend(spec(kind, &At::root(new)));
    causes
}

fn spec(kind: &Kind, object: &At<'_>) -> Vec<Cause> {
    let mut causes = Vec::new();
    let spec = object.field("spec");
    match kind.kind {
        "Pod" => pod::spec(&spec, &mut causes),
        "Deployment" => workload::deployment(&spec, &mut causes),
        "ReplicaSet" => workload::replica_set(&spec, &mut causes),
        "Service" => network::service(&spec, &mut causes),
        "EndpointSlice" => network::endpoint_slice(object, &mut causes),
        "HorizontalPodAutoscaler" => autoscaler::spec(&spec, &mut causes),
        "ConfigMap" => data::config_map(object, &mut causes),
        "Secret" => data::secret(object, &mut causes),
        "Lease" => data::lease(&spec, &mut causes),
        "Node" => data::node(&spec, &mut causes),
        "Event" => data::event(object, &mut causes),
        _ => gateway::check(kind, object, &mut causes),
    }
    causes
}

#[cfg(test)]
mod tests;
