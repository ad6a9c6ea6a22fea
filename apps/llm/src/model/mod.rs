//! The built-in text generator: a small n-gram model, trained at start from a novel in the public domain (`corpus/`). It writes
//! sentences that look like English and mean little, which is what a test of everything around a model needs; it says its name,
//! [`NAME`], in every answer.

mod ngram;
mod stops;
mod tokens;
mod writer;

pub use ngram::Model;
pub use writer::{Step, Style, Writer};

/// The model's name in answers.
pub const NAME: &str = "built-in-ngram";

/// Trains the model from the text in the binary.
pub fn built_in() -> Model {
    Model::train(include_str!("../../corpus/pride-and-prejudice.txt"))
}

/// How many tokens `text` has.
pub fn length(text: &str) -> u64 {
    tokens::split(text).count() as u64
}
