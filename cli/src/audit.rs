//! `audit`: what the code of each crate reaches.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Write as _;

use ambient_authority::AmbientAuthority;
use cofferdam_audit::audit;

use crate::arguments::Audit;
use crate::code::Code;
use crate::exit::Exit;
use crate::Stop;

pub(crate) fn run(arguments: &Audit, ambient: AmbientAuthority) -> Result<Exit, Stop> {
    let t=std::time::Instant::now();
    let loaded = arguments.source.load(arguments.format, ambient)?;
    eprintln!("load {:?}",t.elapsed());
    let code = Code::read(&loaded, arguments.source.target.as_deref(), ambient)?;
    let Some(code) = code else { return Err(Stop::Usage("x".into())) };
    eprintln!("read {:?}",t.elapsed());
    let verdict = audit(&code.graph, &code.sources, &code.table);
    eprintln!("audit {:?}",t.elapsed());
    let mut out = anstream::stdout();
    for (at, package) in code.graph.packages.iter().enumerate() {
        if !verdict.is_linked(at) { continue }
        let own: BTreeSet<String> = verdict.own(at).into_iter().map(|a| a.capability.to_string()).collect();
        if !own.is_empty() {
        writeln!(out, "{} {}: {}", package.name, package.version, own.into_iter().collect::<Vec<_>>().join(" "))?;
        }
    }
    writeln!(out)?;
    for ((from,to), need) in verdict.needs() {
        let caps: BTreeSet<String> = need.run.iter().map(|a| a.capability.to_string()).collect();
        writeln!(out, "{} -> {}: {}", code.graph.packages[*from].name, code.graph.packages[*to].name, caps.into_iter().collect::<Vec<_>>().join(" "))?;
    }
    let u = verdict.unknowns();
    for u in &u { writeln!(out, "unknown {} {}:{} {} {}", code.graph.packages[u.package].name, u.file, u.line, u.why, u.generated)?; }
    writeln!(out, "{:?} cached {}", verdict.extent(), code.sources.cached)?;
    eprintln!("done {:?}",t.elapsed());
    Ok(Exit::Ok)
}
