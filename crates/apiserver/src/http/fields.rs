//! What becomes of fields that a kind does not have: the `fieldValidation` of a write.

use objects::{
    kinds::KindRef,
    schema::{self, Conformed, Strict, WrongType},
};
use serde_json::Value;

use crate::{
    crd,
    registry::meta,
    request::Query,
    status::{Cause, Failure},
};

/// Warnings sent with one answer, at most: enough to mend a manifest by.
const MOST_WARNINGS: usize = 50;

/// What the client wants done about unknown and duplicated fields.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Directive {
    /// They are dropped.
    Ignore,
    /// They are dropped and warned about: the default.
    Warn,
    /// The write is refused.
    Strict,
}

impl Directive {
    /// The query's `fieldValidation`; `options` is the type of its parameters, as messages name it.
    ///
    /// # Errors
    /// 422 for an unknown value.
    pub(super) fn of(query: &Query, options: &str) -> Result<Self, Failure> {
        match query.get("fieldValidation") {
            None | Some("Warn") => Ok(Self::Warn),
            Some("Strict") => Ok(Self::Strict),
            Some("Ignore") => Ok(Self::Ignore),
            Some(other) => {
                let supported = ["", "Ignore", "Strict", "Warn"];
                let cause = Cause::not_supported("fieldValidation", &other.into(), &supported);
                Err(Failure::invalid_request(&format!("{options}.meta.k8s.io"), &[cause]))
            }
        }
    }
}

/// The type that a body is read as.
#[derive(Clone, Debug)]
pub(super) struct Model {
    pub(super) group: &'static str,
    pub(super) version: &'static str,
    pub(super) kind: &'static str,
    /// Whether upstream has it as a custom resource, which words mistakes differently.
    custom: bool,
    /// The kind, where its definition knows its fields rather than the schemas of built-in kinds.
    defined: Option<KindRef>,
}

impl Model {
    /// A type by name.
    pub(super) const fn new(group: &'static str, version: &'static str, kind: &'static str) -> Self {
        Self { group, version, kind, custom: false, defined: None }
    }

    /// The type of a kind's objects.
    pub(super) fn of(kind: &KindRef) -> Self {
        let custom = !objects::patch::is_strategic(kind);
        let defined = kind.is_custom().then(|| kind.clone());
        Self { group: kind.group, version: kind.version, kind: kind.kind, custom, defined }
    }

    fn api_version(&self) -> String {
        if self.group.is_empty() { self.version.to_owned() } else { format!("{}/{}", self.group, self.version) }
    }

    /// Makes an object say that it is of this type.
    pub(super) fn name(&self, object: &mut Value) {
        meta::set_type(object, self.api_version(), self.kind);
    }

    /// Whether an object is of this type, by what it says; it may say nothing.
    ///
    /// # Errors
    /// Why it is not.
    pub(super) fn is_said_by(&self, object: &Value) -> Result<(), String> {
        meta::check_type(object, &self.api_version(), self.kind)
    }

    fn conform(&self, object: &mut Value) -> Result<Conformed, WrongType> {
        schema::conform(self.group, self.version, self.kind, object)
    }

    /// What `conform` is for kinds that have a definition of their own: the paths of unknown fields.
    fn pruned(&self, object: &mut Value) -> Result<Option<Vec<String>>, Failure> {
        self.defined.as_ref().map(|kind| crd::objects::conform(kind, object)).transpose()
    }

    /// A body as an object of this type, and what to warn about.
    ///
    /// # Errors
    /// 400 for values of the wrong type, and for unknown or duplicated fields if `directive` says so; 422 where upstream's
    /// schemas of custom resources say it.
    pub(super) fn read(self, body: Strict, directive: Directive) -> Result<(Value, Vec<String>), Failure> {
        let Strict { value: mut object, duplicates } = body;
        let Self { version, kind, .. } = &self;
        let handled = |why: String| {
            Failure::bad_request(format!("{kind} in version {version:?} cannot be handled as a {kind}: {why}"))
        };
        if let Some(unknown) = self.pruned(&mut object)? {
            return Ok((object, judge(duplicates, unknown, directive).map_err(handled)?));
        }
        let found = match self.conform(&mut object) {
            Ok(found) => found,
            Err(wrong) if self.custom => return Err(self.invalid(&object, &[wrong_type(&wrong)])),
            Err(wrong) => return Err(handled(wrong.go)),
        };
        let warnings = judge(duplicates, found.unknown, directive).map_err(handled)?;
        let missing: Vec<Cause> = found.missing.into_iter().map(|field| Cause::required(field, "")).collect();
        if missing.is_empty() { Ok((object, warnings)) } else { Err(self.invalid(&object, &missing)) }
    }

