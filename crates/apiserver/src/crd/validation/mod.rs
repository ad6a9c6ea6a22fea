//! What a definition may say (apiextensions' `ValidateCustomResourceDefinition`). Definitions are looked at in their internal
//! form, whose paths the messages have.

mod bounds;
mod defaults;
mod internal;
mod open_api;
mod rules;
mod structural;
#[cfg(test)]
mod tests;
mod version;
mod webhook;

use std::collections::BTreeSet;

use ::objects::{custom, names};
use serde_json::{Value, json};

use super::names::{APPROVED, Approval, approval, is_protected};
use crate::{registry::meta, status::Cause, validation::At};
use open_api::{Found, Place};
use rules::Scope;

/// Of each definition, nobody reads more causes than this.
const MOST: usize = 200;

/// What is asked of a definition. An update is not asked for what the definition never did.
#[derive(Clone, Default)]
struct Options {
    /// Scope and kind stay.
    names_stay: bool,
    /// Every version has a schema.
    schemas: bool,
    valid_types: bool,
    structural: bool,
    pruned_defaults: bool,
    atomic_sets: bool,
    list_keys: bool,
    /// A conversion webhook knows a version of its requests that a server sends.
    known_reviews: bool,
    /// A conversion webhook's certificates are certificates.
    certificates: bool,
    /// Versions whose schemas did not change: their rules may cost what they cost.
    unchanged: BTreeSet<String>,
    /// Versions that may have as many selectable fields as they had; the empty name for all.
    many_selectable: BTreeSet<String>,
    /// Rules may cost what they cost.
    unlimited: bool,
    /// What the server has to keep of it.
    kept: bounds::Kept,
}

impl Options {
    /// What is asked of a new definition.
    fn create() -> Self {
        let all = true;
        Self {
            schemas: all,
            valid_types: all,
            structural: all,
            pruned_defaults: all,
            atomic_sets: all,
            list_keys: all,
            known_reviews: all,
            ..Self::default()
        }
    }

    /// What is asked of a definition that was another one.
    fn update(new: &Value, old: &Value) -> Self {
        let spec = At::root(old).field("spec");
        let schemas: Vec<At<'_>> = schemas(&spec, &Self::default());
        let any = |wrong: &dyn Fn(&At<'_>) -> bool| schemas.iter().any(|schema| anywhere(schema, wrong));
        let has_schema = |at: &At<'_>| at.field("openAPIV3Schema").is_set();
        let established = custom::is_served(old);
        let conversion = spec.field("conversion");
        Self {
            names_stay: established,
            schemas: has_schema(&spec.field("validation"))
                || spec.each("versions").all(|version| has_schema(&version.field("schema"))),
            valid_types: !any(&|schema| !open_api::is_type(schema.field("type").text())),
            structural: schemas.iter().all(|schema| structural::check(schema).is_empty()),
            pruned_defaults: !schemas.iter().any(defaults::has_unknown),
            atomic_sets: !any(&|schema| open_api::not_atomic(schema).is_some()),
            list_keys: !any(&|schema| !open_api::keys_and_sets(schema).is_empty()),
            known_reviews: webhook::knows_reviews(&conversion.field("conversionReviewVersions")),
            certificates: established && webhook::has_certificates(&conversion.field("webhookClientConfig")),
            unchanged: unchanged(new, old),
            many_selectable: version::many_selectable(new, old),
            ..Self::default()
        }
    }

    fn of_version(&self, name: &str) -> Self {
        Self { unlimited: self.unlimited || self.unchanged.contains(name), ..self.clone() }
    }
}

/// Every schema of a definition that may not be what it was.
fn schemas<'a>(spec: &At<'a>, options: &Options) -> Vec<At<'a>> {
    let is_new = |of: &At<'a>, field: &str| !options.unchanged.contains(of.field(field).text());
    let versions =
        spec.each("versions").filter(|version| is_new(version, "name")).map(|version| version.field("schema"));
    let shared = std::iter::once(spec.field("validation")).filter(|_| is_new(spec, "version"));
    let all = shared.chain(versions);
    all.map(|schema| schema.field("openAPIV3Schema")).filter(At::is_set).collect()
}

