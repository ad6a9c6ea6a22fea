//! What a namespace or a cluster is given: quotas, limits, endpoints, disruption budgets, priorities, runtime classes.

use super::{
    meta::{Condition, LabelSelector, ObjectMeta, ObjectReference},
    pods::Toleration,
};
use crate::protobuf::schema::messages;

messages! {
    Endpoints { 1 metadata: ObjectMeta, 2 subsets: [EndpointSubset] }
    EndpointSubset {
        1 addresses: [EndpointAddress], 2 notReadyAddresses: [EndpointAddress], 3 ports: [CoreEndpointPort],
    }
    EndpointAddress { 1 ip: str, 2 targetRef: (ObjectReference), 3 hostname: str, 4 nodeName: (str) }
    CoreEndpointPort { 1 name: str, 2 port: int, 3 protocol: str, 4 appProtocol: (str) }
    LimitRange { 1 metadata: ObjectMeta, 2 spec: LimitRangeSpec }
    LimitRangeSpec { 1 limits: [LimitRangeItem] }
    LimitRangeItem {
        1 type: str, 2 max: {Quantity}, 3 min: {Quantity}, 4 default: {Quantity}, 5 defaultRequest: {Quantity},
        6 maxLimitRequestRatio: {Quantity},
    }
    ResourceQuota { 1 metadata: ObjectMeta, 2 spec: ResourceQuotaSpec, 3 status: ResourceQuotaStatus }
    ResourceQuotaSpec { 1 hard: {Quantity}, 2 scopes: [str], 3 scopeSelector: (ScopeSelector) }
    ScopeSelector { 1 matchExpressions: [ScopedResourceSelectorRequirement] }
    ScopedResourceSelectorRequirement { 1 scopeName: str, 2 operator: str, 3 values: [str] }
    ResourceQuotaStatus { 1 hard: {Quantity}, 2 used: {Quantity} }
    PodDisruptionBudget { 1 metadata: ObjectMeta, 2 spec: PodDisruptionBudgetSpec, 3 status: PodDisruptionBudgetStatus }
    PodDisruptionBudgetSpec {
        1 minAvailable: (IntOrString), 2 selector: (LabelSelector), 3 maxUnavailable: (IntOrString),
        4 unhealthyPodEvictionPolicy: (str),
    }
    PodDisruptionBudgetStatus {
        1 observedGeneration: int, 2 disruptedPods: {Time}, 3 disruptionsAllowed: int, 4 currentHealthy: int,
        5 desiredHealthy: int, 6 expectedPods: int, 7 conditions: [Condition],
    }
    PriorityClass {
        1 metadata: ObjectMeta, 2 value: int, 3 globalDefault: bool, 4 description: str,
        5 preemptionPolicy: (str),
    }
    RuntimeClass { 1 metadata: ObjectMeta, 2 handler: str, 3 overhead: (Overhead), 4 scheduling: (Scheduling) }
    Overhead { 1 podFixed: {Quantity} }
    Scheduling { 1 nodeSelector: {str}, 2 tolerations: [Toleration] }
    APIService { 1 metadata: ObjectMeta, 2 spec: APIServiceSpec, 3 status: APIServiceStatus }
    APIServiceSpec {
        1 service: (APIServiceReference), 2 group: str, 3 version: str, 4 insecureSkipTLSVerify: bool, 5 caBundle: bytes,
        7 groupPriorityMinimum: int, 8 versionPriority: int,
    }
    APIServiceReference { 1 namespace: str, 2 name: str, 3 port: (int) }
    APIServiceStatus { 1 conditions: [APIServiceCondition] }
    APIServiceCondition { 1 type: str, 2 status: str, 3 lastTransitionTime: Time, 4 reason: str, 5 message: str }
}
