//! Items in the database: everybody reads them, their owner and admins change them.

use std::sync::Arc;

use axum::{
    extract::State,
    http::{HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use garde::Validate;
use serde::{Deserialize, Serialize};
use service::{
    extract::{Json, Path, Query},
    problem::{Answer, Problem},
};
use utoipa::ToSchema;
use uuid::Uuid;

use crate::{
    App,
    access::Caller,
    store::{Item, Role},
};

/// What an item is to be.
#[derive(Clone, Debug, Deserialize, Validate, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewItem {
    /// What it is called.
    #[garde(length(chars, min = 1, max = 100))]
    #[schema(min_length = 1, max_length = 100)]
    pub name: String,
    /// What there is to say of it.
    #[garde(length(chars, max = 2000))]
    #[serde(default)]
    #[schema(max_length = 2000, default = "")]
    pub description: String,
}

/// Which part of a list.
#[derive(Clone, Copy, Debug, Deserialize, Validate, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub struct Page {
    /// Only what comes after this one.
    #[garde(skip)]
    pub after: Option<Uuid>,
    /// How many at most; 50 if nobody says.
    #[garde(inner(range(min = 1, max = 200)))]
    #[param(minimum = 1, maximum = 200)]
    pub limit: Option<u32>,
}

impl Page {
    /// The id to begin after, as text, and how many to look for: one more than asked for tells whether there are more.
    pub fn bounds(&self) -> (String, usize) {
        (self.after.map(|id| id.to_string()).unwrap_or_default(), self.limit.unwrap_or(50) as usize)
    }
}

/// Takes the one too many off a list; answers the id to go on after, if there are more.
pub fn cut<T>(list: &mut Vec<T>, limit: usize, id: impl Fn(&T) -> &str) -> Option<String> {
    let more = list.len() > limit;
    list.truncate(limit);
    list.last().map(|last| id(last).to_owned()).filter(|_| more)
}

/// Some items.
#[derive(Debug, Serialize, ToSchema)]
pub struct Items {
    /// In the order in which they were made.
    pub items: Vec<Item>,
    /// What to give as `after` for the next ones; null if there are no more.
    #[schema(format = Uuid)]
    pub next: Option<String>,
}

fn missing() -> Problem {
    Problem::not_found("there is no such item")
}

/// All items, page by page.
#[utoipa::path(get, path = "/items", tag = "items", params(Page), responses((status = 200, description = "A page", body = Items)))]
pub async fn list(State(app): State<Arc<App>>, Query(page): Query<Page>) -> Answer<Json<Items>> {
    let (after, limit) = page.bounds();
    let mut items = app.store.items(&after, limit as i64 + 1).await?;
    let next = cut(&mut items, limit, |item| &item.id);
    Ok(Json(Items { items, next }))
}

/// Makes an item, which is the caller's.
#[utoipa::path(
    post, path = "/items", tag = "items", request_body = NewItem,
    responses((status = 201, description = "It is made", body = Item, headers(("Location" = String, description = "Its address")))),
)]
pub async fn make(State(app): State<Arc<App>>, caller: Caller, Json(new): Json<NewItem>) -> Answer<Response> {
    let item = app.store.add_item(&caller.user_id, &new.name, &new.description).await?;
    let location = HeaderValue::try_from(format!("/items/{}", item.id)).map_err(Problem::internal)?;
    Ok((StatusCode::CREATED, [(header::LOCATION, location)], Json(item)).into_response())
}

/// One item.
#[utoipa::path(
    get, path = "/items/{id}", tag = "items", params(("id" = Uuid, Path)),
    responses(
        (status = 200, description = "The item", body = Item),
        (status = 404, description = "There is no such item", body = Problem, content_type = "application/problem+json"),
    ),
)]
pub async fn get(State(app): State<Arc<App>>, Path(id): Path<Uuid>) -> Answer<Json<Item>> {
    app.store.item(&id.to_string()).await?.map(Json).ok_or_else(missing)
}

/// Makes sure that the item is there and that the caller may change it.
async fn owned(app: &App, caller: &Caller, id: &str) -> Answer<()> {
    let item = app.store.item(id).await?.ok_or_else(missing)?;
    if item.owner_id == caller.user_id || caller.role == Role::Admin {
        Ok(())
    } else {
        Err(Problem::forbidden("the item is somebody else's"))
    }
}

/// Changes an item of the caller's; admins change any.
#[utoipa::path(
    put, path = "/items/{id}", tag = "items", params(("id" = Uuid, Path)), request_body = NewItem,
    responses(
        (status = 200, description = "It is changed", body = Item),
        (status = 403, description = "It is somebody else's", body = Problem, content_type = "application/problem+json"),
        (status = 404, description = "There is no such item", body = Problem, content_type = "application/problem+json"),
    ),
)]
pub async fn change(
    State(app): State<Arc<App>>,
    caller: Caller,
    Path(id): Path<Uuid>,
    Json(new): Json<NewItem>,
) -> Answer<Json<Item>> {
    let id = id.to_string();
    owned(&app, &caller, &id).await?;
    app.store.change_item(&id, &new.name, &new.description).await?.map(Json).ok_or_else(missing)
}

/// Deletes an item of the caller's; admins delete any.
#[utoipa::path(
    delete, path = "/items/{id}", tag = "items", params(("id" = Uuid, Path)),
    responses(
        (status = 204, description = "It is deleted"),
        (status = 403, description = "It is somebody else's", body = Problem, content_type = "application/problem+json"),
        (status = 404, description = "There is no such item", body = Problem, content_type = "application/problem+json"),
    ),
)]
pub async fn delete(State(app): State<Arc<App>>, caller: Caller, Path(id): Path<Uuid>) -> Answer<StatusCode> {
    let id = id.to_string();
    owned(&app, &caller, &id).await?;
    if app.store.delete_item(&id).await? { Ok(StatusCode::NO_CONTENT) } else { Err(missing()) }
}
