//! Menus, which the tables call categories: parts of what the restaurant sells.

use jiff::Timestamp;
use sqlx::{Row, any::AnyRow};

use super::{Reader, Result, Store, micros, new_id, sql::Sql, timestamp};

/// A part of what the restaurant sells, such as drinks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Menu {
    /// Its id, a UUIDv7.
    pub id: String,
    /// Its name; no two menus have the same.
    pub name: String,
    /// Where it stands among the menus.
    pub position: i64,
    /// By which of the rules' taxes its items are taxed.
    pub tax_category: String,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it was last changed.
    pub updated_at: Timestamp,
}

/// What a menu is made or changed to; `None` leaves it.
#[derive(Clone, Debug, Default)]
pub struct MenuChange {
    /// Its name.
    pub name: Option<String>,
    /// Where it stands.
    pub position: Option<i64>,
    /// How it is taxed.
    pub tax_category: Option<String>,
}

const MENU: &str = "SELECT id, name, position, tax_category, created_at, updated_at FROM menu_categories";

fn menu(row: &AnyRow) -> std::result::Result<Menu, sqlx::Error> {
    Ok(Menu {
        id: row.try_get("id")?,
        name: row.try_get("name")?,
        position: row.try_get("position")?,
        tax_category: row.try_get("tax_category")?,
        created_at: timestamp(row.try_get("created_at")?),
        updated_at: timestamp(row.try_get("updated_at")?),
    })
}

/// All menus, in their order.
///
/// # Errors
/// The database's.
pub async fn menus(store: &Store) -> Result<Vec<Menu>> {
    store
        .bounded("list menus", async {
            let mut sql = Sql::new(MENU);
            sql.push(" ORDER BY position, name");
            let rows = sql.query()?.fetch_all(&mut *store.reading(Reader::Newest).await?).await?;
            rows.iter().map(menu).collect()
        })
        .await
}

/// One menu.
///
/// # Errors
/// The database's.
pub async fn menu_by_id(store: &Store, id: &str) -> Result<Option<Menu>> {
    store
        .bounded("find a menu", async {
            let mut sql = Sql::new(MENU);
            sql.push(" WHERE id = ").bind(id.to_owned());
            let row = sql.query()?.fetch_optional(&mut *store.reading(Reader::Newest).await?).await?;
            row.as_ref().map(menu).transpose()
        })
        .await
}

/// Makes a menu.
///
/// # Errors
/// [`super::StoreError::Exists`] when there is one of that name.
pub async fn create_menu(store: &Store, name: &str, position: i64, tax_category: &str, now: Timestamp) -> Result<Menu> {
    let made = Menu {
        id: new_id(),
        name: name.to_owned(),
        position,
        tax_category: tax_category.to_owned(),
        created_at: timestamp(micros(now)),
        updated_at: timestamp(micros(now)),
    };
    store
        .bounded("make a menu", async {
            let sql = "INSERT INTO menu_categories (id, name, position, tax_category, created_at, updated_at) \
                       VALUES ($1, $2, $3, $4, $5, $5)";
            let query = sqlx::query(sql).bind(&made.id).bind(name).bind(position).bind(tax_category).bind(micros(now));
            query.execute(&mut *store.writing().await?).await.map(drop)
        })
        .await?;
    Ok(made)
}

/// Changes a menu; `None` if there is no such.
///
/// # Errors
/// [`super::StoreError::Exists`] when there is one of that name.
pub async fn change_menu(store: &Store, id: &str, change: &MenuChange, now: Timestamp) -> Result<Option<Menu>> {
    store
        .bounded("change a menu", async {
            let sql = "UPDATE menu_categories SET name = COALESCE($2, name), position = COALESCE($3, position), \
                       tax_category = COALESCE($4, tax_category), updated_at = $5 WHERE id = $1 \
                       RETURNING id, name, position, tax_category, created_at, updated_at";
            let row = sqlx::query(sql)
                .bind(id)
                .bind(change.name.as_deref())
                .bind(change.position)
                .bind(change.tax_category.as_deref())
                .bind(micros(now))
                .fetch_optional(&mut *store.writing().await?)
                .await?;
            row.as_ref().map(menu).transpose()
        })
        .await
}

/// Deletes a menu without items; says whether there was one. Items that were deleted count too: orders refer to them, and they
/// to their menu.
///
/// # Errors
/// [`super::StoreError::Dangling`] when it has items.
pub async fn delete_menu(store: &Store, id: &str) -> Result<bool> {
    store
        .bounded("delete a menu", async {
            let query = sqlx::query("DELETE FROM menu_categories WHERE id = $1").bind(id);
            Ok(query.execute(&mut *store.writing().await?).await?.rows_affected() == 1)
        })
        .await
}
