//! The engine that all wasm compartments of a program share, and the clock that ends their calls.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;

use wasmtime::{Config, Engine};

use super::error::StartError;
use super::limits::{EPOCH_TICK, WASM_STACK_BYTES_MAX};

/// Compiles and runs components. One per program: objects of different engines do not mix.
#[derive(Debug)]
pub struct WasmHost {
    engine: Engine,
    runtime: tokio::runtime::Runtime,
    stop: Arc<AtomicBool>,
    ticker: Option<JoinHandle<()>>,
}

impl WasmHost {
    /// An engine with every proposal switched off that a component of Rust or C does not need, and a thread that counts epochs.
    ///
    /// # Errors
    /// When the platform is not supported, or a thread cannot be started.
    pub fn new() -> Result<Self, StartError> {
        let mut config = Config::new();
        config
            .wasm_component_model(true)
            .epoch_interruption(true)
            .concurrency_support(false)
            .max_wasm_stack(WASM_STACK_BYTES_MAX)
            .async_stack_size(WASM_STACK_BYTES_MAX + (1 << 20))
            .wasm_memory64(false)
            .wasm_relaxed_simd(false)
            .wasm_tail_call(false);
        let engine = Engine::new(&config).map_err(|error| StartError::Engine(error.to_string()))?;
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .thread_name("cofferdam-wait")
            .enable_all()
            .build()
            .map_err(|error| StartError::Engine(error.to_string()))?;
        let stop = Arc::new(AtomicBool::new(false));
        let (weak, stopped) = (engine.weak(), Arc::clone(&stop));
        let ticker = std::thread::Builder::new().name("cofferdam-epoch".to_owned()).spawn(move || {
            while !stopped.load(Ordering::Relaxed) {
                std::thread::sleep(EPOCH_TICK);
                match weak.upgrade() {
                    Some(engine) => engine.increment_epoch(),
                    None => break,
                }
            }
        });
        let ticker = ticker.map_err(|error| StartError::Engine(error.to_string()))?;
        Ok(Self { engine, runtime, stop, ticker: Some(ticker) })
    }

    pub(super) fn engine(&self) -> &Engine {
        &self.engine
    }

    pub(super) fn runtime(&self) -> &tokio::runtime::Runtime {
        &self.runtime
    }
}

impl Drop for WasmHost {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(ticker) = self.ticker.take() {
            // The thread only counts; it cannot have panicked with anything of value.
            let _ = ticker.join();
        }
    }
}
