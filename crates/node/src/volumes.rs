//! Volumes: directories with the contents of ConfigMaps, Secrets and fields, swapped atomically when they change.

use std::{
    collections::BTreeMap,
    fs, io,
    os::unix::fs::{PermissionsExt, symlink},
    path::{Component, Path, PathBuf},
};

use k8s_openapi::api::core::v1::{Container, DownwardAPIVolumeFile, KeyToPath, Pod, ProjectedVolumeSource, Volume};
use kube::ResourceExt;

use crate::{
    env::{Lookup, expand, field_value, resource_value},
    runtime::Mount,
    state::find,
};

/// Relative path → contents and mode.
type Files = BTreeMap<String, (Vec<u8>, u32)>;
type Data = BTreeMap<String, Vec<u8>>;

/// Makes or refreshes the pod's volumes below `dir`; gives warnings about what has no effect here.
///
/// # Errors
/// Names the volume, and what is missing or could not be written.
pub fn prepare(pod: &Pod, dir: &Path, lookup: &dyn Lookup) -> Result<Vec<String>, String> {
    let mut warnings = Vec::new();
    for volume in pod.spec.as_ref().and_then(|s| s.volumes.as_deref()).unwrap_or_default() {
        let path = dir.join(&volume.name);
        let named = |e: &dyn std::fmt::Display| format!("volume {:?}: {e}", volume.name);
        if let Some(host) = &volume.host_path {
            check_host_path(&host.path, host.type_.as_deref().unwrap_or_default()).map_err(|e| named(&e))?;
            continue;
        }
        fs::create_dir_all(&path).map_err(|e| named(&e))?;
        if let Some(empty) = &volume.empty_dir {
            fs::set_permissions(&path, fs::Permissions::from_mode(0o777)).map_err(|e| named(&e))?;
            if empty.medium.as_deref() == Some("Memory") {
                warnings.push(named(&"medium Memory has no effect here, the volume is on disk"));
            }
            if empty.size_limit.is_some() {
                warnings.push(named(&"sizeLimit has no effect here"));
            }
        } else if let Some(files) = contents(pod, volume, lookup, &mut warnings).map_err(|e| named(&e))? {
            write(&path, &files).map_err(|e| named(&e))?;
        } else {
            warnings.push(named(&"this type of volume is not supported here, it is an empty directory"));
        }
        let group = pod.spec.as_ref().and_then(|s| s.security_context.as_ref()).and_then(|s| s.fs_group);
        if group.is_some_and(|group| own(&path, u32::try_from(group).ok()).is_err()) {
            warnings.push(named(&"fsGroup needs root, it has no effect here"));
        }
    }
    Ok(warnings)
}

fn check_host_path(path: &str, type_: &str) -> Result<(), String> {
    let at = Path::new(path);
    let make = |result: io::Result<()>| result.map_err(|e| format!("make {path}: {e}"));
    match type_ {
        "DirectoryOrCreate" => make(fs::create_dir_all(at)),
        "FileOrCreate" if !at.exists() => make(fs::write(at, "")),
        "Directory" if !at.is_dir() => Err(format!("hostPath type check failed: {path} is not a directory")),
        "File" | "FileOrCreate" if !at.is_file() => Err(format!("hostPath type check failed: {path} is not a file")),
        _ => Ok(()),
    }
}

fn contents(
    pod: &Pod,
    volume: &Volume,
    lookup: &dyn Lookup,
    warnings: &mut Vec<String>,
) -> Result<Option<Files>, String> {
    let mut files = Files::new();
    let namespace = pod.namespace().unwrap_or_default();
    let mode = |m: Option<i32>| m.and_then(|m| u32::try_from(m).ok()).unwrap_or(0o644);
    if let Some(source) = &volume.config_map {
        let data = config_map(lookup, &namespace, &source.name, source.optional)?;
        select(&mut files, data, source.items.as_deref(), source.optional, mode(source.default_mode))?;
    } else if let Some(source) = &volume.secret {
        let name = source.secret_name.as_deref().unwrap_or_default();
        let data = secret(lookup, &namespace, name, source.optional)?;
        select(&mut files, data, source.items.as_deref(), source.optional, mode(source.default_mode))?;
    } else if let Some(source) = &volume.downward_api {
        downward(&mut files, pod, source.items.as_deref(), mode(source.default_mode))?;
    } else if let Some(source) = &volume.projected {
        projected(&mut files, pod, source, mode(source.default_mode), lookup, warnings)?;
    } else {
        return Ok(None);
    }
    Ok(Some(files))
}

