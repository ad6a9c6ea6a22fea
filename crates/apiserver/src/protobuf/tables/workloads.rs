//! Workloads besides Deployments: apps, batch, the ReplicationController and templates.

use super::{
    meta::{LabelSelector, ObjectMeta, ObjectReference},
    persistent::PersistentVolumeClaim,
    pods::PodTemplateSpec,
};
use crate::protobuf::schema::messages;

messages! {
    StatefulSet { 1 metadata: ObjectMeta, 2 spec: StatefulSetSpec, 3 status: StatefulSetStatus }
    StatefulSetSpec {
        1 replicas: (int), 2 selector: (LabelSelector), 3 template: PodTemplateSpec,
        4 volumeClaimTemplates: [PersistentVolumeClaim], 5 serviceName: str, 6 podManagementPolicy: str,
        7 updateStrategy: StatefulSetUpdateStrategy, 8 revisionHistoryLimit: (int), 9 minReadySeconds: int,
        10 persistentVolumeClaimRetentionPolicy: (StatefulSetPersistentVolumeClaimRetentionPolicy),
        11 ordinals: (StatefulSetOrdinals),
    }
    StatefulSetUpdateStrategy { 1 type: str, 2 rollingUpdate: (RollingUpdateStatefulSetStrategy) }
    RollingUpdateStatefulSetStrategy { 1 partition: (int), 2 maxUnavailable: (IntOrString) }
    StatefulSetPersistentVolumeClaimRetentionPolicy { 1 whenDeleted: str, 2 whenScaled: str }
    StatefulSetOrdinals { 1 start: int }
    StatefulSetStatus {
        1 observedGeneration: int, 2 replicas: int, 3 readyReplicas: int, 4 currentReplicas: int,
        5 updatedReplicas: int, 6 currentRevision: str, 7 updateRevision: str, 9 collisionCount: (int),
        10 conditions: [StatefulSetCondition], 11 availableReplicas: int,
    }
    StatefulSetCondition { 1 type: str, 2 status: str, 3 lastTransitionTime: Time, 4 reason: str, 5 message: str }
    DaemonSet { 1 metadata: ObjectMeta, 2 spec: DaemonSetSpec, 3 status: DaemonSetStatus }
    DaemonSetSpec {
        1 selector: (LabelSelector), 2 template: PodTemplateSpec, 3 updateStrategy: DaemonSetUpdateStrategy,
        4 minReadySeconds: int, 6 revisionHistoryLimit: (int),
    }
    DaemonSetUpdateStrategy { 1 type: str, 2 rollingUpdate: (RollingUpdateDaemonSet) }
    RollingUpdateDaemonSet { 1 maxUnavailable: (IntOrString), 2 maxSurge: (IntOrString) }
    DaemonSetStatus {
        1 currentNumberScheduled: int, 2 numberMisscheduled: int, 3 desiredNumberScheduled: int,
        4 numberReady: int, 5 observedGeneration: int, 6 updatedNumberScheduled: int, 7 numberAvailable: int,
        8 numberUnavailable: int, 9 collisionCount: (int), 10 conditions: [DaemonSetCondition],
    }
    DaemonSetCondition { 1 type: str, 2 status: str, 3 lastTransitionTime: Time, 4 reason: str, 5 message: str }
    ControllerRevision { 1 metadata: ObjectMeta, 2 data: Raw, 3 revision: int }
    Job { 1 metadata: ObjectMeta, 2 spec: JobSpec, 3 status: JobStatus }
    JobSpec {
        1 parallelism: (int), 2 completions: (int), 3 activeDeadlineSeconds: (int), 4 selector: (LabelSelector),
        5 manualSelector: (bool), 6 template: PodTemplateSpec, 7 backoffLimit: (int),
        8 ttlSecondsAfterFinished: (int), 9 completionMode: (str), 10 suspend: (bool),
        11 podFailurePolicy: (PodFailurePolicy), 12 backoffLimitPerIndex: (int), 13 maxFailedIndexes: (int),
        14 podReplacementPolicy: (str), 15 managedBy: (str), 16 successPolicy: (SuccessPolicy),
    }
    PodFailurePolicy { 1 rules: [PodFailurePolicyRule] }
    PodFailurePolicyRule {
        1 action: str, 2 onExitCodes: (PodFailurePolicyOnExitCodesRequirement),
        3 onPodConditions: [PodFailurePolicyOnPodConditionsPattern],
    }
    PodFailurePolicyOnExitCodesRequirement { 1 containerName: (str), 2 operator: str, 3 values: [int] }
    PodFailurePolicyOnPodConditionsPattern { 1 type: str, 2 status: str }
    SuccessPolicy { 1 rules: [SuccessPolicyRule] }
    SuccessPolicyRule { 1 succeededIndexes: (str), 2 succeededCount: (int) }
    JobStatus {
        1 conditions: [JobCondition], 2 startTime: (Time), 3 completionTime: (Time), 4 active: int,
        5 succeeded: int, 6 failed: int, 7 completedIndexes: str,
        8 uncountedTerminatedPods: (UncountedTerminatedPods), 9 ready: (int), 10 failedIndexes: (str),
        11 terminating: (int),
    }
    JobCondition {
        1 type: str, 2 status: str, 3 lastProbeTime: Time, 4 lastTransitionTime: Time, 5 reason: str,
        6 message: str,
    }
    UncountedTerminatedPods { 1 succeeded: [str], 2 failed: [str] }
    CronJob { 1 metadata: ObjectMeta, 2 spec: CronJobSpec, 3 status: CronJobStatus }
    CronJobSpec {
        1 schedule: str, 2 startingDeadlineSeconds: (int), 3 concurrencyPolicy: str, 4 suspend: (bool),
        5 jobTemplate: JobTemplateSpec, 6 successfulJobsHistoryLimit: (int), 7 failedJobsHistoryLimit: (int),
        8 timeZone: (str),
    }
    JobTemplateSpec { 1 metadata: ObjectMeta, 2 spec: JobSpec }
    CronJobStatus { 1 active: [ObjectReference], 4 lastScheduleTime: (Time), 5 lastSuccessfulTime: (Time) }
    PodTemplate { 1 metadata: ObjectMeta, 2 template: PodTemplateSpec }
    ReplicationController {
        1 metadata: ObjectMeta, 2 spec: ReplicationControllerSpec, 3 status: ReplicationControllerStatus,
    }
    ReplicationControllerSpec {
        1 replicas: (int), 2 selector: {str}, 3 template: (PodTemplateSpec), 4 minReadySeconds: int,
    }
    ReplicationControllerStatus {
        1 replicas: int, 2 fullyLabeledReplicas: int, 3 observedGeneration: int, 4 readyReplicas: int,
        5 availableReplicas: int, 6 conditions: [ReplicationControllerCondition],
    }
    ReplicationControllerCondition {
        1 type: str, 2 status: str, 3 lastTransitionTime: Time, 4 reason: str, 5 message: str,
    }
}
