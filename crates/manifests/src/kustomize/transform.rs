//! The simple transformations: namespace, names, labels, annotations, replicas.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::{Map, Value};

use super::{
    config::Config,
    fieldspec::{self, Create, FieldSpec},
    id::Gvk,
    marks,
    resource::{Resource, Resources},
};

/// An entry of `replicas`.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct Replica {
    name: String,
    count: i64,
}

/// An entry of `labels`.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "camelCase")]
pub(super) struct Labels {
    pairs: BTreeMap<String, String>,
    include_selectors: bool,
    include_templates: bool,
    fields: Vec<FieldSpec>,
}

fn on(resource: &Resource, result: Result<(), String>) -> Result<(), String> {
    result.map_err(|reason| format!("{}: {reason}", resource.id()))
}

fn visit_all(
    resource: &mut Resource,
    specs: &[FieldSpec],
    create: Create,
    change: &mut dyn FnMut(&mut Value) -> Result<(), String>,
) -> Result<(), String> {
    let result = specs.iter().try_for_each(|spec| fieldspec::visit(&mut resource.value, spec, create, change));
    on(resource, result)
}

fn set_scalar(field: &mut Value, value: Value) -> Result<(), String> {
    if field.is_object() || field.is_array() {
        return Err("a list or mapping stands where a scalar belongs".to_owned());
    }
    *field = value;
    Ok(())
}

/// Puts everything that can have a namespace into this one, and renames `Namespace` objects to it.
///
/// # Errors
/// When two objects become the same.
pub(super) fn namespace(resources: &mut Resources, namespace: &str, config: &Config) -> Result<(), String> {
    for resource in &mut resources.0 {
        resource.remember();
        set_namespace(resource, namespace, &config.namespace)?;
    }
    resources.check()
}

fn set_namespace(resource: &mut Resource, namespace: &str, specs: &[FieldSpec]) -> Result<(), String> {
    let id = resource.id();
    let own = FieldSpec { path: "metadata/namespace".to_owned(), create: true, ..FieldSpec::default() };
    let mut set = |field: &mut Value| set_scalar(field, namespace.into());
    if !id.cluster_scoped {
        visit_all(resource, std::slice::from_ref(&own), Create::Scalar, &mut set)?;
    }
    let is_binding = matches!(id.gvk.kind.as_str(), "RoleBinding" | "ClusterRoleBinding");
    if is_binding && let Some(subjects) = resource.value.get_mut("subjects").and_then(Value::as_array_mut) {
        let default = |subject: &&mut Value| subject.get("name").is_some_and(|name| name == "default");
        for subject in subjects.iter_mut().filter(default) {
            if let Some(fields) = subject.as_object_mut() {
                fields.insert("namespace".to_owned(), namespace.into());
            }
        }
    }
    let is_core = id.gvk.group.is_empty() && id.gvk.version == "v1";
    let specs: Vec<FieldSpec> = specs
        .iter()
        .filter(|spec| spec.path != own.path && (is_core || spec.path != "metadata/name"))
        .filter(|spec| !(is_binding && spec.kind == id.gvk.kind && spec.path == "subjects/namespace"))
        .cloned()
        .collect();
    visit_all(resource, &specs, Create::Scalar, &mut set)
}

/// Which end of the name.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum End {
    Prefix,
    Suffix,
}

/// Adds a prefix or suffix to names; definitions, namespaces and API services keep theirs.
///
/// # Errors
/// When a configured field is not a scalar.
pub(super) fn affix(resources: &mut Resources, text: &str, end: End, specs: &[FieldSpec]) -> Result<(), String> {
    for resource in &mut resources.0 {
        let original = resource.original_id();
        if keeps_its_name(&original.gvk) {
            continue;
        }
        for spec in specs.iter().filter(|spec| original.gvk.is_selected(&spec.gvk())) {
            if spec.path == "metadata/name" {
                match end {
                    End::Prefix => resource.prefixes.push(text.to_owned()),
                    End::Suffix => resource.suffixes.push(text.to_owned()),
                }
                resource.remember();
            }
            let mut add = |field: &mut Value| {
                let old = crate::yaml::text(field).unwrap_or_default();
                let new = if end == End::Prefix { format!("{text}{old}") } else { format!("{old}{text}") };
                set_scalar(field, new.into())
            };
            visit_all(resource, std::slice::from_ref(spec), Create::Scalar, &mut add)?;
        }
    }
    Ok(())
}

fn keeps_its_name(gvk: &Gvk) -> bool {
    matches!(gvk.kind.as_str(), "CustomResourceDefinition" | "Namespace")
        || (gvk.kind == "APIService" && gvk.group == "apiregistration.k8s.io")
}

/// Sets entries of the mappings that the fields are: labels, selectors, annotations.
///
/// # Errors
/// When a field is not a mapping.
pub(super) fn entries(
    resources: &mut Resources,
    pairs: &BTreeMap<String, String>,
    specs: &[FieldSpec],
) -> Result<(), String> {
    if pairs.is_empty() {
        return Ok(());
    }
    for resource in &mut resources.0 {
        for (key, text) in pairs {
            visit_all(resource, specs, Create::Mapping, &mut |field| mark_entry(field, key))?;
            resource.marks.set_entries(&mut resource.value, &text.as_str().into());
        }
    }
    Ok(())
}

fn mark_entry(field: &mut Value, key: &str) -> Result<(), String> {
    if field.is_null() {
        *field = Value::Object(Map::new());
    }
    let fields = field.as_object_mut().ok_or("it is not a mapping")?;
    let old = fields.get(key).map(|old| if old == marks::NEW_ENTRY { marks::NEW_ENTRY } else { marks::OLD_ENTRY });
    fields.insert(key.to_owned(), old.unwrap_or(marks::NEW_ENTRY).into());
    Ok(())
}

/// Sets the labels of an entry of `labels`.
///
/// # Errors
/// When the entry's fields contradict the configured ones, or one is not a mapping.
pub(super) fn labels(resources: &mut Resources, labels: &Labels, config: &Config) -> Result<(), String> {
    let mut specs = labels.fields.clone();
    fieldspec::merge(&mut specs, &config.labels)?;
    if labels.include_selectors {
        fieldspec::merge(&mut specs, &config.common_labels)?;
    } else {
        if labels.include_templates {
            fieldspec::merge(&mut specs, &config.template_labels)?;
        }
        let own = FieldSpec { path: "metadata/labels".to_owned(), create: true, ..FieldSpec::default() };
        fieldspec::merge(&mut specs, &[own])?;
    }
    entries(resources, &labels.pairs, &specs)
}

/// Sets the replicas of the workload that has, or had, the name.
///
/// # Errors
/// When there is none.
pub(super) fn replicas(resources: &mut Resources, replica: &Replica, config: &Config) -> Result<(), String> {
    let mut found = false;
    for spec in &config.replicas {
        for resource in &mut resources.0 {
            let names = |id: &super::id::Id| id.name == replica.name && id.gvk.is_selected(&spec.gvk());
            if !resource.all_ids().iter().any(names) {
                continue;
            }
            found = true;
            let mut set = |field: &mut Value| set_scalar(field, replica.count.into());
            visit_all(resource, std::slice::from_ref(spec), Create::Scalar, &mut set)?;
        }
    }
    let kinds = || config.replicas.iter().map(|spec| spec.kind.as_str()).collect::<Vec<_>>().join(", ");
    if found { Ok(()) } else { Err(format!("there is no {} by the name {:?}", kinds(), replica.name)) }
}
