//! Groups that are served by somebody else in this process: what upstream's aggregator does for API servers behind an APIService.
//!
//! A request below `/apis/GROUP/VERSION` is authenticated, let in and counted here as any other, and then handed on whole. Who
//! asks is said in the headers by which upstream's aggregator says it (`X-Remote-User`, `X-Remote-Group`, `X-Remote-Uid`,
//! `X-Remote-Extra-…`); a client's own headers of these names, and its credentials, go no further. An answer is collected before
//! it is sent, so that a handler that panics, hangs or breaks off is a failed request and nothing more.

use std::{borrow::Cow, convert::Infallible, fmt::Display, sync::Arc, time::Duration};

use arc_swap::ArcSwap;
use bytes::Bytes;
use futures::future::join_all;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Response, header};
use http_body::Body as HttpBody;
use http_body_util::{BodyExt, Full, Limited};
use serde_json::Value;
use tokio::time::timeout;
use tokio_util::task::AbortOnDropHandle;
use tower::{Service, ServiceExt, util::BoxCloneSyncService};

use super::{Answer, Identity, full, metrics::Sort};
use crate::{request::Query, status::Failure};

/// The longest that an answer is waited for, as upstream's request timeout,
const PATIENCE: Duration = Duration::from_secs(60);
/// and one that says what there is, for which everybody's discovery waits.
const DISCOVERY_PATIENCE: Duration = Duration::from_secs(5);
/// The largest answer that is passed on.
const LARGEST: usize = 64 * 1024 * 1024;

/// Says that the handler's body broke off or was too large.
type Broken = String;
type Handed = Request<Full<Bytes>>;
type Handler = BoxCloneSyncService<Handed, Response<Result<Bytes, Broken>>, Infallible>;

/// One group and version, and who serves it.
#[derive(Clone)]
pub struct Delegate {
    group: String,
    version: String,
    handler: Handler,
}

impl Delegate {
    /// A group and version (`metrics.k8s.io`, `v1beta1`) that `handler`, such as an `axum::Router`, serves. It gets the requests with
    /// their whole paths, and answers `/apis/GROUP/VERSION` with the `APIResourceList` that discovery shows.
    pub fn new<S, B>(group: &str, version: &str, handler: S) -> Self
    where
        S: Service<Handed, Response = Response<B>, Error = Infallible> + Clone + Send + Sync + 'static,
        S::Future: Send + 'static,
        B: HttpBody<Data = Bytes> + Send + 'static,
        B::Error: Display + Into<Box<dyn std::error::Error + Send + Sync>>,
    {
        let collected = handler.then(|answer: Result<Response<B>, Infallible>| async move {
            let (parts, body) = match answer {
                Ok(answer) => answer.into_parts(),
                Err(never) => match never {},
            };
            let body = Limited::new(body, LARGEST).collect().await;
            Ok(Response::from_parts(parts, body.map(|body| body.to_bytes()).map_err(|error| error.to_string())))
        });
        Self { group: group.to_owned(), version: version.to_owned(), handler: BoxCloneSyncService::new(collected) }
    }

    /// The group.
    pub fn group(&self) -> &str {
        &self.group
    }

    /// The version.
    pub fn version(&self) -> &str {
        &self.version
    }

    /// `GROUP/VERSION`.
    pub fn group_version(&self) -> String {
        format!("{}/{}", self.group, self.version)
    }

    /// Hands a request on, and gives the answer back.
    ///
    /// # Errors
    /// 503 when there is no whole answer in time, 500 when the handler panics.
    pub(super) async fn ask(
        &self,
        (method, uri, headers): (&Method, &http::Uri, &HeaderMap),
        identity: &Identity,
        body: Bytes,
    ) -> Result<Answer, Failure> {
        let mut request = Request::new(Full::new(body));
        *request.method_mut() = method.clone();
        *request.uri_mut() = uri.clone();
        *request.headers_mut() = introduced(headers, identity);
        let (parts, body) = self.answer(request, PATIENCE).await?.into_parts();
        Ok(Response::from_parts(parts, full(body)))
    }

