//! What a compartment is before any of it runs: refused where its limits cannot be held, else compiled and linked.

use std::path::Path;

use capability_manifest::scope::{Scope, Stream};
use capability_manifest::{Backend, HostCapability, Link};
use wasmtime::component::Component;

use super::cache;
use super::compartment::CompartmentOptions;
use super::error::StartError;
use super::host::WasmHost;
use super::instance::{Settled, SettledMember, environment};
use super::link::{Linking, link};
use super::member::Member;
use super::stream::Input;
use super::unit::{self, Imports, Piece};
use crate::plan::CompartmentPlan;

/// Compiles and links a compartment. A unit of several is composed first.
pub(super) fn settle(
    host: &WasmHost,
    members: &[Member],
    parts: Vec<(CompartmentPlan, Vec<u8>)>,
    waits: bool,
    version: u64,
) -> Result<Settled, StartError> {
    let edge = &members[0].edge;
    let compiled = |bytes: &[u8], digest: &str| {
        cache::compile(host, bytes, digest).map_err(|error| StartError::not_a_component(edge, &error))
    };
    let digests: Vec<String> = parts.iter().map(|(_, bytes)| super::inspect::digest(bytes)).collect();
    let (component, imports) = match parts.as_slice() {
        [(_, bytes)] => (compiled(bytes, &digests[0])?, Imports::Own),
        parts => {
            let pieces: Vec<Piece<'_>> = members
                .iter()
                .zip(parts)
                .map(|(member, (_, component))| Piece {
                    edge: &member.edge,
                    inside: member.inside,
                    component,
                    routes: &member.routes,
                })
                .collect();
            let composed = unit::compose(host, &pieces)?;
            let component = compiled(&composed.bytes, &super::inspect::digest(&composed.bytes))?;
            unit::verify(host, edge, &component, &composed)?;
            (component, Imports::Labelled(composed.labels))
        }
    };
    let several = parts.len() > 1;
    let settled = parts
        .into_iter()
        .zip(digests)
        .map(|((plan, bytes), digest)| SettledMember {
            digest,
            environment: environment(&plan),
            plan,
            bytes: several.then(|| bytes.into()),
        })
        .collect();
    relink(host, members, settled, component, imports, waits, version)
}

pub(super) fn relink(
    host: &WasmHost,
    members: &[Member],
    settled: Vec<SettledMember>,
    component: Component,
    imports: Imports,
    waits: bool,
    version: u64,
) -> Result<Settled, StartError> {
    let linking: Vec<Linking<'_>> = members
        .iter()
        .zip(&settled)
        .enumerate()
        .map(|(place, (member, settled))| Linking {
            host,
            edge: &member.edge,
            waits,
            routes: &member.routes,
            provided: &member.provided,
            plan: &settled.plan,
            fused: place > 0,
        })
        .collect();
    let linker = link(&linking, &component, &imports)?;
    let pre = linker
        .instantiate_pre(&component)
        .map_err(|error| StartError::not_a_component(&members[0].edge, &error))?;
    Ok(Settled { version, members: settled, component, imports, pre })
}

/// Whether anything that the grants give can make a guest wait.
pub(crate) fn may_wait(plan: &CompartmentPlan) -> bool {
    use HostCapability as Host;
    const WAITING: [HostCapability; 6] = [
        Host::FilesystemRead,
        Host::FilesystemWrite,
        Host::NetworkConnect,
        Host::NetworkListen,
        Host::NetworkDns,
        Host::Clock,
    ];
    let stdin =
        |scope: &Scope| matches!(scope, Scope::Streams(streams) if streams.covers_any_of(&Stream::Stdin));
    WAITING.iter().any(|capability| plan.scope(*capability).is_some())
        || plan.scope(Host::Stdio).is_some_and(stdin)
}

/// Refuses what this release cannot hold a guest to.
pub(super) fn enforceable(
    plan: &CompartmentPlan,
    options: &CompartmentOptions,
    link: Link,
) -> Result<(), StartError> {
    let edge = plan.edge();
    if plan.backend != Backend::Wasm.name() {
        return Err(StartError::OtherBackend { edge, backend: plan.backend.clone() });
    }
    let cannot = |what: &str| Err(StartError::CannotEnforce { edge: edge.clone(), what: what.to_owned() });
    if plan.link != link.name() {
        return cannot(&format!(
            "`link = \"{}\"` for a compartment that is started {}",
            plan.link,
            match link {
                Link::Isolated => "by itself",
                Link::Fused => "with its unit",
            }
        ));
    }
    if link == Link::Fused && options.instances > 1 {
        return cannot("a number of instances for one member of a unit, which are made together,");
    }
    if let Some(Scope::Streams(streams)) = plan.scope(HostCapability::Stdio) {
        let capped = |one: &capability_manifest::scope::Bounded<Stream>| {
            one.pattern == Stream::Stdin && one.bytes.is_some()
        };
        if matches!(options.input, Input::Inherited) && streams.iter().any(capped) {
            return cannot("a cap on the host's own standard input");
        }
    }
    // A guest opens a path below the folder whose name is its beginning; of two folders with one name it would see one.
    let mut seen = std::collections::BTreeSet::new();
    for mount in &plan.mounts {
        let at = if mount.file {
            Path::new(&mount.at).parent().map(|path| path.display().to_string()).unwrap_or_default()
        } else {
            mount.at.clone()
        };
        if !seen.insert(at) {
            return cannot("two granted paths with the same folder inside; give one another name with `at`");
        }
    }
    Ok(())
}
