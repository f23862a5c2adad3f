//! Edges between compartments: what one component imports and another exports, each in its own store.
//!
//! Numbers, strings and byte buffers go through with their types; anything else goes through as dynamic values, which costs
//! tens of nanoseconds for each element of a list.

use std::sync::atomic::{AtomicU64, Ordering};

use wasmtime::StoreContextMut;
use wasmtime::component::types::{ComponentFunc, ComponentItem};
use wasmtime::component::{ComponentNamedList, Lift, Linker, LinkerInstance, Lower, Type, Val};

use super::compartment::WasmCompartment;
use super::entry::Entry;
use super::error::{CallError, StartError};
use super::failure::CalleeFailed;
use super::host::WasmHost;
use super::instance::Running;
use super::link::Linking;
#[cfg(all(feature = "process", target_os = "linux", target_arch = "x86_64"))]
use super::outward;
use super::signature;
use super::state::State;
use crate::client::Compartment;

/// A compartment that another may call, over an edge of the plan.
#[derive(Debug, Clone)]
pub(super) struct Route(Compartment);

impl Route {
    pub(super) fn new(to: Compartment) -> Self {
        Self(to)
    }
}

/// A function on the far side of an edge.
#[derive(Clone)]
struct Far {
    to: WasmCompartment,
    /// The edge of the caller, where that is a member of a unit which is called over another.
    from: Option<String>,
    interface: Option<String>,
    name: String,
    id: u64,
}

