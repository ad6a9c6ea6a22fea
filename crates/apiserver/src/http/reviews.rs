//! Reviews: questions that are answered and never stored (`kubectl auth whoami`, `auth can-i`, and what webhooks ask).

use bytes::Bytes;
use http::{HeaderMap, Method, StatusCode, header};
use serde_json::{Value, json};

use super::{
    Answer, Handler, Identity, accounts, body,
    fields::{Directive, Model},
    respond,
};
use crate::{
    registry::meta,
    status::{Cause, Failure},
};

/// Who asks, and whom.
pub(super) struct Asked<'a> {
    pub(super) handler: &'a Handler,
    pub(super) identity: &'a Identity,
    pub(super) headers: &'a HeaderMap,
}

/// One kind of review.
pub(super) struct Review {
    pub(super) group: &'static str,
    pub(super) kind: &'static str,
    pub(super) plural: &'static str,
    /// Whether it is asked within a namespace.
    pub(super) namespaced: bool,
    answer: fn(&Asked<'_>, &Value) -> Result<Value, Failure>,
}

const AUTHENTICATION: &str = "authentication.k8s.io";
const AUTHORIZATION: &str = "authorization.k8s.io";

/// Every review there is. Who is known at all may do everything: RBAC is kept, and not enforced.
pub(super) static REVIEWS: &[Review] = &[
    Review {
        group: AUTHENTICATION,
        kind: "SelfSubjectReview",
        plural: "selfsubjectreviews",
        namespaced: false,
        answer: |asked, _| Ok(json!({"userInfo": user_info(asked.identity)})),
    },
    Review { group: AUTHENTICATION, kind: "TokenReview", plural: "tokenreviews", namespaced: false, answer: token },
    Review {
        group: AUTHORIZATION,
        kind: "SelfSubjectAccessReview",
        plural: "selfsubjectaccessreviews",
        namespaced: false,
        answer: |_, review| access(AUTHORIZATION_SELF, review),
    },
    Review {
        group: AUTHORIZATION,
        kind: "SelfSubjectRulesReview",
        plural: "selfsubjectrulesreviews",
        namespaced: false,
        answer: |_, _| {
            Ok(json!({"incomplete": false, "nonResourceRules": [{"verbs": ["*"], "nonResourceURLs": ["*"]}],
                "resourceRules": [{"verbs": ["*"], "apiGroups": ["*"], "resources": ["*"]}]}))
        },
    },
    Review {
        group: AUTHORIZATION,
        kind: "SubjectAccessReview",
        plural: "subjectaccessreviews",
        namespaced: false,
        answer: |_, review| access("SubjectAccessReview", review),
    },
    Review {
        group: AUTHORIZATION,
        kind: "LocalSubjectAccessReview",
        plural: "localsubjectaccessreviews",
        namespaced: true,
        answer: |_, review| access("LocalSubjectAccessReview", review),
    },
];

const AUTHORIZATION_SELF: &str = "SelfSubjectAccessReview";

/// `authentication/v1` UserInfo.
fn user_info(identity: &Identity) -> Value {
    let mut info = json!({"username": identity.user, "groups": identity.groups});
    if let Some(map) = info.as_object_mut() {
        if !identity.uid.is_empty() {
            map.insert("uid".to_owned(), json!(identity.uid));
        }
        if !identity.extra.is_empty() {
            map.insert("extra".to_owned(), json!(identity.extra));
        }
    }
    info
}

/// Whether a token counts, and whose it is.
fn token(asked: &Asked<'_>, review: &Value) -> Result<Value, Failure> {
    let token = review.pointer("/spec/token").and_then(Value::as_str).unwrap_or_default();
    if token.is_empty() {
        return Err(Failure::bad_request("token is required for TokenReview in authentication"));
    }
    let wanted = review.pointer("/spec/audiences").and_then(Value::as_array).into_iter().flatten();
    let wanted: Vec<&str> = wanted.filter_map(Value::as_str).collect();
    let audiences = if wanted.is_empty() { accounts::OWN } else { wanted.as_slice() };
    let handler = asked.handler;
    let now = jiff::Timestamp::now();
    Ok(match accounts::identity(&handler.registry, &handler.tokens, token, audiences, now) {
        Ok((identity, audiences)) => {
            json!({"authenticated": true, "user": user_info(&identity), "audiences": audiences})
        }
        Err(why) => json!({"user": {}, "error": why}),
    })
}

/// Whether somebody may do something: whoever is known may do everything.
fn access(kind: &str, review: &Value) -> Result<Value, Failure> {
    let set = |field: &str| review.pointer(&format!("/spec/{field}")).is_some();
    let invalid = |cause: Cause| Failure::invalid_kind(AUTHORIZATION, kind, "", &[cause]);
    let one = "exactly one of nonResourceAttributes or resourceAttributes must be specified";
    match (set("resourceAttributes"), set("nonResourceAttributes")) {
        (true, true) => {
            let why = "cannot be specified in combination with resourceAttributes";
            return Err(invalid(Cause::invalid("spec.nonResourceAttributes", &Value::Null, why)));
        }
        (false, false) => return Err(invalid(Cause::invalid("spec.resourceAttributes", &Value::Null, one))),
        _ => {}
    }
    if kind == AUTHORIZATION_SELF {
        return Ok(json!({"allowed": true}));
    }
    if !set("user") && !set("groups") {
        let why = "at least one of user or group must be specified";
        return Err(invalid(Cause::invalid("spec.user", &"".into(), why)));
    }
    let user = review.pointer("/spec/user").and_then(Value::as_str).unwrap_or_default();
    if user == "system:anonymous" {
        return Ok(json!({"allowed": false, "reason": "nobody unknown may do anything"}));
    }
    Ok(json!({"allowed": true, "reason": "RBAC is not enforced here: whoever is known may do everything"}))
}

impl Review {
    /// The review at a path such as `/apis/authorization.k8s.io/v1/selfsubjectaccessreviews`.
    pub(super) fn at(path: &str) -> Option<&'static Self> {
        let parts: Vec<&str> = path.strip_prefix("/apis/")?.split('/').collect();
        let (group, plural, namespaced) = match parts.as_slice() {
            [group, "v1", plural] => (group, plural, false),
            [group, "v1", "namespaces", _, plural] => (group, plural, true),
            _ => return None,
        };
        let is = |review: &&Self| (review.group, review.plural, review.namespaced) == (*group, *plural, namespaced);
        REVIEWS.iter().find(is)
    }

