//! One running guest: started with all layers or not at all, and gone when it is dropped.

use std::os::fd::OwnedFd;
use std::sync::atomic::Ordering;
use std::sync::{Arc, mpsc};
use std::thread::JoinHandle;

use cofferdam_wire::channel::Channel;
use cofferdam_wire::handshake::Offer;
use cofferdam_wire::memory::Memory;
use cofferdam_wire::order::{Layer, LayerReport, Order};

use crate::audit::{AuditEvent, AuditLog};
use crate::process::control::{Cause, Control, End};
use crate::process::error::StartError;
use crate::process::groups::Groups;
use crate::process::launch::{Launch, Started};
use crate::process::lower::Lowered;
use crate::process::program::Program;
use crate::process::server::Server;
use crate::process::supervise::supervise;

/// Everything that guests of one compartment have in common.
#[derive(Debug)]
pub(super) struct Source {
    pub(super) launcher: OwnedFd,
    pub(super) server: Option<Arc<Server>>,
    pub(super) groups: Option<Arc<Groups>>,
    pub(super) spin_pauses: u32,
    pub(super) program: Arc<Program>,
    pub(super) lowered: Arc<Lowered>,
    pub(super) interface: Option<u64>,
    pub(super) log: AuditLog,
}

/// One guest. It ends when this is dropped.
#[derive(Debug)]
pub(super) struct Running {
    pub(super) channel: Channel,
    pub(super) socket: OwnedFd,
    pub(super) control: Arc<Control>,
    pub(super) supervisor: Option<JoinHandle<End>>,
    pub(super) functions: Vec<Offer>,
    pub(super) imports: Vec<Offer>,
    pub(super) layers: Vec<LayerReport>,
    pub(super) calls: u32,
    /// Which guest of this program it is.
    pub(super) serial: u64,
}

impl Source {
    /// Starts a guest: with all layers or, where namespaces cannot be had and the workspace accepts that, without those.
    pub(super) fn start(&self) -> Result<Running, StartError> {
        if let Some(reason) = &self.lowered.speculates {
            let reason = format!("no speculation control; accepted: {reason}");
            self.log.record(&AuditEvent::Weakening { edge: self.lowered.edge.clone(), reason })?;
        }
        let error = match self.start_with(self.lowered.order.clone()) {
            Err(error) => error,
            started => return started,
        };
        let StartError::Layer { layer: Layer::Namespaces | Layer::Identity | Layer::Root, .. } = error else {
            return Err(error);
        };
        let Some(weaker) = &self.lowered.weaker else { return Err(error) };
        let edge = self.lowered.edge.clone();
        match &weaker.order {
            Err(what) => Err(StartError::CannotEnforce { edge, what: what.clone() }),
            Ok(order) => {
                let reason = format!("no namespaces ({error}); accepted: {}", weaker.reason);
                self.log.record(&AuditEvent::Weakening { edge, reason })?;
                self.start_with(order.clone())
            }
        }
    }

    fn start_with(&self, order: Order) -> Result<Running, StartError> {
        let failed = |error: &dyn std::fmt::Display| StartError::Host {
            edge: self.lowered.edge.clone(),
            message: error.to_string(),
        };
        let (memory, shared) = Memory::create().map_err(|error| failed(&error))?;
        let memory = Arc::new(memory);
        let control = Arc::new(Control::new(Arc::clone(&memory)));
        let launch = Launch {
            launcher: self.launcher.try_clone().map_err(|error| failed(&error))?,
            server: self.server.clone(),
            groups: self.groups.clone(),
            program: Arc::clone(&self.program),
            shared,
            lowered: Arc::clone(&self.lowered),
            control: Arc::clone(&control),
            log: self.log.clone(),
            interface: self.interface,
            order,
            spin_pauses: self.spin_pauses,
        };
        let (tell, told) = mpsc::channel();
        let supervisor = std::thread::Builder::new()
            .name("cofferdam-guest".to_owned())
            .spawn(move || supervise(&launch, &tell))
            .map_err(|error| failed(&error))?;
        match told.recv() {
            Ok(Ok(Started { hello, socket, layers })) => Ok(Running {
                socket,
                channel: Channel::host(&memory, self.spin_pauses),
                control,
                supervisor: Some(supervisor),
                functions: hello.functions,
                imports: hello.imports,
                layers,
                calls: 0,
                serial: 0,
            }),
            Ok(Err(error)) => {
                join(supervisor);
                Err(error)
            }
            Err(_) => {
                join(supervisor);
                Err(failed(&"its supervisor ended"))
            }
        }
    }
}

impl Running {
    pub(super) fn is_gone(&self) -> bool {
        self.control.ended.load(Ordering::SeqCst)
    }

    /// Ends the guest for a reason, unless it is gone for one of its own, and gives how it ended.
    pub(super) fn end(&mut self, cause: Cause) -> Option<End> {
        let supervisor = self.supervisor.take()?;
        if !self.is_gone() {
            self.control.end(cause);
        }
        join(supervisor)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // Nothing of it is left behind.
        self.end(Cause::Dropped);
    }
}

/// A supervisor's last word; `None` if it panicked, which is a bug of the host.
fn join(supervisor: JoinHandle<End>) -> Option<End> {
    supervisor.join().ok()
}
