//! `/coracle/snapshot`: the whole store as it is now, for whoever may do everything.

use std::convert::Infallible;

use http::{HeaderValue, Method, Response, header};
use http_body::Frame;
use http_body_util::StreamBody;

use super::{Answer, Identity};
use crate::{registry::Registry, status::Failure};

/// Where it is asked for.
pub(super) const PATH: &str = "/coracle/snapshot";
/// Who may have it: every Secret is in it.
const GROUP: &str = "system:masters";

/// The snapshot, piece by piece as it is taken. Writes go on meanwhile, and are not in it.
///
/// # Errors
/// 403 for others than administrators, 405.
pub(super) fn answer(registry: &Registry, method: &Method, identity: &Identity) -> Result<Answer, Failure> {
    if method != Method::GET {
        return Err(Failure::method_not_allowed());
    }
    if !identity.groups.iter().any(|group| group == GROUP) {
        return Err(Failure::forbidden_path(&identity.user, "get", PATH));
    }
    let pieces = registry.store().everything().pieces(jiff::Timestamp::now());
    let frames = futures::stream::iter(pieces.map(|piece| Ok::<_, Infallible>(Frame::data(piece))));
    let mut response = Response::new(super::whole(StreamBody::new(frames)));
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/x-ndjson"));
    Ok(response)
}
