//! Routes, certificates, endpoints and listeners that change all the time, over the API.

use std::{future::Future, path::Path, sync::Arc, sync::atomic::Ordering, time::Duration};

use anyhow::Context;
use http::{Method, Request};
use kube::{
    Client, Config,
    config::{KubeConfigOptions, Kubeconfig},
};
use serde_json::{Value, json};
use tokio::{
    task::JoinSet,
    time::{MissedTickBehavior, interval},
};

use super::site::{ADDRESSES, HOST, VERSIONED, World, addresses};

const ROUTES: &str = "/apis/gateway.networking.k8s.io/v1/namespaces/default/httproutes";
const GATEWAYS: &str = "/apis/gateway.networking.k8s.io/v1/namespaces/default/gateways";
const SLICES: &str = "/apis/discovery.k8s.io/v1/namespaces/default/endpointslices";
const SECRETS: &str = "/api/v1/namespaces/default/secrets";

/// The API of the Coracle under load.
#[derive(Clone)]
struct Api(Client);

impl Api {
    /// Sends a body there; JSON merge patches are patches.
    async fn send(&self, method: Method, path: &str, body: &Value) -> anyhow::Result<()> {
        let kind = if method == Method::PATCH { "application/merge-patch+json" } else { "application/json" };
        let request = Request::builder().method(method).uri(path).header("content-type", kind);
        let sent = self.0.request_text(request.body(serde_json::to_vec(body)?)?).await;
        sent.map(drop).with_context(|| path.to_owned())
    }

    async fn patch(&self, path: &str, body: &Value) -> anyhow::Result<()> {
        self.send(Method::PATCH, path, body).await
    }
}

/// Starts every kind of change, so many times as fast. Dropping the set ends them.
///
/// # Errors
/// The kubeconfig cannot be used.
pub async fn start(world: &Arc<World>, kubeconfig: &Path, rate: f64) -> anyhow::Result<JoinSet<()>> {
    let (kubeconfig, chosen) = (Kubeconfig::read_from(kubeconfig)?, KubeConfigOptions::default());
    let api = Api(Client::try_from(Config::from_custom_kubeconfig(kubeconfig, &chosen).await?)?);
    let mut running = JoinSet::new();
    running.spawn(repeat("routes that change", 5.0 * rate, world.clone(), api.clone(), version));
    running.spawn(repeat("endpoints that change", 2.0 * rate, world.clone(), api.clone(), endpoints));
    running.spawn(repeat("endpoints that are sometimes none", 1.0 * rate, world.clone(), api.clone(), coming));
    running.spawn(repeat("certificates that change", 0.2 * rate, world.clone(), api.clone(), certificate));
    running.spawn(repeat("routes that come and go", 0.5 * rate, world.clone(), api.clone(), passing_route));
    running.spawn(repeat("listeners that come and go", 0.1 * rate, world.clone(), api, passing_listener));
    Ok(running)
}

/// One kind of change, again and again; each is finished before the next.
async fn repeat<F>(name: &'static str, rate: f64, world: Arc<World>, api: Api, change: fn(Arc<World>, Api, u64) -> F)
where
    F: Future<Output = anyhow::Result<()>>,
{
    let mut ticks = interval(Duration::from_secs_f64(1.0 / rate));
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    for turn in 0.. {
        ticks.tick().await;
        let outcome = change(world.clone(), api.clone(), turn).await;
        world.tally.did(name, &outcome);
    }
}

/// A route says its version in every response.
async fn version(world: Arc<World>, api: Api, turn: u64) -> anyhow::Result<()> {
    let (number, version) = (usize::try_from(turn)? % VERSIONED, turn / VERSIONED as u64 + 1);
    if let Some(sure) = world.versions.get(number) {
        // The one before has had its time, a whole round of changes.
        sure.store(version - 1, Ordering::SeqCst);
    }
    let set = json!([{"name": "x-version", "value": version.to_string()}]);
    let rule = json!({
        "matches": [{"path": {"type": "PathPrefix", "value": format!("/right-{number}")}}],
        "filters": [{"type": "ResponseHeaderModifier", "responseHeaderModifier": {"set": set}}],
        "backendRefs": [{"name": "good", "port": 80}],
    });
    api.patch(&format!("{ROUTES}/versioned-{number}"), &json!({"spec": {"rules": [rule]}})).await
}

/// Some of the endpoints, at least one.
async fn endpoints(_: Arc<World>, api: Api, turn: u64) -> anyhow::Result<()> {
    let service = if turn.is_multiple_of(2) { "good-1" } else { "good-h2-1" };
    let body = json!({"endpoints": addresses(fastrand::u8(1..1 << ADDRESSES))});
    api.patch(&format!("{SLICES}/{service}"), &body).await
}

/// Some of the endpoints, or none.
async fn coming(_: Arc<World>, api: Api, turn: u64) -> anyhow::Result<()> {
    let chosen = if turn.is_multiple_of(2) { fastrand::u8(1..1 << ADDRESSES) } else { 0 };
    api.patch(&format!("{SLICES}/coming-1"), &json!({"endpoints": addresses(chosen)})).await
}

/// Another certificate of the same authority.
async fn certificate(world: Arc<World>, api: Api, _: u64) -> anyhow::Result<()> {
    api.patch(&format!("{SECRETS}/localhost"), &json!({"data": world.authority.secret()?})).await
}

async fn passing_route(_: Arc<World>, api: Api, turn: u64) -> anyhow::Result<()> {
    if !turn.is_multiple_of(2) {
        return api.send(Method::DELETE, &format!("{ROUTES}/passing"), &json!({})).await;
    }
    let route = json!({
        "apiVersion": "gateway.networking.k8s.io/v1",
        "kind": "HTTPRoute",
        "metadata": {"name": "passing"},
        "spec": {
            "parentRefs": [{"name": "edge"}, {"name": "passing"}],
            "hostnames": [HOST],
            "rules": [{
                "matches": [{"path": {"type": "PathPrefix", "value": "/passing"}}],
                "backendRefs": [{"name": "good", "port": 80}],
            }],
        },
    });
    api.send(Method::POST, ROUTES, &route).await
}

async fn passing_listener(world: Arc<World>, api: Api, turn: u64) -> anyhow::Result<()> {
    if !turn.is_multiple_of(2) {
        return api.send(Method::DELETE, &format!("{GATEWAYS}/passing"), &json!({})).await;
    }
    let gateway = json!({
        "apiVersion": "gateway.networking.k8s.io/v1",
        "kind": "Gateway",
        "metadata": {"name": "passing"},
        "spec": {
            "gatewayClassName": "coracle",
            "listeners": [{"name": "http", "protocol": "HTTP", "port": world.passing.port()}],
        },
    });
    api.send(Method::POST, GATEWAYS, &gateway).await
}
