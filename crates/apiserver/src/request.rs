//! From a request's path and query to what is asked (the resource handler's request info).

use http::Method;
use objects::kinds::{Kind, KindRef, Kinds};
pub use objects::wire::{Query, decode, pairs};

/// What a path of `/api` or `/apis` names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    /// The kind.
    pub kind: KindRef,
    /// Empty for all namespaces, and for kinds without.
    pub namespace: String,
    /// One object, or the collection.
    pub name: Option<String>,
    /// `status`, `scale`, `log`, …
    pub subresource: Option<String>,
    /// The older form of a watch: the path says it, whatever the query says.
    pub is_watch: bool,
}

impl Target {
    /// Reads a path such as `/apis/apps/v1/namespaces/prod/deployments/web/scale`; `None` if it names no resource.
    pub fn parse(path: &str, kinds: &Kinds) -> Option<Self> {
        let mut parts: Vec<&str> = path.trim_matches('/').split('/').collect();
        let (group, version) = match *parts.first()? {
            "api" if parts.len() > 2 => ("", *parts.get(1)?),
            "apis" if parts.len() > 3 => (*parts.get(1)?, *parts.get(2)?),
            _ => return None,
        };
        parts.drain(..if group.is_empty() { 2 } else { 3 });
        let is_watch = parts.first() == Some(&"watch") && parts.len() > 1;
        if is_watch {
            parts.remove(0);
        }
        // `namespaces/x` alone is the Namespace itself, and so are its subresources.
        let own = matches!(parts.as_slice(), [_, _, sub, ..] if !["status", "finalize"].contains(sub));
        let namespace = if parts.first() == Some(&"namespaces") && own {
            let namespace = decode(parts.get(1)?)?;
            parts.drain(..2);
            namespace
        } else {
            String::new()
        };
        let kind = kinds.by_resource(group, version, parts.first()?)?;
        let name = parts.get(1).map(|name| decode(name)).map_or(Some(None), |name| name.map(Some))?;
        let subresource = parts.get(2).map(|sub| (*sub).to_owned());
        // A kind without namespaces has no path in one; an object that is in one has no other path.
        let fits = if kind.namespaced { !namespace.is_empty() || name.is_none() } else { namespace.is_empty() };
        let fits = fits && parts.len() <= if is_watch { 2 } else { 3 };
        fits.then_some(Self { kind, namespace, name, subresource, is_watch })
    }
}

/// What is to be done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verb {
    Get,
    List,
    Watch,
    Create,
    Update,
    Patch,
    Delete,
    DeleteCollection,
}

impl Verb {
    /// The verb of a method on an object or a collection; `None` where the API has none.
    pub fn of(method: &Method, target: &Target, query: &Query) -> Option<Self> {
        let one = target.name.is_some();
        match (method, one) {
            (&Method::GET | &Method::HEAD, _) if target.is_watch || query.is_on("watch") => Some(Self::Watch),
            _ if target.is_watch => None,
            (&Method::GET | &Method::HEAD, true) => Some(Self::Get),
            (&Method::GET | &Method::HEAD, false) => Some(Self::List),
            // Objects are made in one namespace, and listed across all.
            (&Method::POST, _) if target.kind.namespaced && target.namespace.is_empty() => None,
            // What is made says its name itself; only subresources are below one.
            (&Method::POST, true) if target.subresource.is_none() => None,
            (&Method::POST, _) => Some(Self::Create),
            (&Method::PUT, true) => Some(Self::Update),
            (&Method::PATCH, true) => Some(Self::Patch),
            (&Method::DELETE, true) => Some(Self::Delete),
            (&Method::DELETE, false) if goes_together(&target.kind) => Some(Self::DeleteCollection),
            _ => None,
        }
    }
}

/// Whether all objects of a kind can be deleted at once. Namespaces cannot: whoever means to would lose everything there is.
pub fn goes_together(kind: &Kind) -> bool {
    !kind.is("", "Namespace")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(path: &str) -> Option<(&'static str, String, Option<String>, Option<String>)> {
        Target::parse(path, &Kinds::default()).map(|t| (t.kind.plural, t.namespace, t.name, t.subresource))
    }

    #[test]
    fn paths_name_resources_objects_and_subresources() {
        let some = |text: &str| Some(text.to_owned());
        assert_eq!(parsed("/api/v1/pods"), Some(("pods", String::new(), None, None)));
        assert_eq!(parsed("/api/v1/namespaces"), Some(("namespaces", String::new(), None, None)));
        assert_eq!(parsed("/api/v1/namespaces/a"), Some(("namespaces", String::new(), some("a"), None)));
        assert_eq!(
            parsed("/api/v1/namespaces/a/finalize"),
            Some(("namespaces", String::new(), some("a"), some("finalize")))
        );
        assert_eq!(parsed("/api/v1/namespaces/a/pods/b/log"), Some(("pods", "a".into(), some("b"), some("log"))));
        let scale = "/apis/apps/v1/namespaces/a/deployments/b/scale";
        assert_eq!(parsed(scale), Some(("deployments", "a".into(), some("b"), some("scale"))));
        for unknown in [
            "/",
            "/api",
            "/api/v1",
            "/apis/apps/v1",
            "/apis/apps/v2/deployments",
            "/api/v1/pods/a/b/c",
            "/metrics",
            "/api/v1/pods/a",
            "/api/v1/namespaces/a/nodes",
        ] {
            assert_eq!(parsed(unknown), None, "{unknown}");
        }
    }

    #[test]
    fn nothing_is_made_below_a_name_and_namespaces_are_deleted_one_by_one() {
        let verb = |method: Method, path: &str| {
            let target = Target::parse(path, &Kinds::default()).unwrap();
            Verb::of(&method, &target, &Query::default())
        };
        let pods = "/api/v1/namespaces/a/pods";
        assert_eq!(verb(Method::POST, pods), Some(Verb::Create));
        assert_eq!(verb(Method::POST, &format!("{pods}/b")), None);
        assert_eq!(verb(Method::POST, &format!("{pods}/b/eviction")), Some(Verb::Create));
        assert_eq!(verb(Method::DELETE, pods), Some(Verb::DeleteCollection));
        assert_eq!(verb(Method::DELETE, "/api/v1/namespaces/a"), Some(Verb::Delete));
        assert_eq!(verb(Method::DELETE, "/api/v1/namespaces"), None);
    }

    #[test]
    fn the_older_form_of_a_watch_says_so_in_its_path() {
        let verb = |method: Method, path: &str| {
            let target = Target::parse(path, &Kinds::default())?;
            Some((Verb::of(&method, &target, &Query::default())?, target.kind.plural, target.namespace, target.name))
        };
        let watched = |path: &str| verb(Method::GET, path).map(|(verb, plural, ..)| (verb, plural));
        let some = |plural| Some((Verb::Watch, plural));
        assert_eq!(watched("/api/v1/watch/pods"), some("pods"));
        assert_eq!(watched("/apis/apps/v1/watch/namespaces/a/deployments"), some("deployments"));
        assert_eq!(watched("/api/v1/watch/namespaces/a"), some("namespaces"));
        let one = verb(Method::GET, "/api/v1/watch/namespaces/a/pods/b");
        assert_eq!(one, Some((Verb::Watch, "pods", "a".to_owned(), Some("b".to_owned()))));
        assert_eq!(verb(Method::POST, "/api/v1/watch/namespaces/a/pods"), None);
        assert_eq!(Target::parse("/api/v1/watch/namespaces/a/pods/b/status", &Kinds::default()), None);
        assert_eq!(Target::parse("/api/v1/watch", &Kinds::default()), None);
    }
}
