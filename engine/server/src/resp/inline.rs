//! Splits an inline request into arguments as Redis does: blanks between them, single and double quotes.

use bytes::Bytes;

/// A quote is not closed, or is followed by something else than a blank.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct UnbalancedQuotes;

/// The arguments of `line`; none for an empty line. Plain arguments share the line's memory.
pub(super) fn split(line: &Bytes) -> Result<Vec<Bytes>, UnbalancedQuotes> {
    let mut args = Vec::new();
    let mut at = 0;
    loop {
        while line.get(at).is_some_and(|&byte| is_blank(byte)) {
            at += 1;
        }
        if at == line.len() {
            return Ok(args);
        }
        let plain = line[at..].iter().position(|&b| is_blank(b) || b == b'"' || b == b'\'');
        let end = plain.map_or(line.len(), |plain| at + plain);
        if line.get(end).is_none_or(|&byte| is_blank(byte)) {
            args.push(line.slice(at..end));
            at = end;
        } else {
            let (arg, next) = quoted(line, at)?;
            args.push(arg.into());
            at = next;
        }
    }
}

/// Reads one argument that holds quotes, from `at`. Returns it and where it ends.
fn quoted(line: &[u8], mut at: usize) -> Result<(Vec<u8>, usize), UnbalancedQuotes> {
    let mut arg = Vec::new();
    loop {
        match line.get(at) {
            None => return Ok((arg, at)),
            Some(&byte) if is_blank(byte) => return Ok((arg, at)),
            Some(b'"') => at = double_quoted(line, at + 1, &mut arg)?,
            Some(b'\'') => at = single_quoted(line, at + 1, &mut arg)?,
            Some(&byte) => {
                arg.push(byte);
                at += 1;
            }
        }
    }
}

/// From behind the opening quote to behind the closing one, with the escapes Redis knows.
fn double_quoted(line: &[u8], mut at: usize, arg: &mut Vec<u8>) -> Result<usize, UnbalancedQuotes> {
    loop {
        match line[at..] {
            [] => return Err(UnbalancedQuotes),
            [b'"', ..] => return closed(line, at + 1),
            [b'\\', b'x', high, low, ..] if high.is_ascii_hexdigit() && low.is_ascii_hexdigit() => {
                arg.push(hex(high) << 4 | hex(low));
                at += 4;
            }
            [b'\\', escaped, ..] => {
                arg.push(match escaped {
                    b'n' => b'\n',
                    b'r' => b'\r',
                    b't' => b'\t',
                    b'b' => 0x08,
                    b'a' => 0x07,
                    other => other,
                });
                at += 2;
            }
            [byte, ..] => {
                arg.push(byte);
                at += 1;
            }
        }
    }
}

fn single_quoted(line: &[u8], mut at: usize, arg: &mut Vec<u8>) -> Result<usize, UnbalancedQuotes> {
    loop {
        match line[at..] {
            [] => return Err(UnbalancedQuotes),
            [b'\'', ..] => return closed(line, at + 1),
            [b'\\', b'\'', ..] => {
                arg.push(b'\'');
                at += 2;
            }
            [byte, ..] => {
                arg.push(byte);
                at += 1;
            }
        }
    }
}

/// A closing quote must end its argument.
fn closed(line: &[u8], at: usize) -> Result<usize, UnbalancedQuotes> {
    if line.get(at).is_none_or(|&byte| is_blank(byte)) { Ok(at) } else { Err(UnbalancedQuotes) }
}

/// What C's `isspace` calls a blank.
fn is_blank(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t'..=b'\r')
}

fn hex(digit: u8) -> u8 {
    match digit {
        b'0'..=b'9' => digit - b'0',
        _ => (digit | 0x20) - b'a' + 10,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(line: &'static [u8]) -> Vec<Bytes> {
        split(&Bytes::from_static(line)).unwrap()
    }

    #[test]
    fn blanks_separate_and_quotes_hold_together() {
        assert_eq!(words(b"SET  a\tb\r\n"), ["SET", "a", "b"]);
        assert_eq!(words(b"  \r\n"), Vec::<Bytes>::new());
        assert_eq!(words(br#"set "a b" 'c d' """#), ["set", "a b", "c d", ""]);
        assert_eq!(words(br#""\x41\n\"\q" 'it\'s' x"y""#), ["A\n\"q", "it's", "xy"]);
        assert_eq!(words(br#""\xZZ""#), ["xZZ"]);
    }

    #[test]
    fn open_quotes_and_text_behind_a_quote_are_refused() {
        for line in [&b"get \"a"[..], b"get 'a", b"get \"a\"b", b"get 'a'b", b"\"\\"] {
            assert_eq!(split(&Bytes::from_static(line)), Err(UnbalancedQuotes), "{line:?}");
        }
    }
}
