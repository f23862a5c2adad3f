//! Holds a guest to its hosts: which names it may look up, which addresses it may reach, and that a name led to an address.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use capability_manifest::HostCapability;
use capability_manifest::scope::{HostPattern, HostPort, PatternSet, Scope};
use wasmtime::component::{HasData, Resource, ResourceTable};
use wasmtime_wasi::p2::bindings::sockets::ip_name_lookup::{
    Host, HostResolveAddressStream, ResolveAddressStream,
};
use wasmtime_wasi::p2::bindings::sockets::network::{self, ErrorCode, IpAddress, IpAddressFamily, Network};
use wasmtime_wasi::p2::bindings::sockets::{tcp_create_socket, udp_create_socket};
use wasmtime_wasi::p2::bindings::sync::sockets::udp_create_socket as sync_udp_create_socket;
use wasmtime_wasi::p2::{SocketError, SocketResult, TcpSocket, UdpSocket};
use wasmtime_wasi::sockets::{SocketAddrUse, WasiSocketsCtx, WasiSocketsCtxView};
use wasmtime_wasi_io::poll::DynPollable;

use super::limits::LEARNED_ADDRESSES_MAX;
use super::standing::Standing;
use crate::home::leads_home;
use crate::plan::CompartmentPlan;

/// What a guest can open without an address.
#[derive(Clone, Copy)]
enum SocketKind {
    Tcp,
    Udp,
}

/// What an instance may reach, and which addresses its granted names led to. Clones are of the same instance.
#[derive(Clone)]
pub(super) struct NetworkPolicy(Arc<Policy>);

struct Policy {
    connect: Option<PatternSet<HostPort>>,
    listen: Option<PatternSet<HostPort>>,
    dns: Option<PatternSet<HostPattern>>,
    learned: Mutex<BTreeMap<IpAddr, BTreeSet<String>>>,
    lookups: Mutex<HashMap<u32, String>>,
    /// Which kinds of socket were refused, since a guest may ask again and again.
    refused_sockets: [AtomicBool; 2],
    standing: Arc<Standing>,
}

impl NetworkPolicy {
    pub(super) fn new(plan: &CompartmentPlan, standing: Arc<Standing>) -> Self {
        let hosts = |capability| match plan.scope(capability) {
            Some(Scope::Hosts(hosts)) => Some(hosts.clone()),
            _ => None,
        };
        let dns = match plan.scope(HostCapability::NetworkDns) {
            Some(Scope::HostNames(names)) => Some(names.clone()),
            _ => None,
        };
        Self(Arc::new(Policy {
            connect: hosts(HostCapability::NetworkConnect),
            listen: hosts(HostCapability::NetworkListen),
            dns,
            learned: Mutex::default(),
            lookups: Mutex::default(),
            refused_sockets: Default::default(),
            standing,
        }))
    }

    /// No name and no address: for what belongs to no member of a unit.
    pub(super) fn nothing(standing: Arc<Standing>) -> Self {
        Self(Arc::new(Policy {
            connect: None,
            listen: None,
            dns: None,
            learned: Mutex::default(),
            lookups: Mutex::default(),
            refused_sockets: Default::default(),
            standing,
        }))
    }

    /// Whether the instance may have sockets at all.
    pub(super) fn has_sockets(&self) -> bool {
        self.0.connect.is_some() || self.0.listen.is_some()
    }

    pub(super) fn has_names(&self) -> bool {
        self.0.dns.is_some() || self.0.connect.is_some()
    }

    /// Whether a name may be looked up: it is granted, or a connection to it is.
    pub(super) fn may_look_up(&self, name: &str) -> bool {
        let name = plain(name);
        let granted = |names: &PatternSet<HostPattern>| names.iter().any(|one| one.matches_name(&name));
        let reachable = |hosts: &PatternSet<HostPort>| hosts.iter().any(|one| one.host.matches_name(&name));
        self.0.dns.as_ref().is_some_and(granted) || self.0.connect.as_ref().is_some_and(reachable)
    }

    /// Remembers that a name led to an address. False when an outsider's name must not lead there.
    pub(super) fn learn(&self, name: &str, address: IpAddr) -> bool {
        let (name, address) = (plain(name), address.to_canonical());
        // A name in someone else's hands could be pointed at this machine or its network after it was granted.
        if leads_home(&name, address) && !self.block_covers(address, None) {
            self.0.standing.refused(
                HostCapability::NetworkConnect,
                &format!("looked up `{name}`, which leads to `{address}`, an address of this machine or its network"),
                &Scope::Hosts(PatternSet::new(block(address, 1, u16::MAX))),
            );
            return false;
        }
        let mut learned = self.0.learned.lock().unwrap_or_else(PoisonError::into_inner);
        if learned.len() >= LEARNED_ADDRESSES_MAX && !learned.contains_key(&address) {
            return false;
        }
        learned.entry(address).or_default().insert(name);
        true
    }

