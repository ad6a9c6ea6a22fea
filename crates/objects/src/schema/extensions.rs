//! Upstream's extensions of schemas, which the Rust types do not have: how lists and objects merge.

use std::{collections::HashMap, sync::LazyLock};

use serde_json::{Map, Value};

/// The facts of one field, or of a type.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Facts {
    list: &'static str,
    keys: &'static str,
    map: &'static str,
    patch: &'static str,
    key: &'static str,
    default: &'static str,
}

/// By type (`core.v1.PodSpec`) and field (`containers`).
static FACTS: LazyLock<HashMap<(&str, &str), Facts>> = LazyLock::new(|| {
    let mut all: HashMap<(&str, &str), Facts> = HashMap::new();
    for line in include_str!("upstream.txt").lines().filter(|line| !line.starts_with('#')) {
        let mut words = line.split(' ');
        let (Some(name), Some(fields)) = (words.next(), words.next()) else { continue };
        for field in fields.split(',') {
            let facts = all.entry((name, field)).or_default();
            for (fact, value) in words.clone().filter_map(|word| word.split_once('=')) {
                let place = match fact {
                    "list" => &mut facts.list,
                    "keys" => &mut facts.keys,
                    "map" => &mut facts.map,
                    "patch" => &mut facts.patch,
                    "key" => &mut facts.key,
                    _ => &mut facts.default,
                };
                *place = value;
            }
        }
    }
    all
});

/// The name under which a definition's facts are kept: `io.k8s.api.apps.v1.Deployment` is `apps.v1.Deployment`, and Gateway
/// API's types are the same in every version.
fn short(definition: &str) -> String {
    if let Some(gateway) = definition.strip_prefix("io.k8s.networking.gateway.") {
        return format!("gateway.{}", gateway.rsplit('.').next().unwrap_or(gateway));
    }
    let prefixes = ["io.k8s.api.", "io.k8s.apimachinery.pkg.apis.", "io.k8s.apiextensions-apiserver.pkg.apis."];
    prefixes.iter().find_map(|prefix| definition.strip_prefix(prefix)).unwrap_or(definition).to_owned()
}

/// The extensions of a field of a definition, such as of `containers` of `io.k8s.api.core.v1.PodSpec`: `x-kubernetes-list-type`,
/// `-list-map-keys`, `-map-type`, `-patch-strategy`, `-patch-merge-key`, and `default` of keys of lists (and `{}` of structs that
/// are always there). The field `*` is the definition itself.
pub fn extensions(definition: &str, field: &str) -> Map<String, Value> {
    let found = FACTS.get(&(short(definition).as_str(), field)).copied();
    found.map(Facts::into_json).unwrap_or_default()
}

impl Facts {
    fn into_json(self) -> Map<String, Value> {
        let keys: Vec<&str> = self.keys.split(',').filter(|key| !key.is_empty()).collect();
        let texts = [
            ("x-kubernetes-list-type", self.list),
            ("x-kubernetes-map-type", self.map),
            ("x-kubernetes-patch-strategy", self.patch),
            ("x-kubernetes-patch-merge-key", self.key),
        ];
        let texts = texts.into_iter().filter(|(_, text)| !text.is_empty());
        let mut json: Map<String, Value> = texts.map(|(name, text)| (name.to_owned(), text.into())).collect();
        if !keys.is_empty() {
            json.insert("x-kubernetes-list-map-keys".to_owned(), keys.into());
        }
        json.extend(serde_json::from_str(self.default).ok().map(|value| ("default".to_owned(), value)));
        json
    }
}

/// Writes the extensions into definitions (`components.schemas`). A list of which nothing is known is atomic.
pub(super) fn annotate(definitions: &mut Map<String, Value>) {
    for (name, definition) in definitions {
        let Some(definition) = definition.as_object_mut() else { continue };
        definition.extend(extensions(name, "*"));
        let properties = definition.get_mut("properties").and_then(Value::as_object_mut);
        for (field, property) in properties.into_iter().flatten() {
            let Some(property) = property.as_object_mut() else { continue };
            property.extend(extensions(name, field));
            if property.get("type").and_then(Value::as_str) == Some("array") {
                property.entry("x-kubernetes-list-type").or_insert_with(|| "atomic".into());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn lists_objects_and_keys_say_how_they_merge() {
        let ports = extensions("io.k8s.api.core.v1.ServiceSpec", "ports");
        let expected = json!({"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["port", "protocol"],
            "x-kubernetes-patch-strategy": "merge", "x-kubernetes-patch-merge-key": "port"});
        assert_eq!(Value::Object(ports), expected);
        assert_eq!(extensions("io.k8s.api.core.v1.ServicePort", "protocol")["default"], json!("TCP"));
        assert_eq!(extensions("io.k8s.api.core.v1.PodSpec", "nodeSelector")["x-kubernetes-map-type"], json!("atomic"));
        let labels = "io.k8s.apimachinery.pkg.apis.meta.v1.LabelSelector";
        assert_eq!(extensions(labels, "*")["x-kubernetes-map-type"], json!("atomic"));
        assert_eq!(extensions("io.k8s.networking.gateway.v1beta1.GatewaySpec", "listeners").len(), 2);
        assert!(extensions("io.k8s.api.core.v1.PodSpec", "nodeName").is_empty());
    }
}
