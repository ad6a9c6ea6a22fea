//! Lists: what they select, their pages, and deleting what a list holds.

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use http::StatusCode;
use serde_json::{Value, json};

use super::{
    Answer,
    respond::{self, Form},
    selection::Selection,
    verbs::Call,
};
use crate::{
    registry::parse,
    status::Failure,
    store::{Key, Snapshot, Stored},
};

impl Call<'_> {
    pub(super) fn list(&self) -> Result<Answer, Failure> {
        let selection = Selection::of(&self.target, &self.query)?;
        let limit = self.query.number::<usize>("limit")?.filter(|limit| *limit > 0).unwrap_or(usize::MAX);
        let after = self.query.get("continue").map(Position::decode).transpose()?;
        let snapshot = self.snapshot(after.as_ref())?;
        let mut items: Vec<&Stored> = Vec::new();
        let mut last: Option<&Key> = None;
        let mut metadata = json!({"resourceVersion": snapshot.revision.to_string()});
        for (index, (key, stored)) in snapshot.objects.iter().enumerate() {
            if after.as_ref().is_some_and(|p| (&key.namespace, &key.name) <= (&p.namespace, &p.name)) {
                continue;
            }
            if !selection.is_everything() && !selection.matches(self.target.kind, &parse(stored)?) {
                continue;
            }
            if items.len() == limit {
                if let (Some(last), Some(map)) = (last, metadata.as_object_mut()) {
                    map.insert("continue".to_owned(), Position::of(last, Some(snapshot.revision)).encode().into());
                    // With a selector nobody knows how many of the rest it selects.
                    if selection.is_everything() {
                        map.insert("remainingItemCount".to_owned(), (snapshot.objects.len() - index).into());
                    }
                }
                break;
            }
            items.push(stored);
            last = Some(key);
        }
        let list = Form::accepted(self.headers).list(self.target.kind, &self.query, &items, metadata)?;
        Ok(respond::bytes(StatusCode::OK, list))
    }

    /// The state that a list shows: the current one, the one its first page showed, or the one that is asked for exactly.
    fn snapshot(&self, after: Option<&Position>) -> Result<Snapshot, Failure> {
        let registry = &self.handler.registry;
        let (kind, namespace) = (self.target.kind, self.target.namespace.as_str());
        let revision = self.query.number::<u64>("resourceVersion")?.filter(|revision| *revision > 0);
        let exactly = match (self.query.get("resourceVersionMatch"), revision) {
            (None | Some("NotOlderThan"), _) => None,
            (Some("Exact"), Some(revision)) => Some(revision),
            (Some("Exact"), None) => {
                return Err(Failure::bad_request(
                    "resourceVersionMatch: Forbidden: resourceVersionMatch \"exact\" is forbidden for resourceVersion \"0\"",
                ));
            }
            (Some(other), _) => {
                let message = format!(
                    "resourceVersionMatch: Unsupported value: {other:?}: supported values: \"Exact\", \"NotOlderThan\""
                );
                return Err(Failure::bad_request(message));
            }
        };
        if let Some(position) = after {
            if revision.is_some() {
                return Err(Failure::bad_request("specifying resource version is not allowed when using continue"));
            }
            let Some(first) = position.revision else { return Ok(registry.list(kind, namespace)) };
            let old = registry.store().list_at(&registry.resource(kind), namespace, first);
            return old.ok_or_else(|| Failure::continue_expired(&position.inconsistent().encode()));
        }
        if let Some(revision) = revision {
            let current = registry.store().revision();
            if revision > current {
                return Err(Failure::too_large_version(revision, current));
            }
        }
        match exactly {
            None => Ok(registry.list(kind, namespace)),
            Some(revision) => {
                let old = registry.store().list_at(&registry.resource(kind), namespace, revision);
                old.ok_or_else(|| Failure::expired(revision))
            }
        }
    }

    pub(super) async fn delete_collection(self) -> Result<Answer, Failure> {
        let selection = Selection::of(&self.target, &self.query)?;
        let options = self.delete_options()?;
        let dry_run = self.dry_run()? || options.dry_run.is_some();
        let registry = &self.handler.registry;
        let snapshot = registry.list(self.target.kind, &self.target.namespace);
        let mut items = Vec::new();
        for (key, stored) in &snapshot.objects {
            if !selection.matches(self.target.kind, &parse(stored)?) {
                continue;
            }
            match registry.delete(self.target.kind, &key.namespace, &key.name, options.clone(), dry_run).await {
                Ok(_) => items.push(stored),
                // Somebody else was quicker: it is gone, which is what was asked for.
                Err(failure) if failure.code == StatusCode::NOT_FOUND => {}
                Err(failure) => return Err(failure),
            }
        }
        let metadata = json!({"resourceVersion": registry.store().revision().to_string()});
        let list = Form::accepted(self.headers).list(self.target.kind, &self.query, &items, metadata)?;
        Ok(respond::bytes(StatusCode::OK, list))
    }
}

/// Where the next page of a list begins, and of which state it is.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Position {
    /// The state of the first page; `None` goes on with whatever there is now.
    revision: Option<u64>,
    namespace: String,
    name: String,
}

impl Position {
    fn of(last: &Key, revision: Option<u64>) -> Self {
        Self { revision, namespace: last.namespace.clone(), name: last.name.clone() }
    }

    fn inconsistent(&self) -> Self {
        Self { revision: None, ..self.clone() }
    }

    fn encode(&self) -> String {
        let revision = self.revision.map_or(Value::from(-1), Value::from);
        let start = format!("{}/{}", self.namespace, self.name);
        URL_SAFE_NO_PAD.encode(json!({"v": "meta.k8s.io/v1", "rv": revision, "start": start}).to_string())
    }

    fn decode(token: &str) -> Result<Self, Failure> {
        let invalid = || Failure::bad_request("continue key is not valid");
        let bytes = URL_SAFE_NO_PAD.decode(token).map_err(|_| invalid())?;
        let token: Value = serde_json::from_slice(&bytes).map_err(|_| invalid())?;
        let start = token.get("start").and_then(Value::as_str).and_then(|start| start.split_once('/'));
        let (namespace, name) = start.ok_or_else(invalid)?;
        let revision = token.get("rv").and_then(Value::as_i64).ok_or_else(invalid)?;
        Ok(Self { revision: u64::try_from(revision).ok(), namespace: namespace.to_owned(), name: name.to_owned() })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_position_survives_its_token(namespace in "[a-z]{0,9}", name in "[a-z.]{1,9}", revision in prop::option::of(0..u64::MAX / 2)) {
            let position = Position { revision, namespace, name };
            prop_assert_eq!(Position::decode(&position.encode()).unwrap(), position);
        }

        #[test]
        fn no_token_makes_it_panic(token in "\\PC{0,40}") {
            let _ = Position::decode(&token);
        }
    }
}
