//! ResourceQuotas: how much of them is used (kubernetes/pkg/controller/resourcequota). The API server refuses by itself what a quota
//! does not allow; this controller only says in the status how things are.

mod changes;

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use http::Request;
use jiff::Timestamp;
use k8s_openapi::api::core::v1::ResourceQuota;
use kube::{Client, Resource};
use objects::{
    kinds::{Kind, KindRef},
    quantity::Quantity,
    quota,
    resources::Amounts,
};
use serde_json::{Value, json};
use tokio::time::Instant;

use crate::{
    cache::{Cache, Changed, Key, get, in_namespace},
    runner::{self, gone_is_fine},
    served::Served,
};

pub(crate) use changes::follow;

/// How often one quota is counted at most.
const PAUSE: Duration = Duration::from_millis(200);
/// How often it is counted without a change: a pod that its node has lost ceases to count by time alone.
const AGAIN: Duration = Duration::from_secs(300);

/// The quota controller.
pub(crate) struct Controller {
    client: Client,
    cache: Arc<Cache>,
    served: Served,
    /// When each quota was counted last.
    counted: Mutex<HashMap<Key, Instant>>,
}

impl Controller {
    pub fn new(client: Client, cache: Arc<Cache>, served: Served) -> Self {
        Self { client, cache, served, counted: Mutex::default() }
    }

    /// How much longer to wait before a quota is counted again; `None`: it is counted now.
    fn pause(&self, key: &Key) -> Option<Duration> {
        let now = Instant::now();
        let mut counted = self.counted.lock().unwrap_or_else(PoisonError::into_inner);
        let left = counted.get(key).map(|last| (*last + PAUSE).saturating_duration_since(now));
        if let Some(left) = left.filter(|left| !left.is_zero()) {
            return Some(left);
        }
        counted.insert(key.clone(), now);
        None
    }

    fn forget(&self, key: &Key) {
        self.counted.lock().unwrap_or_else(PoisonError::into_inner).remove(key);
    }

    /// The objects of a kind in a namespace, as the API has them now: a copy could be older than the quota.
    async fn objects(&self, kind: &Kind, namespace: &str) -> Result<Vec<Value>, runner::Error> {
        let root = if kind.group.is_empty() { "api" } else { "apis" };
        let path = format!("/{root}/{}/namespaces/{namespace}/{}", kind.api_version(), kind.plural);
        let mut list: Value = self.client.request(Request::get(path).body(Vec::new())?).await?;
        Ok(list.get_mut("items").and_then(Value::as_array_mut).map(std::mem::take).unwrap_or_default())
    }
}

/// The quotas of a namespace.
fn all_of(cache: &Cache, namespace: Option<&String>) -> Vec<Key> {
    let namespace = namespace.map(String::as_str).unwrap_or_default();
    in_namespace(&cache.quotas, namespace).iter().map(|quota| Key::of(quota.as_ref())).collect()
}

/// What a quota's status says.
fn status(quota: &Value, objects: &[(KindRef, Vec<Value>)], now: Timestamp) -> Value {
    let hard = quota::hard(quota);
    let mut used: Amounts = hard.keys().map(|name| (name.clone(), Quantity::from_millis(0))).collect();
    for (kind, objects) in objects {
        for object in objects.iter().filter(|object| quota::is_about(quota, kind, object)) {
            let mut own = quota::usage(kind, object, now);
            own.retain(|name, _| hard.contains_key(name));
            for (name, amount) in own {
                // The first amount says in which units the sum is written.
                match used.get_mut(&name).filter(|sum| sum.millis() != 0) {
                    Some(sum) => *sum = *sum + amount,
                    None => drop(used.insert(name, amount)),
                }
            }
        }
    }
    let text = |amounts: &Amounts| -> Value {
        amounts.iter().map(|(name, amount)| (name.clone(), Value::from(amount.to_string()))).collect()
    };
    json!({"hard": text(&hard), "used": text(&used)})
}

impl runner::Controller for Controller {
    const NAME: &'static str = "resourcequota";

    fn concerned(&self, change: &Changed) -> Vec<Key> {
        match change {
            Changed::Quota(quota) => vec![Key::of(quota.as_ref())],
            Changed::Pod(pod) => all_of(&self.cache, pod.meta().namespace.as_ref()),
            Changed::Service(service) => all_of(&self.cache, service.meta().namespace.as_ref()),
            Changed::Counted(namespace) => all_of(&self.cache, Some(namespace)),
            _ => Vec::new(),
        }
    }

    async fn reconcile(&self, key: &Key) -> Result<Option<Duration>, runner::Error> {
        let Some(known) = get(&self.cache.quotas, key) else {
            self.forget(key);
            return Ok(None);
        };
        if known.meta().deletion_timestamp.is_some() {
            return Ok(None);
        }
        if let Some(left) = self.pause(key) {
            return Ok(Some(left));
        }
        let path = format!("/api/v1/namespaces/{}/resourcequotas/{}", key.namespace, key.name);
        let read: Result<Value, _> = self.client.request(Request::get(&path).body(Vec::new())?).await;
        let mut quota = match read {
            Ok(quota) => quota,
            Err(error) => return Ok(gone_is_fine(Err::<(), _>(error)).map(|()| None)?),
        };
        let hard = quota::hard(&quota);
        let mut objects = Vec::new();
        let served = self.served.clone().now().await;
        for kind in served.kinds.stored().filter(|kind| kind.namespaced) {
            if hard.keys().any(|name| quota::is_used_by(name, &kind)) {
                let found = self.objects(&kind, &key.namespace).await?;
                objects.push((kind, found));
            }
        }
        let status = status(&quota, &objects, Timestamp::now());
        if quota.get("status") != Some(&status) {
            quota["status"] = status;
            let request = Request::put(format!("{path}/status")).header("content-type", "application/json");
            let written = self.client.request::<Value>(request.body(serde_json::to_vec(&quota)?)?).await;
            gone_is_fine(written)?;
        }
        Ok(Some(AGAIN))
    }
}

/// The names that any quota counts.
fn names(quotas: &[Arc<ResourceQuota>]) -> Vec<String> {
    let hard = |quota: &Arc<ResourceQuota>| quota.spec.as_ref().and_then(|spec| spec.hard.clone()).unwrap_or_default();
    let going = |quota: &&Arc<ResourceQuota>| quota.meta().deletion_timestamp.is_some();
    let mut names: Vec<String> =
        quotas.iter().filter(|quota| !going(quota)).flat_map(|quota| hard(quota).into_keys()).collect();
    names.sort_unstable();
    names.dedup();
    names
}

#[cfg(test)]
mod tests {
    use objects::kinds::by_kind;

    use super::*;

    #[test]
    fn a_status_says_what_is_used_of_what_is_counted() {
        let quota = json!({"spec": {"hard": {"cpu": "4", "memory": "1Gi", "pods": "5", "secrets": "3"}}});
        let pod = |cpu: &str, memory: &str| json!({"spec": {"containers": [{"name": "c", "resources": {"requests": {"cpu": cpu, "memory": memory}}}]}});
        let pods = vec![pod("500m", "64Mi"), pod("1", "64Mi")];
        let objects = vec![(by_kind("", "v1", "Pod").unwrap().into(), pods)];
        let found = status(&quota, &objects, Timestamp::UNIX_EPOCH);
        assert_eq!(found["used"], json!({"cpu": "1500m", "memory": "128Mi", "pods": "2", "secrets": "0"}));
        assert_eq!(found["hard"], quota["spec"]["hard"]);
    }
}
