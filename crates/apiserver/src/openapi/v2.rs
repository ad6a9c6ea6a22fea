//! OpenAPI 2 (Swagger): one document of everything, written group by group so that only one group's schemas are in memory.

use std::collections::BTreeSet;

use serde_json::{Map, Value, json};

use super::{
    Source, VERSION, gnostic, group_versions,
    operations::{Operation, Parameter, paths},
    v3,
};

/// Something that takes a document in pieces. Names come once.
pub(super) trait Sink {
    /// One definition.
    fn definition(&mut self, name: &str, schema: &Value);
    /// One path.
    fn path(&mut self, path: &str, item: &Value);
    /// The whole document.
    fn finish(self, title: &str, version: &str) -> Vec<u8>;
}

/// The document as JSON.
pub(super) fn json(source: &Source) -> Vec<u8> {
    let mut sink = Text::default();
    write(source, &mut sink);
    sink.finish("Kubernetes", VERSION)
}

/// The document as gnostic's `openapi.v2.Document`.
pub(super) fn protobuf(source: &Source) -> Vec<u8> {
    let mut sink = gnostic::Writer::default();
    write(source, &mut sink);
    sink.finish("Kubernetes", VERSION)
}

fn write(source: &Source, sink: &mut impl Sink) {
    let mut written = BTreeSet::new();
    for (group, version) in group_versions(source) {
        let operations = paths(source, group, version);
        let mut schemas = source.components(group, version);
        v3::lists(&operations, &mut schemas);
        v3::complete(source, &operations, &mut schemas);
        for (name, schema) in schemas {
            if written.insert(name.clone()) {
                sink.definition(&name, &older(schema, &name));
            }
        }
        for path in operations {
            let mut item: Map<String, Value> =
                path.operations.iter().map(|operation| (operation.method.to_owned(), render(operation))).collect();
            let fixed = |(name, kind, description): Parameter| json!({"name": name, "in": "path", "required": true, "type": kind, "uniqueItems": true, "description": description});
            let fixed: Vec<Value> = v3::placeholders(&path.path).into_iter().map(fixed).collect();
            if !fixed.is_empty() {
                item.insert("parameters".to_owned(), fixed.into());
            }
            sink.path(&path.path, &Value::Object(item));
        }
    }
}

const REFERENCE: &str = "#/definitions/";

/// A schema of version 3 in the words of version 2, which knows no alternatives and no null.
fn older(mut schema: Value, name: &str) -> Value {
    rewrite(&mut schema);
    // Both are one of two types, which version 2 cannot say; clients know them by these.
    let format = match name.rsplit('.').next() {
        Some("IntOrString") => Some("int-or-string"),
        Some("Quantity") => None,
        _ => return schema,
    };
    if let Some(map) = schema.as_object_mut() {
        map.remove("x-kubernetes-int-or-string");
        map.insert("type".to_owned(), "string".into());
        map.extend(format.map(|format| ("format".to_owned(), format.into())));
    }
    schema
}

fn rewrite(schema: &mut Value) {
    let Some(map) = schema.as_object_mut() else { return };
    // Older clients take what a schema says for all there may be: where there may be more, or null, upstream says less to them.
    let is = |word: &str| map.get(word) == Some(&Value::Bool(true));
    let (or_null, more) = (is("nullable"), is("x-kubernetes-preserve-unknown-fields"));
    // A list that says nothing of its elements is one that they cannot read at all, nor anything else of the document.
    let bare_list = more && map.get("type").is_some_and(|of| of == "array");
    for (hidden, word) in [(or_null || bare_list, "type"), (or_null || more, "items"), (or_null || more, "properties")]
    {
        if hidden {
            map.remove(word);
        }
    }
    for unknown in ["nullable", "oneOf", "anyOf", "not"] {
        map.remove(unknown);
    }
    if let Some(Value::Array(all)) = map.get_mut("allOf")
        && let [Value::Object(only)] = all.as_mut_slice()
        && only.contains_key("$ref")
    {
        let reference = std::mem::take(only);
        map.remove("allOf");
        map.remove("default");
        map.extend(reference);
    }
    if let Some(Value::String(reference)) = map.get_mut("$ref")
        && let Some(name) = reference.strip_prefix(v3::REFERENCE)
    {
        *reference = format!("{REFERENCE}{name}");
    }
    // What is named by the user of a schema is no word of the schema.
    let properties = map.get_mut("properties").and_then(Value::as_object_mut).into_iter().flat_map(Map::values_mut);
    properties.for_each(rewrite);
    for below in ["items", "additionalProperties"] {
        map.get_mut(below).into_iter().for_each(rewrite);
    }
    map.get_mut("allOf").and_then(Value::as_array_mut).into_iter().flatten().for_each(rewrite);
}

fn render(operation: &Operation) -> Value {
    let (group, version, kind) = operation.gvk;
    let reference = |definition: &str| json!({"$ref": format!("{REFERENCE}{definition}")});
    let query = |(name, kind, description): &Parameter| json!({"name": name, "in": "query", "type": kind, "uniqueItems": true, "description": description});
    let mut parameters: Vec<Value> = Vec::new();
    let mut consumes = vec!["*/*"];
    if let Some(body) = &operation.body {
        let mut sent = json!({"name": "body", "in": "body", "schema": reference(&body.definition)});
        if body.required {
            sent["required"] = true.into();
        }
        parameters.push(sent);
        if operation.action == "patch" {
            consumes.clone_from(&body.media);
        }
    }
    parameters.extend(operation.parameters.iter().map(query));
    let schema = operation.answer.as_deref().map_or_else(|| json!({"type": "string"}), reference);
    let code = if operation.action == "post" { "201" } else { "200" };
    let tag = if group.is_empty() { format!("core_{version}") } else { format!("{}_{version}", v3::short(group)) };
    json!({
        "tags": [tag], "operationId": operation.id, "description": operation.description, "schemes": ["https"],
        "consumes": consumes, "produces": ["application/json"], "parameters": parameters,
        "responses": {code: {"description": "OK", "schema": schema}, "401": {"description": "Unauthorized"}},
        "x-kubernetes-action": operation.action,
        "x-kubernetes-group-version-kind": {"group": group, "version": version, "kind": kind},
    })
}

/// JSON, piece by piece.
#[derive(Default)]
struct Text {
    definitions: Vec<u8>,
    paths: Vec<u8>,
}

fn member(to: &mut Vec<u8>, name: &str, value: &Value) {
    if !to.is_empty() {
        to.push(b',');
    }
    to.extend_from_slice(Value::from(name).to_string().as_bytes());
    to.push(b':');
    to.extend_from_slice(value.to_string().as_bytes());
}

impl Sink for Text {
    fn definition(&mut self, name: &str, schema: &Value) {
        member(&mut self.definitions, name, schema);
    }

    fn path(&mut self, path: &str, item: &Value) {
        member(&mut self.paths, path, item);
    }

    fn finish(self, title: &str, version: &str) -> Vec<u8> {
        let info = json!({"title": title, "version": version});
        let head = format!("{{\"swagger\":\"2.0\",\"info\":{info},\"paths\":{{");
        [head.as_bytes(), &self.paths, b"},\"definitions\":{", &self.definitions, b"}}"].concat()
    }
}
