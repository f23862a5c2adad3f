//! `doctor`: what this machine can enforce, found out by trying.

use std::io::Write as _;

use ambient_authority::AmbientAuthority;
use cofferdam::wasm::WasmHost;
use cofferdam_toolchain::{Settings, Toolchain};

use crate::Stop;
use crate::exit::Exit;

pub(crate) fn run(ambient: AmbientAuthority) -> Result<Exit, Stop> {
    let mut out = anstream::stdout();
    let mut exit = Exit::Ok;
    match WasmHost::new() {
        Ok(_) => writeln!(out, "wasm compartments run here")?,
        Err(error) => {
            exit = Exit::CannotEnforce;
            writeln!(out, "wasm compartments do not run here: {error}")?;
        }
    }
    let settings = Settings::from_environment_ambient(ambient)?;
    match Toolchain::find_ambient(&settings, ambient) {
        Ok(toolchain) => writeln!(out, "guests for them are compiled by {}", toolchain.rustc_version())?,
        Err(_) => writeln!(out, "nothing compiles guests for them yet; `cofferdam setup` gets it")?,
    }
    Ok(if processes(&mut out, ambient)? { exit } else { Exit::CannotEnforce })
}

/// Whether process compartments start here, with all their layers.
#[cfg(all(target_os = "linux", target_arch = "x86_64"))]
fn processes(out: &mut impl std::io::Write, ambient: AmbientAuthority) -> Result<bool, Stop> {
    use cofferdam::process::{ProcessHost, Tier, examine_ambient};
    let examined = ProcessHost::find_ambient(ambient).and_then(|host| examine_ambient(&host, ambient));
    match examined {
        Ok(doctor) => {
            writeln!(out, "process compartments: {doctor}")?;
            Ok(doctor.tier == Tier::Full)
        }
        Err(error) => {
            writeln!(out, "process compartments cannot be tried: {error}")?;
            Ok(false)
        }
    }
}

#[cfg(not(all(target_os = "linux", target_arch = "x86_64")))]
fn processes(out: &mut impl std::io::Write, _: AmbientAuthority) -> Result<bool, Stop> {
    writeln!(out, "process compartments need Linux on x86-64")?;
    Ok(true)
}
