//! Objects from files, folders and standard input, as `kubectl -f` takes them.

use std::{
    fs,
    io::Read,
    path::{Path, PathBuf},
};

use serde_json::Value;

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
}

/// Why a manifest could not be read.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The file itself.
    #[error("read {}: {reason}", path.display())]
    Read {
        /// Which file.
        path: PathBuf,
        /// What the system said.
        reason: String,
    },
    /// Its text.
    #[error("{}:{line}: {reason}", path.display())]
    Text {
        /// Which file.
        path: PathBuf,
        /// The line, counted from 1.
        line: u64,
        /// What is wrong with it.
        reason: String,
    },
    /// What it holds.
    #[error("{}: object {index}: {reason}", path.display())]
    NotAnObject {
        /// Which file.
        path: PathBuf,
        /// Which of its documents, counted from 1.
        index: usize,
        /// What is wrong with it.
        reason: &'static str,
    },
}

/// The objects in a file, in the manifest files of a folder (not below it; in order of name), or on standard input (`-`). Lists
/// are taken apart, empty documents passed over.
///
/// # Errors
/// Names the file, and the line or document.
pub fn load(path: &Path) -> Result<Vec<Object>, Error> {
    let failed = |path: &Path| {
        let path = path.to_owned();
        move |e: std::io::Error| Error::Read { path, reason: e.to_string() }
    };
    if path == Path::new("-") {
        let mut text = String::new();
        std::io::stdin().take(LARGEST).read_to_string(&mut text).map_err(failed(path))?;
        return parse(&text, path);
    }
    if !path.is_dir() {
        return parse(&read(path)?, path);
    }
    let mut files = Vec::new();
    for entry in fs::read_dir(path).map_err(failed(path))? {
        let file = entry.map_err(failed(path))?.path();
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

fn read(path: &Path) -> Result<String, Error> {
    let failed = |reason: String| Error::Read { path: path.to_owned(), reason };
    let size = fs::metadata(path).map_err(|e| failed(e.to_string()))?.len();
    if size > LARGEST {
        return Err(failed(format!("it has {size} bytes; a manifest may have {LARGEST}")));
    }
    fs::read_to_string(path).map_err(|e| failed(e.to_string()))
}

/// The objects in a text of YAML documents (JSON is YAML); `source` is for messages.
///
/// # Errors
/// As [`load`].
pub fn parse(text: &str, source: &Path) -> Result<Vec<Object>, Error> {
    let documents: Vec<Value> = serde_saphyr::from_multiple(text).map_err(|error| Error::Text {
        path: source.to_owned(),
        line: error.location().map_or(0, |at| at.line()),
        reason: error.to_string(),
    })?;
    let mut objects = Vec::new();
    for (index, document) in documents.into_iter().enumerate() {
        if document.is_null() {
            continue;
        }
        let wrong = |reason| Error::NotAnObject { path: source.to_owned(), index: index + 1, reason };
        for value in unpack(document) {
            let has = |field: &str| value.get(field).and_then(Value::as_str).is_some_and(|text| !text.is_empty());
            if !value.is_object() {
                return Err(wrong("it is not a mapping"));
            }
            if !has("apiVersion") || !has("kind") {
                return Err(wrong("it needs both apiVersion and kind"));
            }
            objects.push(Object { value, source: source.to_owned() });
        }
    }
    Ok(objects)
}

/// The items of a `List`, or the document itself.
fn unpack(mut document: Value) -> Vec<Value> {
    let is_list = document.get("kind").is_some_and(|kind| kind == "List");
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
        assert!(parsed("just text").is_err() && parsed("kind: A").is_err());
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

    #[test]
    fn aliases_cannot_blow_up() {
        let mut text = "a0: &a0 [x, x]\n".to_owned();
        for i in 1..40 {
            text.push_str(&format!("a{i}: &a{i} [*a{}, *a{}, *a{}]\n", i - 1, i - 1, i - 1));
        }
        assert!(parsed(&text).is_err());
    }

    proptest! {
        #[test]
        fn no_text_makes_it_panic(text in "\\PC{0,200}") {
            let _ = parsed(&text);
        }
    }
}
