//! Arbitrary bytes as typed values in Postcard.
#![no_main]

use libfuzzer_sys::fuzz_target;
use state_codec::Postcard;

mod typed;

fuzz_target!(|data: &[u8]| {
    typed::check(Postcard, data);
});
