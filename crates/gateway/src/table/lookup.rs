//! Finding the rule for a request. A look-up costs the same with ten routes as with ten thousand: paths are hashed, and
//! only what shares the request's path is compared further.

use std::{borrow::Cow, cmp::Reverse, collections::HashMap, sync::Arc};

use foldhash::fast::FixedState;
use http::HeaderName;

use super::{Entry, Match, PathMatch, Routes, Rule, ValueMatch};

type Map<V> = HashMap<Box<str>, V, FixedState>;

/// What routes ask of a request.
pub(crate) trait Asked {
    /// The method, as sent.
    fn method(&self) -> &str;
    /// The normalised path, without the query.
    fn path(&self) -> &str;
    /// A header's value; those of a repeated header are joined by commas (RFC 9110, 5.3).
    fn header(&self, name: &HeaderName) -> Option<Cow<'_, [u8]>>;
    /// The first value of a query parameter, decoded.
    fn query(&self, name: &str) -> Option<Cow<'_, str>>;
}

/// Positions of entries by their path, each list in order of precedence. Keys come from the configuration, never from
/// requests, so that a fast hash with a fixed seed is safe.
#[derive(Debug, Default)]
pub(super) struct Index {
    exact: Map<Vec<usize>>,
    regex: Vec<usize>,
    prefix: Map<Vec<usize>>,
    method: Map<Vec<usize>>,
    /// Length of the longest prefix: a request's path is not looked at beyond it.
    longest: usize,
}

impl Index {
    pub fn new(entries: &[Entry]) -> Self {
        let mut index = Self::default();
        for (position, entry) in entries.iter().enumerate() {
            match &entry.matches.path {
                PathMatch::Exact(path) => index.exact.entry(path.as_str().into()).or_default().push(position),
                PathMatch::Regex(_) => index.regex.push(position),
                PathMatch::Method(method) => index.method.entry(method.as_str().into()).or_default().push(position),
                PathMatch::Prefix(path) => {
                    index.longest = index.longest.max(path.len());
                    index.prefix.entry(path.as_str().into()).or_default().push(position);
                }
            }
        }
        index
    }
}

impl Routes {
    /// The first rule in order of precedence that the request matches: exact paths, then regular expressions, then prefixes
    /// from the longest; before the empty prefix, methods of any service.
    pub(crate) fn find(&self, request: &impl Asked) -> Option<&Arc<Rule>> {
        let path = request.path();
        let holds = |position: &usize| self.entries.get(*position).filter(|e| e.matches.conditions_hold(request));
        if let Some(found) = self.index.exact.get(path).into_iter().flatten().find_map(holds) {
            return Some(&found.rule);
        }
        let matches_path = |entry: &&Entry| matches!(&entry.matches.path, PathMatch::Regex(r) if r.is_match(path));
        if let Some(found) = self.index.regex.iter().filter_map(holds).find(matches_path) {
            return Some(&found.rule);
        }
        prefixes(path, self.index.longest).find_map(|prefix| {
            let method = || self.index.method.get(called(path)?).into_iter().flatten().find_map(holds);
            if prefix.is_empty()
                && !self.index.method.is_empty()
                && let Some(found) = method()
            {
                return Some(&found.rule);
            }
            let entry = self.index.prefix.get(prefix).into_iter().flatten().find_map(holds)?;
            Some(&entry.rule)
        })
    }

    /// What [`Self::find`] makes of every entry, in the order in which it would look at them.
    pub(crate) fn explain(&self, request: &impl Asked) -> Vec<(&Entry, Verdict<'_>)> {
        let path = request.path();
        let cut: Vec<_> = prefixes(path, self.index.longest).collect();
        let is_path = |matches: &Match| match &matches.path {
            PathMatch::Exact(exact) => exact == path,
            PathMatch::Regex(regex) => regex.is_match(path),
            PathMatch::Prefix(prefix) => cut.contains(&prefix.as_str()),
            PathMatch::Method(method) => cut.contains(&"") && called(path) == Some(method),
        };
        let mut entries: Vec<_> = self.entries.iter().collect();
        entries.sort_by_key(|entry| match &entry.matches.path {
            PathMatch::Exact(_) => (0, Reverse(0), 0),
            PathMatch::Regex(_) => (1, Reverse(0), 0),
            PathMatch::Prefix(prefix) => (2, Reverse(prefix.len()), 1),
            PathMatch::Method(_) => (2, Reverse(0), 0),
        });
        let mut taken = false;
        let verdicts = entries.into_iter().map(|entry| {
            let verdict = match entry.matches.unmet(request) {
                _ if !is_path(&entry.matches) => Verdict::Path,
                Some(unmet) => Verdict::Unmet(unmet),
                None if std::mem::replace(&mut taken, true) => Verdict::Later,
                None => Verdict::Taken,
            };
            (entry, verdict)
        });
        verdicts.collect()
    }
}

/// What is made of an entry for a request.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Verdict<'e> {
    /// It is the first that matches.
    Taken,
    /// It matches as well, but another comes before it.
    Later,
    /// The path is another.
    Path,
    /// The path is right, but this does not hold.
    Unmet(Unmet<'e>),
}

