//! One object in the journal: what it is from a revision on, or that it is gone.
//!
//! ```text
//! u32 length of the name | u32 length of the JSON, or !0 for an object that is gone | name | u64 revision | JSON
//! ```
//!
//! Numbers are big endian; the name is `resource\0namespace\0name`; one that is gone ends after its name. The record around it has
//! the checksum.

use std::{collections::HashSet, sync::Arc};

use bytes::Bytes;

use super::{Key, Stored};

/// In place of the JSON's length.
const GONE: u32 = u32::MAX;

/// Puts an object behind what is there.
///
/// # Errors
/// It is larger than a row can be.
pub(super) fn put(key: &Key, stored: Option<&Stored>, to: &mut Vec<u8>) -> Result<(), String> {
    let short = |length: usize| {
        let length = u32::try_from(length).ok().filter(|length| *length < GONE);
        length.ok_or_else(|| format!("{} {}/{} is too large to be stored", key.resource, key.namespace, key.name))
    };
    let name = key.resource.len() + key.namespace.len() + key.name.len() + 2;
    to.extend_from_slice(&short(name)?.to_be_bytes());
    let json = stored.map_or(Ok(GONE), |stored| short(stored.json.len()))?;
    to.extend_from_slice(&json.to_be_bytes());
    to.extend_from_slice(key.resource.as_bytes());
    for part in [&key.namespace, &key.name] {
        to.push(0);
        to.extend_from_slice(part.as_bytes());
    }
    if let Some(stored) = stored {
        to.extend_from_slice(&stored.revision.to_be_bytes());
        to.extend_from_slice(&stored.json);
    }
    Ok(())
}

/// Takes rows apart. The names of resources that come again are kept once.
#[derive(Default)]
pub(super) struct Reader(HashSet<Arc<str>>);

impl Reader {
    /// Takes the first row off `rows`; `None` at their end.
    ///
    /// # Errors
    /// They are not rows.
    pub(super) fn next(&mut self, rows: &mut &[u8]) -> Result<Option<(Key, Option<Stored>)>, String> {
        if rows.is_empty() {
            return Ok(None);
        }
        let row = self.take(rows).ok_or_else(|| "a row is not as it was written".to_owned())?;
        Ok(Some(row))
    }

    fn take(&mut self, rows: &mut &[u8]) -> Option<(Key, Option<Stored>)> {
        let (name, json) = (number(rows)?, number(rows)?);
        let name = rows.split_off(..usize::try_from(name).ok()?)?;
        let key = self.key(name)?;
        if json == GONE {
            return Some((key, None));
        }
        let (revision, rest) = rows.split_first_chunk::<8>()?;
        *rows = rest;
        let json = rows.split_off(..usize::try_from(json).ok()?)?;
        Some((key, Some(Stored::new(u64::from_be_bytes(*revision), Bytes::copy_from_slice(json)))))
    }

    /// The key that a row's name stands for.
    pub(super) fn key(&mut self, name: &[u8]) -> Option<Key> {
        let mut parts = std::str::from_utf8(name).ok()?.splitn(3, '\0');
        let resource = parts.next()?;
        let resource = self.0.get(resource).cloned().unwrap_or_else(|| {
            let resource = Arc::<str>::from(resource);
            self.0.insert(resource.clone());
            resource
        });
        Some(Key { resource, namespace: parts.next()?.into(), name: parts.next()?.into() })
    }
}

fn number(from: &mut &[u8]) -> Option<u32> {
    let (number, rest) = from.split_first_chunk::<4>()?;
    *from = rest;
    Some(u32::from_be_bytes(*number))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(name: &str) -> Key {
        Key { resource: "/pods".into(), namespace: "n".into(), name: name.into() }
    }

    #[test]
    fn rows_read_as_they_were_written() {
        let mut rows = Vec::new();
        put(&key("a"), Some(&Stored::new(7, Bytes::from_static(b"{\"a\":1}"))), &mut rows).unwrap();
        put(&key("b"), None, &mut rows).unwrap();
        put(&key("c"), Some(&Stored::new(8, Bytes::new())), &mut rows).unwrap();
        let (mut reader, mut left) = (Reader::default(), rows.as_slice());
        let mut next = || reader.next(&mut left).unwrap();
        let plain = |(key, stored): (Key, Option<Stored>)| (key, stored.map(|stored| (stored.revision, stored.json)));
        assert_eq!(next().map(plain), Some((key("a"), Some((7, Bytes::from_static(b"{\"a\":1}"))))));
        assert_eq!(next().map(plain), Some((key("b"), None)));
        assert_eq!(next().map(plain), Some((key("c"), Some((8, Bytes::new())))));
        assert!(next().is_none());
    }

    #[test]
    fn rows_that_end_early_are_no_rows() {
        let mut row = Vec::new();
        put(&key("a"), Some(&Stored::new(7, Bytes::from_static(b"{}"))), &mut row).unwrap();
        for length in 1..row.len() {
            assert!(Reader::default().next(&mut &row[..length]).is_err(), "{length} bytes");
        }
    }
}
