//! An n-gram language model with interpolated modified Kneser-Ney smoothing (Chen and Goodman, 1998): how likely each token of the
//! vocabulary is after the last three. Trained in memory from a text; read-only afterwards.

use std::collections::HashMap;

use super::tokens;

/// A token's number in the vocabulary.
pub type Token = u16;

/// Stands for what the training text never said; no context contains it.
pub const UNKNOWN: Token = Token::MAX;

/// The longest n-gram counted: three tokens of context and the next. Four tokens of 16 bits fill the 64 bits of a key.
const ORDER: usize = 4;

/// A trained model.
pub struct Model {
    vocabulary: Vec<Box<str>>,
    ids: HashMap<Box<str>, Token>,
    /// How likely a token is when nothing is known of its context; sums to one.
    base: Vec<f32>,
    /// By length of the context, from one token up.
    levels: Vec<Level>,
}

/// The n-grams of one length, sorted, so that what may follow a context lies together.
struct Level {
    /// The tokens of an n-gram, 16 bits each, the last lowest.
    grams: Vec<u64>,
    counts: Vec<u16>,
    /// What is taken off counts of one, two, and three or more, to be spread over what was never seen.
    discounts: [f32; 3],
}

impl Model {
    /// Learns from `text`. Words beyond the first 65,534 different ones count as unknown.
    pub fn train(text: &str) -> Self {
        let mut vocabulary: Vec<Box<str>> = Vec::new();
        let mut ids: HashMap<Box<str>, Token> = HashMap::new();
        let mut stream = Vec::new();
        for word in tokens::split(text) {
            let id = ids.get(word).copied().unwrap_or_else(|| match Token::try_from(vocabulary.len()) {
                Ok(id) if id != UNKNOWN => {
                    vocabulary.push(word.into());
                    ids.insert(word.into(), id);
                    id
                }
                _ => UNKNOWN,
            });
            stream.push(id);
        }
        let mut levels: Vec<Level> = (2..ORDER).map(|n| Level::new(continuations(&stream, n))).collect();
        levels.push(Level::new(grams(&stream, ORDER)));
        let base = unigrams(&stream, vocabulary.len());
        Self { vocabulary, ids, base, levels }
    }

    /// How many different tokens the model knows.
    pub fn vocabulary(&self) -> usize {
        self.vocabulary.len()
    }

    /// How many n-grams the model holds.
    pub fn size(&self) -> usize {
        self.levels.iter().map(|level| level.grams.len()).sum()
    }

    /// The text of a token; empty for `UNKNOWN`.
    pub fn text(&self, token: Token) -> &str {
        self.vocabulary.get(usize::from(token)).map_or("", |text| text)
    }

    /// The number of exactly this token.
    pub fn exactly(&self, text: &str) -> Option<Token> {
        self.ids.get(text).copied()
    }

    /// The number of this token, or of the same word written otherwise (in lower case, with or without the space before it).
    pub fn id(&self, text: &str) -> Token {
        let word = text.trim_start();
        let lower = word.to_lowercase();
        [text, &format!(" {word}"), word, &format!(" {lower}"), &lower]
            .into_iter()
            .find_map(|form| self.exactly(form))
            .unwrap_or(UNKNOWN)
    }

    /// How likely a token is whatever came before; 0 for `UNKNOWN`.
    pub fn alone(&self, token: Token) -> f32 {
        self.base.get(usize::from(token)).copied().unwrap_or(0.0)
    }

    /// Writes into `probabilities` how likely each token of the vocabulary is after `history`; they sum to one.
    pub fn after(&self, history: &[Token], probabilities: &mut Vec<f32>) {
        probabilities.clear();
        probabilities.extend_from_slice(&self.base);
        for (level, length) in self.levels.iter().zip(1..) {
            let Some(context) = history.len().checked_sub(length).and_then(|from| history.get(from..)) else { break };
            if !level.interpolate(key(context), probabilities) {
                // A longer context that ends in an unseen one is unseen as well.
                break;
            }
        }
    }
}

impl Level {
    fn new((grams, counts): (Vec<u64>, Vec<u16>)) -> Self {
        let discounts = discounts(&counts);
        Self { grams, counts, discounts }
    }

    /// Mixes what this level knows of `context` into the shorter contexts' `probabilities`; `false` when it never saw it.
    fn interpolate(&self, context: u64, probabilities: &mut [f32]) -> bool {
        let from = self.grams.partition_point(|gram| gram >> 16 < context);
        let to = self.grams.partition_point(|gram| gram >> 16 <= context);
        let (Some(grams), Some(counts)) = (self.grams.get(from..to), self.counts.get(from..to)) else { return false };
        let total: f32 = counts.iter().map(|count| f32::from(*count)).sum();
        if total == 0.0 {
            return false;
        }
        let taken: f32 = counts.iter().map(|count| self.discount(*count)).sum();
        for probability in probabilities.iter_mut() {
            *probability *= taken / total;
        }
        for (gram, count) in grams.iter().zip(counts) {
            if let Some(probability) = probabilities.get_mut((gram & 0xFFFF) as usize) {
                *probability += (f32::from(*count) - self.discount(*count)) / total;
            }
        }
        true
    }

    fn discount(&self, count: u16) -> f32 {
        let [one, two, more] = self.discounts;
        match count {
            0 => 0.0,
            1 => one,
            2 => two,
            _ => more,
        }
    }
}

