//! What the access log's format needs of a request and its response, copied while they pass.

use std::borrow::Cow;

use http::HeaderName;

use super::{
    Format,
    format::{Wanted, WantedOf},
};
use crate::table::Asked;

/// Larger ones are not kept for the next request.
const KEPT: usize = 8 * 1024;

/// Values by their places in the format's list.
#[derive(Debug, Default)]
pub(in crate::observe) struct Captured {
    text: Vec<u8>,
    /// Where each is in `text`; `None` is a field that was not there.
    places: Vec<Option<(usize, usize)>>,
}

impl Captured {
    /// Forgets everything; `false` if it has become too large to keep.
    pub(super) fn clear(&mut self) -> bool {
        self.text.clear();
        self.places.clear();
        self.text.capacity() <= KEPT
    }

    fn push(&mut self, place: usize, value: Option<&[u8]>) {
        let from = self.text.len();
        let value = value.map(|value| {
            self.text.extend_from_slice(value);
            (from, self.text.len())
        });
        if let Some(slot) = self.places.get_mut(place) {
            *slot = value;
        }
    }

    /// Copies what is wanted of a request; `query` is what follows its question mark.
    pub(super) fn request(&mut self, format: &Format, head: &impl Asked, query: Option<&str>) {
        let wanted = format.wanted();
        self.places.resize(wanted.len(), None);
        for (place, WantedOf { what, .. }) in wanted.iter().enumerate().filter(|(_, wanted)| wanted.of_request) {
            match what {
                Wanted::Method => self.push(place, Some(head.method().as_bytes())),
                Wanted::Path => {
                    self.push(place, Some(head.path().as_bytes()));
                    if let (Some(query), Some(Some((_, end)))) = (query, self.places.get_mut(place)) {
                        self.text.push(b'?');
                        self.text.extend_from_slice(query.as_bytes());
                        *end = self.text.len();
                    }
                }
                Wanted::Header(name) => self.push(place, head.header(name).as_deref()),
            }
        }
    }

    /// Copies what is wanted of a response.
    pub(super) fn response<'v>(&mut self, format: &Format, header: impl Fn(&HeaderName) -> Option<Cow<'v, [u8]>>) {
        let wanted = format.wanted();
        self.places.resize(wanted.len(), None);
        for (place, WantedOf { what, .. }) in wanted.iter().enumerate().filter(|(_, wanted)| !wanted.of_request) {
            if let Wanted::Header(name) = what {
                self.push(place, header(name).as_deref());
            }
        }
    }

    /// The value at a place.
    pub(super) fn get(&self, place: usize) -> Option<&[u8]> {
        let (from, to) = (*self.places.get(place)?)?;
        self.text.get(from..to)
    }
}
