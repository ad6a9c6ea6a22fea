//! Applies objects as `kubectl apply` does: what is new is created, what is there is patched with what changed since the last
//! time, and what people or controllers set in other fields stays. Which kinds there are beyond those that are built in, the API
//! says: a definition that is applied brings more.

use std::collections::BTreeMap;

use anyhow::{Context, anyhow};
use http::{Method, Request, Response, StatusCode, header};
use kube::{Client, client::Body};
use objects::{
    kinds::{self, Kind, KindRef, Origin, intern},
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
    /// When it has no name.
    pub fn of(object: &Value, kind: &Kind) -> anyhow::Result<Self> {
        let text = |pointer: &str| object.pointer(pointer).and_then(Value::as_str).unwrap_or_default();
        let name = text("/metadata/name");
        if name.is_empty() {
            return Err(anyhow!("a {} without metadata.name: every applied object needs one", kind.kind));
        }
        let namespace = match (kind.namespaced, text("/metadata/namespace")) {
            (false, _) => String::new(),
            (true, "") => "default".to_owned(),
            (true, namespace) => namespace.to_owned(),
        };
        Ok(Self {
            group: kind.group,
            version: kind.version,
            plural: kind.plural,
            singular: kind.singular,
            namespace,
            name: name.to_owned(),
        })
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

/// The kind of an object: one that is built in, or what the API serves now.
async fn kind_of(client: &Client, object: &Value) -> anyhow::Result<KindRef> {
    let text = |field: &str| object.get(field).and_then(Value::as_str).unwrap_or_default();
    let (api_version, name) = (text("apiVersion"), text("kind"));
    let (group, version) = api_version.rsplit_once('/').unwrap_or(("", api_version));
    if let Some(kind) = kinds::by_kind(group, version, name) {
        return Ok(kind.into());
    }
    let unknown = || anyhow!("there is no kind {name:?} in version {api_version:?} here, and nothing has defined it");
    // What is no part of a path is no version either.
    let is_plain =
        |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"-.".contains(&b));
    if !is_plain(group) || !is_plain(version) {
        return Err(unknown());
    }
    let answer = send(client, Method::GET, &format!("/apis/{group}/{version}"), None).await?;
    if answer.status == StatusCode::NOT_FOUND {
        return Err(unknown());
    }
    let list = answer.into_found()?.unwrap_or_default();
    discovered(&list, group, version, name)?.map(|kind| KindRef::Defined(kind.into())).ok_or_else(unknown)
}

/// A kind as the API lists the resources of its group and version (`APIResourceList`).
fn discovered(list: &Value, group: &str, version: &str, kind: &str) -> anyhow::Result<Option<Kind>> {
    let text =
        |resource: &Value, field: &str| resource.get(field).and_then(Value::as_str).unwrap_or_default().to_owned();
    let mut resources = list.get("resources").and_then(Value::as_array).into_iter().flatten();
    // Subresources are listed with the resources, as `things/status`.
    let Some(found) = resources.find(|one| text(one, "kind") == kind && !text(one, "name").contains('/')) else {
        return Ok(None);
    };
    Ok(Some(Kind {
        group: intern(group)?,
        version: intern(version)?,
        kind: intern(kind)?,
        plural: intern(&text(found, "name"))?,
        singular: intern(&text(found, "singularName"))?,
        short_names: &[],
        categories: &[],
        namespaced: found.get("namespaced").and_then(Value::as_bool).unwrap_or(false),
        status: false,
        scale: false,
        stored_as: None,
        origin: Origin::Known,
    }))
}

/// Applies one object.
///
/// # Errors
/// Names the object and says what the server said.
pub async fn apply(client: &Client, object: &Value) -> anyhow::Result<Applied> {
    let kind = &*kind_of(client, object).await?;
    let target = Target::of(object, kind)?;
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
            let mut change = patch::last_applied_patch(Some(kind), original.as_ref(), &modified, &current);
            if leaves_count(original.as_ref(), object, &change)
                && is_scaled(client, kind, &target).await.with_context(failed)?
            {
                without_count(&mut change);
            }
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

/// Whether the count of replicas would change, although the manifest says what it said the last time: somebody else has set it.
fn leaves_count(original: Option<&Value>, object: &Value, change: &Value) -> bool {
    let count = |value: &Value| value.pointer("/spec/replicas").cloned();
    count(change).is_some() && count(object).is_some() && original.and_then(count) == count(object)
}

/// Takes the count of replicas out of a patch, and what has become empty by that.
fn without_count(change: &mut Value) {
    let Some(change) = change.as_object_mut() else { return };
    let Some(spec) = change.get_mut("spec").and_then(Value::as_object_mut) else { return };
    spec.remove("replicas");
    if spec.is_empty() {
        change.remove("spec");
    }
}

/// Whether an autoscaler scales it: the count is the autoscaler's then, and starting again with the same manifests must not take
/// pods away that are needed.
async fn is_scaled(client: &Client, kind: &Kind, target: &Target) -> anyhow::Result<bool> {
    let path = format!("/apis/autoscaling/v2/namespaces/{}/horizontalpodautoscalers", target.namespace);
    let list = send(client, Method::GET, &path, None).await?.into_found()?.unwrap_or_default();
    let mut all = list.get("items").and_then(Value::as_array).into_iter().flatten();
    Ok(all.any(|autoscaler| scales(autoscaler, kind, &target.name)))
}

fn scales(autoscaler: &Value, kind: &Kind, name: &str) -> bool {
    let says = |field: &str| {
        autoscaler.pointer("/spec/scaleTargetRef").and_then(|to| to.get(field)?.as_str()).unwrap_or_default()
    };
    let group = says("apiVersion").split_once('/').map_or("", |(group, _)| group);
    (group, says("kind"), says("name")) == (kind.group, kind.kind, name)
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
        let target = Target::of(&object, kinds::by_kind("apps", "v1", "Deployment").unwrap()).unwrap();
        assert_eq!(target.path(), "/apis/apps/v1/namespaces/default/deployments/a");
        assert_eq!(target.to_string(), "deployment.apps/a in default");
    }

    #[test]
    fn a_name_that_is_missing_is_said() {
        let nameless = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {}});
        let kind = kinds::by_kind("", "v1", "ConfigMap").unwrap();
        assert!(Target::of(&nameless, kind).unwrap_err().to_string().contains("metadata.name"));
    }

    #[test]
    fn a_kind_that_is_discovered_has_a_path_and_a_name_for_people() {
        let list = json!({"resources": [
            {"name": "things/status", "singularName": "", "namespaced": true, "kind": "Thing"},
            {"name": "things", "singularName": "thing", "namespaced": true, "kind": "Thing"}]});
        let kind = discovered(&list, "example.com", "v1", "Thing").unwrap().unwrap();
        assert!(!patch::is_strategic(&kind));
        let target = Target::of(&json!({"metadata": {"name": "a", "namespace": "b"}}), &kind).unwrap();
        assert_eq!(target.path(), "/apis/example.com/v1/namespaces/b/things/a");
        assert_eq!(target.to_string(), "thing.example.com/a in b");
        assert!(discovered(&list, "example.com", "v1", "Other").unwrap().is_none());
    }

    #[test]
    fn a_count_that_the_manifest_has_not_changed_may_be_somebody_elses() {
        let says = |count: i64| json!({"spec": {"replicas": count, "paused": true}});
        let change = json!({"spec": {"replicas": 3}});
        assert!(leaves_count(Some(&says(3)), &says(3), &change));
        assert!(!leaves_count(Some(&says(5)), &says(3), &change), "the manifest says another count than before");
        assert!(!leaves_count(None, &says(3), &change));
        assert!(!leaves_count(Some(&says(3)), &says(3), &json!({"spec": {"paused": true}})));
        let mut more = json!({"metadata": {}, "spec": {"replicas": 3}});
        without_count(&mut more);
        assert_eq!(more, json!({"metadata": {}}));
    }

    #[test]
    fn an_autoscaler_scales_what_it_refers_to() {
        let kind = kinds::by_kind("apps", "v1", "Deployment").unwrap();
        let to = |version: &str, kind: &str, name: &str| json!({"spec": {"scaleTargetRef": {"apiVersion": version, "kind": kind, "name": name}}});
        assert!(scales(&to("apps/v1", "Deployment", "web"), kind, "web"));
        for other in
            [to("apps/v1", "ReplicaSet", "web"), to("apps/v1", "Deployment", "other"), to("v1", "Deployment", "web")]
        {
            assert!(!scales(&other, kind, "web"), "{other}");
        }
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
