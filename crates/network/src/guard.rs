//! Keeps pods to their own addresses: what knows a caller by its address must be able to believe it. A container may have
//! CAP_NET_RAW, so the bridge itself drops whatever a pod's link sends from an address that is not that pod's.

use std::net::Ipv4Addr;

use crate::{NetworkError, firewall::nft};

/// What all links of pods are called, with more behind it.
pub const LINKS: &str = "cor";

/// A pod's link with its address.
#[derive(Clone, Debug)]
pub struct Port {
    /// The host side's link.
    pub link: String,
    /// The pod's address.
    pub address: Ipv4Addr,
}

/// The hardware address that goes with an address on the bridge, as container networks make it.
pub fn hardware(address: Ipv4Addr) -> [u8; 6] {
    let [a, b, c, d] = address.octets();
    [0x0a, 0x58, a, b, c, d]
}

impl Port {
    fn element(&self, bridge: &str, action: &str) -> String {
        let [a, b, c, d, e, f] = hardware(self.address);
        let hardware = format!("{a:02x}:{b:02x}:{c:02x}:{d:02x}:{e:02x}:{f:02x}");
        format!("{action} element bridge {bridge} pods {{ \"{}\" . {hardware} . {} }}\n", self.link, self.address)
    }
}

/// Everything that a pod sends is from one of the set, or is dropped; the set itself is kept, for pods that outlive Coracle.
fn ruleset(bridge: &str) -> String {
    let chain = format!("{bridge} prerouting");
    format!(
        "add table bridge {bridge}\n\
         add set bridge {bridge} pods {{ typeof iifname . ether saddr . ip saddr; }}\n\
         add chain bridge {chain} {{ type filter hook prerouting priority filter; policy accept; }}\n\
         flush chain bridge {chain}\n\
         add rule bridge {chain} iifname \"{LINKS}*\" ether type ip iifname . ether saddr . ip saddr != @pods drop\n\
         add rule bridge {chain} iifname \"{LINKS}*\" ether type arp iifname . arp saddr ether . arp saddr ip != @pods drop\n\
         add rule bridge {chain} iifname \"{LINKS}*\" ether type arp iifname . ether saddr . arp saddr ip != @pods drop\n\
         add rule bridge {chain} iifname \"{LINKS}*\" ether type != {{ ip, arp }} drop\n"
    )
}

/// Begins to watch the links of a bridge.
///
/// # Errors
/// What `nft` said: there is none, or the kernel cannot filter on bridges.
pub fn open(bridge: &str) -> Result<(), NetworkError> {
    nft(&ruleset(bridge))
}

/// Lets a pod send from its address.
///
/// # Errors
/// What `nft` said.
pub async fn admit(bridge: &str, port: &Port) -> Result<(), NetworkError> {
    change(port.element(bridge, "add")).await
}

/// Forgets a pod that is gone.
///
/// # Errors
/// What `nft` said.
pub async fn dismiss(bridge: &str, port: &Port) -> Result<(), NetworkError> {
    // Adding it first makes removing it succeed when it is not there.
    change(port.element(bridge, "add") + &port.element(bridge, "delete")).await
}

async fn change(script: String) -> Result<(), NetworkError> {
    let done = tokio::task::spawn_blocking(move || nft(&script)).await;
    done.map_err(|e| NetworkError::kernel("change the bridge's filter", e))?
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pod_is_its_link_its_hardware_address_and_its_address() {
        let port = Port { link: "cor1".to_owned(), address: Ipv4Addr::new(10, 42, 1, 255) };
        let element = port.element("coracle0", "add");
        assert_eq!(element, "add element bridge coracle0 pods { \"cor1\" . 0a:58:0a:2a:01:ff . 10.42.1.255 }\n");
    }
}
