//! ReferenceGrant: a namespace's permission for others to refer to its objects.

use kube::CustomResource;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Who may refer to what in the grant's namespace: every `from` to every `to`.
#[derive(CustomResource, Serialize, Deserialize, Clone, Debug, Default, PartialEq, JsonSchema)]
#[kube(
    group = "gateway.networking.k8s.io",
    version = "v1beta1",
    kind = "ReferenceGrant",
    plural = "referencegrants",
    shortname = "refgrant",
    namespaced,
    derive = "PartialEq",
    doc = "Lets objects of other namespaces refer to objects of this one."
)]
#[serde(rename_all = "camelCase")]
pub struct ReferenceGrantSpec {
    /// Trusted referrers.
    pub from: Vec<ReferenceGrantFrom>,
    /// What they may refer to.
    pub to: Vec<ReferenceGrantTo>,
}

/// A trusted kind in a trusted namespace.
#[derive(Serialize, Deserialize, Clone, Debug, Default, PartialEq, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ReferenceGrantFrom {
    /// API group; empty is core.
    pub group: String,
    /// Kind.
    pub kind: String,
    /// Namespace.
    pub namespace: String,
}

/// A kind that may be referred to.
#[derive(Serialize, Deserialize, Clone, Debug, Default, PartialEq, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ReferenceGrantTo {
    /// API group; empty is core.
    pub group: String,
    /// Kind.
    pub kind: String,
    /// One object; absent means all of the kind.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
}
