//! The OpenAPI documents that clients read before they send objects: which paths there are, which parameters an operation
//! takes, and which kind each schema is. v3 is one document for each group and version; v2 is one of everything, in JSON or in
//! protobuf.
//!
//! A document is made when it is asked for, and kept compressed; [`KEPT`] bounds what all of them take. They are made anew when
//! the kinds change.

mod cache;
mod gnostic;
mod operations;
#[cfg(test)]
mod tests;
mod v2;
mod v3;

pub(crate) use cache::Documents;

use objects::kinds::{KINDS, Kind};
use serde_json::{Map, Value};

/// Bytes of compressed documents that are kept; past them the one that was asked for longest ago is dropped and made again.
pub(crate) const KEPT: usize = 4 << 20;

/// The version that documents say they describe.
const VERSION: &str = "v1.33.0";

/// The media type of OpenAPI v2 in protobuf.
pub(crate) const V2_PROTOBUF: &str = "application/com.github.proto-openapi.spec.v2.v1.0+protobuf";

/// Which document.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Name {
    /// `/openapi/v3/…`, by what follows, such as `apis/apps/v1`.
    V3(String),
    /// `/openapi/v2`.
    V2Json,
    /// `/openapi/v2` as gnostic's messages.
    V2Protobuf,
}

/// What the documents describe.
#[derive(Clone, Copy)]
pub(crate) struct Source {
    /// Grows whenever the kinds or their schemas change.
    pub generation: u64,
    /// The kinds that are served.
    pub kinds: fn() -> Vec<&'static Kind>,
    /// The schemas of a group and version by name; empty if there are none.
    pub components: fn(&str, &str) -> Map<String, Value>,
    /// The name of a kind's schema among them: group, version, kind.
    pub definition: fn(&str, &str, &str) -> Option<String>,
}

/// What is compiled in.
pub(crate) fn built_in() -> Source {
    Source {
        generation: 0,
        kinds: || KINDS.iter().collect(),
        components: objects::schema::components,
        definition: objects::schema::definition_name,
    }
}

/// Where a group and version are served, without the slash before it: `api/v1`, `apis/apps/v1`.
fn root(group: &str, version: &str) -> String {
    if group.is_empty() { format!("api/{version}") } else { format!("apis/{group}/{version}") }
}

/// The groups and versions that have a document, sorted by their root.
fn group_versions(source: &Source) -> Vec<(&'static str, &'static str)> {
    let kinds = (source.kinds)();
    let served = kinds.iter().map(|kind| (kind.group, kind.version));
    let reviews = crate::http::review_kinds().map(|(group, ..)| (group, "v1"));
    let mut all: Vec<_> = served.chain(reviews).collect();
    all.sort_unstable_by_key(|(group, version)| root(group, version));
    all.dedup();
    all
}
