//! A pod's specification: containers, probes, security, scheduling.

use super::{
    meta::{LabelSelector, LocalObjectReference, ObjectMeta},
    volumes::{EnvFromSource, EnvVar, Volume},
};
use crate::protobuf::schema::messages;

messages! {
    PodSpec {
        1 volumes: [Volume], 2 containers: [Container], 3 restartPolicy: str,
        4 terminationGracePeriodSeconds: (int), 5 activeDeadlineSeconds: (int), 6 dnsPolicy: str,
        7 nodeSelector: {str}, 8 serviceAccountName: str, 9 serviceAccount: str, 10 nodeName: str,
        11 hostNetwork: bool, 12 hostPID: bool, 13 hostIPC: bool, 14 securityContext: (PodSecurityContext),
        15 imagePullSecrets: [LocalObjectReference], 16 hostname: str, 17 subdomain: str, 18 affinity: (Affinity),
        19 schedulerName: str, 20 initContainers: [Container], 21 automountServiceAccountToken: (bool),
        22 tolerations: [Toleration], 23 hostAliases: [HostAlias], 24 priorityClassName: str, 25 priority: (int),
        26 dnsConfig: (PodDNSConfig), 27 shareProcessNamespace: (bool), 28 readinessGates: [PodReadinessGate],
        29 runtimeClassName: (str), 30 enableServiceLinks: (bool), 31 preemptionPolicy: (str),
        32 overhead: {Quantity}, 33 topologySpreadConstraints: [TopologySpreadConstraint],
        34 ephemeralContainers: [EphemeralContainer], 35 setHostnameAsFQDN: (bool), 36 os: (PodOS),
        37 hostUsers: (bool), 38 schedulingGates: [PodSchedulingGate], 39 resourceClaims: [PodResourceClaim],
        40 resources: (ResourceRequirements), 41 hostnameOverride: (str), 43 schedulingGroup: (PodSchedulingGroup),
        44 evictionResponders: [EvictionResponder],
    }
    Container {
        1 name: str, 2 image: str, 3 command: [str], 4 args: [str], 5 workingDir: str, 6 ports: [ContainerPort],
        7 env: [EnvVar], 8 resources: ResourceRequirements, 9 volumeMounts: [VolumeMount],
        10 livenessProbe: (Probe), 11 readinessProbe: (Probe), 12 lifecycle: (Lifecycle),
        13 terminationMessagePath: str, 14 imagePullPolicy: str, 15 securityContext: (SecurityContext),
        16 stdin: bool, 17 stdinOnce: bool, 18 tty: bool, 19 envFrom: [EnvFromSource],
        20 terminationMessagePolicy: str, 21 volumeDevices: [VolumeDevice], 22 startupProbe: (Probe),
        23 resizePolicy: [ContainerResizePolicy], 24 restartPolicy: (str),
        25 restartPolicyRules: [ContainerRestartRule],
    }
    ContainerPort { 1 name: str, 2 hostPort: int, 3 containerPort: int, 4 protocol: str, 5 hostIP: str }
    ResourceRequirements { 1 limits: {Quantity}, 2 requests: {Quantity}, 3 claims: [ResourceClaim] }
    ResourceClaim { 1 name: str, 2 request: str }
    ContainerResizePolicy { 1 resourceName: str, 2 restartPolicy: str }
    ContainerRestartRule { 1 action: str, 2 exitCodes: (ContainerRestartRuleOnExitCodes) }
    ContainerRestartRuleOnExitCodes { 1 operator: str, 2 values: [int] }
    VolumeMount {
        1 name: str, 2 readOnly: bool, 3 mountPath: str, 4 subPath: str, 5 mountPropagation: (str),
        6 subPathExpr: str, 7 recursiveReadOnly: (str), 8 bindMountOptions: [str],
    }
    VolumeDevice { 1 name: str, 2 devicePath: str }
    Probe {
        1 ..: ProbeHandler, 2 initialDelaySeconds: int, 3 timeoutSeconds: int, 4 periodSeconds: int,
        5 successThreshold: int, 6 failureThreshold: int, 7 terminationGracePeriodSeconds: (int),
    }
    ProbeHandler {
        1 exec: (ExecAction), 2 httpGet: (HTTPGetAction), 3 tcpSocket: (TCPSocketAction), 4 grpc: (GRPCAction),
    }
    ExecAction { 1 command: [str] }
    HTTPGetAction {
        1 path: str, 2 port: IntOrString, 3 host: str, 4 scheme: str, 5 httpHeaders: [HTTPHeader],
        6 protocol: (str),
    }
    HTTPHeader { 1 name: str, 2 value: str }
    TCPSocketAction { 1 port: IntOrString, 2 host: str }
    GRPCAction { 1 port: int, 2 service: (str), 3 mode: (str) }
    Lifecycle { 1 postStart: (LifecycleHandler), 2 preStop: (LifecycleHandler), 3 stopSignal: (str) }
    LifecycleHandler {
        1 exec: (ExecAction), 2 httpGet: (HTTPGetAction), 3 tcpSocket: (TCPSocketAction), 4 sleep: (SleepAction),
    }
    SleepAction { 1 seconds: int }
    SecurityContext {
        1 capabilities: (Capabilities), 2 privileged: (bool), 3 seLinuxOptions: (SELinuxOptions),
        4 runAsUser: (int), 5 runAsNonRoot: (bool), 6 readOnlyRootFilesystem: (bool),
        7 allowPrivilegeEscalation: (bool), 8 runAsGroup: (int), 9 procMount: (str),
        10 windowsOptions: (WindowsSecurityContextOptions), 11 seccompProfile: (SeccompProfile),
        12 appArmorProfile: (AppArmorProfile),
    }
    Capabilities { 1 add: [str], 2 drop: [str] }
    SELinuxOptions { 1 user: str, 2 role: str, 3 type: str, 4 level: str }
    WindowsSecurityContextOptions {
        1 gmsaCredentialSpecName: (str), 2 gmsaCredentialSpec: (str), 3 runAsUserName: (str), 4 hostProcess: (bool),
    }
    SeccompProfile { 1 type: str, 2 localhostProfile: (str) }
    AppArmorProfile { 1 type: str, 2 localhostProfile: (str) }
    EphemeralContainer { 1 ..: EphemeralContainerCommon, 2 targetContainerName: str }
    EphemeralContainerCommon {
        1 name: str, 2 image: str, 3 command: [str], 4 args: [str], 5 workingDir: str, 6 ports: [ContainerPort],
        7 env: [EnvVar], 8 resources: ResourceRequirements, 9 volumeMounts: [VolumeMount],
        10 livenessProbe: (Probe), 11 readinessProbe: (Probe), 12 lifecycle: (Lifecycle),
        13 terminationMessagePath: str, 14 imagePullPolicy: str, 15 securityContext: (SecurityContext),
        16 stdin: bool, 17 stdinOnce: bool, 18 tty: bool, 19 envFrom: [EnvFromSource],
        20 terminationMessagePolicy: str, 21 volumeDevices: [VolumeDevice], 22 startupProbe: (Probe),
        23 resizePolicy: [ContainerResizePolicy], 24 restartPolicy: (str),
        25 restartPolicyRules: [ContainerRestartRule],
    }
    PodSecurityContext {
        1 seLinuxOptions: (SELinuxOptions), 2 runAsUser: (int), 3 runAsNonRoot: (bool), 4 supplementalGroups: [int],
        5 fsGroup: (int), 6 runAsGroup: (int), 7 sysctls: [Sysctl],
        8 windowsOptions: (WindowsSecurityContextOptions), 9 fsGroupChangePolicy: (str),
        10 seccompProfile: (SeccompProfile), 11 appArmorProfile: (AppArmorProfile),
        12 supplementalGroupsPolicy: (str), 13 seLinuxChangePolicy: (str),
    }
    Sysctl { 1 name: str, 2 value: str }
    Affinity { 1 nodeAffinity: (NodeAffinity), 2 podAffinity: (PodAffinity), 3 podAntiAffinity: (PodAntiAffinity) }
    NodeAffinity {
        1 requiredDuringSchedulingIgnoredDuringExecution: (NodeSelector),
        2 preferredDuringSchedulingIgnoredDuringExecution: [PreferredSchedulingTerm],
    }
    NodeSelector { 1 nodeSelectorTerms: [NodeSelectorTerm] }
    NodeSelectorTerm { 1 matchExpressions: [NodeSelectorRequirement], 2 matchFields: [NodeSelectorRequirement] }
    NodeSelectorRequirement { 1 key: str, 2 operator: str, 3 values: [str] }
    PreferredSchedulingTerm { 1 weight: int, 2 preference: NodeSelectorTerm }
    PodAffinity {
        1 requiredDuringSchedulingIgnoredDuringExecution: [PodAffinityTerm],
        2 preferredDuringSchedulingIgnoredDuringExecution: [WeightedPodAffinityTerm],
    }
    PodAffinityTerm {
        1 labelSelector: (LabelSelector), 2 namespaces: [str], 3 topologyKey: str,
        4 namespaceSelector: (LabelSelector), 5 matchLabelKeys: [str], 6 mismatchLabelKeys: [str],
    }
    WeightedPodAffinityTerm { 1 weight: int, 2 podAffinityTerm: PodAffinityTerm }
    PodAntiAffinity {
        1 requiredDuringSchedulingIgnoredDuringExecution: [PodAffinityTerm],
        2 preferredDuringSchedulingIgnoredDuringExecution: [WeightedPodAffinityTerm],
    }
    Toleration { 1 key: str, 2 operator: str, 3 value: str, 4 effect: str, 5 tolerationSeconds: (int) }
    HostAlias { 1 ip: str, 2 hostnames: [str] }
    PodDNSConfig { 1 nameservers: [str], 2 searches: [str], 3 options: [PodDNSConfigOption] }
    PodDNSConfigOption { 1 name: str, 2 value: (str) }
    PodReadinessGate { 1 conditionType: str }
    TopologySpreadConstraint {
        1 maxSkew: int, 2 topologyKey: str, 3 whenUnsatisfiable: str, 4 labelSelector: (LabelSelector),
        5 minDomains: (int), 6 nodeAffinityPolicy: (str), 7 nodeTaintsPolicy: (str), 8 matchLabelKeys: [str],
    }
    PodOS { 1 name: str }
    PodSchedulingGate { 1 name: str }
    PodResourceClaim { 1 name: str, 3 resourceClaimName: (str), 4 resourceClaimTemplateName: (str) }
    PodSchedulingGroup { 1 podGroupName: (str) }
    EvictionResponder { 1 name: str, 2 priority: (int) }
    PodTemplateSpec { 1 metadata: ObjectMeta, 2 spec: PodSpec }
}
