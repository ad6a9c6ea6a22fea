//! From a request's path and query to what is asked (the resource handler's request info).

use http::Method;
use objects::kinds::{KindRef, Kinds};
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
    /// The path behind `proxy`, as it was sent, without a slash in front; empty for all other subresources.
    pub behind: String,
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
        let behind = parts.get(3..).unwrap_or_default();
        let proxied = subresource.as_deref() == Some("proxy");
        // A kind without namespaces has no path in one; an object that is in one has no other path.
        let fits = if kind.namespaced { !namespace.is_empty() || name.is_none() } else { namespace.is_empty() };
        (fits && (behind.is_empty() || proxied)).then(|| Self {
            kind,
            namespace,
            name,
            subresource,
            behind: behind.join("/"),
        })
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
            (&Method::GET | &Method::HEAD, _) if query.is_on("watch") => Some(Self::Watch),
            (&Method::GET | &Method::HEAD, true) => Some(Self::Get),
            (&Method::GET | &Method::HEAD, false) => Some(Self::List),
            // Objects are made in one namespace, and listed across all.
            (&Method::POST, _) if target.kind.namespaced && target.namespace.is_empty() => None,
            (&Method::POST, _) => Some(Self::Create),
            (&Method::PUT, true) => Some(Self::Update),
            (&Method::PATCH, true) => Some(Self::Patch),
            (&Method::DELETE, true) => Some(Self::Delete),
            (&Method::DELETE, false) => Some(Self::DeleteCollection),
            _ => None,
        }
    }
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
        let proxied = Target::parse("/api/v1/nodes/a/proxy/stats/summary", &Kinds::default()).unwrap();
        assert_eq!((proxied.subresource.as_deref(), proxied.behind.as_str()), (Some("proxy"), "stats/summary"));
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
}
