//! Patterns of keys and names, as Redis matches them: `*`, `?`, `[a-z]`, `[^a-z]` and `\` in front of what is to be
//! taken literally.

use std::ops::RangeInclusive;

/// Most bytes of a pattern. With the limit on keys it bounds what one match costs.
pub(super) const PATTERN_BYTES_MAX: usize = 1024;

/// A pattern, read once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Glob {
    tokens: Vec<Token>,
    /// Of the pattern as it was written.
    bytes: usize,
    ignores_case: bool,
}

/// The pattern is too long.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("pattern has {bytes} bytes, the limit is {PATTERN_BYTES_MAX}")]
pub(super) struct PatternTooLong {
    bytes: usize,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Token {
    /// Any number of bytes.
    Many,
    /// Any byte.
    Any,
    Byte(u8),
    /// A byte of these ranges, or none of them.
    Class {
        ranges: Vec<RangeInclusive<u8>>,
        is_negated: bool,
    },
}

impl Glob {
    /// Reads `pattern`. Every pattern has a meaning: what is not closed ends with the pattern.
    ///
    /// # Errors
    /// [`PatternTooLong`].
    pub(super) fn new(pattern: &[u8]) -> Result<Self, PatternTooLong> {
        if pattern.len() > PATTERN_BYTES_MAX {
            return Err(PatternTooLong { bytes: pattern.len() });
        }
        let mut tokens = Vec::with_capacity(pattern.len());
        let mut rest = pattern;
        while let Some((&first, after)) = rest.split_first() {
            let token;
            (token, rest) = match (first, after) {
                (b'*', _) => (Token::Many, after),
                (b'?', _) => (Token::Any, after),
                (b'[', _) => class(after),
                (b'\\', [escaped, after @ ..]) => (Token::Byte(*escaped), after),
                (byte, _) => (Token::Byte(byte), after),
            };
            if token != Token::Many || tokens.last() != Some(&Token::Many) {
                tokens.push(token);
            }
        }
        Ok(Self { tokens, bytes: pattern.len(), ignores_case: false })
    }

    /// As [`Glob::new`], for a lower-case text: upper case in the pattern counts as lower case.
    ///
    /// # Errors
    /// [`PatternTooLong`].
    pub(super) fn ignoring_case(pattern: &[u8]) -> Result<Self, PatternTooLong> {
        Ok(Self { ignores_case: true, ..Self::new(&pattern.to_ascii_lowercase())? })
    }

    /// At most how many steps a match of `text_bytes` takes: the product of the lengths.
    pub(super) fn steps_max(&self, text_bytes: usize) -> usize {
        self.bytes.saturating_mul(text_bytes)
    }

    /// Whether all of `text` matches. When a token fails, only the last star is given another byte: what an earlier
    /// one might take, the last one can take as well. So nothing is tried twice from the same place.
    pub(super) fn matches(&self, text: &[u8]) -> bool {
        let (mut at, mut from) = (0, 0);
        let mut star = None;
        while from < text.len() {
            match self.tokens.get(at) {
                Some(Token::Many) => {
                    star = Some((at, from));
                    at += 1;
                }
                Some(token) if self.fits(token, text[from]) => {
                    at += 1;
                    from += 1;
                }
                _ => {
                    let Some((star_at, star_from)) = star else { return false };
                    star = Some((star_at, star_from + 1));
                    (at, from) = (star_at + 1, star_from + 1);
                }
            }
        }
        self.tokens[at..].iter().all(|token| *token == Token::Many)
    }

    fn fits(&self, token: &Token, byte: u8) -> bool {
        let byte = if self.ignores_case { byte.to_ascii_lowercase() } else { byte };
        match token {
            Token::Many | Token::Any => true,
            Token::Byte(expected) => *expected == byte,
            Token::Class { ranges, is_negated } => {
                ranges.iter().any(|range| range.contains(&byte)) != *is_negated
            }
        }
    }
}

/// From behind `[` to behind `]`.
fn class(pattern: &[u8]) -> (Token, &[u8]) {
    let (is_negated, mut rest) = match pattern {
        [b'^', rest @ ..] => (true, rest),
        _ => (false, pattern),
    };
    let mut ranges = Vec::new();
    loop {
        let range;
        (range, rest) = match rest {
            [] => break,
            [b']', after @ ..] => {
                rest = after;
                break;
            }
            [b'\\', escaped, after @ ..] => (*escaped..=*escaped, after),
            [first, b'-', last, after @ ..] => (*first.min(last)..=*first.max(last), after),
            [byte, after @ ..] => (*byte..=*byte, after),
        };
        ranges.push(range);
    }
    (Token::Class { ranges, is_negated }, rest)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn matches(pattern: &str, text: &str) -> bool {
        Glob::new(pattern.as_bytes()).unwrap().matches(text.as_bytes())
    }

    #[test]
    fn patterns_match_as_in_redis() {
        let yes = [
            ("*", ""),
            ("*", "save"),
            ("s?ve", "save"),
            ("*a*e", "save"),
            ("app*", "appendonly"),
            ("", ""),
            ("h[ae]llo", "hello"),
            ("h[^x]llo", "hello"),
            ("h[a-e]llo", "hello"),
            ("h[e-a]llo", "hello"),
            ("\\*", "*"),
            ("a\\", "a\\"),
            ("[\\]]", "]"),
            ("[a", "a"),
            ("**a", "a"),
            ("[^]x", "ax"),
            ("[-a]", "-"),
            ("*[0-9]", "key7"),
        ];
        for (pattern, text) in yes {
            assert!(matches(pattern, text), "{pattern} {text}");
        }
        let no = [
            ("", "a"),
            ("?", ""),
            ("sav", "save"),
            ("*x", "save"),
            ("save?", "save"),
            ("h[^e]llo", "hello"),
            ("[]", "a"),
            ("\\*", "a"),
            ("[a-c]", "d"),
            ("A", "a"),
            ("[]", ""),
        ];
        for (pattern, text) in no {
            assert!(!matches(pattern, text), "{pattern} {text}");
        }
        assert!(Glob::ignoring_case(b"APP*[X-Z]").unwrap().matches(b"appendonly"));
    }

    #[test]
    fn an_over_long_pattern_is_refused_and_the_longest_is_not_slow() {
        assert!(Glob::new(&[b'a'; PATTERN_BYTES_MAX + 1]).is_err());
        let pattern = Glob::new(&b"*a".repeat(PATTERN_BYTES_MAX / 2)).unwrap();
        assert!(!pattern.matches(&[b'b'; 300]));
        assert!(pattern.matches(&[b'a'; 4096]));
    }

    /// What the words of the module say, without a thought for time.
    fn matches_slowly(tokens: &[Token], text: &[u8]) -> bool {
        let glob = Glob { tokens: Vec::new(), bytes: 0, ignores_case: false };
        match (tokens, text) {
            ([], _) => text.is_empty(),
            ([Token::Many, rest @ ..], _) => {
                (0..=text.len()).any(|taken| matches_slowly(rest, &text[taken..]))
            }
            ([token, rest @ ..], [byte, text @ ..]) => glob.fits(token, *byte) && matches_slowly(rest, text),
            (_, []) => false,
        }
    }

    proptest! {
        #[test]
        fn the_quick_match_agrees_with_the_plain_one(pattern in "[ab*?\\[\\]^\\\\-]{0,10}", text in "[ab\\[-]{0,8}") {
            let glob = Glob::new(pattern.as_bytes()).unwrap();
            prop_assert_eq!(glob.matches(text.as_bytes()), matches_slowly(&glob.tokens, text.as_bytes()));
        }
    }
}
