//! What staff do: see what is to be made, say how far it is, and how much is left.

use axum::{extract::State, http::StatusCode};
use garde::Validate;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use service::{
    extract::{Json, Path, Query},
    problem::{Answer, Problem},
};
use utoipa::ToSchema;
use uuid::Uuid;

use super::{
    App,
    fields::{Count, Text},
    items::changed,
    orders::{OrderView, Orders, OrdersQuery, advance, page},
};
use crate::{
    auth::Principal,
    engine::order::OrderState,
    store::{Reader, items},
};

/// Where an order is to go.
#[derive(Deserialize, Validate, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Move {
    /// The state that it is to be in.
    #[garde(skip)]
    to: OrderState,
    /// Why; the customer is told.
    #[garde(dive)]
    reason: Option<Text>,
}

/// How many of an item are left.
#[derive(Serialize, ToSchema)]
pub struct Stock {
    /// How many; none is as many as anyone wants.
    left: Option<i64>,
}

/// How many of an item are to be left.
#[derive(Deserialize, Validate, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewStock {
    /// How many; none is as many as anyone wants.
    #[garde(dive)]
    left: Option<Count>,
}

/// Everybody's orders, the newest first.
#[utoipa::path(
    get, path = "/staff/orders", tag = "staff", params(OrdersQuery),
    responses((status = 200, description = "A page of orders", body = Orders))
)]
pub async fn orders(State(app): State<App>, me: Principal, Query(query): Query<OrdersQuery>) -> Answer<Json<Orders>> {
    page(&app, &me, query, None).await
}

/// Moves an order on. Moving it to where it is changes nothing.
#[utoipa::path(
    post, path = "/staff/orders/{id}/advance", tag = "staff", request_body = Move,
    params(("id" = Uuid, Path, description = "The order's id")),
    responses(
        (status = 200, description = "The order as it is now", body = OrderView),
        (status = 404, description = "There is no such order", body = Problem, content_type = "application/problem+json"),
        (status = 409, description = "From where it is it cannot go there", body = Problem, content_type = "application/problem+json"),
    )
)]
pub async fn move_order(
    State(app): State<App>,
    me: Principal,
    Path(id): Path<Uuid>,
    Json(to): Json<Move>,
) -> Answer<Json<OrderView>> {
    advance(&app, &me, &id.to_string(), to.to, &to.reason.unwrap_or_default().0).await
}

fn nothing() -> Problem {
    Problem::not_found("there is no such item")
}

/// How many of an item are left.
#[utoipa::path(
    get, path = "/menu-items/{id}/stock", tag = "staff", params(("id" = Uuid, Path, description = "The item's id")),
    responses(
        (status = 200, description = "How many", body = Stock),
        (status = 404, description = "There is no such item", body = Problem, content_type = "application/problem+json"),
    )
)]
pub async fn stock(State(app): State<App>, Path(id): Path<Uuid>) -> Answer<Json<Stock>> {
    let id = id.to_string();
    items::item_by_id(app.store(), &id).await?.ok_or_else(nothing)?;
    Ok(Json(Stock { left: app.store().stock(Reader::Newest, &id).await? }))
}

/// Says how many of an item are left.
#[utoipa::path(
    put, path = "/menu-items/{id}/stock", tag = "staff", request_body = NewStock,
    params(("id" = Uuid, Path, description = "The item's id")),
    responses(
        (status = 204, description = "It is noted"),
        (status = 404, description = "There is no such item", body = Problem, content_type = "application/problem+json"),
    )
)]
pub async fn set_stock(
    State(app): State<App>,
    me: Principal,
    Path(id): Path<Uuid>,
    Json(stock): Json<NewStock>,
) -> Answer<StatusCode> {
    let id = id.to_string();
    items::item_by_id(app.store(), &id).await?.ok_or_else(nothing)?;
    app.store().set_stock(&id, stock.left.map(|count| count.0), Timestamp::now()).await?;
    changed(&app, &me, "stock.set", &id).await;
    Ok(StatusCode::NO_CONTENT)
}
