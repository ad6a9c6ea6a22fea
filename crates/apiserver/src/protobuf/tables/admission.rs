//! Webhooks and policies of admission, and the flow of requests.

use super::meta::{Condition, LabelSelector, ObjectMeta};
use crate::protobuf::schema::messages;

messages! {
    ValidatingWebhookConfiguration { 1 metadata: ObjectMeta, 2 webhooks: [ValidatingWebhook] }
    ValidatingWebhook {
        1 name: str, 2 clientConfig: WebhookClientConfig, 3 rules: [RuleWithOperations], 4 failurePolicy: (str),
        5 namespaceSelector: (LabelSelector), 6 sideEffects: (str), 7 timeoutSeconds: (int),
        8 admissionReviewVersions: [str], 9 matchPolicy: (str), 10 objectSelector: (LabelSelector),
        11 matchConditions: [MatchCondition],
    }
    WebhookClientConfig { 1 service: (ServiceReference), 2 caBundle: bytes, 3 url: (str) }
    ServiceReference { 1 namespace: str, 2 name: str, 3 path: (str), 4 port: (int) }
    RuleWithOperations { 1 operations: [str], 2 ..: Rule }
    Rule { 1 apiGroups: [str], 2 apiVersions: [str], 3 resources: [str], 4 scope: (str) }
    MatchCondition { 1 name: str, 2 expression: str }
    MutatingWebhookConfiguration { 1 metadata: ObjectMeta, 2 webhooks: [MutatingWebhook] }
    MutatingWebhook {
        1 name: str, 2 clientConfig: WebhookClientConfig, 3 rules: [RuleWithOperations], 4 failurePolicy: (str),
        5 namespaceSelector: (LabelSelector), 6 sideEffects: (str), 7 timeoutSeconds: (int),
        8 admissionReviewVersions: [str], 9 matchPolicy: (str), 10 reinvocationPolicy: (str),
        11 objectSelector: (LabelSelector), 12 matchConditions: [MatchCondition],
    }
    ValidatingAdmissionPolicy {
        1 metadata: ObjectMeta, 2 spec: ValidatingAdmissionPolicySpec,
        3 status: ValidatingAdmissionPolicyStatus,
    }
    ValidatingAdmissionPolicySpec {
        1 paramKind: (ParamKind), 2 matchConstraints: (MatchResources), 3 validations: [Validation],
        4 failurePolicy: (str), 5 auditAnnotations: [AuditAnnotation], 6 matchConditions: [MatchCondition],
        7 variables: [Variable],
    }
    ParamKind { 1 apiVersion: str, 2 kind: str }
    MatchResources {
        1 namespaceSelector: (LabelSelector), 2 objectSelector: (LabelSelector),
        3 resourceRules: [NamedRuleWithOperations], 4 excludeResourceRules: [NamedRuleWithOperations],
        7 matchPolicy: (str),
    }
    NamedRuleWithOperations { 1 resourceNames: [str], 2 ..: RuleWithOperations }
    Validation { 1 expression: str, 2 message: str, 3 reason: (str), 4 messageExpression: str }
    AuditAnnotation { 1 key: str, 2 valueExpression: str }
    Variable { 1 name: str, 2 expression: str }
    ValidatingAdmissionPolicyStatus {
        1 observedGeneration: int, 2 typeChecking: (TypeChecking), 3 conditions: [Condition],
    }
    TypeChecking { 1 expressionWarnings: [ExpressionWarning] }
    ExpressionWarning { 2 fieldRef: str, 3 warning: str }
    ValidatingAdmissionPolicyBinding { 1 metadata: ObjectMeta, 2 spec: ValidatingAdmissionPolicyBindingSpec }
    ValidatingAdmissionPolicyBindingSpec {
        1 policyName: str, 2 paramRef: (ParamRef), 3 matchResources: (MatchResources),
        4 validationActions: [str],
    }
    ParamRef { 1 name: str, 2 namespace: str, 3 selector: (LabelSelector), 4 parameterNotFoundAction: (str) }
    FlowSchema { 1 metadata: ObjectMeta, 2 spec: FlowSchemaSpec, 3 status: FlowSchemaStatus }
    FlowSchemaSpec {
        1 priorityLevelConfiguration: PriorityLevelConfigurationReference, 2 matchingPrecedence: int,
        3 distinguisherMethod: (FlowDistinguisherMethod), 4 rules: [PolicyRulesWithSubjects],
    }
    PriorityLevelConfigurationReference { 1 name: str }
    FlowDistinguisherMethod { 1 type: str }
    PolicyRulesWithSubjects {
        1 subjects: [FlowSubject], 2 resourceRules: [ResourcePolicyRule],
        3 nonResourceRules: [NonResourcePolicyRule],
    }
    FlowSubject {
        1 kind: str, 2 user: (UserSubject), 3 group: (GroupSubject), 4 serviceAccount: (ServiceAccountSubject),
    }
    UserSubject { 1 name: str }
    GroupSubject { 1 name: str }
    ServiceAccountSubject { 1 namespace: str, 2 name: str }
    ResourcePolicyRule {
        1 verbs: [str], 2 apiGroups: [str], 3 resources: [str], 4 clusterScope: bool, 5 namespaces: [str],
    }
    NonResourcePolicyRule { 1 verbs: [str], 6 nonResourceURLs: [str] }
    FlowSchemaStatus { 1 conditions: [FlowSchemaCondition] }
    FlowSchemaCondition { 1 type: str, 2 status: str, 3 lastTransitionTime: Time, 4 reason: str, 5 message: str }
    PriorityLevelConfiguration {
        1 metadata: ObjectMeta, 2 spec: PriorityLevelConfigurationSpec,
        3 status: PriorityLevelConfigurationStatus,
    }
    PriorityLevelConfigurationSpec {
        1 type: str, 2 limited: (LimitedPriorityLevelConfiguration),
        3 exempt: (ExemptPriorityLevelConfiguration),
    }
    LimitedPriorityLevelConfiguration {
        1 nominalConcurrencyShares: (int), 2 limitResponse: LimitResponse, 3 lendablePercent: (int),
        4 borrowingLimitPercent: (int),
    }
    LimitResponse { 1 type: str, 2 queuing: (QueuingConfiguration) }
    QueuingConfiguration { 1 queues: int, 2 handSize: int, 3 queueLengthLimit: int }
    ExemptPriorityLevelConfiguration { 1 nominalConcurrencyShares: (int), 2 lendablePercent: (int) }
    PriorityLevelConfigurationStatus { 1 conditions: [PriorityLevelConfigurationCondition] }
    PriorityLevelConfigurationCondition {
        1 type: str, 2 status: str, 3 lastTransitionTime: Time, 4 reason: str, 5 message: str,
    }
}
