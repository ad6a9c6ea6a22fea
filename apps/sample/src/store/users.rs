//! Users.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use sqlx::{Row, any::AnyRow};
use utoipa::ToSchema;
use uuid::Uuid;

use super::{Result, Store, now, time};

/// What a user may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// Has things of their own.
    User,
    /// Looks after everybody's.
    Admin,
}

impl Role {
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::User => "user",
            Self::Admin => "admin",
        }
    }

    pub(super) fn read(text: &str) -> Self {
        // The schema allows these two.
        if text == "admin" { Self::Admin } else { Self::User }
    }
}

/// A user.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct User {
    /// The user's id.
    #[schema(format = Uuid)]
    pub id: String,
    /// The user's name.
    pub username: String,
    /// What the user may do.
    pub role: Role,
    /// When the user registered.
    #[schema(value_type = String, format = DateTime)]
    pub created_at: Timestamp,
    /// bcrypt's hash of the password.
    #[serde(skip)]
    #[schema(ignore)]
    pub password_hash: String,
}

const COLUMNS: &str = "id, username, password_hash, role, created_at";

fn read(row: &AnyRow) -> std::result::Result<User, sqlx::Error> {
    Ok(User {
        id: row.try_get("id")?,
        username: row.try_get("username")?,
        role: Role::read(row.try_get("role")?),
        created_at: time(row.try_get("created_at")?),
        password_hash: row.try_get("password_hash")?,
    })
}

impl Store {
    /// Adds a user.
    ///
    /// # Errors
    /// There is one of this name, or the database failed.
    pub async fn add_user(&self, username: &str, password_hash: &str, role: Role) -> Result<User> {
        let user = User {
            id: Uuid::now_v7().to_string(),
            username: username.to_owned(),
            role,
            created_at: now(),
            password_hash: password_hash.to_owned(),
        };
        self.bounded("add a user", async {
            sqlx::query("INSERT INTO users (id, username, password_hash, role, created_at) VALUES ($1, $2, $3, $4, $5)")
                .bind(&user.id)
                .bind(&user.username)
                .bind(&user.password_hash)
                .bind(user.role.as_str())
                .bind(user.created_at.as_microsecond())
                .execute(&self.pool)
                .await
        })
        .await?;
        Ok(user)
    }

    /// The user of this name.
    ///
    /// # Errors
    /// The database failed.
    pub async fn user_named(&self, username: &str) -> Result<Option<User>> {
        self.one_user("username", username).await
    }

    /// The user of this id.
    ///
    /// # Errors
    /// The database failed.
    pub async fn user(&self, id: &str) -> Result<Option<User>> {
        self.one_user("id", id).await
    }

    async fn one_user(&self, column: &'static str, value: &str) -> Result<Option<User>> {
        let query = format!("SELECT {COLUMNS} FROM users WHERE {column} = $1");
        self.bounded("find a user", async {
            let row = sqlx::query(sqlx::AssertSqlSafe(query)).bind(value).fetch_optional(&self.pool).await?;
            row.as_ref().map(read).transpose()
        })
        .await
    }

    /// Users in the order of their ids, `most` at most, those after `after`.
    ///
    /// # Errors
    /// The database failed.
    pub async fn users(&self, after: &str, most: i64) -> Result<Vec<User>> {
        let query = format!("SELECT {COLUMNS} FROM users WHERE id > $1 ORDER BY id LIMIT $2");
        self.bounded("list users", async {
            let rows = sqlx::query(sqlx::AssertSqlSafe(query)).bind(after).bind(most).fetch_all(&self.pool).await?;
            rows.iter().map(read).collect()
        })
        .await
    }

    /// Gives a user a role; `None` if there is no such user, or no other admin if this is one and is to be none.
    ///
    /// # Errors
    /// The database failed.
    pub async fn set_role(&self, id: &str, role: Role) -> Result<Option<User>> {
        let query = format!(
            "UPDATE users SET role = $2 WHERE id = $1 AND (role <> 'admin' OR CAST($2 AS TEXT) = 'admin' \
             OR EXISTS (SELECT 1 FROM users WHERE role = 'admin' AND id <> $1)) RETURNING {COLUMNS}"
        );
        self.bounded("give a role", async {
            let query = sqlx::query(sqlx::AssertSqlSafe(query)).bind(id).bind(role.as_str());
            query.fetch_optional(&self.pool).await?.as_ref().map(read).transpose()
        })
        .await
    }
}
