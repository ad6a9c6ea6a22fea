//! The groups of the API that boxes serve: handed over to the API server.

use std::convert::Infallible;

use apiserver::{ApiServer, Delegate};
use bytes::Bytes;
use http::{Request, Response};
use http_body_util::Full;

/// Hands a group and version to a box's handler. It holds whatever the handler does until the API server stops.
pub fn hand_over<F, A>(api: &ApiServer, group: &str, version: &str, handler: F)
where
    F: Fn(Request<Full<Bytes>>) -> A + Clone + Send + Sync + 'static,
    A: Future<Output = Response<Full<Bytes>>> + Send + 'static,
{
    let service = tower::service_fn(move |request| {
        let answer = handler(request);
        async move { Ok::<_, Infallible>(answer.await) }
    });
    api.delegate(&Delegate::new(group, version, service));
}

/// `metrics.k8s.io`: what pods and the node use.
pub fn metrics(api: &ApiServer, figures: &node::figures::Figures) {
    let figures = figures.clone();
    hand_over(api, node::figures::GROUP, node::figures::VERSION, move |request| {
        let figures = figures.clone();
        async move { figures.answer(request).await }
    });
}
