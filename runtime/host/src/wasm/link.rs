//! Links a component's imports, one interface at a time: only what it asks for, and each as its edge grants it.

use capability_manifest::{Capability, HostCapability, print};
use wasmtime::component::types::ComponentItem;
use wasmtime::component::{Component, HasSelf, Linker, ResourceTable};
use wasmtime_wasi::WasiView as _;
use wasmtime_wasi::cli::{WasiCli, WasiCliView as _};
use wasmtime_wasi::clocks::{WasiClocks, WasiClocksView as _};
use wasmtime_wasi::filesystem::{WasiFilesystem, WasiFilesystemView as _};
use wasmtime_wasi::p2::bindings;
use wasmtime_wasi::random::WasiRandom;
use wasmtime_wasi::sockets::{WasiSockets, WasiSocketsView as _};

use super::error::StartError;
use super::forward::{self, Route};
use super::host::WasmHost;
use super::state::State;
use super::{files, names};

/// A call of an interface that the edge does not grant.
#[derive(Debug, thiserror::Error)]
#[error("`{attempt}` needs `{capability}`")]
pub(super) struct Ungranted {
    pub(super) capability: Capability,
    pub(super) attempt: String,
}

impl Ungranted {
    /// The line that would allow it, with an example where it needs a parameter.
    pub(super) fn line(&self) -> String {
        print::clause(&self.capability, &capability_manifest::example_scope(&self.capability))
    }
}

/// What a linker is made for.
pub(super) struct Linking<'a> {
    pub(super) host: &'a WasmHost,
    pub(super) edge: &'a str,
    /// Whether anything that the guest reaches can make it wait. Where nothing can, calls need no stack of their own.
    pub(super) waits: bool,
    /// Where the interfaces of other compartments are.
    pub(super) routes: &'a [Route],
}

/// The linker for a component, with all that it imports and nothing else.
pub(super) fn link(
    linking: &Linking<'_>,
    component: &Component,
    granted: impl Fn(HostCapability) -> bool,
) -> Result<Linker<State>, StartError> {
    let engine = linking.host.engine();
    let mut linker: Linker<State> = Linker::new(engine);
    let mut unknown = Vec::new();
    let types = component.component_type();
    let failed = |error: wasmtime::Error| StartError::not_a_component(linking.edge, &error);
    for (name, item) in types.imports(engine) {
        let interface = name.split('@').next().unwrap_or(name);
        let needed = guarded(interface).filter(|any| !any.iter().any(|capability| granted(*capability)));
        let added = match (needed, &item.ty) {
            (Some([capability, ..]), ComponentItem::ComponentInstance(instance)) => {
                let functions = instance.exports(engine).filter_map(|(function, item)| {
                    matches!(item.ty, ComponentItem::ComponentFunc(_)).then(|| function.to_owned())
                });
                refuse(&mut linker, name, functions.collect(), *capability).map_err(failed)?;
                true
            }
            _ => {
                add(&mut linker, interface, linking.waits).map_err(failed)?
                    || forward::add(&mut linker, linking, name, &item.ty)?
            }
        };
        if !added {
            unknown.push(format!("`{name}`"));
        }
    }
    if unknown.is_empty() {
        Ok(linker)
    } else {
        Err(StartError::UnknownImports { edge: linking.edge.to_owned(), imports: unknown })
    }
}

/// The capabilities of which one is needed for an interface to answer at all, the plainest first. The other interfaces answer
/// as empty as their grants are.
fn guarded(interface: &str) -> Option<&'static [HostCapability]> {
    match interface {
        "wasi:clocks/wall-clock" | "wasi:clocks/monotonic-clock" => Some(&[HostCapability::Clock]),
        "wasi:random/random" | "wasi:random/insecure" | "wasi:random/insecure-seed" => {
            Some(&[HostCapability::Entropy])
        }
        "wasi:cli/exit" => Some(&[HostCapability::ProcessExit]),
        "wasi:http/outgoing-handler" => Some(&[HostCapability::NetworkConnect]),
        _ => None,
    }
}

/// Each function of the interface is a violation.
fn refuse(
    linker: &mut Linker<State>,
    name: &str,
    functions: Vec<String>,
    capability: HostCapability,
) -> wasmtime::Result<()> {
    let mut instance = linker.instance(name)?;
    for function in functions {
        let attempt = format!("{name}#{function}");
        instance.func_new(&function, move |_, _, _, _| {
            Err(wasmtime::Error::new(Ungranted {
                capability: Capability::host(capability),
                attempt: attempt.clone(),
            }))
        })?;
    }
    Ok(())
}

/// For the lines of `add` to fit.
type S = State;
type Table = HasSelf<ResourceTable>;

