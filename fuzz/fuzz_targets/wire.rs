//! Bytes of a hostile guest: each is a value or an error, and a value's bytes are the ones that it was made of.
#![no_main]

use cofferdam_wire::frame::Frame;
use cofferdam_wire::handshake::{Handing, Hello, Welcome};
use cofferdam_wire::order::{Order, Report, Status};
use cofferdam_wire::value::{Source, decode_from};
use cofferdam_wire::{Decode, Encode, decode, encode};
use libfuzzer_sys::fuzz_target;

fn stable<T: Decode + Encode>(bytes: &[u8]) {
    let here = decode::<T>(bytes);
    let mut coming = bytes;
    let came = decode_from::<T>(&mut Source::streaming(bytes.len(), &mut coming)).map(|(value, _)| value);
    assert_eq!(here.as_ref().err(), came.as_ref().err());
    if let (Ok(here), Ok(came)) = (here, came) {
        assert_eq!(encode(&here).expect("as small as it was"), bytes);
        assert_eq!(encode(&came).expect("as small as it was"), bytes);
    }
}

fuzz_target!(|input: &[u8]| {
    let Some((which, bytes)) = input.split_first() else { return };
    match which % 7 {
        0 => stable::<Hello>(bytes),
        1 => stable::<Vec<Option<String>>>(bytes),
        2 => stable::<(Vec<(u8, Vec<u16>)>, Result<char, bool>, f32)>(bytes),
        3 => stable::<Order>(bytes),
        4 => stable::<Report>(bytes),
        5 => {
            stable::<Status>(bytes);
            stable::<Welcome>(bytes);
            stable::<Handing>(bytes);
        }
        _ => {
            if let Some(Ok(frame)) = bytes.first_chunk().map(|bytes| Frame::from_bytes(*bytes)) {
                assert_eq!(frame.to_bytes(), bytes[..Frame::BYTES]);
            }
        }
    }
});