fn projected(
    files: &mut Files,
    pod: &Pod,
    source: &ProjectedVolumeSource,
    mode: u32,
    lookup: &dyn Lookup,
    warnings: &mut Vec<String>,
) -> Result<(), String> {
    let namespace = pod.namespace().unwrap_or_default();
    for part in source.sources.as_deref().unwrap_or_default() {
        if let Some(s) = &part.config_map {
            select(files, config_map(lookup, &namespace, &s.name, s.optional)?, s.items.as_deref(), s.optional, mode)?;
        } else if let Some(s) = &part.secret {
            select(files, secret(lookup, &namespace, &s.name, s.optional)?, s.items.as_deref(), s.optional, mode)?;
        } else if let Some(s) = &part.downward_api {
            downward(files, pod, s.items.as_deref(), mode)?;
        } else {
            warnings.push("a projected service account token or trust bundle is not given here".to_owned());
        }
    }
    Ok(())
}

fn config_map(lookup: &dyn Lookup, namespace: &str, name: &str, optional: Option<bool>) -> Result<Data, String> {
    match lookup.config_map(namespace, name) {
        Some(map) => {
            let text = map.data.iter().flatten().map(|(k, v)| (k.clone(), v.clone().into_bytes()));
            Ok(text.chain(map.binary_data.iter().flatten().map(|(k, v)| (k.clone(), v.0.clone()))).collect())
        }
        None if optional == Some(true) => Ok(Data::new()),
        None => Err(format!("configmap {name:?} not found")),
    }
}

fn secret(lookup: &dyn Lookup, namespace: &str, name: &str, optional: Option<bool>) -> Result<Data, String> {
    match lookup.secret(namespace, name) {
        Some(secret) => Ok(secret.data.iter().flatten().map(|(k, v)| (k.clone(), v.0.clone())).collect()),
        None if optional == Some(true) => Ok(Data::new()),
        None => Err(format!("secret {name:?} not found")),
    }
}

fn select(
    files: &mut Files,
    data: Data,
    items: Option<&[KeyToPath]>,
    optional: Option<bool>,
    mode: u32,
) -> Result<(), String> {
    let Some(items) = items.filter(|items| !items.is_empty()) else {
        files.extend(data.into_iter().map(|(key, value)| (key, (value, mode))));
        return Ok(());
    };
    for item in items {
        match data.get(&item.key) {
            Some(value) => {
                let mode = item.mode.and_then(|m| u32::try_from(m).ok()).unwrap_or(mode);
                files.insert(item.path.clone(), (value.clone(), mode));
            }
            None if optional == Some(true) => {}
            None => return Err(format!("references non-existent key: {}", item.key)),
        }
    }
    Ok(())
}

fn downward(files: &mut Files, pod: &Pod, items: Option<&[DownwardAPIVolumeFile]>, mode: u32) -> Result<(), String> {
    for item in items.unwrap_or_default() {
        let value = if let Some(field) = &item.field_ref {
            field_value(pod, &field.field_path, None)?
        } else if let Some(r) = &item.resource_field_ref {
            let name = r.container_name.as_deref().unwrap_or_default();
            let container =
                pod.spec.as_ref().and_then(|s| find(s, name)).ok_or_else(|| format!("container {name} not found"))?;
            resource_value(
                container,
                &r.resource,
                r.divisor.as_ref().map(|d| d.0.as_str()),
                crate::register::capacity(),
            )?
        } else {
            continue;
        };
        let mode = item.mode.and_then(|m| u32::try_from(m).ok()).unwrap_or(mode);
        files.insert(item.path.clone(), (value.into_bytes(), mode));
    }
    Ok(())
}

/// Whether a path stays below the directory it is joined to.
fn stays_below(path: &str) -> bool {
    Path::new(path).components().all(|c| matches!(c, Component::Normal(_) | Component::CurDir))
}