/// Whether something holds of a schema or of one below it.
fn anywhere(at: &At<'_>, holds: &dyn Fn(&At<'_>) -> bool) -> bool {
    if !at.value.is_object() {
        return false;
    }
    holds(at)
        || ["items", "not", "additionalProperties"].iter().any(|field| anywhere(&at.field(field), holds))
        || ["allOf", "anyOf", "oneOf"].iter().any(|field| at.each(field).any(|part| anywhere(&part, holds)))
        || at.field("properties").entries().any(|(_, property)| anywhere(&property, holds))
}

/// The schema of a version, wherever it stands.
fn schema_of<'a>(definition: &'a Value, name: &str) -> Option<At<'a>> {
    let spec = At::root(definition).field("spec");
    if !spec.each("versions").any(|version| version.field("schema").is_set()) {
        return Some(spec.field("validation"));
    }
    spec.each("versions").find(|version| version.field("name").text() == name).map(|version| version.field("schema"))
}

fn unchanged(new: &Value, old: &Value) -> BTreeSet<String> {
    let versions = At::root(new).field("spec").each("versions").map(|version| version.field("name").text().to_owned());
    let same = |name: &String| match (schema_of(new, name), schema_of(old, name)) {
        (Some(new), Some(old)) => new.value == old.value,
        _ => false,
    };
    versions.filter(same).collect()
}

/// What is wrong with a new definition.
pub(crate) fn create(definition: &Value) -> Vec<Cause> {
    let internal = internal::internal(definition);
    let root = At::root(&internal);
    let mut causes = check(&root, None, &Options::create());
    causes.truncate(MOST);
    causes
}

/// What is wrong with a change of a definition.
pub(crate) fn update(definition: &Value, old: &Value) -> Vec<Cause> {
    let (internal, old) = (internal::internal(definition), internal::internal(old));
    let mut causes = check(&At::root(&internal), Some(&old), &Options::update(&internal, &old));
    causes.truncate(MOST);
    causes
}

fn check(root: &At<'_>, old: Option<&Value>, options: &Options) -> Vec<Cause> {
    if custom::is_too_deep(root.value) {
        return vec![root.field("spec").invalid_shown("the definition is nested too deeply")];
    }
    let mut causes = Vec::new();
    let definition = root.field("spec");
    if let Some(over) = bounds::check(&definition, options) {
        return vec![over];
    }
    if old.is_none() {
        name(root.value, &definition, &mut causes);
    }
    spec(&definition, options, &mut causes);
    causes.extend(options.kept.exceeded(&definition));
    if let Some(old) = old {
        stays(&definition, &At::root(old).field("spec"), options, &mut causes);
    }
    of_names(&root.field("status").field("acceptedNames"), &mut causes);
    stored(root, &mut causes);
    approved(root.value, old, &mut causes);
    let preserves = definition.field("preserveUnknownFields");
    let preserved = old.is_some_and(|old| At::root(old).field("spec").field("preserveUnknownFields").is_true());
    if preserves.is_true() && !preserved {
        let why =
            "cannot set to true, set x-kubernetes-preserve-unknown-fields to true in spec.versions[*].schema instead";
        causes.push(preserves.invalid(why));
    }
    causes
}

fn name(definition: &Value, spec: &At<'_>, causes: &mut Vec<Cause>) {
    let wanted = format!("{}.{}", spec.field("names").field("plural").text(), spec.field("group").text());
    let name = meta::text(definition, "name");
    if name != wanted {
        let why = "must be spec.names.plural+\".\"+spec.group";
        causes.push(Cause::invalid("metadata.name", &name.into(), why));
    }
}

/// What may not be changed.
fn stays(now: &At<'_>, before: &At<'_>, options: &Options, causes: &mut Vec<Cause>) {
    let mut fixed = |now: At<'_>, before: At<'_>| {
        if now.value != before.value {
            causes.push(now.invalid("field is immutable"));
        }
    };
    let names = (now.field("names"), before.field("names"));
    if options.names_stay {
        fixed(now.field("scope"), before.field("scope"));
        fixed(names.0.field("kind"), names.1.field("kind"));
    }
    fixed(now.field("group"), before.field("group"));
    fixed(names.0.field("plural"), names.1.field("plural"));
}

