//! Bytes of strangers as parts of a line: whatever they are, the line stays one line of its format.

/// Eight bytes of which each is `byte`.
const fn eight(byte: u8) -> u64 {
    u64::from_ne_bytes([byte; 8])
}

/// Whether JSON allows all of eight bytes as they are: printable ASCII, no quote, no backslash. Looking at eight at once
/// halves the cost of a line.
fn all_plain(bytes: u64) -> bool {
    let below = |limit: u8| bytes.wrapping_sub(eight(limit)) & !bytes;
    let is = |byte: u8| {
        let zero = bytes ^ eight(byte);
        zero.wrapping_sub(eight(1)) & !zero
    };
    (bytes | below(0x20) | is(b'"') | is(b'\\') | is(0x7f)) & eight(0x80) == 0
}

fn is_plain(byte: u8) -> bool {
    matches!(byte, 0x20..=0x7e) && byte != b'"' && byte != b'\\'
}

/// How many bytes at the start are plain.
fn plain_prefix(bytes: &[u8]) -> usize {
    let mut plain = 0;
    while let Some(&next) = bytes.get(plain..).and_then(|rest| rest.first_chunk::<8>()) {
        if !all_plain(u64::from_ne_bytes(next)) {
            break;
        }
        plain += 8;
    }
    // Fewer than eight are left: together with some that are known to be plain they may be eight.
    if bytes.last_chunk::<8>().is_some_and(|last| bytes.len() - plain < 8 && all_plain(u64::from_ne_bytes(*last))) {
        return bytes.len();
    }
    plain + bytes.iter().skip(plain).take_while(|byte| is_plain(**byte)).count()
}

/// The inside of a JSON string (RFC 8259, 7); what is not UTF-8 becomes U+FFFD.
pub(super) fn json(out: &mut Vec<u8>, bytes: &[u8]) {
    let (plain, rest) = bytes.split_at(plain_prefix(bytes));
    out.extend_from_slice(plain);
    if rest.is_empty() {
        return;
    }
    for chunk in rest.utf8_chunks() {
        for character in chunk.valid().chars() {
            match character {
                '"' => out.extend_from_slice(b"\\\""),
                '\\' => out.extend_from_slice(b"\\\\"),
                '\t' => out.extend_from_slice(b"\\t"),
                '\n' => out.extend_from_slice(b"\\n"),
                '\r' => out.extend_from_slice(b"\\r"),
                control if u32::from(control) < 0x20 || control == '\u{7f}' => {
                    out.extend_from_slice(b"\\u00");
                    hex(out, u32::from(control) as u8);
                }
                character => out.extend_from_slice(character.encode_utf8(&mut [0; 4]).as_bytes()),
            }
        }
        if !chunk.invalid().is_empty() {
            out.extend_from_slice("\u{fffd}".as_bytes());
        }
    }
}

/// A value in a line of text: quotes, backslashes and control characters as `\xNN`, so that nobody can end a quoted value or
/// a line.
pub(super) fn text(out: &mut Vec<u8>, bytes: &[u8]) {
    let (plain, rest) = bytes.split_at(plain_prefix(bytes));
    out.extend_from_slice(plain);
    for byte in rest {
        if is_plain(*byte) || *byte >= 0x80 {
            out.push(*byte);
        } else {
            out.extend_from_slice(b"\\x");
            hex(out, *byte);
        }
    }
}

/// Two digits.
pub(super) fn hex(out: &mut Vec<u8>, byte: u8) {
    let digit = |nibble: u8| if nibble < 10 { b'0' + nibble } else { b'a' + nibble - 10 };
    out.extend_from_slice(&[digit(byte >> 4), digit(byte & 15)]);
}

/// A number in decimal.
pub(super) fn decimal(out: &mut Vec<u8>, mut number: u64) {
    if number < 10 {
        return out.push(b'0' + number as u8);
    }
    let (mut digits, mut start) = ([b'0'; 20], 20);
    for (at, digit) in digits.iter_mut().enumerate().rev() {
        *digit = b'0' + (number % 10) as u8;
        number /= 10;
        start = at;
        if number == 0 {
            break;
        }
    }
    out.extend_from_slice(digits.get(start..).unwrap_or_default());
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn written(write: impl Fn(&mut Vec<u8>)) -> Vec<u8> {
        let mut out = Vec::new();
        write(&mut out);
        out
    }

    proptest! {
        #[test]
        fn a_json_string_reads_as_what_was_written(bytes: Vec<u8>) {
            let quoted = [b"\"", written(|out| json(out, &bytes)).as_slice(), b"\""].concat();
            let read: String = serde_json::from_slice(&quoted).unwrap();
            prop_assert_eq!(read, String::from_utf8_lossy(&bytes));
        }

        #[test]
        fn every_single_byte_among_plain_ones_is_noticed(byte: u8, at in 0..21_usize, length in 0..21_usize) {
            let mut bytes = *b"0123456789abcdefghijk";
            bytes[at] = byte;
            let expected = if is_plain(byte) || at >= length { length } else { at };
            prop_assert_eq!(plain_prefix(&bytes[..length]), expected);
        }

        #[test]
        fn a_value_cannot_leave_its_quotes_or_its_line(bytes: Vec<u8>) {
            let out = written(|out| text(out, &bytes));
            prop_assert!(!out.iter().any(|byte| *byte < 0x20 || *byte == b'"' || *byte == 0x7f));
        }

        #[test]
        fn numbers_are_written_as_they_are_read(number: u64) {
            prop_assert_eq!(written(|out| decimal(out, number)), number.to_string().into_bytes());
        }
    }
}
