//! CertificateSigningRequests: what is asked for never changes; `approval` says whether it is granted, `status` what was made of it.
//! No I/O. Nobody signs them here, which `objects::support` says.

use jiff::Timestamp;
use objects::kinds::Kind;
use serde_json::{Map, Value};

use super::{delete, meta};

/// The conditions that only the approval of a request sets.
pub(crate) const APPROVALS: &[&str] = &["Approved", "Denied"];

/// Whether a kind is that of requests for certificates.
pub(crate) fn is_certificate_request(kind: &Kind) -> bool {
    kind.is("certificates.k8s.io", "CertificateSigningRequest")
}

/// The request with the conditions that are wanted, and nothing else of the status.
pub(super) fn approved(current: &Value, wanted: &Value) -> Value {
    let mut next = current.clone();
    let conditions = wanted.pointer("/status/conditions").cloned();
    let status = meta::section(&mut next, "status");
    status.remove("conditions");
    status.extend(conditions.map(|conditions| ("conditions".to_owned(), conditions)));
    next
}

/// Puts back what a write to the status says of the approval, one condition for one: adding and removing them is refused later.
pub(super) fn keep_approvals(current: &Value, next: &mut Value) {
    for of in APPROVALS {
        let kept: Vec<_> = conditions(current).filter(|condition| is_of(condition, of)).cloned().collect();
        let found: Vec<_> = conditions_mut(next).filter(|condition| text(condition, "type") == *of).collect();
        if kept.len() != found.len() {
            continue;
        }
        for (found, kept) in found.into_iter().zip(kept) {
            if let Value::Object(kept) = kept {
                *found = kept;
            }
        }
    }
}

/// Gives conditions the times that they do not say: that of now, or of when they came to be what they are.
pub(super) fn date(current: &Value, next: &mut Value, now: Timestamp) {
    let now = Value::from(delete::time(now));
    for condition in conditions_mut(next) {
        let is_undated = |condition: &Map<String, Value>, field: &str| condition.get(field).is_none_or(Value::is_null);
        if is_undated(condition, "lastUpdateTime") {
            condition.insert("lastUpdateTime".to_owned(), now.clone());
        }
        if is_undated(condition, "lastTransitionTime") {
            let same = |old: &&Value| ["type", "status"].iter().all(|field| old.get(*field) == condition.get(*field));
            let since = conditions(current).find(same).and_then(|old| old.get("lastTransitionTime"));
            let since = since.filter(|since| !since.is_null()).unwrap_or(&now).clone();
            condition.insert("lastTransitionTime".to_owned(), since);
        }
    }
}

fn conditions(request: &Value) -> impl Iterator<Item = &Value> {
    request.pointer("/status/conditions").and_then(Value::as_array).into_iter().flatten()
}

fn conditions_mut(request: &mut Value) -> impl Iterator<Item = &mut Map<String, Value>> {
    let conditions = request.pointer_mut("/status/conditions").and_then(Value::as_array_mut);
    conditions.into_iter().flatten().filter_map(Value::as_object_mut)
}

fn is_of(condition: &Value, of: &str) -> bool {
    condition.get("type").is_some_and(|name| name == of)
}

fn text<'a>(condition: &'a Map<String, Value>, field: &str) -> &'a str {
    condition.get(field).and_then(Value::as_str).unwrap_or_default()
}
