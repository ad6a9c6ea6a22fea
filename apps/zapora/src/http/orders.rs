//! `/orders`: what customers order, and what becomes of it.

use axum::{
    extract::{FromRequestParts, State},
    http::{HeaderName, StatusCode, header, request::Parts},
    response::{IntoResponse, Response},
};
use garde::Validate;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use service::{
    extract::{Json, Path, Query},
    problem::{Answer, Problem},
};
use utoipa::{IntoParams, ToSchema};
use uuid::Uuid;

use super::{
    App,
    answers::{time, value},
    fields::{Limit, Quantity, Text},
};
use crate::{
    audit::Entry,
    auth::{Principal, access::Role},
    engine::{
        Basket, BasketLine, Decision, Quote, QuoteLine, Refusal,
        order::{OrderState, Party, TransitionError},
    },
    store::{
        Reader,
        orders::{Change, Changed, Order, OrderEvent, OrderFilter, Placement, Request},
    },
};

/// Says that an answer is the one that was given before under the same `Idempotency-Key`.
const REPLAYED: HeaderName = HeaderName::from_static("idempotency-replayed");

/// An item and how many.
#[derive(Deserialize, Validate, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Line {
    /// The item's id.
    #[garde(skip)]
    item_id: Uuid,
    /// How many.
    #[garde(dive)]
    quantity: Quantity,
}

/// A code for a discount: 1 to 64 characters.
#[derive(Deserialize, Validate, ToSchema)]
#[garde(transparent)]
#[serde(transparent)]
#[schema(value_type = String, min_length = 1, max_length = 64, pattern = r"^[^\u0000]+$", example = "WELCOME5")]
pub struct Coupon(#[garde(length(chars, min = 1, max = 64))] String);

/// What somebody wants.
#[derive(Deserialize, Validate, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Wish {
    /// Items and how many; the same item may occur more than once.
    #[garde(length(min = 1, max = 200), dive)]
    #[schema(min_items = 1, max_items = 200)]
    items: Vec<Line>,
    /// A code for a discount.
    #[garde(dive)]
    coupon: Option<Coupon>,
    /// What the kitchen should know.
    #[garde(dive)]
    note: Option<Text>,
}

impl Wish {
    fn into_parts(self) -> (Basket, String) {
        let line = |line: Line| BasketLine { item: line.item_id.to_string(), quantity: line.quantity.0 };
        let lines = self.items.into_iter().map(line).collect();
        let coupon = self.coupon.map(|coupon| coupon.0);
        (Basket { lines, coupon }, self.note.unwrap_or_default().0)
    }
}

/// What a wish would cost, whether it would be accepted, and why.
#[derive(Serialize, ToSchema)]
pub struct Estimate {
    /// Whether an order for it would be accepted now.
    accepted: bool,
    /// What it costs; without the items that cannot be had.
    quote: Quote,
    /// Which rule did what.
    decisions: Vec<Decision>,
    /// Why it would not be accepted.
    refusals: Vec<Refusal>,
}

/// An order.
#[derive(Serialize, ToSchema)]
#[schema(as = Order)]
pub struct OrderView {
    /// Its id.
    #[schema(format = Uuid)]
    id: String,
    /// The id of the account whose it is.
    #[schema(format = Uuid)]
    user_id: String,
    /// Where it stands.
    state: OrderState,
    /// ISO 4217.
    currency: String,
    /// The prices of the menu, added up.
    subtotal_cents: i64,
    /// What was taken off.
    discount_cents: i64,
    /// The tax contained in the total.
    tax_cents: i64,
    /// What is to be paid.
    total_cents: i64,
    /// The coupon that was given.
    coupon: Option<String>,
    /// What the kitchen should know.
    note: String,
    /// What was ordered.
    lines: Vec<QuoteLine>,
    /// Which rule did what when it was placed.
    decisions: Vec<Decision>,
    /// Rises with each change.
    version: i64,
    /// When it was placed.
    #[schema(format = DateTime)]
    created_at: String,
    /// When it last changed.
    #[schema(format = DateTime)]
    updated_at: String,
}

impl From<Order> for OrderView {
    fn from(order: Order) -> Self {
        Self {
            id: order.id,
            user_id: order.user_id,
            state: order.state,
            currency: order.currency,
            subtotal_cents: order.subtotal_cents,
            discount_cents: order.discount_cents,
            tax_cents: order.tax_cents,
            total_cents: order.total_cents,
            coupon: order.coupon,
            note: order.note,
            lines: order.lines,
            decisions: order.decisions,
            version: order.version,
            created_at: time(order.created_at),
            updated_at: time(order.updated_at),
        }
    }
}

