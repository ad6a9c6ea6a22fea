//! What a list or watch selects, and by which fields each kind can be selected.

use objects::{
    kinds::Kind,
    selector::{Fields, Labels},
};
use serde_json::Value;

use crate::{
    convert, crd,
    registry::{meta, parse},
    request::{Query, Target},
    status::Failure,
    store::{Facts, Stored},
};

/// Groups that are built in here and come with definitions of custom resources elsewhere.
const DEFINED: &[&str] = &["gateway.networking.k8s.io", objects::vertical::GROUP];

/// The fields, besides name and namespace, that a kind's objects can be selected by, as upstream registers them. A field that is
/// there has this value when the object does not say.
const FIELDS: &[(&str, &[(&str, &str)])] = &[
    (
        "Pod",
        &[
            ("spec.nodeName", ""),
            ("spec.restartPolicy", ""),
            ("spec.schedulerName", ""),
            ("spec.serviceAccountName", ""),
            ("spec.hostNetwork", "false"),
            ("status.phase", ""),
            ("status.podIP", ""),
            ("status.podIPs", ""),
            ("status.nominatedNodeName", ""),
        ],
    ),
    ("Node", &[("spec.unschedulable", "false")]),
    ("Namespace", &[("status.phase", "")]),
    ("Service", &[("spec.clusterIP", ""), ("spec.type", "")]),
    ("Secret", &[("type", "")]),
    ("ReplicaSet", &[("status.replicas", "0")]),
    ("ReplicationController", &[("status.replicas", "0")]),
    ("Job", &[("status.successful", "0")]),
    ("CertificateSigningRequest", &[("spec.signerName", "")]),
    (
        "Event",
        &[
            ("involvedObject.kind", ""),
            ("involvedObject.namespace", ""),
            ("involvedObject.name", ""),
            ("involvedObject.uid", ""),
            ("involvedObject.apiVersion", ""),
            ("involvedObject.resourceVersion", ""),
            ("involvedObject.fieldPath", ""),
            ("reason", ""),
            ("reportingComponent", ""),
            ("source", ""),
            ("type", ""),
        ],
    ),
];

/// What a list or watch selects.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Selection {
    labels: Labels,
    fields: Fields,
}

impl Selection {
    /// The selectors of a query.
    ///
    /// # Errors
    /// 400 for what is no selector, and for fields by which objects of the kind cannot be selected.
    pub(super) fn of(target: &Target, query: &Query) -> Result<Self, Failure> {
        let wrong = |e: objects::selector::NotASelector| Failure::bad_request(e.to_string());
        let labels = Labels::parse(query.get("labelSelector").unwrap_or_default()).map_err(wrong)?;
        let mut fields = query.get("fieldSelector").unwrap_or_default().to_owned();
        // Watching one object is watching the collection for its name.
        if let Some(name) = &target.name {
            fields = format!("metadata.name={name},{fields}");
        }
        let fields = Fields::parse(&fields).map_err(wrong)?;
        let fields = fields.rename(|path| convert::stored_path(&target.kind, path));
        if let Some(unknown) = fields.paths().find(|path| default(&target.kind, path).is_none()) {
            return Err(Failure::bad_request(not_selectable(&target.kind, unknown)));
        }
        Ok(Self { labels, fields })
    }

    /// Whether a stored object is selected. It is parsed the first time that anybody asks.
    ///
    /// # Errors
    /// 500: the store holds what is not JSON.
    pub(super) fn selects(&self, kind: &Kind, stored: &Stored) -> Result<bool, Failure> {
        if self.is_everything() {
            return Ok(true);
        }
        let facts = stored.facts(|stored| Ok::<_, Failure>(facts(kind, &parse(stored)?)))?;
        if self.fields.paths().all(|path| facts.fields.contains_key(path)) {
            return Ok(self.matches_facts(facts));
        }
        // A definition's fields are those of the object as it is shown: what was stored before a default was known has it too.
        let object = parse(stored)?;
        Ok(self.matches(kind, &if kind.definition().is_some() { crd::objects::read(kind, object) } else { object }))
    }

    fn matches_facts(&self, facts: &Facts) -> bool {
        self.labels.matches(&facts.labels) && self.fields.matches(|path| facts.fields.get(path).cloned())
    }

    /// Whether an object is selected.
    fn matches(&self, kind: &Kind, object: &Value) -> bool {
        (self.labels.is_empty() || self.labels.matches(&meta::labels(object)))
            && self.fields.matches(|path| Some(field(kind, object, path)))
    }

    pub(super) fn is_everything(&self) -> bool {
        self.labels.is_empty() && self.fields.is_empty()
    }
}

