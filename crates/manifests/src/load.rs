//! Objects from files, folders and standard input, as `kubectl -f` takes them.

use std::{
    fs,
    io::Read,
    path::{Path, PathBuf},
};

use serde_json::Value;

use crate::{
    error::Error,
    yaml::{self, Dialect},
};

/// The largest file taken.
const LARGEST: u64 = 32 * 1024 * 1024;
/// The endings of manifest files in a folder.
const ENDINGS: &[&str] = &["yaml", "yml", "json"];

/// One object, and where it came from.
#[derive(Clone, Debug, PartialEq)]
pub struct Object {
    /// The object.
    pub value: Value,
    /// The file; `-` for standard input.
    pub source: PathBuf,
    /// The line of the file on which its document begins, counted from 1; `None` for what a kustomization made.
    pub line: Option<u64>,
}

/// The objects in a file, in the manifest files of a folder (not below it; in order of name), or on standard input (`-`). Lists
/// are taken apart, empty documents passed over.
///
/// # Errors
/// Names the file, and the line or document.
pub fn load(path: &Path) -> Result<Vec<Object>, Error> {
    if path == Path::new("-") {
        let mut text = String::new();
        std::io::stdin().take(LARGEST + 1).read_to_string(&mut text).map_err(|e| Error::read(path, e))?;
        if text.len() as u64 > LARGEST {
            return Err(Error::read(path, format!("it has more than {LARGEST} bytes")));
        }
        return parse(&text, path);
    }
    if !path.is_dir() {
        return parse(&read(path)?, path);
    }
    let mut files = Vec::new();
    for entry in fs::read_dir(path).map_err(|e| Error::read(path, e))? {
        let file = entry.map_err(|e| Error::read(path, e))?.path();
        if file.is_file() && file.extension().is_some_and(|ending| ENDINGS.iter().any(|known| ending == *known)) {
            files.push(file);
        }
    }
    files.sort();
    let mut objects = Vec::new();
    for file in files {
        objects.extend(parse(&read(&file)?, &file)?);
    }
    Ok(objects)
}

/// The text of a file, within the limit.
pub(crate) fn read(path: &Path) -> Result<String, Error> {
    String::from_utf8(read_bytes(path)?).map_err(|_| Error::read(path, "it is not UTF-8 text"))
}

/// The content of a file, within the limit.
pub(crate) fn read_bytes(path: &Path) -> Result<Vec<u8>, Error> {
    let failed = |reason: String| Error::read(path, reason);
    let size = fs::metadata(path).map_err(|e| failed(e.to_string()))?.len();
    if size > LARGEST {
        return Err(failed(format!("it has {size} bytes; a manifest may have {LARGEST}")));
    }
    fs::read(path).map_err(|e| failed(e.to_string()))
}

/// The objects in a text of YAML documents (JSON is YAML); `source` is for messages.
///
/// # Errors
/// As [`load`].
pub fn parse(text: &str, source: &Path) -> Result<Vec<Object>, Error> {
    let documents = yaml::documents(text, Dialect::Kubectl).map_err(|e| Error::text(source, e.line, e.reason))?;
    let mut objects = Vec::new();
    for document in documents.into_iter().filter(|document| !document.value.is_null()) {
        let wrong = |reason: &str| Error::text(source, document.line, reason);
        for value in unpack(document.value) {
            let has = |field: &str| value.get(field).and_then(Value::as_str).is_some_and(|text| !text.is_empty());
            if !value.is_object() {
                return Err(wrong("an object must be a mapping"));
            }
            if !has("apiVersion") || !has("kind") {
                return Err(wrong("an object needs both apiVersion and kind"));
            }
            let version = value.get("apiVersion").and_then(Value::as_str).unwrap_or_default();
            if version.starts_with("kustomize.config.k8s.io/") {
                return Err(wrong("a kustomization is not an object: give its folder with -k"));
            }
            objects.push(Object { value, source: source.to_owned(), line: Some(document.line) });
        }
    }
    Ok(objects)
}

/// The items of a `List` or any other list of objects (`ConfigMapList`), or the document itself.
fn unpack(mut document: Value) -> Vec<Value> {
    let is_list = document.get("kind").and_then(Value::as_str).is_some_and(|kind| kind.ends_with("List"));
    match document.get_mut("items").map(Value::take) {
        Some(Value::Array(items)) if is_list => items,
        Some(other) => {
            if let Some(map) = document.as_object_mut() {
                map.insert("items".to_owned(), other);
            }
            vec![document]
        }
        None => vec![document],
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn parsed(text: &str) -> Result<Vec<Value>, Error> {
        Ok(parse(text, Path::new("a.yaml"))?.into_iter().map(|object| object.value).collect())
    }

    #[test]
    fn documents_and_lists_are_taken_apart() {
        let text = "---\napiVersion: v1\nkind: A\n---\n---\napiVersion: v1\nkind: List\nitems:\n- {apiVersion: v1, kind: B}\n- {apiVersion: v1, kind: C}\n";
        let kinds: Vec<_> = parsed(text).unwrap().iter().map(|o| o["kind"].as_str().unwrap().to_owned()).collect();
        assert_eq!(kinds, ["A", "B", "C"]);
    }

    #[test]
    fn a_mistake_is_named_with_its_file_and_line() {
        let error = parsed("apiVersion: v1\nkind: A\nspec: [1, 2\n").unwrap_err().to_string();
        assert!(error.starts_with("a.yaml:"), "{error}");
        let twice = parsed("apiVersion: v1\nkind: A\nkind: B\n").unwrap_err().to_string();
        assert!(twice.starts_with("a.yaml:3:"), "{twice}");
        assert!(parsed("just text").is_err());
        let kustomization = parsed("apiVersion: kustomize.config.k8s.io/v1beta1\nkind: Kustomization\n").unwrap_err();
        assert!(kustomization.to_string().contains("-k"), "{kustomization}");
        let later = parsed("apiVersion: v1\nkind: A\n---\nkind: B\n").unwrap_err().to_string();
        assert!(later.starts_with("a.yaml:4:"), "{later}");
    }

    #[test]
    fn a_folder_is_read_in_order_and_not_below() {
        let dir = tempfile::tempdir().unwrap();
        for (name, kind) in [("b.yaml", "B"), ("a.yml", "A"), ("c.json", "C"), ("d.txt", "D")] {
            fs::write(dir.path().join(name), format!("{{\"apiVersion\": \"v1\", \"kind\": \"{kind}\"}}")).unwrap();
        }
        let kinds: Vec<_> = load(dir.path()).unwrap().into_iter().map(|o| o.value["kind"].clone()).collect();
        assert_eq!(kinds, ["A", "B", "C"]);
    }

    proptest! {
        #[test]
        fn no_text_makes_it_panic(text in "\\PC{0,200}") {
            let _ = parsed(&text);
        }
    }
}
