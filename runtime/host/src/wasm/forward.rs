//! Edges between compartments: what a component imports and another compartment exports, each in its own store or process.
//!
//! A call crosses as bytes, which `passing` reads out of the caller and writes into the callee: no code for each type, and no
//! dynamic value. docs/design/0002 says why.

use std::sync::Arc;

use cofferdam_wire::value::put_case;
use wasmtime::StoreContextMut;
use wasmtime::component::types::{ComponentFunc, ComponentItem};
use wasmtime::component::{Linker, LinkerInstance, Type};

use super::compartment::{Around, WasmCompartment};
use super::entry::Entry;
use super::error::{CallError, StartError};
use super::failure::CalleeFailed;
use super::host::WasmHost;
use super::instance::Running;
use super::link::Linking;
#[cfg(all(feature = "process", target_os = "linux", target_arch = "x86_64"))]
use super::outward;
use super::passing::FLAT_MAX;
use super::signature;
use super::state::State;
use super::unchecked::{Arguments, Called, Given};
use crate::client::Compartment;

/// A compartment that another may call, over an edge of the plan.
#[derive(Debug, Clone)]
pub(super) struct Route(Compartment);

impl Route {
    pub(super) fn new(to: Compartment) -> Self {
        Self(to)
    }
}

/// Links an import to the one edge whose compartment exports it. False when none does. In a unit, the linker knows the import by
/// a label, and the component by its name.
pub(super) fn add(
    linker: &mut Linker<State>,
    linking: &Linking<'_>,
    label: &str,
    name: &str,
    item: &ComponentItem,
) -> Result<bool, StartError> {
    let engine = linking.host.engine();
    match item {
        ComponentItem::ComponentInstance(instance) => {
            let Some((to, exported)) = provider(linking, name)? else { return Ok(false) };
            let mut linked =
                linker.instance(label).map_err(|error| StartError::not_a_component(linking.edge, &error))?;
            for (function, item) in instance.exports(engine) {
                match item.ty {
                    ComponentItem::ComponentFunc(ty) => {
                        let far = far(linking, &to, &format!("{exported}#{function}"), &ty)?;
                        join(&mut linked, linking, function, far, &ty)?;
                    }
                    ComponentItem::Resource(_) => {
                        let (edge, function) = (linking.edge.to_owned(), format!("{name}#{function}"));
                        return Err(StartError::CannotCross { edge, function, what: "a resource" });
                    }
                    _ => {}
                }
            }
            Ok(true)
        }
        ComponentItem::ComponentFunc(ty) => {
            let Some((to, exported)) = provider(linking, name)? else { return Ok(false) };
            join(&mut linker.root(), linking, label, far(linking, &to, &exported, ty)?, ty)?;
            Ok(true)
        }
        _ => Ok(false),
    }
}

/// The compartment that exports what is imported, and the name that it has there.
fn provider(linking: &Linking<'_>, import: &str) -> Result<Option<(Compartment, String)>, StartError> {
    let mut found = offering(linking.host, linking.routes, import);
    match found.len() {
        0 | 1 => Ok(found.pop()),
        _ => Err(StartError::AmbiguousImport {
            edge: linking.edge.to_owned(),
            import: import.to_owned(),
            providers: found.iter().map(|(to, _)| format!("`{}`", to.edge())).collect(),
        }),
    }
}

/// The compartments that export what is imported, with the name that it has there.
pub(super) fn offering(host: &WasmHost, routes: &[Route], import: &str) -> Vec<(Compartment, String)> {
    let offered = |to: &Compartment| match to {
        Compartment::Wasm(to) => {
            let settled = to.settled();
            let types = settled.component.component_type();
            let mut names = types.exports(host.engine()).map(|(name, _)| name);
            names.find(|name| compatible(import, name)).map(str::to_owned)
        }
        // A process names its functions with their interface.
        Compartment::Process(to) => to.exports().into_iter().find_map(|name| {
            let item = name.split_once('#').map_or(name.as_str(), |(interface, _)| interface);
            compatible(import, item).then(|| item.to_owned())
        }),
        // Inline crates are linked into the host program, and no guest has an edge to one.
        Compartment::Linked(_) => None,
    };
    routes.iter().filter_map(|Route(to)| Some((to.clone(), offered(to)?))).collect()
}

