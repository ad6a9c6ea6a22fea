//! What is on the menus: items, their pictures and how many are left.

use jiff::Timestamp;
use sqlx::{Row, any::AnyRow};

use super::{Reader, Result, Store, micros, new_id, sql::Sql, sql::containing, timestamp};

/// Something to order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Item {
    /// Its id, a UUIDv7.
    pub id: String,
    /// The menu it is on.
    pub menu: String,
    /// Its name.
    pub name: String,
    /// What it is.
    pub description: String,
    /// Its price in cents, tax included or not as the rules say.
    pub price_cents: i64,
    /// Whether it is for sale.
    pub available: bool,
    /// Words to find it by, such as `vegan`.
    pub tags: Vec<String>,
    /// Its picture.
    pub image: Option<ItemImage>,
    /// How many are left; `None` is as many as anyone wants.
    pub left: Option<i64>,
    /// Rises with each change (not with `left`).
    pub version: i64,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it was last changed.
    pub updated_at: Timestamp,
}

/// The picture of an item, by its names in the image store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ItemImage {
    /// The picture.
    pub full: String,
    /// Its thumbnail.
    pub thumbnail: String,
    /// The picture's media type.
    pub content_type: String,
    /// Its width in pixels.
    pub width: i64,
    /// Its height in pixels.
    pub height: i64,
    /// Its size in bytes.
    pub bytes: i64,
}

/// What an item is changed to; `None` leaves it.
#[derive(Clone, Debug, Default)]
pub struct ItemChange {
    /// The menu it is on.
    pub menu: Option<String>,
    /// Its name.
    pub name: Option<String>,
    /// What it is.
    pub description: Option<String>,
    /// Its price in cents.
    pub price_cents: Option<i64>,
    /// Whether it is for sale.
    pub available: Option<bool>,
    /// Words to find it by.
    pub tags: Option<Vec<String>>,
}

/// What came of a change to something that carries a version.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Changed<T> {
    /// It is done.
    Done(T),
    /// There is no such thing.
    Gone,
    /// Somebody else has changed it meanwhile.
    Stale,
}

/// In which order items are listed; ties are broken by id.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    /// By name, without regard to (ASCII) case.
    Name,
    /// By price.
    Price,
    /// By when they were made.
    Created,
}

/// Which items to list.
#[derive(Clone, Debug)]
pub struct Listing {
    /// Only those on this menu.
    pub menu: Option<String>,
    /// Only those with this word.
    pub tag: Option<String>,
    /// Only those that are, or are not, for sale.
    pub available: Option<bool>,
    /// Only those that cost at least so much.
    pub min_cents: Option<i64>,
    /// Only those that cost at most so much.
    pub max_cents: Option<i64>,
    /// Only those whose name or description contains this, without regard to case (with SQLite, of ASCII's letters).
    pub search: Option<String>,
    /// In which order.
    pub order: Order,
    /// Whether from the last to the first.
    pub descending: bool,
    /// Only those after the item with this id, where it stands now.
    pub after: Option<String>,
    /// At most so many.
    pub limit: i64,
}

const ITEM: &str = "SELECT i.id, i.category_id, i.name, i.description, i.price_cents, i.available, i.tags, i.version, i.created_at, \
                    i.updated_at, s.quantity, p.object_key, p.thumbnail_key, p.content_type, p.width, \
                    p.height, p.bytes FROM menu_items i LEFT JOIN stock s ON s.item_id = i.id LEFT JOIN images p ON p.id = i.image_id \
                    WHERE i.deleted_at IS NULL";

fn item(row: &AnyRow) -> std::result::Result<Item, sqlx::Error> {
    let tags: String = row.try_get("tags")?;
    let image = match row.try_get::<Option<String>, _>("object_key")? {
        Some(full) => Some(ItemImage {
            full,
            thumbnail: row.try_get("thumbnail_key")?,
            content_type: row.try_get("content_type")?,
            width: row.try_get("width")?,
            height: row.try_get("height")?,
            bytes: row.try_get("bytes")?,
        }),
        None => None,
    };
    Ok(Item {
        id: row.try_get("id")?,
        menu: row.try_get("category_id")?,
        name: row.try_get("name")?,
        description: row.try_get("description")?,
        price_cents: row.try_get("price_cents")?,
        available: row.try_get::<i64, _>("available")? != 0,
        tags: serde_json::from_str(&tags).map_err(|e| sqlx::Error::Decode(e.into()))?,
        image,
        left: row.try_get("quantity")?,
        version: row.try_get("version")?,
        created_at: timestamp(row.try_get("created_at")?),
        updated_at: timestamp(row.try_get("updated_at")?),
    })
}

