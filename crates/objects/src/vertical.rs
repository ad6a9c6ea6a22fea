//! The Vertical Pod Autoscaler's kinds (`autoscaling.k8s.io`): VerticalPodAutoscaler and VerticalPodAutoscalerCheckpoint (v1; v1beta2
//! is a view of the same objects).
//!
//! Enumerations are strings, so that an object with a value from a newer release can still be read.

use std::collections::BTreeMap;

use k8s_openapi::{
    api::autoscaling::v2::CrossVersionObjectReference,
    apimachinery::pkg::{api::resource::Quantity, apis::meta::v1::Time},
};
use kube::CustomResource;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The API group of both kinds.
pub const GROUP: &str = "autoscaling.k8s.io";

/// Amounts by the names of resources.
pub type Amounts = BTreeMap<String, Quantity>;

/// What a VerticalPodAutoscaler asks for.
#[derive(CustomResource, Serialize, Deserialize, Clone, Debug, Default, PartialEq, JsonSchema)]
#[kube(
    group = "autoscaling.k8s.io",
    version = "v1",
    kind = "VerticalPodAutoscaler",
    plural = "verticalpodautoscalers",
    shortname = "vpa",
    namespaced,
    status = "VerticalPodAutoscalerStatus",
    derive = "PartialEq",
    doc = "Recommends what a workload's containers should request, by what they use, and gives it to them."
)]
#[serde(rename_all = "camelCase")]
pub struct VerticalPodAutoscalerSpec {
    /// The workload; anything with a `scale` subresource.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub target_ref: Option<CrossVersionObjectReference>,
    /// Whether and how recommendations are applied.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub update_policy: Option<UpdatePolicy>,
    /// What recommendations are kept within.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resource_policy: Option<ResourcePolicy>,
    /// Who recommends; empty is the one recommender that there is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub recommenders: Option<Vec<RecommenderSelector>>,
}

/// Names a recommender.
#[derive(Serialize, Deserialize, Clone, Debug, Default, PartialEq, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct RecommenderSelector {
    /// Its name.
    pub name: String,
}

/// Whether and how recommendations are applied.
#[derive(Serialize, Deserialize, Clone, Debug, Default, PartialEq, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct UpdatePolicy {
    /// `Off`, `Initial`, `Recreate`, `InPlaceOrRecreate` or `Auto`, which is the default and the same as `Recreate`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub update_mode: Option<String>,
    /// Pods that must run before one is evicted; 2 by default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub min_replicas: Option<i32>,
    /// When a pod may be evicted; all must hold.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub eviction_requirements: Option<Vec<EvictionRequirement>>,
}

/// When a pod may be evicted.
#[derive(Serialize, Deserialize, Clone, Debug, Default, PartialEq, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct EvictionRequirement {
    /// Of one of these resources
    pub resources: Vec<String>,
    /// the target must be `TargetHigherThanRequests` or `TargetLowerThanRequests`.
    pub change_requirement: String,
}

/// What recommendations are kept within.
#[derive(Serialize, Deserialize, Clone, Debug, Default, PartialEq, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ResourcePolicy {
    /// By container.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub container_policies: Option<Vec<ContainerResourcePolicy>>,
}

/// What the recommendations for a container are kept within.
#[derive(Serialize, Deserialize, Clone, Debug, Default, PartialEq, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ContainerResourcePolicy {
    /// The container; `*` is every one without a policy of its own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub container_name: Option<String>,
    /// `Auto`, or `Off` to leave the container alone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mode: Option<String>,
    /// The least that is recommended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub min_allowed: Option<Amounts>,
    /// The most that is recommended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_allowed: Option<Amounts>,
    /// `cpu`, `memory`, or both, which is the default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub controlled_resources: Option<Vec<String>>,
    /// `RequestsAndLimits`, which is the default, or `RequestsOnly`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub controlled_values: Option<String>,
}

/// What is recommended.
#[derive(Serialize, Deserialize, Clone, Debug, Default, PartialEq, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct VerticalPodAutoscalerStatus {
    /// The latest recommendation.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub recommendation: Option<PodRecommendation>,
    /// `RecommendationProvided`, `NoPodsMatched`, `LowConfidence`, `ConfigUnsupported`, …
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub conditions: Option<Vec<AutoscalerCondition>>,
}

/// What is recommended for a pod.
#[derive(Serialize, Deserialize, Clone, Debug, Default, PartialEq, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct PodRecommendation {
    /// By container.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub container_recommendations: Option<Vec<ContainerRecommendation>>,
}

/// What is recommended for a container.
#[derive(Serialize, Deserialize, Clone, Debug, Default, PartialEq, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ContainerRecommendation {
    /// The container.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub container_name: Option<String>,
    /// What it should request.
    #[serde(default)]
    pub target: Amounts,
    /// Less is too little.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lower_bound: Option<Amounts>,
    /// More is wasted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub upper_bound: Option<Amounts>,
    /// The target, but for the policy's bounds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub uncapped_target: Option<Amounts>,
}

/// One thing that holds or does not.
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct AutoscalerCondition {
    /// Which.
    #[serde(rename = "type")]
    pub type_: String,
    /// `True`, `False` or `Unknown`.
    pub status: String,
    /// When that changed last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_transition_time: Option<Time>,
    /// Why, in a word.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// Why, for people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
}

/// Whose state a checkpoint keeps.
#[derive(CustomResource, Serialize, Deserialize, Clone, Debug, Default, PartialEq, JsonSchema)]
#[kube(
    group = "autoscaling.k8s.io",
    version = "v1",
    kind = "VerticalPodAutoscalerCheckpoint",
    plural = "verticalpodautoscalercheckpoints",
    shortname = "vpacheckpoint",
    namespaced,
    status = "CheckpointStatus",
    derive = "PartialEq",
    doc = "What a VerticalPodAutoscaler knows of the containers of one name, kept over restarts."
)]
#[serde(rename_all = "camelCase")]
pub struct VerticalPodAutoscalerCheckpointSpec {
    /// The autoscaler.
    #[serde(default, rename = "vpaObjectName", skip_serializing_if = "Option::is_none")]
    pub vpa_object_name: Option<String>,
    /// The container.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub container_name: Option<String>,
}

/// The state of one container.
#[derive(Serialize, Deserialize, Clone, Debug, Default, PartialEq, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct CheckpointStatus {
    /// When it was written.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_update_time: Option<Time>,
    /// Of the format: `v3`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
    /// Cores.
    #[serde(default)]
    pub cpu_histogram: HistogramCheckpoint,
    /// Peaks of memory in bytes.
    #[serde(default)]
    pub memory_histogram: HistogramCheckpoint,
    /// When the first sample was taken.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub first_sample_start: Option<Time>,
    /// When the last sample was taken.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_sample_start: Option<Time>,
    /// How many samples there were.
    #[serde(default)]
    pub total_samples_count: i64,
}

/// A histogram: whole weights, of which the largest is 10 000.
#[derive(Serialize, Deserialize, Clone, Debug, Default, PartialEq, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct HistogramCheckpoint {
    /// When a weight of one is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reference_timestamp: Option<Time>,
    /// By the number of the bucket.
    #[serde(default)]
    pub bucket_weights: BTreeMap<String, u32>,
    /// What all weights come to.
    #[serde(default)]
    pub total_weight: f64,
}