/// The versions that objects were ever stored in: they are still there. The storage version counts from now on.
fn stored(root: &At<'_>, causes: &mut Vec<Cause>) {
    let list = root.field("status").field("storedVersions");
    if list.len() == 0 {
        causes.push(Cause::invalid(&list.path, &json!([]), "must have at least one stored version"));
        return;
    }
    let mut versions = BTreeSet::new();
    for version in root.field("spec").each("versions") {
        let name = version.field("name").text();
        versions.insert(name);
        if version.field("storage").is_true() && !list.clone().elements().any(|stored| stored.text() == name) {
            causes.push(list.invalid(&format!("must have the storage version {name}")));
        }
    }
    for stored in list.elements().filter(|stored| !versions.contains(stored.text())) {
        let version = stored.text();
        causes.push(stored.invalid(&format!(
            "missing from spec.versions; {version} was previously a storage version, and must remain in spec.versions until a storage migration ensures no data remains persisted in {version} and removes {version} from status.storedVersions"
        )));
    }
}

/// Groups of the Kubernetes project say who approved a kind; what they said before they may go on saying.
fn approved(new: &Value, old: Option<&Value>, causes: &mut Vec<Cause>) {
    let group = new.pointer("/spec/group").and_then(Value::as_str).unwrap_or_default();
    let (now, why) = approval(new);
    if !is_protected(group) || old.is_some_and(|old| approval(old).0 == now) {
        return;
    }
    let field = format!("metadata.annotations[{APPROVED}]");
    let said = new.pointer("/metadata/annotations").and_then(|all| all.get(APPROVED)).cloned().unwrap_or_default();
    match now {
        Approval::Missing => causes.push(Cause::required(field, &why)),
        Approval::Invalid => causes.push(Cause::invalid(field, &said, &why)),
        Approval::Given | Approval::Bypassed => {}
    }
}

fn spec(spec: &At<'_>, options: &Options, causes: &mut Vec<Cause>) {
    let group = spec.field("group");
    let wrong = names::dns_subdomain(group.text());
    if group.text().is_empty() {
        causes.push(group.required(""));
    } else if !wrong.is_empty() {
        causes.push(group.invalid(&wrong.join(",")));
    } else if !group.text().contains('.') {
        causes.push(group.invalid("should be a domain with at least one dot"));
    }
    causes.extend(spec.field("scope").must_be_one_of(&["Cluster", "Namespaced"]));
    let preserves = spec.field("preserveUnknownFields").is_true();
    let options = has_schemas(spec, preserves, options, causes);
    versions(spec, &options, causes);
    let all = spec.field("names");
    for field in ["plural", "singular", "kind", "listKind"] {
        causes.extend(all.field(field).must_be_set());
    }
    of_names(&all, causes);
    let status = |subresources: &At<'_>| subresources.field("status").is_set();
    let any_status = status(&spec.field("subresources"))
        || spec.each("versions").any(|version| status(&version.field("subresources")));
    let own = options.of_version(spec.field("version").text());
    schema(&spec.field("validation"), any_status, &own, causes);
    version::subresources(&spec.field("subresources"), causes);
    spec.each("additionalPrinterColumns").for_each(|column| version::column(&column, causes));
    let many = options.many_selectable.contains("");
    selectable(spec, &spec.field("validation"), "may only be set when validations.schema is included", many, causes);
    let conversion = spec.field("conversion");
    let strategy = conversion.field("strategy");
    if preserves && conversion.is_set() && strategy.text() != "None" {
        causes.push(strategy.invalid("must be None if spec.preserveUnknownFields is true"));
    }
    webhook::conversion(&conversion, &options, causes);
}

