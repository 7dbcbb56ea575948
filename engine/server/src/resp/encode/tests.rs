use bytes::Bytes;
use proptest::prelude::*;
use redis_protocol::resp2::decode::decode as decode2;
use redis_protocol::resp2::types::OwnedFrame as Frame2;
use redis_protocol::resp3::decode::complete::decode as decode3;
use redis_protocol::resp3::types::OwnedFrame as Frame3;

use super::*;

fn encoded(reply: &Reply, protocol: Protocol) -> BytesMut {
    let mut out = BytesMut::new();
    encode(reply, protocol, &mut out);
    out
}

/// Keys of a map are distinct and in order of the decoder, so that its maps, which have none, can be compared.
fn any_reply() -> impl Strategy<Value = Reply> {
    let leaf = prop_oneof![
        Just(Reply::Simple("OK")),
        "[A-Z]{1,5} [ -~]{0,9}".prop_map(Reply::Error),
        any::<i64>().prop_map(Reply::Integer),
        prop::collection::vec(any::<u8>(), 0..20).prop_map(|bytes| Reply::Bulk(Bytes::from(bytes))),
        "[ -~\r\n]{0,20}".prop_map(Reply::Verbatim),
        Just(Reply::Null),
    ];
    leaf.prop_recursive(3, 40, 6, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..6).prop_map(Reply::Array),
            prop::collection::vec(any::<i64>(), 0..6).prop_map(|numbers| {
                let distinct: std::collections::BTreeSet<_> = numbers.into_iter().collect();
                Reply::Set(distinct.into_iter().map(Reply::Integer).collect())
            }),
            prop::collection::btree_map("[a-z]{1,5}", inner, 0..5).prop_map(|pairs| {
                Reply::Map(pairs.into_iter().map(|(key, value)| (Reply::Bulk(key.into()), value)).collect())
            }),
        ]
    })
}

fn frame2(reply: &Reply) -> Frame2 {
    match reply {
        Reply::Simple(text) => Frame2::SimpleString(text.as_bytes().to_vec()),
        Reply::Error(text) => Frame2::Error(text.clone()),
        Reply::Integer(number) => Frame2::Integer(*number),
        Reply::Bulk(value) => Frame2::BulkString(value.to_vec()),
        Reply::Verbatim(text) => Frame2::BulkString(text.as_bytes().to_vec()),
        Reply::Null => Frame2::Null,
        Reply::Array(items) | Reply::Set(items) => Frame2::Array(items.iter().map(frame2).collect()),
        Reply::Map(pairs) => {
            Frame2::Array(pairs.iter().flat_map(|(key, value)| [frame2(key), frame2(value)]).collect())
        }
    }
}

fn frame3(reply: &Reply) -> Frame3 {
    use redis_protocol::resp3::types::VerbatimStringFormat::Text;
    let attributes = None;
    match reply {
        Reply::Simple(text) => Frame3::SimpleString { data: text.as_bytes().to_vec(), attributes },
        Reply::Error(text) => Frame3::SimpleError { data: text.clone(), attributes },
        Reply::Integer(number) => Frame3::Number { data: *number, attributes },
        Reply::Bulk(value) => Frame3::BlobString { data: value.to_vec(), attributes },
        Reply::Verbatim(text) => {
            Frame3::VerbatimString { data: text.as_bytes().to_vec(), format: Text, attributes }
        }
        Reply::Null => Frame3::Null,
        Reply::Array(items) => Frame3::Array { data: items.iter().map(frame3).collect(), attributes },
        Reply::Set(items) => Frame3::Set { data: items.iter().map(frame3).collect(), attributes },
        Reply::Map(pairs) => {
            let data = pairs.iter().map(|(key, value)| (frame3(key), frame3(value))).collect();
            Frame3::Map { data, attributes }
        }
    }
}

proptest! {
    #[test]
    fn another_implementation_reads_what_was_meant(reply in any_reply()) {
        let bytes = encoded(&reply, Protocol::Resp2);
        prop_assert_eq!(decode2(&bytes).unwrap().unwrap(), (frame2(&reply), bytes.len()));
        let bytes = encoded(&reply, Protocol::Resp3);
        prop_assert_eq!(decode3(&bytes).unwrap().unwrap(), (frame3(&reply), bytes.len()));
    }
}

#[test]
fn every_kind_has_its_form_in_both_versions() {
    let map = Reply::Map(vec![(Reply::Simple("b"), Reply::Null), (Reply::Simple("a"), Reply::Integer(-1))]);
    let cases = [
        (Reply::Null, "$-1\r\n", "_\r\n"),
        (map, "*4\r\n+b\r\n$-1\r\n+a\r\n:-1\r\n", "%2\r\n+b\r\n_\r\n+a\r\n:-1\r\n"),
        (Reply::Set(vec![Reply::Integer(1)]), "*1\r\n:1\r\n", "~1\r\n:1\r\n"),
        (Reply::Verbatim("a\n".to_owned()), "$2\r\na\n\r\n", "=6\r\ntxt:a\n\r\n"),
        (Reply::Error("ERR no".to_owned()), "-ERR no\r\n", "-ERR no\r\n"),
        (Reply::Bulk(Bytes::new()), "$0\r\n\r\n", "$0\r\n\r\n"),
    ];
    for (reply, resp2, resp3) in cases {
        assert_eq!(encoded(&reply, Protocol::Resp2), resp2);
        assert_eq!(encoded(&reply, Protocol::Resp3), resp3);
    }
}
