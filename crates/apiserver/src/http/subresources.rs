//! Subresources that are more than a part of their object: `scale`, `binding`.

use http::StatusCode;
use jiff::Timestamp;
use objects::{kinds::Kind, patch::merge_patch};
use serde_json::{Value, json};

use super::{
    Answer, apply,
    fields::Model,
    patches::Patch,
    respond::{self, Form},
    verbs::Call,
};
use crate::{
    convert,
    registry::{Change, delete, meta, ownership::Write, update::Part},
    request::Verb,
    scale,
    status::Failure,
};

const SCALE: Model = Model::new("autoscaling", "v1", "Scale");
const BINDING: Model = Model::new("", "v1", "Binding");

impl Call<'_> {
    pub(super) async fn on_scale(self) -> Result<Answer, Failure> {
        // Before anything is written, as for objects.
        let form = Form::negotiate(self.headers)?;
        let kind = self.target.kind.clone();
        let shown = |json: &[u8]| -> Result<Answer, Failure> {
            let kind = self.kind();
            let object = convert::from_stored(kind, serde_json::from_slice(json).map_err(Failure::internal)?);
            scale::check(kind, &object)?;
            Ok(respond::json(StatusCode::OK, &form.scale(&self.query, scale::of(kind, &object))))
        };
        let (registry, namespace) = (&self.handler.registry, &self.target.namespace);
        let write;
        let of = kind.clone();
        let change: Box<dyn Change> = match self.verb {
            Verb::Get => return shown(&registry.get(&kind, namespace, self.name())?.json),
            Verb::Update => {
                let (wanted, _) = self.body_as(SCALE)?;
                let own = meta::text(&wanted, "name");
                if !own.is_empty() && own != self.name() {
                    let message =
                        format!("the name of the object ({own}) does not match the name on the URL ({})", self.name());
                    return Err(Failure::bad_request(message));
                }
                write = self.write("UpdateOptions")?;
                Box::new(move |current| scale::set(&of, current, &wanted))
            }
            Verb::Patch if apply::is_asked(self.headers) => {
                write = Write { applied: true, ..self.write("PatchOptions")? };
                Box::new(self.scale_applied(&write)?)
            }
            Verb::Patch => {
                write = self.write("PatchOptions")?;
                let (change, _) = Patch::read(self.headers, &self.body, &kind, SCALE, self.directive()?)?.into_change();
                Box::new(move |current| scale::set(&of, current, &change(&scale::of(&of, current))?))
            }
            _ => return Err(Failure::method_not_allowed()),
        };
        let changed = registry.update(kind, namespace, self.name(), Part::Main, write, change).await?;
        shown(&changed.json)
    }

    /// `pods/binding`: the scheduler's decision.
    pub(super) async fn bind(self) -> Result<Answer, Failure> {
        let (binding, _) = self.body_as(BINDING)?;
        let node = binding.pointer("/target/name").and_then(Value::as_str).unwrap_or_default();
        if self.verb != Verb::Create || node.is_empty() {
            return Err(Failure::bad_request("a binding needs target.name: the node"));
        }
        let said = meta::text(&binding, "name");
        if !said.is_empty() && said != self.name() {
            return Err(Failure::bad_request("name in URL does not match name in Binding object"));
        }
        let kind = self.target.kind.clone();
        let bound = kind.clone();
        let assign = move |current: &Value| {
            bindable(&bound, current, &binding)?;
            Ok(assigned(current, &binding, Timestamp::now()))
        };
        let registry = &self.handler.registry;
        registry.update(kind, &self.target.namespace, self.name(), Part::Binding, self.dry_run()?, assign).await?;
        Ok(success(StatusCode::CREATED))
    }
}

/// Whether a pod may be given to a node now.
///
/// # Errors
/// 409 for another pod than the one that is meant, and for one that goes, has a node, or is not to have one yet.
fn bindable(kind: &Kind, pod: &Value, binding: &Value) -> Result<(), Failure> {
    let name = meta::text(pod, "name");
    let (meant, uid) = (meta::text(binding, "uid"), meta::text(pod, "uid"));
    let node = pod.pointer("/spec/nodeName").and_then(Value::as_str).unwrap_or_default();
    let gates = pod.pointer("/spec/schedulingGates").and_then(Value::as_array);
    let why = if !meant.is_empty() && meant != uid {
        format!("Precondition failed: UID in precondition: {meant}, UID in object meta: {uid}")
    } else if meta::is_deleting(pod) {
        format!("pod {name} is being deleted, cannot be assigned to a host")
    } else if !node.is_empty() {
        format!("pod {name} is already assigned to node {node:?}")
    } else if gates.is_some_and(|gates| !gates.is_empty()) {
        format!("pod {name} has non-empty .spec.schedulingGates")
    } else {
        return Ok(());
    };
    Err(Failure::conflict(kind, name, &why))
}

/// The pod with its node, with the labels and annotations of the binding, and saying that it has its place: since when it has
/// said so already, or now (upstream's `setPodNodeAndMetadata`; which node it was nominated for stays said, as up to 1.33).
fn assigned(pod: &Value, binding: &Value, now: Timestamp) -> Value {
    let mut next = pod.clone();
    let node = binding.pointer("/target/name").cloned().unwrap_or_default();
    meta::section(&mut next, "spec").insert("nodeName".to_owned(), node);
    for field in ["annotations", "labels"] {
        let more = meta::get(binding, field).and_then(Value::as_object).filter(|more| !more.is_empty());
        if let Some(more) = more {
            let own = meta::metadata(&mut next).entry(field).or_insert_with(|| json!({}));
            merge_patch(own, &Value::Object(more.clone()));
        }
    }
    let status = meta::section(&mut next, "status");
    let conditions = status.entry("conditions").or_insert_with(|| json!([]));
    let Some(conditions) = conditions.as_array_mut() else { return next };
    let mut says = json!({"type": "PodScheduled", "status": "True", "lastProbeTime": null,
        "lastTransitionTime": delete::time(now)});
    match conditions.iter_mut().find(|one| one.get("type") == says.get("type")) {
        Some(before) => {
            if before.get("status") == says.get("status")
                && let (Some(since), Some(says)) = (before.get("lastTransitionTime"), says.as_object_mut())
            {
                says.insert("lastTransitionTime".to_owned(), since.clone());
            }
            *before = says;
        }
        None => conditions.push(says),
    }
    next
}

/// What a subresource without an object of its own answers.
pub(super) fn success(code: StatusCode) -> Answer {
    let status =
        json!({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "code": code.as_u16()});
    respond::json(code, &status)
}
