//! Who may do what: one table of every route, from which the middleware decides, the document names its security, and a test
//! tries every route as everybody. A route that is not in it answers nobody.

use axum::http::Method;
use serde::{Deserialize, Serialize};

/// What somebody is in this restaurant. Each may do all that the one before may.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// Orders food.
    Customer,
    /// Makes it, and keeps the menu.
    Staff,
    /// Appoints both, and looks after what failed.
    Admin,
}

impl Role {
    /// All roles, the least first.
    pub const ALL: [Self; 3] = [Self::Customer, Self::Staff, Self::Admin];

    /// The role as it is stored and written in tokens.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Customer => "customer",
            Self::Staff => "staff",
            Self::Admin => "admin",
        }
    }

    /// The role of that name.
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|role| role.as_str() == text)
    }
}

/// Who may use a route.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Who {
    /// Everybody, signed in or not.
    Anyone,
    /// Everybody who is signed in; what is answered is theirs.
    SignedIn,
    /// Everybody who is signed in, but the object must be theirs unless they are staff: to others it does not exist.
    Owner,
    /// Staff and admins.
    Staff,
    /// Admins.
    Admin,
}

/// What the table says about a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Go on.
    Allowed,
    /// Sign in first (401).
    SignIn,
    /// Not with this role (403).
    Forbidden,
}

impl Who {
    /// What this says to somebody with `role`; none is somebody who has not signed in.
    pub fn verdict(self, role: Option<Role>) -> Verdict {
        let least = match self {
            Self::Anyone => return Verdict::Allowed,
            Self::SignedIn | Self::Owner => Role::Customer,
            Self::Staff => Role::Staff,
            Self::Admin => Role::Admin,
        };
        match role {
            None => Verdict::SignIn,
            Some(role) if role >= least => Verdict::Allowed,
            Some(_) => Verdict::Forbidden,
        }
    }
}

/// One row: method, path template as the router and the OpenAPI document have it, and who.
pub type Row = (Method, &'static str, Who);

/// Every route of the service's own (the kit's `/health`, `/metrics` and so on are for whoever reaches the port).
pub const TABLE: &[Row] = &[
    (Method::POST, "/auth/register", Who::Anyone),
    (Method::POST, "/auth/login", Who::Anyone),
    (Method::POST, "/auth/refresh", Who::Anyone),
    (Method::POST, "/auth/logout", Who::SignedIn),
    (Method::GET, "/me", Who::SignedIn),
    (Method::PATCH, "/me", Who::SignedIn),
    (Method::POST, "/me/password", Who::SignedIn),
    (Method::GET, "/menus", Who::Anyone),
    (Method::POST, "/menus", Who::Staff),
    (Method::GET, "/menus/{id}", Who::Anyone),
    (Method::PATCH, "/menus/{id}", Who::Staff),
    (Method::DELETE, "/menus/{id}", Who::Staff),
    (Method::GET, "/menu-items", Who::Anyone),
    (Method::POST, "/menu-items", Who::Staff),
    (Method::GET, "/menu-items/{id}", Who::Anyone),
    (Method::PATCH, "/menu-items/{id}", Who::Staff),
    (Method::DELETE, "/menu-items/{id}", Who::Staff),
    (Method::GET, "/menu-items/{id}/stock", Who::Staff),
    (Method::PUT, "/menu-items/{id}/stock", Who::Staff),
    (Method::PUT, "/menu-items/{id}/image", Who::Staff),
    (Method::DELETE, "/menu-items/{id}/image", Who::Staff),
    (Method::GET, "/images/{name}", Who::Anyone),
    (Method::POST, "/orders", Who::SignedIn),
    (Method::GET, "/orders", Who::SignedIn),
    (Method::POST, "/orders/quote", Who::SignedIn),
    (Method::GET, "/orders/{id}", Who::Owner),
    (Method::POST, "/orders/{id}/cancel", Who::Owner),
    (Method::GET, "/staff/orders", Who::Staff),
    (Method::POST, "/staff/orders/{id}/advance", Who::Staff),
    (Method::GET, "/admin/users", Who::Admin),
    (Method::GET, "/admin/users/{id}", Who::Admin),
    (Method::PATCH, "/admin/users/{id}", Who::Admin),
    (Method::GET, "/admin/dead-letters", Who::Admin),
    (Method::POST, "/admin/dead-letters/{id}/requeue", Who::Admin),
    (Method::GET, "/admin/reports", Who::Admin),
    (Method::GET, "/admin/audit", Who::Admin),
    (Method::GET, "/admin/rules", Who::Admin),
    (Method::PUT, "/admin/rules", Who::Admin),
];

/// Who may send `method` to the route with this template; none if the table does not know it. HEAD is GET without the body.
pub fn who(method: &Method, template: &str) -> Option<Who> {
    let method = if method == Method::HEAD { &Method::GET } else { method };
    TABLE.iter().find(|(known, path, _)| known == method && *path == template).map(|(_, _, who)| *who)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_role_may_do_all_that_the_one_before_may() {
        for (method, path, who) in TABLE {
            let mut before = false;
            for role in [None, Some(Role::Customer), Some(Role::Staff), Some(Role::Admin)] {
                let now = who.verdict(role) == Verdict::Allowed;
                assert!(now || !before, "{method} {path}: {role:?} may not what a lesser one may");
                before = now;
            }
            assert!(before, "{method} {path}: nobody may");
        }
    }

    #[test]
    fn a_route_is_in_the_table_once() {
        for (at, (method, path, _)) in TABLE.iter().enumerate() {
            let twice = TABLE.iter().skip(at + 1).any(|(m, p, _)| m == method && p == path);
            assert!(!twice, "{method} {path}");
        }
    }

    #[test]
    fn what_the_table_does_not_know_is_nobodys() {
        assert_eq!(who(&Method::DELETE, "/orders"), None);
        assert_eq!(who(&Method::HEAD, "/menu-items"), Some(Who::Anyone));
    }
}