    async fn answer(&self, request: Handed, patience: Duration) -> Result<Response<Bytes>, Failure> {
        let name = self.group_version();
        let failed = |why: &dyn Display| Failure::unavailable(format!("{name} is not available now: {why}"));
        // A task of its own: a panic ends nothing else.
        let answer = AbortOnDropHandle::new(tokio::spawn(self.handler.clone().oneshot(request)));
        let answer = timeout(patience, answer).await;
        let answer = answer.map_err(|_| failed(&format!("no answer within {} s", patience.as_secs())))?;
        let (parts, body) = match answer {
            Ok(Ok(answer)) => answer.into_parts(),
            Ok(Err(never)) => match never {},
            Err(error) => {
                tracing::error!("{name}: {error}");
                return Err(Failure::internal(format!("{name} could not answer")));
            }
        };
        Ok(Response::from_parts(parts, body.map_err(|why| failed(&why))?))
    }

    /// The `resources` of its `APIResourceList`; `None` if it does not say in time.
    async fn resources(&self) -> Option<Vec<Value>> {
        let asked = async {
            let request = Request::get(format!("/apis/{}", self.group_version()));
            let answer =
                self.answer(request.body(Full::default()).map_err(Failure::internal)?, DISCOVERY_PATIENCE).await?;
            let mut list: Value = serde_json::from_slice(answer.body()).map_err(Failure::internal)?;
            match list.get_mut("resources").map(Value::take) {
                Some(Value::Array(resources)) => Ok(resources),
                _ => Err(Failure::internal("the answer is no APIResourceList")),
            }
        };
        asked
            .await
            .inspect_err(|failure: &Failure| tracing::warn!("what {} has: {}", self.group_version(), failure.message))
            .ok()
    }

    /// What the figures say of a request. A resource that the answer says is not there is no label: there is no end to what
    /// paths say.
    pub(super) fn sort(&self, parts: (&Method, &http::Uri), found: bool) -> Sort {
        let (method, uri) = parts;
        let mut rest: Vec<&str> = uri.path().trim_matches('/').split('/').skip(3).collect();
        let namespaced = rest.first() == Some(&"namespaces") && rest.len() > 2;
        if namespaced {
            rest.drain(..2);
        }
        let name = rest.get(1).is_some();
        let query = Query::parse(uri.query());
        let verb = match *method {
            Method::GET | Method::HEAD if query.is_on("watch") => "WATCH",
            Method::GET | Method::HEAD if name => "GET",
            Method::GET | Method::HEAD => "LIST",
            Method::POST => "POST",
            Method::PUT => "PUT",
            Method::PATCH => "PATCH",
            Method::DELETE if name => "DELETE",
            Method::DELETE => "DELETECOLLECTION",
            _ => "OTHER",
        };
        Sort {
            verb,
            group: self.group.clone().into(),
            version: self.version.clone().into(),
            resource: rest.first().filter(|_| found).map(|resource| (*resource).to_owned().into()).unwrap_or_default(),
            subresource: Cow::default(),
            scope: match (name, namespaced) {
                (true, _) => "resource",
                (false, true) => "namespace",
                (false, false) => "cluster",
            },
            dry_run: query.get("dryRun").is_some(),
        }
    }
}

const USER: HeaderName = HeaderName::from_static("x-remote-user");
const GROUP: HeaderName = HeaderName::from_static("x-remote-group");
const UID: HeaderName = HeaderName::from_static("x-remote-uid");
const EXTRA: &str = "x-remote-extra-";

/// A request's headers, with who asks instead of what the client says of that.
fn introduced(headers: &HeaderMap, identity: &Identity) -> HeaderMap {
    let is_own = |name: &HeaderName| {
        ![header::AUTHORIZATION, header::CONNECTION, header::UPGRADE, header::CONTENT_LENGTH, header::TRANSFER_ENCODING]
            .contains(name)
            && !name.as_str().starts_with("x-remote-")
    };
    let kept = headers.iter().filter(|(name, _)| is_own(name));
    let mut all: HeaderMap = kept.map(|(name, value)| (name.clone(), value.clone())).collect();
    let mut say = |name: HeaderName, value: &str| {
        // What a header cannot hold is no name of anybody.
        if let Ok(value) = HeaderValue::from_str(value) {
            all.append(name, value);
        }
    };
    say(USER, &identity.user);
    if !identity.uid.is_empty() {
        say(UID, &identity.uid);
    }
    identity.groups.iter().for_each(|group| say(GROUP, group));
    for (key, values) in &identity.extra {
        // A key may hold what the name of a header may not.
        let key: String = key.bytes().map(escaped).collect();
        let Ok(name) = HeaderName::try_from(format!("{EXTRA}{key}")) else { continue };
        values.iter().for_each(|value| say(name.clone(), value));
    }
    all
}

