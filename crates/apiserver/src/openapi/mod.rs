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
mod readers;
#[cfg(test)]
mod tests;
mod v2;
mod v3;

pub(crate) use cache::Documents;

use std::sync::Arc;

use objects::{
    kinds::{KindRef, Kinds},
    schema,
};
use serde_json::{Map, Value};

use crate::crd;

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
#[derive(Clone)]
pub(crate) struct Source {
    /// Another number whenever the kinds or their schemas change.
    pub generation: u64,
    kinds: Arc<Kinds>,
}

impl Source {
    /// The kinds that are served now.
    pub fn new(kinds: Arc<Kinds>) -> Self {
        Self { generation: kinds.fingerprint(), kinds }
    }

    fn kinds(&self) -> impl Iterator<Item = KindRef> {
        self.kinds.all()
    }

    /// The schemas of a group and version by name; empty if there are none.
    fn components(&self, group: &str, version: &str) -> Map<String, Value> {
        let mut schemas = schema::components(group, version);
        let here: Vec<KindRef> = self.kinds().filter(|kind| (kind.group, kind.version) == (group, version)).collect();
        schemas.extend(crd::openapi::components(&here));
        schemas
    }

    /// The name of a kind's schema among them.
    fn definition(&self, group: &str, version: &str, kind: &str) -> Option<String> {
        let custom = || self.kinds.by_kind(group, version, kind).filter(|kind| kind.is_custom());
        schema::definition_name(group, version, kind)
            .or_else(|| custom().map(|kind| crd::openapi::definition_name(&kind)))
    }
}

/// Where a group and version are served, without the slash before it: `api/v1`, `apis/apps/v1`.
fn root(group: &str, version: &str) -> String {
    if group.is_empty() { format!("api/{version}") } else { format!("apis/{group}/{version}") }
}

/// The groups and versions that have a document, sorted by their root.
fn group_versions(source: &Source) -> Vec<(&'static str, &'static str)> {
    let served = source.kinds().map(|kind| (kind.group, kind.version));
    let reviews = crate::http::review_kinds().map(|(group, ..)| (group, "v1"));
    let mut all: Vec<_> = served.chain(reviews).collect();
    all.sort_unstable_by_key(|(group, version)| root(group, version));
    all.dedup();
    all
}
