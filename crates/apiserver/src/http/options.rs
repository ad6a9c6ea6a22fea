//! The options of lists and watches (`ListOptions`): what they mean together, and which do not go together, as upstream
//! (apimachinery/pkg/apis/meta/internalversion/validation) has it.

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use serde_json::{Value, json};

use crate::{
    request::Query,
    status::{Cause, Failure},
    store::Key,
};

/// Which state of the objects a list is to show.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Version {
    /// The present one.
    Current,
    /// One that is as new as this revision, or newer.
    NotOlderThan(u64),
    /// Just this one.
    Exact(u64),
}

/// The options of a list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct ListOptions {
    /// Objects on a page; 0 is all.
    pub limit: usize,
    /// Where the page begins.
    pub after: Option<Position>,
    pub version: Version,
}

/// The options of a watch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct WatchOptions {
    /// From this revision on; `None` is from now on.
    pub after: Option<u64>,
    /// The present objects come first.
    pub initial: bool,
    /// They are ended by a bookmark that says so.
    pub marks_initial: bool,
    /// The present objects must be as new as this.
    pub at_least: u64,
    pub bookmarks: bool,
    /// Seconds until it ends.
    pub seconds: Option<u64>,
}

const MATCH: &str = "resourceVersionMatch";
const NOT_OLDER: &str = "NotOlderThan";
const EXACT: &str = "Exact";

fn invalid(causes: &[Cause]) -> Failure {
    Failure::invalid_kind("meta.k8s.io", "ListOptions", "", causes)
}

/// The query's `resourceVersion`; `Some(0)` is any state.
fn version(query: &Query) -> Result<Option<u64>, Failure> {
    let Some(text) = query.get("resourceVersion") else { return Ok(None) };
    let wrong = || {
        let message = format!("strconv.ParseUint: parsing {text:?}: invalid syntax");
        Failure::bad_request(format!("resourceVersion: Invalid value: {text:?}: {message}"))
    };
    text.parse().map(Some).map_err(|_| wrong())
}

impl ListOptions {
    /// Reads a list's options.
    ///
    /// # Errors
    /// 422 for options that do not go together, 400 for what cannot be read.
    pub(super) fn read(query: &Query) -> Result<Self, Failure> {
        let matching = query.get(MATCH);
        let mut causes = Vec::new();
        if let Some(matching) = matching {
            if query.get("resourceVersion").is_none() {
                let why = "resourceVersionMatch is forbidden unless resourceVersion is provided";
                causes.push(Cause::forbidden(MATCH, why));
            }
            if query.get("continue").is_some() {
                causes.push(Cause::forbidden(MATCH, "resourceVersionMatch is forbidden when continue is provided"));
            }
            if matching != EXACT && matching != NOT_OLDER {
                causes.push(Cause::not_supported(MATCH, &matching.into(), &[EXACT, NOT_OLDER, ""]));
            }
            if matching == EXACT && query.get("resourceVersion") == Some("0") {
                let why = "resourceVersionMatch \"exact\" is forbidden for resourceVersion \"0\"";
                causes.push(Cause::forbidden(MATCH, why));
            }
        }
        if query.get("sendInitialEvents").is_some() {
            causes.push(Cause::forbidden("sendInitialEvents", "sendInitialEvents is forbidden for list"));
        }
        if !causes.is_empty() {
            return Err(invalid(&causes));
        }
        let limit = query.number::<i64>("limit")?.and_then(|limit| usize::try_from(limit).ok()).unwrap_or(0);
        let asked = version(query)?;
        let after = query.get("continue").map(Position::decode).transpose()?;
        if after.is_some() && asked.is_some_and(|asked| asked > 0) {
            return Err(Failure::bad_request("specifying resource version is not allowed when using continue"));
        }
        let version = match (matching, asked.filter(|asked| *asked > 0)) {
            (_, None) => Version::Current,
            (Some(EXACT), Some(asked)) => Version::Exact(asked),
            // From before there was a resourceVersionMatch: pages show the state that is asked for.
            (None, Some(asked)) if limit > 0 => Version::Exact(asked),
            (_, Some(asked)) => Version::NotOlderThan(asked),
        };
        Ok(Self { limit, after, version })
    }
}

