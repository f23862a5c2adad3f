//! WIT values as bytes: fixed little-endian, no padding, and nothing taken on trust.
//!
//! Every length is compared with what is left of the message and with a budget before memory is taken for it. No byte of the
//! peer's becomes a value without a check: a `bool` is 0 or 1, a `char` is one, text is UTF-8.
//!
//! | type | bytes |
//! | --- | --- |
//! | `bool`, `u8`, `i8` | 1 |
//! | `u16` to `u64`, `i16` to `i64`, `f32`, `f64` | 2 to 8, little-endian |
//! | `char` | 4, a Unicode scalar value |
//! | `string`, `list<T>` | 4 for the count, then the bytes or the elements |
//! | `option<T>` | 0; or 1 and the value |
//! | `result<T, E>` | 0 and the value; or 1 and the error |
//! | tuples and records | their fields in order |
//! | enums and variants | the case's number in 1, 2 or 4 bytes, as few as the number of cases needs; then the payload |
//! | flags | 1, 2 or 4 bytes, as few as have a bit for each name; other bits are 0 |
//! | handles | 8; see [`Resource`] |

mod sink;
mod source;

pub use sink::Sink;
pub use source::{Broken, Source, Stream};

use crate::limits::{DECODED_BYTES_MAX, DEPTH_MAX, LIST_ELEMENTS_MAX, MESSAGE_BYTES_MAX};

/// Why bytes are not the value that was expected.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
#[expect(missing_docs, reason = "fields are named by the messages that use them")]
pub enum DecodeError {
    /// The message ends inside a value.
    #[error("the message ends at byte {at}, {missing} bytes before the value does")]
    Short { at: usize, missing: usize },
    /// Bytes are left behind the value.
    #[error("{left} bytes follow the value")]
    Trailing { left: usize },
    /// A byte that stands for nothing.
    #[error("byte {at} is {value}, which is no {what}")]
    Invalid { at: usize, value: u32, what: &'static str },
    /// Text that is not UTF-8.
    #[error("the text at byte {at} is not UTF-8")]
    NotText { at: usize },
    /// A list longer than any may be.
    #[error("the list at byte {at} has {count} elements, and at most {LIST_ELEMENTS_MAX} are accepted")]
    LongList { at: usize, count: u32 },
    /// The value would take too much memory.
    #[error("the value would take more than {DECODED_BYTES_MAX} bytes of memory")]
    LargeValue,
    /// Nested too deep.
    #[error("values are nested deeper than {DEPTH_MAX}")]
    Deep,
    /// The rest of the message did not come.
    #[error("the rest of the message did not come")]
    Broken,
}

/// A value is too large to send.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the message has {bytes} bytes, and at most {MESSAGE_BYTES_MAX} can be sent")]
pub struct TooLarge {
    /// Its encoded size.
    pub bytes: usize,
}

/// A type that can be sent.
pub trait Encode {
    /// Appends its bytes.
    fn encode<'v>(&'v self, out: &mut Sink<'v>);

    /// Appends the bytes of several, without their count.
    fn encode_all<'v>(all: &'v [Self], out: &mut Sink<'v>)
    where
        Self: Sized,
    {
        for one in all {
            one.encode(out);
        }
    }
}

/// A type that can be received.
pub trait Decode: Sized {
    /// The fewest bytes of any value. Bounds how many elements can be in what is left of a message.
    const BYTES_MIN: usize;

