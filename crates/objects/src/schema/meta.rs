//! Schemas of what is sent and answered besides objects: options, statuses, the metadata of lists.

use k8s_openapi::apimachinery::pkg::apis::meta::v1;
use schemars::generate::SchemaSettings;
use serde_json::{Map, Value};

/// The prefix of their definitions.
pub const META: &str = "io.k8s.apimachinery.pkg.apis.meta.v1.";

/// `ListMeta`, `DeleteOptions`, `Status` and what they are made of, as OpenAPI 3 components by full name ([`META`] and the type's
/// name). Made anew at each call.
pub fn meta_components() -> Map<String, Value> {
    let mut generator = SchemaSettings::openapi3().into_generator();
    generator.subschema_for::<v1::ListMeta>();
    generator.subschema_for::<v1::DeleteOptions>();
    generator.subschema_for::<v1::Status>();
    generator.take_definitions(true).into_iter().collect()
}
