//! Arbitrary bytes as typed values in Json.
#![no_main]

use libfuzzer_sys::fuzz_target;
use state_codec::Json;

mod typed;

fuzz_target!(|data: &[u8]| {
    typed::check(Json, data);
    typed::read::<serde_json::Value>(Json, data);
});
