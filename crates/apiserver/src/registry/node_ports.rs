//! Node ports of Services: each number once in the cluster, whichever protocol it is for, as upstream's allocator has it. Nothing
//! listens at them here, which `objects::support` warns about; they are what a cluster would give.

use std::{
    collections::{BTreeMap, BTreeSet},
    ops::RangeInclusive,
    sync::Arc,
};

use objects::kinds::Kind;
use serde_json::{Map, Value};

use super::{
    meta,
    pool::{Held, Pool, Refused},
};
use crate::status::{Cause, Failure};

/// Upstream's `--service-node-port-range`, unless it is told otherwise.
const RANGE: RangeInclusive<u32> = 30000..=32767;
/// The first port that is given to who asks for none: the ones below are left to those who name theirs, as long as there are others
/// (a 32nd of the range, but 16 at least and 128 at most).
const DYNAMIC: u32 = 30086;

/// The ports of all Services.
pub(super) fn pool() -> Arc<Pool> {
    Pool::new(RANGE)
}

/// The ports that a Service has: those that its ports are reached at, and the one that says whether its pods are well.
pub(super) fn of(service: &Value) -> BTreeSet<u32> {
    let mut all = if has_node_ports(service) { numbers(service) } else { BTreeSet::new() };
    all.extend(health_port(service).filter(|_| has_health_port(service)));
    all
}

/// What is wrong with the ports that a new Service asks for, whoever else has them.
pub(crate) fn out_of_range(service: &Value) -> Vec<Cause> {
    let asked = ports(service).enumerate().filter_map(|(index, port)| Some((index, node_port(port)?)));
    let wrong = asked.filter(|(_, number)| has_node_ports(service) && !RANGE.contains(number));
    wrong.map(|(index, number)| refused(index, number, Refused::NotInRange)).collect()
}

/// Gives a Service the ports that it lacks and holds those that are new to it: all that it has if it is new, else those that it
/// did not have `before`.
///
/// # Errors
/// 422 for a port that is somebody else's or out of the range; 500, as upstream, if none is left, and for the port of the health
/// check.
pub(super) fn assign(
    pool: &Arc<Pool>,
    kind: &Kind,
    before: Option<&Value>,
    service: &mut Value,
) -> Result<Held, Failure> {
    let mut held = pool.hold();
    let had = before.map(of);
    if has_node_ports(service) {
        let name = meta::text(service, "name").to_owned();
        let given = match &had {
            Some(had) => give_missing(&mut held, had.clone(), service),
            None => give_new(&mut held, service),
        };
        given.map_err(|why| match why {
            Some(cause) => Failure::invalid(kind, &name, &[cause]),
            None => Failure::internal(format!("failed to allocate a nodePort: {FULL}")),
        })?;
    }
    let number = health_port(service);
    if has_health_port(service) && !number.is_some_and(|number| had.is_some_and(|had| had.contains(&number))) {
        give_health_port(&mut held, number, service)?;
    }
    Ok(held)
}

const FULL: &str = "range is full";

/// Why a port cannot be given; `None`: there is no more.
type Why = Option<Cause>;

/// The ports of a new Service. Those of one number, such as DNS over TCP and over UDP, share one; whichever of them names it.
fn give_new(held: &mut Held, service: &mut Value) -> Result<(), Why> {
    let all = allocates(service);
    let named: Vec<_> = ports(service).filter_map(|port| Some((number(port, "port")?, node_port(port)?))).collect();
    let mut shared: BTreeMap<u32, u32> = BTreeMap::new();
    for (index, port) in ports_mut(service).enumerate() {
        let own = node_port_of(port);
        if own.is_none() && !all {
            continue;
        }
        let number = port.get("port").and_then(as_number).unwrap_or_default();
        let given = match (shared.get(&number), own) {
            (Some(known), None) => *known,
            (Some(known), Some(own)) if own == *known => own,
            (Some(_), Some(own)) => claim(held, index, own)?,
            (None, _) => match named.iter().find(|(of, _)| *of == number) {
                Some((_, wanted)) => claim(held, index, *wanted)?,
                None => first(held)?,
            },
        };
        shared.entry(number).or_insert(given);
        port.insert("nodePort".to_owned(), given.into());
    }
    Ok(())
}

/// The ports of a changed Service: `had` are those that it keeps.
fn give_missing(held: &mut Held, mut had: BTreeSet<u32>, service: &mut Value) -> Result<(), Why> {
    let all = allocates(service);
    for (index, port) in ports_mut(service).enumerate() {
        let given = match node_port_of(port) {
            Some(own) if had.contains(&own) => own,
            Some(own) => claim(held, index, own)?,
            None if all => first(held)?,
            None => continue,
        };
        had.insert(given);
        port.insert("nodePort".to_owned(), given.into());
    }
    Ok(())
}

fn give_health_port(held: &mut Held, wanted: Option<u32>, service: &mut Value) -> Result<(), Failure> {
    let given = match wanted {
        Some(wanted) => held.claim(wanted).map(|()| wanted).map_err(|why| {
            let why = because(why);
            Failure::internal(format!("failed to allocate requested HealthCheck NodePort {wanted}: {why}"))
        })?,
        None => first(held)
            .map_err(|_| Failure::internal(format!("failed to allocate a HealthCheck NodePort 0: {FULL}")))?,
    };
    meta::section(service, "spec").insert("healthCheckNodePort".to_owned(), given.into());
    Ok(())
}