static NEXT_FAR: AtomicU64 = AtomicU64::new(1);

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
    let far = |to: &WasmCompartment, interface: Option<&str>, name: &str| Far {
        to: to.clone(),
        from: linking.fused.then(|| linking.edge.to_owned()),
        interface: interface.map(str::to_owned),
        name: name.to_owned(),
        id: NEXT_FAR.fetch_add(1, Ordering::Relaxed),
    };
    match item {
        ComponentItem::ComponentInstance(instance) => {
            let Some((to, exported)) = provider(linking, name)? else { return Ok(false) };
            let mut linked =
                linker.instance(label).map_err(|error| StartError::not_a_component(linking.edge, &error))?;
            for (function, item) in instance.exports(engine) {
                match item.ty {
                    ComponentItem::ComponentFunc(ty) => match &to {
                        Compartment::Wasm(to) => {
                            let far = far(to, Some(&exported), function);
                            join(&mut linked, linking, &far, (function, function), &ty)?;
                        }
                        #[cfg(all(feature = "process", target_os = "linux", target_arch = "x86_64"))]
                        Compartment::Process(to) => {
                            let far = format!("{exported}#{function}");
                            outward::join(&mut linked, linking, to, (function, &far), &ty)?;
                        }
                        _ => return Ok(false),
                    },
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
            match &to {
                Compartment::Wasm(to) => {
                    join(&mut linker.root(), linking, &far(to, None, &exported), (label, name), ty)?;
                }
                #[cfg(all(feature = "process", target_os = "linux", target_arch = "x86_64"))]
                Compartment::Process(to) => {
                    outward::join(&mut linker.root(), linking, to, (label, &exported), ty)?;
                }
                _ => return Ok(false),
            }
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

/// Compares both ends of a function, and joins them.
fn join(
    linked: &mut LinkerInstance<'_, State>,
    linking: &Linking<'_>,
    far: &Far,
    (name, shown): (&str, &str),
    wanted: &ComponentFunc,
) -> Result<(), StartError> {
    let engine = linking.host.engine();
    let place = far.interface.as_ref().map(|name| format!("{name}#")).unwrap_or_default();
    let settled = far.to.settled();
    let text = signature::function(wanted, engine);
    let misfit = |found: Option<String>| {
        let mut differences = vec![format!("- {place}{shown}: {text}")];
        differences.extend(found.map(|found| format!("+ {place}{shown}: {found}")));
        let world = format!("what `{}` imports", linking.edge);
        StartError::DoesNotFit { edge: far.to.edge().to_owned(), world, differences }
    };
    let Some((ComponentItem::ComponentFunc(has), _)) = settled.find(far.interface.as_deref(), &far.name)
    else {
        return Err(misfit(None));
    };
    let same = wanted.params().len() == has.params().len()
        && wanted.results().len() == has.results().len()
        && wanted.params().zip(has.params()).all(|((_, a), (_, b))| a == b)
        && wanted.results().zip(has.results()).all(|(a, b)| a == b);
    for ty in wanted.params().map(|(_, ty)| ty).chain(wanted.results()) {
        if let Some(what) = uncrossable(&ty) {
            let (edge, function) = (linking.edge.to_owned(), format!("{place}{shown}"));
            return Err(StartError::CannotCross { edge, function, what });
        }
    }
    if !same {
        return Err(misfit(Some(signature::function(&has, engine))));
    }
    let failed = |error: wasmtime::Error| StartError::not_a_component(linking.edge, &error);
    if typed(linked, name, far, wanted, linking.waits).map_err(failed)? {
        return Ok(());
    }
    dynamic(linked, name, far.clone(), linking.waits).map_err(failed)
}

/// What in a type is bound to its store.
fn uncrossable(ty: &Type) -> Option<&'static str> {
    match ty {
        Type::Own(_) | Type::Borrow(_) => Some("a handle"),
        Type::Future(_) | Type::Stream(_) | Type::ErrorContext => Some("a stream or future"),
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

/// Forwards a function as dynamic values.
fn dynamic(
    linked: &mut LinkerInstance<'_, State>,
    name: &str,
    far: Far,
    waits: bool,
) -> wasmtime::Result<()> {
    if waits {
        linked.func_new_async(name, move |caller, ty, params, results| {
            let far = far.clone();
            let around = WasmCompartment::around(caller.data());
            let alive = alive(caller.data());
            Box::new(async move {
                alive?;
                let target = far.path();
                let answer = match far.to.untyped(&target, params) {
                    Ok(entry) => far.to.enter_async(entry, None, around).await,
                    Err(error) => Err(error),
                };
                answered(&far, answer.map(|(values, _)| values), &ty, results)
            })
        })
    } else {
        linked.func_new(name, move |caller, ty, params, results| {
            let around = WasmCompartment::around(caller.data());
            alive(caller.data())?;
            let target = far.path();
            let answer = far.to.untyped(&target, params).and_then(|entry| far.to.enter(entry, None, around));
            answered(&far, answer.map(|(values, _)| values), &ty, results)
        })
    }
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
    fn path(&self) -> String {
        match &self.interface {
            Some(interface) => format!("{interface}#{}", self.name),
            None => self.name.clone(),
        }
    }
}

fn answered(
    far: &Far,
    answer: Result<Vec<Val>, CallError>,
    ty: &ComponentFunc,
    results: &mut [Val],
) -> wasmtime::Result<()> {
    give(far.from.as_deref(), answer, ty, results)
}

/// Gives a caller its answer, or the failure in the way that its interface has for it. `from` is the caller's edge, where that is
/// a member of a unit which is called over another.
pub(super) fn give(
    from: Option<&str>,
    answer: Result<Vec<Val>, CallError>,
    ty: &ComponentFunc,
    results: &mut [Val],
) -> wasmtime::Result<()> {
    match answer {
        Ok(values) => {
            for (result, value) in results.iter_mut().zip(values) {
                *result = value;
            }
            Ok(())
        }
        Err(error) => match (ty.results().next(), results.first_mut()) {
            (Some(Type::Result(result)), Some(place)) => match excuse(result.err().as_ref(), &error) {
                Some(excuse) => {
                    *place = Val::Result(Err(excuse));
                    Ok(())
                }
                None => Err(trap(from, error)),
            },
            _ => Err(trap(from, error)),
        },
    }
}

/// A callee's failure as the error of the caller's interface, where that has room: no payload, a string, or a variant or enum
/// with the case `unavailable`.
#[expect(clippy::option_option, reason = "whether there is an excuse, and its payload, which may be none")]
fn excuse(ty: Option<&Type>, error: &CallError) -> Option<Option<Box<Val>>> {
    const CASE: &str = "unavailable";
    match ty {
        None => Some(None),
        Some(Type::String) => Some(Some(Box::new(Val::String(error.to_string())))),
        Some(Type::Enum(ty)) => {
            ty.names().any(|name| name == CASE).then(|| Some(Box::new(Val::Enum(CASE.to_owned()))))
        }
        Some(Type::Variant(ty)) => {
            let case = ty.cases().find(|case| case.name == CASE)?;
            let payload = match case.ty {
                None => None,
                Some(Type::String) => Some(Box::new(Val::String(error.to_string()))),
                Some(_) => return None,
            };
            Some(Some(Box::new(Val::Variant(CASE.to_owned(), payload))))
        }
        Some(_) => None,
    }
}

fn trap(from: Option<&str>, error: CallError) -> wasmtime::Error {
    let error = match from {
        None => error,
        Some(edge) => CallError::Callee { edge: edge.to_owned(), source: Box::new(error) },
    };
    let text = error.to_string();
    wasmtime::Error::new(CalleeFailed(std::sync::Mutex::new(Some(Box::new(error))), text))
}

/// Results that can say that there was none.
trait Answer: ComponentNamedList + Lift + Lower + Send + Sync + 'static {
    fn excuse(error: &CallError) -> Option<Self>;
}

struct TypedForward<P, R> {
    far: Far,
    params: P,
    results: std::marker::PhantomData<fn() -> R>,
}

impl<P, R> Entry for TypedForward<P, R>
where
    P: ComponentNamedList + Lower + Send + Sync + 'static,
    R: Answer,
{
    type Output = R;

    fn name(&self) -> &str {
        &self.far.name
    }

    fn run(self, running: &mut Running) -> wasmtime::Result<R> {
        let function = running.forward::<P, R>(self.far.id, self.far.interface.as_deref(), &self.far.name)?;
        function.call(&mut running.store, self.params)
    }

    async fn run_async(self, running: &mut Running) -> wasmtime::Result<R> {
        let function = running.forward::<P, R>(self.far.id, self.far.interface.as_deref(), &self.far.name)?;
        function.call_async(&mut running.store, self.params).await
    }
}

/// Forwards a function whose types are known to this program.
fn forward<P, R>(
    linked: &mut LinkerInstance<'_, State>,
    name: &str,
    far: &Far,
    waits: bool,
) -> wasmtime::Result<()>
where
    P: ComponentNamedList + Lift + Lower + Send + Sync + 'static,
    R: Answer,
{
    let far = far.clone();
    let settle = |far: &Far, answer: Result<(R, u64), CallError>| match answer {
        Ok((results, _)) => Ok(results),
        Err(error) => R::excuse(&error).ok_or_else(|| trap(far.from.as_deref(), error)),
    };
    let entry =
        |far: &Far, params: P| TypedForward { far: far.clone(), params, results: std::marker::PhantomData };
    if waits {
        linked.func_wrap_async(name, move |caller: StoreContextMut<'_, State>, params: P| {
            let (around, alive) = (WasmCompartment::around(caller.data()), alive(caller.data()));
            let entry = entry(&far, params);
            let far = far.clone();
            Box::new(async move {
                alive?;
                settle(&far, far.to.enter_async(entry, None, around).await)
            })
        })
    } else {
        linked.func_wrap(name, move |caller: StoreContextMut<'_, State>, params: P| {
            let around = WasmCompartment::around(caller.data());
            alive(caller.data())?;
            settle(&far, far.to.enter(entry(&far, params), None, around))
        })
    }
}

/// What of a type the fast path knows.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Bytes,
    Text,
    U32,
    U64,
}

fn kind(ty: &Type) -> Option<Kind> {
    match ty {
        Type::String => Some(Kind::Text),
        Type::U32 => Some(Kind::U32),
        Type::U64 => Some(Kind::U64),
        Type::List(list) if list.ty() == Type::U8 => Some(Kind::Bytes),
        _ => None,
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum ResultKind {
    Nothing,
    Plain(Kind),
    /// `result<T, string>`
    Fallible(Option<Kind>),
}

fn result_kind(ty: Option<&Type>) -> Option<ResultKind> {
    match ty {
        None => Some(ResultKind::Nothing),
        Some(Type::Result(result)) if result.err() == Some(Type::String) => match result.ok() {
            None => Some(ResultKind::Fallible(None)),
            Some(ok) => Some(ResultKind::Fallible(Some(kind(&ok)?))),
        },
        Some(ty) => Some(ResultKind::Plain(kind(ty)?)),
    }
}

macro_rules! answers {
    ($($plain:ty),* ; $($fallible:ty),*) => {
        $(impl Answer for $plain {
            fn excuse(_: &CallError) -> Option<Self> {
                None
            }
        })*
        $(impl Answer for (Result<$fallible, String>,) {
            fn excuse(error: &CallError) -> Option<Self> {
                Some((Err(error.to_string()),))
            }
        })*
    };
}

answers!((), (Vec<u8>,), (String,), (u32,), (u64,); (), Vec<u8>, String, u32, u64);

/// Joins a function whose types the fast path knows. False for any other.
fn typed(
    linked: &mut LinkerInstance<'_, State>,
    name: &str,
    far: &Far,
    ty: &ComponentFunc,
    waits: bool,
) -> wasmtime::Result<bool> {
    let Some(params) = ty.params().map(|(_, ty)| kind(&ty)).collect::<Option<Vec<Kind>>>() else {
        return Ok(false);
    };
    let Some(result) = result_kind(ty.results().next().as_ref()) else { return Ok(false) };
    match params.as_slice() {
        [] => with_params::<()>(linked, name, far, result, waits)?,
        [Kind::Bytes] => with_params::<(Vec<u8>,)>(linked, name, far, result, waits)?,
        [Kind::Text] => with_params::<(String,)>(linked, name, far, result, waits)?,
        [Kind::U32] => with_params::<(u32,)>(linked, name, far, result, waits)?,
        [Kind::U64] => with_params::<(u64,)>(linked, name, far, result, waits)?,
        [Kind::Bytes, Kind::Bytes] => with_params::<(Vec<u8>, Vec<u8>)>(linked, name, far, result, waits)?,
        [Kind::Bytes, Kind::Text] => with_params::<(Vec<u8>, String)>(linked, name, far, result, waits)?,
        [Kind::Text, Kind::Bytes] => with_params::<(String, Vec<u8>)>(linked, name, far, result, waits)?,
        [Kind::Text, Kind::Text] => with_params::<(String, String)>(linked, name, far, result, waits)?,
        [Kind::U32, Kind::U32] => with_params::<(u32, u32)>(linked, name, far, result, waits)?,
        [Kind::Bytes, Kind::U32] => with_params::<(Vec<u8>, u32)>(linked, name, far, result, waits)?,
        [Kind::Text, Kind::U32] => with_params::<(String, u32)>(linked, name, far, result, waits)?,
        [Kind::Bytes, Kind::U32, Kind::U32] => {
            with_params::<(Vec<u8>, u32, u32)>(linked, name, far, result, waits)?;
        }
        _ => return Ok(false),
    }
    Ok(true)
}

fn with_params<P: ComponentNamedList + Lift + Lower + Send + Sync + 'static>(
    linked: &mut LinkerInstance<'_, State>,
    name: &str,
    far: &Far,
    result: ResultKind,
    waits: bool,
) -> wasmtime::Result<()> {
    use ResultKind::{Fallible, Nothing, Plain};
    match result {
        Nothing => forward::<P, ()>(linked, name, far, waits),
        Plain(Kind::Bytes) => forward::<P, (Vec<u8>,)>(linked, name, far, waits),
        Plain(Kind::Text) => forward::<P, (String,)>(linked, name, far, waits),
        Plain(Kind::U32) => forward::<P, (u32,)>(linked, name, far, waits),
        Plain(Kind::U64) => forward::<P, (u64,)>(linked, name, far, waits),
        Fallible(None) => forward::<P, (Result<(), String>,)>(linked, name, far, waits),
        Fallible(Some(Kind::Bytes)) => forward::<P, (Result<Vec<u8>, String>,)>(linked, name, far, waits),
        Fallible(Some(Kind::Text)) => forward::<P, (Result<String, String>,)>(linked, name, far, waits),
        Fallible(Some(Kind::U32)) => forward::<P, (Result<u32, String>,)>(linked, name, far, waits),
        Fallible(Some(Kind::U64)) => forward::<P, (Result<u64, String>,)>(linked, name, far, waits),
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
