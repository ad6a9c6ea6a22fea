//! `/menu-items`: what can be ordered.

use axum::{
    extract::State,
    http::{HeaderMap, StatusCode, header},
    response::{IntoResponse, Response},
};
use garde::Validate;
use jiff::Timestamp;
use serde::Deserialize;
use service::{
    extract::{Json, Path, Query},
    problem::{Answer, Problem},
};
use utoipa::{IntoParams, ToSchema};
use uuid::Uuid;

use super::{
    App,
    answers::{self, IfMatch, tag_of, value},
    fields::{Cents, Count, Limit, Name, Search, Text, Word},
    views::{Item, Items},
};
use crate::{
    audit::Entry,
    auth::Principal,
    cache,
    store::{
        StoreError,
        items::{self, Changed, ItemChange, Listing, NewItem, Order},
    },
};

/// For how long a browser may show the menu without asking again.
const FRESH: &str = "public, max-age=5";
/// What can change from one moment to the next is asked for again each time.
const ASK: &str = "no-cache";

/// In which order to list items; `-` before it is from the last to the first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, ToSchema)]
pub enum Sort {
    /// By name.
    #[default]
    #[serde(rename = "name")]
    Name,
    /// By name, backwards.
    #[serde(rename = "-name")]
    NameDown,
    /// The cheapest first.
    #[serde(rename = "price")]
    Price,
    /// The dearest first.
    #[serde(rename = "-price")]
    PriceDown,
    /// The oldest first.
    #[serde(rename = "created")]
    Created,
    /// The newest first.
    #[serde(rename = "-created")]
    CreatedDown,
}

impl Sort {
    fn order(self) -> (Order, bool) {
        match self {
            Self::Name => (Order::Name, false),
            Self::NameDown => (Order::Name, true),
            Self::Price => (Order::Price, false),
            Self::PriceDown => (Order::Price, true),
            Self::Created => (Order::Created, false),
            Self::CreatedDown => (Order::Created, true),
        }
    }
}

/// Which items to list.
#[derive(Debug, Deserialize, Validate, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct ItemsQuery {
    /// Only those on the menu with this id.
    #[garde(skip)]
    menu: Option<Uuid>,
    /// Only those with this word.
    #[garde(dive)]
    #[param(inline)]
    tag: Option<Word>,
    /// Only those that are, or are not, for sale.
    #[garde(skip)]
    available: Option<bool>,
    /// Only those that cost at least so many cents.
    #[garde(dive)]
    #[param(inline)]
    min_price: Option<Cents>,
    /// Only those that cost at most so many cents.
    #[garde(dive)]
    #[param(inline)]
    max_price: Option<Cents>,
    /// Only those whose name or description contains this, in upper or lower case.
    #[garde(dive)]
    #[param(inline)]
    q: Option<Search>,
    /// In which order.
    #[garde(skip)]
    #[serde(default)]
    #[param(inline)]
    sort: Sort,
    /// Only those after the item with this id: `next` of the page before.
    #[garde(skip)]
    after: Option<Uuid>,
    /// At most so many.
    #[garde(dive)]
    #[serde(default)]
    #[param(inline)]
    limit: Limit,
}

impl ItemsQuery {
    fn listing(self) -> Listing {
        let (order, descending) = self.sort.order();
        Listing {
            menu: self.menu.map(|id| id.to_string()),
            tag: self.tag.map(|word| word.0),
            available: self.available,
            min_cents: self.min_price.map(|cents| cents.0),
            max_cents: self.max_price.map(|cents| cents.0),
            search: self.q.map(|search| search.0),
            order,
            descending,
            after: self.after.map(|id| id.to_string()),
            // One more than is given tells whether there is another page.
            limit: self.limit.0 + 1,
        }
    }
}

/// Items, a page at a time.
#[utoipa::path(
    get, path = "/menu-items", tag = "menu", params(ItemsQuery, ("If-None-Match" = Option<String>, Header, description = "ETags that the client has")),
    responses(
        (status = 200, description = "A page of items", body = Items, headers(
            ("ETag" = String, description = "Of this page"),
            ("Cache-Control" = String, description = "For how long it may be shown without asking again"),
        )),
        (status = 304, description = "The client has it already"),
    )
)]
pub async fn list(State(app): State<App>, headers: HeaderMap, Query(query): Query<ItemsQuery>) -> Answer<Response> {
    let limit = usize::try_from(query.limit.0).unwrap_or(usize::MAX);
    // Two queries that mean the same are the same, however they were written.
    let listing = query.listing();
    let key = format!("{listing:?}");
    let answer = app
        .cache()
        .get(&key, async || {
            let mut items = items::items(app.store(), &listing).await?;
            let more = items.len() > limit;
            items.truncate(limit);
            let next = if more { items.last().map(|item| item.id.clone()) } else { None };
            let currency = app.currency().await?;
            let page = Items { items: items.into_iter().map(|item| Item::of(item, &currency)).collect(), next };
            serde_json::to_vec(&page).map(cache::Answer::new).map_err(Problem::internal)
        })
        .await?;
    Ok(conditional(&headers, &answer.etag, FRESH, || {
        ([(header::CONTENT_TYPE, value("application/json"))], answer.body.clone()).into_response()
    }))
}

