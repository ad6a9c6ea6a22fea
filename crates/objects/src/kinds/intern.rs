//! Names of kinds, kept once and for as long as the process lives.
//!
//! A kind's names are in paths, keys and messages everywhere. Built-in ones are constants; those that definitions bring are kept
//! here, so that all of them are the same cheap type. What is kept is bounded: a definition past the bound is refused.

use std::{
    collections::HashSet,
    sync::{LazyLock, Mutex, PoisonError},
};

/// Bytes of names kept: some 10,000 definitions with names of their own.
const MOST: usize = 4 * 1024 * 1024;

/// No more names can be kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "more names of kinds have been defined since the start than are kept ({MOST} bytes): restart to forget old ones"
)]
pub struct NamesFull;

#[derive(Default)]
struct Names {
    texts: HashSet<&'static str>,
    lists: HashSet<&'static [&'static str]>,
    bytes: usize,
}

static NAMES: LazyLock<Mutex<Names>> = LazyLock::new(Mutex::default);

impl Names {
    fn room_for(&mut self, bytes: usize) -> Result<(), NamesFull> {
        if self.bytes + bytes > MOST {
            return Err(NamesFull);
        }
        self.bytes += bytes;
        Ok(())
    }

    fn text(&mut self, text: &str) -> Result<&'static str, NamesFull> {
        if let Some(known) = self.texts.get(text) {
            return Ok(known);
        }
        self.room_for(text.len())?;
        let kept: &'static str = Box::leak(text.into());
        self.texts.insert(kept);
        Ok(kept)
    }
}

/// The same text, kept.
///
/// # Errors
/// When there is no room for it.
pub fn intern(text: &str) -> Result<&'static str, NamesFull> {
    NAMES.lock().unwrap_or_else(PoisonError::into_inner).text(text)
}

/// The same list of texts, kept.
///
/// # Errors
/// When there is no room for it.
pub fn intern_list(texts: &[String]) -> Result<&'static [&'static str], NamesFull> {
    let mut names = NAMES.lock().unwrap_or_else(PoisonError::into_inner);
    let list = texts.iter().map(|text| names.text(text)).collect::<Result<Vec<_>, _>>()?;
    if let Some(known) = names.lists.get(list.as_slice()) {
        return Ok(known);
    }
    names.room_for(size_of_val(list.as_slice()))?;
    let kept: &'static [&'static str] = Box::leak(list.into_boxed_slice());
    names.lists.insert(kept);
    Ok(kept)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_name_is_kept_once() {
        let (a, b) = (intern("crontabs").unwrap(), intern("crontabs").unwrap());
        assert!(std::ptr::eq(a, b));
        let list = |names: &[&str]| intern_list(&names.iter().map(|n| (*n).to_owned()).collect::<Vec<_>>()).unwrap();
        assert!(std::ptr::eq(list(&["ct", "crontabs"]), list(&["ct", "crontabs"])));
    }
}