fn key(tokens: &[Token]) -> u64 {
    tokens.iter().fold(0, |key, token| key << 16 | u64::from(*token))
}

/// Every n-gram of the text without the unknown, once for each time it is said.
fn windows(stream: &[Token], n: usize) -> Vec<u64> {
    stream.windows(n).filter(|gram| !gram.contains(&UNKNOWN)).map(key).collect()
}

/// The n-grams of the text and how often each is said.
fn grams(stream: &[Token], n: usize) -> (Vec<u64>, Vec<u16>) {
    count(windows(stream, n))
}

/// The n-grams of the text and after how many different tokens each is said: what Kneser-Ney counts below the highest order,
/// for a word that is frequent only after one other word says little elsewhere.
fn continuations(stream: &[Token], n: usize) -> (Vec<u64>, Vec<u16>) {
    let mut longer = windows(stream, n + 1);
    longer.sort_unstable();
    longer.dedup();
    let mask = (1_u64 << (16 * n)) - 1;
    // The first n-gram of the text stands after nothing.
    let first = stream.get(..n).filter(|gram| !gram.contains(&UNKNOWN)).map(key);
    count(longer.into_iter().map(|gram| gram & mask).chain(first).collect())
}

fn unigrams(stream: &[Token], vocabulary: usize) -> Vec<f32> {
    let (tokens, counts) = continuations(stream, 1);
    let mut base = vec![0.0; vocabulary];
    let total: f32 = counts.iter().map(|count| f32::from(*count)).sum();
    for (token, count) in tokens.into_iter().zip(counts) {
        if let Some(probability) = base.get_mut(token as usize) {
            *probability = f32::from(count) / total;
        }
    }
    base
}

/// Sorts, and says how often each is there; counts stop at 65,535.
fn count(mut keys: Vec<u64>) -> (Vec<u64>, Vec<u16>) {
    keys.sort_unstable();
    let mut counts: Vec<u16> = Vec::new();
    let mut distinct: Vec<u64> = Vec::new();
    for key in keys {
        match counts.last_mut() {
            Some(count) if distinct.last() == Some(&key) => *count = count.saturating_add(1),
            _ => {
                distinct.push(key);
                counts.push(1);
            }
        }
    }
    distinct.shrink_to_fit();
    counts.shrink_to_fit();
    (distinct, counts)
}

/// Chen and Goodman's estimate of the three discounts from how many n-grams have a count of one to four. A text too small for
/// the estimate gets fixed ones.
fn discounts(counts: &[u16]) -> [f32; 3] {
    let with = |wanted: u16| counts.iter().filter(|count| **count == wanted).count() as f32;
    let (one, two, three, four) = (with(1), with(2), with(3), with(4));
    if one == 0.0 || two == 0.0 || three == 0.0 || four == 0.0 {
        return [0.5, 0.75, 0.9];
    }
    let y = one / (one + 2.0 * two);
    [
        (1.0 - 2.0 * y * two / one).clamp(0.0, 1.0),
        (2.0 - 3.0 * y * three / two).clamp(0.0, 2.0),
        (3.0 - 4.0 * y * four / three).clamp(0.0, 3.0),
    ]
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn likelihood(model: &Model, history: &str, next: &str) -> f32 {
        let history: Vec<_> = tokens::split(history).map(|token| model.id(token)).collect();
        let mut probabilities = Vec::new();
        model.after(&history, &mut probabilities);
        probabilities[usize::from(model.exactly(next).unwrap())]
    }

    #[test]
    fn what_was_said_after_a_context_is_likelier_there_than_elsewhere() {
        let model = Model::train("the cat sat on the mat. the dog sat on the rug. the cat ate the fish.");
        assert!(likelihood(&model, "sat on", " the") > 0.5);
        assert!(likelihood(&model, "the cat", " sat") > likelihood(&model, "the dog ate", " sat"));
        assert!(likelihood(&model, "xyzzy", " sat") > 0.0, "nothing is impossible");
    }

    #[test]
    fn a_word_that_follows_only_one_other_is_unlikely_elsewhere() {
        let model = Model::train(" san francisco san francisco san francisco a b c b a c b c a");
        assert!(model.alone(model.exactly(" francisco").unwrap()) < model.alone(model.exactly(" b").unwrap()));
    }

    #[test]
    fn a_word_is_known_however_it_is_written() {
        let model = Model::train("Mr. Darcy danced");
        assert_eq!(model.id("darcy"), UNKNOWN);
        assert_eq!(model.id(" DANCED"), model.exactly(" danced").unwrap());
        assert_eq!(model.id("Darcy"), model.exactly(" Darcy").unwrap());
        assert_eq!(model.text(UNKNOWN), "");
    }

    proptest! {
        #[test]
        fn likelihoods_sum_to_one_after_any_history(text in "[abc ]{1,60}", history in prop::collection::vec(0_u16..8, 0..5)) {
            let model = Model::train(&text);
            let mut probabilities = Vec::new();
            model.after(&history, &mut probabilities);
            let sum: f32 = probabilities.iter().sum();
            prop_assert!((sum - 1.0).abs() < 1e-3, "{sum}");
            prop_assert!(probabilities.iter().all(|p| *p >= 0.0));
        }
    }
}
