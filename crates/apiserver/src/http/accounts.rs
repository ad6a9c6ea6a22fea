//! Service accounts as users: tokens are issued for them (`serviceaccounts/token`), and known again when they come back.

use std::collections::BTreeMap;

use http::{HeaderMap, StatusCode, header};
use jiff::{SignedDuration, Timestamp};
use objects::kinds;
use serde_json::{Value, json};

use super::{Answer, Identity, fields::Model, respond, verbs::Call};
use crate::{
    registry::{Registry, delete, meta, parse},
    request::Verb,
    status::{Cause, Failure},
    tokens::{Claims, ISSUER, Private, Reference, Tokens},
};

const TOKEN_REQUEST: Model = Model::new("authentication.k8s.io", "v1", "TokenRequest");

/// The audiences of the API itself.
pub(super) const OWN: &[&str] = &[ISSUER];

/// How long a token counts where nobody says, in seconds.
const USUAL: i64 = 3600;
/// How long at least.
const SHORTEST: i64 = 600;
/// How long at most.
const LONGEST: i64 = 1 << 32;

/// How long a token goes on counting when its pod is being deleted, so that the pod can still end well.
const AFTERWARDS: SignedDuration = SignedDuration::from_secs(60);

/// Who a bearer token says its bearer is.
///
/// # Errors
/// 401 without a token that counts.
pub(super) fn bearer(registry: &Registry, tokens: &Tokens, headers: &HeaderMap) -> Result<Identity, Failure> {
    let value = headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let (scheme, token) = value.split_once(' ').unwrap_or_default();
    if !scheme.eq_ignore_ascii_case("bearer") {
        return Err(Failure::unauthorized());
    }
    let now = Timestamp::now();
    identity(registry, tokens, token.trim(), OWN, now).map(|(identity, _)| identity).map_err(|why| {
        tracing::debug!("a bearer token is refused: {why}");
        Failure::unauthorized()
    })
}

/// Who a token is for, and for which of the audiences it counts.
pub(super) fn identity(
    registry: &Registry,
    tokens: &Tokens,
    token: &str,
    audiences: &[&str],
    now: Timestamp,
) -> Result<(Identity, Vec<String>), String> {
    let claims = tokens.verify(token, audiences, now).map_err(|why| why.to_string())?;
    let Private { namespace, serviceaccount, pod, secret, node } = &claims.private;
    let is_there = |kind: &str, namespace: &str, wanted: &Reference| {
        let found = find(registry, kind, namespace, &wanted.name);
        let ends = |object: &Value| meta::text(object, "deletionTimestamp").parse::<Timestamp>().ok();
        let over =
            |object: &Value| ends(object).is_some_and(|end| end.checked_add(AFTERWARDS).is_ok_and(|end| end < now));
        found.is_some_and(|object| meta::text(&object, "uid") == wanted.uid && !over(&object))
    };
    if !is_there("ServiceAccount", namespace, serviceaccount) {
        return Err(format!("service account {namespace}/{} is gone", serviceaccount.name));
    }
    let mut extra = BTreeMap::new();
    let mut say = |name: &str, value: &str| {
        extra.insert(format!("authentication.kubernetes.io/{name}"), vec![value.to_owned()]);
    };
    say("credential-id", &format!("JTI={}", claims.jti));
    for (kind, word, bound, space) in
        [("Pod", "pod", pod, namespace.as_str()), ("Secret", "", secret, namespace), ("Node", "node", node, "")]
    {
        let Some(bound) = bound else { continue };
        // The node of a pod's token only says where the pod is.
        let only_says_where = kind == "Node" && pod.is_some();
        if !only_says_where && !is_there(kind, space, bound) {
            return Err(format!("the token is bound to {kind} {:?}, which is gone", bound.name));
        }
        if !word.is_empty() {
            say(&format!("{word}-name"), &bound.name);
            say(&format!("{word}-uid"), &bound.uid);
        }
    }
    let groups = vec![
        "system:serviceaccounts".to_owned(),
        format!("system:serviceaccounts:{namespace}"),
        "system:authenticated".to_owned(),
    ];
    let user = format!("system:serviceaccount:{namespace}:{}", serviceaccount.name);
    let counts = claims.aud.into_iter().filter(|audience| audiences.contains(&audience.as_str())).collect();
    Ok((Identity { user, groups, uid: serviceaccount.uid.clone(), extra }, counts))
}

/// A core object, if it is there.
fn find(registry: &Registry, kind: &str, namespace: &str, name: &str) -> Option<Value> {
    let kind = kinds::by_kind("", "v1", kind)?;
    parse(&registry.get(kind, namespace, name).ok()?).ok()
}

/// The documents by which others check tokens (OpenID Connect discovery), as upstream serves them; `None` for other paths.
pub(super) fn discovery(tokens: &Tokens, path: &str) -> Option<Answer> {
    let document = match path {
        "/.well-known/openid-configuration" => json!({"issuer": ISSUER, "jwks_uri": format!("{ISSUER}/openid/v1/jwks"),
            "response_types_supported": ["id_token"], "subject_types_supported": ["public"],
            "id_token_signing_alg_values_supported": ["ES256"]}),
        "/openid/v1/jwks" => tokens.key_set(),
        _ => return None,
    };
    Some(respond::json(StatusCode::OK, &document))
}

