//! Persistent volumes, claims on them, and what storage drivers say.

use super::{
    meta::{LabelSelector, ObjectMeta, ObjectReference},
    pods::NodeSelector,
    status::VolumeHealthCondition,
    volumes::{
        AWSElasticBlockStoreVolumeSource, AzureDiskVolumeSource, FCVolumeSource, FlockerVolumeSource,
        GCEPersistentDiskVolumeSource, HostPathVolumeSource, NFSVolumeSource, PersistentVolumeClaimSpec,
        PhotonPersistentDiskVolumeSource, PortworxVolumeSource, QuobyteVolumeSource, VsphereVirtualDiskVolumeSource,
    },
};
use crate::protobuf::schema::messages;

messages! {
    PersistentVolume { 1 metadata: ObjectMeta, 2 spec: PersistentVolumeSpec, 3 status: PersistentVolumeStatus }
    PersistentVolumeSpec {
        1 capacity: {Quantity}, 2 ..: PersistentVolumeSource, 3 accessModes: [str],
        4 claimRef: (ObjectReference), 5 persistentVolumeReclaimPolicy: str, 6 storageClassName: str,
        7 mountOptions: [str], 8 volumeMode: (str), 9 nodeAffinity: (VolumeNodeAffinity),
        10 volumeAttributesClassName: (str),
    }
    PersistentVolumeSource {
        1 gcePersistentDisk: (GCEPersistentDiskVolumeSource),
        2 awsElasticBlockStore: (AWSElasticBlockStoreVolumeSource), 3 hostPath: (HostPathVolumeSource),
        4 glusterfs: (GlusterfsPersistentVolumeSource), 5 nfs: (NFSVolumeSource),
        6 rbd: (RBDPersistentVolumeSource), 7 iscsi: (ISCSIPersistentVolumeSource),
        8 cinder: (CinderPersistentVolumeSource), 9 cephfs: (CephFSPersistentVolumeSource),
        10 fc: (FCVolumeSource), 11 flocker: (FlockerVolumeSource), 12 flexVolume: (FlexPersistentVolumeSource),
        13 azureFile: (AzureFilePersistentVolumeSource), 14 vsphereVolume: (VsphereVirtualDiskVolumeSource),
        15 quobyte: (QuobyteVolumeSource), 16 azureDisk: (AzureDiskVolumeSource),
        17 photonPersistentDisk: (PhotonPersistentDiskVolumeSource), 18 portworxVolume: (PortworxVolumeSource),
        19 scaleIO: (ScaleIOPersistentVolumeSource), 20 local: (LocalVolumeSource),
        21 storageos: (StorageOSPersistentVolumeSource), 22 csi: (CSIPersistentVolumeSource),
    }
    GlusterfsPersistentVolumeSource { 1 endpoints: str, 2 path: str, 3 readOnly: bool, 4 endpointsNamespace: (str) }
    RBDPersistentVolumeSource {
        1 monitors: [str], 2 image: str, 3 fsType: str, 4 pool: str, 5 user: str, 6 keyring: str,
        7 secretRef: (SecretReference), 8 readOnly: bool,
    }
    SecretReference { 1 name: str, 2 namespace: str }
    ISCSIPersistentVolumeSource {
        1 targetPortal: str, 2 iqn: str, 3 lun: int, 4 iscsiInterface: str, 5 fsType: str, 6 readOnly: bool,
        7 portals: [str], 8 chapAuthDiscovery: bool, 10 secretRef: (SecretReference), 11 chapAuthSession: bool,
        12 initiatorName: (str),
    }
    CinderPersistentVolumeSource { 1 volumeID: str, 2 fsType: str, 3 readOnly: bool, 4 secretRef: (SecretReference) }
    CephFSPersistentVolumeSource {
        1 monitors: [str], 2 path: str, 3 user: str, 4 secretFile: str, 5 secretRef: (SecretReference),
        6 readOnly: bool,
    }
    FlexPersistentVolumeSource {
        1 driver: str, 2 fsType: str, 3 secretRef: (SecretReference), 4 readOnly: bool, 5 options: {str},
    }
    AzureFilePersistentVolumeSource { 1 secretName: str, 2 shareName: str, 3 readOnly: bool, 4 secretNamespace: (str) }
    ScaleIOPersistentVolumeSource {
        1 gateway: str, 2 system: str, 3 secretRef: (SecretReference), 4 sslEnabled: bool,
        5 protectionDomain: str, 6 storagePool: str, 7 storageMode: str, 8 volumeName: str, 9 fsType: str,
        10 readOnly: bool,
    }
    LocalVolumeSource { 1 path: str, 2 fsType: (str) }
    StorageOSPersistentVolumeSource {
        1 volumeName: str, 2 volumeNamespace: str, 3 fsType: str, 4 readOnly: bool,
        5 secretRef: (ObjectReference),
    }
    CSIPersistentVolumeSource {
        1 driver: str, 2 volumeHandle: str, 3 readOnly: bool, 4 fsType: str, 5 volumeAttributes: {str},
        6 controllerPublishSecretRef: (SecretReference), 7 nodeStageSecretRef: (SecretReference),
        8 nodePublishSecretRef: (SecretReference), 9 controllerExpandSecretRef: (SecretReference),
        10 nodeExpandSecretRef: (SecretReference),
    }
    VolumeNodeAffinity { 1 required: (NodeSelector) }
    PersistentVolumeStatus { 1 phase: str, 2 message: str, 3 reason: str, 4 lastPhaseTransitionTime: (Time) }
    PersistentVolumeClaim {
        1 metadata: ObjectMeta, 2 spec: PersistentVolumeClaimSpec, 3 status: PersistentVolumeClaimStatus,
    }
    PersistentVolumeClaimStatus {
        1 phase: str, 2 accessModes: [str], 3 capacity: {Quantity},
        4 conditions: [PersistentVolumeClaimCondition], 5 allocatedResources: {Quantity},
        7 allocatedResourceStatuses: {str}, 8 currentVolumeAttributesClassName: (str),
        9 modifyVolumeStatus: (ModifyVolumeStatus), 10 healthStatus: (VolumeHealthStatus),
    }
    PersistentVolumeClaimCondition {
        1 type: str, 2 status: str, 3 lastProbeTime: Time, 4 lastTransitionTime: Time, 5 reason: str,
        6 message: str,
    }
    ModifyVolumeStatus { 1 targetVolumeAttributesClassName: str, 2 status: str }
    VolumeHealthStatus { 1 healthConditions: [VolumeHealthCondition], 2 lastTransitionTime: Time }
    StorageClass {
        1 metadata: ObjectMeta, 2 provisioner: str, 3 parameters: {str}, 4 reclaimPolicy: (str),
        5 mountOptions: [str], 6 allowVolumeExpansion: (bool), 7 volumeBindingMode: (str),
        8 allowedTopologies: [TopologySelectorTerm],
    }
    TopologySelectorTerm { 1 matchLabelExpressions: [TopologySelectorLabelRequirement] }
    TopologySelectorLabelRequirement { 1 key: str, 2 values: [str] }
    VolumeAttachment { 1 metadata: ObjectMeta, 2 spec: VolumeAttachmentSpec, 3 status: VolumeAttachmentStatus }
    VolumeAttachmentSpec { 1 attacher: str, 2 source: VolumeAttachmentSource, 3 nodeName: str }
    VolumeAttachmentSource { 1 persistentVolumeName: (str), 2 inlineVolumeSpec: (PersistentVolumeSpec) }
    VolumeAttachmentStatus {
        1 attached: bool, 2 attachmentMetadata: {str}, 3 attachError: (VolumeError),
        4 detachError: (VolumeError),
    }
    VolumeError { 1 time: Time, 2 message: str, 3 errorCode: (int) }
    CSIDriver { 1 metadata: ObjectMeta, 2 spec: CSIDriverSpec }
    CSIDriverSpec {
        1 attachRequired: (bool), 2 podInfoOnMount: (bool), 3 volumeLifecycleModes: [str],
        4 storageCapacity: (bool), 5 fsGroupPolicy: (str), 6 tokenRequests: [CSITokenRequest],
        7 requiresRepublish: (bool), 8 seLinuxMount: (bool), 9 nodeAllocatableUpdatePeriodSeconds: (int),
        10 serviceAccountTokenInSecrets: (bool), 11 preventPodSchedulingIfMissing: (bool),
    }
    CSITokenRequest { 1 audience: str, 2 expirationSeconds: (int) }
    CSINode { 1 metadata: ObjectMeta, 2 spec: CSINodeSpec, 3 status: CSINodeStatus }
    CSINodeSpec { 1 drivers: [CSINodeDriver] }
    CSINodeDriver { 1 name: str, 2 nodeID: str, 3 topologyKeys: [str], 4 allocatable: (VolumeNodeResources) }
    VolumeNodeResources { 1 count: (int) }
    CSINodeStatus { 1 storageHealth: [StorageHealth] }
    StorageHealth { 1 name: str, 2 healthConditions: [StorageHealthCondition] }
    StorageHealthCondition {
        1 status: str, 2 reason: str, 3 message: str, 4 accessMode: (str), 5 volumeMode: (str),
        6 lastTransitionTime: Time,
    }
    CSIStorageCapacity {
        1 metadata: ObjectMeta, 2 nodeTopology: (LabelSelector), 3 storageClassName: str,
        4 capacity: (Quantity), 5 maximumVolumeSize: (Quantity),
    }
}
