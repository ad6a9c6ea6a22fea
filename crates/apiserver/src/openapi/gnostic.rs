//! OpenAPI 2 in protobuf: the messages of gnostic's `openapi.v2` that our documents need, written from their JSON. Field numbers
//! are those of `OpenAPIv2.proto`.

use serde_json::{Map, Value};

use super::v2::Sink;

/// A message that is being written.
#[derive(Clone, Debug, Default)]
struct Message(Vec<u8>);

impl Message {
    fn varint(&mut self, mut value: u64) {
        while value >= 0x80 {
            // The cast keeps the lowest seven bits and the mark that more follow.
            self.0.push((value & 0x7f) as u8 | 0x80);
            value >>= 7;
        }
        self.0.push(value as u8);
    }

    fn bytes(&mut self, field: u64, bytes: &[u8]) {
        self.varint(field << 3 | 2);
        self.varint(bytes.len() as u64);
        self.0.extend_from_slice(bytes);
    }

    /// Text; what is empty is left out, as proto3 does.
    fn text(&mut self, field: u64, text: &str) {
        if !text.is_empty() {
            self.bytes(field, text.as_bytes());
        }
    }

    fn text_of(&mut self, field: u64, from: &Map<String, Value>, name: &str) {
        self.text(field, from.get(name).and_then(Value::as_str).unwrap_or_default());
    }

    fn texts_of(&mut self, field: u64, from: &Map<String, Value>, name: &str) {
        for text in from.get(name).and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str) {
            self.bytes(field, text.as_bytes());
        }
    }

    fn flag_of(&mut self, field: u64, from: &Map<String, Value>, name: &str) {
        if from.get(name).and_then(Value::as_bool) == Some(true) {
            self.varint(field << 3);
            self.varint(1);
        }
    }

    fn whole_of(&mut self, field: u64, from: &Map<String, Value>, name: &str) {
        if let Some(number) = from.get(name).and_then(Value::as_u64) {
            self.varint(field << 3);
            self.varint(number);
        }
    }

    fn number_of(&mut self, field: u64, from: &Map<String, Value>, name: &str) {
        if let Some(number) = from.get(name).and_then(Value::as_f64) {
            self.varint(field << 3 | 1);
            self.0.extend_from_slice(&number.to_le_bytes());
        }
    }

    fn message(&mut self, field: u64, message: &Self) {
        self.bytes(field, &message.0);
    }
}

/// `Any`: its value as YAML, of which JSON is a part.
fn any(value: &Value) -> Message {
    let mut message = Message::default();
    message.text(2, &value.to_string());
    message
}

/// `NamedAny` and every other message of a name and a value.
fn named(name: &str, value: &Message) -> Message {
    let mut message = Message::default();
    message.text(1, name);
    message.message(2, value);
    message
}

/// Wraps a message as the only field of another.
fn only(field: u64, message: &Message) -> Message {
    let mut outer = Message::default();
    outer.message(field, message);
    outer
}

fn extensions(message: &mut Message, field: u64, from: &Map<String, Value>) {
    for (name, value) in from.iter().filter(|(name, _)| name.starts_with("x-")) {
        message.message(field, &named(name, &any(value)));
    }
}

fn schema(value: &Value) -> Message {
    let mut message = Message::default();
    let Some(map) = value.as_object() else { return message };
    for (field, name) in [(1, "$ref"), (2, "format"), (3, "title"), (4, "description"), (13, "pattern")] {
        message.text_of(field, map, name);
    }
    if let Some(default) = map.get("default") {
        message.message(5, &any(default));
    }
    for (field, name) in [(6, "multipleOf"), (7, "maximum"), (9, "minimum")] {
        message.number_of(field, map, name);
    }
    for (field, name) in [(8, "exclusiveMaximum"), (10, "exclusiveMinimum"), (16, "uniqueItems")] {
        message.flag_of(field, map, name);
    }
    let sizes = [(11, "maxLength"), (12, "minLength"), (14, "maxItems"), (15, "minItems")];
    for (field, name) in sizes.into_iter().chain([(17, "maxProperties"), (18, "minProperties")]) {
        message.whole_of(field, map, name);
    }
    message.texts_of(19, map, "required");
    for value in map.get("enum").and_then(Value::as_array).into_iter().flatten() {
        message.message(20, &any(value));
    }
    match map.get("additionalProperties") {
        Some(Value::Bool(allowed)) => {
            let mut item = Message::default();
            item.varint(2 << 3);
            item.varint((*allowed).into());
            message.message(21, &item);
        }
        Some(of) => message.message(21, &only(1, &schema(of))),
        None => {}
    }
    if let Some(of) = map.get("type").and_then(Value::as_str) {
        let mut item = Message::default();
        item.text(1, of);
        message.message(22, &item);
    }
    if let Some(of) = map.get("items") {
        message.message(23, &only(1, &schema(of)));
    }
    for of in map.get("allOf").and_then(Value::as_array).into_iter().flatten() {
        message.message(24, &schema(of));
    }
    if let Some(properties) = map.get("properties").and_then(Value::as_object) {
        let mut all = Message::default();
        properties.iter().for_each(|(name, of)| all.message(1, &named(name, &schema(of))));
        message.message(25, &all);
    }
    extensions(&mut message, 31, map);
    message
}

