//! Label and field selectors, from their text form and from `LabelSelector` objects.

mod fields;
mod labels;
mod parse;

pub use fields::Fields;
pub use labels::Labels;

/// The text or object is not a selector; why, in upstream's words.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct NotASelector(pub String);

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn no_text_makes_them_panic(text in "\\PC{0,60}") {
            let _ = (Labels::parse(&text), Fields::parse(&text));
        }

        #[test]
        fn what_is_read_is_written_so_that_it_reads_the_same(text in "[a-c=!<>(), ]{0,12}|[ab] (in|notin) \\([a-c,]{0,5}\\)") {
            if let Ok(selector) = Labels::parse(&text) {
                prop_assert_eq!(Labels::parse(&selector.to_string()).unwrap(), selector);
            }
        }
    }
}
