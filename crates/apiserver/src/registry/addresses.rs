//! Service addresses: each Service's cluster IP, out of one range, never twice.

use std::{
    collections::BTreeSet,
    net::Ipv4Addr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use serde_json::{Value, json};

use super::meta;
use crate::status::Cause;

/// The first addresses are left to the API server (1) and DNS (10).
const RESERVED: u32 = 16;

/// The addresses in use.
#[derive(Debug)]
pub struct Addresses {
    network: u32,
    size: u32,
    used: Mutex<BTreeSet<Ipv4Addr>>,
}

/// Holds an address for a Service that is being made; given back unless kept.
#[derive(Debug)]
pub struct Held {
    addresses: Arc<Addresses>,
    address: Option<Ipv4Addr>,
}

impl Held {
    /// The Service was stored: the address is its own now.
    pub fn keep(mut self) {
        self.address = None;
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        if let Some(address) = self.address {
            self.addresses.lock().remove(&address);
        }
    }
}

impl Addresses {
    /// Addresses out of a range such as `10.43.0.0/16`; `None` if the text is not one.
    pub fn new(cidr: &str) -> Option<Self> {
        let (network, prefix) = cidr.split_once('/')?;
        let (network, prefix): (Ipv4Addr, u32) = (network.parse().ok()?, prefix.parse().ok()?);
        let size = 1u32.checked_shl(32u32.checked_sub(prefix)?)?;
        (size > RESERVED).then(|| Self { network: network.to_bits(), size, used: Mutex::default() })
    }

    /// The address of the Service `kubernetes`.
    pub fn api(&self) -> Ipv4Addr {
        Ipv4Addr::from_bits(self.network + 1)
    }

    /// Marks a stored Service's address as used.
    pub fn adopt(&self, service: &Value) {
        if let Some(address) = cluster_ip(service) {
            self.lock().insert(address);
        }
    }

    /// Frees a deleted Service's address.
    pub fn release(&self, service: &Value) {
        if let Some(address) = cluster_ip(service) {
            self.lock().remove(&address);
        }
    }

    /// Gives a new Service its address, unless it is headless or an alias.
    ///
    /// # Errors
    /// What is wrong with the address that the Service asks for, or that none is left.
    pub fn assign(self: &Arc<Self>, service: &mut Value) -> Result<Held, Cause> {
        let asked = service.pointer("/spec/clusterIP").and_then(Value::as_str).unwrap_or_default().to_owned();
        let alias = service.pointer("/spec/type").and_then(Value::as_str) == Some("ExternalName");
        if alias || asked == "None" {
            return Ok(Held { addresses: self.clone(), address: None });
        }
        let invalid = |why: &str| Cause::invalid("spec.clusterIPs", &json!([asked]), why);
        let mut used = self.lock();
        let address = if asked.is_empty() {
            (RESERVED..self.size - 1).map(|i| Ipv4Addr::from_bits(self.network + i)).find(|a| !used.contains(a))
        } else {
            let address: Ipv4Addr =
                asked.parse().map_err(|_| invalid("must be empty, 'None', or a valid IP address"))?;
            if !(self.network + 1..self.network + self.size - 1).contains(&address.to_bits()) {
                return Err(invalid("the provided IP is not in the range of service addresses"));
            }
            if used.contains(&address) {
                return Err(invalid("the provided IP is already allocated"));
            }
            Some(address)
        };
        let address = address.ok_or_else(|| invalid("no service address is left"))?;
        used.insert(address);
        drop(used);
        let spec = meta::section(service, "spec");
        spec.insert("clusterIP".to_owned(), address.to_string().into());
        spec.insert("clusterIPs".to_owned(), json!([address.to_string()]));
        Ok(Held { addresses: self.clone(), address: Some(address) })
    }

    fn lock(&self) -> MutexGuard<'_, BTreeSet<Ipv4Addr>> {
        self.used.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whether the Service is one that has an address, and has none.
pub fn needs(service: &Value) -> bool {
    let text = |pointer: &str| service.pointer(pointer).and_then(Value::as_str).unwrap_or_default();
    text("/spec/type") != "ExternalName" && text("/spec/clusterIP").is_empty()
}

/// What an update does not say of a Service's address stays as it was; an alias has none.
pub fn inherit(current: &Value, wanted: &mut Value) {
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

fn cluster_ip(service: &Value) -> Option<Ipv4Addr> {
    service.pointer("/spec/clusterIP")?.as_str()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_service_gets_its_own_address_and_gives_it_back() {
        let addresses = Arc::new(Addresses::new("10.43.0.0/16").unwrap());
        let mut one = json!({"spec": {}});
        addresses.assign(&mut one).unwrap().keep();
        assert_eq!(one["spec"]["clusterIP"], "10.43.0.16");
        let mut two = one.clone();
        assert!(addresses.assign(&mut two).unwrap_err().message.contains("already allocated"));
        addresses.release(&one);
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
        let addresses = Arc::new(Addresses::new("10.43.0.0/16").unwrap());
        let mut headless = json!({"spec": {"clusterIP": "None"}});
        addresses.assign(&mut headless).unwrap().keep();
        assert_eq!(headless["spec"]["clusterIP"], "None");
        assert!(addresses.assign(&mut json!({"spec": {"clusterIP": "10.44.0.1"}})).is_err());
    }
}
