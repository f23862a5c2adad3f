//! Links a component's imports, one interface at a time: only what it asks for, and each as its edge grants it.

use capability_manifest::{Capability, HostCapability, print};
use wasmtime::component::types::{ComponentInstance, ComponentItem};
use wasmtime::component::{Component, HasSelf, Linker, LinkerInstance, ResourceTable};
use wasmtime_wasi::cli::WasiCli;
use wasmtime_wasi::clocks::WasiClocks;
use wasmtime_wasi::p2::bindings;
use wasmtime_wasi::random::WasiRandom;
use wasmtime_wasi::sockets::WasiSockets;

use super::error::StartError;
use super::forward::{self, Route};
use super::host::WasmHost;
use super::places::{PLACES, Place};
use super::state::State;
use super::unit::{Imports, Whose, has_only_types, is_shared};
use super::{files, names, provided};
use crate::client::Provided;
use crate::plan::CompartmentPlan;

/// A call of an interface that the edge does not grant.
#[derive(Debug, thiserror::Error)]
#[error("`{attempt}` needs `{capability}`")]
pub(super) struct Ungranted {
    pub(super) edge: String,
    pub(super) capability: Capability,
    pub(super) attempt: String,
}

impl Ungranted {
    /// The line that would allow it, with an example where it needs a parameter.
    pub(super) fn line(&self) -> String {
        print::suggestion(&self.capability, None)
    }
}

/// One member of a unit, to a linker.
pub(super) struct Linking<'a> {
    pub(super) host: &'a WasmHost,
    pub(super) edge: &'a str,
    /// Whether anything that the guest reaches can make it wait. Where nothing can, calls need no stack of their own.
    pub(super) waits: bool,
    /// Where the interfaces of other compartments are.
    pub(super) routes: &'a [Route],
    /// What the host program implements for it.
    pub(super) provided: &'a [Provided],
    pub(super) plan: &'a CompartmentPlan,
    /// Its unit is called over another edge.
    pub(super) fused: bool,
}

