//! Where in the types a value stands.

use crate::fields::{Patch, Shape};

/// A type, if it is known.
#[derive(Clone, Copy)]
pub(super) struct Place<'t>(Option<Shape<'t>>);

impl<'t> Place<'t> {
    pub(super) fn at(shape: Option<Shape<'t>>) -> Self {
        Self(shape)
    }

    /// How a field is patched; `None` for fields that are not known.
    pub(super) fn patch(self, field: &str) -> Option<&'t Patch> {
        self.0?.map()?.field(field).map(|field| &field.patch)
    }

    /// The type of a field.
    pub(super) fn child(self, field: &str) -> Self {
        Self(self.0.and_then(|shape| Some(shape.to(shape.map()?.of(field)?))))
    }

    /// The type of the elements of the list in a field.
    pub(super) fn element(self, field: &str) -> Self {
        let list = self.child(field).0;
        Self(list.map(|shape| shape.list().map_or(shape, |list| shape.to(list.element))))
    }
}