    /// Takes a value from the front.
    fn decode(from: &mut Source<'_>) -> Result<Self, DecodeError>;

    /// Takes `count` values, for which the budget has been charged.
    fn decode_all(count: usize, from: &mut Source<'_>) -> Result<Vec<Self>, DecodeError> {
        let mut all = Vec::with_capacity(count);
        for _ in 0..count {
            all.push(Self::decode(from)?);
        }
        Ok(all)
    }
}

/// Bytes of the number of a case, when there are so many.
pub const fn case_bytes(cases: u32) -> usize {
    match cases {
        0..=0x100 => 1,
        0x101..=0x1_0000 => 2,
        _ => 4,
    }
}

/// Bytes of flags with so many names.
pub const fn bits_bytes(names: u32) -> usize {
    match names {
        0..=8 => 1,
        9..=16 => 2,
        _ => 4,
    }
}

/// Appends the number of a case of an enum or variant that has so many.
pub fn put_case(case: u32, cases: u32, out: &mut Vec<u8>) {
    out.extend_from_slice(&case.to_le_bytes()[..case_bytes(cases)]);
}

/// Appends the bits of flags that have so many names.
pub fn put_bits(bits: u32, names: u32, out: &mut Vec<u8>) {
    out.extend_from_slice(&bits.to_le_bytes()[..bits_bytes(names)]);
}

/// A resource as it crosses: the number under which the side that has it keeps it. The number is of one conversation between
/// one host and one guest, is never given twice in it, and is looked up there: a number that stands for nothing is an error.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Resource(pub u64);

impl Encode for Resource {
    fn encode<'v>(&'v self, out: &mut Sink<'v>) {
        self.0.encode(out);
    }
}

impl Decode for Resource {
    const BYTES_MIN: usize = 8;

    fn decode(from: &mut Source<'_>) -> Result<Self, DecodeError> {
        from.resources += 1;
        u64::decode(from).map(Self)
    }
}

/// A digest of a function's types written out, by which the two sides of a conversation compare theirs: FNV-1a, 64 bits (RFC
/// 9923). It finds mistakes, not lies: what the other side sends is checked when it is decoded.
pub fn shape(written: &str) -> u64 {
    written.bytes().fold(0xcbf2_9ce4_8422_2325, |digest, byte| {
        (digest ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
    })
}

/// A value's bytes, if they are few enough to send.
pub fn encode<T: Encode + ?Sized>(value: &T) -> Result<Vec<u8>, TooLarge> {
    sink(value, Vec::new()).map(Sink::into_bytes)
}

/// A value's message, if it is short enough to send. It takes no new memory where the buffer has enough.
pub fn sink<T: Encode + ?Sized>(value: &T, buffer: Vec<u8>) -> Result<Sink<'_>, TooLarge> {
    let mut out = Sink::reusing(buffer);
    value.encode(&mut out);
    if out.len() > MESSAGE_BYTES_MAX as usize {
        return Err(TooLarge { bytes: out.len() });
    }
    Ok(out)
}

/// The value that `bytes` are, all of them.
pub fn decode<T: Decode>(bytes: &[u8]) -> Result<T, DecodeError> {
    decode_from(&mut Source::new(bytes)).map(|(value, _)| value)
}

/// The value that a message is, all of it, and how many resources are in it.
pub fn decode_from<T: Decode>(source: &mut Source<'_>) -> Result<(T, u64), DecodeError> {
    let value = T::decode(source)?;
    source.finish().map(|()| (value, source.resources))
}

macro_rules! numbers {
    ($($number:ty)*) => { $(
        impl Encode for $number {
            fn encode<'v>(&'v self, out: &mut Sink<'v>) {
                out.put(&self.to_le_bytes());
            }
        }
        impl Decode for $number {
            const BYTES_MIN: usize = size_of::<$number>();
            fn decode(from: &mut Source<'_>) -> Result<Self, DecodeError> {
                Ok(<$number>::from_le_bytes(from.array()?))
            }
        }
    )* };
}

numbers! { i8 u16 i16 u32 i32 u64 i64 f32 f64 }

impl Encode for u8 {
    fn encode<'v>(&'v self, out: &mut Sink<'v>) {
        out.put(&[*self]);
    }

    fn encode_all<'v>(all: &'v [Self], out: &mut Sink<'v>) {
        out.put_borrowed(all);
    }
}

impl Decode for u8 {
    const BYTES_MIN: usize = 1;

    fn decode(from: &mut Source<'_>) -> Result<Self, DecodeError> {
        let [byte] = from.array()?;
        Ok(byte)
    }

    fn decode_all(count: usize, from: &mut Source<'_>) -> Result<Vec<Self>, DecodeError> {
        from.bytes(count)
    }
}

impl Encode for bool {
    fn encode<'v>(&'v self, out: &mut Sink<'v>) {
        out.put(&[u8::from(*self)]);
    }
}

impl Decode for bool {
    const BYTES_MIN: usize = 1;

    fn decode(from: &mut Source<'_>) -> Result<Self, DecodeError> {
        Ok(from.tag(2, "bool")? == 1)
    }
}