/// Whether an export serves an import: the same name, and of a version that semver says has at least as much.
pub(super) fn compatible(import: &str, export: &str) -> bool {
    if import == export {
        return true;
    }
    let version = |name: &'_ str| -> Option<(String, semver::Version)> {
        let (name, version) = name.split_once('@')?;
        Some((name.to_owned(), version.parse().ok()?))
    };
    let (Some((import, wanted)), Some((export, has))) = (version(import), version(export)) else {
        return false;
    };
    let caret = semver::VersionReq::parse(&format!("^{wanted}"));
    import == export && caret.is_ok_and(|caret| caret.matches(&has))
}

/// A function on the far side of an edge.
struct Far {
    to: Callee,
    /// The edge of the caller, where that is a member of a unit which is called over another.
    from: Option<String>,
    excuse: Option<Excuse>,
}

/// Where a function is.
enum Callee {
    Wasm {
        to: WasmCompartment,
        slot: usize,
        name: String,
    },
    #[cfg(all(feature = "process", target_os = "linux", target_arch = "x86_64"))]
    Process(outward::Far),
}

/// Finds a function, whose types must be those that the caller wants. `name` is its name there, with its interface in front.
fn far(
    linking: &Linking<'_>,
    to: &Compartment,
    name: &str,
    wanted: &ComponentFunc,
) -> Result<Far, StartError> {
    for ty in wanted.params().map(|(_, ty)| ty).chain(wanted.results()) {
        if let Some(what) = uncrossable(&ty) {
            let (edge, function) = (linking.edge.to_owned(), name.to_owned());
            return Err(StartError::CannotCross { edge, function, what });
        }
    }
    let found = match to {
        Compartment::Wasm(to) => match to.passing_slot(name, wanted) {
            Ok(slot) => Ok(Callee::Wasm { to: to.clone(), slot, name: name.to_owned() }),
            Err(found) => Err(found),
        },
        #[cfg(all(feature = "process", target_os = "linux", target_arch = "x86_64"))]
        Compartment::Process(to) => match outward::Far::find(to, linking.host, name, wanted) {
            Some(far) => Ok(Callee::Process(far)),
            None => Err(Some("none, or of other types".to_owned())),
        },
        #[cfg(not(all(feature = "process", target_os = "linux", target_arch = "x86_64")))]
        Compartment::Process(_) => unreachable!("there is none here"),
        Compartment::Linked(_) => unreachable!("`offering` has none"),
    };
    let to = found.map_err(|found| {
        let text = signature::function(wanted, linking.host.engine());
        let mut differences = vec![format!("- {name}: {text}")];
        differences.extend(found.map(|found| format!("+ {name}: {found}")));
        let world = format!("what `{}` imports", linking.edge);
        StartError::DoesNotFit { edge: to.edge().to_owned(), world, differences }
    })?;
    let from = linking.fused.then(|| linking.edge.to_owned());
    Ok(Far { to, from, excuse: Excuse::of(wanted) })
}

/// What in a type is bound to its store.
fn uncrossable(ty: &Type) -> Option<&'static str> {
    match ty {
        Type::Own(_) | Type::Borrow(_) => Some("a handle"),
        Type::Future(_) | Type::Stream(_) | Type::ErrorContext => Some("a stream or future"),
        Type::Map(_) | Type::FixedLengthList(_) => Some("a map or a list of a fixed length"),
        Type::Flags(flags) if flags.names().len() > 32 => Some("a set of more than 32 flags"),
        Type::List(list) => uncrossable(&list.ty()),
        Type::Option(option) => uncrossable(&option.ty()),
        Type::Record(record) => record.fields().find_map(|field| uncrossable(&field.ty)),
        Type::Tuple(tuple) => tuple.types().find_map(|ty| uncrossable(&ty)),
        Type::Variant(variant) => variant.cases().find_map(|case| uncrossable(&case.ty?)),
        Type::Result(result) => {
            [result.ok(), result.err()].into_iter().flatten().find_map(|ty| uncrossable(&ty))
        }
        _ => None,
    }
}

/// Whether two functions have the same types. Names of parameters are the caller's own matter.
pub(super) fn same_types(one: &ComponentFunc, other: &ComponentFunc) -> bool {
    one.params().len() == other.params().len()
        && one.results().len() == other.results().len()
        && one.params().zip(other.params()).all(|((_, a), (_, b))| a == b)
        && one.results().zip(other.results()).all(|(a, b)| a == b)
}

