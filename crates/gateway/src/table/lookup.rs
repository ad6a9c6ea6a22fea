//! Finding the rule for a request. A look-up costs the same with ten routes as with ten thousand: paths are hashed, and
//! only what shares the request's path is compared further.

use std::{borrow::Cow, collections::HashMap, sync::Arc};

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
        self.method.as_ref().is_none_or(|method| method.as_str() == request.method())
            && self.headers.iter().all(|(name, wanted)| request.header(name).is_some_and(|value| wanted.holds(&value)))
            && self
                .queries
                .iter()
                .all(|(name, wanted)| request.query(name).is_some_and(|value| wanted.holds(value.as_bytes())))
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
    use super::*;

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
