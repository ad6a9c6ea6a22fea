//! Users: accounts and their roles.

use jiff::Timestamp;
use sqlx::{Any, AnyConnection, Row, any::AnyRow};

use super::{
    Reader, Result, Store, micros, new_id,
    sql::{Sql, containing},
    timestamp,
};
use crate::auth::access::Role;

/// An account.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct User {
    /// Its id, a UUIDv7.
    pub id: String,
    /// Its address, in lower case; no two accounts have the same.
    pub email: String,
    /// What its owner wants to be called.
    pub name: String,
    /// What it may do.
    pub role: Role,
    /// Whether it may not sign in.
    pub disabled: bool,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it was last changed.
    pub updated_at: Timestamp,
}

/// What makes an account.
#[derive(Clone, Copy, Debug)]
pub struct NewUser<'a> {
    /// Its address, in lower case.
    pub email: &'a str,
    /// What its owner wants to be called.
    pub name: &'a str,
    /// The bcrypt hash of its password.
    pub password_hash: &'a str,
    /// What it may do.
    pub role: Role,
}

/// What came of a change to an account's rights.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Appointed {
    /// It is done.
    Done(User),
    /// There is no such account.
    Nobody,
    /// It is the last admin that can sign in, and stays that.
    LastAdmin,
}

const COLUMNS: &str = "id, email, name, role, disabled, created_at, updated_at";

fn user(row: &AnyRow) -> std::result::Result<User, sqlx::Error> {
    let role: String = row.try_get("role")?;
    Ok(User {
        id: row.try_get("id")?,
        email: row.try_get("email")?,
        name: row.try_get("name")?,
        role: Role::parse(&role).ok_or_else(|| sqlx::Error::Decode(format!("{role:?} is no role").into()))?,
        disabled: row.try_get::<i64, _>("disabled")? != 0,
        created_at: timestamp(row.try_get("created_at")?),
        updated_at: timestamp(row.try_get("updated_at")?),
    })
}

/// Makes an account.
///
/// # Errors
/// [`super::StoreError::Exists`] when there is one with that address.
pub async fn create(store: &Store, new: NewUser<'_>, now: Timestamp) -> Result<User> {
    let id = new_id();
    let made = store
        .bounded("make an account", async {
            let sql = "INSERT INTO users (id, email, name, password_hash, role, created_at, updated_at) \
                       VALUES ($1, $2, $3, $4, $5, $6, $6) \
                       RETURNING id, email, name, role, disabled, created_at, updated_at";
            let row = sqlx::query(sql)
                .bind(&id)
                .bind(new.email)
                .bind(new.name)
                .bind(new.password_hash)
                .bind(new.role.as_str())
                .bind(micros(now))
                .fetch_one(&mut *store.writing().await?)
                .await?;
            user(&row)
        })
        .await?;
    store.wrote(&id).await;
    Ok(made)
}

/// The account with this id, as its owner may expect to see it.
///
/// # Errors
/// The database's.
pub async fn by_id(store: &Store, id: &str) -> Result<Option<User>> {
    store
        .bounded("find an account", async {
            let sql = "SELECT id, email, name, role, disabled, created_at, updated_at FROM users WHERE id = $1";
            let row = sqlx::query(sql).bind(id).fetch_optional(&mut *store.reading(Reader::Writer(id)).await?).await?;
            row.as_ref().map(user).transpose()
        })
        .await
}

/// The account with this address (in lower case) and the hash of its password. Always the newest: a password that was changed
/// must not open the door a moment longer.
///
/// # Errors
/// The database's.
pub async fn by_email(store: &Store, email: &str) -> Result<Option<(User, String)>> {
    with_password(store, "SELECT * FROM users WHERE email = $1", email).await
}

/// The account with this id and the hash of its password; the newest.
///
/// # Errors
/// The database's.
pub async fn with_hash(store: &Store, id: &str) -> Result<Option<(User, String)>> {
    with_password(store, "SELECT * FROM users WHERE id = $1", id).await
}

async fn with_password(store: &Store, sql: &'static str, key: &str) -> Result<Option<(User, String)>> {
    store
        .bounded("find an account to sign in", async {
            let row = sqlx::query(sql).bind(key).fetch_optional(&mut *store.reading(Reader::Newest).await?).await?;
            row.map(|row| Ok((user(&row)?, row.try_get("password_hash")?))).transpose()
        })
        .await
}

/// Changes what an account's owner is called.
///
/// # Errors
/// The database's.
pub async fn rename(store: &Store, id: &str, name: &str, now: Timestamp) -> Result<Option<User>> {
    let changed = store
        .bounded("change an account", async {
            let sql = "UPDATE users SET name = $2, updated_at = $3 WHERE id = $1 \
                       RETURNING id, email, name, role, disabled, created_at, updated_at";
            let row = sqlx::query(sql)
                .bind(id)
                .bind(name)
                .bind(micros(now))
                .fetch_optional(&mut *store.writing().await?)
                .await?;
            row.as_ref().map(user).transpose()
        })
        .await?;
    store.wrote(id).await;
    Ok(changed)
}

