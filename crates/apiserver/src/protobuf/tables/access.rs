//! Roles, their bindings, reviews, certificates.

use super::{
    groups::{NonResourceAttributes, ResourceAttributes, SubjectAccessReviewStatus, UserInfo},
    meta::{LabelSelector, ObjectMeta},
};
use crate::protobuf::schema::messages;

messages! {
    Role { 1 metadata: ObjectMeta, 2 rules: [PolicyRule] }
    PolicyRule {
        1 verbs: [str], 2 apiGroups: [str], 3 resources: [str], 4 resourceNames: [str],
        5 nonResourceURLs: [str],
    }
    RoleBinding { 1 metadata: ObjectMeta, 2 subjects: [Subject], 3 roleRef: RoleRef }
    Subject { 1 kind: str, 2 apiGroup: str, 3 name: str, 4 namespace: str }
    RoleRef { 1 apiGroup: str, 2 kind: str, 3 name: str }
    ClusterRole { 1 metadata: ObjectMeta, 2 rules: [PolicyRule], 3 aggregationRule: (AggregationRule) }
    AggregationRule { 1 clusterRoleSelectors: [LabelSelector] }
    ClusterRoleBinding { 1 metadata: ObjectMeta, 2 subjects: [Subject], 3 roleRef: RoleRef }
    TokenReview { 1 metadata: ObjectMeta, 2 spec: TokenReviewSpec, 3 status: TokenReviewStatus }
    TokenReviewSpec { 1 token: str, 2 audiences: [str] }
    TokenReviewStatus { 1 authenticated: bool, 2 user: UserInfo, 3 error: str, 4 audiences: [str] }
    SubjectAccessReview { 1 metadata: ObjectMeta, 2 spec: SubjectAccessReviewSpec, 3 status: SubjectAccessReviewStatus }
    SubjectAccessReviewSpec {
        1 resourceAttributes: (ResourceAttributes), 2 nonResourceAttributes: (NonResourceAttributes),
        3 user: str, 4 groups: [str], 5 extra: {Strings}, 6 uid: str,
    }
    LocalSubjectAccessReview {
        1 metadata: ObjectMeta, 2 spec: SubjectAccessReviewSpec, 3 status: SubjectAccessReviewStatus,
    }
    CertificateSigningRequest {
        1 metadata: ObjectMeta, 2 spec: CertificateSigningRequestSpec,
        3 status: CertificateSigningRequestStatus,
    }
    CertificateSigningRequestSpec {
        1 request: bytes, 2 username: str, 3 uid: str, 4 groups: [str], 5 usages: [str], 6 extra: {Strings},
        7 signerName: str, 8 expirationSeconds: (int),
    }
    CertificateSigningRequestStatus { 1 conditions: [CertificateSigningRequestCondition], 2 certificate: bytes }
    CertificateSigningRequestCondition {
        1 type: str, 2 reason: str, 3 message: str, 4 lastUpdateTime: Time, 5 lastTransitionTime: Time,
        6 status: str,
    }
}
