//! CustomResourceDefinitions: what they may say, when their kinds are served, and what becomes of their objects.
//!
//! [`Definitions`] has the kinds that are served now. It follows the stored definitions: [`sync`] reads them all, writes their
//! statuses, and swaps the kinds; it runs after every write of a definition, before the write is answered, and whenever
//! something changes while a definition is being deleted.

mod known;
mod names;
pub(crate) mod objects;
pub(crate) mod openapi;
mod sync;
pub(crate) mod validation;

use std::sync::Arc;

use ::objects::kinds::{self, Kind, Kinds};
use arc_swap::ArcSwap;
use serde_json::{Map, Value, json};

use self::known::Known;
use crate::registry::{Registry, meta};

pub(crate) use sync::{follow, sync};

/// The group of definitions.
const GROUP: &str = "apiextensions.k8s.io";

/// Holds a definition until its objects are gone.
const FINALIZER: &str = "customresourcecleanup.apiextensions.k8s.io";

/// The kinds that are served, as the definitions have it.
#[derive(Default)]
pub(crate) struct Definitions {
    kinds: ArcSwap<Kinds>,
    known: Known,
    /// One at a time brings things up to date.
    turn: tokio::sync::Mutex<()>,
}

impl Definitions {
    /// The kinds that are served now.
    pub(crate) fn kinds(&self) -> Arc<Kinds> {
        self.kinds.load_full()
    }

    /// Takes over what the stored definitions say.
    pub(crate) fn load(&self, registry: &Registry) {
        let all = self.known.read(registry);
        self.kinds.store(Arc::new(Kinds::new(all.iter().flat_map(|one| one.kinds.iter().cloned()).collect())));
    }
}

/// The kind of definitions themselves.
fn kind() -> Option<&'static Kind> {
    kinds::by_kind(GROUP, "v1", "CustomResourceDefinition")
}

/// Whether objects of a kind are definitions.
pub(crate) fn is_definition(kind: &Kind) -> bool {
    kind.is(GROUP, "CustomResourceDefinition")
}

/// Every stored definition, the oldest first: who was there first keeps a name. Their versions say no schemas here.
fn stored(registry: &Registry) -> Vec<Value> {
    registry.definitions().known.read(registry).iter().map(|one| one.definition.clone()).collect()
}

/// A definition that is deleted waits until its objects are.
pub(crate) fn hold_until_cleaned(definition: &mut Value) {
    if meta::is_deleting(definition) {
        return;
    }
    let finalizers = meta::metadata(definition).entry("finalizers").or_insert_with(|| json!([]));
    if let Some(list) = finalizers.as_array_mut().filter(|list| !list.iter().any(|finalizer| finalizer == FINALIZER)) {
        list.push(FINALIZER.into());
    }
}

/// Fills in what a definition does not say.
pub(crate) fn default(definition: &mut Value) {
    let spec = meta::section(definition, "spec");
    let conversion = spec.entry("conversion").or_insert_with(|| json!({"strategy": "None"}));
    if let Some(Value::Object(service)) = conversion.pointer_mut("/webhook/clientConfig/service") {
        service.entry("port").or_insert_with(|| json!(443));
    }
    let Some(Value::Object(names)) = spec.get_mut("names") else { return };
    let kind = names.get("kind").and_then(Value::as_str).unwrap_or_default().to_owned();
    let set = |names: &mut Map<String, Value>, field: &str, value: String| {
        if !kind.is_empty() && names.get(field).and_then(Value::as_str).unwrap_or_default().is_empty() {
            names.insert(field.to_owned(), value.into());
        }
    };
    set(names, "singular", kind.to_lowercase());
    set(names, "listKind", format!("{kind}List"));
}

/// What of a definition has no effect here, for the person who applies it.
pub(crate) fn warnings(definition: &Value) -> Vec<String> {
    let mut warnings = Vec::new();
    let text = |pointer: &str| definition.pointer(pointer).and_then(Value::as_str).unwrap_or_default();
    if text("/spec/conversion/strategy") == "Webhook" {
        warnings.push(
            "spec.conversion.strategy Webhook has no effect here: no webhook is called, objects of all versions have the same fields"
                .to_owned(),
        );
    }
    let (group, plural) = (text("/spec/group"), text("/spec/names/plural"));
    if kinds::KINDS.iter().any(|kind| (kind.group, kind.plural) == (group, plural)) {
        warnings
            .push(format!("{plural}.{group} is built in: the definition is kept, and its schemas have no effect here"));
    }
    warnings
}
