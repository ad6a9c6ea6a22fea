//! Subresources that are more than a part of their object: `scale`, `binding`.

use http::StatusCode;
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
    registry::{Change, meta, ownership::Write, update::Part},
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
        let node = binding.pointer("/target/name").and_then(Value::as_str).unwrap_or_default().to_owned();
        let (kind, name) = (self.target.kind.clone(), self.name().to_owned());
        if self.verb != Verb::Create || node.is_empty() {
            return Err(Failure::bad_request("a binding needs target.name: the node"));
        }
        let bound = kind.clone();
        let meant = meta::text(&binding, "uid").to_owned();
        let assign = move |current: &Value| {
            let kind = &bound;
            let uid = meta::text(current, "uid");
            if !meant.is_empty() && meant != uid {
                let why = format!("Precondition failed: UID in precondition: {meant}, UID in object meta: {uid}");
                return Err(Failure::conflict(kind, &name, &why));
            }
            if meta::is_deleting(current) {
                let why = format!("pod {name} is being deleted, cannot be assigned to a host");
                return Err(Failure::conflict(kind, &name, &why));
            }
            let assigned = current.pointer("/spec/nodeName").and_then(Value::as_str).unwrap_or_default();
            if !assigned.is_empty() {
                return Err(Failure::conflict(
                    kind,
                    &name,
                    &format!("pod {name} is already assigned to node {assigned:?}"),
                ));
            }
            let gates = current.pointer("/spec/schedulingGates").and_then(Value::as_array);
            if gates.is_some_and(|gates| !gates.is_empty()) {
                let why = format!("pod {name} has non-empty .spec.schedulingGates");
                return Err(Failure::conflict(kind, &name, &why));
            }
            let mut next = current.clone();
            meta::section(&mut next, "spec").insert("nodeName".to_owned(), node.as_str().into());
            Ok(next)
        };
        let registry = &self.handler.registry;
        registry.update(kind, &self.target.namespace, self.name(), Part::Binding, self.dry_run()?, assign).await?;
        Ok(success(StatusCode::CREATED))
    }
}

/// What a subresource without an object of its own answers.
pub(super) fn success(code: StatusCode) -> Answer {
    let status =
        json!({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "code": code.as_u16()});
    respond::json(code, &status)
}
