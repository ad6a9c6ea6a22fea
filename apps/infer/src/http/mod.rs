//! The endpoints.

mod decisions;
mod jobs;

use std::sync::Arc;

use axum::middleware::from_fn_with_state;
use serde_json::Value;
use utoipa::openapi::{
    OpenApi, RefOr,
    extensions::Extensions,
    path::Operation,
    schema::{ObjectBuilder, Schema, SchemaType},
    security::{ApiKey, ApiKeyValue, HttpAuthScheme, HttpBuilder, SecurityRequirement, SecurityScheme},
};
use utoipa_axum::{router::OpenApiRouter, routes};

use crate::{
    engine::Engine,
    jobs::Queue,
    keys::{self, Access, Keys},
    rules::Ruleset,
};

/// What handlers share.
#[derive(Clone)]
struct App {
    engine: Arc<Engine>,
    queue: Queue,
}

/// The service's routes, behind the table of who may call them.
pub fn routes(engine: Arc<Engine>, queue: Queue, keys: Keys) -> OpenApiRouter {
    let asked_for = keys.are_asked_for();
    let mut router = OpenApiRouter::new()
        .routes(routes!(decisions::infer))
        .routes(routes!(decisions::batch))
        .routes(routes!(decisions::ruleset))
        .routes(routes!(decisions::schema))
        .routes(routes!(jobs::list))
        .routes(routes!(jobs::status, jobs::cancel))
        .routes(routes!(jobs::result))
        .routes(routes!(jobs::retry))
        .route_layer(from_fn_with_state(Arc::new(keys), keys::guard))
        .with_state(App { engine: Arc::clone(&engine), queue });
    publish(router.get_openapi_mut(), &engine.rules);
    if asked_for {
        secure(router.get_openapi_mut());
    }
    router
}

/// Puts the rules' own schema of facts into the document, word for word.
fn publish(document: &mut OpenApi, rules: &Ruleset) {
    let mut schema = rules.input.as_object().cloned().unwrap_or_default();
    schema.remove("$schema");
    let whole = ObjectBuilder::new().schema_type(SchemaType::AnyValue).extensions(Some(Extensions::from_iter(schema)));
    let components = document.components.get_or_insert_default();
    components.schemas.insert("Facts".to_owned(), Schema::from(whole).into());
}

/// Says in the document which operations ask for a key: those that the table says do.
fn secure(document: &mut OpenApi) {
    let components = document.components.get_or_insert_default();
    let header = SecurityScheme::ApiKey(ApiKey::Header(ApiKeyValue::new("X-API-Key")));
    let bearer = SecurityScheme::Http(HttpBuilder::new().scheme(HttpAuthScheme::Bearer).build());
    components
        .security_schemes
        .extend([("api_key".to_owned(), RefOr::T(header)), ("bearer".to_owned(), RefOr::T(bearer))]);
    for (path, item) in &mut document.paths.paths {
        let operations: [(&str, &mut Option<Operation>); 3] =
            [("GET", &mut item.get), ("POST", &mut item.post), ("DELETE", &mut item.delete)];
        for (method, operation) in operations {
            let asks = keys::ACCESS.iter().any(|(m, p, access)| *m == method && p == path && *access == Access::Key);
            if let Some(operation) = operation.as_mut().filter(|_| asks) {
                let either = ["api_key", "bearer"].map(|name| SecurityRequirement::new::<_, _, String>(name, []));
                operation.security = Some(either.to_vec());
            }
        }
    }
}

/// A reference to the rules' schema of facts.
fn facts() -> utoipa::openapi::Ref {
    utoipa::openapi::Ref::from_schema_name("Facts")
}

/// A list of facts.
fn list_of_facts() -> utoipa::openapi::schema::Array {
    utoipa::openapi::schema::ArrayBuilder::new().items(facts()).min_items(Some(1)).max_items(Some(1000)).build()
}

/// Where in the body a fact is that stands at `pointer` below `field`: `facts.items[0]`.
fn place(field: &str, pointer: &str) -> String {
    let mut place = field.to_owned();
    for step in pointer.split('/').skip(1) {
        let step = step.replace("~1", "/").replace("~0", "~");
        if !step.is_empty() && step.bytes().all(|b| b.is_ascii_digit()) {
            place.push_str(&format!("[{step}]"));
        } else {
            place.push('.');
            place.push_str(&step);
        }
    }
    place
}

/// JSON that was written before.
fn written(bytes: Vec<u8>) -> axum::response::Response {
    let mut response = axum::response::Response::new(axum::body::Body::from(bytes));
    let kind = axum::http::HeaderValue::from_static("application/json");
    response.headers_mut().insert(axum::http::header::CONTENT_TYPE, kind);
    response
}

/// A value as JSON that no type describes.
type Free = axum::Json<Value>;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_written_as_clients_write_them() {
        assert_eq!(place("facts", ""), "facts");
        assert_eq!(place("facts[3]", "/items/0/a~1b"), "facts[3].items[0].a/b");
    }
}