/// An edge is part of what was granted: after a revocation it is as dead as a file.
pub(super) fn alive(state: &State) -> wasmtime::Result<()> {
    if state.stands() {
        Ok(())
    } else {
        Err(wasmtime::Error::msg("a grant that the guest was using was revoked"))
    }
}

impl Far {
    fn call(&self, message: &[u8], around: Around) -> wasmtime::Result<Vec<u8>> {
        self.settle(match &self.to {
            Callee::Wasm { to, slot, name } => {
                to.enter(Passing { slot: *slot, name, message }, None, around).map(|(answer, _)| answer)
            }
            #[cfg(all(feature = "process", target_os = "linux", target_arch = "x86_64"))]
            Callee::Process(to) => to.call(message, around),
        })
    }

    async fn call_async(&self, message: &[u8], around: Around) -> wasmtime::Result<Vec<u8>> {
        self.settle(match &self.to {
            Callee::Wasm { to, slot, name } => {
                let passing = Passing { slot: *slot, name, message };
                to.enter_async(passing, None, around).await.map(|(answer, _)| answer)
            }
            // It keeps its thread waiting, at most until the deadline of the calls around it.
            #[cfg(all(feature = "process", target_os = "linux", target_arch = "x86_64"))]
            Callee::Process(to) => to.call(message, around),
        })
    }

    /// Gives the caller its answer, or the failure in the way that its interface has for it.
    fn settle(&self, answer: Result<Vec<u8>, CallError>) -> wasmtime::Result<Vec<u8>> {
        let error = match answer {
            Ok(answer) => return Ok(answer),
            Err(error) => error,
        };
        if let Some(excuse) = &self.excuse {
            return Ok(excuse.answer(&error));
        }
        let error = match &self.from {
            None => error,
            Some(edge) => CallError::Callee { edge: edge.clone(), source: Box::new(error) },
        };
        let text = error.to_string();
        Err(wasmtime::Error::new(CalleeFailed(std::sync::Mutex::new(Some(Box::new(error))), text)))
    }
}

/// How the caller's interface can say that its callee failed: as an error without a payload, with a text, or with the case
/// `unavailable` of a variant or enum.
enum Excuse {
    Nothing,
    Text,
    Case { case: u32, cases: u32, text: bool },
}

impl Excuse {
    fn of(function: &ComponentFunc) -> Option<Self> {
        const CASE: &str = "unavailable";
        let Some(Type::Result(result)) = function.results().next() else { return None };
        let number = |count: usize| u32::try_from(count).ok();
        match result.err() {
            None => Some(Self::Nothing),
            Some(Type::String) => Some(Self::Text),
            Some(Type::Enum(ty)) => {
                let case = number(ty.names().position(|name| name == CASE)?)?;
                Some(Self::Case { case, cases: number(ty.names().len())?, text: false })
            }
            Some(Type::Variant(ty)) => {
                let (case, found) = ty.cases().enumerate().find(|(_, case)| case.name == CASE)?;
                let text = match found.ty {
                    None => false,
                    Some(Type::String) => true,
                    Some(_) => return None,
                };
                Some(Self::Case { case: number(case)?, cases: number(ty.cases().len())?, text })
            }
            Some(_) => None,
        }
    }

    /// The message of a result that is an error.
    fn answer(&self, error: &CallError) -> Vec<u8> {
        let mut message = vec![1];
        let text = match self {
            Self::Nothing => false,
            Self::Text => true,
            Self::Case { case, cases, text } => {
                put_case(*case, *cases, &mut message);
                *text
            }
        };
        if text {
            message.extend(cofferdam_wire::encode(&error.to_string()).expect("a sentence"));
        }
        message
    }
}

/// A call with a message.
pub(super) struct Passing<'a> {
    pub(super) slot: usize,
    pub(super) name: &'a str,
    pub(super) message: &'a [u8],
}

impl Entry for Passing<'_> {
    type Output = Vec<u8>;

    fn name(&self) -> &str {
        self.name
    }

    fn run(self, running: &mut Running) -> wasmtime::Result<Vec<u8>> {
        let function = running.passing(self.slot, self.name)?;
        Ok(function.call(&mut running.store, Arguments(self.message))?.0)
    }

    async fn run_async(self, running: &mut Running) -> wasmtime::Result<Vec<u8>> {
        let function = running.passing(self.slot, self.name)?;
        Ok(function.call_async(&mut running.store, Arguments(self.message)).await?.0)
    }
}

