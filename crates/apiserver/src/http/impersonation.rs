//! Acting as somebody else: `Impersonate-User` and what goes with it, as `kubectl --as` sends them.

use http::{HeaderMap, HeaderName};
use objects::wire;

use super::Identity;
use crate::status::Failure;

const PREFIX: &str = "impersonate-";
const USER: &str = "impersonate-user";
const GROUP: &str = "impersonate-group";
const UID: &str = "impersonate-uid";
const EXTRA: &str = "impersonate-extra-";

/// Who may do everything, and therefore nobody becomes who does not belong to it.
const MASTERS: &str = "system:masters";
const AUTHENTICATED: &str = "system:authenticated";
const UNAUTHENTICATED: &str = "system:unauthenticated";
const ANONYMOUS: &str = "system:anonymous";

/// Whoever a request is to be taken for: who asks, or who they say that they act as. What says so is taken out of the headers.
/// Everybody may act as others, as everybody may do everything here; but not as a member of `system:masters`, unless they are one.
///
/// # Errors
/// 403 for that, and 500 (as upstream) for a group, uid or extra without a user.
pub(super) fn acting(identity: Identity, headers: &mut HeaderMap) -> Result<Identity, Failure> {
    let names = headers.keys().filter(|name| name.as_str().starts_with(PREFIX));
    let names: Vec<HeaderName> = names.cloned().collect();
    if names.is_empty() {
        return Ok(identity);
    }
    let mut other = Identity::default();
    for name in names {
        let values = headers.get_all(&name).iter().filter_map(|value| value.to_str().ok()).map(str::to_owned);
        let values: Vec<String> = values.collect();
        headers.remove(&name);
        match (name.as_str(), name.as_str().strip_prefix(EXTRA)) {
            (USER, _) => other.user = values.into_iter().next().unwrap_or_default(),
            (UID, _) => other.uid = values.into_iter().next().unwrap_or_default(),
            (GROUP, _) => other.groups = values,
            // A key may hold what a header's name may not: that is escaped as in a path.
            (_, Some(key)) => drop(other.extra.insert(wire::decode(key).unwrap_or_else(|| key.to_owned()), values)),
            // No word of it is known, upstream's neither.
            _ => {}
        }
    }
    if other.user.is_empty() {
        if other == Identity::default() {
            return Ok(identity);
        }
        return Err(Failure::internal("requested a group, uid or extra without impersonating a user"));
    }
    complete(&mut other);
    let is_master = |identity: &Identity| identity.groups.iter().any(|group| group == MASTERS);
    if is_master(&other) && !is_master(&identity) {
        return Err(Failure::forbidden_impersonation(&identity.user, "groups", MASTERS));
    }
    Ok(other)
}

/// Adds the groups that a user is in without being said to be.
fn complete(other: &mut Identity) {
    let account = other.user.strip_prefix("system:serviceaccount:").and_then(|account| account.split_once(':'));
    if let (Some((namespace, _)), true) = (account, other.groups.is_empty()) {
        other.groups = vec!["system:serviceaccounts".to_owned(), format!("system:serviceaccounts:{namespace}")];
    }
    if !other.groups.iter().any(|group| group == AUTHENTICATED || group == UNAUTHENTICATED) {
        let group = if other.user == ANONYMOUS { UNAUTHENTICATED } else { AUTHENTICATED };
        other.groups.push(group.to_owned());
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use http::HeaderValue;

    use super::*;

    fn headers(all: &[(&'static str, &'static str)]) -> HeaderMap {
        let pair = |(name, value): &(&'static str, &'static str)| {
            (HeaderName::from_static(name), HeaderValue::from_static(value))
        };
        all.iter().map(pair).collect()
    }

    fn master() -> Identity {
        Identity { user: "admin".into(), groups: vec![MASTERS.into()], ..Identity::default() }
    }

    #[test]
    fn a_user_is_in_the_groups_that_are_said_and_in_those_of_everybody() {
        let become_of = |all: &[(&'static str, &'static str)]| {
            let other = acting(master(), &mut headers(all)).unwrap();
            (other.user, other.groups.join(" "))
        };
        assert_eq!(become_of(&[("accept", "*/*")]), ("admin".into(), MASTERS.into()));
        assert_eq!(become_of(&[(USER, "bob")]), ("bob".into(), AUTHENTICATED.into()));
        let grouped = [(USER, "bob"), (GROUP, "dev"), (GROUP, "ops")];
        assert_eq!(become_of(&grouped), ("bob".into(), "dev ops system:authenticated".into()));
        assert_eq!(become_of(&[(USER, ANONYMOUS)]), (ANONYMOUS.into(), UNAUTHENTICATED.into()));
        let account = "system:serviceaccount:default:robot";
        let groups = "system:serviceaccounts system:serviceaccounts:default system:authenticated";
        assert_eq!(become_of(&[(USER, account)]), (account.into(), groups.into()));
    }

    #[test]
    fn what_is_asked_for_is_taken_out_of_the_headers() {
        let mut said = headers(&[(USER, "bob"), (UID, "7"), ("impersonate-extra-a.b%2fc", "d"), ("accept", "*/*")]);
        let other = acting(master(), &mut said).unwrap();
        assert_eq!((other.uid.as_str(), said.len()), ("7", 1));
        assert_eq!(other.extra, BTreeMap::from([("a.b/c".to_owned(), vec!["d".to_owned()])]));
    }

    #[test]
    fn nobody_becomes_a_master_and_nothing_is_without_a_user() {
        let plain = Identity { user: "robot".into(), ..Identity::default() };
        let refused = acting(plain.clone(), &mut headers(&[(USER, "a"), (GROUP, MASTERS)])).unwrap_err();
        assert_eq!(refused.code.as_u16(), 403);
        assert!(acting(master(), &mut headers(&[(USER, "a"), (GROUP, MASTERS)])).is_ok());
        assert_eq!(acting(plain.clone(), &mut headers(&[(USER, "a")])).unwrap().user, "a");
        assert_eq!(acting(plain, &mut headers(&[(GROUP, "g")])).unwrap_err().code.as_u16(), 500);
    }
}