/// The answer, or 304 if the client has it.
pub fn conditional(headers: &HeaderMap, etag: &str, fresh: &str, body: impl FnOnce() -> Response) -> Response {
    let mut response = if answers::has(headers, etag) { StatusCode::NOT_MODIFIED.into_response() } else { body() };
    response.headers_mut().insert(header::ETAG, value(etag));
    response.headers_mut().insert(header::CACHE_CONTROL, value(fresh));
    response
}

fn nothing() -> Problem {
    Problem::not_found("there is no such item")
}

fn no_menu(error: StoreError) -> Problem {
    match error {
        StoreError::Dangling { .. } => Problem::conflict("there is no such menu"),
        error => error.into(),
    }
}

/// One item.
#[utoipa::path(
    get, path = "/menu-items/{id}", tag = "menu",
    params(("id" = Uuid, Path, description = "The item's id"), ("If-None-Match" = Option<String>, Header, description = "ETags that the client has")),
    responses(
        (status = 200, description = "The item", body = Item, headers(("ETag" = String, description = "For If-None-Match and If-Match"))),
        (status = 304, description = "The client has it already"),
        (status = 404, description = "There is no such item", body = Problem, content_type = "application/problem+json"),
    )
)]
pub async fn show(State(app): State<App>, headers: HeaderMap, Path(id): Path<Uuid>) -> Answer<Response> {
    let item = items::item_by_id(app.store(), &id.to_string()).await?.ok_or_else(nothing)?;
    let (etag, currency) = (tag_of(item.version, item.left == Some(0)), app.currency().await?);
    Ok(conditional(&headers, &etag, ASK, || Json(Item::of(item, &currency)).into_response()))
}

/// The item as it is now, with its entity tag.
pub async fn current(app: &App, id: &str, status: StatusCode) -> Answer<Response> {
    let item = items::item_by_id(app.store(), id).await?.ok_or_else(nothing)?;
    let etag = tag_of(item.version, item.left == Some(0));
    Ok((status, [(header::ETAG, value(&etag))], Json(Item::of(item, &app.currency().await?))).into_response())
}

/// What makes an item.
#[derive(Deserialize, Validate, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ItemDraft {
    /// The id of the menu it is on.
    #[garde(skip)]
    menu_id: Uuid,
    /// Its name.
    #[garde(dive)]
    name: Name,
    /// What it is.
    #[garde(dive)]
    description: Option<Text>,
    /// Its price in cents.
    #[garde(dive)]
    price_cents: Cents,
    /// Whether it is for sale; it is if it is not said.
    #[garde(skip)]
    available: Option<bool>,
    /// Words to find it by.
    #[garde(length(max = 20), dive)]
    #[serde(default)]
    #[schema(max_items = 20)]
    tags: Vec<Word>,
    /// How many there are; as many as anyone wants if it is not said.
    #[garde(dive)]
    stock: Option<Count>,
}

/// Makes an item.
#[utoipa::path(
    post, path = "/menu-items", tag = "menu", request_body = ItemDraft,
    responses(
        (status = 201, description = "The item", body = Item, headers(
            ("Location" = String, description = "Where it is"), ("ETag" = String, description = "For If-Match"),
        )),
        (status = 409, description = "There is no such menu", body = Problem, content_type = "application/problem+json"),
    )
)]
pub async fn create(State(app): State<App>, me: Principal, Json(draft): Json<ItemDraft>) -> Answer<Response> {
    let (menu, tags) = (draft.menu_id.to_string(), words(draft.tags));
    let new = NewItem {
        menu: &menu,
        name: &draft.name.0,
        description: draft.description.as_ref().map_or("", |text| &text.0),
        price_cents: draft.price_cents.0,
        available: draft.available.unwrap_or(true),
        tags: &tags,
        left: draft.stock.map(|count| count.0),
    };
    let id = items::create_item(app.store(), new, Timestamp::now()).await.map_err(no_menu)?;
    changed(&app, &me, "item.create", &id).await;
    let mut response = current(&app, &id, StatusCode::CREATED).await?;
    response.headers_mut().insert(header::LOCATION, value(&format!("/menu-items/{id}")));
    Ok(response)
}

