//! The endpoints.

mod auth;
mod cache;
mod items;
mod protected;

use std::sync::Arc;

use axum::{
    extract::State,
    middleware::{from_fn, from_fn_with_state},
};
use serde::Serialize;
use service::extract::Json;
use utoipa::{
    ToSchema,
    openapi::{
        OpenApi, RefOr,
        path::Operation,
        security::{ApiKey, ApiKeyValue, HttpAuthScheme, HttpBuilder, SecurityRequirement, SecurityScheme},
    },
};
use utoipa_axum::{router::OpenApiRouter, routes};

pub use self::auth::Credentials;
use crate::{
    App,
    access::{self, Access},
};

/// The service's routes, behind the table of who may call them.
pub fn routes(app: Arc<App>) -> OpenApiRouter {
    let mut router = OpenApiRouter::new()
        .routes(routes!(index))
        .routes(routes!(auth::register))
        .routes(routes!(auth::login))
        .routes(routes!(auth::me))
        .routes(routes!(auth::list_keys, auth::make_key))
        .routes(routes!(auth::revoke_key))
        .routes(routes!(cache::get, cache::put, cache::delete))
        .routes(routes!(items::list, items::make))
        .routes(routes!(items::get, items::change, items::delete))
        .routes(routes!(protected::user))
        .routes(routes!(protected::admin))
        .routes(routes!(protected::api_key))
        .routes(routes!(protected::users))
        .routes(routes!(protected::set_role))
        // A change that is committed has its line in the audit log, though its client has gone away.
        .route_layer(from_fn(service::to_the_end))
        .route_layer(from_fn_with_state(Arc::clone(&app), access::guard))
        .with_state(app);
    secure(router.get_openapi_mut());
    router
}

/// Says in the document who may call what, as the table has it.
fn secure(document: &mut OpenApi) {
    let components = document.components.get_or_insert_default();
    let key = SecurityScheme::ApiKey(ApiKey::Header(ApiKeyValue::new("X-API-Key")));
    let bearer = SecurityScheme::Http(HttpBuilder::new().scheme(HttpAuthScheme::Bearer).bearer_format("JWT").build());
    components
        .security_schemes
        .extend([("api_key".to_owned(), RefOr::T(key)), ("bearer".to_owned(), RefOr::T(bearer))]);
    for (path, item) in &mut document.paths.paths {
        let operations: [(&str, &mut Option<Operation>); 4] =
            [("GET", &mut item.get), ("POST", &mut item.post), ("PUT", &mut item.put), ("DELETE", &mut item.delete)];
        for (method, operation) in operations {
            let Some(operation) = operation else { continue };
            let access = access::ACCESS.iter().find(|(m, p, _)| *m == method && p == path).map(|(.., access)| *access);
            let schemes: &[&str] = match access {
                None | Some(Access::Public) => continue,
                Some(Access::Caller) => &["bearer", "api_key"],
                Some(Access::User | Access::Admin) => &["bearer"],
                Some(Access::ApiKey) => &["api_key"],
            };
            let requirements = schemes.iter().map(|name| SecurityRequirement::new::<_, _, String>(*name, []));
            operation.security = Some(requirements.collect());
        }
    }
}

/// What the service is.
#[derive(Debug, Serialize, ToSchema)]
pub struct Index {
    /// `ok`.
    pub status: &'static str,
    /// A greeting.
    pub message: &'static str,
    /// The service's version.
    pub version: &'static str,
    /// Where the cache is: `memory` or `redis`.
    pub cache: &'static str,
    /// Where the document of all endpoints is.
    pub openapi: &'static str,
}

/// What the service is.
#[utoipa::path(get, path = "/", tag = "health", responses((status = 200, description = "What it is", body = Index)))]
async fn index(State(app): State<Arc<App>>) -> Json<Index> {
    Json(Index {
        status: "ok",
        message: "Hello from the sample service",
        version: env!("CARGO_PKG_VERSION"),
        cache: app.cache.kind(),
        openapi: "/openapi.json",
    })
}
