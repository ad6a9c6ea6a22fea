//! Reads server-sent events (HTML standard, "Server-sent events") from bytes that arrive in pieces; only the `data` of events
//! matters here.

/// Bytes that one event may have; one of a model has some hundred.
const EVENT_BYTES: usize = 1 << 20;

/// An event is too large to be one of a model's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TooLarge;

/// Collects events from pieces of a stream.
#[derive(Debug, Default)]
pub struct Parser {
    line: Vec<u8>,
    data: String,
    has_data: bool,
    after_return: bool,
}

impl Parser {
    /// Takes the next bytes; answers the data of the events that they complete.
    ///
    /// # Errors
    /// An event has more than a mebibyte.
    pub fn push(&mut self, bytes: &[u8]) -> Result<Vec<String>, TooLarge> {
        let mut events = Vec::new();
        for byte in bytes {
            // A line ends with CR, LF, or both.
            let second_half = std::mem::replace(&mut self.after_return, *byte == b'\r') && *byte == b'\n';
            match byte {
                b'\n' if second_half => {}
                b'\r' | b'\n' => events.extend(self.end_line()),
                _ if self.line.len() + self.data.len() >= EVENT_BYTES => return Err(TooLarge),
                _ => self.line.push(*byte),
            }
        }
        Ok(events)
    }

    fn end_line(&mut self) -> Option<String> {
        let line = std::mem::take(&mut self.line);
        let line = String::from_utf8_lossy(&line);
        let line = line.strip_prefix('\u{feff}').unwrap_or(&line);
        if line.is_empty() {
            let data = std::mem::take(&mut self.data);
            return std::mem::take(&mut self.has_data).then_some(data);
        }
        let (field, value) = line.split_once(':').unwrap_or((line, ""));
        if field == "data" {
            if std::mem::replace(&mut self.has_data, true) {
                self.data.push('\n');
            }
            self.data.push_str(value.strip_prefix(' ').unwrap_or(value));
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn all(text: &str) -> Vec<String> {
        Parser::default().push(text.as_bytes()).unwrap()
    }

    #[test]
    fn the_data_of_an_event_is_its_lines_of_data() {
        assert_eq!(all("data: one\n\n"), ["one"]);
        assert_eq!(all("\u{feff}data:one\r\rdata: two\r\n\r\n"), ["one", "two"]);
        assert_eq!(all("event: x\ndata: a\ndata:  b\n: comment\nid: 3\n\n"), ["a\n b"]);
        assert_eq!(all("data\n\n"), [""]);
        assert!(all("event: x\n\n: only a comment\n\ndata: unfinished\n").is_empty());
    }

    #[test]
    fn an_endless_event_is_refused() {
        let mut parser = Parser::default();
        let piece = vec![b'x'; 65_536];
        assert!((0..20).any(|_| parser.push(&piece) == Err(TooLarge)));
    }

    proptest! {
        #[test]
        fn where_the_pieces_are_cut_does_not_matter(text in "(data: ?[a-cé]{0,3}|event: x|:|\r|\n|\r\n){0,12}", cuts in prop::collection::vec(0_usize..80, 0..6)) {
            let mut parser = Parser::default();
            let bytes = text.as_bytes();
            let mut cuts: Vec<_> = cuts.into_iter().map(|cut| cut.min(bytes.len())).chain([0, bytes.len()]).collect();
            cuts.sort_unstable();
            let mut events = Vec::new();
            for pair in cuts.windows(2) {
                events.extend(parser.push(&bytes[pair[0]..pair[1]]).unwrap());
            }
            prop_assert_eq!(events, all(&text));
        }
    }
}
