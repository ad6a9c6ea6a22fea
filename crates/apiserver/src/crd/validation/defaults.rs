//! Defaults fit their own schemas, and say nothing that these do not have (apiextensions' `ValidateDefaults`).

use ::objects::custom::{self, Structural, embedded};
use serde_json::{Value, json};

use super::Options;
use crate::{
    status::Cause,
    validation::{At, metadata},
};

/// A step from an object to a part of it.
#[derive(Clone)]
enum Step {
    Field(String),
    Element,
}

/// What is wrong with the defaults of an object's schema.
pub(super) fn check(schema: &At<'_>, options: &Options) -> Vec<Cause> {
    let mut causes = Vec::new();
    let root = Object { at: schema, steps: Vec::new(), meta: false };
    below(schema, &root, true, options.pruned_defaults, &mut causes);
    causes
}

/// Whether a schema has defaults that say more than it has.
pub(super) fn has_unknown(schema: &At<'_>) -> bool {
    let mut causes = Vec::new();
    below(schema, &Object { at: schema, steps: Vec::new(), meta: false }, true, true, &mut causes);
    causes.iter().any(|cause| cause.message.ends_with(UNKNOWN))
}

const UNKNOWN: &str = "must not have unknown fields";

/// The object that a default is a part of.
#[derive(Clone)]
struct Object<'s, 'a> {
    at: &'s At<'a>,
    steps: Vec<Step>,
    /// The part is about what every object says of itself.
    meta: bool,
}

impl Object<'_, '_> {
    /// The object around a default.
    fn around(&self, default: &Value) -> Value {
        let mut object = self.steps.iter().rev().fold(default.clone(), |inner, step| match step {
            Step::Field(name) => json!({ name.as_str(): inner }),
            Step::Element => json!([inner]),
        });
        if let Some(map) = object.as_object_mut() {
            for (field, value) in [("apiVersion", "validation/v1"), ("kind", "Validation")] {
                map.entry(field).or_insert_with(|| value.into());
            }
        }
        object
    }
}

fn below(at: &At<'_>, object: &Object<'_, '_>, root: bool, pruned: bool, causes: &mut Vec<Cause>) {
    if !at.value.is_object() {
        return;
    }
    let own = Object { at, steps: Vec::new(), meta: false };
    let is_object = root || at.field("x-kubernetes-embedded-resource").is_true();
    let object = if is_object { &own } else { object };
    if at.field("default").is_set() {
        if object.meta {
            about_meta(at, object, causes);
        } else {
            one(at, is_object, pruned, causes);
        }
    }
    let items = at.field("items");
    let mut inner = object.clone();
    inner.steps.push(Step::Element);
    below(&items, &inner, false, pruned, causes);
    for (name, property) in at.field("properties").entries() {
        let mut inner = object.clone();
        inner.steps.push(Step::Field(name.to_owned()));
        inner.meta = object.meta || is_object && matches!(name, "metadata" | "apiVersion" | "kind");
        below(&property, &inner, false, pruned, causes);
    }
}

/// A default of metadata: with it, the object around it still has metadata.
fn about_meta(at: &At<'_>, object: &Object<'_, '_>, causes: &mut Vec<Cause>) {
    let default = at.field("default");
    let mut whole = object.around(default.value);
    let schema = Structural::shape(object.at.value).as_object();
    let wrong = match embedded::conform(&schema, &mut whole) {
        Err(wrong) => Some(wrong.message),
        Ok(_) => {
            let wrong = embedded::validate(&schema, &whole, metadata::embedded);
            (!wrong.is_empty()).then(|| {
                let all: Vec<String> =
                    wrong.iter().map(|cause| format!("{}: {}", cause.field, cause.message)).collect();
                if let [one] = all.as_slice() { one.clone() } else { format!("[{}]", all.join(", ")) }
            })
        }
    };
    match wrong {
        Some(why) => causes.push(default.invalid(&format!("must result in valid metadata: {why}"))),
        None => fits(at, false, causes),
    }
}

/// Any other default.
fn one(at: &At<'_>, is_object: bool, pruned: bool, causes: &mut Vec<Cause>) {
    let default = at.field("default");
    let shape = Structural::shape(at.value);
    let schema = if is_object { shape.as_object() } else { shape };
    let mut kept = default.value.clone();
    schema.prune_part(&mut kept);
    if pruned && kept != *default.value {
        causes.push(default.invalid(UNKNOWN));
    }
    let mut conformed = default.value.clone();
    if let Err(wrong) = embedded::conform(&schema, &mut conformed) {
        causes.push(placed(&default.path, Cause::invalid(wrong.path, &wrong.value, &wrong.message)));
        return;
    }
    let wrong = embedded::validate(&schema, default.value, metadata::embedded);
    if wrong.is_empty() {
        fits(at, is_object, causes);
    } else {
        causes.extend(wrong.into_iter().map(|cause| placed(&default.path, cause)));
    }
}

/// A default is a value of its schema, and keeps its rules: as one that is made, and as one that stays.
fn fits(at: &At<'_>, is_object: bool, causes: &mut Vec<Cause>) {
    let default = at.field("default");
    let schema = Structural::read(at.value);
    let wrong = custom::validate_default(&schema, default.value, is_object);
    causes.extend(wrong.into_iter().map(|cause| placed(&default.path, cause)));
}

/// A cause below a path.
fn placed(path: &str, cause: Cause) -> Cause {
    let field = match cause.field.as_str() {
        "" | "<nil>" => path.to_owned(),
        field if field.starts_with('[') => format!("{path}{field}"),
        field => format!("{path}.{field}"),
    };
    Cause { field, ..cause }
}
