//! Protocol Buffers' wire format: fields, each a tag and a number or bytes.

use super::DecodeError;

/// A field's value as it lies on the wire.
#[derive(Clone, Copy, Debug)]
pub(super) enum Wire<'a> {
    /// Wire type 0.
    Number(u64),
    /// Wire type 2: text, bytes, a message, or packed numbers.
    Bytes(&'a [u8]),
}

/// Reads fields from the bytes of one message.
pub(super) struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }

    /// The next field, or `None` at the end. Wire types that no Kubernetes type uses (fixed width, groups) are errors.
    pub(super) fn field(&mut self) -> Result<Option<(u32, Wire<'a>)>, DecodeError> {
        if self.is_empty() {
            return Ok(None);
        }
        let key = self.number()?;
        let tag = u32::try_from(key >> 3).map_err(|_| DecodeError::Malformed)?;
        let value = match key & 7 {
            0 => Wire::Number(self.number()?),
            2 => {
                let length = usize::try_from(self.number()?).map_err(|_| DecodeError::Malformed)?;
                let (bytes, rest) = self.rest.split_at_checked(length).ok_or(DecodeError::Malformed)?;
                self.rest = rest;
                Wire::Bytes(bytes)
            }
            _ => return Err(DecodeError::Malformed),
        };
        Ok(Some((tag, value)))
    }

    /// A number of at most 64 bits, seven bits a byte, the lowest first.
    pub(super) fn number(&mut self) -> Result<u64, DecodeError> {
        let mut number = 0u64;
        for place in 0..10 {
            let (byte, rest) = self.rest.split_first().ok_or(DecodeError::Malformed)?;
            self.rest = rest;
            let bits = u64::from(byte & 0x7f);
            if place == 9 && bits > 1 {
                return Err(DecodeError::Malformed);
            }
            number |= bits << (7 * place);
            if byte & 0x80 == 0 {
                return Ok(number);
            }
        }
        Err(DecodeError::Malformed)
    }
}