/// Percent-encoded unless a header's name may hold it.
fn escaped(byte: u8) -> String {
    match byte {
        b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' => char::from(byte).to_string(),
        _ => format!("%{byte:02x}"),
    }
}

/// What discovery shows of a delegated group and version.
#[derive(Clone, Debug)]
pub(super) struct Offered {
    pub(super) group: String,
    pub(super) version: String,
    /// As in its `APIResourceList`; `None` where it does not say.
    pub(super) resources: Option<Vec<Value>>,
}

/// The groups that others serve.
#[derive(Default)]
pub(crate) struct Delegates(ArcSwap<Vec<Delegate>>);

impl Delegates {
    /// Hands a group and version to a new handler from now on.
    pub(crate) fn add(&self, delegate: &Delegate) {
        self.0.rcu(|all| {
            let mut all: Vec<Delegate> =
                all.iter().filter(|d| d.group_version() != delegate.group_version()).cloned().collect();
            all.push(delegate.clone());
            all
        });
    }

    /// Lets all handlers go.
    pub(crate) fn clear(&self) {
        self.0.store(Arc::default());
    }

    /// Who serves a path.
    pub(super) fn at(&self, path: &str) -> Option<Delegate> {
        let mut segments = path.strip_prefix("/apis/")?.split('/');
        let (group, version) = (segments.next()?, segments.next()?);
        self.0.load().iter().find(|delegate| delegate.group == group && delegate.version == version).cloned()
    }

    /// What discovery shows of them. They are asked for their resources where those are to be shown too.
    pub(super) async fn offered(&self, resources: bool) -> Vec<Offered> {
        let all = self.0.load_full();
        let offered = all.iter().map(|delegate| async move {
            let resources = if resources { delegate.resources().await } else { None };
            Offered { group: delegate.group.clone(), version: delegate.version.clone(), resources }
        });
        join_all(offered).await
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    #[test]
    fn only_the_api_server_says_who_asks() {
        let mut headers = HeaderMap::new();
        for (name, value) in
            [("authorization", "Bearer x"), ("x-remote-user", "root"), ("x-remote-extra-a", "b"), ("accept", "a/b")]
        {
            headers.insert(name, HeaderValue::from_static(value));
        }
        let identity = Identity {
            user: "jane".to_owned(),
            groups: vec!["g1".to_owned(), "g2".to_owned()],
            uid: "u".to_owned(),
            extra: BTreeMap::from([("example.com/pod name".to_owned(), vec!["p".to_owned()])]),
        };
        let mut said: Vec<String> = introduced(&headers, &identity)
            .iter()
            .map(|(name, value)| format!("{name}: {}", value.to_str().unwrap()))
            .collect();
        said.sort();
        let expected = [
            "accept: a/b",
            "x-remote-extra-example.com%2fpod%20name: p",
            "x-remote-group: g1",
            "x-remote-group: g2",
            "x-remote-uid: u",
            "x-remote-user: jane",
        ];
        assert_eq!(said, expected);
    }

    #[test]
    fn requests_are_sorted_by_their_paths() {
        let handler =
            tower::service_fn(|_: Handed| async { Ok::<_, Infallible>(Response::new(Full::<Bytes>::default())) });
        let delegate = Delegate::new("g", "v1", handler);
        let sort = |path: &str| {
            let uri = path.parse().unwrap();
            let sort = delegate.sort((&Method::GET, &uri), true);
            format!("{} {} {}", sort.verb, sort.resource, sort.scope)
        };
        assert_eq!(sort("/apis/g/v1/nodes"), "LIST nodes cluster");
        assert_eq!(sort("/apis/g/v1/nodes/a"), "GET nodes resource");
        assert_eq!(sort("/apis/g/v1/namespaces/a/pods"), "LIST pods namespace");
        assert_eq!(sort("/apis/g/v1/namespaces/a/pods/b/c"), "GET pods resource");
        let unknown = delegate.sort((&Method::GET, &"/apis/g/v1/anything".parse().unwrap()), false);
        assert_eq!(unknown.resource, "");
    }
}
