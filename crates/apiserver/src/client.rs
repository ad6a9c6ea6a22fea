//! A `kube::Client` that calls the handler directly, without a socket.

use std::{convert::Infallible, sync::Arc};

use http::{HeaderValue, Request, header};
use kube::client::Body;
use tower::service_fn;

use crate::http::{Handler, Identity};

/// A client that acts as `user`, a part of this process.
pub(crate) fn client(handler: Arc<Handler>, user: &str) -> kube::Client {
    let identity = Identity {
        user: user.to_owned(),
        groups: vec!["system:masters".to_owned(), "system:authenticated".to_owned()],
        ..Identity::default()
    };
    // Its last part is what managedFields name it by.
    let agent = user.rsplit(':').next().and_then(|name| HeaderValue::from_str(name).ok());
    let service = service_fn(move |mut request: Request<Body>| {
        let (handler, identity) = (handler.clone(), identity.clone());
        if let (Some(agent), false) = (&agent, request.headers().contains_key(header::USER_AGENT)) {
            request.headers_mut().insert(header::USER_AGENT, agent.clone());
        }
        async move { Ok::<_, Infallible>(handler.handle(request, Some(identity)).await) }
    });
    kube::Client::new(service, "default")
}
