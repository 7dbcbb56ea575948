use proptest::prelude::*;

use super::*;

/// Small limits, so that tests reach them with few bytes.
fn limits() -> Limits {
    Limits {
        elements_max: 8,
        bulk_bytes_max: 40,
        request_bytes_max: 200,
        line_bytes_max: 50,
        ..Limits::default()
    }
}

/// What a stream gives: its requests, then perhaps an error.
type Outcome = (Vec<Vec<Vec<u8>>>, Option<ProtocolError>);

/// Feeds `chunks` one after the other.
fn split(chunks: &[&[u8]], limits: Limits) -> Outcome {
    let mut splitter = Splitter::new(limits);
    let mut requests = Vec::new();
    for chunk in chunks {
        splitter.buffer_mut().extend_from_slice(chunk);
        loop {
            match splitter.next_request() {
                Ok(Some(request)) => requests.push(request.args.iter().map(|arg| arg.to_vec()).collect()),
                Ok(None) => break,
                Err(error) => return (requests, Some(error)),
            }
        }
    }
    (requests, None)
}

fn error_of(bytes: &[u8]) -> ProtocolError {
    split(&[bytes], limits()).1.unwrap()
}

fn array(args: &[Vec<u8>]) -> Vec<u8> {
    let mut bytes = format!("*{}\r\n", args.len()).into_bytes();
    for arg in args {
        bytes.extend_from_slice(format!("${}\r\n", arg.len()).as_bytes());
        bytes.extend_from_slice(arg);
        bytes.extend_from_slice(b"\r\n");
    }
    bytes
}

/// The same language, read at once and without state: what the splitter has to agree with.
fn split_at_once(mut bytes: &[u8]) -> Vec<Vec<Vec<u8>>> {
    fn line<'a>(bytes: &mut &'a [u8]) -> Option<&'a [u8]> {
        let end = bytes.windows(2).position(|pair| pair == b"\r\n")?;
        let line = &bytes[..end];
        *bytes = &bytes[end + 2..];
        Some(line)
    }
    fn length(line: &[u8]) -> usize {
        std::str::from_utf8(&line[1..]).unwrap().parse().unwrap()
    }
    let mut requests = Vec::new();
    'stream: while let Some(header) = line(&mut bytes) {
        let mut request = Vec::new();
        for _ in 0..length(header) {
            let Some(bulk) = line(&mut bytes).map(length) else { break 'stream };
            if bytes.len() < bulk + 2 {
                break 'stream;
            }
            request.push(bytes[..bulk].to_vec());
            bytes = &bytes[bulk + 2..];
        }
        if !request.is_empty() {
            requests.push(request);
        }
    }
    requests
}

proptest! {
    #[test]
    fn any_cut_of_the_stream_gives_the_same_requests(
        requests in prop::collection::vec(
            prop::collection::vec(prop::collection::vec(any::<u8>(), 0..12), 0..6), 0..6),
        cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..8),
        lost in 0..20usize,
    ) {
        let mut stream: Vec<u8> = requests.iter().flat_map(|args| array(args)).collect();
        stream.truncate(stream.len().saturating_sub(lost));
        let mut places: Vec<_> = cuts.iter().map(|cut| cut.index(stream.len() + 1)).collect();
        places.push(stream.len());
        places.sort_unstable();
        let mut from = 0;
        let mut chunks = Vec::new();
        for place in places {
            chunks.push(&stream[from..place]);
            from = place;
        }
        let expected = split_at_once(&stream);
        prop_assert_eq!(split(&chunks, limits()), (expected, None));
    }

    #[test]
    fn arbitrary_bytes_split_alike_whole_and_byte_by_byte(
        stream in prop::collection::vec(prop::sample::select(&b"*$-012 \r\n\"'aA\\x"[..]), 0..160),
    ) {
        let bytes: Vec<&[u8]> = stream.chunks(1).collect();
        prop_assert_eq!(split(&bytes, limits()), split(&[&stream], limits()));
    }
}

#[test]
fn malformed_requests_are_refused_in_the_words_of_redis() {
    let cases: [(&[u8], &str); 14] = [
        (b"*a\r\n", "invalid multibulk length"),
        (b"*9\r\n", "invalid multibulk length"),
        (b"*01\r\n", "invalid multibulk length"),
        (b"*99999999999999999999\r\n", "invalid multibulk length"),
        (b"*1\r$", "invalid multibulk length"),
        (b"*1\r\n+OK\r\n", "expected '$', got '+'"),
        (b"*2\r\n*1\r\n", "expected '$', got '*'"),
        (b"*1\r\n$-1\r\n", "invalid bulk length"),
        (b"*1\r\n$41\r\n", "invalid bulk length"),
        (b"*1\r\n$\r\n", "invalid bulk length"),
        (b"*1\r\n$1\r\nab\r\n", "expected CRLF after bulk string"),
        (b"get \"a\r\n", "unbalanced quotes in request"),
        (&[b'a'; 51], "too big inline request"),
        (&[b'*'; 51], "too big mbulk count string"),
    ];
    for (bytes, text) in cases {
        assert_eq!(error_of(bytes).to_string(), format!("Protocol error: {text}"), "{bytes:?}");
    }
    let bulk_line = [&b"*1\r\n$"[..], &[b'1'; 51]].concat();
    assert_eq!(error_of(&bulk_line), ProtocolError::BulkLine);
    let five_bulks =
        [b"*8\r\n".to_vec(), [&b"$40\r\n"[..], &[b'x'; 40], b"\r\n"].concat().repeat(5)].concat();
    assert_eq!(error_of(&five_bulks), ProtocolError::RequestBytes);
}

#[test]
fn a_count_or_length_alone_takes_no_memory() {
    let limits = Limits::default();
    for header in ["*65536\r\n".to_owned(), format!("*1\r\n${}\r\n", limits.bulk_bytes_max)] {
        let mut splitter = Splitter::new(limits);
        splitter.buffer_mut().extend_from_slice(header.as_bytes());
        assert_eq!(splitter.next_request(), Ok(None));
        assert!(splitter.buffer.capacity() < 128);
        assert!(splitter.arguments.capacity() <= ARGUMENTS_EXPECTED_MAX);
    }
    let (requests, error) = split(&[b"*1\r\n$2147483648\r\n"], limits);
    assert_eq!((requests.len(), error), (0, Some(ProtocolError::BulkLength)));
}

#[test]
fn a_megabyte_of_nested_array_headers_is_one_error() {
    let nested = b"*1\r\n".repeat(262_144);
    let (requests, error) = split(&[&nested], Limits::default());
    assert_eq!((requests.len(), error), (0, Some(ProtocolError::BulkExpected { found: b'*' })));
}

#[test]
fn empty_requests_ask_for_nothing() {
    let (requests, error) = split(&[b"*0\r\n*-1\r\n\r\n  \n*1\r\n$4\r\nPING\r\nPING\r\n"], limits());
    assert_eq!((requests, error), (vec![vec![b"PING".to_vec()], vec![b"PING".to_vec()]], None));
}

#[test]
fn a_long_line_is_searched_once_however_it_arrives() {
    let mut splitter = Splitter::new(Limits::default());
    for _ in 0..1000 {
        splitter.buffer_mut().extend_from_slice(b"abcdefgh");
        assert_eq!(splitter.next_request(), Ok(None));
        assert_eq!(splitter.line_scanned, splitter.buffer.len());
    }
}
