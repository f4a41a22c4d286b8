//! Arbitrary bytes as typed values in MessagePack.
#![no_main]

use libfuzzer_sys::fuzz_target;
use state_codec::MessagePack;

mod typed;

fuzz_target!(|data: &[u8]| {
    typed::check(MessagePack, data);
    typed::read::<serde_json::Value>(MessagePack, data);
});
