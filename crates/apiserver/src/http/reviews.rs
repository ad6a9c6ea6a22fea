//! Reviews: questions that are answered and never stored (`kubectl auth whoami`, `auth can-i`).

use bytes::Bytes;
use http::{HeaderValue, Method, StatusCode};
use serde_json::{Value, json};

use super::{
    Answer, Identity, body,
    fields::{Directive, Model},
    respond,
};
use crate::status::Failure;

/// One kind of review.
pub(super) struct Review {
    pub(super) group: &'static str,
    pub(super) kind: &'static str,
    pub(super) plural: &'static str,
    answer: fn(&Identity) -> Value,
}

/// Every review there is. Who is known at all may do everything: there is no RBAC to ask.
pub(super) static REVIEWS: &[Review] = &[
    Review {
        group: "authentication.k8s.io",
        kind: "SelfSubjectReview",
        plural: "selfsubjectreviews",
        answer: |identity| json!({"userInfo": {"username": identity.user, "groups": identity.groups}}),
    },
    Review {
        group: "authorization.k8s.io",
        kind: "SelfSubjectAccessReview",
        plural: "selfsubjectaccessreviews",
        answer: |_| json!({"allowed": true}),
    },
    Review {
        group: "authorization.k8s.io",
        kind: "SelfSubjectRulesReview",
        plural: "selfsubjectrulesreviews",
        answer: |_| {
            json!({"incomplete": false, "nonResourceRules": [{"verbs": ["*"], "nonResourceURLs": ["*"]}],
                "resourceRules": [{"verbs": ["*"], "apiGroups": ["*"], "resources": ["*"]}]})
        },
    },
];

impl Review {
    /// The review at a path such as `/apis/authorization.k8s.io/v1/selfsubjectaccessreviews`.
    pub(super) fn at(path: &str) -> Option<&'static Self> {
        let mut parts = path.strip_prefix("/apis/")?.split('/');
        let (group, version, plural) = (parts.next()?, parts.next()?, parts.next()?);
        let found = REVIEWS.iter().find(|review| (review.group, review.plural) == (group, plural));
        found.filter(|_| version == "v1" && parts.next().is_none())
    }

    /// The answer to one.
    ///
    /// # Errors
    /// 405 for anything but POST, 400 for a body that is no such review.
    pub(super) fn answer(
        &self,
        method: &Method,
        content_type: Option<&HeaderValue>,
        bytes: &Bytes,
        identity: &Identity,
    ) -> Result<Answer, Failure> {
        if method != Method::POST {
            return Err(Failure::method_not_allowed());
        }
        let model = Model::new(self.group, "v1", self.kind);
        let (mut review, _) = model.read(body::decode(content_type, bytes)?, Directive::Ignore)?;
        if let Some(map) = review.as_object_mut() {
            map.insert("status".to_owned(), (self.answer)(identity));
        }
        Ok(respond::json(StatusCode::CREATED, &review))
    }
}
