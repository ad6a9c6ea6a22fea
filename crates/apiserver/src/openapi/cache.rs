//! Documents as they are sent, kept for the next who asks.

use std::{
    collections::{BTreeMap, VecDeque},
    io::{Read, Write},
    sync::{Arc, Mutex, PoisonError},
};

use flate2::{Compression, read::GzDecoder, write::GzEncoder};
use serde_json::{Map, Value, json};
use sha2::{Digest, Sha256};

use super::{KEPT, Name, Source, group_versions, root, v2, v3};

/// A document as it is sent.
#[derive(Debug)]
pub(crate) struct Rendered {
    /// A hash of its text in hexadecimal: the same for the same text.
    pub hash: String,
    /// Its text, compressed with gzip.
    pub gzip: Vec<u8>,
}

impl Rendered {
    fn of(text: &[u8]) -> std::io::Result<Self> {
        let hash = Sha256::digest(text).iter().map(|byte| format!("{byte:02X}")).collect();
        let mut encoder = GzEncoder::new(Vec::with_capacity(text.len() / 6), Compression::default());
        encoder.write_all(text)?;
        Ok(Self { hash, gzip: encoder.finish()? })
    }

    /// Its text.
    ///
    /// # Errors
    /// None that can happen: it was compressed here.
    pub fn text(&self) -> std::io::Result<Vec<u8>> {
        let mut text = Vec::with_capacity(self.gzip.len() * 8);
        GzDecoder::new(self.gzip.as_slice()).read_to_end(&mut text)?;
        Ok(text)
    }
}

#[derive(Debug, Default)]
struct State {
    generation: u64,
    /// The hash of each document of version 3, by its root; empty until the index is asked for.
    hashes: BTreeMap<String, String>,
    /// The one asked for last comes last.
    kept: VecDeque<(Name, Arc<Rendered>)>,
    size: usize,
}

/// The documents. Making one takes some milliseconds of CPU: ask on a thread that may be blocked.
#[derive(Debug, Default)]
pub(crate) struct Documents {
    state: Mutex<State>,
}

impl Documents {
    /// A document; `None` if there is none of this name.
    ///
    /// # Errors
    /// It cannot be compressed, which does not happen.
    pub fn get(&self, source: &Source, name: &Name) -> std::io::Result<Option<Arc<Rendered>>> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.keep_up(source);
        state.get(source, name)
    }

    /// `/openapi/v3`: the documents there are, each with its hash in its address, so that a client keeps what it has until that
    /// changes.
    ///
    /// # Errors
    /// As [`Documents::get`].
    pub fn index(&self, source: &Source) -> std::io::Result<Value> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.keep_up(source);
        if state.hashes.is_empty() {
            for (group, version) in group_versions(source) {
                let root = root(group, version);
                if let Some(document) = state.get(source, &Name::V3(root.clone()))? {
                    state.hashes.insert(root, document.hash.clone());
                }
            }
        }
        let entry = |(root, hash): (&String, &String)| {
            (root.clone(), json!({"serverRelativeURL": format!("/openapi/v3/{root}?hash={hash}")}))
        };
        Ok(json!({"paths": state.hashes.iter().map(entry).collect::<Map<_, _>>()}))
    }
}

impl State {
    /// Forgets what was made of other kinds.
    fn keep_up(&mut self, source: &Source) {
        if self.generation != source.generation {
            *self = Self { generation: source.generation, ..Self::default() };
        }
    }

    fn get(&mut self, source: &Source, name: &Name) -> std::io::Result<Option<Arc<Rendered>>> {
        if let Some(at) = self.kept.iter().position(|(known, _)| known == name)
            && let Some(found) = self.kept.remove(at)
        {
            let document = found.1.clone();
            self.kept.push_back(found);
            return Ok(Some(document));
        }
        let text = match name {
            Name::V3(root) => match v3::document(source, root) {
                Some(document) => document.to_string().into_bytes(),
                None => return Ok(None),
            },
            Name::V2Json => v2::json(source),
            Name::V2Protobuf => v2::protobuf(source),
        };
        let document = Arc::new(Rendered::of(&text)?);
        self.size += document.gzip.len();
        self.kept.push_back((name.clone(), document.clone()));
        while self.size > KEPT
            && let Some((_, dropped)) = self.kept.pop_front()
        {
            self.size -= dropped.gzip.len();
        }
        Ok(Some(document))
    }
}
