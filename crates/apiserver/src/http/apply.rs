//! Server-side apply: `PATCH` with `application/apply-patch+yaml`.

use std::sync::Arc;

use http::{HeaderMap, StatusCode, header};
use jiff::Timestamp;
use objects::{
    fields::{self, ApplyError, Conflict, Element, Keep, Shape, Updater, Versions, Writer},
    kinds::KindRef,
    schema::{self, Strict},
};
use serde_json::Value;

use super::{
    Answer, certificates,
    fields::{Directive, Model},
    verbs::Call,
};
use crate::{
    convert,
    registry::{
        Change, Outcome, meta,
        ownership::{self, Views, Write},
        update::Part,
    },
    scale,
    status::{Cause, Failure},
};

/// Whether a patch is an apply.
pub(super) fn is_asked(headers: &HeaderMap) -> bool {
    let media = headers.get(header::CONTENT_TYPE).and_then(|v| v.to_str().ok()).unwrap_or_default();
    media.split(';').next().unwrap_or_default().trim() == "application/apply-patch+yaml"
}

/// What is to be applied.
struct Applied {
    object: Value,
    kind: KindRef,
    model: Model,
    write: Write,
    keep: Keep,
    force: bool,
}

impl Call<'_> {
    pub(super) async fn apply(self, part: Part) -> Result<Answer, Failure> {
        let kind = self.kind().clone();
        let (object, warnings) = self.configuration(&kind.api_version(), kind.kind)?;
        let write = Write { applied: true, ..self.write("PatchOptions")? };
        let applied = Applied {
            object,
            model: Model::of(&kind),
            write: write.clone(),
            keep: ownership::changeable(&kind.storage(), part),
            kind,
            force: self.query.is_on("force"),
        };
        if part != Part::Main {
            let changed = self.change(part, write, move |live: &Value| applied.onto(Some(live))).await?;
            return self.written(StatusCode::OK, changed, warnings);
        }
        let applied = Arc::new(applied);
        let own = applied.clone();
        let change = move |live: &Value| own.onto(Some(live));
        let (status, outcome) = self.change_or_make(&write, change, || self.apply_anew(&applied)).await?;
        self.written(status, outcome, warnings)
    }

    /// Makes the object that is applied.
    async fn apply_anew(&self, applied: &Applied) -> Result<Outcome, Failure> {
        let (kind, name) = (&applied.kind, self.name());
        let uid = meta::text(&applied.object, "uid");
        if !uid.is_empty() {
            let why =
                format!("uid mismatch: the provided object specified uid {uid}, and no existing object was found");
            return Err(Failure::conflict(kind, name, &why));
        }
        if meta::text(&applied.object, "name").is_empty() {
            return Err(Failure::bad_request(format!(
                "the name of the object ({name} based on URL) was undeterminable: name must be provided"
            )));
        }
        let mut object = convert::to_stored(kind, applied.onto(None)?)?;
        certificates::say_who_asks(kind, &mut object, self.identity);
        let registry = &self.handler.registry;
        registry.create(kind.storage(), &self.target.namespace, object, applied.write.clone()).await
    }

    /// The body as the configuration of an object of this type and this path.
    fn configuration(&self, api_version: &str, kind: &str) -> Result<(Value, Vec<String>), Failure> {
        let (object, warnings) = read(&self.body, self.directive()?)?;
        let text = |field: &str| object.get(field).and_then(Value::as_str).unwrap_or_default();
        if text("apiVersion") != api_version || text("kind") != kind {
            let (group, version) = text("apiVersion").split_once('/').unwrap_or(("", text("apiVersion")));
            return Err(Failure::bad_request(format!("invalid object type: {group}/{version}, Kind={}", text("kind"))));
        }
        if ownership::of(&object).is_some_and(|entries| !entries.is_null()) {
            return Err(Failure::bad_request("metadata.managedFields must be nil"));
        }
        for (field, wanted) in [("name", self.name()), ("namespace", &self.target.namespace)] {
            let said = meta::text(&object, field);
            if !said.is_empty() && said != wanted {
                let message =
                    format!("the {field} of the object ({said}) does not match the {field} on the URL ({wanted})");
                return Err(Failure::bad_request(message));
            }
        }
        Ok((object, warnings))
    }

    /// The change of the object behind a Scale that is applied.
    pub(super) fn scale_applied(&self, write: &Write) -> Result<impl Change + use<>, Failure> {
        let (applied, _) = self.configuration(SCALE, "Scale")?;
        let (manager, force, version) = (write.manager.clone(), self.query.is_on("force"), self.kind().api_version());
        let kind = self.kind().clone();
        Ok(move |current: &Value| {
            let path = [Element::field("spec"), Element::field("replicas")];
            let unreadable = |e: fields::ManagedError| Failure::unexplained(e.to_string());
            let held = ownership::of(current);
            let entries = fields::to_scale(held, &path).map_err(unreadable)?;
            let now = Timestamp::now();
            let writer = Writer { manager: &manager, api_version: SCALE, subresource: "scale", now };
            let updater = Updater { versions: &Scales, keep: &Keep::All };
            let live = scale::of(&kind, current);
            let merged = fields::apply(&updater, Some(&live), &applied, entries.as_ref(), &writer, force);
            let (wanted, entries) = merged.map_err(refused)?;
            let mut next = scale::set(&kind, current, &wanted)?;
            let managed = fields::from_scale(held, entries.as_ref(), &path, &version).map_err(unreadable)?;
            ownership::put(&mut next, managed);
            Ok(next)
        })
    }
}

