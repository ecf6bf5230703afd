//! The PROXY protocol's headers.
#![no_main]

use dpm::net::{ProxyHeader, ProxyVersion};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let whole = ProxyHeader::parse(data);
    if let Ok(Some((header, size))) = &whole {
        assert!(*size <= data.len());
        // Its own bytes decide, however they arrive and whatever follows.
        assert_eq!(ProxyHeader::parse(&data[..*size]), whole);
        for cut in 0..*size {
            assert_eq!(ProxyHeader::parse(&data[..cut]), Ok(None), "cut at {cut}");
        }
        for version in [ProxyVersion::V1, ProxyVersion::V2] {
            let bytes = header.encode(version);
            let (again, size) = ProxyHeader::parse(&bytes).expect("ours").expect("whole");
            assert_eq!(size, bytes.len());
            assert_eq!(again.addresses.is_some(), header.addresses.is_some());
            assert_eq!(again.encode(version), bytes);
        }
    }
    if whole == Ok(None) {
        assert!(data.len() < 1 << 17, "some bytes are enough to decide");
    }
});
