//! Applies objects as `kubectl apply` does: what is new is created, what is there is patched with what changed since the last
//! time, and what people or controllers set in other fields stays.

use std::collections::BTreeMap;

use anyhow::{Context, anyhow};
use http::{Method, Request, Response, StatusCode, header};
use kube::{Client, client::Body};
use objects::{
    kinds::{self, Kind},
    patch,
};
use serde_json::{Value, json};

const LAST_APPLIED: &str = "kubectl.kubernetes.io/last-applied-configuration";

/// Which object of the API something is.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Target {
    /// `apps`, or empty for the core group.
    pub group: &'static str,
    /// `v1`.
    pub version: &'static str,
    /// `deployments`.
    pub plural: &'static str,
    /// `deployment`.
    pub singular: &'static str,
    /// Empty for kinds without namespaces.
    pub namespace: String,
    /// `metadata.name`.
    pub name: String,
}

impl Target {
    /// What an object's own text says it is; objects without a namespace belong to `default`.
    ///
    /// # Errors
    /// When it has no name, or the API has no such kind.
    pub fn of(object: &Value) -> anyhow::Result<(Self, &'static Kind)> {
        let text = |pointer: &str| object.pointer(pointer).and_then(Value::as_str).unwrap_or_default();
        let (api_version, kind, name) = (text("/apiVersion"), text("/kind"), text("/metadata/name"));
        let (group, version) = api_version.rsplit_once('/').unwrap_or(("", api_version));
        let known = kinds::by_kind(group, version, kind)
            .ok_or_else(|| anyhow!("there is no kind {kind:?} in version {api_version:?} here"))?;
        if name.is_empty() {
            return Err(anyhow!("a {kind} without metadata.name: every applied object needs one"));
        }
        let namespace = match (known.namespaced, text("/metadata/namespace")) {
            (false, _) => String::new(),
            (true, "") => "default".to_owned(),
            (true, namespace) => namespace.to_owned(),
        };
        let target = Self {
            group: known.group,
            version: known.version,
            plural: known.plural,
            singular: known.singular,
            namespace,
            name: name.to_owned(),
        };
        Ok((target, known))
    }

    /// The path of the whole collection, in the object's namespace.
    pub fn collection(&self) -> String {
        let root = if self.group.is_empty() { "/api".to_owned() } else { format!("/apis/{}", self.group) };
        if self.namespace.is_empty() {
            format!("{root}/{}/{}", self.version, self.plural)
        } else {
            format!("{root}/{}/namespaces/{}/{}", self.version, self.namespace, self.plural)
        }
    }

    /// The path of the object.
    pub fn path(&self) -> String {
        format!("{}/{}", self.collection(), self.name)
    }
}

impl std::fmt::Display for Target {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let dot = if self.group.is_empty() { "" } else { "." };
        write!(f, "{}{dot}{}/{}", self.singular, self.group, self.name)?;
        if self.namespace.is_empty() { Ok(()) } else { write!(f, " in {}", self.namespace) }
    }
}

/// What applying one object did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It was not there.
    Created,
    /// It was changed.
    Configured,
    /// It was as wanted already.
    Unchanged,
}

impl Outcome {
    /// As kubectl words it.
    pub fn word(self) -> &'static str {
        match self {
            Self::Created => "created",
            Self::Configured => "configured",
            Self::Unchanged => "unchanged",
        }
    }
}

/// One object applied: what happened, and what the server warned about.
#[derive(Clone, Debug)]
pub struct Applied {
    /// Which object.
    pub target: Target,
    /// What happened to it.
    pub outcome: Outcome,
    /// The texts of the answer's `Warning` headers.
    pub warnings: Vec<String>,
}

/// The order in which objects must be made: what others live in comes first; otherwise as given.
pub fn in_order(mut objects: Vec<Value>) -> Vec<Value> {
    let rank: BTreeMap<&str, u8> = [("Namespace", 0), ("CustomResourceDefinition", 1), ("GatewayClass", 2)].into();
    objects.sort_by_key(|o| o.get("kind").and_then(Value::as_str).and_then(|k| rank.get(k)).copied().unwrap_or(9));
    objects
}

