//! Whose an object is: a controller takes over what its selector matches and nobody controls, and lets go of what it no longer
//! matches (kubernetes/pkg/controller, `ControllerRefManager`).

use std::fmt::Debug;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference};
use kube::{
    Api, Client, Resource, ResourceExt,
    api::{Patch, PatchParams},
    core::NamespaceResourceScope,
};
use objects::selector::Labels;
use serde::de::DeserializeOwned;
use serde_json::json;

use crate::runner::gone_is_fine;

/// What a controller does about an object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Claim {
    /// It is its own.
    Own,
    /// It becomes its own.
    Adopt,
    /// It was its own.
    Release,
    /// It is somebody else's, or nobody's.
    Ignore,
}

impl Claim {
    /// Whether the object counts as the controller's own.
    pub fn counts(self) -> bool {
        matches!(self, Self::Own | Self::Adopt)
    }
}

/// What `owner`, which selects by `selector`, does about an object of its namespace.
pub fn claim<K: Resource>(owner: &ObjectMeta, selector: &Labels, object: &K) -> Claim {
    let meta = object.meta();
    let matches = !selector.is_empty() && selector.matches(object.labels());
    let going = owner.deletion_timestamp.is_some();
    let controller = object.owner_references().iter().find(|reference| reference.controller == Some(true));
    match controller {
        Some(reference) if Some(&reference.uid) != owner.uid.as_ref() => Claim::Ignore,
        Some(_) if matches => Claim::Own,
        Some(_) if going => Claim::Ignore,
        Some(_) => Claim::Release,
        None if matches && !going && meta.deletion_timestamp.is_none() => Claim::Adopt,
        None => Claim::Ignore,
    }
}

/// The reference that makes `owner` the controller.
pub fn reference<K: Resource<DynamicType = ()>>(owner: &K) -> OwnerReference {
    OwnerReference {
        api_version: K::api_version(&()).into_owned(),
        kind: K::kind(&()).into_owned(),
        name: owner.name_any(),
        uid: owner.uid().unwrap_or_default(),
        controller: Some(true),
        block_owner_deletion: Some(true),
    }
}

/// Writes what was decided about objects. An object that changed meanwhile is a conflict, and looked at again.
///
/// # Errors
/// When the API refuses, or `owner` is not there any more as it was when it was decided.
pub async fn settle<O, K>(client: &Client, owner: &O, claims: &[(&K, Claim)]) -> Result<(), kube::Error>
where
    O: Resource<DynamicType = (), Scope = NamespaceResourceScope> + Clone + DeserializeOwned + Debug,
    K: Resource<DynamicType = (), Scope = NamespaceResourceScope> + Clone + DeserializeOwned + Debug,
{
    let namespace = owner.namespace().unwrap_or_default();
    if claims.iter().any(|(_, claim)| *claim == Claim::Adopt) {
        // The copy may be old: whoever is being deleted, or was replaced by another of its name, adopts nothing.
        let now = Api::<O>::namespaced(client.clone(), &namespace).get(&owner.name_any()).await?;
        if now.uid() != owner.uid() || now.meta().deletion_timestamp.is_some() {
            return Ok(());
        }
    }
    let api: Api<K> = Api::namespaced(client.clone(), &namespace);
    for (object, claim) in claims {
        let mut references = object.owner_references().to_vec();
        match claim {
            Claim::Adopt => references.push(reference(owner)),
            Claim::Release => references.retain(|reference| Some(&reference.uid) != owner.uid().as_ref()),
            Claim::Own | Claim::Ignore => continue,
        }
        let change = json!({"metadata": {"uid": object.uid(), "resourceVersion": object.resource_version(),
            "ownerReferences": references}});
        gone_is_fine(api.patch(&object.name_any(), &PatchParams::default(), &Patch::Merge(&change)).await)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use k8s_openapi::api::core::v1::Pod;
    use serde_json::Value;

    use super::*;

    fn decided(owner: &Value, object: &Value) -> Claim {
        let owner: ObjectMeta = serde_json::from_value(owner.clone()).unwrap();
        let pod: Pod = serde_json::from_value(json!({"metadata": object})).unwrap();
        claim(&owner, &Labels::parse("app=web").unwrap(), &pod)
    }

    #[test]
    fn what_matches_is_adopted_and_what_no_longer_matches_is_let_go() {
        let (me, web, other) = (json!({"uid": "me"}), json!({"app": "web"}), json!({"app": "other"}));
        let by = |uid: &str| json!([{"apiVersion": "v1", "kind": "K", "name": "n", "uid": uid, "controller": true}]);
        assert_eq!(decided(&me, &json!({"labels": web})), Claim::Adopt);
        assert_eq!(decided(&me, &json!({"labels": other})), Claim::Ignore);
        assert_eq!(decided(&me, &json!({"labels": web, "ownerReferences": by("me")})), Claim::Own);
        assert_eq!(decided(&me, &json!({"labels": other, "ownerReferences": by("me")})), Claim::Release);
        assert_eq!(decided(&me, &json!({"labels": web, "ownerReferences": by("you")})), Claim::Ignore);
    }

    #[test]
    fn nobody_who_is_going_takes_and_nothing_that_is_going_is_taken() {
        let going = json!("2026-01-01T00:00:00Z");
        let me = json!({"uid": "me", "deletionTimestamp": going});
        assert_eq!(decided(&me, &json!({"labels": {"app": "web"}})), Claim::Ignore);
        let pod = json!({"labels": {"app": "web"}, "deletionTimestamp": going});
        assert_eq!(decided(&json!({"uid": "me"}), &pod), Claim::Ignore);
    }
}
