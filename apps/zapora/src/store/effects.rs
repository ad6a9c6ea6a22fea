//! What jobs leave behind: payments, tickets, reports. Each is written once, however often its job is done.

use jiff::Timestamp;
use sqlx::Row;

use super::{Reader, Result, Store, micros, sql::Sql};
use crate::jobs::PaymentOutcome;

/// The report of a day.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DailyReport {
    /// `YYYY-MM-DD` in the restaurant's time zone.
    pub day: String,
    /// Orders that did not come to nothing.
    pub orders: i64,
    /// What they came to.
    pub revenue_cents: i64,
    /// JSON: the same by state, and the items that were ordered most.
    pub report: String,
}

impl Store {
    /// Keeps what the payment provider said.
    ///
    /// # Errors
    /// The database's.
    pub async fn record_payment(
        &self,
        order: &str,
        amount_cents: i64,
        outcome: &PaymentOutcome,
        now: Timestamp,
    ) -> Result<()> {
        self.bounded("keep a payment", async {
            let mut connection = self.writing().await?;
            sqlx::query(
                "INSERT INTO payments (order_id, provider, reference, approved, amount_cents, created_at) \
                 VALUES ($1, $2, $3, $4, $5, $6) ON CONFLICT (order_id) DO NOTHING",
            )
            .bind(order)
            .bind(outcome.provider.as_str())
            .bind(outcome.reference.as_str())
            .bind(i64::from(outcome.approved))
            .bind(amount_cents)
            .bind(micros(now))
            .execute(&mut *connection)
            .await
            .map(|_| ())
        })
        .await
    }

    /// Puts a ticket up in the kitchen.
    ///
    /// # Errors
    /// The database's.
    pub async fn print_ticket(&self, order: &str, ticket: &str, now: Timestamp) -> Result<()> {
        self.bounded("print a kitchen ticket", async {
            let mut connection = self.writing().await?;
            sqlx::query(
                "INSERT INTO kitchen_tickets (order_id, ticket, created_at) VALUES ($1, $2, $3) ON CONFLICT (order_id) DO NOTHING",
            )
            .bind(order)
            .bind(ticket)
            .bind(micros(now))
            .execute(&mut *connection)
            .await
            .map(|_| ())
        })
        .await
    }

    /// Whom to write to about a user's order: name and address.
    ///
    /// # Errors
    /// The database's.
    pub async fn addressee(&self, user: &str) -> Result<Option<(String, String)>> {
        self.bounded("look up a customer", async {
            let mut connection = self.reading(Reader::Newest).await?;
            let row = sqlx::query("SELECT name, email FROM users WHERE id = $1")
                .bind(user)
                .fetch_optional(&mut *connection)
                .await?;
            row.map(|row| Ok((row.try_get("name")?, row.try_get("email")?))).transpose()
        })
        .await
    }

