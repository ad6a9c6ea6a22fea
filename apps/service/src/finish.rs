//! Requests that are done to their end once they have begun.

use axum::{
    extract::Request,
    middleware::Next,
    response::{IntoResponse, Response},
};
use tracing::Instrument;

use crate::{problem::Problem, trace};

/// A layer for routes that change something: what has begun is done to its end, though its client goes away or its time is up
/// (`REQUEST_TIMEOUT_SECONDS`). Without it a handler is dropped wherever it waits at that moment, which may be between a change that is
/// committed and what has to follow it: sessions to end, caches to forget, the entry in the audit log.
///
/// Requests that only read (`GET`, `HEAD`, `OPTIONS`, `TRACE`) are dropped as ever: nobody needs what they would find. So are bodies of
/// answers, and a handler that still reads its request is told that the client broke off. Whatever waits without a bound in a handler
/// waits for ever here, and a service that ends does not wait for those whose clients are gone.
///
/// ```
/// # use axum::{Router, middleware::from_fn, routing::post};
/// let router: Router = Router::new().route("/orders", post(async || "placed")).route_layer(from_fn(service::to_the_end));
/// ```
pub async fn to_the_end(request: Request, next: Next) -> Response {
    if request.method().is_safe() {
        return next.run(request).await;
    }
    let handling = trace::carried(next.run(request)).in_current_span();
    match tokio::spawn(handling).await {
        Ok(response) => response,
        // Whoever surrounds the handlers answers for it.
        Err(error) => match error.try_into_panic() {
            Ok(panic) => std::panic::resume_unwind(panic),
            Err(error) => Problem::internal(error).into_response(),
        },
    }
}
