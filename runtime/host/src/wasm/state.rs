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
use crate::client::Cancellation;

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
pub(crate) struct State {
    /// One for each member of the unit, and in a unit of several, one that reaches nothing, for what belongs to no member.
    reaches: Vec<Reach>,
    table: ResourceTable,
    files: FilePolicy,
    pub(super) limiter: Limiter,
    standing: Arc<Standing>,
    born: u64,
    /// What a guest reaches once something was revoked: nothing, and no handle that it has is one there.
    void: Option<Box<(Reach, ResourceTable)>>,
    /// The guest asked for something after a revocation.
    pub(super) asked_revoked: bool,
    /// When the running call ends, where somebody looks at a clock.
    pub(super) deadline: Option<Instant>,
    /// The epoch at which it ends.
    pub(super) epoch: u64,
    /// Compartments around this one in the running call.
    pub(super) depth: usize,
    /// What can end the running call.
    pub(super) cancellation: Option<Cancellation>,
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
    /// `standing` is of any member: revocation is common to all. `born` is its epoch from before the grants were looked at.
    pub(super) fn new(
        mut reaches: Vec<Reach>,
        table: ResourceTable,
        files: FilePolicy,
        limiter: Limiter,
        standing: Arc<Standing>,
        born: u64,
    ) -> Self {
        if reaches.len() > 1 {
            reaches.push(Reach::nothing(&standing));
        }
        Self {
            reaches,
            table,
            files,
            limiter,
            born,
            standing,
            void: None,
            asked_revoked: false,
            deadline: None,
            epoch: u64::MAX,
            depth: 0,
            cancellation: None,
        }
    }

    /// Whether nothing was revoked since this instance began.
    pub(super) fn stands(&self) -> bool {
        self.born == self.standing.epoch()
    }

    /// What the member at a place reaches now, the handles of all, and the rules of their files.
    fn reach(&mut self, place: usize) -> (&mut Reach, &mut ResourceTable, &mut FilePolicy) {
        if self.stands() {
            let place = place.min(self.reaches.len() - 1);
            return (&mut self.reaches[place], &mut self.table, &mut self.files);
        }
        self.asked_revoked = true;
        let void =
            self.void.get_or_insert_with(|| Box::new((Reach::nothing(&self.standing), ResourceTable::new())));
        // The void has no folders, so the rules of those that were there decide about nothing.
        (&mut void.0, &mut void.1, &mut self.files)
    }

    pub(super) fn parts(&mut self, place: usize) -> (&mut WasiCtx, &mut ResourceTable) {
        let (reach, table, _) = self.reach(place);
        (&mut reach.wasi, table)
    }

    pub(super) fn table(&mut self) -> &mut ResourceTable {
        self.reach(0).1
    }

    pub(super) fn guarded_files(&mut self, place: usize) -> GuardedFiles<'_> {
        let (reach, table, files) = self.reach(place);
        GuardedFiles::new(reach.wasi.filesystem(), table, files, place)
    }

    pub(super) fn guarded_names(&mut self, place: usize) -> GuardedNames<'_> {
        let (reach, table, _) = self.reach(place);
        GuardedNames::new(reach.wasi.sockets(), table, &mut reach.network)
    }

    #[cfg(feature = "http")]
    pub(super) fn http(&mut self, place: usize) -> wasmtime_wasi_http::WasiHttpCtxView<'_> {
        let (reach, table, _) = self.reach(place);
        reach.http.view(table)
    }
}

#[cfg(all(test, feature = "http"))]
mod tests {
    use std::io::{Read as _, Write as _};
    use std::net::TcpListener;

    use capability_manifest::{Files, Form, ManifestText, ProjectBuilder, parse, resolve};
    use http_body_util::{BodyExt as _, Empty};

    use super::*;
    use crate::audit::AuditLog;
    use crate::plan::{CompartmentPlan, plan};

