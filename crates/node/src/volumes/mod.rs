//! Volumes: directories with the contents of ConfigMaps, Secrets and fields (`contents`), swapped atomically when they change
//! (`swap`), empty ones, and what the machine has (`host`); and where containers see them (`mounts`).

mod contents;
mod host;
mod mounts;
mod swap;

use std::{fs, io, os::unix::fs::PermissionsExt, path::Path};

use jiff::Timestamp;
use k8s_openapi::api::core::v1::{EmptyDirVolumeSource, Pod, Volume};
use objects::quantity::Quantity;

use crate::env::Lookup;

pub use host::release;
pub use mounts::mounts;

/// Makes or refreshes the pod's volumes below `dir`; gives warnings about what has no effect here.
///
/// # Errors
/// The text of a `FailedMount` event: the volume, and what is missing or could not be written.
pub fn prepare(pod: &Pod, dir: &Path, lookup: &dyn Lookup, now: Timestamp) -> Result<Vec<String>, String> {
    let mut warnings = Vec::new();
    let group = pod.spec.as_ref().and_then(|s| s.security_context.as_ref()).and_then(|s| s.fs_group);
    let group = group.and_then(|group| u32::try_from(group).ok());
    for volume in pod.spec.as_ref().and_then(|s| s.volumes.as_deref()).unwrap_or_default() {
        let mut notes = Vec::new();
        one(pod, volume, &dir.join(&volume.name), group, lookup, now, &mut notes)
            .map_err(|error| format!("MountVolume.SetUp failed for volume {:?} : {error}", volume.name))?;
        warnings.extend(notes.into_iter().map(|note| format!("volume {:?}: {note}", volume.name)));
    }
    Ok(warnings)
}

fn one(
    pod: &Pod,
    volume: &Volume,
    path: &Path,
    group: Option<u32>,
    lookup: &dyn Lookup,
    now: Timestamp,
    warnings: &mut Vec<String>,
) -> Result<(), String> {
    let io = |error: io::Error| format!("{}: {error}", path.display());
    if let Some(source) = &volume.host_path {
        return host::check(&source.path, source.type_.as_deref().unwrap_or_default());
    }
    if let Some(source) = &volume.empty_dir {
        // Memory does not outlast the machine, nor Coracle's end; the directory below it does.
        let lost = source.medium.as_deref() == Some("Memory") && !host::is_mounted(path);
        return if path.exists() && !lost { Ok(()) } else { empty(path, source, group, warnings).map_err(io) };
    }
    let Some(files) = contents::of(pod, volume, lookup, warnings)? else {
        // Data that somebody expects to last must not go into a directory that ends with the pod.
        return Err(format!("volumes of the type {} are not supported here", kind(volume)));
    };
    fs::create_dir_all(path).map_err(io)?;
    let given = swap::write(path, &files, group, now).map_err(io)?;
    if !given {
        warnings.push(NO_GROUP.to_owned());
    }
    Ok(())
}

const NO_GROUP: &str = "fsGroup needs root, it has no effect here";

/// An empty directory that everybody may write to; in memory if that is asked for and Coracle may mount.
fn empty(path: &Path, source: &EmptyDirVolumeSource, group: Option<u32>, warnings: &mut Vec<String>) -> io::Result<()> {
    fs::create_dir_all(path)?;
    let limit = source.size_limit.as_ref().and_then(|q| q.0.parse::<Quantity>().ok());
    match source.medium.as_deref().unwrap_or_default() {
        "Memory" => {
            if let Err(error) = host::memory(path, limit.map(|limit| limit.value())) {
                warnings.push(format!("medium Memory has no effect here, the volume is on disk: {error}"));
            }
        }
        "" if limit.is_none() => {}
        "" => warnings.push("sizeLimit has no effect here".to_owned()),
        other => warnings.push(format!("medium {other} has no effect here, the volume is on disk")),
    }
    let mut mode = 0o777;
    if let Some(group) = group {
        if std::os::unix::fs::chown(path, None, Some(group)).is_ok() {
            mode = 0o2777;
        } else {
            warnings.push(NO_GROUP.to_owned());
        }
    }
    fs::set_permissions(path, fs::Permissions::from_mode(mode))
}

