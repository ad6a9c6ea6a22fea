//! The API of a Coracle that runs, as a measurement's client.

use std::path::Path;

use anyhow::Context;
use http::{Request, request::Builder};
use kube::{
    Client,
    config::{KubeConfigOptions, Kubeconfig},
};
use serde_json::Value;

/// A client with the rights that a kubeconfig gives.
pub async fn connect(kubeconfig: &Path) -> anyhow::Result<Client> {
    let kubeconfig = Kubeconfig::read_from(kubeconfig)?;
    let config = kube::Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default()).await?;
    Ok(Client::try_from(config)?)
}

/// The object or list at a path.
pub async fn get(api: &Client, path: &str) -> anyhow::Result<Value> {
    send(api, Request::get(path), None).await.with_context(|| format!("GET {path}"))
}

/// Creates an object in the collection at a path.
pub async fn create(api: &Client, path: &str, object: &Value) -> anyhow::Result<Value> {
    let post = Request::post(path).header("content-type", "application/json");
    send(api, post, Some(object)).await.with_context(|| format!("POST {path}"))
}

/// Merges a patch into the object at a path.
pub async fn patch(api: &Client, path: &str, patch: &Value) -> anyhow::Result<Value> {
    let request = Request::patch(path).header("content-type", "application/merge-patch+json");
    send(api, request, Some(patch)).await.with_context(|| format!("PATCH {path}"))
}

async fn send(api: &Client, request: Builder, body: Option<&Value>) -> anyhow::Result<Value> {
    let body = body.map(serde_json::to_vec).transpose()?.unwrap_or_default();
    Ok(api.request(request.body(body)?).await?)
}

/// The items of a list.
pub fn items(list: &Value) -> &[Value] {
    list["items"].as_array().map_or(&[], Vec::as_slice)
}

/// Whether a pod is ready.
pub fn is_ready(pod: &Value) -> bool {
    let conditions = pod["status"]["conditions"].as_array().map_or(&[][..], Vec::as_slice);
    conditions.iter().any(|condition| condition["type"] == "Ready" && condition["status"] == "True")
}
