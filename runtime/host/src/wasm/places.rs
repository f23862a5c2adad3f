//! How the host's side of an interface finds the member of a unit that called: by its place, since the linker's getters are plain
//! functions that cannot remember anything.

use wasmtime_wasi::cli::WasiCliCtxView;
use wasmtime_wasi::clocks::WasiClocksCtxView;
use wasmtime_wasi::random::WasiRandomCtx;
use wasmtime_wasi::sockets::WasiSocketsCtxView;

use super::files::GuardedFiles;
use super::limits::UNIT_MEMBERS_MAX;
use super::names::GuardedNames;
use super::state::State;

/// The getters of one place.
#[derive(Clone, Copy)]
pub(super) struct Place {
    pub(super) cli: for<'a> fn(&'a mut State) -> WasiCliCtxView<'a>,
    pub(super) clocks: for<'a> fn(&'a mut State) -> WasiClocksCtxView<'a>,
    pub(super) guarded_files: for<'a> fn(&'a mut State) -> GuardedFiles<'a>,
    pub(super) guarded_names: for<'a> fn(&'a mut State) -> GuardedNames<'a>,
    pub(super) random: for<'a> fn(&'a mut State) -> &'a mut WasiRandomCtx,
    pub(super) sockets: for<'a> fn(&'a mut State) -> WasiSocketsCtxView<'a>,
    #[cfg(feature = "http")]
    pub(super) http: for<'a> fn(&'a mut State) -> wasmtime_wasi_http::WasiHttpCtxView<'a>,
}

const fn place<const N: usize>() -> Place {
    Place {
        cli: |state| {
            let (ctx, table) = state.parts(N);
            WasiCliCtxView { ctx: ctx.cli(), table }
        },
        clocks: |state| {
            let (ctx, table) = state.parts(N);
            WasiClocksCtxView { ctx: ctx.clocks(), table }
        },
        guarded_files: |state| state.guarded_files(N),
        guarded_names: |state| state.guarded_names(N),
        random: |state| state.parts(N).0.random(),
        sockets: |state| {
            let (ctx, table) = state.parts(N);
            WasiSocketsCtxView { ctx: ctx.sockets(), table }
        },
        #[cfg(feature = "http")]
        http: |state| state.http(N),
    }
}

macro_rules! places {
    ($($place:literal)*) => { [$(place::<$place>()),*] };
}

/// One for each member that a unit may have, and the last for what belongs to no member.
pub(super) static PLACES: [Place; UNIT_MEMBERS_MAX + 1] = places!(0 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16);
