//! Who asks for a certificate.

use objects::kinds::Kind;
use serde_json::{Value, json};

use super::Identity;
use crate::registry::{meta, requests::is_certificate_request};

/// What a request for a certificate says of who made it.
const WHO: &[&str] = &["username", "uid", "groups", "extra"];

/// Says in a new CertificateSigningRequest who makes it. Whatever it says of that itself counts for nothing, as upstream: those who
/// approve and sign requests go by it.
pub(super) fn say_who_asks(kind: &Kind, request: &mut Value, identity: &Identity) {
    if !is_certificate_request(kind) {
        return;
    }
    let spec = meta::section(request, "spec");
    for field in WHO {
        spec.remove(*field);
    }
    let Identity { user, groups, uid, extra } = identity;
    let who = [json!(user), json!(uid), json!(groups), json!(extra)];
    let is_empty = |value: &Value| [json!(""), json!([]), json!({})].contains(value);
    let said = WHO.iter().zip(who).filter(|(_, value)| !is_empty(value));
    spec.extend(said.map(|(field, value)| ((*field).to_owned(), value)));
}

#[cfg(test)]
mod tests {
    use objects::kinds;

    use super::*;

    #[test]
    fn who_asks_is_not_said_by_the_request_itself() {
        let kind = kinds::by_kind("certificates.k8s.io", "v1", "CertificateSigningRequest").unwrap();
        let identity = Identity { user: "jane".into(), groups: vec!["team".into()], ..Identity::default() };
        let mut request =
            json!({"spec": {"username": "system:admin", "uid": "u", "extra": {"a": ["b"]}, "usages": []}});
        say_who_asks(kind, &mut request, &identity);
        assert_eq!(request["spec"], json!({"username": "jane", "groups": ["team"], "usages": []}));
    }
}
