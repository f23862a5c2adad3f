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
    fn encode(&self, out: &mut Vec<u8>);

    /// Appends the bytes of several, without their count.
    fn encode_all(all: &[Self], out: &mut Vec<u8>)
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

/// Bytes that are being decoded, with what may still be spent on them.
#[derive(Debug)]
pub struct Source<'a> {
    bytes: &'a [u8],
    at: usize,
    budget: usize,
    depth: u32,
    resources: u64,
}

impl<'a> Source<'a> {
    /// The whole of a message.
    pub fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, at: 0, budget: DECODED_BYTES_MAX, depth: 0, resources: 0 }
    }

    /// How many resources were taken so far.
    pub fn resources(&self) -> u64 {
        self.resources
    }

    /// Ends the message: nothing may be left of it.
    pub fn finish(&self) -> Result<(), DecodeError> {
        match self.left() {
            0 => Ok(()),
            left => Err(DecodeError::Trailing { left }),
        }
    }

    fn left(&self) -> usize {
        self.bytes.len() - self.at
    }

    /// The next `count` bytes.
    pub fn take(&mut self, count: usize) -> Result<&'a [u8], DecodeError> {
        let Some(missing) = count.checked_sub(self.left()).filter(|missing| *missing > 0) else {
            let taken = &self.bytes[self.at..self.at + count];
            self.at += count;
            return Ok(taken);
        };
        Err(DecodeError::Short { at: self.bytes.len(), missing })
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], DecodeError> {
        let mut array = [0; N];
        array.copy_from_slice(self.take(N)?);
        Ok(array)
    }

    /// A tag below `end`.
    pub(crate) fn tag(&mut self, end: u8, what: &'static str) -> Result<u8, DecodeError> {
        let [tag] = self.array()?;
        if tag < end {
            return Ok(tag);
        }
        Err(DecodeError::Invalid { at: self.at - 1, value: tag.into(), what })
    }

    /// The number of a case of an enum or variant that has so many.
    pub fn case(&mut self, cases: u32, what: &'static str) -> Result<u32, DecodeError> {
        let at = self.at;
        let value = self.number(case_bytes(cases))?;
        if value < cases { Ok(value) } else { Err(DecodeError::Invalid { at, value, what }) }
    }

    /// The bits of flags that have so many names, at most 32.
    pub fn bits(&mut self, names: u32, what: &'static str) -> Result<u32, DecodeError> {
        let at = self.at;
        let value = self.number(bits_bytes(names))?;
        if u64::from(value) < 1_u64 << names.min(32) {
            Ok(value)
        } else {
            Err(DecodeError::Invalid { at, value, what })
        }
    }

    /// A text, where it stands in the message.
    pub fn text(&mut self) -> Result<&'a str, DecodeError> {
        let count = self.count(1, 1)?;
        let at = self.at;
        std::str::from_utf8(self.take(count)?).map_err(|_| DecodeError::NotText { at })
    }

    fn number(&mut self, bytes: usize) -> Result<u32, DecodeError> {
        let mut number = [0; 4];
        number[..bytes].copy_from_slice(self.take(bytes)?);
        Ok(u32::from_le_bytes(number))
    }

    /// Decodes one level deeper.
    pub fn nested<T>(
        &mut self,
        decode: impl FnOnce(&mut Self) -> Result<T, DecodeError>,
    ) -> Result<T, DecodeError> {
        if self.depth == DEPTH_MAX {
            return Err(DecodeError::Deep);
        }
        self.depth += 1;
        let decoded = decode(self);
        self.depth -= 1;
        decoded
    }

    /// A list's count, after memory for it has been charged: each element has at least `bytes_min` bytes in the message, and takes
    /// `size` in memory.
    pub fn count(&mut self, bytes_min: usize, size: usize) -> Result<usize, DecodeError> {
        let at = self.at;
        let count = u32::from_le_bytes(self.array()?);
        if count > LIST_ELEMENTS_MAX {
            return Err(DecodeError::LongList { at, count });
        }
        let elements = count as usize;
        let needed = elements.saturating_mul(bytes_min);
        if let Some(missing) = needed.checked_sub(self.left()).filter(|missing| *missing > 0) {
            return Err(DecodeError::Short { at: self.bytes.len(), missing });
        }
        // An element without bytes still costs its decoder a step.
        let cost = elements.saturating_mul(size.max(1));
        self.budget = self.budget.checked_sub(cost).ok_or(DecodeError::LargeValue)?;
        Ok(elements)
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
    fn encode(&self, out: &mut Vec<u8>) {
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
    let mut out = Vec::new();
    encode_into(value, &mut out).map(|()| out)
}

/// The same in place of what is in `out`, which takes no new memory where it has enough.
pub fn encode_into<T: Encode + ?Sized>(value: &T, out: &mut Vec<u8>) -> Result<(), TooLarge> {
    out.clear();
    value.encode(out);
    if out.len() > MESSAGE_BYTES_MAX as usize {
        return Err(TooLarge { bytes: out.len() });
    }
    Ok(())
}

/// The value that `bytes` are, all of them.
pub fn decode<T: Decode>(bytes: &[u8]) -> Result<T, DecodeError> {
    let mut source = Source::new(bytes);
    let value = T::decode(&mut source)?;
    source.finish().map(|()| value)
}

/// The same, and how many resources are in it.
pub fn decode_counting<T: Decode>(bytes: &[u8]) -> Result<(T, u64), DecodeError> {
    let mut source = Source::new(bytes);
    let value = T::decode(&mut source)?;
    source.finish().map(|()| (value, source.resources))
}

macro_rules! numbers {
    ($($number:ty)*) => { $(
        impl Encode for $number {
            fn encode(&self, out: &mut Vec<u8>) {
                out.extend_from_slice(&self.to_le_bytes());
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
    fn encode(&self, out: &mut Vec<u8>) {
        out.push(*self);
    }

    fn encode_all(all: &[Self], out: &mut Vec<u8>) {
        out.extend_from_slice(all);
    }
}

impl Decode for u8 {
    const BYTES_MIN: usize = 1;

    fn decode(from: &mut Source<'_>) -> Result<Self, DecodeError> {
        let [byte] = from.array()?;
        Ok(byte)
    }

    fn decode_all(count: usize, from: &mut Source<'_>) -> Result<Vec<Self>, DecodeError> {
        Ok(from.take(count)?.to_vec())
    }
}

impl Encode for bool {
    fn encode(&self, out: &mut Vec<u8>) {
        out.push(u8::from(*self));
    }
}

impl Decode for bool {
    const BYTES_MIN: usize = 1;

    fn decode(from: &mut Source<'_>) -> Result<Self, DecodeError> {
        Ok(from.tag(2, "bool")? == 1)
    }
}

impl Encode for char {
    fn encode(&self, out: &mut Vec<u8>) {
        u32::from(*self).encode(out);
    }
}

impl Decode for char {
    const BYTES_MIN: usize = 4;

    fn decode(from: &mut Source<'_>) -> Result<Self, DecodeError> {
        let at = from.at;
        let value = u32::decode(from)?;
        Self::from_u32(value).ok_or(DecodeError::Invalid { at, value, what: "char" })
    }
}

impl Encode for str {
    fn encode(&self, out: &mut Vec<u8>) {
        length(self.len(), out);
        out.extend_from_slice(self.as_bytes());
    }
}

impl Encode for String {
    fn encode(&self, out: &mut Vec<u8>) {
        self.as_str().encode(out);
    }
}

impl Decode for String {
    const BYTES_MIN: usize = 4;

    fn decode(from: &mut Source<'_>) -> Result<Self, DecodeError> {
        from.text().map(str::to_owned)
    }
}

/// What does not fit in 32 bits is far above [`MESSAGE_BYTES_MAX`], and [`encode`] refuses it after this.
fn length(count: usize, out: &mut Vec<u8>) {
    u32::try_from(count).unwrap_or(u32::MAX).encode(out);
}

impl<T: Encode> Encode for [T] {
    fn encode(&self, out: &mut Vec<u8>) {
        length(self.len(), out);
        T::encode_all(self, out);
    }
}

impl<T: Encode> Encode for Vec<T> {
    fn encode(&self, out: &mut Vec<u8>) {
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
    fn encode(&self, out: &mut Vec<u8>) {
        match self {
            None => out.push(0),
            Some(value) => {
                out.push(1);
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
    fn encode(&self, out: &mut Vec<u8>) {
        match self {
            Ok(value) => {
                out.push(0);
                value.encode(out);
            }
            Err(error) => {
                out.push(1);
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
    fn encode(&self, out: &mut Vec<u8>) {
        (**self).encode(out);
    }
}

macro_rules! tuples {
    ($(($($name:ident)*))*) => { $(
        impl<$($name: Encode),*> Encode for ($($name,)*) {
            #[expect(non_snake_case, reason = "the macro names values after their types")]
            #[allow(unused_variables, reason = "the empty tuple has no bytes")]
            fn encode(&self, out: &mut Vec<u8>) {
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
    fn encode(&self, _: &mut Vec<u8>) {}
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
            fn encode(&self, out: &mut Vec<u8>) {
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
            let mut bytes = Vec::new();
            length(count, &mut bytes);
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

    proptest! {
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
