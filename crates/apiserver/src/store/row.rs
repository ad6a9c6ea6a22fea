//! What one row of the store's file holds, in every format that there has been.

use bytes::Bytes;

use super::{Key, Stored};

/// The format that is written.
///
/// 1. Eight bytes of revision (big endian), then the object's JSON.
/// 2. The same, with four bytes between them: the CRC-32 of name, revision and JSON, so that damage within an object is noticed.
///
/// A change needs the next number, a way to read the last one, and a file of the last one among the tests.
pub(super) const FORMAT: u64 = 2;

/// The row's key.
pub(super) fn name(key: &Key) -> Vec<u8> {
    [key.resource.as_bytes(), key.namespace.as_bytes(), key.name.as_bytes()].join(&0)
}

/// The row's value, in the newest format.
pub(super) fn encode(name: &[u8], stored: &Stored) -> Vec<u8> {
    let revision = stored.revision.to_be_bytes();
    [revision.as_slice(), &checksum(name, &revision, &stored.json).to_be_bytes(), &stored.json].concat()
}

/// The object in a row.
///
/// # Errors
/// What is wrong with it.
pub(super) fn decode(format: u64, name: &[u8], value: &[u8]) -> Result<(Key, Stored), String> {
    let unlike = || "a row is not as it was written".to_owned();
    let mut parts = std::str::from_utf8(name).map_err(|_| unlike())?.splitn(3, '\0');
    let mut part = || parts.next().ok_or_else(unlike);
    let key = Key { resource: part()?.into(), namespace: part()?.into(), name: part()?.into() };
    let (revision, mut json) = value.split_first_chunk::<8>().ok_or_else(unlike)?;
    let said = |what: &dyn std::fmt::Display| format!("{} {}/{}: {what}", key.resource, key.namespace, key.name);
    if format >= 2 {
        let (written, rest) = json.split_first_chunk::<4>().ok_or_else(unlike)?;
        json = rest;
        if checksum(name, revision, json) != u32::from_be_bytes(*written) {
            return Err(said(&"its checksum does not fit"));
        }
    }
    serde_json::from_slice::<serde::de::IgnoredAny>(json).map_err(|error| said(&error))?;
    let stored = Stored::new(u64::from_be_bytes(*revision), Bytes::copy_from_slice(json));
    Ok((key, stored))
}

fn checksum(name: &[u8], revision: &[u8], json: &[u8]) -> u32 {
    let mut crc = crc32fast::Hasher::new();
    crc.update(name);
    crc.update(revision);
    crc.update(json);
    crc.finalize()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row() -> (Vec<u8>, Vec<u8>) {
        let key = Key { resource: "/pods".into(), namespace: "n".into(), name: "a".into() };
        let name = name(&key);
        let value = encode(&name, &Stored::new(7, Bytes::from_static(b"{\"a\":1}")));
        (name, value)
    }

    #[test]
    fn a_row_reads_as_it_was_written() {
        let (name, value) = row();
        let (key, stored) = decode(FORMAT, &name, &value).unwrap();
        assert_eq!((&*key.resource, key.namespace.as_str(), key.name.as_str()), ("/pods", "n", "a"));
        assert_eq!((stored.revision, stored.json.as_ref()), (7, b"{\"a\":1}".as_slice()));
    }

    #[test]
    fn every_single_damaged_byte_is_noticed() {
        let (name, value) = row();
        for at in 0..value.len() {
            let mut bad = value.clone();
            bad[at] ^= 1;
            assert!(decode(FORMAT, &name, &bad).is_err(), "byte {at}");
        }
        for length in 0..value.len() {
            assert!(decode(FORMAT, &name, &value[..length]).is_err(), "{length} bytes");
        }
        assert!(decode(FORMAT, b"/pods\0n\0b", &value).is_err(), "another object's row");
    }
}
