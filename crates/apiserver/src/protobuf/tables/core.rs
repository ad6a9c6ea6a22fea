//! The rest of the core group.

use super::meta::{Condition, LocalObjectReference, ObjectMeta, ObjectReference};
use crate::protobuf::schema::messages;

messages! {
    Namespace { 1 metadata: ObjectMeta, 2 spec: NamespaceSpec, 3 status: NamespaceStatus }
    NamespaceSpec { 1 finalizers: [str] }
    NamespaceStatus { 1 phase: str, 2 conditions: [NamespaceCondition] }
    NamespaceCondition { 1 type: str, 2 status: str, 4 lastTransitionTime: Time, 5 reason: str, 6 message: str }
    ConfigMap { 1 metadata: ObjectMeta, 2 data: {str}, 3 binaryData: {bytes}, 4 immutable: (bool) }
    Secret { 1 metadata: ObjectMeta, 2 data: {bytes}, 3 type: str, 4 stringData: {str}, 5 immutable: (bool) }
    ServiceAccount {
        1 metadata: ObjectMeta, 2 secrets: [ObjectReference], 3 imagePullSecrets: [LocalObjectReference],
        4 automountServiceAccountToken: (bool),
    }
    Service { 1 metadata: ObjectMeta, 2 spec: ServiceSpec, 3 status: ServiceStatus }
    ServiceSpec {
        1 ports: [ServicePort], 2 selector: {str}, 3 clusterIP: str, 4 type: str, 5 externalIPs: [str],
        7 sessionAffinity: str, 8 loadBalancerIP: str, 9 loadBalancerSourceRanges: [str], 10 externalName: str,
        11 externalTrafficPolicy: str, 12 healthCheckNodePort: int, 13 publishNotReadyAddresses: bool,
        14 sessionAffinityConfig: (SessionAffinityConfig), 17 ipFamilyPolicy: (str), 18 clusterIPs: [str],
        19 ipFamilies: [str], 20 allocateLoadBalancerNodePorts: (bool), 21 loadBalancerClass: (str),
        22 internalTrafficPolicy: (str), 23 trafficDistribution: (str),
    }
    ServicePort {
        1 name: str, 2 protocol: str, 3 port: int, 4 targetPort: IntOrString, 5 nodePort: int, 6 appProtocol: (str),
    }
    SessionAffinityConfig { 1 clientIP: (ClientIPConfig) }
    ClientIPConfig { 1 timeoutSeconds: (int) }
    ServiceStatus { 1 loadBalancer: LoadBalancerStatus, 2 conditions: [Condition] }
    LoadBalancerStatus { 1 ingress: [LoadBalancerIngress] }
    LoadBalancerIngress { 1 ip: str, 2 hostname: str, 3 ipMode: (str), 4 ports: [PortStatus] }
    PortStatus { 1 port: int, 2 protocol: str, 3 error: (str) }
    CoreEvent {
        1 metadata: ObjectMeta, 2 involvedObject: ObjectReference, 3 reason: str, 4 message: str,
        5 source: EventSource, 6 firstTimestamp: Time, 7 lastTimestamp: Time, 8 count: int, 9 type: str,
        10 eventTime: MicroTime, 11 series: (CoreEventSeries), 12 action: str, 13 related: (ObjectReference),
        14 reportingComponent: str, 15 reportingInstance: str,
    }
    EventSource { 1 component: str, 2 host: str }
    CoreEventSeries { 1 count: int, 2 lastObservedTime: MicroTime }
    Binding { 1 metadata: ObjectMeta, 2 target: ObjectReference }
}
