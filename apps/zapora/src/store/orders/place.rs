//! Placing an order: one transaction for the idempotency key, the decision, the order, its jobs and the stock. Either all of it is
//! there or none, so that no accepted order lacks its jobs, and none is made twice for one key.

use std::collections::BTreeSet;

use jiff::Timestamp;
use sha2::{Digest, Sha256};
use sqlx::{Any, AssertSqlSafe, Row, Transaction, any::AnyRow};

use super::{Order, load, record};
use crate::{
    engine::{Basket, Decision, MenuItem, Refusal, RefusalCode, Rules, Verdict, decide, order::OrderState},
    jobs::Task,
    store::{Result, Store, jobs::enqueue, micros, new_id, placeholders},
};

/// An order that somebody wants to place.
#[derive(Clone, Debug)]
pub struct Request {
    /// Whose.
    pub user_id: String,
    /// The client's own name for this request: sent again, it is answered again, not done again.
    pub key: Option<String>,
    /// What is wanted.
    pub basket: Basket,
    /// What the kitchen should know.
    pub note: String,
}

impl Request {
    /// SHA-256 of what is wanted, to tell a repetition from another request under the same key.
    fn fingerprint(&self) -> String {
        let mut digest = Sha256::new();
        let mut add = |text: &str| {
            // With the length in front, so that no two requests run together to the same bytes.
            digest.update((text.len() as u64).to_be_bytes());
            digest.update(text.as_bytes());
        };
        for line in &self.basket.lines {
            add(&line.item);
            add(&line.quantity.to_string());
        }
        add("coupon");
        self.basket.coupon.iter().for_each(|coupon| add(coupon));
        add("note");
        add(&self.note);
        digest.finalize().iter().map(|byte| format!("{byte:02x}")).collect()
    }
}

/// What became of a [`Request`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Placement {
    /// It is placed now.
    Placed(Order),
    /// It was placed before under the same key; the order as it was answered then.
    Repeated(Order),
    /// The key was used for something else.
    KeyReused,
    /// The rules do not allow it. Nothing is kept of it, not even the key: what is refused now may be accepted later.
    Refused {
        /// Why.
        refusals: Vec<Refusal>,
        /// Which rule did what.
        decisions: Vec<Decision>,
    },
}

type Outcome = std::result::Result<Placement, sqlx::Error>;

impl Store {
    /// Places an order at `now`.
    ///
    /// # Errors
    /// The database's. After [`crate::store::StoreError::Unavailable`] the order may or may not be placed; the same key tells.
    pub async fn place_order(&self, rules: &Rules, request: &Request, now: Timestamp) -> Result<Placement> {
        let placement = self.retried("place an order", || self.try_to_place(rules, request, now)).await?;
        if let Placement::Placed(order) = &placement {
            if let Some(counts) = self.counts() {
                counts.entered(order);
            }
            self.enqueued().notify_one();
        }
        if let Placement::Placed(_) | Placement::Repeated(_) = &placement {
            // A repetition too: another replica of the service may have placed the order a moment ago, and died before it said so.
            self.wrote(&request.user_id).await;
        }
        Ok(placement)
    }

    async fn try_to_place(&self, rules: &Rules, request: &Request, now: Timestamp) -> Outcome {
        let mut transaction = self.begin().await?;
        let id = new_id();
        if let Some(key) = &request.key
            && let Some(earlier) = claim(&mut transaction, request, key, &id, now).await?
        {
            return Ok(earlier);
        }
        let (verdict, counted) = look_up(&mut transaction, rules, &request.basket, now).await?;
        if !verdict.refusals.is_empty() {
            return Ok(Placement::Refused { refusals: verdict.refusals, decisions: verdict.decisions });
        }
        let order = Order {
            id,
            user_id: request.user_id.clone(),
            state: OrderState::Placed,
            currency: verdict.quote.currency,
            subtotal_cents: verdict.quote.subtotal_cents,
            discount_cents: verdict.quote.discount_cents,
            tax_cents: verdict.quote.tax_cents,
            total_cents: verdict.quote.total_cents,
            coupon: request.basket.coupon.clone(),
            note: request.note.clone(),
            lines: verdict.quote.lines,
            decisions: verdict.decisions,
            version: 1,
            // The database keeps microseconds: the answer now and the answer later are the same.
            created_at: crate::store::timestamp(micros(now)),
            updated_at: crate::store::timestamp(micros(now)),
        };
        let limit = limit_of(rules, &order);
        insert(&mut transaction, &order, &counted, limit.is_some()).await?;
        record(&mut transaction, &order.id, (None, OrderState::Placed), (&order.user_id, ""), now).await?;
        enqueue(&mut transaction, &[Task::AuthorisePayment { order: order.id.clone() }], now).await?;
        // Last, because everybody who orders the same item waits from here to the end of the transaction.
        if let Some(refusal) = take(&mut transaction, limit, (&order, &counted), now).await? {
            return Ok(Placement::Refused { refusals: vec![refusal], decisions: order.decisions });
        }
        transaction.commit().await?;
        Ok(Placement::Placed(order))
    }