    /// Sums up the orders placed from one moment to another as the report of `day`: orders and revenue. A report that exists stays.
    ///
    /// # Errors
    /// The database's.
    pub async fn sum_up(
        &self,
        day: &str,
        (from, until): (Timestamp, Timestamp),
        currency: &str,
        now: Timestamp,
    ) -> Result<(i64, i64)> {
        self.bounded("sum up a day", async {
            let mut connection = self.writing().await?;
            let rows = sqlx::query(
                "SELECT state, COUNT(*) AS orders, CAST(SUM(total_cents) AS BIGINT) AS cents FROM orders \
                 WHERE created_at >= $1 AND created_at < $2 GROUP BY state ORDER BY state",
            )
            .bind(micros(from))
            .bind(micros(until))
            .fetch_all(&mut *connection)
            .await?;
            let (mut orders, mut revenue, mut states) = (0_i64, 0_i64, serde_json::Map::new());
            for row in rows {
                let (state, count, cents): (&str, i64, i64) = (row.try_get("state")?, row.try_get("orders")?, row.try_get("cents")?);
                if !state.parse::<crate::engine::order::OrderState>().is_ok_and(|state| state.is_void()) {
                    orders += count;
                    revenue += cents;
                }
                states.insert(state.to_owned(), serde_json::json!({"orders": count, "total_cents": cents}));
            }
            let top = sqlx::query(
                "SELECT l.name, CAST(SUM(l.quantity) AS BIGINT) AS sold FROM order_lines l JOIN orders o ON o.id = l.order_id \
                 WHERE o.created_at >= $1 AND o.created_at < $2 AND o.state NOT IN ('cancelled', 'rejected', 'payment_failed') \
                 GROUP BY l.name ORDER BY sold DESC, l.name LIMIT 10",
            )
            .bind(micros(from))
            .bind(micros(until))
            .fetch_all(&mut *connection)
            .await?;
            let top: std::result::Result<Vec<_>, sqlx::Error> = top
                .iter()
                .map(|row| Ok(serde_json::json!({"name": row.try_get::<&str, _>("name")?, "sold": row.try_get::<i64, _>("sold")?})))
                .collect();
            let report = serde_json::json!({"currency": currency, "states": states, "top_items": top?});
            sqlx::query(
                "INSERT INTO daily_reports (day, orders, revenue_cents, report, created_at) VALUES ($1, $2, $3, $4, $5) \
                 ON CONFLICT (day) DO NOTHING",
            )
            .bind(day)
            .bind(orders)
            .bind(revenue)
            .bind(report.to_string())
            .bind(micros(now))
            .execute(&mut *connection)
            .await?;
            Ok((orders, revenue))
        })
        .await
    }

    /// The reports of days before `before`, newest first.
    ///
    /// # Errors
    /// The database's.
    pub async fn daily_reports(&self, before: Option<&str>, limit: i64) -> Result<Vec<DailyReport>> {
        self.bounded("list daily reports", async {
            let mut connection = self.reading(Reader::Anyone).await?;
            let mut sql = Sql::new("SELECT day, orders, revenue_cents, report FROM daily_reports");
            if let Some(before) = before {
                sql.push(" WHERE day < ").bind(before.to_owned());
            }
            sql.push(" ORDER BY day DESC LIMIT ").bind(limit);
            let rows = sql.query()?.fetch_all(&mut *connection).await?;
            rows.iter()
                .map(|row| {
                    Ok(DailyReport {
                        day: row.try_get("day")?,
                        orders: row.try_get("orders")?,
                        revenue_cents: row.try_get("revenue_cents")?,
                        report: row.try_get("report")?,
                    })
                })
                .collect()
        })
        .await
    }

    /// The last day that has its report.
    ///
    /// # Errors
    /// The database's.
    pub async fn last_report(&self) -> Result<Option<String>> {
        self.bounded("look for the last report", async {
            let mut connection = self.reading(Reader::Newest).await?;
            let row = sqlx::query("SELECT MAX(day) AS day FROM daily_reports").fetch_one(&mut *connection).await?;
            row.try_get("day")
        })
        .await
    }

    /// When the first order was placed.
    ///
    /// # Errors
    /// The database's.
    pub async fn first_order_at(&self) -> Result<Option<Timestamp>> {
        self.bounded("look for the first order", async {
            let mut connection = self.reading(Reader::Newest).await?;
            let row = sqlx::query("SELECT MIN(created_at) AS at FROM orders").fetch_one(&mut *connection).await?;
            Ok(row.try_get::<Option<i64>, _>("at")?.map(super::timestamp))
        })
        .await
    }

    /// Whether a day has its report.
    ///
    /// # Errors
    /// The database's.
    pub async fn has_report(&self, day: &str) -> Result<bool> {
        self.bounded("look for a report", async {
            let mut connection = self.reading(Reader::Newest).await?;
            let row = sqlx::query("SELECT day FROM daily_reports WHERE day = $1")
                .bind(day)
                .fetch_optional(&mut *connection)
                .await?;
            Ok(row.is_some())
        })
        .await
    }
}