impl Call<'_> {
    /// `serviceaccounts/token`: a new token for the account.
    pub(super) async fn issue_token(self) -> Result<Answer, Failure> {
        if self.verb != Verb::Create {
            return Err(Failure::method_not_allowed());
        }
        let (mut request, _) = self.body_as(TOKEN_REQUEST)?;
        let registry = &self.handler.registry;
        let account = parse(&registry.get(&self.target.kind, &self.target.namespace, self.name())?)?;
        let claims = claims(registry, &account, &request, Timestamp::now())?;
        let token = self.handler.tokens.sign(&claims).ok_or_else(|| Failure::internal("no token could be signed"))?;
        let end = Timestamp::from_second(claims.exp).map_err(Failure::internal)?;
        let spec = meta::section(&mut request, "spec");
        spec.insert("audiences".to_owned(), json!(claims.aud));
        spec.insert("expirationSeconds".to_owned(), json!(claims.exp - claims.iat));
        let status = meta::section(&mut request, "status");
        status.insert("token".to_owned(), token.into());
        status.insert("expirationTimestamp".to_owned(), delete::time(end).into());
        meta::set(&mut request, "name", Some(self.name().into()));
        meta::set(&mut request, "namespace", Some(self.target.namespace.clone().into()));
        meta::set(&mut request, "creationTimestamp", Some(delete::time(Timestamp::now()).into()));
        Ok(respond::json(StatusCode::CREATED, &request))
    }
}

/// What the token says that a request asks for.
fn claims(registry: &Registry, account: &Value, request: &Value, now: Timestamp) -> Result<Claims, Failure> {
    let (namespace, name) = (meta::text(account, "namespace"), meta::text(account, "name"));
    let seconds = request.pointer("/spec/expirationSeconds").and_then(Value::as_i64).unwrap_or(USUAL);
    let wrong = |why: &str| {
        let cause = Cause::invalid("spec.expirationSeconds", &seconds.into(), why);
        Failure::invalid_kind("authentication.k8s.io", "TokenRequest", "", &[cause])
    };
    if seconds < SHORTEST {
        return Err(wrong("may not specify a duration less than 10 minutes"));
    }
    if seconds > LONGEST {
        return Err(wrong("may not specify a duration larger than 2^32 seconds"));
    }
    let audiences = request.pointer("/spec/audiences").and_then(Value::as_array).into_iter().flatten();
    let mut aud: Vec<String> = audiences.filter_map(Value::as_str).map(str::to_owned).collect();
    if aud.is_empty() {
        aud.push(ISSUER.to_owned());
    }
    let serviceaccount = Reference { name: name.to_owned(), uid: meta::text(account, "uid").to_owned() };
    let mut private = Private { namespace: namespace.to_owned(), serviceaccount, ..Private::default() };
    if let Some(bound) = request.pointer("/spec/boundObjectRef") {
        bind(registry, namespace, name, bound, &mut private)?;
    }
    let start = now.as_second();
    Ok(Claims {
        aud,
        exp: start + seconds,
        iat: start,
        nbf: start,
        iss: ISSUER.to_owned(),
        jti: uuid::Uuid::new_v4().to_string(),
        sub: format!("system:serviceaccount:{namespace}:{name}"),
        private,
    })
}

/// Binds a token to the life of an object.
fn bind(registry: &Registry, namespace: &str, account: &str, bound: &Value, to: &mut Private) -> Result<(), Failure> {
    let text = |field: &str| bound.get(field).and_then(Value::as_str).unwrap_or_default();
    let (kind, name) = (text("kind"), text("name"));
    let space = if kind == "Node" { "" } else { namespace };
    let known = kinds::by_kind("", "v1", kind).filter(|kind| matches!(kind.kind, "Pod" | "Secret" | "Node"));
    let Some(of) = known.filter(|_| matches!(text("apiVersion"), "" | "v1")) else {
        return Err(Failure::bad_request(format!("cannot bind token for serviceaccount {account:?} to {kind}")));
    };
    let object = parse(&registry.get(of, space, name)?)?;
    let uid = meta::text(&object, "uid").to_owned();
    if !text("uid").is_empty() && text("uid") != uid {
        let why = format!(
            "the UID in the bound object reference ({}) does not match the UID in record. The object might have been deleted and then recreated",
            text("uid")
        );
        return Err(Failure::conflict(of, name, &why));
    }
    let reference = Some(Reference { name: name.to_owned(), uid });
    match kind {
        "Pod" => {
            let runs_as = object.pointer("/spec/serviceAccountName").and_then(Value::as_str).unwrap_or_default();
            if runs_as != account {
                let why = format!(
                    "cannot bind token for serviceaccount {account:?} to pod running with different serviceaccount name."
                );
                return Err(Failure::bad_request(why));
            }
            let node = object.pointer("/spec/nodeName").and_then(Value::as_str).unwrap_or_default();
            to.node = find(registry, "Node", "", node)
                .map(|found| Reference { name: node.to_owned(), uid: meta::text(&found, "uid").to_owned() });
            to.pod = reference;
        }
        "Secret" => to.secret = reference,
        _ => to.node = reference,
    }
    Ok(())
}