/// Applies one object.
///
/// # Errors
/// Names the object and says what the server said.
pub async fn apply(client: &Client, object: &Value) -> anyhow::Result<Applied> {
    let (target, kind) = Target::of(object)?;
    let failed = || format!("apply {target}");
    let modified = annotated(object).with_context(failed)?;
    let query = "fieldManager=coracle&fieldValidation=Strict";
    let got = send(client, Method::GET, &target.path(), None).await.with_context(failed)?;
    let (response, outcome) = match got.into_found().with_context(failed)? {
        None => {
            let path = format!("{}?{query}", target.collection());
            let created = send(client, Method::POST, &path, Some(("application/json", &modified))).await;
            (created.with_context(failed)?, Outcome::Created)
        }
        Some(current) => {
            let original = current
                .pointer("/metadata/annotations")
                .and_then(|a| a.get(LAST_APPLIED))
                .and_then(Value::as_str)
                .and_then(|text| serde_json::from_str(text).ok());
            let change = patch::last_applied_patch(Some(kind), original.as_ref(), &modified, &current);
            if change.as_object().is_some_and(serde_json::Map::is_empty) {
                return Ok(Applied { target, outcome: Outcome::Unchanged, warnings: Vec::new() });
            }
            let form = if patch::is_strategic(kind) { "strategic-merge-patch" } else { "merge-patch" };
            let content_type = format!("application/{form}+json");
            let path = format!("{}?{query}", target.path());
            let patched = send(client, Method::PATCH, &path, Some((&content_type, &change))).await;
            (patched.with_context(failed)?, Outcome::Configured)
        }
    };
    let warnings = response.warnings.clone();
    response
        .into_found()
        .with_context(failed)?
        .ok_or_else(|| anyhow!("it was deleted meanwhile"))
        .with_context(failed)?;
    Ok(Applied { target, outcome, warnings })
}

/// The object with its own text as the annotation that the next apply compares with.
fn annotated(object: &Value) -> anyhow::Result<Value> {
    let mut plain = object.clone();
    if let Some(annotations) = plain.pointer_mut("/metadata/annotations").and_then(Value::as_object_mut) {
        annotations.remove(LAST_APPLIED);
    }
    let text = serde_json::to_string(&plain)?;
    let metadata = plain.get_mut("metadata").and_then(Value::as_object_mut).context("metadata is not an object")?;
    let annotations = metadata.entry("annotations").or_insert_with(|| json!({}));
    annotations
        .as_object_mut()
        .context("metadata.annotations is not an object")?
        .insert(LAST_APPLIED.into(), text.into());
    Ok(plain)
}

struct Answer {
    status: StatusCode,
    warnings: Vec<String>,
    body: Value,
}

impl Answer {
    /// The object, or `None` for 404; any other failure is an error in the server's words.
    fn into_found(self) -> anyhow::Result<Option<Value>> {
        if self.status.is_success() {
            return Ok(Some(self.body));
        }
        if self.status == StatusCode::NOT_FOUND && self.body.pointer("/details/name").is_some() {
            return Ok(None);
        }
        let message = self.body.get("message").and_then(Value::as_str);
        Err(anyhow!("{}", message.unwrap_or_else(|| self.status.canonical_reason().unwrap_or("unknown error"))))
    }
}

async fn send(client: &Client, method: Method, path: &str, body: Option<(&str, &Value)>) -> anyhow::Result<Answer> {
    let mut request = Request::builder().method(method).uri(path).header(header::ACCEPT, "application/json");
    let bytes = match body {
        Some((content_type, value)) => {
            request = request.header(header::CONTENT_TYPE, content_type);
            serde_json::to_vec(value)?
        }
        None => Vec::new(),
    };
    let response = client.send(request.body(Body::from(bytes))?).await?;
    let (status, warnings) = (response.status(), warnings(&response));
    let bytes = response.into_body().collect_bytes().await?;
    let body = serde_json::from_slice(&bytes).unwrap_or(Value::Null);
    Ok(Answer { status, warnings, body })
}

/// The texts of `Warning: 299 - "text"` headers (RFC 7234, as Kubernetes uses it).
fn warnings<B>(response: &Response<B>) -> Vec<String> {
    let texts = response.headers().get_all(header::WARNING).iter().filter_map(|v| v.to_str().ok());
    texts.map(|t| t.split_once('"').map_or(t, |(_, rest)| rest.trim_end_matches('"')).replace("\\\"", "\"")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_object_knows_its_path_and_its_name_for_people() {
        let object = json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "a"}});
        let (target, _) = Target::of(&object).unwrap();
        assert_eq!(target.path(), "/apis/apps/v1/namespaces/default/deployments/a");
        assert_eq!(target.to_string(), "deployment.apps/a in default");
    }

    #[test]
    fn kinds_and_names_that_are_missing_are_said() {
        let unknown = json!({"apiVersion": "x/v1", "kind": "Y", "metadata": {"name": "a"}});
        assert!(Target::of(&unknown).unwrap_err().to_string().contains("\"Y\""));
        let nameless = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {}});
        assert!(Target::of(&nameless).unwrap_err().to_string().contains("metadata.name"));
    }

    #[test]
    fn namespaces_are_made_before_what_lives_in_them() {
        let kinds = |objects: &[Value]| objects.iter().map(|o| o["kind"].to_string()).collect::<Vec<_>>();
        let ordered = in_order(vec![json!({"kind": "Pod"}), json!({"kind": "Service"}), json!({"kind": "Namespace"})]);
        assert_eq!(kinds(&ordered), ["\"Namespace\"", "\"Pod\"", "\"Service\""]);
    }

    #[test]
    fn a_warning_headers_text_is_taken_out_of_its_quotes() {
        let response = Response::builder().header("Warning", r#"299 - "a \"b\" c""#).body(()).unwrap();
        assert_eq!(warnings(&response), [r#"a "b" c"#]);
    }
}