/// Joins an import to its function: by how many core values its parameters and its result are, since the engine must know that.
fn join(
    linked: &mut LinkerInstance<'_, State>,
    linking: &Linking<'_>,
    name: &str,
    far: Far,
    ty: &ComponentFunc,
) -> Result<(), StartError> {
    macro_rules! by_params {
        ($($count:literal)*) => { [$(by_result::<$count>),*] };
    }
    const JOINS: [Join; FLAT_MAX + 1] = by_params!(0 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16);
    let sum = |types: &mut dyn Iterator<Item = Type>| types.map(|ty| flat_count(&ty)).sum::<usize>();
    let params = sum(&mut ty.params().map(|(_, ty)| ty));
    let result = sum(&mut ty.results());
    let (params, result) = (if params > FLAT_MAX { 0 } else { params }, result == 1);
    JOINS[params](linked, name, Arc::new(far), linking.waits, result)
        .map_err(|error| StartError::not_a_component(linking.edge, &error))
}

/// Core values of a type.
fn flat_count(ty: &Type) -> usize {
    // What a case has beside its number shares its core values with every other case.
    let cases = |payloads: &mut dyn Iterator<Item = Option<Type>>| {
        1 + payloads.map(|ty| ty.map_or(0, |ty| flat_count(&ty))).max().unwrap_or(0)
    };
    match ty {
        Type::String | Type::List(_) => 2,
        Type::Record(record) => record.fields().map(|field| flat_count(&field.ty)).sum(),
        Type::Tuple(tuple) => tuple.types().map(|ty| flat_count(&ty)).sum(),
        Type::Variant(variant) => cases(&mut variant.cases().map(|case| case.ty)),
        Type::Option(option) => cases(&mut [Some(option.ty())].into_iter()),
        Type::Result(result) => cases(&mut [result.ok(), result.err()].into_iter()),
        _ => 1,
    }
}

type Join = fn(&mut LinkerInstance<'_, State>, &str, Arc<Far>, bool, bool) -> wasmtime::Result<()>;

fn by_result<const PARAMS: usize>(
    linked: &mut LinkerInstance<'_, State>,
    name: &str,
    far: Arc<Far>,
    waits: bool,
    result: bool,
) -> wasmtime::Result<()> {
    if result {
        wrap::<PARAMS, 1>(linked, name, far, waits)
    } else {
        wrap::<PARAMS, 0>(linked, name, far, waits)
    }
}

fn wrap<const PARAMS: usize, const RESULT: usize>(
    linked: &mut LinkerInstance<'_, State>,
    name: &str,
    far: Arc<Far>,
    waits: bool,
) -> wasmtime::Result<()> {
    if waits {
        linked.func_wrap_async(
            name,
            move |caller: StoreContextMut<'_, State>, Called::<PARAMS>(message): Called<PARAMS>| {
                let far = Arc::clone(&far);
                let around = WasmCompartment::around(caller.data());
                let alive = alive(caller.data());
                Box::new(async move {
                    alive?;
                    Ok(Given::<RESULT>(far.call_async(&message, around).await?))
                })
            },
        )
    } else {
        linked.func_wrap(
            name,
            move |caller: StoreContextMut<'_, State>, Called::<PARAMS>(message): Called<PARAMS>| {
                alive(caller.data())?;
                Ok(Given::<RESULT>(far.call(&message, WasmCompartment::around(caller.data()))?))
            },
        )
    }
}

#[cfg(test)]
mod tests {
    use super::compatible;

    #[test]
    fn an_export_serves_the_same_name_and_a_version_with_at_least_as_much() {
        assert!(compatible("a:b/c", "a:b/c"));
        assert!(compatible("a:b/c@1.2.0", "a:b/c@1.3.0"));
        assert!(!compatible("a:b/c@1.3.0", "a:b/c@1.2.0"));
        assert!(!compatible("a:b/c@0.1.0", "a:b/c@0.2.0"));
        assert!(!compatible("a:b/c@1.0.0", "a:b/c"));
        assert!(!compatible("a:b/c@1.0.0", "a:b/d@1.0.0"));
    }
}
