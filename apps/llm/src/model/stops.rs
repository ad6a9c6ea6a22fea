//! Stop strings in a text that arrives in pieces: what might be the beginning of one is held back until that is decided.

/// Watches a text for stop strings.
#[derive(Debug)]
pub struct Stops {
    stops: Vec<String>,
    held: String,
}

impl Stops {
    /// Watches for any of `stops`; empty ones never match.
    pub fn new(mut stops: Vec<String>) -> Self {
        stops.retain(|stop| !stop.is_empty());
        Self { stops, held: String::new() }
    }

    /// Takes the next piece; answers what is safe to show, and whether a stop string (which is never shown) ended the text.
    pub fn push(&mut self, piece: &str) -> (String, bool) {
        self.held.push_str(piece);
        if let Some(at) = self.stops.iter().filter_map(|stop| self.held.find(stop.as_str())).min() {
            self.held.truncate(at);
            return (std::mem::take(&mut self.held), true);
        }
        let keep = self.held.char_indices().map(|(at, _)| at).find(|at| {
            let tail = self.held.get(*at..).unwrap_or_default();
            self.stops.iter().any(|stop| stop.starts_with(tail))
        });
        let rest = self.held.split_off(keep.unwrap_or(self.held.len()));
        (std::mem::replace(&mut self.held, rest), false)
    }

    /// What is still held back when the text has ended.
    pub fn rest(&mut self) -> String {
        std::mem::take(&mut self.held)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_stop_string_is_found_across_pieces_and_never_shown() {
        let mut stops = Stops::new(vec!["END".to_owned(), String::new()]);
        assert_eq!(stops.push("one E"), ("one ".to_owned(), false));
        assert_eq!(stops.push("N"), (String::new(), false));
        assert_eq!(stops.push("T EN"), ("ENT ".to_owned(), false));
        assert_eq!(stops.push("D two"), (String::new(), true));
    }

    proptest! {
        #[test]
        fn pieces_give_what_the_whole_text_would(pieces in prop::collection::vec("[abé]{0,4}", 0..12), stop in "[abé]{1,3}") {
            let text: String = pieces.concat();
            let wanted = text.split(&stop).next().unwrap();
            let mut stops = Stops::new(vec![stop.clone()]);
            let mut shown = String::new();
            let mut ended = false;
            for piece in &pieces {
                let (safe, stopped) = stops.push(piece);
                shown.push_str(&safe);
                if stopped {
                    ended = true;
                    break;
                }
            }
            if !ended {
                shown.push_str(&stops.rest());
            }
            prop_assert_eq!(shown, wanted);
            prop_assert_eq!(ended, text.contains(&stop));
        }
    }
}
