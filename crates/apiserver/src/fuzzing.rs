//! What reads bytes of strangers, for the fuzz targets.

use std::collections::BTreeMap;

use http::{HeaderValue, Method};

use crate::{
    http::fuzz,
    request::{Query, Target, Verb},
    store::saved,
};

/// A request's body: the first byte chooses its type, the rest is the body.
pub fn body(data: &[u8]) {
    let Some((first, body)) = data.split_first() else { return };
    let media = match first % 3 {
        0 => "application/json",
        1 => "application/yaml",
        _ => crate::protobuf::MEDIA_TYPE,
    };
    fuzz::body(&HeaderValue::from_static(media), body);
}

/// A request's line: a path, a `?` and a query. Options, selectors and continue tokens are read as for a list and a watch.
pub fn request(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let (path, query) = text.split_once('?').unwrap_or((text, ""));
    let query = Query::parse(Some(query));
    let target = Target::parse(path, &objects::kinds::Kinds::default());
    if let Some(target) = &target {
        for method in [Method::GET, Method::POST, Method::PUT, Method::PATCH, Method::DELETE] {
            let _ = Verb::of(&method, target, &query);
        }
    }
    fuzz::options(target.as_ref(), &query);
}

/// A snapshot. What is read is written so that it reads back the same.
pub fn snapshot(data: &[u8]) {
    let Ok((_, everything)) = saved::read(data) else { return };
    let plain = |all: &saved::Everything| -> BTreeMap<_, _> {
        all.objects.iter().map(|(key, stored)| (key.clone(), (stored.revision, stored.json.clone()))).collect()
    };
    let before = plain(&everything);
    let mut text = Vec::new();
    if saved::write(everything.pieces(jiff::Timestamp::UNIX_EPOCH), &mut text).is_ok() {
        match saved::read(text.as_slice()) {
            Ok((_, again)) => assert_eq!(plain(&again), before, "a snapshot reads back differently"),
            Err(error) => assert!(text.is_empty(), "a snapshot that was written is refused: {error}"),
        }
    }
}
