//! `/metrics`: figures about the API server itself, in Prometheus' text form, under upstream's names.

use std::fmt::Write;

use http::{HeaderValue, header};
use objects::kinds::KINDS;

use super::{Answer, full};
use crate::registry::Registry;

/// How many objects there are of each resource.
pub(super) fn answer(registry: &Registry) -> Answer {
    let mut text = "# HELP apiserver_storage_objects Number of stored objects, by resource.\n\
                    # TYPE apiserver_storage_objects gauge\n"
        .to_owned();
    for kind in KINDS {
        let dot = if kind.group.is_empty() { "" } else { "." };
        let count = registry.list(kind, "").objects.len();
        // Writing to a string cannot fail.
        let _ = writeln!(text, "apiserver_storage_objects{{resource=\"{}{dot}{}\"}} {count}", kind.plural, kind.group);
    }
    let mut answer = Answer::new(full(text));
    let media = HeaderValue::from_static("text/plain; version=0.0.4; charset=utf-8");
    answer.headers_mut().insert(header::CONTENT_TYPE, media);
    answer
}