    /// The answer to one.
    ///
    /// # Errors
    /// 405 for anything but POST, 400 for a body that is no such review, 422 for one that asks nothing.
    pub(super) fn answer(&self, method: &Method, bytes: &Bytes, asked: &Asked<'_>) -> Result<Answer, Failure> {
        if method != Method::POST {
            return Err(Failure::method_not_allowed());
        }
        if respond::Form::negotiate(asked.headers)? != respond::Form::Whole {
            // There is no table of answers, nor have they metadata.
            return Err(Failure::not_acceptable());
        }
        let model = Model::new(self.group, "v1", self.kind);
        let body = body::decode(asked.headers.get(header::CONTENT_TYPE), bytes)?;
        let (mut review, _) = model.read(body, Directive::Ignore)?;
        let status = (self.answer)(asked, &review)?;
        meta::metadata(&mut review).entry("creationTimestamp").or_insert(Value::Null);
        if let Some(map) = review.as_object_mut() {
            map.insert("status".to_owned(), status);
        }
        Ok(respond::json(StatusCode::CREATED, &review))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reviews_are_where_upstream_has_them() {
        let at = |path: &str| Review::at(path).map(|review| review.kind);
        assert_eq!(at("/apis/authentication.k8s.io/v1/tokenreviews"), Some("TokenReview"));
        let local = "/apis/authorization.k8s.io/v1/namespaces/a/localsubjectaccessreviews";
        assert_eq!(at(local), Some("LocalSubjectAccessReview"));
        assert_eq!(at("/apis/authorization.k8s.io/v1/localsubjectaccessreviews"), None);
        assert_eq!(at("/apis/authorization.k8s.io/v1/namespaces/a/subjectaccessreviews"), None);
    }

    #[test]
    fn a_question_about_nothing_or_nobody_is_refused() {
        let resource = json!({"spec": {"resourceAttributes": {"verb": "get"}, "user": "a"}});
        assert_eq!(access("SubjectAccessReview", &resource).unwrap()["allowed"], true);
        let nobody = json!({"spec": {"resourceAttributes": {"verb": "get"}}});
        assert!(access("SubjectAccessReview", &nobody).is_err() && access(AUTHORIZATION_SELF, &nobody).is_ok());
        let both = json!({"spec": {"resourceAttributes": {}, "nonResourceAttributes": {}}});
        assert!(access(AUTHORIZATION_SELF, &both).is_err() && access(AUTHORIZATION_SELF, &json!({})).is_err());
    }
}
