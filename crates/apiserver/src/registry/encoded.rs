//! Objects as the text that is stored.
//!
//! Which revision a write gets is known only when its turn has come, and whoever writes then keeps everybody else waiting. So the
//! text is made before, but for the revision.

use objects::kinds::Kind;
use serde_json::{Map, Value};

use super::meta;
use crate::crd;

/// An object's text, to which nothing but the revision that writes it is to be added.
#[derive(Clone, Debug)]
pub(super) struct Encoded {
    text: Vec<u8>,
    /// Where the revision goes; `None`: the object says none.
    at: Option<usize>,
}

impl Encoded {
    /// What is stored of an object; `written` is whether it will have a revision.
    pub(super) fn new(kind: &Kind, object: &mut Value, written: bool) -> Self {
        crd::objects::write(kind, object);
        meta::set(object, "resourceVersion", written.then(|| "".into()));
        let (mut text, mut at) = (Vec::with_capacity(1024), None);
        match object {
            Value::Object(map) => members(map, &mut text, |name, value, text| match value {
                Value::Object(metadata) if name == "metadata" => members(metadata, text, |name, value, text| {
                    put(value, text);
                    // Before the closing quotation mark.
                    at = (written && name == "resourceVersion").then(|| text.len() - 1).or(at);
                }),
                value => put(value, text),
            }),
            value => put(value, &mut text),
        }
        Self { text, at }
    }

    /// The text of the object as this revision writes it.
    pub(super) fn at(mut self, revision: u64) -> Vec<u8> {
        if let Some(at) = self.at {
            self.text.splice(at..at, revision.to_string().into_bytes());
        }
        self.text
    }
}

fn members(map: &Map<String, Value>, text: &mut Vec<u8>, mut value: impl FnMut(&str, &Value, &mut Vec<u8>)) {
    let mut mark = b'{';
    for (name, member) in map {
        text.push(mark);
        put(name, text);
        text.push(b':');
        value(name, member, text);
        mark = b',';
    }
    text.extend_from_slice(if map.is_empty() { b"{}" } else { b"}" });
}

fn put(value: &(impl serde::Serialize + ?Sized), text: &mut Vec<u8>) {
    // Neither can writing to memory fail, nor a value or a string be what has no JSON.
    let _ = serde_json::to_writer(text, value);
}

#[cfg(test)]
mod tests {
    use objects::kinds;
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn encoded(mut object: Value, revision: Option<u64>) -> Value {
        let kind = kinds::by_kind("", "v1", "ConfigMap").unwrap();
        let text = Encoded::new(kind, &mut object, revision.is_some()).at(revision.unwrap_or(0));
        serde_json::from_slice(&text).unwrap()
    }

    #[test]
    fn a_text_says_the_revision_and_what_the_object_says() {
        let object = json!({"a": {"metadata": {"resourceVersion": ""}}, "metadata": {"name": "resourceVersion", "z": "\"\n"}, "z": []});
        let mut expected = object.clone();
        assert_eq!(encoded(object.clone(), None), expected);
        expected["metadata"]["resourceVersion"] = json!("70");
        assert_eq!(encoded(object, Some(70)), expected);
        assert_eq!(encoded(expected.clone(), Some(70)), expected, "an earlier revision gives way");
        assert_eq!(encoded(json!({}), Some(1)), json!({"metadata": {"resourceVersion": "1"}}));
        assert_eq!(encoded(json!({}), None), json!({"metadata": {}}));
    }

    proptest! {
        #[test]
        fn whatever_an_object_says_is_kept(data in prop::collection::btree_map("\\PC{0,9}", "\\PC{0,20}", 0..5), revision: u64) {
            let object = json!({"data": data, "metadata": {"annotations": data, "name": "a"}});
            let mut expected = object.clone();
            expected["metadata"]["resourceVersion"] = revision.to_string().into();
            prop_assert_eq!(encoded(object, Some(revision)), expected);
        }
    }
}
