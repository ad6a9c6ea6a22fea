//! Endpoints that only some may call: users, admins, holders of API keys.

use std::sync::Arc;

use axum::extract::State;
use garde::Validate;
use serde::{Deserialize, Serialize};
use service::{
    audit::{self, Audit, Outcome},
    extract::{ClientAddress, Json, Path, Query},
    problem::{Answer, Problem},
};
use utoipa::ToSchema;
use uuid::Uuid;

use super::items::{Page, cut};
use crate::{
    App,
    access::Caller,
    store::{Role, User},
};

/// Who was let in.
#[derive(Debug, Serialize, ToSchema)]
pub struct LetIn {
    /// What only those who are let in are told.
    pub message: &'static str,
    /// The caller's name.
    pub username: String,
    /// What the caller may do.
    pub role: Role,
    /// The API key's id; null for a token.
    #[schema(format = Uuid)]
    pub api_key_id: Option<String>,
}

fn let_in(message: &'static str, caller: Caller) -> Json<LetIn> {
    Json(LetIn { message, username: caller.username, role: caller.role, api_key_id: caller.key_id })
}

/// For users.
#[utoipa::path(get, path = "/protected/user", tag = "protected", responses((status = 200, description = "Let in", body = LetIn)))]
pub async fn user(caller: Caller) -> Json<LetIn> {
    let_in("for users", caller)
}

/// For admins.
#[utoipa::path(get, path = "/protected/admin", tag = "protected", responses((status = 200, description = "Let in", body = LetIn)))]
pub async fn admin(caller: Caller) -> Json<LetIn> {
    let_in("for admins", caller)
}

/// For holders of an API key.
#[utoipa::path(get, path = "/protected/api-key", tag = "protected", responses((status = 200, description = "Let in", body = LetIn)))]
pub async fn api_key(caller: Caller) -> Json<LetIn> {
    let_in("for holders of an API key", caller)
}

/// Some users.
#[derive(Debug, Serialize, ToSchema)]
pub struct Users {
    /// In the order in which they registered.
    pub users: Vec<User>,
    /// What to give as `after` for the next ones; null if there are no more.
    #[schema(format = Uuid)]
    pub next: Option<String>,
}

/// All users, page by page.
#[utoipa::path(
    get, path = "/admin/users", tag = "admin", params(Page),
    responses((status = 200, description = "A page", body = Users)),
)]
pub async fn users(State(app): State<Arc<App>>, Query(page): Query<Page>) -> Answer<Json<Users>> {
    let (after, limit) = page.bounds();
    let mut users = app.store.users(&after, limit as i64 + 1).await?;
    let next = cut(&mut users, limit, |user| &user.id);
    Ok(Json(Users { users, next }))
}

/// A role to give.
#[derive(Clone, Copy, Debug, Deserialize, Validate, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewRole {
    /// What the user may do from the next login on.
    #[garde(skip)]
    pub role: Role,
}

/// Gives a user a role, which counts from the next login on. Admins cannot take theirs from themselves, and nobody from the last.
#[utoipa::path(
    put, path = "/admin/users/{id}/role", tag = "admin", params(("id" = Uuid, Path)), request_body = NewRole,
    responses(
        (status = 200, description = "The user has it", body = User),
        (status = 404, description = "There is no such user", body = Problem, content_type = "application/problem+json"),
        (status = 409, description = "It is the caller, or the last admin", body = Problem, content_type = "application/problem+json"),
    ),
)]
pub async fn set_role(
    State(app): State<Arc<App>>,
    ClientAddress(address): ClientAddress,
    caller: Caller,
    Path(id): Path<Uuid>,
    Json(new): Json<NewRole>,
) -> Answer<Json<User>> {
    let id = id.to_string();
    if id == caller.user_id {
        return Err(Problem::conflict("nobody changes their own role"));
    }
    let Some(user) = app.store.set_role(&id, new.role).await? else {
        return Err(match app.store.user(&id).await? {
            // Whose token says so may be an admin no longer.
            Some(_) => Problem::conflict("this is the last admin"),
            None => Problem::not_found("there is no such user"),
        });
    };
    let role = if new.role == Role::Admin { "admin" } else { "user" };
    audit::record(&Audit {
        actor: &format!("user:{}", caller.user_id),
        action: "user.set_role",
        object: &user.id,
        outcome: Outcome::Allowed,
        reason: Some(role),
        client: Some(address),
    });
    Ok(Json(user))
}
