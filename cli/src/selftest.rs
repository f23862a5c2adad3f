//! `selftest`: the escape suite on this machine.

#[cfg(not(all(target_os = "linux", target_arch = "x86_64")))]
pub(crate) fn run(
    _: &crate::arguments::Selftest,
    _: ambient_authority::AmbientAuthority,
) -> Result<crate::exit::Exit, crate::Stop> {
    Err(cannot("the escape suite needs Linux on x86-64"))
}

/// Ends the command, because nothing can be tried on this machine as it is.
fn cannot(why: &str) -> crate::Stop {
    use std::io::Write as _;

    // A standard error that is gone leaves nobody to tell.
    let _ = writeln!(anstream::stderr(), "{}", crate::render::plain_error(why));
    crate::Stop::Said(crate::exit::Exit::CannotEnforce)
}

#[cfg(all(target_os = "linux", target_arch = "x86_64"))]
pub(crate) use here::run;

#[cfg(all(target_os = "linux", target_arch = "x86_64"))]
mod here {
    use std::io::{IsTerminal as _, Write as _};
    use std::path::PathBuf;
    use std::process::Command;
    use std::time::Instant;

    use ambient_authority::AmbientAuthority;
    use cofferdam::process::{ProcessHost, Tier, examine_ambient};
    use cofferdam_selftest::attempt::{Attempt, Part};
    use cofferdam_selftest::programs::{Found, build_ambient, find_ambient};
    use cofferdam_selftest::suite::{Suite, everything, line, untried};
    use cofferdam_selftest::table::stop_words;
    use cofferdam_selftest::trial::{Programs, Trial, try_part};
    use cofferdam_selftest::wasm::{Held, WASM_ATTEMPTS, try_wasm};
    use cofferdam_selftest::{ABSENT, process_attempts};
    use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

    use super::cannot;
    use crate::Stop;
    use crate::arguments::{Format, Selftest};
    use crate::document::{AttemptDocument, SelftestDocument, VERSION, print_json};
    use crate::exit::Exit;
    use crate::render::printable;

    /// What tells a trial's own process where the programs are.
    const PROGRAMS: &str = "COFFERDAM_SELFTEST_PROGRAMS";

    pub(crate) fn run(arguments: &Selftest, ambient: AmbientAuthority) -> Result<Exit, Stop> {
        if let Some(trial) = &arguments.trial {
            return one(trial, ambient);
        }
        let begun = Instant::now();
        let programs = programs(ambient)?;
        let tier = ProcessHost::from_path_ambient(&programs.launcher, ambient)
            .and_then(|host| examine_ambient(&host, ambient))
            .map_err(|error| cannot(&error.to_string()))?;
        let attempts = if tier.tier == Tier::Full { process_attempts() } else { Vec::new() };
        let mut todo = everything(&attempts, false);
        todo.extend(
            WASM_ATTEMPTS
                .iter()
                .filter(|one| matches!(one.held, Held::Here(_)))
                .map(|one| (one.id, Part::Confined)),
        );
        let bar = ProgressBar::with_draw_target(Some(todo.len() as u64), ProgressDrawTarget::stderr());
        if std::io::stderr().is_terminal() {
            let style = ProgressStyle::with_template("{bar:40} {pos}/{len} {elapsed}");
            bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
        }
        let own = std::env::current_exe().map_err(|error| Stop::Read("this program".to_owned(), error))?;
        let command = |id: &str, part: Part| {
            let mut command = Command::new(&own);
            command.args(["selftest", "--trial", &format!("{id} {}", part.word())]);
            command.env(
                PROGRAMS,
                std::env::join_paths([&programs.launcher, &programs.guest]).unwrap_or_default(),
            );
            command
        };
        let at_a_time = std::thread::available_parallelism().map_or(2, usize::from) + 1;
        let progress = |done: usize, _: usize| bar.set_position(done as u64);
        let trials = Suite { todo: &todo, at_a_time, command: &command, progress: &progress }.run();
        bar.finish_and_clear();
        let rows = rows(&attempts, &trials);
        let passed = rows.iter().all(|row| row.passed) && tier.tier == Tier::Full;
        match arguments.format {
            Format::Json => print_json(&SelftestDocument {
                document: "selftest",
                version: VERSION,
                passed,
                root: rustix_is_root(),
                tier: tier.tier.to_string(),
                seconds: begun.elapsed().as_secs(),
                trials: trials.len(),
                attempts: rows,
            })?,
            Format::Human => {
                say(&attempts, &rows, &trials, begun)?;
                if tier.tier != Tier::Full {
                    write!(
                        anstream::stdout(),
                        "\nNo attempt on process compartments was tried, because none starts here:\n{tier}"
                    )?;
                }
            }
        }
        Ok(if passed { Exit::Ok } else { Exit::CannotEnforce })
    }

    fn rustix_is_root() -> bool {
        cofferdam_selftest::is_root()
    }