/// The linker for a component, with all that it imports and nothing else. The first of `members` is the one that is called.
pub(super) fn link(
    members: &[Linking<'_>],
    component: &Component,
    imports: &Imports,
) -> Result<Linker<State>, StartError> {
    let (host, edge) = (members[0].host, members[0].edge);
    let engine = host.engine();
    let mut linker: Linker<State> = Linker::new(engine);
    let mut unknown: Vec<Vec<String>> = vec![Vec::new(); members.len()];
    let types = component.component_type();
    for (label, item) in types.imports(engine) {
        let failed = |error: wasmtime::Error| StartError::not_a_component(edge, &error);
        let (member, name, place) = match (imports.whose(label), &item.ty) {
            (Whose::Member(member, name), _) => (member, name, member),
            (Whose::Shared, ComponentItem::ComponentInstance(instance)) if has_only_types(host, instance) => {
                linker.instance(label).map_err(failed)?;
                continue;
            }
            // The place behind the last member's reaches nothing.
            (Whose::Shared, _) if is_shared(label) => (0, label, members.len()),
            (Whose::Shared, ComponentItem::Type(_)) => continue,
            // It is there for its types; no member can call it.
            (Whose::Shared, ComponentItem::ComponentInstance(instance)) => {
                let mut linked = linker.instance(label).map_err(failed)?;
                for function in functions(host, instance) {
                    let refusal = format!("`{label}#{function}` belongs to no edge of the unit");
                    let refused = linked
                        .func_new(&function, move |_, _, _, _| Err(wasmtime::Error::msg(refusal.clone())));
                    refused.map_err(failed)?;
                }
                continue;
            }
            (Whose::Shared, _) => {
                unknown[0].push(format!("`{label}`"));
                continue;
            }
        };
        let linking = &members[member];
        let interface = name.split('@').next().unwrap_or(name);
        let granted = |capability: &HostCapability| linking.plan.scope(*capability).is_some();
        let needed = guarded(interface).filter(|any| !any.iter().any(granted));
        let added = match (needed, &item.ty) {
            (Some([capability, ..]), ComponentItem::ComponentInstance(instance)) => {
                let refusal = Ungranted {
                    edge: linking.edge.to_owned(),
                    capability: Capability::host(*capability),
                    attempt: name.to_owned(),
                };
                refuse(&mut linker, label, functions(host, instance), &refusal).map_err(failed)?;
                true
            }
            // Records and the like that an interface of the guest's own uses: there is nothing to call.
            (_, ComponentItem::ComponentInstance(instance))
                if !provides(host, interface) && has_only_types(host, instance) =>
            {
                linker.instance(label).map_err(failed)?;
                true
            }
            (_, ComponentItem::ComponentInstance(_)) if provides(host, interface) => {
                let mut instance = linker.instance(label).map_err(failed)?;
                add(&mut instance, interface, linking.waits, &PLACES[place]).map_err(failed)?
            }
            _ if provided::provides(linking.provided, name) => {
                let others = forward::offering(host, linking.routes, name);
                if let Some((to, _)) = others.first() {
                    let providers = vec![format!("`{}`", to.edge()), "the host program".to_owned()];
                    let (edge, import) = (linking.edge.to_owned(), name.to_owned());
                    return Err(StartError::AmbiguousImport { edge, import, providers });
                }
                provided::add(&mut linker, linking, label, name, &item.ty)?
            }
            _ => forward::add(&mut linker, linking, label, name, &item.ty)?,
        };
        if !added {
            unknown[member].push(format!("`{name}`"));
        }
    }
    match unknown.into_iter().zip(members).find(|(imports, _)| !imports.is_empty()) {
        None => Ok(linker),
        Some((imports, of)) => Err(StartError::UnknownImports { edge: of.edge.to_owned(), imports }),
    }
}

fn functions(host: &WasmHost, instance: &ComponentInstance) -> Vec<String> {
    let functions = instance.exports(host.engine()).filter_map(|(function, item)| {
        matches!(item.ty, ComponentItem::ComponentFunc(_)).then(|| function.to_owned())
    });
    functions.collect()
}

/// Whether the host has that interface of WASI. The linker itself is asked, so that there are no two lists.
pub(super) fn provides(host: &WasmHost, name: &str) -> bool {
    let interface = name.split('@').next().unwrap_or(name);
    let mut linker: Linker<State> = Linker::new(host.engine());
    let Ok(mut instance) = linker.instance(interface) else { return false };
    add(&mut instance, interface, true, &PLACES[0]).unwrap_or(false)
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
    label: &str,
    functions: Vec<String>,
    refusal: &Ungranted,
) -> wasmtime::Result<()> {
    let mut instance = linker.instance(label)?;
    for function in functions {
        let Ungranted { edge, capability, attempt: interface } = refusal;
        let (edge, capability, attempt) =
            (edge.clone(), capability.clone(), format!("{interface}#{function}"));
        instance.func_new(&function, move |_, _, _, _| {
            Err(wasmtime::Error::new(Ungranted {
                edge: edge.clone(),
                capability: capability.clone(),
                attempt: attempt.clone(),
            }))
        })?;
    }
    Ok(())
}

/// For the lines of `add` to fit.
type S = State;
type Table = HasSelf<ResourceTable>;

/// Adds one interface of WASI 0.2, with what the member at that place has. False when it is not one of them.
fn add(
    linker: &mut LinkerInstance<'_, State>,
    interface: &str,
    waits: bool,
    place: &Place,
) -> wasmtime::Result<bool> {
    use bindings::{cli, clocks, filesystem, random, sockets, sync};
    use wasmtime_wasi_io::bindings::wasi::io;
    let l = linker;
    match interface {
        "wasi:io/error" => io::error::add_to_linker_instance::<S, Table>(l, State::table)?,
        "wasi:io/poll" if waits => io::poll::add_to_linker_instance::<S, Table>(l, State::table)?,
        "wasi:io/poll" => sync::io::poll::add_to_linker_instance::<S, Table>(l, State::table)?,
        "wasi:io/streams" if waits => io::streams::add_to_linker_instance::<S, Table>(l, State::table)?,
        "wasi:io/streams" => sync::io::streams::add_to_linker_instance::<S, Table>(l, State::table)?,
        "wasi:cli/environment" => cli::environment::add_to_linker_instance::<S, WasiCli>(l, place.cli)?,
        "wasi:cli/exit" => cli::exit::add_to_linker_instance::<S, WasiCli>(l, place.cli)?,
        "wasi:cli/stdin" => cli::stdin::add_to_linker_instance::<S, WasiCli>(l, place.cli)?,
        "wasi:cli/stdout" => cli::stdout::add_to_linker_instance::<S, WasiCli>(l, place.cli)?,
        "wasi:cli/stderr" => cli::stderr::add_to_linker_instance::<S, WasiCli>(l, place.cli)?,
        "wasi:cli/terminal-input" => cli::terminal_input::add_to_linker_instance::<S, WasiCli>(l, place.cli)?,
        "wasi:cli/terminal-output" => {
            cli::terminal_output::add_to_linker_instance::<S, WasiCli>(l, place.cli)?;
        }
        "wasi:cli/terminal-stdin" => cli::terminal_stdin::add_to_linker_instance::<S, WasiCli>(l, place.cli)?,
        "wasi:cli/terminal-stdout" => {
            cli::terminal_stdout::add_to_linker_instance::<S, WasiCli>(l, place.cli)?;
        }
        "wasi:cli/terminal-stderr" => {
            cli::terminal_stderr::add_to_linker_instance::<S, WasiCli>(l, place.cli)?;
        }
        "wasi:clocks/wall-clock" => {
            clocks::wall_clock::add_to_linker_instance::<S, WasiClocks>(l, place.clocks)?;
        }
        "wasi:clocks/monotonic-clock" => {
            clocks::monotonic_clock::add_to_linker_instance::<S, WasiClocks>(l, place.clocks)?;
        }
        "wasi:filesystem/preopens" => {
            filesystem::preopens::add_to_linker_instance::<S, files::Guarded>(l, place.guarded_files)?;
        }
        "wasi:filesystem/types" if waits => {
            filesystem::types::add_to_linker_instance::<S, files::Guarded>(l, place.guarded_files)?;
        }
        "wasi:filesystem/types" => {
            sync::filesystem::types::add_to_linker_instance::<S, files::Guarded>(l, place.guarded_files)?;
        }
        "wasi:random/random" => random::random::add_to_linker_instance::<S, WasiRandom>(l, place.random)?,
        "wasi:random/insecure" => random::insecure::add_to_linker_instance::<S, WasiRandom>(l, place.random)?,
        "wasi:random/insecure-seed" => {
            random::insecure_seed::add_to_linker_instance::<S, WasiRandom>(l, place.random)?;
        }
        "wasi:sockets/network" => {
            let options = sockets::network::LinkOptions::default();
            sockets::network::add_to_linker_instance::<S, WasiSockets>(l, &options, place.sockets)?;
        }
        "wasi:sockets/instance-network" => {
            sockets::instance_network::add_to_linker_instance::<S, WasiSockets>(l, place.sockets)?;
        }
        "wasi:sockets/tcp" if waits => {
            sockets::tcp::add_to_linker_instance::<S, WasiSockets>(l, place.sockets)?;
        }
        "wasi:sockets/tcp" => sync::sockets::tcp::add_to_linker_instance::<S, WasiSockets>(l, place.sockets)?,
        "wasi:sockets/tcp-create-socket" => {
            sockets::tcp_create_socket::add_to_linker_instance::<S, names::Guarded>(l, place.guarded_names)?;
        }
        "wasi:sockets/udp" if waits => {
            sockets::udp::add_to_linker_instance::<S, WasiSockets>(l, place.sockets)?;
        }
        "wasi:sockets/udp" => sync::sockets::udp::add_to_linker_instance::<S, WasiSockets>(l, place.sockets)?,
        "wasi:sockets/udp-create-socket" if !waits => {
            sync::sockets::udp_create_socket::add_to_linker_instance::<S, names::Guarded>(
                l,
                place.guarded_names,
            )?;
        }
        "wasi:sockets/udp-create-socket" => {
            sockets::udp_create_socket::add_to_linker_instance::<S, names::Guarded>(l, place.guarded_names)?;
        }
        "wasi:sockets/ip-name-lookup" => {
            sockets::ip_name_lookup::add_to_linker_instance::<S, names::Guarded>(l, place.guarded_names)?;
        }
        #[cfg(feature = "http")]
        "wasi:http/types" => {
            use wasmtime_wasi_http::WasiHttp;
            use wasmtime_wasi_http::p2::bindings::{LinkOptions, http};
            let options = LinkOptions::default();
            http::types::add_to_linker_instance::<S, WasiHttp>(l, &(&options).into(), place.http)?;
        }
        #[cfg(feature = "http")]
        "wasi:http/outgoing-handler" => {
            use wasmtime_wasi_http::WasiHttp;
            use wasmtime_wasi_http::p2::bindings::http::outgoing_handler;
            outgoing_handler::add_to_linker_instance::<S, WasiHttp>(l, place.http)?;
        }
        _ => return Ok(false),
    }
    Ok(true)
}
