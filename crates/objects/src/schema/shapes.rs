//! How the objects of each kind merge.

use serde_json::{Map, Value};

use super::{
    definitions::{self, Group},
    extensions,
};
use crate::fields::{Compiler, Shape, Types};

/// How a kind's objects merge; `None` for kinds without a schema. Made for a whole group when it is asked for first.
pub fn shape(group: &str, version: &str, kind: &str) -> Option<Shape<'static>> {
    let group = definitions::group(group, version)?;
    group.shapes.get_or_init(|| of_group(group)).root(kind)
}

fn of_group(group: &Group) -> Types {
    let components = definitions::components(group.group, group.version);
    let kinds: Vec<(&str, String)> = group.kinds().collect();
    let mut compiler = Compiler::new(&components, !group.is_custom());
    for (kind, name) in &kinds {
        compiler.kind(kind, name);
    }
    compiler.finish()
}

const METADATA: &str = "io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta";

/// How the objects of a CustomResourceDefinition's version merge: the types of `openAPIV3Schema`, with one root, `kind`.
pub fn custom(kind: &str, schema: &Value) -> Types {
    let mut generator = schemars::generate::SchemaSettings::openapi3().into_generator();
    generator.subschema_for::<k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta>();
    let mut definitions: Map<String, Value> = generator.take_definitions(true);
    extensions::annotate(&mut definitions);
    let mut compiler = Compiler::new(&definitions, false);
    compiler.custom(kind, schema, METADATA);
    compiler.finish()
}
