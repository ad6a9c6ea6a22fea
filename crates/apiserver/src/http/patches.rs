//! Patch requests: from a body and its media type to the change of an object.

use std::sync::mpsc::{self, Receiver};

use http::{HeaderMap, header};
use objects::{
    kinds::{Kind, KindRef},
    patch::{self, PatchError},
    schema::{self, Strict},
};
use serde_json::Value;

use super::fields::{Directive, Model};
use crate::{
    go,
    registry::Change,
    status::{Cause, Failure},
};

type Apply = fn(&Kind, &mut Value, &Value) -> Result<(), PatchError>;

/// A patch that was read and not applied yet.
pub(super) struct Patch {
    kind: KindRef,
    apply: Apply,
    strategic: bool,
    body: Strict,
    model: Model,
    directive: Directive,
}

impl Patch {
    /// Reads the body; `model` is the type of what results, `kind` the one whose lists merge strategically.
    ///
    /// # Errors
    /// 415 for other types of patch, 400 for what is not JSON.
    pub(super) fn read(
        headers: &HeaderMap,
        body: &[u8],
        kind: &KindRef,
        model: Model,
        directive: Directive,
    ) -> Result<Self, Failure> {
        let media = headers.get(header::CONTENT_TYPE).and_then(|v| v.to_str().ok()).unwrap_or_default();
        let media = media.split(';').next().unwrap_or_default().trim();
        let (apply, strategic): (Apply, bool) = match media {
            "application/json-patch+json" => (|_, target, patch| patch::json_patch(target, patch), false),
            "application/merge-patch+json" => (merge, false),
            "application/strategic-merge-patch+json" if patch::is_strategic(kind) => (strategic_merge, true),
            _ => return Err(unsupported(kind)),
        };
        let mut reader = serde_json::Deserializer::from_slice(body);
        let parsed = schema::parse(&mut reader).and_then(|parsed| reader.end().map(|()| parsed));
        let body = parsed.map_err(|e| Failure::bad_request(format!("error decoding patch: {e}")))?;
        Ok(Self { kind: kind.clone(), apply, strategic, body, model, directive })
    }

    /// The change, and where what it warns about arrives once it was made.
    pub(super) fn into_change(self) -> (impl Change, Receiver<Vec<String>>) {
        let (tell, told) = mpsc::channel();
        let change = move |current: &Value| {
            let Self { kind, apply, strategic, body: Strict { value: patch, duplicates }, model, directive } = &self;
            let mut next = current.clone();
            apply(kind, &mut next, patch).map_err(|e| rejected(&e))?;
            let shown = if *strategic { go::text(patch) } else { next.to_string() };
            // Upstream has these out of the way of strategic patches: what such a patch says of them counts for nothing.
            if !*strategic {
                model.is_said_by(&next).map_err(|why| {
                    Failure::invalid_request("", &[Cause::invalid("patch", &shown.as_str().into(), &why)])
                })?;
            }
            model.name(&mut next);
            let (next, warnings) = model.clone().patched(next, duplicates.clone(), &shown, *directive)?;
            // Nobody listens when the client has gone.
            let _ = tell.send(warnings);
            Ok(next)
        };
        (change, told)
    }
}

fn merge(_: &Kind, target: &mut Value, patch: &Value) -> Result<(), PatchError> {
    patch::merge_patch(target, patch);
    Ok(())
}

fn strategic_merge(kind: &Kind, target: &mut Value, patch: &Value) -> Result<(), PatchError> {
    patch::strategic_merge(Some(kind), target, patch)
}

fn rejected(error: &PatchError) -> Failure {
    match error {
        PatchError::Missing(_) | PatchError::Test(_) => {
            Failure::unprocessable(format!("the server rejected our request due to an error in our request: {error}"))
        }
        PatchError::TooLarge(_) => Failure::too_large_request(error.to_string()),
        PatchError::Invalid(_) => Failure::bad_request(error.to_string()),
    }
}

fn unsupported(kind: &Kind) -> Failure {
    let strategic = if patch::is_strategic(kind) { ", application/strategic-merge-patch+json" } else { "" };
    Failure::unsupported_media_type(format!(
        "the body of the request was in an unknown format - accepted media types include: application/json-patch+json, \
         application/merge-patch+json{strategic}, application/apply-patch+yaml"
    ))
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;
    use objects::kinds;
    use serde_json::json;

    use super::*;

    fn read(media: &'static str, body: &str) -> Result<Patch, Failure> {
        let mut headers = HeaderMap::new();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(media));
        let kind = KindRef::Row(kinds::by_kind("", "v1", "ConfigMap").unwrap());
        Patch::read(&headers, body.as_bytes(), &kind, Model::of(&kind), Directive::Warn)
    }

    #[test]
    fn a_patch_changes_the_object_and_tells_its_warnings() {
        let (change, told) =
            read("application/merge-patch+json", r#"{"data": {"a": "b"}, "x": 1}"#).unwrap().into_change();
        let changed = json!({"apiVersion": "v1", "kind": "ConfigMap", "data": {"a": "b"}});
        assert_eq!(change(&json!({"kind": "ConfigMap"})).unwrap(), changed);
        assert_eq!(told.try_recv().unwrap(), ["unknown field \"x\""]);
    }

    #[test]
    fn a_json_patch_that_does_not_fit_is_rejected() {
        let patch = r#"[{"op": "test", "path": "/kind", "value": "Secret"}]"#;
        let (change, _) = read("application/json-patch+json", patch).unwrap().into_change();
        assert_eq!(change(&json!({"kind": "ConfigMap"})).unwrap_err().code.as_u16(), 422);
    }
}
