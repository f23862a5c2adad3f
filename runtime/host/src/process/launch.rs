//! Running the launcher until the filter is in force.

use std::fs::File;
use std::io::ErrorKind;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;
use std::time::Instant;

use cofferdam_wire::handshake::Hello;
use cofferdam_wire::limits::ORDER_BYTES_MAX;
use cofferdam_wire::notification::Listener;
use cofferdam_wire::order::{Layer, LayerReport, Order, Outcome, Report};
use cofferdam_wire::packet;
use rustix::fs::{Mode, OFlags};

use super::broker::Broker;
use super::control::{Control, Process, lock};
use super::error::StartError;
use super::groups::{Bounds, Groups};
use super::lower::{Lowered, PROCESSES};
use super::output::{Output, Stream};
use super::program::{Program, seal};
use super::server::{NotReady, Ready, Server, command};
use crate::audit::AuditLog;

/// What a start needs.
pub(super) struct Launch {
    pub(super) launcher: OwnedFd,
    /// Has processes that stand ready, unless the host starts a launcher for each guest.
    pub(super) server: Option<Arc<Server>>,
    pub(super) groups: Option<Arc<Groups>>,
    pub(super) program: Arc<Program>,
    pub(super) shared: OwnedFd,
    pub(super) lowered: Arc<Lowered>,
    pub(super) control: Arc<Control>,
    pub(super) log: AuditLog,
    pub(super) interface: Option<u64>,
    /// The order that is carried out: the whole one, or one without namespaces.
    pub(super) order: Order,
    pub(super) spin_pauses: u32,
}

/// A guest that said its first words.
#[derive(Debug)]
pub(super) struct Started {
    pub(super) hello: Hello,
    /// The host's end of the guest's socket.
    pub(super) socket: OwnedFd,
    pub(super) layers: Vec<LayerReport>,
}

/// What is open while a guest runs.
pub(super) struct Guest {
    pub(super) socket: OwnedFd,
    pub(super) status: File,
    pub(super) listener: Arc<Listener>,
    pub(super) broker: Broker,
    /// The launcher has become the guest's program.
    pub(super) executed: bool,
    /// The guest's own process, once it runs; programs that it starts have others.
    pub(super) process: Option<u32>,
    /// The guest has said its first words.
    pub(super) greeted: bool,
}

