//! Gets what compiles the parts, and compiles those that are missing or have changed. On a new machine that takes minutes; after
//! that, a look at some files.

use std::error::Error;
use std::io::IsTerminal as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use cofferdam::{AmbientAuthority, CompartmentPlan, Plan};
use cofferdam_toolchain::{
    CargoOutput, GuestCrate, Progress, Settings, SetupRequest, Toolchain, build_guest_ambient, setup_ambient,
    target_folder_ambient,
};
use indicatif::ProgressBar;

/// What the runtime is started with.
pub(crate) struct Guests {
    /// The folder with the parts.
    pub(crate) components: PathBuf,
    /// Where compiled code is kept.
    pub(crate) compiled: PathBuf,
}

/// Makes everything that a plan needs.
pub(crate) fn prepare_ambient(
    plan: &Plan,
    folder: &Path,
    ambient: AmbientAuthority,
) -> Result<Guests, Box<dyn Error>> {
    let manifest = folder.join("Cargo.toml");
    let settings = Settings::from_environment_ambient(ambient)?;
    let target = target_folder_ambient(&settings, &manifest, ambient)?.join("cofferdam");
    let mut news = News::new();
    let native = Toolchain::native_ambient(&settings, ambient)?;
    let mut component = None;
    for part in &plan.compartments {
        let toolchain = if part.backend == "wasm" {
            if component.is_none() {
                // Only the decoders are C.
                let in_c = |part: &CompartmentPlan| part.backend == "wasm" && part.krate.ends_with("-decode");
                let request = SetupRequest { c: plan.compartments.iter().any(in_c) };
                component =
                    Some(setup_ambient(&settings, request, &mut |one| news.tell(one), ambient)?.toolchain);
            }
            component.as_ref().unwrap_or(&native)
        } else {
            &native
        };
        let guest = GuestCrate::library(&manifest, &part.krate);
        build_guest_ambient(
            toolchain,
            &guest,
            &target,
            CargoOutput::Keep,
            &mut |one| news.tell(one),
            ambient,
        )?;
    }
    news.end();
    Ok(Guests { components: target.join("components"), compiled: target.join("compiled") })
}

/// A spinner on a terminal; lines of what takes long elsewhere.
struct News {
    bar: Option<ProgressBar>,
    step: String,
}

impl News {
    fn new() -> Self {
        let bar = std::io::stderr().is_terminal().then(ProgressBar::new_spinner);
        if let Some(bar) = &bar {
            bar.enable_steady_tick(Duration::from_millis(120));
        }
        Self { bar, step: String::new() }
    }

    fn tell(&mut self, news: Progress<'_>) {
        match (news, &self.bar) {
            (Progress::Step(text), Some(bar)) => {
                text.clone_into(&mut self.step);
                bar.set_message(self.step.clone());
            }
            (Progress::Detail(text), Some(bar)) => {
                let text: String = text.chars().filter(|one| !one.is_control()).take(50).collect();
                bar.set_message(format!("{}: {text}", self.step));
            }
            (Progress::Bytes { done, total }, Some(bar)) => {
                bar.set_message(format!("{}: {} of {} MB", self.step, done >> 20, total >> 20));
            }
            (Progress::Step(text) | Progress::Note(text), None) => eprintln!("{text}"),
            _ => {}
        }
    }

    fn end(self) {
        if let Some(bar) = self.bar {
            bar.finish_and_clear();
        }
    }
}