/// One step in the life of an order.
#[derive(Serialize, ToSchema)]
pub struct Step {
    /// When.
    #[schema(format = DateTime)]
    at: String,
    /// An account's id, or `system`.
    actor: String,
    /// Where it stood; nothing when it was placed.
    #[schema(inline)]
    from: Option<OrderState>,
    /// Where it stood then.
    to: OrderState,
    /// Why.
    reason: String,
}

impl From<OrderEvent> for Step {
    fn from(event: OrderEvent) -> Self {
        let (from, to) = (event.from_state, event.to_state);
        Self { at: time(event.at), actor: event.actor, from, to, reason: event.reason }
    }
}

/// An order and what has happened to it.
#[derive(Serialize, ToSchema)]
pub struct OrderWithHistory {
    /// The order.
    order: OrderView,
    /// What has happened to it, the oldest first.
    history: Vec<Step>,
}

/// A page of orders.
#[derive(Serialize, ToSchema)]
pub struct Orders {
    /// The orders, the newest first.
    orders: Vec<OrderView>,
    /// What to send as `before` for the next page; none if this is the last.
    #[schema(format = Uuid)]
    next: Option<String>,
}

/// Which orders to list.
#[derive(Deserialize, Validate, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct OrdersQuery {
    /// Only those in this state.
    #[garde(skip)]
    #[param(inline)]
    state: Option<OrderState>,
    /// Only those older than the one with this id: `next` of the page before.
    #[garde(skip)]
    before: Option<Uuid>,
    /// At most so many.
    #[garde(dive)]
    #[serde(default)]
    #[param(inline)]
    limit: Limit,
}

/// The client's own name for a request: sent again with the same, it is answered again, not done again.
pub struct IdempotencyKey(String);

impl<S: Send + Sync> FromRequestParts<S> for IdempotencyKey {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        let mut values = parts.headers.get_all("idempotency-key").iter();
        let value = values.next().and_then(|v| v.to_str().ok()).filter(|_| values.next().is_none());
        match value {
            Some(key) if (1..=128).contains(&key.len()) && key.bytes().all(|b| b.is_ascii_graphic()) => {
                Ok(Self(key.to_owned()))
            }
            _ => Err(Problem::bad_request(
                "send Idempotency-Key: 1 to 128 characters of your own for this order, such as a UUID",
            )),
        }
    }
}

fn nothing() -> Problem {
    Problem::not_found("there is no such order, or it is not yours")
}

/// Places an order. What it costs, what is left and whether the kitchen is open is decided here; the payment follows.
#[utoipa::path(
    post, path = "/orders", tag = "orders", request_body = Wish,
    params(("Idempotency-Key" = inline(String), Header, min_length = 1, max_length = 128, pattern = "^[!-~]+$",
        description = "The client's own name for this order: sent again with the same within 24 hours, it is answered again and placed once")),
    responses(
        (status = 201, description = "The order", body = OrderView, headers(
            ("Location" = String, description = "Where it is"),
            ("Idempotency-Replayed" = Option<String>, description = "`true` if it had been placed before"),
        )),
        (status = 409, description = "The rules do not allow it; members `refusals` and `decisions` say why", body = Problem, content_type = "application/problem+json"),
    )
)]
pub async fn place(
    State(app): State<App>,
    me: Principal,
    key: IdempotencyKey,
    Json(wish): Json<Wish>,
) -> Answer<Response> {
    let (basket, note) = wish.into_parts();
    let request = Request { user_id: me.user.clone(), key: Some(key.0), basket, note };
    let rules = app.store().rules().await?.rules;
    let (order, again) = match app.store().place_order(&rules, &request, Timestamp::now()).await? {
        Placement::Placed(order) => (order, false),
        Placement::Repeated(order) => (order, true),
        Placement::KeyReused => {
            let problem = Problem::new(StatusCode::UNPROCESSABLE_ENTITY, "Idempotency-Key reused");
            return Err(problem.detail("this Idempotency-Key was used for another order"));
        }
        Placement::Refused { refusals, decisions } => {
            let why: Vec<&str> = refusals.iter().map(|refusal| refusal.message.as_str()).collect();
            let detail = why.join("; ");
            Entry::new("order.place", "").by(&me.user).denied(&detail).log();
            let problem = Problem::new(StatusCode::CONFLICT, "Order refused").detail(detail);
            return Err(problem.with("refusals", refusals).with("decisions", decisions));
        }
    };
    Entry::new("order.place", &order.id).by(&me.user).because(if again { "again" } else { "" }).log();
    let location = value(&format!("/orders/{}", order.id));
    let mut response =
        (StatusCode::CREATED, [(header::LOCATION, location)], Json(OrderView::from(order))).into_response();
    if again {
        response.headers_mut().insert(REPLAYED, value("true"));
    }
    Ok(response)
}

