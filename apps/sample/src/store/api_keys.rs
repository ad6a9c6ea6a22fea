//! API keys: only their digests are kept.

use jiff::Timestamp;
use serde::Serialize;
use sqlx::{Row, any::AnyRow};
use utoipa::ToSchema;
use uuid::Uuid;

use super::{KEYS, Result, Role, Store, StoreError, now, time};

/// An API key, without the key.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct ApiKey {
    /// The key's id.
    #[schema(format = Uuid)]
    pub id: String,
    /// What its owner calls it.
    pub name: String,
    /// When it was made.
    #[schema(value_type = String, format = DateTime)]
    pub created_at: Timestamp,
    /// When it was revoked; null while it is good.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub revoked_at: Option<Timestamp>,
}

/// Whose key it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyOwner {
    /// The key's id.
    pub key_id: String,
    /// The owner's id.
    pub user_id: String,
    /// The owner's name.
    pub username: String,
    /// What the owner may do.
    pub role: Role,
}

fn read(row: &AnyRow) -> std::result::Result<ApiKey, sqlx::Error> {
    Ok(ApiKey {
        id: row.try_get("id")?,
        name: row.try_get("name")?,
        created_at: time(row.try_get("created_at")?),
        revoked_at: row.try_get::<Option<i64>, _>("revoked_at")?.map(time),
    })
}

impl Store {
    /// Adds a key of a user's by its digest.
    ///
    /// # Errors
    /// The user has as many as there may be, or the database failed.
    pub async fn add_api_key(&self, user_id: &str, name: &str, hash: &str) -> Result<ApiKey> {
        let key = ApiKey { id: Uuid::now_v7().to_string(), name: name.to_owned(), created_at: now(), revoked_at: None };
        // Counting and adding are one statement; two at once may pass the bound by one, which harms nobody.
        let added = self
            .bounded("add an API key", async {
                sqlx::query(
                    "INSERT INTO api_keys (id, user_id, name, hash, created_at) SELECT $1, $2, $3, $4, CAST($5 AS BIGINT) \
                     WHERE (SELECT COUNT(*) FROM api_keys WHERE user_id = $2 AND revoked_at IS NULL) < CAST($6 AS BIGINT)",
                )
                .bind(&key.id)
                .bind(user_id)
                .bind(&key.name)
                .bind(hash)
                .bind(key.created_at.as_microsecond())
                .bind(KEYS)
                .execute(&self.pool)
                .await
            })
            .await?;
        if added.rows_affected() == 0 { Err(StoreError::TooMany("add an API key")) } else { Ok(key) }
    }

    /// A user's keys, the newest first, 200 at most.
    ///
    /// # Errors
    /// The database failed.
    pub async fn api_keys(&self, user_id: &str) -> Result<Vec<ApiKey>> {
        self.bounded("list API keys", async {
            let query =
                "SELECT id, name, created_at, revoked_at FROM api_keys WHERE user_id = $1 ORDER BY id DESC LIMIT 200";
            sqlx::query(query).bind(user_id).fetch_all(&self.pool).await?.iter().map(read).collect()
        })
        .await
    }

    /// Revokes a user's key; `false` if the user has no such key that is still good.
    ///
    /// # Errors
    /// The database failed.
    pub async fn revoke_api_key(&self, user_id: &str, id: &str) -> Result<bool> {
        let done = self
            .bounded("revoke an API key", async {
                sqlx::query("UPDATE api_keys SET revoked_at = $3 WHERE id = $1 AND user_id = $2 AND revoked_at IS NULL")
                    .bind(id)
                    .bind(user_id)
                    .bind(now().as_microsecond())
                    .execute(&self.pool)
                    .await
            })
            .await?;
        Ok(done.rows_affected() > 0)
    }

    /// Whose key has this digest, if it is good.
    ///
    /// # Errors
    /// The database failed.
    pub async fn api_key_owner(&self, hash: &str) -> Result<Option<KeyOwner>> {
        self.bounded("look an API key up", async {
            let query = "SELECT k.id AS key_id, u.id AS user_id, u.username AS username, u.role AS role \
                         FROM api_keys k JOIN users u ON u.id = k.user_id WHERE k.hash = $1 AND k.revoked_at IS NULL";
            let row = sqlx::query(query).bind(hash).fetch_optional(&self.pool).await?;
            row.map(|row| {
                Ok(KeyOwner {
                    key_id: row.try_get("key_id")?,
                    user_id: row.try_get("user_id")?,
                    username: row.try_get("username")?,
                    role: Role::read(row.try_get("role")?),
                })
            })
            .transpose()
        })
        .await
    }
}