    /// Whether a connection to a name and port is granted, whatever addresses the name has.
    #[cfg(feature = "http")]
    pub(super) fn names_to_connect(&self, name: &str, port: u16) -> bool {
        let name = plain(name);
        let hosts = self.0.connect.iter().flat_map(PatternSet::iter);
        hosts.into_iter().any(|one| one.includes_port(port) && one.host.matches_name(&name))
    }

    /// Records a refusal.
    #[cfg(feature = "http")]
    pub(super) fn refused(&self, capability: HostCapability, attempt: &str, line: &Scope) {
        self.0.standing.refused(capability, attempt, line);
    }

    fn block_covers(&self, address: IpAddr, port: Option<u16>) -> bool {
        self.0.connect.iter().flat_map(PatternSet::iter).any(|one| {
            matches!(&one.host, HostPattern::Block(block) if block.contains(address))
                && port.is_none_or(|port| one.includes_port(port))
        })
    }

    /// Whether a connection to an address may be made: the address is granted, or a granted name led to it.
    pub(super) fn may_connect(&self, to: SocketAddr) -> bool {
        let address = to.ip().to_canonical();
        if self.block_covers(address, Some(to.port())) {
            return true;
        }
        let learned = self.0.learned.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(names) = learned.get(&address) else { return false };
        self.0
            .connect
            .iter()
            .flat_map(PatternSet::iter)
            .any(|one| one.includes_port(to.port()) && names.iter().any(|name| one.host.matches_name(name)))
    }

    fn may_listen(&self, at: SocketAddr) -> bool {
        let address = at.ip().to_canonical();
        self.0.listen.iter().flat_map(PatternSet::iter).any(|one| {
            matches!(&one.host, HostPattern::Block(block) if block.contains(address))
                && one.includes_port(at.port())
        })
    }

    fn may_hear(&self, from: SocketAddr) -> bool {
        self.0.listen.is_some() || self.may_connect(from)
    }

    /// Judges one use of an address, and records a refusal.
    pub(super) fn allows(&self, address: SocketAddr, used: SocketAddrUse) -> bool {
        use SocketAddrUse as Use;
        let any = address.ip().is_unspecified() && address.port() == 0;
        let (allowed, capability, attempt) = match used {
            Use::TcpConnect => (self.may_connect(address), HostCapability::NetworkConnect, "connect to"),
            Use::UdpSend => (self.may_connect(address), HostCapability::NetworkConnect, "send to"),
            // Every connection begins with a bind to any address.
            Use::TcpBind | Use::UdpBind if any => return true,
            Use::TcpBind | Use::UdpBind => {
                (self.may_listen(address), HostCapability::NetworkListen, "bind to")
            }
            Use::TcpListen => (self.may_listen(address), HostCapability::NetworkListen, "listen at"),
            Use::TcpAccept => return self.0.listen.is_some(),
            Use::UdpReceive => return self.may_hear(address),
        };
        if !allowed {
            let port = address.port().max(1);
            let line = Scope::Hosts(PatternSet::new(block(address.ip().to_canonical(), port, port)));
            self.0.standing.refused(capability, &format!("{attempt} `{address}`"), &line);
        }
        allowed
    }

    /// Whether the instance may have a socket. A refusal is recorded once for each kind: the guest has named no address yet, so a
    /// second one says nothing new.
    fn may_open(&self, kind: SocketKind) -> bool {
        if self.has_sockets() {
            return true;
        }
        if !self.0.refused_sockets[kind as usize].swap(true, Ordering::AcqRel) {
            let attempt = match kind {
                SocketKind::Tcp => "open a TCP socket",
                SocketKind::Udp => "open a UDP socket",
            };
            self.0.standing.refused_altogether(HostCapability::NetworkConnect, attempt);
        }
        false
    }

    fn refuse_name(&self, name: &str) {
        let line = HostPattern::parse(name).map(|host| Scope::HostNames(PatternSet::new([host])));
        let capability = HostCapability::NetworkDns;
        if let Ok(line) = line {
            self.0.standing.refused(capability, &format!("look up `{name}`"), &line);
        }
    }
}

/// A pattern for one address.
fn block(address: IpAddr, first: u16, last: u16) -> Option<HostPort> {
    let text = if address.is_ipv6() { format!("[{address}]") } else { address.to_string() };
    HostPattern::parse(&text).ok().map(|host| HostPort { host, first, last })
}

/// Lowercase, and without the dot of the root.
fn plain(name: &str) -> String {
    let name = name.to_ascii_lowercase();
    name.strip_suffix('.').unwrap_or(&name).to_owned()
}

/// Wasmtime's resolver, with the list of names in front and the check of addresses behind; and its makers of sockets, where an
/// instance has any.
pub(super) struct GuardedNames<'a> {
    view: WasiSocketsCtxView<'a>,
    policy: &'a mut NetworkPolicy,
}

