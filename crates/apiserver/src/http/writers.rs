//! Who writes: the field manager that a request names, or that its User-Agent does.

use http::header;

use super::verbs::Call;
use crate::{
    registry::ownership::Write,
    status::{Cause, Failure},
};

/// A manager's name has so many bytes, at most.
const LONGEST: usize = 128;

impl Call<'_> {
    /// The write that this request is; `options` is the type of its parameters, as messages name it.
    ///
    /// # Errors
    /// 422 for a field manager that is no name, and for `force` where nothing is applied.
    pub(super) fn write(&self, options: &str) -> Result<Write, Failure> {
        let said = self.query.get("fieldManager").unwrap_or_default();
        let mut causes = wrong(said);
        let applied = super::apply::is_asked(self.headers);
        if applied && said.is_empty() {
            causes.push(Cause::required("fieldManager", "is required for apply patch"));
        }
        if options == "PatchOptions" && !applied && self.query.get("force").is_some() {
            causes.push(Cause::forbidden("force", "may not be specified for non-apply patch"));
        }
        if !causes.is_empty() {
            return Err(Failure::invalid_request(&format!("{options}.meta.k8s.io"), &causes));
        }
        let agent = self.headers.get(header::USER_AGENT).and_then(|agent| agent.to_str().ok()).unwrap_or_default();
        Ok(Write {
            dry_run: self.dry_run()?,
            manager: if said.is_empty() { prefix(agent) } else { said.to_owned() },
            view: Some(self.kind().clone()),
            subresource: self.target.subresource.clone().unwrap_or_default(),
            applied: false,
        })
    }
}

fn wrong(manager: &str) -> Vec<Cause> {
    let mut causes = Vec::new();
    if manager.len() > LONGEST {
        causes.push(Cause::too_long("fieldManager", LONGEST));
    }
    if manager.chars().any(char::is_control) {
        causes.push(Cause::invalid("fieldManager", &manager.into(), "should only contain printable characters"));
    }
    causes
}

/// What stands before the first `/` of a User-Agent, as far as it can be a manager's name.
fn prefix(agent: &str) -> String {
    let name = agent.split('/').next().unwrap_or_default();
    let mut prefix = String::new();
    for letter in name.chars().filter(|letter| !letter.is_control()) {
        if prefix.len() + letter.len_utf8() > LONGEST {
            break;
        }
        prefix.push(letter);
    }
    prefix
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_manager_is_what_stands_before_the_first_slash() {
        assert_eq!(prefix("kubectl/v1.33.0 (linux/amd64)"), "kubectl");
        assert_eq!((prefix("Mozilla"), prefix("")), ("Mozilla".to_owned(), String::new()));
        assert_eq!(prefix(&"é".repeat(100)).len(), 128);
    }

    #[test]
    fn a_manager_is_a_short_line() {
        assert!(wrong("kubectl-client-side-apply").is_empty());
        assert_eq!(wrong(&"a".repeat(129)).first().map(|cause| cause.reason), Some("FieldValueTooLong"));
        assert_eq!(wrong("a\nb").len(), 1);
    }
}