impl WatchOptions {
    /// Reads a watch's options.
    ///
    /// # Errors
    /// As [`ListOptions::read`].
    pub(super) fn read(query: &Query) -> Result<Self, Failure> {
        let matching = query.get(MATCH);
        let initial = query.get("sendInitialEvents").map(|_| query.is_on("sendInitialEvents"));
        let mut causes = Vec::new();
        if initial.is_some() && matching != Some(NOT_OLDER) {
            let why = "sendInitialEvents requires setting resourceVersionMatch to NotOlderThan";
            causes.push(Cause::forbidden(MATCH, why));
        }
        if let Some(matching) = matching {
            if initial.is_none() {
                let why = "resourceVersionMatch is forbidden for watch unless sendInitialEvents is provided";
                causes.push(Cause::forbidden(MATCH, why));
            }
            if matching != NOT_OLDER {
                causes.push(Cause::not_supported(MATCH, &matching.into(), &[NOT_OLDER]));
            }
            if query.get("continue").is_some() {
                causes.push(Cause::forbidden(MATCH, "resourceVersionMatch is forbidden when continue is provided"));
            }
        }
        if !causes.is_empty() {
            return Err(invalid(&causes));
        }
        let asked = version(query)?;
        let from = asked.filter(|asked| *asked > 0);
        let bookmarks = query.is_on("allowWatchBookmarks");
        let (after, starts, at_least) = match initial {
            Some(true) => (None, true, from.unwrap_or(0)),
            Some(false) => (from, false, 0),
            // Without a version, or from version 0, a watch begins with what there is.
            None => (from, from.is_none(), 0),
        };
        Ok(Self {
            after,
            initial: starts,
            marks_initial: initial == Some(true) && bookmarks,
            at_least,
            bookmarks,
            seconds: query.number::<u64>("timeoutSeconds")?.filter(|seconds| *seconds > 0),
        })
    }
}

/// Where the next page of a list begins, and of which state it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Position {
    /// The state of the first page; `None` goes on with whatever there is now.
    pub revision: Option<u64>,
    pub namespace: String,
    pub name: String,
}

impl Position {
    pub(super) fn of(last: &Key, revision: u64) -> Self {
        Self { revision: Some(revision), namespace: last.namespace.clone(), name: last.name.clone() }
    }

    /// The same place in whatever state there is then.
    pub(super) fn inconsistent(&self) -> Self {
        Self { revision: None, ..self.clone() }
    }

    pub(super) fn encode(&self) -> String {
        let revision = self.revision.map_or(Value::from(-1), Value::from);
        let start = format!("{}/{}", self.namespace, self.name);
        URL_SAFE_NO_PAD.encode(json!({"v": "meta.k8s.io/v1", "rv": revision, "start": start}).to_string())
    }