    fn planned(address: &str) -> CompartmentPlan {
        let network = format!("network = {{ connect = [\"{address}\"] }}");
        let text = format!(
            "[holds]\n{network}\n[crates.app]\ndependencies = [\"guest\"]\n[crates.app.grants.guest]\n{network}\n\
             [crates.guest.compartment]\nbackend = \"wasm\"\n"
        );
        let mut files = Files::default();
        let text = ManifestText::from_bytes("capabilities.toml", text.into_bytes()).expect("small");
        let file = files.add(text);
        let manifest = parse(file, files.get(file), Form::Standalone).expect("a manifest");
        let project = ProjectBuilder::standalone(files, manifest).expect("a graph");
        let resolution = resolve(&project);
        let graph = resolution.granted(&project).expect("granted");
        plan(&project, &graph).expect("the pages are right").compartments.remove(0)
    }

    /// Whoever has the name after it was granted may point it at this machine, and the guest would reach what is only meant for it.
    #[test]
    fn a_granted_name_that_leads_home_is_not_learned() {
        let standing = Arc::new(Standing::new("app -> guest".to_owned(), &AuditLog::discard()));
        let network = NetworkPolicy::new(&planned("service.example:80"), Arc::clone(&standing));
        let learn = |name: &str, address: &str| network.learn(name, address.parse().expect("an address"));
        for home in ["127.0.0.1", "10.0.0.7", "169.254.169.254", "::1", "::ffff:127.0.0.1", "fe80::1"] {
            assert!(!learn("service.example", home), "{home}");
            assert!(
                !network.may_connect((home.parse::<std::net::IpAddr>().expect("one"), 80).into()),
                "{home}"
            );
        }
        let refusals = standing.take_refusals();
        assert!(refusals[0].attempt.contains("an address of this machine or its network"), "{refusals:?}");
        // Control: an address elsewhere, and the same address where its block is granted.
        assert!(learn("service.example", "93.184.216.34"));
        assert!(network.may_connect("93.184.216.34:80".parse().expect("one")));
        let standing = Arc::new(Standing::new("app -> guest".to_owned(), &AuditLog::discard()));
        let network = NetworkPolicy::new(&planned("127.0.0.1:80"), standing);
        assert!(network.learn("service.example", "127.0.0.1".parse().expect("one")));
    }

    /// A guest that keeps none of its old handles can still make new values; what it sends must go nowhere.
    #[test]
    fn a_request_made_after_a_revocation_reaches_nobody() {
        let listener = TcpListener::bind("127.0.0.1:0").expect("loopback");
        let address = listener.local_addr().expect("bound").to_string();
        let server = std::thread::spawn(move || {
            let (mut connection, _) = listener.accept().expect("the request before the revocation");
            let _ = connection.read(&mut [0; 1024]);
            let _ = connection.write_all(b"HTTP/1.1 204 No Content\r\nConnection: close\r\n\r\n");
            listener.set_nonblocking(true).expect("set");
            listener
        });
        let standing = Arc::new(Standing::new("app -> guest".to_owned(), &AuditLog::discard()));
        let network = NetworkPolicy::new(&planned(&address), Arc::clone(&standing));
        let reach = Reach::new(no_context(), network);
        let limiter = Limiter::new(0, 1);
        let table = ResourceTable::new();
        let mut state =
            State::new(vec![reach], table, FilePolicy::default(), limiter, Arc::clone(&standing), 0);
        let runtime =
            tokio::runtime::Builder::new_current_thread().enable_all().build().expect("an executor");
        let send = |state: &mut State| {
            let body = Empty::new().map_err(|never: std::convert::Infallible| match never {}).boxed_unsync();
            let request = http::Request::get(format!("http://{address}/")).body(body).expect("a request");
            let sending = state.http(0).hooks.send_request(request, None, Box::new(async { Ok(()) }));
            runtime.block_on(Box::into_pin(sending)).map(|(response, _)| response.status().as_u16())
        };
        assert_eq!(send(&mut state).expect("granted"), 204);
        let listener = server.join().expect("no panic");
        standing.revoke();
        assert!(send(&mut state).is_err());
        assert!(state.asked_revoked);
        assert!(listener.accept().is_err(), "nobody came");
    }
}
