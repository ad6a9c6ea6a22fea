//! Orders: placing one, moving it through its states, and reading it.

use jiff::Timestamp;
use sqlx::{Any, AssertSqlSafe, FromRow, Row, Transaction, any::AnyRow};

use super::{Reader, Result, Store, micros, placeholders, sql::Sql, timestamp};
use crate::engine::{Decision, QuoteLine, order::OrderState};

mod change;
mod counts;
mod place;

pub(in crate::store) use self::counts::Counts;
pub use self::{
    change::{Change, Changed},
    place::{Placement, Request},
};

/// An order as it stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Order {
    /// A UUIDv7.
    pub id: String,
    /// Whose it is.
    pub user_id: String,
    /// Where it stands.
    pub state: OrderState,
    /// ISO 4217.
    pub currency: String,
    /// The prices of the menu, added up.
    pub subtotal_cents: i64,
    /// What was taken off.
    pub discount_cents: i64,
    /// The tax contained in the total.
    pub tax_cents: i64,
    /// What is to be paid.
    pub total_cents: i64,
    /// The coupon that was given.
    pub coupon: Option<String>,
    /// What the customer wants the kitchen to know.
    pub note: String,
    /// What was ordered.
    pub lines: Vec<QuoteLine>,
    /// Which rule did what when it was placed.
    pub decisions: Vec<Decision>,
    /// Rises with each change.
    pub version: i64,
    /// When it was placed.
    pub created_at: Timestamp,
    /// When it last changed.
    pub updated_at: Timestamp,
}

/// One step in the life of an order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OrderEvent {
    /// When.
    pub at: Timestamp,
    /// A user's id, or `system`.
    pub actor: String,
    /// Where it stood; nothing when it was placed.
    pub from_state: Option<OrderState>,
    /// Where it stood then.
    pub to_state: OrderState,
    /// What the actor gave as the reason.
    pub reason: String,
}

/// Which orders to list, newest first.
#[derive(Clone, Debug, Default)]
pub struct OrderFilter {
    /// Only this user's.
    pub user_id: Option<String>,
    /// Only in this state.
    pub state: Option<OrderState>,
    /// Only older than the order of this id: the last of the page before.
    pub before: Option<String>,
    /// The most to list.
    pub limit: i64,
}

const COLUMNS: &str = "id, user_id, state, currency, subtotal_cents, discount_cents, tax_cents, total_cents, coupon, note, \
     decisions, version, created_at, updated_at";

fn decode(error: impl std::error::Error + Send + Sync + 'static) -> sqlx::Error {
    sqlx::Error::Decode(Box::new(error))
}

fn state(text: &str) -> std::result::Result<OrderState, sqlx::Error> {
    text.parse().map_err(|e: String| sqlx::Error::Decode(e.into()))
}

impl FromRow<'_, AnyRow> for Order {
    /// Without its lines.
    fn from_row(row: &AnyRow) -> std::result::Result<Self, sqlx::Error> {
        Ok(Self {
            id: row.try_get("id")?,
            user_id: row.try_get("user_id")?,
            state: state(row.try_get("state")?)?,
            currency: row.try_get("currency")?,
            subtotal_cents: row.try_get("subtotal_cents")?,
            discount_cents: row.try_get("discount_cents")?,
            tax_cents: row.try_get("tax_cents")?,
            total_cents: row.try_get("total_cents")?,
            coupon: row.try_get("coupon")?,
            note: row.try_get("note")?,
            lines: Vec::new(),
            decisions: serde_json::from_str(row.try_get("decisions")?).map_err(decode)?,
            version: row.try_get("version")?,
            created_at: timestamp(row.try_get("created_at")?),
            updated_at: timestamp(row.try_get("updated_at")?),
        })
    }
}

impl FromRow<'_, AnyRow> for OrderEvent {
    fn from_row(row: &AnyRow) -> std::result::Result<Self, sqlx::Error> {
        Ok(Self {
            at: timestamp(row.try_get("at")?),
            actor: row.try_get("actor")?,
            from_state: row.try_get::<Option<&str>, _>("from_state")?.map(state).transpose()?,
            to_state: state(row.try_get("to_state")?)?,
            reason: row.try_get("reason")?,
        })
    }
}

fn line(row: &AnyRow) -> std::result::Result<QuoteLine, sqlx::Error> {
    Ok(QuoteLine {
        item_id: row.try_get("item_id")?,
        name: row.try_get("name")?,
        quantity: row.try_get("quantity")?,
        unit_cents: row.try_get("unit_cents")?,
        discount_cents: row.try_get("discount_cents")?,
        tax_cents: row.try_get("tax_cents")?,
        total_cents: row.try_get("total_cents")?,
        tax_category: row.try_get("tax_category")?,
    })
}

