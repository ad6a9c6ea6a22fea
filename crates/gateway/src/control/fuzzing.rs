//! What must hold of any objects at all, as one function for fuzz targets and property tests.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde_json::Value;

use super::{CONTROLLER, Compiled, Memory, Options, Publish, Snapshot, StatusUpdate, compile, dump, status::OURS};

/// What an API server tells objects apart by.
type Identity = (String, String, String);

/// Compiles objects in several orders, with and without the memory of earlier compilations, and with the statuses that were
/// said of them: table and statuses are the same, every condition is one that the API takes, and when all is said nothing
/// more is. What no API server would store is left out: objects without a name, and seconds of the same name.
///
/// # Panics
/// When something does not hold.
#[doc(hidden)]
pub fn translation(objects: impl IntoIterator<Item = Value>) -> Compiled {
    let mut stored = BTreeMap::new();
    for object in objects {
        if let Some(identity) = identity(&object) {
            stored.entry(identity).or_insert(object);
        }
    }
    let mut memory = Memory::default();
    let (shuffled, forwards) = (shuffled(&stored), snapshot(stored.values()));
    let first = compiled(&forwards, &mut memory);
    let told = told(&first);
    for (how, snapshot, memory) in [
        ("once more", &forwards, &mut memory),
        ("backwards", &snapshot(stored.values().rev()), &mut Memory::default()),
        ("in another order", &snapshot(shuffled.into_iter()), &mut Memory::default()),
    ] {
        assert_eq!(told, self::told(&compiled(snapshot, memory)), "compiled {how}");
    }
    first.statuses.iter().for_each(|update| well_formed(update, &stored));
    for update in &first.statuses {
        let identity =
            (update.kind.name().to_owned(), update.namespace.clone().unwrap_or_default(), update.name.clone());
        if let Some(object) = stored.get_mut(&identity) {
            object["status"] = update.status.clone();
        }
    }
    let again = compiled(&snapshot(stored.values()), &mut memory);
    assert_eq!(again.statuses, [], "what has been said is said again");
    assert_eq!(told.0, dump(&again.table), "statuses change the table");
    first
}

fn compiled(snapshot: &Snapshot, memory: &mut Memory) -> Compiled {
    let address = |port| std::net::SocketAddr::from(([127, 0, 0, 1], port));
    let publish =
        [(8080, 80), (8443, 443)].map(|(port, listener_port)| Publish { address: address(port), listener_port });
    let options = Options::new(publish.into(), address(0).ip());
    compile(snapshot, &options, memory, Timestamp::UNIX_EPOCH)
}

/// Kind, namespace and name, if they are what an API server takes.
fn identity(object: &Value) -> Option<Identity> {
    let text = |value: Option<&Value>| value.and_then(Value::as_str).map(str::to_owned);
    let kind = text(object.get("kind"))?;
    let (name, namespace) = (text(object.pointer("/metadata/name"))?, text(object.pointer("/metadata/namespace")));
    let everywhere = matches!(kind.as_str(), "Namespace" | "GatewayClass");
    let is_name = |text: &str| {
        !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-')
    };
    let namespace = if everywhere { String::new() } else { namespace.filter(|namespace| is_name(namespace))? };
    (is_name(&name) && everywhere == object.pointer("/metadata/namespace").is_none()).then_some((kind, namespace, name))
}

/// What can be read of them: the rest would not be stored.
fn snapshot<'a>(objects: impl Iterator<Item = &'a Value>) -> Snapshot {
    let mut snapshot = Snapshot::default();
    for object in objects {
        _ = snapshot.insert(object.clone());
    }
    snapshot
}

/// The same ones, in an order that is neither.
fn shuffled(stored: &BTreeMap<Identity, Value>) -> Vec<&Value> {
    let mut all: Vec<_> = stored.values().collect();
    fastrand::Rng::with_seed(7).shuffle(&mut all);
    all
}

/// A table and statuses, in an order that does not depend on the objects'.
fn told(compiled: &Compiled) -> (String, BTreeMap<Identity, &Value>) {
    let identity = |update: &StatusUpdate| {
        (update.kind.name().to_owned(), update.namespace.clone().unwrap_or_default(), update.name.clone())
    };
    let statuses = compiled.statuses.iter().map(|update| (identity(update), &update.status));
    (dump(&compiled.table), statuses.collect())
}

/// Conditions as the API's schema wants them, of the generation that was looked at.
fn well_formed(update: &StatusUpdate, stored: &BTreeMap<Identity, Value>) {
    let identity = (update.kind.name().to_owned(), update.namespace.clone().unwrap_or_default(), update.name.clone());
    let generation = stored.get(&identity).and_then(|object| object.pointer("/metadata/generation"));
    let what = format!("{} {}/{}", identity.0, identity.1, identity.2);
    let lists = ["listeners", "parents", "ancestors"];
    let parts = lists.iter().filter_map(|list| update.status.get(*list)?.as_array()).flatten();
    let is_ours = |part: &&Value| part.get("controllerName").is_none_or(|name| name == CONTROLLER);
    // What others have said of the same object is theirs to say.
    for part in parts.filter(is_ours).chain([&update.status]) {
        let Some(conditions) = part.get("conditions").and_then(Value::as_array) else { continue };
        let text = |condition: &Value, field: &str| {
            condition.get(field).and_then(Value::as_str).map(str::to_owned).unwrap_or_default()
        };
        let mut types: Vec<_> = conditions.iter().map(|condition| text(condition, "type")).collect();
        for condition in conditions.iter().filter(|condition| OURS.contains(&text(condition, "type").as_str())) {
            let (reason, message) = (text(condition, "reason"), text(condition, "message"));
            assert!(is_reason(&reason), "{what}: {condition}");
            assert!(message.len() <= 32_768, "{what}: a message of {} bytes", message.len());
            assert!(matches!(text(condition, "status").as_str(), "True" | "False"), "{what}: {condition}");
            assert_eq!(condition.get("observedGeneration"), generation, "{what}: {condition}");
            assert!(condition.get("lastTransitionTime").is_some_and(Value::is_string), "{what}: {condition}");
        }
        types.retain(|type_| OURS.contains(&type_.as_str()));
        types.sort();
        let count = types.len();
        types.dedup();
        assert_eq!(types.len(), count, "{what}: a type of condition twice: {conditions:?}");
    }
}

/// A word of the form that the API's schema has for reasons.
fn is_reason(reason: &str) -> bool {
    reason.len() <= 1024
        && reason.starts_with(|first: char| first.is_ascii_alphabetic())
        && reason.ends_with(|last: char| last.is_ascii_alphanumeric() || last == '_')
        && reason.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_,:".contains(&byte))
}
