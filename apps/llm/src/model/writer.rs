//! Draws text from the model, one token at a time. The same model, prompt, style and seed give the same text on every machine.

use std::{collections::BTreeSet, sync::Arc};

use super::{
    ngram::{Model, Token, UNKNOWN},
    stops::Stops,
    tokens,
};

/// Ends a paragraph in the training text, and so an answer.
const END: &str = "\n";
/// How many times likelier a prompt's own words are in its answer, so that the answer has something of the question.
const ECHO: f32 = 12.0;
/// Words more frequent than this say nothing of what a prompt is about.
const COMMON: f32 = 0.0006;

/// How to draw.
#[derive(Clone, Debug)]
pub struct Style {
    /// 0 takes the likeliest token always; 1 draws by likelihood; higher is bolder.
    pub temperature: f32,
    /// Draws only among the likeliest tokens that together have this much likelihood; 1 is all.
    pub top_p: f32,
    /// Tokens at most.
    pub max_tokens: u64,
    /// Strings at which the text ends, not part of it.
    pub stop: Vec<String>,
    /// Where the random numbers begin.
    pub seed: u64,
}

/// What came of one step.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// More text; may be empty while a stop string is undecided.
    Text(String),
    /// The text has ended by itself or at a stop string; what was held back last.
    Stopped(String),
    /// The text has as many tokens as it may; what was held back last.
    Full(String),
}

/// A text being written.
pub struct Writer {
    model: Arc<Model>,
    style: Style,
    stops: Stops,
    random: SplitMix64,
    history: Vec<Token>,
    echoes: BTreeSet<Token>,
    end: Option<Token>,
    written: u64,
    weights: Vec<f32>,
}

impl Writer {
    /// Starts an answer to `prompt`.
    pub fn new(model: Arc<Model>, prompt: &str, style: Style) -> Self {
        let mut history: Vec<_> = tokens::split(prompt).map(|token| model.id(token)).collect();
        let echoes =
            history.iter().copied().filter(|token| *token != UNKNOWN && model.alone(*token) < COMMON).collect();
        let end = model.exactly(END);
        // An answer is a paragraph of its own.
        history.extend(end);
        let stops = Stops::new(style.stop.clone());
        let random = SplitMix64(style.seed);
        Self { model, style, stops, random, history, echoes, end, written: 0, weights: Vec::new() }
    }

    /// How many tokens have been drawn.
    pub fn written(&self) -> u64 {
        self.written
    }

    /// Draws one token.
    pub fn step(&mut self) -> Step {
        if self.written >= self.style.max_tokens {
            return Step::Full(self.stops.rest());
        }
        let token = self.draw();
        self.written += 1;
        if Some(token) == self.end {
            return Step::Stopped(self.stops.rest());
        }
        self.history.push(token);
        let text = self.model.text(token);
        // The answer's first word has no space before it.
        let text = if self.written == 1 { text.trim_start() } else { text };
        match self.stops.push(text) {
            (text, false) => Step::Text(text),
            (text, true) => Step::Stopped(text),
        }
    }

    fn draw(&mut self) -> Token {
        self.model.after(&self.history, &mut self.weights);
        for echo in &self.echoes {
            if let Some(weight) = self.weights.get_mut(usize::from(*echo)) {
                *weight *= ECHO;
            }
        }
        // An answer that ends before it begins answers nothing.
        if self.written == 0
            && let Some(weight) = self.end.and_then(|end| self.weights.get_mut(usize::from(end)))
        {
            *weight = 0.0;
        }
        let likeliest = self.weights.iter().enumerate().max_by(|(a, x), (b, y)| x.total_cmp(y).then(b.cmp(a)));
        let Some((likeliest, &most)) = likeliest else { return UNKNOWN };
        if self.style.temperature <= 0.0 {
            return likeliest as Token;
        }
        for weight in &mut self.weights {
            // Relative to the likeliest, so that low temperatures do not underflow to nothing at all.
            *weight = (*weight / most).powf(1.0 / self.style.temperature);
        }
        let threshold = if self.style.top_p < 1.0 { nucleus(&self.weights, self.style.top_p) } else { 0.0 };
        let kept = |weight: &f32| *weight >= threshold;
        let total: f32 = self.weights.iter().filter(|weight| kept(weight)).sum();
        let mut left = self.random.fraction() * total;
        for (token, weight) in self.weights.iter().enumerate().filter(|(_, weight)| kept(weight)) {
            left -= weight;
            if left <= 0.0 && *weight > 0.0 {
                return token as Token;
            }
        }
        // Rounding may leave a crumb behind the last token.
        likeliest as Token
    }
}

