//! `setup`: gets what compiles guests.

use std::io::Write as _;

use ambient_authority::AmbientAuthority;
use cofferdam_toolchain::{Origin, Settings, SetupRequest, Toolchain, setup_ambient};

use crate::Stop;
use crate::arguments::Setup;
use crate::exit::Exit;
use crate::progress::Drawn;

pub(crate) fn run(arguments: &Setup, ambient: AmbientAuthority) -> Result<Exit, Stop> {
    let settings = Settings::from_environment_ambient(ambient)?;
    let settings = Settings { installed_rust: settings.installed_rust && !arguments.debian, ..settings };
    if arguments.check {
        say(&Toolchain::find_ambient(&settings, ambient)?)?;
        return Ok(Exit::Ok);
    }
    let mut drawn = Drawn::bar();
    let report =
        setup_ambient(&settings, SetupRequest { c: arguments.c }, &mut |news| drawn.tell(news), ambient);
    drawn.end();
    let report = report?;
    if !report.changed {
        writeln!(anstream::stdout(), "nothing to do")?;
    }
    say(&report.toolchain)?;
    Ok(Exit::Ok)
}

fn say(toolchain: &Toolchain) -> Result<(), Stop> {
    let mut out = anstream::stdout();
    writeln!(
        out,
        "guests are compiled for {} by {}",
        toolchain.target().triple(),
        toolchain.rustc_version()
    )?;
    writeln!(out, "  from    {}", origin(toolchain))?;
    match toolchain.c_compiler() {
        Some(c) => writeln!(out, "  C       {}", c.clang().display())?,
        None => writeln!(out, "  C       nothing compiles it; `cofferdam setup --c` gets a compiler")?,
    }
    Ok(())
}

/// Where a toolchain comes from, in words.
pub(crate) fn origin(toolchain: &Toolchain) -> String {
    match toolchain.origin() {
        Origin::Installed => "the installed Rust".to_owned(),
        Origin::Debian(folder) => format!("Debian's packages in {}", folder.display()),
    }
}