/// A condition that does not hold.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Unmet<'e> {
    Method,
    Header(&'e HeaderName),
    Query(&'e str),
}

/// The path's whole-element prefixes of at most `longest` bytes, the longest first: `/a/b` gives `/a/b`, `/a` and ``.
fn prefixes(path: &str, longest: usize) -> impl Iterator<Item = &str> {
    let bytes = path.as_bytes();
    // A boundary is the end of the path or the place of a slash.
    let mut end = Some(bytes.len().min(longest));
    std::iter::from_fn(move || {
        while let Some(at) = end {
            end = at.checked_sub(1);
            if at == bytes.len() || bytes.get(at) == Some(&b'/') {
                return path.get(..at);
            }
        }
        None
    })
}

/// The method that a gRPC call's path names: `/service/method`.
fn called(path: &str) -> Option<&str> {
    let (service, method) = path.strip_prefix('/')?.split_once('/')?;
    (!service.is_empty() && !method.contains('/')).then_some(method)
}

impl Match {
    /// Everything but the path.
    fn conditions_hold(&self, request: &impl Asked) -> bool {
        self.unmet(request).is_none()
    }

    /// The first condition, other than that on the path, that does not hold.
    fn unmet(&self, request: &impl Asked) -> Option<Unmet<'_>> {
        if self.method.as_ref().is_some_and(|method| method.as_str() != request.method()) {
            return Some(Unmet::Method);
        }
        let header =
            |(name, wanted): &&(_, ValueMatch)| !request.header(name).is_some_and(|value| wanted.holds(&value));
        if let Some((name, _)) = self.headers.iter().find(header) {
            return Some(Unmet::Header(name));
        }
        let query = |(name, wanted): &&(String, ValueMatch)| {
            !request.query(name).is_some_and(|value| wanted.holds(value.as_bytes()))
        };
        self.queries.iter().find(query).map(|(name, _)| Unmet::Query(name))
    }
}

impl ValueMatch {
    fn holds(&self, value: &[u8]) -> bool {
        match self {
            Self::Exact(wanted) => wanted.as_bytes() == value,
            Self::Regex(regex) => std::str::from_utf8(value).is_ok_and(|value| regex.is_match(value)),
        }
    }
}

#[cfg(test)]
mod tests {
    use http::Method;
    use proptest::prelude::*;

    use super::*;
    use crate::table::Action;

    /// A request with at most one header and one query parameter.
    #[derive(Debug, Clone)]
    struct Question(&'static str, String, Option<&'static str>, Option<&'static str>);

    impl Asked for Question {
        fn method(&self) -> &str {
            self.0
        }

        fn path(&self) -> &str {
            &self.1
        }

        fn header(&self, name: &HeaderName) -> Option<Cow<'_, [u8]>> {
            self.2.filter(|_| name == "x-a").map(|value| value.as_bytes().into())
        }

        fn query(&self, name: &str) -> Option<Cow<'_, str>> {
            self.3.filter(|_| name == "q").map(Into::into)
        }
    }

    fn path() -> impl Strategy<Value = String> {
        prop::collection::vec(prop::sample::select(vec!["/", "a", "b", "/a", "/b"]), 0..5)
            .prop_map(|parts| parts.concat())
    }

    fn entry() -> impl Strategy<Value = Match> {
        let kind = path().prop_flat_map(|path| {
            let prefix = path.trim_end_matches('/').to_owned();
            let method = path.trim_matches('/').to_owned();
            prop::sample::select(vec![
                PathMatch::Exact(path.clone()),
                PathMatch::Prefix(prefix),
                PathMatch::Regex(regex::Regex::new(&format!("^(?:{path}b*)$")).unwrap()),
                PathMatch::Method(method),
            ])
        });
        let method = prop::option::of(prop::sample::select(vec![Method::GET, Method::POST]));
        let header = prop::option::of(prop::sample::select(vec!["1", "2"]));
        (kind, method, header.clone(), header).prop_map(|(path, method, header, query)| Match {
            path,
            method,
            headers: header
                .map(|v| (HeaderName::from_static("x-a"), ValueMatch::Exact(v.into())))
                .into_iter()
                .collect(),
            queries: query.map(|v| ("q".to_owned(), ValueMatch::Exact(v.into()))).into_iter().collect(),
        })
    }

    proptest! {
        /// What is said to be taken is what requests take.
        #[test]
        fn the_explanation_agrees_with_the_look_up(
            matches in prop::collection::vec(entry(), 0..12),
            path in path(),
            (method, header, query) in (0..2_usize, 0..3_usize, 0..3_usize),
        ) {
            let rule = |number: usize| Rule::new(number.to_string().into(), Action::Respond(http::StatusCode::OK));
            let entries = matches.into_iter().enumerate().map(|(n, matches)| Entry { matches, rule: Arc::new(rule(n)) });
            let routes = Routes::new(entries.collect());
            let values = [None, Some("1"), Some("2")];
            let question = Question(["GET", "POST"][method], path, values[header], values[query]);
            let explained = routes.explain(&question);
            let taken: Vec<_> = explained
                .iter()
                .filter(|(_, verdict)| matches!(verdict, Verdict::Taken))
                .map(|(entry, _)| entry.rule.name.clone())
                .collect();
            prop_assert_eq!(taken, routes.find(&question).map(|rule| rule.name.clone()).into_iter().collect::<Vec<_>>());
            prop_assert_eq!(explained.len(), routes.entries().len());
        }
    }

    #[test]
    fn a_path_is_cut_at_its_slashes_from_the_right() {
        let all = |path, longest| prefixes(path, longest).collect::<Vec<_>>();
        assert_eq!(all("/a/b", 100), ["/a/b", "/a", ""]);
        assert_eq!(all("/a/b/", 100), ["/a/b/", "/a/b", "/a", ""]);
        assert_eq!(all("/", 100), ["/", ""]);
        assert_eq!(all("/abc/def", 4), ["/abc", ""]);
        assert_eq!(all("/abc/def", 3), [""]);
        assert_eq!(all("/abc", 0), [""]);
    }
}
