//! Snapshots of the cluster from manifests.

use gateway::control::{KINDS, Snapshot};
use serde_json::Value;

/// Everything that the manifests hold; what does not say its `apiVersion` is of the group that has its kind.
pub fn snapshot(yaml: &str) -> Snapshot {
    let mut snapshot = Snapshot::default();
    for mut object in serde_saphyr::from_multiple::<Value>(yaml).unwrap() {
        let kind = object["kind"].as_str().unwrap().to_owned();
        let (group, _) = KINDS.iter().find(|(_, name)| *name == kind).unwrap();
        if object["apiVersion"].is_null() {
            object["apiVersion"] = format!("{group}/v1").trim_start_matches('/').into();
        }
        assert!(snapshot.insert(object).unwrap(), "the gateway does not look at {kind}");
    }
    snapshot
}
