//! Host names and what they stand for.

use std::collections::HashMap;

/// Values by host name, as the Gateway API matches them (`Listener.hostname`): an exact name, then the longest wildcard, then
/// any. Names are lower case, without port and trailing dot.
#[derive(Debug)]
pub struct Names<T> {
    exact: HashMap<Box<str>, T>,
    /// By what follows `*.`; a wildcard stands for one or more labels.
    wildcard: HashMap<Box<str>, T>,
    any: Option<T>,
}

impl<T> Default for Names<T> {
    fn default() -> Self {
        Self { exact: HashMap::new(), wildcard: HashMap::new(), any: None }
    }
}

impl<T> Names<T> {
    /// Adds a name: `""` for any, `*.suffix`, or one host. What was there first stays.
    pub fn insert(&mut self, name: &str, value: T) {
        if name.is_empty() {
            self.any.get_or_insert(value);
        } else if let Some(suffix) = name.strip_prefix("*.") {
            self.wildcard.entry(suffix.into()).or_insert(value);
        } else {
            self.exact.entry(name.into()).or_insert(value);
        }
    }

    /// What a host name stands for.
    pub fn find(&self, host: &str) -> Option<&T> {
        let wildcard = || {
            let mut suffixes = host.match_indices('.').filter_map(|(dot, _)| host.get(dot + 1..));
            suffixes.find_map(|suffix| self.wildcard.get(suffix))
        };
        // Most tables have no wildcard, and requests need not pay for them.
        let found = self.exact.get(host).or_else(|| if self.wildcard.is_empty() { None } else { wildcard() });
        found.or(self.any.as_ref())
    }

    /// The name by which [`Self::find`] finds: the host itself, a wildcard, or `*` for any.
    pub(crate) fn matched(&self, host: &str) -> Option<String> {
        if self.exact.contains_key(host) {
            return Some(host.to_owned());
        }
        let mut suffixes = host.match_indices('.').filter_map(|(dot, _)| host.get(dot + 1..));
        let wildcard = suffixes.find(|suffix| self.wildcard.contains_key(*suffix)).map(|suffix| format!("*.{suffix}"));
        wildcard.or_else(|| self.any.as_ref().map(|_| "*".to_owned()))
    }

    /// Every value.
    pub fn values(&self) -> impl Iterator<Item = &T> {
        self.exact.values().chain(self.wildcard.values()).chain(&self.any)
    }

    /// Every name and its value, sorted, any (`*`) last.
    pub fn sorted(&self) -> Vec<(String, &T)> {
        let exact = self.exact.iter().map(|(name, value)| (name.to_string(), value));
        let wildcard = self.wildcard.iter().map(|(suffix, value)| (format!("*.{suffix}"), value));
        let mut all: Vec<_> = exact.chain(wildcard).collect();
        all.sort_by(|a, b| a.0.cmp(&b.0));
        all.extend(self.any.iter().map(|value| ("*".to_owned(), value)));
        all
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_most_specific_name_counts_and_of_equal_ones_the_first() {
        let mut names = Names::default();
        for name in ["", "*.example.com", "*.a.example.com", "www.example.com"] {
            names.insert(name, name);
        }
        names.insert("www.example.com", "again");
        for (host, expected) in [
            ("www.example.com", "www.example.com"),
            ("x.example.com", "*.example.com"),
            ("x.y.a.example.com", "*.a.example.com"),
            ("example.com", ""),
        ] {
            assert_eq!(names.find(host), Some(&expected), "{host}");
            assert_eq!(
                names.matched(host).as_deref(),
                Some(if expected.is_empty() { "*" } else { expected }),
                "{host}"
            );
        }
        let order: Vec<_> = names.sorted().into_iter().map(|(name, _)| name).collect();
        assert_eq!(order, ["*.a.example.com", "*.example.com", "www.example.com", "*"]);
        assert_eq!(Names::<()>::default().find("example.com"), None);
    }
}
