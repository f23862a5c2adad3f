//! What a store holds beside the component: the host's side of every handle that the guest has.

use std::sync::Arc;
use std::time::Instant;

use wasmtime::component::ResourceTable;
use wasmtime_wasi::random::Deterministic;
use wasmtime_wasi::{WasiCtx, WasiCtxBuilder, WasiCtxView, WasiView};

use super::clock::Stopped;
use super::files::{FilePolicy, GuardedFiles};
#[cfg(feature = "http")]
use super::http::Http;
use super::limits::Limiter;
use super::names::{GuardedNames, NetworkPolicy};
use super::standing::Standing;

/// The data of one store.
pub(super) struct State {
    wasi: WasiCtx,
    table: ResourceTable,
    files: FilePolicy,
    network: NetworkPolicy,
    #[cfg(feature = "http")]
    http: Http,
    pub(super) limiter: Limiter,
    pub(super) standing: Arc<Standing>,
    born: u64,
    /// What a guest reaches once something was revoked: nothing.
    void: Option<Box<(WasiCtx, ResourceTable)>>,
    /// The guest asked for something after a revocation.
    pub(super) asked_revoked: bool,
    /// When the running call ends, for those that wait or call further.
    pub(super) deadline: Option<Instant>,
    /// Compartments around this one in the running call.
    pub(super) depth: usize,
}

impl State {
    pub(super) fn new(
        wasi: WasiCtx,
        table: ResourceTable,
        files: FilePolicy,
        network: NetworkPolicy,
        limiter: Limiter,
        standing: Arc<Standing>,
    ) -> Self {
        Self {
            wasi,
            table,
            files,
            #[cfg(feature = "http")]
            http: Http::new(network.clone()),
            network,
            limiter,
            born: standing.epoch(),
            standing,
            void: None,
            asked_revoked: false,
            deadline: None,
            depth: 0,
        }
    }

    /// Whether nothing was revoked since this instance began.
    pub(super) fn stands(&self) -> bool {
        self.born == self.standing.epoch()
    }

    fn parts(&mut self) -> (&mut WasiCtx, &mut ResourceTable) {
        if self.stands() {
            return (&mut self.wasi, &mut self.table);
        }
        self.asked_revoked = true;
        let void = self.void.get_or_insert_with(|| {
            let mut nothing = WasiCtxBuilder::new();
            let zeros = || Deterministic::new(vec![0]);
            nothing.wall_clock(Stopped).monotonic_clock(Stopped).secure_random(zeros());
            nothing.insecure_random(zeros()).insecure_random_seed(0);
            Box::new((nothing.build(), ResourceTable::new()))
        });
        (&mut void.0, &mut void.1)
    }

    pub(super) fn table(&mut self) -> &mut ResourceTable {
        self.parts().1
    }

    pub(super) fn guarded_files(&mut self) -> GuardedFiles<'_> {
        // A void has no folders, so the policy of the folders that were there decides about nothing.
        let alive = self.stands();
        if !alive {
            self.parts();
        }
        let (wasi, table) = match (&mut self.void, alive) {
            (Some(void), false) => (&mut void.0, &mut void.1),
            _ => (&mut self.wasi, &mut self.table),
        };
        GuardedFiles::new(wasi.filesystem(), table, &mut self.files)
    }

    pub(super) fn guarded_names(&mut self) -> GuardedNames<'_> {
        let alive = self.stands();
        if !alive {
            self.parts();
        }
        let (wasi, table) = match (&mut self.void, alive) {
            (Some(void), false) => (&mut void.0, &mut void.1),
            _ => (&mut self.wasi, &mut self.table),
        };
        GuardedNames::new(wasi.sockets(), table, &mut self.network)
    }

    #[cfg(feature = "http")]
    pub(super) fn http(&mut self) -> wasmtime_wasi_http::WasiHttpCtxView<'_> {
        let alive = self.stands();
        if !alive {
            self.parts();
        }
        let table = match (&mut self.void, alive) {
            (Some(void), false) => &mut void.1,
            _ => &mut self.table,
        };
        self.http.view(table)
    }
}

impl WasiView for State {
    fn ctx(&mut self) -> WasiCtxView<'_> {
        let (ctx, table) = self.parts();
        WasiCtxView { ctx, table }
    }
}
