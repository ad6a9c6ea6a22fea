//! `configMapGenerator` and `secretGenerator`, and the hash that ends the names of what they make.

use std::{collections::BTreeMap, path::Path};

use base64::{Engine, engine::general_purpose::STANDARD};
use serde::Deserialize;
use serde_json::{Map, Value, json};
use sha2::{Digest, Sha256};

use super::{
    loader::Root,
    resource::{Behavior, Resource, Resources},
};

/// kustomize breaks base64 into lines of this many characters.
const BASE64_LINE: usize = 70;

/// `generatorOptions`, and the `options` of one generator.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "camelCase")]
pub(super) struct Options {
    labels: BTreeMap<String, String>,
    annotations: BTreeMap<String, String>,
    disable_name_suffix_hash: bool,
    immutable: bool,
}

/// An entry of either generator.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "camelCase")]
pub(super) struct Generator {
    namespace: String,
    name: String,
    behavior: String,
    literals: Vec<String>,
    files: Vec<String>,
    envs: Vec<String>,
    env: String,
    options: Options,
    /// Secrets only.
    #[serde(rename = "type")]
    secret_type: Option<String>,
}

/// What is made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    ConfigMap,
    Secret,
}

/// A value: text where it is UTF-8, else bytes.
type Data = BTreeMap<String, Vec<u8>>;

/// Makes what the generator says.
///
/// # Errors
/// When a source is malformed, cannot be read, or repeats a key; or the behavior does not fit what is there.
pub(super) fn generate(
    resources: &mut Resources,
    kind: Kind,
    generator: &Generator,
    global: &Options,
    root: &Root,
) -> Result<(), String> {
    let name = &generator.name;
    if name.is_empty() {
        return Err("a generator needs a name".to_owned());
    }
    let data = data(generator, root).map_err(|reason| format!("{name}: {reason}"))?;
    let behavior = match generator.behavior.as_str() {
        "" | "create" => Behavior::Create,
        "merge" => Behavior::Merge,
        "replace" => Behavior::Replace,
        other => return Err(format!("{name}: behavior {other:?} is unknown; it is create, merge or replace")),
    };
    let hashed = !(generator.options.disable_name_suffix_hash || global.disable_name_suffix_hash);
    let object = object(kind, generator, global, data)?;
    resources.absorb(Resource::generated(object, root.file().to_owned(), behavior, hashed))
}

fn object(kind: Kind, generator: &Generator, global: &Options, data: Data) -> Result<Value, String> {
    let mut metadata = json!({"name": generator.name});
    let mut set = |field: &str, value: Value| {
        if let Some(fields) = metadata.as_object_mut() {
            fields.insert(field.to_owned(), value);
        }
    };
    if !generator.namespace.is_empty() {
        set("namespace", generator.namespace.as_str().into());
    }
    let both = [
        ("labels", &global.labels, &generator.options.labels),
        ("annotations", &global.annotations, &generator.options.annotations),
    ];
    for (field, global, own) in both {
        let merged: BTreeMap<&String, &String> = global.iter().chain(own).collect();
        if !merged.is_empty() {
            set(field, json!(merged));
        }
    }
    let mut object = Map::new();
    object.insert("apiVersion".to_owned(), "v1".into());
    object.insert("metadata".to_owned(), metadata);
    match (kind, &generator.secret_type) {
        (Kind::ConfigMap, Some(_)) => return Err(format!("{}: only secrets have a type", generator.name)),
        (Kind::ConfigMap, None) => {
            object.insert("kind".to_owned(), "ConfigMap".into());
            config_map_data(&mut object, data);
        }
        (Kind::Secret, secret_type) => {
            let secret_type = secret_type.as_deref().filter(|name| !name.is_empty()).unwrap_or("Opaque");
            let data: Map<String, Value> =
                data.into_iter().map(|(key, bytes)| (key, in_base64(&bytes).into())).collect();
            object.insert("kind".to_owned(), "Secret".into());
            object.insert("type".to_owned(), secret_type.into());
            object.insert("data".to_owned(), data.into());
        }
    }
    if generator.options.immutable || global.immutable {
        object.insert("immutable".to_owned(), true.into());
    }
    Ok(object.into())
}

fn config_map_data(object: &mut Map<String, Value>, data: Data) {
    for (key, bytes) in data {
        let (field, value) = match String::from_utf8(bytes) {
            Ok(text) => ("data", text),
            Err(error) => ("binaryData", in_base64(error.as_bytes())),
        };
        let fields = object.entry(field).or_insert_with(|| Value::Object(Map::new()));
        if let Some(fields) = fields.as_object_mut() {
            fields.insert(key, value.into());
        }
    }
}

fn in_base64(bytes: &[u8]) -> String {
    let text = STANDARD.encode(bytes);
    if text.len() < BASE64_LINE {
        return text;
    }
    let mut lines = String::with_capacity(text.len() + text.len() / BASE64_LINE + 1);
    for (at, c) in text.chars().enumerate() {
        if at > 0 && at % BASE64_LINE == 0 {
            lines.push('\n');
        }
        lines.push(c);
    }
    lines.push('\n');
    lines
}