fn claim(held: &mut Held, index: usize, wanted: u32) -> Result<u32, Why> {
    held.claim(wanted).map(|()| wanted).map_err(|why| Some(refused(index, wanted, why)))
}

fn first(held: &mut Held) -> Result<u32, Why> {
    held.first(DYNAMIC..=*RANGE.end()).or_else(|| held.first(RANGE)).ok_or(None)
}

fn refused(index: usize, wanted: u32, why: Refused) -> Cause {
    Cause::invalid(format!("spec.ports[{index}].nodePort"), &wanted.into(), &because(why))
}

fn because(why: Refused) -> String {
    match why {
        Refused::Taken => "provided port is already allocated".to_owned(),
        Refused::NotInRange => format!(
            "provided port is not in the valid range. The range of valid ports is {}-{}",
            RANGE.start(),
            RANGE.end()
        ),
    }
}

/// What an update does not say of a Service's ports stays as it was, port by port of the same name; what no Service of its new type
/// has goes, unless the update changes it too: validation refuses that.
pub(super) fn inherit(current: &Value, wanted: &mut Value) {
    if has_node_ports(current) && has_node_ports(wanted) {
        inherit_node_ports(current, wanted);
    }
    if has_health_port(current) && has_health_port(wanted) && health_port(wanted).is_none() {
        meta::section(wanted, "spec").extend(field(current, "healthCheckNodePort"));
    }
    if has_node_ports(current) && !has_node_ports(wanted) && numbers(wanted).is_subset(&numbers(current)) {
        ports_mut(wanted).for_each(|port| drop(port.remove("nodePort")));
    }
    let is_balanced = |service: &Value| text(service, "type") == BALANCED;
    for (name, has) in [
        ("healthCheckNodePort", has_health_port as fn(&Value) -> bool),
        ("allocateLoadBalancerNodePorts", is_balanced),
        ("loadBalancerClass", is_balanced),
        ("externalTrafficPolicy", has_node_ports),
    ] {
        if has(current) && !has(wanted) && field(current, name) == field(wanted, name) {
            meta::section(wanted, "spec").remove(name);
        }
    }
}

fn inherit_node_ports(current: &Value, wanted: &mut Value) {
    let mut used: BTreeSet<u32> = numbers(current).intersection(&numbers(wanted)).copied().collect();
    let name = |port: &Map<String, Value>| port.get("name").and_then(Value::as_str).unwrap_or_default().to_owned();
    let had: BTreeMap<String, u32> = ports(current)
        .filter_map(Value::as_object)
        .filter_map(|port| Some((name(port), node_port_of(port)?)))
        .collect();
    for port in ports_mut(wanted).filter(|port| node_port_of(port).is_none()) {
        if let Some(number) = had.get(&name(port)).filter(|number| used.insert(**number)) {
            port.insert("nodePort".to_owned(), (*number).into());
        }
    }
}

/// The type of Services that a load balancer is in front of.
const BALANCED: &str = "LoadBalancer";

fn has_node_ports(service: &Value) -> bool {
    matches!(text(service, "type"), "NodePort" | BALANCED)
}

/// Whether a load balancer has to know on which nodes the Service's pods are.
fn has_health_port(service: &Value) -> bool {
    text(service, "type") == BALANCED && text(service, "externalTrafficPolicy") == "Local"
}

/// Whether ports that name no node port are given one.
fn allocates(service: &Value) -> bool {
    let off = service.pointer("/spec/allocateLoadBalancerNodePorts") == Some(&Value::Bool(false));
    text(service, "type") != BALANCED || !off
}

fn text<'a>(service: &'a Value, name: &str) -> &'a str {
    service.get("spec").and_then(|spec| spec.get(name)?.as_str()).unwrap_or_default()
}

fn field(service: &Value, name: &str) -> Option<(String, Value)> {
    Some((name.to_owned(), service.get("spec")?.get(name)?.clone()))
}

fn ports(service: &Value) -> impl Iterator<Item = &Value> {
    service.pointer("/spec/ports").and_then(Value::as_array).into_iter().flatten()
}

fn ports_mut(service: &mut Value) -> impl Iterator<Item = &mut Map<String, Value>> {
    let ports = service.pointer_mut("/spec/ports").and_then(Value::as_array_mut);
    ports.into_iter().flatten().filter_map(Value::as_object_mut)
}

/// Every number that a Service's ports say.
fn numbers(service: &Value) -> BTreeSet<u32> {
    ports(service).filter_map(node_port).collect()
}

fn node_port(port: &Value) -> Option<u32> {
    port.as_object().and_then(node_port_of)
}

/// 0 is none.
fn node_port_of(port: &Map<String, Value>) -> Option<u32> {
    port.get("nodePort").and_then(as_number).filter(|number| *number != 0)
}

fn health_port(service: &Value) -> Option<u32> {
    number(service.get("spec")?, "healthCheckNodePort").filter(|number| *number != 0)
}

fn number(object: &Value, name: &str) -> Option<u32> {
    object.get(name).and_then(as_number)
}

/// What is negative or too large is no port of any range either: it is refused as such.
fn as_number(value: &Value) -> Option<u32> {
    value.as_i64().map(|number| u32::try_from(number).unwrap_or(u32::MAX))
}