/// Adds one interface of WASI 0.2. False when it is not one of them.
fn add(linker: &mut Linker<State>, interface: &str, waits: bool) -> wasmtime::Result<bool> {
    use bindings::{cli, clocks, filesystem, random, sockets, sync};
    use wasmtime_wasi_io::bindings::wasi::io;
    let l = linker;
    match interface {
        "wasi:io/error" => io::error::add_to_linker::<S, Table>(l, State::table)?,
        "wasi:io/poll" if waits => io::poll::add_to_linker::<S, Table>(l, State::table)?,
        "wasi:io/poll" => sync::io::poll::add_to_linker::<S, Table>(l, State::table)?,
        "wasi:io/streams" if waits => io::streams::add_to_linker::<S, Table>(l, State::table)?,
        "wasi:io/streams" => sync::io::streams::add_to_linker::<S, Table>(l, State::table)?,
        "wasi:cli/environment" => cli::environment::add_to_linker::<S, WasiCli>(l, State::cli)?,
        "wasi:cli/exit" => cli::exit::add_to_linker::<S, WasiCli>(l, State::cli)?,
        "wasi:cli/stdin" => cli::stdin::add_to_linker::<S, WasiCli>(l, State::cli)?,
        "wasi:cli/stdout" => cli::stdout::add_to_linker::<S, WasiCli>(l, State::cli)?,
        "wasi:cli/stderr" => cli::stderr::add_to_linker::<S, WasiCli>(l, State::cli)?,
        "wasi:cli/terminal-input" => cli::terminal_input::add_to_linker::<S, WasiCli>(l, State::cli)?,
        "wasi:cli/terminal-output" => cli::terminal_output::add_to_linker::<S, WasiCli>(l, State::cli)?,
        "wasi:cli/terminal-stdin" => cli::terminal_stdin::add_to_linker::<S, WasiCli>(l, State::cli)?,
        "wasi:cli/terminal-stdout" => cli::terminal_stdout::add_to_linker::<S, WasiCli>(l, State::cli)?,
        "wasi:cli/terminal-stderr" => cli::terminal_stderr::add_to_linker::<S, WasiCli>(l, State::cli)?,
        "wasi:clocks/wall-clock" => clocks::wall_clock::add_to_linker::<S, WasiClocks>(l, State::clocks)?,
        "wasi:clocks/monotonic-clock" => {
            clocks::monotonic_clock::add_to_linker::<S, WasiClocks>(l, State::clocks)?;
        }
        "wasi:filesystem/preopens" if waits => {
            filesystem::preopens::add_to_linker::<S, files::Guarded>(l, State::guarded_files)?;
        }
        "wasi:filesystem/preopens" => {
            filesystem::preopens::add_to_linker::<S, WasiFilesystem>(l, State::filesystem)?;
        }
        "wasi:filesystem/types" if waits => {
            filesystem::types::add_to_linker::<S, files::Guarded>(l, State::guarded_files)?;
        }
        "wasi:filesystem/types" => {
            sync::filesystem::types::add_to_linker::<S, WasiFilesystem>(l, State::filesystem)?;
        }
        "wasi:random/random" => random::random::add_to_linker::<S, WasiRandom>(l, random_of)?,
        "wasi:random/insecure" => random::insecure::add_to_linker::<S, WasiRandom>(l, random_of)?,
        "wasi:random/insecure-seed" => random::insecure_seed::add_to_linker::<S, WasiRandom>(l, random_of)?,
        "wasi:sockets/network" => {
            let options = sockets::network::LinkOptions::default();
            sockets::network::add_to_linker::<S, WasiSockets>(l, &options, State::sockets)?;
        }
        "wasi:sockets/instance-network" => {
            sockets::instance_network::add_to_linker::<S, WasiSockets>(l, State::sockets)?;
        }
        "wasi:sockets/tcp" if waits => sockets::tcp::add_to_linker::<S, WasiSockets>(l, State::sockets)?,
        "wasi:sockets/tcp" => sync::sockets::tcp::add_to_linker::<S, WasiSockets>(l, State::sockets)?,
        "wasi:sockets/tcp-create-socket" => {
            sockets::tcp_create_socket::add_to_linker::<S, WasiSockets>(l, State::sockets)?;
        }
        "wasi:sockets/udp" if waits => sockets::udp::add_to_linker::<S, WasiSockets>(l, State::sockets)?,
        "wasi:sockets/udp" => sync::sockets::udp::add_to_linker::<S, WasiSockets>(l, State::sockets)?,
        "wasi:sockets/udp-create-socket" if !waits => {
            sync::sockets::udp_create_socket::add_to_linker::<S, WasiSockets>(l, State::sockets)?;
        }
        "wasi:sockets/udp-create-socket" => {
            sockets::udp_create_socket::add_to_linker::<S, WasiSockets>(l, State::sockets)?;
        }
        "wasi:sockets/ip-name-lookup" => {
            sockets::ip_name_lookup::add_to_linker::<S, names::Guarded>(l, State::guarded_names)?;
        }
        #[cfg(feature = "http")]
        "wasi:http/types" => {
            use wasmtime_wasi_http::WasiHttp;
            use wasmtime_wasi_http::p2::bindings::{LinkOptions, http};
            let options = LinkOptions::default();
            http::types::add_to_linker::<S, WasiHttp>(l, &(&options).into(), State::http)?;
        }
        #[cfg(feature = "http")]
        "wasi:http/outgoing-handler" => {
            use wasmtime_wasi_http::WasiHttp;
            use wasmtime_wasi_http::p2::bindings::http::outgoing_handler;
            outgoing_handler::add_to_linker::<S, WasiHttp>(l, State::http)?;
        }
        _ => return Ok(false),
    }
    Ok(true)
}

fn random_of(state: &mut State) -> &mut wasmtime_wasi::random::WasiRandomCtx {
    state.ctx().ctx.random()
}
