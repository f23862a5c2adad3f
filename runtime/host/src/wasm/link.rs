//! Links a component's imports, one interface at a time: only what it asks for, and each as its edge grants it.

use capability_manifest::{Capability, HostCapability, print};
use wasmtime::component::types::ComponentItem;
use wasmtime::component::{Component, HasSelf, Linker, ResourceTable};
use wasmtime_wasi::cli::{WasiCli, WasiCliView as _};
use wasmtime_wasi::clocks::{WasiClocks, WasiClocksView as _};
use wasmtime_wasi::filesystem::{WasiFilesystem, WasiFilesystemView as _};
use wasmtime_wasi::p2::bindings;
use wasmtime_wasi::random::WasiRandom;
use wasmtime_wasi::sockets::{WasiSockets, WasiSocketsView as _};
use wasmtime_wasi::{WasiCtx, WasiCtxView, WasiView};

use super::host::WasmHost;
use super::limits::Limiter;

/// What a store holds beside the component.
pub(super) struct State {
    pub(super) wasi: WasiCtx,
    pub(super) table: ResourceTable,
    pub(super) limiter: Limiter,
}

impl WasiView for State {
    fn ctx(&mut self) -> WasiCtxView<'_> {
        WasiCtxView { ctx: &mut self.wasi, table: &mut self.table }
    }
}

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

/// The linker for a component; or the imports that nothing here provides.
pub(super) fn link(
    host: &WasmHost,
    component: &Component,
    granted: impl Fn(HostCapability) -> bool,
) -> wasmtime::Result<Result<Linker<State>, Vec<String>>> {
    let mut linker: Linker<State> = Linker::new(host.engine());
    let mut unknown = Vec::new();
    let engine = host.engine();
    let types = component.component_type();
    for (name, item) in types.imports(engine) {
        let interface = name.split('@').next().unwrap_or(name);
        let needed = guarded(interface).filter(|capability| !granted(*capability));
        let added = match (needed, &item.ty) {
            (Some(capability), ComponentItem::ComponentInstance(instance)) => {
                let functions = instance.exports(engine).filter_map(|(function, item)| {
                    matches!(item.ty, ComponentItem::ComponentFunc(_)).then(|| function.to_owned())
                });
                refuse(&mut linker, name, functions.collect(), capability)?;
                true
            }
            _ => add(&mut linker, interface)?,
        };
        if !added {
            unknown.push(format!("`{name}`"));
        }
    }
    Ok(if unknown.is_empty() { Ok(linker) } else { Err(unknown) })
}

/// The capability without which an interface must not answer at all. The others answer as empty as their grants are.
fn guarded(interface: &str) -> Option<HostCapability> {
    match interface {
        "wasi:clocks/wall-clock" | "wasi:clocks/monotonic-clock" => Some(HostCapability::Clock),
        "wasi:random/random" | "wasi:random/insecure" | "wasi:random/insecure-seed" => {
            Some(HostCapability::Entropy)
        }
        "wasi:cli/exit" => Some(HostCapability::ProcessExit),
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

/// Adds one interface of WASI 0.2. False when it is not one of them.
fn add(linker: &mut Linker<State>, interface: &str) -> wasmtime::Result<bool> {
    use bindings::{cli, clocks, filesystem, random, sockets};
    use wasmtime_wasi_io::bindings::wasi::io;
    let l = linker;
    match interface {
        "wasi:io/error" => {
            io::error::add_to_linker::<S, HasSelf<ResourceTable>>(l, |state| &mut state.table)?;
        }
        "wasi:io/poll" => io::poll::add_to_linker::<S, HasSelf<ResourceTable>>(l, |state| &mut state.table)?,
        "wasi:io/streams" => {
            io::streams::add_to_linker::<S, HasSelf<ResourceTable>>(l, |state| &mut state.table)?;
        }
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
        "wasi:filesystem/preopens" => {
            filesystem::preopens::add_to_linker::<S, WasiFilesystem>(l, State::filesystem)?;
        }
        "wasi:filesystem/types" => {
            filesystem::types::add_to_linker::<S, WasiFilesystem>(l, State::filesystem)?;
        }
        "wasi:random/random" => {
            random::random::add_to_linker::<S, WasiRandom>(l, |state| state.wasi.random())?;
        }
        "wasi:random/insecure" => {
            random::insecure::add_to_linker::<S, WasiRandom>(l, |state| state.wasi.random())?;
        }
        "wasi:random/insecure-seed" => {
            random::insecure_seed::add_to_linker::<S, WasiRandom>(l, |state| state.wasi.random())?;
        }
        "wasi:sockets/network" => {
            let options = sockets::network::LinkOptions::default();
            sockets::network::add_to_linker::<S, WasiSockets>(l, &options, State::sockets)?;
        }
        "wasi:sockets/instance-network" => {
            sockets::instance_network::add_to_linker::<S, WasiSockets>(l, State::sockets)?;
        }
        "wasi:sockets/tcp" => sockets::tcp::add_to_linker::<S, WasiSockets>(l, State::sockets)?,
        "wasi:sockets/tcp-create-socket" => {
            sockets::tcp_create_socket::add_to_linker::<S, WasiSockets>(l, State::sockets)?;
        }
        "wasi:sockets/udp" => sockets::udp::add_to_linker::<S, WasiSockets>(l, State::sockets)?,
        "wasi:sockets/udp-create-socket" => {
            sockets::udp_create_socket::add_to_linker::<S, WasiSockets>(l, State::sockets)?;
        }
        "wasi:sockets/ip-name-lookup" => {
            sockets::ip_name_lookup::add_to_linker::<S, WasiSockets>(l, State::sockets)?;
        }
        _ => return Ok(false),
    }
    Ok(true)
}
