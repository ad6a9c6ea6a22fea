//! Host names: intersection of listener and route, and which listener a name belongs to.

use std::{cmp::Reverse, collections::BTreeMap, sync::Arc};

use jiff::Timestamp;

use crate::table::{Entry, Hosts, PathMatch, Routes};

/// Whether `pattern` (`*.suffix`, a name, or `""` for every host) takes in all that `host` (likewise) names.
pub(super) fn covers(pattern: &str, host: &str) -> bool {
    if pattern.is_empty() || pattern == host {
        return true;
    }
    let Some(suffix) = pattern.strip_prefix('*') else { return false };
    let rest = host.strip_prefix('*').unwrap_or(host);
    rest.len() > suffix.len() && rest.ends_with(suffix)
}

/// The more specific of two names, if either takes in the other.
pub(super) fn intersect<'a>(listener: &'a str, route: &'a str) -> Option<&'a str> {
    if covers(listener, route) {
        Some(route)
    } else if covers(route, listener) {
        Some(listener)
    } else {
        None
    }
}

/// Whose a host is of all listeners of a port: the most specific one's that takes it in.
pub(super) fn owner<'l>(listeners: impl Iterator<Item = &'l str>, host: &str) -> Option<&'l str> {
    let specific = |l: &&str| (!l.is_empty() && !l.starts_with('*'), l.len());
    listeners.filter(|l| covers(l, host)).max_by_key(specific)
}

/// A route's place among entries of the same host.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Age {
    pub created: Timestamp,
    pub namespace: String,
    pub name: String,
}

/// The names served on one port.
#[derive(Default)]
pub(super) struct PortHosts {
    hosts: BTreeMap<String, Vec<(Age, usize, Entry)>>,
    listeners: Vec<String>,
}

impl PortHosts {
    /// A listener takes its names away from less specific listeners, even without a route.
    pub fn listener(&mut self, hostname: &str) {
        self.listeners.push(hostname.to_owned());
        self.hosts.entry(hostname.to_owned()).or_default();
    }

    /// Adds a route's entries at `host`, unless a more specific listener than `listener` owns that name.
    pub fn add(&mut self, listener: &str, host: &str, age: &Age, entries: &[Entry]) {
        let owned = owner(self.listeners.iter().map(String::as_str), host) == Some(listener);
        if owned {
            let numbered = entries.iter().enumerate().map(|(i, entry)| (age.clone(), i, entry.clone()));
            self.hosts.entry(host.to_owned()).or_default().extend(numbered);
        }
    }

    /// Sorts every host's entries by HTTPRoute's precedence.
    pub fn build(self) -> Hosts {
        let mut built = Hosts::default();
        for (host, mut entries) in self.hosts {
            entries.sort_by_cached_key(|(age, index, entry)| (rank(entry), age.clone(), *index));
            entries.dedup_by(|a, b| (&a.0, a.1) == (&b.0, b.1));
            let routes = Arc::new(Routes::new(entries.into_iter().map(|(_, _, entry)| entry).collect()));
            built.insert(&host, routes);
        }
        built
    }
}

/// Lower is matched first. The specification leaves regular expressions' place open: here before prefixes, as Envoy Gateway
/// has it, so that a catch-all prefix does not hide them.
fn rank(entry: &Entry) -> impl Ord + use<> {
    let (kind, length) = match &entry.matches.path {
        PathMatch::Exact(path) => (0, path.len()),
        PathMatch::Regex(regex) => (1, regex.as_str().len()),
        PathMatch::Prefix(path) if !path.is_empty() => (2, path.len()),
        PathMatch::Method(method) => (3, method.len()),
        PathMatch::Prefix(_) => (4, 0),
    };
    let matches = &entry.matches;
    let conditions = (matches.method.is_none(), Reverse(matches.headers.len()), Reverse(matches.queries.len()));
    (kind, Reverse(length), conditions)
}
