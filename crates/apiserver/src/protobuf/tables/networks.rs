//! Ingresses, network policies, addresses.

use super::{
    meta::{Condition, LabelSelector, ObjectMeta},
    volumes::TypedLocalObjectReference,
};
use crate::protobuf::schema::messages;

messages! {
    Ingress { 1 metadata: ObjectMeta, 2 spec: IngressSpec, 3 status: IngressStatus }
    IngressSpec {
        1 defaultBackend: (IngressBackend), 2 tls: [IngressTLS], 3 rules: [IngressRule],
        4 ingressClassName: (str),
    }
    IngressBackend { 3 resource: (TypedLocalObjectReference), 4 service: (IngressServiceBackend) }
    IngressServiceBackend { 1 name: str, 2 port: ServiceBackendPort }
    ServiceBackendPort { 1 name: str, 2 number: int }
    IngressTLS { 1 hosts: [str], 2 secretName: str }
    IngressRule { 1 host: str, 2 ..: IngressRuleValue }
    IngressRuleValue { 1 http: (HTTPIngressRuleValue) }
    HTTPIngressRuleValue { 1 paths: [HTTPIngressPath] }
    HTTPIngressPath { 1 path: str, 2 backend: IngressBackend, 3 pathType: (str) }
    IngressStatus { 1 loadBalancer: IngressLoadBalancerStatus }
    IngressLoadBalancerStatus { 1 ingress: [IngressLoadBalancerIngress] }
    IngressLoadBalancerIngress { 1 ip: str, 2 hostname: str, 4 ports: [IngressPortStatus] }
    IngressPortStatus { 1 port: int, 2 protocol: str, 3 error: (str) }
    IngressClass { 1 metadata: ObjectMeta, 2 spec: IngressClassSpec }
    IngressClassSpec { 1 controller: str, 2 parameters: (IngressClassParametersReference) }
    IngressClassParametersReference { 1 apiGroup: (str), 2 kind: str, 3 name: str, 4 scope: (str), 5 namespace: (str) }
    NetworkPolicy { 1 metadata: ObjectMeta, 2 spec: NetworkPolicySpec }
    NetworkPolicySpec {
        1 podSelector: LabelSelector, 2 ingress: [NetworkPolicyIngressRule],
        3 egress: [NetworkPolicyEgressRule], 4 policyTypes: [str],
    }
    NetworkPolicyIngressRule { 1 ports: [NetworkPolicyPort], 2 from: [NetworkPolicyPeer] }
    NetworkPolicyPort { 1 protocol: (str), 2 port: (IntOrString), 3 endPort: (int) }
    NetworkPolicyPeer { 1 podSelector: (LabelSelector), 2 namespaceSelector: (LabelSelector), 3 ipBlock: (IPBlock) }
    IPBlock { 1 cidr: str, 2 except: [str] }
    NetworkPolicyEgressRule { 1 ports: [NetworkPolicyPort], 2 to: [NetworkPolicyPeer] }
    IPAddress { 1 metadata: ObjectMeta, 2 spec: IPAddressSpec }
    IPAddressSpec { 1 parentRef: (ParentReference) }
    ParentReference { 1 group: str, 2 resource: str, 3 namespace: str, 4 name: str }
    ServiceCIDR { 1 metadata: ObjectMeta, 2 spec: ServiceCIDRSpec, 3 status: ServiceCIDRStatus }
    ServiceCIDRSpec { 1 cidrs: [str] }
    ServiceCIDRStatus { 1 conditions: [Condition] }
}