/// Each word once, in the order of the alphabet.
fn words(words: Vec<Word>) -> Vec<String> {
    let mut words: Vec<String> = words.into_iter().map(|word| word.0).collect();
    words.sort_unstable();
    words.dedup();
    words
}

/// What follows every change of the menu: nobody is shown the old one, and it is known who made it.
pub async fn changed(app: &App, me: &Principal, action: &str, id: &str) {
    app.cache().forget().await;
    Entry::new(action, id).by(&me.user).keep(app.store()).await;
}

/// What to change of an item.
#[derive(Deserialize, Validate, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ItemPatch {
    /// The id of the menu it is on.
    #[garde(skip)]
    menu_id: Option<Uuid>,
    /// Its name.
    #[garde(dive)]
    name: Option<Name>,
    /// What it is.
    #[garde(dive)]
    description: Option<Text>,
    /// Its price in cents.
    #[garde(dive)]
    price_cents: Option<Cents>,
    /// Whether it is for sale.
    #[garde(skip)]
    available: Option<bool>,
    /// Words to find it by, in place of those that it has.
    #[garde(length(max = 20), dive)]
    #[schema(max_items = 20)]
    tags: Option<Vec<Word>>,
}

/// Changes an item that is still as the client has seen it.
#[utoipa::path(
    patch, path = "/menu-items/{id}", tag = "menu", request_body = ItemPatch,
    params(("id" = Uuid, Path, description = "The item's id"), ("If-Match" = String, Header, description = "The ETag of what is to be changed")),
    responses(
        (status = 200, description = "The item as it is now", body = Item, headers(("ETag" = String, description = "For If-Match"))),
        (status = 404, description = "There is no such item", body = Problem, content_type = "application/problem+json"),
        (status = 409, description = "There is no such menu", body = Problem, content_type = "application/problem+json"),
        (status = 412, description = "It has changed since", body = Problem, content_type = "application/problem+json"),
        (status = 428, description = "There is no If-Match", body = Problem, content_type = "application/problem+json"),
    )
)]
pub async fn change(
    State(app): State<App>,
    me: Principal,
    Path(id): Path<Uuid>,
    IfMatch(version): IfMatch,
    Json(patch): Json<ItemPatch>,
) -> Answer<Response> {
    let id = id.to_string();
    let change = ItemChange {
        menu: patch.menu_id.map(|menu| menu.to_string()),
        name: patch.name.map(|name| name.0),
        description: patch.description.map(|text| text.0),
        price_cents: patch.price_cents.map(|cents| cents.0),
        available: patch.available,
        tags: patch.tags.map(words),
    };
    let outcome = items::change_item(app.store(), &id, version, &change, Timestamp::now()).await.map_err(no_menu)?;
    done(outcome)?;
    changed(&app, &me, "item.change", &id).await;
    current(&app, &id, StatusCode::OK).await
}

fn done(outcome: Changed<()>) -> Answer<()> {
    match outcome {
        Changed::Done(()) => Ok(()),
        Changed::Gone => Err(nothing()),
        Changed::Stale => Err(answers::stale()),
    }
}

/// Takes an item off the menu for good, if it is still as the client has seen it.
#[utoipa::path(
    delete, path = "/menu-items/{id}", tag = "menu",
    params(("id" = Uuid, Path, description = "The item's id"), ("If-Match" = String, Header, description = "The ETag of what is to be deleted")),
    responses(
        (status = 204, description = "It is no longer on the menu"),
        (status = 404, description = "There is no such item", body = Problem, content_type = "application/problem+json"),
        (status = 412, description = "It has changed since", body = Problem, content_type = "application/problem+json"),
        (status = 428, description = "There is no If-Match", body = Problem, content_type = "application/problem+json"),
    )
)]
pub async fn delete(
    State(app): State<App>,
    me: Principal,
    Path(id): Path<Uuid>,
    IfMatch(version): IfMatch,
) -> Answer<StatusCode> {
    let id = id.to_string();
    done(items::delete_item(app.store(), &id, version, Timestamp::now()).await?)?;
    changed(&app, &me, "item.delete", &id).await;
    Ok(StatusCode::NO_CONTENT)
}
