//! Volumes, and what environment variables are read from.

use super::meta::{LabelSelector, LocalObjectReference, ObjectMeta};
use crate::protobuf::schema::messages;

messages! {
    Volume { 1 name: str, 2 ..: VolumeSource }
    VolumeSource {
        1 hostPath: (HostPathVolumeSource), 2 emptyDir: (EmptyDirVolumeSource),
        3 gcePersistentDisk: (GCEPersistentDiskVolumeSource),
        4 awsElasticBlockStore: (AWSElasticBlockStoreVolumeSource), 5 gitRepo: (GitRepoVolumeSource),
        6 secret: (SecretVolumeSource), 7 nfs: (NFSVolumeSource), 8 iscsi: (ISCSIVolumeSource),
        9 glusterfs: (GlusterfsVolumeSource), 10 persistentVolumeClaim: (PersistentVolumeClaimVolumeSource),
        11 rbd: (RBDVolumeSource), 12 flexVolume: (FlexVolumeSource), 13 cinder: (CinderVolumeSource),
        14 cephfs: (CephFSVolumeSource), 15 flocker: (FlockerVolumeSource),
        16 downwardAPI: (DownwardAPIVolumeSource), 17 fc: (FCVolumeSource), 18 azureFile: (AzureFileVolumeSource),
        19 configMap: (ConfigMapVolumeSource), 20 vsphereVolume: (VsphereVirtualDiskVolumeSource),
        21 quobyte: (QuobyteVolumeSource), 22 azureDisk: (AzureDiskVolumeSource),
        23 photonPersistentDisk: (PhotonPersistentDiskVolumeSource), 24 portworxVolume: (PortworxVolumeSource),
        25 scaleIO: (ScaleIOVolumeSource), 26 projected: (ProjectedVolumeSource),
        27 storageos: (StorageOSVolumeSource), 28 csi: (CSIVolumeSource), 29 ephemeral: (EphemeralVolumeSource),
        30 image: (ImageVolumeSource),
    }
    HostPathVolumeSource { 1 path: str, 2 type: (str) }
    EmptyDirVolumeSource { 1 medium: str, 2 sizeLimit: (Quantity), 3 mode: (int) }
    GCEPersistentDiskVolumeSource { 1 pdName: str, 2 fsType: str, 3 partition: int, 4 readOnly: bool }
    AWSElasticBlockStoreVolumeSource { 1 volumeID: str, 2 fsType: str, 3 partition: int, 4 readOnly: bool }
    GitRepoVolumeSource { 1 repository: str, 2 revision: str, 3 directory: str }
    SecretVolumeSource {
        1 secretName: str, 2 items: [KeyToPath], 3 defaultMode: (int), 4 optional: (bool), 5 defaultUser: (int),
    }
    KeyToPath { 1 key: str, 2 path: str, 3 mode: (int), 4 user: (int) }
    NFSVolumeSource { 1 server: str, 2 path: str, 3 readOnly: bool }
    ISCSIVolumeSource {
        1 targetPortal: str, 2 iqn: str, 3 lun: int, 4 iscsiInterface: str, 5 fsType: str, 6 readOnly: bool,
        7 portals: [str], 8 chapAuthDiscovery: bool, 10 secretRef: (LocalObjectReference), 11 chapAuthSession: bool,
        12 initiatorName: (str),
    }
    GlusterfsVolumeSource { 1 endpoints: str, 2 path: str, 3 readOnly: bool }
    PersistentVolumeClaimVolumeSource { 1 claimName: str, 2 readOnly: bool }
    RBDVolumeSource {
        1 monitors: [str], 2 image: str, 3 fsType: str, 4 pool: str, 5 user: str, 6 keyring: str,
        7 secretRef: (LocalObjectReference), 8 readOnly: bool,
    }
    FlexVolumeSource {
        1 driver: str, 2 fsType: str, 3 secretRef: (LocalObjectReference), 4 readOnly: bool, 5 options: {str},
    }
    CinderVolumeSource { 1 volumeID: str, 2 fsType: str, 3 readOnly: bool, 4 secretRef: (LocalObjectReference) }
    CephFSVolumeSource {
        1 monitors: [str], 2 path: str, 3 user: str, 4 secretFile: str, 5 secretRef: (LocalObjectReference),
        6 readOnly: bool,
    }
    FlockerVolumeSource { 1 datasetName: str, 2 datasetUUID: str }
    DownwardAPIVolumeSource { 1 items: [DownwardAPIVolumeFile], 2 defaultMode: (int), 3 defaultUser: (int) }
    DownwardAPIVolumeFile {
        1 path: str, 2 fieldRef: (ObjectFieldSelector), 3 resourceFieldRef: (ResourceFieldSelector), 4 mode: (int),
        5 user: (int),
    }
    ObjectFieldSelector { 1 apiVersion: str, 2 fieldPath: str }
    ResourceFieldSelector { 1 containerName: str, 2 resource: str, 3 divisor: Quantity }
    FCVolumeSource { 1 targetWWNs: [str], 2 lun: (int), 3 fsType: str, 4 readOnly: bool, 5 wwids: [str] }
    AzureFileVolumeSource { 1 secretName: str, 2 shareName: str, 3 readOnly: bool }
    ConfigMapVolumeSource {
        1 ..: LocalObjectReference, 2 items: [KeyToPath], 3 defaultMode: (int), 4 optional: (bool),
        5 defaultUser: (int),
    }
    VsphereVirtualDiskVolumeSource {
        1 volumePath: str, 2 fsType: str, 3 storagePolicyName: str, 4 storagePolicyID: str,
    }
    QuobyteVolumeSource {
        1 registry: str, 2 volume: str, 3 readOnly: bool, 4 user: str, 5 group: str, 6 tenant: str,
    }
    AzureDiskVolumeSource {
        1 diskName: str, 2 diskURI: str, 3 cachingMode: (str), 4 fsType: (str), 5 readOnly: (bool), 6 kind: (str),
    }
    PhotonPersistentDiskVolumeSource { 1 pdID: str, 2 fsType: str }
    ProjectedVolumeSource { 1 sources: [VolumeProjection], 2 defaultMode: (int), 3 defaultUser: (int) }
    VolumeProjection {
        1 secret: (SecretProjection), 2 downwardAPI: (DownwardAPIProjection), 3 configMap: (ConfigMapProjection),
        4 serviceAccountToken: (ServiceAccountTokenProjection),
        5 clusterTrustBundle: (ClusterTrustBundleProjection), 6 podCertificate: (PodCertificateProjection),
    }
    SecretProjection { 1 ..: LocalObjectReference, 2 items: [KeyToPath], 4 optional: (bool) }
    DownwardAPIProjection { 1 items: [DownwardAPIVolumeFile] }
    ConfigMapProjection { 1 ..: LocalObjectReference, 2 items: [KeyToPath], 4 optional: (bool) }
    ServiceAccountTokenProjection { 1 audience: str, 2 expirationSeconds: (int), 3 path: str, 4 user: (int) }
    ClusterTrustBundleProjection {
        1 name: (str), 2 signerName: (str), 3 labelSelector: (LabelSelector), 4 path: str, 5 optional: (bool),
        6 user: (int),
    }
    PodCertificateProjection {
        1 signerName: str, 2 keyType: str, 3 maxExpirationSeconds: (int), 4 credentialBundlePath: str,
        5 keyPath: str, 6 certificateChainPath: str, 7 userAnnotations: {str}, 8 user: (int),
    }
    PortworxVolumeSource { 1 volumeID: str, 2 fsType: str, 3 readOnly: bool }
    ScaleIOVolumeSource {
        1 gateway: str, 2 system: str, 3 secretRef: (LocalObjectReference), 4 sslEnabled: bool,
        5 protectionDomain: str, 6 storagePool: str, 7 storageMode: str, 8 volumeName: str, 9 fsType: str,
        10 readOnly: bool,
    }
    StorageOSVolumeSource {
        1 volumeName: str, 2 volumeNamespace: str, 3 fsType: str, 4 readOnly: bool,
        5 secretRef: (LocalObjectReference),
    }
    CSIVolumeSource {
        1 driver: str, 2 readOnly: (bool), 3 fsType: (str), 4 volumeAttributes: {str},
        5 nodePublishSecretRef: (LocalObjectReference),
    }
    EphemeralVolumeSource { 1 volumeClaimTemplate: (PersistentVolumeClaimTemplate) }
    PersistentVolumeClaimTemplate { 1 metadata: ObjectMeta, 2 spec: PersistentVolumeClaimSpec }
    PersistentVolumeClaimSpec {
        1 accessModes: [str], 2 resources: VolumeResourceRequirements, 3 volumeName: str,
        4 selector: (LabelSelector), 5 storageClassName: (str), 6 volumeMode: (str),
        7 dataSource: (TypedLocalObjectReference), 8 dataSourceRef: (TypedObjectReference),
        9 volumeAttributesClassName: (str),
    }
    VolumeResourceRequirements { 1 limits: {Quantity}, 2 requests: {Quantity} }
    TypedLocalObjectReference { 1 apiGroup: (str), 2 kind: str, 3 name: str }
    TypedObjectReference { 1 apiGroup: (str), 2 kind: str, 3 name: str, 4 namespace: (str) }
    ImageVolumeSource { 1 reference: str, 2 pullPolicy: str }
    EnvFromSource { 1 prefix: str, 2 configMapRef: (ConfigMapEnvSource), 3 secretRef: (SecretEnvSource) }
    ConfigMapEnvSource { 1 ..: LocalObjectReference, 2 optional: (bool) }
    SecretEnvSource { 1 ..: LocalObjectReference, 2 optional: (bool) }
    EnvVar { 1 name: str, 2 value: str, 3 valueFrom: (EnvVarSource) }
    EnvVarSource {
        1 fieldRef: (ObjectFieldSelector), 2 resourceFieldRef: (ResourceFieldSelector),
        3 configMapKeyRef: (ConfigMapKeySelector), 4 secretKeyRef: (SecretKeySelector),
        5 fileKeyRef: (FileKeySelector),
    }
    ConfigMapKeySelector { 1 ..: LocalObjectReference, 2 key: str, 3 optional: (bool) }
    SecretKeySelector { 1 ..: LocalObjectReference, 2 key: str, 3 optional: (bool) }
    FileKeySelector { 1 volumeName: str, 2 path: str, 3 key: str, 4 optional: (bool) }
}