fn data(generator: &Generator, root: &Root) -> Result<Data, String> {
    let mut data = Data::new();
    let mut add = |key: String, value: Vec<u8>| match data.insert(key.clone(), value) {
        None => Ok(()),
        Some(_) => Err(format!("the key {key:?} is given twice")),
    };
    let old_form = Some(&generator.env).filter(|env| !env.is_empty());
    for file in generator.envs.iter().chain(old_form) {
        for (key, value) in env_file(&root.read(file).map_err(|error| error.to_string())?, file)? {
            add(key, value.into())?;
        }
    }
    for literal in &generator.literals {
        let pair = literal.split_once('=').filter(|(key, _)| !key.is_empty());
        let (key, value) = pair.ok_or_else(|| format!("the literal {literal:?} is not key=value"))?;
        add(key.to_owned(), unquoted(value).into())?;
    }
    for file in &generator.files {
        let (key, path) = file_source(file)?;
        add(key, root.read(path).map_err(|error| error.to_string())?)?;
    }
    Ok(data)
}

fn unquoted(text: &str) -> &str {
    let quoted = |quote: char| text.len() >= 2 && text.starts_with(quote) && text.ends_with(quote);
    if quoted('"') || quoted('\'') { text.get(1..text.len() - 1).unwrap_or_default() } else { text }
}

/// `path`, or `key=path`.
fn file_source(source: &str) -> Result<(String, &str), String> {
    match source.split_once('=') {
        None => {
            let name = Path::new(source).file_name().and_then(|name| name.to_str());
            Ok((name.ok_or_else(|| format!("{source:?} names no file"))?.to_owned(), source))
        }
        Some((key, path)) if !key.is_empty() && !path.is_empty() && !path.contains('=') => Ok((key.to_owned(), path)),
        Some(_) => Err(format!("the file source {source:?} is neither a path nor key=path")),
    }
}

/// Lines of `KEY=value`; empty ones and `#` comments are passed over, spaces before the key too.
fn env_file(content: &[u8], file: &str) -> Result<Vec<(String, String)>, String> {
    let text = std::str::from_utf8(content).map_err(|_| format!("{file} is not UTF-8 text"))?;
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let lines = text.split('\n').map(|line| line.strip_suffix('\r').unwrap_or(line).trim_start());
    let pairs = lines.filter(|line| !line.is_empty() && !line.starts_with('#'));
    Ok(pairs
        .map(|line| line.split_once('=').unwrap_or((line, "")))
        .map(|(k, v)| (k.to_owned(), v.to_owned()))
        .collect())
}

/// Ends the names of generated objects with a hash of their content, so that what uses them rolls out when it changes.
pub(super) fn add_hashes(resources: &mut Resources) {
    for resource in resources.0.iter_mut().filter(|resource| resource.hashed) {
        let name = format!("{}-{}", resource.id().name, hash(&resource.value));
        resource.remember();
        resource.set_meta("name", &name);
    }
}

/// kustomize's hash: of a JSON text of fixed form, in which the name is always empty.
fn hash(object: &Value) -> String {
    let kind = object.get("kind").cloned().unwrap_or_default();
    let field = |name: &str| object.get(name).cloned().unwrap_or_else(|| "".into());
    let mut hashed = json!({"kind": kind, "name": "", "data": field("data")});
    let is_secret = kind == "Secret";
    if let Some(fields) = hashed.as_object_mut() {
        if is_secret {
            fields.insert("type".to_owned(), field("type"));
        }
        let other = if is_secret { "stringData" } else { "binaryData" };
        if let Some(value) = object.get(other).filter(|value| value.is_object()) {
            fields.insert(other.to_owned(), value.clone());
        }
    }
    let digest = Sha256::digest(as_go_prints_it(&hashed));
    let hex: String = digest.iter().take(5).map(|byte| format!("{byte:02x}")).collect();
    // Vowels and what looks like them are replaced, so that no words come about.
    let safe = |c| match c {
        '0' => 'g',
        '1' => 'h',
        '3' => 'k',
        'a' => 'm',
        'e' => 't',
        other => other,
    };
    hex.chars().map(safe).collect()
}

/// JSON as Go's encoder writes it: sorted, and with the characters escaped that HTML could trip over.
fn as_go_prints_it(value: &Value) -> String {
    let mut text = value.to_string();
    for (plain, escaped) in
        [("<", "\\u003c"), (">", "\\u003e"), ("&", "\\u0026"), ("\u{2028}", "\\u2028"), ("\u{2029}", "\\u2029")]
    {
        text = text.replace(plain, escaped);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hashes_are_kustomizes() {
        // As kubectl names them.
        let rows = [
            (json!({"kind": "ConfigMap", "metadata": {"name": "own"}, "data": {"a": "b"}}), "4h2mbtbbt6"),
            (json!({"kind": "ConfigMap", "data": {"a": "<b>&\u{2028}"}}), "cbbk8tctmd"),
            (json!({"kind": "ConfigMap"}), "6ct58987ht"),
            (json!({"kind": "Secret", "type": "Opaque", "data": {"a": "Yg=="}}), "k695gkmbtk"),
        ];
        for (object, expected) in rows {
            assert_eq!(hash(&object), expected, "{object}");
        }
    }

    #[test]
    fn sources_name_their_key_or_take_the_files_name() {
        assert_eq!(file_source("a/b.txt"), Ok(("b.txt".to_owned(), "a/b.txt")));
        assert_eq!(file_source("k=a/b.txt"), Ok(("k".to_owned(), "a/b.txt")));
        for wrong in ["=a", "k=", "k=a=b"] {
            assert!(file_source(wrong).is_err(), "{wrong}");
        }
        assert_eq!((unquoted("\"a\""), unquoted("'a"), unquoted("\"")), ("a", "'a", "\""));
    }

    #[test]
    fn env_files_have_comments_and_values_with_equal_signs() {
        let pairs = env_file(b"\xef\xbb\xbf# c\n\n  A=b=c \r\nD\n", "x").unwrap();
        assert_eq!(pairs, [("A".to_owned(), "b=c ".to_owned()), ("D".to_owned(), String::new())]);
    }
}
