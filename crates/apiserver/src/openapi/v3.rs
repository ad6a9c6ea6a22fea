//! OpenAPI 3: a document for each group and version.

use std::collections::BTreeSet;

use serde_json::{Map, Value, json};

use super::{
    Source, VERSION, group_versions,
    operations::{Operation, Parameter, Path, paths, placeholder},
    root,
};
use crate::crd::openapi::SELECTABLE;

pub(super) const REFERENCE: &str = "#/components/schemas/";

/// The document at `/openapi/v3/{wanted}`; `None` if there is none.
pub(super) fn document(source: &Source, wanted: &str) -> Option<Value> {
    let (group, version) = group_versions(source).into_iter().find(|(g, v)| root(g, v) == wanted)?;
    let operations = paths(source, group, version);
    let mut schemas = source.components(group, version);
    lists(&operations, &mut schemas);
    complete(source, &operations, &mut schemas);
    let rendered: Map<String, Value> = operations.iter().map(|path| (path.path.clone(), render(path))).collect();
    let info = json!({"title": "Kubernetes", "version": VERSION});
    Some(json!({"openapi": "3.0.0", "info": info, "paths": rendered, "components": {"schemas": schemas}}))
}

/// Adds the definitions of lists that operations answer.
pub(super) fn lists(paths: &[Path], schemas: &mut Map<String, Value>) {
    for operation in paths.iter().flat_map(|path| &path.operations).filter(|o| o.action == "list") {
        let Some(name) = &operation.answer else { continue };
        let (Some(item), (group, version, kind)) = (name.strip_suffix("List"), operation.gvk) else { continue };
        let text = |description: &str| json!({"type": "string", "description": description});
        let properties = json!({
            "apiVersion": text("The group and version of the list."), "kind": text("The kind of the list."),
            "metadata": {"allOf": [{"$ref": format!("{REFERENCE}{}ListMeta", objects::schema::META)}], "description": "What the list says of itself."},
            "items": {"type": "array", "items": {"allOf": [{"$ref": format!("{REFERENCE}{item}")}]}, "description": "The objects."},
        });
        let mut list = json!({"type": "object", "description": format!("A list of objects of kind {kind}."), "required": ["items"],
            "properties": properties,
            "x-kubernetes-group-version-kind": [{"group": group, "version": version, "kind": format!("{kind}List")}]});
        let selectable = schemas.get(item).and_then(|item| item.get(SELECTABLE)).cloned();
        if let (Some(list), Some(fields)) = (list.as_object_mut(), selectable) {
            list.insert(SELECTABLE.to_owned(), fields);
        }
        schemas.insert(name.clone(), list);
    }
}

/// Adds every definition that something here refers to and that is another group's, or nobody's kind.
pub(super) fn complete(source: &Source, paths: &[Path], schemas: &mut Map<String, Value>) {
    let mut missing: BTreeSet<String> = BTreeSet::new();
    for operation in paths.iter().flat_map(|path| &path.operations) {
        missing.extend(operation.body.as_ref().map(|body| body.definition.clone()));
        missing.extend(operation.answer.clone());
    }
    schemas.values().for_each(|schema| references(schema, &mut missing));
    let foreign: BTreeSet<(&str, &str)> =
        paths.iter().flat_map(|path| &path.operations).map(|operation| (operation.gvk.0, operation.gvk.1)).collect();
    let mut known = objects::schema::meta_components();
    known.insert(format!("{}Patch", objects::schema::META), patch());
    foreign.into_iter().for_each(|(group, version)| known.extend(source.components(group, version)));
    loop {
        missing.retain(|name| !schemas.contains_key(name));
        let Some(name) = missing.pop_first() else { return };
        let schema = known.remove(&name).unwrap_or_else(|| json!({"type": "object"}));
        references(&schema, &mut missing);
        schemas.insert(name, schema);
    }
}

fn patch() -> Value {
    json!({"type": "object", "description": "A change of an object: a JSON patch, a merge patch, a strategic merge patch, or the wanted fields for a server-side apply, as the Content-Type says."})
}

/// The definitions that a schema refers to.
pub(super) fn references(schema: &Value, found: &mut BTreeSet<String>) {
    match schema {
        Value::Object(map) => {
            if let Some(name) = map.get("$ref").and_then(Value::as_str).and_then(|r| r.strip_prefix(REFERENCE)) {
                found.insert(name.to_owned());
            }
            map.values().for_each(|value| references(value, found));
        }
        Value::Array(list) => list.iter().for_each(|value| references(value, found)),
        _ => {}
    }
}

/// The names of the placeholders of a path.
pub(super) fn placeholders(path: &str) -> Vec<Parameter> {
    let names = path.split('{').skip(1).filter_map(|rest| rest.split('}').next());
    names.filter_map(placeholder).collect()
}

fn render(path: &Path) -> Value {
    let mut item = Map::new();
    for operation in &path.operations {
        item.insert(operation.method.to_owned(), render_operation(operation));
    }
    let fixed = |(name, kind, description): Parameter| {
        json!({"name": name, "in": "path", "required": true, "description": description,
            "schema": {"type": kind, "uniqueItems": true}})
    };
    let fixed: Vec<Value> = placeholders(&path.path).into_iter().map(fixed).collect();
    if !fixed.is_empty() {
        item.insert("parameters".to_owned(), fixed.into());
    }
    Value::Object(item)
}

fn render_operation(operation: &Operation) -> Value {
    let (group, version, kind) = operation.gvk;
    let query = |(name, kind, description): &Parameter| json!({"name": name, "in": "query", "description": description, "schema": {"type": kind, "uniqueItems": true}});
    let parameters: Vec<Value> = operation.parameters.iter().map(query).collect();
    let content = |media: &[&str], definition: &str| -> Map<String, Value> {
        let schema = json!({"schema": {"$ref": format!("{REFERENCE}{definition}")}});
        media.iter().map(|media| ((*media).to_owned(), schema.clone())).collect()
    };
    let mut answer = json!({"description": "OK"});
    answer["content"] = match &operation.answer {
        Some(definition) => Value::Object(content(&["application/json"], definition)),
        None => json!({"text/plain": {"schema": {"type": "string"}}}),
    };
    let code = if operation.action == "post" { "201" } else { "200" };
    let tag = if group.is_empty() { format!("core_{version}") } else { format!("{}_{version}", short(group)) };
    let mut rendered = json!({
        "tags": [tag], "operationId": operation.id, "description": operation.description, "parameters": parameters,
        "responses": {code: answer, "401": {"description": "Unauthorized"}},
        "x-kubernetes-action": operation.action,
        "x-kubernetes-group-version-kind": {"group": group, "version": version, "kind": kind},
    });
    if let Some(body) = &operation.body {
        let mut sent = json!({"content": content(&body.media, &body.definition)});
        if body.required {
            sent["required"] = true.into();
        }
        rendered["requestBody"] = sent;
    }
    rendered
}

/// A group without upstream's domain.
pub(super) fn short(group: &str) -> &str {
    group.strip_suffix(".k8s.io").unwrap_or(group)
}
