//! Events: `events.k8s.io/v1` is a view of `v1`'s, with other names for some fields.

use serde_json::{Map, Value};

/// (in `v1`, in `events.k8s.io/v1`); the other fields have the same name in both.
const NAMES: &[(&str, &str)] = &[
    ("involvedObject", "regarding"),
    ("message", "note"),
    ("source", "deprecatedSource"),
    ("firstTimestamp", "deprecatedFirstTimestamp"),
    ("lastTimestamp", "deprecatedLastTimestamp"),
    ("count", "deprecatedCount"),
    ("reportingComponent", "reportingController"),
];

fn rename(object: Value, api_version: &str, name: impl Fn(&str) -> Option<&'static str>) -> Value {
    let Value::Object(fields) = object else { return object };
    let renamed = fields.into_iter().map(|(field, value)| (name(&field).map_or(field, str::to_owned), value));
    let mut renamed: Map<String, Value> = renamed.collect();
    renamed.insert("apiVersion".to_owned(), api_version.into());
    Value::Object(renamed)
}

pub(super) fn to_core(object: Value) -> Value {
    rename(object, "v1", |field| NAMES.iter().find(|(_, view)| *view == field).map(|(core, _)| *core))
}

pub(super) fn from_core(object: Value) -> Value {
    rename(object, "events.k8s.io/v1", |field| NAMES.iter().find(|(core, _)| *core == field).map(|(_, view)| *view))
}

pub(super) fn core_path(path: &str) -> String {
    let (first, rest) = path.split_once('.').map_or((path, None), |(first, rest)| (first, Some(rest)));
    let first = NAMES.iter().find(|(_, view)| *view == first).map_or(first, |(core, _)| core);
    rest.map_or_else(|| first.to_owned(), |rest| format!("{first}.{rest}"))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn an_event_is_the_same_in_both_versions() {
        let core = json!({"apiVersion": "v1", "kind": "Event", "involvedObject": {"name": "p"}, "message": "m", "reason": "r",
            "reportingComponent": "c", "count": 2});
        let view = from_core(core.clone());
        assert_eq!((&view["regarding"]["name"], &view["note"]), (&json!("p"), &json!("m")));
        assert_eq!((&view["reportingController"], &view["deprecatedCount"]), (&json!("c"), &json!(2)));
        assert_eq!(to_core(view), core);
        assert_eq!(core_path("regarding.name"), "involvedObject.name");
        assert_eq!(core_path("reason"), "reason");
    }
}
