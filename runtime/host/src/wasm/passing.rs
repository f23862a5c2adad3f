//! Values on their way from one compartment to another: read out of a component's memory as bytes of `cofferdam-wire`, and
//! written from such bytes into another's. The engine's own tables say what the types are and where their parts lie, so there is no
//! code for each type, and no dynamic value: a byte list is copied as a whole, however deep it stands.
//!
//! Reading checks what a guest can get wrong (pointers, text, the numbers of cases), and charges what it copies to the store's
//! hostcall budget. Writing trusts the bytes with nothing either: they may be a process guest's.

mod reading;
mod writing;

pub(super) use reading::Reading;
use wasmtime::component::__internal::wasmtime_environ::component::{
    MAX_FLAT_PARAMS, MAX_FLAT_RESULTS, TypeTupleIndex, VariantInfo,
};
use wasmtime::component::__internal::{ComponentTypes, InterfaceType};
pub(super) use writing::{Flat, Writing};

/// Values as core parameters at most. More than so many go through memory.
pub(super) const FLAT_MAX: usize = MAX_FLAT_PARAMS;

/// Why bytes are not the values that they should be.
#[derive(Debug, thiserror::Error)]
#[error("a message between compartments is not of its types")]
struct Misfit;

/// Bytes of canonical values, as `usize`; the engine's tables have 32 bits.
fn wide(number: u32) -> usize {
    number as usize
}

/// Core values of a function's parameters; `None` when they go through memory.
pub(super) fn flat_params(types: &ComponentTypes, tuple: TypeTupleIndex) -> Option<usize> {
    types[tuple].abi.flat_count(MAX_FLAT_PARAMS)
}

/// The same of its results.
pub(super) fn flat_results(types: &ComponentTypes, tuple: TypeTupleIndex) -> Option<usize> {
    types[tuple].abi.flat_count(MAX_FLAT_RESULTS)
}

/// A type with cases: how many there are, where they lie, and the payload of one of them.
struct Cases<'t> {
    count: u32,
    info: &'t VariantInfo,
    #[expect(clippy::option_option, reason = "no such case, or a case without a payload")]
    payload: Option<Option<InterfaceType>>,
}

impl<'t> Cases<'t> {
    /// What a type of cases says of one of them; `None` for every other type.
    fn of(types: &'t ComponentTypes, ty: InterfaceType, case: u32) -> Option<Self> {
        let at = wide(case);
        let two = |info, payloads: [Option<InterfaceType>; 2]| Self {
            count: 2,
            info,
            payload: payloads.get(at).copied(),
        };
        Some(match ty {
            InterfaceType::Variant(index) => {
                let ty = &types[index];
                let payload = ty.cases.get_index(at).map(|(_, payload)| *payload);
                Self { count: number(ty.cases.len()), info: &ty.info, payload }
            }
            InterfaceType::Enum(index) => {
                let ty = &types[index];
                let payload = (at < ty.names.len()).then_some(None);
                Self { count: number(ty.names.len()), info: &ty.info, payload }
            }
            InterfaceType::Option(index) => two(&types[index].info, [None, Some(types[index].ty)]),
            InterfaceType::Result(index) => two(&types[index].info, [types[index].ok, types[index].err]),
            _ => return None,
        })
    }
}

fn number(count: usize) -> u32 {
    u32::try_from(count).unwrap_or(u32::MAX)
}

/// The parts of a record or tuple, in order.
fn parts(types: &ComponentTypes, ty: InterfaceType) -> Option<impl Iterator<Item = InterfaceType>> {
    let (fields, elements): (&[_], &[_]) = match ty {
        InterfaceType::Record(index) => (&types[index].fields, &[]),
        InterfaceType::Tuple(index) => (&[], &types[index].types),
        _ => return None,
    };
    Some(fields.iter().map(|field| field.ty).chain(elements.iter().copied()))
}

/// Whether the elements of a list are the same bytes in memory and in a message.
fn is_plain(ty: InterfaceType) -> bool {
    use InterfaceType::{Float32, Float64, S8, S16, S32, S64, U8, U16, U32, U64};
    matches!(ty, U8 | S8 | U16 | S16 | U32 | S32 | U64 | S64 | Float32 | Float64)
}

/// The low half: what holds 32 bits holds nothing above them.
#[expect(clippy::cast_possible_truncation, reason = "the upper half is not part of the value")]
fn low(value: u64) -> u32 {
    value as u32
}

fn mask(names: u32) -> u32 {
    1_u32.checked_shl(names).map_or(u32::MAX, |bit| bit - 1)
}
