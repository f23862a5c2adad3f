//! What a store holds beside the component: the host's side of every handle that the guest has.

use std::sync::Arc;
use std::time::Instant;

use wasmtime::component::ResourceTable;
use wasmtime_wasi::random::Deterministic;
use wasmtime_wasi::{WasiCtx, WasiCtxBuilder};

use super::clock::Stopped;
use super::files::{FilePolicy, GuardedFiles};
#[cfg(feature = "http")]
use super::http::Http;
use super::limits::Limiter;
use super::names::{GuardedNames, NetworkPolicy};
use super::standing::Standing;

/// What one member of a unit reaches of the host.
pub(super) struct Reach {
    wasi: WasiCtx,
    network: NetworkPolicy,
    #[cfg(feature = "http")]
    http: Http,
}

impl Reach {
    pub(super) fn new(wasi: WasiCtx, network: NetworkPolicy) -> Self {
        Self {
            wasi,
            #[cfg(feature = "http")]
            http: Http::new(network.clone()),
            network,
        }
    }

    /// Nothing at all.
    fn nothing(standing: &Arc<Standing>) -> Self {
        Self::new(no_context(), NetworkPolicy::nothing(Arc::clone(standing)))
    }
}

/// The data of one store.
pub(super) struct State {
    /// One for each member of the unit, and in a unit of several, one that reaches nothing, for what belongs to no member.
    reaches: Vec<Reach>,
    table: ResourceTable,
    files: FilePolicy,
    pub(super) limiter: Limiter,
    standing: Arc<Standing>,
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

/// Clocks stand still, nothing is random, and there is neither file nor network.
fn no_context() -> WasiCtx {
    let mut nothing = WasiCtxBuilder::new();
    let zeros = || Deterministic::new(vec![0]);
    nothing.wall_clock(Stopped).monotonic_clock(Stopped).secure_random(zeros());
    nothing.insecure_random(zeros()).insecure_random_seed(0);
    nothing.allow_tcp(false).allow_udp(false).allow_ip_name_lookup(false);
    nothing.build()
}

impl State {
    /// `standing` is of any member: revocation is common to all.
    pub(super) fn new(
        mut reaches: Vec<Reach>,
        table: ResourceTable,
        files: FilePolicy,
        limiter: Limiter,
        standing: Arc<Standing>,
    ) -> Self {
        if reaches.len() > 1 {
            reaches.push(Reach::nothing(&standing));
        }
        Self {
            reaches,
            table,
            files,
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

    /// What the member at a place reaches, and the handles of all.
    fn reach(&mut self, place: usize) -> (&mut Reach, &mut ResourceTable) {
        let place = place.min(self.reaches.len() - 1);
        (&mut self.reaches[place], &mut self.table)
    }

    fn void(&mut self) -> &mut (WasiCtx, ResourceTable) {
        self.asked_revoked = true;
        self.void.get_or_insert_with(|| Box::new((no_context(), ResourceTable::new())))
    }

    pub(super) fn parts(&mut self, place: usize) -> (&mut WasiCtx, &mut ResourceTable) {
        if self.stands() {
            let (reach, table) = self.reach(place);
            return (&mut reach.wasi, table);
        }
        let void = self.void();
        (&mut void.0, &mut void.1)
    }

    pub(super) fn table(&mut self) -> &mut ResourceTable {
        self.parts(0).1
    }

    pub(super) fn guarded_files(&mut self, place: usize) -> GuardedFiles<'_> {
        // A void has no folders, so the policy of the folders that were there decides about nothing.
        if !self.stands() {
            self.void();
            let void = self.void.as_mut().expect("it was made just now");
            return GuardedFiles::new(void.0.filesystem(), &mut void.1, &mut self.files, place);
        }
        let last = self.reaches.len() - 1;
        let reach = &mut self.reaches[place.min(last)];
        GuardedFiles::new(reach.wasi.filesystem(), &mut self.table, &mut self.files, place)
    }

    pub(super) fn guarded_names(&mut self, place: usize) -> GuardedNames<'_> {
        let alive = self.stands();
        if !alive {
            self.void();
        }
        let last = self.reaches.len() - 1;
        let Reach { wasi, network, .. } = &mut self.reaches[place.min(last)];
        let (wasi, table) = match (&mut self.void, alive) {
            (Some(void), false) => (&mut void.0, &mut void.1),
            _ => (wasi, &mut self.table),
        };
        GuardedNames::new(wasi.sockets(), table, network)
    }

    #[cfg(feature = "http")]
    pub(super) fn http(&mut self, place: usize) -> wasmtime_wasi_http::WasiHttpCtxView<'_> {
        let alive = self.stands();
        if !alive {
            self.void();
        }
        let last = self.reaches.len() - 1;
        let reach = &mut self.reaches[place.min(last)];
        let table = match (&mut self.void, alive) {
            (Some(void), false) => &mut void.1,
            _ => &mut self.table,
        };
        reach.http.view(table)
    }
}
