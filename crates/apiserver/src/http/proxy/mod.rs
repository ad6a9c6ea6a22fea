//! `pods/proxy`, `services/proxy` and `nodes/proxy`: a request for a program that runs in the cluster, passed on to it. A pod is
//! reached at its address, a service at one of its pods', a node at its endpoint.

mod headers;
mod links;
mod pass;
mod place;

use std::{
    fmt::Display,
    sync::atomic::{AtomicUsize, Ordering},
    time::Instant,
};

use bytes::Bytes;
use http::{HeaderValue, StatusCode, header, request::Parts};
use http_body::Body as HttpBody;
use objects::kinds::{self, Kind};
use serde_json::Value;

use self::place::Id;
use super::{Answer, Handler, metrics::Sort, nodes::Node, respond};
use crate::{registry::parse, request::decode, status::Failure};

/// Methods that are passed on.
pub(super) const VERBS: &[&str] = &["create", "delete", "get", "patch", "update"];

/// Which of a service's pods comes next.
static TURN: AtomicUsize = AtomicUsize::new(0);

/// What a proxy's path names.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Asked<'a> {
    kind: &'static Kind,
    namespace: String,
    /// `[scheme:]name[:port]`.
    id: String,
    /// The path up to and with `proxy`.
    prefix: &'a str,
    /// The rest of it as it was sent: empty, or from its `/` on.
    rest: &'a str,
}

impl<'a> Asked<'a> {
    /// Reads `/api/v1/namespaces/NS/pods/ID/proxy/…`, or the same of a service or a node; `None` for other paths.
    pub fn at(path: &'a str) -> Option<Self> {
        let mut rest = path.strip_prefix("/api/v1/")?;
        let mut next = || {
            let (segment, after) = rest.split_once('/')?;
            rest = after;
            Some(segment)
        };
        let (namespace, resource) = match next()? {
            "namespaces" => (decode(next()?)?, next()?),
            resource => (String::new(), resource),
        };
        let kind = match (resource, namespace.is_empty()) {
            ("pods", false) => "Pod",
            ("services", false) => "Service",
            ("nodes", true) => "Node",
            _ => return None,
        };
        let id = decode(next()?)?;
        let rest = rest.strip_prefix("proxy").filter(|rest| rest.is_empty() || rest.starts_with('/'))?;
        let prefix = path.get(..path.len() - rest.len())?;
        Some(Self { kind: kinds::by_kind("", "v1", kind)?, namespace, id, prefix, rest })
    }

    /// What figures say of it.
    fn sort(&self) -> Sort {
        Sort {
            verb: "CONNECT",
            group: "".into(),
            version: "v1".into(),
            resource: self.kind.plural.into(),
            subresource: "proxy".into(),
            scope: "resource",
            dry_run: false,
        }
    }

    /// Where to pass the request on to.
    fn place(&self, handler: &Handler) -> Result<Place, Failure> {
        let id = Id::read(&self.id)
            .ok_or_else(|| Failure::bad_request(format!("invalid {} request {:?}", self.kind.plural, self.id)))?;
        let get = |kind: &Kind, namespace: &str, name: &str| -> Result<Value, Failure> {
            parse(&handler.registry.get(kind, namespace, name)?)
        };
        let object = get(self.kind, &self.namespace, id.name)?;
        let at = match self.kind.kind {
            "Pod" => place::of_pod(&object, &id)?,
            "Service" => {
                let of = |kind: &str, name: &str| {
                    let kind = kinds::by_kind("", "v1", kind).ok_or_else(Failure::no_such_path)?;
                    get(kind, &self.namespace, name)
                };
                let endpoints = of("Endpoints", id.name).unwrap_or_default();
                let turn = TURN.fetch_add(1, Ordering::Relaxed);
                place::of_service(&object, &endpoints, &id, turn, |name| of("Pod", name).ok())?
            }
            _ => {
                let node = Node::named(handler, id.name)?;
                let asked = if id.port.is_empty() { Some(node.port()) } else { id.port.parse().ok() };
                return if asked == Some(node.port()) {
                    Ok(Place::Node(node))
                } else {
                    // Another port of the machine is nobody's business: the node's own address is in no range of pods.
                    Err(Failure::bad_request("address not allowed"))
                };
            }
        };
        Ok(Place::Address { host: at.0, port: at.1, tls: id.tls })
    }
}

