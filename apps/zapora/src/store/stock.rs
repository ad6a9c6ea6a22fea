//! How many of each item are left.

use sqlx::Row;

use super::{Reader, Result, Store, micros};

impl Store {
    /// Sets how many of an item are left; with `None` it is no longer counted and does not run out.
    ///
    /// # Errors
    /// [`super::StoreError::Dangling`] when there is no such item, or the database's.
    pub async fn set_stock(&self, item: &str, quantity: Option<i64>, now: jiff::Timestamp) -> Result<()> {
        self.bounded("set the stock of an item", async {
            let mut connection = self.writing().await?;
            let query = match quantity {
                Some(quantity) => sqlx::query(
                    "INSERT INTO stock (item_id, quantity, updated_at) VALUES ($1, $2, $3) \
                     ON CONFLICT (item_id) DO UPDATE SET quantity = excluded.quantity, updated_at = excluded.updated_at",
                )
                .bind(item)
                .bind(quantity.max(0))
                .bind(micros(now)),
                None => sqlx::query("DELETE FROM stock WHERE item_id = $1").bind(item),
            };
            query.execute(&mut *connection).await.map(|_| ())
        })
        .await
    }

    /// How many of an item are left; `None` when it is not counted.
    ///
    /// # Errors
    /// The database's.
    pub async fn stock(&self, reader: Reader<'_>, item: &str) -> Result<Option<i64>> {
        self.bounded("read the stock of an item", async {
            let mut connection = self.reading(reader).await?;
            let row = sqlx::query("SELECT quantity FROM stock WHERE item_id = $1")
                .bind(item)
                .fetch_optional(&mut *connection)
                .await?;
            row.map(|row| row.try_get("quantity")).transpose()
        })
        .await
    }
}