/// Writes the files into a new directory and swaps `..data` to it, so that readers see all of the old or all of the new.
fn write(dir: &Path, files: &Files) -> io::Result<()> {
    if let Some(bad) = files.keys().find(|path| !stays_below(path)) {
        return Err(io::Error::other(format!("{bad:?} leaves the volume")));
    }
    let data = dir.join("..data");
    let old = fs::read_link(&data).ok();
    let same = |path: &String, (contents, mode): &(Vec<u8>, u32)| {
        let file = data.join(path);
        let kept = fs::metadata(&file).is_ok_and(|m| m.permissions().mode() & 0o777 == *mode);
        kept && fs::read(&file).is_ok_and(|now| now == *contents)
    };
    if old.is_some() && files.iter().all(|(p, f)| same(p, f)) && count(&data) == files.len() {
        return Ok(());
    }
    let name = format!("..{}", jiff::Timestamp::now().as_nanosecond());
    let fresh = dir.join(&name);
    fs::create_dir_all(&fresh)?;
    for (path, (contents, mode)) in files {
        let file = fresh.join(path);
        fs::create_dir_all(file.parent().unwrap_or(&fresh))?;
        fs::write(&file, contents)?;
        fs::set_permissions(&file, fs::Permissions::from_mode(*mode))?;
    }
    let temporary = dir.join("..data_tmp");
    let _ = fs::remove_file(&temporary);
    symlink(&name, &temporary)?;
    fs::rename(&temporary, &data)?;
    let tops: std::collections::BTreeSet<&str> = files.keys().filter_map(|p| p.split('/').next()).collect();
    for top in &tops {
        let link = dir.join(top);
        if fs::symlink_metadata(&link).is_err() {
            symlink(Path::new("..data").join(top), &link)?;
        }
    }
    for entry in fs::read_dir(dir)?.flatten() {
        let known = entry.file_name().to_string_lossy().into_owned();
        if !known.starts_with("..") && !tops.contains(known.as_str()) {
            fs::remove_file(entry.path())?;
        }
    }
    old.map_or(Ok(()), |old| fs::remove_dir_all(dir.join(old)))
}

fn count(dir: &Path) -> usize {
    let entries = fs::read_dir(dir).into_iter().flatten().flatten();
    entries.map(|e| if e.path().is_dir() { count(&e.path()) } else { 1 }).sum()
}

fn own(path: &Path, group: Option<u32>) -> io::Result<()> {
    std::os::unix::fs::lchown(path, None, group)?;
    if fs::symlink_metadata(path)?.is_dir() {
        for entry in fs::read_dir(path)?.flatten() {
            own(&entry.path(), group)?;
        }
    }
    Ok(())
}

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
    let mount = |m: &k8s_openapi::api::core::v1::VolumeMount| {
        let volume =
            volumes.iter().find(|v| v.name == m.name).ok_or_else(|| format!("volume {:?} not found", m.name))?;
        let mut source = volume.host_path.as_ref().map_or_else(|| dir.join(&m.name), |host| PathBuf::from(&host.path));
        let sub = match &m.sub_path_expr {
            Some(text) => expand(text, &|name| env.get(name).cloned()),
            None => m.sub_path.clone().unwrap_or_default(),
        };
        if !sub.is_empty() {
            if !stays_below(&sub) {
                return Err(format!("subPath {sub:?} must stay in the volume"));
            }
            source = source.join(&sub);
            if !source.exists() {
                fs::create_dir_all(&source).map_err(|e| format!("failed to create subPath {sub:?}: {e}"))?;
            }
            source = source.canonicalize().map_err(|e| format!("subPath {sub:?}: {e}"))?;
        }
        let generated = [
            volume.config_map.is_some(),
            volume.secret.is_some(),
            volume.downward_api.is_some(),
            volume.projected.is_some(),
        ];
        let read_only = m.read_only.unwrap_or(false) || generated.contains(&true);
        Ok(Mount { source, target: m.mount_path.clone().into(), read_only })
    };
    container.volume_mounts.as_deref().unwrap_or_default().iter().map(mount).collect()
}

/// Removes a pod's directory, if it is there.
pub fn remove(dir: &Path) {
    match fs::remove_dir_all(dir) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => tracing::warn!("remove {}: {error}", dir.display()),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_changed_source_is_swapped_in_whole_and_what_is_gone_disappears() {
        let dir = tempfile::tempdir().unwrap();
        let files = |list: &[(&str, &str)]| {
            list.iter().map(|(k, v)| ((*k).to_owned(), (v.as_bytes().to_vec(), 0o640))).collect::<Files>()
        };
        write(dir.path(), &files(&[("a", "1"), ("d/b", "2")])).unwrap();
        let first = fs::read_link(dir.path().join("..data")).unwrap();
        write(dir.path(), &files(&[("a", "1"), ("d/b", "2")])).unwrap();
        assert_eq!(fs::read_link(dir.path().join("..data")).unwrap(), first);
        write(dir.path(), &files(&[("a", "3")])).unwrap();
        assert_eq!(fs::read_to_string(dir.path().join("a")).unwrap(), "3");
        assert!(!dir.path().join("d").exists() && !dir.path().join(first).exists());
        assert!(write(dir.path(), &files(&[("../x", "")])).is_err());
    }
}