/// Items. They are read from the primary: answers made of them are cached, and a replica that is behind would make a change
/// disappear again for as long.
///
/// # Errors
/// The database's.
pub async fn items(store: &Store, listing: &Listing) -> Result<Vec<Item>> {
    store
        .bounded("list menu items", async {
            let rows = select(listing).query()?.fetch_all(&mut *store.reading(Reader::Newest).await?).await?;
            rows.iter().map(item).collect()
        })
        .await
}

fn select(listing: &Listing) -> Sql {
    let mut sql = Sql::new(ITEM);
    if let Some(menu) = &listing.menu {
        sql.push(" AND i.category_id = ").bind(menu.clone());
    }
    if let Some(tag) = &listing.tag {
        // Tags are words without quotes or escapes, so that each stands in the JSON list as it is, between quotes.
        sql.push(" AND i.tags LIKE ").bind(containing(&format!("\"{tag}\""))).push(" ESCAPE '\\'");
    }
    if let Some(available) = listing.available {
        sql.push(" AND i.available = ").bind(i64::from(available));
    }
    if let Some(least) = listing.min_cents {
        sql.push(" AND i.price_cents >= ").bind(least);
    }
    if let Some(most) = listing.max_cents {
        sql.push(" AND i.price_cents <= ").bind(most);
    }
    if let Some(part) = &listing.search {
        // The database lowers both sides: PostgreSQL knows more letters than ASCII's, as its language has it, and SQLite does not.
        let pattern = containing(part);
        sql.push(" AND (lower(i.name) LIKE lower(")
            .bind(pattern.clone())
            .push(") ESCAPE '\\' OR lower(i.description) LIKE lower(");
        sql.bind(pattern).push(") ESCAPE '\\')");
    }
    let (column, after) = match listing.order {
        Order::Name => ("lower(i.name)", "lower(a.name)"),
        Order::Price => ("i.price_cents", "a.price_cents"),
        Order::Created => ("i.id", "a.id"),
    };
    if let Some(id) = &listing.after {
        sql.push(" AND (").push(column).push(", i.id) ").push(if listing.descending {
            "< (SELECT "
        } else {
            "> (SELECT "
        });
        sql.push(after).push(", a.id FROM menu_items a WHERE a.id = ").bind(id.clone()).push(")");
    }
    let direction = if listing.descending { " DESC" } else { "" };
    sql.push(" ORDER BY ").push(column).push(direction).push(", i.id").push(direction);
    sql.push(" LIMIT ").bind(listing.limit);
    sql
}

/// One item. The newest: its version is what a change must name.
///
/// # Errors
/// The database's.
pub async fn item_by_id(store: &Store, id: &str) -> Result<Option<Item>> {
    store
        .bounded("find a menu item", async {
            let mut sql = Sql::new(ITEM);
            sql.push(" AND i.id = ").bind(id.to_owned());
            let row = sql.query()?.fetch_optional(&mut *store.reading(Reader::Newest).await?).await?;
            row.as_ref().map(item).transpose()
        })
        .await
}

/// An item to be made.
#[derive(Clone, Copy, Debug)]
pub struct NewItem<'a> {
    /// The menu it is on.
    pub menu: &'a str,
    /// Its name.
    pub name: &'a str,
    /// What it is.
    pub description: &'a str,
    /// Its price in cents.
    pub price_cents: i64,
    /// Whether it is for sale.
    pub available: bool,
    /// Words to find it by, each without quotes or escapes.
    pub tags: &'a [String],
    /// How many there are; `None` is as many as anyone wants.
    pub left: Option<i64>,
}

/// Makes an item, and gives its id.
///
/// # Errors
/// [`super::StoreError::Dangling`] when there is no such menu.
pub async fn create_item(store: &Store, new: NewItem<'_>, now: Timestamp) -> Result<String> {
    let id = new_id();
    store
        .bounded("make a menu item", async {
            let mut transaction = store.begin().await?;
            let sql = "INSERT INTO menu_items (id, category_id, name, description, price_cents, available, tags, created_at, updated_at) \
                       VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $8)";
            sqlx::query(sql)
                .bind(&id)
                .bind(new.menu)
                .bind(new.name)
                .bind(new.description)
                .bind(new.price_cents)
                .bind(i64::from(new.available))
                .bind(tags(new.tags))
                .bind(micros(now))
                .execute(&mut *transaction)
                .await?;
            if let Some(left) = new.left {
                sqlx::query("INSERT INTO stock (item_id, quantity, updated_at) VALUES ($1, $2, $3)")
                    .bind(&id)
                    .bind(left)
                    .bind(micros(now))
                    .execute(&mut *transaction)
                    .await?;
            }
            transaction.commit().await
        })
        .await?;
    Ok(id)
}

