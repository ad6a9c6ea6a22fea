//! What every namespace has: the ServiceAccount `default`, and the authority's certificate.

use std::{sync::Arc, time::Duration};

use k8s_openapi::api::core::v1::{ConfigMap, ServiceAccount};
use kube::{Api, Client, ResourceExt, api::PostParams};
use serde_json::json;

use crate::{
    cache::{Cache, Changed, Key, get},
    runner::{self, is_conflict},
};

/// Makes sure of them.
pub(crate) struct Controller {
    client: Client,
    cache: Arc<Cache>,
    root_ca: Option<String>,
}

impl Controller {
    pub fn new(client: Client, cache: Arc<Cache>, root_ca: Option<String>) -> Self {
        Self { client, cache, root_ca }
    }
}

impl runner::Controller for Controller {
    const NAME: &'static str = "serviceaccount";

    fn concerned(&self, change: &Changed) -> Vec<Key> {
        match change {
            Changed::Namespace(namespace) => vec![Key::of(namespace.as_ref())],
            Changed::ServiceAccount(account) => {
                vec![Key { namespace: String::new(), name: account.namespace().unwrap_or_default() }]
            }
            _ => Vec::new(),
        }
    }

    async fn reconcile(&self, key: &Key) -> Result<Option<Duration>, runner::Error> {
        let namespace = get(&self.cache.namespaces, key).filter(|ns| ns.metadata.deletion_timestamp.is_none());
        if namespace.is_none() {
            return Ok(None);
        }
        let account = Key { namespace: key.name.clone(), name: "default".to_owned() };
        if get(&self.cache.accounts, &account).is_some() {
            return Ok(None);
        }
        let made = ServiceAccount {
            metadata: kube::core::ObjectMeta { name: Some("default".into()), ..Default::default() },
            ..Default::default()
        };
        there(Api::namespaced(self.client.clone(), &key.name).create(&PostParams::default(), &made).await)?;
        if let Some(ca) = &self.root_ca {
            let map: ConfigMap =
                serde_json::from_value(json!({"metadata": {"name": "kube-root-ca.crt"}, "data": {"ca.crt": ca}}))?;
            there(Api::namespaced(self.client.clone(), &key.name).create(&PostParams::default(), &map).await)?;
        }
        Ok(None)
    }
}

/// Success if it was there already.
fn there<T>(result: Result<T, kube::Error>) -> Result<(), kube::Error> {
    match result {
        Err(error) if !is_conflict(&error) => Err(error),
        _ => Ok(()),
    }
}
