//! Service addresses: each Service's cluster IP, out of one range, never twice.

use std::{net::Ipv4Addr, sync::Arc};

use serde_json::{Value, json};

use super::{
    meta,
    pool::{Held, Pool, Refused},
};
use crate::status::Cause;

/// The first addresses are left to the API server (1) and DNS (10).
const RESERVED: u32 = 16;

/// The addresses of Services.
#[derive(Debug)]
pub struct Addresses {
    network: u32,
    size: u32,
    pool: Arc<Pool>,
}

impl Addresses {
    /// Addresses out of a range such as `10.43.0.0/16`; `None` if the text is not one.
    pub fn new(cidr: &str) -> Option<Self> {
        let (network, prefix) = cidr.split_once('/')?;
        let (network, prefix): (Ipv4Addr, u32) = (network.parse().ok()?, prefix.parse().ok()?);
        let (network, size) = (network.to_bits(), 1u32.checked_shl(32u32.checked_sub(prefix)?)?);
        (size > RESERVED).then(|| Self { network, size, pool: Pool::new(network + 1..=network + (size - 2)) })
    }

    /// The address of the Service `kubernetes`.
    pub fn api(&self) -> Ipv4Addr {
        Ipv4Addr::from_bits(self.network + 1)
    }

    /// Where they come from.
    pub(super) fn pool(&self) -> &Arc<Pool> {
        &self.pool
    }

    /// Gives a new Service its address, unless it is headless or an alias.
    ///
    /// # Errors
    /// What is wrong with the address that the Service asks for, or that none is left.
    pub(super) fn assign(&self, service: &mut Value) -> Result<Held, Cause> {
        let asked = service.pointer("/spec/clusterIP").and_then(Value::as_str).unwrap_or_default().to_owned();
        let alias = service.pointer("/spec/type").and_then(Value::as_str) == Some("ExternalName");
        let mut held = self.pool.hold();
        if alias || asked == "None" {
            return Ok(held);
        }
        let invalid = |why: &str| Cause::invalid("spec.clusterIPs", &json!([asked]), why);
        let address = if asked.is_empty() {
            let first = held.first(self.network + RESERVED..=self.network + (self.size - 2));
            Ipv4Addr::from_bits(first.ok_or_else(|| invalid("no service address is left"))?)
        } else {
            let address: Ipv4Addr =
                asked.parse().map_err(|_| invalid("must be empty, 'None', or a valid IP address"))?;
            held.claim(address.to_bits()).map_err(|refused| match refused {
                Refused::NotInRange => invalid("the provided IP is not in the range of service addresses"),
                Refused::Taken => invalid("the provided IP is already allocated"),
            })?;
            address
        };
        let spec = meta::section(service, "spec");
        spec.insert("clusterIP".to_owned(), address.to_string().into());
        spec.insert("clusterIPs".to_owned(), json!([address.to_string()]));
        Ok(held)
    }
}

/// The number of a Service's address, if it has one.
pub(super) fn of(service: &Value) -> Option<u32> {
    let address: Ipv4Addr = service.pointer("/spec/clusterIP")?.as_str()?.parse().ok()?;
    Some(address.to_bits())
}

/// Whether the Service is one that has an address, and has none.
pub(super) fn needs(service: &Value) -> bool {
    let text = |pointer: &str| service.pointer(pointer).and_then(Value::as_str).unwrap_or_default();
    text("/spec/type") != "ExternalName" && text("/spec/clusterIP").is_empty()
}

/// What an update does not say of a Service's address stays as it was; an alias has none.
pub(super) fn inherit(current: &Value, wanted: &mut Value) {
    let is_alias = |service: &Value| service.pointer("/spec/type").is_some_and(|t| t == "ExternalName");
    let was_alias = is_alias(current);
    let becomes_alias = is_alias(wanted) && !was_alias;
    let old = |field: &str| current.pointer(&format!("/spec/{field}")).cloned();
    let spec = meta::section(wanted, "spec");
    let unset = |value: Option<&Value>| value.is_none_or(|value| value == &json!(""));
    if becomes_alias && spec.get("clusterIP").cloned() == old("clusterIP") {
        for field in ["clusterIP", "clusterIPs", "ipFamilies", "ipFamilyPolicy", "internalTrafficPolicy"] {
            spec.remove(field);
        }
    }
    if was_alias || becomes_alias {
        return;
    }
    if unset(spec.get("clusterIP")) {
        spec.remove("clusterIP");
        spec.extend(old("clusterIP").map(|address| ("clusterIP".to_owned(), address)));
    }
    for field in ["clusterIPs", "ipFamilies", "ipFamilyPolicy"] {
        if spec.get(field).is_none() {
            spec.extend(old(field).map(|value| (field.to_owned(), value)));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_service_gets_its_own_address_and_gives_it_back() {
        let addresses = Addresses::new("10.43.0.0/16").unwrap();
        let mut one = json!({"spec": {}});
        addresses.assign(&mut one).unwrap().keep();
        assert_eq!(one["spec"]["clusterIP"], "10.43.0.16");
        let mut two = one.clone();
        assert!(addresses.assign(&mut two).unwrap_err().message.contains("already allocated"));
        addresses.pool().release(of(&one));
        drop(addresses.assign(&mut two).unwrap());
        addresses.assign(&mut one).unwrap().keep();
    }

    #[test]
    fn an_update_that_does_not_say_the_address_keeps_it() {
        let current = json!({"spec": {"type": "ClusterIP", "clusterIP": "10.43.0.9", "clusterIPs": ["10.43.0.9"]}});
        let mut wanted = json!({"spec": {"ports": []}});
        inherit(&current, &mut wanted);
        assert_eq!(wanted["spec"]["clusterIP"], "10.43.0.9");
        let mut alias = json!({"spec": {"type": "ExternalName", "externalName": "a.b", "clusterIP": "10.43.0.9"}});
        inherit(&current, &mut alias);
        assert_eq!(alias["spec"], json!({"type": "ExternalName", "externalName": "a.b"}));
        let mut back = json!({"spec": {"type": "ClusterIP"}});
        inherit(&alias, &mut back);
        assert!(needs(&back) && !needs(&alias));
    }

    #[test]
    fn headless_services_have_none_and_foreign_addresses_are_refused() {
        let addresses = Addresses::new("10.43.0.0/16").unwrap();
        let mut headless = json!({"spec": {"clusterIP": "None"}});
        addresses.assign(&mut headless).unwrap().keep();
        assert_eq!(headless["spec"]["clusterIP"], "None");
        assert!(addresses.assign(&mut json!({"spec": {"clusterIP": "10.44.0.1"}})).is_err());
    }
}
