//! The three places where this crate says more than the compiler can check.
#![allow(unsafe_code, reason = "each block says which check stands in for the compiler's")]

use std::any::TypeId;
use std::mem::MaybeUninit;

use wasmtime::component::__internal::{
    CanonicalAbiInfo, InstanceType, InterfaceType, LiftContext, LowerContext,
};
use wasmtime::component::{
    Component, ComponentNamedList, ComponentType, Func, Lift, Lower, ResourceAny, TypedFunc,
};
use wasmtime::{AsContext, Engine};

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

    /// The same for types that have no name of their own.
    ///
    /// # Errors
    /// When they differ.
    pub(super) fn check_shape<P, R>(store: impl AsContext, func: Func) -> wasmtime::Result<Self>
    where
        P: ComponentNamedList + Lower + 'static,
        R: ComponentNamedList + Lift + 'static,
    {
        func.typed::<P, R>(store)?;
        Ok(Self { func, of: TypeId::of::<(P, R)>() })
    }

    /// The function of a shape; `None` when another was compared.
    pub(super) fn shaped<P, R>(self) -> Option<TypedFunc<P, R>>
    where
        P: ComponentNamedList + Lower + 'static,
        R: ComponentNamedList + Lift + 'static,
    {
        // SAFETY: as in `typed`: `check_shape` compared these types, and the identity says that it was these.
        (self.of == TypeId::of::<(P, R)>()).then(|| unsafe { TypedFunc::new_unchecked(self.func) })
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