/// The `apiVersion` of a Scale.
const SCALE: &str = "autoscaling/v1";

/// Scales have one version.
struct Scales;

impl Versions for Scales {
    fn shape(&self, api_version: &str) -> Option<Shape<'_>> {
        if api_version == SCALE { schema::shape("autoscaling", "v1", "Scale") } else { None }
    }

    fn convert<'v>(&self, object: &'v Value, from: &str, to: &str) -> Option<std::borrow::Cow<'v, Value>> {
        (from == to).then_some(std::borrow::Cow::Borrowed(object))
    }

    fn are_fixed(&self) -> bool {
        true
    }
}

impl Applied {
    /// The object that results, with its managedFields.
    fn onto(&self, live: Option<&Value>) -> Result<Value, Failure> {
        let mut live = live.cloned();
        let held = live.as_mut().and_then(ownership::take);
        let version = self.kind.api_version();
        let writer = Writer {
            manager: &self.write.manager,
            api_version: &version,
            subresource: &self.write.subresource,
            now: Timestamp::now(),
        };
        let versions = Views(self.kind.storage());
        let updater = Updater { versions: &versions, keep: &self.keep };
        let merged = fields::apply(&updater, live.as_ref(), &self.object, held.as_ref(), &writer, self.force);
        let (object, managed) = merged.map_err(refused)?;
        let strict = Strict { value: object, duplicates: Vec::new() };
        let (mut object, _) = self.model.clone().read(strict, Directive::Ignore)?;
        ownership::put(&mut object, managed);
        Ok(object)
    }
}

/// The body, YAML or JSON, and what to warn about: fields that are there twice.
fn read(body: &[u8], directive: Directive) -> Result<(Value, Vec<String>), Failure> {
    let wrong = |e: String| Failure::bad_request(format!("error decoding YAML: {e}"));
    let text = std::str::from_utf8(body).map_err(|e| wrong(e.to_string()))?;
    let Strict { value, duplicates } = if text.trim_start().starts_with('{') {
        let mut reader = serde_json::Deserializer::from_str(text);
        let parsed = schema::parse(&mut reader).and_then(|parsed| reader.end().map(|()| parsed));
        parsed.map_err(|e| wrong(e.to_string()))?
    } else {
        // A field that is there twice is an error of YAML itself.
        let value = serde_saphyr::from_str(text).map_err(|e| wrong(e.to_string()))?;
        Strict { value, duplicates: Vec::new() }
    };
    if !value.is_object() {
        return Err(wrong("the body is not an object".to_owned()));
    }
    let twice: Vec<String> = duplicates.iter().map(|path| format!("key {path:?} already set in map")).collect();
    match directive {
        Directive::Strict if !twice.is_empty() => {
            Err(Failure::bad_request(format!("error strict decoding YAML: {}", twice.join(", "))))
        }
        Directive::Ignore => Ok((value, Vec::new())),
        _ => Ok((value, twice)),
    }
}

/// Why an apply failed, as upstream says it.
fn refused(error: ApplyError) -> Failure {
    let mut conflicts = match error {
        ApplyError::Object(why) => return Failure::unexplained(why),
        ApplyError::Conflicts(conflicts) => conflicts,
    };
    conflicts.sort_by(|a, b| a.identity.manager.cmp(&b.identity.manager).then_with(|| a.identity.cmp(&b.identity)));
    let cause = |conflict: &Conflict| Cause {
        reason: "FieldManagerConflict",
        message: format!("conflict with {}", conflict.identity),
        field: fields::path_text(&conflict.path),
    };
    let causes: Vec<Cause> = conflicts.iter().map(cause).collect();
    let message = match causes.as_slice() {
        [one] => format!("Apply failed with 1 conflict: {}: {}", one.message, one.field),
        many => {
            let mut lines: Vec<String> = Vec::new();
            let mut last = "";
            for cause in many {
                if cause.message != last {
                    lines.push(format!("{}:", cause.message.replacen("conflict", "conflicts", 1)));
                    last = &cause.message;
                }
                lines.push(format!("- {}", cause.field));
            }
            format!("Apply failed with {} conflicts: {}", many.len(), lines.join("\n"))
        }
    };
    Failure::apply_conflict(message, &causes)
}