/// The least weight among the likeliest tokens that together have `share` of all weight.
fn nucleus(weights: &[f32], share: f32) -> f32 {
    let mut sorted = weights.to_vec();
    sorted.sort_unstable_by(|a, b| b.total_cmp(a));
    let wanted = share * sorted.iter().sum::<f32>();
    let mut sum = 0.0;
    sorted
        .into_iter()
        .find(|weight| {
            sum += weight;
            sum >= wanted
        })
        .unwrap_or(0.0)
}

/// Steele, Lea and Flood's generator (2014): part of what makes a seed mean the same text everywhere.
struct SplitMix64(u64);

impl SplitMix64 {
    /// Uniform in [0, 1).
    fn fraction(&mut self) -> f32 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ z >> 30).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ z >> 27).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^= z >> 31;
        // The 24 bits that an f32 holds exactly.
        (z >> 40) as f32 / (1_u64 << 24) as f32
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn model() -> Arc<Model> {
        Arc::new(Model::train(
            "the cat sat on the mat, and the dog lay by the door.\nthe dog saw the cat, and the cat saw the dog.\n\
             on the mat the cat lay, and by the door the dog sat.\n",
        ))
    }

    fn style() -> Style {
        Style { temperature: 0.8, top_p: 1.0, max_tokens: 40, stop: Vec::new(), seed: 7 }
    }

    fn write(prompt: &str, style: Style) -> (String, Step) {
        let mut writer = Writer::new(model(), prompt, style);
        let mut text = String::new();
        loop {
            match writer.step() {
                Step::Text(more) => text.push_str(&more),
                end @ (Step::Stopped(_) | Step::Full(_)) => {
                    let (Step::Stopped(more) | Step::Full(more) | Step::Text(more)) = &end;
                    text.push_str(more);
                    return (text, end);
                }
            }
        }
    }

    #[test]
    fn the_same_seed_writes_the_same_text_and_another_seed_another() {
        let first = write("tell me", style()).0;
        assert!(!first.is_empty() && !first.starts_with(' '), "{first:?}");
        assert_eq!(first, write("tell me", style()).0);
        let others: BTreeSet<_> = (0..8).map(|seed| write("tell me", Style { seed, ..style() }).0).collect();
        assert!(others.len() > 1, "{others:?}");
    }

    #[test]
    fn at_temperature_zero_the_seed_does_not_matter() {
        let cold = |seed| write("the cat", Style { temperature: 0.0, seed, ..style() }).0;
        assert_eq!(cold(1), cold(2));
    }

    #[test]
    fn a_text_has_no_more_tokens_than_it_may_and_none_of_its_stop_strings() {
        let (text, end) = write("the dog", Style { max_tokens: 3, ..style() });
        assert!(matches!(end, Step::Full(_)) && tokens::split(&text).count() <= 3, "{text:?}");
        for seed in 0..20 {
            let (text, _) = write("the dog", Style { stop: vec![" the".to_owned()], seed, ..style() });
            assert!(!text.contains(" the"), "{text:?}");
        }
    }

    #[test]
    fn a_narrow_nucleus_takes_only_the_likeliest() {
        assert_eq!(nucleus(&[0.2, 0.5, 0.3], 0.6), 0.3);
        assert_eq!(nucleus(&[0.2, 0.5, 0.3], 0.4), 0.5);
        let texts = |top_p| {
            (0..20).map(|seed| write("the cat", Style { top_p, seed, ..style() }).0).collect::<BTreeSet<_>>().len()
        };
        assert!(texts(0.1) < texts(1.0));
    }
}
