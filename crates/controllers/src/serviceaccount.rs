//! What every namespace has: the ServiceAccount `default`, and the authority's certificate.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use k8s_openapi::api::core::v1::{ConfigMap, ServiceAccount};
use kube::{Api, Client, ResourceExt, api::PostParams};

use crate::{
    cache::{Cache, Changed, Key, ROOT_CA, get},
    runner::{self, gone_is_fine, is_conflict},
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

    async fn publish(&self, namespace: &str, ca: &str) -> Result<(), runner::Error> {
        let api: Api<ConfigMap> = Api::namespaced(self.client.clone(), namespace);
        let found = get(&self.cache.root_cas, &Key { namespace: namespace.to_owned(), name: ROOT_CA.to_owned() });
        match certificate(found.as_deref(), ca) {
            None => {}
            Some(map) if found.is_none() => there(api.create(&PostParams::default(), &map).await)?,
            Some(map) => gone_is_fine(api.replace(ROOT_CA, &PostParams::default(), &map).await)?,
        }
        Ok(())
    }
}

/// The ConfigMap that is to be written, given the one that there is: with this certificate and no other data. `None` if it is as it
/// should be.
fn certificate(found: Option<&ConfigMap>, ca: &str) -> Option<ConfigMap> {
    let data = Some(BTreeMap::from([("ca.crt".to_owned(), ca.to_owned())]));
    match found {
        Some(found) if found.data == data => None,
        Some(found) => Some(ConfigMap { data, ..found.clone() }),
        None => {
            let metadata = kube::core::ObjectMeta { name: Some(ROOT_CA.to_owned()), ..Default::default() };
            Some(ConfigMap { metadata, data, ..Default::default() })
        }
    }
}

impl runner::Controller for Controller {
    const NAME: &'static str = "serviceaccount";

    fn concerned(&self, change: &Changed) -> Vec<Key> {
        let of =
            |namespace: Option<String>| vec![Key { namespace: String::new(), name: namespace.unwrap_or_default() }];
        match change {
            Changed::Namespace(namespace) => vec![Key::of(namespace.as_ref())],
            Changed::ServiceAccount(account) => of(account.namespace()),
            Changed::RootCa(map) => of(map.namespace()),
            _ => Vec::new(),
        }
    }

    async fn reconcile(&self, key: &Key) -> Result<Option<Duration>, runner::Error> {
        let namespace = get(&self.cache.namespaces, key).filter(|ns| ns.metadata.deletion_timestamp.is_none());
        if namespace.is_none() {
            return Ok(None);
        }
        let account = Key { namespace: key.name.clone(), name: "default".to_owned() };
        if get(&self.cache.accounts, &account).is_none() {
            let made = ServiceAccount {
                metadata: kube::core::ObjectMeta { name: Some("default".into()), ..Default::default() },
                ..Default::default()
            };
            there(Api::namespaced(self.client.clone(), &key.name).create(&PostParams::default(), &made).await)?;
        }
        if let Some(ca) = &self.root_ca {
            self.publish(&key.name, ca).await?;
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

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    #[test]
    fn a_certificate_that_was_taken_away_or_changed_is_written_again() {
        let found = |data: Value| -> ConfigMap {
            serde_json::from_value(json!({"metadata": {"name": ROOT_CA, "resourceVersion": "7"}, "data": data}))
                .unwrap()
        };
        let data = |map: Option<ConfigMap>| map.map(|map| serde_json::to_value(map.data).unwrap());
        assert_eq!(data(certificate(None, "pem")), Some(json!({"ca.crt": "pem"})));
        assert_eq!(certificate(Some(&found(json!({"ca.crt": "pem"}))), "pem"), None);
        for changed in [json!({"ca.crt": "other"}), json!({"ca.crt": "pem", "more": ""}), json!({})] {
            let written = certificate(Some(&found(changed)), "pem");
            assert_eq!(written.as_ref().and_then(ResourceExt::resource_version).as_deref(), Some("7"));
            assert_eq!(data(written), Some(json!({"ca.crt": "pem"})));
        }
    }
}