/// `ParametersItem`.
fn parameter(value: &Value) -> Message {
    let mut inner = Message::default();
    let Some(map) = value.as_object() else { return inner };
    let place = map.get("in").and_then(Value::as_str).unwrap_or_default();
    if place == "body" {
        inner.text_of(1, map, "description");
        inner.text_of(2, map, "name");
        inner.text(3, place);
        inner.flag_of(4, map, "required");
        if let Some(of) = map.get("schema") {
            inner.message(5, &schema(of));
        }
        return only(1, &only(1, &inner));
    }
    inner.flag_of(1, map, "required");
    inner.text(2, place);
    inner.text_of(3, map, "description");
    inner.text_of(4, map, "name");
    let is_query = place == "query";
    // A parameter of the query has `allowEmptyValue` as well, so what follows has other numbers.
    inner.text_of(if is_query { 6 } else { 5 }, map, "type");
    inner.flag_of(if is_query { 20 } else { 19 }, map, "uniqueItems");
    only(1, &only(2, &only(if is_query { 3 } else { 4 }, &inner)))
}

fn operation(value: &Value) -> Message {
    let mut message = Message::default();
    let Some(map) = value.as_object() else { return message };
    message.texts_of(1, map, "tags");
    message.text_of(3, map, "description");
    message.text_of(5, map, "operationId");
    message.texts_of(6, map, "produces");
    message.texts_of(7, map, "consumes");
    for of in map.get("parameters").and_then(Value::as_array).into_iter().flatten() {
        message.message(8, &parameter(of));
    }
    let mut responses = Message::default();
    for (code, of) in map.get("responses").and_then(Value::as_object).into_iter().flatten() {
        let mut response = Message::default();
        response.text(1, of.get("description").and_then(Value::as_str).unwrap_or_default());
        if let Some(of) = of.get("schema") {
            response.message(2, &only(1, &schema(of)));
        }
        responses.message(1, &named(code, &only(1, &response)));
    }
    message.message(9, &responses);
    message.texts_of(10, map, "schemes");
    extensions(&mut message, 13, map);
    message
}

/// Writes a `Document`.
#[derive(Debug, Default)]
pub(super) struct Writer {
    definitions: Message,
    paths: Message,
}

impl Sink for Writer {
    fn definition(&mut self, name: &str, of: &Value) {
        self.definitions.message(1, &named(name, &schema(of)));
    }

    fn path(&mut self, path: &str, item: &Value) {
        let mut message = Message::default();
        for (field, method) in [(2, "get"), (3, "put"), (4, "post"), (5, "delete"), (8, "patch")] {
            if let Some(of) = item.get(method) {
                message.message(field, &operation(of));
            }
        }
        for of in item.get("parameters").and_then(Value::as_array).into_iter().flatten() {
            message.message(9, &parameter(of));
        }
        self.paths.message(2, &named(path, &message));
    }

    fn finish(self, title: &str, version: &str) -> Vec<u8> {
        let mut info = Message::default();
        info.text(1, title);
        info.text(2, version);
        let mut document = Message::default();
        document.text(1, "2.0");
        document.message(2, &info);
        document.message(8, &self.paths);
        document.message(9, &self.definitions);
        document.0
    }
}
