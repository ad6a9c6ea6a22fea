//! Items: what users keep.

use jiff::Timestamp;
use serde::Serialize;
use sqlx::{Row, any::AnyRow};
use utoipa::ToSchema;
use uuid::Uuid;

use super::{Result, Store, now, time};

/// Something that a user keeps.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct Item {
    /// The item's id.
    #[schema(format = Uuid)]
    pub id: String,
    /// Who made it.
    #[schema(format = Uuid)]
    pub owner_id: String,
    /// What it is called.
    pub name: String,
    /// What there is to say of it.
    pub description: String,
    /// When it was made.
    #[schema(value_type = String, format = DateTime)]
    pub created_at: Timestamp,
    /// When it was changed last.
    #[schema(value_type = String, format = DateTime)]
    pub updated_at: Timestamp,
}

const COLUMNS: &str = "id, owner_id, name, description, created_at, updated_at";

fn read(row: &AnyRow) -> std::result::Result<Item, sqlx::Error> {
    Ok(Item {
        id: row.try_get("id")?,
        owner_id: row.try_get("owner_id")?,
        name: row.try_get("name")?,
        description: row.try_get("description")?,
        created_at: time(row.try_get("created_at")?),
        updated_at: time(row.try_get("updated_at")?),
    })
}

impl Store {
    /// Adds an item.
    ///
    /// # Errors
    /// The database failed.
    pub async fn add_item(&self, owner_id: &str, name: &str, description: &str) -> Result<Item> {
        let now = now();
        let item = Item {
            id: Uuid::now_v7().to_string(),
            owner_id: owner_id.to_owned(),
            name: name.to_owned(),
            description: description.to_owned(),
            created_at: now,
            updated_at: now,
        };
        self.bounded("add an item", async {
            sqlx::query("INSERT INTO items (id, owner_id, name, description, created_at, updated_at) VALUES ($1, $2, $3, $4, $5, $5)")
                .bind(&item.id)
                .bind(&item.owner_id)
                .bind(&item.name)
                .bind(&item.description)
                .bind(now.as_microsecond())
                .execute(&self.pool)
                .await
        })
        .await?;
        Ok(item)
    }

    /// The item of this id.
    ///
    /// # Errors
    /// The database failed.
    pub async fn item(&self, id: &str) -> Result<Option<Item>> {
        let query = format!("SELECT {COLUMNS} FROM items WHERE id = $1");
        self.bounded("find an item", async {
            let row = sqlx::query(sqlx::AssertSqlSafe(query)).bind(id).fetch_optional(&self.pool).await?;
            row.as_ref().map(read).transpose()
        })
        .await
    }

    /// Items in the order in which they were made, `most` at most, those after `after`.
    ///
    /// # Errors
    /// The database failed.
    pub async fn items(&self, after: &str, most: i64) -> Result<Vec<Item>> {
        let query = format!("SELECT {COLUMNS} FROM items WHERE id > $1 ORDER BY id LIMIT $2");
        self.bounded("list items", async {
            let rows = sqlx::query(sqlx::AssertSqlSafe(query)).bind(after).bind(most).fetch_all(&self.pool).await?;
            rows.iter().map(read).collect()
        })
        .await
    }

    /// Changes an item; `None` if there is none of this id.
    ///
    /// # Errors
    /// The database failed.
    pub async fn change_item(&self, id: &str, name: &str, description: &str) -> Result<Option<Item>> {
        let query =
            format!("UPDATE items SET name = $2, description = $3, updated_at = $4 WHERE id = $1 RETURNING {COLUMNS}");
        self.bounded("change an item", async {
            let query = sqlx::query(sqlx::AssertSqlSafe(query));
            let query = query.bind(id).bind(name).bind(description).bind(now().as_microsecond());
            query.fetch_optional(&self.pool).await?.as_ref().map(read).transpose()
        })
        .await
    }

    /// Deletes an item; `false` if there was none of this id.
    ///
    /// # Errors
    /// The database failed.
    pub async fn delete_item(&self, id: &str) -> Result<bool> {
        let done = self
            .bounded("delete an item", async {
                sqlx::query("DELETE FROM items WHERE id = $1").bind(id).execute(&self.pool).await
            })
            .await?;
        Ok(done.rows_affected() > 0)
    }
}
