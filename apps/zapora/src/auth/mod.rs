//! Who somebody is, and what they may do.

pub mod access;
pub mod gate;
pub mod guard;
pub mod password;
pub mod sessions;
pub mod tokens;

use self::access::Role;

/// Somebody who has signed in. In the extensions of every request that carried a token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Principal {
    /// Their account's id.
    pub user: String,
    /// What they may do.
    pub role: Role,
    /// The session that their token belongs to.
    pub session: String,
}

impl Principal {
    /// Whether they may see and change what belongs to `owner`.
    pub fn may_touch(&self, owner: &str) -> bool {
        self.user == owner || self.role >= Role::Staff
    }
}