/// Where a request goes.
enum Place {
    /// To a node's endpoint, with the API server's certificate.
    Node(Node),
    /// To an address and port; with `tls`, to whatever certificate is shown there.
    Address { host: std::net::IpAddr, port: u16, tls: bool },
}

/// Passes a request on, and its answer back.
///
/// # Errors
/// 404 for what is not there, 400 for a name or an address that cannot be, 503 when nothing answers there or too many are passed
/// on already.
pub(super) async fn answer<B>(
    handler: &Handler,
    asked: &Asked<'_>,
    parts: &mut Parts,
    body: B,
) -> Result<Answer, Failure>
where
    B: HttpBody<Data = Bytes> + Send + 'static,
    B::Error: Display,
{
    let started = Instant::now();
    let answer = pass_on(handler, asked, parts, body).await;
    let code = answer.as_ref().map_or_else(|failure| failure.code, |answer| answer.status());
    handler.metrics.note(asked.sort(), code.as_u16(), started.elapsed());
    answer
}

async fn pass_on<B>(handler: &Handler, asked: &Asked<'_>, parts: &mut Parts, body: B) -> Result<Answer, Failure>
where
    B: HttpBody<Data = Bytes> + Send + 'static,
    B::Error: Display,
{
    let place = asked.place(handler)?;
    let upgrades = parts.headers.contains_key(header::UPGRADE);
    if asked.rest.is_empty() && !upgrades {
        return Ok(with_slash(parts));
    }
    let permit = handler.sessions.permit()?;
    let query = parts.uri.query().map(|query| format!("?{query}")).unwrap_or_default();
    let path = format!("{}{query}", if asked.rest.is_empty() { "/" } else { asked.rest });
    pass::on(pass::Request { place, path: &path, prefix: asked.prefix, ending: &handler.ending, permit }, parts, body)
        .await
}

/// Relative links of what is served there need a path that ends with a slash.
fn with_slash(parts: &Parts) -> Answer {
    let query = parts.uri.query().map(|query| format!("?{query}")).unwrap_or_default();
    let mut answer = respond::bytes(StatusCode::MOVED_PERMANENTLY, Bytes::new());
    answer.headers_mut().remove(header::CONTENT_TYPE);
    if let Ok(location) = HeaderValue::try_from(format!("{}/{query}", parts.uri.path())) {
        answer.headers_mut().insert(header::LOCATION, location);
    }
    answer
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_proxys_path_names_an_object_and_keeps_the_rest_as_it_is() {
        let asked = Asked::at("/api/v1/namespaces/a/pods/http:b:80/proxy/c%2Fd/e").unwrap();
        assert_eq!((asked.kind.kind, asked.namespace.as_str(), asked.id.as_str()), ("Pod", "a", "http:b:80"));
        assert_eq!((asked.prefix, asked.rest), ("/api/v1/namespaces/a/pods/http:b:80/proxy", "/c%2Fd/e"));
        let asked = Asked::at("/api/v1/namespaces/a/services/https%3Ab%3A/proxy").unwrap();
        assert_eq!((asked.kind.kind, asked.id.as_str(), asked.rest), ("Service", "https:b:", ""));
        assert_eq!(Asked::at("/api/v1/nodes/n/proxy/healthz").unwrap().rest, "/healthz");
        for other in [
            "/api/v1/namespaces/a/pods/b",
            "/api/v1/namespaces/a/pods/b/proxied",
            "/api/v1/pods/b/proxy/",
            "/api/v1/namespaces/a/nodes/n/proxy/",
            "/apis/apps/v1/namespaces/a/deployments/b/proxy/",
        ] {
            assert_eq!(Asked::at(other), None, "{other}");
        }
    }
}
