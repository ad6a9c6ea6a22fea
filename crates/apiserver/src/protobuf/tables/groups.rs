//! The other groups: apps, autoscaling, authentication, authorization, coordination, events, policy, discovery.

use super::{
    core::EventSource,
    meta::{
        DeleteOptions, FieldSelectorRequirement, LabelSelector, LabelSelectorRequirement, ObjectMeta, ObjectReference,
    },
    pods::PodTemplateSpec,
};
use crate::protobuf::schema::messages;

messages! {
    Deployment { 1 metadata: ObjectMeta, 2 spec: DeploymentSpec, 3 status: DeploymentStatus }
    DeploymentSpec {
        1 replicas: (int), 2 selector: (LabelSelector), 3 template: PodTemplateSpec, 4 strategy: DeploymentStrategy,
        5 minReadySeconds: int, 6 revisionHistoryLimit: (int), 7 paused: bool, 9 progressDeadlineSeconds: (int),
    }
    DeploymentStrategy { 1 type: str, 2 rollingUpdate: (RollingUpdateDeployment) }
    RollingUpdateDeployment { 1 maxUnavailable: (IntOrString), 2 maxSurge: (IntOrString) }
    DeploymentStatus {
        1 observedGeneration: int, 2 replicas: int, 3 updatedReplicas: int, 4 availableReplicas: int,
        5 unavailableReplicas: int, 6 conditions: [DeploymentCondition], 7 readyReplicas: int,
        8 collisionCount: (int), 9 terminatingReplicas: (int),
    }
    DeploymentCondition {
        1 type: str, 2 status: str, 4 reason: str, 5 message: str, 6 lastUpdateTime: Time,
        7 lastTransitionTime: Time,
    }
    ReplicaSet { 1 metadata: ObjectMeta, 2 spec: ReplicaSetSpec, 3 status: ReplicaSetStatus }
    ReplicaSetSpec {
        1 replicas: (int), 2 selector: (LabelSelector), 3 template: PodTemplateSpec, 4 minReadySeconds: int,
    }
    ReplicaSetStatus {
        1 replicas: int, 2 fullyLabeledReplicas: int, 3 observedGeneration: int, 4 readyReplicas: int,
        5 availableReplicas: int, 6 conditions: [ReplicaSetCondition], 7 terminatingReplicas: (int),
    }
    ReplicaSetCondition { 1 type: str, 2 status: str, 3 lastTransitionTime: Time, 4 reason: str, 5 message: str }
    Scale { 1 metadata: ObjectMeta, 2 spec: ScaleSpec, 3 status: ScaleStatus }
    ScaleSpec { 1 replicas: int }
    ScaleStatus { 1 replicas: int, 2 selector: str }
    HorizontalPodAutoscalerV1 {
        1 metadata: ObjectMeta, 2 spec: HorizontalPodAutoscalerSpecV1, 3 status: HorizontalPodAutoscalerStatusV1,
    }
    HorizontalPodAutoscalerSpecV1 {
        1 scaleTargetRef: CrossVersionObjectReferenceV1, 2 minReplicas: (int), 3 maxReplicas: int,
        4 targetCPUUtilizationPercentage: (int),
    }
    CrossVersionObjectReferenceV1 { 1 kind: str, 2 name: str, 3 apiVersion: str }
    HorizontalPodAutoscalerStatusV1 {
        1 observedGeneration: (int), 2 lastScaleTime: (Time), 3 currentReplicas: int, 4 desiredReplicas: int,
        5 currentCPUUtilizationPercentage: (int),
    }
    HorizontalPodAutoscaler {
        1 metadata: ObjectMeta, 2 spec: HorizontalPodAutoscalerSpec, 3 status: HorizontalPodAutoscalerStatus,
    }
    HorizontalPodAutoscalerSpec {
        1 scaleTargetRef: CrossVersionObjectReference, 2 minReplicas: (int), 3 maxReplicas: int,
        4 metrics: [MetricSpec], 5 behavior: (HorizontalPodAutoscalerBehavior),
    }
    CrossVersionObjectReference { 1 kind: str, 2 name: str, 3 apiVersion: str }
    MetricSpec {
        1 type: str, 2 object: (ObjectMetricSource), 3 pods: (PodsMetricSource), 4 resource: (ResourceMetricSource),
        5 external: (ExternalMetricSource), 7 containerResource: (ContainerResourceMetricSource),
    }
    ObjectMetricSource {
        1 describedObject: CrossVersionObjectReference, 2 target: MetricTarget, 3 metric: MetricIdentifier,
    }
    MetricTarget { 1 type: str, 2 value: (Quantity), 3 averageValue: (Quantity), 4 averageUtilization: (int) }
    MetricIdentifier { 1 name: str, 2 selector: (LabelSelector) }
    PodsMetricSource { 1 metric: MetricIdentifier, 2 target: MetricTarget }
    ResourceMetricSource { 1 name: str, 2 target: MetricTarget }
    ContainerResourceMetricSource { 1 name: str, 2 target: MetricTarget, 3 container: str }
    ExternalMetricSource { 1 metric: MetricIdentifier, 2 target: MetricTarget }
    HorizontalPodAutoscalerBehavior { 1 scaleUp: (HPAScalingRules), 2 scaleDown: (HPAScalingRules) }
    HPAScalingRules {
        1 selectPolicy: (str), 2 policies: [HPAScalingPolicy], 3 stabilizationWindowSeconds: (int),
        4 tolerance: (Quantity),
    }
    HPAScalingPolicy { 1 type: str, 2 value: int, 3 periodSeconds: int }
    HorizontalPodAutoscalerStatus {
        1 observedGeneration: (int), 2 lastScaleTime: (Time), 3 currentReplicas: int, 4 desiredReplicas: int,
        5 currentMetrics: [MetricStatus], 6 conditions: [HorizontalPodAutoscalerCondition],
    }
    MetricStatus {
        1 type: str, 2 object: (ObjectMetricStatus), 3 pods: (PodsMetricStatus), 4 resource: (ResourceMetricStatus),
        5 external: (ExternalMetricStatus), 7 containerResource: (ContainerResourceMetricStatus),
    }
    ObjectMetricStatus {
        1 metric: MetricIdentifier, 2 current: MetricValueStatus, 3 describedObject: CrossVersionObjectReference,
    }
    MetricValueStatus { 1 value: (Quantity), 2 averageValue: (Quantity), 3 averageUtilization: (int) }
    PodsMetricStatus { 1 metric: MetricIdentifier, 2 current: MetricValueStatus }
    ResourceMetricStatus { 1 name: str, 2 current: MetricValueStatus }
    ContainerResourceMetricStatus { 1 name: str, 2 current: MetricValueStatus, 3 container: str }
    ExternalMetricStatus { 1 metric: MetricIdentifier, 2 current: MetricValueStatus }
    HorizontalPodAutoscalerCondition {
        1 type: str, 2 status: str, 3 lastTransitionTime: Time, 4 reason: str, 5 message: str,
        6 observedGeneration: (int),
    }
    SelfSubjectReview { 1 metadata: ObjectMeta, 2 status: SelfSubjectReviewStatus }
    SelfSubjectReviewStatus { 1 userInfo: UserInfo }
    UserInfo { 1 username: str, 2 uid: str, 3 groups: [str], 4 extra: {Strings} }
    TokenRequest { 1 metadata: ObjectMeta, 2 spec: TokenRequestSpec, 3 status: TokenRequestStatus }
    TokenRequestSpec {
        1 audiences: [str], 3 boundObjectRef: (BoundObjectReference), 4 expirationSeconds: (int),
        5 attestations: {Strings},
    }
    BoundObjectReference { 1 kind: str, 2 apiVersion: str, 3 name: str, 4 uid: str }
    TokenRequestStatus { 1 token: str, 2 expirationTimestamp: Time }
    SelfSubjectAccessReview {
        1 metadata: ObjectMeta, 2 spec: SelfSubjectAccessReviewSpec, 3 status: SubjectAccessReviewStatus,
    }
    SelfSubjectAccessReviewSpec {
        1 resourceAttributes: (ResourceAttributes), 2 nonResourceAttributes: (NonResourceAttributes),
    }
    ResourceAttributes {
        1 namespace: str, 2 verb: str, 3 group: str, 4 version: str, 5 resource: str, 6 subresource: str,
        7 name: str, 8 fieldSelector: (FieldSelectorAttributes), 9 labelSelector: (LabelSelectorAttributes),
    }
    FieldSelectorAttributes { 1 rawSelector: str, 2 requirements: [FieldSelectorRequirement] }
    LabelSelectorAttributes { 1 rawSelector: str, 2 requirements: [LabelSelectorRequirement] }
    NonResourceAttributes { 1 path: str, 2 verb: str }
    SubjectAccessReviewStatus { 1 allowed: bool, 2 reason: str, 3 evaluationError: str, 4 denied: bool }
    SelfSubjectRulesReview {
        1 metadata: ObjectMeta, 2 spec: SelfSubjectRulesReviewSpec, 3 status: SubjectRulesReviewStatus,
    }
    SelfSubjectRulesReviewSpec { 1 namespace: str }
    SubjectRulesReviewStatus {
        1 resourceRules: [ResourceRule], 2 nonResourceRules: [NonResourceRule], 3 incomplete: bool,
        4 evaluationError: str,
    }
    ResourceRule { 1 verbs: [str], 2 apiGroups: [str], 3 resources: [str], 4 resourceNames: [str] }
    NonResourceRule { 1 verbs: [str], 2 nonResourceURLs: [str] }
    Lease { 1 metadata: ObjectMeta, 2 spec: LeaseSpec }
    LeaseSpec {
        1 holderIdentity: (str), 2 leaseDurationSeconds: (int), 3 acquireTime: (MicroTime),
        4 renewTime: (MicroTime), 5 leaseTransitions: (int), 6 strategy: (str), 7 preferredHolder: (str),
    }
    Event {
        1 metadata: ObjectMeta, 2 eventTime: MicroTime, 3 series: (EventSeries), 4 reportingController: str,
        5 reportingInstance: str, 6 action: str, 7 reason: str, 8 regarding: ObjectReference,
        9 related: (ObjectReference), 10 note: str, 11 type: str, 12 deprecatedSource: EventSource,
        13 deprecatedFirstTimestamp: Time, 14 deprecatedLastTimestamp: Time, 15 deprecatedCount: int,
    }
    EventSeries { 1 count: int, 2 lastObservedTime: MicroTime }
    Eviction { 1 metadata: ObjectMeta, 2 deleteOptions: (DeleteOptions) }
    EndpointSlice { 1 metadata: ObjectMeta, 2 endpoints: [Endpoint], 3 ports: [EndpointPort], 4 addressType: str }
    Endpoint {
        1 addresses: [str], 2 conditions: EndpointConditions, 3 hostname: (str), 4 targetRef: (ObjectReference),
        5 deprecatedTopology: {str}, 6 nodeName: (str), 7 zone: (str), 8 hints: (EndpointHints),
    }
    EndpointConditions { 1 ready: (bool), 2 serving: (bool), 3 terminating: (bool) }
    EndpointHints { 1 forZones: [ForZone], 2 forNodes: [ForNode] }
    ForZone { 1 name: str }
    ForNode { 1 name: str }
    EndpointPort { 1 name: (str), 2 protocol: (str), 3 port: (int), 4 appProtocol: (str) }
}
