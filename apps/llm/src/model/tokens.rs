//! Text to tokens and back: a token is a word, a number or one other character, with the space before it. Tokens put one after
//! another are the text again, so nothing has to be guessed when they are written out.

/// Splits `text` into tokens; their concatenation is `text`.
pub fn split(text: &str) -> impl Iterator<Item = &str> {
    let mut rest = text;
    std::iter::from_fn(move || {
        let length = first(rest)?;
        let (token, after) = rest.split_at(length);
        rest = after;
        Some(token)
    })
}

/// How many bytes the first token has; `None` at the end of the text.
fn first(text: &str) -> Option<usize> {
    let mut characters = text.char_indices().peekable();
    let (_, mut lead) = characters.next()?;
    if lead == ' ' {
        // A space belongs to what follows it, unless that is more white space.
        match characters.peek() {
            Some(&(_, next)) if !next.is_whitespace() => {
                lead = next;
                characters.next();
            }
            _ => return Some(1),
        }
    }
    let same: fn(char) -> bool = if lead.is_alphabetic() {
        char::is_alphabetic
    } else if lead.is_numeric() {
        char::is_numeric
    } else {
        |_| false
    };
    while let Some((at, character)) = characters.next() {
        let joined = lead.is_alphabetic()
            && matches!(character, '\'' | '’' | '-')
            && characters.peek().is_some_and(|(_, next)| next.is_alphabetic());
        if !same(character) && !joined {
            return Some(at);
        }
    }
    Some(text.len())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_token_is_a_word_a_number_or_a_sign_with_the_space_before_it() {
        let tokens: Vec<_> = split("It's a well-known truth, 20 miles off.\n\"Yes\"  —").collect();
        assert_eq!(
            tokens,
            [
                "It's",
                " a",
                " well-known",
                " truth",
                ",",
                " 20",
                " miles",
                " off",
                ".",
                "\n",
                "\"",
                "Yes",
                "\"",
                " ",
                " —"
            ]
        );
    }

    proptest! {
        #[test]
        fn tokens_put_together_are_the_text(text in ".{0,80}") {
            prop_assert_eq!(split(&text).collect::<String>(), text);
        }
    }
}
