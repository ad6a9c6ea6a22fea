//! CertificateSigningRequests, and what is decided about them.

use std::collections::HashSet;

use serde_json::Value;

use super::at::At;
use crate::{registry::requests::APPROVALS, status::Cause};

/// What only ever is: it was approved, denied, or could not be made.
const FINAL: &[&str] = &["Approved", "Denied", "Failed"];

pub(super) fn request(object: &At<'_>, causes: &mut Vec<Cause>) {
    let spec = object.field("spec");
    for field in ["request", "usages"] {
        let field = spec.field(field);
        if field.len() == 0 {
            causes.push(field.required(""));
        }
    }
    let signer = spec.field("signerName");
    if !signer.text().contains('/') {
        causes.push(if signer.text().is_empty() {
            signer.required("")
        } else {
            signer.invalid("must be a fully qualified domain and path of the form 'example.com/signer-name'")
        });
    }
    let expiry = spec.field("expirationSeconds");
    causes.extend(expiry.at_least(600, "may not specify a duration less than 600 seconds (10 minutes)"));
}

/// What is wrong with a decision about a request, or (unless it `is_approval`) with what was made of it: upstream's rules of its two
/// subresources. What was wrong before may stay so.
pub(super) fn decision(new: &Value, old: &Value, is_approval: bool) -> Vec<Cause> {
    let mut causes = conditions(new, old);
    for of in FINAL {
        let (was, is) = (count(old, of), count(new, of));
        let path = "status.conditions";
        if is < was {
            causes.push(Cause::forbidden(path, &format!("updates may not remove a condition of type {of:?}")));
        } else if is > was && !is_approval && APPROVALS.contains(of) {
            causes.push(Cause::forbidden(path, &format!("updates may not add a condition of type {of:?}")));
        }
    }
    let certificate = |request: &Value| At::root(request).field("status").field("certificate").text().to_owned();
    let was = certificate(old);
    if !was.is_empty() && was != certificate(new) {
        let why = "updates may not modify existing certificate content";
        causes.push(Cause::forbidden("status.certificate", why));
    }
    causes
}

fn conditions(new: &Value, old: &Value) -> Vec<Cause> {
    let mut causes = Vec::new();
    let (mut seen, mut decided) = (HashSet::new(), None);
    let were_both = APPROVALS.iter().all(|of| count(old, of) > 0);
    let were_twice = all(old).any(|condition| count(old, condition.field("type").text()) > 1);
    for condition in all(new) {
        let (of, status) = (condition.field("type"), condition.field("status"));
        causes.extend(of.must_be_set());
        let supported: &[&str] = if FINAL.contains(&of.text()) { &["True"] } else { &["False", "True", "Unknown"] };
        causes.extend(status.must_be_one_of(supported));
        if APPROVALS.contains(&of.text()) && !were_both {
            if decided.is_some_and(|other| other != of.text()) {
                causes.push(of.invalid("Approved and Denied conditions are mutually exclusive"));
            }
            decided = Some(of.text());
        }
        if !seen.insert(of.text()) && !were_twice {
            causes.push(of.duplicate());
        }
    }
    causes
}

fn all(request: &Value) -> impl Iterator<Item = At<'_>> {
    At::root(request).field("status").each("conditions")
}

fn count(request: &Value, of: &str) -> usize {
    all(request).filter(|condition| condition.field("type").text() == of).count()
}