/// Runs the launcher until the filter is in force.
pub(super) fn start(launch: &Launch, deadline: Instant) -> Result<(Guest, Vec<LayerReport>), StartError> {
    let edge = || launch.lowered.edge.clone();
    let host = |error: &dyn std::fmt::Display| StartError::Host { edge: edge(), message: error.to_string() };
    let socket = outermost(launch)?;
    let mut order = launch.order.clone();
    order.host = std::process::id();
    if matches!(*lock(&launch.control.process), Some(Process::Ready(_))) {
        // The limit counts a launcher of the guest's own, and a server is in no namespace of the guest's.
        for (_, most) in order.limits.iter_mut().filter(|(resource, _)| *resource == PROCESSES) {
            *most -= 1;
        }
    }
    if let Some(groups) = &launch.groups {
        bound(launch, groups, &order).map_err(|error| host(&format!("its control group: {error}")))?;
    }
    let order = cofferdam_wire::encode(&order).map_err(|error| host(&error))?;
    if order.len() as u64 > ORDER_BYTES_MAX {
        return Err(host(&"the paths that it is granted are too long together"));
    }
    let order = seal(&order).map_err(|error| host(&error))?;
    let nothing = |flags| rustix::fs::open("/dev/null", flags | OFlags::CLOEXEC, Mode::empty());
    let stdin = nothing(OFlags::RDONLY).map_err(|error| host(&error))?;
    let (out, stdout) = match launch.lowered.stdout {
        Some(cap) => Stream::pipe(Some(cap)).map(|(stream, end)| (Some(stream), end)),
        None => nothing(OFlags::WRONLY).map(|end| (None, end)),
    }
    .map_err(|error| host(&error))?;
    let (err, stderr) = Stream::pipe(launch.lowered.stderr).map_err(|error| host(&error))?;
    *lock(&launch.control.output) = Output { stdout: out, stderr: Some(err) };
    let (status, status_end) =
        rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC).map_err(|error| host(&error))?;

    let descriptors = [&order, &launch.shared, &launch.program.memory, &stdin, &stdout, &stderr, &status_end];
    let sent = packet::send(&socket, b"order", &descriptors.map(AsFd::as_fd));
    // The other ends are the guest's alone, so that their end is its end.
    drop((order, stdin, stdout, stderr, status_end));

    // One that failed before it had the order has reported that, and does not take it.
    let received = packet::receive(&socket, 0, Some(deadline));
    let (bytes, _) = received.map_err(|error| {
        let error = sent.err().unwrap_or(error);
        host(&format!("the launcher did not report: {error}"))
    })?;
    let mut report: Report =
        cofferdam_wire::decode(&bytes).map_err(|error| host(&format!("the launcher's report: {error}")))?;
    let failed = |report: &LayerReport| StartError::Layer {
        edge: edge(),
        layer: report.layer,
        detail: report.detail.clone(),
        source: (report.errno != 0).then(|| std::io::Error::from_raw_os_error(report.errno)),
    };
    if let Some(report) = report.layers.iter().find(|report| report.outcome == Outcome::Failed) {
        return Err(failed(report));
    }
    for layer in &Layer::ALL[..Layer::Filter as usize] {
        let found = report.layers.iter().find(|report| report.layer == *layer).map(|report| report.outcome);
        let may_lack = match layer {
            Layer::WriteExecute => !launch.lowered.order.deny_write_execute,
            Layer::Namespaces | Layer::Identity | Layer::Root => {
                !launch.order.namespaces && found == Some(Outcome::NotAsked)
            }
            Layer::Speculation => {
                found == Some(Outcome::NotApplicable)
                    || !launch.lowered.order.control_speculation && found == Some(Outcome::NotAsked)
            }
            _ => false,
        };
        if found != Some(Outcome::Enforced) && !may_lack {
            let detail = "the launcher did not put it on".to_owned();
            return Err(StartError::Layer { edge: edge(), layer: *layer, detail, source: None });
        }
    }
    let (_, mut listeners) =
        packet::receive(&socket, 1, Some(deadline)).map_err(|error| StartError::Layer {
            edge: edge(),
            layer: Layer::Filter,
            detail: format!("the launcher sent no listener: {error}"),
            source: None,
        })?;
    let listener = Listener::new(listeners.pop().expect("as many descriptors as were asked for"));
    let broker = Broker::new(launch);
    let listener = Arc::new(listener);
    let guest = Guest {
        socket,
        status: File::from(status),
        listener,
        broker,
        executed: false,
        process: None,
        greeted: false,
    };
    if let Some(weaker) = launch.lowered.weaker.as_ref().filter(|_| !launch.order.namespaces) {
        let without = [Layer::Namespaces, Layer::Identity, Layer::Root];
        for one in report.layers.iter_mut().filter(|one| without.contains(&one.layer)) {
            one.detail = format!("WEAKENED: {}", weaker.reason);
        }
    }
    if let Some(reason) = &launch.lowered.speculates {
        for one in report.layers.iter_mut().filter(|one| one.layer == Layer::Speculation) {
            one.detail = format!("WEAKENED: {reason}");
        }
    }
    Ok((guest, report.layers))
}

/// Puts the outermost process into a group, before it has started anything.
fn bound(launch: &Launch, groups: &Groups, order: &Order) -> std::io::Result<()> {
    let tasks = order.limits.iter().find(|(resource, _)| *resource == PROCESSES).map(|(_, most)| *most);
    let bounds = Bounds {
        memory: launch.lowered.memory,
        tasks: tasks.unwrap_or(u64::from(launch.lowered.threads) + 2),
    };
    let group = groups.make(Some(bounds))?;
    let process = lock(&launch.control.process).as_ref().and_then(Process::number);
    group.add(process.ok_or(ErrorKind::NotFound)?)?;
    *lock(&launch.control.group) = Some(group);
    Ok(())
}

/// The outermost process of the guest, under way: gives the socket that it takes its order from.
fn outermost(launch: &Launch) -> Result<OwnedFd, StartError> {
    let edge = || launch.lowered.edge.clone();
    let host = |error: &dyn std::fmt::Display| StartError::Host { edge: edge(), message: error.to_string() };
    let (socket, process) = match launch.server.as_ref().filter(|_| launch.order.namespaces) {
        Some(server) => match server.ask(&launch.launcher) {
            Ok(Ready { socket, process }) => (socket, Process::Ready(process)),
            Err(NotReady::Layer(report)) => {
                let source = (report.errno != 0).then(|| std::io::Error::from_raw_os_error(report.errno));
                return Err(StartError::Layer {
                    edge: edge(),
                    layer: report.layer,
                    detail: report.detail,
                    source,
                });
            }
            Err(NotReady::Host(message)) => return Err(host(&message)),
        },
        None => {
            let (socket, theirs) = packet::pair().map_err(|error| host(&error))?;
            let child = command(&launch.launcher, theirs).spawn();
            (socket, Process::Own(child.map_err(|error| host(&format!("the launcher: {error}")))?))
        }
    };
    *lock(&launch.control.process) = Some(process);
    Ok(socket)
}