    /// A patched object as one of this type, and what to warn about. `duplicates` are those of the patch, `patch` is how it is
    /// shown in messages.
    ///
    /// # Errors
    /// 422 for what [`Model::read`] refuses.
    pub(super) fn patched(
        self,
        mut object: Value,
        duplicates: Vec<String>,
        patch: &str,
        directive: Directive,
    ) -> Result<(Value, Vec<String>), Failure> {
        let invalid = |why: String| Failure::invalid_request("", &[Cause::invalid("patch", &patch.into(), &why)]);
        if let Some(unknown) = self.pruned(&mut object)? {
            return Ok((object, judge(duplicates, unknown, directive).map_err(invalid)?));
        }
        let found = match self.conform(&mut object) {
            Ok(found) => found,
            Err(wrong) if self.custom => return Err(self.invalid(&object, &[wrong_type(&wrong)])),
            Err(wrong) => return Err(invalid(wrong.go)),
        };
        let warnings = judge(duplicates, found.unknown, directive).map_err(invalid)?;
        let missing: Vec<Cause> = found.missing.into_iter().map(|field| Cause::required(field, "")).collect();
        if missing.is_empty() { Ok((object, warnings)) } else { Err(self.invalid(&object, &missing)) }
    }

    fn invalid(&self, object: &Value, causes: &[Cause]) -> Failure {
        Failure::invalid_kind(self.group, self.kind, meta::text(object, "name"), causes)
    }
}

/// As the schemas of custom resources word it.
fn wrong_type(wrong: &WrongType) -> Cause {
    let WrongType { path, expected, found, .. } = wrong;
    Cause {
        reason: "FieldValueTypeInvalid",
        message: format!("Invalid value: {found:?}: {path} in body must be of type {expected}: {found:?}"),
        field: path.clone(),
    }
}

/// The warnings, or why the write is refused.
fn judge(duplicates: Vec<String>, unknown: Vec<String>, directive: Directive) -> Result<Vec<String>, String> {
    let twice = duplicates.iter().map(|path| format!("duplicate field {path:?}"));
    let mut all: Vec<String> = twice.chain(unknown.iter().map(|path| format!("unknown field {path:?}"))).collect();
    match directive {
        Directive::Strict if !all.is_empty() => Err(format!("strict decoding error: {}", all.join(", "))),
        Directive::Ignore => Ok(Vec::new()),
        _ => {
            all.truncate(MOST_WARNINGS);
            Ok(all)
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::go;

    const DEPLOYMENT: Model = Model::new("apps", "v1", "Deployment");

    fn body(text: &str) -> Strict {
        schema::parse(&mut serde_json::Deserializer::from_str(text)).unwrap()
    }

    #[test]
    fn strict_refuses_warn_warns_and_ignore_drops() {
        let text = r#"{"spec": {"replicas": 1, "replicas": 2, "foo": 1}}"#;
        let refused = DEPLOYMENT.read(body(text), Directive::Strict).unwrap_err();
        let said = "Deployment in version \"v1\" cannot be handled as a Deployment: strict decoding error: duplicate field \"spec.replicas\", unknown field \"spec.foo\"";
        assert_eq!((refused.code.as_u16(), refused.message.as_str()), (400, said));
        let (object, warnings) = DEPLOYMENT.read(body(text), Directive::Warn).unwrap();
        assert_eq!(object, json!({"spec": {"replicas": 2}}));
        assert_eq!(warnings, ["duplicate field \"spec.replicas\"", "unknown field \"spec.foo\""]);
        assert_eq!(DEPLOYMENT.read(body(text), Directive::Ignore).unwrap().1, Vec::<String>::new());
    }

    #[test]
    fn a_patch_that_adds_an_unknown_field_is_invalid() {
        let patch = json!({"spec": {"foo": 1, "a": [true, null]}});
        let refused = DEPLOYMENT.patched(patch.clone(), vec![], &go::text(&patch), Directive::Strict).unwrap_err();
        let said = " \"\" is invalid: patch: Invalid value: \"map[spec:map[a:[true <nil>] foo:1]]\": strict decoding error: unknown field \"spec.a\", unknown field \"spec.foo\"";
        assert_eq!((refused.code.as_u16(), refused.message.as_str()), (422, said));
    }

    #[test]
    fn custom_resources_word_it_as_their_schemas_do() {
        let model = Model::of(&objects::kinds::by_kind("gateway.networking.k8s.io", "v1", "HTTPRoute").unwrap().into());
        let refused = model.read(body(r#"{"metadata": {"name": "a"}, "spec": {"hostnames": "a"}}"#), Directive::Strict);
        let said = "HTTPRoute.gateway.networking.k8s.io \"a\" is invalid: spec.hostnames: Invalid value: \"string\": spec.hostnames in body must be of type array: \"string\"";
        assert_eq!(refused.unwrap_err().message, said);
    }
}