impl Encode for char {
    fn encode<'v>(&'v self, out: &mut Sink<'v>) {
        out.put(&u32::from(*self).to_le_bytes());
    }
}

impl Decode for char {
    const BYTES_MIN: usize = 4;

    fn decode(from: &mut Source<'_>) -> Result<Self, DecodeError> {
        let at = from.place();
        let value = u32::decode(from)?;
        Self::from_u32(value).ok_or(DecodeError::Invalid { at, value, what: "char" })
    }
}

impl Encode for str {
    fn encode<'v>(&'v self, out: &mut Sink<'v>) {
        out.length(self.len());
        out.put_borrowed(self.as_bytes());
    }
}

impl Encode for String {
    fn encode<'v>(&'v self, out: &mut Sink<'v>) {
        self.as_str().encode(out);
    }
}

impl Decode for String {
    const BYTES_MIN: usize = 4;

    fn decode(from: &mut Source<'_>) -> Result<Self, DecodeError> {
        from.text()
    }
}

impl<T: Encode> Encode for [T] {
    fn encode<'v>(&'v self, out: &mut Sink<'v>) {
        out.length(self.len());
        T::encode_all(self, out);
    }
}

impl<T: Encode> Encode for Vec<T> {
    fn encode<'v>(&'v self, out: &mut Sink<'v>) {
        self.as_slice().encode(out);
    }
}

impl<T: Decode> Decode for Vec<T> {
    const BYTES_MIN: usize = 4;

    fn decode(from: &mut Source<'_>) -> Result<Self, DecodeError> {
        let count = from.count(T::BYTES_MIN, size_of::<T>())?;
        from.nested(|from| T::decode_all(count, from))
    }
}

impl<T: Encode> Encode for Option<T> {
    fn encode<'v>(&'v self, out: &mut Sink<'v>) {
        match self {
            None => out.put(&[0]),
            Some(value) => {
                out.put(&[1]);
                value.encode(out);
            }
        }
    }
}

impl<T: Decode> Decode for Option<T> {
    const BYTES_MIN: usize = 1;

    fn decode(from: &mut Source<'_>) -> Result<Self, DecodeError> {
        match from.tag(2, "option")? {
            0 => Ok(None),
            _ => from.nested(T::decode).map(Some),
        }
    }
}

impl<T: Encode, E: Encode> Encode for Result<T, E> {
    fn encode<'v>(&'v self, out: &mut Sink<'v>) {
        match self {
            Ok(value) => {
                out.put(&[0]);
                value.encode(out);
            }
            Err(error) => {
                out.put(&[1]);
                error.encode(out);
            }
        }
    }
}

impl<T: Decode, E: Decode> Decode for Result<T, E> {
    const BYTES_MIN: usize = 1;

    fn decode(from: &mut Source<'_>) -> Result<Self, DecodeError> {
        match from.tag(2, "result")? {
            0 => from.nested(T::decode).map(Ok),
            _ => from.nested(E::decode).map(Err),
        }
    }
}

impl<T: Encode + ?Sized> Encode for &T {
    fn encode<'v>(&'v self, out: &mut Sink<'v>) {
        (**self).encode(out);
    }
}

macro_rules! tuples {
    ($(($($name:ident)*))*) => { $(
        impl<$($name: Encode),*> Encode for ($($name,)*) {
            #[expect(non_snake_case, reason = "the macro names values after their types")]
            #[allow(unused_variables, reason = "the empty tuple has no bytes")]
            fn encode<'v>(&'v self, out: &mut Sink<'v>) {
                let ($($name,)*) = self;
                $($name.encode(out);)*
            }
        }
        impl<$($name: Decode),*> Decode for ($($name,)*) {
            const BYTES_MIN: usize = 0 $(+ $name::BYTES_MIN)*;
            #[allow(unused_variables, reason = "the empty tuple has no bytes")]
            fn decode(from: &mut Source<'_>) -> Result<Self, DecodeError> {
                from.nested(|from| Ok(($($name::decode(from)?,)*)))
            }
        }
    )* };
}

impl Encode for () {
    fn encode<'v>(&'v self, _: &mut Sink<'v>) {}
}

