//! Figures as `kubectl get` shows them: tables, in metrics-server's columns.

use std::time::Duration;

use serde_json::{Value, json};

/// A table of objects, and a row for each: its name, what it uses, and over how long. `include` is the query's `includeObject`.
pub(super) fn table(objects: Vec<(Value, [String; 3])>, include: Option<&str>) -> Value {
    let row = |(object, [cpu, memory, window]): (Value, [String; 3])| {
        let name = object.pointer("/metadata/name").cloned().unwrap_or_default();
        let mut row = json!({"cells": [name, cpu, memory, window]});
        let shown = match include {
            Some("None") => None,
            Some("Object") => Some(object),
            _ => Some(metadata(&object)),
        };
        if let (Some(shown), Some(row)) = (shown, row.as_object_mut()) {
            row.insert("object".to_owned(), shown);
        }
        row
    };
    let rows: Vec<Value> = objects.into_iter().map(row).collect();
    let column = |name: &str, format: &str, description: &str| json!({"name": name, "type": "string", "format": format, "description": description, "priority": 0});
    let columns = [
        column("Name", "name", "Name of the resource"),
        column("cpu", "quantity", ""),
        column("memory", "quantity", ""),
        column("Window", "duration", ""),
    ];
    json!({"kind": "Table", "apiVersion": "meta.k8s.io/v1", "metadata": {}, "columnDefinitions": columns, "rows": rows})
}

/// Only an object's metadata.
pub(super) fn metadata(object: &Value) -> Value {
    json!({"kind": "PartialObjectMetadata", "apiVersion": "meta.k8s.io/v1", "metadata": object.get("metadata")})
}

/// As Go writes durations, to the millisecond: `15.02s`, `1m0.5s`.
pub(super) fn duration(time: Duration) -> String {
    let millis = time.as_millis();
    let (minutes, seconds) = (millis / 60_000, millis % 60_000);
    let fraction = format!("{:03}", seconds % 1000);
    let fraction = match fraction.trim_end_matches('0') {
        "" => String::new(),
        digits => format!(".{digits}"),
    };
    let seconds = format!("{}{fraction}s", seconds / 1000);
    match minutes {
        0 => seconds,
        1..60 => format!("{minutes}m{seconds}"),
        _ => format!("{}h{}m{seconds}", minutes / 60, minutes % 60),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_written_as_go_does() {
        let written = |millis| duration(Duration::from_millis(millis));
        assert_eq!(written(15_000), "15s");
        assert_eq!(written(15_020), "15.02s");
        assert_eq!(written(60_500), "1m0.5s");
        assert_eq!(written(3_600_000), "1h0m0s");
        assert_eq!(written(0), "0s");
    }

    #[test]
    fn a_row_has_as_much_of_its_object_as_is_asked_for() {
        let rows = || vec![(json!({"metadata": {"name": "a"}, "usage": 1}), ["1n", "2Ki", "3s"].map(str::to_owned))];
        let of = |include| table(rows(), include)["rows"][0].clone();
        assert_eq!(of(Some("None")), json!({"cells": ["a", "1n", "2Ki", "3s"]}));
        assert_eq!(of(Some("Object"))["object"]["usage"], 1);
        assert_eq!(of(None)["object"]["kind"], "PartialObjectMetadata");
    }
}
