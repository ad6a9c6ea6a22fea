//! Pods with their status, and nodes.

use super::{
    meta::ObjectMeta,
    pods::{PodSpec, ResourceRequirements},
};
use crate::protobuf::schema::messages;

messages! {
    Pod { 1 metadata: ObjectMeta, 2 spec: PodSpec, 3 status: PodStatus }
    PodStatus {
        1 phase: str, 2 conditions: [PodCondition], 3 message: str, 4 reason: str, 5 hostIP: str, 6 podIP: str,
        7 startTime: (Time), 8 containerStatuses: [ContainerStatus], 9 qosClass: str,
        10 initContainerStatuses: [ContainerStatus], 11 nominatedNodeName: str, 12 podIPs: [PodIP],
        13 ephemeralContainerStatuses: [ContainerStatus], 14 resize: str,
        15 resourceClaimStatuses: [PodResourceClaimStatus], 16 hostIPs: [HostIP], 17 observedGeneration: int,
        18 extendedResourceClaimStatus: (PodExtendedResourceClaimStatus), 19 allocatedResources: {Quantity},
        20 resources: (ResourceRequirements),
        21 nodeAllocatableResourceClaimStatuses: [NodeAllocatableResourceClaimStatus],
        22 volumeHealth: [PodVolumeHealth],
    }
    PodCondition {
        1 type: str, 2 status: str, 3 lastProbeTime: Time, 4 lastTransitionTime: Time, 5 reason: str,
        6 message: str, 7 observedGeneration: int,
    }
    HostIP { 1 ip: str }
    PodIP { 1 ip: str }
    ContainerStatus {
        1 name: str, 2 state: ContainerState, 3 lastState: ContainerState, 4 ready: bool, 5 restartCount: int,
        6 image: str, 7 imageID: str, 8 containerID: str, 9 started: (bool), 10 allocatedResources: {Quantity},
        11 resources: (ResourceRequirements), 12 volumeMounts: [VolumeMountStatus], 13 user: (ContainerUser),
        14 allocatedResourcesStatus: [ResourceStatus], 15 stopSignal: (str),
    }
    ContainerState {
        1 waiting: (ContainerStateWaiting), 2 running: (ContainerStateRunning),
        3 terminated: (ContainerStateTerminated),
    }
    ContainerStateWaiting { 1 reason: str, 2 message: str }
    ContainerStateRunning { 1 startedAt: Time }
    ContainerStateTerminated {
        1 exitCode: int, 2 signal: int, 3 reason: str, 4 message: str, 5 startedAt: Time, 6 finishedAt: Time,
        7 containerID: str,
    }
    VolumeMountStatus {
        1 name: str, 2 mountPath: str, 3 readOnly: bool, 4 recursiveReadOnly: (str), 5 volumeStatus: (VolumeStatus),
    }
    VolumeStatus { 1 image: (ImageVolumeStatus) }
    ImageVolumeStatus { 1 imageRef: str }
    ContainerUser { 1 linux: (LinuxContainerUser) }
    LinuxContainerUser { 1 uid: int, 2 gid: int, 3 supplementalGroups: [int] }
    ResourceStatus { 1 name: str, 2 resources: [ResourceHealth] }
    ResourceHealth { 1 resourceID: str, 2 health: str, 6 message: (str) }
    PodResourceClaimStatus { 1 name: str, 2 resourceClaimName: (str) }
    PodExtendedResourceClaimStatus {
        1 requestMappings: [ContainerExtendedResourceRequest], 2 resourceClaimName: str,
    }
    ContainerExtendedResourceRequest { 1 containerName: str, 2 resourceName: str, 3 requestName: str }
    NodeAllocatableResourceClaimStatus {
        1 resourceClaimName: str, 2 containers: [str], 4 mapping: [NodeAllocatableMappedResources],
        5 overhead: [NodeAllocatableOverheadResources],
    }
    NodeAllocatableMappedResources { 1 name: str, 2 quantity: (Quantity) }
    NodeAllocatableOverheadResources { 1 name: str, 2 perPod: (Quantity), 3 perContainer: (Quantity) }
    PodVolumeHealth { 1 name: str, 2 healthConditions: [VolumeHealthCondition], 3 lastTransitionTime: Time }
    VolumeHealthCondition { 1 status: str, 2 reason: str, 3 message: str }
    Node { 1 metadata: ObjectMeta, 2 spec: NodeSpec, 3 status: NodeStatus }
    NodeSpec {
        1 podCIDR: str, 2 externalID: str, 3 providerID: str, 4 unschedulable: bool, 5 taints: [Taint],
        6 configSource: (NodeConfigSource), 7 podCIDRs: [str], 8 podPreemptionPolicy: (NodePodPreemptionPolicy),
    }
    Taint { 1 key: str, 2 value: str, 3 effect: str, 4 timeAdded: (Time) }
    NodeConfigSource { 2 configMap: (ConfigMapNodeConfigSource) }
    ConfigMapNodeConfigSource {
        1 namespace: str, 2 name: str, 3 uid: str, 4 resourceVersion: str, 5 kubeletConfigKey: str,
    }
    NodePodPreemptionPolicy { 1 disableResizePreemption: [str] }
    NodeStatus {
        1 capacity: {Quantity}, 2 allocatable: {Quantity}, 3 phase: str, 4 conditions: [NodeCondition],
        5 addresses: [NodeAddress], 6 daemonEndpoints: NodeDaemonEndpoints, 7 nodeInfo: NodeSystemInfo,
        8 images: [ContainerImage], 9 volumesInUse: [str], 10 volumesAttached: [AttachedVolume],
        11 config: (NodeConfigStatus), 12 runtimeHandlers: [NodeRuntimeHandler], 13 features: (NodeFeatures),
        14 declaredFeatures: [str],
    }
    NodeCondition {
        1 type: str, 2 status: str, 3 lastHeartbeatTime: Time, 4 lastTransitionTime: Time, 5 reason: str,
        6 message: str,
    }
    NodeAddress { 1 type: str, 2 address: str }
    NodeDaemonEndpoints { 1 kubeletEndpoint: DaemonEndpoint }
    DaemonEndpoint { 1 Port: int }
    NodeSystemInfo {
        1 machineID: str, 2 systemUUID: str, 3 bootID: str, 4 kernelVersion: str, 5 osImage: str,
        6 containerRuntimeVersion: str, 7 kubeletVersion: str, 8 kubeProxyVersion: str, 9 operatingSystem: str,
        10 architecture: str, 11 swap: (NodeSwapStatus),
    }
    NodeSwapStatus { 1 capacity: (int) }
    ContainerImage { 1 names: [str], 2 sizeBytes: int }
    AttachedVolume { 1 name: str, 2 devicePath: str }
    NodeConfigStatus {
        1 assigned: (NodeConfigSource), 2 active: (NodeConfigSource), 3 lastKnownGood: (NodeConfigSource),
        4 error: str,
    }
    NodeRuntimeHandler { 1 name: str, 2 features: (NodeRuntimeHandlerFeatures) }
    NodeRuntimeHandlerFeatures { 1 recursiveReadOnlyMounts: (bool), 2 userNamespaces: (bool) }
    NodeFeatures { 1 supplementalGroupsPolicy: (bool) }
}
