//! The same values as redis-rs reads, however the bytes are cut; and refusals.

use rand::rngs::StdRng;
use rand::{Rng, RngExt, SeedableRng};

use super::*;

/// One of each, nested ones among them.
const REPLIES: &[&[u8]] = &[
    b"+OK\r\n",
    b"+PONG\r\n",
    b"+\r\n",
    b":0\r\n",
    b":-9223372036854775808\r\n",
    b"$0\r\n\r\n",
    b"$-1\r\n",
    b"$6\r\na\r\nb\r\n\r\n",
    b"$15\r\n$1\r\nx\r\n$2\r\nyz\r\n\r\n",
    b"$4\r\n\x00\xff\n\r\r\n",
    b"*-1\r\n",
    b"*0\r\n",
    b"*3\r\n$1\r\na\r\n:1\r\n*1\r\n+x\r\n",
    b"-ERR no such thing\r\n",
    b"-WRONGTYPE Operation\r\n",
    b"-LOADING\r\n",
    b"_\r\n",
    b"#t\r\n",
    b"#f\r\n",
    b",3.25\r\n",
    b",-inf\r\n",
    b"(3492890328409238509324850943850943825024385\r\n",
    b"!21\r\nSYNTAX invalid syntax\r\n",
    b"=15\r\ntxt:Some string\r\n",
    b"=8\r\nmkd:*b*\n\r\n",
    b"%2\r\n+a\r\n:1\r\n+b\r\n*2\r\n_\r\n#t\r\n",
    b"%0\r\n",
    b"~2\r\n$1\r\na\r\n$1\r\nb\r\n",
    b"|1\r\n+ttl\r\n:3600\r\n$5\r\nvalue\r\n",
    b"*2\r\n|1\r\n+k\r\n+v\r\n:1\r\n:2\r\n",
];

fn decode_in_pieces(bytes: &[u8], mut piece: impl FnMut(usize) -> usize) -> Result<Vec<Value>> {
    let (mut decoder, mut values, mut rest) = (Decoder::default(), Vec::new(), bytes);
    while !rest.is_empty() {
        let (mut input, later) = rest.split_at(piece(rest.len()));
        while let Some(value) = decoder.decode(&mut input)? {
            values.push(value);
        }
        assert!(input.is_empty(), "all of a piece is taken");
        rest = later;
    }
    Ok(values)
}

#[test]
fn every_kind_of_reply_is_read_as_redis_rs_reads_it() {
    for reply in REPLIES {
        let expected = redis::parse_redis_value(reply).expect("redis-rs reads it");
        let text = String::from_utf8_lossy(reply);
        assert_eq!(decode_in_pieces(reply, |all| all).as_deref(), Ok(&[expected.clone()][..]), "{text}");
        assert_eq!(decode_in_pieces(reply, |_| 1).as_deref(), Ok(&[expected][..]), "byte by byte: {text}");
    }
}

#[test]
fn it_makes_no_difference_where_the_bytes_are_cut() {
    let seed = rand::rng().random();
    println!("seed {seed}");
    let mut random = StdRng::seed_from_u64(seed);
    for _ in 0..300 {
        let replies: Vec<Vec<u8>> =
            (0..random.random_range(1..20)).map(|_| any_reply(&mut random, 0)).collect();
        let expected: Vec<Value> =
            replies.iter().map(|reply| redis::parse_redis_value(reply).expect("valid")).collect();
        let longest = random.random_range(1..200);
        let read = decode_in_pieces(&replies.concat(), |all| random.random_range(1..=longest).min(all));
        assert_eq!(read, Ok(expected), "seed {seed}");
    }
}

/// A large value has few cuts that matter, so it is written here and not in the table.
#[test]
fn large_strings_and_long_arrays_arrive_whole() {
    let large: Vec<u8> = (0..3_000_000_u32).map(|at| at as u8).collect();
    let mut bytes = format!("*100001\r\n${}\r\n", large.len()).into_bytes();
    bytes.extend_from_slice(&large);
    bytes.extend_from_slice(b"\r\n");
    bytes.extend_from_slice(&b":7\r\n".repeat(100_000));
    let values = decode_in_pieces(&bytes, |all| all.min(65_536)).expect("valid");
    let [Value::Array(items)] = &values[..] else { panic!("one array") };
    assert_eq!(items[0], Value::BulkString(large));
    assert_eq!((items.len(), &items[100_000]), (100_001, &Value::Int(7)));
}

#[test]
fn pushes_are_told_apart_from_replies() {
    let values = decode_in_pieces(b">2\r\n+invalidate\r\n*1\r\n$1\r\nk\r\n:1\r\n", |_| 1).expect("valid");
    assert!(matches!(values[..], [Value::Push { .. }, Value::Int(1)]), "{values:?}");
}

#[test]
fn an_error_may_quote_bytes_that_are_no_text() {
    let values = decode_in_pieces(b"-ERR unknown command '\xff'\r\n+\xfe\r\n", |all| all).expect("valid");
    assert!(matches!(&values[0], Value::ServerError(error) if error.code() == "ERR"));
    assert_eq!(values[1], Value::SimpleString("\u{fffd}".to_owned()));
}

#[test]
fn what_is_not_resp_is_refused() {
    let deep = b"*1\r\n".repeat(MAX_DEPTH + 1);
    let refused: &[&[u8]] = &[
        b"HTTP/1.1 400 Bad Request\r\n",
        b"\r\n",
        b"+OK\n",
        b":\r\n",
        b":1x\r\n",
        b":9223372036854775808\r\n",
        b"$-2\r\n",
        b"$3\r\nabcd\r\n",
        b"$99999999999\r\n",
        b"=-1\r\n",
        b"=2\r\nab\r\n",
        b"%-1\r\n",
        b"#x\r\n",
        b",one\r\n",
        b"$?\r\n",
        &deep,
    ];
    for bytes in refused {
        let text = String::from_utf8_lossy(bytes);
        assert_eq!(decode_in_pieces(bytes, |all| all), Err(Malformed), "{text}");
        assert_eq!(decode_in_pieces(bytes, |_| 1), Err(Malformed), "byte by byte: {text}");
    }
}

/// A header costs no more memory than what follows it.
#[test]
fn what_a_header_announces_is_not_believed_before_it_comes() {
    for header in [&b"$4000000000\r\nabc"[..], b"*9223372036854775807\r\n:1\r\n", b"%9223372036854775807\r\n"]
    {
        assert_eq!(decode_in_pieces(header, |all| all), Ok(Vec::new()));
    }
}

fn any_reply(random: &mut StdRng, depth: usize) -> Vec<u8> {
    match random.random_range(0..8) {
        0 if depth < 5 => any_aggregate(random, depth),
        1 => {
            let mut text = vec![0; random.random_range(0..300)];
            random.fill_bytes(&mut text);
            [format!("${}\r\n", text.len()).as_bytes(), &text, b"\r\n"].concat()
        }
        _ => REPLIES[random.random_range(0..REPLIES.len())].to_vec(),
    }
}

fn any_aggregate(random: &mut StdRng, depth: usize) -> Vec<u8> {
    let items = random.random_range(0..6_usize);
    let (header, count) = match random.random_range(0..3) {
        0 => (format!("%{items}\r\n"), items * 2),
        1 => (format!("~{items}\r\n"), items),
        _ => (format!("*{items}\r\n"), items),
    };
    let mut bytes = header.into_bytes();
    (0..count).for_each(|_| bytes.extend(any_reply(random, depth + 1)));
    bytes
}