/// The name of the field that says where a volume comes from.
fn kind(volume: &Volume) -> String {
    let fields = serde_json::to_value(volume).unwrap_or_default();
    let mut names = fields.as_object().into_iter().flat_map(|fields| fields.keys());
    names.find(|name| *name != "name").cloned().unwrap_or_else(|| "without a source".to_owned())
}

/// Removes a pod's directory, if it is there, with what is mounted in it.
pub fn remove(dir: &Path) {
    release(dir);
    match fs::remove_dir_all(dir) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => tracing::warn!("remove {}: {error}", dir.display()),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::env::tests::Objects;

    fn pod(volume: serde_json::Value) -> Pod {
        let spec = json!({"containers": [], "volumes": [volume]});
        serde_json::from_value(json!({"metadata": {"name": "p", "namespace": "n", "labels": {"a": "b"}}, "spec": spec}))
            .unwrap()
    }

    fn prepare(volume: serde_json::Value, dir: &Path) -> Result<Vec<String>, String> {
        super::prepare(&pod(volume), dir, &Objects, Timestamp::UNIX_EPOCH)
    }

    #[test]
    fn what_is_missing_is_named_in_the_kubelets_words_unless_it_is_optional() {
        let dir = tempfile::tempdir().unwrap();
        let missing = prepare(json!({"name": "v", "configMap": {"name": "x"}}), dir.path());
        assert_eq!(missing.unwrap_err(), "MountVolume.SetUp failed for volume \"v\" : configmap \"x\" not found");
        assert_eq!(prepare(json!({"name": "v", "configMap": {"name": "x", "optional": true}}), dir.path()), Ok(vec![]));
        let key = prepare(
            json!({"name": "v", "configMap": {"name": "c", "items": [{"key": "no", "path": "x"}]}}),
            dir.path(),
        );
        assert!(key.unwrap_err().ends_with("configmap references non-existent config key: no"));
        let claim = prepare(json!({"name": "v", "persistentVolumeClaim": {"claimName": "c"}}), dir.path());
        assert!(claim.unwrap_err().ends_with("volumes of the type persistentVolumeClaim are not supported here"));
    }

    #[test]
    fn a_projected_volume_holds_all_its_sources_with_their_modes() {
        let dir = tempfile::tempdir().unwrap();
        let sources = json!([
            {"configMap": {"name": "c", "items": [{"key": "k", "path": "deep/k", "mode": 0o400}]}},
            {"downwardAPI": {"items": [{"path": "labels", "fieldRef": {"fieldPath": "metadata.labels"}}]}},
            {"serviceAccountToken": {"path": "token"}}]);
        let warnings =
            prepare(json!({"name": "v", "projected": {"defaultMode": 0o640, "sources": sources}}), dir.path()).unwrap();
        assert!(warnings[0].contains("service account token"), "{warnings:?}");
        let volume = dir.path().join("v");
        assert_eq!(fs::read_to_string(volume.join("deep/k")).unwrap(), "v");
        assert_eq!(fs::read_to_string(volume.join("labels")).unwrap(), "a=\"b\"");
        let mode = |path: &str| fs::metadata(volume.join(path)).unwrap().permissions().mode() & 0o777;
        assert_eq!((mode("deep/k"), mode("labels")), (0o400, 0o640));
    }

    #[test]
    fn an_empty_directory_is_everybodys_and_keeps_what_was_written() {
        let dir = tempfile::tempdir().unwrap();
        let volume = json!({"name": "v", "emptyDir": {"sizeLimit": "1Gi"}});
        assert_eq!(prepare(volume.clone(), dir.path()).unwrap(), ["volume \"v\": sizeLimit has no effect here"]);
        fs::write(dir.path().join("v/x"), "x").unwrap();
        prepare(volume, dir.path()).unwrap();
        assert_eq!(fs::metadata(dir.path().join("v")).unwrap().permissions().mode() & 0o777, 0o777);
        assert!(dir.path().join("v/x").exists());
        remove(dir.path());
        assert!(!dir.path().exists());
    }
}
