//! What answers show of the menu.

use serde::Serialize;
use utoipa::ToSchema;

use super::answers::time;
use crate::store::items;

/// Something to order.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct Item {
    /// Its id.
    #[schema(format = Uuid)]
    id: String,
    /// The id of the menu it is on.
    #[schema(format = Uuid)]
    menu_id: String,
    /// Its name.
    name: String,
    /// What it is.
    description: String,
    /// Its price in cents.
    price_cents: i64,
    /// The currency of its price (ISO 4217).
    #[schema(examples("EUR"))]
    currency: String,
    /// Whether it is for sale.
    available: bool,
    /// Whether there is none left for now.
    sold_out: bool,
    /// Words to find it by.
    tags: Vec<String>,
    /// Its picture, if it has one.
    image: Option<Picture>,
    /// Rises with each change.
    version: i64,
    /// When it was made.
    #[schema(format = DateTime)]
    created_at: String,
    /// When it was last changed.
    #[schema(format = DateTime)]
    updated_at: String,
}

/// The picture of an item.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct Picture {
    /// Where it is.
    url: String,
    /// Where its thumbnail is.
    thumbnail_url: String,
    /// Its media type.
    content_type: String,
    /// Its width in pixels.
    width: i64,
    /// Its height in pixels.
    height: i64,
}

/// A page of items.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct Items {
    /// The items.
    pub items: Vec<Item>,
    /// What to send as `after` for the next page; none if this is the last.
    #[schema(format = Uuid)]
    pub next: Option<String>,
}

impl Item {
    /// The item as answers show it, with prices in this currency.
    pub fn of(item: items::Item, currency: &str) -> Self {
        let sold_out = item.left == Some(0);
        Self {
            id: item.id,
            menu_id: item.menu,
            name: item.name,
            description: item.description,
            price_cents: item.price_cents,
            currency: currency.to_owned(),
            available: item.available,
            sold_out,
            tags: item.tags,
            image: item.image.map(|image| Picture {
                url: format!("/images/{}", image.full),
                thumbnail_url: format!("/images/{}", image.thumbnail),
                content_type: image.content_type,
                width: image.width,
                height: image.height,
            }),
            version: item.version,
            created_at: time(item.created_at),
            updated_at: time(item.updated_at),
        }
    }
}
