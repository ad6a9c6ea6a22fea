//! The API over HTTP: one handler that reads the path; no route per kind.

mod accounts;
mod apply;
mod body;
mod check;
mod discovery;
mod eviction;
mod fields;
mod list;
mod logs;
mod metrics;
mod openapi;
mod patches;
mod respond;
mod reviews;
mod selection;
mod subresources;
mod verbs;
mod watch;
mod writers;

use std::{convert::Infallible, sync::Arc};

use ::http::{Request, Response, StatusCode};
use bytes::Bytes;
use http_body::Body as HttpBody;
use http_body_util::{BodyExt, Full, combinators::UnsyncBoxBody};

use crate::{
    openapi::Documents,
    registry::Registry,
    request::{Query, Target, Verb},
    status::Failure,
    tokens::Tokens,
};

/// The body of every answer.
pub type Body = UnsyncBoxBody<Bytes, Infallible>;
/// An answer.
pub type Answer = Response<Body>;

/// Who asks.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Identity {
    /// The user's name, such as `system:admin`.
    pub user: String,
    /// The groups the user is in.
    pub groups: Vec<String>,
    /// What tells this user from an earlier one of the same name; empty where nothing does.
    pub uid: String,
    /// What else is known of the user, such as the pod that a token is bound to.
    pub extra: std::collections::BTreeMap<String, Vec<String>>,
}

/// Everything a request needs.
pub struct Handler {
    /// The objects.
    pub registry: Arc<Registry>,
    /// TLS towards the nodes' endpoints, with the certificate by which they know the API server.
    pub node_tls: Arc<rustls::ClientConfig>,
    /// The tokens of service accounts.
    pub tokens: Arc<Tokens>,
    /// The OpenAPI documents made so far.
    pub(crate) documents: Arc<Documents>,
}

pub use check::{Refusal, Verdict, check};
pub(crate) use discovery::subresources;

/// The reviews that are answered: group, kind and resource; their version is `v1`.
pub(crate) fn review_kinds() -> impl Iterator<Item = (&'static str, &'static str, &'static str)> {
    reviews::REVIEWS.iter().map(|review| (review.group, review.kind, review.plural))
}

impl Handler {
    /// Answers one request; failures are answers too. `identity` is `None` for somebody unknown.
    pub async fn handle<B>(self: Arc<Self>, request: Request<B>, identity: Option<Identity>) -> Answer
    where
        B: HttpBody<Data = Bytes> + Send + 'static,
        B::Error: std::fmt::Display,
    {
        match self.answer(request, identity).await {
            Ok(answer) => answer,
            Err(failure) => respond::failure(&failure),
        }
    }

    async fn answer<B>(&self, request: Request<B>, identity: Option<Identity>) -> Result<Answer, Failure>
    where
        B: HttpBody<Data = Bytes> + Send + 'static,
        B::Error: std::fmt::Display,
    {
        let (parts, incoming) = request.into_parts();
        let path = parts.uri.path();
        if let "/healthz" | "/livez" | "/readyz" = path.trim_end_matches('/') {
            return Ok(plain("ok"));
        }
        if path == "/version" {
            return Ok(respond::json(StatusCode::OK, &discovery::version()));
        }
        let identity = match identity {
            Some(identity) => identity,
            None => accounts::bearer(&self.registry, &self.tokens, &parts.headers)?,
        };
        if let Some(keys) = accounts::discovery(&self.tokens, path) {
            return Ok(keys);
        }
        if let Some(document) = discovery::document(&parts)? {
            return Ok(document);
        }
        if let Some(document) = openapi::answer(&self.documents, crate::openapi::built_in(), &parts).await? {
            return Ok(document);
        }
        if let Some(review) = reviews::Review::at(path) {
            let bytes = body::read(incoming).await?;
            let asked = reviews::Asked { handler: self, identity: &identity, headers: &parts.headers };
            return review.answer(&parts.method, &bytes, &asked);
        }
        if path == "/metrics" {
            return Ok(metrics::answer(&self.registry));
        }
        let target = Target::parse(path).ok_or_else(Failure::no_such_path)?;
        let query = Query::parse(parts.uri.query());
        let verb = Verb::of(&parts.method, &target, &query).ok_or_else(Failure::method_not_allowed)?;
        let body = body::read(incoming).await?;
        let call = verbs::Call { handler: self, target, query, verb, headers: &parts.headers, body };
        call.run().await
    }
}

fn plain(text: &'static str) -> Answer {
    Response::new(full(Bytes::from_static(text.as_bytes())))
}

fn full(bytes: impl Into<Bytes>) -> Body {
    Full::new(bytes.into()).boxed_unsync()
}
