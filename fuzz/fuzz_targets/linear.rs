//! Texts of SQL that repeat something very often: what takes more than linear time for a text takes longer
//! than libFuzzer's limit for these.
#![no_main]

use dpm_fuzz::input::Input;
use libfuzzer_sys::fuzz_target;

/// So many bytes take a few milliseconds, and the square of them takes many seconds.
const LENGTH: usize = 128 << 10;

fuzz_target!(|data: &[u8]| {
    let mut input = Input::new(data);
    let mode = input.mode();
    let count = usize::from(input.u8());
    let before = input.bytes(count);
    let count = usize::from(input.u8());
    let again = input.bytes(count.max(1));
    if again.is_empty() {
        return;
    }
    let sql = [before, &again.repeat(LENGTH / again.len()), input.rest()].concat();
    dpm_fuzz::sql::all(&sql, mode);
});