/// Whether there are schemas where there must be; gives what is asked of them.
fn has_schemas(spec: &At<'_>, preserves: bool, options: &Options, causes: &mut Vec<Cause>) -> Options {
    let has = |at: &At<'_>| at.field("openAPIV3Schema").is_set();
    if !has(&spec.field("validation")) {
        for version in spec.each("versions") {
            let schema = version.field("schema").field("openAPIV3Schema");
            if schema.is_set() {
                continue;
            }
            if options.schemas {
                causes.push(schema.required(""));
            } else if !preserves && version.field("served").is_true() {
                causes.push(schema.required("because otherwise all fields are pruned"));
            }
        }
    }
    let schemas = schemas(spec, &Options::default());
    let any = |field: &str| schemas.iter().any(|schema| anywhere(schema, &|at| at.field(field).is_set()));
    let defaults = any("default");
    if defaults && preserves {
        let why = "must be false in order to use defaults in the schema";
        causes.push(spec.field("preserveUnknownFields").invalid(why));
    }
    let extensions = [
        "x-kubernetes-embedded-resource",
        "x-kubernetes-preserve-unknown-fields",
        "x-kubernetes-int-or-string",
        "x-kubernetes-list-map-keys",
        "x-kubernetes-list-type",
        "x-kubernetes-validations",
    ];
    let structural = options.structural || !preserves || defaults || extensions.iter().any(|field| any(field));
    Options { structural, ..options.clone() }
}

fn versions(spec: &At<'_>, options: &Options, causes: &mut Vec<Cause>) {
    let versions = spec.field("versions");
    for version in spec.each("versions") {
        let name = version.field("name");
        let wrong = names::dns_1035_label(name.text());
        if !wrong.is_empty() {
            causes.push(name.invalid(&wrong.join(",")));
        }
        one_version(spec, &version, &options.of_version(name.text()), causes);
    }
    for (field, shared, called) in [
        ("schema", "validation", "schemas"),
        ("subresources", "subresources", "subresources"),
        ("additionalPrinterColumns", "additionalPrinterColumns", "additionalPrinterColumns"),
    ] {
        let shared = spec.field(shared);
        let own = |version: At<'_>| version.field(field).is_set();
        if shared.is_set() && spec.each("versions").any(own) {
            causes.push(shared.forbidden(&format!("top-level and per-version {called} are mutually exclusive")));
        }
    }
    let names: Vec<&str> = spec.each("versions").map(|version| version.field("name").text()).collect();
    let wrong = |why: &str| Cause::invalid(&versions.path, &json!(names), why);
    if names.iter().collect::<BTreeSet<_>>().len() < names.len() {
        causes.push(wrong("must contain unique version names"));
    }
    if spec.each("versions").filter(|version| version.field("storage").is_true()).count() != 1 {
        causes.push(wrong("must have exactly one version marked as storage version"));
    }
    let first = spec.field("version");
    if !first.text().is_empty() {
        let wrong = names::dns_1035_label(first.text());
        if !wrong.is_empty() {
            causes.push(first.invalid(&wrong.join(",")));
        }
        if names.first().is_some_and(|name| *name != first.text()) {
            causes.push(first.invalid("must match the first version in spec.versions"));
        }
    }
}

fn one_version(spec: &At<'_>, version: &At<'_>, options: &Options, causes: &mut Vec<Cause>) {
    version::deprecation(version, causes);
    let own = spec.each("versions").any(|version| version.field("subresources").is_set());
    let subresources = if own { version.field("subresources") } else { spec.field("subresources") };
    schema(&version.field("schema"), subresources.field("status").is_set(), options, causes);
    version::subresources(&version.field("subresources"), causes);
    version.each("additionalPrinterColumns").for_each(|column| version::column(&column, causes));
    let many = options.many_selectable.contains(version.field("name").text());
    let why = "may only be set when `version.schema.openAPIV3Schema` is not included";
    // Upstream takes a schema that all versions share for none here, and refuses what is right.
    let own = Some(version.field("schema")).filter(At::is_set).unwrap_or_else(|| spec.field("validation"));
    selectable(version, &own, why, many, causes);
}

/// The selectable fields of a version, or of all.
fn selectable(of: &At<'_>, schema: &At<'_>, missing: &str, many: bool, causes: &mut Vec<Cause>) {
    let fields = of.field("selectableFields");
    let schema = schema.field("openAPIV3Schema");
    if fields.len() > 0 && !schema.is_set() {
        causes.push(Cause::invalid(&fields.path, &json!(""), missing));
    } else {
        version::selectable(&fields, &schema, many, causes);
    }
}

