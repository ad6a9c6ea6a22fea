//! Snapshots of the cluster from manifests.

use gateway::control::Snapshot;
use serde_json::Value;

/// Everything that the manifests hold.
pub fn snapshot(yaml: &str) -> Snapshot {
    let mut snapshot = Snapshot::default();
    for object in serde_saphyr::from_multiple::<Value>(yaml).unwrap() {
        let kind = object["kind"].to_string();
        assert!(snapshot.insert(object).unwrap(), "the gateway does not look at {kind}");
    }
    snapshot
}
