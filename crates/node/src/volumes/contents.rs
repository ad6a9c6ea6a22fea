//! The files of volumes that come from objects: ConfigMaps, Secrets and fields of the pod.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{DownwardAPIVolumeFile, KeyToPath, Pod, ProjectedVolumeSource, Volume};
use kube::ResourceExt;

use crate::{
    env::{Lookup, field_value, resource_value},
    state::find,
};

/// One file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct File {
    pub contents: Vec<u8>,
    pub mode: u32,
}

/// Files by relative path.
pub(super) type Files = BTreeMap<String, File>;
type Data = BTreeMap<String, Vec<u8>>;

/// What is said about a key that is not there, as the kubelet words it.
const CONFIG_KEY: &str = "configmap references non-existent config key";
const SECRET_KEY: &str = "references non-existent secret key";

/// The files of a volume; `None` if its type has none of its own.
///
/// # Errors
/// Says what is missing.
pub(super) fn of(
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
        select(&mut files, data, source.items.as_deref(), source.optional, mode(source.default_mode), CONFIG_KEY)?;
    } else if let Some(source) = &volume.secret {
        let name = source.secret_name.as_deref().unwrap_or_default();
        let data = secret(lookup, &namespace, name, source.optional)?;
        select(&mut files, data, source.items.as_deref(), source.optional, mode(source.default_mode), SECRET_KEY)?;
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
            let data = config_map(lookup, &namespace, &s.name, s.optional)?;
            select(files, data, s.items.as_deref(), s.optional, mode, CONFIG_KEY)?;
        } else if let Some(s) = &part.secret {
            let data = secret(lookup, &namespace, &s.name, s.optional)?;
            select(files, data, s.items.as_deref(), s.optional, mode, SECRET_KEY)?;
        } else if let Some(s) = &part.downward_api {
            downward(files, pod, s.items.as_deref(), mode)?;
        } else if let Some(token) = &part.service_account_token {
            warnings.push(format!("no service account token is issued here: {} does not exist", token.path));
        } else {
            warnings.push("a projected trust bundle or certificate is not given here".to_owned());
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
    missing: &str,
) -> Result<(), String> {
    let Some(items) = items.filter(|items| !items.is_empty()) else {
        files.extend(data.into_iter().map(|(key, value)| (key, File { contents: value, mode })));
        return Ok(());
    };
    for item in items {
        match data.get(&item.key) {
            Some(value) => {
                let mode = item.mode.and_then(|m| u32::try_from(m).ok()).unwrap_or(mode);
                files.insert(item.path.clone(), File { contents: value.clone(), mode });
            }
            None if optional == Some(true) => {}
            None => return Err(format!("{missing}: {}", item.key)),
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
        files.insert(item.path.clone(), File { contents: value.into_bytes(), mode });
    }
    Ok(())
}