fn of_names(names: &At<'_>, causes: &mut Vec<Cause>) {
    let label = |at: &At<'_>, causes: &mut Vec<Cause>| {
        let wrong = names::dns_1035_label(at.text());
        if !wrong.is_empty() {
            causes.push(at.invalid(&wrong.join(",")));
        }
    };
    for field in ["plural", "singular"] {
        let at = names.field(field);
        if !at.text().is_empty() {
            label(&at, causes);
        }
    }
    for field in ["kind", "listKind"] {
        let at = names.field(field);
        let wrong = names::dns_1035_label(&at.text().to_lowercase());
        if !at.text().is_empty() && !wrong.is_empty() {
            let why = format!("may have mixed case, but should otherwise match: {}", wrong.join(","));
            causes.push(at.invalid(&why));
        }
    }
    names.each("shortNames").for_each(|at| label(&at, causes));
    let (kind, list_kind) = (names.field("kind"), names.field("listKind"));
    if !kind.text().is_empty() && list_kind.text() == kind.text() {
        causes.push(list_kind.invalid("kind and listKind may not be the same"));
    }
    names.each("categories").for_each(|at| label(&at, causes));
}

/// What the schema of an object may say at its root if its status is a subresource: nothing that would be lost on the status.
const AT_ROOT: &[(&str, &str)] = &[
    ("description", "Description"),
    ("type", "Type"),
    ("format", "Format"),
    ("title", "Title"),
    ("maximum", "Maximum"),
    ("exclusiveMaximum", "ExclusiveMaximum"),
    ("minimum", "Minimum"),
    ("exclusiveMinimum", "ExclusiveMinimum"),
    ("maxLength", "MaxLength"),
    ("minLength", "MinLength"),
    ("pattern", "Pattern"),
    ("maxItems", "MaxItems"),
    ("minItems", "MinItems"),
    ("uniqueItems", "UniqueItems"),
    ("multipleOf", "MultipleOf"),
    ("required", "Required"),
    ("items", "Items"),
    ("properties", "Properties"),
    ("externalDocs", "ExternalDocs"),
    ("example", "Example"),
    ("x-kubernetes-preserve-unknown-fields", "XPreserveUnknownFields"),
    ("x-kubernetes-validations", "XValidations"),
];

/// A version's schema, or that of all versions.
fn schema(validation: &At<'_>, status: bool, options: &Options, causes: &mut Vec<Cause>) {
    let schema = validation.field("openAPIV3Schema");
    let Some(map) = schema.value.as_object() else { return };
    if status {
        let unset = |value: &Value| value.is_null() || value == &json!("") || value == &json!(false);
        let of = schema.field("type");
        if !matches!(of.text(), "" | "object") {
            let why =
                "only \"object\" is allowed as the type at the root of the schema if the status subresource is enabled";
            causes.push(of.invalid(why));
        } else if map.iter().any(|(field, value)| !unset(value) && !AT_ROOT.iter().any(|(allowed, _)| allowed == field))
        {
            let names: Vec<&str> = AT_ROOT.iter().map(|(_, name)| *name).collect();
            let why = format!(
                "only [{}] fields are allowed at the root of the schema if the status subresource is enabled",
                names.join(" ")
            );
            causes.push(schema.invalid(&why));
        }
    }
    if schema.field("nullable").is_true() {
        causes.push(schema.field("nullable").forbidden("nullable cannot be true at the root"));
    }
    let mut scope = None;
    // What cannot be read as a structural schema is told of by its keywords.
    if options.structural && !anywhere(&schema, &open_api::is_unreadable) {
        let mut wrong = structural::check(&schema);
        if wrong.is_empty() {
            wrong = defaults::check(&schema, options);
        }
        scope = wrong.is_empty().then(Scope::root);
        causes.extend(wrong);
    }
    let mut found = Found::default();
    open_api::check(&schema, &Place::ROOT, scope.as_ref(), options, &mut found);
    causes.extend(found.schemas);
    causes.extend(found.rules);
    causes.extend(found.total.exceeded(&schema));
}