/// Reads the lines of `orders` in one go.
async fn fill(connection: &mut sqlx::AnyConnection, orders: &mut [Order]) -> std::result::Result<(), sqlx::Error> {
    if orders.is_empty() {
        return Ok(());
    }
    let text = format!(
        "SELECT order_id, item_id, name, quantity, unit_cents, discount_cents, tax_cents, total_cents, tax_category \
         FROM order_lines WHERE order_id IN ({}) ORDER BY order_id, position",
        placeholders(1, orders.len())
    );
    let mut query = sqlx::query(AssertSqlSafe(text));
    for order in orders.iter() {
        query = query.bind(order.id.clone());
    }
    for row in query.fetch_all(connection).await? {
        let id: &str = row.try_get("order_id")?;
        if let Some(order) = orders.iter_mut().find(|order| order.id == id) {
            order.lines.push(line(&row)?);
        }
    }
    Ok(())
}

/// Reads one order inside a transaction, with what [`super::Dialect::locked`] says at the statement's end, or nothing.
async fn load(
    transaction: &mut Transaction<'_, Any>,
    id: &str,
    locked: &str,
) -> std::result::Result<Option<Order>, sqlx::Error> {
    let text = format!("SELECT {COLUMNS} FROM orders WHERE id = $1 {locked}");
    let found: Option<Order> = sqlx::query_as(AssertSqlSafe(text)).bind(id).fetch_optional(&mut **transaction).await?;
    let mut orders: Vec<Order> = found.into_iter().collect();
    fill(transaction, &mut orders).await?;
    Ok(orders.pop())
}

impl Store {
    /// One order.
    ///
    /// # Errors
    /// The database's.
    pub async fn order(&self, reader: Reader<'_>, id: &str) -> Result<Option<Order>> {
        self.bounded("read an order", async {
            let mut connection = self.reading(reader).await?;
            let text = format!("SELECT {COLUMNS} FROM orders WHERE id = $1");
            let found: Option<Order> =
                sqlx::query_as(AssertSqlSafe(text)).bind(id).fetch_optional(&mut *connection).await?;
            let mut orders: Vec<Order> = found.into_iter().collect();
            fill(&mut connection, &mut orders).await?;
            Ok(orders.pop())
        })
        .await
    }

    /// Orders, newest first.
    ///
    /// # Errors
    /// The database's.
    pub async fn orders(&self, reader: Reader<'_>, filter: &OrderFilter) -> Result<Vec<Order>> {
        self.bounded("list orders", async {
            let mut connection = self.reading(reader).await?;
            // No bound is no condition: there is no text that all ids are below in every database, as each sorts in its own language.
            let mut sql = Sql::new(format!("SELECT {COLUMNS} FROM orders WHERE 1 = 1"));
            if let Some(before) = &filter.before {
                sql.push(" AND id < ").bind(before.clone());
            }
            if let Some(user) = &filter.user_id {
                sql.push(" AND user_id = ").bind(user.clone());
            }
            if let Some(state) = filter.state {
                sql.push(" AND state = ").bind(state.as_str().to_owned());
            }
            sql.push(" ORDER BY id DESC LIMIT ").bind(filter.limit);
            let rows = sql.query()?.fetch_all(&mut *connection).await?;
            let mut orders = rows.iter().map(Order::from_row).collect::<std::result::Result<Vec<_>, _>>()?;
            fill(&mut connection, &mut orders).await?;
            Ok(orders)
        })
        .await
    }

    /// What has happened to an order, oldest first.
    ///
    /// # Errors
    /// The database's.
    pub async fn order_events(&self, reader: Reader<'_>, id: &str) -> Result<Vec<OrderEvent>> {
        self.bounded("read what happened to an order", async {
            let mut connection = self.reading(reader).await?;
            sqlx::query_as(
                "SELECT at, actor, from_state, to_state, reason FROM order_events WHERE order_id = $1 ORDER BY id",
            )
            .bind(id)
            .fetch_all(&mut *connection)
            .await
        })
        .await
    }
}

/// One event, in the transaction that changes the order.
async fn record(
    transaction: &mut Transaction<'_, Any>,
    order: &str,
    change: (Option<OrderState>, OrderState),
    (actor, reason): (&str, &str),
    now: Timestamp,
) -> std::result::Result<(), sqlx::Error> {
    sqlx::query(
        "INSERT INTO order_events (id, order_id, at, actor, from_state, to_state, reason) VALUES ($1, $2, $3, $4, $5, $6, $7)",
    )
    .bind(super::new_id())
    .bind(order)
    .bind(micros(now))
    .bind(actor)
    .bind(change.0.map(OrderState::as_str))
    .bind(change.1.as_str())
    .bind(reason)
    .execute(&mut **transaction)
    .await
    .map(|_| ())
}
