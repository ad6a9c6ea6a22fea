//! How often passwords may be tried and accounts made: by account and by address, in this process.

use std::{
    net::IpAddr,
    time::{Duration, Instant},
};

use service::{
    problem::Problem,
    throttle::{Throttle, network},
};

/// The most accounts and addresses that are remembered.
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
    accounts: Throttle<String>,
    addresses: Throttle<IpAddr>,
    registrations: Throttle<IpAddr>,
}

impl Guard {
    /// With these rates.
    pub fn new(rates: Rates) -> Self {
        Self {
            accounts: Throttle::new(rates.account, MINUTE * 15, KEYS),
            addresses: Throttle::new(rates.address, MINUTE, KEYS),
            registrations: Throttle::new(rates.registrations, MINUTE * 60, KEYS),
        }
    }

    /// Counts a try of the account with this address (there need not be one).
    ///
    /// # Errors
    /// 429 when there were too many; the same for accounts that do not exist.
    pub fn trying(&self, email: &str, address: IpAddr) -> Result<(), Problem> {
        let now = Instant::now();
        self.addresses.count(network(address), now).map_err(Problem::too_many)?;
        self.accounts.count(email.to_owned(), now).map_err(Problem::too_many)
    }

    /// The password was right: what was tried before was a slip.
    pub fn succeeded(&self, email: &str) {
        self.accounts.forget(&email.to_owned());
    }

    /// Counts an account that is being made.
    ///
    /// # Errors
    /// 429 when there were too many.
    pub fn registering(&self, address: IpAddr) -> Result<(), Problem> {
        self.registrations.count(network(address), Instant::now()).map_err(Problem::too_many)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_account_and_an_address_have_so_many_tries() {
        let guard = Guard::new(Rates { account: 2, address: 4, registrations: 1 });
        let [here, there] = ["192.0.2.1", "192.0.2.2"].map(|ip| ip.parse().unwrap());
        assert!(guard.trying("a", here).is_ok());
        guard.succeeded("a");
        assert!(guard.trying("a", here).is_ok() && guard.trying("a", here).is_ok());
        assert!(guard.trying("a", there).is_err(), "the account is protected from everywhere");
        assert!(guard.trying("b", here).is_ok());
        assert!(guard.trying("c", here).is_err(), "the address has tried enough");
        assert!(guard.registering(here).is_ok() && guard.registering(here).is_err());
    }

    #[test]
    fn an_ipv6_network_is_one_address() {
        let [a, b, c] = ["2001:db8::1", "2001:db8::2", "2001:db8:0:1::1"].map(|ip| network(ip.parse().unwrap()));
        assert!(a == b && a != c);
    }
}
