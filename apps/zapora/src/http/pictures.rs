//! Pictures of items: put there by staff, shown to everybody.

use axum::{
    body::Bytes,
    extract::{FromRequest, Request, State},
    http::{HeaderMap, HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use jiff::Timestamp;
use service::{
    extract::{Multipart, Path},
    problem::{Answer, Problem},
};
use uuid::Uuid;

use super::{
    App,
    items::{changed, conditional, current},
    views::Item,
};
use crate::{
    auth::Principal,
    images::{Name, Stored},
    store::items::{self, ItemImage},
};

/// The field of a form that holds the picture.
const FIELD: &str = "image";
/// The most bytes of a form around its file.
const FORM: usize = 16 << 10;
/// A name always means the same bytes.
const FOREVER: &str = "public, max-age=31536000, immutable";

/// A form with a picture.
#[derive(utoipa::ToSchema)]
#[expect(dead_code, reason = "only its schema is used")]
pub struct PictureForm {
    /// The picture: PNG, JPEG or WebP.
    #[schema(value_type = String, format = Binary, content_media_type = "application/octet-stream")]
    image: Vec<u8>,
}

/// Sets the picture of an item: a PNG, JPEG or WebP, as the body itself or in the field `image` of a form. What is kept is made
/// anew from its pixels.
#[utoipa::path(
    put, path = "/menu-items/{id}/image", tag = "menu", params(("id" = Uuid, Path, description = "The item's id")),
    request_body(content(
        (Vec<u8> = "image/png"), (Vec<u8> = "image/jpeg"), (Vec<u8> = "image/webp"), (PictureForm = "multipart/form-data"),
    )),
    responses(
        (status = 200, description = "The item with its picture", body = Item),
        (status = 404, description = "There is no such item", body = Problem, content_type = "application/problem+json"),
        (status = 413, description = "Too many bytes", body = Problem, content_type = "application/problem+json"),
        (status = 415, description = "Not a PNG, JPEG or WebP", body = Problem, content_type = "application/problem+json"),
        (status = 422, description = "Too many pixels, or damaged", body = Problem, content_type = "application/problem+json"),
    )
)]
pub async fn put(State(app): State<App>, me: Principal, Path(id): Path<Uuid>, request: Request) -> Answer<Response> {
    let id = id.to_string();
    // Before a byte of the body is read: nobody has to send a picture of nothing.
    items::item_by_id(app.store(), &id).await?.ok_or_else(nothing)?;
    let outcome = match upload(&app, request).await {
        Ok(bytes) => app.images().take(bytes).await.map_err(Problem::from),
        Err(problem) => Err(problem),
    };
    app.metrics().uploads.with_label_values(&[if outcome.is_ok() { "taken" } else { "refused" }]).inc();
    let stored = outcome.inspect_err(|problem| {
        let why = problem.to_string();
        crate::audit::Entry::new("image.set", &id).by(&me.user).denied(&why).log();
    })?;
    let image = row(&stored);
    if !items::set_image(app.store(), &id, Some(&image), stored.full.digest(), Timestamp::now()).await? {
        return Err(nothing());
    }
    changed(&app, &me, "image.set", &id).await;
    current(&app, &id, StatusCode::OK).await
}

fn nothing() -> Problem {
    Problem::not_found("there is no such item")
}

fn row(stored: &Stored) -> ItemImage {
    ItemImage {
        full: stored.full.to_string(),
        thumbnail: stored.thumbnail.to_string(),
        content_type: stored.full.media_type().to_owned(),
        width: stored.width.into(),
        height: stored.height.into(),
        bytes: i64::try_from(stored.bytes).unwrap_or(i64::MAX),
    }
}

/// The bytes of the picture, from the body or from the form in it. Its declared type only says which of the two.
async fn upload(app: &App, request: Request) -> Answer<Bytes> {
    let most = app.images().limits().bytes;
    let kind = request.headers().get(header::CONTENT_TYPE).and_then(|v| v.to_str().ok()).unwrap_or_default();
    let kind = kind.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    match kind.as_str() {
        "image/png" | "image/jpeg" | "image/webp" | "application/octet-stream" => {
            service::extract::read(request.into_body(), most).await
        }
        "multipart/form-data" => {
            let (parts, body) = request.into_parts();
            let body = axum::body::Body::new(http_body_util::Limited::new(body, most + FORM));
            let Multipart(form) = Multipart::from_request(Request::from_parts(parts, body), &()).await?;
            in_form(form, most).await
        }
        _ => Err(Problem::unsupported_media_type("send image/png, image/jpeg, image/webp or multipart/form-data")),
    }
}

async fn in_form(mut form: axum::extract::multipart::Multipart, most: usize) -> Answer<Bytes> {
    let mut found = None;
    while let Some(mut field) = form.next_field().await.map_err(|e| Multipart::problem(&e))? {
        if field.name() != Some(FIELD) || found.is_some() {
            return Err(unprocessable("the form must have one field, `image`"));
        }
        if field.file_name().is_some_and(|name| name.contains(['/', '\\', '\0']) || name.contains("..")) {
            return Err(unprocessable("the file name must not be a path"));
        }
        let mut bytes = Vec::new();
        while let Some(chunk) = field.chunk().await.map_err(|e| Multipart::problem(&e))? {
            if bytes.len() + chunk.len() > most {
                return Err(Problem::too_large(format!("the upload has more than {most} bytes")));
            }
            bytes.extend_from_slice(&chunk);
        }
        found = Some(Bytes::from(bytes));
    }
    found.ok_or_else(|| unprocessable("the form must have one field, `image`"))
}

fn unprocessable(why: &'static str) -> Problem {
    Problem::new(StatusCode::UNPROCESSABLE_ENTITY, "Unprocessable Content").detail(why)
}

/// Takes the picture of an item away.
#[utoipa::path(
    delete, path = "/menu-items/{id}/image", tag = "menu", params(("id" = Uuid, Path, description = "The item's id")),
    responses(
        (status = 204, description = "The item has no picture now"),
        (status = 404, description = "There is no such item", body = Problem, content_type = "application/problem+json"),
    )
)]
pub async fn delete(State(app): State<App>, me: Principal, Path(id): Path<Uuid>) -> Answer<StatusCode> {
    let id = id.to_string();
    if !items::set_image(app.store(), &id, None, "", Timestamp::now()).await? {
        return Err(nothing());
    }
    changed(&app, &me, "image.delete", &id).await;
    Ok(StatusCode::NO_CONTENT)
}

/// A picture by its name, as an item's `image` has it.
#[utoipa::path(
    get, path = "/images/{name}", tag = "menu",
    params(("name" = String, Path, description = "SHA-256 and suffix"), ("If-None-Match" = Option<String>, Header, description = "ETags that the client has")),
    responses(
        (status = 200, description = "The picture", content((Vec<u8> = "image/jpeg"), (Vec<u8> = "image/png")),
            headers(("ETag" = String, description = "Its name"))),
        (status = 304, description = "The client has it already"),
        (status = 404, description = "There is no such picture", body = Problem, content_type = "application/problem+json"),
    )
)]
pub async fn show(State(app): State<App>, headers: HeaderMap, Path(name): Path<String>) -> Answer<Response> {
    let no = || Problem::not_found("there is no such picture");
    let name = Name::parse(&name).ok_or_else(no)?;
    let bytes = app.images().get(&name).await?.ok_or_else(no)?;
    Ok(conditional(&headers, &format!("\"{name}\""), FOREVER, || {
        let mut response = bytes.into_response();
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(name.media_type()));
        headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
        response
    }))
}