impl Decode for () {
    const BYTES_MIN: usize = 0;

    fn decode(_: &mut Source<'_>) -> Result<Self, DecodeError> {
        Ok(())
    }
}

tuples! {
    (A) (A B) (A B C) (A B C D) (A B C D E) (A B C D E F) (A B C D E F G) (A B C D E F G H) (A B C D E F G H I) (A B C D E F G H I J)
    (A B C D E F G H I J K) (A B C D E F G H I J K L) (A B C D E F G H I J K L M) (A B C D E F G H I J K L M N)
    (A B C D E F G H I J K L M N O) (A B C D E F G H I J K L M N O P) (A B C D E F G H I J K L M N O P Q)
}

/// Makes a record: its fields are encoded in the order in which they are written.
#[macro_export]
macro_rules! record {
    ($(#[$attribute:meta])* $visible:vis struct $name:ident {
        $($(#[$field_attribute:meta])* $field_visible:vis $field:ident: $kind:ty,)*
    }) => {
        $(#[$attribute])*
        $visible struct $name {
            $($(#[$field_attribute])* $field_visible $field: $kind,)*
        }
        impl $crate::value::Encode for $name {
            fn encode<'v>(&'v self, out: &mut $crate::value::Sink<'v>) {
                $($crate::value::Encode::encode(&self.$field, out);)*
            }
        }
        impl $crate::value::Decode for $name {
            const BYTES_MIN: usize = 0 $(+ <$kind as $crate::value::Decode>::BYTES_MIN)*;
            fn decode(
                from: &mut $crate::value::Source<'_>,
            ) -> Result<Self, $crate::value::DecodeError> {
                from.nested(|from| Ok(Self { $($field: $crate::value::Decode::decode(from)?,)* }))
            }
        }
    };
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    type Nest = (u8, Vec<Option<String>>, Result<Vec<(i16, char)>, bool>, f64, Vec<u8>, (u64,));

    #[test]
    fn the_bytes_are_as_documented() {
        let value = (true, 0x0102_u16, 'x', "ab", vec![Some(7_u8), None], Err::<(), u8>(9));
        let bytes = encode(&value).expect("small");
        assert_eq!(bytes, [1, 2, 1, b'x', 0, 0, 0, 2, 0, 0, 0, b'a', b'b', 2, 0, 0, 0, 1, 7, 0, 1, 9]);
    }

    #[test]
    fn a_case_takes_as_few_bytes_as_their_number_needs() {
        for (cases, bytes) in [(1, 1), (0x100, 1), (0x101, 2), (0x1_0000, 2), (0x1_0001, 4)] {
            let mut out = Vec::new();
            put_case(cases - 1, cases, &mut out);
            assert_eq!(out.len(), bytes, "of {cases} cases");
            assert_eq!(Source::new(&out).case(cases, "case"), Ok(cases - 1));
            let mut past = Vec::new();
            past.extend_from_slice(&cases.to_le_bytes()[..bytes]);
            if past != vec![0; bytes] {
                let refused = Err(DecodeError::Invalid { at: 0, value: cases, what: "case" });
                assert_eq!(Source::new(&past).case(cases, "case"), refused);
            }
        }
    }

    #[test]
    fn a_bit_without_a_name_is_refused() {
        for (names, bytes) in [(1, 1), (8, 1), (9, 2), (16, 2), (17, 4), (32, 4)] {
            let mut out = Vec::new();
            let all = u32::MAX >> (32 - names);
            put_bits(all, names, &mut out);
            assert_eq!(out.len(), bytes, "of {names} names");
            assert_eq!(Source::new(&out).bits(names, "flags"), Ok(all));
            if names < 32 && usize::try_from(names).is_ok_and(|names| names < bytes * 8) {
                let value = 1 << names;
                put_bits(value, names, &mut Vec::new());
                let refused = Err(DecodeError::Invalid { at: 0, value, what: "flags" });
                assert_eq!(Source::new(&u32::to_le_bytes(value)[..bytes]).bits(names, "flags"), refused);
            }
        }
    }

    /// Found by taking the comparison out by hand, which no test noticed: the list was refused at its first element, after memory for
    /// all of them had been taken.
    #[test]
    fn a_list_longer_than_its_message_is_refused_before_memory_is_taken_for_it() {
        let count = 1_000_000_u32.to_le_bytes();
        assert_eq!(decode::<Vec<u64>>(&count), Err(DecodeError::Short { at: 4, missing: 8_000_000 }));
        assert_eq!(decode::<Vec<String>>(&count), Err(DecodeError::Short { at: 4, missing: 4_000_000 }));
    }

    #[test]
    fn bytes_that_stand_for_nothing_are_refused() {
        assert_eq!(decode::<bool>(&[2]), Err(DecodeError::Invalid { at: 0, value: 2, what: "bool" }));
        assert_eq!(decode::<Option<u8>>(&[9]), Err(DecodeError::Invalid { at: 0, value: 9, what: "option" }));
        let surrogate = 0xD800_u32;
        assert_eq!(
            decode::<char>(&surrogate.to_le_bytes()),
            Err(DecodeError::Invalid { at: 0, value: surrogate, what: "char" })
        );
        assert_eq!(decode::<String>(&[1, 0, 0, 0, 0xFF]), Err(DecodeError::NotText { at: 4 }));
        assert_eq!(decode::<u8>(&[1, 2]), Err(DecodeError::Trailing { left: 1 }));
        assert_eq!(decode::<u32>(&[1, 2]), Err(DecodeError::Short { at: 2, missing: 2 }));
    }

    #[test]
    fn a_count_takes_no_memory_before_it_is_checked() {
        let huge = u32::MAX.to_le_bytes();
        assert_eq!(decode::<Vec<u64>>(&huge), Err(DecodeError::LongList { at: 0, count: u32::MAX }));
        let at_limit = LIST_ELEMENTS_MAX.to_le_bytes();
        let missing = LIST_ELEMENTS_MAX as usize;
        assert_eq!(decode::<Vec<u8>>(&at_limit), Err(DecodeError::Short { at: 4, missing }));
        assert_eq!(decode::<String>(&at_limit), Err(DecodeError::Short { at: 4, missing }));
        // Elements without bytes are bounded by the count alone, and cost one step each.
        let one_past = (LIST_ELEMENTS_MAX + 1).to_le_bytes();
        let past = Err(DecodeError::LongList { at: 0, count: LIST_ELEMENTS_MAX + 1 });
        assert_eq!(decode::<Vec<()>>(&one_past), past);
        assert_eq!(decode::<Vec<()>>(&1000_u32.to_le_bytes()).map(|list| list.len()), Ok(1000));
    }

    #[test]
    fn memory_is_budgeted_for_the_whole_message() {
        // Each empty text takes 4 bytes here and 24 in memory.
        let fits = DECODED_BYTES_MAX / size_of::<String>();
        let message = |count: usize| {
            let mut bytes = u32::try_from(count).expect("fewer").to_le_bytes().to_vec();
            bytes.resize(4 + 4 * count, 0);
            bytes
        };
        assert_eq!(decode::<Vec<String>>(&message(fits)).map(|list| list.len()), Ok(fits));
        assert_eq!(decode::<Vec<String>>(&message(fits + 1)), Err(DecodeError::LargeValue));
    }

    #[test]
    fn depth_is_bounded() {
        fn down(source: &mut Source<'_>, levels: u32) -> Result<(), DecodeError> {
            if levels == 0 { Ok(()) } else { source.nested(|source| down(source, levels - 1)) }
        }
        let mut source = Source::new(&[]);
        assert_eq!(down(&mut source, DEPTH_MAX), Ok(()));
        assert_eq!(down(&mut source, DEPTH_MAX + 1), Err(DecodeError::Deep));
    }

    #[test]
    fn a_message_too_large_is_not_sent() {
        let most = MESSAGE_BYTES_MAX as usize - 4;
        assert!(encode(&vec![0_u8; most]).is_ok());
        assert_eq!(encode(&vec![0_u8; most + 1]), Err(TooLarge { bytes: most + 5 }));
    }

    fn decode_streamed<T: Decode>(bytes: &[u8]) -> Result<T, DecodeError> {
        let mut coming = bytes;
        decode_from(&mut Source::streaming(bytes.len(), &mut coming)).map(|(value, _)| value)
    }

    type Long = (u8, Vec<u8>, String, Vec<(u16, Vec<u8>)>, Vec<u32>, Option<Vec<u8>>);

    /// Values with runs on both sides of every bound.
    fn long() -> impl Strategy<Value = Long> {
        let run = || {
            let bounds =
                prop_oneof![0..4_usize, 2040..2060_usize, 4090..4110_usize, 8180..8210_usize, Just(20_000)];
            (bounds, any::<u8>()).prop_map(|(count, byte)| vec![byte; count])
        };
        let text = run().prop_map(|bytes| "x".repeat(bytes.len()));
        let several = prop::collection::vec((any::<u16>(), run()), 0..3);
        let words = run().prop_map(|bytes| bytes.into_iter().map(u32::from).collect());
        (any::<u8>(), run(), text, several, words, prop::option::of(run()))
    }

    #[test]
    fn a_message_that_stops_coming_is_broken() {
        let bytes = encode(&(vec![7_u8; 50_000],)).expect("small");
        let mut coming = &bytes[..30_000];
        let decoded = decode_from::<(Vec<u8>,)>(&mut Source::streaming(bytes.len(), &mut coming));
        assert_eq!(decoded, Err(DecodeError::Broken));
        assert_eq!(
            decode_streamed::<(Vec<u8>, u8)>(&bytes),
            Err(DecodeError::Short { at: 50_004, missing: 1 })
        );
        assert_eq!(decode_streamed::<(u16,)>(&bytes), Err(DecodeError::Trailing { left: 50_002 }));
    }

    #[test]
    fn what_is_passed_over_and_what_is_left_is_as_long_as_it_is() {
        let bytes: Vec<u8> = (0..100_000_u32).map(|number| number.to_le_bytes()[0]).collect();
        for skipped in [0, 1, 4096, 4097, 99_999, 100_000] {
            let mut coming = bytes.as_slice();
            let mut source = Source::streaming(bytes.len(), &mut coming);
            assert_eq!(source.skip(skipped), Ok(()));
            assert!(source.skip(100_001 - skipped).is_err());
            assert_eq!(source.rest().as_deref(), Ok(&bytes[skipped..]), "{skipped}");
            assert_eq!(source.finish(), Ok(()));
        }
    }

    proptest! {
        #[test]
        fn a_message_in_pieces_is_the_message(value in long()) {
            let bytes = encode(&value).expect("small");
            let sink = sink(&value, vec![1, 2, 3]).expect("small");
            prop_assert_eq!(sink.with_pieces(|pieces| pieces.concat()), bytes.clone());
            prop_assert_eq!(sink.borrowed.is_empty(), sink.bytes.len() == bytes.len());
            prop_assert_eq!(decode::<Long>(&bytes).expect("our own bytes"), value.clone());
            prop_assert_eq!(decode_streamed::<Long>(&bytes).expect("our own bytes"), value);
        }

        #[test]
        fn hostile_bytes_are_the_same_whether_they_are_here_or_come(value in long(), at: proptest::sample::Index, byte: u8) {
            let mut bytes = encode(&value).expect("small");
            let at = at.index(bytes.len().min(64));
            bytes[at] = byte;
            prop_assert_eq!(decode::<Long>(&bytes), decode_streamed::<Long>(&bytes));
        }

        #[test]
        fn what_is_sent_is_received(value: Nest) {
            let bytes = encode(&value).expect("small");
            let received: Nest = decode(&bytes).expect("our own bytes");
            // Bits, because a NaN is not equal to itself.
            prop_assert_eq!(encode(&received).expect("small"), bytes);
        }

        #[test]
        fn hostile_bytes_are_a_value_or_an_error(bytes: Vec<u8>) {
            if let Ok(value) = decode::<Nest>(&bytes) {
                prop_assert_eq!(encode(&value).expect("small"), bytes);
            }
        }

        #[test]
        fn a_changed_byte_is_a_value_or_an_error(value: Nest, at: proptest::sample::Index, byte: u8) {
            let mut bytes = encode(&value).expect("small");
            let at = at.index(bytes.len());
            bytes[at] = byte;
            if let Ok(value) = decode::<Nest>(&bytes) {
                prop_assert_eq!(encode(&value).expect("small"), bytes);
            }
        }
    }
}
