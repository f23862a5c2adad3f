//! The places where this crate says more than the compiler can check.
#![allow(unsafe_code, reason = "each block says which check stands in for the compiler's")]

use std::any::TypeId;
use std::mem::MaybeUninit;

use wasmtime::component::__internal::wasmtime_environ::component::TypeTupleIndex;
use wasmtime::component::__internal::{
    CanonicalAbiInfo, InstanceType, InterfaceType, LiftContext, LowerContext,
};
use wasmtime::component::{
    Component, ComponentNamedList, ComponentType, Func, Lift, Lower, ResourceAny, TypedFunc,
};
use wasmtime::{AsContext, Engine, ValRaw, bail};

use super::passing::{FLAT_MAX, Flat, Reading, Writing, flat_params, flat_results};
use crate::client::{AnyResource, Function};

/// A function whose types were compared with those of one [`Function`].
#[derive(Debug, Clone, Copy)]
pub(super) struct FittingFunc {
    func: Func,
    of: TypeId,
}

impl FittingFunc {
    /// Compares the types.
    ///
    /// # Errors
    /// When they differ; the message says where.
    pub(super) fn check<F: Function>(store: impl AsContext, func: Func) -> wasmtime::Result<Self> {
        func.typed::<F::Params<'static>, F::Results>(store)?;
        Ok(Self { func, of: TypeId::of::<F>() })
    }

    /// The same for a function that is called with bytes, whatever its types.
    ///
    /// # Errors
    /// When one of its types cannot leave its store.
    pub(super) fn check_passing(store: impl AsContext, func: Func) -> wasmtime::Result<Self> {
        func.typed::<Arguments<'static>, Answer>(store)?;
        Ok(Self { func, of: TypeId::of::<Answer>() })
    }

    /// The function for calls with bytes; `None` when it was compared for others.
    pub(super) fn passing<'a>(self) -> Option<TypedFunc<Arguments<'a>, Answer>> {
        // SAFETY: as in `typed`: `check_passing` compared these types, and the identity says that it was these.
        (self.of == TypeId::of::<Answer>()).then(|| unsafe { TypedFunc::new_unchecked(self.func) })
    }

    /// The function with its types; `None` when another [`Function`] was compared.
    pub(super) fn typed<'a, F: Function>(self) -> Option<TypedFunc<F::Params<'a>, F::Results>> {
        // SAFETY: `new_unchecked` asks that the function has these types. `check::<F>` compared them, and the identity says
        // that it was this `F`; the lifetime of a parameter is no part of its shape in the component.
        (self.of == TypeId::of::<F>()).then(|| unsafe { TypedFunc::new_unchecked(self.func) })
    }
}

/// Compiled code from the cache.
///
/// # Errors
/// When it is of another engine.
pub(super) fn precompiled(engine: &Engine, verified: &super::cache::Verified) -> wasmtime::Result<Component> {
    // SAFETY: `deserialize` asks for bytes that this engine's `serialize` made, unchanged. A `Verified` is only made from
    // bytes whose keyed digest, written by this program's user with them, was compared after they were copied to memory.
    unsafe { Component::deserialize(engine, verified.code()) }
}

// SAFETY: `ComponentType` asks that `Lower` and `ABI` are those of the type that is checked. All of it is what wasmtime says
// of its own `ResourceAny`, unchanged.
unsafe impl ComponentType for AnyResource {
    type Lower = <ResourceAny as ComponentType>::Lower;
    const ABI: CanonicalAbiInfo = ResourceAny::ABI;
    const MAY_REQUIRE_REALLOC: bool = ResourceAny::MAY_REQUIRE_REALLOC;

    fn typecheck(ty: &InterfaceType, types: &InstanceType<'_>) -> wasmtime::Result<()> {
        ResourceAny::typecheck(ty, types)
    }
}

/// The component's own resource; a process has no part in a component's call.
fn of_component(resource: &AnyResource) -> wasmtime::Result<&ResourceAny> {
    match resource {
        AnyResource::Wasm(resource) => Ok(resource),
        AnyResource::Process(_) | AnyResource::Linked(_) => {
            Err(wasmtime::Error::msg("a handle of another backend was passed to a component"))
        }
    }
}

// SAFETY: `Lower` asks that all of `dst` is written, or an error given. `ResourceAny` does that.
unsafe impl Lower for AnyResource {
    fn linear_lower_to_flat<T>(
        &self,
        cx: &mut LowerContext<'_, T>,
        ty: InterfaceType,
        dst: &mut MaybeUninit<Self::Lower>,
    ) -> wasmtime::Result<()> {
        of_component(self)?.linear_lower_to_flat(cx, ty, dst)
    }