    /// Reads a token.
    ///
    /// # Errors
    /// 400: it is none of ours.
    pub(super) fn decode(token: &str) -> Result<Self, Failure> {
        let invalid = |why: &str| Failure::bad_request(format!("invalid continue token: {why}"));
        let unlike = |why: &dyn std::fmt::Display| invalid(&format!("continue key is not valid: {why}"));
        let bytes = URL_SAFE_NO_PAD.decode(token).map_err(|e| unlike(&e))?;
        let token: Value = serde_json::from_slice(&bytes).map_err(|e| unlike(&e))?;
        let said = token.get("v").and_then(Value::as_str).unwrap_or_default();
        if said != "meta.k8s.io/v1" {
            return Err(unlike(&format!("server does not recognize this encoded version {said:?}")));
        }
        let start = token.get("start").and_then(Value::as_str).and_then(|start| start.split_once('/'));
        let (namespace, name) = start
            .ok_or_else(|| invalid("continue key is not valid: encoded start key empty (version meta.k8s.io/v1)"))?;
        let revision = token.get("rv").and_then(Value::as_i64).filter(|revision| *revision != 0);
        let revision = revision.ok_or_else(|| {
            invalid("continue key is not valid: incorrect encoded start resourceVersion (version meta.k8s.io/v1)")
        })?;
        Ok(Self { revision: u64::try_from(revision).ok(), namespace: namespace.to_owned(), name: name.to_owned() })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn list(query: &str) -> Result<ListOptions, String> {
        ListOptions::read(&Query::parse(Some(query))).map_err(|failure| failure.message)
    }

    fn watch(query: &str) -> Result<WatchOptions, String> {
        WatchOptions::read(&Query::parse(Some(query))).map_err(|failure| failure.message)
    }

    #[test]
    fn a_list_shows_the_state_that_its_options_ask_for() {
        let version = |query: &str| list(query).unwrap().version;
        assert_eq!(version(""), Version::Current);
        assert_eq!(version("limit=5"), Version::Current);
        assert_eq!(version("resourceVersion=0"), Version::Current);
        assert_eq!(version("resourceVersion=0&resourceVersionMatch=NotOlderThan"), Version::Current);
        assert_eq!(version("resourceVersion=7"), Version::NotOlderThan(7));
        assert_eq!(version("resourceVersion=7&limit=5"), Version::Exact(7));
        assert_eq!(version("resourceVersion=7&limit=5&resourceVersionMatch=NotOlderThan"), Version::NotOlderThan(7));
        assert_eq!(version("resourceVersion=7&resourceVersionMatch=Exact"), Version::Exact(7));
    }

    #[test]
    fn list_options_that_do_not_go_together_are_refused_in_upstreams_words() {
        let refused = |query: &str| list(query).unwrap_err();
        let head = "ListOptions.meta.k8s.io \"\" is invalid: ";
        assert_eq!(
            refused("resourceVersionMatch=Exact"),
            format!(
                "{head}resourceVersionMatch: Forbidden: resourceVersionMatch is forbidden unless resourceVersion is provided"
            )
        );
        assert_eq!(
            refused("resourceVersionMatch=Exact&resourceVersion=0"),
            format!(
                "{head}resourceVersionMatch: Forbidden: resourceVersionMatch \"exact\" is forbidden for resourceVersion \"0\""
            )
        );
        assert_eq!(
            refused("resourceVersionMatch=x&resourceVersion=1"),
            format!(
                "{head}resourceVersionMatch: Unsupported value: \"x\": supported values: \"Exact\", \"NotOlderThan\", \"\""
            )
        );
        assert!(refused("sendInitialEvents=true").contains("sendInitialEvents is forbidden for list"));
        let token = Position { revision: Some(1), namespace: String::new(), name: "a".into() }.encode();
        assert_eq!(
            refused(&format!("continue={token}&resourceVersion=1")),
            "specifying resource version is not allowed when using continue"
        );
        assert!(refused("resourceVersion=x").starts_with("resourceVersion: Invalid value: \"x\""));
        assert!(refused("continue=x").starts_with("invalid continue token: continue key is not valid"));
    }

    #[test]
    fn a_watch_begins_with_what_there_is_or_at_a_version() {
        let begin = |query: &str| watch(query).map(|o| (o.after, o.initial, o.marks_initial)).unwrap();
        assert_eq!(begin(""), (None, true, false));
        assert_eq!(begin("resourceVersion=0"), (None, true, false));
        assert_eq!(begin("resourceVersion=9"), (Some(9), false, false));
        let streaming = "sendInitialEvents=true&resourceVersionMatch=NotOlderThan&allowWatchBookmarks=true";
        assert_eq!(begin(streaming), (None, true, true));
        assert_eq!(watch(&format!("{streaming}&resourceVersion=9")).unwrap().at_least, 9);
        let never = "sendInitialEvents=false&resourceVersionMatch=NotOlderThan";
        assert_eq!(begin(never), (None, false, false));
        assert_eq!(begin(&format!("{never}&resourceVersion=9")), (Some(9), false, false));
    }

    #[test]
    fn watch_options_that_do_not_go_together_are_refused_in_upstreams_words() {
        let refused = |query: &str| watch(query).unwrap_err();
        assert!(refused("sendInitialEvents=true").contains("sendInitialEvents requires setting resourceVersionMatch"));
        assert!(refused("sendInitialEvents=false").contains("sendInitialEvents requires setting resourceVersionMatch"));
        assert!(refused("resourceVersionMatch=NotOlderThan").contains("forbidden for watch unless sendInitialEvents"));
        let exact = refused("sendInitialEvents=true&resourceVersionMatch=Exact");
        assert!(exact.contains("Unsupported value: \"Exact\": supported values: \"NotOlderThan\""), "{exact}");
    }

    proptest! {
        #[test]
        fn a_position_survives_its_token(namespace in "[a-z]{0,9}", name in "[a-z.]{1,9}", revision in prop::option::of(1..u64::MAX / 2)) {
            let position = Position { revision, namespace, name };
            prop_assert_eq!(Position::decode(&position.encode()).unwrap(), position);
        }

        #[test]
        fn no_token_makes_it_panic(token in "\\PC{0,40}") {
            let _ = Position::decode(&token);
        }
    }
}
