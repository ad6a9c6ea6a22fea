//! What the OpenAPI document says of every operation because a rule makes it so, instead of each handler saying it by hand.

use utoipa::openapi::{
    ContentBuilder, Ref, RefOr, ResponseBuilder,
    path::{HttpMethod, Operation, PathItem},
    security::{HttpAuthScheme, HttpBuilder, SecurityRequirement, SecurityScheme},
};
use utoipa_axum::router::OpenApiRouter;

use crate::auth::access::{self, Who};

/// The name of the security scheme.
const BEARER: &str = "bearer";

/// Completes the document: who may use an operation, and what every operation of its kind may answer.
pub fn complete<S: Clone + Send + Sync + 'static>(mut router: OpenApiRouter<S>) -> OpenApiRouter<S> {
    let document = router.get_openapi_mut();
    for (path, item) in &mut document.paths.paths {
        for (method, operation) in operations(item) {
            let who = method_of(&method).and_then(|method| access::who(&method, path));
            describe(operation, who.unwrap_or(Who::Admin));
        }
    }
    let bearer = HttpBuilder::new()
        .scheme(HttpAuthScheme::Bearer)
        .bearer_format("JWT")
        .description(Some("The `access_token` of `POST /auth/login`"))
        .build();
    let components = document.components.get_or_insert_default();
    components.add_security_scheme(BEARER, SecurityScheme::Http(bearer));
    router
}

fn operations(item: &mut PathItem) -> impl Iterator<Item = (HttpMethod, &mut Operation)> {
    [
        (HttpMethod::Get, item.get.as_mut()),
        (HttpMethod::Put, item.put.as_mut()),
        (HttpMethod::Post, item.post.as_mut()),
        (HttpMethod::Patch, item.patch.as_mut()),
        (HttpMethod::Delete, item.delete.as_mut()),
    ]
    .into_iter()
    .filter_map(|(method, operation)| Some((method, operation?)))
}

fn method_of(method: &HttpMethod) -> Option<axum::http::Method> {
    use axum::http::Method;
    match method {
        HttpMethod::Get => Some(Method::GET),
        HttpMethod::Put => Some(Method::PUT),
        HttpMethod::Post => Some(Method::POST),
        HttpMethod::Patch => Some(Method::PATCH),
        HttpMethod::Delete => Some(Method::DELETE),
        _ => None,
    }
}

fn describe(operation: &mut Operation, who: Who) {
    let mut may = vec![("503", "It cannot be done now; `Retry-After` says when to come back")];
    if operation.parameters.as_ref().is_some_and(|parameters| !parameters.is_empty()) {
        may.push(("400", "A parameter is not of its type, or unknown"));
        may.push(("422", "A parameter or a field breaks its rule"));
    }
    if operation.request_body.is_some() {
        may.push(("400", "The body cannot be read"));
        may.push(("408", "The body did not arrive in time"));
        may.push(("413", "The body has too many bytes"));
        may.push(("415", "The body is of another type"));
        may.push(("422", "A parameter or a field breaks its rule"));
    }
    if who != Who::Anyone {
        may.push(("401", "The access token is missing, not good, or no longer"));
        operation.security = Some(vec![SecurityRequirement::new(BEARER, Vec::<String>::new())]);
    }
    if matches!(who, Who::Staff | Who::Admin) {
        may.push(("403", "This is not for your role"));
    }
    for (status, description) in may {
        let problem = ContentBuilder::new().schema(Some(Ref::from_schema_name("Problem"))).build();
        let response =
            ResponseBuilder::new().description(description).content("application/problem+json", problem).build();
        operation.responses.responses.entry(status.to_owned()).or_insert(RefOr::T(response));
    }
    let said = match who {
        Who::Anyone => "anyone",
        Who::SignedIn => "anyone who is signed in",
        Who::Owner => "whoever it belongs to, and staff",
        Who::Staff => "staff and admins",
        Who::Admin => "admins",
    };
    let text = operation.description.take().unwrap_or_default();
    operation.description = Some(format!("{text}\n\nFor {said}.").trim().to_owned());
}
