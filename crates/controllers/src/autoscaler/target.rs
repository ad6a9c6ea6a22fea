//! The targets of autoscalers: whatever has a `scale` subresource, also custom resources.

use std::time::Duration;

use autoscaling::decide::Scale;
use k8s_openapi::api::{
    apps::v1::{Deployment, ReplicaSet},
    autoscaling::v2::CrossVersionObjectReference,
};
use kube::{Client, ResourceExt, runtime::reflector::Store};
use objects::kinds::{KindRef, Kinds};
use serde_json::{Value, json};

use crate::{
    cache::{Cache, Key, get},
    runner::is_conflict,
};

/// How long the API may take to answer.
const PATIENCE: Duration = Duration::from_secs(10);
/// How often a scale is written that somebody else wrote meanwhile.
const TRIES: usize = 3;

/// A target's scale, as it was read last.
#[derive(Clone, Debug)]
pub(crate) struct Target {
    /// Where it is.
    pub path: String,
    /// What it says.
    pub scale: Scale,
    /// The version of the object that it was read from, where the cache has that object, too.
    version: Option<String>,
}

#[cfg(test)]
impl Target {
    /// One of nothing.
    pub(crate) fn none() -> Self {
        let scale = Scale { replicas: 0, observed: 0, selector: String::new() };
        Self { path: String::new(), scale, version: None }
    }
}

/// The kind of a name in a group; its own version first.
pub(super) fn kind(kinds: &Kinds, api_version: &str, name: &str) -> Option<KindRef> {
    let (group, version) = api_version.split_once('/').unwrap_or(("", api_version));
    kinds.by_kind(group, version, name).or_else(|| kinds.all().find(|kind| kind.group == group && kind.kind == name))
}

/// Reads the scale of an autoscaler's target in its namespace. `known` is what was read before: it is good for as long as the object's version
/// in the cache is the same.
///
/// # Errors
/// What the API says, or that it has no such kind.
pub(crate) async fn read(
    client: &Client,
    cache: &Cache,
    kinds: &Kinds,
    (namespace, to): (&str, Option<&CrossVersionObjectReference>),
    known: Option<Target>,
) -> Result<Target, String> {
    let to = to.ok_or("it names no target")?;
    let version = cached_version(cache, namespace, to);
    let path = path(kinds, namespace, to)?;
    if let Some(known) = known.filter(|known| version.is_some() && known.version == version && known.path == path) {
        return Ok(known);
    }
    let (scale, read) = fetch(client, &path).await?;
    // Whichever of the two is newer, the next round finds out.
    let version = version.filter(|version| Some(version.as_str()) == read.as_deref());
    Ok(Target { path, scale, version })
}

fn path(kinds: &Kinds, namespace: &str, to: &CrossVersionObjectReference) -> Result<String, String> {
    let api_version = to.api_version.as_deref().unwrap_or("v1");
    if api_version.split('/').count() > 2 {
        return Err(format!("unexpected GroupVersion string: {api_version}"));
    }
    let group = api_version.split_once('/').map_or("", |(group, _)| group);
    let kind = kind(kinds, api_version, &to.kind)
        .ok_or_else(|| format!("no matches for kind {:?} in group {group:?}", to.kind))?;
    let root = if kind.group.is_empty() { "/api".to_owned() } else { format!("/apis/{}", kind.group) };
    Ok(format!("{root}/{}/namespaces/{namespace}/{}/{}/scale", kind.version, kind.plural, to.name))
}

/// The version of the target that the cache has, if it keeps such kinds.
fn cached_version(cache: &Cache, namespace: &str, to: &CrossVersionObjectReference) -> Option<String> {
    fn of<K>(store: &Store<K>, key: &Key) -> Option<String>
    where
        K: kube::Resource<DynamicType = ()> + Clone + 'static,
    {
        get(store, key)?.resource_version()
    }
    if to.api_version.as_deref() != Some("apps/v1") {
        return None;
    }
    let key = Key { namespace: namespace.to_owned(), name: to.name.clone() };
    match to.kind.as_str() {
        "Deployment" => of::<Deployment>(&cache.deployments, &key),
        "ReplicaSet" => of::<ReplicaSet>(&cache.replica_sets, &key),
        _ => None,
    }
}

async fn fetch(client: &Client, path: &str) -> Result<(Scale, Option<String>), String> {
    let request = http::Request::get(path).body(Vec::new()).map_err(|error| error.to_string())?;
    let scale = patiently(client.request::<Value>(request)).await.map_err(|error| text(&error))?;
    let number = |pointer: &str| {
        let number = scale.pointer(pointer).and_then(Value::as_i64).unwrap_or(0);
        i32::try_from(number).unwrap_or(i32::MAX)
    };
    let selector = scale.pointer("/status/selector").and_then(Value::as_str).unwrap_or_default().to_owned();
    let read = Scale { replicas: number("/spec/replicas"), observed: number("/status/replicas"), selector };
    let version = scale.pointer("/metadata/resourceVersion").and_then(Value::as_str).map(str::to_owned);
    Ok((read, version))
}

/// Sets the count, if it is still `from`: whoever changed it meanwhile is not overruled.
///
/// # Errors
/// What the API says.
pub(super) async fn write(client: &Client, target: &Target, from: i32, to: i32) -> Result<(), String> {
    let mut last = String::new();
    for _ in 0..TRIES {
        let (now, version) = fetch(client, &target.path).await?;
        if now.replicas != from {
            return Err(format!("the count has become {} meanwhile", now.replicas));
        }
        let mut parts = target.path.rsplit('/').skip(1);
        let (name, namespace) = (parts.next().unwrap_or_default(), parts.nth(1).unwrap_or_default());
        let body = json!({"apiVersion": "autoscaling/v1", "kind": "Scale", "spec": {"replicas": to},
            "metadata": {"name": name, "namespace": namespace, "resourceVersion": version}});
        let request = http::Request::put(&target.path).header("content-type", "application/json");
        let request = request.body(body.to_string().into_bytes()).map_err(|error| error.to_string())?;
        match patiently(client.request::<Value>(request)).await {
            Ok(_) => return Ok(()),
            // Its status changed, most of the time.
            Err(error) if is_conflict(&error) => last = text(&error),
            Err(error) => return Err(text(&error)),
        }
    }
    Err(last)
}

async fn patiently<T>(answer: impl Future<Output = Result<T, kube::Error>>) -> Result<T, kube::Error> {
    match tokio::time::timeout(PATIENCE, answer).await {
        Ok(answer) => answer,
        Err(_) => Err(kube::Error::Service(format!("no answer within {PATIENCE:?}").into())),
    }
}

fn text(error: &kube::Error) -> String {
    match error {
        kube::Error::Api(status) => status.message.clone(),
        other => other.to_string(),
    }
}
