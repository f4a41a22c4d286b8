//! The compare-and-swap script of docs/envelope.md, run by a real server on the golden files.

use std::fs;

use integration_tests::Server;
use redis::{Value, aio::MultiplexedConnection};

use crate::{golden, root};

/// The function `holds` as the specification prints it, applied to the value under a key.
fn script() -> String {
    let specification = fs::read_to_string(root().join("docs/envelope.md")).unwrap();
    let (_, rest) = specification.split_once("```lua\n").expect("the specification shows the script");
    let (function, _) = rest.split_once("```").expect("the script ends");
    format!(
        "{function}\nlocal answer = holds(redis.call('GET', KEYS[1]))\n\
         if type(answer) == 'table' then return answer end\nreturn answer and 1 or 0"
    )
}

/// Whether the stored file holds the value, by the script's word; `None` when it is encrypted.
async fn holds(
    connection: &mut MultiplexedConnection,
    stored: &[u8],
    value: &[u8],
    print: &[u8],
) -> Option<bool> {
    redis::cmd("SET").arg("key").arg(stored).exec_async(connection).await.unwrap();
    let mut eval = redis::cmd("EVAL");
    eval.arg(script()).arg(1).arg("key").arg(value).arg(print);
    match eval.query_async(connection).await {
        Ok(Value::Int(answer)) => Some(answer == 1),
        Err(error) if error.to_string().contains("ENCRYPTED") => None,
        other => panic!("the script answered {other:?}"),
    }
}

fn file(name: &str) -> Vec<u8> {
    fs::read(golden().join(name)).unwrap()
}

#[tokio::test]
async fn the_script_compares_values_whatever_algorithm_wrote_them() {
    let server = Server::start().await;
    let connection = &mut server.connect().await.unwrap();
    // Length and checksum of each value, taken from an envelope that another algorithm wrote.
    for (value, print_of, stored_as) in [
        ("text", "v1-lz4-text.bin", ["v1-raw-text.bin", "v1-snappy-text.bin", "v1-zstd-text.bin"]),
        ("zeros", "v1-zstd-zeros.bin", ["v1-lz4-zeros.bin", "v1-snappy-zeros.bin", "v1-zstd-zeros.bin"]),
    ] {
        let (value, print) = (file(&format!("value-{value}.bin")), file(print_of)[8..28].to_vec());
        for stored in stored_as {
            assert_eq!(holds(connection, &file(stored), &value, &print).await, Some(true), "{stored}");
            let (mut other_value, mut other_print) = (value.clone(), print.clone());
            other_value[0] ^= 1;
            other_print[19] ^= 1;
            assert_eq!(
                holds(connection, &file(stored), &other_value, &other_print).await,
                Some(false),
                "{stored}"
            );
        }
    }
}

#[tokio::test]
async fn the_script_tells_encrypted_and_damaged_values_apart() {
    let server = Server::start().await;
    let connection = &mut server.connect().await.unwrap();
    let value = file("value-text.bin");
    let envelope = file("v1-lz4-text.bin");
    let print = envelope[8..28].to_vec();
    assert_eq!(holds(connection, &file("v1-xchacha-lz4-text.bin"), &value, &print).await, None);
    for len in 0..28 {
        assert_eq!(
            holds(connection, &envelope[..len], &value, &print).await,
            Some(false),
            "cut off at {len}"
        );
    }
    assert_eq!(
        holds(connection, &envelope[..28], &value, &print).await,
        Some(true),
        "the payload is not looked at"
    );
}