/// What any selector may ask of an object.
fn facts(kind: &Kind, object: &Value) -> Facts {
    // What a definition lets select depends on the definition, and that may change: it is no fact of the object.
    let built_in = FIELDS.iter().filter(|(name, _)| *name == kind.kind && !kind.is_custom());
    let own = built_in.flat_map(|(_, fields)| fields.iter());
    let paths = ["metadata.name", "metadata.namespace"].into_iter().chain(own.map(|(path, _)| *path));
    let fields = paths.map(|path| (path, field(kind, object, path))).collect();
    Facts { labels: meta::labels(object), fields }
}

/// What a selectable field counts as when an object does not have it; `None` if it is none.
fn default(kind: &Kind, path: &str) -> Option<&'static str> {
    if path == "metadata.name" || path == "metadata.namespace" && kind.namespaced {
        return Some("");
    }
    if kind.is_custom() {
        let selectable =
            kind.definition().is_some_and(|definition| definition.selectable.iter().any(|field| field == path));
        return selectable.then_some("");
    }
    let (_, fields) = FIELDS.iter().find(|(name, _)| *name == kind.kind)?;
    fields.iter().find(|(field, _)| *field == path).map(|(_, default)| *default)
}

/// Why objects of a kind are not selected by a field, in upstream's words: built-in kinds that have no fields of their own to be
/// selected by share a sentence that names those of all kinds.
fn not_selectable(kind: &Kind, path: &str) -> String {
    if kind.is("batch", "Job") {
        return format!("field label {path:?} not supported for Job");
    }
    if kind.is_custom() || DEFINED.contains(&kind.group) || FIELDS.iter().any(|(name, _)| *name == kind.kind) {
        return format!("field label not supported: {path}");
    }
    format!("{path:?} is not a known field selector: only \"metadata.name\", \"metadata.namespace\"")
}

fn field(kind: &Kind, object: &Value, path: &str) -> String {
    let found = match (kind.kind, path) {
        _ if kind.is_custom() => meta::field(object, path),
        // An event's source is its component; new events say it elsewhere.
        ("Event", "source") => {
            meta::field(object, "source.component").or_else(|| meta::field(object, "reportingComponent"))
        }
        ("Job", "status.successful") => meta::field(object, "status.succeeded"),
        ("Pod", "status.podIPs") => object.pointer("/status/podIPs/0/ip").and_then(Value::as_str).map(str::to_owned),
        _ => meta::field(object, path),
    };
    found.unwrap_or_else(|| default(kind, path).unwrap_or_default().to_owned())
}

#[cfg(test)]
mod tests {
    use objects::kinds;
    use serde_json::json;

    use super::*;

    fn select(group: &str, kind: &str, fields: &str) -> Result<Selection, Failure> {
        let kind = kinds::by_kind(group, "v1", kind).unwrap();
        let target =
            Target { kind: kind.into(), namespace: String::new(), name: None, subresource: None, is_watch: false };
        Selection::of(&target, &Query::parse(Some(&format!("fieldSelector={fields}"))))
    }

    #[test]
    fn a_field_that_is_not_said_has_its_default() {
        let node = kinds::by_kind("", "v1", "Node").unwrap();
        let ready = select("", "Node", "spec.unschedulable=false").unwrap();
        assert!(
            ready.matches(node, &json!({"spec": {}}))
                && !ready.matches(node, &json!({"spec": {"unschedulable": true}}))
        );
    }

    #[test]
    fn only_known_fields_select() {
        for (group, kind, message) in [
            ("", "ConfigMap", r#""data.a" is not a known field selector: only "metadata.name", "metadata.namespace""#),
            (
                "apps",
                "Deployment",
                r#""data.a" is not a known field selector: only "metadata.name", "metadata.namespace""#,
            ),
            ("", "Pod", "field label not supported: data.a"),
            ("batch", "Job", r#"field label "data.a" not supported for Job"#),
            ("gateway.networking.k8s.io", "Gateway", "field label not supported: data.a"),
        ] {
            let refused = select(group, kind, "data.a=b").unwrap_err();
            assert_eq!((refused.code.as_u16(), refused.message.as_str()), (400, message), "{kind}");
        }
        assert!(select("", "Node", "metadata.namespace=a").is_err());
        assert!(select("", "ConfigMap", "metadata.namespace=a").is_ok());
    }

    #[test]
    fn events_are_selected_by_the_names_of_their_version() {
        let event = kinds::by_kind("events.k8s.io", "v1", "Event").unwrap();
        let selection = select("events.k8s.io", "Event", "regarding.name=p,source=kubelet").unwrap();
        assert!(selection.matches(event, &json!({"involvedObject": {"name": "p"}, "reportingComponent": "kubelet"})));
    }
}