    /// What an order would cost and whether it would be accepted, without placing it.
    ///
    /// # Errors
    /// The database's.
    pub async fn quote(&self, rules: &Rules, basket: &Basket, now: Timestamp) -> Result<Verdict> {
        self.bounded("quote an order", async {
            let mut connection = self.reading(crate::store::Reader::Anyone).await?;
            look_up(&mut connection, rules, basket, now).await.map(|(verdict, _)| verdict)
        })
        .await
    }
}

/// Claims the key, or says what it was used for. A transaction that claims it at the same time is waited for.
async fn claim(
    transaction: &mut Transaction<'_, Any>,
    request: &Request,
    key: &str,
    id: &str,
    now: Timestamp,
) -> std::result::Result<Option<Placement>, sqlx::Error> {
    let fingerprint = request.fingerprint();
    let claimed = sqlx::query(
        "INSERT INTO idempotency_keys (user_id, key, fingerprint, order_id, created_at) VALUES ($1, $2, $3, $4, $5) \
         ON CONFLICT (user_id, key) DO NOTHING",
    )
    .bind(request.user_id.as_str())
    .bind(key)
    .bind(fingerprint.as_str())
    .bind(id)
    .bind(micros(now))
    .execute(&mut **transaction)
    .await?;
    if claimed.rows_affected() == 1 {
        return Ok(None);
    }
    let row = sqlx::query("SELECT fingerprint, order_id FROM idempotency_keys WHERE user_id = $1 AND key = $2")
        .bind(request.user_id.as_str())
        .bind(key)
        .fetch_one(&mut **transaction)
        .await?;
    if row.try_get::<&str, _>("fingerprint")? != fingerprint {
        return Ok(Some(Placement::KeyReused));
    }
    let order = load(transaction, row.try_get("order_id")?, "").await?.ok_or(sqlx::Error::RowNotFound)?;
    let (state, updated_at) = (OrderState::Placed, order.created_at);
    Ok(Some(Placement::Repeated(Order { state, version: 1, updated_at, ..order })))
}

/// Reads what the decision needs, and decides; and says which items are counted.
async fn look_up(
    connection: &mut sqlx::AnyConnection,
    rules: &Rules,
    basket: &Basket,
    now: Timestamp,
) -> std::result::Result<(Verdict, BTreeSet<String>), sqlx::Error> {
    let mut ids: Vec<&str> = basket.lines.iter().map(|line| line.item.as_str()).collect();
    ids.sort_unstable();
    ids.dedup();
    // Beyond the limit the basket is refused whatever the menu says; a statement has a bounded number of parameters.
    ids.truncate(rules.limits.lines.saturating_add(1));
    let mut menu: Vec<MenuItem> = Vec::new();
    if !ids.is_empty() {
        let text = format!(
            "SELECT m.id, m.name, c.tax_category, m.price_cents, m.available, s.quantity FROM menu_items m \
             JOIN menu_categories c ON c.id = m.category_id LEFT JOIN stock s ON s.item_id = m.id \
             WHERE m.deleted_at IS NULL AND m.id IN ({})",
            placeholders(1, ids.len())
        );
        let mut query = sqlx::query(AssertSqlSafe(text));
        for id in ids {
            query = query.bind(id.to_owned());
        }
        menu = query.fetch_all(&mut *connection).await?.iter().map(item).collect::<std::result::Result<_, _>>()?;
    }
    let mut used = 0;
    if let Some(coupon) = &basket.coupon {
        let row = sqlx::query("SELECT used FROM coupon_uses WHERE coupon = $1")
            .bind(coupon.as_str())
            .fetch_optional(&mut *connection)
            .await?;
        used = row.map(|row| row.try_get("used")).transpose()?.unwrap_or(0);
    }
    let verdict = decide(rules, basket, &menu, used, now);
    Ok((verdict, menu.into_iter().filter(|item| item.stock.is_some()).map(|item| item.id).collect()))
}

fn item(row: &AnyRow) -> std::result::Result<MenuItem, sqlx::Error> {
    Ok(MenuItem {
        id: row.try_get("id")?,
        name: row.try_get("name")?,
        category: row.try_get("tax_category")?,
        price_cents: row.try_get("price_cents")?,
        available: row.try_get::<i64, _>("available")? != 0,
        stock: row.try_get("quantity")?,
    })
}

/// The order's coupon and how often it may be used, if that is limited.
fn limit_of<'a>(rules: &'a Rules, order: &Order) -> Option<(&'a str, i64)> {
    let discount = rules.discounts.iter().find(|d| d.coupon.is_some() && d.coupon == order.coupon)?;
    Some((discount.coupon.as_deref()?, discount.max_uses?))
}