fn tags(tags: &[String]) -> String {
    serde_json::Value::from(tags.to_vec()).to_string()
}

/// Changes an item that is still at `version`.
///
/// # Errors
/// [`super::StoreError::Dangling`] when there is no such menu.
pub async fn change_item(
    store: &Store,
    id: &str,
    version: i64,
    change: &ItemChange,
    now: Timestamp,
) -> Result<Changed<()>> {
    let done = store
        .bounded("change a menu item", async {
            let sql = "UPDATE menu_items SET category_id = COALESCE($3, category_id), name = COALESCE($4, name), \
                       description = COALESCE($5, description), price_cents = COALESCE($6, price_cents), \
                       available = COALESCE($7, available), tags = COALESCE($8, tags), version = version + 1, updated_at = $9 \
                       WHERE id = $1 AND version = $2 AND deleted_at IS NULL";
            let query = sqlx::query(sql)
                .bind(id)
                .bind(version)
                .bind(change.menu.as_deref())
                .bind(change.name.as_deref())
                .bind(change.description.as_deref())
                .bind(change.price_cents)
                .bind(change.available.map(i64::from))
                .bind(change.tags.as_deref().map(tags))
                .bind(micros(now));
            Ok(query.execute(&mut *store.writing().await?).await?.rows_affected() == 1)
        })
        .await?;
    why(store, id, done).await
}

/// Takes an item that is still at `version` off the menu for good. What was ordered of it stays on the orders.
///
/// # Errors
/// The database's.
pub async fn delete_item(store: &Store, id: &str, version: i64, now: Timestamp) -> Result<Changed<()>> {
    let done = store
        .bounded("delete a menu item", async {
            let sql = "UPDATE menu_items SET deleted_at = $3, available = 0, version = version + 1, updated_at = $3 \
                       WHERE id = $1 AND version = $2 AND deleted_at IS NULL";
            let query = sqlx::query(sql).bind(id).bind(version).bind(micros(now));
            Ok(query.execute(&mut *store.writing().await?).await?.rows_affected() == 1)
        })
        .await?;
    why(store, id, done).await
}

/// What an update of one version that touched a row, or none, has come to.
async fn why(store: &Store, id: &str, done: bool) -> Result<Changed<()>> {
    Ok(match done {
        true => Changed::Done(()),
        false if item_by_id(store, id).await?.is_some() => Changed::Stale,
        false => Changed::Gone,
    })
}

/// Sets the picture of an item, or takes it away. Says whether there is such an item.
///
/// # Errors
/// The database's.
pub async fn set_image(
    store: &Store,
    id: &str,
    image: Option<&ItemImage>,
    sha256: &str,
    now: Timestamp,
) -> Result<bool> {
    store
        .bounded("set the image of a menu item", async {
            let mut transaction = store.begin().await?;
            let image_id = image.map(|_| new_id());
            let sql = "UPDATE menu_items SET image_id = $2, version = version + 1, updated_at = $3 WHERE id = $1 AND deleted_at IS NULL";
            let query = sqlx::query(sql).bind(id).bind(image_id.as_deref()).bind(micros(now));
            if query.execute(&mut *transaction).await?.rows_affected() == 0 {
                return Ok(false);
            }
            // The one before is no longer shown; its bytes stay, for another item may have the same.
            sqlx::query("DELETE FROM images WHERE item_id = $1").bind(id).execute(&mut *transaction).await?;
            if let (Some(image), Some(image_id)) = (image, image_id) {
                let sql = "INSERT INTO images (id, item_id, content_type, width, height, bytes, sha256, object_key, thumbnail_key, created_at) \
                           VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)";
                sqlx::query(sql)
                    .bind(image_id)
                    .bind(id)
                    .bind(&image.content_type)
                    .bind(image.width)
                    .bind(image.height)
                    .bind(image.bytes)
                    .bind(sha256)
                    .bind(&image.full)
                    .bind(&image.thumbnail)
                    .bind(micros(now))
                    .execute(&mut *transaction)
                    .await?;
            }
            transaction.commit().await?;
            Ok(true)
        })
        .await
}
