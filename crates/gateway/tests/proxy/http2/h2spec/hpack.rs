//! RFC 7541: what cannot be decoded ends the connection, because the tables of both ends would differ from then on.

use super::{COMPRESSION, Case, Expected, WHOLE, get, headers, sending};

pub fn cases() -> Vec<Case> {
    let after = |name, bytes: &[u8]| broken(name, &[&get(), bytes]);
    // `x-test`, in Huffman code, and the beginning of a value.
    let name: &[u8] = b"\x00\x85\xf2\xb2\x4a\x84\xff";
    let valued = |case, value: &[u8]| broken(case, &[&get(), name, value]);
    vec![
        // Index 70, where 61 are static and none has been added.
        after("hpack/2.3.3/1", b"\xc6"),
        after("hpack/2.3.3/2", b"\x7f\x07\x00"),
        after("hpack/4.2/1", b"\x21"),
        // A whole byte of padding, padding with zeroes, and the symbol of the end.
        valued("hpack/5.2/1", b"\x84\x49\x50\x9f\xff"),
        valued("hpack/5.2/2", b"\x83\x49\x50\x90"),
        valued("hpack/5.2/3", b"\x87\x49\x51\xff\xff\xff\xfa\x7f"),
        after("hpack/6.1/1", b"\x80"),
        // To 4,097, where 4,096 are allowed.
        broken("hpack/6.3/1", &[b"\x3f\xe2\x1f", &get()]),
    ]
}

fn broken(name: &'static str, block: &[&[u8]]) -> Case {
    sending(name, &[headers(1, WHOLE, &block.concat())], Expected::Instead(COMPRESSION))
}

#[test]
fn what_cannot_be_decoded_ends_the_connection() {
    super::check(cases());
}