    fn linear_lower_to_memory<T>(
        &self,
        cx: &mut LowerContext<'_, T>,
        ty: InterfaceType,
        offset: usize,
    ) -> wasmtime::Result<()> {
        of_component(self)?.linear_lower_to_memory(cx, ty, offset)
    }
}

// SAFETY: `Lift` asks for a value of the type that was checked. `ResourceAny` gives it.
unsafe impl Lift for AnyResource {
    fn linear_lift_from_flat(
        cx: &mut LiftContext<'_>,
        ty: InterfaceType,
        src: &Self::Lower,
    ) -> wasmtime::Result<Self> {
        ResourceAny::linear_lift_from_flat(cx, ty, src).map(Self::Wasm)
    }

    fn linear_lift_from_memory(
        cx: &mut LiftContext<'_>,
        ty: InterfaceType,
        bytes: &[u8],
    ) -> wasmtime::Result<Self> {
        ResourceAny::linear_lift_from_memory(cx, ty, bytes).map(Self::Wasm)
    }
}

/// Writes a text as core values: its place and its length, in the component's own encoding.
pub(super) fn lower_text<T>(cx: &mut LowerContext<'_, T>, text: &str) -> wasmtime::Result<[u64; 2]> {
    let mut pair = MaybeUninit::<[ValRaw; 2]>::uninit();
    text.linear_lower_to_flat(cx, InterfaceType::String, &mut pair)?;
    // SAFETY: `Lower` asks of its implementors, wasmtime's own for `str` here, to write all of `dst` or to give an error.
    let pair = unsafe { pair.assume_init() };
    Ok(pair.map(|value| value.get_u64()))
}

/// The parameters or results of a function, which the engine always gives as a tuple.
fn tuple(ty: InterfaceType) -> wasmtime::Result<TypeTupleIndex> {
    match ty {
        InterfaceType::Tuple(index) => Ok(index),
        _ => bail!("a function without a list of parameters"),
    }
}

/// Core values of types that know nothing of memory: the engine asks for these only where it reads a type's place from itself,
/// and what is read or written here takes places from the engine's tables instead.
const fn core_values(count: usize) -> CanonicalAbiInfo {
    #[expect(clippy::cast_possible_truncation, reason = "at most `FLAT_MAX`")]
    let flat_count = Some(count as u8);
    CanonicalAbiInfo { flat_count, ..CanonicalAbiInfo::ZERO }
}

/// What a component calls an import with: a message. `N` core values, none where the parameters lie in memory.
pub(super) struct Called<const N: usize>(pub(super) Vec<u8>);

// SAFETY: `Lower` is a sequence of `N` `ValRaw`, and only a function with exactly `N` core parameters passes the check, or one
// whose parameters lie in memory, where `N` is 0 and nothing of `Lower` is read. Sizes are taken from the engine's tables.
unsafe impl<const N: usize> ComponentType for Called<N> {
    type Lower = [ValRaw; N];
    const ABI: CanonicalAbiInfo = core_values(N);

    fn typecheck(ty: &InterfaceType, types: &InstanceType<'_>) -> wasmtime::Result<()> {
        if flat_params(types.types, tuple(*ty)?).unwrap_or(0) == N {
            Ok(())
        } else {
            bail!("other parameters")
        }
    }
}

// SAFETY: a list of parameters, as its check says.
unsafe impl<const N: usize> ComponentNamedList for Called<N> {}

// SAFETY: `Lift` asks for a value of the checked type; any bytes are one, and `Reading` checks what they stand for.
unsafe impl<const N: usize> Lift for Called<N> {
    fn linear_lift_from_flat(
        cx: &mut LiftContext<'_>,
        ty: InterfaceType,
        src: &Self::Lower,
    ) -> wasmtime::Result<Self> {
        Reading::new(cx).flat_all(tuple(ty)?, src).map(Self)
    }

    fn linear_lift_from_memory(
        cx: &mut LiftContext<'_>,
        ty: InterfaceType,
        bytes: &[u8],
    ) -> wasmtime::Result<Self> {
        // The engine has compared the whole tuple's place with the memory; that of its first byte is where these bytes begin.
        let at = bytes.as_ptr().addr() - cx.memory().as_ptr().addr();
        Reading::new(cx).memory_all(tuple(ty)?, at).map(Self)
    }
}

/// What an import gives back to the component that called it: a message. `N` core values, none where the result lies in memory.
pub(super) struct Given<const N: usize>(pub(super) Vec<u8>);

// SAFETY: as for `Called`, of results.
unsafe impl<const N: usize> ComponentType for Given<N> {
    type Lower = [ValRaw; N];
    const ABI: CanonicalAbiInfo = core_values(N);

