//! What can be done at which path, in neither version's words: `v2` and `v3` render it.

use objects::{kinds::KindRef, patch};

use super::{Source, root};
use crate::{
    http::{review_kinds, subresources},
    request::goes_together,
};

/// A group, version and kind.
pub(super) type Gvk = (&'static str, &'static str, &'static str);

/// A parameter: its name, its type in JSON, and what it does.
pub(super) type Parameter = (&'static str, &'static str, &'static str);

/// One path.
#[derive(Debug)]
pub(super) struct Path {
    /// With its placeholders, such as `/api/v1/namespaces/{namespace}/pods/{name}`.
    pub path: String,
    pub operations: Vec<Operation>,
}

/// What one method does at a path.
#[derive(Debug)]
pub(super) struct Operation {
    /// The method in lower case.
    pub method: &'static str,
    /// `x-kubernetes-action`.
    pub action: &'static str,
    pub gvk: Gvk,
    /// Unlike any other operation's, such as `readCoreV1NamespacedPod`.
    pub id: String,
    pub description: String,
    pub parameters: Vec<Parameter>,
    pub body: Option<Body>,
    /// The definition of the answer; `None`: text.
    pub answer: Option<String>,
}

/// What is sent.
#[derive(Debug)]
pub(super) struct Body {
    pub media: Vec<&'static str>,
    /// The definition of what is sent.
    pub definition: String,
    pub required: bool,
}

/// The path parameter of a placeholder.
pub(super) fn placeholder(name: &str) -> Option<Parameter> {
    [
        ("name", "string", "the object's name"),
        ("namespace", "string", "the namespace that the object is in, or the objects are"),
    ]
    .into_iter()
    .find(|(known, ..)| *known == name)
}

const PRETTY: Parameter = ("pretty", "string", "\"true\": the answer is indented");
const DRY_RUN: Parameter =
    ("dryRun", "string", "\"All\": everything is checked and answered as if it were done, and nothing is stored");
const MANAGER: Parameter = ("fieldManager", "string", "the name under which the fields that change are owned");
const VALIDATION: Parameter = (
    "fieldValidation",
    "string",
    "what becomes of unknown and duplicated fields: \"Ignore\" drops them, \"Warn\" (the default) drops them and says so, \"Strict\" refuses them",
);
const FORCE: Parameter =
    ("force", "boolean", "for server-side apply: fields that another manager owns are taken from it");

const WRITE: &[Parameter] = &[DRY_RUN, MANAGER, VALIDATION, PRETTY];
const PATCH: &[Parameter] = &[DRY_RUN, MANAGER, VALIDATION, FORCE, PRETTY];
const READ: &[Parameter] = &[PRETTY];
const LIST: &[Parameter] = &[
    ("labelSelector", "string", "only objects whose labels match"),
    ("fieldSelector", "string", "only objects whose fields match"),
    ("limit", "integer", "the most objects in an answer; metadata.continue leads to the rest"),
    ("continue", "string", "goes on where an earlier answer ended"),
    ("resourceVersion", "string", "how recent the answer must be"),
    ("resourceVersionMatch", "string", "how resourceVersion is understood: \"Exact\" or \"NotOlderThan\""),
    ("watch", "boolean", "changes are sent as they happen"),
    ("allowWatchBookmarks", "boolean", "a watch may also say how far it has come"),
    ("sendInitialEvents", "boolean", "a watch begins with everything that there is"),
    ("timeoutSeconds", "integer", "how long a list or watch may take"),
    PRETTY,
];
const DELETE: &[Parameter] = &[
    DRY_RUN,
    ("gracePeriodSeconds", "integer", "how long the object may take to end; 0: it is deleted at once"),
    ("propagationPolicy", "string", "what becomes of what it owns: \"Orphan\", \"Background\" or \"Foreground\""),
    ("orphanDependents", "boolean", "deprecated: use propagationPolicy"),
    PRETTY,
];

const JSON: &[&str] = &["application/json"];
/// What objects are read from; protobuf only for kinds that have it.
const OBJECT: &[&str] = &["application/json", "application/yaml"];

/// The paths of a group and version.
pub(super) fn paths(source: &Source, group: &str, version: &str) -> Vec<Path> {
    let mut all: Vec<Path> = source
        .kinds()
        .filter(|kind| (kind.group, kind.version) == (group, version))
        .flat_map(|kind| of_kind(source, &kind))
        .collect();
    let here = review_kinds().filter(|(of, ..)| *of == group && version == "v1");
    all.extend(here.filter_map(|(group, kind, plural)| {
        let definition = source.definition(group, "v1", kind)?;
        let scope = if kind.starts_with("Local") { "/namespaces/{namespace}" } else { "" };
        let operation = Operation {
            method: "post",
            action: "post",
            gvk: (group, "v1", kind),
            id: format!("create{}V1{kind}", title(group)),
            description: format!("answer a {kind}"),
            parameters: WRITE.to_vec(),
            body: Some(Body { media: OBJECT.to_vec(), definition: definition.clone(), required: true }),
            answer: Some(definition),
        };
        let path = format!("/{}{scope}/{plural}", root(group, "v1"));
        Some(Path { path, operations: vec![operation] })
    }));
    all
}

/// `CoreV1`, `AppsV1`, `RbacAuthorizationV1`: how operations' names call a group and version.
fn title(group: &str) -> String {
    let group = group.strip_suffix(".k8s.io").unwrap_or(group);
    let group = if group.is_empty() { "core" } else { group };
    group.split(['.', '-']).map(upper).collect()
}

fn upper(word: &str) -> String {
    let mut letters = word.chars();
    letters.next().map_or_else(String::new, |first| first.to_uppercase().chain(letters).collect())
}

/// Makes the operations of one kind.
struct Maker {
    kind: KindRef,
    definition: String,
    /// The end of names: `CoreV1NamespacedPod` without the verb before it.
    prefix: String,
    scope: &'static str,
}

impl Maker {
    fn operation(&self, method: &'static str, verb: &str, action: &'static str, parameters: &[Parameter]) -> Operation {
        let kind = &self.kind;
        Operation {
            method,
            action,
            gvk: (kind.group, kind.version, kind.kind),
            id: format!("{verb}{}{}{}", self.prefix, self.scope, kind.kind),
            description: format!("{verb} {}", described(verb, kind.kind)),
            parameters: parameters.to_vec(),
            body: None,
            answer: Some(self.definition.clone()),
        }
    }

    fn sending(&self, mut operation: Operation) -> Operation {
        operation.body = Some(Body { media: OBJECT.to_vec(), definition: self.definition.clone(), required: true });
        operation
    }

    fn patching(&self, mut operation: Operation) -> Operation {
        let mut media = vec!["application/json-patch+json", "application/merge-patch+json"];
        if patch::is_strategic(&self.kind) {
            media.push("application/strategic-merge-patch+json");
        }
        media.push("application/apply-patch+yaml");
        operation.body = Some(Body { media, definition: meta("Patch"), required: true });
        operation
    }

    fn deleting(&self, mut operation: Operation) -> Operation {
        operation.body = Some(Body { media: JSON.to_vec(), definition: meta("DeleteOptions"), required: false });
        operation.answer = Some(meta("Status"));
        operation
    }

    fn collection(&self) -> Vec<Operation> {
        let mut list = self.operation("get", "list", "list", LIST);
        list.answer = Some(format!("{}List", self.definition));
        let create = self.sending(self.operation("post", "create", "post", WRITE));
        if !goes_together(&self.kind) {
            return vec![list, create];
        }
        let mut gone = self.operation("delete", "delete", "deletecollection", &[LIST, DELETE].concat());
        gone.parameters.retain(|(name, ..)| !["watch", "allowWatchBookmarks", "sendInitialEvents"].contains(name));
        gone.parameters.dedup_by_key(|(name, ..)| *name);
        let mut seen = Vec::new();
        gone.parameters.retain(|(name, ..)| {
            !seen.contains(name) && {
                seen.push(*name);
                true
            }
        });
        gone.id = format!("delete{}Collection{}{}", self.prefix, self.scope, self.kind.kind);
        vec![list, create, self.deleting(gone)]
    }

    fn object(&self) -> Vec<Operation> {
        vec![
            self.operation("get", "read", "get", READ),
            self.sending(self.operation("put", "replace", "put", WRITE)),
            self.patching(self.operation("patch", "patch", "patch", PATCH)),
            self.deleting(self.operation("delete", "delete", "delete", DELETE)),
        ]
    }

    /// The operations of a subresource: its name, the type that is sent there, its verbs.
    fn subresource(&self, source: &Source, name: &str, gvk: Gvk, verbs: &[&str]) -> Vec<Operation> {
        let definition = source.definition(gvk.0, gvk.1, gvk.2);
        let (kind, prefix) = (self.kind.clone(), self.prefix.clone());
        let own = Self { kind, definition: definition.clone().unwrap_or_default(), prefix, scope: self.scope };
        let known = definition.is_some() && name != "log";
        let made = verbs.iter().filter_map(|verb| {
            let operation = match (*verb, known) {
                ("get", _) => own.operation("get", "read", if known { "get" } else { "connect" }, READ),
                ("update", true) => own.sending(own.operation("put", "replace", "put", WRITE)),
                ("patch", true) => own.patching(own.operation("patch", "patch", "patch", PATCH)),
                ("create", true) => own.sending(own.operation("post", "create", "post", WRITE)),
                ("create", false) => own.operation("post", "connect", "connect", &[]),
                ("update", false) => own.operation("put", "connectPut", "connect", &[]),
                ("patch", false) => own.operation("patch", "connectPatch", "connect", &[]),
                ("delete", false) => own.operation("delete", "connectDelete", "connect", &[]),
                _ => return None,
            };
            Some(operation)
        });
        let suffix = upper(name);
        made.map(|mut operation| {
            operation.gvk = gvk;
            operation.id = format!("{}{suffix}", operation.id);
            operation.description = format!("{}: {name}", operation.description);
            operation.answer = operation.answer.filter(|_| known);
            operation
        })
        .collect()
    }
}

fn described(verb: &str, kind: &str) -> String {
    match verb {
        "list" => format!("the objects of kind {kind}, or watch them"),
        "create" => format!("a new {kind}"),
        _ => format!("the {kind} of this name"),
    }
}

fn meta(name: &str) -> String {
    format!("{}{name}", objects::schema::META)
}

fn of_kind(source: &Source, kind: &KindRef) -> Vec<Path> {
    let Some(definition) = source.definition(kind.group, kind.version, kind.kind) else { return Vec::new() };
    let prefix = format!("{}{}", title(kind.group), upper(kind.version));
    let (scope, space) = if kind.namespaced { ("Namespaced", "/namespaces/{namespace}") } else { ("", "") };
    let maker = Maker { kind: kind.clone(), definition, prefix, scope };
    let top = format!("/{}", root(kind.group, kind.version));
    let collection = format!("{top}{space}/{}", kind.plural);
    let object = format!("{collection}/{{name}}");
    let mut paths = Vec::new();
    if kind.namespaced {
        let mut everywhere = maker.operation("get", "list", "list", LIST);
        everywhere.answer = Some(format!("{}List", maker.definition));
        everywhere.id = format!("list{}{}ForAllNamespaces", maker.prefix, kind.kind);
        paths.push(Path { path: format!("{top}/{}", kind.plural), operations: vec![everywhere] });
    }
    let subs = subresources(kind).into_iter().map(|(name, gvk, verbs)| {
        let operations = maker.subresource(source, name, gvk, verbs);
        Path { path: format!("{object}/{name}"), operations }
    });
    let subs: Vec<Path> = subs.collect();
    paths.push(Path { path: collection, operations: maker.collection() });
    paths.push(Path { path: object, operations: maker.object() });
    paths.extend(subs);
    paths
}
