//! NetworkPolicies and PodDisruptionBudgets (kubernetes/pkg/apis/{networking,policy}/validation).

use std::net::IpAddr;

use serde_json::Value;

use super::{
    at::At,
    workload::{amount, int_or_percent, label_selector},
};
use crate::status::Cause;

pub(super) fn network_policy(object: &At<'_>, causes: &mut Vec<Cause>) {
    let spec = object.field("spec");
    label_selector(&spec.field("podSelector"), causes);
    for (rules, peers) in [("ingress", "from"), ("egress", "to")] {
        for rule in spec.each(rules) {
            rule.each("ports").for_each(|one| port(&one, causes));
            rule.each(peers).for_each(|one| peer(&one, causes));
        }
    }
    let types = spec.field("policyTypes");
    if types.len() > 2 {
        causes.push(types.invalid("may not specify more than two policyTypes"));
        return;
    }
    causes.extend(types.elements().filter_map(|of| of.one_of(&["Egress", "Ingress"])));
}

fn port(port: &At<'_>, causes: &mut Vec<Cause>) {
    causes.extend(port.field("protocol").one_of(&["SCTP", "TCP", "UDP"]));
    let (number, end) = (port.field("port"), port.field("endPort"));
    if number.is_set() {
        causes.extend(number.port());
    }
    if !end.is_set() {
        return;
    }
    match number.value {
        Value::Null => causes.push(end.invalid("may not be specified when `port` is not specified")),
        Value::String(_) => causes.push(end.invalid("may not be specified when `port` is non-numeric")),
        _ if end.number() < number.number() => causes.push(end.invalid("must be greater than or equal to `port`")),
        _ => causes.extend(end.port_number()),
    }
}

fn peer(peer: &At<'_>, causes: &mut Vec<Cause>) {
    let selectors = ["podSelector", "namespaceSelector"].map(|name| peer.field(name));
    let block = peer.field("ipBlock");
    let selects = selectors.iter().filter(|selector| selector.is_set()).count();
    if selects == 0 && !block.is_set() {
        causes.push(peer.required("must specify a peer"));
    } else if selects > 0 && block.is_set() {
        causes.push(peer.forbidden("may not specify both ipBlock and another peer"));
    }
    selectors.iter().filter(|selector| selector.is_set()).for_each(|selector| label_selector(selector, causes));
    if !block.is_set() {
        return;
    }
    let whole = block.field("cidr");
    if whole.text().is_empty() {
        causes.push(whole.required(""));
        return;
    }
    causes.extend(cidr(&whole));
    let Some(whole) = range(whole.text()) else { return };
    for except in block.each("except") {
        match range(except.text()) {
            None => causes.extend(cidr(&except)),
            Some(part) if !is_within(whole, part) => {
                causes.push(except.invalid(&format!("must be a strict subset of `{}`", block.field("cidr").text())));
            }
            Some(_) => {}
        }
    }
}

/// What is said of a text that is no range of addresses.
pub(super) const NOT_A_RANGE: &str = "must be a valid CIDR value, (e.g. 10.9.8.0/24 or 2001:db8::/64)";

/// A range of addresses in the notation `10.9.8.0/24`.
pub(super) fn cidr(at: &At<'_>) -> Option<Cause> {
    let wrong = range(at.text()).is_none();
    wrong.then(|| at.invalid(NOT_A_RANGE))
}

/// The address and the number of bits of a range.
pub(super) fn range(text: &str) -> Option<(IpAddr, u32)> {
    let (address, bits) = text.split_once('/')?;
    let address: IpAddr = address.parse().ok()?;
    let bits: u32 = bits.parse().ok()?;
    (bits <= if address.is_ipv4() { 32 } else { 128 }).then_some((address, bits))
}

/// Whether the second range lies in the first, and is smaller.
fn is_within((whole, bits): (IpAddr, u32), (part, more_bits): (IpAddr, u32)) -> bool {
    let number = |address: IpAddr| match address {
        IpAddr::V4(v4) => u128::from(v4.to_bits()) << 96,
        IpAddr::V6(v6) => v6.to_bits(),
    };
    let mask = u128::MAX.checked_shl(128 - bits).unwrap_or(0);
    whole.is_ipv4() == part.is_ipv4() && more_bits > bits && number(whole) & mask == number(part) & mask
}

pub(super) fn disruption_budget(object: &At<'_>, causes: &mut Vec<Cause>) {
    let spec = object.field("spec");
    let (least, most) = (spec.field("minAvailable"), spec.field("maxUnavailable"));
    if least.is_set() && most.is_set() {
        causes.push(spec.invalid("minAvailable and maxUnavailable cannot be both set"));
    }
    for bound in [&least, &most] {
        causes.extend(int_or_percent(bound));
        if bound.text().ends_with('%') && amount(bound).is_some_and(|percent| percent > 100) {
            causes.push(bound.invalid("must not be greater than 100%"));
        }
    }
    causes.extend(spec.field("unhealthyPodEvictionPolicy").one_of(&["AlwaysAllow", "IfHealthyBudget"]));
    label_selector(&spec.field("selector"), causes);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_range_within_another_is_smaller_and_starts_like_it() {
        let within = |whole: &str, part: &str| is_within(range(whole).unwrap(), range(part).unwrap());
        assert!(within("10.0.0.0/8", "10.1.0.0/16") && within("0.0.0.0/0", "10.0.0.0/8"));
        assert!(!within("10.0.0.0/8", "10.0.0.0/8") && !within("10.0.0.0/8", "11.0.0.0/16"));
        assert!(within("fd00::/8", "fd00:1::/32") && !within("fd00::/8", "10.0.0.0/16"));
        assert!(range("10.0.0.0/33").is_none() && range("10.0.0.0").is_none());
    }
}