/// Writes the order, and what it is about to take: of the items that are `counted`, and of its coupon if the uses of that are.
async fn insert(
    transaction: &mut Transaction<'_, Any>,
    order: &Order,
    counted: &BTreeSet<String>,
    coupon_counted: bool,
) -> std::result::Result<(), sqlx::Error> {
    let decisions = serde_json::to_string(&order.decisions).map_err(super::decode)?;
    sqlx::query(
        "INSERT INTO orders (id, user_id, state, currency, subtotal_cents, discount_cents, tax_cents, total_cents, coupon, note, \
         decisions, version, created_at, updated_at, coupon_counted) \
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15)",
    )
    .bind(order.id.as_str())
    .bind(order.user_id.as_str())
    .bind(order.state.as_str())
    .bind(order.currency.as_str())
    .bind(order.subtotal_cents)
    .bind(order.discount_cents)
    .bind(order.tax_cents)
    .bind(order.total_cents)
    .bind(order.coupon.clone())
    .bind(order.note.as_str())
    .bind(decisions)
    .bind(order.version)
    .bind(micros(order.created_at))
    .bind(micros(order.updated_at))
    .bind(i64::from(coupon_counted))
    .execute(&mut **transaction)
    .await?;
    let mut text =
        "INSERT INTO order_lines (order_id, position, item_id, name, quantity, unit_cents, discount_cents, tax_cents, \
         total_cents, tax_category, taken) VALUES "
            .to_owned();
    for index in 0..order.lines.len() {
        text.push_str(if index == 0 { "(" } else { ", (" });
        text.push_str(&placeholders(index * 11 + 1, 11));
        text.push(')');
    }
    let mut query = sqlx::query(AssertSqlSafe(text));
    for (position, line) in (0_i64..).zip(&order.lines) {
        query = query
            .bind(order.id.clone())
            .bind(position)
            .bind(line.item_id.clone())
            .bind(line.name.clone())
            .bind(line.quantity)
            .bind(line.unit_cents)
            .bind(line.discount_cents)
            .bind(line.tax_cents)
            .bind(line.total_cents)
            .bind(line.tax_category.clone())
            .bind(if counted.contains(&line.item_id) { line.quantity } else { 0 });
    }
    query.execute(&mut **transaction).await.map(|_| ())
}

/// Takes what was ordered from the stock and from the coupon. What was there when the engine looked may be gone: then says so.
async fn take(
    transaction: &mut Transaction<'_, Any>,
    limit: Option<(&str, i64)>,
    (order, counted): (&Order, &BTreeSet<String>),
    now: Timestamp,
) -> std::result::Result<Option<Refusal>, sqlx::Error> {
    if let Some((coupon, most)) = limit {
        let used = sqlx::query(
            "INSERT INTO coupon_uses (coupon, used) VALUES ($1, 1) \
             ON CONFLICT (coupon) DO UPDATE SET used = coupon_uses.used + 1 WHERE coupon_uses.used < $2",
        )
        .bind(coupon)
        .bind(most)
        .execute(&mut **transaction)
        .await?;
        if used.rows_affected() == 0 {
            let message = "the coupon has been used as often as it may be".to_owned();
            return Ok(Some(Refusal { code: RefusalCode::Coupon, message, item_id: None }));
        }
    }
    let mut lines: Vec<_> = order.lines.iter().filter(|line| counted.contains(&line.item_id)).collect();
    lines.sort_by(|a, b| a.item_id.cmp(&b.item_id));
    for line in lines {
        let item = line.item_id.as_str();
        let taken = sqlx::query(
            "UPDATE stock SET quantity = quantity - $1, updated_at = $2 WHERE item_id = $3 AND quantity >= $1",
        )
        .bind(line.quantity)
        .bind(micros(now))
        .bind(item)
        .execute(&mut **transaction)
        .await?;
        if taken.rows_affected() == 1 {
            continue;
        }
        // Either it is no longer counted, or there is too little left.
        let counted =
            sqlx::query("SELECT quantity FROM stock WHERE item_id = $1").bind(item).fetch_optional(&mut **transaction);
        if let Some(row) = counted.await? {
            let left: i64 = row.try_get("quantity")?;
            let message = format!("{} of {} are wanted, {left} are left", line.quantity, line.name);
            return Ok(Some(Refusal { code: RefusalCode::OutOfStock, message, item_id: Some(item.to_owned()) }));
        }
        sqlx::query("UPDATE order_lines SET taken = 0 WHERE order_id = $1 AND item_id = $2")
            .bind(order.id.as_str())
            .bind(item)
            .execute(&mut **transaction)
            .await?;
    }
    Ok(None)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::BasketLine;

    #[test]
    fn the_fingerprint_tells_requests_apart_that_read_alike() {
        let request = |lines: &[(&str, i64)], coupon: Option<&str>, note: &str| {
            let lines = lines.iter().map(|(item, quantity)| BasketLine { item: (*item).into(), quantity: *quantity });
            let basket = Basket { lines: lines.collect(), coupon: coupon.map(str::to_owned) };
            Request { user_id: "u".into(), key: None, basket, note: note.into() }.fingerprint()
        };
        let all = [
            request(&[("a", 1)], None, ""),
            request(&[("a", 11)], None, ""),
            request(&[("a1", 1)], None, ""),
            request(&[("a", 1)], Some("x"), ""),
            request(&[("a", 1)], None, "x"),
        ];
        for (index, one) in all.iter().enumerate() {
            assert!(!all[index + 1..].contains(one), "{index}");
        }
    }
}
