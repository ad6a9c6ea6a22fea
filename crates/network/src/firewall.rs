//! Lets pods reach addresses outside the machine, by forwarding and masquerading their source address with nftables; and keeps
//! others outside from reaching them.

use std::{
    io::Write,
    process::{Command, Stdio},
};

use crate::{NetworkError, addresses::Range};

/// The nftables table of one bridge; replaced as a whole, so that repeating it is harmless.
///
/// Every service address is the machine's own and forwarding is on, so neighbours of the machine could send to services and pods
/// by giving it as the way there. They are reached through what is published, and no other way.
fn ruleset(bridge: &str, pods: Range, services: Range) -> String {
    format!(
        "table ip {bridge} {{}}\ndelete table ip {bridge}\ntable ip {bridge} {{\n  chain prerouting {{\n    \
         type filter hook prerouting priority filter; policy accept;\n    \
         iifname != {{ \"lo\", \"{bridge}\" }} ip daddr {{ {pods}, {services} }} ct state new drop\n  }}\n  chain postrouting {{\n    \
         type nat hook postrouting priority srcnat; policy accept;\n    \
         ip saddr {pods} oifname != \"{bridge}\" masquerade\n  }}\n}}\n"
    )
}

/// Lets the pods behind `bridge` reach addresses outside the machine, and nobody outside reach them or the services.
///
/// # Errors
/// Says what failed; without it pods reach each other and services, but nothing outside the machine.
pub fn open(bridge: &str, pods: Range, services: Range) -> Result<(), NetworkError> {
    // First the rules: with forwarding alone the pods would be open to the machine's neighbours.
    nft(&ruleset(bridge, pods, services))?;
    std::fs::write("/proc/sys/net/ipv4/ip_forward", "1").map_err(|e| NetworkError::kernel("turn on IPv4 forwarding", e))
}

/// Whether a firewall of this machine drops what is not its own and not expected, as Docker's and many others do.
pub fn drops_forwarded() -> bool {
    let listed = Command::new("nft").args(["list", "chain", "ip", "filter", "FORWARD"]).stderr(Stdio::null()).output();
    listed.is_ok_and(|listed| String::from_utf8_lossy(&listed.stdout).contains("policy drop"))
}

/// Takes the bridge's tables away.
///
/// # Errors
/// What `nft` said.
pub fn clear(bridge: &str) -> Result<(), NetworkError> {
    let clear = |family: &str| format!("table {family} {bridge} {{}}\ndelete table {family} {bridge}\n");
    nft(&clear("ip"))?;
    nft(&clear("bridge"))
}

/// Carries out an nftables script, all of it or nothing.
pub fn nft(script: &str) -> Result<(), NetworkError> {
    let failed = |e: &dyn std::fmt::Display| NetworkError::kernel("run nft (Debian package nftables)", e);
    let mut child = Command::new("nft")
        .args(["-f", "-"])
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(|e| failed(&e))?;
    if let Some(mut input) = child.stdin.take() {
        input.write_all(script.as_bytes()).map_err(|e| failed(&e))?;
    }
    let output = child.wait_with_output().map_err(|e| failed(&e))?;
    if output.status.success() { Ok(()) } else { Err(failed(&String::from_utf8_lossy(&output.stderr).trim())) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_traffic_that_leaves_the_bridge_is_masqueraded() {
        let rules = ruleset("coracle0", "10.42.0.0/16".parse().unwrap(), "10.43.0.0/16".parse().unwrap());
        assert!(rules.contains("ip saddr 10.42.0.0/16 oifname != \"coracle0\" masquerade"), "{rules}");
    }
}
