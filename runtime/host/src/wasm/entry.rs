//! Ways into an instance: each kind of call, with and without a stack of its own.

use wasmtime::component::{ComponentExportIndex, ResourceAny, Val};

use super::instance::Running;

/// One way into an instance.
pub(super) trait Entry: Send {
    /// What comes out.
    type Output: Send;

    /// The function, for spans and messages.
    fn name(&self) -> &str;

    /// Enters on the caller's stack.
    fn run(self, running: &mut Running) -> wasmtime::Result<Self::Output>;

    /// Enters on a stack that can be left while the guest waits.
    fn run_async(self, running: &mut Running) -> impl Future<Output = wasmtime::Result<Self::Output>> + Send;
}

/// A call with values whose types are known only now.
pub(super) struct Untyped<'a> {
    pub(super) name: &'a str,
    pub(super) index: ComponentExportIndex,
    pub(super) arguments: &'a [Val],
    pub(super) results: usize,
}

impl Entry for Untyped<'_> {
    type Output = Vec<Val>;

    fn name(&self) -> &str {
        self.name
    }

    fn run(self, running: &mut Running) -> wasmtime::Result<Vec<Val>> {
        let function = running.untyped(&self.index)?;
        let mut results = vec![Val::Bool(false); self.results];
        function.call(&mut running.store, self.arguments, &mut results)?;
        Ok(results)
    }

    async fn run_async(self, running: &mut Running) -> wasmtime::Result<Vec<Val>> {
        let function = running.untyped(&self.index)?;
        let mut results = vec![Val::Bool(false); self.results];
        function.call_async(&mut running.store, self.arguments, &mut results).await?;
        Ok(results)
    }
}

/// Destructors of resources that the host let go.
pub(super) struct Dropping(pub(super) Vec<ResourceAny>);

impl Entry for Dropping {
    type Output = ();

    fn name(&self) -> &'static str {
        "[resource-drop]"
    }

    fn run(self, running: &mut Running) -> wasmtime::Result<()> {
        self.0.into_iter().try_for_each(|resource| resource.resource_drop(&mut running.store))
    }

    async fn run_async(self, running: &mut Running) -> wasmtime::Result<()> {
        for resource in self.0 {
            resource.resource_drop_async(&mut running.store).await?;
        }
        Ok(())
    }
}