/// Replaces the hash of an account's password, if it still is `old`.
///
/// # Errors
/// The database's.
pub async fn set_password(store: &Store, id: &str, old: &str, new: &str, now: Timestamp) -> Result<bool> {
    store
        .bounded("change a password", async {
            let sql = "UPDATE users SET password_hash = $3, updated_at = $4 WHERE id = $1 AND password_hash = $2";
            let query = sqlx::query(sql).bind(id).bind(old).bind(new).bind(micros(now));
            Ok(query.execute(&mut *store.writing().await?).await?.rows_affected() == 1)
        })
        .await
}

/// Sets what an account may do. The last admin who can sign in cannot be taken away: nobody could appoint another.
///
/// # Errors
/// The database's.
pub async fn appoint(
    store: &Store,
    id: &str,
    role: Option<Role>,
    disabled: Option<bool>,
    now: Timestamp,
) -> Result<Appointed> {
    let outcome = store
        .bounded("change what an account may do", async {
            let mut transaction = store.begin().await?;
            let admins = lock_admins(store, &mut transaction).await?;
            let sql = "SELECT id, email, name, role, disabled, created_at, updated_at FROM users WHERE id = $1";
            let Some(row) = sqlx::query(sql).bind(id).fetch_optional(&mut *transaction).await? else {
                return Ok(Appointed::Nobody);
            };
            let mut changed = user(&row)?;
            changed.role = role.unwrap_or(changed.role);
            changed.disabled = disabled.unwrap_or(changed.disabled);
            changed.updated_at = now;
            let stays = changed.role == Role::Admin && !changed.disabled;
            if !stays && admins == [id] {
                return Ok(Appointed::LastAdmin);
            }
            sqlx::query("UPDATE users SET role = $2, disabled = $3, updated_at = $4 WHERE id = $1")
                .bind(id)
                .bind(changed.role.as_str())
                .bind(i64::from(changed.disabled))
                .bind(micros(now))
                .execute(&mut *transaction)
                .await?;
            transaction.commit().await?;
            Ok(Appointed::Done(changed))
        })
        .await?;
    store.wrote(id).await;
    Ok(outcome)
}

/// The ids of all admins who can sign in, locked until the transaction ends: two admins who dismiss each other at once would
/// otherwise both succeed.
async fn lock_admins(store: &Store, connection: &mut AnyConnection) -> std::result::Result<Vec<String>, sqlx::Error> {
    let sql = match store.dialect() {
        super::Dialect::Postgres => "SELECT id FROM users WHERE role = 'admin' AND disabled = 0 ORDER BY id FOR UPDATE",
        super::Dialect::Sqlite => "SELECT id FROM users WHERE role = 'admin' AND disabled = 0 ORDER BY id",
    };
    let rows = sqlx::query(sql).fetch_all(connection).await?;
    rows.iter().map(|row| row.try_get("id")).collect()
}

/// Which accounts to list.
#[derive(Clone, Debug, Default)]
pub struct Listing {
    /// Only those with this role.
    pub role: Option<Role>,
    /// Only those whose address contains this (in lower case).
    pub email: Option<String>,
    /// Only those after this id.
    pub after: Option<String>,
    /// At most so many.
    pub limit: i64,
}

/// Accounts in the order in which they were made.
///
/// # Errors
/// The database's.
pub async fn list(store: &Store, listing: &Listing) -> Result<Vec<User>> {
    store
        .bounded("list accounts", async {
            let mut sql = Sql::new(format!("SELECT {COLUMNS} FROM users WHERE id > "));
            sql.bind(listing.after.clone().unwrap_or_default());
            if let Some(role) = listing.role {
                sql.push(" AND role = ").bind(role.as_str().to_owned());
            }
            if let Some(part) = &listing.email {
                sql.push(" AND email LIKE ").bind(containing(part)).push(" ESCAPE '\\'");
            }
            sql.push(" ORDER BY id LIMIT ").bind(listing.limit);
            let rows = sql.query()?.fetch_all(&mut *store.reading(Reader::Newest).await?).await?;
            rows.iter().map(user).collect()
        })
        .await
}

/// How many accounts there are.
///
/// # Errors
/// The database's.
pub async fn count(store: &Store) -> Result<i64> {
    store
        .bounded("count accounts", async {
            let row: sqlx::query::Query<'_, Any, _> = sqlx::query("SELECT COUNT(*) AS users FROM users");
            row.fetch_one(&mut *store.reading(Reader::Newest).await?).await?.try_get("users")
        })
        .await
}