    fn typecheck(ty: &InterfaceType, types: &InstanceType<'_>) -> wasmtime::Result<()> {
        if flat_results(types.types, tuple(*ty)?).unwrap_or(0) == N { Ok(()) } else { bail!("other results") }
    }
}

// SAFETY: as for `Called`.
unsafe impl<const N: usize> ComponentNamedList for Given<N> {}

// SAFETY: `Lower` asks that all of `dst` is written, or an error given: it is written as a whole.
unsafe impl<const N: usize> Lower for Given<N> {
    fn linear_lower_to_flat<T>(
        &self,
        cx: &mut LowerContext<'_, T>,
        ty: InterfaceType,
        dst: &mut MaybeUninit<Self::Lower>,
    ) -> wasmtime::Result<()> {
        dst.write(Writing::new(cx, &self.0).flat_all::<N>(tuple(ty)?)?.raw());
        Ok(())
    }

    fn linear_lower_to_memory<T>(
        &self,
        cx: &mut LowerContext<'_, T>,
        ty: InterfaceType,
        offset: usize,
    ) -> wasmtime::Result<()> {
        Writing::new(cx, &self.0).memory_all(tuple(ty)?, offset)
    }
}

/// What a component's function is called with: a message.
pub(super) struct Arguments<'m>(pub(super) &'m [u8]);

// SAFETY: `Lower` is as many `ValRaw` as a function can have core parameters, so that there is room for those of every function; all
// are written. Parameters that lie in memory are one core value, their place, which is written here and not by the engine.
unsafe impl ComponentType for Arguments<'_> {
    type Lower = [ValRaw; FLAT_MAX];
    const ABI: CanonicalAbiInfo = core_values(FLAT_MAX);

    fn typecheck(ty: &InterfaceType, _: &InstanceType<'_>) -> wasmtime::Result<()> {
        tuple(*ty).map(|_| ())
    }
}

// SAFETY: as for `Called`.
unsafe impl ComponentNamedList for Arguments<'_> {}

// SAFETY: `Lower` asks that all of `dst` is written, or an error given: it is written as a whole.
unsafe impl Lower for Arguments<'_> {
    fn linear_lower_to_flat<T>(
        &self,
        cx: &mut LowerContext<'_, T>,
        ty: InterfaceType,
        dst: &mut MaybeUninit<Self::Lower>,
    ) -> wasmtime::Result<()> {
        let tuple = tuple(ty)?;
        let in_memory = flat_params(cx.types, tuple).is_none();
        let writing = Writing::new(cx, self.0);
        let flat = if in_memory {
            Flat::one(writing.pointed_all(tuple)? as u64)
        } else {
            writing.flat_all::<FLAT_MAX>(tuple)?
        };
        dst.write(flat.raw());
        Ok(())
    }

    fn linear_lower_to_memory<T>(
        &self,
        _: &mut LowerContext<'_, T>,
        _: InterfaceType,
        _: usize,
    ) -> wasmtime::Result<()> {
        bail!("parameters are always given as core values")
    }
}

/// What a component's function answers: a message.
pub(super) struct Answer(pub(super) Vec<u8>);

// SAFETY: `Lower` is one `ValRaw`: the result itself, or its place, or nothing that is looked at. The engine writes no more than one
// result, and the parameters before it have written what it does not.
unsafe impl ComponentType for Answer {
    type Lower = [ValRaw; 1];
    const ABI: CanonicalAbiInfo = core_values(1);

    fn typecheck(ty: &InterfaceType, _: &InstanceType<'_>) -> wasmtime::Result<()> {
        tuple(*ty).map(|_| ())
    }
}

// SAFETY: as for `Called`.
unsafe impl ComponentNamedList for Answer {}

// SAFETY: as for `Called`.
unsafe impl Lift for Answer {
    fn linear_lift_from_flat(
        cx: &mut LiftContext<'_>,
        ty: InterfaceType,
        src: &Self::Lower,
    ) -> wasmtime::Result<Self> {
        let tuple = tuple(ty)?;
        let in_memory = flat_results(cx.types, tuple).is_none();
        let reading = Reading::new(cx);
        let bytes = if in_memory {
            reading.pointed_all(tuple, src[0].get_u32())
        } else {
            reading.flat_all(tuple, src)
        };
        bytes.map(Self)
    }

    fn linear_lift_from_memory(
        _: &mut LiftContext<'_>,
        _: InterfaceType,
        _: &[u8],
    ) -> wasmtime::Result<Self> {
        bail!("a result is always given as a core value")
    }
}
