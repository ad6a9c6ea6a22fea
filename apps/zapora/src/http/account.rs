//! `/me`: one's own account.

use axum::{
    extract::State,
    http::StatusCode,
    response::{IntoResponse, Response},
};
use garde::Validate;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use service::{
    extract::Json,
    problem::{Answer, Problem},
};
use utoipa::ToSchema;

use super::{
    App,
    answers::time,
    fields::{Name, NewPassword, Password},
};
use crate::{
    audit::Entry,
    auth::{Principal, access::Role, password::Checked},
    store::users::{self, User},
};

/// An account.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct Account {
    /// Its id.
    #[schema(format = Uuid)]
    id: String,
    /// Its address.
    #[schema(format = Email)]
    email: String,
    /// What its owner is called.
    name: String,
    /// What it may do.
    role: Role,
    /// Whether it may not sign in.
    disabled: bool,
    /// When it was made.
    #[schema(format = DateTime)]
    created_at: String,
    /// When it was last changed.
    #[schema(format = DateTime)]
    updated_at: String,
}

impl Account {
    /// The account as answers show it.
    pub fn of(user: &User) -> Self {
        Self {
            id: user.id.clone(),
            email: user.email.clone(),
            name: user.name.clone(),
            role: user.role,
            disabled: user.disabled,
            created_at: time(user.created_at),
            updated_at: time(user.updated_at),
        }
    }
}

/// What to change of one's account.
#[derive(Deserialize, Validate, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct AccountChange {
    /// What to call you from now on.
    #[garde(dive)]
    name: Option<Name>,
}

/// The old password and the new one.
#[derive(Deserialize, Validate, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct PasswordChange {
    /// The password so far.
    #[garde(dive)]
    current: Password,
    /// The password from now on.
    #[garde(dive)]
    new: NewPassword,
}

fn gone() -> Problem {
    Problem::unauthorized("the account is no longer there")
}

/// One's own account.
#[utoipa::path(get, path = "/me", tag = "account", responses((status = 200, description = "The account", body = Account)))]
pub async fn show(State(app): State<App>, me: Principal) -> Answer<Json<Account>> {
    let user = users::by_id(app.store(), &me.user).await?.ok_or_else(gone)?;
    Ok(Json(Account::of(&user)))
}

/// Changes one's own account.
#[utoipa::path(
    patch, path = "/me", tag = "account", request_body = AccountChange,
    responses((status = 200, description = "The account as it is now", body = Account))
)]
pub async fn change(State(app): State<App>, me: Principal, Json(change): Json<AccountChange>) -> Answer<Json<Account>> {
    let user = match change.name {
        Some(name) => {
            let user = users::rename(app.store(), &me.user, &name.0, Timestamp::now()).await?;
            Entry::new("account.change", &me.user).by(&me.user).keep(app.store()).await;
            user
        }
        None => users::by_id(app.store(), &me.user).await?,
    };
    Ok(Json(Account::of(&user.ok_or_else(gone)?)))
}

/// Changes one's password. All other sessions of the account end.
#[utoipa::path(
    post, path = "/me/password", tag = "account", request_body = PasswordChange,
    responses(
        (status = 204, description = "It is changed"),
        (status = 409, description = "The current password is another", body = Problem, content_type = "application/problem+json"),
        (status = 429, description = "Too many have failed", body = Problem, content_type = "application/problem+json"),
    )
)]
pub async fn change_password(
    State(app): State<App>,
    me: Principal,
    service::extract::ClientAddress(address): service::extract::ClientAddress,
    Json(change): Json<PasswordChange>,
) -> Answer<Response> {
    let now = Timestamp::now();
    let (user, hash) = users::with_hash(app.store(), &me.user).await?.ok_or_else(gone)?;
    app.guard().trying(&user.email, address).await?;
    let entry = Entry::new("password.change", &me.user).by(&me.user).from(address);
    if app.passwords().check(change.current.reveal(), Some(hash.clone())).await? == Checked::Wrong {
        entry.denied("the current password is another").log();
        // Not 401, which says that the session is not good.
        return Err(Problem::conflict("the current password is another"));
    }
    let new = app.passwords().hash(change.new.reveal()).await?;
    // First, because the current password can be given only once: should this fail, the same request can come again.
    app.sessions().end_all(&me.user, Some(&me.session), now).await?;
    if !users::set_password(app.store(), &me.user, &hash, &new, now).await? {
        return Err(Problem::conflict("the password was changed by another request meanwhile"));
    }
    // And those that began meanwhile.
    app.sessions().end_all(&me.user, Some(&me.session), now).await?;
    app.guard().succeeded(&user.email).await;
    entry.keep(app.store()).await;
    Ok(StatusCode::NO_CONTENT.into_response())
}
