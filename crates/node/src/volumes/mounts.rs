//! Where a container sees its volumes.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

use k8s_openapi::api::core::v1::{Container, Pod, Volume, VolumeMount};

use super::swap::stays_below;
use crate::{env::expand, runtime::Mount};

/// The mounts of a container.
///
/// # Errors
/// When a volume is not in the pod, or a sub path leaves it or cannot be made.
pub fn mounts(
    pod: &Pod,
    container: &Container,
    dir: &Path,
    env: &BTreeMap<String, String>,
) -> Result<Vec<Mount>, String> {
    let volumes = pod.spec.as_ref().and_then(|s| s.volumes.as_deref()).unwrap_or_default();
    let mount = |m: &VolumeMount| {
        let volume =
            volumes.iter().find(|v| v.name == m.name).ok_or_else(|| format!("volume {:?} not found", m.name))?;
        let whole = volume.host_path.as_ref().map_or_else(|| dir.join(&m.name), |host| PathBuf::from(&host.path));
        let sub = match &m.sub_path_expr {
            Some(text) => expand(text, &|name| env.get(name).cloned()),
            None => m.sub_path.clone().unwrap_or_default(),
        };
        let source = if sub.is_empty() { whole } else { below(&whole, &sub)? };
        let read_only = m.read_only.unwrap_or(false) || is_generated(volume);
        Ok(Mount { source, target: m.mount_path.clone().into(), read_only })
    };
    container.volume_mounts.as_deref().unwrap_or_default().iter().map(mount).collect()
}

/// Whether a volume's files are written by the node alone.
fn is_generated(volume: &Volume) -> bool {
    volume.config_map.is_some()
        || volume.secret.is_some()
        || volume.downward_api.is_some()
        || volume.projected.is_some()
}

/// The place of a sub path, made as a directory if nothing is there. Links that a container left in the volume lead nowhere else:
/// the place is resolved and must still be in the volume.
fn below(volume: &Path, sub: &str) -> Result<PathBuf, String> {
    if !stays_below(sub) {
        return Err(format!("subPath {sub:?} must stay in the volume"));
    }
    let failed = |e: std::io::Error| format!("failed to create subPath {sub:?}: {e}");
    let root = volume.canonicalize().map_err(failed)?;
    let mut at = root.clone();
    for step in Path::new(sub).components() {
        at.push(step);
        if fs::symlink_metadata(&at).is_err() {
            fs::create_dir(&at).map_err(failed)?;
            // As in the kubelet, it may be used as the volume itself may.
            let mode = fs::metadata(&root).map_err(failed)?.permissions();
            fs::set_permissions(&at, mode).map_err(failed)?;
        }
        at = at.canonicalize().map_err(failed)?;
        if !at.starts_with(&root) {
            return Err(format!("subPath {sub:?} must stay in the volume"));
        }
    }
    Ok(at)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn a_sub_path_is_made_and_never_leads_out_of_the_volume() {
        let dir = tempfile::tempdir().unwrap();
        let (volume, outside) = (dir.path().join("v"), dir.path().join("outside"));
        fs::create_dir_all(&volume).unwrap();
        fs::create_dir_all(&outside).unwrap();
        assert!(below(&volume, "a/b").unwrap().ends_with("v/a/b"));
        assert!(below(&volume, "../outside").is_err());
        symlink(&outside, volume.join("link")).unwrap();
        assert!(below(&volume, "link").is_err());
        assert!(below(&volume, "link/new").is_err());
        assert!(!outside.join("new").exists());
        fs::create_dir(volume.join("..data")).unwrap();
        fs::write(volume.join("..data/file"), "x").unwrap();
        symlink("..data/file", volume.join("file")).unwrap();
        assert!(below(&volume, "file").unwrap().ends_with("v/..data/file"));
    }
}
