//! How often passwords may be tried and accounts made: by account and by address, in all replicas that have the same Redis.

use std::{net::IpAddr, time::Duration};

use redis::aio::ConnectionManager;
use service::{
    problem::Problem,
    throttle::{Shared, network},
};
use sha2::{Digest, Sha256};

/// The most accounts and addresses that a process remembers.
const KEYS: usize = 50_000;
const MINUTE: Duration = Duration::from_secs(60);

/// How often is not too often.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rates {
    /// Tries of one account in 15 minutes; a success forgets those before.
    pub account: u32,
    /// Tries from one address in a minute, whoever's account it is.
    pub address: u32,
    /// Accounts made from one address in an hour.
    pub registrations: u32,
}

impl Default for Rates {
    fn default() -> Self {
        Self { account: 10, address: 60, registrations: 30 }
    }
}

/// Counts tries.
pub struct Guard {
    accounts: Shared<String>,
    addresses: Shared<IpAddr>,
    registrations: Shared<IpAddr>,
}

impl Guard {
    /// With these rates; what is counted is shared through `redis`, if there is one.
    pub fn new(rates: Rates, redis: Option<&ConnectionManager>) -> Self {
        let redis = || redis.cloned();
        Self {
            accounts: Shared::new("zapora:tries:account", rates.account, MINUTE * 15, KEYS, redis()),
            addresses: Shared::new("zapora:tries:address", rates.address, MINUTE, KEYS, redis()),
            registrations: Shared::new("zapora:registrations", rates.registrations, MINUTE * 60, KEYS, redis()),
        }
    }

    /// Counts a try of the account with this address (there need not be one).
    ///
    /// # Errors
    /// 429 when there were too many; the same for accounts that do not exist.
    pub async fn trying(&self, email: &str, address: IpAddr) -> Result<(), Problem> {
        self.addresses.count(network(address)).await.map_err(Problem::too_many)?;
        self.accounts.count(account(email)).await.map_err(Problem::too_many)
    }

    /// The password was right: what was tried before was a slip.
    pub async fn succeeded(&self, email: &str) {
        self.accounts.forget(&account(email)).await;
    }

    /// Counts an account that is being made.
    ///
    /// # Errors
    /// 429 when there were too many.
    pub async fn registering(&self, address: IpAddr) -> Result<(), Problem> {
        self.registrations.count(network(address)).await.map_err(Problem::too_many)
    }
}

/// What to count an account's tries under: whatever is typed where an address belongs is not to be read in Redis.
fn account(email: &str) -> String {
    crate::hex(&Sha256::digest(email))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn an_account_and_an_address_have_so_many_tries() {
        let guard = Guard::new(Rates { account: 2, address: 4, registrations: 1 }, None);
        let [here, there] = ["192.0.2.1", "192.0.2.2"].map(|ip| ip.parse().unwrap());
        assert!(guard.trying("a", here).await.is_ok());
        guard.succeeded("a").await;
        assert!(guard.trying("a", here).await.is_ok() && guard.trying("a", here).await.is_ok());
        assert!(guard.trying("a", there).await.is_err(), "the account is protected from everywhere");
        assert!(guard.trying("b", here).await.is_ok());
        assert!(guard.trying("c", here).await.is_err(), "the address has tried enough");
        assert!(guard.registering(here).await.is_ok() && guard.registering(here).await.is_err());
    }

    #[test]
    fn an_ipv6_network_is_one_address() {
        let [a, b, c] = ["2001:db8::1", "2001:db8::2", "2001:db8:0:1::1"].map(|ip| network(ip.parse().unwrap()));
        assert!(a == b && a != c);
    }
}