    /// One trial, in the process that is its own.
    fn one(trial: &str, ambient: AmbientAuthority) -> Result<Exit, Stop> {
        let unknown = || Stop::Usage(format!("`{}` is no part of an attempt", printable(trial)));
        let (id, part) = trial.split_once(' ').ok_or_else(unknown)?;
        let part = Part::from_word(part).ok_or_else(unknown)?;
        let done = if let Some(attempt) = WASM_ATTEMPTS.iter().find(|attempt| attempt.id == id) {
            try_wasm(attempt, ambient)
        } else {
            let attempts = process_attempts();
            let attempt = attempts.iter().find(|attempt| attempt.id == id).ok_or_else(unknown)?;
            let told: Vec<PathBuf> = std::env::var_os(PROGRAMS)
                .map(|paths| std::env::split_paths(&paths).collect())
                .unwrap_or_default();
            let programs = match told.as_slice() {
                [launcher, guest] => {
                    Programs { launcher: launcher.clone(), guest: guest.clone(), mutant: None }
                }
                _ => programs(ambient)?,
            };
            try_part(attempt, part, &programs, ambient)
        };
        writeln!(std::io::stdout(), "{}", line(&done))?;
        Ok(Exit::Ok)
    }

    fn programs(ambient: AmbientAuthority) -> Result<Programs, Stop> {
        match find_ambient(ambient) {
            Found::All(programs) => Ok(programs),
            Found::Checkout(checkout) => {
                let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr());
                bar.enable_steady_tick(std::time::Duration::from_millis(120));
                bar.set_message("compiling the hostile guest and the launcher");
                bar.set_style(
                    ProgressStyle::with_template("{spinner} {msg} {elapsed}")
                        .unwrap_or_else(|_| ProgressStyle::default_spinner()),
                );
                let built = build_ambient(&checkout, ambient);
                bar.finish_and_clear();
                built.map_err(|error| cannot(&error))
            }
            Found::Missing(what) => Err(cannot(&what)),
        }
    }

    fn rows(attempts: &[Attempt], trials: &[Trial]) -> Vec<AttemptDocument> {
        let of = |id: &str| trials.iter().filter(|trial| trial.id == id).collect::<Vec<_>>();
        let row = |id: &str, tries: &str, layers: Vec<String>, expected: String| {
            let own = of(id);
            let failed: Vec<String> = own
                .iter()
                .filter(|trial| !trial.passed)
                .map(|trial| format!("{}: {}", trial.part.word(), trial.said))
                .collect();
            AttemptDocument {
                id: id.to_owned(),
                tries: tries.to_owned(),
                layers,
                expected,
                seen: own.first().map(|trial| trial.said.clone()).unwrap_or_default(),
                control: own.iter().any(|trial| trial.part == Part::Control),
                passed: failed.is_empty(),
                failed,
            }
        };
        let tried = |attempt: &&Attempt| attempt.who.includes(rustix_is_root()) && untried(attempt).is_none();
        let process = attempts.iter().filter(tried).map(|attempt| {
            let layers = attempt.layers().into_iter().map(str::to_owned).collect();
            row(attempt.id, attempt.tries, layers, stop_words(attempt.stop))
        });
        let wasm = WASM_ATTEMPTS
            .iter()
            .filter(|one| matches!(one.held, Held::Here(_)))
            .map(|one| row(one.id, one.tries, vec!["wasm".to_owned()], one.stop.to_owned()));
        process.chain(wasm).collect()
    }

    fn say(
        attempts: &[Attempt],
        rows: &[AttemptDocument],
        trials: &[Trial],
        begun: Instant,
    ) -> Result<(), Stop> {
        let mut out = anstream::stdout();
        for row in rows {
            let mark = if row.passed { "ok" } else { "FAILED" };
            let tries: String = row.tries.chars().take(66).collect();
            writeln!(out, "{:<4} {tries:<66} {mark:<6} {}", row.id, row.expected.replace('`', ""))?;
            for failed in &row.failed {
                writeln!(out, "     {}", printable(failed))?;
            }
        }
        let failed = rows.iter().filter(|row| !row.passed).count();
        let controls = trials.iter().filter(|trial| trial.part == Part::Control).count();
        writeln!(
            out,
            "\n{} attempts, {failed} not as they must be; {controls} were seen to work where nothing stops them; {} s",
            rows.len(),
            begun.elapsed().as_secs()
        )?;
        for attempt in attempts {
            if let Some(why) = untried(attempt) {
                writeln!(out, "not tried: {} {}: {why}", attempt.id, attempt.tries)?;
            }
        }
        for absent in ABSENT.iter().filter(|absent| absent.who.includes(rustix_is_root())) {
            writeln!(out, "not tried: {} {}: {}", absent.number, absent.tries, absent.reason)?;
        }
        Ok(())
    }
}