/// What an order would cost, whether it would be accepted, and which rule says so. Nothing is kept.
#[utoipa::path(
    post, path = "/orders/quote", tag = "orders", request_body = Wish,
    responses((status = 200, description = "The estimate", body = Estimate))
)]
pub async fn quote(State(app): State<App>, _me: Principal, Json(wish): Json<Wish>) -> Answer<Json<Estimate>> {
    let rules = app.store().rules().await?.rules;
    let verdict = app.store().quote(&rules, &wish.into_parts().0, Timestamp::now()).await?;
    let accepted = verdict.refusals.is_empty();
    Ok(Json(Estimate { accepted, quote: verdict.quote, decisions: verdict.decisions, refusals: verdict.refusals }))
}

/// One's own orders, the newest first.
#[utoipa::path(
    get, path = "/orders", tag = "orders", params(OrdersQuery),
    responses((status = 200, description = "A page of orders", body = Orders))
)]
pub async fn list(State(app): State<App>, me: Principal, Query(query): Query<OrdersQuery>) -> Answer<Json<Orders>> {
    let user = me.user.clone();
    page(&app, &me, query, Some(user)).await
}

/// A page of orders, of one account or of all.
pub async fn page(app: &App, me: &Principal, query: OrdersQuery, user_id: Option<String>) -> Answer<Json<Orders>> {
    let limit = usize::try_from(query.limit.0).unwrap_or(usize::MAX);
    let before = query.before.map(|id| id.to_string());
    // One more than is given tells whether there is another page.
    let filter = OrderFilter { user_id, state: query.state, before, limit: query.limit.0 + 1 };
    let mut orders = app.store().orders(Reader::Writer(&me.user), &filter).await?;
    let more = orders.len() > limit;
    orders.truncate(limit);
    let next = if more { orders.last().map(|order| order.id.clone()) } else { None };
    Ok(Json(Orders { orders: orders.into_iter().map(OrderView::from).collect(), next }))
}

/// One order and what has happened to it.
#[utoipa::path(
    get, path = "/orders/{id}", tag = "orders", params(("id" = Uuid, Path, description = "The order's id")),
    responses(
        (status = 200, description = "The order", body = OrderWithHistory),
        (status = 404, description = "There is no such order, or it is another's", body = Problem, content_type = "application/problem+json"),
    )
)]
pub async fn show(State(app): State<App>, me: Principal, Path(id): Path<Uuid>) -> Answer<Json<OrderWithHistory>> {
    let (id, reader) = (id.to_string(), Reader::Writer(&me.user));
    let order =
        app.store().order(reader, &id).await?.filter(|order| me.may_touch(&order.user_id)).ok_or_else(nothing)?;
    let history = app.store().order_events(reader, &id).await?.into_iter().map(Step::from).collect();
    Ok(Json(OrderWithHistory { order: order.into(), history }))
}

/// Calls an order off. Customers can until the kitchen has accepted it. Calling it off twice is calling it off once.
#[utoipa::path(
    post, path = "/orders/{id}/cancel", tag = "orders", params(("id" = Uuid, Path, description = "The order's id")),
    responses(
        (status = 200, description = "The order as it is now", body = OrderView),
        (status = 403, description = "Not any more, or only by others", body = Problem, content_type = "application/problem+json"),
        (status = 404, description = "There is no such order, or it is another's", body = Problem, content_type = "application/problem+json"),
        (status = 409, description = "It is too late", body = Problem, content_type = "application/problem+json"),
    )
)]
pub async fn cancel(State(app): State<App>, me: Principal, Path(id): Path<Uuid>) -> Answer<Json<OrderView>> {
    advance(&app, &me, &id.to_string(), OrderState::Cancelled, "").await
}

/// Moves an order, in the name of somebody.
pub async fn advance(app: &App, me: &Principal, id: &str, to: OrderState, reason: &str) -> Answer<Json<OrderView>> {
    let party = match me.role {
        Role::Customer => Party::Owner,
        Role::Staff => Party::Staff,
        Role::Admin => Party::Admin,
    };
    let change = Change { order: id, to, party, actor: &me.user, reason };
    let entry = Entry::new("order.change", id).by(&me.user);
    match app.store().change_order(change, Timestamp::now()).await? {
        Changed::Done(order) => {
            entry.because(to.as_str()).log();
            Ok(Json(order.into()))
        }
        Changed::Already(order) => Ok(Json(order.into())),
        Changed::NotFound => Err(nothing()),
        Changed::Refused(why) => {
            let detail = why.to_string();
            entry.denied(&detail).log();
            Err(match why {
                TransitionError::Impossible { .. } => Problem::conflict(detail),
                TransitionError::Forbidden { .. } => Problem::forbidden(detail),
            })
        }
    }
}
