//! `/menus`: the parts of what the restaurant sells.

use axum::{
    extract::State,
    http::{StatusCode, header},
    response::{IntoResponse, Response},
};
use garde::Validate;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use service::{
    extract::{Json, Path},
    problem::{Answer, Problem},
};
use utoipa::ToSchema;
use uuid::Uuid;

use super::{
    App,
    answers::{time, value},
    fields::{Name, Position, Word},
};
use crate::{
    audit::Entry,
    auth::Principal,
    store::{
        StoreError,
        menu::{self, MenuChange},
    },
};

/// A part of what the restaurant sells, such as drinks.
#[derive(Serialize, ToSchema)]
pub struct Menu {
    /// Its id.
    #[schema(format = Uuid)]
    id: String,
    /// Its name; no two menus have the same.
    name: String,
    /// Where it stands among the menus.
    position: i64,
    /// By which of the rules' taxes its items are taxed.
    tax_category: String,
    /// When it was made.
    #[schema(format = DateTime)]
    created_at: String,
    /// When it was last changed.
    #[schema(format = DateTime)]
    updated_at: String,
}

impl From<menu::Menu> for Menu {
    fn from(menu: menu::Menu) -> Self {
        Self {
            id: menu.id,
            name: menu.name,
            position: menu.position,
            tax_category: menu.tax_category,
            created_at: time(menu.created_at),
            updated_at: time(menu.updated_at),
        }
    }
}

/// All menus.
#[derive(Serialize, ToSchema)]
pub struct Menus {
    /// In their order.
    menus: Vec<Menu>,
}

/// What makes a menu.
#[derive(Deserialize, Validate, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewMenu {
    /// Its name.
    #[garde(dive)]
    name: Name,
    /// Where it stands among the menus; 0 if it is not said.
    #[garde(dive)]
    position: Option<Position>,
    /// How its items are taxed; `food` if it is not said.
    #[garde(dive)]
    tax_category: Option<Word>,
}

/// What to change of a menu.
#[derive(Deserialize, Validate, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct MenuPatch {
    /// Its name.
    #[garde(dive)]
    name: Option<Name>,
    /// Where it stands among the menus.
    #[garde(dive)]
    position: Option<Position>,
    /// How its items are taxed.
    #[garde(dive)]
    tax_category: Option<Word>,
}

fn nowhere() -> Problem {
    Problem::not_found("there is no such menu")
}

/// All menus, in their order.
#[utoipa::path(get, path = "/menus", tag = "menu", responses((status = 200, description = "The menus", body = Menus)))]
pub async fn list(State(app): State<App>) -> Answer<Json<Menus>> {
    let menus = menu::menus(app.store()).await?.into_iter().map(Menu::from).collect();
    Ok(Json(Menus { menus }))
}

/// One menu.
#[utoipa::path(
    get, path = "/menus/{id}", tag = "menu", params(("id" = Uuid, Path, description = "The menu's id")),
    responses(
        (status = 200, description = "The menu", body = Menu),
        (status = 404, description = "There is no such menu", body = Problem, content_type = "application/problem+json"),
    )
)]
pub async fn show(State(app): State<App>, Path(id): Path<Uuid>) -> Answer<Json<Menu>> {
    let menu = menu::menu_by_id(app.store(), &id.to_string()).await?.ok_or_else(nowhere)?;
    Ok(Json(menu.into()))
}

/// Makes a menu.
#[utoipa::path(
    post, path = "/menus", tag = "menu", request_body = NewMenu,
    responses(
        (status = 201, description = "The menu", body = Menu, headers(("Location" = String, description = "Where it is"))),
        (status = 409, description = "There is one of that name", body = Problem, content_type = "application/problem+json"),
    )
)]
pub async fn create(State(app): State<App>, me: Principal, Json(new): Json<NewMenu>) -> Answer<Response> {
    let position = new.position.map_or(0, |position| position.0);
    let tax_category = new.tax_category.map_or_else(|| "food".to_owned(), |word| word.0);
    let menu = menu::create_menu(app.store(), &new.name.0, position, &tax_category, Timestamp::now()).await?;
    Entry::new("menu.create", &menu.id).by(&me.user).keep(app.store()).await;
    let location = [(header::LOCATION, value(&format!("/menus/{}", menu.id)))];
    Ok((StatusCode::CREATED, location, Json(Menu::from(menu))).into_response())
}

/// Changes a menu.
#[utoipa::path(
    patch, path = "/menus/{id}", tag = "menu", request_body = MenuPatch, params(("id" = Uuid, Path, description = "The menu's id")),
    responses(
        (status = 200, description = "The menu as it is now", body = Menu),
        (status = 404, description = "There is no such menu", body = Problem, content_type = "application/problem+json"),
        (status = 409, description = "There is one of that name", body = Problem, content_type = "application/problem+json"),
    )
)]
pub async fn change(
    State(app): State<App>,
    me: Principal,
    Path(id): Path<Uuid>,
    Json(patch): Json<MenuPatch>,
) -> Answer<Json<Menu>> {
    let id = id.to_string();
    let change = MenuChange {
        name: patch.name.map(|name| name.0),
        position: patch.position.map(|position| position.0),
        tax_category: patch.tax_category.map(|word| word.0),
    };
    let menu = menu::change_menu(app.store(), &id, &change, Timestamp::now()).await?.ok_or_else(nowhere)?;
    Entry::new("menu.change", &id).by(&me.user).keep(app.store()).await;
    Ok(Json(menu.into()))
}

/// Deletes a menu on which there never was an item.
#[utoipa::path(
    delete, path = "/menus/{id}", tag = "menu", params(("id" = Uuid, Path, description = "The menu's id")),
    responses(
        (status = 204, description = "It is deleted"),
        (status = 404, description = "There is no such menu", body = Problem, content_type = "application/problem+json"),
        (status = 409, description = "It has, or has had, items", body = Problem, content_type = "application/problem+json"),
    )
)]
pub async fn delete(State(app): State<App>, me: Principal, Path(id): Path<Uuid>) -> Answer<StatusCode> {
    let id = id.to_string();
    match menu::delete_menu(app.store(), &id).await {
        Ok(true) => {}
        Ok(false) => return Err(nowhere()),
        Err(StoreError::Dangling { .. }) => {
            return Err(Problem::conflict("the menu has, or has had, items, to which orders refer"));
        }
        Err(error) => return Err(error.into()),
    }
    Entry::new("menu.delete", &id).by(&me.user).keep(app.store()).await;
    Ok(StatusCode::NO_CONTENT)
}