/// Names [`GuardedNames`] to the linker.
pub(super) struct Guarded;

impl HasData for Guarded {
    type Data<'a> = GuardedNames<'a>;
}

impl<'a> GuardedNames<'a> {
    pub(super) fn new(
        ctx: &'a mut WasiSocketsCtx,
        table: &'a mut ResourceTable,
        policy: &'a mut NetworkPolicy,
    ) -> Self {
        Self { view: WasiSocketsCtxView { ctx, table }, policy }
    }
}

impl network::Host for GuardedNames<'_> {
    fn convert_error_code(&mut self, error: SocketError) -> wasmtime::Result<ErrorCode> {
        network::Host::convert_error_code(&mut self.view, error)
    }

    fn network_error_code(
        &mut self,
        error: Resource<wasmtime_wasi_io::streams::Error>,
    ) -> wasmtime::Result<Option<ErrorCode>> {
        network::Host::network_error_code(&mut self.view, error)
    }
}

impl network::HostNetwork for GuardedNames<'_> {
    fn drop(&mut self, network: Resource<Network>) -> wasmtime::Result<()> {
        network::HostNetwork::drop(&mut self.view, network)
    }
}

impl tcp_create_socket::Host for GuardedNames<'_> {
    fn create_tcp_socket(&mut self, family: IpAddressFamily) -> SocketResult<Resource<TcpSocket>> {
        if !self.policy.may_open(SocketKind::Tcp) {
            return Err(ErrorCode::AccessDenied.into());
        }
        tcp_create_socket::Host::create_tcp_socket(&mut self.view, family)
    }
}

impl udp_create_socket::Host for GuardedNames<'_> {
    async fn create_udp_socket(&mut self, family: IpAddressFamily) -> SocketResult<Resource<UdpSocket>> {
        if !self.policy.may_open(SocketKind::Udp) {
            return Err(ErrorCode::AccessDenied.into());
        }
        udp_create_socket::Host::create_udp_socket(&mut self.view, family).await
    }
}

impl sync_udp_create_socket::Host for GuardedNames<'_> {
    fn create_udp_socket(&mut self, family: IpAddressFamily) -> SocketResult<Resource<UdpSocket>> {
        if !self.policy.may_open(SocketKind::Udp) {
            return Err(ErrorCode::AccessDenied.into());
        }
        sync_udp_create_socket::Host::create_udp_socket(&mut self.view, family)
    }
}

impl Host for GuardedNames<'_> {
    fn resolve_addresses(
        &mut self,
        network: Resource<Network>,
        name: String,
    ) -> Result<Resource<ResolveAddressStream>, SocketError> {
        // An address asks nobody, and says nothing that its writer did not know.
        let is_address = name.parse::<IpAddr>().is_ok();
        if !is_address && !self.policy.may_look_up(&name) {
            self.policy.refuse_name(&name);
            return Err(ErrorCode::AccessDenied.into());
        }
        let stream = Host::resolve_addresses(&mut self.view, network, name.clone())?;
        if !is_address {
            let mut lookups = self.policy.0.lookups.lock().unwrap_or_else(PoisonError::into_inner);
            lookups.insert(stream.rep(), name);
        }
        Ok(stream)
    }
}

impl HostResolveAddressStream for GuardedNames<'_> {
    fn resolve_next_address(
        &mut self,
        stream: Resource<ResolveAddressStream>,
    ) -> Result<Option<IpAddress>, SocketError> {
        let key = stream.rep();
        loop {
            let again = Resource::new_borrow(key);
            let next = HostResolveAddressStream::resolve_next_address(&mut self.view, again)?;
            let Some(address) = next else { return Ok(None) };
            let lookups = self.policy.0.lookups.lock().unwrap_or_else(PoisonError::into_inner);
            let Some(name) = lookups.get(&key).cloned() else { return Ok(Some(address)) };
            drop(lookups);
            let ip = match address {
                IpAddress::Ipv4(bytes) => IpAddr::from(<[u8; 4]>::from(bytes)),
                IpAddress::Ipv6(parts) => IpAddr::from(<[u16; 8]>::from(parts)),
            };
            if self.policy.learn(&name, ip) {
                return Ok(Some(address));
            }
        }
    }

    fn subscribe(
        &mut self,
        stream: Resource<ResolveAddressStream>,
    ) -> wasmtime::Result<Resource<DynPollable>> {
        HostResolveAddressStream::subscribe(&mut self.view, stream)
    }

    fn drop(&mut self, stream: Resource<ResolveAddressStream>) -> wasmtime::Result<()> {
        self.policy.0.lookups.lock().unwrap_or_else(PoisonError::into_inner).remove(&stream.rep());
        HostResolveAddressStream::drop(&mut self.view, stream)
    }
}
